"""The archive of a pack: one spelling, and every other zip refused (R-89)."""

from __future__ import annotations

import warnings
import zipfile
from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from referral_api.auditlog.container import MAX_ARCHIVE_BYTES, MAX_FILES, read_archive, write_archive
from referral_api.domain.errors import ErrorCode, ReferralError
from tests.auditlog.refusals import refused

NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,8}(/[A-Za-z0-9][A-Za-z0-9._-]{0,8}){0,2}", fullmatch=True)
FILES = {"a/one": b"1", "a/two": b"", "b": bytes(range(256)) * 3}


@given(st.dictionaries(NAMES, st.binary(max_size=100), min_size=1, max_size=6))
def test_what_is_written_is_read_back_by_us_and_by_others(files: dict[str, bytes]) -> None:
    raw = write_archive(files)
    assert read_archive(raw) == files
    assert write_archive(dict(reversed(files.items()))) == raw
    with zipfile.ZipFile(BytesIO(raw)) as archive:
        assert archive.testzip() is None
        assert {name: archive.read(name) for name in archive.namelist()} == files


def test_every_changed_byte_and_every_cut_is_another_archive_or_none() -> None:
    raw = write_archive(FILES)
    for at in range(len(raw)):
        changed = bytearray(raw)
        changed[at] ^= 1
        assert _read(bytes(changed)) != FILES, at
    assert all(_read(raw[:end]) is None for end in range(len(raw)))
    assert _read(raw + b"\0") is None


@pytest.mark.parametrize(
    "name",
    ["../out", "/etc/passwd", "a//b", "a/../b", "a/./b", ".hidden", "a\\b", "C:", "a/", "a b", "a\n"],
)
def test_no_name_leads_out_of_a_folder(name: str) -> None:
    assert refused(ErrorCode.MALFORMED, write_archive, {name: b""}) == "archive-name"
    forged = write_archive({"n" * len(name): b""}).replace(b"n" * len(name), name.encode())
    assert refused(ErrorCode.MALFORMED, read_archive, forged) == "archive-name"


def test_no_name_is_longer_than_a_file_system_may_take() -> None:
    assert list(read_archive(write_archive({"x" * 100: b""}))) == ["x" * 100]
    assert refused(ErrorCode.MALFORMED, write_archive, {"x" * 101: b""}) == "archive-name"


def zipped(method: int, *names: str) -> bytes:
    held = BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(held, "w", method) as archive:
        warnings.simplefilter("ignore")  # The library warns of a name that stands twice, which is what we want.
        for name in names:
            archive.writestr(name, b"0" * 1_000_000)
    return held.getvalue()


def test_what_is_compressed_is_refused_and_nothing_of_it_is_inflated() -> None:
    bomb = zipped(zipfile.ZIP_DEFLATED, "a")
    assert len(bomb) < 2000
    assert refused(ErrorCode.MALFORMED, read_archive, bomb) == "archive"


def test_a_name_that_stands_twice_is_refused() -> None:
    twice = zipped(zipfile.ZIP_STORED, "a", "a")
    assert refused(ErrorCode.MALFORMED, read_archive, twice) == "duplicate-member"


def test_a_second_directory_that_names_other_files_is_refused() -> None:
    """Other readers go by the directory at the end; ours must not see other files than they do."""
    one, other = write_archive({"good": b"good"}), write_archive({"evil": b"evil"})
    body, directory = one[: one.index(b"PK\1\2")], other[other.index(b"PK\1\2") :]
    assert refused(ErrorCode.MALFORMED, read_archive, body + directory) == "archive"
    assert refused(ErrorCode.MALFORMED, read_archive, b"MZ" + one) == "archive"


def test_an_archive_has_at_most_so_many_files_and_bytes() -> None:
    refused(ErrorCode.TOO_LARGE, write_archive, {f"f{at}": b"" for at in range(MAX_FILES + 1)})
    refused(ErrorCode.TOO_LARGE, write_archive, {"a": bytes(MAX_ARCHIVE_BYTES)})
    refused(ErrorCode.TOO_LARGE, read_archive, bytes(MAX_ARCHIVE_BYTES + 1))


@pytest.mark.parametrize("raw", [b"", b"PK", b"PK\3\4", write_archive({}), b"PK\3\4" + b"\xff" * 26])
def test_what_is_no_archive_is_told_so(raw: bytes) -> None:
    assert refused(ErrorCode.MALFORMED, read_archive, raw) == "archive"


def _read(raw: bytes) -> dict[str, bytes] | None:
    try:
        return read_archive(raw)
    except ReferralError:
        return None
