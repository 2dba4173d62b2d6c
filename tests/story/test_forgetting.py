"""Forgetting: what was sealed goes when its time has come, everything that proves it stays, and nobody is surprised."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from referral_api.client.sdk import Client
from referral_api.domain.errors import ErrorCode
from referral_api.domain.words import Act, State
from referral_api.server.storage import backup
from tests.auditlog.refusals import refused
from tests.cli.shell import Shell
from tests.conftest import on_both_engines
from tests.server.test_readers import supplemented
from tests.story.test_rewrapping import Colleague
from tests.story.test_talking import pass_on
from tests.traces import left_of
from tests.world import HOTLINE, NATIONAL, OTHER_UNIT, UNIT, World
from tests.world_check import Rows

DAY_S = 24 * 3600
MINUTE_S = 60


def kept_texts(world: World, ref: str) -> list[bytes]:
    """Every sealed text of a referral that is kept, byte for byte."""
    rows = Rows(world)
    places = {row["pos"] for row in rows["act"] if row["ref"] == ref}
    return [bytes(row["body"]) for row in rows["sealed"] if row["pos"] in places and row["body"] is not None]


def secret(texts: Iterable[bytes]) -> list[bytes]:
    """What of sealed texts is nowhere else: ciphertext and wrapped keys. Their headers name keys, as acts do."""
    envelopes = [json.loads(text) for text in texts]
    wrapped = [one["encrypted_key"] for envelope in envelopes for one in envelope["recipients"]]
    return [part.encode() for part in (*(envelope["ciphertext"] for envelope in envelopes), *wrapped)]


def pass_days(world: World, days: float) -> None:
    """Let time pass, and the exchange say what is due."""
    world.clock.ahead_s += days * DAY_S + MINUTE_S
    world.check()


def sweep(world: World) -> None:
    """What the exchange does within a second."""
    for _ in range(40):
        if world.server.runtime.exchange.database.sweep():
            return
    pytest.fail("a reader that nobody started stands in the way")


def told(client: Client, kind: Act) -> list[str | None]:
    """The referrals of which an inbox says this."""
    return [line.ref for line in client.inbox() if line.kind == kind.value]


def closed(world: World, *, retention: str = "short", talk: bool = False) -> str:
    """A referral that was taken and closed; with `talk` everything was sealed beside its acts that can be."""
    ref = str(world.submit(retention_class=retention).outgoing.ref)
    world.acknowledge("officer", ref)
    world.act("officer", ref, Act.ACCEPT, note="Asumido por la guardia.", case_number="2026-1174")
    if talk:
        world.act("operator", ref, Act.NOTE, unit=UNIT, note="Sigue allí, con dos más.")
        supplemented(world, ref)
        colleague = Colleague(world, ref)
        assert colleague.put(colleague.seal(colleague.original())).status == 201
    world.act("officer", ref, Act.CLOSE, {"outcome": "trafficking_confirmed"}, note="Dos detenidos.")
    return ref


def gone(world: World, ref: str, readers: Iterable[str], path: str = "bundle") -> set[int]:
    """That nobody of these is handed ciphertext, and that each is told that it was purged; when that was."""
    moments: set[int] = set()
    for name in readers:
        answer = world.caller(name).call("GET", f"/v1/referrals/{ref}/{path}")
        assert (answer.status, answer.code, answer.json.get("reason")) == (404, "not-found", "purged"), name
        moments.add(answer.json["purged_at"])
    return moments


def test_after_its_purge_no_byte_of_a_referral_is_left_and_everything_that_proves_it_stands(
    sqlite_world: World, tmp_path: Path
) -> None:
    """Rules R1, R3 and R4 of the field (R-107): bundle, notes both ways, supplement, the envelope for a colleague."""
    world = sqlite_world
    ref, other = closed(world, talk=True), str(world.submit().outgoing.ref)
    texts, control = kept_texts(world, ref), kept_texts(world, other)
    assert len(texts) == 6
    acts = [one.act.digest for one in world.operator.referral(ref).acts]
    assert left_of(secret(texts), world.settings.data_dir), "the search finds what is there"

    # Seven days, and fourteen more because of what was said shortly before (rule R2).
    for days, warnings in ((6, 0), (1, 1), (11, 2)):
        pass_days(world, days)
        for client in (world.operator, world.desk):
            assert told(client, Act.PURGE_DUE) == warnings * [ref], "warned 14 and 3 days before"
    assert kept_texts(world, ref) == texts
    pass_days(world, 3)
    assert told(world.desk, Act.PURGED) == [ref]
    assert set(told(world.operator, Act.PURGED)) == {ref}
    sweep(world)
    backup.back_up(world.settings.database, tmp_path / "copy", {}, {})

    assert left_of(secret(texts), world.settings.data_dir, tmp_path / "copy") == []
    assert left_of(secret(control), world.settings.data_dir), "only its own"
    seen = world.operator.referral(ref)
    assert [one.act.digest for one in seen.acts][: len(acts)] == acts, "acts and receipts stay"
    delivery = seen.chronicle.deliveries[UNIT]
    assert (delivery.state, delivery.acknowledged_at is not None) == (State.PURGED, True)
    assert sum(shown["sealed"] is not None for shown in seen.claimed["acts"]) == 5, (
        "the digest of each, but the unit's own"
    )
    assert gone(world, ref, ("officer", "desk", "operator")) == {delivery.purged_at}
    notes = [one.act.digest for one in seen.acts if one.act.act is Act.NOTE]
    assert gone(world, ref, ("officer", "operator"), f"sealed/{notes[0]}") == {delivery.purged_at}
    stranger = world.caller("stranger").call("GET", f"/v1/referrals/{ref}/bundle")
    assert (stranger.status, "purged" in str(stranger.json)) == (404, False), "a stranger learns nothing"
    assert refused(ErrorCode.NOT_FOUND, world.officer.open, ref) == "purged"
    report = world.auditor.audit()
    assert report.complete, report.faults
    assert report.chronicles[ref].deliveries[UNIT].state is State.PURGED


def in_a_year() -> str:
    """A day of review as it is typed."""
    return f"{datetime.now(UTC) + timedelta(days=365):%Y-%m-%d}"


def test_screens_say_when_it_goes_who_keeps_it_and_that_it_is_gone(sqlite_world: World) -> None:
    """Rule R2 of the field: the date of the purge is shown to both sides; R-107: one person alone purges nothing."""
    world = sqlite_world
    ref = closed(world, talk=True)
    shell = Shell(world.folder, world.server.url)
    for name in ("operator", "officer"):
        shown = shell.run(name, "timeline", ref)
        assert f"{UNIT}: el texto cifrado se borra el" in shown.out, shown
    held = shell.run("operator", "hold", ref, "--on", "--basis", "complaint", "--review-at", in_a_year())
    assert held.exit == 0, held
    shown = shell.run("officer", "timeline", ref)
    by = world.operator.keys.credential
    assert f"{UNIT}: retenido por {by} (Queja o denuncia sobre la atención); se revisa el" in shown.out
    (delivery,) = shell.run("officer", "timeline", ref, "--json").json["deliveries"]
    assert [(one["party"], one["basis"]) for one in delivery["holds"]] == [(HOTLINE, "complaint")]
    refusal = shell.run("officer", "purge", ref, "--reason", "court_order")
    assert (refusal.exit, "Está retenida" in refusal.err) == (7, True), refusal
    assert shell.run("officer", "hold", ref, "--off").exit == 7, "nobody lets go what another holds"
    assert shell.run("operator", "hold", ref, "--off").exit == 0

    asked = shell.run("operator", "purge", ref, "--reason", "court_order", "--json").json
    (command,) = asked["next"]
    assert command == f"referral approve {ref} --answers {asked['digest']} --unit {UNIT}"
    assert kept_texts(world, ref)
    world.act("officer", ref, Act.APPROVE, {"answers": asked["digest"]})
    assert kept_texts(world, ref) == []
    for name in ("operator", "officer"):
        shown = shell.run(name, "timeline", ref, "--lang", "en")
        assert (shown.exit, f"{UNIT}: the ciphertext IS GONE since" in shown.out) == (0, True), shown
        listed = shell.run(name, "timeline", ref, "--json").json["deliveries"]
        delivery = next(one for one in listed if one["unit"] == UNIT)
        assert (delivery["purge_at"], delivery["holds"]) == (None, [])
        assert delivery["purged_at"] == world.operator.referral(ref).chronicle.deliveries[UNIT].purged_at
    for lang, words in (("es", "YA NO ESTÁ"), ("en", "IT IS GONE")):
        shown = shell.run("officer", "show", ref, "--lang", lang)
        assert (shown.exit, words in shown.err) == (6, True), shown


def test_what_a_hold_or_an_early_purge_lacks_is_said(sqlite_world: World) -> None:
    """Each of these ends before anything is signed."""
    world = sqlite_world
    ref = str(world.submit(information=(OTHER_UNIT,)).outgoing.ref)
    for name in ("officer", "stranger"):
        world.acknowledge(name, ref)
    shell = Shell(world.folder, world.server.url)
    for words, said in (
        (("hold", ref, "--on", "--basis", "complaint"), "hasta cuándo"),
        (("hold", ref, "--on", "--basis", "complaint", "--review-at", "2001-01-31"), "ya pasó"),
        (("hold", ref, "--on", "--basis", "whim", "--review-at", in_a_year()), "prosecutor_order"),
        (("hold", ref, "--on", "--basis", "complaint", "--review-at", "2099-01-31"), "en 400 días"),
        (("hold", ref, "--off"), "no la retiene"),
        (("purge", ref, "--reason", "whim"), "court_order"),
        (("purge", ref, "--reason", "court_order"), f"{UNIT}, {OTHER_UNIT}"),
    ):
        ran = shell.run("operator", *words)
        assert ran.exit in (2, 7), ran
        assert said in ran.err, ran
    assert not world.operator.referral(ref).chronicle.deliveries[UNIT].holds
    assert {line["act"] for line in Rows(world)["act"] if line["ref"] == ref} == {"submit", "ack"}


@on_both_engines
def test_while_somebody_holds_it_neither_the_schedule_nor_two_persons_purge(story_world: World) -> None:
    """Rule R2 of the field (R-107): a hold has an owner, a basis and a day of review, and its review is an alarm."""
    world = story_world
    ref = closed(world)
    texts = kept_texts(world, ref)
    asked = world.act("officer", ref, Act.PURGE_REQUEST, {"reason": "court_order"}).outgoing.digest
    review_at = int(world.clock()) + 9 * DAY_S
    world.act("operator", ref, Act.HOLD, {"on": True, "basis": "prosecutor_order", "review_at": review_at})
    agreed = {"answers": asked}
    assert (
        refused(ErrorCode.ILLEGAL_TRANSITION, lambda: world.act("second_officer", ref, Act.APPROVE, agreed)) == "held"
    )
    assert Act.PURGE_REQUEST not in world.officer.referral(ref).standings[UNIT].allowed

    pass_days(world, 8)
    assert kept_texts(world, ref) == texts
    assert told(world.operator, Act.OVERDUE) == []
    pass_days(world, 1)
    late = next(one for one in world.operator.referral(ref).acts if one.act.act is Act.OVERDUE)
    assert str(getattr(late.act.body, "clock", "")) == "hold_review"
    assert told(world.desk, Act.OVERDUE) == [ref], "both sides are told"

    world.act("operator", ref, Act.HOLD, {"on": False, "basis": "prosecutor_order"})
    world.check()
    assert kept_texts(world, ref) == texts, "whoever has let go in error has three days, and is told"
    assert told(world.desk, Act.PURGE_DUE) == told(world.officer, Act.PURGE_DUE) == [ref]
    pass_days(world, 3)
    assert kept_texts(world, ref) == []
    assert world.operator.referral(ref).chronicle.deliveries[UNIT].state is State.PURGED


@on_both_engines
def test_two_persons_of_either_side_purge_at_once_and_what_is_shared_waits_for_the_other_unit(
    story_world: World,
) -> None:
    """R-107: one asks, another agrees; a text that another unit is still served stays with that unit's delivery."""
    world = story_world
    ref = str(world.submit(information=(OTHER_UNIT,)).outgoing.ref)
    for name in ("officer", "stranger"):
        world.acknowledge(name, ref)
    world.act("officer", ref, Act.NOTE, note="Un menor.")
    bundle, note = kept_texts(world, ref)
    asked = world.act("operator", ref, Act.PURGE_REQUEST, {"reason": "data_subject_request"}, unit=UNIT)
    answer = {"answers": asked.outgoing.digest}
    refused(ErrorCode.ILLEGAL_TRANSITION, lambda: world.operator.act(ref, Act.APPROVE, answer, unit=UNIT))
    assert kept_texts(world, ref) == [bundle, note], "nobody agrees with himself"
    world.act("officer", ref, Act.APPROVE, answer)
    assert kept_texts(world, ref) == [bundle]
    purged = next(one for one in world.operator.referral(ref).acts if one.act.act is Act.PURGED)
    assert (purged.act.unit, purged.act.body.wire()) == (
        UNIT, {"reason": "data_subject_request", "sealed_count": 1, "parts_count": 0},
    )  # fmt: skip
    gone(world, ref, ("officer",))
    assert world.open("stranger", ref).body.situation.summary, "the other unit is served as before"

    asked = world.act("stranger", ref, Act.PURGE_REQUEST, {"reason": "entered_in_error"})
    world.act("operator", ref, Act.APPROVE, {"answers": asked.outgoing.digest}, unit=OTHER_UNIT)
    assert kept_texts(world, ref) == []
    gone(world, ref, ("stranger", "operator"))


