"""The outbox: nothing is lost or changed by a kill, and no entry gets further than what was verified."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from referral_api.client.outbox import Outbox, Outgoing, Progress, pause_s
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import Act, ActId, Digest, ReferralId
from tests.traces import left_of

NOW = 1_795_430_000
REF = ReferralId("01930000-0000-7000-8000-000000000001")
ID = ActId("11111111-1111-4111-8111-111111111111")


def outgoing(act_id: str = ID, jws: bytes = b"act", act: Act = Act.SUBMIT) -> Outgoing:
    return Outgoing(ActId(act_id), act, REF, Digest("d" * 43), jws, b"bundle", b"route", None, b"draft")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "outbox.sqlite3"


@pytest.fixture
def outbox(path: Path) -> Iterator[Outbox]:
    opened = Outbox.open(path)
    yield opened
    opened.close()


def test_what_is_put_is_there_byte_for_byte_after_reopening(outbox: Outbox, path: Path) -> None:
    entry = outbox.put(outgoing(), NOW)
    outbox.close()
    again = Outbox.open(path)
    assert again.get(ID) == entry
    assert again.get(ID).outgoing == outgoing()
    assert again.get(ID).state is Progress.QUEUED
    again.close()


def test_the_file_and_its_journal_are_closed_to_others(outbox: Outbox, path: Path) -> None:
    outbox.put(outgoing(), NOW)
    modes = {one.name: one.stat().st_mode & 0o777 for one in path.parent.iterdir()}
    assert set(modes.values()) == {0o600}
    assert "outbox.sqlite3-wal" in modes


def test_the_same_act_again_is_one_entry_and_other_bytes_under_its_id_are_refused(outbox: Outbox) -> None:
    first = outbox.put(outgoing(), NOW)
    assert outbox.put(outgoing(), NOW + 5) == first
    with pytest.raises(ReferralError, match=ErrorCode.ACT_ID_REUSED.value):
        outbox.put(outgoing(jws=b"other"), NOW)
    assert outbox.get(ID).outgoing.jws == b"act"


def test_entries_are_due_in_the_order_in_which_they_were_queued(outbox: Outbox) -> None:
    ids = [f"{number}1111111-1111-4111-8111-111111111111" for number in (3, 1, 2)]
    for at, act_id in enumerate(ids):
        outbox.put(outgoing(act_id), NOW + at // 2)
    assert [entry.outgoing.id for entry in outbox.due(NOW + 10)] == ids


def test_an_attempt_is_noted_before_it_is_made_and_the_next_one_waits_longer_each_time(outbox: Outbox) -> None:
    outbox.put(outgoing(), NOW)
    now, waits = NOW, []
    for attempt in range(1, 12):
        entry = outbox.sending(ID, now)
        assert (entry.state, entry.attempts) == (Progress.SENDING, attempt)
        assert outbox.due(now) == []
        waits.append(entry.due_at - now)
        now = entry.due_at
        assert [one.outgoing.id for one in outbox.due(now)] == [ID]
    assert waits == [2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]
    assert pause_s(10**6) == 300


def test_the_draft_lives_until_a_verified_receipt_and_not_longer(outbox: Outbox, path: Path) -> None:
    outbox.put(outgoing(), NOW)
    outbox.sending(ID, NOW)
    outbox.postpone(ID, ErrorCode.UNREACHABLE, NOW + 60)
    assert outbox.get(ID).outgoing.draft == b"draft"
    assert (outbox.get(ID).code, outbox.get(ID).due_at) == (ErrorCode.UNREACHABLE, NOW + 60)
    entry = outbox.received(ID, b"receipt", b"proof")
    assert (entry.state, entry.receipt, entry.proof, entry.code) == (Progress.RECEIVED, b"receipt", b"proof", None)
    assert entry.outgoing.draft is None
    assert outbox.due(NOW + 10**6) == []


def test_a_refusal_keeps_the_draft_and_is_final(outbox: Outbox) -> None:
    outbox.put(outgoing(), NOW)
    entry = outbox.refused(ID, ErrorCode.CONSENT_GATE, b"receipt", b"proof")
    assert (entry.state, entry.code, entry.outgoing.draft) == (Progress.REFUSED, ErrorCode.CONSENT_GATE, b"draft")
    assert outbox.received(ID, b"r", b"p").state is Progress.REFUSED
    assert outbox.due(NOW + 10**6) == []
    with pytest.raises(RuntimeError, match="outcome"):
        outbox.sending(ID, NOW)


def test_only_an_entry_that_can_never_be_taken_is_replaced_and_in_one_step(outbox: Outbox) -> None:
    successor = outgoing("22222222-2222-4222-8222-222222222222", b"new act")
    outbox.put(outgoing(), NOW)
    outbox.sending(ID, NOW)
    with pytest.raises(RuntimeError, match="never be taken"):
        outbox.replace(ID, successor, NOW)
    outbox.needs_resealing(ID, ErrorCode.RECIPIENT_KEY_STALE)
    assert outbox.replace(ID, successor, NOW).outgoing == successor
    assert outbox.find(ID) is None
    outbox.needs_resealing(successor.id, ErrorCode.CLOCK_SKEW)
    taken = outgoing("33333333-3333-4333-8333-333333333333")
    outbox.put(taken, NOW)
    with pytest.raises(sqlite3.IntegrityError):
        outbox.replace(successor.id, taken, NOW)
    assert outbox.get(successor.id).state is Progress.NEEDS_RESEALING


def test_progress_goes_forward_only_and_only_from_what_was_received(outbox: Outbox) -> None:
    outbox.put(outgoing(), NOW)
    outbox.learn(REF, Progress.ACKNOWLEDGED)
    assert outbox.get(ID).state is Progress.QUEUED
    outbox.received(ID, b"r", b"p")
    outbox.learn(REF, Progress.RETRIEVED)
    outbox.learn(REF, Progress.ACKNOWLEDGED)
    outbox.learn(REF, Progress.RETRIEVED)
    assert outbox.get(ID).state is Progress.ACKNOWLEDGED


def test_an_unknown_entry_is_not_found(outbox: Outbox) -> None:
    assert outbox.find(ID) is None
    with pytest.raises(ReferralError, match=ErrorCode.NOT_FOUND.value):
        outbox.get(ID)


@pytest.mark.parametrize("raw", [b"not a database, but long enough to be read as one" * 100, b"SQLite format 3\0" * 64])
def test_a_file_that_is_no_outbox_is_said_to_be_corrupt(path: Path, raw: bytes) -> None:
    path.write_bytes(raw)
    with pytest.raises(ReferralError, match=ErrorCode.KEYSTORE_CORRUPT.value):
        Outbox.open(path)


def test_an_outbox_of_a_later_format_is_not_touched(outbox: Outbox, path: Path) -> None:
    outbox._connection.execute("pragma user_version = 2")
    with pytest.raises(ReferralError, match=ErrorCode.KEYSTORE_CORRUPT.value):
        Outbox.open(path)


WORKER = """
    import sys
    from pathlib import Path
    from referral_api.client.outbox import Outbox
    from tests.client.test_outbox import NOW, outgoing
    outbox = Outbox.open(Path(sys.argv[1]))
    number = 0
    while True:
        number += 1
        act_id = f"{number:08x}-1111-4111-8111-111111111111"
        outbox.put(outgoing(act_id, b"act %d" % number * 1000), NOW)
        print("put", act_id, flush=True)
        outbox.sending(act_id, NOW)
        print("sending", act_id, flush=True)
        if number % 2:
            outbox.received(act_id, b"receipt", b"proof")
            print("received", act_id, flush=True)
