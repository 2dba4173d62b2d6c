"""Deadlines on a running exchange: the ladder, who is told, who takes over, and clocks that stand or jump."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from referral_api.client import correcting
from referral_api.client.overseeing import Overseer
from referral_api.client.view import Referral
from referral_api.domain.clocks import TERMS
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.rules import Rules
from referral_api.domain.words import Act, State, Urgency
from referral_api.server.service.rulebook import ChangeRules
from referral_api.server.service.timers import OFFLINE_S, STOPPED_S, Timers
from referral_api.server.service.writer import Writer
from referral_api.server.storage.leader import Claim
from tests.auditlog.refusals import refused
from tests.cli.shell import Shell
from tests.cli.terminal import Terminal
from tests.processes import serving, set_ahead
from tests.world import ENTRIES, NATIONAL, PASSPHRASE, REFERRAL, UNIT, World, composition
from tests.world_check import Rows

MINUTE, HOUR = 60, 3600
URGENT = REFERRAL | {
    "urgency": "urgent",
    "urgency_reason": "child_at_risk",
    "victims": [{**victim, "present_danger": []} for victim in REFERRAL["victims"]],
}


def later(world: World, seconds: float) -> None:
    """Let time pass."""
    world.clock.ahead_s += seconds
    world.check()


def kinds(world: World, name: str, *, pending: bool = False) -> list[str]:
    """What is in somebody's inbox."""
    return [line.kind for line in world.client(name).inbox(pending=pending)]


def states(referral: Referral) -> dict[str, State]:
    """Where each delivery stands, as the reader can prove it."""
    return {unit: one.state for unit, one in referral.chronicle.deliveries.items()}


def posted(world: World) -> list[tuple[str, str]]:
    """The exchange's own acts about referrals, in log order: kind and unit."""
    rows = sorted(Rows(world)["act"], key=lambda row: int(row["pos"]))
    return [(row["act"], row["unit"]) for row in rows if row["party"] == "exchange" and row["ref"] is not None]


def test_an_emergency_that_the_unit_sleeps_through_is_taken_by_its_parent(world: World) -> None:
    """R-80, R-106: reminded, telephoned, released; whoever accepts first has it, and the other is told."""
    ref = str(world.submit().outgoing.ref)
    assert kinds(world, "national") == []
    later(world, 10 * MINUTE)
    assert kinds(world, "operator") == ["submit", "escalated"]
    later(world, 5 * MINUTE)
    assert kinds(world, "operator", pending=True) == ["telephone_now"]
    assert kinds(world, "officer") == ["submit", "overdue"]
    assert kinds(world, "national", pending=True) == ["released"]

    assert world.act("operator", ref, Act.PHONE_ALERT, {"made": False}, unit=UNIT).code is None
    assert kinds(world, "operator", pending=True) == []
    world.acknowledge("national", ref)
    assert world.act("national", ref, Act.ACCEPT).code is None
    assert kinds(world, "officer")[-1] == "taken"
    assert states(world.operator.referral(ref)) == {UNIT: State.SUBMITTED, NATIONAL: State.ACCEPTED}

    world.acknowledge("officer", ref)
    alone = world.officer.referral(ref)
    assert Act.ACCEPT in alone.standings[UNIT].allowed
    refused(ErrorCode.ILLEGAL_TRANSITION, lambda: world.officer.act(ref, Act.ACCEPT, {}))
    joined = world.act("officer", ref, Act.ACCEPT, {"joint": "joint_operation"})
    assert joined.code is None
    assert states(world.operator.referral(ref))[UNIT] is State.ACCEPTED


