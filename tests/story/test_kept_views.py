"""What is known of a referral is not asked for again: nothing new is nothing on the record, and what was kept is
believed no more than what has just come (R-54, R-98).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from referral_api.client.overseeing import Overseer
from referral_api.client.sdk import Client
from referral_api.client.view import fetch_referral
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import Act, ReferralId, State
from tests.story.test_erasure import erase
from tests.story.test_forgetting import closed, pass_days
from tests.traces import files_under
from tests.wire import Answer
from tests.world import UNIT, World
from tests.world_check import Rows


@pytest.fixture
def world(sqlite_world: World) -> World:
    return sqlite_world


def viewed(world: World, client: Client) -> int:
    """How many views of a referral by this credential are on the record."""
    records = [json.loads(row["body"]) for row in Rows(world)["record"]]
    return sum(one["kind"] == "viewed" and one["credential"] == client.keys.credential for one in records)


def kept(client: Client) -> set[str]:
    """The referrals of which a profile keeps an answer."""
    return {path.name for path in files_under(client.directory.views)} if client.directory.views.exists() else set()


def path_of(client: Client, ref: str) -> Path:
    return client.directory.views / client.keys.credential / ref


def test_a_second_look_is_handed_nothing_and_records_nothing(world: World) -> None:
    refs = [str(world.submit().outgoing.ref) for _ in range(3)]
    for client in (world.operator, world.officer):
        before = viewed(world, client)
        first = client.worklist()
        assert viewed(world, client) == before + 3
        again = client.worklist()
        assert viewed(world, client) == before + 3
        assert again.items == first.items
        assert kept(client) == set(refs)
    world.acknowledge("officer", refs[0])
    before = viewed(world, world.operator)
    found = {one.ref: one.state for one in world.operator.worklist().items if one.unit == UNIT}
    assert found[ReferralId(refs[0])] is State.ACKNOWLEDGED
    assert viewed(world, world.operator) == before + 1, "the one that is new"
    world.check()


def test_two_credentials_of_one_profile_keep_their_own(world: World) -> None:
    """What may be done next differs between them, and one cannot read what the other keeps."""
    ref = str(world.submit().outgoing.ref)
    for name in ("desk", "officer", "desk", "officer"):
        agenda = world.client(name).worklist()
        assert (Act.ACK in agenda.items[0].allowed) == (name == "officer")
    assert path_of(world.client("desk"), ref) != path_of(world.officer, ref)
    assert world.client("desk").session.views is not None


def test_what_is_kept_is_sealed_and_only_its_owner_s(world: World) -> None:
    ref = str(world.submit().outgoing.ref)
    world.officer.worklist()
    path = path_of(world.officer, ref)
    raw, act = path.read_bytes(), world.officer.referral(ref).submit().act
    assert path.stat().st_mode & 0o777 == 0o600
    for text in (act.jws.raw[40:120], act.digest.encode(), act.id.encode(), b"emergency"):
        assert text not in raw


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-9])


def exchanged(path: Path) -> None:
    other = next(one for one in path.parent.iterdir() if one != path)
    path.write_bytes(other.read_bytes())


def opened_to_others(path: Path) -> None:
    path.chmod(0o644)


@pytest.mark.parametrize("damage", [cut, exchanged, opened_to_others, Path.unlink])
def test_what_is_kept_and_damaged_is_asked_for(world: World, damage: Callable[[Path], None]) -> None:
    refs = [str(world.submit().outgoing.ref) for _ in range(2)]
    first = world.officer.worklist()
    damage(path_of(world.officer, refs[0]))
    before = viewed(world, world.officer)
    assert world.officer.worklist().items == first.items
    assert viewed(world, world.officer) == before + 1
    assert world.officer.worklist().items == first.items
    assert viewed(world, world.officer) == before + 1, "and kept again"


def test_an_exchange_that_says_nothing_is_new_where_it_took_an_act_of_ours_is_an_alarm(world: World) -> None:
    """R-54: what we have a receipt for must be among it, and is not in what was kept before. The next look is whole."""
    ref = str(world.submit().outgoing.ref)
    world.officer.worklist()
    stale = path_of(world.officer, ref).read_bytes()
    world.acknowledge("officer", ref)
    path_of(world.officer, ref).write_bytes(stale)
    asked: list[int] = []

    def unchanged(answer: Answer) -> Answer:
        if answer.status == 401:
            return answer
        asked.append(answer.status)
        return Answer(304, answer.headers, b"")

    world.wires["officer"].lies[f"/referrals/{ref}"] = unchanged
    agenda = world.officer.worklist()
    assert [(one.ref, one.error.code, one.error.facts["reason"]) for one in agenda.problems] == [
        (ref, ErrorCode.TAMPERED, "omitted")
    ]
    assert agenda.items == ()
    assert asked == [200], "it is not given a second chance in silence"
    assert kept(world.officer) == set()
    del world.wires["officer"].lies[f"/referrals/{ref}"]
    agenda = world.officer.worklist()
    assert (agenda.complete, agenda.items[0].state) == (True, State.ACKNOWLEDGED)


def test_two_receipts_for_one_act_are_an_alarm_for_as_long_as_one_of_them_is_kept(world: World) -> None:
    """R-16: both are signed; whatever the exchange shows today, what is kept convicts it."""
    ref, other = (str(world.submit().outgoing.ref) for _ in range(2))
    world.acknowledge("officer", ref)
    world.acknowledge("officer", other)
    officer = world.officer
    officer.worklist()
    (digest,), (another,) = (
        officer.outbox.accepted(ReferralId(ref)),
        officer.outbox.accepted(ReferralId(other)).values(),
    )
    for _ in range(2):
        with pytest.raises(ReferralError) as caught:
            fetch_referral(officer.session, ReferralId(ref), {digest: another}, officer.session.views)
        assert (caught.value.code, caught.value.facts["member"]) == (ErrorCode.RECEIPT_MISMATCH, "receipt")
    assert kept(officer) == {ref, other}


def test_what_does_not_verify_is_not_kept(world: World) -> None:
    ref = str(world.submit().outgoing.ref)
    world.client("officer")

    def closed_already(answer: Answer) -> Answer:
        if answer.status != 200:
            return answer
        shown = answer.json
        shown["deliveries"][0]["state"] = "closed"
        return answer.with_json(shown)

    world.wires["officer"].lies[f"/referrals/{ref}"] = closed_already
    assert [one.error.code for one in world.officer.worklist().problems] == [ErrorCode.TAMPERED]
    assert kept(world.officer) == set()
    world.wires["officer"].lies.clear()
    assert world.officer.worklist().complete
    assert kept(world.officer) == {ref}


def test_of_what_was_erased_nothing_is_kept(world: World) -> None:
    """R-99: the records go, and with the next look the answer that held them, but for that it was purged."""
    ref = closed(world)
    pass_days(world, 22)
    assert world.operator.worklist().complete
    assert kept(world.operator) == {ref}
    erase(world, ref)
    for _ in range(2):
        assert world.operator.worklist().gone == (ref,)
    buried = world.operator.session.views
    assert buried is not None
    left = buried.find(ReferralId(ref))
    assert left is not None
    assert left.document == {"deliveries": [{"state": "purged"}]}, "that it was, and nothing more"


def test_what_was_erased_after_its_purge_was_seen_in_the_inbox_rings_nobody(world: World) -> None:
    """R-99: neither a watch that begins anew nor a list calls lost what the inbox called purged, and that verified."""
    operator = world.operator
    ref = ReferralId(str(world.submit().outgoing.ref))
    assert operator.worklist().complete
    world.act("operator", ref, Act.WITHDRAW, {"reason": "safety_risk"})
    pass_days(world, 31)
    while (page := operator.next_page()).entries:
        operator.keep(page)
    erase(world, ref)
    for _ in range(2):
        assert Overseer(operator.session, operator.outbox, operator.referral).news() == []
        assert operator.worklist().gone == (ref,)
