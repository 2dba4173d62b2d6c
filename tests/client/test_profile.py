"""The profile directory: pins only advance, files stay private, caches may be lost and pins may not."""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path

import pytest

from referral_api.client.profile import (
    MAX_FILE_BYTES,
    Pin,
    Profile,
    ProfileDir,
    parse_profile,
    read_private,
    write_private,
)
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import CredentialId, CredentialKind, Digest, PartyId

ORIGIN = "exchange.example/v1/log/keys"
CREDENTIAL = CredentialId("pnp-trata-piura.of1aaa")
PROFILE = Profile("https://a.example", "https://a.example", Digest("A" * 43), "sandbox", PartyId("pnp-trata-piura"))


def pin(size: int, root: bytes = b"r") -> Pin:
    return Pin(size, root * 32)


@pytest.fixture
def directory(tmp_path: Path) -> ProfileDir:
    made = ProfileDir(tmp_path / "p")
    made.create()
    return made


def test_a_pin_advances_from_what_was_seen_and_from_nothing_else(directory: ProfileDir) -> None:
    assert directory.find_pin(ORIGIN) is None
    assert directory.advance_pin(ORIGIN, pin(5), seen=None)
    assert not directory.advance_pin(ORIGIN, pin(9), seen=None)
    assert not directory.advance_pin(ORIGIN, pin(9), seen=pin(4))
    assert directory.advance_pin(ORIGIN, pin(9), seen=pin(5))
    assert directory.find_pin(ORIGIN) == pin(9)
    assert ProfileDir(directory.path).find_pin(ORIGIN) == pin(9)
    assert directory.find_pin("other.example/v1/log/keys") is None


@pytest.mark.parametrize("back", [pin(4), pin(5, b"x")])
def test_a_pin_that_would_shrink_or_fork_is_a_programmers_error(directory: ProfileDir, back: Pin) -> None:
    directory.advance_pin(ORIGIN, pin(5), seen=None)
    with pytest.raises(RuntimeError, match="only advances"):
        directory.advance_pin(ORIGIN, back, seen=pin(5))
    assert directory.find_pin(ORIGIN) == pin(5)


def _climb(path: Path, steps: int, won: multiprocessing.Queue[int]) -> None:
    directory, mine = ProfileDir(path), 0
    while mine < steps:
        seen = directory.find_pin(ORIGIN)
        size = 0 if seen is None else seen.size
        mine += directory.advance_pin(ORIGIN, pin(size + 1), seen=seen)
    won.put(mine)


def test_processes_that_advance_a_pin_at_once_never_overwrite_each_other(directory: ProfileDir) -> None:
    context = multiprocessing.get_context("fork")
    won: multiprocessing.Queue[int] = context.Queue()
    climbers = [context.Process(target=_climb, args=(directory.path, 15, won)) for _ in range(3)]
    for climber in climbers:
        climber.start()
    total = sum(won.get(timeout=60) for _ in climbers)
    for climber in climbers:
        climber.join()
    assert directory.find_pin(ORIGIN) == pin(total) == pin(45)


@pytest.mark.parametrize(
    "raw", [b"", b"{", b"[]", b'{"logs":{"a":{"size":1,"root":"zz"}},"v":1}', b'{"logs":{"a":{"size":-1,"root":""}}}']
)
def test_damaged_pins_are_told_and_never_forgotten(directory: ProfileDir, raw: bytes) -> None:
    write_private(directory.path / "pins.json", raw)
    with pytest.raises(ReferralError, match=ErrorCode.KEYSTORE_CORRUPT.value):
        directory.find_pin(ORIGIN)
    with pytest.raises(ReferralError, match=ErrorCode.KEYSTORE_CORRUPT.value):
        directory.advance_pin(ORIGIN, pin(1), seen=None)


def test_a_damaged_token_cache_costs_a_token_and_nothing_else(directory: ProfileDir) -> None:
    write_private(directory.path / "tokens.json", b"}")
    assert directory.find_token(CREDENTIAL, 0) is None
    directory.keep_token(CREDENTIAL, {"token": "t", "expires_at": 1000, "dpop_secret": "A" * 43})
    found = directory.find_token(CREDENTIAL, 900)
    assert found is not None
    assert found.value == "t"
    assert directory.find_token(CREDENTIAL, 971) is None
    directory.keep_token(CREDENTIAL, None)
    assert directory.find_token(CREDENTIAL, 900) is None


def test_the_cursor_is_kept(directory: ProfileDir) -> None:
    assert directory.find_cursor() is None
    directory.keep_cursor("c1")
    directory.keep_cursor("c2")
    assert ProfileDir(directory.path).find_cursor() == "c2"


def test_a_file_is_replaced_whole_private_and_without_leftovers(tmp_path: Path) -> None:
    path = tmp_path / "f"
    write_private(path, b"one")
    with path.open("rb") as old:
        write_private(path, b"two")
        assert old.read() == b"one"
    assert read_private(path) == b"two"
    assert path.stat().st_mode & 0o777 == 0o600
    assert os.listdir(tmp_path) == ["f"]  # noqa: PTH208 - hidden files too


def test_a_file_that_could_not_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "f"
    write_private(path, b"one")
    with pytest.raises(TypeError):
        write_private(path, "text")  # type: ignore[arg-type]
    assert read_private(path) == b"one"
    assert os.listdir(tmp_path) == ["f"]  # noqa: PTH208


def test_a_file_beyond_its_limit_is_not_read(tmp_path: Path) -> None:
    write_private(tmp_path / "f", b"x" * (MAX_FILE_BYTES + 1))
    with pytest.raises(ReferralError, match=ErrorCode.KEYSTORE_CORRUPT.value):
        read_private(tmp_path / "f")


def test_a_profile_reads_as_it_was_written_and_knows_its_credentials() -> None:
    assert parse_profile(PROFILE.wire()) == PROFILE
    enrolled = PROFILE.enrolled(CredentialKind.PERSON, CREDENTIAL)
    assert enrolled.credential(CredentialKind.PERSON) == CREDENTIAL
    with pytest.raises(ReferralError, match="not-enrolled"):
        enrolled.credential(CredentialKind.SERVICE)


@pytest.mark.parametrize(
    "change", [{"lang": "fr"}, {"environment": "test"}, {"root": 1}, {"person": 3}, {"extra": 1}, {"service": []}]
)
def test_a_profile_with_anything_else_in_it_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ReferralError, match="profile"):
        parse_profile(PROFILE.wire() | change)
    with pytest.raises(ReferralError, match="profile"):
        parse_profile([])
