"""Two hosts, one exchange: one signs, the other waits for its checkpoints, and takes over only by adoption (R-93)."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from referral_api.auditlog.records import SignerAdopted
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.server import app
from referral_api.server.settings import Settings
from tests.faults.submissions import Parcel, parcel
from tests.processes import Process, serving
from tests.story.test_closed import logged
from tests.story.test_recovery import run_adopt
from tests.story.test_rolled_back import Older, client_at, every_call, put
from tests.wire import Answer, Caller
from tests.world import World
from tests.world_check import Rows

pytestmark = pytest.mark.postgres


class Host:
    """One host: folders of its own, the same keys and database, and a server process while it runs.

    With `ahead`, a file that moves its clock, it is a machine altogether: its keys are a copy of its own.
    """

    def __init__(self, world: World, name: str, *, several: bool = True, ahead: Path | None = None) -> None:
        folder = world.folder / name
        own = {"data_dir": folder / "data", "signer_dir": folder / "signer", "several_hosts": several}
        for path in (own["data_dir"], own["signer_dir"]):
            Path(str(path)).mkdir(parents=True)
        if ahead is not None:
            own["keys_dir"] = shutil.copytree(world.settings.keys_dir, folder / "keys")
        self._ahead = ahead
        self.world = world
        self.settings = Settings.model_validate(world.settings.model_dump() | own)
        self.log = world.folder / f"{name}.log"
        self._stack = ExitStack()
        self._callers: dict[str, Caller] = {}
        self.process: Process | None = None

    @property
    def states(self) -> dict[str, bytes]:
        """What its signer has on disk."""
        return {path.name: path.read_bytes() for path in self.settings.signer_dir.glob("*.signer")}

    @property
    def url(self) -> str:
        """Where its server listens."""
        assert self.process is not None
        return self.process.url

    def start(self) -> None:
        """Start its server."""
        self.process = self._stack.enter_context(serving(self.settings, self.log, self._ahead))

    def stop(self) -> None:
        """End it as an operator would."""
        self._callers.clear()
        self._stack.close()
        self.process = None

    def kill(self) -> None:
        """End it as a power cut would."""
        assert self.process is not None
        self.process.kill()

    def caller(self, name: str) -> Caller:
        """Somebody who calls this host."""
        if name not in self._callers:
            client = self._stack.enter_context(client_at(self.world, self.url, name))
            self._callers[name] = Caller(client, self.url, self.world.tape)
            self._stack.callback(self._callers[name].close)
        return self._callers[name]

    def put(self, one: Parcel) -> Answer:
        """Submit here."""
        return put(self.caller(one.by), one)

    def ready(self) -> tuple[int, dict[str, Any]]:
        """What it says of itself."""
        answer = self.caller("operator").call("GET", "/readyz", signed=False)
        return answer.status, answer.json


@pytest.fixture
def hosts(postgres_world: World) -> Iterator[tuple[Host, Host]]:
    """The first host has the signer's states; both run."""
    with both(postgres_world) as pair:
        yield pair


@contextmanager
def both(world: World, ahead: Path | None = None) -> Iterator[tuple[Host, Host]]:
    """Two hosts in the place of the world's server, of which the first has the signer's states."""
    world.server.stop()
    first, second = Host(world, "first", ahead=ahead), Host(world, "second", ahead=ahead)
    for path in world.settings.signer_dir.glob("*.signer"):
        path.rename(first.settings.signer_dir / path.name)
    try:
        for host in (first, second):
            host.start()
        world.server.port = first.process.port  # type: ignore[union-attr]
        yield first, second
    finally:
        for host in (first, second):
            host.stop()
        # Whoever checks the world at the end looks for the states of whichever host signs now.
        holder = next(row["signer_id"] for row in Rows(world)["log_signer"] if row["log"] == "keys")
        signing = next(host for host in (second, first) if holder.encode() in host.states.get("keys.signer", b""))
        for name, raw in signing.states.items():
            (world.settings.signer_dir / name).write_bytes(raw)
        own_keys = {"keys_dir": signing.settings.keys_dir}
        world.settings = world.server.settings = world.settings.model_copy(update=own_keys)
        # What the second host committed last is signed by the next start of the one that signs.
        world.server.start()
        # So is what fell due when the calendar jumped, as far as the two had not come to it.
        world.server.catch_up()
        world.server.stop()


def eventually(holds: Any, seconds: float = 20.0) -> None:
    ends = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < ends, "it did not come about"
        time.sleep(0.1)


