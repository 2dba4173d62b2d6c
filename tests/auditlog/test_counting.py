"""Each case is counted once: copies, what was sent anew, what was closed twice, what nobody was late with (R-103)."""

from __future__ import annotations

from typing import Any

import pytest

from referral_api.auditlog.figures import publish
from referral_api.domain.words import Act
from referral_api.formats.act import RawAct
from tests.auditlog.yearly import ALSO, COPY, EXCHANGE, HOTLINE, OVER, PARENT, SENT, UNIT, Year, other
from tests.formats.samples import REF

NEXT = other("2")
REPLACES: dict[str, Any] = {"relation": {"type": "replaces", "ref": REF}}
OUTCOME = {"outcome": "trafficking_confirmed"}
WITHDRAWN = {"reason": "consent_withdrawn"}


def declined(year: Year) -> RawAct:
    """Its unit acknowledges in time and declines."""
    head = year.acknowledge(UNIT, 30)
    return year.take(UNIT, Act.DECLINE, UNIT, {"reason": "no_capacity"}, SENT + 60, head.digest)


def sent_anew(year: Year, after_s: int = 90) -> RawAct:
    """What was declined is sent to another unit, and closed with the first one."""
    head = declined(year)
    anew = year.send(NEXT, SENT + after_s, to=[{"unit": PARENT, "role": "action"}], **REPLACES)
    year.take(HOTLINE, Act.CLOSE, UNIT, {"outcome": "duplicate"}, SENT + after_s + 1, head.digest)
    return anew


def test_of_a_copy_nothing_is_counted() -> None:
    """R-86: not as a referral, and nothing that is done with it: consent withdrawn is withdrawn of both."""
    year = Year("routine")
    year.acknowledge(UNIT, 60)
    before = year.figures
    year.send(NEXT, **COPY)
    year.read(ALSO, SENT + 5, NEXT)
    year.take(ALSO, Act.RECEIPT_FAILED, ALSO, {"reason": "cannot_decrypt"}, SENT + 9, year.submitted, NEXT)
    assert year.figures == before
    year.take(HOTLINE, Act.WITHDRAW, None, WITHDRAWN, SENT + 99, year.submitted)
    year.take(HOTLINE, Act.WITHDRAW, None, WITHDRAWN, SENT + 99, year.submitted, NEXT)
    assert year.of("withdrawals") == {"withdrawals.consent_withdrawn": 1}
    assert publish(2026, year.figures)["erased"] is None


def test_a_copy_of_an_earlier_year_is_none_either() -> None:
    year = Year("routine")
    before = year.figures
    sent = year.sign(HOTLINE, Act.SUBMIT, None, year.body(**COPY), SENT - 10**7, None, NEXT)
    year.counting.earlier(sent)
    year.take(HOTLINE, Act.WITHDRAW, None, WITHDRAWN, SENT + 99, sent.digest, NEXT)
    assert year.figures == before


def test_what_was_declined_and_sent_anew_is_one_referral() -> None:
    """The one case was acknowledged in time, declined once, and is closed by who has it."""
    year = Year("urgent")
    anew = sent_anew(year)
    assert year.of("urgency", "acknowledgement", "timeliness", "declines", "outcomes") == {
        "urgency.urgent": 1,
        "acknowledgement_urgent.on_time": 1,
        "timeliness.on_time": 1,
        "declines.no_capacity": 1,
    }, "that the hotline closes what is elsewhere by now is no outcome"
    head = year.acknowledge(PARENT, 120, NEXT, anew.digest)
    head = year.take(PARENT, Act.ACCEPT, PARENT, {}, SENT + 130, head.digest, NEXT)
    year.take(PARENT, Act.CLOSE, PARENT, OUTCOME, SENT + 140, head.digest, NEXT)
    assert year.of("outcomes") == {"outcomes.trafficking_confirmed": 1}
    assert year.cells["referrals"] == 1
    assert year.figures.acknowledged["urgent"] == (30,)
    assert len(year.figures.sent["urgent"]) == 1


def test_the_time_of_what_was_sent_anew_runs_from_the_first_submission() -> None:
    year = Year("urgent")
    anew = year.send(NEXT, SENT + 2 * year.within_s, to=[{"unit": PARENT, "role": "action"}], **REPLACES)
    year.acknowledge(PARENT, 2 * year.within_s + 5, NEXT, anew.digest)
    assert year.of("timeliness") == {"timeliness.late": 1}
    assert year.figures.acknowledged["urgent"] == (2 * year.within_s + 5,)


