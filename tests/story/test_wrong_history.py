"""Closed over a database that holds another history than was signed: what only it holds, and who reads it (R-97)."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from referral_api.auditlog.checkpoint import parse_checkpoint
from referral_api.auditlog.note import parse_note
from referral_api.auditlog.records import (
    AuditSession,
    ClockJump,
    RecordRead,
    Retrieved,
    ServerRecord,
    UnloggedRead,
    Viewed,
    WritesClosed,
    encode_salt,
)
from referral_api.auditlog.report import Check, Verdict
from referral_api.client.audit.inspection import search
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.terms import Term
from referral_api.domain.words import ReferralId
from referral_api.server.service.batch import Batch, Done
from referral_api.server.service.exchange import year_of
from tests.faults.submissions import Parcel, parcel
from tests.story.test_closed import logged, ready
from tests.story.test_rolled_back import Older, copy, put
from tests.world import AUDIT, HOTLINE, UNIT, Founded, World, check_database, composition
from tests.world_check import Rows


@dataclass(slots=True)
class Fork:
    """An exchange, and a history that somebody else wrote with an older copy of its database and signer's states."""

    world: World
    both: str
    """A referral that both histories hold."""
    right: list[Parcel]
    wrong: list[Parcel]
    put_back: Callable[[], None]
    """Brings the right database back."""
    before: int = 0
    seen: list[ServerRecord] = field(default_factory=list)


def snapshot(world: World, name: str) -> Callable[[], None]:
    """The database as it is now; call it to put that back."""
    if world.settings.database_url:
        return Older(world.settings.database_url).put_back
    live, kept = world.settings.data_dir / "exchange.sqlite", world.folder / name
    copy(live, kept)
    return lambda: copy(kept, live)


@contextmanager
def forked(world: World, tmp_path: Path, right: int = 3, wrong: int = 6) -> Iterator[Fork]:
    """The exchange, closed over the wrong history; behind the block over the right one, open."""
    first = world.submit().outgoing.ref
    assert first is not None
    put_older_back = snapshot(world, "older.sqlite")
    states, older_states = world.settings.signer_dir, tmp_path / "older-states"
    world.server.stop()
    shutil.copytree(states, older_states)
    world.server.start()
    sent = [parcel(world) for _ in range(right)]
    for one in sent:
        assert put(world.caller("operator"), one).status == 201
    world.server.stop()
    put_newer_back = snapshot(world, "newer.sqlite")
    put_older_back()
    newer_states = tmp_path / "newer-states"
    states.rename(newer_states)
    older_states.rename(states)
    world.server.start()
    grown = [parcel(world) for _ in range(wrong)]
    for one in grown:
        assert put(world.caller("operator"), one).status == 201
    world.server.stop()
    states.rename(older_states)
    newer_states.rename(states)
    world.server.start()
    assert ready(world)[1]["closed"] == "database-differs"
    fork = Fork(world, first, sent, grown, put_newer_back)
    try:
        yield fork
    finally:
        world.server.stop()
        put_newer_back()
        fork.before = len(logged(world))
        world.server.start()
    assert ready(world)[0] == 200
    fork.seen = logged(world)[fork.before :]


def read(world: World, who: str, path: str) -> tuple[int, str | None]:
    answer = world.caller(who).call("GET", path)
    return answer.status, answer.code


def digest_of(world: World, one: Parcel) -> str:
    digest: str = next(row["digest"] for row in Rows(world)["act"] if row["id"] == one.act_id)
    return digest


@pytest.mark.parametrize("longer", [False, True], ids=["as-long", "longer"])
def test_what_only_the_wrong_history_holds_is_served_and_is_logged_as_what_is_on_no_log(
    world: World, tmp_path: Path, longer: bool
) -> None:
    """A promised referral may be the only copy: a person's safety first. The log then says what it was, and tells it
    from an ordinary read; nobody is accused of it.
    """
    with forked(world, tmp_path, wrong=12 if longer else 3) as fork:
        ref, act = fork.wrong[0].ref, digest_of(world, fork.wrong[0])
        assert ref in [line.ref for line in world.officer.inbox()]
        assert world.officer.open(ref).body is not None
        assert world.officer.open(fork.both).body is not None
        # Nothing is proved of a history that was never signed: whoever asks is told to come again.
        for who in ("operator", "auditor"):
            assert read(world, who, f"/v1/referrals/{ref}") == (200, None)
            assert read(world, who, f"/v1/evidence/{ref}") == (503, "checkpoint-pending")
            assert read(world, who, f"/v1/receipts/{act}") == (503, "checkpoint-pending")
        again = put(world.caller("operator"), fork.wrong[0])
        assert (again.status, again.code) == (503, "writes-closed")
    assert [one.reason for one in fork.seen if isinstance(one, WritesClosed)] == ["database-differs"]
    found = [one for one in fork.seen if isinstance(one, UnloggedRead)]
    assert {one.ref for one in found} == {ref}
    assert [(one.party, one.act) for one in found if one.what == "bundle"] == [(UNIT, act)]
    assert {one.party for one in found if one.what == "view"} == {UNIT, HOTLINE, AUDIT}
    # What both histories hold was read as ever, and moved its delivery.
    assert [(one.ref, one.unit) for one in fork.seen if isinstance(one, Retrieved)] == [(fork.both, UNIT)]
    assert [one.ref for one in fork.seen if isinstance(one, Viewed)] == [fork.both]
    world.check()
    check_database(world)
    report = world.auditor.audit()
    assert (report.complete, report.unlogged) == (True, len(found))
    term = Term(year_of(int(world.clock())))
    assert [one.record for one in search(world.auditor.session, term, 0, {"ref": ref})] == found
    # Whom the wrong database had promised it sends the same bytes again; what was read of it stays told.
    answer = put(world.caller("operator"), fork.wrong[0])
    assert answer.status == 201
    assert world.officer.open(ref).body is not None
    world.check()
    check_database(world)
    _, pack = world.auditor.evidence_pack(ReferralId(ref))
    assert (pack.faults, pack.verdict) == ([], Verdict.OK)


