"""What a liar makes its lies of: answers changed, logs told otherwise, receipts and proofs signed anew.

Must never: sign with a key that the exchange does not have.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

from referral_api.auditlog.proof import format_proof, parse_proof
from referral_api.auditlog.tiles import TILE_WIDTH, encode_entries
from referral_api.domain.errors import ErrorCode
from referral_api.domain.words import Act
from referral_api.formats.act import build_act, parse_act
from referral_api.formats.keys import SigningKey
from referral_api.formats.receipt import build_receipt, parse_receipt
from tests.liar import Asked, Kind, Liar, Tell, Tree
from tests.wire import Answer
from tests.world import UNIT

K = Kind


# Changing an answer.


def body(answer: Answer, raw: bytes, media_type: str | None = None) -> Answer:
    """The same answer with another body."""
    kept = {} if media_type is None else {"content-type": media_type}
    return Answer(answer.status, {**answer.headers, **kept}, raw)


def flipped(raw: bytes, at: int = -1) -> bytes:
    """The same bytes, one of them another; in the middle unless told where."""
    place = len(raw) // 2 if at < 0 else at
    other = b"A" if raw[place : place + 1] != b"A" else b"B"
    return raw[:place] + other + raw[place + 1 :]


def payload_of(jws: str) -> dict[str, Any]:
    """What a JWS says, its signature unseen."""
    text = json.loads(jws)["payload"]
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    return found


def changed(change: Callable[[Liar, dict[str, Any]], object]) -> Tell:
    """A JSON answer of success, changed in place; a change that returns False found nothing to change."""

    def tell(liar: Liar, _asked: Asked, answer: Answer) -> Answer | None:
        if answer.status >= 300 or not answer.body:
            return None
        document = answer.json
        return None if change(liar, document) is False else answer.with_json(document)

    return tell


def whatever(status: int, media_type: str, raw: bytes, **headers: str) -> Tell:
    """The same answer to everything."""
    return lambda _liar, _asked, _answer: Answer(status, {"content-type": media_type, **headers}, raw)


# Logs.


def checkpoint(make: Callable[[Liar, Asked], bytes]) -> Tell:
    """Another checkpoint for the true one; the rest stays true."""

    def tell(liar: Liar, asked: Asked, answer: Answer) -> Answer | None:
        is_checkpoint = asked.kind in (K.KEYS_CHECKPOINT, K.AUDIT_CHECKPOINT)
        return body(answer, make(liar, asked)) if is_checkpoint else None

    return tell


def log_of(make: Callable[[Liar, Asked], Tree]) -> Tell:
    """A whole log that is consistent within itself: checkpoint, tiles and entry bundles."""

    def tell(liar: Liar, asked: Asked, answer: Answer) -> Answer | None:
        if asked.kind is K.RECORDS:
            return _records_of_fork(liar, answer)
        tree = make(liar, asked)
        if asked.kind in (K.KEYS_CHECKPOINT, K.AUDIT_CHECKPOINT):
            return body(answer, tree.checkpoint)
        if len(tree.leaves) < asked.tile.index * TILE_WIDTH + asked.tile.width:
            return None
        return Answer(200, {"content-type": "application/octet-stream"}, tree.tile(asked.tile))

    return tell


def bundle_of(change: Callable[[Liar, Asked, bytes], bytes | None]) -> Tell:
    """Other bytes where an entry bundle or tile is asked for."""

    def tell(liar: Liar, asked: Asked, answer: Answer) -> Answer | None:
        told = change(liar, asked, answer.body) if answer.status == 200 else None
        return None if told is None else body(answer, told)

    return tell


def shortened(liar: Liar, asked: Asked) -> Tree:
    """The log as it was when it was shorter."""
    return liar.tree(asked.log, liar.leaves(asked.log)[: liar.kept["old"][asked.log]])


def forked(liar: Liar, asked: Asked) -> Tree:
    """The log with another past of the same length: two acts in the other order, or a record that was never made."""
    leaves = liar.leaves(asked.log)
    if asked.log == "keys":
        at = liar.kept["pair"]
        leaves[at], leaves[at + 1] = leaves[at + 1], leaves[at]
    else:
        at, _record, leaf = liar.kept["invented"]
        leaves[at] = leaf
    return liar.tree(asked.log, leaves)


def _records_of_fork(liar: Liar, answer: Answer) -> Answer | None:
    if answer.status != 200:
        return None
    at, record, _leaf = liar.kept["invented"]
    document = answer.json
    for one in document["records"]:
        if one["index"] == at:
            one["record"] = record.decode()
            return answer.with_json(document)
    return None


def with_forged_statement(liar: Liar, asked: Asked) -> Tree:
    """The keys log and one statement more: a unit's own, with the exchange's signature where the unit's belongs."""
    leaves = liar.leaves(asked.log)
    last = next(
        act
        for act in map(parse_act, (leaf for leaf in reversed(leaves) if _is_act_leaf(leaf)))
        if act.act is Act.STATEMENT and act.party == UNIT
    )
    said = payload_of(last.jws.raw.decode())
    said["body"] |= {"seq": said["body"]["seq"] + 1, "prev_statement": last.digest}
    leaves.append(signed_act(said, liar.signers.act))
    return liar.tree(asked.log, leaves)


