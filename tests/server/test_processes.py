"""Two real server processes over one PostgreSQL: one log, one memory of proofs, one directory, one set of inboxes."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar

import httpx2
import psycopg
import pytest

from referral_api.auditlog.leaf import parse_leaf
from referral_api.auditlog.proof import parse_proof
from referral_api.auditlog.records import AuditSession
from referral_api.client import access
from referral_api.client.delivery import InboxPage
from referral_api.client.keystore import new_signing_secret
from referral_api.client.outbox import Outgoing, Progress
from referral_api.client.sdk import Client
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import CredentialKind, Role
from referral_api.formats.enrolment import parse_invitation
from referral_api.formats.keys import Alg
from referral_api.formats.strict_json import b64u
from referral_api.server import app
from referral_api.server.service.acts import Door, Submission
from referral_api.server.service.batch import Batch, Done
from referral_api.server.service.callers import Caller as KnownCaller
from tests.processes import Process, serving
from tests.wire import Caller, Wire
from tests.world import HOTLINE, ISSUER, PASSPHRASE, Office, World, composition, entry
from tests.world_check import Rows

pytestmark = pytest.mark.postgres
T = TypeVar("T")
WAKE_S = 0.5
"""How soon a poll at one process must hear of a commit at the other, on a machine that is busy with other things."""


@pytest.fixture
def other(postgres_world: World, tmp_path: Path) -> Iterator[Process]:
    """A second process of the world's exchange."""
    with serving(postgres_world.settings, tmp_path / "other.log") as process:
        yield process


def client_at(world: World, process: Process, name: str) -> Client:
    """A seat's client that talks to the other process. One thread's."""
    seat, profile = world.seats[name], world.folder / "profiles" / world.seats[name].folder
    options: dict[str, Any] = {"server": process.url, "transport": Wire(world.tape), "clock": world.clock}
    if seat.secret is None:
        return Client.person(profile, PASSPHRASE, **options)
    return Client.service(profile, seat.secret, **options)


def meanwhile(work: Callable[[], T]) -> Callable[[], T]:
    """Start `work` on a thread; the result is waited for with what is returned."""
    pool = ThreadPoolExecutor(1)
    future = pool.submit(work)

    def result() -> T:
        pool.shutdown()
        return future.result(timeout=60)

    return result


def polled_at(world: World, process: Process, name: str) -> tuple[InboxPage, float]:
    """One long poll, and when it ended."""
    with client_at(world, process, name) as client:
        return client.next_page(wait_s=20), time.monotonic()


def referral_call(outgoing: Outgoing) -> tuple[str, dict[str, str]]:
    """Path and document of a queued submission."""
    if outgoing.beside is None:
        raise ValueError("not a submission")
    return f"/v1/referrals/{outgoing.ref}", {"act": outgoing.jws.decode(), "bundle": outgoing.beside.decode()}


def listeners_cut(url: str) -> int:
    """Cut every connection that listens; how many there were."""
    query = (
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
        " WHERE query = 'LISTEN referral_feed' AND datname = current_database()"
    )
    with psycopg.connect(url, autocommit=True) as connection:
        row = connection.execute(query).fetchone()
    assert row is not None
    return int(row[0])


def test_a_poll_at_one_process_is_answered_as_soon_as_the_other_has_committed(
    postgres_world: World, other: Process
) -> None:
    waiting = meanwhile(lambda: polled_at(postgres_world, other, "desk"))
    time.sleep(1.5)  # By then the poll waits; a slower one would only make the test easier.
    sent = postgres_world.operator.submit(composition())
    submitted_at = time.monotonic()
    page, told_at = waiting()
    assert [(line.kind, line.ref) for line in page.entries] == [("submit", sent.outgoing.ref)]
    assert told_at - submitted_at < WAKE_S
    postgres_world.check()


