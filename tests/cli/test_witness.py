"""`referral witness`: what it makes, shows and refuses, in words and in JSON (R-96)."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import pytest

from referral_api.auditlog.note import parse_vkey
from referral_api.auditlog.policy import parse_policy
from referral_api.cli.main import run
from referral_api.domain.errors import ReferralError
from referral_api.witness.cosigner import Cosigner
from referral_api.witness.memory import Memory
from tests.witness.histories import ORIGIN, History

LOG = History()
AUDIT = History("exchange.example/v1/log/audit/2026")
NOW = 1_790_000_000


def referral(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict[str, Any]]:
    code = run([*words, "--json"], {})
    out, err = capsys.readouterr()
    assert "Traceback" not in out + err
    return int(code), json.loads(out)


def told(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    run([*words], {})
    out, err = capsys.readouterr()
    return str(out + err)


@pytest.fixture
def file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> str:
    path = str(tmp_path / "w.db")
    words = ("--file", path, "--log", LOG.verifier.vkey, "--log-family", AUDIT.verifier.vkey)
    code, made = referral(capsys, "witness", "init", "testigo.example/a", *words)
    assert code == 0
    assert set(made) == {"schema", "next", "name", "identity", "keys", "logs", "file"}
    return path


def test_a_new_witness_shows_its_keys_as_lines_of_a_policy(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, shown = referral(capsys, "witness", "show", "--file", file, "--url", "https://testigo.example")
    assert code == 0
    assert [parse_vkey(key).type for key in shown["keys"]] == [4, 6]
    policy = parse_policy("\n".join([*shown["policy"], "quorum testigo.example/a", ""]).encode())
    assert [one.key.vkey for one in policy.witnesses] == shown["keys"]
    assert {one.url for one in policy.witnesses} == {"https://testigo.example"}
    assert [(one["origin"], one["yearly"]) for one in shown["logs"]] == [
        ("exchange.example/v1/log/audit/", True),
        (ORIGIN, False),
    ]
    assert (shown["cosigned"], shown["newest_at"], shown["held"], shown["evidence"]) == (0, None, [], [])


def test_no_private_key_is_ever_shown(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    memory = Memory.open(Path(file))
    said = told(capsys, "witness", "show", "--file", file) + told(capsys, "witness", "show", "--file", file, "--json")
    for secret in (memory.seeds.ed25519, memory.seeds.ml_dsa_44):
        assert secret.hex() not in said
    memory.close()


def test_what_was_cosigned_and_what_convicts_a_log_is_shown(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    memory = Memory.open(Path(file))
    cosigner = Cosigner(memory)
    cosigner.add_checkpoint(LOG.request(0, 5), NOW)
    for wrong in (History(branch=b" fork").request(5, 5), LOG.request(5, 9, ())):
        with pytest.raises(ReferralError, match="inconsistent"):
            cosigner.add_checkpoint(wrong, NOW)
    memory.close()
    _, shown = referral(capsys, "witness", "show", "--file", file)
    assert [(one["origin"], one["size"], one["cosigned_at"]) for one in shown["held"]] == [(ORIGIN, 5, NOW)]
    assert [(one["kind"], one["size"]) for one in shown["evidence"]] == [("fork", 5), ("proof", 9)]
    assert shown["evidence"][0]["held"] == shown["held"][0]["note"]
    said = told(capsys, "witness", "show", "--file", file)
    assert "PRUEBA DE BIFURCACIÓN" in said
    assert "PROOF OF A FORK" in told(capsys, "--lang", "en", "witness", "show", "--file", file)


def test_logs_are_added_and_taken_off(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    other = History("other.example/log")
    assert referral(capsys, "witness", "add-log", other.verifier.vkey, "--file", file)[0] == 0
    assert referral(capsys, "witness", "add-log", other.verifier.vkey, "--file", file)[0] == 0
    _, shown = referral(capsys, "witness", "show", "--file", file)
    assert "other.example/log" in [one["origin"] for one in shown["logs"]]
    assert referral(capsys, "witness", "remove-log", "other.example/log", "--file", file)[0] == 0
    code, refused = referral(capsys, "witness", "remove-log", "other.example/log", "--file", file)
    assert (code, refused["error"]["code"]) == (6, "log-unknown")
    thief = History(seed=b"\2" * 32)
    code, refused = referral(capsys, "witness", "add-log", thief.verifier.vkey, "--file", file)
    assert (code, refused["error"]["code"]) == (7, "log-key-differs")
    assert referral(capsys, "witness", "add-log", thief.verifier.vkey, "--also", "--file", file)[0] == 0
    _, shown = referral(capsys, "witness", "show", "--file", file)
    assert len([one for one in shown["logs"] if one["origin"] == thief.verifier.name]) == 2
    code, refused = referral(capsys, "witness", "add-log", other.verifier.vkey, "--also", "--file", file)
    assert (code, refused["error"]["code"]) == (6, "log-unknown")


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("add-log", "no+key"), "log-key"),
        (("add-log", LOG.verifier.vkey, "--yearly"), "log-key"),
        (("init", "testigo.example/b"), "witness-exists"),
    ],
)
def test_what_is_wrong_with_a_call_is_told(
    file: str, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], code: str
) -> None:
    status, refused = referral(capsys, "witness", *words, "--file", file)
    assert (status, refused["error"]["code"]) == (2, code)


def test_a_bad_name_makes_no_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "w.db"
    code, refused = referral(capsys, "witness", "init", "two words", "--file", str(path))
    assert (code, refused["error"]["code"]) == (2, "witness-name")
    assert not path.exists()


@pytest.mark.parametrize("verb", ["show", "serve"])
def test_a_file_that_is_missing_exposed_or_none_is_told(
    file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], verb: str
) -> None:
    other = tmp_path / "other.db"
    other.write_bytes(b"nothing")
    other.chmod(0o600)
    Path(file).chmod(0o644)
    for path, code in (
        (tmp_path / "none", "witness-missing"),
        (other, "witness-unreadable"),
        (file, "witness-exposed"),
    ):
        status, refused = referral(capsys, "witness", verb, "--file", str(path))
        assert (status, refused["error"]["code"]) == (2, code)


def test_a_port_that_is_taken_is_told(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        code, refused = referral(capsys, "witness", "serve", "--file", file, "--port", port)
    assert (code, refused["error"]["code"]) == (1, "cannot-listen")
