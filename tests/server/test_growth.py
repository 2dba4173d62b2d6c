"""What an exchange costs does not grow with its past: the same work at ten thousand and at a million acts.

Processor time, not the clock's: the machine that measures does other things too.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from queue import SimpleQueue
from statistics import median
from time import thread_time
from typing import Any

import pytest

from referral_api.domain.words import CredentialKind, Role
from referral_api.formats.act import parse_act
from referral_api.formats.bundle import parse_bundle
from referral_api.server import app
from referral_api.server.app import Runtime
from referral_api.server.service import feed
from referral_api.server.service.batch import Batch, Committed, Done
from referral_api.server.service.callers import Caller
from referral_api.server.service.decision import Checked, ReferralDecision
from referral_api.server.service.feed import Cursors, InboxQuery
from referral_api.server.service.writer import Writer
from referral_api.server.storage import logbook
from tests.faults.submissions import Parcel, parcel
from tests.server.growth import UNITS, grow
from tests.timing import spent_us
from tests.world import HOTLINE, Founded, World, settings_of

pytestmark = [pytest.mark.bench, pytest.mark.slow]

YOUNG, OLD = 10**4, 10**6
ROWS, BATCHES, WARM = 32, 21, 3
PAGE = 20
COMMIT_FLOOR, PAGE_FLOOR = 2.0, 1.5


@dataclass(slots=True)
class Meter:
    """The processor time of each batch of the writer, in seconds, taken on its own thread."""

    started: float = 0.0
    batches: list[float] = field(default_factory=list)

    def __call__(self, step: str) -> None:
        if step == "begin":
            self.started = thread_time()
        elif step == "answered":
            self.batches.append(thread_time() - self.started)


@dataclass(frozen=True, slots=True)
class Grown:
    """An exchange with a past, its writer running."""

    runtime: Runtime
    meter: Meter


@pytest.fixture(scope="module")
def grown(founded: Founded, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[int, Grown]]:
    exchanges: dict[int, Grown] = {}
    folder = tmp_path_factory.mktemp("growth")
    try:
        for acts in (YOUNG, OLD):
            shutil.copytree(founded.folder, folder / str(acts))
            settings, meter = settings_of(folder / str(acts)), Meter()
            grow(settings, acts)
            exchanges[acts] = Grown(app.open_runtime(settings, on_step=meter), meter)
            exchanges[acts].runtime.writer.start()
        yield exchanges
    finally:
        for one in exchanges.values():
            one.runtime.close()
        shutil.rmtree(folder)  # some gigabytes, which pytest would keep


@pytest.fixture(scope="module")
def made(founded: Founded, tmp_path_factory: pytest.TempPathFactory) -> list[Parcel]:
    """Submissions, sealed and signed on another copy of the same exchange, and sent nowhere."""
    with World(founded, tmp_path_factory.mktemp("made") / "world") as world:
        return [parcel(world) for _ in range(ROWS * (WARM + BATCHES))]


def decision(runtime: Runtime, one: Parcel) -> ReferralDecision:
    """A plain submit as the door hands it to the writer: every check before the transaction is behind it."""
    act, sealed = parse_act(one.document["act"].encode()), parse_bundle(one.document["bundle"].encode())
    caller = Caller(act.iss, act.party, Role.HOTLINE, CredentialKind.PERSON, keyholder=True)
    return ReferralDecision(runtime.exchange, Checked(act, None, sealed, runtime.exchange.keymap.size), caller)


def commit_together(writer: Writer, jobs: list[ReferralDecision]) -> None:
    """Two batches: one that holds the writer up, and one of all these jobs, which have waited meanwhile."""
    taken, go, answers = threading.Event(), threading.Event(), SimpleQueue[Any]()

    def hold(_batch: Batch) -> Done[None]:
        taken.set()
        go.wait(60)
        return Done(None)

    writer.submit(hold, answers.put)
    assert taken.wait(60)
    for job in jobs:
        writer.submit(job, answers.put)
    go.set()
    for _ in range(1 + len(jobs)):
        assert isinstance(outcome := answers.get(timeout=60), Committed), outcome


def commits_us(grown: dict[int, Grown], made: list[Parcel]) -> dict[int, float]:
    """Median over batches of the writer's processor time a row, in microseconds; the exchanges take turns."""
    for at in range(0, len(made), ROWS):
        for one in grown.values():
            commit_together(one.runtime.writer, [decision(one.runtime, each) for each in made[at : at + ROWS]])
    spent = {}
    for acts, one in grown.items():
        # The last answer leaves a moment before the meter is told; the writer takes the next job after that.
        one.runtime.writer.run(lambda _: Done(None))
        together = one.meter.batches[1 : 2 * len(made) // ROWS : 2]
        assert len(together) == WARM + BATCHES
        spent[acts] = median(together[WARM:]) / ROWS * 1e6
    return spent


def report(what: str, spent: dict[int, float]) -> float:
    """Print one line; how much more the old exchange spends."""
    ratio = spent[OLD] / spent[YOUNG]
    print(f"{what}: {spent[YOUNG]:.0f} us at {YOUNG:,} acts, {spent[OLD]:.0f} us at {OLD:,}, ratio {ratio:.2f}")
    return ratio


def test_a_commit_costs_the_same_after_a_million_acts(grown: dict[int, Grown], made: list[Parcel]) -> None:
    """R-92: what is looked up under the log's lock keeps everybody waiting."""
    ratio = report(f"writer, batches of {ROWS} submits, CPU a row", commits_us(grown, made))
    assert ratio <= COMMIT_FLOOR


def inbox_us(runtime: Runtime, party: str, *, pending: bool = False, newest: bool = False) -> float:
    """The processor time of one full page, read over a connection that is open already."""
    cursors = Cursors(b"secret")
    with runtime.exchange.database.read() as conn:
        after = 0
        if newest:
            row = conn.one("SELECT pos FROM feed WHERE party = ? ORDER BY pos DESC LIMIT 1 OFFSET ?", (party, PAGE))
            after = 0 if row is None else int(row[0])
        query = InboxQuery(after, PAGE, 0, pending)
        page = feed.page(conn, party, query, cursors, 0)
        assert (len(page["entries"]), page["more"]) == (PAGE, not newest)
        return spent_us(lambda: feed.page(conn, party, query, cursors, 0))


@pytest.mark.parametrize(
    ("what", "party", "options"),
    [
        ("a unit's first", UNITS[-1], {}),
        ("what waits for a unit", UNITS[-1], {"pending": True}),
        ("the hotline's newest", HOTLINE, {"newest": True}),
    ],
)
def test_a_page_of_an_inbox_costs_the_same_after_a_million_acts(
    grown: dict[int, Grown], what: str, party: str, options: dict[str, bool]
) -> None:
    """R-55: everybody asks for it all day."""
    spent = {acts: inbox_us(one.runtime, party, **options) for acts, one in grown.items()}
    assert report(f"inbox page of {PAGE} lines, {what}", spent) <= PAGE_FLOOR


def test_both_logs_are_whole_and_signed(grown: dict[int, Grown]) -> None:
    """What was measured was an exchange: its start-up gate has passed, and all that it holds is signed for."""
    for acts, one in grown.items():
        with one.runtime.exchange.database.read() as conn:
            found = logbook.newest_audit(conn)
            assert found is not None
            signed = one.runtime.exchange.signed(found[0])
        assert signed is not None
        assert acts < signed.size == found[1]
