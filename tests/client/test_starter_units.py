"""The invented directory of `examples/`: whole, valid, and nobody's (R-84)."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from referral_api.client.choosing import check_entry
from referral_api.domain.choosing import Candidate, suggest
from referral_api.domain.errors import ErrorCode
from referral_api.formats.codelists import codes
from referral_api.formats.directory_bodies import Entry

DOCUMENT: dict[str, Any] = json.loads(
    (Path(__file__).parents[2] / "examples/unidades-inventadas.json").read_text(encoding="utf-8")
)
UNITS = [Entry.parse(one, code=ErrorCode.MALFORMED) for one in DOCUMENT["units"]]
NATIONAL = "pnp-nacional"


def test_every_region_has_a_unit_and_the_country_a_directorate() -> None:
    assert sorted(area for unit in UNITS for area in unit.area) == [f"{number:02}" for number in range(1, 26)]
    assert [unit.id for unit in UNITS if not unit.area] == [NATIONAL]


def test_the_regions_are_those_of_the_institute_of_statistics() -> None:
    regions = codes("region")
    assert list(regions) == [f"{number:02}" for number in range(1, 26)]
    assert [regions[code].es for code in ("01", "07", "15", "20", "25")] == [
        "Amazonas", "Callao", "Lima", "Piura", "Ucayali",
    ]  # fmt: skip


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.id)
def test_an_entry_can_be_written_into_the_directory(unit: Entry) -> None:
    check_entry(unit.wire())
    assert unit.role.value == "police_unit"
    assert unit.country is None
    assert "(inventada)" in unit.name
    assert (unit.hours, unit.languages, unit.specialities) != (None, None, None)


def test_parents_and_escalation_parties_exist_and_lead_to_the_directorate() -> None:
    known = {unit.id for unit in UNITS}
    assert len(known) == len(UNITS) == 26
    for unit in UNITS:
        assert {*unit.escalation, unit.parent or NATIONAL} <= known
        assert NATIONAL in (unit.id, unit.parent)


def test_no_telephone_number_can_be_anybodys() -> None:
    """Ofcom keeps +44 1632 960000 to 960999 for drama and assigns them to nobody."""
    phones = [str(unit.duty_phone) for unit in UNITS]
    assert all(re.fullmatch(r"\+441632960[0-9]{3}", phone) for phone in phones)
    assert len(set(phones)) == len(phones)
    assert "inventado" in DOCUMENT["notice_es"]
    assert "invented" in DOCUMENT["notice_en"]


@pytest.mark.parametrize("region", list(codes("region")))
def test_a_place_in_any_region_is_answered_by_its_unit_and_then_the_directorate(region: str) -> None:
    candidates = [Candidate(unit.id, unit.area, unit.parent) for unit in UNITS]
    first, second = suggest(candidates, region + "0101")
    assert (first.area, second.unit) == (region, NATIONAL)
