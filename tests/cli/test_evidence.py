"""Evidence packs on the command line: kept where nothing is altered, checked anywhere, ended by 0, 1 or 3 (R-89)."""

from __future__ import annotations

import zipfile
from io import BytesIO

import pytest

from referral_api.auditlog.container import read_archive
from referral_api.auditlog.note import SignatureType, VerifierKey
from referral_api.auditlog.pack import MANIFEST, read_manifest
from referral_api.auditlog.policy import format_policy, policy_of
from referral_api.formats.strict_json import b64u, parse
from tests.auditlog.packs import spoiled
from tests.cli.shell import Shell
from tests.formats.parties_world import key
from tests.world import UNIT


@pytest.fixture(scope="module")
def ref(shell: Shell) -> str:
    found = str(shell.run("operator", "send", "emergencia.json", "--unit", UNIT, "--json").json["ref"])
    for words in (["show", found], ["ack", found], ["accept", found]):
        assert shell.run("officer", *words, "--json").exit == 0, words
    return found


@pytest.fixture(scope="module")
def pack(shell: Shell, ref: str) -> bytes:
    kept = shell.run("auditor", "audit", "pack", ref, "-o", "pack.zip", "--json")
    assert kept.exit == 0, kept
    assert kept.json["verdict"] == "ok"
    return (shell.folder / "pack.zip").read_bytes()


def root_of(pack: bytes) -> str:
    return str(read_manifest(read_archive(pack)[MANIFEST]).root)


def test_a_pack_is_verified_before_it_is_kept_and_again_by_whoever_gets_it(shell: Shell, pack: bytes, ref: str) -> None:
    found = shell.run(None, "audit", "verify-pack", "pack.zip", "--root", root_of(pack), "--json")
    assert found.exit == 0
    told = found.json
    assert (told["verdict"], told["ref"], told["root_from"]) == ("ok", ref, "option")
    assert {step: one["verdict"] for step, one in told["steps"].items() if one["verdict"] != "ok"} == {
        "witnesses": "not-reached"
    }
    assert told["deliveries"][UNIT] == "accepted"
    assert {"omission", "sealed", "order", "witnesses"} == set(told["unchecked"])
    assert told["faults"] == []


def test_whoever_has_a_profile_verifies_against_the_root_pinned_in_it(shell: Shell, pack: bytes) -> None:
    found = shell.run("officer", "audit", "verify-pack", "pack.zip", "--json")
    assert (found.exit, found.json["root_from"]) == (0, "profile")


@pytest.mark.parametrize(
    ("lang", "words"),
    [
        ("es", ("INCOMPLETO", "nadie responde por ella", "No se ha comprobado")),
        ("en", ("INCOMPLETE", "nobody vouches", "Not checked")),
    ],
)
def test_without_a_root_a_pack_is_never_called_intact(
    shell: Shell, pack: bytes, lang: str, words: tuple[str, ...]
) -> None:
    found = shell.run(None, "audit", "verify-pack", "pack.zip", "--lang", lang)
    assert found.exit == 3
    assert all(word in found.out for word in words)
    assert "✖" not in found.out


def test_under_another_root_nothing_of_a_pack_counts(shell: Shell, pack: bytes) -> None:
    found = shell.run(None, "audit", "verify-pack", "pack.zip", "--root", b64u(bytes(32)), "--json")
    assert found.exit == 1
    assert found.json["steps"]["keys-log"]["verdict"] == "failed"
    assert found.json["steps"]["signatures"]["verdict"] == "not-reached"
    assert shell.run(None, "audit", "verify-pack", "pack.zip", "--root", "raíz").exit == 2


def test_a_changed_byte_ends_in_1_and_says_where_in_both_languages(shell: Shell, pack: bytes) -> None:
    def alter(contents: dict[str, bytes]) -> None:
        name = next(name for name in contents if name.endswith(".act.json"))
        contents[name] = contents[name].replace(b'"signature":"', b'"signature":"A', 1)

    (shell.folder / "altered.zip").write_bytes(spoiled(pack, alter))
    for lang, word in (("es", "ALTERADO"), ("en", "ALTERED")):
        found = shell.run(None, "audit", "verify-pack", "altered.zip", "--root", root_of(pack), "--lang", lang)
        assert found.exit == 1
        assert word in found.out
        assert ".tlog-proof" in found.out
    (shell.folder / "cut.zip").write_bytes(pack[:-1])
    assert shell.run(None, "audit", "verify-pack", "cut.zip", "--json").exit == 1


def test_a_policy_of_ones_own_asks_for_witnesses_that_a_pack_may_lack(shell: Shell, pack: bytes) -> None:
    witness = VerifierKey("testigo.example", SignatureType.COSIGNATURE_ED25519, _public("testigo"))
    (shell.folder / "policy").write_bytes(format_policy(policy_of(1, [witness])))
    words = ("audit", "verify-pack", "pack.zip", "--root", root_of(pack), "--policy", "policy", "--json")
    found = shell.run(None, *words)
    assert found.exit == 3
    assert found.json["steps"]["witnesses"]["verdict"] == "incomplete"
    (shell.folder / "policy").write_bytes(b"quorum nobody\n")
    assert shell.run(None, *words).exit == 2


def test_a_unit_keeps_what_it_may_see_and_a_stranger_nothing(shell: Shell, ref: str) -> None:
    own = shell.run("officer", "audit", "pack", ref, "-o", "own.zip", "--json")
    assert own.exit == 0
    assert "view" in own.json["unchecked"]
    foreign = shell.run("stranger", "audit", "pack", ref, "-o", "foreign.zip", "--json")
    assert foreign.exit == 6
    assert not (shell.folder / "foreign.zip").exists()
    again = shell.run("officer", "audit", "pack", ref, "-o", "own.zip", "--json")
    assert again.exit == 2
    assert again.json["error"]["code"] == "file-exists"


def test_the_record_of_a_pack_names_its_digest_and_stands_in_the_next_one(shell: Shell, ref: str) -> None:
    first = shell.run("auditor", "audit", "pack", ref, "-o", "first.zip", "--json").json["sha256"]
    shell.run("auditor", "audit", "pack", ref, "-o", "second.zip", "--json")
    contents = read_archive((shell.folder / "second.zip").read_bytes())
    records = [parse(raw, max_bytes=4096) for name, raw in contents.items() if name.endswith(".record.json")]
    digests = {one["digest"] for one in records if one["kind"] == "pack_read"}
    assert b64u(bytes.fromhex(first)) in digests


def test_other_programs_read_a_pack_as_we_do(pack: bytes) -> None:
    with zipfile.ZipFile(BytesIO(pack)) as archive:
        assert archive.testzip() is None
        assert {name: archive.read(name) for name in archive.namelist()} == read_archive(pack)


def _public(name: str) -> bytes:
    from referral_api.formats.strict_json import unb64u

    return unb64u(key(name).public.jwk["x"])
