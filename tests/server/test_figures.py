"""The annual tables over HTTP: which years, which callers, what is counted, blank, and on the record (R-103)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from referral_api.auditlog.counting import Counting
from referral_api.auditlog.figures import publish
from referral_api.auditlog.records import StatisticsRead, parse_record
from referral_api.auditlog.trail import role_of
from referral_api.client.audit import figures as recounted
from referral_api.client.audit import verifying
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.rules import RuleBook
from referral_api.domain.terms import Term
from referral_api.domain.words import Act
from referral_api.formats.act import parse_act
from referral_api.formats.strict_json import canonical, sha256_b64u
from referral_api.server.service import figures
from referral_api.server.service.erasure import Erasure
from tests.conftest import ENGINES
from tests.postgres import create_database
from tests.server.documented import hold
from tests.server.years import (
    EMERGENCIES,
    URGENT_ONES,
    YEAR,
    live_a_year,
    moment,
    set_clock,
    statistics,
    tell_calls,
)
from tests.world import UNIT, Clock, World, check_database, found
from tests.world_check import Rows


@pytest.fixture(scope="module", params=ENGINES)
def lived(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[World, list[str]]]:
    """An exchange in the first days of January, on each engine, and the referrals of the year before."""
    clock, url, folder = Clock(), "", tmp_path_factory.mktemp("year")
    if request.param != "sqlite":
        url = create_database(request.getfixturevalue("postgres_url"), f"year_{folder.name[-6:].lower().strip('_')}")
    set_clock(clock, moment(YEAR, 12, 29))
    made = found(folder / "founded", database_url=url, clock=clock)
    set_clock(clock, moment(YEAR, 12, 31))
    with World(made, folder / "world", url, clock) as world:
        refs = live_a_year(world)
        assert tell_calls(world, f"{YEAR}-12", 500).status == 201
        assert tell_calls(world, f"{YEAR}-11", 480, by="colleague").status == 201
        # In the year's last hours its tables are nobody's yet.
        early = statistics(world)
        assert (early.status, early.code, early.json["reason"]) == (404, "not-found", "year-not-over")
        set_clock(clock, moment(YEAR + 1, 1, 2))
        yield world, refs
        world.check()
        check_database(world)


def tables(world: World) -> dict[str, Any]:
    """The published document."""
    answer = statistics(world)
    assert answer.status == 200, answer.body
    document: dict[str, Any] = hold("get_statistics", answer)
    return document


def readings(world: World) -> list[StatisticsRead]:
    """What is on the record of readings."""
    rows = sorted(
        (row for row in Rows(world)["record"] if row["kind"] == "statistics_read"), key=lambda row: row["pos"]
    )
    found = [parse_record(row["body"].encode()) for row in rows]
    return [one for one in found if isinstance(one, StatisticsRead)]


def test_the_tables_are_counted_from_the_year_s_acts_and_records(lived: tuple[World, list[str]]) -> None:
    """Rule R12 of the field."""
    world, refs = lived
    counts = figures.count_year(world.server.runtime.exchange, YEAR).counts
    submits = [row for row in Rows(world)["act"] if row["act"] == "submit"]
    assert counts["referrals"] == len(refs) == EMERGENCIES + URGENT_ONES == len(submits) - 2
    assert (counts["urgency.emergency"], counts["urgency.urgent"]) == (EMERGENCIES, URGENT_ONES)
    closed = EMERGENCIES - 1
    assert (counts["outcomes.trafficking_confirmed"], counts["declines.conflict_of_interest"]) == (closed, 1)
    assert (counts["acknowledgement_emergency.on_time"], counts["acknowledgement_emergency.late"]) == (closed, 1)
    assert counts["acknowledgement_urgent.late"] == URGENT_ONES
    # The clocks may have released the late emergency to the national unit: it is one referral all the same.
    assert counts["timeliness.on_time"] + counts["timeliness.late"] == len(refs)
    assert counts["readers.not_signed"] == 0, "each officer who was handed a bundle has signed something"


def test_small_cells_are_blank_and_others_with_them(lived: tuple[World, list[str]]) -> None:
    """Rule R12 of the field."""
    world, _ = lived
    found = tables(world)
    assert found["tables"]["declines"] == {
        "total": None,
        "cells": dict.fromkeys(found["tables"]["declines"]["cells"]),
    }, "one decline is nobody's to read"
    urgency = found["tables"]["urgency"]
    assert (urgency["total"], urgency["cells"]["emergency"], urgency["cells"]["routine"]) == (25, 13, None)
    assert urgency["cells"]["urgent"] is None, "with it shown, what is blank would be 0"
    assert found["tables"]["acknowledgement_emergency"]["cells"]["late"] is None
    assert found["percent"]["acknowledged_on_time"]["emergency"] is None
    assert found["times_s"]["sent_to_acknowledged"]["urgent"] == {"p50": None, "p95": None}
    assert found["times_s"]["created_to_sent"]["emergency"]["p50"] is not None
    assert found["times_s"]["created_to_sent"]["urgent"]["p50"] is None, "there are twelve, and nobody shall know"
    assert found["threshold"] == 11


def test_every_reading_is_on_the_record_with_the_same_digest(lived: tuple[World, list[str]]) -> None:
    """Design §9: statistics are recorded one by one."""
    world, _ = lived
    before = len(readings(world))
    one, other = tables(world), tables(world)
    assert one == other
    told = readings(world)[before:]
    text = canonical({name: value for name, value in one.items() if name != "calls"})
    assert {(record.year, record.digest) for record in told} == {(YEAR, sha256_b64u(text))}
    assert [record.credential for record in told] == [world.auditor.keys.credential] * 2


@pytest.mark.parametrize("who", ["operator", "officer", "registrar", "inspector", "calls"])
def test_nobody_but_an_auditor_s_person_is_told(lived: tuple[World, list[str]], who: str) -> None:
    answer = statistics(lived[0], by=who)
    assert (answer.status, answer.code) == (404, "not-found")
    assert "reason" not in answer.json


@pytest.mark.parametrize(
    "query",
    [
        "",
        "?year=",
        "?year=26",
        "?year=20260",
        "?year=1999",
        "?year=+202",
        f"?year={YEAR}&unit={UNIT}",
        f"?year={YEAR}&year={YEAR}",
    ],
)
def test_there_is_no_other_question(lived: tuple[World, list[str]], query: str) -> None:
    answer = lived[0].caller("auditor").call("GET", f"/v1/statistics{query}")
    assert (answer.status, answer.code) == (400, "malformed")


@pytest.mark.parametrize("year", [YEAR + 1, YEAR + 2, 7999, 9999])
def test_a_year_that_is_not_over_has_no_tables(lived: tuple[World, list[str]], year: int) -> None:
    answer = statistics(lived[0], year)
    assert (answer.status, answer.code, answer.json["reason"]) == (404, "not-found", "year-not-over")


def test_a_year_in_which_nothing_was_is_all_blank(lived: tuple[World, list[str]]) -> None:
    found = statistics(lived[0], 2001).json
    assert {shown for table in found["tables"].values() for shown in (*table["cells"].values(), table["total"])} == {
        None
    }


def test_csv_has_the_same_figures_and_nothing_that_a_spreadsheet_runs(lived: tuple[World, list[str]]) -> None:
    world, _ = lived
    answer = statistics(world, Accept="text/csv, application/problem+json")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    lines = answer.body.decode("utf-8").split("\r\n")
    assert lines[0] == "year,table,row,figure"
    assert f"{YEAR},urgency,emergency,13" in lines
    assert f"{YEAR},urgency,routine," in lines
    assert not [cell for line in lines for cell in line.split(",") if cell[:1] in tuple("=+-@\t\r")]
    assert json.loads(statistics(world, Accept="application/json, text/csv").body)["v"] == 1


def test_calls_are_told_by_hotlines_and_the_latest_word_counts(lived: tuple[World, list[str]]) -> None:
    world, _ = lived
    assert tables(world)["calls"] == {"months": 2, "total": 980, "per_referral": 39}
    assert tell_calls(world, f"{YEAR}-12", 520).status == 201
    assert tell_calls(world, f"{YEAR + 1}-01", 7).status == 201
    assert tables(world)["calls"] == {"months": 2, "total": 1000, "per_referral": 40}


def test_a_month_that_has_not_begun_cannot_be_told(lived: tuple[World, list[str]]) -> None:
    answer = tell_calls(lived[0], f"{YEAR + 1}-02", 7)
    assert (answer.status, answer.code, answer.json["where"]) == (422, "act-schema", "/body/month")


@pytest.mark.parametrize("who", ["officer", "auditor", "registrar"])
def test_only_a_hotline_tells_of_calls(lived: tuple[World, list[str]], who: str) -> None:
    answer = tell_calls(lived[0], f"{YEAR}-12", 7, by=who)
    assert (answer.status, answer.code) == (403, "not-permitted")
    assert answer.json["receipt"]


def test_counting_by_small_pages_comes_to_the_same(
    lived: tuple[World, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    exchange = lived[0].server.runtime.exchange
    whole = figures.count_year(exchange, YEAR)
    monkeypatch.setattr(figures, "PAGE", 3)
    assert figures.count_year(exchange, YEAR) == whole


def test_what_is_erased_later_shows_in_no_table(lived: tuple[World, list[str]]) -> None:
    """Two readings could be subtracted: so the first is kept. What can be counted again is less then."""
    world, refs = lived
    before, exchange = tables(world), world.server.runtime.exchange
    places = [row["pos"] for table in ("act", "record") for row in Rows(world)[table] if row["ref"] == refs[0]]
    for term in sorted({pos >> 40 for pos in places}, reverse=True):
        indices = [pos & ((1 << 36) - 1) for pos in places if pos >> 40 == term]
        world.server.runtime.writer.run(Erasure(exchange, refs[0], Term(term), indices, "retention_ended"))
    assert tables(world) == before
    counted = figures.count_year(exchange, YEAR)
    assert (counted.erased, counted.counts["referrals"]) == (1, len(refs) - 1)
    assert counted.counts["declines.conflict_of_interest"] == 0, "how it ended is gone with it"


def test_what_is_done_with_a_copy_of_last_year_is_counted_in_no_year(lived: tuple[World, list[str]]) -> None:
    """R-86, R-103: that it is one, its submit alone says; and an auditor counts the same."""
    world, refs = lived
    submits = [parse_act(row["jws"].encode()) for row in Rows(world)["act"] if row["act"] == "submit"]
    [copy] = [str(one.ref) for one in submits if one.body.is_copy]  # type: ignore[attr-defined]
    for ref in (refs[2], copy):
        world.after(world.operator.act(ref, Act.WITHDRAW, {"reason": "consent_withdrawn"}))
    counted = figures.count_year(world.server.runtime.exchange, YEAR + 1)
    assert (counted.counts["withdrawals.consent_withdrawn"], counted.counts["withdrawals.total"]) == (1, 1)
    session = world.auditor.session
    mine, _ = recounted._recount(session, YEAR + 1, verifying.terms_of(session), None)
    assert mine == publish(YEAR + 1, counted)
    [act] = [act for act in recounted._earlier(session, YEAR + 1, verifying.terms_of(session), None) if act.ref == copy]
    assert act.act is Act.SUBMIT


def test_acts_that_do_not_fold_give_no_figures(lived: tuple[World, list[str]]) -> None:
    world, refs = lived
    exchange = world.server.runtime.exchange
    assert figures.count_year(exchange, YEAR).counts["referrals"]
    counting = Counting({}, RuleBook(), YEAR)
    acts = [row for row in Rows(world)["act"] if row["ref"] == refs[1]]
    parsed = [parse_act(row["jws"].encode()) for row in acts if row["act"] in ("submit", "close")]
    counting.act(parsed[0], role_of(parsed[0], exchange.keymap), 0)
    with pytest.raises(ReferralError) as caught:
        counting.act(parsed[1], role_of(parsed[1], exchange.keymap), 0)
    assert caught.value.code is ErrorCode.TAMPERED
