"""The consent gate (R-83): every combination of the table against a second statement of the rules, row by row."""

from __future__ import annotations

from itertools import product

import pytest

from referral_api.domain.consent import ConsentFault, ConsentState, Told, check_consent, check_tuple, faults
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import Basis, IdentityLevel
from referral_api.formats.codelists import codes

AGES = [frozenset(g) for g in ((), ("adult",), ("child_0_11",), ("child_12_17",), ("unknown",), ("adult", "unknown"))]
SCOPES = [
    frozenset(s)
    for s in (
        (),
        ("share_with_police",),
        ("share_identity",),
        ("share_with_police", "share_identity"),
        ("statistics", "be_contacted_by_police"),
    )
]
OVERRIDES = (None, "imminent_danger")
TUPLES = list(product(Basis, IdentityLevel, OVERRIDES))


def tuple_is_sendable(basis: Basis, level: IdentityLevel, override: str | None) -> bool:
    """What the exchange sees, written as the list of what is allowed."""
    if basis is Basis.VITAL_INTEREST:
        return {
            IdentityLevel.IDENTIFIED: override is not None,
            IdentityLevel.PSEUDONYMOUS: True,
            IdentityLevel.ANONYMOUS: override is None,
        }[level]
    return override is None


def is_sendable(basis: Basis, level: IdentityLevel, override: str | None, told: Told) -> bool:
    """The table of the reference, basis by basis."""
    if not tuple_is_sendable(basis, level, override):
        return False
    child = bool(told.age_groups - {"adult"})
    if told.state is ConsentState.NOT_REQUIRED_CHILD and not child:
        return False
    if basis is Basis.CHILD_PROTECTION:
        return child
    against = told.state in {ConsentState.REFUSED, ConsentState.WITHDRAWN}
    given = told.state in {ConsentState.GIVEN, ConsentState.GIVEN_PARTIAL}
    nobody_named = level is IdentityLevel.ANONYMOUS
    if told.state is ConsentState.WITHDRAWN and not told.danger:
        return False
    match basis:
        case Basis.CONSENT:
            wanted = {"share_with_police"} | ({"share_identity"} if level is IdentityLevel.IDENTIFIED else set())
            return given and wanted <= told.scope
        case Basis.VITAL_INTEREST:
            return told.danger and (nobody_named or override is not None)
        case Basis.THIRD_PARTY_TIP:
            return not told.by_victim and not given and (not against or nobody_named)
        case Basis.LEGAL_OBLIGATION:
            unasked = told.state in {ConsentState.NOT_ASKED_UNSAFE, ConsentState.NOT_POSSIBLE}
            return nobody_named and (against or unasked)


@pytest.mark.parametrize("basis", Basis)
@pytest.mark.parametrize("level", IdentityLevel)
def test_every_combination_is_sendable_exactly_where_the_table_says_so(basis: Basis, level: IdentityLevel) -> None:
    """Rule R6 of the field."""
    seen = set()
    for override, state, ages, scope, danger, by_victim in product(
        OVERRIDES, ConsentState, AGES, SCOPES, (False, True), (False, True)
    ):
        told = Told(state, ages, scope, danger, by_victim)
        expected = is_sendable(basis, level, override, told)
        assert (faults(basis, level, override, told) == []) is expected, (override, told)
        seen.add(expected)
    identifies = level is not IdentityLevel.ANONYMOUS
    assert seen == ({False} if basis is Basis.LEGAL_OBLIGATION and identifies else {False, True})


@pytest.mark.parametrize(("basis", "level", "override"), TUPLES)
def test_the_exchange_refuses_exactly_the_tuples_that_contradict_themselves(
    basis: Basis, level: IdentityLevel, override: str | None
) -> None:
    if tuple_is_sendable(basis, level, override):
        check_tuple(basis, level, override)
        return
    with pytest.raises(ReferralError) as caught:
        check_tuple(basis, level, override)
    assert caught.value.code is ErrorCode.CONSENT_GATE
    assert caught.value.facts == {"reason": "override-missing" if override is None else "override-out-of-place"}


