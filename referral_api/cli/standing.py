"""What has become of a referral since it was sealed, said before anybody reads or acts on it: taken back, consent that
was withdrawn, taken by another unit or given back by it, and what answer is owed until when.

The sealed body says what was true of the day on which it was written; what came later stands in the acts. Everything
here is of acts and states that were verified and folded on this machine.

Must never: let an officer read a consent that was withdrawn as one that stands.

Implements: R-75; R7 of the field; design §10.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rich.text import Text

from referral_api.cli import nexts
from referral_api.cli.invocation import Invocation
from referral_api.cli.output import Exit, Screen, Shown
from referral_api.cli.reading import Line
from referral_api.client.consented import WITHDRAWN
from referral_api.client.view import Referral, ShownAct
from referral_api.domain import lifecycle
from referral_api.domain.clocks import Clock
from referral_api.domain.deliveries import GIVEN_BACK, NOTICES
from referral_api.domain.policy import Relation
from referral_api.domain.words import Act, State
from referral_api.formats.codelists import label


@dataclass(frozen=True, slots=True)
class Notice:
    """A withdrawal, or that consent was: when it came, and why. `unit` tells its sender from which unit of several."""

    act: Act
    at: int
    unit: str | None
    reason: str | None


@dataclass(frozen=True, slots=True)
class Owes:
    """An answer to a notice that our unit owes: the notice's digest, until when (unix seconds), and the command."""

    digest: str
    due_at: int | None
    command: str


@dataclass(frozen=True, slots=True)
class Standing:
    """How a referral stands for who reads it now."""

    ref: str
    notices: tuple[Notice, ...]
    taken_at: int | None
    given_back_at: int | None
    owes: tuple[Owes, ...]

    @property
    def consent_withdrawn_at(self) -> int | None:
        """When it was first said that the person no longer agrees; None while nobody has said so."""
        return next((one.at for one in self.notices if WITHDRAWN in (one.act.value, one.reason)), None)

    @property
    def withdrawn(self) -> tuple[Notice, ...]:
        """What was taken back."""
        return tuple(one for one in self.notices if one.act is Act.WITHDRAW)


def of(screen: Screen, referral: Referral) -> Standing:
    """How a verified referral stands for this party."""
    accepted = [one for one in referral.acts if one.accepted]
    is_ours = referral.relation is Relation.RECIPIENT
    notices = tuple(_notice(one, is_ours=is_ours) for one in accepted if one.act.act in NOTICES)
    if not is_ours:
        return Standing(referral.ref, notices, None, None, ())
    own = next(iter(referral.chronicle.deliveries.values()))
    taken = max((one.at for one in accepted if one.act.act is Act.TAKEN), default=None) if own.taken else None
    waits = not own.taken and own.state in lifecycle.UNREAD | {State.ACKNOWLEDGED}
    given_back = dict(own.told).get(GIVEN_BACK) if waits else None
    return Standing(referral.ref, notices, taken, given_back, tuple(_owes(screen, referral)))


def data(standing: Standing) -> dict[str, Any]:
    """The same as JSON members."""
    return {
        "standing": {
            "withdrawn": [{"at": one.at, "unit": one.unit, "reason": one.reason} for one in standing.withdrawn],
            "consent_withdrawn_at": standing.consent_withdrawn_at,
            "taken_at": standing.taken_at,
            "given_back_at": standing.given_back_at,
            "owes": [{"answers": one.digest, "due_at": one.due_at, "command": one.command} for one in standing.owes],
        }
    }


def lines(screen: Screen, standing: Standing) -> list[Line]:
    """The same as the first lines of all; none where nothing has happened that a reader must know first."""
    shown: list[Line] = []
    if standing.consent_withdrawn_at is not None:
        shown.append(_red(screen.say("standing.consent", at=screen.at(standing.consent_withdrawn_at))))
    for one in standing.withdrawn:
        words = label("withdraw_reason", str(one.reason), screen.lang)
        key = "standing.withdrawn" if one.unit is None else "standing.withdrawn_from"
        shown.append(_red(screen.say(key, at=screen.at(one.at), words=words, unit=one.unit)))
    if standing.taken_at is not None:
        shown.append(_red(screen.say("standing.taken", at=screen.at(standing.taken_at))))
    if standing.given_back_at is not None:
        shown.append(_red(screen.say("standing.given_back", at=screen.at(standing.given_back_at))))
    for each in standing.owes:
        until = "—" if each.due_at is None else screen.at(each.due_at)
        shown.append(_red(screen.say("standing.owes", until=until, command=each.command)))
    return [*shown, ""] if shown else []


def demand_served(call: Invocation, referral: Referral) -> None:
    """End the call with how it stands, where the hotline took it back and its text is not to be had any more (R-75)."""
    own = next(iter(referral.chronicle.deliveries.values()))
    if referral.relation is not Relation.RECIPIENT or own.state is not State.WITHDRAWN:
        return
    stands = of(call.screen, referral)
    told = {"ref": referral.ref, "opened": False, "state": own.state.value, **data(stands)}
    shown = [*lines(call.screen, stands), call.screen.say("standing.gone")]
    follow = [*(one.command for one in stands.owes), f"referral timeline {referral.ref}"]
    call.show(Shown(told, shown, follow, Exit.NOT_FOUND))


def demand_yes(call: Invocation, referral: Referral) -> None:
    """Ask before a unit takes what was taken back, or is no longer agreed to. Raises Fault for a no."""
    standing = of(call.screen, referral)
    if standing.consent_withdrawn_at is None and not standing.owes:
        return
    for line in lines(call.screen, standing)[:-1]:
        call.screen.talk("standing.line", line=line)
    key = "ask.accept_owing" if standing.consent_withdrawn_at is None else "ask.accept_without_consent"
    call.confirm(key, ref=referral.ref)


def _notice(shown: ShownAct, *, is_ours: bool) -> Notice:
    reason = getattr(shown.act.body, "reason", None)
    return Notice(shown.act.act, shown.at, None if is_ours else shown.act.unit, reason)


def _owes(screen: Screen, referral: Referral) -> list[Owes]:
    own = next(iter(referral.chronicle.deliveries.values()))
    stands = referral.standings.get(own.unit)
    dues = () if stands is None else stands.dues
    due = next((one.due_at for one in dues if one.clock is Clock.WITHDRAWAL_ANSWER), None)
    command = nexts.command(screen, referral, Act.WITHDRAWAL_ANSWER, own)
    open_ = [one.digest for one in own.questions if one.act in NOTICES]
    several = len(open_) > 1
    return [Owes(one, due, f"{command} --answers {one}" if several else str(command)) for one in open_]


def _red(line: str) -> Text:
    return Text(line, style="bold red")
