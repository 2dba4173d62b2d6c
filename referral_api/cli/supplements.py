"""Supplements on screen: what came after the referral, each with its own blocks on how anybody may be reached above it.

Must never: print a number of a supplement before the blocks that say how it may be used, show one that grew old or
leads to a suspect, or leave a closed supplement out.

Implements: R-76, R-87; R8 and R11 of the field.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from referral_api.cli import reading
from referral_api.cli.output import EXIT_OF, Exit, Screen
from referral_api.cli.reading import Line
from referral_api.client.talking import Further
from referral_api.domain.catalogue import text_of
from referral_api.formats.referral_body import ReferralBody


@dataclass(frozen=True, slots=True)
class Supplement:
    """One supplement, and how it may be read; None where it stayed closed."""

    further: Further
    reading: reading.Reading | None


def read(further: Sequence[Further], first: ReferralBody, now: int, *, reveal: bool = False) -> list[Supplement]:
    """How these may be read at `now` (unix seconds), each after those that follow it; `reveal` as of the referral
    itself, whose body is `first`.
    """
    found, earlier = [], [first]
    for number, one in enumerate(further, 1):
        if one.opened is None or one.body is None:
            found.append(Supplement(one, None))
            continue
        later = bodies(further[number:])
        seen = reading.read_body(one.opened, one.body, later, now, earlier=tuple(earlier), reveal=reveal)
        found.append(Supplement(one, seen))
        earlier.append(one.body)
    return found


def bodies(further: Sequence[Further]) -> list[ReferralBody | None]:
    """What they say, in log order; None of one that stayed closed."""
    return [one.body for one in further]


def first(screen: Screen, supplements: Sequence[Supplement]) -> list[Line]:
    """What is said before everything else: that there is more, which may say other things of how to reach somebody."""
    return [screen.say("supplement.first", count=len(supplements))] if supplements else []


def lines(screen: Screen, supplements: Sequence[Supplement]) -> list[Line]:
    """The supplements as lines, in log order."""
    shown: list[Line] = []
    for number, one in enumerate(supplements, 1):
        shown += _blocks(screen, number, one)
        if one.reading is not None:
            shown += ["", *reading.tree(screen, one.reading)]
    return shown


def handling(screen: Screen, supplements: Sequence[Supplement]) -> list[Line]:
    """Of each what must come first alone: what must not be done, and how each person may be reached."""
    return [line for number, one in enumerate(supplements, 1) for line in _blocks(screen, number, one)]


def _blocks(screen: Screen, number: int, one: Supplement) -> list[Line]:
    act, code = one.further.shown, one.further.code
    head: list[Line] = ["", screen.say("supplement.head", number=number, at=screen.at(act.at), by=act.act.iss)]
    if one.reading is not None:
        return [*head, *reading.handling(screen, one.reading)]
    words = "" if code is None else text_of(code, screen.lang).title
    return [*head, screen.say("note.closed", words=words, code=code)]


def data(supplements: Sequence[Supplement]) -> list[dict[str, Any]]:
    """Supplements as JSON members."""
    return [_data(one) for one in supplements]


def handling_data(supplements: Sequence[Supplement]) -> list[dict[str, Any]]:
    """Of each what must come first alone, as JSON members."""
    return [{name: value for name, value in one.items() if name != "referral"} for one in data(supplements)]


def _data(one: Supplement) -> dict[str, Any]:
    act, code = one.further.shown, one.further.code
    told: dict[str, Any] = {"safe_contact": [], "do_not": [], "hidden": []}
    return {
        "act": act.act.id,
        "at": act.at,
        "by": act.act.iss,
        "unit": act.act.unit,
        **act.term.members(),
        "index": act.index,
        "opened": one.reading is not None,
        "code": None if code is None else code.value,
        **(told if one.reading is None else reading.handling_data(one.reading)),
        "referral": None if one.reading is None else reading.document(one.reading),
    }


def status_of(supplements: Sequence[Supplement]) -> Exit:
    """The exit code: 5 where one is false, 8 where one stayed closed for another reason."""
    closed = [one.further.code for one in supplements if one.further.code is not None]
    if any(EXIT_OF[code] is Exit.VERIFICATION_FAILED for code in closed):
        return Exit.VERIFICATION_FAILED
    return Exit.PARTLY if closed else Exit.OK


def worst(one: Exit, other: Exit) -> Exit:
    """Of two exit codes the one that says more: something false before something closed."""
    return Exit.VERIFICATION_FAILED if Exit.VERIFICATION_FAILED in (one, other) else max(one, other)
