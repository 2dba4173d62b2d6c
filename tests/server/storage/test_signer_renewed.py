"""What was signed last is signed again by a key that has come since: the same tree, whoever looks, whatever crashes."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from referral_api.auditlog.checkpoint import TrustPolicy, log_key, verify_checkpoint
from referral_api.auditlog.note import parse_note
from referral_api.domain.errors import ErrorCode
from referral_api.formats.keys import Alg, PublicKey, SigningKey, signing_key
from referral_api.server.storage.signer import LogSigner, SignedCheckpoint, state_path
from referral_api.server.storage.signer_state import MARK_AT, MARK_BYTES, read_state, trust_in
from tests.auditlog.refusals import refused
from tests.server.storage.ledger import AUDIT, LOG_KEY, edge_of, leaves_of
from tests.server.storage.test_signer import CLAIM, ORIGIN, from_memory, hashes_of, must_not_read

NEXT_KEY = signing_key(Alg.ED25519, bytes(range(1, 33)))


@dataclass
class Changing:
    """Log keys of which the second comes into use."""

    in_use: list[SigningKey] = field(default_factory=lambda: [LOG_KEY])

    def signing(self) -> list[SigningKey]:
        return self.in_use

    def known(self) -> list[PublicKey]:
        return [LOG_KEY.public, NEXT_KEY.public]


@pytest.fixture
def keys() -> Changing:
    return Changing()


def reopen(folder: Path, keys: Changing) -> LogSigner:
    return LogSigner.open(folder, AUDIT, ORIGIN, keys, "")


def grown(folder: Path, keys: Changing, times: int) -> LogSigner:
    """A signer that has signed so often, two leaves at a time: its newest state is in either slot."""
    signer = LogSigner.create(folder, AUDIT, ORIGIN, keys, CLAIM)
    for at in range(times):
        signer.extend(2 * at, hashes_of(2 * at, 2 * at + 2), must_not_read)
    return signer


def signed_by(found: SignedCheckpoint | None, leaves: int) -> list[str]:
    """By whom a checkpoint over exactly these leaves is signed."""
    assert found is not None
    policy = TrustPolicy(log_key(ORIGIN, LOG_KEY.public), others=(log_key(ORIGIN, NEXT_KEY.public),))
    verified = verify_checkpoint(found.note, policy)
    assert (verified.size, verified.root) == (leaves, edge_of(leaves_of(0, leaves)).root())
    note = parse_note(found.note)
    return [word for word, key in (("old", LOG_KEY), ("new", NEXT_KEY)) if note.signed_by(log_key(ORIGIN, key.public))]


@pytest.mark.parametrize("times", [1, 2])
def test_the_newest_tree_is_signed_by_the_keys_in_use_and_stays_so(tmp_path: Path, keys: Changing, times: int) -> None:
    signer, leaves = grown(tmp_path, keys, times), 2 * times
    beside = reopen(tmp_path, keys)
    assert signed_by(signer.renew(), leaves) == ["old"]
    unchanged = state_path(tmp_path, AUDIT).read_bytes()
    keys.in_use = [NEXT_KEY, LOG_KEY]
    assert state_path(tmp_path, AUDIT).read_bytes() == unchanged, "nothing to do, nothing written"
    assert signed_by(signer.renew(), leaves) == ["old", "new"]
    again = state_path(tmp_path, AUDIT).read_bytes()
    for one in (signer, beside, reopen(tmp_path, keys)):
        assert signed_by(one.newest(), leaves) == ["old", "new"]
        assert signed_by(one.renew(), leaves) == ["old", "new"]
        assert state_path(tmp_path, AUDIT).read_bytes() == again
    state = read_state(again, name=AUDIT, policy=trust_in(ORIGIN, keys))
    assert state.note == (signer.newest() or state).note

    keys.in_use = [NEXT_KEY]
    assert signed_by(beside.extend(leaves, hashes_of(leaves, leaves + 1), must_not_read), leaves + 1) == ["new"]
    missing = from_memory(hashes_of(0, leaves + 2))
    assert signed_by(signer.extend(leaves + 1, hashes_of(leaves + 1, leaves + 2), missing), leaves + 2) == ["new"]
    for one in (signer, beside):
        one.close()


@pytest.mark.parametrize("times", [1, 2])
def test_a_crash_before_the_mark_was_on_the_disk_costs_only_that_it_is_done_again(
    tmp_path: Path, keys: Changing, times: int
) -> None:
    signer, path = grown(tmp_path, keys, times), state_path(tmp_path, AUDIT)
    mark = path.read_bytes()[MARK_AT:]
    keys.in_use = [NEXT_KEY]
    renewed = signer.renew()
    signer.close()
    for found in (mark, bytes(MARK_BYTES)):
        with path.open("r+b") as file:
            file.seek(MARK_AT)
            file.write(found)
        signer = reopen(tmp_path, keys)
        assert signed_by(signer.newest(), 2 * times) in (["old"], ["new"])
        assert signer.renew() == renewed
        signer.close()


def test_what_was_never_signed_is_not_signed_again(tmp_path: Path, keys: Changing) -> None:
    signer = grown(tmp_path, keys, 0)
    keys.in_use = [NEXT_KEY]
    assert signer.renew() is None
    signer.close()


def test_a_state_that_went_back_is_not_signed_again(tmp_path: Path, keys: Changing) -> None:
    signer = grown(tmp_path, keys, 1)
    old = state_path(tmp_path, AUDIT).read_bytes()
    signer.extend(2, hashes_of(2, 5), must_not_read)
    with state_path(tmp_path, AUDIT).open("r+b") as file:
        file.write(old)
    keys.in_use = [NEXT_KEY]
    assert refused(ErrorCode.WRITES_CLOSED, signer.renew) == "signer-state-rolled-back"
    signer.close()
