"""The annual tables: which there are, how they add up, and what of a year's counts (counting.py) is published.

A year's figures are those of that year's audit log and of nothing later: no two readings of them can be subtracted. A
referral, and how it was acknowledged, belongs to the year of its submit; declines, outcomes and the like to the year
they were signed in. Each thing is counted in one table: what two tables count, or nearly, their difference tells.

Must never: show a table that follows from others, or nearly so, or a time of whoever was late.

Implements: R-103; rule R12 of the field; docs/decisions/0031, 0035.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from referral_api.domain.disclosure import THRESHOLD, Sum, disclose, percentage, percentile
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import Urgency
from referral_api.formats.codelists import codes

URGENCIES: Final = tuple(reversed([urgency.value for urgency in Urgency]))
"""The least first: of cells that are given up to protect others, the first that is listed goes first."""
_PLAIN: Final = re.compile(r"[a-z0-9][a-z0-9_.]*|")
ACKNOWLEDGED: Final = ("on_time", "late")
"""Within its term, or not: later, or never. One small cell more beside these would take them with it in a good year."""
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


_BY_ACT: Final[Mapping[str, str]] = {
    "declines": "decline_reason",
    "transfers": "transfer_reason",
    "outcomes": "outcome",
    "withdrawals": "withdraw_reason",
    "receipt_failures": "receipt_failure",
    "overdue": "clock",
}
"""Tables of what was signed in the year, with the code list of each."""
ELSEWHERE: Final = frozenset({"ack", "parts"})
"""Clocks that `overdue` leaves out: an acknowledgement that is late is `late` already, and there are no parts yet. A
blank that everybody knows to be zero would hide nobody, and be taken for one that does.
"""
_OF_SUBMIT: Final = {"basis": "sharing_basis", "retention": "retention_class"}
CODE_LISTS: Final[Mapping[str, str]] = {"urgency": "urgency", **_OF_SUBMIT, **_BY_ACT}
"""Which code list names the rows of a table, for who shows them in words."""
TABLES: Final[tuple[Table, ...]] = (
    Table("urgency", URGENCIES, "referrals"),
    *(Table(name, tuple(codes(listed)), "referrals") for name, listed in _OF_SUBMIT.items()),
    *(Table(f"acknowledgement_{one}", ACKNOWLEDGED, f"urgency.{one}") for one in URGENCIES),
    Table("timeliness", ACKNOWLEDGED, "referrals"),
    *(
        Table(name, tuple(code for code in codes(listed) if code not in ELSEWHERE), f"{name}.total")
        for name, listed in _BY_ACT.items()
    ),
    Table("readers", ("not_signed",), "readers.total"),
)
"""All there is: no other question is answered."""
SUMS: Final[tuple[Sum, ...]] = (
    *(table.sum for table in TABLES),
    *(Sum(f"timeliness.{how}", tuple(f"acknowledgement_{one}.{how}" for one in URGENCIES)) for how in ACKNOWLEDGED),
)


_CELLS: Final[Mapping[tuple[str, str], str]] = {
    (table.name, code): table.cell(code) for table in TABLES for code in table.codes
}


@dataclass(frozen=True, slots=True)
class Figures:
    """The exact figures of one year, for nobody's eyes but an auditor's: every cell, and the times in seconds, the
    shortest first.
    """

    counts: Mapping[str, int]
    sent: Mapping[str, tuple[int, ...]]
    """From creation to submission, by urgency."""
    acknowledged: Mapping[str, tuple[int, ...]]
    """From submission to the first acknowledgement, by urgency."""
    erased: int = 0
    """Referrals of the year whose records are erased: of them nothing else is counted."""


def publish(year: int, figures: Figures) -> dict[str, Any]:
    """What of a year's figures is published: JSON values, null for a blank; of erased records that they were."""
    shown = disclose(figures.counts, SUMS)
    tables = {
        table.name: {"total": shown[table.total], "cells": {code: shown[table.cell(code)] for code in table.codes}}
        for table in TABLES
    }
    times: dict[str, Any] = {name: {} for name in TIMES}
    for one in URGENCIES:
        whole, on_time = shown[f"urgency.{one}"], shown[f"acknowledgement_{one}.on_time"]
        # Of who was late no time is told, and whether there is a percentile follows from these two cells alone: or it
        # would say how many of the late ones were never acknowledged.
        in_time = figures.acknowledged[one][: on_time or 0]
        times["created_to_sent"][one] = _percentiles(figures.sent[one], whole)
        times["sent_to_acknowledged"][one] = _percentiles(in_time, None if on_time is None else whole)
    known = _less(shown["outcomes.total"], shown["outcomes.cannot_disclose"])
    shares = {one: percentage(shown[f"acknowledgement_{one}.on_time"], shown[f"urgency.{one}"]) for one in URGENCIES}
    shares["all"] = percentage(shown["timeliness.on_time"], shown["referrals"])
    return {
        "v": 1,
        "year": year,
        "threshold": THRESHOLD,
        "tables": tables,
        "times_s": times,
        "percent": {"acknowledged_on_time": shares, "outcomes_known": {"all": percentage(known, shown["referrals"])}},
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
    nothing: dict[str, tuple[int, ...]] = dict.fromkeys(URGENCIES, ())
    blank = publish(year, Figures(totals(Counter(cells_of_nothing())), nothing, nothing))
    blank["calls"] = dict.fromkeys(("months", "total", "per_referral"))
    if not _fits(document, blank):
        raise ReferralError(ErrorCode.MALFORMED, reason="members")


def _fits(found: Any, model: Any) -> bool:
    if isinstance(model, dict):
        return (
            isinstance(found, dict) and found.keys() == model.keys() and all(_fits(found[k], model[k]) for k in model)
        )
    return found == model if model is not None else found is None or (type(found) is int and found >= 0)


def tabled(table: str, code: str) -> str:
    """The name of a cell. Raises KeyError for one that no table has: what is not listed would be published nowhere."""
    return _CELLS[table, code]


def cells_of_nothing() -> dict[str, int]:
    """Every cell and total, with 0 in it."""
    return dict.fromkeys((cell for one in SUMS for cell, _ in one.signs()), 0)


def totals(counts: Counter[str]) -> dict[str, int]:
    """The cells with their totals: those of rows first, which are cells of another table."""
    for one in sorted(SUMS, key=lambda one: one.total == "referrals"):
        counts[one.total] = sum(counts[part] for part in one.parts)
    return dict(counts)


def _less(whole: int | None, part: int | None) -> int | None:
    return None if whole is None or part is None else whole - part


def _percentiles(values: tuple[int, ...], shown: int | None) -> dict[str, int | None]:
    return {f"p{rank}": percentile(values, rank, shown=shown) for rank in RANKS}
