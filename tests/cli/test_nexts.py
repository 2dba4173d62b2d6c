"""For every side, state and open question: what is offered next exists as a command, and the lifecycle allows it."""

from __future__ import annotations

import itertools
import shlex
from collections.abc import Iterator
from typing import Any

import pytest

from referral_api.auditlog.evidence import Chronicle
from referral_api.cli import nexts
from referral_api.cli.main import build
from referral_api.cli.output import Screen
from referral_api.client.view import Referral
from referral_api.domain import lifecycle, policy
from referral_api.domain.deliveries import Delivery, Question
from referral_api.domain.policy import Relation
from referral_api.domain.words import Act, CredentialKind, DeliveryRole, ReferralId, Role, State
from tests.world import HOTLINE, NATIONAL, UNIT

REF = ReferralId("01900000-0000-7000-8000-000000000000")
SIDES = {Relation.SENDER: (Role.HOTLINE, HOTLINE), Relation.RECIPIENT: (Role.POLICE_UNIT, UNIT)}
ASKERS: dict[str, Question | None] = {
    "nothing": None,
    **{
        f"{act.value} of {asker}": Question(act, "A" * 43, f"{asker}.0000")
        for act, asker in [
            (Act.ASK, UNIT), (Act.ASK, HOTLINE), (Act.TRANSFER, UNIT), (Act.WITHDRAW, HOTLINE),
            (Act.CONSENT_WITHDRAWN, HOTLINE), (Act.PURGE_REQUEST, UNIT), (Act.PURGE_REQUEST, HOTLINE),
        ]
    },
    "telephone_now": Question(Act.TELEPHONE_NOW, "A" * 43, "exchange"),
}  # fmt: skip
"""What may be open on a delivery, and who asked."""
CODES = {"status": "registered"}
WITHOUT_ACT = {"show", "timeline", "inbox", "audit", "readdress"}
"""Commands that are offered and sign no act on this delivery."""


def situation(
    relation: Relation, state: State, role: DeliveryRole, asked: Question | None, *, several: bool
) -> Referral:
    """A referral as one side sees it, with one delivery in this state, or beside it another one."""
    acknowledged = state in lifecycle.WORKING | lifecycle.ENDED | {State.WITHDRAWAL_NOTIFIED}
    questions = () if asked is None else (asked,)
    own = Delivery(
        UNIT, role, state, "h", None if state is State.HELD else 1, questions,
        retrieved_at=1 if acknowledged else None, acknowledged_at=1 if acknowledged else None,
        accepted_at=1 if state in (State.ACCEPTED, State.CLOSED) and role is DeliveryRole.ACTION else None,
    )  # fmt: skip
    other = Delivery(NATIONAL, DeliveryRole.ESCALATION, State.HELD, "h", None)
    deliveries = {UNIT: own} | ({NATIONAL: other} if several and relation is Relation.SENDER else {})
    chronicle = Chronicle(sender=HOTLINE, deliveries=deliveries)
    return Referral(REF, relation, (), chronicle, {}, (), (), {})


def situations() -> Iterator[tuple[Relation, State, DeliveryRole, str, bool]]:
    for relation, state, role, asked, several in itertools.product(SIDES, State, DeliveryRole, ASKERS, (False, True)):
        if relation is Relation.RECIPIENT and (several or state is State.HELD):
            continue  # A unit sees its own delivery alone, and none that is held.
        yield relation, state, role, asked, several


def allowed(referral: Referral) -> dict[str, set[Act]]:
    """What the tables allow this side, by delivery: asked of them alone."""
    role, party = SIDES[referral.relation]
    found = {}
    for unit, own in referral.chronicle.deliveries.items():
        asked = own.questions_for(party, "")
        ruled_out = policy.role_at_delivery(own.role) if role is Role.POLICE_UNIT else frozenset[Act]()
        found[unit] = {
            act
            for act in lifecycle.allowed(role, own.state, open_questions=asked)
            if act not in ruled_out and policy.may(act, role, CredentialKind.PERSON, referral.relation)
        }
    return found


@pytest.fixture(scope="module")
def command() -> Any:
    return build("es")


