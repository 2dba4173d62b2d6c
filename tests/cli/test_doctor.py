"""The doctor's screens: an exit code to go by, words for every code, and nothing that is nobody's business."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from referral_api.cli import texts
from referral_api.cli.doctor import duration
from referral_api.cli.main import ON_DEMAND, build, run
from referral_api.client import sdk
from referral_api.client.compartment import InsecureKdfForTests, Kdf
from referral_api.client.enrolment import Joined, Joining
from referral_api.client.keystore import Keystore
from referral_api.client.profile import ProfileDir
from referral_api.domain.findings import Level
from referral_api.domain.words import CredentialKind
from referral_api.formats.enrolment import parse_invitation
from tests.cli.shell import Shell
from tests.cli.test_admin import Exchange, init, referral
from tests.front import kept_clock
from tests.rules.tree import PACKAGE
from tests.world import CANARY, PASSPHRASE

MEMBERS = {"code", "level", "seen", "error", "says", "remedy", "command"}
CALL = re.compile(r'\b(found|failed|_named)\(\s*"([a-z-]+(?:\.[a-z-]+)*)"(?: if [^,]+ else "([a-z.-]+)")?')
SOURCES = [
    *(PACKAGE / "client/doctor").glob("*.py"),
    *(PACKAGE / "server/service/doctor").glob("*.py"),
    PACKAGE / "cli/admin/doctor.py",
]


@pytest.fixture(autouse=True)
def _kept_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", kept_clock(tmp_path))


def codes(kind: str) -> set[str]:
    """Every code that a finding of this kind can have, as the sources name them."""
    told = [one for path in SOURCES for one in CALL.findall(path.read_text())]
    return {code for how, first, second in told if how in kind.split() for code in (first, second) if code}


def test_every_finding_has_its_words_and_what_is_to_be_done() -> None:
    plain, broken = (
        codes("found _named"),
        codes("failed") | {"way.name", "way.connection", "way.tls", "way.certificate"},
    )
    assert len(plain) > 60
    assert {f"doctor.{code}" for code in plain} <= texts.TEXTS.keys()
    assert {f"doctor.{code}.failed" for code in broken} - {"doctor.way.exchange.failed"} <= texts.TEXTS.keys()
    mild = {"signer", "settings", "process", "host.one-disk", "host.versions", "signer.elsewhere", "witnesses.none"}
    mild |= {"party", "keys-log", "keys-log.growth", "issuer.plain.ok", "access", "self-test", "witnesses"}
    wanted = {f"doctor.{code}.do" for code in plain - mild}
    assert wanted <= texts.TEXTS.keys(), wanted - texts.TEXTS.keys()
    # And no words for what is never found.
    known = plain | broken | {"do", "healthy", "sick", "way.exchange"}
    ours = {key.removeprefix("doctor.") for key in texts.TEXTS if key.startswith("doctor.")}
    assert {re.sub(r"\.(ok|do|failed)$", "", key) if key != "do" else key for key in ours} <= known


def test_every_command_that_is_named_as_a_remedy_exists() -> None:
    named = {one for path in SOURCES for one in re.findall(r'"(referral [a-z -]+?)(?: --| \{|")', path.read_text())}
    assert len(named) > 8
    for command in named:
        found: Any = build("es", frozenset(ON_DEMAND))
        for word in [one for one in shlex.split(command)[1:] if not one.startswith("-")]:
            found = found.commands[word]


@pytest.mark.parametrize(
    ("seconds", "told"), [(0, "0 s"), (59, "59 s"), (3661, "1 h 1 min"), (90_061, "1 d 1 h"), (-7200, "−2 h")]
)
def test_a_length_of_time_is_told_in_its_two_largest_units(seconds: int, told: str) -> None:
    assert duration(seconds) == told


def test_a_workstation_in_order_ends_with_0_in_both_languages(shell: Shell) -> None:
    directory = ProfileDir(shell.folder / "profiles" / "officer")
    keystore = Keystore.open(directory)
    keystore.keep_person(keystore.unlock_person(PASSPHRASE), PASSPHRASE, Kdf())
    for lang, told in (("es", "✔ Nada que hacer."), ("en", "✔ Nothing to do.")):
        ran = shell.run("officer", "doctor", "--person", "--lang", lang)
        assert (ran.exit, told in ran.out) == (0, True), ran
        assert not {"⚠", "✖"} & set(ran.out)


def test_in_json_every_finding_has_one_shape_and_the_exit_code_is_the_same(shell: Shell) -> None:
    ran = shell.run("operator", "doctor", "--json")
    assert (ran.exit, ran.err) == (10, "")
    assert set(ran.json) == {"schema", "next", "healthy", "counts", "findings"}
    assert all(set(one) == MEMBERS for one in ran.json["findings"])
    assert set(ran.json["counts"]) == {level.value for level in Level}
    assert ran.json["healthy"] is False
    assert ran.json["next"][0] == "referral keys rotate --seal"
    asking = [one for one in ran.json["findings"] if one["level"] in ("warning", "problem")]
    assert all(one["remedy"] for one in asking)
    assert {one["code"] for one in asking} >= {"kdf", "backup.none"}


def test_nothing_is_told_that_is_secret_or_where_it_lies(shell: Shell) -> None:
    keystore = Keystore.open(ProfileDir(shell.folder / "profiles" / "operator"))
    keys = keystore.unlock_person(PASSPHRASE)
    out = shell.run("operator", "doctor", "--person", "--json").out + shell.run("operator", "doctor", "--person").out
    for secret in (PASSPHRASE, CANARY, str(shell.folder), keys.storage.hex(), keys.access.secret.hex()):
        assert secret not in out


@pytest.mark.parametrize("lang", ["es", "en"])
def test_nobody_is_asked_for_a_passphrase_where_nobody_sits(shell: Shell, lang: str) -> None:
    """Without `--person` nothing asks; with it, a missing passphrase is the caller's to give."""
    ran = shell.run("operator", "doctor", "--lang", lang, REFERRAL_PASSPHRASE_FILE="")
    assert ran.exit == 10
    assert shell.run("nobody", "doctor", "--lang", lang).exit == 10


