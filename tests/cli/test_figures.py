"""The auditor's tables on paper: words for every row in both languages, and no cell that a spreadsheet would run."""

from __future__ import annotations

import pytest

from referral_api.auditlog.figures import Counting, publish, rows_of
from referral_api.cli import figures
from referral_api.cli.output import Screen
from referral_api.domain.catalogue import Language
from referral_api.domain.rules import RuleBook


@pytest.mark.parametrize("lang", ["es", "en"])
def test_every_row_of_every_table_has_its_words(lang: Language) -> None:
    document = publish(2025, Counting({}, RuleBook()).figures())
    document["calls"] = dict.fromkeys(("months", "total", "per_referral"))
    screen = Screen(lang)
    rows = [(table, row) for table, row, _ in rows_of(document)]
    assert len(rows) == len(set(rows)) > 100
    for table, row in rows:
        assert figures._table(screen, table).strip()
        assert figures._row(screen, table, row).strip()


@pytest.mark.parametrize("cell", ["=1+1", "+51", "-1", "@SUM(A1)", "\tx", "\rx"])
def test_no_cell_begins_as_a_formula_does(cell: str) -> None:
    for semicolon in (False, True):
        text = figures.sheet(["a"], [[cell, "llano"]], semicolon=semicolon).decode("utf-8-sig")
        assert f"'{cell}" in text
        assert "llano" in text


def test_a_spreadsheet_in_spanish_gets_semicolons_and_knows_the_encoding() -> None:
    assert figures.sheet(["año", "n"], [["2025", "12"]], semicolon=True) == "\ufeffaño;n\r\n2025;12\r\n".encode()
    assert figures.sheet(["año", "n"], [["2025", "12"]], semicolon=False) == "año,n\r\n2025,12\r\n".encode()
