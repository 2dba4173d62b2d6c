"""The logs in SQL: leaves, tiles, right edge and checkpoints, written inside the business transaction.

A log is named `keys` or `audit/<term>`. Its row in `log_state` is its sequencer: `lock` holds it until COMMIT, so
index, root and proofs are final when the transaction is, and no act can commit without its leaf. Tiles of level 0 are
stored once they are full; a partial one is the hashes of the newest leaves. Higher levels are rewritten once in 256
appends.

Must never: sign (that waits for the commit: signer.py), change a leaf, or serve a tile wider than the log is.

Implements: design §9; R-90, R-92; the mathematics are auditlog/merkle.py and auditlog/tiles.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from referral_api.auditlog.merkle import (
    HASH_BYTES,
    Frontier,
    Proof,
    TileRun,
    leaf_hash,
    parse_frontier,
)
from referral_api.auditlog.merkle import append as append_hashes
from referral_api.auditlog.tiles import (
    ENTRIES,
    TILE_WIDTH,
    TileName,
    TileReader,
    extend_tiles,
    verify_servable,
)
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.terms import Term, is_audit
from referral_api.server.storage.database import Connection, Transaction

KEYS: Final = "keys"
YEAR_SHIFT: Final = 40
TERM_SHIFT: Final = 36
"""A term's log holds fewer than 2^36 leaves, and a year has room for 16 terms; year 7999 fits a signed 64-bit
position.
"""

MAX_SIZE: Final = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class Head:
    """A log as its lock holder found it. Nobody else can append until the transaction ends."""

    name: str
    frontier: Frontier

    @property
    def size(self) -> int:
        """How many leaves there are; the index of the next one."""
        return self.frontier.size


@dataclass(frozen=True, slots=True)
class Appended:
    """What one append did. `proofs[k]` is that of leaf `first + k` at `size`; valid once the transaction commits."""

    name: str
    first: int
    root: bytes
    proofs: tuple[Proof, ...]
    leaf_hashes: tuple[bytes, ...]
    frontier: Frontier

    @property
    def size(self) -> int:
        """The size after the append."""
        return self.frontier.size

    @property
    def head(self) -> Head:
        """The head from which the same transaction may append again."""
        return Head(self.name, self.frontier)


@dataclass(frozen=True, slots=True)
class StoredCheckpoint:
    """The newest signed note of a log."""

    size: int
    note: bytes
    signed_at: int


def position(term: Term, index: int) -> int:
    """One integer for a leaf of an audit log, ordered as the logs are: year * 2^40 + (number - 1) * 2^36 + index."""
    if not 0 <= index < 1 << TERM_SHIFT:
        raise ValueError("no such place in a log")
    return term.year << YEAR_SHIFT | (term.number - 1) << TERM_SHIFT | index


def term_index(pos: int) -> tuple[Term, int]:
    """The term and index of a position. Raises ValueError for one that no leaf can have."""
    number = (pos >> TERM_SHIFT & (1 << YEAR_SHIFT - TERM_SHIFT) - 1) + 1
    return Term(pos >> YEAR_SHIFT, number), pos & (1 << TERM_SHIFT) - 1


def lock(tx: Transaction, names: Iterable[str]) -> dict[str, Head]:
    """Take the sequencers of these logs, `keys` before `audit/…`, always in that order: two writers cannot deadlock.

    A log that does not exist yet starts empty (a new term's). Do everything that may wait before this, not after.
    """
    heads: dict[str, Head] = {}
    for name in sorted(set(names), key=lambda name: (name != KEYS, name)):
        sql = "SELECT frontier FROM log_state WHERE log = ?"
        row = tx.one_locked(sql, (name,))
        if row is None:
            empty = Frontier().to_bytes()
            tx.run(
                "INSERT INTO log_state (log, size, frontier) VALUES (?,?,?) ON CONFLICT DO NOTHING", (name, 0, empty)
            )
            # Another process may have been quicker; whoever made the row, this waits for it and locks it.
            row = tx.one_locked(sql, (name,))
        if row is None:
            raise ReferralError(ErrorCode.INTERNAL, reason="log-state")
        heads[name] = Head(name, parse_frontier(row[0]))
    return heads


def append(tx: Transaction, head: Head, leaves: Sequence[bytes]) -> Appended:
    """Append leaves to a locked log: entries, newly full tiles, right edge. The last thing a transaction does.

    Raises RolledBack or Conflict if the head is not the log's any more, which the lock rules out.
    """
    first = head.size
    hashes = tuple(leaf_hash(leaf) for leaf in leaves)
    growth = append_hashes(head.frontier, hashes)
    appended = Appended(head.name, first, growth.root, growth.proofs, hashes, growth.frontier)
    if not leaves:
        return appended
    # Before the new entries stand in the table, so that what is missing of a tile is read without them.
    _store_tiles(tx, head.name, growth.runs)
    rows = [(head.name, first + at, leaf) for at, leaf in enumerate(leaves)]
    insert = "INSERT INTO log_entry (log, idx, leaf) VALUES (?,?,?)"
    if len(rows) == 1:
        tx.run(insert, rows[0])
    else:
        tx.run_many(insert, rows)
    moved = tx.run(
        "UPDATE log_state SET size = ?, frontier = ? WHERE log = ? AND size = ?",
        (appended.size, growth.frontier.to_bytes(), head.name, first),
    )
    if moved != 1:
        raise ReferralError(ErrorCode.INTERNAL, reason="log-state")
    return appended


def names(conn: Connection) -> list[str]:
    """Every log of this exchange, `keys` first."""
    found = [row[0] for row in conn.all("SELECT log FROM log_state ORDER BY log")]
    return sorted(found, key=lambda name: (name != KEYS, name))


def following(conn: Connection, name: str) -> Term | None:
    """The term that follows a log which has lost leaves and is closed for ever; None for any other log."""
    after = Term.of_log(name).following if is_audit(name) else None
    return after if after is not None and size(conn, after.log) else None


def newest_audit(conn: Connection) -> tuple[str, int] | None:
    """Name and size of the newest audit log that has leaves; None before the first. Names sort as their terms do."""
    row = conn.one("SELECT log, size FROM log_state WHERE log LIKE 'audit/%' AND size > 0 ORDER BY log DESC LIMIT 1")
    return None if row is None else (row[0], row[1])


def frontier(conn: Connection, name: str) -> Frontier:
    """The right edge of a log; empty if it does not exist."""
    row = conn.one("SELECT frontier FROM log_state WHERE log = ?", (name,))
    return Frontier() if row is None else parse_frontier(row[0])


def frontier_at(conn: Connection, name: str, at_size: int) -> Frontier:
    """The right edge as it was at `at_size` leaves, computed from stored tiles and at most 255 leaves.

    Raises NOT_FOUND for a size that the log never had, TAMPERED where tiles or leaves are missing.
    """
    start = at_size // TILE_WIDTH * TILE_WIDTH
    read = TileReader(start, partial(tile, conn, name))
    whole = [level for level in range(start.bit_length() - 1, -1, -1) if start >> level & 1]
    before = Frontier(start, tuple(read(level, (start >> level) - 1) for level in whole))
    newest = leaf_hashes(conn, name, start, at_size)
    if len(newest) != at_size - start:
        raise ReferralError(ErrorCode.TAMPERED, what="entry", log=name)
    return before.extend(newest)


def size(conn: Connection, name: str) -> int:
    """How many leaves a log has; 0 if it does not exist."""
    row = conn.one("SELECT size FROM log_state WHERE log = ?", (name,))
    return 0 if row is None else int(row[0])


def leaf(conn: Connection, name: str, index: int) -> bytes:
    """The exact bytes of one leaf; NOT_FOUND if the log has no such index."""
    row = conn.one("SELECT leaf FROM log_entry WHERE log = ? AND idx = ?", (name, index))
    if row is None:
        raise ReferralError(ErrorCode.NOT_FOUND)
    return bytes(row[0])


def leaves(conn: Connection, name: str, first: int, last: int) -> list[bytes]:
    """The leaves [first, last), fewer if the log ends before. TAMPERED if there is a gap among them."""
    rows = conn.all(
        "SELECT idx, leaf FROM log_entry WHERE log = ? AND idx >= ? AND idx < ? ORDER BY idx", (name, first, last)
    )
    if any(index != first + at for at, (index, _) in enumerate(rows)):
        raise ReferralError(ErrorCode.TAMPERED, what="entry", log=name)
    return [bytes(found) for _, found in rows]


def leaf_hashes(conn: Connection, name: str, first: int, last: int) -> list[bytes]:
    """The leaf hashes [first, last), fewer if the log ends before: what a signer asks for that missed some."""
    return [leaf_hash(found) for found in leaves(conn, name, first, last)]


def inclusion(conn: Connection, name: str, index: int, at_size: int) -> Proof:
    """The proof that leaf `index` is in the tree of `at_size` leaves; NOT_FOUND if there is no such leaf or size."""
    if not 0 <= index < at_size <= size(conn, name):
        raise ReferralError(ErrorCode.NOT_FOUND)
    return TileReader(at_size, partial(_read_tile, conn, name)).inclusion_proof(index)


def consistency(conn: Connection, name: str, old_size: int, new_size: int) -> Proof:
    """The proof that the tree of `new_size` leaves extends that of `old_size`; NOT_FOUND for sizes it never had."""
    if not 0 <= old_size <= new_size <= size(conn, name):
        raise ReferralError(ErrorCode.NOT_FOUND)
    return TileReader(new_size, partial(_read_tile, conn, name)).consistency_proof(old_size)


def tile(conn: Connection, name: str, level: int, n: int, width: int) -> bytes:
    """The first `width` hashes of a tile; NOT_FOUND unless that many exist: no full tile is served early (R-90)."""
    verify_servable(TileName(level, n, width), size(conn, name))
    found = _read_tile(conn, name, level, n, width)
    if len(found) != width * HASH_BYTES:
        raise ReferralError(ErrorCode.TAMPERED, what="tile", level=level, index=n, width=width)
    return found


def entries(conn: Connection, name: str, n: int, width: int) -> list[bytes]:
    """The leaves of entry bundle `n`, exactly `width` of them. NOT_FOUND unless that many exist."""
    verify_servable(TileName(ENTRIES, n, width), size(conn, name))
    found = leaves(conn, name, n * TILE_WIDTH, n * TILE_WIDTH + width)
    if len(found) != width:
        raise ReferralError(ErrorCode.TAMPERED, what="entry", log=name)
    return found


def latest_checkpoint(conn: Connection, name: str, at_most: int = MAX_SIZE) -> StoredCheckpoint | None:
    """The largest checkpoint that was saved, of those up to a size; None before the first. It may lag behind the log by
    a batch; of a log that has lost leaves it is ahead.
    """
    row = conn.one(
        "SELECT size, note, signed_at FROM log_checkpoint WHERE log = ? AND size <= ? ORDER BY size DESC LIMIT 1",
        (name, at_most),
    )
    return None if row is None else StoredCheckpoint(row[0], row[1].encode(), row[2])


def find_checkpoint(conn: Connection, name: str, at_size: int) -> StoredCheckpoint | None:
    """The checkpoint of exactly this size, if it was saved."""
    row = conn.one("SELECT size, note, signed_at FROM log_checkpoint WHERE log = ? AND size = ?", (name, at_size))
    return None if row is None else StoredCheckpoint(row[0], row[1].encode(), row[2])


def latest_witnessed(conn: Connection, name: str, at_most: int = MAX_SIZE) -> StoredCheckpoint | None:
    """The largest checkpoint that a quorum of witnesses has cosigned, of those up to a size; None before the first."""
    row = conn.one(
        "SELECT size, note, signed_at FROM log_checkpoint WHERE log = ? AND size <= ? AND witnessed_at IS NOT NULL"
        " ORDER BY size DESC LIMIT 1",
        (name, at_most),
    )
    return None if row is None else StoredCheckpoint(row[0], row[1].encode(), row[2])


def save_checkpoint(tx: Transaction, name: str, at_size: int, note: bytes, now: int) -> None:
    """Keep a signed note, in any transaction after the one it covers; one that is there may have cosignatures."""
    tx.run(
        "INSERT INTO log_checkpoint (log, size, note, signed_at) VALUES (?,?,?,?) ON CONFLICT (log, size) DO NOTHING",
        (name, at_size, note.decode(), now),
    )


def save_cosigned(tx: Transaction, name: str, at_size: int, note: bytes, now: int, *, witnessed: bool) -> None:
    """Keep a checkpoint with more cosignatures than before; `witnessed` says that they suffice from now on."""
    tx.run(
        "INSERT INTO log_checkpoint (log, size, note, signed_at, witnessed_at) VALUES (?,?,?,?,?)"
        " ON CONFLICT (log, size) DO UPDATE SET note = excluded.note,"
        " witnessed_at = COALESCE(log_checkpoint.witnessed_at, excluded.witnessed_at)",
        (name, at_size, note.decode(), now, now if witnessed else None),
    )


def _store_tiles(tx: Transaction, name: str, runs: Sequence[TileRun]) -> None:
    """Write the tiles that grew; of level 0 only those that became full, so that most appends write none."""
    grown = [run for run in runs if run.level or _fills_a_tile(run)]
    if not grown:
        return
    rows = [
        (name, found.level, found.index, found.hashes)
        for found in extend_tiles(grown, partial(_read_tile, tx, name))
        if found.level or len(found.hashes) == TILE_WIDTH * HASH_BYTES
    ]
    tx.run_many(
        "INSERT INTO log_tile (log, lvl, n, data) VALUES (?,?,?,?)"
        " ON CONFLICT (log, lvl, n) DO UPDATE SET data = excluded.data",
        rows,
    )


def _fills_a_tile(run: TileRun) -> bool:
    return run.start // TILE_WIDTH != (run.start + len(run.hashes)) // TILE_WIDTH


def _read_tile(conn: Connection, name: str, level: int, n: int, width: int) -> bytes:
    """The hashes as stored, or for a partial tile of level 0 as made from its leaves; short if there are too few."""
    if level == 0 and width < TILE_WIDTH:
        first = n * TILE_WIDTH
        return b"".join(leaf_hashes(conn, name, first, first + width))
    row = conn.one("SELECT data FROM log_tile WHERE log = ? AND lvl = ? AND n = ?", (name, level, n))
    return b"" if row is None else bytes(row[0][: width * HASH_BYTES])
