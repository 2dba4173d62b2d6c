"""New Year's Eve at the exchange: one audit log ends and the next begins while everybody goes on working (R-92)."""

from __future__ import annotations

import secrets
import shutil
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import pytest

from referral_api.auditlog.checkpoint import parse_checkpoint
from referral_api.auditlog.note import parse_note
from referral_api.auditlog.records import LogClosed, LogGenesis, Viewed, encode_salt, parse_record
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import Act
from referral_api.server import app
from referral_api.server.service import clock_watch
from referral_api.server.service.batch import Batch, Done, Place
from tests.conftest import ENGINES
from tests.faults.submissions import Parcel, parcel
from tests.postgres import create_database
from tests.world import AUDIT, ISSUER, UNIT, Clock, World, composition, enrol, found, settings_of
from tests.world_check import Rows

HOST = ISSUER.partition("://")[2]
YEAR = datetime.now(UTC).year
REF = "01890a5d-ac96-774b-bcce-b302099a8057"


def moment(year: int, month: int, day: int, hour: int = 0, second: int = 0) -> float:
    """Unix seconds of a moment (UTC)."""
    return datetime(year, month, day, hour, 0, second, tzinfo=UTC).timestamp()


def set_clock(clock: Clock, at: float) -> None:
    """Let a clock show this moment now, and run on from it."""
    clock.ahead_s += at - clock()


@pytest.fixture(params=ENGINES)
def eve(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    """An exchange that was founded on 30 December, on each engine; it is the 31st, in the evening."""
    clock, url = Clock(), ""
    if request.param != "sqlite":
        url = create_database(request.getfixturevalue("postgres_url"), f"eve_{tmp_path.name[-8:].lower().strip('_')}")
    set_clock(clock, moment(YEAR, 12, 30, 12))
    made = found(tmp_path / "founded", database_url=url, clock=clock)
    set_clock(clock, moment(YEAR, 12, 31, 20))
    with World(made, tmp_path / "world", url, clock) as world:
        world.check()
        yield world
        world.check()


def record(batch: Batch) -> Done[Place]:
    """A job that leaves a record."""
    salt = encode_salt(secrets.token_bytes(16))
    place = batch.record(Viewed(t=batch.now, salt=salt, party=AUDIT, credential=f"{AUDIT}.aaaa", ref=REF))
    return Done(place, place)


def records_at(rows: Rows, year: int) -> dict[int, Any]:
    """The exchange's own records of a year, by index."""
    first = year << 40
    return {
        row["pos"] - first: parse_record(row["body"].encode())
        for row in rows["record"]
        if first <= row["pos"] < first + (1 << 40)
    }


def sizes(rows: Rows) -> dict[str, int]:
    """How many leaves each audit log has."""
    return {log: len(leaves) for log, leaves in rows.logs.items() if log != "keys"}


@dataclass
class Load:
    """Threads that submit, read and look until they are told to stop; every answer is kept."""

    world: World
    parcels: list[Parcel]
    ref: str

    def __post_init__(self) -> None:
        self.answers: list[tuple[Parcel, int, str]] = []
        self.views = 0
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._submit), threading.Thread(target=self._look)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _submit(self) -> None:
        for one in self.parcels:
            answer = one.send(self.world)
            assert answer is not None
            self.answers.append((one, answer.status, answer.json["receipt"]))

    def _look(self) -> None:
        while not self._stop.is_set() or self.views < 2:
            assert self.world.caller("officer").call("GET", f"/v1/referrals/{self.ref}/bundle").status == 200
            self.views += 1