def test_who_comes_late_to_a_referral_that_was_taken_says_why_two_units_work_on_it(sqlite_world: World) -> None:
    """Design §10, by command: the unit that slept is told that it was taken, and by what it may join."""
    world = sqlite_world
    ref = str(world.submit().outgoing.ref)
    later(world, 16 * MINUTE)
    world.acknowledge("national", ref)
    world.act("national", ref, Act.ACCEPT)
    shell = Shell(world.folder, world.server.url)
    shown = shell.run("officer", "show", ref)
    assert (shown.exit, shown.out.startswith("⚠ OTRA UNIDAD LA TOMÓ el ")) == (0, True), shown
    took = shell.run("national", "show", ref, "--json").json
    assert took["standing"]["taken_at"] is None, "by itself, and by nobody else"
    assert shell.run("officer", "ack", ref).exit == 0
    alone = shell.run("officer", "accept", ref, "--json")
    assert (alone.exit, alone.json["error"]["code"]) == (7, "illegal-transition"), alone
    assert f"referral accept {ref} --joint CÓDIGO" in shell.run("officer", "accept", ref).err
    assert shell.run("officer", "accept", ref, "--joint", "por si acaso").exit == 2
    joined = shell.run("officer", "accept", ref, "--joint", "joint_operation", "--json")
    assert joined.exit == 0, joined
    seen = world.operator.referral(ref)
    assert states(seen) == {UNIT: State.ACCEPTED, NATIONAL: State.ACCEPTED}
    # What each reports is its own.
    for name in ("officer", "national"):
        world.act(name, ref, Act.STATUS, {"code": "registered"})
    seen = world.operator.referral(ref)
    for unit in (UNIT, NATIONAL):
        assert [one.act.party for one in correcting.reported(seen, unit)] == [unit]


def test_what_nobody_reads_ends_on_the_hotline_s_list_and_stays_there(world: World) -> None:
    """R-79: expired is loud; a late word of receipt is recorded, and the hotline closes it when it has seen to it."""
    ref = str(world.submit().outgoing.ref)
    opened = world.open("officer", ref)
    for minutes in (31, 90, 60, 60):
        later(world, minutes * MINUTE)
    assert states(world.operator.referral(ref)) == {UNIT: State.EXPIRED, NATIONAL: State.EXPIRED}
    assert kinds(world, "operator", pending=True).count("expired") == 2
    assert kinds(world, "officer", pending=True) == []
    late = world.after(world.officer.acknowledge(opened))
    assert late.code is None
    assert world.operator.referral(ref).chronicle.deliveries[UNIT].acknowledged_at is not None
    for unit in (UNIT, NATIONAL):
        assert world.act("operator", ref, Act.CLOSE, {"outcome": "not_located"}, unit=unit).code is None
    assert "expired" not in kinds(world, "operator", pending=True)


def test_an_excluded_unit_is_never_released_to(world: World) -> None:
    """Design §10: nobody is escalated to whom the hotline has excluded; it telephones, and addresses it anew."""
    ref = str(world.submit(excluded=(NATIONAL,)).outgoing.ref)
    for _ in range(4):
        later(world, 40 * MINUTE)
    assert ("released", NATIONAL) not in posted(world)
    assert list(world.national.inbox()) == []
    assert states(world.operator.referral(ref)) == {UNIT: State.EXPIRED}


def test_to_a_unit_that_does_not_poll_the_hotline_telephones_at_once(world: World) -> None:
    """Rule R18 of the field: nobody waits for a deadline where nobody listens."""
    batches: list[str] = []
    world.restart(lambda step: batches.append(step) if step == "begin" else None)
    timers = world.server.runtime.timers
    timers.turn()
    timers.seen.clear()
    world.clock.ahead_s += OFFLINE_S + 1
    ref = str(world.submit().outgoing.ref)
    world.check()
    assert kinds(world, "operator", pending=True) == ["telephone_now"]
    world.check()
    assert [act for act, _ in posted(world)] == ["telephone_now"]
    begun = len(batches)
    for _ in range(3):
        assert timers.turn() == 0
    assert len(batches) == begun, "once told, nothing is written for it again"
    offline = [row for row in Rows(world)["act"] if row["act"] == "unit_offline"]
    assert [row["unit"] for row in offline] == [UNIT]
    assert states(world.operator.referral(ref))[UNIT] is State.SUBMITTED