def test_a_process_whose_line_was_cut_listens_again_and_looks_what_it_missed(
    postgres_world: World, other: Process
) -> None:
    waiting = meanwhile(lambda: polled_at(postgres_world, other, "desk"))
    time.sleep(1.5)
    assert listeners_cut(postgres_world.settings.database_url) == 2
    sent = postgres_world.operator.submit(composition())
    submitted_at = time.monotonic()
    page, told_at = waiting()
    # Whichever was first, the commit or the new line: the poll ends, at the latest when everybody is woken.
    assert told_at - submitted_at < 5
    if page.entries:
        assert [line.ref for line in page.entries] == [sent.outgoing.ref]
    assert "notices_lost" in other.log.read_text()
    again = meanwhile(lambda: polled_at(postgres_world, other, "desk"))
    assert [line.ref for line in again()[0].entries] == [sent.outgoing.ref]


def test_a_proof_used_at_one_process_is_refused_at_the_other(postgres_world: World, other: Process) -> None:
    here = postgres_world.caller("operator")
    with closing(Caller(here.client, other.url, postgres_world.tape)) as there:
        assert here.call("GET", "/v1/ping").status == 200
        assert there.call("GET", "/v1/ping").status == 200  # one token is good at both.
        nonce = there.http.get("/v1/ping", headers=here.credentials("GET", "/v1/ping", now=1)).headers["dpop-nonce"]
        proof = here.credentials("GET", "/v1/ping", nonce=nonce)
        assert here.call("GET", "/v1/ping", headers=proof, signed=False).status == 200
        for caller in (there, here):
            again = caller.call("GET", "/v1/ping", headers=proof, signed=False)
            assert (again.status, again.code) == (401, "invalid_dpop_proof")


def test_an_assertion_used_at_one_process_is_refused_at_the_other(postgres_world: World, other: Process) -> None:
    keys = postgres_world.operator.keys
    proving = new_signing_secret(Alg.ED25519, 0).signing_key()

    def asked(base: str, jti: str, nonce: str | None) -> httpx2.Response:
        now = int(time.time())
        assertion = access.build_assertion(keys.access.signing_key(), keys.credential, ISSUER, jti=jti, now=now)
        proof_id = b64u(secrets.token_bytes(16))
        proof = access.build_proof(proving, "POST", f"{ISSUER}/oauth/token", jti=proof_id, now=now, nonce=nonce)
        headers = {"DPoP": proof, "Content-Type": "application/x-www-form-urlencoded"}
        return httpx2.post(f"{base}/oauth/token", content=access.token_form(assertion), headers=headers)

    here, there = postgres_world.server.url, other.url
    nonce = asked(here, "probe", None).headers.get("dpop-nonce")
    assert asked(here, "once", nonce).status_code == 200
    for base in (there, here):
        again = asked(base, "once", nonce)
        assert (again.status_code, again.json()["error"]) == (401, "invalid_client")
    assert asked(there, "twice", nonce).status_code == 200


def test_an_act_repeated_at_the_other_process_gets_the_first_receipt(postgres_world: World, other: Process) -> None:
    queued = postgres_world.operator.queue(composition())
    path, document = referral_call(queued.outgoing)
    here = postgres_world.caller("operator")
    first = here.call("PUT", path, document)
    with closing(Caller(here.client, other.url, postgres_world.tape)) as there:
        second = there.call("PUT", path, document)
    assert (first.status, second.status) == (201, 200)
    assert second.json["receipt"] == first.json["receipt"]
    act = queued.outgoing.jws
    for answer in (first, second):
        proof = answer.json["proof"].encode()
        confirmed = postgres_world.operator.verify_receipt(act, answer.json["receipt"].encode(), proof)
        assert confirmed.receipt.accepted
    postgres_world.check()


