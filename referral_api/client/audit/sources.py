"""Where an auditor reads logs and records: the exchange, a mirror on disk, or a kept copy that the exchange continues.

All three are a `Source` of the verification (auditlog/report.py), which does not know where its bytes come from.

Must never: judge what is read, or ask the exchange for a record that is already here: every reading of one is logged.

Implements: R-52 (our own reads), R-95; C2SP tlog-tiles (a mirror's folder); design §9.
"""

from __future__ import annotations

import shutil
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from referral_api.auditlog.erasures import Place
from referral_api.auditlog.note import MAX_NOTE_BYTES
from referral_api.auditlog.report import RawRecord, Source
from referral_api.auditlog.tiles import ENTRIES, TILE_WIDTH, TileName
from referral_api.client import exchange
from referral_api.client.profile import write_private
from referral_api.client.session import Session
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.terms import Term
from referral_api.formats.strict_json import canonical, parse
from referral_api.outside import read_handed

RECORDS_A_CALL = 200
TAIL = "tail.json"
"""Records beyond the checkpoint of the newest year: those of the mirror's own reading, for recovery alone."""
COSIGNED = "checkpoint.cosigned"
"""Beside a mirror's checkpoint: the newest before it that a quorum of witnesses had cosigned."""
_MAX_BLOCK_BYTES = 64 << 20


