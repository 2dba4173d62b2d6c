"""The rules by which the exchange goes over from one of its own keys to the next (docs/protocol.md R-37).

A key is announced before it is used, so that whoever relies on it has replicated the keys log by then, and the key
before it counts a while longer, so that nobody who had not is left behind. Only the exchange itself reads its access
tokens: a token key that leaked may be replaced at once.

Must never: read a clock (`now` is the time of the fold), verify a signature, or end a key that nothing follows.

Implements: docs/protocol.md R-37; docs/decisions/0025.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import KeyUse, Kid
from referral_api.formats.directory_bodies import Genesis, Rekey
from referral_api.formats.keys import Alg, PublicKey, parse_public_key
from referral_api.formats.parties import EXCHANGE, KeyRecord, Sealing, SealKeys, Tenure

FOREVER: Final = 2**53 - 1
"""The end of what has none."""
NOTICE_S: Final = 24 * 3600
"""How long before its use a receipt, act or log key is on the keys log, and how long the one before it counts on."""
MOST_S: Final = 90 * 24 * 3600
"""How long either may be at most: a key that is announced for some far day blocks every other."""


def founded(genesis: Genesis) -> dict[KeyUse, tuple[Tenure, ...]]:
    """The keys that a genesis act lists, by use: in use for as long as there is an exchange, whatever its clock said.

    Raises KEY_UNSUITABLE (`thumbprint`, `use`, and what formats/keys.py raises).
    """
    tenures: dict[KeyUse, tuple[Tenure, ...]] = {}
    for key in genesis.keys:
        public, use = parse_public_key(key.jwk.wire()), KeyUse(key.use)
        if public.kid != key.kid:
            raise ReferralError(ErrorCode.KEY_UNSUITABLE, reason="thumbprint", kid=key.kid)
        if use is not KeyUse.ACT and public.alg is not Alg.ED25519:
            raise ReferralError(ErrorCode.KEY_UNSUITABLE, reason="use", kid=key.kid)
        record = KeyRecord(public, EXCHANGE, use, 0, (public.kid,))
        tenures[use] = (*tenures.get(use, ()), Tenure(record, 0, FOREVER))
    return tenures


def rekeyed(
    tenures: Mapping[KeyUse, tuple[Tenure, ...]], body: Rekey, find_key: Callable[[str], KeyRecord | None], now: int
) -> tuple[Tenure, ...]:
    """The tenures of the key's use after a `rekey` act at `now`.

    Raises KEY_NOT_VALID (`no-entry`), KEY_REUSED, KEY_UNSUITABLE (`algorithm`), ACT_SCHEMA (`out-of-range` at
    `/body/from` or `/body/until`), STATEMENT_OUT_OF_SEQUENCE (`pending`: one is announced already; `sequence`: it does
    not replace a key of this use that nothing has replaced).
    """
    use = KeyUse(body.use)
    held, key = tenures[use], find_key(body.kid)
    if any(one.key.kid == body.kid for one in held):
        raise ReferralError(ErrorCode.KEY_REUSED, kid=body.kid)
    if key is None or (key.party, key.use) != (EXCHANGE, use):
        raise ReferralError(ErrorCode.KEY_NOT_VALID, reason="no-entry", kid=body.kid)
    if any(one.begins_at > now for one in held):
        raise ReferralError(ErrorCode.STATEMENT_OUT_OF_SEQUENCE, reason="pending", use=use.value)
    old = next((one for one in held if one.key.kid == body.replaces and one.ends_at == FOREVER), None)
    if old is None:
        raise ReferralError(ErrorCode.STATEMENT_OUT_OF_SEQUENCE, reason="sequence", use=use.value)
    if key.public.alg is not old.key.public.alg:
        raise ReferralError(ErrorCode.KEY_UNSUITABLE, reason="algorithm", kid=body.kid)
    begins, ends = int(body.from_at.timestamp()), int(body.until_at.timestamp())
    least = 0 if use is KeyUse.TOKEN else NOTICE_S
    for member, after, instant in (("from", now, begins), ("until", begins, ends)):
        if not after + least <= instant <= after + MOST_S:
            raise ReferralError(ErrorCode.ACT_SCHEMA, where=f"/body/{member}", reason="out-of-range")
    kept = tuple(replace(one, ends_at=ends) if one is old else one for one in held)
    return (*kept, Tenure(key, begins, FOREVER, old.key.kid))


def resealed(held: tuple[Sealing, ...], body: Rekey, new: PublicKey) -> tuple[Sealing, ...]:
    """The exchange's own seal keys after a change of an act key: all sets that there ever were, the newest first, for
    its acts are verified for ever by the key of their time.
    """
    newest = held[0]
    keys: dict[Kid, PublicKey] = {kid: key for kid, key in newest.seal.keys.items() if kid != body.replaces}
    keys[new.kid] = new
    require: tuple[Alg, ...] = tuple(key.alg for key in keys.values())
    seal = SealKeys(keys, require, newest.seal.kind)
    begun = Sealing(seal, int(body.from_at.timestamp()), FOREVER)
    return (begun, replace(newest, ends_at=int(body.until_at.timestamp())), *held[1:])
