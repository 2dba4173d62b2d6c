"""What an auditor's machine remembers between two verifications: how far each log was verified whole, and a copy of it.

The folder `audit` of the profile holds `copy` (a mirror, verified leaf by leaf and record by record), `verified.json`
(per log the head up to which everything held), `checkpoints` (the signed text of each such head), `report.json` (the
last) and `evidence`. The copy is only as good as it is unchanged: it must hash to those heads, or nothing builds on it.

Must never: move a head back, or take the copy for verified because it lies here.

Implements: R-94, R-95; docs/decisions/0021; design §9.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from referral_api.auditlog.checkpoint import parse_checkpoint
from referral_api.auditlog.erasures import Place
from referral_api.auditlog.merkle import HASH_BYTES, Frontier, leaf_hash
from referral_api.auditlog.note import parse_note
from referral_api.auditlog.report import Head
from referral_api.auditlog.tiles import Tile, TileName, parse_entries
from referral_api.auditlog.tiling import Tiling
from referral_api.client.audit.mirroring import find_erasures, verify_records
from referral_api.client.audit.sources import MirrorSource
from referral_api.client.profile import MAX_FILE_BYTES, ProfileDir, corrupt, read_private, write_private
from referral_api.client.trust import entry_bundles
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.terms import Term, is_audit
from referral_api.formats.statements import KeyMap
from referral_api.formats.strict_json import canonical, parse


class Kept:
    """The folder of one profile."""

    def __init__(self, directory: ProfileDir) -> None:
        self._path = directory.audit
        self.copy = self._path / "copy"
        self.incoming = self._path / "incoming"
        self.evidence = self._path / "evidence"
        self._checkpoints = self._path / "checkpoints"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """One verification at a time builds on this folder."""
        self._path.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (self._path / ".lock").open("ab") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield

    def heads(self) -> dict[str, Head]:
        """By origin, the heads up to which everything was verified; empty before the first time.

        Raises KEYSTORE_CORRUPT: to start over in silence would forget what was seen.
        """
        return self._read("verified")

    def advance(self, heads: Mapping[str, Head]) -> None:
        """Remember heads that were verified whole and grew from the remembered ones."""
        self._advance("verified", heads)

    def keys_seen(self, origin: str) -> int:
        """How many leaves of the keys log were shown to a person the last time."""
        head = self._read("keys-seen").get(origin)
        return 0 if head is None else head.size

    def see_keys(self, head: Head) -> None:
        """Remember that a person was shown the keys log up to here."""
        self._advance("keys-seen", {head.origin: head})

    def find_checkpoint(self, log: str) -> bytes | None:
        """The signed text of the last head of a log that was verified here."""
        target = self._checkpoints / log.replace("/", "-")
        return read_private(target) if target.exists() else None

    def keep_checkpoint(self, log: str, raw: bytes) -> None:
        """Keep the signed text of a head that was verified: who shows another history later has signed this one too."""
        self._checkpoints.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private(self._checkpoints / log.replace("/", "-"), raw)

    def find_report(self) -> bytes | None:
        """The last verification's report, as it was printed."""
        target = self._path / "report.json"
        return read_private(target) if target.exists() else None

    def keep_report(self, raw: bytes) -> None:
        """Keep a report, whatever it found."""
        self._path.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private(self._path / "report.json", raw)

    def verify_copy(self, heads: Mapping[str, Head], keymap: KeyMap) -> None:
        """Raise TAMPERED (`what` `kept-copy`, `log`) unless the copy holds exactly what these heads cover, but for what
        `erase` acts in it have taken (R-99).
        """
        sizes: dict[str, int] = {}
        absent: list[Place] = []
        for head in heads.values():
            log = head.origin.rpartition("/v1/log/")[2]
            try:
                sizes[log] = _size_of(self.copy, log)
                after = Term.of_log(log).following if is_audit(log) else None
                if after is not None and (self.copy / after.log).exists():
                    sizes[log] = head.size  # It has lost leaves, and its last checkpoint covers more than is held.
                absent += [(log, index) for index in _verify_log(self.copy, log, head, sizes[log])]
            except (ReferralError, ValueError) as error:
                index = error.facts.get("index") if isinstance(error, ReferralError) else None
                raise _changed(log, index) from None
        named = find_erasures(MirrorSource(self.copy), keymap, sizes).named if absent else {}
        for log, index in absent:
            if (log, index) not in named:
                raise _changed(log, index)

    def _advance(self, name: str, heads: Mapping[str, Head]) -> None:
        known = self._read(name)
        for origin, head in heads.items():
            before = known.get(origin)
            if before is not None and (head.size < before.size or (head.size == before.size and head != before)):
                raise RuntimeError("what was verified only advances")
            known[origin] = head
        logs = {origin: {"root": head.root.hex(), "size": head.size} for origin, head in known.items()}
        self._path.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private(self._path / f"{name}.json", canonical({"logs": logs, "v": 1}))

    def _read(self, name: str) -> dict[str, Head]:
        try:
            raw = read_private(self._path / f"{name}.json")
        except FileNotFoundError:
            return {}
        try:
            logs = parse(raw, max_bytes=MAX_FILE_BYTES)["logs"]
            return {one: Head(one, int(head["size"]), bytes.fromhex(head["root"])) for one, head in logs.items()}
        except (ReferralError, LookupError, TypeError, ValueError, AttributeError):
            raise corrupt("contents") from None


def _size_of(path: Path, log: str) -> int:
    """How many leaves a mirror's checkpoint of a log says that it has. Raises NOT_FOUND, MALFORMED."""
    return parse_checkpoint(parse_note(MirrorSource(path).checkpoint(log)).text).size


def _verify_log(copy: Path, log: str, head: Head, size: int) -> list[int]:
    """The indices that have no record. Tiles are held against the leaves too: the verification reads them from here."""
    source, frontier, tiling = MirrorSource(copy), Frontier(), Tiling()
    absent: list[int] = []
    for name in entry_bundles(0, size):
        leaves = parse_entries(source.tile(log, name), name.width)
        _verify_tiles(source, log, tiling.take([leaf_hash(leaf) for leaf in leaves]))
        leaves = leaves[: max(0, head.size - frontier.size)]
        if log != "keys" and leaves:
            start = frontier.size
            absent += verify_records(start, leaves, source.records(Term.of_log(log), start, len(leaves)))
        frontier = frontier.extend([leaf_hash(leaf) for leaf in leaves])
    _verify_tiles(source, log, tiling.edge())
    if (frontier.size, frontier.root()) != (head.size, head.root):
        raise ReferralError(ErrorCode.TAMPERED, what="kept-copy")
    return absent


def _verify_tiles(source: MirrorSource, log: str, tiles: Sequence[Tile]) -> None:
    for tile in tiles:
        if source.tile(log, TileName(tile.level, tile.index, len(tile.hashes) // HASH_BYTES)) != tile.hashes:
            raise ReferralError(ErrorCode.TAMPERED, what="tile")


def _changed(log: str, index: object) -> ReferralError:
    place = {"index": index} if isinstance(index, int) else {}
    return ReferralError(ErrorCode.TAMPERED, what="kept-copy", log=log, **place)
