"""The annual tables, from acts and records alone: whoever holds them counts the same, exchange and auditor alike.

A year's figures are those of that year's audit log and of nothing later: no two readings of them can be subtracted. A
referral, and how it was acknowledged, belongs to the year of its submit; declines, outcomes and the like to the year
they were signed in. Each thing is counted in one table: what two tables count, or nearly, their difference tells.

Must never: name a party, a credential or a referral in a figure, count what was refused, count one event in two tables,
or read a clock.

Implements: R-103; rule R12 of the field; docs/decisions/0031, 0035.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from referral_api.auditlog.evidence import Chronicle, event_of
from referral_api.auditlog.records import Retrieved
from referral_api.domain.disclosure import THRESHOLD, Sum, disclose, percentage, percentile
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.rules import RuleBook
from referral_api.domain.words import Act, CredentialKind, DeliveryRole, Role, Urgency
from referral_api.formats.act import RawAct, parse_act
from referral_api.formats.codelists import codes

URGENCIES: Final = tuple(reversed([urgency.value for urgency in Urgency]))
"""The least first: of cells that are given up to protect others, the first that is listed goes first."""
_PLAIN: Final = re.compile(r"[a-z0-9][a-z0-9_.]*|")
ACKNOWLEDGED: Final = ("on_time", "late", "none")
TIMES: Final = ("created_to_sent", "sent_to_acknowledged")
RANKS: Final = (50, 95)


@dataclass(frozen=True, slots=True)
class Table:
    """One table: its cells by code, and the cell that is their total, which several tables may share."""

    name: str
    codes: tuple[str, ...]
    total: str

    def cell(self, code: str) -> str:
        """The name of one cell."""
        return f"{self.name}.{code}"

    @property
    def sum(self) -> Sum:
        """How it adds up."""
        return Sum(self.total, tuple(map(self.cell, self.codes)))


_BY_REASON: Final[Mapping[Act, tuple[str, str, str]]] = {
    Act.DECLINE: ("declines", "reason", "decline_reason"),
    Act.TRANSFER: ("transfers", "reason", "transfer_reason"),
    Act.CLOSE: ("outcomes", "outcome", "outcome"),
    Act.WITHDRAW: ("withdrawals", "reason", "withdraw_reason"),
    Act.RECEIPT_FAILED: ("receipt_failures", "reason", "receipt_failure"),
    Act.OVERDUE: ("overdue", "clock", "clock"),
}
"""Acts that are counted one by one: the table, the member of the body that says which cell, its code list."""
_ELSEWHERE: Final = frozenset({"ack", "parts"})
"""Clocks that `overdue` leaves out: an acknowledgement that is late is `late` or `none` already, and there are no parts
yet. A blank that everybody knows to be zero would hide nobody, and be taken for one that does.
"""
_OF_SUBMIT: Final = {"basis": "sharing_basis", "retention": "retention_class"}
TABLES: Final[tuple[Table, ...]] = (
    Table("urgency", URGENCIES, "referrals"),
    *(Table(name, tuple(codes(listed)), "referrals") for name, listed in _OF_SUBMIT.items()),
    *(Table(f"acknowledgement_{one}", ACKNOWLEDGED, f"urgency.{one}") for one in URGENCIES),
    Table("timeliness", ACKNOWLEDGED, "referrals"),
    *(
        Table(name, tuple(code for code in codes(listed) if code not in _ELSEWHERE), f"{name}.total")
        for name, _, listed in _BY_REASON.values()
    ),
    Table("readers", ("not_signed",), "readers.total"),
)
"""All there is: no other question is answered."""
SUMS: Final[tuple[Sum, ...]] = (
    *(table.sum for table in TABLES),
    *(Sum(f"timeliness.{how}", tuple(f"acknowledgement_{one}.{how}" for one in URGENCIES)) for how in ACKNOWLEDGED),
)


@dataclass(slots=True)
class _Referral:
    """What one referral adds to the figures."""

    urgency: str | None = None
    """None of a copy, and where it was sent in an earlier year: then only what was signed this year counts."""
    created_s: int = 0
    """From its creation on the hotline's machine to its acceptance by the exchange."""
    sent_at: int = 0
    within_s: int = 0
    """In what time a unit shall acknowledge, by the rules in force at its submit."""
    cells: list[str] = field(default_factory=list)
    chronicle: Chronicle = field(default_factory=Chronicle)
    readers: set[tuple[str, str]] = field(default_factory=set)
    signers: set[tuple[str, str]] = field(default_factory=set)

    @property
    def acknowledged_s(self) -> int | None:
        """From its submission to the first acknowledgement of a unit that shall act on it; None if there was none.

        Whichever unit: one to which it was released or passed on is late too, if the first one let the time go by.
        """
        units = (one for one in self.chronicle.deliveries.values() if one.role is not DeliveryRole.INFORMATION)
        first = min((one.acknowledged_at for one in units if one.acknowledged_at is not None), default=None)
        return None if first is None else first - self.sent_at

    @property
    def answered(self) -> str:
        """How it was acknowledged."""
        took_s = self.acknowledged_s
        return "none" if took_s is None else "on_time" if took_s <= self.within_s else "late"


