"""The logs go over to another key before three witnesses in processes of their own, and nobody is left behind (R-37,
R-101; docs/runbooks.md "Rotating the exchange's keys").

The exchange was founded days ago, and its clock goes on to today's as the story does: a witness knows no other time.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from referral_api.auditlog.keyslog import log_keys
from referral_api.auditlog.note import parse_note
from referral_api.auditlog.policy import format_policy
from referral_api.client.outbox import Entry, Progress
from referral_api.domain.terms import Term
from referral_api.domain.words import KeyUse
from referral_api.server.service.rekeying import spent
from referral_api.server.storage.keyfiles import delete_key, load_signers
from tests.cli.shell import Shell
from tests.story.test_server_keys import DAY_S, go_to, keymap_of, offline, rotate
from tests.story.test_witness_processes import NAMES, both, rested
from tests.story.test_witnesses import eventually, line, newest_audit
from tests.witnesses import WitnessProcess, make_witness, policy_of_witnesses
from tests.world import WITNESSES, Clock, World, found

AGO_S = 4 * DAY_S


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """An exchange of four days ago, whose witnesses trust the key that it was founded with."""
    witnesses = [make_witness(tmp_path, name) for name in NAMES]
    clock = Clock(ahead_s=-AGO_S)
    policy = policy_of_witnesses([replace(one, port=9) for one in witnesses], 2)
    (tmp_path / "founded").mkdir()
    made = World(found(tmp_path / "founded", policy=policy, clock=clock), tmp_path / "exchange", clock=clock)
    made.witnesses += witnesses
    with made:
        keys, yearly = vkeys(made)[-1]
        for witness in witnesses:
            witness.introduce([keys], [yearly])
            witness.launch()
        made.server.stop()
        for witness in witnesses:
            witness.wait()
        (made.folder / WITNESSES).write_bytes(format_policy(policy_of_witnesses(witnesses, 2)))
        made.server.start()
        try:
            yield made
        finally:
            for witness in witnesses:
                witness.stop()


def vkeys(world: World) -> list[tuple[str, str]]:
    """Each key of the logs as `admin keys rotate` prints it: for the keys log, and for the audit logs."""
    names = ("keys", Term(time.gmtime(world.clock()).tm_year).log)
    return [
        (one[0].vkey, one[1].vkey) for one in zip(*(log_keys(keymap_of(world), name) for name in names), strict=True)
    ]


@dataclass(frozen=True)
class Operators:
    """Those who run the witnesses, at their command lines."""

    shell: Shell

    def tell(self, witness: WitnessProcess, *words: str) -> Any:
        """One command, while the witness serves or not."""
        ran = self.shell.run(None, "witness", *words, "--file", str(witness.file), "--json")
        assert ran.exit == 0, ran.err
        return ran.json

    def add(self, witness: WitnessProcess, new: tuple[str, str], *also: str) -> None:
        """Trust a key of both kinds of logs."""
        self.tell(witness, "add-log", new[0], *also)
        self.tell(witness, "add-log", new[1], "--yearly", *also)

    def replace(self, witness: WitnessProcess, new: tuple[str, str]) -> None:
        """The old one has ended: take it off."""
        for name in {one["origin"] for one in self.tell(witness, "show")["logs"]}:
            self.tell(witness, "remove-log", name)
        self.add(witness, new)


def signers(world: World, log: str) -> list[int]:
    """Which of the log's keys, in the order of their announcement, have signed the newest checkpoint that is shown."""
    note = parse_note(world.caller("auditor").call("GET", f"/v1/log/{log}/checkpoint").body)
    return [at for at, key in enumerate(log_keys(keymap_of(world), log)) if note.signed_by(key)]


def shown_again(world: World) -> None:
    """What the exchange does every ten minutes: each witness is shown both logs, grown or not, and cosigns them now."""
    begun = int(time.time())
    for post in line(world).posts:
        post.asked.clear()
    rested(world)
    eventually(world, lambda: all(min(times(world, one)) >= begun for one in world.witnesses))


