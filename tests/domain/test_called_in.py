"""A release by hand (R-78): whom it names, what must be left to read, whose word it is, what the clocks do next."""

from __future__ import annotations

from dataclasses import replace

import pytest

from referral_api.auditlog.evidence import Chronicle
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.fold import Event, possible
from referral_api.domain.words import Act, CredentialKind, Role, State
from tests.domain.test_clockwork import HOUR, MINUTE, PARENT, Life
from tests.domain.test_clockwork import NATIONAL as HIGHEST
from tests.domain.test_fold import ACTION, ESCALATION, LOCAL, NATIONAL, OBSERVER, H, Story, U, X

BY_HAND = "hotline_manual"
PERSON, SERVICE = CredentialKind.PERSON, CredentialKind.SERVICE


def test_a_release_names_the_one_unit_that_is_to_learn_of_it() -> None:
    """R-62, R-78: what is said of the whole referral every unit reads, and none learns whom else it was let have."""
    story = Story((LOCAL, ACTION), (NATIONAL, ESCALATION), (OBSERVER, ESCALATION))
    for by, code in ((H, "hotline_manual"), (X, "ack_timeout")):
        assert story.refused(Act.RELEASED, by, None, code=code).facts["reason"] == "release-names-no-unit"


def test_nobody_is_called_in_to_what_has_gone() -> None:
    """R-78, R-107: with the purge of the last who knew of it the bundle goes; who stood by would find nothing there."""
    story = Story((LOCAL, ACTION), (NATIONAL, ESCALATION)).accepted()
    story.act(Act.CLOSE, U)
    assert Act.RELEASED in possible(H, story[NATIONAL], frozenset(), story.deliveries)
    story.act(Act.PURGED, X)
    assert story.refused(Act.RELEASED, H, NATIONAL, code="hotline_manual").facts["reason"] == "purged"
    story.deliveries[NATIONAL] = replace(story[NATIONAL], holds=(("line", story.now + 60),))
    story.act(Act.RELEASED, H, NATIONAL, code="hotline_manual")
    assert story[NATIONAL].state is State.SUBMITTED, "somebody kept just that"


@pytest.mark.parametrize("only", [None, NATIONAL])
@pytest.mark.parametrize(
    ("by", "party", "code", "kind"),
    [
        (Role.EXCHANGE, "exchange", BY_HAND, SERVICE),
        (Role.HOTLINE, "another-line", BY_HAND, PERSON),
        (Role.HOTLINE, "line", BY_HAND, SERVICE),
        (Role.HOTLINE, "line", "ack_timeout", PERSON),
        (Role.POLICE_UNIT, NATIONAL, BY_HAND, PERSON),
    ],
)
def test_a_release_that_nobody_could_say_is_false_to_its_unit_and_to_auditors(
    only: str | None, by: Role, party: str, code: str, kind: CredentialKind
) -> None:
    """R-78, R-95: it is a person of the sender's who decides it, or else a clock of the exchange."""
    chronicle = Chronicle(only=only)
    sent = Event(Act.SUBMIT, H, "line", "d0", 0, targets=((LOCAL, ACTION), (NATIONAL, ESCALATION)))
    chronicle.accept(sent, PERSON)
    false = Event(Act.RELEASED, by, party, "d1", 60, unit=NATIONAL, prev=None if by is X else "d0", code=code)
    with pytest.raises(ReferralError) as caught:
        chronicle.accept(false, kind)
    assert caught.value.code is ErrorCode.TAMPERED
    chronicle.accept(replace(false, by=H, party="line", prev="d0", code=BY_HAND), PERSON)
    assert chronicle.deliveries[NATIONAL].state is State.SUBMITTED


def test_who_is_called_in_by_hand_has_a_ladder_of_its_own_and_nobody_is_released_twice_or_never() -> None:
    """R-106: the first unit's rungs go on with who is left, and the one called in rings from when it was."""
    life = Life().until(2 * MINUTE)
    life.act(Act.RELEASED, H, PARENT, code=BY_HAND)
    life.until(3 * HOUR)
    released = life.told(Act.RELEASED)
    assert released == [(15 * MINUTE, Act.RELEASED, HIGHEST, "ack_timeout")], "the first of who was left, and once"
    rings = {unit: at for at, _, unit, _ in reversed(life.told(Act.TELEPHONE_NOW))}
    assert rings[PARENT] == 17 * MINUTE
    assert life[PARENT].state is life[HIGHEST].state is State.EXPIRED


def test_what_was_given_up_and_then_called_in_by_hand_is_not_released_over_its_head() -> None:
    """R-106: the alarm of who has it no more rests while somebody may take it, and comes back with the next refusal."""
    life = Life().until(5 * MINUTE)
    life.act(Act.ACK, U)
    life.act(Act.DECLINE, U)
    assert life.told(Act.TELEPHONE_NOW) == [(5 * MINUTE, Act.TELEPHONE_NOW, LOCAL, "declined")]
    life.until(6 * MINUTE).act(Act.RELEASED, H, PARENT, code=BY_HAND)
    life.until(7 * MINUTE).act(Act.ACK, U, PARENT)
    life.act(Act.DECLINE, U, PARENT)
    life.until(40 * MINUTE)
    assert life.told(Act.RELEASED) == [(22 * MINUTE, Act.RELEASED, HIGHEST, "declined")]
