"""The model's word on a referral that nobody takes on: given back, telephoned about again, released late (R-106).

Written from the protocol; it shares no code with what it is held against.

Must never: import the fold, the clockwork, the lifecycle or the rules.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final, NamedTuple

from referral_api.domain.words import Act, State
from tests.domain.grid import NOTICES

if TYPE_CHECKING:
    from tests.lifetime.model import Case
    from tests.lifetime.sheets import Sheet

S = State
UNREAD: Final = {S.SUBMITTED, S.RETRIEVED, S.RECEIPT_FAILED}
BACK: Final = "given_back"
CALL: Final = "call"
RELEASE: Final = "release"
ALL: Final = (BACK, CALL, RELEASE)


class Later(NamedTuple):
    """What the exchange will say about a delivery unless something changes: from when on, and what."""

    at: int
    what: str
    sheet: Sheet


def anothers(sheet: Sheet) -> bool:
    """Whether another unit has taken it, and this one neither works on it nor has ended it otherwise."""
    return sheet.taken and sheet.state in UNREAD | {S.ACKNOWLEDGED, S.EXPIRED}


def has(sheet: Sheet) -> bool:
    """Whether its unit has the referral, or is still to read it."""
    at_work = UNREAD | {S.ACKNOWLEDGED, S.ACCEPTED, S.WITHDRAWAL_NOTIFIED}
    return sheet.state in at_work and not anothers(sheet)


def later(case: Case) -> Iterator[Later]:
    """Everything of the kind that is still to be said, sooner or later."""
    for sheet in case.sheets.values():
        yield from _missed(case, sheet)
    if any(one.consent for one in case.sheets.values()):
        return
    if not any(has(one) for one in _acting(case)):
        yield from left(case)
    elif case.urgency != "routine":
        for sheet in case.sheets.values():
            for at, clock in case.dues(sheet):
                if clock == "decision":
                    yield from _again(case, sheet, at)
                    yield from _release(case, at)


def left(case: Case) -> Iterator[Later]:
    """What is said of a referral that nobody has, or nothing where somebody does."""
    acting = _acting(case)
    if any(has(one) for one in acting) or any(one.consent for one in case.sheets.values()):
        return
    ended = [one for one in acting if one.begun is not None and not anothers(one)]
    last = max(ended, key=lambda one: (_entered(one), one.unit), default=None)
    if last is None or last.state in {S.CLOSED, S.PURGED}:
        return
    since = _entered(last)
    back = [one for one in acting if anothers(one) and one.state is not S.EXPIRED]
    yield from (Later(since, BACK, one) for one in back)
    open_end = last.state in {S.DECLINED, S.EXPIRED} and (last.notified or 0) < since
    if not back and open_end and case.urgency != "routine":
        yield from _again(case, last, since)
        yield from _release(case, since)


def say_at_once(case: Case, now: int) -> None:
    """What is said in the transaction of a unit's `decline`: the first thing that is due, to all whom it concerns."""
    found = list(left(case))
    first = next(iter(found), None)
    for one in [one for one in found if first in (one, None) or (first.what == one.what == BACK)]:
        if one.at <= now:
            say(case, one, now)


def _acting(case: Case) -> list[Sheet]:
    return [one for one in case.sheets.values() if one.role != "information"]


def _entered(sheet: Sheet) -> int:
    left = sheet.entered if sheet.state in {S.DECLINED, S.EXPIRED} else sheet.ended
    return left or sheet.begun or 0


def say(case: Case, one: Later, now: int) -> None:
    """It is said."""
    case.unowned[one.what] += 1
    if one.what == BACK:
        give_back(case, one.sheet, now)
    elif one.what == CALL:
        case.ring(one.sheet, now)
    else:
        case.release(one.sheet, now)


def give_back(case: Case, sheet: Sheet, now: int) -> None:
    """What another unit had taken is this one's again, from the beginning."""
    sheet.taken, sheet.back, sheet.rungs, sheet.rung_at = False, now, 0, None
    sheet.heard[Act.RELEASED] += 1
    if sheet.state in {S.SUBMITTED, S.RETRIEVED}:
        case.to_read(sheet.unit, Act.RELEASED, f"given back {now}")
    elif sheet.state is S.ACKNOWLEDGED:
        case.to_decide(sheet.unit, f"given back {now}")
    else:
        case.to_open(sheet.unit, f"given back {now}")
    if sheet.state is S.RECEIPT_FAILED and not sheet.rings():
        case.ring(sheet, now)


def _missed(case: Case, sheet: Sheet) -> Iterator[Later]:
    if sheet.missed is None or sheet.rings():
        return
    unread = sheet.state in UNREAD and sheet.role != "information" and not sheet.taken
    waits = any(kind in NOTICES for kind, _ in sheet.open.values())
    if unread or (waits and sheet.told.get("withdrawal_answer", 0) > (sheet.notified or 0)):
        yield Later(sheet.missed + case.terms[0], CALL, sheet)


def _again(case: Case, sheet: Sheet, since: int) -> Iterator[Later]:
    if sheet.rings():
        return
    called = max(sheet.rang, sheet.reached or 0, sheet.missed or 0)
    pause = case.terms[1 if sheet.missed is None else 0]
    yield Later(since if sheet.rang < since else called + pause, CALL, sheet)


def _release(case: Case, since: int) -> Iterator[Later]:
    stood_by = [one for one in case.sheets.values() if one.role == "escalation" and one.unit not in case.came]
    called = any((one.begun or 0) >= since for one in stood_by)
    for after, rung in case.ladder:
        if not (called and rung == "parent"):
            yield from (Later(since + after, RELEASE, one) for one in case.freed_by(rung))
