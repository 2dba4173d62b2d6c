"""Three witnesses in processes of their own: all well, one rolled back, one lying, one dead (R-96, R-101)."""

from __future__ import annotations

import base64
import shutil
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import httpx2
import pytest

from referral_api.auditlog.checkpoint import log_key, sign_checkpoint
from referral_api.auditlog.note import parse_note
from referral_api.auditlog.policy import format_policy
from referral_api.auditlog.witnessing import monitoring_path
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.terms import Term
from referral_api.domain.words import KeyUse
from referral_api.server import app, beside
from referral_api.server.service import adoption
from referral_api.server.storage import logbook
from referral_api.server.storage.keyfiles import load_signers
from tests.lying_witness import LyingWitness
from tests.story.test_witnesses import eventually, is_witnessed, line, newest_audit, ready
from tests.witnesses import WitnessProcess, make_witness, policy_of_witnesses
from tests.world import UNIT, WITNESSES, Founded, World, composition, found
from tests.world_check import Rows

NAMES = [f"testigo.example/{n}" for n in (1, 2, 3)]


@dataclass(frozen=True, slots=True)
class Country:
    """An exchange at rest and its three witnesses, not started."""

    founded: Founded
    witnesses: list[WitnessProcess]


@pytest.fixture(scope="module")
def country(tmp_path_factory: pytest.TempPathFactory) -> Country:
    folder = tmp_path_factory.mktemp("witnesses")
    witnesses = [make_witness(folder, name) for name in NAMES]
    policy = policy_of_witnesses([replace(one, port=9) for one in witnesses], 2)
    founded = found(tmp_path_factory.mktemp("witnessed"), policy=policy)
    return Country(founded, witnesses)


@pytest.fixture
def world(country: Country, tmp_path: Path) -> Iterator[World]:
    """The exchange, which its witnesses have been told the keys of."""
    world = World(country.founded, tmp_path / "exchange")
    for at, witness in enumerate(country.witnesses):
        own = replace(witness, file=tmp_path / f"witness-{at}.db")
        own.file.write_bytes(witness.file.read_bytes())
        own.file.chmod(0o600)
        world.witnesses.append(own)
    with world:
        _introduce(world)
        for witness in world.witnesses:
            witness.start()
        world.server.stop()
        (world.folder / WITNESSES).write_bytes(format_policy(policy_of_witnesses(world.witnesses, 2)))
        world.server.start()
        try:
            yield world
        finally:
            for witness in world.witnesses:
                witness.stop()


def _introduce(world: World) -> None:
    """What a witness's operator does with the two keys that `admin init` shows."""
    exchange = world.server.runtime.exchange
    public = exchange.keymap.exchange_keys(KeyUse.LOG)[0].public
    origins = (exchange.origin("keys"), exchange.audit_origin(Term(2026)))
    keys, family = (log_key(origin, public).vkey for origin in origins)
    for witness in world.witnesses:
        witness.introduce([keys], [family])


def both(world: World) -> bool:
    return is_witnessed(world, "keys") and is_witnessed(world, newest_audit(world))


def rested(world: World) -> None:
    for post in line(world).posts:
        post.rests_until = 0.0


def test_a_referral_is_cosigned_by_all_three_with_both_their_keys(world: World) -> None:
    eventually(world, lambda: both(world))
    world.operator.sync_keys()
    entry = world.submit()
    confirmed = world.operator.cosign_receipt(entry)
    assert len(confirmed.included.checkpoint.witnesses()) >= 2
    eventually(world, lambda: line(world).standing() == dict.fromkeys(NAMES, "ok"))
    checkpoint = world.operator.cosign_receipt(entry).included.checkpoint
    assert checkpoint.witnesses() == set(NAMES)
    assert len(checkpoint.cosignatures) == 6
    now = time.time()
    assert all(now - 120 < one.cosigned_s <= now + 1 for one in checkpoint.cosignatures)


