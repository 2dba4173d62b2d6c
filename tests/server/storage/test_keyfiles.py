"""The exchange's own keys at rest: made once, for one reader, for one use each."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from referral_api.domain.errors import ErrorCode
from referral_api.formats.keys import Alg, verify_signature
from referral_api.server.storage.keyfiles import create_signers, load_signers
from tests.auditlog.refusals import refused

FILES = ("act.pem", "log.pem", "receipt.pem", "token.pem")


def test_four_keys_are_made_and_found_again(tmp_path: Path) -> None:
    made = create_signers(tmp_path / "keys")
    found = load_signers(tmp_path / "keys")
    assert found == made
    assert len({made.token.kid, made.receipt.kid, made.act.kid, made.log.kid}) == 4
    for one in (found.token, found.receipt, found.act, found.log):
        assert one.alg is Alg.ED25519
        verify_signature(made.token.public if one.kid == made.token.kid else one.public, b"text", one.sign(b"text"))
    assert sorted(path.name for path in (tmp_path / "keys").iterdir()) == sorted(FILES)
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "keys").iterdir()} == {0o600}
    assert (tmp_path / "keys").stat().st_mode & 0o777 == 0o700


def test_a_key_is_never_overwritten(tmp_path: Path) -> None:
    create_signers(tmp_path)
    before = {name: (tmp_path / name).read_bytes() for name in FILES}
    assert refused(ErrorCode.UNAVAILABLE, create_signers, tmp_path) == "keys-exist"
    (tmp_path / "log.pem").unlink()
    assert refused(ErrorCode.UNAVAILABLE, create_signers, tmp_path) == "keys-exist"
    assert {name: (tmp_path / name).read_bytes() for name in FILES if name != "log.pem"} == {
        name: raw for name, raw in before.items() if name != "log.pem"
    }
    assert refused(ErrorCode.UNAVAILABLE, load_signers, tmp_path) == "keys-missing"


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o620, 0o604, 0o602, 0o660])
def test_a_key_that_others_can_reach_is_not_used(tmp_path: Path, mode: int) -> None:
    create_signers(tmp_path)
    (tmp_path / "receipt.pem").chmod(mode)
    assert refused(ErrorCode.UNAVAILABLE, load_signers, tmp_path) == "keys-exposed"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_key_of_another_account_is_not_used(tmp_path: Path) -> None:
    create_signers(tmp_path)
    os.chown(tmp_path / "act.pem", 65534, 65534)
    assert refused(ErrorCode.UNAVAILABLE, load_signers, tmp_path) == "keys-exposed"


def test_a_read_only_credential_is_enough(tmp_path: Path) -> None:
    made = create_signers(tmp_path)
    for name in FILES:
        (tmp_path / name).chmod(0o400)
    assert load_signers(tmp_path) == made


def test_what_is_no_plain_ed25519_key_is_unreadable(tmp_path: Path) -> None:
    create_signers(tmp_path)
    good = (tmp_path / "token.pem").read_bytes()
    key = load_pem_private_key(good, password=None)
    curve = ec.generate_private_key(ec.SECP256R1())
    bad = [
        b"",
        good[:-40],
        good.replace(b"PRIVATE", b"PUBLIC"),
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")),
        curve.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
    ]
    for pem in bad:
        (tmp_path / "token.pem").write_bytes(pem)
        assert refused(ErrorCode.UNAVAILABLE, load_signers, tmp_path) == "keys-unreadable"


def test_one_key_has_one_use(tmp_path: Path) -> None:
    create_signers(tmp_path)
    (tmp_path / "receipt.pem").write_bytes((tmp_path / "act.pem").read_bytes())
    assert refused(ErrorCode.UNAVAILABLE, load_signers, tmp_path) == "keys-reused"


def test_a_signer_does_not_show_its_secret(tmp_path: Path) -> None:
    made = create_signers(tmp_path)
    key = load_pem_private_key((tmp_path / "log.pem").read_bytes(), password=None)
    secret = key.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
    assert secret.hex() not in repr(made)
    assert repr(secret) not in repr(made)