@dataclass(frozen=True, slots=True)
class Figures:
    """The exact figures of one year, for nobody's eyes but an auditor's: every cell, and the times in seconds."""

    counts: Mapping[str, int]
    sent: Mapping[str, tuple[int, ...]]
    """From creation to submission, by urgency."""
    acknowledged: Mapping[str, tuple[int, ...]]
    """From submission to the first acknowledgement, by urgency."""
    erased: int = 0
    """Referrals of the year whose records are erased: of them nothing else is counted."""


class Counting:
    """One pass over a year's log, in log order. `kinds` are the kinds of all credentials there ever were, `book` the
    rules of the exchange up to the year's end (R-105).
    """

    def __init__(self, kinds: Mapping[str, CredentialKind], book: RuleBook) -> None:
        self._kinds = kinds
        self._book = book
        self._referrals: dict[str, _Referral] = {}
        self._erased: set[str] = set()

    def act(self, act: RawAct, by: Role, at: int) -> None:
        """Take an accepted act; `at` is its leaf's time (unix seconds). Raises TAMPERED where it does not fold."""
        if act.ref is None or act.act is Act.ERASE:
            return
        one = self._referrals.setdefault(act.ref, _Referral())
        body: Any = act.body
        if act.act is Act.SUBMIT and body.is_copy:
            pass  # Of another referral, which is counted; nobody shall act on a copy.
        elif act.act is Act.SUBMIT:
            one.urgency = str(body.urgency.value)
            one.created_s = max(0, at - int(body.created_at.timestamp()))
            one.sent_at = at
            one.within_s = int(self._book.at(at).clocks[body.urgency].ack.total_seconds())
            one.cells += [f"urgency.{one.urgency}", f"basis.{body.basis.value}"]
            one.cells.append(f"retention.{body.retention_class.value}")
        # A hotline that declines does not approve a transfer: the unit keeps the referral.
        elif act.act in _BY_REASON and (act.act is not Act.DECLINE or by is Role.POLICE_UNIT):
            table, member, _ = _BY_REASON[act.act]
            code = str(getattr(body, member))
            if code not in _ELSEWHERE:
                one.cells.append(f"{table}.{code}")
        if act.unit is not None:
            one.signers.add((act.unit, act.iss))
        if one.urgency is not None:
            one.chronicle.accept(event_of(act, by, at))

    def read(self, record: Retrieved) -> None:
        """Take the record of a hand-out."""
        if record.sealed != "bundle" or record.unit is None:
            return
        one = self._referrals.setdefault(record.ref, _Referral())
        if self._kinds.get(record.credential) is CredentialKind.PERSON:
            one.readers.add((record.unit, record.credential))
        if one.urgency is not None:
            one.chronicle.retrieved(record.unit, record.t)

    def erased(self, ref: str) -> None:
        """Take that a referral of this year has erased records. Of its acts and records none is to be taken, should
        some of them still be there.
        """
        self._erased.add(ref)

    def figures(self) -> Figures:
        """Everything that was counted."""
        counts = Counter(dict.fromkeys((cell for one in SUMS for cell, _ in one.signs()), 0))
        sent: dict[str, list[int]] = {urgency: [] for urgency in URGENCIES}
        acknowledged: dict[str, list[int]] = {urgency: [] for urgency in URGENCIES}
        for one in self._referrals.values():
            counts.update(one.cells)
            counts["readers.not_signed"] += len(one.readers - one.signers)
            if one.urgency is None:
                continue
            sent[one.urgency].append(one.created_s)
            counts[f"acknowledgement_{one.urgency}.{one.answered}"] += 1
            if (took_s := one.acknowledged_s) is not None:
                acknowledged[one.urgency].append(took_s)
        return Figures(_totals(counts), _frozen(sent), _frozen(acknowledged), len(self._erased))


def kinds_of(keys_leaves: Iterable[bytes]) -> dict[str, CredentialKind]:
    """The kind of every credential that any statement of the keys log has ever listed."""
    found: dict[str, CredentialKind] = {}
    for leaf in keys_leaves:
        try:
            act = parse_act(leaf)
        except ReferralError:
            continue  # A key entry.
        if act.act is Act.STATEMENT:
            body: Any = act.body
            found |= {body.credential_id(one): one.kind for one in body.credentials}
    return found