def test_two_spools_that_meet_are_logged_one_after_the_other(sqlite_world: World, tmp_path: Path) -> None:
    """Each behind the closing that it belongs to: an exchange that was closed twice before it was mended."""
    world = sqlite_world
    with forked(world, tmp_path) as fork:
        world.officer.open(fork.wrong[0].ref)
        world.restart()
        world.officer.open(fork.wrong[1].ref)
    kinds = [one.kind for one in fork.seen if one.kind in ("writes_closed", "unlogged_read", "retrieved")]
    assert kinds[0] == "writes_closed"
    assert kinds.count("writes_closed") == 2
    assert "retrieved" not in kinds
    world.check()
    assert world.auditor.audit().complete


@pytest.mark.parametrize("longer", [False, True], ids=["as-long", "longer"])
def test_an_auditor_who_reads_the_wrong_history_is_shown_what_was_signed_and_finds_that_it_is_not_this(
    world: World, tmp_path: Path, longer: bool
) -> None:
    """The checkpoint is what was signed, the leaves are others: false, with evidence, and no crash."""
    before = world.auditor.audit_since(trust_first=True)
    assert before.complete
    log = f"audit/{year_of(int(world.clock()))}"
    with forked(world, tmp_path, wrong=12 if longer else 3) as fork:
        newest = world.server.runtime.log_signers.newest(log)
        assert newest is not None
        shown = world.caller("auditor").call("GET", f"/v1/log/{log}/checkpoint")
        assert parse_checkpoint(parse_note(shown.body).text).root == newest.root
        full, since = world.auditor.audit(), world.auditor.audit_since()
        for report, check in ((full, Check.LEAVES), (since, Check.GROWTH)):
            first = next(one for one in report.faults if not one.missing)
            assert (first.check, first.log, first.exhibits["checkpoint"]) == (check, log, shown.body)
            assert (report.failed, report.complete) == (True, False)
            assert not any(log in origin for origin in report.heads), "nothing of it may be pinned"
        told = next(one.error for one in full.faults if one.check is Check.LEAVES)
        assert (told.code, told.facts["what"]) == (ErrorCode.TAMPERED, "leaves")
        with pytest.raises(ReferralError) as caught:
            world.auditor.mirror(tmp_path / "mirror")
        assert caught.value.code is ErrorCode.TAMPERED
    # Over the right history all that stands as before, and the readings of the other one are on the log.
    sessions = [one for one in fork.seen if isinstance(one, AuditSession | RecordRead)]
    assert {one.party for one in sessions} == {AUDIT}
    assert world.auditor.audit_since().complete
    assert world.auditor.audit().complete
    world.auditor.mirror(tmp_path / "mirror")
    world.check()


@pytest.fixture
def dishonest(founded: Founded, tmp_path: Path) -> Iterator[World]:
    """An exchange at whose end not everything holds."""
    with World(founded, tmp_path / "world") as world:
        yield world


def write(world: World, *records: Callable[[dict[str, Any]], ServerRecord]) -> None:
    """Log records of the exchange's own, in one batch: a dishonest exchange, for it has not done what they say."""

    def job(batch: Batch) -> Done[None]:
        for make in records:
            salt = encode_salt(world.server.runtime.exchange.token_bytes(16))
            batch.record(make({"t": batch.now, "salt": salt}))
        return Done(None)

    world.server.runtime.writer.run(job)


def closing(common: dict[str, Any]) -> WritesClosed:
    return WritesClosed(**common, reason="database-differs")


def unlogged(ref: str, act: str | None = None) -> Callable[[dict[str, Any]], UnloggedRead]:
    what = {"what": "view" if act is None else "bundle", "act": act, "digest": act}
    reader = {"party": UNIT, "credential": f"{UNIT}.desk1"}
    return lambda common: UnloggedRead(**common, **reader, ref=ref, **what)  # type: ignore[arg-type]  # as parsed


@pytest.mark.parametrize("reason", ["open", "known"])
def test_an_ordinary_read_does_not_pass_for_one_of_what_is_on_no_log(dishonest: World, reason: str) -> None:
    """Else an exchange could hide from its sender that a unit has fetched a referral, and when (R-95)."""
    world = dishonest
    sent = world.submit().outgoing
    before = [closing] if reason == "known" else []
    write(world, *before, unlogged(str(sent.ref), sent.digest), unlogged(str(sent.ref)))
    report = world.auditor.audit()
    assert [(one.check, one.missing, dict(one.error.facts)) for one in report.faults] == [
        (Check.RECORDS, False, {"what": "unlogged-read", "reason": reason})
    ] * 2
    assert (report.failed, report.unlogged) == (True, 0)


@pytest.mark.parametrize("between", ["act", "record"])
def test_what_comes_after_the_reads_of_a_closing_is_not_among_them(dishonest: World, between: str) -> None:
    world = dishonest
    read = unlogged(world.operator.session.ambient.referral_id())
    write(world, closing, read, read)
    assert (world.auditor.audit().complete, world.auditor.audit().unlogged) == (True, 2)
    if between == "act":
        world.operator.submit(composition())
    else:
        write(world, lambda common: ClockJump(**common, expected=1, observed=2))
    write(world, read)
    report = world.auditor.audit()
    assert [one.error.facts["reason"] for one in report.faults] == ["open"]
    assert report.unlogged == 2
