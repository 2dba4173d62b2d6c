"""How old the directory is by which a client seals, by when a quorum of witnesses had last cosigned it; and what is not
sealed to while it is old.

An exchange that froze its keys log would hide new keys and revocations, and everything else would verify. It shows
every log's newest checkpoint to the witnesses at least every ten minutes (R-101), so that old cosignatures tell of it.
Whoever was sealed to when the log was last seen freshly cosigned is sealed to with a warning; a key that came later is
not, because nobody can tell whether its owner has objected since.

Must never: let anything be sealed to by an old log that a fresh one did not show, or speak of an exchange whose genesis
act names no witnesses.

Implements: R-101; design §5 (a warning when the log is stale, a refusal for changed keys); docs/decisions/0027.
"""

from __future__ import annotations

from typing import Any, Final

from referral_api.auditlog.checkpoint import TrustPolicy, VerifiedCheckpoint, verify_checkpoint
from referral_api.client.profile import Pin, ProfileDir, read_private, write_private
from referral_api.client.trust import Replica, fresh_pin, keys_policy, witnessed_pin
from referral_api.domain.errors import ReferralError
from referral_api.formats.statements import KeyMap

FRESH_S: Final = 3600
"""What is cosigned again every ten minutes is never this old, unless something is wrong."""


def note_cosigned(directory: ProfileDir, replica: Replica, raw_checkpoint: bytes, now: int) -> None:
    """Pin how far a quorum has cosigned the keys log, as fresh too where it was within FRESH_S before `now`; keep the
    text, unless one is kept whose quorum is as new.

    That the exchange shows an older one than before is a delay and no finding: sealing goes on by what is pinned.
    Raises as `Replica.conclude_witnessed`.
    """
    issuer = replica.keymap.issuer
    found, at = replica.conclude_witnessed(raw_checkpoint), _cosigned_at(replica, raw_checkpoint)
    _pin(directory, replica, witnessed_pin(issuer), found)
    if now - at <= FRESH_S:
        _pin(directory, replica, fresh_pin(issuer), found)
    if at > _cosigned_at(replica, _kept(directory)):
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


def sealing_map(directory: ProfileDir, replica: Replica, now: int) -> KeyMap:
    """Whose keys may be sealed to now (`Replica.sealing_map`): of a log that is not freshly cosigned only those that it
    had when it last was. Raises NOT_WITNESSED where nothing is cosigned yet.
    """
    issuer = replica.keymap.issuer
    witnessed = directory.find_pin(witnessed_pin(issuer))
    fresh = directory.find_pin(fresh_pin(issuer))
    known = 1 if fresh is None else fresh.size
    if witnessed is None or (known >= witnessed.size and _is_fresh(directory, replica, now)):
        return replica.sealing_map(witnessed)
    replica.verify_pin(fresh)
    return replica.sealing_map(witnessed, known)


def changed(directory: ProfileDir, replica: Replica, party: str, now: int) -> dict[str, Any] | None:
    """Facts of NO_USABLE_KEY for a party that could be sealed to if the log were freshly cosigned; None for any other.

    `phone` is its duty phone as the log had it when it last was, which may be none: the one of today is as doubtful as
    the key.
    """
    issuer = replica.keymap.issuer
    if sealing_map(directory, replica, now).sealable(party, now):
        return None
    if not replica.sealing_map(directory.find_pin(witnessed_pin(issuer))).sealable(party, now):
        return None
    fresh = directory.find_pin(fresh_pin(issuer))
    known = None if fresh is None else replica.fold(fresh.size).find_party(party)
    return {"reason": "changed", "phone": "—" if known is None else known.entry.duty_phone or "—"}


def _pin(directory: ProfileDir, replica: Replica, name: str, found: Pin) -> None:
    while (pin := directory.find_pin(name)) is None or pin.size < found.size:
        replica.verify_pin(pin)
        directory.advance_pin(name, found, seen=pin)


def _is_fresh(directory: ProfileDir, replica: Replica, now: int) -> bool:
    return now - _cosigned_at(replica, _kept(directory)) <= FRESH_S


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
