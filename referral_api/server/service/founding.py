"""The first act of an exchange and its first invitation: what `admin init` brings to the door of an empty house.

The genesis act lists the exchange's four keys and is signed by its own act key; the SHA-256 of its bytes is the root
that every client pins (R-30). The exchange then invites the registrar, and later approves that party's first
statement, nothing else.

Must never: run on an exchange that has a leaf already.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from referral_api.auditlog.policy import Policy, short_form
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import Act, KeyUse
from referral_api.formats.act import build_act, parse_act
from referral_api.formats.keys import SigningKey
from referral_api.formats.parties import EXCHANGE
from referral_api.server.service.batch import Batch, Committed, Done
from referral_api.server.service.decision import Accepted, Checked, DirectoryDecision
from referral_api.server.service.exchange import Exchange
from referral_api.server.service.ledger import Entry, store
from referral_api.server.service.writer import Writer
from referral_api.server.storage.logbook import KEYS

EXCHANGE_CREDENTIAL = f"{EXCHANGE}.main"


def genesis(
    *,
    issuer: str,
    host: str,
    environment: str,
    registrars_required: int,
    witnesses: Policy | None,
    keys: Mapping[KeyUse, SigningKey],
    token_bytes: Callable[[int], bytes],
    now: int,
) -> bytes:
    """The genesis act, signed by the act key that it lists. `witnesses` None: none, by declared choice (design §5).

    Raises MALFORMED (`reason` `quorum-shape`) for a policy that the act cannot state.
    """
    stated: Any = "none"
    if witnesses is not None:
        quorum, known = short_form(witnesses)
        stated = {"quorum": quorum, "witnesses": [key.vkey for key in known]}
    body = {
        "issuer": issuer,
        "environment": environment,
        "keys": [{"kid": key.kid, "jwk": key.public.jwk, "use": use.value} for use, key in keys.items()],
        "log_origins": {"audit": f"{host}/v1/log/audit", "keys": f"{host}/v1/log/keys"},
        "witness_policy": stated,
        "registrars_required": registrars_required,
    }
    return exchange_act(issuer, Act.GENESIS, body, [keys[KeyUse.ACT]], token_bytes, now)


class Founding:
    """The job that puts the genesis act on both logs."""

    def __init__(self, exchange: Exchange, raw_genesis: bytes) -> None:
        self._exchange = exchange
        self._genesis = raw_genesis

    def __call__(self, batch: Batch) -> Done[Accepted]:
        """Store it, or raise WRITES_CLOSED where there is a log already."""
        if batch.next_index(KEYS) != 0:
            raise ReferralError(ErrorCode.WRITES_CLOSED, reason="already-founded")
        batch.append_leaf(KEYS, self._genesis)
        place, receipt = store(batch, self._exchange, Entry(parse_act(self._genesis), None, None, ()))
        return Done(Accepted(receipt, None, {}, fresh=True), place)


def exchange_signs(
    exchange: Exchange, writer: Writer, act: Act, body: Mapping[str, Any], now: int
) -> Committed[Accepted]:
    """One directory act of the exchange itself, through the same decision as everybody's.

    Raises what the decision raises; a final refusal is raised with its own code.
    """
    raw = exchange_act(exchange.issuer, act, body, exchange.keyring.act_signers(now), exchange.token_bytes, now)
    checked = Checked(parse_act(raw), None, None, exchange.keymap.size)
    committed = writer.run(DirectoryDecision(exchange, checked, None))
    if committed.result.code is not None:
        raise ReferralError(committed.result.code, **committed.result.facts)
    return committed


def exchange_act(
    issuer: str,
    act: Act,
    body: Mapping[str, Any],
    signers: Sequence[SigningKey],
    token_bytes: Callable[[int], bytes],
    now: int,
) -> bytes:
    """One directory act of the exchange, signed."""
    return build_act(
        act_id=str(uuid.UUID(bytes=token_bytes(16), version=4)),
        iss=EXCHANGE_CREDENTIAL,
        aud=issuer,
        iat=now,
        act=act,
        ref=None,
        unit=None,
        prev=None,
        body=body,
        signers=signers,
    )
