"""What an auditor learns from the witnesses: how fresh they are, and whether they have seen the same log (R-96)."""

from __future__ import annotations

import json
import time

import pytest

from referral_api.auditlog.checkpoint import parse_checkpoint, sign_checkpoint
from referral_api.auditlog.merkle import Frontier, leaf_hash
from referral_api.auditlog.note import SignedNote, parse_note
from referral_api.auditlog.policy import Policy, Witness, format_policy, policy_of
from referral_api.auditlog.witnessing import monitoring_path
from referral_api.client.audit.witnesses import standing
from referral_api.server.storage.keyfiles import load_signers
from tests.cli.shell import Ran, Shell
from tests.lying_witness import NAMES, LyingWitness, policy_at
from tests.world import World


@pytest.fixture
def world(witnessed_world: World) -> World:
    return witnessed_world


@pytest.fixture
def shell(world: World, three: list[LyingWitness]) -> Shell:
    """Everybody's machine, once a quorum has cosigned both logs; and the auditor's own policy, with addresses."""
    (world.folder / "politica").write_bytes(format_policy(policy_at(three)))
    ends = time.monotonic() + 20
    while any(len(one.shown) < 2 for one in three):
        assert time.monotonic() < ends, "they did not cosign"
        assert world.server.runtime.witnessing is not None
        world.server.runtime.witnessing.hurry()
        time.sleep(0.05)
    return Shell(world.folder, world.server.url)


def ask(shell: Shell, *words: str) -> Ran:
    return shell.run("auditor", "audit", "witnesses", *words)


def audit_path(witness: LyingWitness) -> str:
    """Where a witness shows the audit log."""
    origins = {monitoring_path(one.origin): one.origin for one in witness.asked}
    return next(path for path in witness.shown if "/audit/" in origins[path])


def verdicts(ran: Ran) -> dict[str, set[str]]:
    told: dict[str, set[str]] = {}
    for log in ran.json["logs"]:
        for one in log["witnesses"]:
            told.setdefault(one["name"], set()).add(one["verdict"])
    return told


def test_fresh_witnesses_who_saw_the_same_log_are_a_success(shell: Shell) -> None:
    ran = ask(shell, "--policy", "politica", "--json")
    assert ran.exit == 0, ran.out
    assert verdicts(ran) == {name: {"fresh"} for name in NAMES}
    assert all(log["cosigned"] >= log["quorum"] == 2 for log in ran.json["logs"])
    genesis = ask(shell, "--json")
    assert (genesis.exit, genesis.json["policy"]) == (0, "genesis")
    assert "Testigos que cuentan" in ask(shell).out


def show_as_of(witness: LyingWitness, another: LyingWitness, at: int) -> Policy:
    """Let a witness of nobody's show what another one does, cosigned at a time; the policy that names it alone."""
    for path, raw in another.shown.items():
        note = parse_note(raw)
        checkpoint = parse_checkpoint(note.text)
        own = SignedNote(note.text, tuple(one for one in note.signatures if one.name == checkpoint.origin))
        witness.shown[path] = own.to_bytes() + witness.line(checkpoint, at).line().encode()
    return Policy(witnesses=(Witness(witness.key.name.partition(".")[0], witness.key, witness.url),))


def test_an_old_cosignature_is_warned_of(shell: Shell, world: World, three: list[LyingWitness]) -> None:
    with LyingWitness("old.example") as old:
        (world.folder / "vieja").write_bytes(format_policy(show_as_of(old, three[0], int(time.time()) - 7200)))
        ran = ask(shell, "--policy", "vieja", "--json")
        assert "AVISO" in ask(shell, "--policy", "vieja").out
    assert ran.exit == 3, "it says little about today"
    assert verdicts(ran) == {"old": {"stale"}}
    assert all(7100 < one["age_s"] < 7300 for log in ran.json["logs"] for one in log["witnesses"])


def test_a_quorum_that_has_become_old_is_none(shell: Shell, world: World, three: list[LyingWitness]) -> None:
    """A frozen view: the exchange shows what was cosigned, and nobody cosigns any more."""
    auditor, policy = world.auditor, policy_at(three)
    assert not standing(auditor.session, policy, "keys").lacking()
    for witness in three:
        witness.says = lambda _checkpoint, _old: (503, "text/plain", b"")
    world.clock.ahead_s += 3700
    found = standing(auditor.session, policy, "keys")
    assert (found.cosigned >= found.threshold, found.fresh, found.lacking()) == (True, 0, True)
    assert not standing(auditor.session, policy, "keys", ended=True).lacking(), "what has ended does not become old"


