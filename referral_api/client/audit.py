"""Auditing: a mirror of the logs on disk, and the full verification of either the mirror or the exchange itself.

The mirror is the static form of C2SP tlog-tiles, which other people's tools read too, with the records beside it. What
is verified is what was read: the verification (auditlog/verification.py) does not know where it came from.

Must never: call something verified that the report does not, advance a pin over a log with a fault, or leave a mirror's
checkpoint ahead of its tiles.

Implements: R-94, R-95; design §9.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any

from referral_api.auditlog.checkpoint import verify_checkpoint
from referral_api.auditlog.records import LogClosed, parse_record
from referral_api.auditlog.tiles import ENTRIES, TILE_WIDTH, TileName, tiles_of
from referral_api.auditlog.verification import Head, OnProgress, RawRecord, Report, unheard, verify_full
from referral_api.client import exchange
from referral_api.client.profile import Pin, Profile, ProfileDir, write_private
from referral_api.client.session import Session
from referral_api.client.trust import audit_policy, entry_bundles, issuer_origin, keys_policy
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.formats.act import parse_act
from referral_api.formats.strict_json import canonical, parse, unb64u

RECORDS_A_CALL = 200
TAIL = "tail.json"
"""Records beyond the checkpoint of the newest year: those of the mirror's own reading, for recovery alone."""
_MAX_BLOCK_BYTES = 64 << 20
_YEAR = re.compile("[1-8][0-9]{3}")


class HttpSource:
    """The exchange itself, read by an auditor's credential. Every read of records is on its record."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._checkpoints: dict[str, bytes] = {}

    def checkpoint(self, log: str) -> bytes:
        """The newest checkpoint, asked for once: the log grows by our own reading of it."""
        if log not in self._checkpoints:
            self._checkpoints[log] = self._session.read(exchange.checkpoint(log))
        return self._checkpoints[log]

    def tile(self, log: str, name: TileName) -> bytes:
        """A tile or entry bundle."""
        return self._session.read(exchange.tile(log, name.path()))

    def records(self, year: int, start: int, count: int) -> list[RawRecord]:
        """The records behind so many leaves."""
        found: list[RawRecord] = []
        for first in range(start, start + count, RECORDS_A_CALL):
            limit = min(RECORDS_A_CALL, start + count - first)
            answer = self._session.read_json(exchange.records(year, first, limit))
            found += [_record(one) for one in _list(answer.get("records"))]
        return found

    def tail(self, year: int, first: int) -> list[RawRecord]:
        """Whatever stands beyond a size, up to the record of this very reading, which nobody else has (R-97)."""
        found: list[RawRecord] = []
        while True:
            answer = self._session.read_json(exchange.records(year, first + len(found), RECORDS_A_CALL))
            page = [_record(one) for one in _list(answer.get("records"))]
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
        return self._read(self._path / log / "checkpoint")

    def tile(self, log: str, name: TileName) -> bytes:
        """A tile or entry bundle."""
        return self._read(self._path / log / name.path())

    def records(self, year: int, start: int, count: int) -> list[RawRecord]:
        """The records behind so many leaves."""
        found: list[RawRecord] = []
        for block in range(start // TILE_WIDTH, -(-(start + count) // TILE_WIDTH)):
            raw = self._read(_block(self._path, year, block))
            found += [_record(one) for one in _list(parse(raw, max_bytes=_MAX_BLOCK_BYTES))]
        return [one for one in found if start <= one.index < start + count]

    @staticmethod
    def _read(path: Path) -> bytes:
        try:
            return path.read_bytes()
        except FileNotFoundError:
            raise ReferralError(ErrorCode.NOT_FOUND, what=path.name) from None


def mirror(session: Session, path: Path, years: Sequence[int], progress: OnProgress = unheard) -> dict[str, int]:
    """Copy the keys log and the audit logs of these years; sizes by log. Full tiles that are there are kept.

    How much there is to copy is what the log's key has signed. The checkpoint of a log is written after all that it
    covers, so an interrupted mirror is an older one. `progress` is told of `leaves` and `records`.
    """
    source, keymap = HttpSource(session), session.keymap
    sizes: dict[str, int] = {}
    policies = {"keys": keys_policy(keymap)} | {f"audit/{year}": audit_policy(keymap, year) for year in years}
    for log, policy in policies.items():
        raw_checkpoint = source.checkpoint(log)
        size = verify_checkpoint(raw_checkpoint, policy).size
        for name in chain(tiles_of(size), entry_bundles(0, size)):
            target = path / log / name.path()
            if name.width < TILE_WIDTH or not target.exists():
                _put(target, source.tile(log, name))
            if name.level == ENTRIES:
                progress(f"leaves {log}", name.index * TILE_WIDTH + name.width, size)
        if log != "keys":
            _mirror_records(source, path, int(log.partition("/")[2]), size, progress)
        _put(path / log / "checkpoint", raw_checkpoint)
        sizes[log] = size
    newest = max(years)
    tail = source.tail(newest, sizes[f"audit/{newest}"])
    _put(path / f"audit/{newest}" / TAIL, canonical([_line(one) for one in tail]))
    return sizes


def verify(
    directory: ProfileDir,
    profile: Profile,
    source: HttpSource | MirrorSource,
    years: Sequence[int],
    progress: OnProgress = unheard,
) -> Report:
    """Verify in full against everything pinned here, and advance the pins of the logs that held completely."""
    logs = ("keys", *(f"audit/{year}" for year in years))
    origins = [issuer_origin(profile.issuer, log) for log in logs]
    pins = {origin: pin for origin in origins if (pin := directory.find_pin(origin)) is not None}
    heads = {origin: Head(origin, pin.size, pin.root) for origin, pin in pins.items()}
    report = verify_full(source, unb64u(profile.root), years, heads, issuer=profile.issuer, progress=progress)
    if report.complete:
        for origin, head in report.heads.items():
            # The keys log is pinned together with its replica (Session.sync_keys), never without it.
            if origin != origins[0]:
                directory.advance_pin(origin, Pin(head.size, head.root), seen=pins.get(origin))
    return report


def years_of(session: Session) -> list[int]:
    """The years whose audit logs must exist at the exchange: the chain from its genesis, and this year.

    A log names the one that continues it in its last leaf; a year in which nothing happened has none. What is read here
    is only where to look: the verification holds the chain's links against each other. This year's log begins with the
    first thing that happens in it, which is at the latest our own reading of a record.
    """
    years, this = [_founded(session)], datetime.fromtimestamp(session.now(), UTC).year
    if this > years[0]:
        session.read(exchange.records(years[0], 0, 1))
    while years[-1] < this and (following := _following(session, years[-1])) is not None:
        years.append(following)
    return years if years[-1] >= this else [*years, this]


def _following(session: Session, year: int) -> int | None:
    """The year whose log continues this one's, as its last leaf says; None where it is not closed."""
    policy = audit_policy(session.keymap, year)
    size = verify_checkpoint(session.read(exchange.checkpoint(f"audit/{year}")), policy).size
    answer = session.read_json(exchange.records(year, size - 1, 1))
    for one in _list(answer.get("records")):
        record = _record(one).record
        closed = parse_record(record) if b'"kind":"log.closed"' in record else None
        if isinstance(closed, LogClosed):
            following = closed.following.rpartition("/")[2]
            return int(following) if _YEAR.fullmatch(following) and int(following) > year else None
    return None


