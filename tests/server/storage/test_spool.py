"""The spool of a closed exchange: on disk before anything is handed out, and read by nobody before its process ends."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Callable
from pathlib import Path

import pytest

from referral_api.auditlog.records import Retrieved, ServerRecord, WritesClosed, encode_salt
from referral_api.domain.errors import ErrorCode
from referral_api.formats.strict_json import sha256_b64u
from referral_api.server.storage.spool import SUFFIX, Spool, Spooled, waiting
from tests.auditlog.refusals import refused

NOW = 1_790_000_000
REASON = "signer-state-missing"


def read(number: int) -> ServerRecord:
    digest = sha256_b64u(b"%d" % number)
    return Retrieved(
        t=NOW + number,
        salt=encode_salt(secrets.token_bytes(16)),
        party="unit-one",
        credential="unit-one.desk1",
        ref="01890a5d-ac96-774b-bcce-b302099a8057",
        unit="unit-one",
        sealed="bundle",
        act=digest,
        digest=digest,
    )


def spool_in(folder: Path) -> Spool:
    return Spool(folder, secrets.token_bytes)


def file_in(folder: Path) -> Path:
    (found,) = folder.glob(f"*{SUFFIX}")
    return found


def taken(folder: Path) -> Spooled:
    (found,) = waiting(folder)
    return found


def test_each_record_is_on_disk_when_append_returns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """R-97: a read whose record is only in the system's memory is lost with the power, and was answered."""
    real, synced = os.fdatasync, list[int]()

    def noting(descriptor: int) -> None:
        real(descriptor)
        synced.append(file_in(tmp_path).read_bytes().count(b"\n"))

    monkeypatch.setattr(os, "fdatasync", noting)
    spool, records = spool_in(tmp_path), [read(number) for number in range(4)]
    for count, one in enumerate(records, 2):
        spool.append(lambda: REASON, one, NOW)
        # The line that says that writes are closed comes first.
        assert synced[-1] == count
    spool.close()
    first, *others = taken(tmp_path).records
    assert isinstance(first, WritesClosed)
    assert (first.reason, others) == (REASON, records)


def failing_sync(_descriptor: int) -> None:
    raise OSError(errno.EIO, os.strerror(errno.EIO))


def cut_short(real: Callable[[int, bytes], int]) -> Callable[[int, bytes], int]:
    return lambda descriptor, raw: real(descriptor, raw[:-9])


@pytest.mark.parametrize("fails", ["sync", "write"])
def test_a_disk_that_refused_once_takes_nothing_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    spool, before, lost, after = spool_in(tmp_path), read(1), read(2), read(3)
    spool.append(lambda: REASON, before, NOW)
    with monkeypatch.context() as patch:
        if fails == "sync":
            patch.setattr(os, "fdatasync", failing_sync)
        else:
            patch.setattr(os, "write", cut_short(os.write))
        assert refused(ErrorCode.WRITES_CLOSED, spool.append, lambda: REASON, lost, NOW) == "spool-unwritable"
    # The disk is well again. But what would be written now could not be read behind a line that was cut.
    assert refused(ErrorCode.WRITES_CLOSED, spool.append, lambda: REASON, after, NOW) == "spool-unwritable"
    assert spool.fetched == {("01890a5d-ac96-774b-bcce-b302099a8057", "unit-one")}
    spool.close()
    found = taken(tmp_path).records[1:]
    assert found[:1] == (before,)
    assert after not in found


def test_a_spool_is_taken_by_nobody_while_its_process_lives(tmp_path: Path) -> None:
    spool = spool_in(tmp_path)
    spool.begin(REASON, NOW)
    assert waiting(tmp_path) == []
    spool.append(lambda: REASON, read(1), NOW)
    assert waiting(tmp_path) == []
    spool.close()
    assert len(taken(tmp_path).records) == 2


def test_a_last_line_that_was_torn_is_none_and_damage_anywhere_else_is_told(tmp_path: Path) -> None:
    spool = spool_in(tmp_path)
    for number in range(2):
        spool.append(lambda: REASON, read(number), NOW)
    spool.close()
    path = file_in(tmp_path)
    whole = path.read_bytes()
    last = whole.rindex(b"\n", 0, len(whole) - 1) + 1
    for cut in (last, last + 1, last + 50, len(whole) - 1):
        path.write_bytes(whole[:cut])
        assert len(taken(tmp_path).records) == 2
    for at in (0, 43, 60, last - 2, last, last + 60):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        assert refused(ErrorCode.WRITES_CLOSED, waiting, tmp_path) == "spool-unreadable"
    # Without its beginning nobody knows that writes were closed.
    path.write_bytes(whole[whole.index(b"\n") + 1 :])
    assert refused(ErrorCode.WRITES_CLOSED, waiting, tmp_path) == "spool-unreadable"