def test_what_is_kept_for_a_unit_that_never_got_it_keeps_the_bundle_for_everybody(sqlite_world: World) -> None:
    """Rule R2 of the field (R-107): a hold may be on a delivery that waits sealed, and what it keeps is shared."""
    world = sqlite_world
    ref = closed(world)
    bundle = kept_texts(world, ref)[0]
    review_at = int(world.clock()) + 300 * DAY_S
    hold = {"on": True, "basis": "court_order", "review_at": review_at}
    world.act("operator", ref, Act.HOLD, hold, unit=NATIONAL)
    pass_days(world, 8)
    deliveries = world.operator.referral(ref).chronicle.deliveries
    assert (deliveries[UNIT].state, deliveries[NATIONAL].state) == (State.PURGED, State.HELD)
    assert kept_texts(world, ref) == [bundle], "the unit's own words are gone"
    gone(world, ref, ("officer",))
    world.act("operator", ref, Act.HOLD, {"on": False, "basis": "court_order"}, unit=NATIONAL)
    pass_days(world, 1)
    assert kept_texts(world, ref) == []


def test_a_hold_on_what_its_unit_never_got_is_looked_at_again_by_who_holds_it(sqlite_world: World) -> None:
    """Rule R2 of the field (R-107): it keeps the bundle for everybody; its sender is told when its review is due."""
    world = sqlite_world
    ref = closed(world)
    hold = {"on": True, "basis": "court_order", "review_at": int(world.clock()) + 20 * DAY_S}
    world.act("operator", ref, Act.HOLD, hold, unit=NATIONAL)
    pass_days(world, 19)
    before = told(world.operator, Act.OVERDUE)
    pass_days(world, 1)
    assert told(world.operator, Act.OVERDUE) == [*before, ref]
    assert list(world.national.inbox()) == []
    assert kept_texts(world, ref)


