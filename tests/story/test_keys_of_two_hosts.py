"""The keys of an exchange on two hosts change while both take submissions; one of them does not sign the logs, and gets
each key as a file from the other (R-37, R-93; docs/runbooks.md "Rotating the exchange's keys").
"""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from referral_api.client.outbox import Entry
from referral_api.domain.words import Act, KeyUse
from referral_api.formats.act import parse_act
from referral_api.formats.statements import KeyMap
from referral_api.server.service.exchange import Directory
from referral_api.server.service.rekeying import Asked
from referral_api.server.storage.database import Database
from referral_api.server.storage.keyfiles import create_next
from tests.faults.submissions import parcel
from tests.processes import set_ahead
from tests.story.test_rolled_back import client_at
from tests.story.test_second_host import Host, both, eventually
from tests.story.test_server_keys import ASK_S, DAY_S, offline, receipt_kid
from tests.world import World, composition
from tests.world_check import Rows

pytestmark = pytest.mark.postgres
CHANGED = (KeyUse.RECEIPT, KeyUse.ACT, KeyUse.LOG)


@dataclass
class Premises:
    """Two machines and the calendar."""

    world: World
    ahead: Path
    first: Host
    second: Host
    """The one that does not sign."""

    @property
    def keymap(self) -> KeyMap:
        """The keys log as it is in the database."""
        with Database.look(self.world.settings.database) as database, database.read() as conn:
            return Directory.load(conn).current

    def go_to(self, moment: int) -> None:
        """It is so late now, everywhere."""
        self.world.clock.ahead_s += moment - self.world.clock()
        set_ahead(self.ahead, self.world.clock.ahead_s)

    def rotate(self, *uses: KeyUse, at: Host) -> tuple[int, int, list[str]]:
        """Have the exchange announce the next keys, which lie at one host; when they begin, when the others end."""
        keys_dir = at.settings.keys_dir
        made = {use: create_next(keys_dir, use).kid for use in uses}
        for use, kid in made.items():
            Asked(use, kid, ASK_S, DAY_S).ask(keys_dir)
        eventually(lambda: not list(keys_dir.glob("*.asked")))
        tenures = [self.keymap.tenures(use)[-2:] for use in uses]
        assert [newer.key.kid for _, newer in tenures] == list(made.values())
        begins, ends = (newer.begins_at for _, newer in tenures), (older.ends_at for older, _ in tenures)
        return max(begins), max(ends), list(made.values())

    def bring(self, kid: str) -> None:
        """Copy a key's file to the second host, with its mode."""
        (path,) = self.first.settings.keys_dir.glob(f"*.{kid}.pem")
        shutil.copy2(path, self.second.settings.keys_dir / path.name)


def missing(host: Host) -> set[tuple[str, str]]:
    """What a host says is not there, by use, and what comes of it."""
    return {(one["use"], one["status"]) for one in host.ready()[1]["keys_missing"]}


def told(host: Host) -> list[tuple[str, str]]:
    """The same as it wrote it to standard error, in order."""
    lines = [json.loads(line) for line in host.log.read_text().splitlines() if line.startswith("{")]
    return [(one["use"], one["status"]) for one in lines if one["event"] == "key_missing"]


@pytest.fixture
def premises(postgres_world: World, tmp_path: Path) -> Iterator[Premises]:
    ahead = tmp_path / "ahead"
    set_ahead(ahead, 0)
    with both(postgres_world, ahead) as (first, second):
        yield Premises(postgres_world, ahead, first, second)


class Desk:
    """A hotline's desk at one host: it sends all the time, but for the moments in which the calendar jumps."""

    def __init__(self, world: World, host: Host, name: str) -> None:
        self.sent: list[Entry] = []
        self.still = threading.Lock()
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._send, args=(world, host.url, name))
        self._thread.start()

    def _send(self, world: World, url: str, name: str) -> None:
        with client_at(world, url, name) as client:
            while not self._ends.is_set():
                with self.still:
                    self.sent.append(client.submit(composition()))

    def some_more(self) -> None:
        """It has sent two more, the second of which begins and ends after this was asked."""
        before = len(self.sent)
        eventually(lambda: len(self.sent) >= before + 2 or not self._thread.is_alive(), 60)
        assert self._thread.is_alive()

    def close(self) -> None:
        """Stop sending."""
        self._ends.set()
        self._thread.join(60)


