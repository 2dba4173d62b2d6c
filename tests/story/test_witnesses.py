"""The exchange and its witnesses: a quorum cosigns, business goes on without one, what is added to the directory waits
(R-96, R-101).
"""

from __future__ import annotations

import json
import resource
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import httpx2
import pytest

from referral_api.auditlog.checkpoint import Checkpoint
from referral_api.auditlog.note import parse_note
from referral_api.auditlog.policy import format_policy
from referral_api.auditlog.proof import parse_proof
from referral_api.auditlog.witnessing import format_answer
from referral_api.client import exchange, freshness, trust
from referral_api.client.outbox import Entry
from referral_api.client.sdk import Client
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import Digest
from referral_api.formats.act import parse_act
from referral_api.server.service.clock_watch import OFF_S
from referral_api.server.service.witnesses import Witnessing
from referral_api.server.service.writer import Writer
from tests.auditlog.refusals import refused
from tests.cli.shell import EXAMPLES, Shell
from tests.lying_witness import NAMES, LyingWitness, Said, policy_at
from tests.world import OTHER_UNIT, UNIT, WITNESSES, Founded, World, composition


@pytest.fixture
def silent(three: list[LyingWitness]) -> list[LyingWitness]:
    """Witnesses that are away before the exchange begins to ask; named before `world` in a test."""
    silence(*three)
    return three


@pytest.fixture
def against(three: list[LyingWitness]) -> list[LyingWitness]:
    """One that knows a larger tree, one that knows another, and an honest one."""
    three[0].says = lambda _checkpoint, _old: (409, "text/x.tlog.size", b"1000000\n")
    three[1].says = lambda _checkpoint, _old: (422, "text/plain", b"")
    return three


LIES: dict[str, Callable[[LyingWitness, Checkpoint], Said]] = {
    "other-root": lambda w, checkpoint: (
        200, "text/plain", format_answer([w.line(replace(checkpoint, root=bytes(32)))])
    ),
    "other-size": lambda w, checkpoint: (200, "text/plain", format_answer([w.line(replace(checkpoint, size=10**9))])),
    "no-line": lambda _w, _checkpoint: (200, "text/plain", b"not a line\n"),
    "empty": lambda _w, _checkpoint: (200, "text/plain", b""),
    "long": lambda _w, _checkpoint: (200, "text/plain", b"x" * (1 << 20)),
    "elsewhere": lambda _w, _checkpoint: (302, "text/plain", b""),
    "no-size": lambda _w, _checkpoint: (409, "text/x.tlog.size", b"many\n"),
    "unknown-log": lambda _w, _checkpoint: (404, "text/plain", b""),
    "unsigned": lambda _w, _checkpoint: (403, "text/plain", b""),
}  # fmt: skip
NEVER_ENDING = ("drips", "drips-head", "endless")


@pytest.fixture(params=[*LIES, *NEVER_ENDING])
def liar(request: pytest.FixtureRequest, three: list[LyingWitness]) -> LyingWitness:
    """One witness that answers something else than an honest one would, or does not come to an end."""
    witness, kind = three[2], request.param
    if kind in LIES:
        witness.says = lambda checkpoint, _old: LIES[kind](witness, checkpoint)
    else:
        witness.how = kind
    return witness


@pytest.fixture(params=["drips", "drips-head"])
def slow(request: pytest.FixtureRequest, three: list[LyingWitness]) -> LyingWitness:
    """One witness that takes what it is shown and does not come to an end of its answer."""
    three[2].how = request.param
    return three[2]


@pytest.fixture
def world(witnessed_world: World) -> World:
    return witnessed_world


def line(world: World) -> Witnessing:
    found = world.server.runtime.witnessing
    assert found is not None
    return found


def eventually(world: World, holds: object, seconds: float = 20.0) -> None:
    """Wait for something that the witnesses' thread brings about; every look makes it ask again."""
    assert callable(holds)
    ends = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < ends, "it did not come about"
        line(world).hurry()
        time.sleep(0.05)


def is_witnessed(world: World, log: str) -> bool:
    with world.server.runtime.exchange.database.read() as conn:
        newest = world.server.runtime.exchange.newest_witnessed(conn, log)
        signed = world.server.runtime.exchange.newest_checkpoint(conn, log)
    return newest is not None and signed is not None and newest[0] == signed[0]


def digest(entry: Entry) -> Digest:
    return parse_act(entry.outgoing.jws).digest


