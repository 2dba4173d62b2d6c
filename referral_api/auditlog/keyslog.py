"""The keys log as evidence: its file, its place, and which keys stood when an act was logged.

Whoever holds the whole keys log can tell which keys a credential had at any time, those too that have ended since.

Must never: verify a leaf (formats/statements.py does), or take a key that ended before an act reached the log.

Implements: R-30, R-33, R-37, R-90.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

from referral_api.auditlog.checkpoint import VerifiedCheckpoint, log_key
from referral_api.auditlog.note import VerifierKey
from referral_api.auditlog.tiles import TILE_WIDTH, encode_entries
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import KeyUse, Kid
from referral_api.formats.act import parse_act
from referral_api.formats.parties import SealKeys
from referral_api.formats.roster import Roster
from referral_api.formats.statements import KeyMap
from referral_api.formats.strict_json import malformed

MAX_LEAVES: Final = 1 << 20
"""Leaves that anybody is willing to read; an exchange with more parties is another exchange."""
ENDED_TOLERANCE_S: Final = 3600
"""How much later than a revocation was signed it may have reached the log; acts of the key taken in between stand."""


def log_origin(issuer: str, log: str) -> str:
    """The origin of an exchange's log (R-90); `log` is `keys` or `audit/<year>`."""
    return f"{issuer.partition('://')[2]}/v1/log/{log}"


def log_keys(directory: Roster, log: str) -> tuple[VerifierKey, ...]:
    """Every key by which a log of this exchange may be signed, as verifiers name it: the genesis act's, then those that
    followed (R-37). Which of them still counted when it signed, `demand_in_time` tells.
    """
    origin = log_origin(directory.issuer, log)
    return tuple(log_key(origin, record.public) for record in directory.exchange_keys(KeyUse.LOG))


def demand_in_time(directory: Roster, checkpoint: VerifiedCheckpoint, time: int) -> None:
    """Raise SIGNATURE_INVALID (`reason` ended) for a checkpoint over something of this time, if every log key that
    signed it had ended by then (R-37): a key that was given up, or stolen since, signs nothing new.
    """
    ends = {
        tenure.ends_at
        for tenure in directory.tenures(KeyUse.LOG)
        if log_key(checkpoint.origin, tenure.key.public) in checkpoint.signers
    }
    if ends and time >= max(ends):
        raise ReferralError(ErrorCode.SIGNATURE_INVALID, reason="ended", key=checkpoint.origin)


def encode_leaves(leaves: Sequence[bytes]) -> bytes:
    """All leaves as one file: the log's entry bundles, one after the other."""
    return b"".join(encode_entries(leaves[at : at + TILE_WIDTH]) for at in range(0, len(leaves), TILE_WIDTH))


def parse_leaves(raw: bytes) -> list[bytes]:
    """Read such a file: one leaf at least. Raises MALFORMED (`entries`), TOO_LARGE (`limit` in leaves)."""
    leaves: list[bytes] = []
    at = 0
    while at < len(raw):
        start = at + 2
        at = start + int.from_bytes(raw[at:start], "big")
        leaves.append(raw[start:at])
        if len(leaves) > MAX_LEAVES:
            raise ReferralError(ErrorCode.TOO_LARGE, limit=MAX_LEAVES)
    if not leaves or at != len(raw):
        raise malformed("entries")
    return leaves


def seal_keys_at(
    keymap: KeyMap, leaves: Sequence[bytes], credential: str, iat: int, time: int, kids: Collection[Kid] = ()
) -> SealKeys:
    """The keys of a credential for an act that the exchange took at `time`, also where they have ended since.

    Acts that were logged before a key was revoked or replaced stand (R-33). Where `keymap`, the fold of all `leaves`,
    does not know the keys any more, the log is folded again up to the leaf that ended them, and `time` must not lie
    after it. Raises KEY_NOT_VALID.
    """
    try:
        return keymap.seal_keys(credential, iat, time, kids=kids)
    except ReferralError as refused:
        found = _find_ended(leaves, credential, iat, time, kids)
        if found is None:
            raise refused from None
        return found


def _find_ended(
    leaves: Sequence[bytes], credential: str, iat: int, time: int, kids: Collection[Kid]
) -> SealKeys | None:
    keymap, stood = KeyMap.start(leaves[0]), None
    for leaf in leaves[1:]:
        keymap.extend(leaf, verify=False)
        try:
            stood = keymap.seal_keys(credential, iat, time, kids=kids)
        except ReferralError:
            if stood is not None:
                return stood if time <= parse_act(leaf).iat + ENDED_TOLERANCE_S else None
    return stood
