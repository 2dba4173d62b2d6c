"""The auditor's tables on paper: words for every row in both languages, and no cell that a spreadsheet would run."""

from __future__ import annotations

import pytest

from referral_api.auditlog.counting import Counting
from referral_api.auditlog.figures import publish, rows_of
from referral_api.auditlog.records import StatisticsRead, encode_salt
from referral_api.cli import figures
from referral_api.cli.output import Screen
from referral_api.client.audit.figures import Exposure
from referral_api.client.audit.inspection import Item
from referral_api.domain.catalogue import Language
from referral_api.domain.rules import RuleBook
from referral_api.domain.terms import Term


@pytest.mark.parametrize("lang", ["es", "en"])
def test_every_row_of_every_table_has_its_words(lang: Language) -> None:
    document = publish(2025, Counting({}, RuleBook(), 2025).figures())
    document["calls"] = dict.fromkeys(("months", "total", "per_referral"))
    screen = Screen(lang)
    rows = [(table, row) for table, row, _ in rows_of(document)]
    assert len(rows) == len(set(rows)) == 100
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


@pytest.mark.parametrize("digest", ["-" * 43, "A" * 43, None])
def test_a_digest_stands_in_a_sheet_as_it_is(digest: str | None) -> None:
    """One in 64 begins as a formula does; marked as text, it would be found nowhere."""
    read = StatisticsRead(
        t=1, salt=encode_salt(bytes(16)), party="defensoria", credential="defensoria.aaaa", year=2025, digest="A" * 43
    ).model_copy(update={"digest": digest})
    item = Item(Term(2026), 7, 1, record=read)
    row = figures._exposed(Exposure((item,), {}), item)
    written = figures.sheet(["a"], [row], semicolon=False).decode()
    assert row[4] == (f"sha256:{digest}" if digest else "")
    assert f",{row[4]}," in written
    assert "'" not in written
