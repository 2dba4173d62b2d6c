"""The whole of R-95: verify an exchange's logs from their checkpoints down to every record, and say what does not hold.

The walk goes through the audit logs in log order and lets the key map grow exactly where a directory act stands in
them, so that every signature is judged by the keys as they were at that leaf. It goes on after a fault, because an
auditor needs to know everything that is wrong, and reports "incomplete" wherever something that must be there is not.

Must never: open a file or connection (a `Source` does), stop at the first fault, or call anything verified that is not.

Implements: R-92, R-94, R-95; design §9; C2SP tlog-tiles for what a source serves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from typing import Protocol

from referral_api.auditlog.checkpoint import Checkpoint, TrustPolicy, log_key, parse_checkpoint, verify_checkpoint
from referral_api.auditlog.evidence import Chronicle, event_of
from referral_api.auditlog.leaf import Leaf, LeafKind, parse_leaf
from referral_api.auditlog.merkle import HASH_BYTES, Frontier, leaf_hash
from referral_api.auditlog.note import parse_note
from referral_api.auditlog.records import Retrieved, kind_of, parse_record
from referral_api.auditlog.tiles import ENTRIES, TILE_WIDTH, TileName, parse_entries
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import DIRECTORY_ACTS, KeyUse, Role
from referral_api.formats.act import RawAct, parse_act, verify_act
from referral_api.formats.parties import EXCHANGE
from referral_api.formats.receipt import Receipt, match_receipt, verify_receipt
from referral_api.formats.statements import KeyMap
from referral_api.formats.strict_json import sha256_b64u

MAX_FAULTS_TOLD = 100


class Check(StrEnum):
    """The numbered checks, in the order of R-95."""

    KEYS_LOG = "keys-log"
    CHECKPOINT = "checkpoint"
    GROWTH = "growth"
    LEAVES = "leaves"
    RECORDS = "records"
    SIGNATURES = "signatures"
    RECEIPTS = "receipts"
    STATES = "states"
    BOTH_LOGS = "both-logs"


class Verdict(StrEnum):
    """What came of one check."""

    OK = "ok"
    FAILED = "failed"
    INCOMPLETE = "incomplete"
    NOT_REACHED = "not-reached"


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that does not hold: in which log, at which leaf (None: the log as a whole), and why."""

    check: Check
    log: str
    index: int | None
    error: ReferralError
    missing: bool = False


@dataclass(frozen=True, slots=True)
class Head:
    """A log as it was verified."""

    origin: str
    size: int
    root: bytes


@dataclass(slots=True)
class Report:
    """What was verified. `counts` says how many times each check was made; `faults` every one that did not hold."""

    counts: dict[Check, int] = field(default_factory=lambda: dict.fromkeys(Check, 0))
    faults: list[Fault] = field(default_factory=list)
    heads: dict[str, Head] = field(default_factory=dict)
    """The heads that may be pinned: only of logs whose leaves hash to a signed root that grew from the pinned one."""
    chronicles: dict[str, Chronicle] = field(default_factory=dict)
    """Every referral as its acts and records fold."""

    def verdict(self, check: Check) -> Verdict:
        """What came of a check: failed before incomplete, and never ok where it was not made once."""
        mine = [fault for fault in self.faults if fault.check is check]
        if any(not fault.missing for fault in mine):
            return Verdict.FAILED
        if mine:
            return Verdict.INCOMPLETE
        return Verdict.OK if self.counts[check] else Verdict.NOT_REACHED

    @property
    def complete(self) -> bool:
        """Whether everything was there and held. Anything else is not "verified"."""
        made = (Check.KEYS_LOG, Check.CHECKPOINT, Check.GROWTH, Check.LEAVES, Check.RECORDS)
        return not self.faults and all(self.counts[check] for check in made)


@dataclass(frozen=True, slots=True)
class RawRecord:
    """What a source gives for one leaf: the exact bytes behind it, and the receipt of an act."""

    index: int
    record: bytes
    receipt: bytes | None


