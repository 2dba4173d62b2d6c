"""What a reader is told of one delivery beside its state and its commands: what must be said to its unit still, who has
it now, and for whom a proposal waits.

Everything here follows from verified acts and the folded state; numbers are those of the keys log.

Must never: say of a unit that it knows what was sealed to another one, or that a proposal can be taken back by command.

Implements: R-62, R-73, R-110; design §10.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.text import Text

from referral_api.cli.output import Screen
from referral_api.cli.reading import Line
from referral_api.client import consented, handed_on, passing
from referral_api.client.session import Session
from referral_api.client.view import Referral
from referral_api.domain.deliveries import Delivery
from referral_api.domain.policy import Relation
from referral_api.domain.words import Act, PartyId


def lines(screen: Screen, session: Session, referral: Referral) -> list[Line]:
    """The same of every delivery that this party sees; none where there is nothing to say."""
    return [line for own in referral.chronicle.deliveries.values() for line in of(screen, session, referral, own)]


def of(screen: Screen, session: Session, referral: Referral, own: Delivery) -> list[Line]:
    """What this party is told of one delivery."""
    if referral.relation is Relation.SENDER:
        return list(_sender(screen, referral, own))
    if referral.relation is Relation.RECIPIENT:
        return list(_unit(screen, session, referral, own))
    return []


def data(referral: Referral) -> dict[str, Any]:
    """What a sender has still to say, as JSON members: what a unit lacks that was said to those before it, and who has
    not been told of a withdrawn consent on this referral.
    """
    found = [handed_on.lacking(referral, unit) for unit in referral.chronicle.deliveries]
    untold = referral.relation is Relation.SENDER and consented.is_withdrawn(referral)
    return {
        "lacking": [
            {
                "unit": one.unit,
                "said": [
                    {"act": said.act.act.value, "digest": said.act.digest, "unit": said.act.unit, "at": said.at}
                    for said in one.said
                ],
            }
            for one in found
            if one is not None
        ],
        "untold": consented.untold(referral) if untold else [],
    }


def passed_on(screen: Screen, referral: Referral, unit: str) -> tuple[list[str], list[Line]]:
    """After something was said to a unit that has passed the referral on: the command that says it to who has it now,
    and that it has to be said; nothing of a unit that has not.
    """
    now = handed_on.has_it_now(referral, unit)
    if referral.relation is not Relation.SENDER or now is None or consented.is_withdrawn(referral):
        return [], []
    command = f"referral note {referral.ref} {screen.say('place.file')} --unit {now}"
    return [command], [_red(screen.say("remark.only_read_by", unit=unit, now=now))]


def dial(screen: Screen, session: Session, party: str) -> str:
    """The number to call a party at by the keys log; of one that names none, the numbers of its parent and of those it
    escalates to.
    """
    found = session.keymap.find_party(party)
    if found is None or found.entry.duty_phone is not None:
        return passing.duty_phone(session, party)
    named = [*([] if found.entry.parent is None else [found.entry.parent]), *found.entry.escalation]
    phones = [(one, passing.duty_phone(session, one)) for one in dict.fromkeys(named)]
    listed = ", ".join(f"{one} {phone}" for one, phone in phones if phone != "—")
    return screen.say("dial.instead", phones=listed) if listed else screen.say("dial.nobody")


def untold(screen: Screen, unit: str) -> Line:
    """That a unit was not told of a withdrawn consent."""
    return _red(screen.say("remark.untold", unit=unit))


def _sender(screen: Screen, referral: Referral, own: Delivery) -> Iterator[Line]:
    if consented.is_withdrawn(referral):
        if PartyId(own.unit) in consented.untold(referral):
            yield untold(screen, own.unit)
        return
    found = handed_on.lacking(referral, own.unit)
    if found is not None:
        what = ", ".join(dict.fromkeys(screen.say(f"act.{one.act.act.value}") for one in found.said))
        units = ", ".join(dict.fromkeys(str(one.act.unit) for one in found.said))
        yield _red(screen.say("remark.lacks", unit=own.unit, units=units, what=what))
    now = handed_on.has_it_now(referral, own.unit)
    if now is not None and Act.ASK in own.questions_for(str(referral.chronicle.sender), ""):
        yield screen.say("remark.has_it_now", unit=own.unit, now=now)


def _unit(screen: Screen, session: Session, referral: Referral, own: Delivery) -> Iterator[Line]:
    proposed = [one.digest for one in own.questions if one.act is Act.TRANSFER]
    line = str(referral.submit().act.party)
    for digest in proposed:
        to = passing.proposed_to(referral, digest) or "—"
        yield screen.say("remark.proposed", unit=to, line=line, phone=passing.duty_phone(session, line))


def _red(line: str) -> Text:
    return Text(line, style="bold red")
