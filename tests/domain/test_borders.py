"""Who is abroad, and what it takes to address somebody there (R-85; rule R14 of the field)."""

from __future__ import annotations

import pytest

from referral_api.domain import borders
from referral_api.domain.consent import ConsentFault, ConsentState, Told, faults
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import Basis, IdentityLevel


@pytest.mark.parametrize(
    ("country", "home", "abroad"),
    [
        (None, None, False),
        ("EC", None, True),
        ("EC", "EC", False),
        (None, "EC", True),
        ("BO", "EC", True),
        ("PE", None, True),  # Who names a country is taken at his word: the exchange does not say which one is its own.
    ],
)
@pytest.mark.parametrize("agreement", [None, "acuerdo-2026-1"])
def test_abroad_takes_an_agreement_and_nothing_is_passed_on_there(
    country: str | None, home: str | None, abroad: bool, agreement: str | None
) -> None:
    assert borders.is_abroad(country, home) is abroad
    if abroad and agreement is None:
        with pytest.raises(ReferralError) as refused:
            borders.check_addressed("unidad", country, home, agreement)
        assert refused.value.code is ErrorCode.TARGET_NOT_ALLOWED
        assert refused.value.facts == {"unit": "unidad", "reason": "agreement-missing"}
    else:
        borders.check_addressed("unidad", country, home, agreement)
    if abroad:
        with pytest.raises(ReferralError) as refused:
            borders.check_passed_on("unidad", country, home)
        assert refused.value.facts == {"unit": "unidad", "reason": "cross-border"}
    else:
        borders.check_passed_on("unidad", country, home)


def told(*scope: str, abroad: bool, state: ConsentState = ConsentState.GIVEN) -> Told:
    return Told(state, frozenset({"adult"}), frozenset(scope), danger=True, by_victim=True, abroad=abroad)


@pytest.mark.parametrize(
    ("scope", "abroad", "fault"),
    [
        (("share_with_police",), False, []),
        (("share_with_police",), True, [ConsentFault.SCOPE_WITHOUT_BORDER]),
        (("share_with_police", borders.SCOPE), True, []),
        ((borders.SCOPE,), True, [ConsentFault.SCOPE_WITHOUT_POLICE]),
    ],
)
def test_consent_must_cover_the_border_where_somebody_abroad_is_addressed(
    scope: tuple[str, ...], abroad: bool, fault: list[ConsentFault]
) -> None:
    assert faults(Basis.CONSENT, IdentityLevel.PSEUDONYMOUS, None, told(*scope, abroad=abroad)) == fault


@pytest.mark.parametrize("basis", [basis for basis in Basis if basis is not Basis.CONSENT])
def test_the_border_changes_nothing_where_consent_is_not_the_basis(basis: Basis) -> None:
    said = [
        faults(basis, IdentityLevel.ANONYMOUS, None, told(abroad=abroad, state=ConsentState.NOT_POSSIBLE))
        for abroad in (False, True)
    ]
    assert said[0] == said[1]