def parsed(command: Any, line: str) -> tuple[str, str | None]:
    """Verb and unit of a line that the command line reads, its places filled; else it raises."""
    program, verb, *rest = shlex.split(line)
    assert program == "referral"
    places = {
        "CÓDIGO": CODES.get(verb, "x"),
        "ARCHIVO": "x",
        "UNIDAD": NATIONAL,
        "HORA": "02:11",
        "FECHA": "2027-01-31",
    }
    found = command.commands[verb]
    words = [places.get(word, word) for word in rest]
    while getattr(found, "commands", None):
        found = found.commands[words.pop(0)]
    context = found.make_context(verb, words)
    return verb, context.params.get("unit")


def act_of(role: Role, verb: str, line: str) -> Act | None:
    """The act that a verb makes on this side."""
    shapes = {shape.split(" {ref}")[0]: act for act, shape in nexts.VERBS[role].items()}
    if verb == "keys":
        return shapes[" ".join(shlex.split(line)[1:3])]
    return None if verb in WITHOUT_ACT else shapes[verb]


@pytest.mark.parametrize("relation", SIDES)
def test_every_offer_is_a_command_that_the_tables_allow(command: Any, relation: Relation) -> None:
    screen, seen = Screen(), set()
    for side, state, role, name, several in situations():
        if side is not relation:
            continue
        referral = situation(relation, state, role, ASKERS[name], several=several)
        may, here = allowed(referral), (relation, state, role, name, several)
        for unit, own in referral.chronicle.deliveries.items():
            for line in nexts.commands(screen, referral, own):
                verb, named = parsed(command, line)
                assert act_of(SIDES[relation][0], verb, line) in may[unit], (here, line)
                assert named in (None, unit), (here, line)
                seen.add(verb)
        hints = nexts.next_of(screen, referral)
        assert hints, here
        for line in hints:
            verb, named = parsed(command, line)
            act = act_of(SIDES[relation][0], verb, line)
            meant = named or (NATIONAL if act is Act.RELEASED else UNIT)  # Who stands by is called in without a name.
            assert act is None or act in may[meant], (here, line)
            if verb == "readdress":
                assert state in (State.DECLINED, State.EXPIRED, State.RECEIPT_FAILED, State.CLOSED), here
    verbs = {shape.split(" {ref}")[0].split()[0] for shape in nexts.VERBS[SIDES[relation][0]].values()}
    assert seen == verbs, "a verb that is never offered"


@pytest.mark.parametrize("relation", SIDES)
def test_whoever_is_asked_is_told_the_command_that_answers(relation: Relation) -> None:
    """Nothing that waits for somebody is left without a hint on their side, and nobody is told to answer themselves."""
    role, party = SIDES[relation]
    answers = {
        Act.ASK: {"answer"}, Act.TRANSFER: {"approve", "refuse-transfer"}, Act.WITHDRAW: {"answer-notice"},
        Act.CONSENT_WITHDRAWN: {"answer-notice"}, Act.PURGE_REQUEST: {"approve"}, Act.TELEPHONE_NOW: {"phone"},
    }  # fmt: skip
    for side, state, kind, name, several in situations():
        asked = ASKERS[name]
        if side is not relation or asked is None or kind is not DeliveryRole.ACTION:
            continue
        referral = situation(relation, state, kind, asked, several=several)
        hinted = {shlex.split(line)[1] for line in nexts.next_of(Screen(), referral)}
        own = referral.chronicle.deliveries[UNIT]
        may = allowed(referral)[UNIT]
        waits = {
            Act.ASK: Act.ANSWER, Act.TRANSFER: Act.APPROVE, Act.WITHDRAW: Act.WITHDRAWAL_ANSWER,
            Act.CONSENT_WITHDRAWN: Act.WITHDRAWAL_ANSWER, Act.PURGE_REQUEST: Act.APPROVE,
            Act.TELEPHONE_NOW: Act.PHONE_ALERT,
        }[asked.act] in may  # fmt: skip
        mine = asked.waits_for(party, "") and waits
        unread = relation is Relation.RECIPIENT and own.acknowledged_at is None and Act.ACK in may
        if asked.act is Act.TELEPHONE_NOW and role is Role.POLICE_UNIT:
            continue
        if mine and not unread:
            assert answers[asked.act] <= hinted, (relation, state, name, hinted)
        elif not mine:
            assert not answers[asked.act] & hinted, (relation, state, name, hinted)
