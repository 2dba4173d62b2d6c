"""The drill as its people live it: real witnesses, and every step a command whose words and exit code count."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx2
import pytest

from referral_api.cli.main import run
from referral_api.domain.terms import Term
from referral_api.domain.words import Act
from tests.cli.shell import Shell
from tests.cli.test_recovery import config_of
from tests.server.storage.ledger import tamper
from tests.story.test_next_term import audit_of
from tests.story.test_witness_processes import Country, country, world
from tests.story.test_witnesses import eventually, is_witnessed
from tests.world import UNIT, World, composition
from tests.world_check import Rows

__all__ = ["country", "world"]


def referral(capsys: pytest.CaptureFixture[str], *words: str | Path) -> tuple[int, dict[str, Any]]:
    capsys.readouterr()
    code = run([*map(str, words), "--json"], {})
    out, err = capsys.readouterr()
    assert "Traceback" not in out + err
    return int(code), json.loads(out.splitlines()[-1])


def witness_note(world: World, log: str, path: Path) -> Path:
    """What an operator fetches from witnesses: the newest checkpoint that two of them have cosigned."""
    origin = world.server.runtime.exchange.origin(log)
    notes = []
    for witness in world.witnesses[:2]:
        answer = httpx2.get(f"{witness.url}/{sha256(origin.encode()).hexdigest()}/checkpoint")
        assert answer.status_code == 200
        notes.append(answer.text)
    assert notes[0].split("\n\n")[0] == notes[1].split("\n\n")[0], "both have seen the same"
    lines = [line for line in notes[1].split("\n\n")[1].splitlines() if line not in notes[0]]
    path.write_text(notes[0] + "".join(f"{line}\n" for line in lines))
    return path


@pytest.fixture
def shell(world: World) -> Shell:
    """Everybody's machine, in front of the exchange."""
    return Shell(world.folder, world.server.url)


def live(world: World) -> str:
    ref = str(world.operator.submit(composition()).outgoing.ref)
    world.officer.acknowledge(world.officer.open(ref))
    world.officer.act(ref, Act.ACCEPT, {})
    return ref


def test_the_drill_from_the_lost_disk_to_the_auditors_report(
    world: World, shell: Shell, country: Country, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    world.operator.submit(composition())
    assert shell.run("auditor", "audit", "verify").exit == 0
    config = config_of(world)
    with config.open("a") as settings:
        settings.write(f"witness_policy = {json.dumps(str(world.settings.witness_policy))}\n")
    assert referral(capsys, "admin", "backup", "--to", tmp_path / "copy", "--config", config)[0] == 0
    log = audit_of(world)
    kept = len(Rows(world).logs[log])
    late = live(world)
    eventually(world, lambda: is_witnessed(world, log))
    note = witness_note(world, log, tmp_path / "note")
    size = int(note.read_text().split("\n")[1])
    world.server.stop()
    for path in world.settings.data_dir.glob("exchange.sqlite*"):
        path.unlink()
    assert referral(capsys, "admin", "restore", "--from", tmp_path / "copy", "--config", config)[0] == 0
    code, told = referral(capsys, "admin", "reconcile", "--config", config)
    assert (code, told["error"]["code"], told["error"]["facts"]["missing"]) == (
        code,
        "writes-closed",
        size - kept,
    )
    assert code != 0
    # Neither without a checkpoint, nor with one that no quorum has cosigned.
    assert (
        referral(capsys, "admin", "reconcile", "--new-origin", "--config", config)[1]["error"]["code"] == "new-origin"
    )
    bare = tmp_path / "bare"
    text, lines = note.read_text().split("\n\n")
    own = next(line for line in lines.splitlines() if "/v1/log/" in line)
    bare.write_text(f"{text}\n\n{own}\n")
    words = ("admin", "reconcile", "--new-origin", "--checkpoint")
    assert referral(capsys, *words, bare, "--config", config)[1]["error"]["code"] == "not-witnessed"
    code, told = referral(capsys, *words, note, "--config", config)
    assert code == 0, told
    opened = told["opened"]
    assert (opened["log"], opened["following"], opened["kept"], opened["lost"]) == (log, f"{log}.2", kept, size - kept)
    assert opened["witnesses"] == ["testigo.example/1", "testigo.example/2"]
    world.server.start()
    following = Term.of_log(log).following
    assert following is not None
    eventually(world, lambda: is_witnessed(world, following.log))
    resubmit(shell, late)
    assert world.operator.referral(late).chronicle.deliveries[UNIT].state == "accepted"
    # The auditor: what is there holds, and it is never called verified.
    told_es = shell.run("auditor", "audit", "verify")
    assert told_es.exit == 3
    assert f"SE PERDIERON {size - kept} hojas de {log}" in told_es.out
    told_en = shell.run("auditor", "--lang", "en", "audit", "verify")
    assert told_en.exit == 3
    words_en = f"{size - kept} leaves of {log} were lost; the checkpoint at {size} cosigned by testigo.example/1"
    assert words_en in told_en.out
    data = shell.run("auditor", "audit", "verify", "--json").json
    assert (data["complete"], data["result"]) == (False, "incomplete")
    assert [(one["log"], one["absent"]) for one in data["lost"]] == [(log, size - kept)]
    assert shell.run("auditor", "audit", "explain").exit == 3
    # An exchange that says that witnesses vouch for the lost log's end must show what they have signed.
    world.server.stop()
    whole = next(row["note"] for row in Rows(world)["log_checkpoint"] if (row["log"], row["size"]) == (log, size))
    strip = "UPDATE log_checkpoint SET note = {0} WHERE note = {1}"
    tamper(world.settings.database, strip, (bare.read_text(), whole))
    world.server.start()
    data = shell.run("auditor", "audit", "verify", "--json")
    assert (data.exit, data.json["result"]) == (1, "false")


def resubmit(shell: Shell, ref: str) -> None:
    """Both parties look, agree, and send again what was lost."""
    stopped = shell.run("operator", "timeline", ref)
    assert stopped.exit == 5
    assert "referral loss --accept" in stopped.err
    for who, acts in (("operator", ["submit"]), ("officer", ["ack", "accept"])):
        shown = shell.run(who, "loss", "--json").json
        assert [one["act"] for one in shown["losses"][0]["own"]] == acts
        assert not shown["losses"][0]["agreed"]
        assert "NADIE LO HA ACEPTADO" in shell.run(who, "loss").out
        accepted = shell.run(who, "loss", "--accept", "--json")
        assert (accepted.exit, accepted.json["queued"]) == (0, len(acts))
        assert shell.run(who, "outbox", "flush").exit == 0
        after = shell.run(who, "loss", "--json").json["losses"][0]
        assert (after["agreed"], after["own"]) == (True, [])
