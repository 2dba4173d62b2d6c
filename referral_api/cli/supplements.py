"""Supplements on screen: what came after the referral, each with its own blocks on how anybody may be reached above it.

Must never: print a number of a supplement before the blocks that say how it may be used, or a block before what its
sender should not have let through, show a number that grew old or leads to a suspect, or leave a closed one out.

Implements: R-76, R-81, R-83, R-87; R8 and R11 of the field.
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


@dataclass(frozen=True, slots=True)
class Supplement:
    """One supplement, and how it may be read; None where it stayed closed."""

    further: Further
    reading: reading.Reading | None


def read(further: Sequence[Further], now: int, *, reveal: bool = False) -> list[Supplement]:
    """How these may be read at `now` (unix seconds); `reveal` as of the referral itself."""
    return [
        Supplement(one, None)
        if one.opened is None or one.body is None
        else Supplement(one, reading.read_body(one.opened, one.body, now, faults=one.faults, reveal=reveal))
        for one in further
    ]


def first(screen: Screen, supplements: Sequence[Supplement]) -> list[Line]:
    """What is said before everything else: that there is more, which may say other things of how to reach somebody."""
    return [screen.say("supplement.first", count=len(supplements))] if supplements else []


def lines(screen: Screen, supplements: Sequence[Supplement]) -> list[Line]:
    """The supplements as lines, in log order."""
    shown: list[Line] = []
    for number, one in enumerate(supplements, 1):
        act, code = one.further.shown, one.further.code
        shown += ["", screen.say("supplement.head", number=number, at=screen.at(act.at), by=act.act.iss)]
        if one.reading is None:
            words = "" if code is None else text_of(code, screen.lang).title
            shown.append(screen.say("note.closed", words=words, code=code))
            continue
        shown += [*reading.warnings(screen, one.reading), *reading.handling(screen, one.reading)]
        shown += ["", *reading.tree(screen, one.reading)]
    return shown


def data(supplements: Sequence[Supplement]) -> list[dict[str, Any]]:
    """Supplements as JSON members."""
    return [_data(one) for one in supplements]


def _data(one: Supplement) -> dict[str, Any]:
    act, code = one.further.shown, one.further.code
    told: dict[str, Any] = {"safe_contact": [], "do_not": [], "hidden": [], "warnings": []}
    return {
        "act": act.act.id,
        "at": act.at,
        "by": act.act.iss,
        "unit": act.act.unit,
        **act.term.members(),
        "index": act.index,
        "opened": one.reading is not None,
        "code": None if code is None else code.value,
        **(told if one.reading is None else reading.handling_data(one.reading) | reading.warnings_data(one.reading)),
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
