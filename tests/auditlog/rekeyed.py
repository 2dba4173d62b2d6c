"""Packs of a story in which the exchange has gone over to another receipt key and another log key (R-37)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from referral_api.auditlog.checkpoint import sign_checkpoint
from referral_api.auditlog.keyslog import log_origin
from referral_api.auditlog.leaf import LeafKind, encode_leaf, leaf_of
from referral_api.auditlog.merkle import Frontier, leaf_hash
from referral_api.auditlog.pack import build_pack
from referral_api.domain.terms import Term
from referral_api.domain.words import Act, KeyUse
from referral_api.formats.act import build_act, parse_act
from referral_api.formats.key_entry import build_key_entry
from referral_api.formats.keys import SigningKey
from referral_api.formats.parties import EXCHANGE
from referral_api.formats.receipt import build_receipt
from referral_api.formats.statements import KeyMap
from referral_api.formats.strict_json import b64u
from tests.auditlog.packs import OFFICER, evidence_of, told
from tests.client.world import AUDIT, YEAR
from tests.formats import parties_world as pw

OLD_LOG, NEW_LOG, NEW_RECEIPT = pw.key("exchange/log"), pw.key("next/log"), pw.key("next/receipt")
OLD_RECEIPT = pw.key("exchange/receipt")


def pack(*, late_by: int = 0, receipt_by: SigningKey = NEW_RECEIPT, logs: tuple[SigningKey, ...] = (NEW_LOG,)) -> bytes:
    """The story with one act more, `late_by` seconds after the old keys have ended, and what signed its evidence."""
    story = told()
    exchange = replace(
        story.exchange, audit=list(story.exchange.audit), records=list(story.exchange.records), log=_announced()
    )
    keymap = exchange.log.keymap
    time = keymap.tenures(KeyUse.LOG)[0].ends_at + late_by
    raw = build_act(
        act_id="11111111-1111-4111-8111-111111111111", iss=OFFICER.id, aud=pw.ISSUER, iat=time, act=Act.STATUS,
        ref=story.ref, unit=OFFICER.party, prev=story.exchange.acts[story.ref][0][0].digest,
        body={"code": "registered"}, signers=OFFICER.seals,
    )  # fmt: skip
    act = parse_act(raw)
    receipt = build_receipt(
        iss=pw.ISSUER, act=act.digest, act_id=act.id, sub=act.iss, carrier=None, ref=story.ref, unit=OFFICER.party,
        time=time, code=None, states=[(OFFICER.party, "accepted", act.digest)], origin=log_origin(pw.ISSUER, AUDIT),
        index=len(exchange.audit), signer=receipt_by,
    )  # fmt: skip
    exchange.append(raw, receipt, encode_leaf(leaf_of(raw, LeafKind.ACT, time)))
    evidence = evidence_of(exchange, story.ref, "auditor", None)

    def signed(log: str, leaves: list[bytes]) -> bytes:
        edge = Frontier().extend([leaf_hash(leaf) for leaf in leaves])
        return sign_checkpoint(log_origin(pw.ISSUER, log), edge.size, edge.root(), *logs)

    keys = signed("keys", exchange.log.leaves)
    audit = {Term(YEAR): signed(AUDIT, exchange.audit)}
    return build_pack(replace(evidence, keys_checkpoint=keys, checkpoints=audit), keymap)


def _announced() -> Any:
    """The story's keys log, on which the exchange announces the two keys."""
    story = told()
    log = pw.Log.__new__(pw.Log)
    log.leaves, log.keymap = list(story.exchange.log.leaves), story.exchange.log.keymap.copy()
    at = log.keymap.clock
    for use, new in ((KeyUse.RECEIPT, NEW_RECEIPT), (KeyUse.LOG, NEW_LOG)):
        log.put(
            build_key_entry(
                party=EXCHANGE, use=use, jwk=new.public.jwk, nonce=b64u(log.keymap.root), iat=at, possession=None,
                signers=[new],
            ),
            pw.act(Act.REKEY, pw.EXCHANGE_CREDENTIAL, change(log.keymap, use, new, at), [pw.EXCHANGE_ACT], iat=at),
        )  # fmt: skip
    return log


def change(keymap: KeyMap, use: KeyUse, new: SigningKey, at: int) -> dict[str, Any]:
    """The body of the act that announces a key a day before its use."""
    replaces = keymap.exchange_keys(use)[-1].kid
    return {
        "use": use.value, "kid": new.kid, "replaces": replaces, "from": at + pw.DAY, "until": at + 2 * pw.DAY,
    }  # fmt: skip
