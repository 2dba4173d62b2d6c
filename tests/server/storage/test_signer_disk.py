"""A signer's disk that fails, and processes that die: what is in its file but not on the disk was never signed."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from referral_api.domain.errors import ErrorCode
from referral_api.server.storage.signer import LogSigner, state_path
from referral_api.server.storage.signer_state import MARK_AT, MARK_BYTES
from tests.auditlog.refusals import refused
from tests.server.storage.ledger import AUDIT, leaves_of
from tests.server.storage.test_signer import check, create, from_memory, hashes_of, must_not_read, reopen


@contextmanager
def syncing(instead: Callable[[Callable[[int], None], int], None]) -> Iterator[None]:
    """Every fdatasync of this process goes through `instead`, which is given the real one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fdatasync", partial(instead, os.fdatasync))
        yield


def failing(_real: Callable[[int], None], _descriptor: int) -> None:
    """What a disk says that has lost what it was given."""
    raise OSError(errno.EIO, os.strerror(errno.EIO))


def newest_size(signer: LogSigner) -> int:
    newest = signer.newest()
    assert newest is not None
    return newest.size


def sizes(*signers: LogSigner) -> list[int]:
    return [newest_size(one) for one in signers]


def test_what_could_not_be_synced_is_shown_by_nobody(tmp_path: Path) -> None:
    """R-93: the signature would leave, and the state that forbids another one would not outlive the power."""
    signer, beside = create(tmp_path), reopen(tmp_path)
    released = signer.extend(0, hashes_of(0, 5), must_not_read)
    history = from_memory(hashes_of(0, 20))
    with syncing(failing):
        reason = refused(ErrorCode.WRITES_CLOSED, signer.extend, 5, hashes_of(5, 9), must_not_read)
        assert reason == "signer-state-unwritable"
        late = reopen(tmp_path)
        assert signer.newest() == beside.newest() == late.newest() == released
        for one in (late, beside):
            assert refused(ErrorCode.WRITES_CLOSED, one.extend, 9, [], history) == "signer-state-unwritable"
            assert one.newest() == released
    # The disk is well again. Who failed stays as it is; who comes anew finds what was written, and syncs it first.
    assert sizes(signer, beside, late) == [5, 5, 5]
    after = reopen(tmp_path)
    assert newest_size(after) == 9
    check(after.extend(9, hashes_of(9, 12), must_not_read), leaves_of(0, 12))
    assert sizes(after, signer, beside, late) == [12, 5, 5, 5]
    for one in (signer, beside, late, after):
        one.close()


def test_a_state_is_shown_only_when_its_sync_has_returned(tmp_path: Path) -> None:
    signer, beside = create(tmp_path), reopen(tmp_path)
    signer.extend(0, hashes_of(0, 5), must_not_read)
    seen: list[list[int]] = []

    def looked_at(real: Callable[[int], None], descriptor: int) -> None:
        seen.append(sizes(signer, beside))
        real(descriptor)
        seen.append(sizes(signer, beside))

    with syncing(looked_at):
        for size in (9, 12):
            signer.extend(size - 3, hashes_of(size - 3, size), from_memory(hashes_of(0, 20)))
    assert seen == [[5, 5], [5, 5], [9, 9], [9, 9]]
    assert sizes(signer, beside) == [12, 12]
    signer.close()
    beside.close()


DYING = """
import os, sys
from pathlib import Path
from tests.server.storage.test_signer import hashes_of, must_not_read, reopen
signer = reopen(Path(sys.argv[1]))
os.fdatasync = lambda descriptor: os._exit(9)
signer.extend(5, hashes_of(5, 9), must_not_read)
"""


def test_what_a_killed_process_left_unsynced_is_synced_before_anything_is_built_on_it(tmp_path: Path) -> None:
    signer = create(tmp_path)
    signer.extend(0, hashes_of(0, 5), must_not_read)
    environment = {**os.environ, "PYTHONPATH": str(Path.cwd())}
    ended = subprocess.run([sys.executable, "-c", DYING, str(tmp_path)], check=False, env=environment)
    assert ended.returncode == 9
    assert newest_size(signer) == 5
    shown: list[int] = []

    def looked_at(real: Callable[[int], None], descriptor: int) -> None:
        shown.append(newest_size(signer))
        real(descriptor)

    with syncing(looked_at):
        check(signer.extend(9, hashes_of(9, 12), from_memory(hashes_of(0, 20))), leaves_of(0, 12))
    # First that state on its own, while nobody sees it yet; then the next one, which writes over the older slot.
    assert shown == [5, 9]
    signer.close()


@pytest.mark.parametrize("mark", [b"", bytes(MARK_BYTES), b"x" * MARK_BYTES])
def test_a_file_without_a_mark_is_read_and_marked(tmp_path: Path, mark: bytes) -> None:
    """States of before there were marks, and adopted ones, have none; one may also be spoilt."""
    signer = create(tmp_path)
    signer.extend(0, hashes_of(0, 5), must_not_read)
    signer.close()
    path = state_path(tmp_path, AUDIT)
    good = path.read_bytes()
    path.write_bytes(good[:MARK_AT] + mark)
    again = reopen(tmp_path)
    assert newest_size(again) == 5
    assert path.read_bytes() == good
    # Spoilt beneath a running process, it costs one more sync.
    path.write_bytes(good[:MARK_AT] + mark)
    assert newest_size(again) == 5
    check(again.extend(5, hashes_of(5, 6), must_not_read), leaves_of(0, 6))
    assert newest_size(again) == 6
    again.close()
