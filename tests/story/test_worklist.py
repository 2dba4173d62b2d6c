"""Worklists on a running exchange: every delivery of a party once, on the right lists, all its life long (R-70)."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest

from referral_api.cli.texts import say
from referral_api.client.sdk import Client
from referral_api.client.worklist import Agenda, Item
from referral_api.domain.catalogue import Language
from referral_api.domain.clocks import Clock
from referral_api.domain.errors import ErrorCode
from referral_api.domain.words import Act, State, Urgency
from referral_api.domain.worklists import TO_DO, Worklist
from tests.auditlog.refusals import refused
from tests.cli.shell import Shell
from tests.conftest import on_both_engines
from tests.liar import Kind, Liar, Lie
from tests.lies import view
from tests.story.passed_on import declined, lost, readdress, transferred
from tests.story.test_deadlines import URGENT, later
from tests.story.test_erasure import erase
from tests.story.test_forgetting import closed, pass_days
from tests.wire import Answer
from tests.world import ENTRIES, HOTLINE, NATIONAL, OTHER_UNIT, PASSPHRASE, UNIT, World, composition
from tests.world_check import Rows

W = Worklist
LANGUAGES: tuple[Language, ...] = ("es", "en")
SENDERS, UNITS = {"operator": HOTLINE}, {"officer": UNIT, "national": NATIONAL, "stranger": OTHER_UNIT}


@pytest.fixture
def world(story_world: World) -> World:
    return story_world


def lists(agenda: Agenda, ref: str) -> dict[str, set[Worklist]]:
    """Of a referral's deliveries the lists on which each stands."""
    return {one.unit: set(one.lists) for one in agenda.items if one.ref == ref}


def only(agenda: Agenda, ref: str, unit: str = UNIT) -> Item:
    """The one entry of a delivery."""
    (found,) = [one for one in agenda.items if (one.ref, one.unit) == (ref, unit)]
    return found


def verify_whole(world: World) -> None:
    """Every delivery that a party may know of is listed by it once, on a list, in the state that the exchange holds."""
    world.check()
    rows = Rows(world)
    senders = {row["ref"]: row["sender"] for row in rows["referral"]}
    for name, party in (SENDERS | UNITS).items():
        agenda = world.client(name).worklist()
        assert agenda.complete, agenda
        is_sender = name in SENDERS
        expected = Counter(
            (row["ref"], row["unit"], row["state"])
            for row in rows["delivery"]
            if (senders[row["ref"]] == party if is_sender else row["unit"] == party and row["submitted_at"] is not None)
        )
        assert Counter((one.ref, one.unit, one.state.value) for one in agenda.items) == expected, name
        assert all(one.lists for one in agenda.items), name
        assert list(agenda.items) == sorted(agenda.items, key=lambda one: one.rank)
        assert [one.asks for one in agenda.items] == sorted((one.asks for one in agenda.items), reverse=True)


@contextmanager
def elsewhere(world: World, name: str = "operator") -> Iterator[Client]:
    """The same person at a workstation that has sent nothing yet."""
    folder = world.folder / "profiles" / f"{name}-elsewhere"
    shutil.copytree(world.folder / "profiles" / name, folder)
    for path in folder.glob("outbox.sqlite3*"):
        path.unlink()
    client = Client.person(folder, PASSPHRASE, server=world.server.url, clock=world.clock)
    try:
        yield client
    finally:
        client.close()


