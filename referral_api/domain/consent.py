"""The consent gate: which referrals may be sent, given what the person said and how much danger there is.

The only consent modelled is consent to share information and to be contacted; consent to exploitation has no meaning
here (Peruvian Penal Code 129-A.4). Two readers share the rules: the sender's client sees everything and applies the
whole table (`faults`, `check_consent`); the exchange sees three codes and applies their part of it (`check_tuple`).

Must never: see a name, do I/O, or soften a refusal. Clauses: docs/protocol.md R-83, R-85.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from referral_api.domain import borders
from referral_api.domain.clocks import CHILD_SAFEGUARDS
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import Basis, IdentityLevel


class ConsentState(StrEnum):
    """What the person said (code list `consent_state`)."""

    GIVEN = "given"
    GIVEN_PARTIAL = "given_partial"
    REFUSED = "refused"
    WITHDRAWN = "withdrawn"
    NOT_ASKED_UNSAFE = "not_asked_unsafe"
    NOT_POSSIBLE = "not_possible"
    NOT_REQUIRED_CHILD = "not_required_child"


class ConsentFault(StrEnum):
    """Why the gate stays shut: the fact `reason` of CONSENT_GATE."""

    OVERRIDE_MISSING = "override-missing"
    OVERRIDE_OUT_OF_PLACE = "override-out-of-place"
    NO_CHILD = "no-child"
    NO_DANGER = "no-danger"
    NOT_GIVEN = "not-given"
    SCOPE_WITHOUT_POLICE = "scope-without-police"
    SCOPE_WITHOUT_IDENTITY = "scope-without-identity"
    SCOPE_WITHOUT_BORDER = "scope-without-border"
    REFUSED = "refused"
    WITHDRAWN = "withdrawn"
    TIP_BY_VICTIM = "tip-by-victim"
    TIP_WITH_CONSENT = "tip-with-consent"
    BASIS_IN_NO_ROW = "basis-in-no-row"


@dataclass(frozen=True, slots=True)
class Told:
    """What the sender knows and the exchange does not. Codes only.

    `age_groups`: of every victim; `scope`: what consent covers; `danger`: a present danger is recorded; `by_victim`:
    the person who called is the victim; `abroad`: a unit abroad is addressed (domain/borders.py).
    """

    state: ConsentState
    age_groups: frozenset[str]
    scope: frozenset[str]
    danger: bool
    by_victim: bool
    abroad: bool = False


_GIVEN = frozenset({ConsentState.GIVEN, ConsentState.GIVEN_PARTIAL})
_AGAINST = frozenset({ConsentState.REFUSED, ConsentState.WITHDRAWN})
_UNASKED = frozenset({ConsentState.NOT_ASKED_UNSAFE, ConsentState.NOT_POSSIBLE})


def check_tuple(basis: Basis, identity_level: IdentityLevel, override: str | None) -> None:
    """The part of the table that the exchange can see; `override` is its coded reason, or None.

    To identify a person on vital interest takes an override (coded reason, second person), because nobody agreed; an
    override anywhere else contradicts itself.

    Raises ReferralError(CONSENT_GATE) with the fact `reason` (a ConsentFault).
    """
    found = _tuple_faults(basis, identity_level, override)
    if found:
        raise ReferralError(ErrorCode.CONSENT_GATE, reason=found[0].value)


def check_consent(basis: Basis, identity_level: IdentityLevel, override: str | None, told: Told) -> None:
    """The whole table, for the sender before sealing and for the receiver after opening.

    Raises ReferralError(CONSENT_GATE) with the facts `reason` (the first fault) and `faults` (all of them).
    """
    found = faults(basis, identity_level, override, told)
    if found:
        raise ReferralError(ErrorCode.CONSENT_GATE, reason=found[0].value, faults=[fault.value for fault in found])


def faults(basis: Basis, identity_level: IdentityLevel, override: str | None, told: Told) -> list[ConsentFault]:
    """Everything about these values that contradicts the table, in the order in which a person would put it right.

    | who and what                        | may be sent                                                                |
    |-------------------------------------|----------------------------------------------------------------------------|
    | child, or age unknown               | identified, basis child_protection, whatever was said; or as below         |
    | adult, consent given (or in part)   | as far as the scope goes (and the border), basis consent; what it leaves   |
    |                                     | out counts as refused                                                      |
    | adult, refused or withdrawn, danger | identified on vital_interest with override and second person; or anonymous |
    | adult, refused, no danger           | anonymous                                                                  |
    | adult, withdrawn, no danger         | nothing                                                                    |
    | adult, could not be asked           | anonymous, or identified as for refused with danger                        |
    | third-party tip                     | what the tipster gave; a known refusal of the victim still counts          |

    What stands in no row is refused. `legal_obligation` names the basis of the anonymous rows where there is no danger,
    and identifies nobody.
    """
    found = _tuple_faults(basis, identity_level, override)
    child = bool(told.age_groups & CHILD_SAFEGUARDS)
    if not child and (basis is Basis.CHILD_PROTECTION or told.state is ConsentState.NOT_REQUIRED_CHILD):
        found.append(ConsentFault.NO_CHILD)
    if basis is Basis.VITAL_INTEREST:
        found += [] if told.danger else [ConsentFault.NO_DANGER]
        # At the exchange a pseudonym passes without one; here, an adult who did not agree is named in no other way.
        needed = identity_level is not IdentityLevel.ANONYMOUS and override is None
        found += [ConsentFault.OVERRIDE_MISSING] if needed else []
    # What nobody may identify somebody by: it has no row of its own, and stands for the anonymous ones.
    if basis is Basis.LEGAL_OBLIGATION and not (
        identity_level is IdentityLevel.ANONYMOUS and told.state in _AGAINST | _UNASKED
    ):
        found.append(ConsentFault.BASIS_IN_NO_ROW)
    if basis is Basis.CONSENT:
        found += _scope_faults(identity_level, told)
    if basis is Basis.THIRD_PARTY_TIP:
        if told.by_victim:
            found.append(ConsentFault.TIP_BY_VICTIM)
        if told.state in _GIVEN:
            found.append(ConsentFault.TIP_WITH_CONSENT)
    if told.state in _AGAINST and basis is not Basis.CHILD_PROTECTION:
        found += _refusal_faults(basis, identity_level, override, told)
    return list(dict.fromkeys(found))


def _tuple_faults(basis: Basis, identity_level: IdentityLevel, override: str | None) -> list[ConsentFault]:
    if override is None:
        needed = basis is Basis.VITAL_INTEREST and identity_level is IdentityLevel.IDENTIFIED
        return [ConsentFault.OVERRIDE_MISSING] if needed else []
    fitting = basis is Basis.VITAL_INTEREST and identity_level is not IdentityLevel.ANONYMOUS
    return [] if fitting else [ConsentFault.OVERRIDE_OUT_OF_PLACE]


def _scope_faults(identity_level: IdentityLevel, told: Told) -> list[ConsentFault]:
    if told.state not in _GIVEN:
        return [ConsentFault.NOT_GIVEN]
    found = []
    if "share_with_police" not in told.scope:
        found.append(ConsentFault.SCOPE_WITHOUT_POLICE)
    if identity_level is IdentityLevel.IDENTIFIED and "share_identity" not in told.scope:
        found.append(ConsentFault.SCOPE_WITHOUT_IDENTITY)
    if told.abroad and borders.SCOPE not in told.scope:
        found.append(ConsentFault.SCOPE_WITHOUT_BORDER)
    return found


def _refusal_faults(
    basis: Basis, identity_level: IdentityLevel, override: str | None, told: Told
) -> list[ConsentFault]:
    if told.state is ConsentState.WITHDRAWN and not told.danger:
        return [ConsentFault.WITHDRAWN]
    overridden = basis is Basis.VITAL_INTEREST and told.danger and override is not None
    if identity_level is not IdentityLevel.ANONYMOUS and not overridden:
        return [ConsentFault.REFUSED]
    return []