def ready(world: World) -> dict[str, object]:
    answer = httpx2.get(f"{world.server.url}/readyz")
    found: dict[str, object] = json.loads(answer.content) | {"status_code": answer.status_code}
    return found


def silence(*witnesses: LyingWitness) -> None:
    """As if they were away: what they answer says nothing."""
    for witness in witnesses:
        witness.says = lambda _checkpoint, _old: (503, "text/plain", b"")


def test_a_receipt_gains_the_quorums_cosignatures(world: World) -> None:
    world.operator.sync_keys()
    eventually(world, lambda: is_witnessed(world, "keys"))
    world.operator.sync_keys()
    entry = world.submit()
    confirmed = world.operator.cosign_receipt(entry)
    assert len(confirmed.included.checkpoint.witnesses()) >= 2
    kept = world.operator.outbox.get(entry.outgoing.id)
    assert (kept.receipt, kept.proof) == (entry.receipt, confirmed.raw_proof)
    # Offline, with the policy that the genesis act pins, anybody can see who cosigned.
    assert kept.receipt is not None
    assert kept.proof is not None
    again = world.operator.verify_receipt(entry.outgoing.jws, kept.receipt, kept.proof)
    assert again.included.checkpoint.witnesses() == confirmed.included.checkpoint.witnesses()
    assert ready(world)["witnesses"] == {"late": False, "standing": dict.fromkeys(NAMES, "ok")}


def test_the_witnesses_are_sent_nothing_but_checkpoints_that_grow(world: World, three: list[LyingWitness]) -> None:
    eventually(world, lambda: is_witnessed(world, "keys"))
    world.operator.sync_keys()
    for _ in range(3):
        world.submit()
    eventually(world, lambda: is_witnessed(world, newest_audit(world)))
    sizes = [one.size for one in three[0].asked if "/audit/" in one.origin]
    assert sizes == sorted(sizes)
    assert len(sizes) >= 2


def newest_audit(world: World) -> str:
    return f"audit/{time.gmtime(world.clock()).tm_year}"


def test_business_goes_on_without_witnesses_and_the_exchange_says_so(world: World, three: list[LyingWitness]) -> None:
    eventually(world, lambda: is_witnessed(world, "keys"))
    world.operator.sync_keys()
    silence(*three)
    entry = world.submit()
    world.open("officer", str(entry.outgoing.ref))
    world.acknowledge("officer", str(entry.outgoing.ref))
    assert refused_cosigning(world, entry) == {"cosigned": 0, "quorum": 2}
    eventually(world, lambda: set(line(world).standing().values()) == {"refused"})
    line(world)._behind_since = dict.fromkeys(line(world)._behind_since, time.monotonic() - 61)
    found = ready(world)
    assert (found["status_code"], found["status"]) == (200, "ready")
    assert found["witnesses"] == {"late": True, "standing": dict.fromkeys(NAMES, "refused")}
    for witness in three:
        witness.says = lambda checkpoint, _old, witness=witness: witness.cosigned(checkpoint)  # type: ignore[misc]
    for post in line(world).posts:
        post.rests_until = 0.0
    eventually(world, lambda: is_witnessed(world, newest_audit(world)))
    assert len(world.operator.cosign_receipt(entry).included.checkpoint.witnesses()) >= 2
    eventually(world, lambda: not line(world).late)


def refused_cosigning(world: World, entry: Entry) -> dict[str, object]:
    with pytest.raises(ReferralError) as caught:
        world.operator.cosign_receipt(entry, wait_s=1)
    assert caught.value.code is ErrorCode.NOT_WITNESSED
    return dict(caught.value.facts)


class Refusing(Writer):
    """A writer whose queue is full."""

    def __init__(self, real: Writer) -> None:
        self.real = real

    def run(self, _job: object, *, though_closed: bool = False) -> NoReturn:
        """Take nothing."""
        raise ReferralError(ErrorCode.QUEUE_FULL)


@pytest.fixture
def one_silent(three: list[LyingWitness]) -> LyingWitness:
    """The second of them is away before the exchange begins to ask."""
    silence(three[1])
    return three[1]


def test_what_becomes_of_a_witness_is_said_once(
    one_silent: LyingWitness, world: World, capfd: pytest.CaptureFixture[str]
) -> None:
    eventually(world, lambda: line(world).standing()[NAMES[1]] == "refused")
    for post in line(world).posts:
        post.rests_until = 0.0
    asked = len(one_silent.asked)
    eventually(world, lambda: len(one_silent.asked) > asked)
    told = [json.loads(text) for text in capfd.readouterr().err.splitlines() if '"event": "witness"' in text]
    assert [(one["witness"], one["status"]) for one in told] == [(NAMES[1], "refused")]


