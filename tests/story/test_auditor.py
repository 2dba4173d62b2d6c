"""An auditor's day at a real exchange: first trust, what is new, one referral, the keys, the witnesses, a plain report;
and the day on which the exchange lies.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from referral_api.domain.words import Act
from tests.cli.shell import Ran, Shell
from tests.world import HOTLINE, UNIT, Founded, World


@pytest.fixture
def world(founded: Founded, tmp_path: Path) -> Iterator[World]:
    with World(founded, tmp_path / "world") as made:
        yield made


@pytest.fixture
def shell(world: World) -> Shell:
    """The machines of everybody, in front of that exchange."""
    return Shell(world.folder, world.server.url)


def audit(shell: Shell, *words: str) -> Ran:
    return shell.run("auditor", "audit", *words)


def accepted(world: World) -> str:
    ref = world.submit().outgoing.ref
    assert ref is not None
    world.acknowledge("officer", ref)
    world.act("officer", ref, Act.ACCEPT)
    return ref


def test_an_auditors_day(world: World, shell: Shell) -> None:
    ref = accepted(world)

    refused = audit(shell, "verify", "--since")
    assert refused.exit == 2
    assert "--trust-first" in refused.err
    first = audit(shell, "verify", "--since", "--trust-first", "--json")
    assert first.exit == 0, first.err
    assert (first.json["mode"], first.json["result"], first.json["relied"]) == ("since", "intact", {})

    second = accepted(world)
    since = audit(shell, "verify", "--since", "--json").json
    assert since["complete"]
    assert since["referrals"] == 2
    year = next(int(log[6:]) for log in since["relied"] if log != "keys")
    before = next(head["size"] for origin, head in first.json["heads"].items() if "/audit/" in origin)
    assert since["relied"][f"audit/{year}"] == before

    told = audit(shell, "referral", second, "--json").json
    kinds = [one["kind"] for one in told["items"]]
    assert kinds[:4] == ["submit", "viewed", "retrieved", "ack"] or kinds[0] == "submit"
    assert {"submit", "retrieved", "ack", "accept"} <= set(kinds)
    assert {one["unit"]: one["state"] for one in told["deliveries"]}[UNIT] == "accepted"
    assert all(one["verified"] and one["ref"] == second for one in told["items"])
    screen = audit(shell, "referral", ref)
    assert screen.exit == 0
    assert "recalculado de los actos" in screen.out
    assert "min" in screen.out

    found = audit(shell, "records", "--party", HOTLINE, "--kind", "submit", "--json").json
    assert [one["ref"] for one in found["records"]] == [ref, second]
    assert found["next"] is None
    page = audit(shell, "records", "--limit", "3", "--json").json
    assert [one["index"] for one in page["records"]] == [0, 1, 2]
    assert page["next"] == 3
    assert (
        audit(shell, "records", "--ref", ref, "--since", "2000-01-01", "--until", "2001-01-01", "--json").json[
            "records"
        ]
        == []
    )

    keys = audit(shell, "keys", "--json").json
    assert keys["seen"] == 0
    assert keys["events"][0]["what"] == "genesis"
    assert {"statement", "approve_statement", "key"} <= {one["what"] for one in keys["events"]}
    assert {one["party"] for one in keys["keys"]} >= {HOTLINE, UNIT}
    again = audit(shell, "keys", "--json").json
    assert (again["seen"], again["changed"]) == (keys["size"], [])

    assert audit(shell, "mirror", "espejo").exit == 0
    mirrored = audit(shell, "records", "--mirror", "espejo", "--kind", "submit", "--json").json
    assert [one["ref"] for one in mirrored["records"]] == [ref, second]
    address = (world.folder / "espejo").as_uri()
    assert audit(shell, "verify", "--mirror", address).exit == 0
    assert audit(shell, "verify", "--since").exit == 0
    assert audit(shell, "verify", "--mirror", f"{address}-que-no-hay").exit == 3
    for wrong in ("https://example.org/espejo", "file://servidor.example/espejo"):
        refused = audit(shell, "verify", "--mirror", wrong)
        assert (refused.exit, wrong in refused.err) == (2, True)


def test_the_report_is_explained_in_two_languages_and_ends_as_the_verification_did(world: World, shell: Shell) -> None:
    missing = audit(shell, "explain")
    assert missing.exit == 6
    accepted(world)
    report = audit(shell, "verify", "--full", "--json")
    assert report.exit == 0
    (world.folder / "informe.json").write_text(report.out)
    spanish = audit(shell, "explain")
    english = shell.run("auditor", "audit", "explain", "informe.json", "--lang", "en")
    assert spanish.exit == english.exit == 0
    assert "Resultado: íntegro." in spanish.out
    assert "Result: intact." in english.out
    assert "+5118180000" in english.out
    assert len(spanish.out.splitlines()) == len(english.out.splitlines())

    document = json.loads(report.out)
    assert audit(shell, "explain", "--full").exit == 0
    changes: list[dict[str, Any]] = [
        {"complete": False}, {"result": "false"}, {"checks": {}}, {"at": "x"}, {"faults": [{}]},
    ]  # fmt: skip
    for change in changes:
        (world.folder / "otro.json").write_text(json.dumps(document | change))
        assert audit(shell, "explain", "otro.json").exit == 2, change


def test_an_operator_who_changes_a_record_leaves_evidence_on_the_auditors_disk(world: World, shell: Shell) -> None:
    accepted(world)
    assert audit(shell, "verify", "--since", "--trust-first").exit == 0
    second = accepted(world)
    world.server.stop()
    with sqlite3.connect(world.settings.data_dir / "exchange.sqlite") as database:
        (jws,) = database.execute("SELECT jws FROM act WHERE ref = ? AND act = 'ack'", (second,)).fetchone()
        text = jws if isinstance(jws, str) else jws.decode()
        at = text.index('"payload":"') + 60
        changed = text[:at] + ("A" if text[at] != "A" else "B") + text[at + 1 :]
        for (trigger,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            database.execute(f"DROP TRIGGER {trigger}")
        database.execute("UPDATE act SET jws = ? WHERE ref = ? AND act = 'ack'", (changed, second))
    database.close()
    world.server.start()

    ran = audit(shell, "verify", "--since", "--json", "--evidence", "pruebas")
    assert ran.exit == 1
    found = ran.json
    (fault,) = [one for one in found["faults"] if one["check"] == "records"]
    assert not fault["kept"]
    folder = Path(found["evidence"])
    assert folder.parent == Path("pruebas")
    folder = world.folder / folder
    manifest = json.loads((folder / "manifest.json").read_text())
    named = {Path(name).name for name in manifest["files"]}
    assert {"fault.json", "checkpoint", "earlier-checkpoint", "leaf", "record", "receipt", "proof"} <= named
    record = next(folder.glob(f"*-records-audit-*-{fault['index']}/record"))
    assert record.read_text() == changed

    told = audit(shell, "explain", "--lang", "en")
    assert told.exit == 1
    assert "A record was changed after it was logged" in told.out
    assert "Ask the party that signed that act for its own copy" in told.out
    closer = audit(shell, "referral", second, "--json")
    assert closer.exit == 1
    assert (world.folder / closer.json["error"]["facts"]["evidence"] / "manifest.json").is_file()
    assert closer.json["error"]["exit"] == 1
    assert audit(shell, "mirror", "espejo").exit == 1
    assert not list((world.folder / "espejo").rglob("audit/*/checkpoint"))


def test_an_exchange_that_cannot_be_reached_is_incomplete_and_a_mirror_needs_none(world: World, shell: Shell) -> None:
    accepted(world)
    assert audit(shell, "mirror", "espejo").exit == 0
    world.server.stop()
    for words in (["verify"], ["verify", "--since", "--trust-first"], ["witnesses"], ["referral", "x"], ["records"]):
        assert audit(shell, *words).exit == 3, words
    assert audit(shell, "verify", "--mirror", "espejo").exit == 0
    next((world.folder / "espejo").rglob("audit/*/records/000")).unlink()
    gone = audit(shell, "verify", "--mirror", "espejo", "--json")
    assert (gone.exit, gone.json["result"], gone.json["evidence"]) == (3, "incomplete", None)
    world.server.start()


def test_without_witnesses_that_is_what_is_said(world: World, shell: Shell) -> None:
    ran = audit(shell, "witnesses", "--json")
    assert (ran.exit, ran.json["policy"], ran.json["logs"]) == (0, "none", [])


def test_only_auditors_look_closer(world: World, shell: Shell) -> None:
    ref = accepted(world)
    for words in (["witnesses"], ["referral", ref], ["records"], ["verify"], ["mirror", "x"]):
        assert shell.run("officer", "audit", *words).exit == 7, words