def test_what_one_process_has_signed_the_other_shows_at_once(postgres_world: World, other: Process) -> None:
    sent = postgres_world.operator.submit(composition())
    assert sent.proof is not None
    signed = parse_proof(sent.proof).raw_checkpoint
    year, size = signed.split(b"\n")[0].decode().rpartition("/")[2], int(signed.split(b"\n")[1])
    with closing(Caller(postgres_world.operator, other.url, postgres_world.tape)) as there:
        # Nothing has been written since: the other process knows this checkpoint from the signer alone.
        grown = there.call("GET", f"/v1/log/audit/{year}/consistency?from={size}")
        assert (grown.status, grown.json["checkpoint"]) == (200, signed.decode())
        receipt = there.call("GET", f"/v1/receipts/{sent.outgoing.digest}")
        assert receipt.status == 200
        assert receipt.json["receipt"].encode() == sent.receipt
    # An auditor's look at the audit log is recorded, so that each sees one leaf more than the one before.
    postgres_world.auditor.audit()
    with client_at(postgres_world, other, "auditor") as auditor:
        assert auditor.audit().complete
    assert postgres_world.auditor.audit().complete


def test_a_process_that_is_told_to_end_answers_its_polls_first(postgres_world: World, other: Process) -> None:
    waiting = meanwhile(lambda: polled_at(postgres_world, other, "desk"))
    time.sleep(1.5)
    told_at = time.monotonic()
    other.child.terminate()
    page, answered_at = waiting()
    other.child.wait(timeout=5)
    assert page.entries == ()
    assert answered_at - told_at < WAKE_S


def test_submissions_at_both_leave_one_log_without_a_gap(postgres_world: World, other: Process) -> None:
    together = threading.Barrier(2)

    def submitted(client: Client) -> list[Progress]:
        together.wait()
        return [client.submit(composition()).state for _ in range(6)]

    def at_other() -> list[Progress]:
        with client_at(postgres_world, other, "colleague") as client:
            return submitted(client)

    theirs = meanwhile(at_other)
    ours = submitted(postgres_world.operator)
    assert [*ours, *theirs()] == [Progress.RECEIVED] * 12
    postgres_world.check()
    leaves = [leaf for name, log in Rows(postgres_world).logs.items() if name != "keys" for leaf in log]
    times = [parse_leaf(leaf).logged_s for leaf in leaves]
    assert times == sorted(times)


def test_a_party_admitted_at_one_process_can_call_the_other_within_a_second(
    postgres_world: World, other: Process
) -> None:
    world, party = postgres_world, "linea-nueva"
    described = entry(party, "hotline", duty_phone="+5118180002")
    office = Office(world.folder, world.server)
    invitation = parse_invitation(world.registrar.invite(described, [CredentialKind.PERSON]))
    office.approve(world.registrar, party, office.join("newcomer", invitation, described))
    admitted_at = time.monotonic()
    world.seats = {**world.seats, **office.seats}
    with client_at(world, other, "newcomer") as newcomer:
        told = newcomer.ping()
    assert told["party"] == party
    assert time.monotonic() - admitted_at < 1 + WAKE_S
    world.check()


def test_a_revocation_at_one_process_ends_access_at_the_other(postgres_world: World, other: Process) -> None:
    world = postgres_world
    with client_at(world, other, "colleague") as colleague:
        colleague.ping()
        world.registrar.revoke(colleague.keys.access.signing_key().public.kid, "lost", int(time.time()))
        revoked_at = time.monotonic()
        refused = None
        while refused is None and time.monotonic() - revoked_at < 1 + WAKE_S:
            try:
                colleague.ping()
            except ReferralError as error:
                refused = error.code
    assert refused is ErrorCode.INVALID_TOKEN
    world.check()


def test_a_writer_that_has_heard_nothing_still_refuses_what_is_revoked(postgres_world: World) -> None:
    world = postgres_world
    deaf = app.open_runtime(world.settings)
    deaf.writer.start()
    try:
        queued = world.operator.queue(composition())
        world.registrar.revoke(world.operator.keys.seal[0].signing_key().public.kid, "lost", int(time.time()))
        assert deaf.exchange.keymap.size < world.server.runtime.exchange.keymap.size
        caller = KnownCaller(
            world.operator.keys.credential,
            HOTLINE,
            Role.HOTLINE,
            CredentialKind.PERSON,
            keyholder=True,
        )
        sent = queued.outgoing
        answers: list[Any] = []
        answered = threading.Event()

        def answer(outcome: Any) -> None:
            answers.append(outcome)
            answered.set()

        submission = Submission(sent.jws, ref=sent.ref, sealed=sent.beside)
        assert Door(deaf.exchange, deaf.writer).accept(submission, caller, answer, int(time.time())) is None
        assert answered.wait(20)
        assert isinstance(answers[0], ReferralError)
        assert answers[0].code is ErrorCode.KEY_NOT_VALID
    finally:
        deaf.close()
    world.check()