def test_with_one_dead_one_rolled_back_and_then_one_lying(world: World) -> None:
    first, second, third = world.witnesses
    eventually(world, lambda: both(world))
    world.operator.sync_keys()
    second.stop()
    snapshot = second.snapshot()
    second.start()
    world.submit()
    eventually(world, lambda: both(world))

    # Dead: the other two are the quorum.
    third.kill()
    entry = world.submit()
    rested(world)
    assert world.operator.cosign_receipt(entry).included.checkpoint.witnesses() == {NAMES[0], NAMES[1]}
    eventually(world, lambda: line(world).standing()[NAMES[2]] == "unreachable")

    # Rolled back: it says how little it remembers, is proved the growth from there, and nothing is cosigned twice.
    second.restore(snapshot)
    entry = world.submit()
    rested(world)
    assert world.operator.cosign_receipt(entry).included.checkpoint.witnesses() == {NAMES[0], NAMES[1]}
    assert line(world).standing()[NAMES[1]] == "ok"

    # Lying: what answers at the first one's address has not its keys. Business goes on; no quorum is claimed.
    first.stop()
    with LyingWitness(NAMES[0]) as liar:
        post = next(one for one in line(world).posts if one.name == NAMES[0])
        post.url = liar.url
        rested(world)
        entry = world.submit()
        eventually(world, lambda: line(world).standing()[NAMES[0]] == "refused")
        with world.server.runtime.exchange.database.read() as conn:
            exchange = world.server.runtime.exchange
            signed = exchange.newest_checkpoint(conn, newest_audit(world))
            witnessed = exchange.newest_witnessed(conn, newest_audit(world))
        assert signed is not None
        assert witnessed is not None
        assert witnessed[0] < signed[0]
        post.url = first.url
    first.start()
    third.start()
    rested(world)
    eventually(world, lambda: both(world))
    eventually(world, lambda: line(world).standing() == dict.fromkeys(NAMES, "ok"))
    assert world.operator.cosign_receipt(entry).included.checkpoint.witnesses()
    world.check()


def test_an_operator_who_takes_everything_back_is_stopped_by_the_witnesses(world: World) -> None:
    """Database and signer's state together, as from a snapshot of the machine: the exchange itself sees nothing."""
    eventually(world, lambda: both(world))
    world.operator.sync_keys()
    world.server.stop()
    for name in ("data", "signer"):
        shutil.copytree(world.folder / name, world.folder / f"{name}-before")
    world.server.start()
    promised = world.submit()
    eventually(world, lambda: both(world))
    world.server.stop()
    for name in ("data", "signer"):
        shutil.rmtree(world.folder / name)
        (world.folder / f"{name}-before").rename(world.folder / name)
    world.server.start()
    assert ready(world)["status_code"] == 503
    entry = world.operator.submit(composition(action=UNIT))
    assert (entry.receipt, entry.code) == (None, ErrorCode.WRITES_CLOSED)
    assert world.server.runtime.writer.closed == "witness-ahead"
    # What was promised since stays provable: the hotline holds it, cosigned.
    assert world.operator.outbox.get(promised.outgoing.id).receipt == promised.receipt


def shown(world: World, witnesses: Sequence[WitnessProcess], folder: Path) -> dict[str, list[bytes]]:
    """What these witnesses show of each log, as an operator fetches it; also kept in `folder`."""
    folder.mkdir(exist_ok=True)
    exchange = world.server.runtime.exchange
    found: dict[str, list[bytes]] = {}
    for log in ("keys", newest_audit(world)):
        for at, witness in enumerate(witnesses):
            answer = httpx2.get(f"{witness.url}/{monitoring_path(exchange.origin(log))}")
            assert answer.status_code == 200
            found.setdefault(log, []).append(answer.content)
            (folder / f"{log.replace('/', '-')}-{at}").write_bytes(answer.content)
    return found


def cosigned_by_all(world: World, folder: Path) -> dict[str, list[bytes]]:
    """The same, once every witness has cosigned the newest."""

    def settled() -> bool:
        rested(world)
        notes = shown(world, world.witnesses, folder).values()
        return both(world) and all(len({parse_note(one).text for one in of_log}) == 1 for of_log in notes)

    eventually(world, settled)
    return shown(world, world.witnesses, folder)


def adopt(world: World, notes: Iterable[bytes]) -> list[adoption.Adopted]:
    """`admin signer adopt --checkpoint …`, on the stopped exchange."""
    runtime = app.open_runtime(world.settings, recovering=True)
    try:
        exchange, signers = runtime.exchange, runtime.log_signers
        with exchange.database.read() as conn:
            logs = logbook.names(conn)
        given = adoption.authorities_of_checkpoints(notes, exchange, logs)
        promised = beside.ask_witnesses(world.settings, signers, world.clock)
        return adoption.adopt(exchange, signers, given, clock=world.clock, promised=promised)
    finally:
        runtime.log_signers.close()
        runtime.exchange.database.close()


