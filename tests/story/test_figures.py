"""January at the ombudsman's: last year's tables, in which a small cell is blank, what one credential was handed, and
who was sent against a refusal; and a hotline that tells of its calls (R-103, R-104).
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from referral_api.cli.invocation import Invocation
from referral_api.domain.errors import ReferralError
from referral_api.domain.terms import Term
from referral_api.domain.words import Act
from referral_api.formats.act import parse_act
from referral_api.server.service.erasure import Erasure
from tests.cli.shell import Ran, Shell
from tests.faults.submissions import parcel
from tests.server.test_wrong_input import payload_in, put, resigned
from tests.server.years import YEAR, live_a_year, moment, set_clock
from tests.world import HOTLINE, NATIONAL, UNIT, Clock, Office, World, check_database, found
from tests.world_check import Rows


@pytest.fixture(scope="module")
def january(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[World, Shell, list[str]]]:
    """An exchange with a year behind it; in that year one referral went out against a refusal."""
    clock, folder = Clock(), tmp_path_factory.mktemp("january")
    set_clock(clock, moment(YEAR, 12, 29))
    made = found(folder / "founded", clock=clock)
    set_clock(clock, moment(YEAR, 12, 31))
    with World(made, folder / "world", clock=clock) as world:
        # Two officers of one unit: one takes the referrals, the other looks into one of them.
        refs = live_a_year(world)
        world.second_officer.open(refs[1])
        refs.append(override(world))
        shell = Shell(world.folder, world.server.url)
        set_clock(clock, moment(YEAR + 1, 1, 2))
        options = Invocation._options
        with pytest.MonkeyPatch.context() as patch:
            # Whoever calls has the world's time on his machine.
            patch.setattr(Invocation, "_options", lambda call: options(call) | {"clock": clock})
            yield world, shell, refs
        world.check()
        check_database(world)


def override(world: World) -> str:
    """A referral against a refusal, to which another person of the hotline agreed."""
    office = Office(world.folder, world.server)
    office.add_person(world.operator, HOTLINE, "supervisor")
    second = office.client("supervisor").keys.credential
    office.close()
    one = parcel(world)
    grounds = {"basis": "vital_interest", "identity_level": "identified"}
    agreed = {"reason": "imminent_danger", "second_person": second}
    body = payload_in(one.document["act"])["body"] | grounds | {"override": agreed}
    assert put(world, one, act=resigned(world, one, body=body, id=str(uuid4()))).status == 201
    return one.ref


def run(january: tuple[World, Shell, list[str]], who: str, *words: str) -> Ran:
    """A command line, in that January."""
    return january[1].run(who, *words)


def test_an_auditor_reads_last_year_s_table_in_which_a_small_cell_is_blank(
    january: tuple[World, Shell, list[str]], tmp_path: Path
) -> None:
    """Rule R12 of the field."""
    ran = run(january, "auditor", "audit", "statistics", "--year", str(YEAR), "--json")
    assert ran.exit == 0, ran
    told = ran.json
    assert told["verified"]
    assert told["statistics"]["tables"]["urgency"]["total"] == len(january[2])
    assert set(told["statistics"]["tables"]["declines"]["cells"].values()) == {None}
    assert told["statistics"]["tables"]["urgency"]["cells"]["emergency"] == 14

    sheet = tmp_path / "cifras.csv"
    words = ("audit", "statistics", "--year", str(YEAR), "--csv", str(sheet), "--semicolon")
    spanish = run(january, "auditor", *words)
    assert spanish.exit == 0, spanish
    assert "Contado de nuevo en este equipo" in spanish.out
    assert "rechazos por motivo" in spanish.out
    assert run(january, "auditor", *words).exit == 2, "no file is written over"
    rows = list(csv.reader(sheet.read_text(encoding="utf-8-sig").splitlines(), delimiter=";"))
    assert rows[0] == ["year", "table", "row", "figure", "label"]
    declined = next(row for row in rows if row[1:3] == ["declines", "conflict_of_interest"])
    assert declined[3] == ""
    english = run(january, "auditor", "audit", "statistics", "--year", str(YEAR), "--lang", "en")
    assert "It is no zero" in english.out


def test_a_year_under_way_has_no_table(january: tuple[World, Shell, list[str]]) -> None:
    ran = run(january, "auditor", "audit", "statistics", "--year", str(YEAR + 1), "--json")
    assert ran.exit == 2
    assert run(january, "officer", "audit", "statistics", "--year", str(YEAR)).exit != 0


def test_the_exposure_list_says_exactly_what_a_credential_was_handed(
    january: tuple[World, Shell, list[str]], tmp_path: Path
) -> None:
    """Rule R13 of the field."""
    world, _, refs = january
    curious = world.second_officer.keys.credential
    span = ("--credential", curious, "--since", f"{YEAR}-12-31", "--until", f"{YEAR + 1}-01-01")
    ran = run(january, "auditor", "audit", "exposure", *span, "--json")
    assert ran.exit == 0, ran
    told: dict[str, Any] = ran.json
    handed = [(one["kind"], one["record"].get("ref")) for one in told["items"]]
    assert handed == [("viewed", refs[1]), ("retrieved", refs[1])]
    assert told["counts"] == {"handed": 2, "referrals": 1, "units": 2}
    assert told["units"] == {refs[1]: sorted([UNIT, NATIONAL])}
    rows = Rows(world)["record"]
    own = [row for row in rows if f'"{curious}"' in row["body"] and row["kind"] in ("viewed", "retrieved")]
    assert [one["index"] for one in told["items"]] == sorted(row["pos"] & ((1 << 36) - 1) for row in own)

    busy = world.officer.keys.credential
    span = ("--credential", busy, "--since", f"{YEAR}-12-31", "--until", f"{YEAR + 1}-01-01")
    sheet = tmp_path / "entregado.csv"
    spanish = run(january, "auditor", "audit", "exposure", *span, "--csv", str(sheet))
    assert spanish.exit == 0, spanish
    assert "13 derivaciones y 2 unidades" in spanish.out
    lines = sheet.read_text(encoding="utf-8").splitlines()
    assert sum(",retrieved," in line for line in lines) == 13
    nothing = ("--credential", busy, "--since", f"{YEAR}-12-01", "--until", f"{YEAR}-12-02")
    empty = run(january, "auditor", "audit", "exposure", *nothing, "--lang", "en")
    assert (empty.exit, "Nothing to show" in empty.out) == (0, True)


def test_a_mirror_leaves_nothing_out_and_says_the_same(january: tuple[World, Shell, list[str]], tmp_path: Path) -> None:
    curious = january[0].second_officer.keys.credential
    assert run(january, "auditor", "audit", "mirror", str(tmp_path / "espejo")).exit == 0
    copy = ("--mirror", str(tmp_path / "espejo"), "--json")
    span = ("--credential", curious, "--since", f"{YEAR}-12-31", "--until", f"{YEAR + 1}-01-01")
    told = run(january, "auditor", "audit", "exposure", *span, *copy).json
    assert told["counts"] == {"handed": 2, "referrals": 1, "units": 2}
    ran = run(january, "auditor", "audit", "statistics", "--year", str(YEAR), *copy)
    assert (ran.exit, ran.json["verified"]) == (0, True), ran
    assert len(run(january, "auditor", "audit", "overrides", "--year", str(YEAR), *copy).json["overrides"]) == 1


def test_every_override_is_listed_with_who_agreed_and_why(january: tuple[World, Shell, list[str]]) -> None:
    """Rule R6 of the field."""
    world, _, refs = january
    ran = run(january, "auditor", "audit", "overrides", "--year", str(YEAR), "--json")
    assert ran.exit == 0, ran
    [one] = ran.json["overrides"]
    assert (one["ref"], one["reason"], one["basis"]) == (refs[-1], "imminent_danger", "vital_interest")
    assert one["by"] == world.operator.keys.credential
    assert one["second_person"].partition(".")[0] == HOTLINE != one["by"]
    assert one["second_person"] != one["by"]
    screen = run(january, "auditor", "audit", "overrides", "--year", str(YEAR))
    assert one["second_person"] in screen.out
    none = run(january, "auditor", "audit", "overrides", "--year", str(YEAR - 1), "--lang", "en")
    assert "Nothing to show" in none.out


def test_a_hotline_tells_of_its_calls_and_the_ratio_appears(january: tuple[World, Shell, list[str]]) -> None:
    """Rule R12 of the field: calls : referrals."""
    world, _, refs = january
    for total in ("510", "512"):
        ran = run(january, "operator", "calls", "--month", f"{YEAR}-12", "--total", total, "--json")
        assert (ran.exit, ran.json["calls"]) == (0, int(total)), ran
    ahead = run(january, "operator", "calls", "--month", f"{YEAR + 1}-02", "--total", "1")
    assert (ahead.exit, "no ha comenzado" in ahead.err) == (2, True)
    assert run(january, "officer", "calls", "--month", f"{YEAR}-12", "--total", "1").exit != 0
    told = run(january, "auditor", "audit", "statistics", "--year", str(YEAR), "--json").json
    assert told["statistics"]["calls"] == {"months": 1, "total": 512, "per_referral": round(512 / len(refs))}
    assert world.auditor.audit().complete, "such an act stands on the audit log alone, and that is right"
    assert "call_total" not in {act.act.value for act in acts_on_the_keys_log(world)}


def acts_on_the_keys_log(world: World) -> list[Any]:
    found = []
    for leaf in world.auditor.session.sync_keys().leaves:
        try:
            found.append(parse_act(leaf))
        except ReferralError:
            continue
    return found


def test_after_an_erasure_the_table_stands_and_can_no_longer_be_counted_again(
    january: tuple[World, Shell, list[str]],
) -> None:
    world, _, refs = january
    words = ("audit", "statistics", "--year", str(YEAR), "--json")
    before = run(january, "auditor", *words).json["statistics"]
    places = [row["pos"] for table in ("act", "record") for row in Rows(world)[table] if row["ref"] == refs[2]]
    year = [pos & ((1 << 36) - 1) for pos in places if pos >> 40 == YEAR]
    exchange = world.server.runtime.exchange
    world.server.runtime.writer.run(Erasure(exchange, refs[2], Term(YEAR), year, "retention_ended"))
    ran = run(january, "auditor", *words)
    assert (ran.exit, ran.json["verified"], ran.json["erased_leaves"]) == (3, False, len(year))
    assert ran.json["statistics"] == before
    assert "ya no se pueden contar" in run(january, "auditor", *words[:-1]).out


def test_what_was_said_in_december_is_dated_in_december(january: tuple[World, Shell, list[str]]) -> None:
    times = [row["received_at"] for row in Rows(january[0])["act"] if row["act"] == Act.SUBMIT.value]
    assert {datetime.fromtimestamp(at, UTC).year for at in times} == {YEAR}
