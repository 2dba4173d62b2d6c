"""Receipts: the exchange's signed answer to one act, made once and byte-identical for ever (design §6; R-16 to R-18).

A receipt binds an act's digest to a time, an outcome, the states that followed and a place in the log. It is a file
that verifies decades later with nothing but the exchange's receipt key; the proof of inclusion travels beside it
because it grows.

Must never: be made again for the same act, carry anything about a person, or be signed by another key than the receipt
key.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from referral_api.domain.errors import FINAL_REFUSALS, ErrorCode, ReferralError
from referral_api.domain.words import UUID4, Digest, KeyUse, Kid
from referral_api.formats import signed
from referral_api.formats.exchange_bodies import LogOrigin
from referral_api.formats.fields import Credential, Document, Many, Party, Ref, Sha256, State, Version1, broken
from referral_api.formats.keys import Alg, PublicKey, SigningKey
from referral_api.formats.roster import Roster
from referral_api.formats.strict_json import canonical, parse

MAX_RECEIPT_BYTES = 16 * 1024


class DeliveryState(Document):
    """One delivery as it is after the act."""

    unit: Party
    state: State
    head: Sha256


class LogPlace(Document):
    """Where the act's leaf is: the log's origin and the leaf's index."""

    origin: LogOrigin
    index: Annotated[int, Field(ge=0, le=2**53 - 1)]


class ReceiptPayload(Document):
    """The signed payload, exactly these members (R-16)."""

    v: Version1
    iss: Annotated[str, Field(min_length=1, max_length=400)]
    act: Sha256
    id: Annotated[str, Field(pattern=f"^{UUID4}$")]
    sub: Credential
    party: Party
    carrier: Credential | None
    ref: Ref | None
    unit: Party | None
    time: Annotated[int, Field(ge=0, le=2**53 - 1)]
    outcome: Literal["accepted", "refused"]
    code: Literal["stale-head", "illegal-transition", "not-permitted", "consent-gate", "target-not-allowed"] | None
    states: Annotated[Many[DeliveryState], Field(max_length=64)]
    log: LogPlace

    @model_validator(mode="after")
    def _one_meaning(self) -> Self:
        if (self.outcome == "refused") != (self.code is not None):
            raise broken("members-contradict")
        return self


@dataclass(frozen=True, slots=True)
class Receipt:
    """A receipt as text and as read. Only `verify_receipt` says that the exchange made it."""

    raw: bytes
    payload: ReceiptPayload
    kids: tuple[Kid, ...]
    """The keys that its signatures name."""

    @property
    def accepted(self) -> bool:
        """Whether the act changed the state of the world."""
        return self.payload.outcome == "accepted"

    @property
    def refusal(self) -> ErrorCode | None:
        """The code of a final refusal, or None."""
        return None if self.payload.code is None else ErrorCode(self.payload.code)


def build_receipt(
    *,
    iss: str,
    act: Digest,
    act_id: str,
    sub: str,
    carrier: str | None,
    ref: str | None,
    unit: str | None,
    time: int,
    code: ErrorCode | None,
    states: Sequence[tuple[str, str, str]],
    origin: str,
    index: int,
    signer: SigningKey,
) -> bytes:
    """Sign the one receipt of an act; `states` are (unit, state, head). `code` None means accepted.

    A code that is no final refusal is a programmer's error (ValueError): such an act leaves its id unused (R-17).
    """
    if code is not None and code not in FINAL_REFUSALS:
        raise ValueError("only final refusals have receipts")
    payload = {
        "v": 1,
        "iss": iss,
        "act": act,
        "id": act_id,
        "sub": sub,
        "party": sub.partition(".")[0],
        "carrier": carrier,
        "ref": ref,
        "unit": unit,
        "time": time,
        "outcome": "accepted" if code is None else "refused",
        "code": None if code is None else code.value,
        "states": [{"unit": u, "state": s, "head": h} for u, s, h in states],
        "log": {"origin": origin, "index": index},
    }
    return signed.sign_jws(canonical(payload), typ=signed.RECEIPT, signers=[signer])


def parse_receipt(raw: bytes) -> Receipt:
    """Read a receipt's form. Raises TOO_LARGE, MALFORMED, WRONG_TYPE; RECEIPT_MISMATCH for unknown content."""
    jws = signed.parse_jws(raw, typ=signed.RECEIPT, max_bytes=MAX_RECEIPT_BYTES)
    document = parse(jws.payload, max_bytes=MAX_RECEIPT_BYTES)
    payload = ReceiptPayload.parse(document, code=ErrorCode.RECEIPT_MISMATCH)
    return Receipt(raw, payload, tuple(signature.kid for signature in jws.signatures))


def verify_receipt(raw: bytes, keys: Mapping[Kid, PublicKey] | Sequence[PublicKey], *, issuer: str) -> Receipt:
    """The receipt once it verifies under one of the exchange's receipt keys and names this exchange.

    Raises what `parse_receipt` raises, SIGNATURE_INVALID, or WRONG_AUDIENCE for another exchange's receipt.
    """
    jws = signed.parse_jws(raw, typ=signed.RECEIPT, max_bytes=MAX_RECEIPT_BYTES)
    signed.verify_jws(jws, keys, required=(Alg.ED25519,))
    receipt = parse_receipt(raw)
    if receipt.payload.iss != issuer:
        raise ReferralError(ErrorCode.WRONG_AUDIENCE)
    return receipt


def verify_exchange_receipt(raw: bytes, directory: Roster) -> Receipt:
    """The receipt once it verifies under a receipt key that the exchange used at the time that it states (R-16, R-37):
    for ever, however often that key was replaced since.

    Raises as `verify_receipt`, and KEY_NOT_VALID (`not-yet`, `ended`) for a key that was not in use then.
    """
    keys = {record.kid: record.public for record in directory.exchange_keys(KeyUse.RECEIPT)}
    receipt = verify_receipt(raw, keys, issuer=directory.issuer)
    for kid in receipt.kids:
        directory.demand_standing(KeyUse.RECEIPT, kid, receipt.payload.time)
    return receipt


def match_receipt(
    receipt: Receipt, *, act: Digest, act_id: str, sub: str, ref: str | None, unit: str | None
) -> Receipt:
    """The same receipt once it is seen to answer this very act.

    Raises RECEIPT_MISMATCH with `member`: a receipt replayed from another act convicts nobody and proves nothing.
    """
    payload = receipt.payload
    party = sub.partition(".")[0]
    answered = (("act", act), ("id", act_id), ("sub", sub), ("ref", ref), ("unit", unit), ("party", party))
    for member, mine in answered:
        if getattr(payload, member) != mine:
            raise ReferralError(ErrorCode.RECEIPT_MISMATCH, member=member)
    # Only a colleague carries an act.
    if payload.carrier is not None and payload.carrier.partition(".")[0] != party:
        raise ReferralError(ErrorCode.RECEIPT_MISMATCH, member="carrier")
    return receipt
