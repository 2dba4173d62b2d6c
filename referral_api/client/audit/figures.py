"""What an auditor counts himself: the annual tables from the log, what a credential was handed, who overrode a refusal.

The exchange publishes its tables; here they are counted again from records that were verified one by one, and must come
out the same, blank for blank. What a credential was handed is the exchange's own record of it, committed before the
first byte left.

Must never: show a table that did not come out the same without saying so, or call what was searched out complete.

Implements: R-98, R-103, R-104; rules R6, R12 and R13 of the field.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from referral_api.auditlog.accounts import calls_of
from referral_api.auditlog.counting import Counting, kinds_of
from referral_api.auditlog.figures import check_published, publish, rows_of
from referral_api.auditlog.records import Retrieved
from referral_api.client.audit import inspection, verifying
from referral_api.client.audit.inspection import Item
from referral_api.client.audit.sources import MirrorSource
from referral_api.client.exchange import Request, told
from referral_api.client.session import Session
from referral_api.client.view import fetch_referral, role_of
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.rules import RuleBook
from referral_api.domain.terms import Term
from referral_api.domain.words import Act, ReferralId
from referral_api.formats.act import RawAct

HANDED = frozenset(
    {
        *("retrieved", "part_read", "viewed", "pack_read", "record_read", "proof_read", "unlogged_read"),
        *("statistics_read", "audit_session"),
    }
)
"""Kinds of record that say that a credential was handed something."""


@dataclass(frozen=True, slots=True)
class Yearly:
    """The published tables of a year, and how many of its leaves are erased: then they cannot be counted again."""

    document: Mapping[str, Any]
    erased: int


def statistics(session: Session, year: int, mirror: Path | None = None) -> Yearly:
    """The tables that the exchange publishes, which are those that its log gives; counted in a mirror, if there is one.

    Raises TAMPERED (`what` `statistics`, `table`, `row`) where a figure differs, and as `inspection.search`.
    """
    terms = verifying.terms_of(session) if mirror is None else verifying.terms_in(session, mirror)
    mine, erased = _recount(session, year, terms, mirror)
    document = _ask(session, year)
    if erased:
        return Yearly(document, erased)
    _compare({name: value for name, value in document.items() if name != "calls"}, mine)
    referrals = mine["tables"]["urgency"]["total"]
    if document["calls"] != calls_of(year, _accounts(session, year, terms, mirror), referrals):
        raise ReferralError(ErrorCode.TAMPERED, what="statistics", table="calls")
    return Yearly(document, 0)


@told()
def _ask(session: Session, year: int) -> dict[str, Any]:
    document = session.read_json(Request("GET", "/v1/statistics", query=(("year", str(year)),)))
    check_published(document, year)
    return document


def _recount(session: Session, year: int, terms: Sequence[Term], mirror: Path | None) -> tuple[dict[str, Any], int]:
    """The tables as the year's own log gives them, and how many of its leaves do not open any more."""
    counting, erased = Counting(kinds_of(session.replica.leaves), _rules(session, year, terms, mirror), year), 0
    for act in _earlier(session, year, terms, mirror):
        counting.earlier(act)
    for term in (term for term in terms if term.year == year):
        following = 0
        for item in items(session, term, {}, terms, mirror):
            erased += item.index - following
            following = item.index + 1
            if not erased:
                _count(session, counting, item)
    return publish(year, counting.figures()), erased


def _count(session: Session, counting: Counting, item: Item) -> None:
    if item.act is not None and _accepted(item):
        counting.act(item.act, role_of(session, item.act.party), item.at)
    elif isinstance(item.record, Retrieved):
        counting.read(item.record)


def _rules(session: Session, year: int, terms: Sequence[Term], mirror: Path | None) -> RuleBook:
    """The rules of the exchange up to the year's end, each in force from the second after its leaf on (R-105)."""
    book = RuleBook()
    for term in terms:
        if term.year <= year:
            for item in items(session, term, {"kind": Act.RULES.value}, terms, mirror):
                body: Any = None if item.act is None else item.act.body
                book = book if body is None else book.changed(item.at + 1, body.rules())
    return book


