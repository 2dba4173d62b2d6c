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


def noticed(sheet: Sheet) -> bool:
    """Whether a notice waits there, or ever did."""
    return sheet.notified is not None or any(kind in NOTICES for kind, _ in sheet.open.values())


def orphaned(case: Case) -> Sheet | None:
    """The delivery that was declined last, if nobody has the referral and its hotline has not seen to that."""
    acting = [one for one in case.sheets.values() if one.role != "information"]
    for one in acting:
        if noticed(one) or one.state in {S.ACCEPTED, S.WITHDRAWAL_NOTIFIED}:
            return None
        if one.state in UNREAD | {S.ACKNOWLEDGED} and not one.taken:
            return None
        if one.begun is not None and one.state in {S.CLOSED, S.WITHDRAWN, S.PURGED}:
            return None
    declined = [one for one in acting if one.state is S.DECLINED]
    return max(declined, key=lambda one: (one.declined, one.unit), default=None)


def later(case: Case) -> Iterator[Later]:
    """Everything of the kind that is still to be said, sooner or later."""
    for sheet in case.sheets.values():
        yield from _missed(case, sheet)
    last = orphaned(case)
    if last is not None:
        acting = [one for one in case.sheets.values() if one.role != "information"]
        waiting = [one for one in acting if one.state in UNREAD | {S.ACKNOWLEDGED}]
        yield from (Later(last.declined, BACK, one) for one in waiting)
        stalled = [] if waiting else [(last, last.declined)]
    else:
        stalled = [(one, at) for one in case.sheets.values() for at, clock in case.dues(one) if clock == "decision"]
    if case.urgency == "routine":
        return
    for sheet, since in stalled:
        yield from _again(case, sheet, since)
        yield from _release(case, since)


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
    called = max(sheet.reached or 0, sheet.missed or 0)
    if sheet.rang < since and called <= since:
        yield Later(since, CALL, sheet)
    else:
        yield Later(max(sheet.rang, called) + case.terms[1 if sheet.missed is None else 0], CALL, sheet)


def _release(case: Case, since: int) -> Iterator[Later]:
    sheets = list(case.sheets.values())
    if any(noticed(one) for one in sheets):
        return
    stood_by = [one for one in sheets if one.role == "escalation" and one.unit not in case.came]
    called = any((one.begun or 0) >= since for one in stood_by)
    for after, rung in case.ladder:
        if not (called and rung == "parent"):
            yield from (Later(since + after, RELEASE, one) for one in case.freed_by(rung))