def test_what_is_written_on_a_case_in_work_after_its_purge_goes_too(sqlite_world: World) -> None:
    """R-107, rule R1 of the field: a relay and no archive, however long the case goes on."""
    world = sqlite_world
    ref = str(world.submit().outgoing.ref)
    world.acknowledge("officer", ref)
    world.act("officer", ref, Act.ACCEPT)
    request = world.act("officer", ref, Act.PURGE_REQUEST, {"reason": "data_subject_request"})
    world.act("operator", ref, Act.APPROVE, {"answers": request.outgoing.digest}, unit=UNIT)
    assert kept_texts(world, ref) == []
    purged = world.operator.referral(ref).chronicle.deliveries[UNIT].purged_at or 0
    pass_days(world, 6)
    assert world.operator.referral(ref).standings[UNIT].purge_at is None, "nothing is there that could go"
    world.act("officer", ref, Act.NOTE, note="Seguimos buscando.")
    assert purge_at(world, ref) == purged + 90 * DAY_S
    pass_days(world, 85)
    assert kept_texts(world, ref) == []
    assert world.operator.referral(ref).chronicle.deliveries[UNIT].state is State.ACCEPTED
    assert world.auditor.audit().complete


@on_both_engines
def test_what_was_passed_on_stays_until_the_new_unit_needs_it_no_more(story_world: World) -> None:
    """R-107: the bundle that a transfer carried is the new unit's, whose purge the old one's does not bring nearer."""
    world = story_world
    ref = str(world.submit(retention_class="short").outgoing.ref)
    world.act("operator", ref, Act.APPROVE, {"answers": pass_on(world, ref)}, unit=UNIT)
    world.acknowledge("stranger", ref)
    world.act("stranger", ref, Act.ACCEPT)
    submitted, forwarded = kept_texts(world, ref)
    pass_days(world, 7)
    states = {unit: one.state for unit, one in world.operator.referral(ref).chronicle.deliveries.items()}
    assert states[UNIT] is State.PURGED
    assert states[OTHER_UNIT] is not State.PURGED
    assert kept_texts(world, ref) == [submitted, forwarded]
    assert world.open("stranger", ref).body.situation.summary
    gone(world, ref, ("officer",))
    world.act("stranger", ref, Act.CLOSE, {"outcome": "not_located"})
    pass_days(world, 7)
    assert kept_texts(world, ref) == []


