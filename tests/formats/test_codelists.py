"""The code lists: whole in both languages, verbatim where they are a standard's, and the same as the words in code."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date

import pytest

from referral_api.domain import clocks, lifecycle, words
from referral_api.formats.codelists import Code, codes, label, list_names, raw_csv, raw_notice
from referral_api.formats.fields import Coded

HTCDS = [name for name in list_names() if name.startswith("htcds_2_0/")]


@pytest.mark.parametrize("name", list_names())
def test_every_code_has_a_label_in_both_languages_and_a_time(name: str) -> None:
    rows = codes(name)
    assert rows
    for code, row in rows.items():
        assert row.code == code == code.strip()
        assert row.es == row.es.strip() != ""
        assert row.en == row.en.strip() != ""
        assert row.effective_to is None or row.effective_to >= row.effective_from


@pytest.mark.parametrize("name", list_names())
def test_no_two_codes_of_a_list_read_alike(name: str) -> None:
    for language in ("es", "en"):
        labels = [getattr(row, language) for row in codes(name).values()]
        assert len(set(labels)) == len(labels)


@pytest.mark.parametrize("name", list_names())
def test_files_are_utf8_with_line_feeds_only(name: str) -> None:
    raw = raw_csv(name)
    assert raw.decode("utf-8").endswith("\n")
    assert b"\r" not in raw


@pytest.mark.parametrize("name", HTCDS)
def test_codes_of_the_standard_map_to_themselves(name: str) -> None:
    assert all(row.maps_to_htcds == code and not code.startswith("x_") for code, row in codes(name).items())


def test_extensions_are_marked_and_never_shadow_the_standard() -> None:
    standard = {code for name in HTCDS for code in codes(name)}
    for name in ("ext/exploitation_ext", "ext/control_ext", "ext/support_ext"):
        assert all(code.startswith("x_") for code in codes(name))
        assert not standard & set(codes(name))


def test_mappings_name_codes_of_the_standard() -> None:
    standard = {code for name in HTCDS for code in codes(name)}
    named = {row.maps_to_htcds for name in list_names() if name not in HTCDS for row in codes(name).values()}
    venues = {row.maps_to_htcds for row in codes("niem_venue").values()}
    assert named - {None} - venues <= standard


def test_a_misspelling_of_the_standard_is_kept() -> None:
    assert "Unaquainted" in codes("htcds_2_0/relationship_to_trafficker")
    assert label("htcds_2_0/relationship_to_trafficker", "Unaquainted", "es") == "Persona desconocida"


def test_the_standards_lists_are_whole() -> None:
    sizes = {name.removeprefix("htcds_2_0/"): len(codes(name)) for name in HTCDS}
    assert sizes["type_of_exploitation"] == 11
    assert sizes["methods_of_control"] == 16
    assert sizes["forced_labour_industry"] == 21
    assert sizes["role_in_process"] == 15
    assert len(codes("niem_venue")) == 34
    assert len(HTCDS) == 19


def test_every_copy_of_a_standard_carries_its_notice() -> None:
    assert b"CC BY 4.0" in raw_notice("htcds_2_0/NOTICE.md")
    assert b"International Organization for Migration" in raw_notice("htcds_2_0/NOTICE.md")
    assert b"niem_venue.csv" in raw_notice("NOTICE.md")


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("urgency", words.Urgency),
        ("delivery_role", words.DeliveryRole),
        ("sharing_basis", words.Basis),
        ("identity_level", words.IdentityLevel),
        ("retention_class", words.RetentionClass),
        ("investigation_status", words.Investigation),
        ("rung", clocks.Rung),
        ("clock", [*clocks.Clock, "parts"]),
        ("withdrawal_answer", sorted([*lifecycle.STOPPED, *lifecycle.GOING_ON])),
    ],
)
def test_lists_and_enumerations_of_the_code_are_the_same(name: str, values: Iterable[str]) -> None:
    assert sorted(codes(name)) == sorted(str(value) for value in values)


def test_the_clocks_use_codes_that_exist() -> None:
    assert set(codes("urgency_reason")) >= clocks.EMERGENCY_REASONS | clocks.URGENT_REASONS
    assert set(codes("age_group")) > clocks.CHILD_SAFEGUARDS


def test_an_unknown_list_or_code_is_a_programmers_error() -> None:
    with pytest.raises(KeyError):
        codes("no_such_list")
    with pytest.raises(KeyError):
        codes("../../../etc/passwd")
    with pytest.raises(KeyError):
        label("urgency", "no_such_code", "es")


def test_a_code_is_in_force_from_its_first_day_to_its_last() -> None:
    first, last = date(2026, 1, 1), date(2026, 6, 30)
    row = Code("x", "equis", "ex", first, last, False, None, None)
    assert [row.effective_on(day) for day in (date(2025, 12, 31), first, last, date(2026, 7, 1))] == [
        False,
        True,
        True,
        False,
    ]


def test_a_code_of_two_lists_is_in_force_if_one_of_them_has_it_in_force() -> None:
    coded = Coded(("htcds_2_0/type_of_exploitation", "ext/exploitation_ext"), gaps=True)
    assert coded.effective_on("ForcedLabour", date(2022, 1, 1))
    assert not coded.effective_on("x_ForcedCriminality", date(2022, 1, 1))
    assert coded.values()[-2:] == ["unknown", "not_disclosed"]