def test_what_replaces_a_replacement_is_of_the_first_one_in_whatever_year_that_was_sent() -> None:
    year, earlier, first = Year("urgent"), other("3"), other("4")
    before = year.figures
    sent = year.sign(HOTLINE, Act.SUBMIT, None, year.body(), SENT - 10**7, None, first)
    year.counting.earlier(sent)
    relation = {"relation": {"type": "replaces", "ref": first}}
    year.counting.earlier(year.sign(HOTLINE, Act.SUBMIT, None, year.body(**relation), SENT - 10**7, None, earlier))
    year.send(NEXT, relation={"type": "replaces", "ref": earlier})
    assert year.figures == before
    for at, ref in enumerate((first, earlier, NEXT)):
        year.take(HOTLINE, Act.WITHDRAW, None, WITHDRAWN, SENT + at, sent.digest, ref)
        year.take(HOTLINE, Act.CLOSE, UNIT, {"outcome": "duplicate"}, SENT + at, sent.digest, ref)
    assert year.of("withdrawals", "outcomes") == {"withdrawals.consent_withdrawn": 1, "outcomes.duplicate": 1}


def test_what_was_closed_twice_has_the_last_outcome_alone() -> None:
    year = Year("routine")
    head = year.acknowledge(UNIT, 30)
    head = year.take(UNIT, Act.ACCEPT, UNIT, {}, SENT + 60, head.digest)
    head = year.take(UNIT, Act.CLOSE, UNIT, {"outcome": "not_located"}, SENT + 70, head.digest)
    assert year.of("outcomes") == {"outcomes.not_located": 1}
    head = year.take(HOTLINE, Act.REOPEN, UNIT, {"reason": "new_information"}, SENT + 80, head.digest)
    assert not year.of("outcomes"), "it is open again"
    head = year.take(UNIT, Act.CLOSE, UNIT, OUTCOME, SENT + 90, head.digest)
    assert year.of("outcomes") == {"outcomes.trafficking_confirmed": 1}


def test_a_unit_s_outcome_goes_before_its_hotline_s() -> None:
    year = Year("routine")
    year.release(40)
    head = year.acknowledge(UNIT, 30)
    head = year.take(UNIT, Act.ACCEPT, UNIT, {}, SENT + 60, head.digest)
    year.take(UNIT, Act.CLOSE, UNIT, OUTCOME, SENT + 70, head.digest)
    head = year.acknowledge(PARENT, 80)
    year.take(HOTLINE, Act.CLOSE, PARENT, {"outcome": "duplicate"}, SENT + 90, head.digest)
    assert year.of("outcomes") == {"outcomes.trafficking_confirmed": 1}


@pytest.mark.parametrize(("after_s", "late"), [(0, 0), (1, 1)])
def test_what_was_taken_back_within_its_term_is_nobody_s_delay(after_s: int, late: int) -> None:
    """Nobody can acknowledge it any more, and nobody was late before."""
    year = Year("emergency")
    year.take(HOTLINE, Act.WITHDRAW, None, WITHDRAWN, SENT + year.within_s + after_s, year.submitted)
    assert year.cells.get("timeliness.late", 0) == year.cells.get("referrals", 0) == late
    assert year.of("withdrawals") == {"withdrawals.consent_withdrawn": 1}
    assert len(year.figures.sent["emergency"]) == late


def test_who_has_acknowledged_is_counted_whatever_is_taken_back_then() -> None:
    year = Year("emergency")
    year.acknowledge(UNIT, 5)
    year.take(HOTLINE, Act.WITHDRAW, None, WITHDRAWN, SENT + 9, year.submitted)
    assert year.of("timeliness") == {"timeliness.on_time": 1}


def test_what_was_taken_back_of_one_unit_alone_or_sent_anew_is_still_waited_for() -> None:
    year = Year("urgent")
    year.release(10)
    year.take(HOTLINE, Act.WITHDRAW, UNIT, {"reason": "sent_to_wrong_unit"}, SENT + 20, year.submitted)
    assert year.of("timeliness") == {"timeliness.late": 1}, "the unit above has it yet"
    year.take(HOTLINE, Act.WITHDRAW, PARENT, {"reason": "sent_to_wrong_unit"}, SENT + 30, year.submitted)
    assert not year.of("timeliness")
    assert year.of("withdrawals") == {"withdrawals.sent_to_wrong_unit": 1}, "one decision, said of each delivery"
    year.send(NEXT, SENT + 40, **REPLACES)
    assert year.of("timeliness") == {"timeliness.late": 1}


@pytest.mark.parametrize(("left_s", "late"), [(0, 0), (1, 1)])
def test_what_could_still_be_acknowledged_in_time_at_midnight_is_left_out(left_s: int, late: int) -> None:
    year = Year("routine", OVER - left_s - 86_400)
    assert year.within_s == 86_400
    assert year.cells.get("timeliness.late", 0) == year.cells.get("referrals", 0) == late
    year.take(EXCHANGE, Act.OVERDUE, UNIT, {"clock": "decision", "due_at": SENT}, OVER - 5)
    assert year.of("overdue") == {"overdue.decision": 1}
