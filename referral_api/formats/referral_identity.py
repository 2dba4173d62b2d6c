"""What of each person a referral may say, by what was said to the hotline about sharing it.

One person's consent is nobody else's: an adult victim who is not the one who was asked counts as one who could not be
asked, whatever the other agreed to. A reporter who is the victim is a victim: her name and number stand under the same
rules as those that stand among the victims. What is told of a child is not narrowed by another's refusal.

Must never: put a value into a finding, or take what one person agreed to for another's word.

Implements: docs/protocol.md R-83; rules R6 and R8 of the field.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from referral_api.domain.clocks import CHILD_SAFEGUARDS
from referral_api.domain.words import Basis, IdentityLevel
from referral_api.formats.referral_body import Consent, ReferralBody
from referral_api.formats.referral_contacts import leads
from referral_api.formats.referral_people import Reporter, Victim

_AGAINST = frozenset({"refused", "withdrawn"})
_GIVEN = frozenset({"given", "given_partial"})
_DESCRIBING = (
    *("age", "birthdate", "citizenship", "languages", "children_count", "relationship_to_suspect"),
    *("communication_aid", "disability_needs"),
)
"""Members that name nobody and tell people who live near her who she is."""
_VICTIM, _REPORTER, _GUARDIAN = "victim", "reporter", "guardian"


@dataclass(frozen=True, slots=True)
class _Said:
    """Why an adult may not be named, and why not reached, by what was said; None: she may."""

    naming: str | None = None
    reaching: str | None = None

    @property
    def nothing(self) -> bool:
        """Whether nothing may be told of who she is, not even an alias."""
        return self.naming in ("refused", "not-asked", "scope-without-police")


def identity_findings(body: ReferralBody) -> Iterator[tuple[str, str]]:
    """Members of victims and reporter that the declared identity level, a refusal, the scope of consent, or that nobody
    asked her forbid, as (pointer, reason).
    """
    for index, victim in enumerate(body.victims):
        yield from ((f"/victims/{index}/{name}", reason) for name, reason in _of_victim(body, victim))
    yield from ((f"/reporter/{name}", reason) for name, reason in _of_reporter(body))


def _of_victim(body: ReferralBody, victim: Victim) -> Iterator[tuple[str, str]]:
    said, is_asked = body.consent, _is_asked(body, victim)
    names = _present(victim, "names", "identity") + (["guardian"] if victim.guardian and victim.guardian.names else [])
    reach = _present(victim, "phones", "email") + (["safe_contact"] if leads(victim.safe_contact) else [])
    reach += ["guardian/phones"] if victim.guardian and victim.guardian.phones else []
    alias = _present(victim, "alias")
    if said.identity_level is not IdentityLevel.IDENTIFIED:
        yield from _each(names, "identity-level")
    if said.identity_level is IdentityLevel.ANONYMOUS:
        yield from _each([*alias, *reach, *_present(victim, "birthdate")], "identity-level")
        if victim.age_group == "adult" and is_asked and said.state in _AGAINST:
            yield from _each(_described(victim), "refused")
    elif victim.age_group == "adult":
        told = _said_of_adult(said, is_asked=is_asked)
        yield from _each([*names, *(alias if told.nothing else ())], told.naming)
        yield from _each(reach, told.reaching)
    elif is_asked or said.subject == _GUARDIAN:
        yield from _each(reach, _scope_of_child(said))


def _of_reporter(body: ReferralBody) -> Iterator[tuple[str, str]]:
    said, reporter = body.consent, body.reporter
    name, reach = _present_of(reporter)
    is_victim = reporter.relationship == _VICTIM
    if reporter.anonymous:
        yield from _each(reach, "anonymous-reporter")
    if is_victim and said.identity_level is not IdentityLevel.IDENTIFIED:
        yield from _each(name, "identity-level")
    if is_victim and said.identity_level is IdentityLevel.ANONYMOUS:
        yield from _each(reach, "identity-level")
    elif is_victim and _is_child(body):
        yield from _each(reach, _scope_of_child(said))
    elif is_victim or said.subject == _REPORTER:
        # Whoever calls is who was asked. Of somebody who is no victim, only what she herself said counts.
        told = _said_of_adult(said, is_asked=True)
        told = told if is_victim or said.state in _AGAINST | _GIVEN else _Said()
        yield from _each(name, told.naming)
        yield from _each(reach, told.reaching)


def _is_asked(body: ReferralBody, victim: Victim) -> bool:
    """Whether what the consent says is what this victim said: she is named, or is the one victim and called herself."""
    by_herself = body.reporter.relationship == _VICTIM and len(body.victims) == 1
    return body.consent.subject == victim.ref or (body.consent.subject == _REPORTER and by_herself)


def _is_child(body: ReferralBody) -> bool:
    """Whether the victim who called is under child safeguards: the one who was asked, else every one there is."""
    asked = [victim.age_group for victim in body.victims if victim.ref == body.consent.subject]
    ages = asked or [victim.age_group for victim in body.victims]
    return set(ages) <= CHILD_SAFEGUARDS if ages else body.involves_minor != "no"


def _said_of_adult(said: Consent, *, is_asked: bool) -> _Said:
    """What the table of R-83 leaves of an adult who is not anonymous. An override speaks against all of it; a tip gives
    what the tipster gave, and a known refusal counts all the same.
    """
    if said.override is not None:
        return _Said()
    if is_asked and said.state in _AGAINST:
        return _Said("refused", "refused")
    if said.basis is Basis.THIRD_PARTY_TIP:
        return _Said()
    scope = said.scope or ()
    if not is_asked or said.state not in _GIVEN:
        return _Said("not-asked", "not-asked")
    if "share_with_police" not in scope:
        return _Said("scope-without-police", "scope-without-police")
    is_named = said.identity_level is IdentityLevel.IDENTIFIED and "share_identity" not in scope
    return _Said(
        "scope-without-identity" if is_named else None,
        None if "be_contacted_by_police" in scope else "scope-without-contact",
    )


def _scope_of_child(said: Consent) -> str | None:
    """Why a child is not reached: where it is shared by consent, this has a scope. Protecting her needs none."""
    covered = "be_contacted_by_police" in (said.scope or ())
    return None if covered or said.basis is not Basis.CONSENT else "scope-without-contact"


def _described(victim: Victim) -> list[str]:
    described = [name for name in _present(victim, *_DESCRIBING) if name != "birthdate"]
    block = victim.safe_contact
    return described + (["safe_contact/interpreter_lang"] if block and block.interpreter_lang is not None else [])


def _present(victim: Victim, *names: str) -> list[str]:
    return [name for name in names if getattr(victim, name) is not None]


def _present_of(reporter: Reporter) -> tuple[list[str], list[str]]:
    name = ["name"] if reporter.name is not None else []
    reach = ["phone"] if reporter.phone is not None else []
    return name, reach + (["safe_contact"] if leads(reporter.safe_contact) else [])


def _each(names: Iterable[str], reason: str | None) -> Iterator[tuple[str, str]]:
    return iter(()) if reason is None else ((name, reason) for name in names)