def test_whoever_is_to_telephone_reads_whom_at_what_number_and_why(sqlite_world: World) -> None:
    """Rule R18 of the field: at three in the morning nobody looks a number up."""
    world = sqlite_world
    ref = str(world.submit().outgoing.ref)
    shell = Shell(world.folder, world.server.url)
    later(world, 16 * MINUTE)
    command = f"referral phone {ref} --unit {UNIT} --at HORA"
    listed = shell.run("operator", "inbox", "list", "--pending")
    whom = f"☎ LLAME AHORA a {UNIT}, guardia: {ENTRIES[UNIT]['duty_phone']}."
    assert f"{whom} Motivo: Sin acuse de recibo en plazo." in listed.out
    assert f"Siguiente: {command}" in listed.err
    (line,) = shell.run("operator", "inbox", "list", "--pending", "--json").json["entries"]
    assert (line["unit"], line["duty_phone"], line["reason"]) == (UNIT, ENTRIES[UNIT]["duty_phone"], "ack_timeout")
    count = str(len(kinds(world, "operator")))
    watched = shell.run("operator", "inbox", "watch", "--count", count, "--wait", "0")
    assert whom in watched.out
    assert "Motivo: Sin acuse de recibo en plazo." in watched.out
    assert f"venció un plazo: quién la tiene lo dice timeline · {UNIT}" in watched.out
    assert command in watched.err
    # The command does what it says.
    assert shell.run("operator", *command.replace("HORA", "00:00").split()[1:]).exit == 0
    assert kinds(world, "operator", pending=True) == []


def test_each_call_to_the_telephone_has_its_own_reason(sqlite_world: World) -> None:
    """R-106: a bundle that did not open was telephoned about, and then nobody acknowledged it either."""
    world = sqlite_world
    ref = str(world.submit().outgoing.ref)
    world.act("officer", ref, Act.RECEIPT_FAILED, {"reason": "cannot_decrypt"})
    shell = Shell(world.folder, world.server.url)
    for reason in ("receipt_failed", "ack_timeout"):
        told = shell.run("operator", "inbox", "list", "--pending", "--json").json["entries"]
        assert [line["reason"] for line in told if line["kind"] == "telephone_now"] == [reason]
        if reason == "receipt_failed":
            assert shell.run("operator", "phone", ref, "--unit", UNIT, "--at", "00:00").exit == 0
            later(world, 16 * MINUTE)


def test_a_bell_rings_for_whoever_must_be_telephoned_whatever_the_urgency(sqlite_world: World) -> None:
    world = sqlite_world
    world.server.runtime.timers.turn()
    world.server.runtime.timers.seen.clear()
    world.clock.ahead_s += OFFLINE_S + 1
    world.submit(body=URGENT)
    world.check()
    assert kinds(world, "operator", pending=True) == ["telephone_now"]
    passphrase = world.folder / "passphrase"
    passphrase.write_text(PASSPHRASE + "\n", encoding="utf-8")
    count = str(len(kinds(world, "operator")))
    profile = str(world.folder / "profiles" / "operator")
    with Terminal(
        *("inbox", "watch", "--count", count, "--wait", "0"),
        folder=world.folder,
        REFERRAL_PROFILE=profile,
        REFERRAL_SERVER=world.server.url,
        REFERRAL_PASSPHRASE_FILE=str(passphrase),
    ) as terminal:
        assert terminal.end() == 0, terminal.screen
        assert terminal.raw.count(b"\x07") == 1


def test_a_timeline_says_in_words_what_the_exchange_said(sqlite_world: World) -> None:
    world = sqlite_world
    ref = str(world.submit().outgoing.ref)
    later(world, 16 * MINUTE)
    shown = Shell(world.folder, world.server.url).run("operator", "timeline", ref).out
    for words in (
        "Sin acuse de recibo en plazo · Recordatorio a la unidad",
        "Sin acuse de recibo en plazo · Alarma a la línea: llame por teléfono ahora",
        "Plazo para el acuse de recibo",
    ):
        assert words in shown
    for code in ("ack_timeout", "remind_unit", "release_parent"):
        assert code not in shown