@on_both_engines
def test_a_delivery_goes_from_list_to_list_on_both_sides(world: World) -> None:
    ref = str(world.submit().outgoing.ref)
    verify_whole(world)
    assert lists(world.operator.worklist(), ref) == {UNIT: {W.WAITING}, NATIONAL: {W.STANDING_BY}}
    assert not only(world.operator.worklist(), ref, NATIONAL).is_over
    unread = only(world.officer.worklist(), ref)
    assert (unread.lists, unread.urgency, unread.state) == ((W.READ,), Urgency.EMERGENCY, State.SUBMITTED)
    assert unread.due is not None
    assert (unread.due.clock, unread.due.due_at - unread.begun_at) == (Clock.ACK, 15 * 60)
    assert {Act.ACK, Act.RECEIPT_FAILED} <= set(unread.allowed)
    world.acknowledge("officer", ref)
    assert lists(world.officer.worklist(), ref) == {UNIT: {W.DECIDE}}
    world.act("officer", ref, Act.ACCEPT)
    assert lists(world.officer.worklist(), ref) == {UNIT: {W.REPORT}}
    world.act("officer", ref, Act.ASK, {"topics": ["timing"]})
    assert lists(world.operator.worklist(), ref)[UNIT] == {W.WAITING, W.ANSWER}
    verify_whole(world)
    world.act("officer", ref, Act.CLOSE, {"outcome": "not_located"})
    assert lists(world.officer.worklist(), ref) == {UNIT: {W.ENDED}}
    agenda = world.operator.worklist()
    assert {one.unit: one.is_over for one in agenda.items} == {UNIT: False, NATIONAL: True}, "a question stays one"
    assert only(world.operator.worklist(), ref).asks
    verify_whole(world)


def test_a_unit_that_sleeps_is_to_be_telephoned_and_its_parent_reads(world: World) -> None:
    ref = str(world.submit().outgoing.ref)
    later(world, 16 * 60)
    agenda = world.operator.worklist()
    assert lists(agenda, ref) == {UNIT: {W.TELEPHONE, W.WAITING}, NATIONAL: {W.WAITING}}
    late = agenda.items[0]
    assert (late.unit, late.due is not None and late.due.due_at < world.clock()) == (UNIT, True)
    assert lists(world.national.worklist(), ref) == {NATIONAL: {W.READ}}
    verify_whole(world)
    world.act("operator", ref, Act.PHONE_ALERT, {"made": False}, unit=UNIT)
    assert lists(world.operator.worklist(), ref)[UNIT] == {W.WAITING}
    later(world, 31 * 60)
    later(world, 3 * 3600)
    assert W.READDRESS in lists(world.operator.worklist(), ref)[UNIT]
    assert lists(world.officer.worklist(), ref) == {UNIT: {W.READ}}
    verify_whole(world)


def test_who_is_to_be_telephoned_is_said_with_the_number_and_the_command(world: World) -> None:
    ref = str(world.submit().outgoing.ref)
    later(world, 16 * 60)
    shell = Shell(world.folder, world.server.url)
    phone = ENTRIES[UNIT]["duty_phone"]
    for lang, words in (("es", "☎ LLAME AHORA a"), ("en", "☎ TELEPHONE NOW:")):
        ran = shell.run("operator", "list", "--lang", lang)
        assert ran.exit == 0, ran
        assert f"  {words} {UNIT}" in ran.out, ran
        assert ran.out.index(phone) < ran.out.index(ref)
        assert {"es": "✖ VENCIDO hace ", "en": "✖ OVERDUE by "}[lang] in ran.out
    (first, *_) = shell.run("operator", "list", "--json").json["deliveries"]
    assert (first["ref"], first["duty_phone"], first["due"]["overdue"]) == (ref, phone, True)
    assert first["next"] == [f"referral phone {ref} --at HORA --unit {UNIT}"]