def test_across_midnight_under_load_nothing_is_lost_and_both_logs_are_linked(eve: World, tmp_path: Path) -> None:
    ref = str(eve.submit().outgoing.ref)
    eve.open("officer", ref)
    parcels = [parcel(eve) for _ in range(24)]
    for name in ("operator", "officer"):
        assert eve.caller(name).call("GET", "/v1/ping").status == 200
    set_clock(eve.clock, moment(YEAR + 1, 1, 1) - 1.0)
    with Load(eve, parcels, ref) as load:
        while eve.clock() < moment(YEAR + 1, 1, 1) + 0.5:
            pass
    rows = Rows(eve)
    assert [status for _, status, _ in load.answers] == [201] * len(parcels)
    kept = {row["id"]: row["receipt"] for row in rows["act"]}
    assert {one.act_id: receipt for one, _, receipt in load.answers}.items() <= kept.items()
    retrieved = [one for year in (YEAR, YEAR + 1) for one in records_at(rows, year).values() if one.kind == "retrieved"]
    assert len(retrieved) == load.views + 1, "every hand-out has its record, in one year or the other"

    old, new, size = records_at(rows, YEAR), records_at(rows, YEAR + 1), sizes(rows)
    closed, genesis = old[size[f"audit/{YEAR}"] - 1], new[0]
    assert isinstance(closed, LogClosed)
    assert isinstance(genesis, LogGenesis)
    assert closed.t == moment(YEAR + 1, 1, 1) - 1
    assert closed.following == genesis.origin == f"{HOST}/v1/log/audit/{YEAR + 1}"
    assert genesis.previous is not None
    assert (genesis.previous.origin, genesis.previous.size) == (closed.origin, size[f"audit/{YEAR}"])

    # What was pending at midnight is pending, and what was promised can be proved.
    pending = {line.ref for line in eve.officer.inbox(pending=True)}
    assert pending == {ref, *(one.ref for one in parcels)}
    review_at = int(eve.clock()) + 30 * 24 * 3600
    eve.act("officer", ref, Act.HOLD, {"on": True, "basis": "court_order", "review_at": review_at}, unit=UNIT)
    newest = eve.server.runtime.exchange.checkpoints
    assert parse_checkpoint(parse_note(newest[f"audit/{YEAR}"].note).text).size == size[f"audit/{YEAR}"]
    assert eve.auditor.audit().complete
    eve.auditor.mirror(tmp_path / "mirror")
    assert {f"audit/{path.name}" for path in (tmp_path / "mirror/audit").iterdir()} == size.keys()
    report = eve.auditor.audit(tmp_path / "mirror")
    assert report.complete, report.faults


def test_years_in_which_nothing_happened_have_no_log_and_the_chain_goes_past_them(eve: World, tmp_path: Path) -> None:
    set_clock(eve.clock, moment(YEAR + 3, 6, 1))
    assert eve.server.runtime.writer.run(record).result.log == f"audit/{YEAR + 3}"
    eve.check()
    rows = Rows(eve)
    assert sizes(rows).keys() == {f"audit/{YEAR}", f"audit/{YEAR + 3}"}
    genesis = records_at(rows, YEAR + 3)[0]
    assert isinstance(genesis, LogGenesis)
    assert genesis.previous is not None
    assert genesis.previous.origin == f"{HOST}/v1/log/audit/{YEAR}"
    eve.restart()


def test_an_auditor_finds_every_log_of_an_exchange_that_slept_for_two_years(tmp_path: Path) -> None:
    """R-95: which years have a log is read from the chain, and what was read is proved by it."""
    clock = Clock()
    set_clock(clock, moment(YEAR, 12, 30))
    settings = settings_of(tmp_path / "slept")
    app.found(settings, registrars_required=2, clock=clock).close()
    set_clock(clock, moment(YEAR + 3, 2, 1))
    clock_watch.confirm(settings.data_dir, clock())
    with World(enrol(tmp_path / "slept", settings, "", clock), tmp_path / "world", clock=clock) as world:
        report = world.auditor.audit()
        assert report.complete, report.faults
        assert sorted(report.heads) == sorted(
            f"{HOST}/v1/log/{log}" for log in ("keys", f"audit/{YEAR}", f"audit/{YEAR + 3}")
        )
        world.auditor.mirror(tmp_path / "mirror")
        assert world.auditor.audit(tmp_path / "mirror").complete
        shutil.rmtree(tmp_path / f"mirror/audit/{YEAR + 3}")
        kept = world.auditor.audit(tmp_path / "mirror")
        assert not kept.complete, "the log that the last leaf promises is not there"


