"""Global options anywhere, documents in JSON and YAML, secrets from files, and no traceback whatever is typed."""

from __future__ import annotations

import io
import json
import os
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from referral_api import __version__
from referral_api.cli import invocation
from referral_api.cli.invocation import read_document, read_line, write_private_file
from referral_api.cli.main import ON_DEMAND, VALUED, build, hoist, names_last, run, screen_of
from referral_api.cli.output import Fault
from referral_api.domain.errors import ErrorCode, ReferralError


def line(*words: str) -> tuple[int, str]:
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = run(words, {})
    return int(code), out.getvalue() + err.getvalue()


@pytest.mark.parametrize(
    ("typed", "globals_", "rest"),
    [
        (["show", "r", "--json"], ["--json"], ["show", "r"]),
        (["inbox", "list", "-p", "dir", "--pending"], ["-p", "dir"], ["inbox", "list", "--pending"]),
        (["send", "--lang=en", "f"], ["--lang=en"], ["send", "f"]),
        (["send", "--", "--json"], [], ["send", "--", "--json"]),
        (["whoami", "--server"], ["--server"], ["whoami"]),
    ],
)
def test_global_options_may_stand_anywhere(typed: list[str], globals_: list[str], rest: list[str]) -> None:
    assert hoist(typed) == (globals_, rest)


@given(st.lists(st.sampled_from(["show", "--json", "-p", "x", "--lang=en", "-v", "--to", "y"]), max_size=8))
def test_hoisting_loses_no_word_and_keeps_the_order_of_the_rest(words: list[str]) -> None:
    globals_, rest = hoist(words)
    assert sorted([*globals_, *rest]) == sorted(words)
    assert hoist(rest)[1] == rest or set(rest) & VALUED


DIGEST = "-" + "aB3_" * 10 + "-x"
NONCE = "-_" + "aB3-" * 5


@pytest.mark.parametrize(
    ("typed", "laid_out"),
    [
        (["keys", "object", DIGEST, "--reason", "not_ours"], ["keys", "object", "--reason", "not_ours", "--", DIGEST]),
        (["keys", "object", "--reason", "not_ours", DIGEST], ["keys", "object", "--reason", "not_ours", "--", DIGEST]),
        (["keys", "watch", "--seen", DIGEST], None),
        (["keys", "revoke", "--", DIGEST], None),
        (["keys", "revoke", DIGEST, "--reason", DIGEST], ["keys", "revoke", "--reason", DIGEST, "--", DIGEST]),
        (["keys", "rewrap", NONCE, DIGEST], ["keys", "rewrap", "--", NONCE, DIGEST]),
        (["keys", "backup", "--backup-passphrase-fil", "x"], None),
        (["show", "-x"], None),
    ],
)
def test_a_name_that_begins_with_a_hyphen_is_no_option(typed: list[str], laid_out: list[str] | None) -> None:
    assert {len(DIGEST), len(NONCE), len("--backup-passphrase-fil")} == {43, 22, 23}
    assert names_last(typed) == (laid_out or typed)


def test_a_digest_that_begins_with_a_hyphen_reaches_its_command() -> None:
    """It is not enrolled, which it says; it does not say that there is no such option."""
    for words in (("keys", "object", DIGEST, "--reason", "not_ours"), ("keys", "revoke", DIGEST)):
        assert line("-p", "/nonexistent", *words)[0] == 4
    assert line("-p", "/nonexistent", "keys", "watch", "--seen", DIGEST)[0] == 4


def test_the_language_is_asked_for_or_the_environment_s_or_spanish() -> None:
    assert screen_of([], {}).lang == "es"
    assert screen_of(["--lang", "en"], {}).lang == "en"
    assert screen_of(["--lang=es"], {"REFERRAL_LANG": "en"}).lang == "es"
    assert screen_of([], {"REFERRAL_LANG": "en"}).lang == "en"


