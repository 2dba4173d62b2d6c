"""Supplements on screen: what came after the referral, each with its own blocks on how anybody may be reached above it.

Must never: print a number of a supplement before the blocks that say how it may be used, or leave a closed one out.

Implements: R-76; R8 and R11 of the field.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from referral_api.cli import reading
from referral_api.cli.output import EXIT_OF, Exit, Screen
from referral_api.client.talking import Further
from referral_api.domain.catalogue import text_of


def first(screen: Screen, further: Sequence[Further]) -> list[str]:
    """What is said before everything else: that there is more, which may say other things of how to reach somebody."""
    return [screen.say("supplement.first", count=len(further))] if further else []


def lines(screen: Screen, further: Sequence[Further]) -> list[str]:
    """The supplements as lines, in log order."""
    shown: list[str] = []
    for number, one in enumerate(further, 1):
        head = screen.say("supplement.head", number=number, at=screen.at(one.shown.at), by=one.shown.act.iss)
        shown += ["", head]
        if one.body is None:
            code = one.code
            words = "" if code is None else text_of(code, screen.lang).title
            shown.append(screen.say("note.closed", words=words, code=code))
            continue
        shown += [*reading.handling(screen, one.body), "", *reading.tree(screen, one.body)]
    return shown


def data(further: Sequence[Further]) -> list[dict[str, Any]]:
    """Supplements as JSON members."""
    return [
        {
            "act": one.shown.act.id,
            "at": one.shown.at,
            "by": one.shown.act.iss,
            "unit": one.shown.act.unit,
            **one.shown.term.members(),
            "index": one.shown.index,
            "opened": one.body is not None,
            "code": None if one.code is None else one.code.value,
            **({"safe_contact": [], "do_not": []} if one.body is None else reading.handling_data(one.body)),
            "referral": None if one.body is None else one.body.wire(),
        }
        for one in further
    ]


def status_of(further: Sequence[Further]) -> Exit:
    """The exit code: 5 where one is false, 8 where one stayed closed for another reason."""
    closed = [one.code for one in further if one.code is not None]
    if any(EXIT_OF[code] is Exit.VERIFICATION_FAILED for code in closed):
        return Exit.VERIFICATION_FAILED
    return Exit.PARTLY if closed else Exit.OK


def worst(one: Exit, other: Exit) -> Exit:
    """Of two exit codes the one that says more: something false before something closed."""
    return Exit.VERIFICATION_FAILED if Exit.VERIFICATION_FAILED in (one, other) else max(one, other)
