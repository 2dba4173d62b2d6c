"""What one batch of the writer does to its jobs when something under them breaks: over a real exchange's database.

Must never: replace the writer, the database or the signer.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from datetime import UTC, datetime
from queue import SimpleQueue
from typing import Any
from uuid import uuid4

from referral_api.auditlog.records import Viewed, encode_salt
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import Act
from referral_api.server.service.batch import Asks, Batch, Committed, Done, Place
from referral_api.server.service.writer import Writer
from tests.faults.submissions import Parcel, parcel
from tests.signing import sign
from tests.wire import Answer, Caller
from tests.world import AUDIT, UNIT, World

REF = "01890a5d-ac96-774b-bcce-b302099a8057"
Outcome = Committed[Any] | ReferralError


def record(batch: Batch) -> Done[Place]:
    """A job that leaves a record and its leaf."""
    viewed = Viewed(t=batch.now, salt=encode_salt(uuid4().bytes), party=AUDIT, credential=f"{AUDIT}.aaaa", ref=REF)
    place = batch.record(viewed)
    return Done(place, place)


def in_one_batch(world: World, jobs: Sequence[Any]) -> list[Outcome]:
    """What becomes of jobs that the writer takes together."""
    writer, taken, go = world.server.runtime.writer, threading.Event(), threading.Event()

    def hold(_batch: Batch) -> Done[None]:
        taken.set()
        go.wait(10)
        return Done(None)

    held: SimpleQueue[Outcome] = SimpleQueue()
    writer.submit(hold, held.put)
    assert taken.wait(10)
    boxes: list[SimpleQueue[Outcome]] = [SimpleQueue() for _ in jobs]
    for job, box in zip(jobs, boxes, strict=True):
        writer.submit(job, box.put)
    go.set()
    return [box.get(timeout=20) for box in boxes]


def test_a_transaction_that_the_engine_ended_takes_no_job_of_its_batch_along(world: World) -> None:
    """R-92: a disk that is full ends the whole transaction; the jobs around it are done again."""

    def broken(batch: Batch) -> Done[None]:
        batch.tx.run("ROLLBACK")
        raise RuntimeError("what the engine did to us")

    first, refused, last = in_one_batch(world, [record, broken, record])
    assert isinstance(refused, ReferralError)
    assert refused.code in (ErrorCode.UNAVAILABLE, ErrorCode.INTERNAL)
    assert isinstance(first, Committed)
    assert isinstance(last, Committed)
    assert first.result.index + 1 == last.result.index
    world.check()
    assert world.submit().receipt is not None, "the exchange writes on"


class WritesTwice:
    """A job that only writes behind, and whose row cannot be written."""

    def asks(self) -> Asks:
        return Asks(("nobody.aaaa", "00000000-0000-4000-8000-000000000000"), "none")

    def __call__(self, batch: Batch) -> Done[Place]:
        for _ in range(2):
            batch.tx.later("INSERT INTO poll (party, last_at) VALUES (?,?)", ("nobody", 1))
        return record(batch)


def test_a_row_written_behind_that_cannot_be_written_fails_its_own_job_alone(world: World) -> None:
    """R-92: nobody is told that it is done while its row is lost, and no neighbour pays for it."""
    before, broken, after = in_one_batch(world, [record, WritesTwice(), record])
    assert isinstance(broken, ReferralError), "its rows were lost and it was told that all is well"
    assert isinstance(before, Committed)
    assert isinstance(after, Committed)
    world.check()


def test_a_clock_set_back_over_new_year_never_writes_into_the_year_before(world: World) -> None:
    """R-55: a line behind the cursor of who has read further would never be seen; positions only grow."""
    year = datetime.now(UTC).year
    world.clock.ahead_s = datetime(year + 1, 1, 1, 0, 0, 5, tzinfo=UTC).timestamp() - world.clock()
    ahead = world.server.runtime.writer.run(record).result
    assert ahead.log == f"audit/{year + 1}"
    world.clock.ahead_s -= 10
    world.restart()
    later = world.server.runtime.writer.run(record).result
    assert later.pos > ahead.pos
    world.check()


def test_ciphertext_is_served_while_the_log_cannot_be_signed(world: World) -> None:
    """R-52 asks for a committed record, R-18 for a checkpoint under receipts: a unit must not wait for the signer."""
    sent = world.submit().outgoing
    ref, submit = str(sent.ref), sent.digest
    officer, operator = world.caller("officer"), world.caller("operator")
    assert officer.call("GET", "/v1/ping").status == 200
    assert operator.call("GET", "/v1/ping").status == 200
    states = {path: path.read_bytes() for path in world.settings.signer_dir.iterdir() if path.is_file()}
    for path in states:
        path.write_bytes(b"")
    fetched = officer.call("GET", f"/v1/referrals/{ref}/bundle")
    assert fetched.status == 200, fetched.body
    assert officer.call("GET", f"/v1/referrals/{ref}").status == 200
    assert officer.call("GET", "/readyz", signed=False).json["checks"]["writes"] is False
    note = sign(world.operator, Act.PHONE_ALERT, {"made": False}, ref, unit=UNIT, prev=submit)
    held = operator.call("PUT", f"/v1/referrals/{ref}/acts/{note[0]}", {"act": note[1]})
    assert (held.status, held.code) == (503, "writes-closed"), held.body
    for path, raw in states.items():
        path.write_bytes(raw)
    world.restart()
    world.check()
    again = operator.call("PUT", f"/v1/referrals/{ref}/acts/{note[0]}", {"act": note[1]})
    assert again.status == 201
    kinds = [line.kind for line in world.operator.inbox()]
    assert kinds == ["submit", "retrieved"]


def test_nothing_is_handed_out_behind_a_revocation_in_the_log(world: World) -> None:
    """R-33, R-45: whoever was let in just before is looked at again where the log puts the two in order."""
    ref = str(world.submit().outgoing.ref)
    writer, keymap = world.server.runtime.writer, world.server.runtime.exchange.keymap
    officer, second = world.caller("officer"), world.caller("second_officer")
    for caller in (officer, second):
        assert caller.call("GET", "/v1/ping").status == 200
    kid = keymap.get_credential(world.second_officer.keys.credential).access
    lost = {"kid": kid, "reason": "lost", "at": int(world.clock())}
    act_id, revoke = sign(world.officer, Act.REVOKE, lost, None)
    basis = {"on": False, "basis": "court_order"}
    submit = world.operator.referral(ref).submit().act.digest
    carried, hold = sign(world.officer, Act.HOLD, basis, ref, unit=UNIT, prev=submit)
    answers: dict[str, Any] = {}

    def call(caller: Caller, method: str, path: str, document: Any = None) -> threading.Thread:
        def send() -> None:
            answers[path] = caller.call(method, path, document)

        thread = threading.Thread(target=send)
        thread.start()
        return thread

    taken, go = threading.Event(), threading.Event()

    def hold_writer(_batch: Batch) -> Done[None]:
        taken.set()
        go.wait(10)
        return Done(None)

    writer.submit(hold_writer, lambda _outcome: None)
    assert taken.wait(10)
    bundle, act = f"/v1/referrals/{ref}/bundle", f"/v1/referrals/{ref}/acts/{carried}"
    threads = [call(officer, "PUT", f"/v1/directory/acts/{act_id}", {"act": revoke})]
    await_queued(writer, 1)
    threads.append(call(second, "GET", bundle))
    await_queued(writer, 2)
    threads.append(call(world.caller("second_officer"), "PUT", act, {"act": hold}))
    await_queued(writer, 3)
    go.set()
    for thread in threads:
        thread.join(20)
    assert answers[f"/v1/directory/acts/{act_id}"].status == 201
    assert [(answers[path].status, answers[path].code) for path in (bundle, act)] == [(401, "invalid_token")] * 2
    world.check()


def await_queued(writer: Writer, count: int) -> None:
    """Until so many jobs wait for the writer."""
    pause = threading.Event()
    while writer._queue.qsize() < count:
        pause.wait(0.005)


def test_an_exchange_that_may_not_write_is_not_ready(sqlite_world: World) -> None:
    """R-93: after a failed commit only a restart may trust the file; whoever watches must learn of it."""
    world = sqlite_world  # Only on SQLite does a failed COMMIT end all writing until a restart.
    caller = world.caller("officer")
    assert caller.call("GET", "/readyz", signed=False).status == 200
    world.server.runtime.exchange.database._closed_reason = "commit-failed"
    ready = caller.call("GET", "/readyz", signed=False)
    assert (ready.status, ready.json["checks"]["database"]) == (503, False)


def test_whoever_has_a_receipt_gets_it_while_nothing_can_be_written(sqlite_world: World) -> None:
    """R-14, R-53: a disk that failed keeps no receipt back; what is new is refused and leaves its id unused."""
    world = sqlite_world  # Only on SQLite does a failed COMMIT end all writing until a restart.
    taken, new = parcel(world), parcel(world)
    first = answer_to(taken, world)
    assert first.status == 201
    world.check()
    world.server.runtime.exchange.database._closed_reason = "commit-failed"

    refused = answer_to(new, world)
    assert (refused.status, refused.code) == (503, "writes-closed")
    again = answer_to(taken, world)
    assert (again.status, again.json["receipt"]) == (200, first.json["receipt"])
    world.restart()
    assert answer_to(new, world).status == 201
    world.check()


def test_an_act_that_waits_for_its_checkpoint_gets_it_however_late_it_is_repeated(world: World) -> None:
    """R-18, R-53: it stands in the log; to be told that it came too late would have it sealed and sent once more."""
    taken, one, writer = parcel(world), parcel(world), world.server.runtime.writer
    first, officer = answer_to(taken, world), world.caller("officer")
    assert first.status == 201
    assert officer.call("GET", "/v1/ping").status == 200
    signers = writer._covering._signers

    def broken(_log: str) -> Any:
        raise OSError("the signer's disk is gone")

    writer._covering._signers = broken
    pending = answer_to(one, world)
    assert (pending.status, pending.code) == (503, "checkpoint-pending")
    # What needs no proof does not wait for the signer, nor what a checkpoint covers already.
    assert officer.call("GET", f"/v1/referrals/{taken.ref}/bundle").status == 200
    again = answer_to(taken, world)
    assert (again.status, again.json["receipt"]) == (200, first.json["receipt"])
    world.clock.ahead_s = 8 * 24 * 3600
    still = answer_to(one, world)
    assert (still.status, still.code) == (503, "checkpoint-pending")
    writer._covering._signers = signers
    assert answer_to(one, world).status == 200
    world.check()


def answer_to(one: Parcel, world: World) -> Answer:
    answer = one.send(world)
    assert answer is not None
    return answer
