"""What others still hold of the logs, read and verified: a mirror, parties' receipts, the signer's own state.

A mirror is what `referral audit mirror` writes: checkpoint, entry bundles and blocks of records. A receipt file is what
`referral receipt show -o` writes. Each yields leaves with their records, and promises: sizes and roots under signature.

Must never: write anything, or believe a leaf that no promise covers (reconcile.py hashes them to the signed roots).

Implements: design §9 ("re-imported bit-exact from mirror and parties' receipts"); R-97.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from referral_api.auditlog.checkpoint import Checkpoint, TrustPolicy, verify_checkpoint
from referral_api.auditlog.leaf import Leaf, LeafKind, encode_leaf, leaf_of, parse_leaf
from referral_api.auditlog.losses import LEAVES_TO_TELL, LostLog, read_lost
from referral_api.auditlog.note import MAX_NOTE_BYTES
from referral_api.auditlog.proof import verify_proof
from referral_api.auditlog.records import leaf_of_record, parse_record
from referral_api.auditlog.tiles import ENTRIES, TILE_WIDTH, TileName, parse_entries
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.terms import Term
from referral_api.domain.words import Act
from referral_api.formats.act import parse_act
from referral_api.formats.receipt import match_receipt, verify_exchange_receipt
from referral_api.formats.strict_json import malformed, parse
from referral_api.outside import read_handed
from referral_api.server.service.exchange import Exchange
from referral_api.server.storage.logbook import KEYS
from referral_api.server.storage.signer import LogSigners, state_path
from referral_api.server.storage.signer_state import read_state

_MAX_BLOCK_BYTES = 64 << 20
MAX_RECEIPT_BYTES = 1 << 20
TAIL = "tail.json"
"""Records beyond a mirror's checkpoint: those of its own reading."""


@dataclass(frozen=True, slots=True)
class Behind:
    """The record behind an audit leaf, and an act's receipt."""

    record: bytes
    receipt: bytes | None


@dataclass(frozen=True, slots=True)
class Promise:
    """A size and root that the log's key has signed."""

    size: int
    root: bytes


@dataclass(slots=True)
class Salvage:
    """All that was found, by log: leaves and records by index, and promises."""

    leaves: dict[str, dict[int, bytes]] = field(default_factory=dict)
    records: dict[str, dict[int, Behind]] = field(default_factory=dict)
    promises: dict[str, list[Promise]] = field(default_factory=dict)
    kept: dict[str, int] = field(default_factory=dict)
    """Of logs that have lost leaves, how many are held, as their next terms say."""

    def logs(self) -> list[str]:
        """Every log of which anything was found, the keys log first."""
        return sorted({*self.leaves, *self.promises}, key=lambda name: (name != KEYS, name))

    def add(self, log: str, index: int, leaf: bytes, behind: Behind | None = None) -> None:
        """Take a leaf. Raises TAMPERED where two sources hold different ones for one place."""
        if self.leaves.setdefault(log, {}).setdefault(index, leaf) != leaf:
            raise ReferralError(ErrorCode.TAMPERED, what="entry", log=log, index=index)
        if behind is not None:
            self.records.setdefault(log, {})[index] = behind

    def promise(self, log: str, size: int, root: bytes) -> None:
        """Take a promise."""
        self.promises.setdefault(log, []).append(Promise(size, root))