def test_a_round_that_fails_is_told_and_does_not_end_the_asking(
    world: World, capfd: pytest.CaptureFixture[str]
) -> None:
    eventually(world, lambda: is_witnessed(world, "keys"))
    world.operator.sync_keys()
    kept = line(world)._writer
    line(world)._writer = Refusing(kept)
    entry = world.submit()
    failing = line(world)._failing_since
    eventually(world, lambda: set(failing) == {post.url for post in line(world).posts})
    assert '"event": "witnessing_failed"' in capfd.readouterr().err
    assert not line(world).late
    for name in list(failing):
        failing[name] = time.monotonic() - 61
    assert line(world).late
    line(world)._writer = kept
    eventually(world, lambda: not failing)
    assert len(world.operator.cosign_receipt(entry).included.checkpoint.witnesses()) >= 2


def test_a_slow_witness_holds_up_no_other_no_alarm_and_no_stop(
    slow: LyingWitness, world: World, three: list[LyingWitness]
) -> None:
    eventually(world, lambda: is_witnessed(world, "keys"), 4)
    world.operator.sync_keys()
    entry = world.submit()
    assert len(world.operator.cosign_receipt(entry, wait_s=4).included.checkpoint.witnesses()) >= 2
    eventually(world, lambda: line(world).standing()[NAMES[2]] == "unreachable")
    # A quorum that does not come any more is noticed while that one is still being waited for.
    silence(*three[:2])
    line(world).posts[2].rests_until = 0.0
    world.submit()
    eventually(world, lambda: slow.slow_now > 0)
    eventually(world, lambda: bool(line(world)._behind_since), 4)
    line(world)._behind_since = dict.fromkeys(line(world)._behind_since, time.monotonic() - 61)
    assert ready(world)["witnesses"]["late"] is True  # type: ignore[index]
    begun = time.monotonic()
    world.server.stop()
    assert time.monotonic() - begun < 4
    world.server.start()


@pytest.mark.parametrize("how", NEVER_ENDING)
def test_an_exchange_starts_beside_witnesses_that_do_not_come_to_an_end(
    how: str, three: list[LyingWitness], witnessed: Founded, tmp_path: Path
) -> None:
    for witness in three[:2]:
        witness.how = how
    world = World(witnessed, tmp_path / "exchange")
    (world.folder / WITNESSES).write_bytes(format_policy(policy_at(three)))
    before, begun = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    with world:
        assert time.monotonic() - begun < 15
        assert ready(world)["status"] == "ready"
        grown_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        assert grown_kib < 64 * 1024


def test_cosignatures_that_could_not_be_kept_are_asked_for_again(world: World, three: list[LyingWitness]) -> None:
    eventually(world, lambda: is_witnessed(world, "keys"))
    world.operator.sync_keys()
    # The line's own writer refuses, as a full queue would; the witnesses have signed by then.
    asked = len(three[1].asked)
    kept = line(world)._writer
    line(world)._writer = Refusing(kept)
    entry = world.submit()
    eventually(world, lambda: len(three[1].asked) > asked + 1)
    line(world)._writer = kept
    assert len(world.operator.cosign_receipt(entry).included.checkpoint.witnesses()) >= 2