def refusal(world: World, notes: Iterable[bytes]) -> tuple[ErrorCode, object]:
    with pytest.raises(ReferralError) as caught:
        adopt(world, notes)
    return caught.value.code, caught.value.facts.get("reason")


def test_a_signer_whose_disk_is_lost_is_adopted_by_the_word_of_a_quorum_and_nothing_less(
    world: World, tmp_path: Path
) -> None:
    audit = newest_audit(world)
    older = cosigned_by_all(world, tmp_path / "older")
    world.submit()
    notes = cosigned_by_all(world, tmp_path / "newer")
    assert parse_note(older[audit][0]).text != parse_note(notes[audit][0]).text
    world.server.stop()
    lost = world.folder / "lost"
    world.settings.signer_dir.rename(lost)
    world.settings.signer_dir.mkdir()
    before = Rows(world)["log_signer"]

    # One witness is no quorum, and what it says twice neither.
    assert refusal(world, [notes["keys"][0], notes[audit][0]])[0] is ErrorCode.NOT_WITNESSED
    assert refusal(world, [*notes["keys"], notes[audit][1], notes[audit][1]])[0] is ErrorCode.NOT_WITNESSED
    # Two witnesses of two different moments are none of either.
    assert refusal(world, [*notes["keys"], older[audit][0], notes[audit][1]])[0] is ErrorCode.NOT_WITNESSED
    # An older one than the database knows to be cosigned.
    assert refusal(world, [*notes["keys"], *older[audit]]) == (ErrorCode.WRITES_CLOSED, "signer-state-rolled-back")
    # Forged: another root under the same lines, another log's key, or a log's own signature with nobody's.
    text = parse_note(notes[audit][0]).text
    root = text.split("\n")[2]
    forged = notes[audit][0].replace(root.encode(), base64.b64encode(bytes(32)))
    assert refusal(world, [*notes["keys"], forged, *notes[audit][1:]])[0] is ErrorCode.SIGNATURE_INVALID
    own = sign_checkpoint(text.split("\n")[0], 10**6, bytes(32), load_signers(world.settings.keys_dir).log)
    assert refusal(world, [*notes["keys"], own])[0] is ErrorCode.NOT_WITNESSED
    # One log is not both.
    assert refusal(world, notes["keys"]) == (ErrorCode.WRITES_CLOSED, "signer-state-missing")
    assert list(world.settings.signer_dir.glob("*.signer")) == []
    assert Rows(world)["log_signer"] == before, "nothing was moved"

    # Two of three, each with its own line, are a quorum.
    adopted = adopt(world, [note for log in notes for note in notes[log][1:]])
    assert {(one.log, one.by, one.fence) for one in adopted} == {("keys", "witnesses", 2), (audit, "witnesses", 2)}
    world.server.start()
    assert ready(world)["status_code"] == 200
    world.submit()
    eventually(world, lambda: both(world))
    world.check()


def test_no_quorum_of_yesterday_moves_a_signer_over_what_witnesses_know_to_be_lost(
    world: World, tmp_path: Path
) -> None:
    cosigned_by_all(world, tmp_path / "older")
    world.submit()
    older = cosigned_by_all(world, tmp_path / "older")
    world.server.stop()
    shutil.copytree(world.settings.data_dir, tmp_path / "data")
    world.server.start()
    world.submit()
    cosigned_by_all(world, tmp_path / "newer")
    world.server.stop()
    data, kept = world.settings.data_dir, tmp_path / "kept"
    data.rename(kept)
    (tmp_path / "data").rename(data)
    lost = world.folder / "lost"
    world.settings.signer_dir.rename(lost)
    world.settings.signer_dir.mkdir()
    notes = [note for log in older for note in older[log]]
    assert refusal(world, notes) == (ErrorCode.WRITES_CLOSED, "witness-ahead")
    assert list(world.settings.signer_dir.iterdir()) == []
    shutil.rmtree(data)
    kept.rename(data)
    world.settings.signer_dir.rmdir()
    lost.rename(world.settings.signer_dir)
    world.server.start()