def test_taken_up_again_it_is_kept_and_the_newest_words_put_the_purge_off_once(sqlite_world: World) -> None:
    """Rule R2 of the field: no reopening resets the time in full, and nothing is lost the day after it was written."""
    world = sqlite_world
    ref = closed(world)
    first = purge_at(world, ref)
    world.act("operator", ref, Act.REOPEN, {"reason": "new_information"}, unit=UNIT)
    assert purge_at(world, ref) > first + 60 * DAY_S, "90 days after the acknowledgement, as from the beginning"
    pass_days(world, 8)
    assert kept_texts(world, ref), "its first date is over, and it is kept"
    world.act("officer", ref, Act.CLOSE, {"outcome": "not_located"})
    date = purge_at(world, ref)
    world.act("operator", ref, Act.NOTE, unit=UNIT, note="Volvió a llamar.")
    assert purge_at(world, ref) == date + 14 * DAY_S
    pass_days(world, 8)
    world.act("officer", ref, Act.NOTE, note="Fuimos a verla.")
    assert purge_at(world, ref) == date + 14 * DAY_S, "once, and no more"
    pass_days(world, 12)
    days = [one.act.body.wire()["days"] for one in world.operator.referral(ref).acts if one.act.act is Act.PURGE_DUE]
    assert days == [14, 3], "told anew of the new date"
    pass_days(world, 2)
    assert kept_texts(world, ref) == []