def test_on_screen_one_that_does_not_verify_is_named_first_and_hides_no_other(sqlite_world: World) -> None:
    """The exit code is that of an alarm, and what is true is listed all the same."""
    world = sqlite_world
    true, false = (str(world.submit().outgoing.ref) for _ in range(2))

    def closed_already(_liar: Liar, shown: dict[str, Any]) -> object:
        if shown["ref"] != false:
            return False
        shown["deliveries"][0]["state"] = "closed"
        return None

    with Liar(world) as liar:
        liar.begin(Lie("one of two", "a state", "the fold", frozenset({Kind.VIEW}), view(closed_already)))
        shell = Shell(world.folder, liar.url)
        for name in ("operator", "officer"):
            for lang in LANGUAGES:
                words = {"es": "NO SE PUDO COMPROBAR", "en": "COULD NOT BE VERIFIED"}[lang]
                ran = shell.run(name, "list", "--lang", lang)
                assert ran.exit == 5, ran
                first, *others = ran.out.splitlines()
                assert first.startswith(f"✖ {false}: {words}. {say(lang, 'fault.referral-false.what')[:9]}")
                assert f"  {true}" in others
            told = shell.run(name, "list", "--json")
            assert told.exit == 5
            assert [(one["ref"], one["alarm"]) for one in told.json["problems"]] == [(false, True)]
            assert {one["ref"] for one in told.json["deliveries"]} == {true}
            assert told.json["complete"] is False
        assert liar.told


def test_what_was_declined_is_readdressed_and_what_took_its_place_is_found_elsewhere(world: World) -> None:
    """R-55, R-110: what one workstation sends anew is on the colleague's list at once, read by nobody yet."""
    ref = declined(world, suggested_unit=OTHER_UNIT)
    assert lists(world.operator.worklist(), ref)[UNIT] == {W.READDRESS, W.TELEPHONE}
    assert lists(world.officer.worklist(), ref) == {UNIT: {W.ENDED}}
    renewed = str(readdress(world, ref).outgoing.ref)
    assert lists(world.stranger.worklist(), renewed) == {OTHER_UNIT: {W.READ}}
    unheard = str(world.submit(action=OTHER_UNIT).outgoing.ref)
    verify_whole(world)
    with elsewhere(world) as colleague:
        found = colleague.worklist()
        assert found.complete
        assert {one.ref for one in found.items} == {ref, renewed, unheard}


def test_a_transfer_waits_at_the_hotline_and_then_at_the_new_unit(world: World) -> None:
    ref = str(world.submit(excluded=(NATIONAL,)).outgoing.ref)
    world.acknowledge("officer", ref)
    digest = transferred(world, ref)
    assert lists(world.operator.worklist(), ref) == {UNIT: {W.WAITING, W.ANSWER}}
    assert lists(world.officer.worklist(), ref) == {UNIT: {W.WAITING}}
    assert lists(world.stranger.worklist(), ref) == {}
    world.act("operator", ref, Act.APPROVE, {"answers": digest}, unit=UNIT)
    assert lists(world.operator.worklist(), ref) == {UNIT: {W.ENDED}, OTHER_UNIT: {W.WAITING}}
    new = only(world.stranger.worklist(), ref, OTHER_UNIT)
    assert (new.lists, new.since is not None and new.since >= new.begun_at) == ((W.READ,), True)
    verify_whole(world)


def test_a_withdrawal_is_to_be_answered_and_one_of_what_nobody_had_is_not(world: World) -> None:
    read, unread = (str(world.submit().outgoing.ref) for _ in range(2))
    world.acknowledge("officer", read)
    for ref in (read, unread):
        world.act("operator", ref, Act.WITHDRAW, {"reason": "safety_risk"})
    agenda = world.officer.worklist()
    assert lists(agenda, read) | lists(agenda, unread) == {UNIT: {W.ENDED}}
    asked = only(agenda, read)
    assert (asked.lists, asked.due and asked.due.clock) == ((W.ANSWER,), Clock.WITHDRAWAL_ANSWER)
    assert agenda.items[0] == asked
    verify_whole(world)
    question = world.officer.referral(read).chronicle.deliveries[UNIT].questions[-1].digest
    world.act("officer", read, Act.WITHDRAWAL_ANSWER, {"code": "stopped_and_destroyed", "answers": question})
    assert all(one.is_over for one in world.officer.worklist().items)
    assert all(one.is_over for one in world.operator.worklist().items)
    verify_whole(world)


