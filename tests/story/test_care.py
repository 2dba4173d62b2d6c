"""Care for the persons behind a referral, lived on a whole exchange: copies that name nobody, consent taken back
everywhere, two persons who share against a refusal, and a number that grew old.

Rules R6, R7, R8, R9, R10 and R11 of the field; clauses R-83, R-86, R-87.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from referral_api.client import copying, sdk
from referral_api.client.compartment import InsecureKdfForTests
from referral_api.client.delivery import Opened
from referral_api.client.enrolment import Joining
from referral_api.client.outbox import Entry, Progress
from referral_api.client.submission import Composition
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import COPY_OF, Act, CredentialKind, DeliveryRole, PartyId, State
from referral_api.formats.codelists import codes
from referral_api.formats.enrolment import parse_invitation
from referral_api.formats.referral_body import parse_referral
from referral_api.formats.referral_copy import NO_WORDS, reduce_body
from tests.auditlog.refusals import refused
from tests.cli.shell import Shell
from tests.signing import sign
from tests.smuggling import smuggle
from tests.wire import Wire
from tests.world import CANARY, ENTRIES, HOTLINE, NATIONAL, OTHER_UNIT, PASSPHRASE, REFERRAL, UNIT, Seat, World
from tests.world_check import Rows

ABSENT = "01900000-0000-7000-8000-000000000000"
VARYING = ("receipt", "proof", "request_id", "server_time", "instance")
"""Members of a refusal that are another each time."""
PERSONAL = (
    *("Nombre-Inventado", "Apellido-Inventado", "Loretana", "La Tía", "Garza", "Jirón", "+51900000000", "vecina"),
    *(CANARY, "placa", "200101", "-5.194490", "LP-2026-0417", "escalera"),
)
"""Words of the example that tell of somebody or of the exact place."""


@pytest.fixture
def world(sqlite_world: World) -> World:
    """What clients do here is the same before either engine; the door's own rules are tried on both elsewhere."""
    return sqlite_world


def sent(world: World, **changes: Any) -> str:
    """A referral that the unit got."""
    return str(world.submit(**changes).outgoing.ref)


def copied(world: World, ref: str, *units: str, summary: str | None = None) -> Entry:
    """A copy of it to further units."""
    return world.after(copying.make_copy(world.operator, ref, units, summary))


# Copies.


def test_a_copy_tells_a_further_unit_what_happens_and_nothing_of_whom(world: World) -> None:
    """Rule R9 of the field; R-86."""
    ref = sent(world)
    entry = copied(world, ref, OTHER_UNIT)
    assert entry.state is Progress.RECEIVED
    copy = str(entry.outgoing.ref)
    assert copy != ref
    opened = world.open("stranger", copy)
    assert opened.faults == ()
    told = json.dumps(opened.body.wire(), ensure_ascii=False)
    assert [word for word in PERSONAL if word in told] == []
    assert opened.body.situation.summary == NO_WORDS
    assert opened.body.do_not == tuple(REFERRAL["do_not"])
    assert [victim.age_group for victim in opened.body.victims] == ["child_12_17", "unknown"]
    assert {place.ubigeo for place in opened.body.locations} == {"200100", "160000"}
    world.after(world.stranger.acknowledge(opened))
    # The first unit has nothing of the copy, the second nothing of the referral.
    refused(ErrorCode.NOT_FOUND, world.officer.referral, copy)
    refused(ErrorCode.NOT_FOUND, world.stranger.referral, ref)


def test_whoever_is_informed_acknowledges_and_decides_nothing(world: World) -> None:
    """R-86: a copy has no unit that acts, and none that is held in reserve."""
    copy = str(copied(world, sent(world), OTHER_UNIT).outgoing.ref)
    deliveries = world.operator.referral(copy).chronicle.deliveries
    assert {unit: one.role for unit, one in deliveries.items()} == {OTHER_UNIT: DeliveryRole.INFORMATION}
    world.acknowledge("stranger", copy)
    bodies: dict[Act, dict[str, Any]] = {
        Act.ACCEPT: {},
        Act.DECLINE: {"reason": "no_capacity"},
        Act.STATUS: {"code": "registered"},
    }
    for act, body in bodies.items():
        refused(ErrorCode.ILLEGAL_TRANSITION, lambda act=act, body=body: world.stranger.act(copy, act, body))
        head = world.stranger.referral(copy).chronicle.deliveries[OTHER_UNIT].head
        act_id, text = sign(world.stranger, act, body, copy, unit=OTHER_UNIT, prev=head)
        answer = world.caller("stranger").call("PUT", f"/v1/referrals/{copy}/acts/{act_id}", {"act": text})
        assert (answer.status, answer.code) == (409, "illegal-transition"), answer.body


def test_an_operator_may_write_new_words_for_a_copy(world: World) -> None:
    words = "Posible explotación en un bar de Piura; se informa por si hay un caso parecido en su zona."
    copy = str(copied(world, sent(world), OTHER_UNIT, summary=words).outgoing.ref)
    assert world.open("stranger", copy).body.situation.summary == words


