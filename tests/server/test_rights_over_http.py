"""Who may do what, over real HTTP: every call by every kind of caller agrees with policy.RIGHTS (R-60, R-61).

The table decides what is expected, the exchange what happens. What no right gives is 404 where the caller must not
learn that there is anything (R-51), else 403; and without credentials everything is 401 but for a short list.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from referral_api.client import addressing, submission
from referral_api.client.delivery import Opened
from referral_api.domain import policy
from referral_api.domain.policy import Read, Relation
from referral_api.domain.words import (
    ACCOUNTS,
    DIRECTORY_ACTS,
    EXCHANGE_ACTS,
    Act,
    CredentialKind,
    DeliveryRole,
    ReferralId,
    Role,
    State,
)
from referral_api.formats.bundle import SealRole
from referral_api.formats.contents import Body, BundleBody, ForwardBody, ForwardReason, NoteBody
from referral_api.formats.strict_json import sha256_b64u
from referral_api.server.api.operations import OPERATIONS
from tests.signing import sign
from tests.wire import Answer
from tests.world import HOTLINE, NATIONAL, OTHER_UNIT, REFERRAL, UNIT, World

PUBLIC = (Path(__file__).parents[1] / "rules" / "public_paths.txt").read_text().splitlines()
DIGEST = sha256_b64u(b"")
PERSON, SERVICE = CredentialKind.PERSON, CredentialKind.SERVICE
H, U, A, R = Role.HOTLINE, Role.POLICE_UNIT, Role.AUDITOR, Role.REGISTRAR


@dataclass(frozen=True, slots=True)
class Seat:
    """Who somebody is to the one referral of this file."""

    role: Role
    kind: CredentialKind
    relation: Relation


SEATS: Mapping[str, Seat] = {
    "operator": Seat(H, PERSON, Relation.SENDER),
    "calls": Seat(H, SERVICE, Relation.SENDER),
    "colleague": Seat(H, PERSON, Relation.STRANGER),
    "officer": Seat(U, PERSON, Relation.RECIPIENT),
    "desk": Seat(U, SERVICE, Relation.RECIPIENT),
    "stranger": Seat(U, PERSON, Relation.STRANGER),
    "national": Seat(U, PERSON, Relation.WITHHELD),
    "auditor": Seat(A, PERSON, Relation.STRANGER),
    "inspector": Seat(A, SERVICE, Relation.STRANGER),
    "registrar": Seat(R, PERSON, Relation.STRANGER),
}
SIGNERS = tuple(name for name in SEATS if name not in ("desk", "inspector"))
"""A unit's and an auditor's service have no seal key: they can sign nothing at all."""


@dataclass(frozen=True, slots=True)
class Scene:
    """An exchange with one referral, opened and acknowledged by its unit."""

    world: World
    ref: str
    opened: Opened
    submit: str
    note: str
    year: str


@pytest.fixture(scope="module")
def scene(served: World) -> Iterator[Scene]:
    ref = str(served.submit().outgoing.ref)
    opened = served.open("officer", ref)
    served.after(served.officer.acknowledge(opened))
    note = served.act("officer", ref, Act.NOTE, note="Enterados.")
    year = next(log for log in served.heads if log != "keys").partition("/")[2]
    submit = served.operator.referral(ref).submit().act.digest
    yield Scene(served, ref, opened, submit, note.outgoing.digest, year)
    served.check()


def test_the_seats_are_what_they_are_called(scene: Scene) -> None:
    deliveries = scene.world.operator.referral(scene.ref).chronicle.deliveries
    for name, seat in SEATS.items():
        found = scene.world.caller(name).call("GET", "/v1/ping").json
        assert (found["role"], found["kind"]) == (seat.role.value, seat.kind.value)
        state = deliveries[found["party"]].shown_state if found["party"] in deliveries else None
        relation = policy.relation_of(found["party"], seat.role, sender=HOTLINE, state=state)
        assert relation is seat.relation
    assert (deliveries[NATIONAL].role, deliveries[NATIONAL].state) == (DeliveryRole.ESCALATION, State.HELD)


READS: Mapping[str, tuple[Read, str]] = {
    "get_ping": (Read.PING, "/v1/ping"),
    "get_parties": (Read.DIRECTORY, "/v1/parties"),
    "get_party": (Read.DIRECTORY, f"/v1/parties/{UNIT}"),
    "get_enrolments": (Read.ENROLMENTS, "/v1/enrolments"),
    "get_referral": (Read.REFERRAL, "/v1/referrals/{ref}"),
    "get_bundle": (Read.BUNDLE, "/v1/referrals/{ref}/bundle"),
    "get_sealed": (Read.SEALED, "/v1/referrals/{ref}/sealed/{note}"),
    "get_inbox": (Read.INBOX, "/v1/inbox"),
    "get_receipt": (Read.RECEIPT, "/v1/receipts/{submit}"),
    "get_keys_checkpoint": (Read.KEYS_LOG, "/v1/log/keys/checkpoint"),
    "get_keys_consistency": (Read.CONSISTENCY, "/v1/log/keys/consistency?from=1&to=2"),
    "get_keys_tile": (Read.KEYS_LOG, "/v1/log/keys/tile/entries/000.p/1"),
    "get_audit_checkpoint": (Read.AUDIT_LOG, "/v1/log/audit/{year}/checkpoint"),
    "get_audit_consistency": (Read.CONSISTENCY, "/v1/log/audit/{year}/consistency?from=1&to=2"),
    "get_audit_beginning": (Read.CONSISTENCY, "/v1/log/audit/{year}/beginning"),
    "get_audit_tile": (Read.AUDIT_LOG, "/v1/log/audit/{year}/tile/0/000.p/1"),
    "get_records": (Read.RECORDS, "/v1/records/{year}?limit=1"),
    "get_record": (Read.RECORDS, "/v1/records/{year}/0"),
    "get_evidence": (Read.EVIDENCE, "/v1/evidence/{ref}"),
    "get_statistics": (Read.STATISTICS, "/v1/statistics?year={last}"),
}
ABOUT_THE_REFERRAL = {Read.REFERRAL, Read.BUNDLE, Read.SEALED, Read.EVIDENCE}
OF_ALL = {Read.AUDIT_LOG, Read.RECORDS, Read.STATISTICS}


def relation_for(read: Read, seat: Seat) -> Relation:
    """What a caller is to what this read is about."""
    if read in ABOUT_THE_REFERRAL:
        return seat.relation
    if read in OF_ALL:
        return Relation.STRANGER
    if read is Read.RECEIPT:
        return Relation.OWN if seat.relation in (Relation.SENDER, Relation.RECIPIENT) else Relation.STRANGER
    return Relation.OWN


@pytest.mark.parametrize("who", SEATS)
@pytest.mark.parametrize("operation", READS)
def test_a_read_is_answered_as_the_table_of_rights_says(scene: Scene, operation: str, who: str) -> None:
    read, path = READS[operation]
    seat = SEATS[who]
    filled = path.format(ref=scene.ref, note=scene.note, submit=scene.submit, year=scene.year, last=int(scene.year) - 1)
    answer = scene.world.caller(who).call("GET", filled)
    relation = relation_for(read, seat)
    if policy.may(read, seat.role, seat.kind, relation):
        assert answer.status == 200, answer.body
    else:
        hidden = relation in (Relation.STRANGER, Relation.WITHHELD)
        assert (answer.status, answer.code) == ((404, "not-found") if hidden else (403, "not-permitted"))


def test_every_call_that_only_reads_is_in_the_table_above() -> None:
    reading = {one.name for one in OPERATIONS if one.action is not None and one.method == "GET"}
    assert reading == READS.keys()
    assert {READS[one.name][0] for one in OPERATIONS if one.name in READS} == {
        one.action for one in OPERATIONS if one.name in READS
    }


BODIES: Mapping[Act, dict[str, Any]] = {
    Act.PHONE_ALERT: {"made": False},
    Act.RELEASED: {"reason": "hotline_manual"},
    Act.SUPPLEMENT: {},
    Act.WITHDRAW: {"reason": "duplicate"},
    Act.CONSENT_WITHDRAWN: {},
    Act.ACK: {"decrypted": True, "bundle": DIGEST, "submit": DIGEST},
    Act.RECEIPT_FAILED: {"reason": "malformed"},
    Act.ACCEPT: {},
    Act.DECLINE: {"reason": "no_capacity"},
    Act.TRANSFER: {"reason": "capacity"},
    Act.STATUS: {"code": "registered"},
    Act.WITHDRAWAL_ANSWER: {"code": "already_acted", "answers": DIGEST},
    Act.NOTE: {},
    Act.ASK: {"topics": ["timing"]},
    Act.ANSWER: {"answers": DIGEST, "code": "not_known"},
    Act.APPROVE: {"answers": DIGEST},
    Act.CLOSE: {"outcome": "duplicate"},
    Act.REOPEN: {"reason": "new_information"},
    Act.REWRAP: {"original": DIGEST, "reason": "new_workstation"},
    Act.HOLD: {"on": False, "basis": "audit"},
    Act.PURGE_REQUEST: {"reason": "withdrawn"},
}


def target(who: str) -> str:
    """A unit to pass the referral on to that is not one's own."""
    return NATIONAL if who == "stranger" else OTHER_UNIT


