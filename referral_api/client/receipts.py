"""Receipts after the fact: believed once more offline, and cosigned by the witnesses.

Must never: believe a receipt for an act whose own signatures do not stand.

Implements: R-10, R-16, R-18, R-101.
"""

from __future__ import annotations

from referral_api.client import exchange
from referral_api.client.outbox import Entry
from referral_api.client.session import Session
from referral_api.client.trust import Confirmed, verify_answer
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.formats.act import parse_act, verify_act


def verify(session: Session, act: bytes, receipt: bytes, proof: bytes) -> Confirmed:
    """Believe an act, its receipt and its proof offline, against the replicated keys log.

    Raises as `trust.verify_answer`; ACT_SIGNATURE_INVALID, KEY_NOT_VALID, WRONG_AUDIENCE: that the exchange took
    something says nothing about who signed it.
    """
    raw_act, answer = parse_act(act), {"receipt": receipt.decode("utf-8"), "proof": proof.decode("utf-8")}
    confirmed = verify_answer(answer, raw_act, session.keymap)
    if raw_act.aud != session.profile.issuer:
        raise ReferralError(ErrorCode.WRONG_AUDIENCE)
    kids = [signature.kid for signature in raw_act.jws.signatures]
    seal = session.replica.seal_keys_at(raw_act.iss, raw_act.iat, confirmed.receipt.payload.time, kids)
    verify_act(raw_act, seal.keys, required=seal.require)
    return confirmed


def cosigned(session: Session, entry: Entry, wait_s: int) -> Confirmed:
    """The proof of an act of ours as a quorum of witnesses has cosigned it, waited for `wait_s` seconds at most.

    Raises NOT_WITNESSED (`cosigned`, `quorum`) while too few have, or where there are none by declared choice
    (`reason` `no-policy`); NOT_FOUND for an act without receipt, RECEIPT_MISMATCH for another receipt than ours.
    """
    if entry.receipt is None:
        raise ReferralError(ErrorCode.NOT_FOUND, what="receipt")
    if session.keymap.witness_policy is None:
        raise ReferralError(ErrorCode.NOT_WITNESSED, reason="no-policy")
    act = parse_act(entry.outgoing.jws)
    answer = session.read_json(exchange.receipt(act.digest, wait_s=wait_s))
    if answer.get("receipt") != entry.receipt.decode("utf-8"):
        raise ReferralError(ErrorCode.RECEIPT_MISMATCH, member="receipt")
    return session.believe(answer, act, witnessed=True)
