"""The keystore: what opens it, what damages it, and that damage and a wrong secret are told apart."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from referral_api.client import compartment as module
from referral_api.client.compartment import InsecureKdfForTests, Kdf
from referral_api.client.keystore import (
    Keystore,
    Secret,
    new_credential_keys,
    new_service_secret,
    read_service_secret,
    write_service_secret,
)
from referral_api.client.profile import Profile, ProfileDir
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import CredentialId, CredentialKind, Digest, PartyId
from referral_api.formats.keys import Alg
from referral_api.formats.strict_json import b64u, canonical, sha256_b64u, unb64u

NOW = 1_795_430_000
PASSPHRASE = "siete palabras al azar y ñandú"
PROFILE = Profile(
    server="https://exchange.example",
    issuer="https://exchange.example",
    root=Digest("A" * 43),
    environment="sandbox",
    party=PartyId("pnp-trata-piura"),
)
PERSON = new_credential_keys(
    CredentialId("pnp-trata-piura.of1aaa"), CredentialKind.PERSON, NOW, enc=[Secret(Alg.HPKE_9, b"e" * 32, NOW)]
)
SERVICE = new_credential_keys(CredentialId("pnp-trata-piura.svc1"), CredentialKind.SERVICE, NOW, seals=False)


@pytest.fixture
def directory(tmp_path: Path) -> ProfileDir:
    return ProfileDir(tmp_path / "profile")


@pytest.fixture
def filled(directory: ProfileDir) -> ProfileDir:
    keystore = Keystore.create(directory, PROFILE)
    keystore.keep_person(PERSON, PASSPHRASE, InsecureKdfForTests())
    keystore.keep_service(SERVICE, b"s" * 32)
    return directory


def refused(code: ErrorCode, reason: str | None = None) -> Any:
    return pytest.raises(ReferralError, match=code.value if reason is None else f"{code.value}.*{reason}")


def rewrite(directory: ProfileDir, document: dict[str, Any]) -> None:
    """Write a document with a fitting checksum, as somebody would who wants to be believed."""
    document.pop("sha256", None)
    directory.keystore.write_bytes(canonical(document | {"sha256": sha256_b64u(canonical(document))}))


def read(directory: ProfileDir) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(directory.keystore.read_bytes())
    return document


def test_both_compartments_open_with_their_own_secret_and_give_back_the_keys(filled: ProfileDir) -> None:
    keystore = Keystore.open(filled)
    assert keystore.unlock_person(PASSPHRASE) == PERSON
    assert keystore.unlock_service(b"s" * 32) == SERVICE
    assert keystore.profile.person == PERSON.credential
    assert keystore.profile.service == SERVICE.credential


def test_the_keys_that_come_back_sign_what_the_first_ones_verify(filled: ProfileDir) -> None:
    again = Keystore.open(filled).unlock_person(PASSPHRASE)
    assert [one.kid for one in again.signers()] == [one.kid for one in PERSON.signers()]
    assert [one.alg for one in again.signers()] == [Alg.ED25519, Alg.ML_DSA_65]


def test_a_passphrase_opens_however_its_accents_were_composed(filled: ProfileDir) -> None:
    decomposed = PASSPHRASE.replace("ñ", "n\u0303").replace("ú", "u\u0301")
    assert decomposed != PASSPHRASE
    assert Keystore.open(filled).unlock_person(decomposed) == PERSON


def test_a_wrong_passphrase_and_a_wrong_key_file_are_locked_and_not_corrupt(filled: ProfileDir) -> None:
    keystore = Keystore.open(filled)
    with refused(ErrorCode.LOCKED, "wrong-secret"):
        keystore.unlock_person(PASSPHRASE + " ")
    with refused(ErrorCode.LOCKED, "wrong-secret"):
        keystore.unlock_service(b"t" * 32)
    with refused(ErrorCode.LOCKED, "length"):
        keystore.unlock_service(b"s" * 31)


def test_a_short_passphrase_is_refused_before_anything_is_written(directory: ProfileDir) -> None:
    keystore = Keystore.create(directory, PROFILE)
    with refused(ErrorCode.LOCKED, "too-short"):
        keystore.keep_person(PERSON, "once letras", InsecureKdfForTests())
    assert not Keystore.open(directory).has(CredentialKind.PERSON)


def test_no_secret_stands_in_the_file_in_any_spelling(filled: ProfileDir) -> None:
    raw = filled.keystore.read_bytes()
    for secret in (PERSON.access.secret, *(one.secret for one in PERSON.seal), PERSON.enc[0].secret, PERSON.storage):
        assert secret not in raw
        assert b64u(secret).encode() not in raw
        assert secret.hex().encode() not in raw
    assert "secret=" not in repr(PERSON)
    assert repr(PERSON.storage) not in repr(PERSON)


def test_the_file_is_closed_to_others_and_one_that_is_open_to_them_is_not_read(filled: ProfileDir) -> None:
    assert filled.keystore.stat().st_mode & 0o777 == 0o600
    assert filled.path.stat().st_mode & 0o777 == 0o700
    filled.keystore.chmod(0o640)
    with refused(ErrorCode.KEYSTORE_CORRUPT, "permissions"):
        Keystore.open(filled)


def test_a_profile_directory_that_others_may_enter_is_refused(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir(mode=0o755)
    with refused(ErrorCode.KEYSTORE_CORRUPT, "permissions"):
        Keystore.create(ProfileDir(tmp_path / "open"), PROFILE)


def test_a_keystore_is_never_overwritten_by_a_new_one(filled: ProfileDir) -> None:
    with pytest.raises(FileExistsError):
        Keystore.create(filled, PROFILE)
    assert Keystore.open(filled).unlock_person(PASSPHRASE) == PERSON


def test_a_missing_keystore_says_that_nobody_is_enrolled(directory: ProfileDir) -> None:
    with refused(ErrorCode.NOT_ENROLLED):
        Keystore.open(directory)
    with refused(ErrorCode.NOT_ENROLLED):
        Keystore.create(directory, PROFILE).unlock_person(PASSPHRASE)


def test_a_changed_byte_anywhere_in_the_file_is_corruption_and_never_a_wrong_passphrase(filled: ProfileDir) -> None:
    raw = filled.keystore.read_bytes()
    for at in range(0, len(raw), 37):
        changed = bytearray(raw)
        changed[at] ^= 0x01
        filled.keystore.write_bytes(bytes(changed))
        with refused(ErrorCode.KEYSTORE_CORRUPT):
            Keystore.open(filled)


@pytest.mark.parametrize("kept", [0, 1, 100, -1])
def test_a_truncated_file_is_corruption(filled: ProfileDir, kept: int) -> None:
    filled.keystore.write_bytes(filled.keystore.read_bytes()[:kept])
    with refused(ErrorCode.KEYSTORE_CORRUPT):
        Keystore.open(filled)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("memory_kib", (1 << 20) + 1),
        ("memory_kib", 1),
        ("passes", 11),
        ("passes", 0),
        ("lanes", 9),
        ("lanes", True),
        ("memory_kib", "262144"),
        ("memory_kib", 1 << 40),
    ],
)
def test_derivation_parameters_beyond_the_caps_are_refused_before_anything_is_derived(
    filled: ProfileDir, name: str, value: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = read(filled)
    header = json.loads(unb64u(document["person"]["header"]))
    document["person"]["header"] = b64u(canonical(header | {name: value}))
    rewrite(filled, document)
    monkeypatch.setattr(module, "Argon2id", None)
    with refused(ErrorCode.KEYSTORE_CORRUPT, "parameters"):
        Keystore.open(filled).unlock_person(PASSPHRASE)


def test_a_header_cannot_be_weakened_even_with_a_fitting_checksum(filled: ProfileDir) -> None:
    document = read(filled)
    header = json.loads(unb64u(document["person"]["header"]))
    document["person"]["header"] = b64u(canonical(header | {"passes": 2}))
    rewrite(filled, document)
    with refused(ErrorCode.LOCKED):
        Keystore.open(filled).unlock_person(PASSPHRASE)


@pytest.mark.parametrize("change", [{"kdf": "pbkdf2"}, {"v": 2}, {"compartment": "service"}, {"extra": 1}])
def test_a_header_of_another_kind_is_refused(filled: ProfileDir, change: dict[str, Any]) -> None:
    document = read(filled)
    header = json.loads(unb64u(document["person"]["header"]))
    document["person"]["header"] = b64u(canonical(header | change))
    rewrite(filled, document)
    with refused(ErrorCode.KEYSTORE_CORRUPT, "header"):
        Keystore.open(filled).unlock_person(PASSPHRASE)


@pytest.mark.parametrize("change", [{"root": "B" + "A" * 42}, {"issuer": "https://other.example"}])
def test_pins_cannot_be_moved_under_a_sealed_compartment(filled: ProfileDir, change: dict[str, Any]) -> None:
    document = read(filled)
    document["profile"] |= change
    rewrite(filled, document)
    with refused(ErrorCode.KEYSTORE_CORRUPT, "profile"):
        Keystore.open(filled).unlock_person(PASSPHRASE)
    with pytest.raises(ValueError, match="another exchange"):
        Keystore.open(filled).keep_profile(PROFILE)


def test_the_compartments_cannot_stand_in_for_each_other(filled: ProfileDir) -> None:
    document = read(filled)
    document["person"], document["service"] = document["service"], document["person"]
    rewrite(filled, document)
    keystore = Keystore.open(filled)
    with refused(ErrorCode.KEYSTORE_CORRUPT, "header"):
        keystore.unlock_person(PASSPHRASE)
    with refused(ErrorCode.KEYSTORE_CORRUPT, "header"):
        keystore.unlock_service(b"s" * 32)


def test_the_ciphertext_is_bound_to_its_credential(filled: ProfileDir) -> None:
    document = read(filled)
    document["profile"]["person"] = "pnp-trata-piura.other1"
    rewrite(filled, document)
    with refused(ErrorCode.KEYSTORE_CORRUPT, "contents"):
        Keystore.open(filled).unlock_person(PASSPHRASE)


def test_well_sealed_nonsense_is_corruption(filled: ProfileDir) -> None:
    document = read(filled)
    header = unb64u(document["service"]["header"])
    derived = module._derive(json.loads(header), b"s" * 32)
    nonce = b"n" * 12
    for contents in (b"{}", b"no json", canonical({"v": 1, "access": 3})):
        document["service"]["nonce"] = b64u(nonce)
        document["service"]["ciphertext"] = b64u(AESGCM(derived).encrypt(nonce, contents, header))
        rewrite(filled, document)
        with refused(ErrorCode.KEYSTORE_CORRUPT, "contents"):
            Keystore.open(filled).unlock_service(b"s" * 32)


def test_weak_parameters_come_from_a_class_that_says_so_and_the_default_is_strong() -> None:
    assert Kdf() == Kdf(256 * 1024, 3, 2)
    assert InsecureKdfForTests().memory_kib < Kdf().memory_kib


def test_real_parameters_open_what_they_sealed(directory: ProfileDir) -> None:
    keystore = Keystore.create(directory, PROFILE)
    keystore.keep_person(PERSON, PASSPHRASE, Kdf())
    header = json.loads(unb64u(read(directory)["person"]["header"]))
    assert (header["memory_kib"], header["passes"], header["lanes"]) == (262_144, 3, 2)
    assert Keystore.open(directory).unlock_person(PASSPHRASE) == PERSON


def test_every_sealing_draws_a_new_salt_and_nonce(filled: ProfileDir) -> None:
    before = read(filled)["service"]
    Keystore.open(filled).keep_service(SERVICE, b"s" * 32)
    after = read(filled)["service"]
    assert before["nonce"] != after["nonce"]
    assert before["header"] != after["header"]


def test_what_is_stored_for_this_machine_opens_with_its_context_only() -> None:
    stored = PERSON.store(b"borrador", b"act-1")
    assert PERSON.restore(stored, b"act-1") == b"borrador"
    other = replace(PERSON, storage=b"o" * 32)
    for keys, raw, context in (
        (PERSON, stored, b"act-2"),
        (other, stored, b"act-1"),
        (PERSON, stored[:-1], b"act-1"),
        (PERSON, b"", b"act-1"),
    ):
        with refused(ErrorCode.DECRYPT_FAILED):
            keys.restore(raw, context)


def test_a_key_file_holds_32_bytes_and_is_closed_to_others(tmp_path: Path) -> None:
    path, secret = tmp_path / "service.key", new_service_secret()
    write_service_secret(path, secret)
    assert path.stat().st_mode & 0o777 == 0o600
    assert read_service_secret(path) == secret
    path.chmod(0o644)
    with refused(ErrorCode.KEYSTORE_CORRUPT, "permissions"):
        read_service_secret(path)


def test_a_service_has_no_seal_keys_unless_it_submits_and_a_person_always_has_them() -> None:
    assert SERVICE.seal == ()
    with pytest.raises(ValueError, match="a person has seal keys"):
        new_credential_keys(CredentialId("a-b.pers1"), CredentialKind.PERSON, NOW, seals=False)


def test_two_draws_of_keys_share_nothing() -> None:
    one, other = (new_credential_keys(PERSON.credential, CredentialKind.PERSON, NOW) for _ in range(2))
    secrets = [one.access.secret, other.access.secret, *(s.secret for keys in (one, other) for s in keys.seal)]
    assert len({*secrets, one.storage, other.storage}) == 8


def test_a_command_seals_with_the_real_parameters_unless_a_test_said_otherwise(tmp_path: Path) -> None:
    """In a process of its own, where nobody has."""
    program = (
        "import sys, json; from tests.client.test_keystore import *; "
        "store = Keystore.create(ProfileDir(Path(sys.argv[1])), PROFILE); store.keep_person(PERSON, PASSPHRASE); "
        "print(json.loads(unb64u(read(ProfileDir(Path(sys.argv[1])))['person']['header']))['memory_kib'])"
    )
    ran = subprocess.run([sys.executable, "-c", program, str(tmp_path / "p")], check=True, capture_output=True)
    assert int(ran.stdout) == Kdf().memory_kib