@contextmanager
def healthy(folder: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[str]:
    """An exchange as its administrator founds it, with a registrar of two keyholders; its settings file."""
    _, told = init(capsys, folder / "x", "--sandbox")
    config = Path(told["config"])
    exchange = Exchange(config, folder / "log")
    try:
        first = _join(folder / "one", Path(told["invitation"]).read_bytes(), Path(told["entry"]))
        assert exchange.stop() == 0
        (folder / "digits").write_text(first.code)
        words = ("admin", "approve", "--config", str(config), "--code-file", str(folder / "digits"))
        assert referral(capsys, *words)[0] == 0
        exchange = Exchange(config, folder / "log")
        with sdk.Client.person(folder / "one", PASSPHRASE) as registrar:
            party = registrar.session.keymap.find_party("registro")
            assert party is not None
            raw = registrar.invite(party.entry.wire(), [CredentialKind.PERSON])
            second = _join(folder / "two", raw, None)
            (applicant,) = registrar.applicants()
            registrar.approve(applicant, second.code)
        yield str(config)
    finally:
        exchange.stop()


def _join(profile: Path, invitation: bytes, entry: Path | None) -> Joined:
    described = None if entry is None else json.loads(entry.read_text())
    what = Joining(parse_invitation(invitation), PASSPHRASE, entry=described, keyholder=True, kdf=InsecureKdfForTests())
    return sdk.join(profile, what)


def test_an_exchange_in_order_ends_with_0_and_one_that_stops_with_10(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with healthy(tmp_path, capsys) as config:
        for lang, told in (("es", "✔ Nada que hacer."), ("en", "✔ Nothing to do.")):
            code = run(["admin", "doctor", "--config", config, "--lang", lang], {})
            out = capsys.readouterr().out
            assert (int(code), told in out) == (0, True), out
    code, told_ = referral(capsys, "admin", "doctor", "--config", config)
    assert (code, told_["healthy"]) == (10, False)
    assert told_["next"][0] == f"referral admin serve --config {config}"


def test_settings_that_cannot_be_used_are_a_finding(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, told = referral(capsys, "admin", "doctor", "--config", str(tmp_path / "nothing.toml"))
    assert (code, told["findings"][0]["code"], told["findings"][0]["seen"]) == (
        10, "settings.unusable", {"reason": "config-missing"},
    )  # fmt: skip
    (tmp_path / "bad.toml").write_text("issuer = 'http://example.org'\n")
    code, told = referral(capsys, "admin", "doctor", "--config", str(tmp_path / "bad.toml"))
    assert (code, told["findings"][0]["seen"]["reason"]) == (10, "issuer")


def test_a_database_s_password_and_the_policy_s_faults_are_not_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, founded = init(capsys, tmp_path / "x")
    config = Path(founded["config"])
    settings = config.read_text()
    config.write_text(settings + 'database_url = "postgresql://dueno:secretisimo@127.0.0.1:9/x"\n')
    config.chmod(0o640)
    code, told = referral(capsys, "admin", "doctor", "--config", str(config))
    found = {one["code"]: one for one in told["findings"]}
    assert (code, found["database"]["seen"]["reason"]) == (10, "database-unreachable")
    assert (found["settings.file"]["level"], found["settings.file"]["seen"]) == ("problem", {"mode": "0640"})
    assert "secretisimo" not in json.dumps(told)
    config.write_text(settings + f'witness_policy = "{tmp_path / "nothing"}"\n')
    code, told = referral(capsys, "admin", "doctor", "--config", str(config))
    assert (code, told["findings"][0]["code"]) == (10, "settings.policy")


def test_a_production_exchange_with_one_registrar_person_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, told = init(capsys, tmp_path / "x")
    code, found = referral(capsys, "admin", "doctor", "--config", told["config"])
    (registrars,) = [one for one in found["findings"] if one["code"] == "registrars"]
    assert (code, registrars["level"], registrars["seen"]) == (10, "problem", {"persons": 0, "required": 2})
    assert registrars["command"] == "referral admin approve"
    assert all(one.startswith("referral admin ") for one in found["next"])
