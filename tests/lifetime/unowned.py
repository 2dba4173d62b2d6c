"""The model's word on a referral that nobody takes on: given back, telephoned about again, released late (R-106).

Written from the protocol; it shares no code with what it is held against.

Must never: import the fold, the clockwork, the lifecycle or the rules.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING

from referral_api.domain.words import Act, State
from tests.domain.grid import NOTICES

if TYPE_CHECKING:
    from tests.lifetime.model import Case, Sheet

S = State
UNREAD = {S.SUBMITTED, S.RETRIEVED, S.RECEIPT_FAILED}
Coming = tuple[int, Callable[[int], None]]


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


def coming(case: Case, terms: tuple[int, ...], ladder: list[tuple[int, str]]) -> Iterator[Coming]:
    """What the exchange will do about it, and when."""
    for sheet in case.sheets.values():
        yield from _missed(case, sheet, terms)
    last = orphaned(case)
    if last is not None:
        waiting = [one for one in case.sheets.values() if one.taken and one.state in UNREAD | {S.ACKNOWLEDGED}]
        waiting = [one for one in waiting if one.role != "information"]
        if waiting:
            yield last.declined, partial(_give_back, case, waiting)
            return
        stalled = [(last, last.declined)]
    else:
        dues = [(one, at) for one in case.sheets.values() for at, clock in case.dues(one) if clock == "decision"]
        stalled = dues
    if case.urgency == "routine":
        return
    for sheet, since in stalled:
        yield from _again(case, sheet, since, terms)
        yield from _release(case, since, ladder)


def _missed(case: Case, sheet: Sheet, terms: tuple[int, ...]) -> Iterator[Coming]:
    if sheet.missed is None or sheet.rings():
        return
    unread = sheet.state in UNREAD and sheet.role != "information" and not sheet.taken
    waits = any(kind in NOTICES for kind, _ in sheet.open.values())
    late = waits and sheet.told.get("withdrawal_answer", 0) > (sheet.notified or 0)
    if unread or late:
        yield sheet.missed + terms[0], partial(case.ring, sheet)


def _give_back(case: Case, sheets: list[Sheet], now: int) -> None:
    for sheet in sheets:
        sheet.taken, sheet.back, sheet.rungs, sheet.rung_at = False, now, 0, None
        if sheet.state in {S.SUBMITTED, S.RETRIEVED}:
            case.to_read(sheet.unit, Act.RELEASED, f"given back {now}")


def _again(case: Case, sheet: Sheet, since: int, terms: tuple[int, ...]) -> Iterator[Coming]:
    if sheet.rings():
        return
    called = max(sheet.reached or 0, sheet.missed or 0)
    if sheet.rang < since and called <= since:
        yield since, partial(case.ring, sheet)
    else:
        pause = terms[1] if sheet.missed is None else terms[0]
        yield max(sheet.rang, called) + pause, partial(case.ring, sheet)


def _release(case: Case, since: int, ladder: list[tuple[int, str]]) -> Iterator[Coming]:
    sheets = list(case.sheets.values())
    if any(noticed(one) for one in sheets):
        return
    held = sorted((one for one in sheets if one.state is S.HELD), key=lambda one: one.rank)
    stood_by = [one for one in sheets if one.role == "escalation" and one.unit not in case.came]
    called = any((one.begun or 0) >= since for one in stood_by)
    for after, rung in ladder:
        if rung == "national" or (rung == "parent" and not called):
            for one in held[:1] if rung == "parent" else held:
                yield since + after, partial(case.release, one)
