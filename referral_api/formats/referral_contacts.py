"""How the people of a referral may be reached now: which safe contacts have expired, which lead to a suspect, and what
a screen keeps behind a step of its own until somebody asks for it.

A safe contact is good for seven days after it was last verified; then the number is hidden, because a call at the wrong
time can cost a life and nothing shows on a number that it is old. A contact that leads to a suspect is hidden likewise.
The hotline, which can verify it anew, is always shown.

Must never: read a clock, or give out a value in a place or a reason.

Implements: R-87; rules R8 and R11 of the field.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Literal

from referral_api.formats.referral_body import ReferralBody
from referral_api.formats.referral_people import Guardian, Names, SafeContact, Suspect, Victim

CONTACT_TERM = timedelta(days=7)
"""How long a safe contact is good for if it does not say so itself."""

Why = Literal["expired", "suspect", "replaced", "unread"]
"""`replaced`: a later supplement says otherwise how she is reached; `unread`: one that did not open may do so."""
_SUSPECT = "suspect-contact"
_DIGITS = re.compile(r"[0-9](?:[ ().-]?[0-9]){5}")
"""Six digits or more, as numbers are written in free text."""
_WORDED = ("who_may_answer", "cover_story", "code_word")
"""Members of a safe contact in whose words a number may stand."""


@dataclass(frozen=True, slots=True)
class Reach:
    """How one person may be reached: `who` is a victim's `ref` or `reporter`, `place` the pointer to the person.

    `block` None: only through the hotline. `valid_until` None: there is nothing that could grow old. `why` says why the
    contact must not be used as it stands, None: it may.
    """

    who: str
    place: str
    block: SafeContact | None
    valid_until: datetime | None = None
    why: Why | None = None


def contact_valid_until(contact: SafeContact, written_at: datetime) -> datetime:
    """Until when a safe contact may be used without verifying it anew; `written_at`: when the referral was made."""
    verified_at = written_at if contact.last_verified_at is None else min(contact.last_verified_at, written_at)
    return contact.valid_until or verified_at + CONTACT_TERM


def reaches(
    body: ReferralBody,
    written_at: datetime,
    now: datetime,
    *,
    superseded: Collection[str] = frozenset(),
    unread: bool = False,
) -> list[Reach]:
    """How each victim may be reached at `now`, and the reporter where there is a way.

    `superseded` are those of whom a supplement says otherwise, and `unread` that one did not open (referral_later.py).
    """
    suspects = {place for place, reason in contact_faults(body) if reason == _SUSPECT}
    people = [(victim.ref, f"/victims/{index}", victim.safe_contact) for index, victim in enumerate(body.victims)]
    if body.reporter.safe_contact is not None:
        people.append(("reporter", "/reporter", body.reporter.safe_contact))
    found = []
    for who, place, block in people:
        reach = Reach(who, place, block)
        doubt: Why | None = "replaced" if who in superseded else "unread" if unread else None
        if block is None or (block.channel == "none" and not any(_numbers(body, reach))):
            # "Only through the hotline" does not grow old.
            is_told = doubt == "replaced" or any(_numbers(body, replace(reach, why=doubt)))
            found.append(replace(reach, why=doubt if is_told else None))
            continue
        until = contact_valid_until(block, written_at)
        suspect = any(fault.startswith(f"{place}/") for fault in suspects)
        why: Why | None = "expired" if until <= now and doubt != "replaced" else doubt
        found.append(replace(reach, valid_until=until, why="suspect" if suspect else why))
    return found


def hidden_in(body: ReferralBody, found: Iterable[Reach]) -> dict[str, Why]:
    """What is kept behind a step of its own: JSON pointers into the body, each with its reason."""
    return {pointer: reach.why for reach in found if reach.why is not None for pointer in _numbers(body, reach)}


def without(document: dict[str, Any], pointers: Iterable[str]) -> dict[str, Any]:
    """A copy of a referral's JSON members in which these places are left out."""
    gone = frozenset(pointers)

    def kept(value: Any, place: str) -> Any:
        if isinstance(value, dict):
            return {name: kept(one, f"{place}/{name}") for name, one in value.items() if f"{place}/{name}" not in gone}
        if isinstance(value, list):
            return [kept(one, f"{place}/{index}") for index, one in enumerate(value)]
        return value

    whole: dict[str, Any] = kept(document, "")
    return whole