class Source(Protocol):
    """Where logs and records are read: an exchange over HTTP, or a mirror on disk. Nothing it says is believed."""

    def checkpoint(self, log: str) -> bytes:
        """The newest checkpoint of `keys` or `audit/<year>`."""

    def tile(self, log: str, name: TileName) -> bytes:
        """A tile or entry bundle."""

    def records(self, year: int, start: int, count: int) -> Sequence[RawRecord]:
        """The records behind so many leaves of the audit log of a year."""


def verify_full(
    source: Source, root: bytes, years: Sequence[int], pins: Mapping[str, Head], *, issuer: str | None = None
) -> Report:
    """Verify the keys log and the audit logs of these years, in order, from scratch.

    `root` is the pinned SHA-256 of the keys log's first leaf, `pins` the heads verified before, by origin. Raises only
    what the source raises because it cannot be read at all (UNREACHABLE); everything else is in the report.
    """
    return _Walk(source, pins).run(root, years, issuer)


class _Walk:
    def __init__(self, source: Source, pins: Mapping[str, Head]) -> None:
        self._source = source
        self._pins = pins
        self._report = Report()
        self._keys_leaves: list[bytes] = []
        self._keys_index: dict[str, int] = {}
        self._met: set[int] = set()

    def run(self, root: bytes, years: Sequence[int], issuer: str | None) -> Report:
        final = self._keys_log(root, issuer)
        if final is None:
            return self._report
        keymap = KeyMap.start(self._keys_leaves[0], root=root)
        for year in years:
            leaves = self._leaves(f"audit/{year}", final, final.issuer)
            if leaves is not None:
                self._year(year, leaves, keymap)
        self._both_logs(final)
        return self._report

    def _hold(self, check: Check, log: str, index: int | None, judge: Callable[[], None]) -> bool:
        """Make one check; note its fault. True if it held."""
        self._report.counts[check] += 1
        try:
            judge()
        except ReferralError as error:
            if error.code is ErrorCode.UNREACHABLE:
                raise
            missing = error.code in (ErrorCode.NOT_FOUND, ErrorCode.UNAVAILABLE)
            self._note(check, log, index, error, missing=missing)
            return False
        return True

    def _note(self, check: Check, log: str, index: int | None, error: ReferralError, *, missing: bool = False) -> None:
        if len(self._report.faults) < MAX_FAULTS_TOLD:
            self._report.faults.append(Fault(check, log, index, error, missing))

    # The keys log: replicated whole, folded from its pinned first leaf.

    def _keys_log(self, root: bytes, issuer: str | None) -> KeyMap | None:
        folded: list[KeyMap] = []

        def judge_genesis() -> None:
            width = min(TILE_WIDTH, parse_checkpoint(parse_note(self._source.checkpoint("keys")).text).size)
            first = parse_entries(self._source.tile("keys", TileName(ENTRIES, 0, width)), width)[0]
            keymap = KeyMap.start(first, root=root)
            if issuer is not None and keymap.issuer != issuer:
                raise ReferralError(ErrorCode.WRONG_ROOT, reason="issuer")
            folded.append(keymap)

        if not self._hold(Check.KEYS_LOG, "keys", 0, judge_genesis):
            return None
        keymap = folded[0]
        leaves = self._leaves("keys", keymap, keymap.issuer)
        if leaves is None:
            return None
        for index, leaf in enumerate(leaves[1:], 1):
            if not self._hold(Check.KEYS_LOG, "keys", index, partial(keymap.extend, leaf)):
                return None
        self._keys_leaves = leaves
        self._keys_index = {sha256_b64u(leaf): index for index, leaf in enumerate(leaves)}
        return keymap

    # Any log: checkpoint, growth, leaves.

    def _leaves(self, log: str, keymap: KeyMap, issuer: str) -> list[bytes] | None:
        origin = f"{issuer.partition('://')[2]}/v1/log/{log}"
        policy = TrustPolicy(log_key(origin, keymap.exchange_keys(KeyUse.LOG)[0].public))
        found: list[Checkpoint] = []
        leaves: list[bytes] = []

        def judge_checkpoint() -> None:
            found.append(verify_checkpoint(self._source.checkpoint(log), policy))

        def judge_leaves() -> None:
            leaves.extend(self._read_leaves(log, found[0].size))
            if Frontier().extend([leaf_hash(leaf) for leaf in leaves]).root() != found[0].root:
                raise ReferralError(ErrorCode.TAMPERED, what="leaves", **self._first_difference(log, leaves))

        def judge_growth() -> None:
            pin = self._pins.get(origin)
            if pin is None:
                return
            if pin.size > len(leaves):
                raise ReferralError(ErrorCode.INCONSISTENT, reason="shrunk", pinned=pin.size, found=len(leaves))
            if Frontier().extend([leaf_hash(leaf) for leaf in leaves[: pin.size]]).root() != pin.root:
                raise ReferralError(ErrorCode.INCONSISTENT, reason="forked", pinned=pin.size)

        if not self._hold(Check.CHECKPOINT, log, None, judge_checkpoint):
            return None
        whole = self._hold(Check.LEAVES, log, None, judge_leaves)
        grown = self._hold(Check.GROWTH, log, None, judge_growth)
        if whole and grown:
            self._report.heads[origin] = Head(origin, found[0].size, found[0].root)
        # Records can still be held against leaves that do not add up: that is how what changed gets its name.
        return leaves if len(leaves) == found[0].size else None

    def _read_leaves(self, log: str, size: int) -> Iterator[bytes]:
        for index in range(-(-size // TILE_WIDTH)):
            width = min(TILE_WIDTH, size - index * TILE_WIDTH)
            yield from parse_entries(self._source.tile(log, TileName(ENTRIES, index, width)), width)

    def _first_difference(self, log: str, leaves: Sequence[bytes]) -> dict[str, int]:
        """The first leaf that is not what its tile commits to, where the tiles can tell."""
        for index in range(-(-len(leaves) // TILE_WIDTH)):
            width = min(TILE_WIDTH, len(leaves) - index * TILE_WIDTH)
            try:
                hashes = self._source.tile(log, TileName(0, index, width))
            except ReferralError:
                return {}
            for at in range(width):
                place = index * TILE_WIDTH + at
                if hashes[at * HASH_BYTES : (at + 1) * HASH_BYTES] != leaf_hash(leaves[place]):
                    return {"index": place}
        return {}

    # The audit log of one year: records, signatures, receipts, states.

    def _year(self, year: int, leaves: Sequence[bytes], keymap: KeyMap) -> None:
        log = f"audit/{year}"
        records: dict[int, RawRecord] = {}
        for start in range(0, len(leaves), TILE_WIDTH):
            count = min(TILE_WIDTH, len(leaves) - start)

            def read(start: int = start, count: int = count) -> None:
                records.update({one.index: one for one in self._source.records(year, start, count)})

            self._hold(Check.RECORDS, log, None, read)
        for index, raw_leaf in enumerate(leaves):
            self._leaf(log, index, raw_leaf, records.get(index), keymap)

    def _leaf(self, log: str, index: int, raw_leaf: bytes, found: RawRecord | None, keymap: KeyMap) -> None:
        if found is None:
            error = ReferralError(ErrorCode.NOT_FOUND, what="record")
            self._note(Check.RECORDS, log, index, error, missing=True)
            return
        judged: list[Leaf] = []

        def judge_record() -> None:
            leaf = parse_leaf(raw_leaf)
            if sha256_b64u(found.record) != leaf.digest:
                raise ReferralError(ErrorCode.TAMPERED, what="record", digest=leaf.digest)
            judged.append(leaf)

        if not self._hold(Check.RECORDS, log, index, judge_record):
            return
        if judged[0].kind in (LeafKind.ACT, LeafKind.ERASE):
            self._act(log, index, judged[0], found, keymap)
        else:
            self._hold(Check.RECORDS, log, index, lambda: self._server_record(judged[0], found.record))

    def _server_record(self, leaf: Leaf, raw: bytes) -> None:
        record = parse_record(raw)
        if kind_of(record) is not leaf.kind or record.t != leaf.logged_s:
            raise ReferralError(ErrorCode.TAMPERED, what="leaf-of-record")
        if isinstance(record, Retrieved) and record.sealed == "bundle" and record.unit is not None:
            self._chronicle(record.ref).retrieved(record.unit, record.t)

    def _act(self, log: str, index: int, leaf: Leaf, found: RawRecord, keymap: KeyMap) -> None:
        parsed: list[RawAct] = []
        receipts: list[Receipt] = []

        def judge_signatures() -> None:
            act = parse_act(found.record)
            parsed.append(act)
            self._verify_signatures(act, leaf, keymap)

        def judge_receipt() -> None:
            receipts.append(_verify_receipt(log, index, parsed[0], found.receipt, keymap))

        if not self._hold(Check.SIGNATURES, log, index, judge_signatures) and not parsed:
            return
        act = parsed[0]
        # The exchange's own acts answer nobody, so they carry no receipt.
        if found.receipt is None and act.party != EXCHANGE:
            missing = ReferralError(ErrorCode.NOT_FOUND, what="receipt")
            self._note(Check.RECEIPTS, log, index, missing, missing=True)
        elif found.receipt is not None and not self._hold(Check.RECEIPTS, log, index, judge_receipt):
            return
        receipt = receipts[0] if receipts else None
        self._hold(Check.STATES, log, index, lambda: self._fold(act, leaf, receipt, keymap))

    def _verify_signatures(self, act: RawAct, leaf: Leaf, keymap: KeyMap) -> None:
        place = self._keys_index.get(act.leaf_digest)
        if place is not None:
            # The key map verified it when it took this leaf; here it grows to the same place.
            self._met.add(place)
            while keymap.size <= place:
                keymap.extend(self._keys_leaves[keymap.size], verify=False)
            return
        seal = keymap.seal_keys(act.iss, act.iat, leaf.logged_s, kids=[one.kid for one in act.jws.signatures])
        verify_act(act, seal.keys, required=seal.require)

    def _fold(self, act: RawAct, leaf: Leaf, receipt: Receipt | None, keymap: KeyMap) -> None:
        if act.ref is None:
            return
        chronicle = self._chronicle(act.ref)
        if receipt is None or receipt.accepted:
            at = leaf.logged_s if receipt is None else receipt.payload.time
            chronicle.accept(event_of(act, _role(act, keymap), at))
        if receipt is not None:
            chronicle.verify_receipt(receipt)

    def _chronicle(self, ref: str) -> Chronicle:
        return self._report.chronicles.setdefault(ref, Chronicle())

    def _both_logs(self, final: KeyMap) -> None:
        """R-92: every act of the keys log has its leaf in an audit log too; its genesis founds both."""
        for index, leaf in enumerate(self._keys_leaves[1:], 1):

            def judge(index: int = index, leaf: bytes = leaf) -> None:
                if index not in self._met and _is_directory_act(leaf):
                    raise ReferralError(ErrorCode.NOT_INCLUDED, reason="audit-log")

            self._hold(Check.BOTH_LOGS, "keys", index, judge)
        if final.size != len(self._keys_leaves):
            raise RuntimeError("the fold has skipped a leaf")


def _verify_receipt(log: str, index: int, act: RawAct, raw: bytes | None, keymap: KeyMap) -> Receipt:
    if raw is None:
        raise ReferralError(ErrorCode.NOT_FOUND, what="receipt")
    keys = {record.kid: record.public for record in keymap.exchange_keys(KeyUse.RECEIPT)}
    receipt = verify_receipt(raw, keys, issuer=keymap.issuer)
    match_receipt(receipt, act=act.digest, act_id=act.id, sub=act.iss, ref=act.ref)
    place = receipt.payload.log
    if (place.origin.rpartition("/v1/log/")[2], place.index) != (log, index):
        raise ReferralError(ErrorCode.RECEIPT_MISMATCH, member="log")
    return receipt


def _role(act: RawAct, keymap: KeyMap) -> Role:
    if act.party == EXCHANGE:
        return Role.EXCHANGE
    party = keymap.find_party(act.party)
    if party is None:
        raise ReferralError(ErrorCode.KEY_NOT_VALID, reason="unknown", credential=act.iss)
    return party.role


def _is_directory_act(leaf: bytes) -> bool:
    try:
        return parse_act(leaf).act in DIRECTORY_ACTS
    except ReferralError:
        return False