def test_nobody_is_informed_whom_the_referral_excludes_or_who_has_it(world: World) -> None:
    """Rule R9 of the field: an exclusion holds for copies too, at the sender's client and at the door."""
    ref = sent(world, excluded=(PartyId(OTHER_UNIT),))
    for unit, reason in ((OTHER_UNIT, "excluded"), (UNIT, "addressed")):
        assert refused(ErrorCode.TARGET_NOT_ALLOWED, copying.make_copy, world.operator, ref, [unit]) == reason
    what = copy_by_hand(world, ref)
    entry = world.after(world.operator.submit(what))
    assert (entry.state, entry.code) == (Progress.REFUSED, ErrorCode.TARGET_NOT_ALLOWED)
    assert list(world.stranger.inbox()) == []


def copy_by_hand(world: World, ref: str, **changes: Any) -> Composition:
    """A copy as software of another make composes it: without what ours looks at first."""
    body = reduce_body(world.operator.open(ref).body)
    return Composition(
        **{
            "body": body,
            "action": None,
            "information": (PartyId(OTHER_UNIT),),
            "relation": {"type": COPY_OF, "ref": ref},
            "operator": "op-2",
        }
        | changes
    )


def test_a_copy_that_says_more_than_one_may_is_refused_before_it_is_sealed(world: World) -> None:
    """R-86: the sender's client holds a copy against the rule, whoever reduced it."""
    ref = sent(world)
    whole = copy_by_hand(world, ref)
    more = whole.body | {"suspects": [{"ref": "S1", "alias": ["La Tía"]}]}
    assert refused(ErrorCode.CONSENT_GATE, world.operator.queue, copy_by_hand(world, ref, body=more)) == "not-reduced"
    assert world.after(world.operator.submit(whole)).state is Progress.RECEIVED


def test_a_hotline_relates_only_to_what_it_sent_and_learns_nothing_of_others(world: World) -> None:
    """R-86: somebody else's referral and none at all are answered alike, word for word."""
    foreign, own = sent(world, by="colleague"), sent(world)
    for relation in codes("relation_type"):
        told = [refusal_of(world, related(relation, ref)) for ref in (foreign, ABSENT)]
        assert told[0] == told[1]
        assert (told[0]["code"], told[0]["reason"], told[0]["retry"]) == ("target-not-allowed", "relation", "never")
        assert world.operator.submit(related(relation, own)).state is Progress.RECEIVED
    world.check()
    assert [line.kind for line in world.colleague.inbox()] == ["submit"]


def refusal_of(world: World, what: Composition) -> dict[str, Any]:
    """What the exchange answers to a submission, without what differs from answer to answer."""
    entry = world.operator.queue(what)
    raw = entry.outgoing
    assert raw.beside is not None
    document = {"act": raw.jws.decode(), "bundle": raw.beside.decode()}
    answer = world.caller("operator").call("PUT", f"/v1/referrals/{raw.ref}", document)
    assert answer.status == 403, answer.body
    return {name: value for name, value in answer.json.items() if name not in VARYING}


def related(relation: str, ref: str) -> Composition:
    """A submission that relates so to that referral."""
    if relation != COPY_OF:
        return Composition(REFERRAL, PartyId(UNIT), relation={"type": relation, "ref": ref}, operator="op-2")
    return Composition(
        reduce_body(parse_referral(REFERRAL)), None, (PartyId(OTHER_UNIT),), relation={"type": relation, "ref": ref}
    )


# Consent taken back.


def test_once_consent_was_withdrawn_nothing_is_spread_any_further(world: World) -> None:
    """Rule R7 of the field; R-75, R-86: a copy is told of it like any referral, and must answer."""
    ref = sent(world)
    copy = str(copied(world, ref, OTHER_UNIT).outgoing.ref)
    world.acknowledge("stranger", copy)
    for one in (ref, copy):
        assert world.act("operator", one, Act.CONSENT_WITHDRAWN).code is None
    line = next(one for one in world.stranger.inbox(pending=True) if one.ref == copy)
    assert (line.kind, line.answered_by) == ("consent_withdrawn", ("withdrawal_answer",))
    answer = {"code": "stopped_and_destroyed", "answers": line.act}
    assert world.act("stranger", copy, Act.WITHDRAWAL_ANSWER, answer).code is None
    assert list(world.stranger.inbox(pending=True)) == []
    for one in (ref, copy):
        assert (
            refused(ErrorCode.CONSENT_GATE, copying.make_copy, world.operator, one, [NATIONAL]) == "consent-withdrawn"
        )


def test_a_referral_that_was_taken_back_is_not_copied(world: World) -> None:
    ref = sent(world)
    world.act("operator", ref, Act.WITHDRAW, {"reason": "entered_in_error"})
    assert {one.state for one in world.operator.referral(ref).chronicle.deliveries.values()} == {State.WITHDRAWN}
    refused(ErrorCode.ILLEGAL_TRANSITION, copying.make_copy, world.operator, ref, [OTHER_UNIT])


# Two persons.