def times(world: World, witness: WitnessProcess) -> list[int]:
    """When a witness has cosigned what each log is now, as it remembers; 0 where that was less than there is."""
    memory = witness.memory()
    try:
        held = memory.all_held()
    finally:
        memory.close()
    exchange = world.server.runtime.exchange
    with exchange.database.read() as conn:
        newest = {log: exchange.newest_checkpoint(conn, log) for log in ("keys", newest_audit(world))}
    return [
        held[exchange.origin(log)].cosigned_s
        if found is not None and held[exchange.origin(log)].size == found[0]
        else 0
        for log, found in newest.items()
    ]


def cosigned(world: World, by: set[str]) -> Entry:
    """One more referral, whose place these witnesses cosign."""
    entry = world.submit()
    rested(world)
    eventually(world, lambda: both(world))

    def all_of_them() -> bool:
        return world.operator.cosign_receipt(entry).included.checkpoint.witnesses() == by

    eventually(world, all_of_them)
    return world.operator.outbox.get(entry.outgoing.id)


def asleep(world: World, name: str) -> Entry:
    """Somebody sends one referral and then is away for days, with what this machine has pinned of the logs."""
    entry = world.submit(name)
    world.close_clients()
    return entry


def test_a_change_of_the_log_key_is_gone_through_by_witnesses_auditors_and_who_was_away(world: World) -> None:
    operators = Operators(Shell(world.folder, world.server.url))
    prompt, restarted, late = world.witnesses
    eventually(world, lambda: both(world))
    world.operator.sync_keys()
    world.colleague.sync_keys()
    before = cosigned(world, set(NAMES))
    old = asleep(world, "colleague")

    _, begins, ends = rotate(world, KeyUse.LOG)
    new = vkeys(world)[-1]
    for witness in (prompt, restarted):
        operators.add(witness, new, "--also")
    announced = cosigned(world, set(NAMES))
    assert signers(world, "keys") == signers(world, newest_audit(world)) == [0]

    # From its beginning on both keys sign, also the keys log, which has not grown since.
    go_to(world, begins)
    restarted.stop()
    restarted.start()
    during = cosigned(world, set(NAMES))
    eventually(world, lambda: signers(world, "keys") == [0, 1])
    assert signers(world, newest_audit(world)) == [0, 1]
    shown_again(world)

    # The old one has ended. Whoever was told goes on, killed or not; whoever was not told cosigns nothing more.
    go_to(world, ends)
    restarted.kill()
    restarted.start()
    after = cosigned(world, set(NAMES[:2]))
    assert signers(world, newest_audit(world)) == [1]
    assert line(world).standing()[NAMES[2]] == "refused"
    for witness in (prompt, late):
        operators.replace(witness, new)
    shown_again(world)
    eventually(world, lambda: set(line(world).standing().values()) == {"ok"})

    # Today: its file is gone, the exchange has been started again, and who was away believes it from the old pins.
    world.clock.ahead_s = 0
    (gone,) = spent(keymap_of(world), load_signers(world.settings.keys_dir), int(world.clock()))
    delete_key(world.settings.keys_dir, *gone)
    world.close_clients()
    world.restart()
    today = cosigned(world, set(NAMES))
    entry = world.submit("colleague")
    assert entry.state is Progress.RECEIVED
    assert world.colleague.cosign_receipt(entry).included.checkpoint.witnesses()
    for client, kept in ((world.colleague, old), (world.officer, before)):
        client.sync_keys()
        for one in (kept, announced, during, after, today):
            offline(client, one)

    # The auditor's workstation too, by the commands.
    for words in (("verify",), ("witnesses",)):
        eventually(world, lambda: both(world))
        ran = operators.shell.run("auditor", "audit", *words, "--json")
        assert ran.exit == 0, (words, ran.out, ran.err)
    world.check()