"""


@pytest.mark.faults
def test_a_kill_at_any_moment_loses_nothing_that_was_said_to_be_durable(path: Path) -> None:
    said: dict[str, str] = {}
    order = {"put": Progress.QUEUED, "sending": Progress.SENDING, "received": Progress.RECEIVED}
    for round_ in range(6):
        lines = _run_and_kill(path.with_name(f"outbox-{round_}.sqlite3"), after=3 + 7 * round_)
        said = {act_id: word for word, act_id in (line.split() for line in lines)}
        outbox = Outbox.open(path.with_name(f"outbox-{round_}.sqlite3"))
        ranks = list(order.values())
        for act_id, word in said.items():
            entry = outbox.get(act_id)
            # The process may have got one step further than it could tell.
            assert ranks.index(entry.state) >= ranks.index(order[word])
            number = int(act_id[:8], 16)
            assert entry.outgoing == outgoing(act_id, b"act %d" % number * 1000) or entry.state is Progress.RECEIVED
            assert entry.outgoing.jws == b"act %d" % number * 1000
        assert len(outbox.entries()) - len(said) in (0, 1)
        outbox.close()
    assert len(said) > 10


def _run_and_kill(path: Path, *, after: int) -> list[str]:
    worker = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(WORKER), str(path)],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
    )
    if worker.stdout is None:
        raise RuntimeError("the worker has no output")
    lines = [worker.stdout.readline() for _ in range(after)]
    worker.send_signal(signal.SIGKILL)
    lines += worker.stdout.readlines()
    worker.stdout.close()
    assert worker.wait() == -signal.SIGKILL
    return [line for line in lines if line.endswith("\n")]


def test_what_was_sealed_beside_a_settled_act_can_be_forgotten_and_no_file_holds_it(outbox: Outbox, path: Path) -> None:
    """R-107, R-14: one that has no outcome keeps it for the retry; the act and its receipt stay byte for byte."""
    secret = os.urandom(50_000)
    settled = replace(outgoing(), beside=secret)
    waits = replace(outgoing("22222222-2222-4222-8222-222222222222"), beside=b"waits", digest=Digest("e" * 43))
    for one in (settled, waits):
        outbox.put(one, NOW)
    outbox.sending(ID, NOW)
    outbox.received(ID, b"receipt", b"proof")
    assert left_of([secret], path.parent)
    outbox.forget([settled.digest, waits.digest])
    assert left_of([secret], path.parent) == []
    entry = outbox.get(ID)
    assert (entry.outgoing.jws, entry.outgoing.beside, entry.receipt) == (b"act", None, b"receipt")
    assert outbox.get(waits.id).outgoing.beside == b"waits"
    assert outbox.abandon(ID, b"another").state is Progress.RECEIVED, "of the receipt that was lost, no other"
    assert outbox.abandon(ID, b"receipt").state is Progress.PURGED
    assert outbox.accepted(REF) == {}, "no later view must show what the log has lost"


def test_what_a_reader_kept_in_the_journal_goes_with_the_next_look(outbox: Outbox, path: Path) -> None:
    """R-107: another process may read while something is forgotten; nothing that is there already is taken for done."""
    secret = os.urandom(50_000)
    outbox.put(replace(outgoing(), beside=secret), NOW)
    outbox.refused(ID, ErrorCode.ILLEGAL_TRANSITION)
    outbox._connection.execute("pragma busy_timeout = 50")
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("begin")
    other.execute("select beside from entry").fetchall()
    outbox.forget([outgoing().digest])
    other.close()
    assert left_of([secret], path.parent), "the reader had it, and stood in the way"
    outbox.forget([outgoing().digest])
    assert left_of([secret], path.parent) == []