def refusing(second_person: str) -> dict[str, Any]:
    """A grown woman who said no, and who may die tonight."""
    override = {"by": "op-2", "reason": "imminent_danger", "second_person": second_person}
    return REFERRAL | {
        "involves_minor": "no",
        "victims": [{"ref": "V1", "age_group": "adult", "names": {"first": "Nombre-Inventado"}}],
        "consent": {
            "subject": "V1",
            "state": "refused",
            "basis": "vital_interest",
            "identity_level": "identified",
            "override": override,
        },
    }


def test_sharing_against_a_refusal_takes_a_second_person_before_anything_is_sealed(world: World) -> None:
    """Rule R6 of the field; R-83."""
    own = world.operator.keys.credential
    officer = world.officer.keys.credential
    service = world.calls.keys.credential
    for named in (own, officer, service, f"{HOTLINE}.nadie1"):
        reason = refused(ErrorCode.CONSENT_GATE, world.operator.queue, composed(refusing(named)))
        assert reason == "second-person"
    supervisor = second_of(world)
    refused(ErrorCode.NOT_PERMITTED, world.calls.queue, composed(refusing(supervisor)))
    assert world.operator.outbox.entries() == []
    entry = world.after(world.operator.submit(composed(refusing(supervisor))))
    assert entry.state is Progress.RECEIVED
    submit: Any = world.operator.referral(str(entry.outgoing.ref)).submit().act.body
    assert submit.override.wire() == {"reason": "imminent_danger", "second_person": supervisor}
    assert world.open("officer", str(entry.outgoing.ref)).faults == ()


def test_who_addresses_it_anew_against_a_refusal_has_somebody_agree_again(sqlite_world: World) -> None:
    """Rule R6 of the field, R-110, by command: an agreement was to one unit, and is for no other."""
    world = sqlite_world
    supervisor = second_of(world)
    ref = str(world.after(world.operator.submit(composed(refusing(supervisor)))).outgoing.ref)
    world.acknowledge("officer", ref)
    world.act("officer", ref, Act.DECLINE, {"reason": "no_capacity"})
    shell = Shell(world.folder, world.server.url)
    words = ("readdress", ref, "--unit", OTHER_UNIT, "--yes", "--json")
    own = world.operator.keys.credential
    for more in ((), ("--second-person", own), ("--second-person", f"{HOTLINE}.nadie1")):
        ran = shell.run("operator", *words, *more)
        error = ran.json["error"]
        assert (ran.exit, error["code"], error["facts"]["reason"]) == (7, "consent-gate", "second-person"), more
    assert {row["ref"] for row in Rows(world)["referral"]} == {ref}
    ran = shell.run("operator", *words, "--second-person", supervisor)
    assert ran.exit == 0, ran
    renewed = str(ran.json["ref"])
    submit: Any = world.operator.referral(renewed).submit().act.body
    assert submit.override.wire() == {"reason": "imminent_danger", "second_person": supervisor}
    assert world.open("stranger", renewed).faults == ()


def composed(body: dict[str, Any]) -> Composition:
    return Composition(body, PartyId(UNIT), operator="op-2")


def second_of(world: World) -> str:
    """The hotline's supervisor, who joins; her credential."""
    invitation = parse_invitation(world.after(world.operator.invite(ENTRIES[HOTLINE], [CredentialKind.PERSON])))
    what = Joining(invitation, PASSPHRASE, kdf=InsecureKdfForTests(), server=world.server.url, station="st2")
    folder = world.folder / "profiles" / "supervisor"
    joined = world.after(sdk.join(folder, what, transport=Wire(world.tape), clock=world.clock))
    world.after(world.operator.approve(world.operator.applicants()[0], joined.code))
    world.seats = {**world.seats, "supervisor": Seat("supervisor")}
    world.operator.sync_keys()
    return str(world.client("supervisor").keys.credential)


# What is told after opening.


def test_a_reader_is_told_of_everything_that_the_sender_should_not_have_let_through(world: World) -> None:
    """R-81, R-83, R-87: software of another make sends a child's case as routine, and a way to her through the
    suspect; an emergency is shown all the same.
    """
    opened = smuggled(world)
    assert [fault.code for fault in opened.faults] == [ErrorCode.FLOOR_NOT_MET, ErrorCode.CONSENT_GATE]
    assert opened.warning is opened.faults[0]
    assert ("/victims/0/safe_contact", "suspect-contact") in opened.faults[1].facts["findings"]


def smuggled(world: World) -> Opened:
    """What arrives at the unit from a sender that checks nothing."""
    victim = REFERRAL["victims"][0] | {"safe_contact": {"channel": "phone", "value": "+51900000000"}}
    body = REFERRAL | {"urgency": "routine", "victims": [victim, REFERRAL["victims"][1]]}
    return world.open("officer", smuggle(world, body))


def test_an_error_of_the_gate_names_places_and_no_values(world: World) -> None:
    with pytest.raises(ReferralError) as caught:
        world.operator.queue(composed(refusing(f"{HOTLINE}.nadie1")))
    assert "Nombre-Inventado" not in repr(caught.value.facts)