class HttpSource:
    """The exchange itself, read by an auditor's credential. Every read of records is on its record."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._checkpoints: dict[str, bytes] = {}
        self._cosigned: dict[str, bytes | ReferralError] = {}

    def checkpoint(self, log: str) -> bytes:
        """The newest checkpoint, asked for once: the log grows by our own reading of it."""
        if log not in self._checkpoints:
            if self._session.keymap.witness_policy is not None:
                self._cosigned[log] = self._find_cosigned(log)  # First, because a log only grows.
            with _named("checkpoint", log):
                self._checkpoints[log] = self._session.read(exchange.checkpoint(log))
        return self._checkpoints[log]

    def cosigned(self, log: str) -> bytes:
        """The newest checkpoint with a quorum, as it was just before `checkpoint`."""
        self.checkpoint(log)
        found = self._cosigned[log]
        if isinstance(found, ReferralError):
            raise found
        return found

    def _find_cosigned(self, log: str) -> bytes | ReferralError:
        try:
            return self._session.read(exchange.checkpoint(log, cosigned=True))
        except ReferralError as error:
            if error.code is ErrorCode.UNREACHABLE:
                raise
            return error

    def tile(self, log: str, name: TileName) -> bytes:
        """A tile or entry bundle."""
        with _named("tile", log):
            return self._session.read(exchange.tile(log, name.path()))

    def records(self, term: Term, start: int, count: int) -> list[RawRecord]:
        """The records behind so many leaves."""
        found: list[RawRecord] = []
        for first in range(start, start + count, RECORDS_A_CALL):
            limit = min(RECORDS_A_CALL, start + count - first)
            answer = self._session.read_json(exchange.records(term, first, limit))
            found += parse_records(answer.get("records"), within=range(first, first + limit))
        return found

    def tail(self, term: Term, first: int) -> list[RawRecord]:
        """Whatever stands beyond a size, up to the record of this very reading, which nobody else has (R-97)."""
        found: list[RawRecord] = []
        while True:
            start = first + len(found)
            answer = self._session.read_json(exchange.records(term, start, RECORDS_A_CALL))
            page = parse_records(answer.get("records"), within=range(start, start + RECORDS_A_CALL))
            found += page
            if len(page) < RECORDS_A_CALL:
                if "reading" not in answer:
                    return found  # An exchange that does not tell: its mirror ends before its own last reading.
                return [*found, _record({"index": first + len(found), "record": answer["reading"]})]


class MirrorSource:
    """A mirror on disk."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def checkpoint(self, log: str) -> bytes:
        """The checkpoint that the mirror was made for."""
        return read_handed(self._path / log / "checkpoint", MAX_NOTE_BYTES)

    def cosigned(self, log: str) -> bytes:
        """The one that a quorum had cosigned when the mirror was made; else the checkpoint itself, which may be one."""
        target = self._path / log / COSIGNED
        return read_handed(target, MAX_NOTE_BYTES) if target.exists() else self.checkpoint(log)

    def tile(self, log: str, name: TileName) -> bytes:
        """A tile or entry bundle."""
        return read_handed(self._path / log / name.path(), name.most_bytes)

    def records(self, term: Term, start: int, count: int) -> list[RawRecord]:
        """The records behind so many leaves."""
        found: list[RawRecord] = []
        for block in range(start // TILE_WIDTH, -(-(start + count) // TILE_WIDTH)):
            found += parse_block(block_path(self._path, term, block))
        return [one for one in found if start <= one.index < start + count]


class ContinuedSource:
    """A kept copy, and what it lacks from elsewhere: read once, and laid by in `incoming` until it is verified."""

    def __init__(self, kept: Path, incoming: Path, upstream: Source) -> None:
        self._kept = MirrorSource(kept)
        self._folder = incoming
        self._incoming = MirrorSource(incoming)
        self.upstream = upstream
        self._withheld: Container[Place] = frozenset()
        self._absent: set[Place] = set()
        """What was asked for and not had: it is asked for once."""
        # What an interrupted call has left was never verified.
        shutil.rmtree(incoming, ignore_errors=True)

    def withhold(self, erased: Container[Place]) -> None:
        """Give none of these records from the kept copy: an `erase` act names them, and whether they are gone must be
        seen where they were.
        """
        self._withheld = erased

    def checkpoint(self, log: str) -> bytes:
        """The newest checkpoint, never the kept one."""
        return self.upstream.checkpoint(log)

    def cosigned(self, log: str) -> bytes:
        """As `checkpoint`."""
        return self.upstream.cosigned(log)

    def tile(self, log: str, name: TileName) -> bytes:
        """A tile or entry bundle: the kept one where it is as wide."""
        for near in (self._kept, self._incoming):
            with suppress(ReferralError):
                return near.tile(log, name)
        raw = self.upstream.tile(log, name)
        put(self._folder / log / name.path(), raw)
        return raw

    def records(self, term: Term, start: int, count: int) -> list[RawRecord]:
        """The records behind so many leaves of one bundle: the kept ones, and what follows on them."""
        log, block = term.log, start // TILE_WIDTH
        kept = {one.index: one for one in _near(self._kept, term, start, count)}
        incoming = {one.index: one for one in _near(self._incoming, term, block * TILE_WIDTH, TILE_WIDTH)}
        erased = {index for index in kept if (log, index) in self._withheld}
        found = {index: one for index, one in kept.items() if index not in erased}
        found |= {index: one for index, one in incoming.items() if start <= index < start + count}
        # What the copy lacks in its midst was erased before, and seen to be so.
        following = max(kept, default=start - 1) + 1
        lacking = [
            index
            for index in (*sorted(erased), *range(following, start + count))
            if index not in found and (log, index) not in self._absent
        ]
        fetched = {one.index: one for first, many in _runs(lacking) for one in self.upstream.records(term, first, many)}
        self._absent.update((log, index) for index in lacking if index not in fetched)
        if fetched:
            put(block_path(self._folder, term, block), encode_records(_in_order(incoming | fetched)))
        return _in_order(found | fetched)

    def forget(self) -> None:
        """Drop what was laid by: it is in the copy now, or was not worth keeping."""
        shutil.rmtree(self._folder, ignore_errors=True)


def is_live(source: Source) -> bool:
    """Whether what is read is the exchange itself, as it is now."""
    return isinstance(source, HttpSource) or (isinstance(source, ContinuedSource) and is_live(source.upstream))


def block_path(path: Path, term: Term, block: int) -> Path:
    """Where a mirror keeps the records behind one entry bundle."""
    return path / f"audit/{term}/records" / TileName(ENTRIES, block).path().removeprefix("tile/entries/")


def encode_records(records: Sequence[RawRecord]) -> bytes:
    """Records as a mirror keeps them."""
    return canonical(
        [
            {"index": one.index, "record": one.record.decode()}
            | ({} if one.receipt is None else {"receipt": one.receipt.decode()})
            for one in records
        ]
    )


def parse_block(target: Path) -> list[RawRecord]:
    """The records of a mirror's block. Raises NOT_FOUND, MALFORMED."""
    return parse_records(parse(read_handed(target, _MAX_BLOCK_BYTES), max_bytes=_MAX_BLOCK_BYTES))


def parse_records(value: Any, *, within: range | None = None) -> list[RawRecord]:
    """Records as the exchange gives them and a mirror keeps them.

    Raises MALFORMED (`members`), and TAMPERED (`record`, `reason` `index`, `index`) for one that is not `within` what
    was asked for, or not in its place: what somebody lays under another number is no answer.
    """
    if not isinstance(value, list):
        raise ReferralError(ErrorCode.MALFORMED, reason="members")
    found = [_record(one) for one in value]
    if within is not None:
        before = -1
        for one in found:
            if one.index not in within or one.index <= before:
                raise ReferralError(ErrorCode.TAMPERED, what="record", reason="index", index=one.index)
            before = one.index
    return found


@contextmanager
def _named(what: str, log: str) -> Iterator[None]:
    """Say of which log something is not to be had: an exchange's own answer names nothing."""
    try:
        yield
    except ReferralError as error:
        if error.code is not ErrorCode.NOT_FOUND:
            raise
        raise ReferralError(error.code, **{**error.facts, "what": what, "log": log}) from error


def _near(source: MirrorSource, term: Term, start: int, count: int) -> list[RawRecord]:
    try:
        return source.records(term, start, count)
    except ReferralError:
        return []


def _runs(indices: Iterable[int]) -> list[tuple[int, int]]:
    """Rising indices as stretches: where each begins, and how long it is."""
    runs: list[tuple[int, int]] = []
    for index in indices:
        if runs and sum(runs[-1]) == index:
            runs[-1] = (runs[-1][0], runs[-1][1] + 1)
        else:
            runs.append((index, 1))
    return runs


def _in_order(records: Mapping[int, RawRecord]) -> list[RawRecord]:
    return [records[index] for index in sorted(records)]


def put(target: Path, raw: bytes) -> None:
    """Write a file of a mirror, as a whole."""
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_private(target, raw)


def _record(value: Any) -> RawRecord:
    try:
        receipt = value.get("receipt")
        return RawRecord(int(value["index"]), value["record"].encode(), None if receipt is None else receipt.encode())
    except (LookupError, TypeError, ValueError, AttributeError):
        raise ReferralError(ErrorCode.MALFORMED, reason="members") from None