def refused_calls(tape: list[bytes]) -> list[bytes]:
    """Answers that were a refusal; a proof that must be made again with a nonce is none."""
    return [one for one in tape if one[:3].isdigit() and one[:3] >= b"400" and b"use_dpop_nonce" not in one]


def test_both_hosts_go_over_to_other_keys_and_refuse_no_call(premises: Premises) -> None:
    world, first, second = premises.world, premises.first, premises.second
    asleep = world.client("officer")
    asleep.sync_keys()
    desks = [Desk(world, first, "operator"), Desk(world, second, "colleague")]

    def go_on() -> list[str]:
        """Both have sent some more; by which receipt keys."""
        for desk in desks:
            desk.some_more()
        return [receipt_kid(desk.sent[-1]) for desk in desks]

    def go_to(moment: int) -> None:
        for desk in desks:
            desk.still.acquire()
        premises.go_to(moment)
        for desk in desks:
            desk.still.release()

    try:
        (old,) = set(go_on())
        begins, ends, (receipt, act, log) = premises.rotate(*CHANGED, at=first)
        eventually(lambda: missing(second) == {(use.value, "coming") for use in CHANGED})
        assert (first.ready()[0], missing(first), second.ready()[0]) == (200, set(), 200)
        for kid in (act, log):
            premises.bring(kid)
        go_to(begins)
        # The receipt key has been forgotten: the old one counts still, and the host says that it uses it.
        assert go_on() == [receipt, old]
        eventually(lambda: missing(second) == {("receipt", "another-signs")})
        assert second.ready()[0] == 200
        premises.bring(receipt)
        eventually(lambda: missing(second) == set())
        assert go_on() == [receipt, receipt]
        go_to(ends)
        assert go_on() == [receipt, receipt]
        # What the host that does not sign says in the exchange's own name is by the act key of its time.
        premises.rotate(KeyUse.TOKEN, at=second)
    finally:
        for desk in desks:
            desk.close()
    assert refused_calls(world.tape) == []
    rekeys = [parse_act(row["jws"].encode()) for row in Rows(world)["act"] if row["act"] == Act.REKEY.value]
    assert rekeys[-1].jws.signatures[0].kid == act
    assert premises.keymap.exchange_keys(KeyUse.LOG)[-1].kid == log
    assert told(second)[-1] == ("receipt", "no-more")
    # Who was away believes everything that anybody was promised.
    asleep.sync_keys()
    for entry in [entry for desk in desks for entry in desk.sent]:
        offline(asleep, entry)


def test_a_host_without_the_next_key_signs_nothing_when_the_old_one_has_ended_until_it_is_there(
    premises: Premises,
) -> None:
    world, first, second = premises.world, premises.first, premises.second
    _, ends, (receipt,) = premises.rotate(KeyUse.RECEIPT, at=first)
    one, other = parcel(world), parcel(world)
    premises.go_to(ends)
    refused = second.put(one)
    assert (refused.status, refused.code, refused.json["retry"]) == (503, "unavailable", "same"), refused.body
    eventually(lambda: second.ready()[1]["checks"]["keys"] is False)
    assert (missing(second), second.ready()[0]) == ({("receipt", "none-signs")}, 503)
    assert told(second)[-1] == ("receipt", "none-signs")
    assert first.put(other).status == 201
    # Nobody has to start anything again, and the same bytes are taken.
    premises.bring(receipt)
    eventually(lambda: second.ready()[0] == 200)
    taken = second.put(one)
    assert taken.status == 201, taken.body
    client = world.client("operator")
    confirmed = client.verify_receipt(
        one.document["act"].encode(), taken.json["receipt"].encode(), taken.json["proof"].encode()
    )
    assert confirmed.receipt.accepted
    assert missing(second) == set()
