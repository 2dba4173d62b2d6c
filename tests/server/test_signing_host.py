"""What a host that does not sign believes of the one that does, and proofs under what another process signed (R-93).

The whole of it, with two real hosts, is tests/story/test_second_host.py; here the histories are those that no honest
host would make.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from queue import Queue
from typing import Self

import pytest

from referral_api.auditlog.checkpoint import TrustPolicy, log_key, sign_checkpoint
from referral_api.auditlog.proof import verify_proof
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.formats.keys import Alg, SigningKey, signing_key
from referral_api.server.service.batch import Place
from referral_api.server.service.covering import Covering
from referral_api.server.service.second_host import SigningHost
from referral_api.server.storage import logbook
from referral_api.server.storage.database import Database
from referral_api.server.storage.signer import SignedCheckpoint
from tests.auditlog.refusals import refused
from tests.server.storage.ledger import AUDIT, LOG_KEY, PREFIX, append, claim, edge_of, leaves_of, sign, signers_in

ORIGIN = f"{PREFIX}/{AUDIT}"
POLICY = TrustPolicy(log_key(ORIGIN, LOG_KEY.public))
PATIENCE_S = 60
Covers = Mapping[str, SignedCheckpoint] | None


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with Database.create(f"sqlite:///{tmp_path}/exchange.sqlite") as created:
        yield created


def history(tmp_path: Path, name: str, leaves: list[bytes]) -> Database:
    """A database of its own with these leaves."""
    database = Database.create(f"sqlite:///{tmp_path}/{name}.sqlite")
    append(database, leaves)
    return database


def keep(database: Database, leaves: list[bytes], size: int, key: SigningKey = LOG_KEY) -> None:
    """What a signing host keeps: a checkpoint over these leaves, under its size."""
    note = sign_checkpoint(ORIGIN, len(leaves), edge_of(leaves).root(), key)
    with database.write() as tx:
        logbook.save_checkpoint(tx, AUDIT, size, note, 1)


class Listening:
    """A host that waits for a checkpoint over the tenth leaf."""

    def __init__(self, database: Database) -> None:
        self.known: dict[str, SignedCheckpoint] = {}
        self.doubts: Queue[ReferralError] = Queue()
        self.answers: Queue[Covers] = Queue()
        self._host = SigningHost(database, lambda _: POLICY, self.known, lambda _: None)

    def __enter__(self) -> Self:
        self._host.wait_for([Place(AUDIT, 9, b"")], self.answers.put)
        self._host.start(self.doubts.put)
        return self

    def __exit__(self, *_: object) -> None:
        self._host.stop()


def test_a_checkpoint_over_these_leaves_is_what_an_answer_waits_for(database: Database) -> None:
    append(database, leaves_of(0, 12))
    keep(database, leaves_of(0, 12), 12)
    with Listening(database) as host:
        answer = host.answers.get(timeout=PATIENCE_S)
    assert answer is not None
    assert answer[AUDIT].size == 12
    assert host.doubts.empty()


FORK = [*leaves_of(0, 8), *leaves_of(8, 12, "fork")]


@pytest.mark.parametrize(
    ("leaves", "size", "key"),
    [
        (FORK, 12, LOG_KEY),
        (leaves_of(0, 15), 15, LOG_KEY),
        (leaves_of(0, 9), 12, LOG_KEY),
        (leaves_of(0, 12), 12, signing_key(Alg.ED25519, bytes(32))),
    ],
    ids=["forked", "beyond", "of-another-size", "another-key"],
)
def test_a_checkpoint_that_does_not_fit_closes_and_covers_nothing(
    database: Database, leaves: list[bytes], size: int, key: SigningKey
) -> None:
    append(database, leaves_of(0, 12))
    keep(database, leaves, size, key)
    with Listening(database) as host:
        doubt = host.doubts.get(timeout=PATIENCE_S)
    assert (doubt.code, doubt.facts["reason"]) == (ErrorCode.WRITES_CLOSED, "database-differs")
    assert host.answers.get(timeout=PATIENCE_S) is None
    assert host.known == {}


@pytest.mark.parametrize(
    ("leaves", "reason"),
    [
        (leaves_of(0, 9), "database-shorter"),
        ([*leaves_of(0, 9), *leaves_of(9, 10, "fork")], "database-differs"),
        ([*leaves_of(0, 9), *leaves_of(9, 15, "fork")], "database-differs"),
    ],
)
def test_nothing_is_appended_behind_another_history_than_was_seen(
    database: Database, tmp_path: Path, leaves: list[bytes], reason: str
) -> None:
    host = SigningHost(database, lambda _: POLICY, {}, lambda _: None)
    host.grown([append(database, leaves_of(0, 10))])
    append(database, leaves_of(10, 12))
    with database.write() as tx:
        host.meet(tx, logbook.lock(tx, [AUDIT])[AUDIT])
    with history(tmp_path, "other", leaves) as other, other.write() as tx:
        host = SigningHost(other, lambda _: POLICY, {}, lambda _: None)
        host.grown([append(history(tmp_path, "first", []), leaves_of(0, 10))])
        assert refused(ErrorCode.WRITES_CLOSED, host.meet, tx, logbook.lock(tx, [AUDIT])[AUDIT]) == reason


def test_a_proof_fits_the_checkpoint_also_where_another_process_has_signed_further(
    database: Database, tmp_path: Path
) -> None:
    here, beside = signers_in(tmp_path / "signer"), signers_in(tmp_path / "signer")
    claim(database, here)
    leaves = leaves_of(0, 15)
    mine = append(database, leaves[:10])
    sign(database, beside(AUDIT), append(database, leaves[10:]))
    covering = Covering(database, here, {})
    signed = covering.sign({AUDIT: mine}, [], {}, 1)
    assert signed[AUDIT].size == 15
    for index, leaf in enumerate(leaves[:10]):
        raw = covering.prove(Place(AUDIT, index, leaf), {AUDIT: mine}, signed).encode()
        assert verify_proof(raw, leaf, POLICY).index == index
    for one in (here, beside):
        one.close()
