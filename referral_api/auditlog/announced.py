"""Which keys a log may be signed by, learnt from the keys log itself: from its pinned first leaf, act by act (R-37).

The checkpoint of the keys log is signed by a key that a leaf beneath it may have brought. So its leaves are read first,
and of what they say nothing is taken but the exchange's own keys, each change of which the key before it has signed.

Must never: take a key from a leaf that the exchange's act key has not signed, or judge the log as a whole.

Implements: R-30, R-37.
"""

from __future__ import annotations

from referral_api.auditlog.checkpoint import parse_checkpoint, verify_checkpoint
from referral_api.auditlog.keyslog import log_keys
from referral_api.auditlog.note import parse_note
from referral_api.auditlog.policy import Policy
from referral_api.auditlog.report import Source
from referral_api.auditlog.tiles import ENTRIES, TILE_WIDTH, TileName, parse_entries
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.formats.statements import KeyMap

KEYS = "keys"


def read_genesis(source: Source, root: bytes, issuer: str | None) -> KeyMap:
    """The map of the keys log's first leaf alone.

    Raises INCONSISTENT (`empty`), WRONG_ROOT (another exchange's), and what `KeyMap.start` and the source raise.
    """
    size = parse_checkpoint(parse_note(source.checkpoint(KEYS)).text).size
    if size == 0:
        raise ReferralError(ErrorCode.INCONSISTENT, reason="empty")
    keymap = KeyMap.start(_bundle(source, 0, size)[0], root=root)
    if issuer is not None and keymap.issuer != issuer:
        raise ReferralError(ErrorCode.WRONG_ROOT, reason="issuer")
    return keymap


def announced(source: Source, genesis: KeyMap) -> KeyMap:
    """A map that knows by which keys the keys log's checkpoint may be signed; of other parties it proves nothing.

    Raises UNREACHABLE alone: what else is wrong with a leaf, whoever judges the leaves finds and names.
    """
    keymap = genesis.copy()
    try:
        raw = source.checkpoint(KEYS)
        note = parse_note(raw)
        if any(note.signed_by(key) for key in log_keys(genesis, KEYS)):
            verify_checkpoint(raw, Policy().trust(*log_keys(genesis, KEYS)))
            return keymap
        size = parse_checkpoint(note.text).size
        for start in range(0, size, TILE_WIDTH):
            for leaf in _bundle(source, start, size)[1 if start == 0 else 0 :]:
                # The exchange's own keys and their changes are verified even so.
                keymap.extend(leaf, verify=False)
    except ReferralError as error:
        if error.code is ErrorCode.UNREACHABLE:
            raise
    return keymap


def _bundle(source: Source, start: int, size: int) -> list[bytes]:
    width = min(TILE_WIDTH, size - start)
    return parse_entries(source.tile(KEYS, TileName(ENTRIES, start // TILE_WIDTH, width)), width)