def test_who_was_only_to_know_of_it_owes_nothing_once_it_has_read(world: World) -> None:
    ref = str(world.submit(information=(OTHER_UNIT,)).outgoing.ref)
    assert lists(world.operator.worklist(), ref)[OTHER_UNIT] == {W.WAITING}
    world.acknowledge("stranger", ref)
    assert lists(world.operator.worklist(), ref)[OTHER_UNIT] == {W.ENDED}
    assert lists(world.stranger.worklist(), ref) == {OTHER_UNIT: {W.ENDED}}
    verify_whole(world)


def test_what_was_purged_is_forgotten_and_what_was_erased_is_gone_only_where_its_purge_was_seen(world: World) -> None:
    """R-107, R-99: nothing is called gone by the exchange's word alone."""
    ref, unseen = closed(world), closed(world)
    pass_days(world, 22)
    with elsewhere(world) as colleague:
        assert colleague.worklist().complete
    agenda = world.operator.worklist()
    assert [set(one.lists) for one in agenda.items if one.unit == UNIT] == [{W.FORGOTTEN}] * 2
    assert all(one.is_over for one in agenda.items)
    assert lists(world.officer.worklist(), ref) == {UNIT: {W.FORGOTTEN}}
    verify_whole(world)
    kept = str(world.submit().outgoing.ref)
    erase(world, ref)
    found = world.operator.worklist()
    assert (found.gone, found.complete) == ((ref,), True)
    assert {one.ref for one in found.items} == {unseen, kept}
    verify_whole_of(world.officer.worklist(), {unseen, kept})


def verify_whole_of(agenda: Agenda, refs: set[str]) -> None:
    assert agenda.complete, agenda
    assert {one.ref for one in agenda.items} == refs


def test_an_emergency_stands_before_what_is_urgent_and_the_older_before_the_newer(world: World) -> None:
    urgent = str(world.submit(body=URGENT).outgoing.ref)
    first = str(world.submit().outgoing.ref)
    later(world, 60)
    second = str(world.submit().outgoing.ref)
    assert [one.ref for one in world.officer.worklist().items] == [first, second, urgent]
    world.acknowledge("officer", first)
    # To be decided within the hour, but the other one to be read within minutes.
    assert [one.ref for one in world.officer.worklist().items] == [second, first, urgent]


def test_one_that_does_not_verify_hides_no_other(world: World) -> None:
    refs = [str(world.submit().outgoing.ref) for _ in range(3)]

    def closed_already(answer: Answer) -> Answer:
        if answer.status != 200:
            return answer
        shown = answer.json
        shown["deliveries"][0]["state"] = "closed"
        return answer.with_json(shown)

    for name in ("operator", "officer"):
        client = world.client(name)
        world.wires[name].lies[f"/referrals/{refs[1]}"] = closed_already
        agenda = client.worklist()
        assert not agenda.complete
        assert [(one.ref, one.error.code) for one in agenda.problems] == [(refs[1], ErrorCode.TAMPERED)]
        assert {one.ref for one in agenda.items} == {refs[0], refs[2]}
        world.wires[name].lies.clear()
        assert client.worklist().complete


def test_one_that_the_exchange_does_not_find_any_more_is_a_problem(world: World) -> None:
    refs = [str(world.submit().outgoing.ref) for _ in range(2)]

    nothing = world.caller("officer").call("GET", "/v1/referrals/018f0000-0000-7000-8000-000000000000")
    assert (nothing.status, nothing.code) == (404, "not-found")
    for name in ("operator", "officer"):
        client = world.client(name)
        world.wires[name].lies[f"/referrals/{refs[0]}"] = lambda _: nothing
        agenda = client.worklist()
        assert [(one.ref, one.error.code) for one in agenda.problems] == [(refs[0], ErrorCode.NOT_FOUND)]
        assert {one.ref for one in agenda.items} == {refs[1]}