def test_a_cosignature_from_the_future_is_not_fresh(shell: Shell, world: World, three: list[LyingWitness]) -> None:
    """Who dates ahead would look fresh for as long as the exchange shows an old log."""
    with LyingWitness("early.example") as early:
        (world.folder / "futura").write_bytes(format_policy(show_as_of(early, three[0], int(time.time()) + 7200)))
        ran = ask(shell, "--policy", "futura", "--json")
        told = ask(shell, "--policy", "futura").out
        (world.folder / "justa").write_bytes(format_policy(show_as_of(early, three[0], int(time.time()) + 60)))
        near = ask(shell, "--policy", "justa", "--json")
    assert ran.exit == 3
    assert verdicts(ran) == {"early": {"ahead"}}
    assert all(-7200 <= one["age_s"] < -7100 for log in ran.json["logs"] for one in log["witnesses"])
    assert "fecha futura (dentro de 1" in told
    assert (near.exit, verdicts(near)) == (0, {"early": {"fresh"}})


def test_a_witness_that_cannot_be_asked_is_incomplete(shell: Shell, three: list[LyingWitness]) -> None:
    three[1].shown.clear()
    ran = ask(shell, "--policy", "politica", "--json")
    assert ran.exit == 3
    assert verdicts(ran)[NAMES[1]] == {"unreachable"}
    assert verdicts(ran)[NAMES[0]] == {"fresh"}
    assert ran.json["evidence"] is None


def test_a_witness_that_saw_another_log_convicts_the_exchange_with_two_signed_texts(
    shell: Shell, world: World, three: list[LyingWitness]
) -> None:
    liar, path = three[2], audit_path(three[2])
    origin = parse_checkpoint(parse_note(liar.shown[path]).text).origin
    other = Frontier().extend([leaf_hash(b"another history")] * 3)
    signer = load_signers(world.settings.keys_dir).log
    signed = sign_checkpoint(origin, other.size, other.root(), signer)
    checkpoint = parse_checkpoint(parse_note(signed).text)
    liar.shown[path] = signed + liar.line(checkpoint).line().encode()
    ran = ask(shell, "--policy", "politica", "--json", "--evidence", "pruebas")
    assert ran.exit == 1
    assert verdicts(ran)[NAMES[2]] == {"fresh", "false"}
    folder = world.folder / ran.json["evidence"]
    (text,) = folder.rglob("witness-checkpoint")
    assert text.read_bytes() == liar.shown[path]
    (text,) = folder.rglob("checkpoint")
    assert parse_checkpoint(parse_note(text.read_bytes()).text).origin == origin
    assert json.loads((folder / "manifest.json").read_text())["files"]
    assert "VIO OTRO REGISTRO" in ask(shell, "--policy", "politica").out


def test_a_witness_that_saw_more_than_the_exchange_shows_convicts_it(
    shell: Shell, world: World, three: list[LyingWitness]
) -> None:
    liar, path = three[0], audit_path(three[0])
    origin = parse_checkpoint(parse_note(liar.shown[path]).text).origin
    signed = sign_checkpoint(origin, 10**6, b"r" * 32, load_signers(world.settings.keys_dir).log)
    checkpoint = parse_checkpoint(parse_note(signed).text)
    liar.shown[path] = signed + liar.line(checkpoint).line().encode()
    ran = ask(shell, "--policy", "politica", "--json")
    assert ran.exit == 1
    told = [one for log in ran.json["logs"] for one in log["witnesses"] if one["verdict"] == "false"]
    assert [(one["name"], one["code"]) for one in told] == [(NAMES[0], "inconsistent")]


def test_a_forged_cosignature_is_false_and_a_page_of_something_else_is_no_answer(
    shell: Shell, three: list[LyingWitness]
) -> None:
    path = audit_path(three[0])
    raw = three[0].shown[path]
    lines = raw.decode().splitlines()
    lines[-1] = lines[-1][:-8] + ("AAAAAAA=" if not lines[-1].endswith("AAAAAAA=") else "BBBBBBA=")
    three[0].shown[path] = ("\n".join(lines) + "\n").encode()
    three[1].shown[path] = b"<html>"
    ran = ask(shell, "--policy", "politica", "--json")
    assert ran.exit == 1
    assert "false" in verdicts(ran)[NAMES[0]]
    assert "unreachable" in verdicts(ran)[NAMES[1]]


def test_a_stricter_policy_of_ones_own_can_be_unmet(shell: Shell, world: World, three: list[LyingWitness]) -> None:
    stranger = LyingWitness("nobody.example")
    policy = policy_of(4, [*(one.key for one in three), stranger.key])
    (world.folder / "estricta").write_bytes(format_policy(policy))
    ran = ask(shell, "--policy", "estricta", "--json")
    assert ran.exit == 3
    assert verdicts(ran)["nobody.example"] == {"absent"}
    assert all(log["cosigned"] < log["quorum"] == 4 for log in ran.json["logs"])
    (world.folder / "rota").write_bytes(b"quorum nobody\n")
    assert ask(shell, "--policy", "rota").exit == 2
