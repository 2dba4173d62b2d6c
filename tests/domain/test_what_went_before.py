"""What has happened to a delivery before decides what can be done with it, where its state does not (R-74, R-75)."""

from __future__ import annotations

import pytest

from referral_api.domain.rules import Rules
from referral_api.domain.words import Act, Role, State
from tests.domain.test_clockwork import MINUTE, NATIONAL, Life
from tests.domain.test_fold import LOCAL, H, Story, U, X


def test_what_was_never_accepted_is_not_taken_up_again() -> None:
    """R-74: its unit would have what it never took. Somebody else is found by a new referral (R-110)."""
    for ends in (Act.CLOSE, Act.DECLINE):
        story = Story()
        story.act(Act.ACK, U)
        if ends is Act.DECLINE:
            story.act(ends, U)
        story.act(Act.CLOSE, H)
        for by in (H, U):
            error = story.refused(Act.REOPEN, by)
            assert error.facts["reason"] == "never-accepted"
            assert Act.REOPEN.value not in error.facts["allowed"]
    story = Story().accepted()
    story.now += 1
    story.act(Act.DECLINE, U)
    story.act(Act.CLOSE, H)
    assert story.refused(Act.REOPEN, H).facts["reason"] == "never-accepted", "declined since"


def test_who_goes_on_without_having_acknowledged_still_can() -> None:
    """R-79: late, and once; its time of keeping runs from there."""
    story = Story()
    story.fetch()
    notice = story.act(Act.WITHDRAW, H)
    story.act(Act.WITHDRAWAL_ANSWER, U, code="already_acted", question=notice)
    assert (story[LOCAL].state, story[LOCAL].acknowledged_at) == (State.ACCEPTED, None)
    story.act(Act.ACK, U)
    assert story[LOCAL].acknowledged_at is not None
    assert story.refused(Act.ACK, U).facts["reason"] == "acknowledged"


def test_who_goes_on_in_the_second_in_which_it_expired_has_it_again() -> None:
    """Its order decides, not its times: of one second both may be."""
    story = Story()
    story.fetch()
    story.act(Act.EXPIRED, X)
    story.now -= 60
    notice = story.act(Act.WITHDRAW, H)
    story.now -= 60
    story.act(Act.WITHDRAWAL_ANSWER, U, code="already_acted", question=notice)
    assert story[LOCAL].accepted_at == story[LOCAL].notified_at
    story.act(Act.CLOSE, U)
    story.act(Act.REOPEN, H)
    assert story[LOCAL].state is State.ACCEPTED


def test_consent_withdrawn_after_the_taking_back_asks_whoever_had_it() -> None:
    """R-80: who kept it by a legal duty too; whom it never reached owes nothing."""
    story = Story()
    story.fetch()
    notice = story.act(Act.WITHDRAW, H)
    story.act(Act.WITHDRAWAL_ANSWER, U, code="stopped_retained_legal_duty", question=notice)
    asked = story.act(Act.CONSENT_WITHDRAWN, H)
    assert (story[LOCAL].state, set(story[LOCAL].open_questions)) == (State.WITHDRAWN, {Act.CONSENT_WITHDRAWN})
    story.act(Act.WITHDRAWAL_ANSWER, U, code="continuing_public_prosecution", question=asked)
    assert story[LOCAL].state is State.ACCEPTED, "of two answers that differ the later one counts"
    never = Story()
    never.act(Act.WITHDRAW, H)
    never.act(Act.CONSENT_WITHDRAWN, H)
    assert never[LOCAL].open_questions == frozenset()


@pytest.mark.parametrize(
    "way", [(), (Act.ACK,), (Act.ACK, Act.ACCEPT), (Act.ACK, Act.DECLINE), (Act.ACK, Act.ACCEPT, Act.CLOSE)]
)
def test_whoever_stops_has_it_no_more(way: tuple[Act, ...]) -> None:
    """R-75: nothing is owed and nothing handed out any more, and it is not taken up again."""
    story = Story()
    story.fetch()
    for act in way:
        story.act(act, U)
    notice = story.act(Act.CONSENT_WITHDRAWN, H)
    story.act(Act.WITHDRAWAL_ANSWER, U, code="stopped_and_destroyed", question=notice)
    assert story[LOCAL].state is State.WITHDRAWN
    story.refused(Act.REOPEN, H)


def test_where_the_person_wants_it_no_further_a_person_decides_about_a_transfer() -> None:
    """R-105: also where the unit has answered that it goes on."""
    life = Life(rules=Rules(transfers=Role.EXCHANGE)).until(10 * MINUTE).accepted()
    life.act(Act.CONSENT_WITHDRAWN, H)
    life.act(Act.WITHDRAWAL_ANSWER, U, code="continuing_public_prosecution")
    life.act(Act.TRANSFER, U, to="unit-far-away")
    assert not life.told(Act.APPROVE)
    assert life[LOCAL].open_questions == {Act.TRANSFER}
    assert life[NATIONAL].state is State.HELD
