"""Founding and running an exchange by command: nothing is overwritten, nothing is weakened, everything is said."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import tomllib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from referral_api.auditlog.note import parse_vkey
from referral_api.auditlog.policy import parse_policy
from referral_api.cli.main import run
from referral_api.client import sdk
from referral_api.client.compartment import InsecureKdfForTests
from referral_api.client.enrolment import Joining
from referral_api.domain.words import CredentialKind
from referral_api.formats.enrolment import parse_invitation
from referral_api.server.app import open_runtime
from referral_api.server.settings import Settings
from tests.cli.shell import free_port
from tests.lying_witness import LyingWitness
from tests.world import PASSPHRASE


def referral(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict[str, Any]]:
    code = run([*words, "--json"], {})
    out, err = capsys.readouterr()
    assert "Traceback" not in out + err
    return int(code), json.loads(out)


def init(capsys: pytest.CaptureFixture[str], folder: Path, *words: str) -> tuple[int, dict[str, Any]]:
    port = str(free_port())
    return referral(capsys, "admin", "init", "--dir", str(folder), "--port", port, "--defaults", *words)


def test_founding_writes_settings_keys_and_an_invitation_for_their_owner_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, told = init(capsys, tmp_path / "x")
    assert code == 0
    assert set(told) - {"schema", "next"} == {
        *("issuer", "environment", "root", "config", "invitation", "entry", "logs", "turn"),
    }
    settings = tomllib.loads(Path(told["config"]).read_text())
    assert (settings["environment"], settings["issuer"]) == ("production", told["issuer"])
    assert [parse_vkey(vkey).name.rpartition("/v1/log/")[2][:6] for vkey in told["logs"]] == ["keys", "audit/"]
    invitation = parse_invitation(Path(told["invitation"]).read_bytes())
    assert (invitation.root, invitation.role) == (told["root"], "registrar")
    for path in (tmp_path / "x").rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path


def test_a_genesis_names_the_witnesses_of_the_policy_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    keys = [LyingWitness(f"w{n}.example").key for n in range(3)]
    policy, lines = (
        tmp_path / "policy",
        [f"witness w{n} {key.vkey} http://127.0.0.1:9/{n}" for n, key in enumerate(keys)],
    )
    policy.write_text("\n".join([*lines, "group g 2 w0 w1 w2", "quorum g", ""]))
    code, told = init(capsys, tmp_path / "x", "--witness-policy", str(policy))
    assert code == 0
    settings = Settings.load(Path(told["config"]))
    assert settings.witness_policy == policy
    runtime = open_runtime(settings)
    runtime.writer.start()
    runtime.close()
    assert runtime.exchange.keymap.witness_policy is not None
    assert runtime.exchange.keymap.witness_policy.quorum == 2
    assert runtime.exchange.policy.rule() == parse_policy(policy.read_bytes()).rule()


@pytest.mark.parametrize(
    "lines",
    [
        "quorum none\n",
        "witness w {0} http://w/\nquorum none\n",
        "witness w {0}\nquorum w\n",
        "witness w {0} http://w/\nwitness v {1} http://v/\ngroup g all w v\ngroup h any g\nquorum h\n",
        "witness w {0} http://w/\nquorum v\n",
    ],
    ids=["none", "nobody-needed", "no-address", "nested", "undefined"],
)
def test_a_policy_that_a_genesis_cannot_keep_founds_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], lines: str
) -> None:
    policy = tmp_path / "policy"
    policy.write_text(lines.format(*(LyingWitness(name).key.vkey for name in ("w.example", "v.example"))))
    code, told = init(capsys, tmp_path / "x", "--witness-policy", str(policy))
    assert (code, told["error"]["code"]) == (2, "malformed")
    assert not list((tmp_path / "x").rglob("*"))


def test_founding_twice_touches_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert init(capsys, tmp_path / "x", "--sandbox")[0] == 0
    before = {path: path.read_bytes() for path in (tmp_path / "x").rglob("*") if path.is_file()}
    code, told = init(capsys, tmp_path / "x", "--sandbox")
    assert (code, told["error"]["code"]) == (2, "exchange-exists")
    assert before == {path: path.read_bytes() for path in (tmp_path / "x").rglob("*") if path.is_file()}


@pytest.mark.parametrize("issuer", ["http://example.org", "https://example.org/", "https://example.org?x=1", "nothing"])
def test_an_issuer_that_nobody_could_pin_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], issuer: str
) -> None:
    code, told = init(capsys, tmp_path / "x", "--issuer", issuer)
    assert (code, told["error"]["code"]) == (2, "setting")
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("content", ["issuer = [", "issuer = 'https://a.example'\n", "nonsense = 1\n"])
def test_settings_that_cannot_be_used_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str
) -> None:
    config = tmp_path / "exchange.toml"
    config.write_text(content)
    for verb in ("serve", "migrate", "approve"):
        code, told = referral(capsys, "admin", verb, "--config", str(config))
        assert code == 2
        assert told["error"]["code"] in ("setting", "config-unreadable")


def test_migrating_a_database_that_is_up_to_date_leaves_it_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, told = init(capsys, tmp_path / "x")
    assert referral(capsys, "admin", "migrate", "--config", told["config"])[0] == 0


def test_the_registrar_is_approved_by_typed_digits_and_only_while_the_exchange_stands_still(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, told = init(capsys, tmp_path / "x")
    config = told["config"]
    code, refused = referral(capsys, "admin", "approve", "--config", config, "--code-file", told["entry"])
    assert (code, refused["error"]["code"]) == (6, "not-found")
    exchange = Exchange(Path(config), tmp_path / "log")
    invitation = parse_invitation(Path(told["invitation"]).read_bytes())
    entry = json.loads(Path(told["entry"]).read_text())
    what = Joining(invitation, PASSPHRASE, entry=entry, kdf=InsecureKdfForTests())
    joined = sdk.join(tmp_path / "registrar", what)
    assert joined.turn == "exchange"
    digits = tmp_path / "digits"
    digits.write_text(joined.code)
    code, refused = referral(capsys, "admin", "approve", "--config", config, "--code-file", str(digits))
    assert (code, refused["error"]["code"]) == (2, "exchange-running")
    assert exchange.stop() == 0
    wrong = tmp_path / "wrong"
    wrong.write_text("1" * 30)
    code, refused = referral(capsys, "admin", "approve", "--config", config, "--code-file", str(wrong))
    assert (code, refused["error"]["code"]) == (5, "code-mismatch")
    code, done = referral(capsys, "admin", "approve", "--config", config, "--code-file", str(digits))
    assert (code, done["turn"], done["party"]) == (0, "done", "registro")
    exchange = Exchange(Path(config), tmp_path / "log")
    with sdk.Client.person(tmp_path / "registrar", PASSPHRASE) as client:
        assert client.ping()["role"] == "registrar"
        assert client.joining().turn == "done"
        second = admitted(client, entry, tmp_path / "second")
        assert second.turn == "done", "the first two come in by what founded the exchange"
        client.identity.sign(client.identity.removal([second.person]))
        third = admitted(client, entry, tmp_path / "third")
        assert third.turn == "exchange", "one of two, who is left alone, makes no second one of her own"
    assert exchange.stop() == 0
    digits.write_text(third.code)
    code, done = referral(capsys, "admin", "approve", "--config", config, "--code-file", str(digits))
    assert (code, done["turn"], done["party"]) == (0, "done", "registro")
    exchange = Exchange(Path(config), tmp_path / "log")
    with sdk.Client.person(tmp_path / "third", PASSPHRASE) as client:
        assert client.joining().turn == "done"
    assert exchange.stop() == 0


@dataclass(frozen=True)
class Admitted:
    """A newcomer of the registrar, after the approval of whoever invited."""

    person: str
    code: str
    turn: str


def admitted(by: sdk.Client, entry: dict[str, Any], profile: Path) -> Admitted:
    invitation = parse_invitation(by.invite(entry, [CredentialKind.PERSON]))
    joined = sdk.join(profile, Joining(invitation, PASSPHRASE, kdf=InsecureKdfForTests()))
    by.approve(by.applicants()[0], joined.code)
    with sdk.Client.person(profile, PASSPHRASE) as client:
        person = client.profile.person or ""
        return Admitted(person.partition(".")[2], joined.code, client.joining().turn)


class Exchange:
    """`referral admin serve` in a process of its own."""

    def __init__(self, config: Path, log: Path) -> None:
        command = [str(Path(sys.executable).with_name("referral")), "admin", "serve", "--config", str(config)]
        with log.open("ab") as lines:
            self.process = subprocess.Popen(command, stdout=lines, stderr=lines, env=dict(os.environ))
        port = tomllib.loads(config.read_text())["port"]
        for _ in range(300):
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                return
            time.sleep(0.1)
        raise RuntimeError(log.read_text())

    def stop(self) -> int:
        """Stop it as an administrator does; its exit code, 0 for the signal that asked."""
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(timeout=20)
        return 0 if code == -signal.SIGTERM else code
