"""What supplements make of a referral: which of its contacts they replace or withdraw, and what of it may be said anew.

A supplement is a whole referral body, and the latest that names a person says how she may be reached: what it does not
repeat counts no more. What must not be done is never lifted by what comes later, so those codes add up. Whatever is
said anew keeps the age that it had: a contact that was verified a week ago is no fresher for being sealed again.

Must never: read a clock, carry on a number that a supplement replaced, withdrew or gave to a suspect, or make a contact
younger than it is.

Implements: R-86, R-87, R-110; rules R8, R10 and R11 of the field.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from referral_api.domain.clocks import CHILD_SAFEGUARDS
from referral_api.formats.referral_body import ReferralBody, parse_referral
from referral_api.formats.referral_contacts import contact_faults, contact_valid_until
from referral_api.formats.referral_people import SafeContact

REPORTER = "reporter"
_VICTIM_CONTACT = ("phones", "email", "safe_contact")
_REPORTER_CONTACT = ("phone", "safe_contact")


@dataclass(frozen=True, slots=True)
class Written:
    """A referral body, and when it was sealed (the bundle's `iat`): from then its contacts grow old."""

    body: ReferralBody = field(repr=False)
    at: datetime


def superseded(body: ReferralBody, later: Sequence[ReferralBody]) -> frozenset[str]:
    """The people of a body (a victim's `ref`, or `reporter`) whose contact the last of the later ones that names them
    does not repeat as it stands.
    """
    own = dict(_contacts(body))
    for one in later:
        own_now = dict(_contacts(one))
        own |= {who: own_now[who] for who in own.keys() & own_now.keys()}
    return frozenset(who for who, contact in _contacts(body) if own[who] != contact)


def with_suspects(body: ReferralBody, others: Sequence[ReferralBody]) -> ReferralBody:
    """A body beside the suspects of others, to be judged by: whom one of them calls a suspect is no way to anybody."""
    return body.model_copy(update={"suspects": tuple(one for each in (body, *others) for one in each.suspects)})


def said_anew(
    given: Mapping[str, Any], first: Written, later: Sequence[Written], *, unreached: bool = False
) -> dict[str, Any]:
    """The members of a referral (`given`, those of `first`) as they may be sealed once more after its supplements.

    Every code of `do_not` that any of them has; consent as the last says it that speaks of the same person; each
    person's contact as the last says it that names her, good for no longer than it was. `unreached` leaves every
    contact out: something later is closed to us, and may have withdrawn it.
    """
    said = [first, *later]
    anew = dict(given)
    codes = dict.fromkeys(code for one in said for code in one.body.do_not or ())
    if codes:
        anew["do_not"] = list(codes)
    spoken = [one.body.consent for one in said if one.body.consent.subject == first.body.consent.subject]
    anew["consent"] = spoken[-1].wire()
    last = {who: one for one in said for who, _ in _contacts(one.body)}
    if "victims" in given:
        anew["victims"] = [_victim(victim, last[victim["ref"]]) for victim in given["victims"]]
    anew["reporter"] = _reporter(given["reporter"], last[REPORTER])
    feared = _leading_to_suspects(parse_referral(anew), [one.body for one in later])
    return _without_contacts(anew, last.keys() if unreached else feared)


def _contacts(body: ReferralBody) -> Iterator[tuple[str, dict[str, Any]]]:
    """Whom a body names, and how it says that each may be reached."""
    for victim in body.victims:
        given = victim.wire()
        contact = {name: given[name] for name in _VICTIM_CONTACT if name in given}
        yield victim.ref, contact | {"guardian": given.get("guardian", {}).get("phones")}
    given = body.reporter.wire()
    yield REPORTER, {name: given[name] for name in _REPORTER_CONTACT if name in given}


def _victim(given: Mapping[str, Any], last: Written) -> dict[str, Any]:
    (victim,) = [one for one in last.body.victims if one.ref == given["ref"]]
    said = victim.wire()
    anew = {name: value for name, value in given.items() if name not in _VICTIM_CONTACT}
    anew |= _aged(said, _VICTIM_CONTACT, victim.safe_contact, last.at)
    guardian = said.get("guardian", given.get("guardian"))
    if guardian is not None and given["age_group"] in CHILD_SAFEGUARDS:
        # His number counts no more where it is not repeated; who he is does.
        anew["guardian"] = {name: one for name, one in guardian.items() if "guardian" in said or name != "phones"}
    return anew


def _reporter(given: Mapping[str, Any], last: Written) -> dict[str, Any]:
    reporter = last.body.reporter
    anew = {name: value for name, value in given.items() if name not in _REPORTER_CONTACT}
    anew |= _aged(reporter.wire(), _REPORTER_CONTACT, reporter.safe_contact, last.at)
    if given["anonymous"] or reporter.anonymous:
        # Who wants to be known no more is no more known for being sent on.
        anew = {name: value for name, value in anew.items() if name not in ("name", "phone")} | {"anonymous": True}
    return anew


def _aged(
    said: Mapping[str, Any], names: Sequence[str], block: SafeContact | None, written_at: datetime
) -> dict[str, Any]:
    """Members of a contact, with the moment at which it ends written into it: without, or with a later one, it would be
    good for a whole term more from the bundle in which it is sealed next.
    """
    contact = {name: said[name] for name in names if name in said}
    if block is None or (block.channel == "none" and set(contact) == {"safe_contact"}):
        return contact
    ends = contact_valid_until(block, written_at)
    if ends == block.valid_until:
        return contact
    until = ends.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return contact | {"safe_contact": {**contact["safe_contact"], "valid_until": until}}


def _leading_to_suspects(body: ReferralBody, others: Sequence[ReferralBody]) -> frozenset[str]:
    """The people whose contact leads to somebody whom this body or another one calls a suspect."""
    places = [place.split("/")[1:] for place, _ in contact_faults(with_suspects(body, others))]
    return frozenset(REPORTER if kind == REPORTER else body.victims[int(rest[0])].ref for kind, *rest in places)


def _without_contacts(members: dict[str, Any], people: Collection[str]) -> dict[str, Any]:
    """The same with nothing by which these people could be reached."""
    left = dict(members)
    if "victims" in members:
        left["victims"] = [_unreached(one) if one["ref"] in people else one for one in members["victims"]]
    if REPORTER in people:
        left["reporter"] = {name: one for name, one in members["reporter"].items() if name not in _REPORTER_CONTACT}
    return left


def _unreached(victim: Mapping[str, Any]) -> dict[str, Any]:
    left = {name: value for name, value in victim.items() if name not in _VICTIM_CONTACT}
    if "guardian" in left:
        left["guardian"] = {name: value for name, value in left["guardian"].items() if name != "phones"}
    return left