def test_evidence_that_cannot_be_kept_silences_no_alarm_and_no_other_witness(
    three: list[LyingWitness], witnessed: Founded, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    three[0].says = lambda _checkpoint, _old: (422, "text/plain", b"")
    world = World(witnessed, tmp_path / "exchange")
    (world.folder / WITNESSES).write_bytes(format_policy(policy_at(three)))
    (world.folder / "signer" / "witness-evidence").write_text("in the way of a folder")
    with world:
        eventually(world, lambda: is_witnessed(world, "keys"))
        assert line(world).standing() == {NAMES[0]: "forked", NAMES[1]: "ok", NAMES[2]: "ok"}
    assert '"event": "witness_evidence_lost"' in capfd.readouterr().err


def test_nobody_seals_to_what_no_quorum_has_seen(silent: list[LyingWitness], world: World) -> None:
    """An exchange that admits a unit of its own making must show it to the witnesses first."""
    world.operator.sync_keys()
    refused(ErrorCode.NOT_WITNESSED, world.operator.submit, composition(action=UNIT))
    silent[0].says = lambda checkpoint, _old: silent[0].cosigned(checkpoint)
    silent[1].says = lambda checkpoint, _old: silent[1].cosigned(checkpoint)
    for post in line(world).posts:
        post.rests_until = 0.0
    eventually(world, lambda: is_witnessed(world, "keys"))
    world.operator.sync_keys()
    world.submit()


def test_the_old_directory_stays_usable_and_a_revocation_does_not_wait(world: World, three: list[LyingWitness]) -> None:
    eventually(world, lambda: is_witnessed(world, "keys"))
    world.operator.sync_keys()
    silence(*three)
    session = world.operator.session
    before = session.sealing_keymap
    kid = before.sealable(OTHER_UNIT, session.now())[0].kid
    world.client("stranger").revoke(kid, "lost", session.now())
    world.operator.sync_keys()
    assert session.keymap.size > before.size
    assert session.sealing_keymap.size == before.size
    assert kid not in {key.kid for key in session.sealing_keymap.sealable(OTHER_UNIT, session.now())}
    world.submit(action=UNIT)


def test_what_a_witness_says_counts_for_nothing_unless_it_verifies(liar: LyingWitness, world: World) -> None:
    eventually(world, lambda: line(world).standing()[liar.key.name] in ("refused", "unreachable"))
    eventually(world, lambda: is_witnessed(world, "keys"))
    raw = world.client("auditor").session.read(exchange.checkpoint("keys", cosigned=True))
    assert {one.name for one in parse_note(raw).signatures} >= {NAMES[0], NAMES[1]}
    assert liar.key.name not in {one.name for one in parse_note(raw).signatures}


def test_a_witness_that_knows_more_or_something_else_is_an_alarm_with_evidence(
    against: list[LyingWitness], world: World
) -> None:
    ahead, forked, _ = against
    eventually(world, lambda: line(world).standing() == {NAMES[0]: "ahead", NAMES[1]: "forked", NAMES[2]: "ok"})
    eventually(world, lambda: len(ahead.asked) > 4)
    # Who holds a fork against us is not asked again about that log.
    assert len({one.origin for one in forked.asked}) == len(forked.asked)
    evidence = sorted((world.folder / "signer" / "witness-evidence").iterdir())
    assert evidence
    assert all(b"text/" in path.read_bytes() for path in evidence)
    assert not is_witnessed(world, "keys")


@pytest.fixture
def hasty(three: list[LyingWitness]) -> LyingWitness:
    """A witness whose clock is a month ahead."""
    witness = three[0]
    witness.says = lambda checkpoint, _old: (
        200, "text/plain", format_answer([witness.line(checkpoint, int(time.time() + OFF_S))])
    )  # fmt: skip
    return witness


def test_one_witness_whose_clock_is_ahead_does_not_vouch_for_ours(hasty: LyingWitness, world: World) -> None:
    """R-97: an exchange that was off for long believes its clock only where the whole quorum has seen that time."""
    world.submit()

    def lines() -> set[str]:
        raw = world.client("auditor").session.read(exchange.checkpoint("keys", cosigned=True))
        return {one.name for one in parse_note(raw).signatures}

    eventually(world, lambda: is_witnessed(world, "keys") and set(NAMES) <= lines())
    world.server.stop()
    world.clock.ahead_s += OFF_S + 3600
    world.server.start()
    assert httpx2.get(f"{world.server.url}/readyz").json()["closed"] == "clock-ahead"


@pytest.fixture
def known(three: list[LyingWitness]) -> dict[str, int]:
    """What the first witness has cosigned by origin: it begins at size 3, and says so like an honest one."""
    witness = three[0]
    known: dict[str, int] = {}

    def says(checkpoint: Checkpoint, old: int) -> Said:
        stored = known.get(checkpoint.origin, 3)
        if old != stored:
            return 409, "text/x.tlog.size", b"%d\n" % stored
        known[checkpoint.origin] = checkpoint.size
        return witness.cosigned(checkpoint)

    witness.says = says
    return known


def test_a_witness_that_was_shown_an_older_size_is_proved_the_growth_from_there(
    known: dict[str, int], world: World, three: list[LyingWitness]
) -> None:
    eventually(world, lambda: line(world).standing()[NAMES[0]] == "ok" and len(known) == 2)
    assert set(three[0].olds) == {0, 3}


def test_the_exchange_does_not_start_with_other_witnesses_than_its_genesis_names(world: World) -> None:
    policy = world.folder / WITNESSES
    kept = policy.read_bytes()
    world.server.stop()
    try:
        for raw in (b"quorum none\n", kept.replace(b"quorum 2 ", b"quorum 1 ")):
            policy.write_bytes(raw)
            with pytest.raises(ReferralError):
                world.server.start()
    finally:
        policy.write_bytes(kept)
        world.server.start()


def test_a_cosigned_checkpoint_is_asked_for_by_name(silent: list[LyingWitness], world: World) -> None:
    session = world.client("auditor").session
    assert session.read(exchange.checkpoint("keys"))
    refused(ErrorCode.NOT_FOUND, session.read, exchange.checkpoint("keys", cosigned=True))
    answer = world.caller("auditor").call("GET", "/v1/log/keys/checkpoint?cosigned=0")
    assert (answer.status, answer.code) == (400, "malformed")


def test_proofs_without_the_quorum_are_told_from_those_with_it(world: World, three: list[LyingWitness]) -> None:
    eventually(world, lambda: is_witnessed(world, "keys"))
    world.operator.sync_keys()
    silence(*three)
    entry = world.submit()
    assert entry.receipt is not None
    assert entry.proof is not None
    answer = {"receipt": entry.receipt.decode(), "proof": entry.proof.decode()}
    act, keymap = parse_act(entry.outgoing.jws), world.operator.session.keymap
    assert trust.verify_answer(answer, act, keymap).included.checkpoint.witnesses() == frozenset()
    refused(ErrorCode.NOT_WITNESSED, lambda: trust.verify_answer(answer, act, keymap, witnessed=True))
    assert parse_proof(entry.proof).raw_checkpoint
    assert digest(entry) == act.digest


@pytest.fixture
def behind(three: list[LyingWitness]) -> list[LyingWitness]:
    """Witnesses whose cosignatures say that they saw the logs two hours ago, as they would of a frozen keys log."""
    for witness in three:
        witness.says = lambda checkpoint, _old, witness=witness: (  # type: ignore[misc]
            200, "text/plain", format_answer([witness.line(checkpoint, int(time.time()) - 7200)])
        )  # fmt: skip
    return three


def see_then(client: Client) -> None:
    """Let a client have seen what is cosigned two hours ago, when that was fresh."""
    client.sync_keys()
    cosigned = client.directory.keys_cosigned.read_bytes()
    freshness.note_cosigned(client.directory, client.session.replica, cosigned, int(time.time()) - 7200)


def test_who_seals_by_a_directory_that_no_witness_has_seen_for_an_hour_is_told(
    behind: list[LyingWitness], world: World
) -> None:
    shutil.copy(EXAMPLES / "emergencia-piura.json", world.folder / "referral.json")
    shell = Shell(world.folder, world.server.url)
    eventually(world, lambda: is_witnessed(world, "keys"))
    refused_to = shell.run("operator", "send", "referral.json", "--unit", UNIT, "--lang", "en")
    assert refused_to.exit == 7
    assert f"Nothing is sealed to {UNIT}: its keys are newer" in refused_to.err
    assert "Telephone the unit's duty phone (— was known)" in refused_to.err
    for seat in (world.operator, world.officer):
        see_then(seat)
    sent = shell.run("operator", "send", "referral.json", "--unit", UNIT, "--lang", "en")
    assert sent.exit == 0
    assert "WARNING: the witnesses last saw" in sent.err
    told = shell.run("operator", "send", "referral.json", "--unit", UNIT, "--json")
    assert 7000 < time.time() - told.json["keys_cosigned_at"] < 7400
    for words in (["units", "list"], ["units", "show", UNIT], ["keys", "show"]):
        assert "AVISO: los testigos" in shell.run("operator", *words).err
    ref = told.json["ref"]
    (world.folder / "note.txt").write_text("Llegamos.")
    # An acknowledgement seals nothing; a note does.
    assert "AVISO" not in shell.run("officer", "ack", ref).err
    assert "AVISO" in shell.run("officer", "note", ref, "note.txt").err
    for witness in behind:
        witness.says = lambda checkpoint, _old, witness=witness: witness.cosigned(checkpoint)  # type: ignore[misc]
    for post in line(world).posts:
        post.asked.clear()
    seen = len(behind[0].asked)
    eventually(world, lambda: len(behind[0].asked) > seen + 1)
    eventually(world, lambda: "AVISO" not in shell.run("operator", "units", "list").err)
    again = shell.run("operator", "send", "referral.json", "--unit", UNIT, "--json")
    assert (again.exit, "keys_cosigned_at" in again.json) == (0, False)