def _is_act_leaf(leaf: bytes) -> bool:
    protected = json.loads(leaf)["signatures"][0]["protected"]
    return b"referral-act" in base64.urlsafe_b64decode(protected + "=" * (-len(protected) % 4))


def signed_act(said: dict[str, Any], signer: SigningKey) -> bytes:
    names = ("iss", "aud", "iat", "ref", "unit", "prev", "body")
    given = {name: said[name] for name in names}
    return build_act(act_id=said["id"], act=Act(said["act"]), signers=[signer], **given)


def other_bundle(liar: Liar, asked: Asked, raw: bytes) -> bytes | None:
    """The same path, the leaves in another order: of another bundle, as far as anybody can see."""
    start = asked.tile.index * TILE_WIDTH
    leaves = liar.leaves(asked.log)[start : start + asked.tile.width]
    told = encode_entries([*leaves[1:], leaves[0]])
    return told if told != raw else None


def one_leaf_changed(liar: Liar, asked: Asked, _raw: bytes) -> bytes | None:
    """A bundle whose last leaf has another byte, well within one of its texts."""
    leaves = list(liar.leaves(asked.log))
    at = asked.tile.index * TILE_WIDTH + asked.tile.width - 1
    leaves[at] = flipped(leaves[at])
    return liar.tree(asked.log, leaves).tile(asked.tile)


def one_leaf_less(liar: Liar, asked: Asked, _raw: bytes) -> bytes | None:
    """What a partial bundle would hold, at the path of the fuller one."""
    start = asked.tile.index * TILE_WIDTH
    leaves = liar.leaves(asked.log)[: start + asked.tile.width - 1]
    return liar.tree(asked.log, leaves).tile(asked.tile) if len(leaves) > start else None


# Receipts and proofs.


def answered(change: Callable[[Liar, dict[str, Any]], object]) -> Tell:
    """An answer to an act, or a receipt that was asked for, changed."""

    def only(liar: Liar, document: dict[str, Any]) -> object:
        return change(liar, document) if "receipt" in document and "proof" in document else False

    return changed(only)


def proof(change: Callable[[list[bytes]], list[bytes]]) -> Tell:
    """An inclusion proof with other hashes."""

    def only(_liar: Liar, document: dict[str, Any]) -> None:
        found = parse_proof(document["proof"].encode())
        hashes = change(list(found.hashes))
        document["proof"] = format_proof(found.index, hashes, found.raw_checkpoint, found.extra).decode()

    return answered(only)


def forged_receipt(raw: str, signer: SigningKey, **changes: Any) -> str:
    """The same receipt with other members, signed again."""
    said = parse_receipt(raw.encode()).payload
    given: dict[str, Any] = {
        "iss": said.iss, "act": said.act, "act_id": said.id, "sub": said.sub, "carrier": said.carrier, "ref": said.ref,
        "unit": said.unit, "time": said.time, "code": None if said.code is None else ErrorCode(said.code),
        "states": [(one.unit, str(one.state), one.head) for one in said.states], "origin": said.log.origin,
        "index": said.log.index,
    }  # fmt: skip
    return build_receipt(**(given | changes), signer=signer).decode()


def in_a_fork(liar: Liar, document: dict[str, Any]) -> None:
    """A proof that is right in a log that nobody else was shown."""
    index = parse_proof(document["proof"].encode()).index
    leaves = liar.leaves(liar.kept["audit"])
    at, _record, leaf = liar.kept["invented"]
    leaves[at] = leaf
    document["proof"] = liar.tree(liar.kept["audit"], leaves).proof(index).decode()


def before_it_was_there(liar: Liar, document: dict[str, Any]) -> None:
    """The checkpoint of a log that does not hold the act yet."""
    found = parse_proof(document["proof"].encode())
    short = liar.tree(liar.kept["audit"], liar.leaves(liar.kept["audit"])[: found.index])
    document["proof"] = format_proof(found.index, found.hashes, short.checkpoint, found.extra).decode()


def other_log(liar: Liar, document: dict[str, Any]) -> None:
    """A proof whose checkpoint is of the other log."""
    found = parse_proof(document["proof"].encode())
    note = liar.tree("keys").checkpoint
    document["proof"] = format_proof(found.index, found.hashes, note, found.extra).decode()


def other_key(liar: Liar, document: dict[str, Any]) -> None:
    """A proof whose checkpoint another key has signed."""
    found = parse_proof(document["proof"].encode())
    note = liar.tree(liar.kept["audit"]).signed(key=liar.signers.receipt)
    document["proof"] = format_proof(found.index, found.hashes, note, found.extra).decode()


def replayed(name: str) -> Tell:
    """A true receipt and proof, of something else."""

    def only(liar: Liar, document: dict[str, Any]) -> None:
        document["receipt"], document["proof"] = liar.kept[name]

    return answered(only)


def receipt_with(make: Callable[[Liar, Any], dict[str, Any]], key: str = "receipt") -> Tell:
    """A receipt that says something else, signed by the exchange."""

    def only(liar: Liar, document: dict[str, Any]) -> None:
        said = parse_receipt(document["receipt"].encode()).payload
        signer: SigningKey = getattr(liar.signers, key)
        document["receipt"] = forged_receipt(document["receipt"], signer, **make(liar, said))

    return answered(only)