@pytest.mark.parametrize(("basis", "level", "override"), TUPLES)
def test_what_the_exchange_refuses_no_client_can_have_allowed(
    basis: Basis, level: IdentityLevel, override: str | None
) -> None:
    everything = Told(ConsentState.GIVEN, frozenset({"unknown"}), frozenset(codes("consent_scope")), True, False)
    if not tuple_is_sendable(basis, level, override):
        assert faults(basis, level, override, everything)
    else:
        check_tuple(basis, level, override)
        # What the exchange lets pass and cannot judge: whose consent is there needs no other basis.
        beyond = [[ConsentFault.TIP_WITH_CONSENT], [ConsentFault.BASIS_IN_NO_ROW], [ConsentFault.OVERRIDE_MISSING]]
        assert faults(basis, level, override, everything) in ([], *beyond)


def test_a_refusing_adult_in_danger_is_identified_only_with_an_override() -> None:
    """Rule R6 of the field."""
    told = Told(ConsentState.REFUSED, frozenset({"adult"}), frozenset(), danger=True, by_victim=True)
    check_consent(Basis.VITAL_INTEREST, IdentityLevel.IDENTIFIED, "held_captive", told)
    with pytest.raises(ReferralError) as caught:
        check_consent(Basis.VITAL_INTEREST, IdentityLevel.IDENTIFIED, None, told)
    assert caught.value.facts == {"reason": "override-missing", "faults": ["override-missing", "refused"]}


def test_a_refusing_adult_without_danger_stays_anonymous() -> None:
    told = Told(ConsentState.REFUSED, frozenset({"adult"}), frozenset(), danger=False, by_victim=True)
    check_consent(Basis.LEGAL_OBLIGATION, IdentityLevel.ANONYMOUS, None, told)
    for level in (IdentityLevel.IDENTIFIED, IdentityLevel.PSEUDONYMOUS):
        with pytest.raises(ReferralError) as caught:
            check_consent(Basis.LEGAL_OBLIGATION, level, None, told)
        assert caught.value.facts["faults"] == ["basis-in-no-row", "refused"]


@pytest.mark.parametrize("state", [ConsentState.NOT_ASKED_UNSAFE, ConsentState.NOT_POSSIBLE])
@pytest.mark.parametrize("danger", [False, True])
def test_an_adult_whom_nobody_asked_is_identified_on_no_legal_obligation(state: ConsentState, *, danger: bool) -> None:
    """Rule R6 of the field: the table is whole, so a basis that it does not know is no way round the second person."""
    told = Told(state, frozenset({"adult"}), frozenset(), danger, by_victim=True)
    check_consent(Basis.LEGAL_OBLIGATION, IdentityLevel.ANONYMOUS, None, told)
    for level in (IdentityLevel.IDENTIFIED, IdentityLevel.PSEUDONYMOUS):
        with pytest.raises(ReferralError) as caught:
            check_consent(Basis.LEGAL_OBLIGATION, level, None, told)
        assert caught.value.facts["reason"] == "basis-in-no-row"


@pytest.mark.parametrize("state", ConsentState)
def test_on_vital_interest_even_a_pseudonym_takes_a_second_person(state: ConsentState) -> None:
    """Rule R6 of the field: as for refused with danger, whatever was said."""
    told = Told(state, frozenset({"adult", "unknown"}), frozenset(), danger=True, by_victim=True)
    check_consent(Basis.VITAL_INTEREST, IdentityLevel.PSEUDONYMOUS, "held_captive", told)
    with pytest.raises(ReferralError, match="override-missing"):
        check_consent(Basis.VITAL_INTEREST, IdentityLevel.PSEUDONYMOUS, None, told)


def test_an_unknown_age_is_protected_like_a_childs_whatever_was_said() -> None:
    """Rule R8 of the field."""
    for state in ConsentState:
        told = Told(state, frozenset({"unknown"}), frozenset(), danger=False, by_victim=True)
        assert faults(Basis.CHILD_PROTECTION, IdentityLevel.IDENTIFIED, None, told) == []


def test_the_states_are_those_of_the_code_list() -> None:
    assert [state.value for state in ConsentState] == list(codes("consent_state"))