def test_both_hosts_take_submissions_at_once_into_one_log_and_answer_with_receipts(hosts: tuple[Host, Host]) -> None:
    world = hosts[0].world
    before = hosts[1].states
    assert [host.ready()[0] for host in hosts] == [200, 200]
    assert [host.ready()[1]["signs"] for host in hosts] == ["here", "elsewhere"]
    sent = {
        host: [parcel(world, by) for _ in range(12)] for host, by in zip(hosts, ("operator", "colleague"), strict=True)
    }
    answers: dict[Host, list[Answer]] = {host: [] for host in hosts}

    def send(host: Host) -> None:
        answers[host] = [host.put(one) for one in sent[host]]

    threads = [threading.Thread(target=send, args=(host,)) for host in hosts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert [[answer.status for answer in answers[host]] for host in hosts] == [[201] * 12] * 2
    assert hosts[1].states == before == {}, "the second host has no state and makes none"
    for host, other in (hosts, hosts[::-1]):
        for one, answer in zip(sent[host], answers[host], strict=True):
            again = other.put(one)
            assert (again.status, again.json["receipt"]) == (200, answer.json["receipt"])
    # The proofs that the second host gave verify, for a client that talked to both in turn.
    client = world.client("colleague")
    for one, answer in zip(sent[hosts[1]], answers[hosts[1]], strict=True):
        proof = answer.json["proof"].encode()
        confirmed = client.verify_receipt(one.document["act"].encode(), answer.json["receipt"].encode(), proof)
        assert confirmed.receipt.accepted


def test_whoever_meets_both_hosts_sees_one_log_that_only_grows(hosts: tuple[Host, Host]) -> None:
    """R-94: a checkpoint that one host has released, the other can be asked for the growth of."""
    world = hosts[0].world
    year = Rows(world).logs.keys() - {"keys"}
    log = f"/v1/log/{max(year)}"
    for turn in range(8):
        here, there = hosts if turn % 2 else hosts[::-1]
        assert here.put(parcel(world)).status == 201
        seen = int(here.caller("auditor").call("GET", f"{log}/checkpoint").body.split(b"\n")[1])
        grown = there.caller("auditor").call("GET", f"{log}/consistency?from={seen}")
        assert grown.status == 200, grown.body
        assert grown.json["to"] >= seen


def test_while_the_signing_host_is_away_nothing_is_lost_and_nothing_promised(hosts: tuple[Host, Host]) -> None:
    first, second = hosts
    world = first.world
    kept = parcel(world)
    ref_seen = kept.ref
    assert second.put(kept).status == 201
    waiting, later = [parcel(world, by) for by in ("operator", "colleague")], parcel(world)
    first.kill()
    begun = time.monotonic()
    for one in waiting:
        answer = second.put(one)
        assert (answer.status, answer.code, answer.json["retry"]) == (503, "checkpoint-pending", "same"), answer.body
    assert time.monotonic() - begun < 30, "the wait has an end"
    eventually(lambda: second.ready()[0] == 503)
    told = second.ready()[1]
    assert (told["checks"]["signer"], told["checks"]["writes"], told["signs"]) == (False, True, "elsewhere")
    # It serves ciphertext, answers who has a receipt already, and its log is as last signed.
    assert second.caller("officer").call("GET", f"/v1/referrals/{ref_seen}/bundle").status == 200
    assert second.put(kept).status == 200
    ill = [one for one in every_call(second.caller("auditor"), ref_seen) if one[1] >= 500 and one[0] != "/readyz"]
    # A pack proves all that it holds, that retrieval among it.
    assert ill == [(f"/v1/evidence/{ref_seen}", 503, "checkpoint-pending")]
    assert second.states == {}, "it does not take over by itself"
    first.stop()
    first.start()
    eventually(lambda: second.ready()[0] == 200)
    for one in waiting:
        answer = second.put(one)
        assert answer.status == 200, answer.body
    assert second.put(later).status == 201


def test_after_adoption_the_second_host_signs_and_the_first_one_is_fenced(hosts: tuple[Host, Host]) -> None:
    first, second = hosts
    world = first.world
    assert second.put(parcel(world)).status == 201
    left, more, last = (parcel(world) for _ in range(3))
    first.kill()
    assert second.put(left).status == 503
    second.stop()
    left_behind = first.states
    with at_host(world, second):
        run_adopt(world, sorted(first.settings.signer_dir.glob("*.signer")))
    second.start()
    assert second.ready()[1]["signs"] == "here"
    assert second.put(left).status == 200
    assert second.put(more).status == 201
    # The first comes back: alone it does not start, as one of several it waits for the second.
    first.stop()
    with pytest.raises(ReferralError) as caught:
        app.open_runtime(first.settings.model_copy(update={"several_hosts": False}))
    assert (caught.value.code, caught.value.facts["reason"]) == (ErrorCode.WRITES_CLOSED, "signer-fenced")
    first.start()
    assert first.ready()[1]["signs"] == "elsewhere"
    assert first.put(last).status == 201
    assert first.states == left_behind, "a fenced signer signs nothing"
    assert {record.authority for record in logged(world) if isinstance(record, SignerAdopted)} == {"state"}


@contextmanager
def at_host(world: World, host: Host) -> Iterator[None]:
    """Commands of an operator are given at this host."""
    here = world.settings
    world.settings = host.settings
    try:
        yield
    finally:
        world.settings = here


def test_a_host_without_states_that_is_not_said_to_be_one_of_several_takes_nothing(hosts: tuple[Host, Host]) -> None:
    world = hosts[0].world
    alone = Host(world, "third", several=False)
    alone.start()
    try:
        assert alone.ready()[1]["closed"] == "signer-state-missing"
        refused = alone.put(parcel(world))
        assert (refused.status, refused.code) == (503, "writes-closed")
    finally:
        alone.stop()


def test_a_second_host_refuses_a_database_that_went_back(hosts: tuple[Host, Host]) -> None:
    first, second = hosts
    world = first.world
    assert second.put(parcel(world)).status == 201
    older = Older(world.settings.database_url)
    sent = [parcel(world) for _ in range(3)]
    assert [second.put(one).status for one in sent] == [201] * 3
    newer, more = Older(world.settings.database_url), parcel(world)
    first.kill()
    older.put_back()
    answer = second.put(more)
    assert (answer.status, answer.code, answer.json["reason"]) == (503, "writes-closed", "database-shorter")
    assert second.ready()[1]["closed"] == "database-shorter"
    newer.put_back()
    for host in hosts:
        host.stop()
        host.start()
    assert [second.put(one).status for one in sent] == [200] * 3


def test_several_hosts_are_refused_without_a_database_that_they_can_share(hosts: tuple[Host, Host]) -> None:
    given = hosts[0].settings.model_dump()
    assert Settings.model_validate(given).several_hosts
    with pytest.raises(ValueError, match="several hosts need a PostgreSQL database"):
        Settings.model_validate(given | {"database_url": ""})