def publish(year: int, figures: Figures) -> dict[str, Any]:
    """What of a year's figures is published: JSON values, null for a blank; of erased records that they were."""
    shown = disclose(figures.counts, SUMS)
    tables = {
        table.name: {"total": shown[table.total], "cells": {code: shown[table.cell(code)] for code in table.codes}}
        for table in TABLES
    }
    times: dict[str, Any] = {name: {} for name in TIMES}
    for one in URGENCIES:
        in_time = [shown[f"acknowledgement_{one}.{how}"] for how in ("on_time", "late")]
        counted = None if None in in_time else len(figures.acknowledged[one])
        times["created_to_sent"][one] = _percentiles(figures.sent[one], shown[f"urgency.{one}"])
        times["sent_to_acknowledged"][one] = _percentiles(figures.acknowledged[one], counted)
    closes, undisclosed = shown["outcomes.total"], shown["outcomes.cannot_disclose"]
    known = None if closes is None or undisclosed is None else closes - undisclosed
    on_time = {one: percentage(shown[f"acknowledgement_{one}.on_time"], shown[f"urgency.{one}"]) for one in URGENCIES}
    on_time["all"] = percentage(shown["timeliness.on_time"], shown["referrals"])
    return {
        "v": 1,
        "year": year,
        "threshold": THRESHOLD,
        "tables": tables,
        "times_s": times,
        "percent": {"acknowledged_on_time": on_time, "outcomes_known": {"all": percentage(known, closes)}},
        "erased": figures.erased if figures.erased >= THRESHOLD else None,
    }


def rows_of(document: Mapping[str, Any]) -> Iterator[tuple[str, str, int | None]]:
    """A published document as rows of (table, row, figure), in our order whatever its own is; None for a blank."""
    for table in TABLES:
        found = document["tables"][table.name]
        yield from ((table.name, code, found["cells"][code]) for code in table.codes)
        yield table.name, "total", found["total"]
    for name in TIMES:
        for one in URGENCIES:
            yield from ((f"{name}_s", f"{one}.p{rank}", document["times_s"][name][one][f"p{rank}"]) for rank in RANKS)
    for name, shares in sorted(document["percent"].items()):
        yield from ((f"{name}_percent", code, shares[code]) for code in sorted(shares))
    yield "erased", "referrals", document["erased"]
    for name, shown in sorted(document.get("calls", {}).items()):
        yield "calls", name, shown


def csv_of(document: Mapping[str, Any], delimiter: str = ",") -> str:
    """The same rows as CSV (RFC 4180). Codes and numbers alone stand in it: no cell can begin as a formula does."""
    lines = [("year", "table", "row", "figure")]
    lines += [(str(document["year"]), *row, "" if shown is None else str(shown)) for *row, shown in rows_of(document)]  # type: ignore[misc]
    for cell in (cell for line in lines for cell in line):
        if _PLAIN.fullmatch(cell) is None:
            raise ReferralError(ErrorCode.MALFORMED, reason="cell")
    return "".join(f"{delimiter.join(line)}\r\n" for line in lines)


def check_published(document: Mapping[str, Any], year: int) -> None:
    """Raise MALFORMED unless a document has the tables of `publish` with `calls`, and in them counts or blanks."""
    blank = publish(year, Counting({}, RuleBook()).figures()) | {"erased": None}
    blank["calls"] = dict.fromkeys(("months", "total", "per_referral"))
    if not _fits(document, blank):
        raise ReferralError(ErrorCode.MALFORMED, reason="members")


def _fits(found: Any, model: Any) -> bool:
    if isinstance(model, dict):
        return (
            isinstance(found, dict) and found.keys() == model.keys() and all(_fits(found[k], model[k]) for k in model)
        )
    return found == model if model is not None else found is None or (type(found) is int and found >= 0)


def _totals(counts: Counter[str]) -> dict[str, int]:
    """The cells with their totals: those of rows first, which are cells of another table."""
    for one in sorted(SUMS, key=lambda one: one.total == "referrals"):
        counts[one.total] = sum(counts[part] for part in one.parts)
    return dict(counts)


def _frozen(times: Mapping[str, list[int]]) -> dict[str, tuple[int, ...]]:
    return {urgency: tuple(sorted(values)) for urgency, values in times.items()}


def _percentiles(values: tuple[int, ...], shown: int | None) -> dict[str, int | None]:
    return {f"p{rank}": percentile(values, rank, shown=shown) for rank in RANKS}