def test_however_much_waits_at_a_silent_unit_the_pressing_is_found_behind_it(
    sqlite_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An emergency that came last is told as soon as one that came alone."""
    world = sqlite_world
    monkeypatch.setattr("referral_api.server.service.timers.AT_ONCE", 2)
    world.restart()
    timers = world.server.runtime.timers
    timers.turn()
    before = [str(world.operator.submit(composition()).outgoing.ref) for _ in range(5)]
    timers.seen.clear()
    world.clock.ahead_s += OFFLINE_S + 1
    world.check()
    last = str(world.operator.submit(composition()).outgoing.ref)
    world.check()
    told = [line.ref for line in world.operator.inbox(pending=True)]
    assert sorted(map(str, told)) == sorted([*before, last])


def test_an_exchange_that_was_down_tells_everything_and_gives_the_last_rung_its_time(world: World) -> None:
    """A standstill is nobody's fault but ours: who is called late has the same time to answer as ever."""
    ref = str(world.submit().outgoing.ref)
    world.server.stop()
    world.clock.ahead_s += 5 * HOUR
    world.server.start()
    later(world, 0)
    assert [act for act, unit in posted(world) if unit == UNIT] == [
        *("escalated", "overdue", "telephone_now", "escalated", "escalated", "escalated"),
    ]
    assert states(world.operator.referral(ref)) == {UNIT: State.SUBMITTED, NATIONAL: State.SUBMITTED}
    world.acknowledge("officer", ref)
    assert world.act("officer", ref, Act.ACCEPT).code is None


def test_two_clocks_that_look_at_once_say_everything_once(world: World) -> None:
    """R-106: leading spares work and decides nothing."""
    world.submit()
    runtime = world.server.runtime
    world.clock.ahead_s += 16 * MINUTE
    second = Timers(
        runtime.exchange, runtime.writer, runtime.timers.leader, world.clock, runtime.polled, time.monotonic
    )
    assert second.turn() > 0
    assert (runtime.timers.turn(), second.turn()) == (0, 0)
    later(world, 0)
    assert Counter(posted(world)) == {
        ("escalated", UNIT): 3,
        ("overdue", UNIT): 1,
        ("telephone_now", UNIT): 1,
        ("released", NATIONAL): 1,
    }


@pytest.mark.parametrize("jump_s", [HOUR, -HOUR], ids=["ahead", "behind"])
def test_a_clock_that_jumps_an_hour_makes_nobody_late(world: World, jump_s: int) -> None:
    """R-97: ahead, nothing is written until it is right again; behind, nothing is due that was not."""
    world.submit()
    world.clock.wrong_s = jump_s
    world.server.catch_up()
    assert posted(world) == []
    # What would pass in that hour unsaid is an alarm; ahead, nothing can be written at all.
    assert world.server.runtime.timers.stopped is (jump_s < 0)
    world.clock.wrong_s = 0
    if world.server.runtime.writer.closed is not None:
        world.restart()
    later(world, 0)
    assert posted(world) == []
    assert not world.server.runtime.timers.stopped
    later(world, 16 * MINUTE)
    assert ("released", NATIONAL) in posted(world)


def test_stopped_clocks_are_an_alarm(world: World) -> None:
    """Rule R18 of the field: a deadline that nobody watches is itself told."""
    timers = world.server.runtime.timers

    def ready() -> dict[str, Any]:
        return world.caller("operator").call("GET", "/readyz", signed=False).json["checks"]  # type: ignore[no-any-return]

    timers.turn()
    assert ready()["clocks"] is True
    ref = str(world.submit().outgoing.ref)
    overseer = Overseer(world.operator.session, world.operator.outbox, world.operator.referral)
    with timers._turning:  # Whoever turns them hangs.
        timers.steady = lambda: time.monotonic() + STOPPED_S + 1
        assert ready()["clocks"] is False
        assert overseer.news() == []
        world.clock.ahead_s += 18 * MINUTE
        # The hotline sees it too, whatever the exchange says or does not say of itself.
        assert [(one.ref, one.unit) for one in overseer.news()] == [(ref, UNIT)]
        assert overseer.news() == []
    timers.steady = time.monotonic
    timers.turn()
    assert ready()["clocks"] is True
    again = Overseer(world.operator.session, world.operator.outbox, world.operator.referral)
    assert again.news() == [], "now it has been said"


def test_changed_rules_count_for_what_is_submitted_after_them(world: World) -> None:
    """R-105; rule R16 of the field: a change is a signed act, and a referral keeps the rules that it came under."""
    before = str(world.submit().outgoing.ref)
    world.acknowledge("officer", before)
    quick = replace(TERMS[Urgency.EMERGENCY], decision=timedelta(minutes=5))
    runtime = world.server.runtime
    world.after(
        runtime.writer.run(ChangeRules(runtime.exchange, Rules(clocks=dict(TERMS) | {Urgency.EMERGENCY: quick})))
    )
    world.clock.ahead_s += 2
    after = str(world.submit().outgoing.ref)
    world.acknowledge("officer", after)
    due = {ref: world.operator.referral(ref).standings[UNIT].due for ref in (before, after)}
    begun = {ref: world.operator.referral(ref).chronicle.deliveries[UNIT].submitted_at or 0 for ref in (before, after)}
    assert {ref: one and one.due_at - begun[ref] for ref, one in due.items()} == {before: HOUR, after: 5 * MINUTE}
    later(world, 6 * MINUTE)
    assert [unit for act, unit in posted(world) if act == "overdue"] == [UNIT]
    world.restart()
    assert world.operator.referral(after).standings[UNIT].due == due[after]
    assert world.auditor.audit().complete


@pytest.mark.postgres
def test_clocks_that_have_ended_claim_the_lead_no_more(postgres_world: World) -> None:
    """A turn that began to wait as its process ended took the lock again, and kept it from the others."""
    runtime = postgres_world.server.runtime
    timers = runtime.timers
    timers.turn()
    assert timers.leads
    claim = Claim(postgres_world.settings.database)
    assert not claim.holds()
    try:
        timers.close()
        assert (timers.turn(), timers.leads, claim.holds()) == (0, False, True)
    finally:
        claim.close()


class Ended:
    """A writer that ends between being asked and taking the job."""

    closed, alive = None, True

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self.answer_in = writer.answer_in

    def submit(self, _job: object, _answer: object) -> None:
        self._writer.stop()


def test_clocks_do_not_wait_for_a_writer_that_has_ended(sqlite_world: World) -> None:
    world = sqlite_world
    world.submit()
    runtime = world.server.runtime
    world.clock.ahead_s += 18 * MINUTE
    ended: Any = Ended(runtime.writer)
    clocks = Timers(runtime.exchange, ended, runtime.timers.leader, world.clock, runtime.polled, time.monotonic)
    with pytest.raises(ReferralError) as caught:
        clocks.turn()
    assert caught.value.facts == {"reason": "writer"}
    world.restart()
    later(world, 0)


@pytest.mark.postgres
def test_when_the_leading_process_dies_another_leads(postgres_world: World) -> None:
    """R-106: one leader among several processes, by a lock that ends with its holder's connection."""
    world = postgres_world
    ahead = world.folder / "ahead"
    set_ahead(ahead, 0)
    world.submit()
    world.server.stop()
    settings = world.settings
    with serving(settings, world.folder / "one.log", ahead) as one:
        await_leader(world.folder / "one.log")
        with serving(settings, world.folder / "two.log", ahead):
            set_ahead(ahead, 10 * MINUTE)
            await_posted(world, "escalated")
            assert "leads_clocks" not in (world.folder / "two.log").read_text()
            one.kill()
            set_ahead(ahead, 16 * MINUTE)
            await_leader(world.folder / "two.log")
            await_posted(world, "released")
    world.clock.ahead_s += 16 * MINUTE
    world.server.start()
    later(world, 0)


def await_leader(log: Any) -> None:
    """Wait until the process with these log lines leads."""
    _await(lambda: "leads_clocks" in log.read_text())


def await_posted(world: World, kind: str) -> None:
    """Wait until the exchange has posted such an act."""
    _await(lambda: kind in [act for act, _ in posted(world)])


def _await(done: Any) -> None:
    ends = time.monotonic() + 30
    while not done():
        assert time.monotonic() < ends, "it did not come to it in half a minute"
        time.sleep(0.1)