def sealed_for(scene: Scene, who: str, act: Act, act_id: str) -> str | None:
    """What an act of this kind needs beside it."""
    contents: Mapping[Act, Body] = {
        Act.NOTE: NoteBody(act_id, "x"),  # type: ignore[arg-type]  # an id by construction
        Act.SUPPLEMENT: BundleBody(REFERRAL),
        Act.TRANSFER: ForwardBody(ForwardReason.TRANSFER, DIGEST, scene.opened.bundle.referral.jws.raw),
        Act.REWRAP: ForwardBody(ForwardReason.REWRAP, DIGEST, scene.opened.bundle.referral.jws.raw),
    }
    if act not in contents:
        return None
    client = scene.world.client(who)
    client.sync_keys()
    other = target(who) if act is Act.TRANSFER else UNIT if who == "national" else NATIONAL
    to = addressing.recipients_for(client.session, other, client.session.now())
    sealed = submission.seal_beside(client.session, client.keys, ReferralId(scene.ref), contents[act], to)
    return sealed.raw.decode()


def put(scene: Scene, who: str, act: Act) -> Answer:
    """An act on the referral, as right as it can be made for somebody of any role."""
    client = scene.world.client(who)
    act_id = client.session.ambient.act_id()
    sealed = sealed_for(scene, who, act, act_id)
    body = BODIES[act] | ({"to": target(who)} if act is Act.TRANSFER else {})
    if sealed is not None:
        body["sealed"] = {"sha256": sha256_b64u(sealed.encode()), "size": len(sealed)}
    unit = client.profile.party if SEATS[who].role is U else UNIT
    _, text = sign(client, act, body, scene.ref, id=act_id, unit=unit, prev=scene.submit)
    document = {"act": text} | ({} if sealed is None else {"sealed": sealed})
    return scene.world.caller(who).call("PUT", f"/v1/referrals/{scene.ref}/acts/{act_id}", document)