def years_in(session: Session, path: Path) -> list[int]:
    """The years whose audit logs a mirror must hold: the genesis's, those that it has, those pinned here."""
    founded, this = _founded(session), datetime.fromtimestamp(session.now(), UTC).year
    there = {int(one.name) for one in (path / "audit").glob("[0-9]" * 4)}
    issuer = session.profile.issuer
    pinned = {
        year
        for year in range(founded, this + 1)
        if session.directory.find_pin(issuer_origin(issuer, f"audit/{year}")) is not None
    }
    return sorted({founded} | there | pinned)


def _founded(session: Session) -> int:
    return datetime.fromtimestamp(parse_act(session.replica.leaves[0]).iat, UTC).year


def _mirror_records(source: HttpSource, path: Path, year: int, size: int, progress: OnProgress) -> None:
    for block in range(-(-size // TILE_WIDTH)):
        start = block * TILE_WIDTH
        count = min(TILE_WIDTH, size - start)
        progress(f"records audit/{year}", start, size)
        target = _block(path, year, block)
        if count == TILE_WIDTH and target.exists():
            continue
        _put(target, canonical([_line(one) for one in source.records(year, start, count)]))
    progress(f"records audit/{year}", size, size)


def _line(one: RawRecord) -> dict[str, Any]:
    receipt = {} if one.receipt is None else {"receipt": one.receipt.decode()}
    return {"index": one.index, "record": one.record.decode()} | receipt


def _block(path: Path, year: int, block: int) -> Path:
    return path / f"audit/{year}/records" / TileName(ENTRIES, block).path().removeprefix("tile/entries/")


def _put(target: Path, raw: bytes) -> None:
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_private(target, raw)


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise ReferralError(ErrorCode.MALFORMED, reason="members")
    return value


def _record(value: Any) -> RawRecord:
    try:
        receipt = value.get("receipt")
        return RawRecord(int(value["index"]), value["record"].encode(), None if receipt is None else receipt.encode())
    except (LookupError, TypeError, ValueError, AttributeError):
        raise ReferralError(ErrorCode.MALFORMED, reason="members") from None