class Salvager:
    """Reads sources for one exchange."""

    def __init__(self, exchange: Exchange, signers: LogSigners) -> None:
        self._exchange = exchange
        self._signers = signers
        self.found = Salvage()

    def mirror(self, path: Path) -> None:
        """Take in a mirror. Raises NOT_FOUND, MALFORMED, TAMPERED, WRONG_ORIGIN, SIGNATURE_INVALID."""
        for log in _logs_in(path):
            note = read_handed(path / log / "checkpoint", MAX_NOTE_BYTES)
            checkpoint: Checkpoint = verify_checkpoint(note, self._policy(log))
            if (lost := self._lost(path, log)) is not None and checkpoint.size > lost.kept:
                # Its last checkpoint covers what nobody has; how far it is held, its next term says, which comes along.
                checkpoint = Checkpoint(lost.origin, lost.kept, lost.kept_root)
                self.found.kept[log] = lost.kept
            self.found.promise(log, checkpoint.size, checkpoint.root)
            for first in range(0, checkpoint.size, TILE_WIDTH):
                width = min(TILE_WIDTH, checkpoint.size - first)
                bundle = TileName(ENTRIES, first // TILE_WIDTH, width)
                raw = read_handed(path / log / bundle.path(), bundle.most_bytes)
                for at, leaf in enumerate(parse_entries(raw, width)):
                    self.found.add(log, first + at, leaf)
                if log != KEYS:
                    block = TileName(ENTRIES, first // TILE_WIDTH).path().removeprefix("tile/entries/")
                    self._records(log, read_handed(path / log / "records" / block, _MAX_BLOCK_BYTES))
            if (path / log / TAIL).exists():
                self._records(log, read_handed(path / log / TAIL, _MAX_BLOCK_BYTES))

    def receipt(self, raw: bytes) -> None:
        """Take in one party's evidence of one act. Raises what verifying it raises."""
        document = parse(raw, max_bytes=MAX_RECEIPT_BYTES)
        try:
            act, receipt, proof = (document[name].encode() for name in ("act", "receipt", "proof"))
        except (KeyError, TypeError, AttributeError):
            raise malformed("members") from None
        parsed = parse_act(act)
        said = verify_exchange_receipt(receipt, self._exchange.keymap)
        match_receipt(said, act=parsed.digest, act_id=parsed.id, sub=parsed.iss, ref=parsed.ref, unit=parsed.unit)
        log = said.payload.log.origin.rpartition("/v1/log/")[2]
        leaf = encode_leaf(leaf_of(act, _kind_of(parsed.act), said.payload.time))
        included = verify_proof(proof, leaf, self._policy(log))
        if included.index != said.payload.log.index:
            raise ReferralError(ErrorCode.NOT_INCLUDED, reason="index")
        self.found.add(log, included.index, leaf, Behind(act, receipt))
        self.found.promise(log, included.checkpoint.size, included.checkpoint.root)

    def states(self) -> None:
        """Take the promises of this host's signers. Raises WRITES_CLOSED for a state that cannot be read."""
        for log in self._signers.names():
            raw = state_path(self._signers.state_dir, log).read_bytes()
            frontier = read_state(raw, name=log, policy=self._policy(log)).frontier
            self.found.promise(log, frontier.size, frontier.root())

    def _lost(self, path: Path, log: str) -> LostLog | None:
        """What a mirror's next term says of a log; None of one that has lost nothing."""
        after = Term.of_log(log).following if log != KEYS else None
        if after is None or not (path / after.log / "checkpoint").exists():
            return None
        first = TileName(ENTRIES, 0).path().removeprefix("tile/entries/")
        raw = read_handed(path / after.log / "records" / first, _MAX_BLOCK_BYTES)
        block = _list(parse(raw, max_bytes=_MAX_BLOCK_BYTES))
        try:
            genesis, second = (block[index]["record"].encode() for index in range(LEAVES_TO_TELL))
        except (LookupError, TypeError, AttributeError):
            raise malformed("members") from None
        return read_lost(after, self._exchange.origin(log), genesis, second)

    def _records(self, log: str, raw: bytes) -> None:
        for one in _list(parse(raw, max_bytes=_MAX_BLOCK_BYTES)):
            try:
                index, record, receipt = int(one["index"]), one["record"].encode(), one.get("receipt")
                behind = Behind(record, None if receipt is None else receipt.encode())
            except (KeyError, TypeError, ValueError, AttributeError):
                raise malformed("members") from None
            leaf = self.found.leaves.get(log, {}).get(index) or self._leaf_of(behind)
            if parse_leaf(leaf).digest != leaf_of(record, LeafKind.ACT, 0).digest:
                raise ReferralError(ErrorCode.TAMPERED, what="record", log=log, index=index)
            self.found.add(log, index, leaf, behind)

    def _leaf_of(self, behind: Behind) -> bytes:
        """The leaf that a record must have had: an act's time is its receipt's."""
        if behind.receipt is None:
            return encode_leaf(leaf_of_record(parse_record(behind.record), behind.record))
        said = verify_exchange_receipt(behind.receipt, self._exchange.keymap)
        kind = _kind_of(parse_act(behind.record).act)
        return encode_leaf(Leaf(leaf_of(behind.record, kind, 0).digest, kind, said.payload.time))

    def _policy(self, log: str) -> TrustPolicy:
        return self._signers.trust(log)


def _kind_of(act: Act) -> LeafKind:
    return LeafKind.ERASE if act is Act.ERASE else LeafKind.ACT


def _logs_in(path: Path) -> Iterable[str]:
    if not (path / KEYS / "checkpoint").exists():
        raise ReferralError(ErrorCode.NOT_FOUND, what="mirror")
    yield KEYS
    for folder in sorted((path / "audit").glob("[0-9]*")):
        yield Term.parse(folder.name).log


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise malformed("members")
    return value