def test_a_process_whose_clock_is_behind_writes_no_earlier_time_than_stands_before(postgres_world: World) -> None:
    world = postgres_world
    world.operator.submit(composition())
    behind = app.open_runtime(world.settings, clock=lambda: time.time() - 600)
    behind.writer.start()
    try:

        def job(batch: Batch) -> Done[int]:
            read = AuditSession(
                t=batch.now,
                salt="A" * 22,
                party="defensoria",
                credential="defensoria.p1234567",
                origin="localhost:8440/v1/log/audit/2026",
                old_size=0,
                new_size=1,
            )
            return Done(batch.now, batch.record(read))

        written = behind.writer.run(job).result
    finally:
        behind.close()
    leaves = [leaf for name, log in Rows(world).logs.items() if name != "keys" for leaf in log]
    times = [parse_leaf(leaf).logged_s for leaf in leaves]
    assert times == sorted(times)
    assert times[-1] == written


def test_a_directory_never_goes_back_to_what_it_was(postgres_world: World) -> None:
    directory = postgres_world.server.runtime.exchange.directory
    before = directory.current
    postgres_world.registrar.revoke(
        postgres_world.colleague.keys.access.signing_key().public.kid, "lost", int(time.time())
    )
    after = directory.current
    assert after.size > before.size
    directory.advance(before)
    assert directory.current is after


def test_a_process_killed_under_load_loses_nothing_that_had_a_receipt(postgres_world: World, other: Process) -> None:
    world = postgres_world
    receipts: dict[str, bytes] = {}
    pending: list[Outgoing] = []

    def load() -> None:
        with client_at(world, other, "colleague") as client:
            for _ in range(200):
                sent = client.submit(composition())
                if sent.receipt is None:
                    pending.append(sent.outgoing)
                    return
                receipts[sent.outgoing.id] = sent.receipt

    under_load = meanwhile(load)
    while len(receipts) < 3:
        time.sleep(0.01)
    other.kill()
    under_load()
    assert pending, "the process was killed between two calls"
    survivor = world.caller("colleague")
    path, document = referral_call(pending[0])
    answer = survivor.call("PUT", path, document)
    assert answer.status in {200, 201}
    receipts[pending[0].id] = answer.json["receipt"].encode()
    stored = {row["id"]: row["receipt"].encode() for row in Rows(world)["act"] if row["act"] == "submit"}
    assert stored == receipts
    world.check()


def test_what_a_killed_process_committed_and_did_not_sign_is_signed_when_it_is_asked_for(
    postgres_world: World,
) -> None:
    world = postgres_world
    queued = world.operator.queue(composition())
    path, document = referral_call(queued.outgoing)
    first = app.open_runtime(world.settings, on_step=_end_at("after-commit"))
    first.writer.start()
    sent = queued.outgoing
    caller = KnownCaller(
        world.operator.keys.credential,
        HOTLINE,
        Role.HOTLINE,
        CredentialKind.PERSON,
        keyholder=True,
    )
    submission = Submission(sent.jws, ref=sent.ref, sealed=sent.beside)
    answered = threading.Event()
    Door(first.exchange, first.writer).accept(submission, caller, lambda _: answered.set(), int(time.time()))
    assert answered.wait(20)
    first.close()
    answer = world.caller("operator").call("PUT", path, document)
    assert answer.status == 200, answer.body
    proof = answer.json["proof"].encode()
    assert world.operator.verify_receipt(sent.jws, answer.json["receipt"].encode(), proof).receipt.accepted
    world.check()


def _end_at(step: str) -> Callable[[str], None]:
    def on_step(name: str) -> None:
        if name == step:
            raise RuntimeError("the process ends here")

    return on_step
