"""What questions about several rows at once answer, on both engines."""

from __future__ import annotations

from referral_api.domain.words import Act
from referral_api.server.storage import enrolments, queries
from referral_api.server.storage.database import Database
from referral_api.server.storage.enrolments import EnrolmentState, StoredEnrolment, StoredInvitation
from referral_api.server.storage.queries import StoredAct


def act(pos: int, iss: str, act_id: str) -> StoredAct:
    return StoredAct(
        pos=pos, digest=f"digest-{pos}", iss=iss, id=act_id, party=iss.partition(".")[0], act=Act.NOTE, ref="ref",
        unit=None, prev=None, jws="{}", outcome="accepted", code=None, receipt="{}", carrier=None, received_at=pos,
    )  # fmt: skip


def test_acts_are_found_by_issuer_and_id_together(database: Database) -> None:
    """R-14: the same id is another act's at another issuer."""
    stored = [act(1, "unit-a.one", "first"), act(2, "unit-a.one", "second"), act(3, "unit-b.two", "third")]
    with database.write() as tx:
        for one in stored:
            queries.insert_act(tx, one)
    asked = [(one.iss, one.id) for one in stored]
    crossed = [("unit-b.two", "first"), ("unit-a.one", "third"), ("unit-c.six", "second")]
    with database.read() as conn:
        assert queries.find_acts(conn, [*crossed, *asked, asked[0]]) == dict(zip(asked, stored, strict=True))
        assert queries.find_acts(conn, crossed) == {}
        assert queries.find_acts(conn, []) == {}


def test_enrolments_are_found_by_state_and_by_party(database: Database) -> None:
    """R-34: a newcomer waits to be admitted among all those who ever were."""
    begun = [
        ("a", "unit-a", EnrolmentState.COMPLETED, 30),
        ("b", "unit-b", EnrolmentState.COMPLETED, 20),
        ("c", "unit-a", EnrolmentState.COMPLETED, 20),
        ("d", "unit-a", EnrolmentState.DONE, 10),
        ("e", "unit-b", EnrolmentState.COMPLETED, 10),
    ]
    with database.write() as tx:
        for name, party, state, at in begun:
            enrolments.insert_invitation(tx, StoredInvitation(name, party, "police_unit", "digest", 99, None))
            enrolments.insert_enrolment(tx, StoredEnrolment(name, name, party, state, {}, None, 0, at, at))
    with database.read() as conn:
        waiting = enrolments.enrolments_in(conn, EnrolmentState.COMPLETED, since=10)
        assert [one.id for one in waiting] == ["b", "c", "a"]
        assert enrolments.enrolments_in(conn, EnrolmentState.LISTED) == []
        assert {one.id for one in enrolments.enrolments_of(conn, "unit-a", EnrolmentState.COMPLETED)} == {"a", "c"}
