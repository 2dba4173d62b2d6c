"""A witness as it runs: the statuses of the protocol over HTTP, crashes at each step, races, an older file (R-96)."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from pathlib import Path

import httpx2
import pytest

from referral_api.auditlog.checkpoint import Checkpoint, TrustPolicy, log_key, verify_checkpoint
from referral_api.auditlog.note import NoteSignature, SignedNote, parse_note
from referral_api.auditlog.policy import parse_policy
from referral_api.auditlog.witnessing import MAX_REQUEST_BYTES, Cosigned, monitoring_path, verify_answer
from referral_api.domain.errors import ReferralError
from referral_api.witness.app import WitnessApp, http_server
from referral_api.witness.cosigner import STEPS, Cosigner
from referral_api.witness.memory import FORK, Memory
from tests.witness.histories import ORIGIN, History
from tests.witnesses import WitnessProcess, make_witness, policy_of_witnesses, witnessing

LOG = History()
FORKED = History(branch=b" of another history", honest=3)
TOP = Path(__file__).parents[2]


@pytest.fixture
def witness(tmp_path: Path) -> Iterator[WitnessProcess]:
    with witnessing(tmp_path, 1, logs=[LOG.verifier.vkey]) as (one,):
        yield one


def post(witness: WitnessProcess, raw: bytes) -> httpx2.Response:
    return httpx2.post(f"{witness.url}/add-checkpoint", content=raw, timeout=20)


def cosigned(witness: WitnessProcess, old: int, new: int, log: History = LOG) -> tuple[Cosigned, ...]:
    """What a log learns from pushing this growth, verified."""
    answer = post(witness, log.request(old, new))
    assert answer.status_code == 200, answer.text
    return verify_answer(answer.content, Checkpoint(log.origin, new, log.root(new)), witness.keys)


def size_told(answer: httpx2.Response) -> int:
    assert (answer.status_code, answer.headers["content-type"]) == (409, "text/x.tlog.size")
    return int(answer.text)


def test_every_status_of_the_protocol(witness: WitnessProcess) -> None:
    note = parse_note(LOG.note(5))
    forged = SignedNote(note.text, (NoteSignature(ORIGIN, LOG.verifier.key_id, b"\0" * 64),)).to_bytes()
    assert post(witness, b"old x\n\n" + LOG.note(5)).status_code == 400
    assert post(witness, b"old 6\n\n" + LOG.note(5)).status_code == 400
    assert post(witness, b"").status_code == 400
    assert post(witness, b"old 0\n\n" + forged).status_code == 403
    assert post(witness, History("other.example/log").request(0, 5)).status_code == 404
    assert size_told(post(witness, LOG.request(3, 5))) == 0
    answer = post(witness, LOG.request(0, 5))
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
    assert "server" not in answer.headers
    assert len(verify_answer(answer.content, Checkpoint(ORIGIN, 5, LOG.root(5)), witness.keys)) == 2
    assert size_told(post(witness, LOG.request(0, 9))) == 5
    assert post(witness, LOG.request(5, 9, ())).status_code == 422
    assert post(witness, FORKED.request(5, 5)).status_code == 422
    assert post(witness, b"x" * (MAX_REQUEST_BYTES + 1)).status_code == 413
    assert len(cosigned(witness, 5, 9)) == 2


def test_what_is_no_call_of_the_protocol_is_told_so(witness: WitnessProcess) -> None:
    got = httpx2.get(f"{witness.url}/add-checkpoint")
    assert (got.status_code, got.headers["allow"]) == (405, "POST")
    assert httpx2.post(f"{witness.url}/{monitoring_path(ORIGIN)}").status_code == 405
    for path in ("", "/", "/sign-subtree", "/add-checkpoint/", f"/{monitoring_path(ORIGIN)[:-1]}", "/A/checkpoint"):
        assert httpx2.get(witness.url + path).status_code == 404


def test_monitors_read_what_was_cosigned_last(witness: WitnessProcess) -> None:
    where = f"{witness.url}/{monitoring_path(ORIGIN)}"
    assert httpx2.get(where).status_code == 404
    cosigned(witness, 0, 5)
    lines = cosigned(witness, 5, 6)
    shown = httpx2.get(where)
    assert (shown.headers["content-type"], shown.headers["cache-control"]) == ("text/plain; charset=utf-8", "no-store")
    found = verify_checkpoint(shown.content, TrustPolicy(log_key(ORIGIN, LOG.key.public), witness.keys, quorum=1))
    assert (found.size, found.cosignatures) == (6, tuple(one.cosignature for one in lines))


def test_a_connection_is_kept_for_the_next_request(witness: WitnessProcess) -> None:
    with httpx2.Client() as client, closing(HTTPConnection("127.0.0.1", witness.port)) as line:
        for old, new in ((0, 3), (3, 5)):
            assert client.post(f"{witness.url}/add-checkpoint", content=LOG.request(old, new)).status_code == 200
        line.connect()
        kept = line.sock
        for _ in range(2):
            line.request("GET", "/x")
            answer = line.getresponse()
            assert (answer.status, answer.read()) == (404, b"not-found\n")
            assert line.sock is kept


def test_a_witness_killed_and_started_again_remembers(witness: WitnessProcess) -> None:
    before = cosigned(witness, 0, 5)
    witness.kill()
    witness.start()
    assert size_told(post(witness, LOG.request(0, 6))) == 5
    again = cosigned(witness, 5, 5)
    assert again[0].cosignature.cosigned_s >= before[0].cosignature.cosigned_s


def test_three_witnesses_make_a_quorum_that_a_policy_file_states(tmp_path: Path) -> None:
    with witnessing(tmp_path, 3, logs=[LOG.verifier.vkey]) as three:
        policy = policy_of_witnesses(three, quorum=2)
        three[2].kill()
        found = [line for one in three[:2] for line in cosigned(one, 0, 5)]
        note = parse_note(LOG.note(5))
        whole = SignedNote(note.text, note.signatures + tuple(one.line for one in found)).to_bytes()
        trusted = verify_checkpoint(whole, policy.trust(LOG.verifier))
        assert trusted.witnesses() == {"testigo.example/1", "testigo.example/2"}
        shown = [
            subprocess.run(
                [Path(sys.executable).with_name("referral"), "witness", "show", "--file", one.file, "--url", one.url],
                capture_output=True,
                text=True,
                check=True,
            ).stdout
            for one in three[:2]
        ]
        lines = [line.strip() for text in shown for line in text.splitlines()]
        file = [line for line in lines if line.startswith(("witness ", "group "))]
        read = parse_policy("\n".join([*file, "quorum none", ""]).encode())
        assert read.witnesses == policy.witnesses[:4]
        assert read.groups == policy.groups[:2]


def test_an_older_file_would_cosign_a_second_history_which_is_why_its_keys_retire(witness: WitnessProcess) -> None:
    """R-96: the witness cannot tell; the log learns of it by a size that is smaller than one it has seen cosigned."""
    cosigned(witness, 0, 2)
    backup = witness.snapshot()
    kept = cosigned(witness, 2, 5)
    witness.restore(backup)
    assert size_told(post(witness, LOG.request(5, 6))) == 2
    second = cosigned(witness, 2, 5, FORKED)
    assert {one.cosignature.key for one in kept} == {one.cosignature.key for one in second}
    assert LOG.root(5) != FORKED.root(5)


def test_a_twin_with_the_same_keys_is_two_memories(witness: WitnessProcess) -> None:
    cosigned(witness, 0, 2)
    twin = witness.twin()
    try:
        cosigned(witness, 2, 5)
        cosigned(twin, 2, 5, FORKED)
    finally:
        twin.stop()
    assert post(witness, FORKED.request(5, 5)).status_code == 422
    assert f'{{"event":"evidence","kind":"fork","origin":"{ORIGIN}"}}' in witness.log.read_text()


def test_requests_at_once_are_cosigned_one_after_the_other(witness: WitnessProcess) -> None:
    """The race of the specification: of two requests from one old size, one alone is answered with a cosignature."""
    cosigned(witness, 0, 3)
    raws = [History(branch=b"%d" % at, honest=3).request(3, 4 + at % 3) for at in range(12)]
    with ThreadPoolExecutor(len(raws)) as pool:
        answers = list(pool.map(lambda raw: post(witness, raw), raws))
    winners = [at for at, answer in enumerate(answers) if answer.status_code == 200]
    assert len(winners) == 1
    held = 4 + winners[0] % 3
    assert {size_told(answer) for at, answer in enumerate(answers) if at not in winners} == {held}


def test_two_requests_that_were_both_verified_before_either_began(tmp_path: Path) -> None:
    """The same race with its steps in the worst order, through two connections to one file."""
    file = make_witness(tmp_path, "w", logs=[LOG.verifier.vkey]).file
    memories = [Memory.open(file), Memory.open(file)]
    both = threading.Barrier(2)

    def verified(step: str) -> None:
        if step == "verified":
            both.wait(60)

    def push(memory: Memory, log: History) -> str:
        try:
            return str(len(Cosigner(memory, verified).add_checkpoint(log.request(0, 5), 1)) > 0)
        except ReferralError as error:
            return error.code.value

    with ThreadPoolExecutor(2) as pool:
        outcomes = list(pool.map(push, memories, (LOG, FORKED)))
    assert sorted(outcomes) == ["True", "stale-head"]
    assert memories[0].counts()[2] == 1
    assert [one.kind for one in memories[0].evidence()] == [FORK]
    for memory in memories:
        memory.close()


@pytest.mark.parametrize("step", STEPS)
def test_a_kill_at_any_step_loses_an_answer_and_never_a_memory(tmp_path: Path, step: str) -> None:
    witness = make_witness(tmp_path, "w", logs=[LOG.verifier.vkey])
    with dying(witness, step) as port:
        witness.port = port
        cosigned(witness, 0, 5)
        (tmp_path / "armed").touch()
        with pytest.raises(httpx2.TransportError):
            post(witness, LOG.request(5, 9))
    witness.port = 0
    witness.start()
    try:
        held = 9 if step == "committed" else 5
        assert size_told(post(witness, LOG.request(0, 12))) == held
        if held == 9:
            assert post(witness, FORKED.request(9, 9)).status_code == 422
        assert len(cosigned(witness, held, 9)) == 2
    finally:
        witness.stop()


@contextmanager
def dying(witness: WitnessProcess, step: str) -> Iterator[int]:
    """A witness's port, in a process that kills itself at a step from the moment that the file `armed` exists."""
    command = [sys.executable, "-m", "tests.witness.test_processes", str(witness.file), step]
    with subprocess.Popen(command, cwd=TOP, stdout=subprocess.PIPE, text=True) as child:
        if child.stdout is None:
            raise RuntimeError("the process has no pipe")
        try:
            yield int(child.stdout.readline())
            assert child.wait(timeout=20) == -signal.SIGKILL
        finally:
            child.kill()


def main() -> None:
    """Serve as `serve` does, but for dying."""
    file, fatal = Path(sys.argv[1]), sys.argv[2]

    def on_step(step: str) -> None:
        if step == fatal and (file.parent / "armed").exists():
            os.kill(os.getpid(), signal.SIGKILL)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(listener.getsockname()[1], flush=True)
        http_server(WitnessApp(Cosigner(Memory.open(file), on_step))).run(sockets=[listener])


if __name__ == "__main__":
    main()
