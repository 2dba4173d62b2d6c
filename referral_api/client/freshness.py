"""How old the directory is by which a client seals: by when a quorum of witnesses had last cosigned it.

An exchange that froze its keys log would hide new keys and revocations, and everything else would verify. It shows
every log's newest checkpoint to the witnesses at least every ten minutes (R-101), so that old cosignatures tell of it.

Must never: stop anybody from sealing, or speak of an exchange whose genesis act names no witnesses.

Implements: R-101; design §5 (a warning when the log is stale).
"""

from __future__ import annotations

from typing import Final

from referral_api.auditlog.checkpoint import TrustPolicy, VerifiedCheckpoint, verify_checkpoint
from referral_api.client.profile import Pin, ProfileDir, read_private, write_private
from referral_api.client.trust import Replica, keys_policy
from referral_api.domain.errors import ReferralError

FRESH_S: Final = 3600
"""What is cosigned again every ten minutes is never this old, unless something is wrong."""


def note_cosigned(directory: ProfileDir, replica: Replica, raw_checkpoint: bytes) -> None:
    """Keep a cosigned checkpoint of these leaves, unless one is kept whose quorum is as new."""
    if _cosigned_at(replica, raw_checkpoint) > _cosigned_at(replica, _kept(directory)):
        write_private(directory.keys_cosigned, raw_checkpoint)


def stale_since(directory: ProfileDir, replica: Replica, now: int) -> int | None:
    """When a quorum had last cosigned what is sealed by (unix seconds), where that was more than FRESH_S before `now`.

    `now` is the exchange's time as far as it is known. None also where the genesis act names no witnesses, and where
    nothing cosigned was ever seen here: then nobody seals at all.
    """
    if replica.keymap.witness_policy is None:
        return None
    at = _cosigned_at(replica, _kept(directory))
    return at if at and now - at > FRESH_S else None


def _kept(directory: ProfileDir) -> bytes:
    try:
        return read_private(directory.keys_cosigned)
    except (FileNotFoundError, ReferralError):
        return b""


def _cosigned_at(replica: Replica, raw_checkpoint: bytes) -> int:
    """By when a quorum had cosigned these leaves; 0 where this text does not say so."""
    policy = keys_policy(replica.keymap, witnessed=True)
    try:
        checkpoint = verify_checkpoint(raw_checkpoint, policy)
        replica.verify_pin(Pin(checkpoint.size, checkpoint.root))
    except ReferralError:
        return 0
    return quorum_time(policy, checkpoint)


def quorum_time(policy: TrustPolicy, checkpoint: VerifiedCheckpoint) -> int:
    """The newest time at which the cosignatures that are no older suffice for the policy's quorum; 0 for none."""
    rule = policy.rule
    newest_first = sorted((one for one in checkpoint.cosignatures if one.cosigned_s), key=lambda one: -one.cosigned_s)
    for count, last in enumerate(newest_first, start=1):
        if rule is not None and rule.count({one.key for one in newest_first[:count]}) >= rule.threshold:
            return last.cosigned_s
    return 0