@pytest.mark.parametrize("who", SIGNERS)
@pytest.mark.parametrize("act", BODIES, ids=[act.value for act in BODIES])
def test_an_act_gets_as_far_as_the_table_of_rights_lets_it(scene: Scene, act: Act, who: str) -> None:
    """Whoever has the right meets the next step (the state may not allow it); whoever has not, 403 or 404."""
    seat = SEATS[who]
    answer = put(scene, who, act)
    allowed = policy.may(act, seat.role, seat.kind, seat.relation)
    stopped = answer.code in ("not-permitted", "not-found")
    assert stopped is not allowed, answer.body
    if not allowed:
        hidden = seat.relation in (Relation.STRANGER, Relation.WITHHELD)
        assert (answer.status, answer.code) == ((404, "not-found") if hidden else (403, "not-permitted"))
        needs_person = seat.kind is SERVICE and policy.may(act, seat.role, PERSON, seat.relation)
        assert (answer.json.get("needs") == "person") is needs_person


def test_the_acts_above_are_all_that_parties_sign_about_a_referral() -> None:
    asked = {right.action for right in policy.RIGHTS if isinstance(right.action, Act)}
    own = EXCHANGE_ACTS - {Act.RELEASED}
    assert asked - DIRECTORY_ACTS - ACCOUNTS - own - {Act.SUBMIT, Act.ROUTE} == set(BODIES)