def _earlier(session: Session, year: int, terms: Sequence[Term], mirror: Path | None) -> Iterator[RawAct]:
    """The accepted submits of the years before: which of them are copies, and what replaces what (R-103)."""
    for term in terms:
        if term.year < year:
            for item in items(session, term, {"kind": Act.SUBMIT.value}, terms, mirror):
                if item.act is not None and _accepted(item):
                    yield item.act


def _accounts(session: Session, year: int, terms: Sequence[Term], mirror: Path | None) -> list[RawAct]:
    """What hotlines have told of their calls, in that year and since."""
    found = (
        item
        for term in terms
        if term.year >= year
        for item in items(session, term, {"kind": Act.CALL_TOTAL.value}, terms, mirror)
    )
    return [item.act for item in found if item.act is not None and _accepted(item)]


def _compare(shown: Mapping[str, Any], mine: Mapping[str, Any]) -> None:
    for theirs, ours in zip(rows_of(shown), rows_of(mine), strict=True):
        if theirs != ours:
            raise ReferralError(ErrorCode.TAMPERED, what="statistics", table=ours[0], row=ours[1])


def items(
    session: Session, term: Term, wanted: Mapping[str, str], terms: Sequence[Term], mirror: Path | None
) -> Iterator[Item]:
    """What is wanted of a term's log, each verified: as the exchange finds it, or as a mirror holds it."""
    if mirror is None:
        return inspection.search(session, term, 0, wanted, terms)
    return inspection.search_mirror(session, MirrorSource(mirror), term, 0, wanted, terms)


@dataclass(frozen=True, slots=True)
class Exposure:
    """All that a credential was handed in some time, in log order; and which units the referrals among it concern.

    None for the units of a referral of which the exchange shows nothing any more.
    """

    items: tuple[Item, ...]
    units: Mapping[str, tuple[str, ...] | None]


def exposure(session: Session, credential: str, since: int, until: int, mirror: Path | None = None) -> Exposure:
    """What a credential was handed from `since` on, before `until` (unix seconds, the exchange's time)."""
    terms = verifying.terms_of(session) if mirror is None else verifying.terms_in(session, mirror)
    wanted = {"party": credential.partition(".")[0], "since": str(since), "until": str(until)}
    years = range(datetime.fromtimestamp(since, UTC).year, datetime.fromtimestamp(max(since, until - 1), UTC).year + 1)
    found = tuple(
        item
        for term in terms
        if term.year in years
        for item in items(session, term, wanted, terms, mirror)
        if item.record is not None and item.by == credential and item.kind in HANDED
    )
    refs = dict.fromkeys(item.ref for item in found if item.ref is not None)
    return Exposure(found, {ref: _units(session, ref) for ref in refs})


def _units(session: Session, ref: str) -> tuple[str, ...] | None:
    try:
        return tuple(sorted(fetch_referral(session, ReferralId(ref)).chronicle.deliveries))
    except ReferralError as error:
        if error.code is not ErrorCode.NOT_FOUND:
            raise
        return None  # Erased since, or of a log that was lost.


@dataclass(frozen=True, slots=True)
class Overriding:
    """One submission against a refusal: who signed it, who agreed, and on what grounds."""

    item: Item
    by: str
    second_person: str
    reason: str
    basis: str
    identity_level: str


def overrides(session: Session, year: int, mirror: Path | None = None) -> list[Overriding]:
    """Every override of a year, in log order (rule R6 of the field)."""
    terms = verifying.terms_of(session) if mirror is None else verifying.terms_in(session, mirror)
    submits = (
        item
        for term in terms
        if term.year == year
        for item in items(session, term, {"kind": Act.SUBMIT.value}, terms, mirror)
    )
    return list(_overriding(submits))


def _overriding(submits: Iterable[Item]) -> Iterator[Overriding]:
    for item in submits:
        body: Any = None if item.act is None else item.act.body
        if body is not None and body.override is not None and _accepted(item):
            override = body.override
            yield Overriding(
                item, item.by, override.second_person, override.reason, body.basis.value, body.identity_level.value
            )


def _accepted(item: Item) -> bool:
    return item.receipt is None or item.receipt.accepted