@pytest.mark.parametrize("eve", [pytest.param("postgresql", marks=pytest.mark.postgres)], indirect=True)
def test_of_two_processes_the_one_whose_clock_is_behind_goes_on_in_the_new_year(eve: World) -> None:
    """R-92: nothing is ever written behind a closing leaf."""
    behind = Clock(eve.clock.ahead_s)
    with closing(app.open_runtime(eve.settings, clock=behind)) as slow:
        slow.writer.start()
        assert slow.writer.run(record).result.log == f"audit/{YEAR}"
        set_clock(eve.clock, moment(YEAR + 1, 1, 1, second=2))
        ahead = eve.server.runtime.writer.run(record).result
        assert ahead.log == f"audit/{YEAR + 1}"
        after = slow.writer.run(record).result
        assert (after.log, after.index) == (ahead.log, ahead.index + 1)
        again = eve.server.runtime.writer.run(record).result
        assert again.index == after.index + 1
    eve.check()
    assert isinstance(records_at(Rows(eve), YEAR)[sizes(Rows(eve))[f"audit/{YEAR}"] - 1], LogClosed)


@pytest.mark.parametrize("is_away", [False, True])
@pytest.mark.parametrize("eve", [pytest.param("postgresql", marks=pytest.mark.postgres)], indirect=True)
def test_a_year_that_a_host_begins_which_does_not_sign_is_claimed_by_the_one_that_does(
    eve: World, tmp_path: Path, is_away: bool
) -> None:
    """R-93: nobody has signed the new log yet, and whoever signs the keys log is the one to do so, from leaf 0."""
    folder = tmp_path / "second"
    folder.mkdir()
    own = {"data_dir": folder, "signer_dir": folder, "several_hosts": True}
    set_clock(eve.clock, moment(YEAR + 1, 1, 1) + 5)
    if is_away:
        eve.server.stop()
    with closing(app.open_runtime(eve.settings.model_copy(update=own), clock=eve.clock)) as second:
        second.writer.start()
        if is_away:
            with pytest.raises(ReferralError) as caught:
                second.writer.run(record)
            assert caught.value.code is ErrorCode.CHECKPOINT_PENDING
            eve.server.settings = eve.settings.model_copy(update={"several_hosts": True})
            eve.server.start()
        else:
            assert second.writer.run(record).result.log == f"audit/{YEAR + 1}"
        again = second.writer.run(record)
        assert again.proof is not None
        assert again.result.log == f"audit/{YEAR + 1}"
    assert list(folder.glob("*.signer")) == []
    assert (eve.settings.signer_dir / f"audit-{YEAR + 1}.signer").exists()
    genesis = records_at(Rows(eve), YEAR + 1)[0]
    assert isinstance(genesis, LogGenesis)
    assert genesis.previous is not None
    eve.restart()


@pytest.mark.parametrize("eve", ENGINES[:1], indirect=True)
@pytest.mark.parametrize(("more", "reason"), [(10**6, "shrunk"), (0, "old-root")])
def test_whoever_saw_more_of_the_old_year_than_is_shown_in_the_new_one_is_alarmed(
    eve: World, more: int, reason: str
) -> None:
    """R-94: nobody would ask again about a log that has ended, and what was dropped of its end would be forgotten."""
    operator, origin = eve.operator, f"{HOST}/v1/log/audit/{YEAR}"
    eve.submit()
    honest = operator.directory.find_pin(origin)
    assert honest is not None
    pins = operator.directory.path / "pins.json"
    before = pins.read_text()
    root = honest.root if more else bytes(32)
    pins.write_text(
        before.replace(f'"root":"{honest.root.hex()}","size":{honest.size}', "@", 1).replace(
            "@", f'"root":"{root.hex()}","size":{honest.size + more}', 1
        )
    )
    set_clock(eve.clock, moment(YEAR + 1, 1, 1, 8))
    with pytest.raises(ReferralError) as caught:
        operator.submit(composition())
    assert (caught.value.code, caught.value.facts["reason"]) == (ErrorCode.INCONSISTENT, reason)
    assert operator.directory.find_pin(f"{HOST}/v1/log/audit/{YEAR + 1}") is None
    pins.write_text(before)
    operator.submit(composition())
    assert operator.directory.find_pin(f"{HOST}/v1/log/audit/{YEAR + 1}") is not None