@pytest.mark.parametrize("who", ["officer", "auditor", "registrar"])
def test_only_a_hotline_submits(scene: Scene, who: str) -> None:
    client = scene.world.client(who)
    client.sync_keys()
    session, now = client.session, client.session.now()
    ref = session.ambient.referral_id()
    to = addressing.recipients_of(session.keymap, OTHER_UNIT, SealRole.ACTION, now)  # type: ignore[arg-type]
    to += addressing.own_keys(session.keymap, client.profile.party, now)
    sealed = submission.seal_beside(session, client.keys, ref, BundleBody(REFERRAL), to)
    submitted = scene.world.operator.referral(scene.ref).submit().act.jws.payload
    body = json.loads(submitted)["body"] | {
        "to": [{"unit": OTHER_UNIT, "role": "action"}],
        "bundle": {"sha256": sealed.sha256, "size": sealed.size},
    }
    _, text = sign(client, Act.SUBMIT, body, ref)
    document = {"act": text, "bundle": sealed.raw.decode()}
    answer = scene.world.caller(who).call("PUT", f"/v1/referrals/{ref}", document)
    assert (answer.status, answer.code, "receipt" in answer.json) == (403, "not-permitted", True), answer.body


DIRECTORY: Mapping[Act, dict[str, Any]] = {
    Act.REVOKE: {"kid": DIGEST, "reason": "lost", "at": 1_795_000_000},
    Act.OBJECT: {"statement": DIGEST, "reason": "not_ours"},
    Act.APPROVE_STATEMENT: {"party": UNIT, "statement": DIGEST, "code_sha256": DIGEST},
    Act.CALL_TOTAL: {"month": "2026-01", "calls": 512},
}


@pytest.mark.parametrize("act", DIRECTORY, ids=[act.value for act in DIRECTORY])
def test_a_service_signs_nothing_about_parties_and_keys(scene: Scene, act: Act) -> None:
    """R-61."""
    act_id, text = sign(scene.world.calls, act, DIRECTORY[act], None)
    answer = scene.world.caller("calls").call("PUT", f"/v1/directory/acts/{act_id}", {"act": text})
    assert (answer.status, answer.code, answer.json["needs"]) == (403, "not-permitted", "person")


def paths() -> list[tuple[str, str]]:
    """Every call there is: those of the table, and what FastAPI serves beside them."""
    beside = [("GET", path) for path in ("/healthz", "/readyz", "/metrics", "/version", "/v1/docs", "/v1/openapi.json")]
    return [(one.method, one.path) for one in OPERATIONS] + beside


FILL = {
    "ref": "01900000-0000-7000-8000-000000000000", "id": "00000000-0000-4000-8000-000000000000", "digest": DIGEST,
    "enrolment": "00000000-0000-4000-8000-000000000000", "party": UNIT, "term": "2026", "index": "0", "path": "0/000",
}  # fmt: skip


@pytest.mark.parametrize(("method", "path"), paths(), ids=[" ".join(one) for one in paths()])
def test_without_credentials_everything_is_401_but_for_the_list_of_public_paths(
    scene: Scene, method: str, path: str
) -> None:
    raw = b"{}" if method in ("PUT", "POST") else b""
    answer = scene.world.caller("officer").call(method, path.format(**FILL), raw=raw, signed=False)
    if f"{method} {path}" in PUBLIC:
        assert answer.status != 500
        assert answer.code not in ("invalid_token", "invalid_dpop_proof")
    else:
        assert (answer.status, answer.code) == (401, "invalid_token"), answer.body


def test_the_list_of_public_paths_names_only_calls_that_exist_and_can_only_shrink() -> None:
    assert set(PUBLIC) <= {f"{method} {path}" for method, path in paths()}
    assert len(PUBLIC) == len(set(PUBLIC)) <= 12