def leaves(command: Any, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    children = getattr(command, "commands", {})
    if not children:
        return [path]
    return [leaf for name, child in children.items() for leaf in leaves(child, (*path, name))]


@pytest.mark.parametrize("path", leaves(build("es", frozenset(ON_DEMAND))), ids=" ".join)
def test_whatever_is_typed_ends_in_words_and_an_exit_code(path: tuple[str, ...], tmp_path: Path) -> None:
    profile = ("-p", str(tmp_path / "none"))
    for words in ((*path, "--nonsense"), (*path, "a", "b", "c", "d"), (*path, "--help")):
        code, told = line(*profile, *words)
        assert "Traceback" not in told
        assert told.strip()
        assert code == (0 if "--help" in words else 2), told


def test_a_group_without_a_verb_shows_its_help_and_is_a_usage_error() -> None:
    code, told = line("units")
    assert code == 2
    assert "list" in told
    assert "✖" not in told


@pytest.mark.parametrize(
    "words", [[], ["units"], ["keys"], ["audit"], ["receipt"], ["admin"], ["witness"]], ids=" ".join
)
def test_a_group_without_a_verb_is_a_usage_fault_in_json(words: list[str]) -> None:
    code, told = line(*words, "--json")
    assert code == 2
    error = json.loads(told)["error"]
    assert (error["code"], error["exit"]) == ("usage", 2)


@pytest.mark.parametrize("group", ["inbox", "outbox"])
def test_a_bare_inbox_or_outbox_means_its_list(group: str, tmp_path: Path) -> None:
    profile = ("-p", str(tmp_path / "none"))
    assert line(*profile, group, "--json") == line(*profile, group, "list", "--json")
    assert line(*profile, group)[0] == 4


def test_the_version_is_told_in_json_too() -> None:
    code, told = line("--version", "--json")
    assert code == 0
    assert json.loads(told) == {"schema": "referral.cli/1", "next": [], "version": __version__}


def test_json_and_yaml_say_the_same(tmp_path: Path) -> None:
    as_json, as_yaml = tmp_path / "a.json", tmp_path / "a.yaml"
    as_json.write_text('{"at": "2026-11-23", "n": 1, "list": ["x"], "yes": true}')
    as_yaml.write_text("at: 2026-11-23\nn: 1\nlist: [x]\nyes: true\n")
    # YAML 1.1 reads a bare `yes` as true; as a member name it must stay what was written.
    assert read_document(as_json)["at"] == read_document(as_yaml)["at"] == "2026-11-23"
    assert read_document(as_json)["list"] == read_document(as_yaml)["list"]


@pytest.mark.parametrize(
    "text",
    ["a: 1\na: 2\n", "a: &x [1]\nb: *x\n", "- 1\n", "a: [\n", "!!python/object/apply:os.getcwd []\n", "", "a: b: c\n"],
)
def test_yaml_that_json_could_not_say_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(text)
    with pytest.raises(ReferralError, match=ErrorCode.MALFORMED.value):
        read_document(path)


def test_json_with_a_member_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text('{"a":1,"a":2}')
    with pytest.raises(ReferralError, match=ErrorCode.MALFORMED.value):
        read_document(path)


def test_a_file_that_is_missing_or_too_large_is_told(tmp_path: Path) -> None:
    with pytest.raises(Fault, match="file-unreadable"):
        read_document(tmp_path / "missing.json")
    large = tmp_path / "large.json"
    large.write_bytes(b" " * (invocation.MAX_DOCUMENT_BYTES + 1))
    with pytest.raises(ReferralError, match=ErrorCode.TOO_LARGE.value):
        read_document(large)


def test_a_secret_s_file_gives_its_line_without_its_end(tmp_path: Path) -> None:
    path = tmp_path / "frase"
    path.write_bytes("una frase con eñe \r\n".encode())
    assert read_line(path) == "una frase con eñe "
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(Fault, match="file-unreadable"):
        read_line(path)


def test_files_are_written_once_and_for_the_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "invitation.json"
    write_private_file(path, b"one")
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(Fault, match="file-exists"):
        write_private_file(path, b"two")
    assert path.read_bytes() == b"one"
    with pytest.raises(Fault, match="file-unwritable"):
        write_private_file(tmp_path / "no" / "folder", b"x")


def test_without_a_terminal_nobody_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("yes\n"))
    code, told = line("admin", "init", "--dir", str(tmp_path / "x"))
    assert code == 2
    assert "issuer-missing" in told
    assert not (tmp_path / "x").exists()


def test_no_secret_can_be_given_as_an_argument() -> None:
    def options(command: Any) -> list[str]:
        own = [name for parameter in command.params for name in getattr(parameter, "opts", ())]
        return own + [name for child in getattr(command, "commands", {}).values() for name in options(child)]

    named = options(build("es", frozenset(ON_DEMAND)))
    assert {"--passphrase-file", "--service-key", "--code-file"} <= set(named)
    assert not {"--passphrase", "--password", "--code", "--secret", "--key"} & set(named)


def test_the_program_runs_without_its_own_environment() -> None:
    assert line("--version")[0] == 0
    meant_for_tests = {"REFERRAL_REQUIRE_POSTGRES", "REFERRAL_REQUIRE_BROWSER", "REFERRAL_KILLS"}
    assert not [name for name in os.environ if name.startswith("REFERRAL_") and name not in meant_for_tests]
