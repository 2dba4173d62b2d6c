"""The tables of one log: leaves in order, right edge, tiles and every stored checkpoint, from the leaves alone.

Must never: take a hash from where it is stored, or stop at a leaf that is gone.

Implements: R-90, R-92, R-93; design §9.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from referral_api.auditlog.checkpoint import TrustPolicy, verify_checkpoint
from referral_api.auditlog.merkle import Frontier, leaf_hash
from referral_api.auditlog.note import parse_note
from referral_api.auditlog.tiles import TILE_WIDTH
from referral_api.auditlog.tiling import Tiling
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.server.service.reckoning.difference import Findings
from referral_api.server.storage import inventory, logbook
from referral_api.server.storage.database import Connection
from referral_api.server.storage.inventory import Cells

LOWEST, HIGHEST = -(1 << 63), (1 << 63) - 1
_MAX_GAP = TILE_WIDTH
"""As many leaves in a row may be missing; what comes after more is a row that was moved away."""
PolicyOf = Callable[[str], tuple[TrustPolicy, TrustPolicy]]
"""Whom to believe about a log: as to its key and whatever cosignatures there are, and with the quorum demanded."""


class Tree:
    """One log as its leaves are read, a page at a time."""

    def __init__(self, conn: Connection, findings: Findings, log: str) -> None:
        self._conn = conn
        self._findings = findings
        self.log = log
        self.size = 0
        self.frontier = Frontier()
        self.holds = True
        """Whether the leaves so far are what signed checkpoints and the right edge say."""
        self._tiling = Tiling()
        self._seen_checkpoints = 0

    def pages(self, policy: Callable[[], PolicyOf | None]) -> Iterator[list[tuple[int, bytes]]]:
        """The leaves by the page, with their indices; tiles and checkpoints are compared on the way.

        `policy` is asked for when a page has been handed on, for the first page of the keys log says whose key signs.
        """
        after = -1
        while rows := inventory.between(self._conn, "log_entry", after + 1, after + TILE_WIDTH + _MAX_GAP, (self.log,)):
            page: list[tuple[int, bytes]] = []
            for row in rows[:TILE_WIDTH]:
                for gone in range(after + 1, row["idx"]):
                    self._findings.note("log_entry", self.place(gone), None, "missing")
                    self.holds = False
                after = row["idx"]
                page.append((after, bytes(row["leaf"])))
            self.size = after + 1
            yield page
            if self.holds:
                self._grow([leaf for _, leaf in page], policy())
            self._findings.looked("log_entry", len(page))

    def finish(self) -> None:
        """After the last page: the right edge, partial tiles, and rows beyond the end or before the beginning.

        Of a log that has lost leaves, checkpoints are kept that cover what is gone.
        """
        is_lost = logbook.following(self._conn, self.log) is not None
        for table, beyond in (("log_entry", self.size), ("log_checkpoint", self.size + 1)):
            below = 0 if table == "log_entry" else 1
            for first, last in ((LOWEST, below - 1), (beyond, HIGHEST)):
                if is_lost and (table, first) == ("log_checkpoint", beyond):
                    continue
                for row in inventory.between(self._conn, table, first, last, (self.log,)):
                    self._findings.note(table, self.place(row[inventory.key_of(table)[-1]]), None, "extra")
                    self.holds = False
        for tile in self._tiling.edge():
            if tile.level:
                self._tile(tile.level, tile.index, tile.hashes)
        self._findings.sizes[self.log] = self.size

    def edge(self, state: Cells | None) -> None:
        """Compare the log's sequencer with the leaves."""
        if state is None:
            self._findings.note("log_state", self.log, None, "missing")
            self.holds = False
            return
        before = self._findings.count
        expected: dict[str, object] = {"size": self.size}
        if self.holds or self._findings.signed.get(self.log) == self.size:
            expected["frontier"] = self.frontier.to_bytes()
        self._findings.compare("log_state", self.log, state | {"frontier": bytes(state["frontier"])}, expected)
        self.holds = self.holds and before == self._findings.count

    def place(self, index: object) -> str:
        """How a leaf of this log is named."""
        return f"{self.log}#{index}"

    def is_tile(self, level: int, n: int) -> bool:
        """Whether a tile is one that is stored: of level 0 only full ones are."""
        if level < 0 or n < 0:
            return False
        return n < (self.size // TILE_WIDTH if level == 0 else self._tiling.count(level))

    def _grow(self, leaves: Sequence[bytes], policy: PolicyOf | None) -> None:
        hashes, start = [leaf_hash(leaf) for leaf in leaves], self.frontier.size
        for tile in self._tiling.take(hashes):
            self._tile(tile.level, tile.index, tile.hashes)
        done = 0
        for row in inventory.between(self._conn, "log_checkpoint", start + 1, start + len(hashes), (self.log,)):
            at = row["size"] - start
            self.frontier, done = self.frontier.extend(hashes[done:at]), at
            if policy is not None:
                self._checkpoint(row, policy)
        self.frontier = self.frontier.extend(hashes[done:])

    def _tile(self, level: int, n: int, hashes: bytes) -> None:
        rows = inventory.between(self._conn, "log_tile", n, n, (self.log, level))
        key = f"{self.log}#{level}/{n}"
        if not rows:
            self._findings.note("log_tile", key, None, "missing")
            return
        self._findings.looked("log_tile", 1)
        if bytes(rows[0]["data"]) != hashes:
            self._findings.note("log_tile", key, "data", "differs")

    def _checkpoint(self, row: Cells, policy: PolicyOf) -> None:
        key = self.place(row["size"])
        self._findings.looked("log_checkpoint", 1)
        note = row["note"].encode("utf-8", "surrogateescape")
        try:
            checkpoint = verify_checkpoint(note, policy(self.log)[0])
        except ReferralError as error:
            self._findings.note("log_checkpoint", key, "note", error.code.value, error.facts.get("reason"))
            return
        if len(parse_note(note).signatures) != len(checkpoint.signers) + len(checkpoint.cosignatures):
            # What is kept and passed on is the log's lines and verified lines of the policy's keys, and nothing else.
            self._findings.note("log_checkpoint", key, "note", "differs", "signature-lines")
        if checkpoint.size != row["size"]:
            self._findings.note("log_checkpoint", key, "size", "differs")
        elif checkpoint.root != self.frontier.root():
            # What the log's key signed is not what stands here: the leaves were changed, not the note.
            self._findings.note("log_entry", self.log, "leaf", ErrorCode.INCONSISTENT.value, f"root-at-{row['size']}")
            self.holds = False
        else:
            self._findings.signed[self.log] = row["size"]
        self._witnessed(row, key, note, policy)

    def _witnessed(self, row: Cells, key: str, note: bytes, policy: PolicyOf) -> None:
        """That a quorum has cosigned is noted exactly where the note's cosignatures are one."""
        demanding = policy(self.log)[1]
        suffices = demanding.rule is not None
        if suffices:
            try:
                verify_checkpoint(note, demanding)
            except ReferralError:
                suffices = False
        if suffices != (row["witnessed_at"] is not None):
            self._findings.note("log_checkpoint", key, "witnessed_at", "differs")
