"""What anybody is shown of a referral, written down by hand, and what the exchange shows (R-54, R-62, R-63).

Both in one form, to be compared: the deliveries with what may be done next, the acts in their order, how often the
exchange has said what, and who fetched the bundle how often. None where there is nothing to be known of: 404.

Must never: leave out a delivery, an act or a hand-out that somebody is shown and must not be.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final, NamedTuple

from referral_api.domain.words import Act, CredentialKind, Role
from referral_api.formats.act import parse_act
from tests.formats.parties_world import Someone
from tests.lifetime.model import Case
from tests.lifetime.sheets import Move, Sheet

KEPT_FROM_UNITS: Final = frozenset({Act.ROUTE, Act.ESCALATED, Act.TELEPHONE_NOW})
"""Who was passed over, and whom the hotline must call, is no business of any unit."""


class Said(NamedTuple):
    """An act of a party's that has a receipt, or the exchange's approval of a transfer."""

    digest: str
    act: Act
    unit: str | None
    party: str
    taken: bool


@dataclass
class Story:
    """What was said about one referral in the order of the log, and fetched."""

    said: list[Said] = field(default_factory=list)
    fetched: Counter[str] = field(default_factory=Counter)


Seen = dict[str, Any]


def expected_view(case: Case, story: Story, who: Someone, role: Role) -> Seen | None:
    """What somebody must be shown."""
    if role is Role.POLICE_UNIT:
        if not case.knows(who.party):
            return None
        sheets = {who.party: case.sheets[who.party]}
    elif role is Role.AUDITOR or who.party == case.sender:
        sheets = case.sheets
    else:
        return None
    if role is Role.AUDITOR and who.kind is CredentialKind.SERVICE:
        return None
    deliveries = {unit: _delivery(case, sheet, who, role) for unit, sheet in sheets.items()}
    heard = sum((sheet.heard for sheet in sheets.values()), Counter[Act]())
    hidden = KEPT_FROM_UNITS if role is Role.POLICE_UNIT else frozenset()
    return {
        "deliveries": deliveries,
        "acts": [one.digest for one in story.said if _sees(case, one, who.party, role)],
        "heard": Counter({act.value: count for act, count in heard.items() if act not in hidden}),
        "fetched": Counter({unit: count for unit, count in story.fetched.items() if unit in sheets}),
    }


def _sees(case: Case, one: Said, party: str, role: Role) -> bool:
    if role is Role.AUDITOR:
        return True
    if not one.taken:
        return one.party == party
    if role is Role.HOTLINE:
        return one.act is not Act.REWRAP
    own = one.unit in (None, party) or one.digest in case.path(party)
    return own and one.act not in KEPT_FROM_UNITS


def _delivery(case: Case, sheet: Sheet, who: Someone, role: Role) -> Mapping[str, object]:
    dues = case.dues(sheet)
    asked = Counter(kind.value for kind, _ in sheet.open.values())
    if role is Role.POLICE_UNIT:
        asked.pop(Act.TELEPHONE_NOW.value, None)
    acts = role in (Role.HOTLINE, Role.POLICE_UNIT) and who.kind is CredentialKind.PERSON
    return {
        "role": sheet.role,
        "state": sheet.state.value,
        "head": sheet.head,
        "due": {"clock": dues[0][1], "due_at": dues[0][0]} if dues else None,
        "allowed": case.may_do(Move(Act.NOTE, role, who.party, who.id), sheet) if acts else [],
        "investigation": sheet.investigation,
        "taken": sheet.taken,
        "holds": sorted(sheet.holds.items()),
        "purge_at": case.purge_at(sheet),
        "purged_at": sheet.purged,
        "open": asked,
    }


@lru_cache(maxsize=8192)
def _read(jws: str) -> tuple[str, Act, str]:
    act = parse_act(jws.encode())
    return act.digest, act.act, act.party


def shown_view(view: Mapping[str, Any]) -> Seen:
    """The exchange's answer in the same form."""
    read = [_read(one["act"]) for one in view["acts"]]
    by_itself = [act.value for _, act, party in read if party == "exchange" and act is not Act.APPROVE]
    return {
        "deliveries": {one["unit"]: _comparable(one) for one in view["deliveries"]},
        "acts": [digest for digest, act, party in read if party != "exchange" or act is Act.APPROVE],
        "heard": Counter(by_itself),
        "fetched": Counter(one["unit"] for one in view["records"]),
    }


def _comparable(one: Mapping[str, Any]) -> Mapping[str, object]:
    same = ("role", "state", "head", "due", "investigation", "taken", "purge_at", "purged_at")
    return {
        **{name: one[name] for name in same},
        "allowed": sorted(one["allowed"]),
        "holds": sorted((hold["party"], hold["review_at"]) for hold in one["holds"]),
        "open": Counter(question["act"] for question in one["open"]),
    }


def difference(found: Seen | None, wanted: Seen | None) -> str:
    """In a few words, for whoever reads that a life has failed."""
    if found is None or wanted is None:
        return f"shown: {found is not None}, to be shown: {wanted is not None}"
    parts = [f"{name}: {found[name]} for {wanted[name]}" for name in wanted if found[name] != wanted[name]]
    if found["deliveries"].keys() == wanted["deliveries"].keys() and found["deliveries"] != wanted["deliveries"]:
        parts[0] = "; ".join(
            f"{unit} {name}: {found['deliveries'][unit][name]} for {value}"
            for unit, one in wanted["deliveries"].items()
            for name, value in one.items()
            if found["deliveries"][unit][name] != value
        )
    return "; ".join(parts)