def purge_at(world: World, ref: str) -> int:
    """When the unit's ciphertext goes, as the hotline computes it and as the exchange says."""
    found = world.operator.referral(ref)
    (claim,) = [one for one in found.claimed["deliveries"] if one["unit"] == UNIT]
    at = found.standings[UNIT].purge_at
    assert at is not None
    assert claim["purge_at"] == at
    return at


def test_what_nobody_acknowledged_is_never_purged_and_alarms(sqlite_world: World) -> None:
    """Rule R1 of the field."""
    world = sqlite_world
    ref = str(world.submit(retention_class="short").outgoing.ref)
    texts = kept_texts(world, ref)
    for days in (30, 30):
        pass_days(world, days)
    assert kept_texts(world, ref) == texts
    assert world.operator.referral(ref).standings[UNIT].purge_at is None
    assert set(told(world.operator, Act.TELEPHONE_NOW)) == {ref}
    assert world.operator.referral(ref).chronicle.deliveries[UNIT].state is State.EXPIRED


def test_a_backup_that_is_restored_late_forgets_at_once_what_is_overdue(sqlite_world: World, tmp_path: Path) -> None:
    """Rule R4 of the field: a backup brings nothing back for longer than it takes to start."""
    world = sqlite_world
    ref = closed(world)
    texts = kept_texts(world, ref)
    manifest = backup.back_up(world.settings.database, tmp_path / "copy", {}, {})
    assert left_of(secret(texts), tmp_path / "copy")
    world.server.stop()
    for path in world.settings.data_dir.glob("exchange.sqlite*"):
        path.unlink()
    backup.restore(tmp_path / "copy", world.settings.database, manifest)
    world.clock.ahead_s += 8 * DAY_S
    world.server.start()
    world.check()
    assert world.operator.referral(ref).chronicle.deliveries[UNIT].state is State.PURGED
    sweep(world)
    assert left_of(secret(texts), world.settings.data_dir) == []