def test_a_referral_of_strangers_is_never_listed_as_ours(world: World) -> None:
    """What an inbox names and the exchange shows is ours only if its own submit says so."""
    ours, theirs = str(world.submit().outgoing.ref), str(world.submit("colleague").outgoing.ref)
    shown = world.caller("colleague").call("GET", f"/v1/referrals/{theirs}")
    world.client("operator")
    world.open("officer", ours)

    def foreign_line(answer: Answer) -> Answer:
        if answer.status != 200:
            return answer
        page = answer.json
        page["entries"][0]["ref"] = theirs
        return answer.with_json(page)

    world.wires["operator"].lies = {
        "/v1/inbox": foreign_line,
        f"/referrals/{theirs}": lambda _: Answer(200, shown.headers, shown.body),
    }
    agenda = world.operator.worklist()
    assert [(one.ref, one.error.code) for one in agenda.problems] == [(theirs, ErrorCode.TAMPERED)]
    assert {one.ref for one in agenda.items} == {ours}


def test_with_the_exchange_away_in_the_midst_what_was_not_looked_at_is_said(world: World) -> None:
    refs = [str(world.submit().outgoing.ref) for _ in range(3)]
    world.client("officer")
    world.wires["officer"].lies[f"/referrals/{refs[1]}"] = lost
    agenda = world.officer.worklist()
    assert [(one.ref, one.error.code) for one in agenda.problems] == [(refs[1], ErrorCode.UNREACHABLE)]
    assert agenda.ended_by is not None
    assert {*agenda.unseen, *(one.ref for one in agenda.items)} == {refs[0], refs[2]}
    world.wires["officer"].lies = {"/v1/inbox": lost}
    refused(ErrorCode.UNREACHABLE, world.officer.worklist)


def test_who_neither_sends_nor_receives_has_no_lists(world: World) -> None:
    world.submit()
    for name in ("auditor", "registrar"):
        assert refused(ErrorCode.NOT_PERMITTED, world.client(name).worklist) == "no-deliveries"


def test_a_service_lists_what_persons_list_and_may_do_less(world: World) -> None:
    ref = str(world.submit().outgoing.ref)
    for service, person in (("desk", "officer"), ("calls", "operator")):
        read, own = (world.client(name).worklist() for name in (service, person))
        assert [(one.ref, one.unit, one.lists) for one in read.items] == [
            (one.ref, one.unit, one.lists) for one in own.items
        ]
        assert set(only(read, ref).allowed) < set(only(own, ref).allowed)


def test_what_waits_in_the_outbox_is_counted_and_is_no_delivery_yet(world: World) -> None:
    world.client("operator")
    world.wires["operator"].lies["/v1/referrals/"] = lost
    queued = str(world.operator.submit(composition()).outgoing.ref)
    world.wires["operator"].lies.clear()
    agenda = world.operator.worklist()
    assert (agenda.unsent, agenda.items, agenda.complete) == (1, (), True)
    world.operator.flush(impatient=True)
    agenda = world.operator.worklist()
    assert (agenda.unsent, {one.ref for one in agenda.items}) == (0, {queued})


def test_every_open_delivery_asks_somebody_or_is_waited_for_at_a_known_moment(world: World) -> None:
    """Design §10: what one side waits for stands on a list of things to do of the other."""
    refs = [str(world.submit(excluded=(NATIONAL,)).outgoing.ref) for _ in range(4)]
    for ref in refs[1:]:
        world.acknowledge("officer", ref)
    for ref in refs[2:]:
        world.act("officer", ref, Act.ACCEPT)
    world.act("officer", refs[3], Act.STATUS, {"code": "registered"})
    later(world, timedelta(minutes=1).total_seconds())
    sent, received = world.operator.worklist(), world.officer.worklist()
    for ref in refs:
        assert only(received, ref).asks
        assert not only(sent, ref).asks
        assert only(received, ref).due == only(sent, ref).due is not None
        assert TO_DO & set(only(received, ref).lists)