def contact_faults(body: ReferralBody) -> Iterator[tuple[str, str]]:
    """Contacts that lead to a suspect, as (pointer, reason): `suspect-contact`, or `third-party-unnamed` where a
    suspect guardian may be the third party that is not named (rule R8 of the field).
    """
    numbers = {_plain(number) for suspect in body.suspects for number in _numbers_of(suspect)}
    for index, victim in enumerate(body.victims):
        place = f"/victims/{index}"
        if any(_plain(phone) in numbers for phone in victim.phones or ()):
            yield f"{place}/phones", _SUSPECT
        if victim.email is not None and _plain(victim.email) in numbers:
            yield f"{place}/email", _SUSPECT
        if victim.safe_contact is not None:
            feared = victim.guardian if victim.guardian and victim.guardian.is_suspect == "yes" else None
            reason = _block_fault(victim.safe_contact, feared, body.suspects, numbers)
            if reason is not None:
                yield f"{place}/safe_contact", reason
    if body.reporter.phone is not None and _plain(body.reporter.phone) in numbers:
        yield "/reporter/phone", _SUSPECT
    if body.reporter.safe_contact is not None:
        reason = _block_fault(body.reporter.safe_contact, None, body.suspects, numbers)
        if reason is not None:
            yield "/reporter/safe_contact", reason


def _block_fault(
    block: SafeContact, feared: Guardian | None, suspects: Iterable[Suspect], numbers: set[str]
) -> str | None:
    through = block.third_party
    if through is not None and (through.is_suspect == "yes" or (feared is not None and through.who == "guardian")):
        return _SUSPECT
    if block.value is not None and _plain(block.value) in numbers:
        return _SUSPECT
    people = [(one.names, one.alias or ()) for one in suspects]
    people += [] if feared is None else [(feared.names, ())]
    if block.who_may_answer is not None and any(_names(block.who_may_answer, *one) for one in people):
        return _SUSPECT
    if feared is not None and through is None and block.channel == "via_third_party":
        return "third-party-unnamed"
    return None


def _numbers(body: ReferralBody, reach: Reach) -> Iterator[str]:
    """Where a person's numbers and addresses stand."""
    index = reach.place.rpartition("/")[2]
    person: Any = body.reporter if reach.who == "reporter" else body.victims[int(index)]
    names = ("phones", "email") if isinstance(person, Victim) else ("phone",)
    yield from (f"{reach.place}/{name}" for name in names if getattr(person, name) is not None)
    if reach.block is not None:
        block = f"{reach.place}/safe_contact"
        if reach.block.value is not None:
            yield f"{block}/value"
        for name in _WORDED:
            words = getattr(reach.block, name)
            if words is not None and (reach.why in ("suspect", "replaced") or _DIGITS.search(words)):
                yield f"{block}/{name}"
    if reach.why in ("replaced", "unread") and isinstance(person, Victim) and person.guardian is not None:
        yield from [f"{reach.place}/guardian/phones"] * (person.guardian.phones is not None)


def _numbers_of(suspect: Suspect) -> Iterator[str]:
    yield from suspect.phones or ()
    yield from (account.value for account in suspect.accounts or ())


def _plain(number: str) -> str:
    """A number or address without what people write between its characters."""
    return re.sub(r"[\s().-]", "", number).casefold()


def _names(words: str, names: Names | None, aliases: Iterable[str]) -> bool:
    """Whether somebody is named in free text: by an alias, or by every name that is known."""
    text = words.casefold()
    known = [] if names is None else [part.casefold() for part in names.wire().values()]
    return any(alias.casefold() in text for alias in aliases) or (bool(known) and all(part in text for part in known))
