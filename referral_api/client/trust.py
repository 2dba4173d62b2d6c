"""What a client believes, and why: the replicated keys log, and receipts and checkpoints held against it.

Everything starts from one pinned digest, the root: the SHA-256 of the first leaf of the keys log. From it follow the
log's key, from that the checkpoints, from them the leaves, and from those every party's keys. A receipt is believed
when the exchange's receipt key made it for this very act, its leaf is this very act's, and the leaf is in a log that
has only grown since it was last seen.

Must never: open a connection, advance a pin before growth is proved, or tell "cannot verify" from "is false" kindly.

Implements: R-16, R-18, R-30, R-90 to R-94; design §5 (keys log), §6 (Receipt).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from referral_api.auditlog.checkpoint import Checkpoint, TrustPolicy, parse_checkpoint, verify_checkpoint
from referral_api.auditlog.keyslog import demand_in_time, encode_leaves, log_keys, log_origin, seal_keys_at
from referral_api.auditlog.leaf import LeafKind, parse_leaf
from referral_api.auditlog.merkle import Frontier, leaf_hash, verify_consistency
from referral_api.auditlog.note import decode_base64, parse_note
from referral_api.auditlog.policy import genesis_policy
from referral_api.auditlog.proof import Included, parse_proof, verify_proof
from referral_api.auditlog.tiles import ENTRIES, TILE_WIDTH, TileName, parse_entries
from referral_api.client.profile import Pin, Profile
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.terms import Term
from referral_api.domain.words import Act, Kid
from referral_api.formats.act import RawAct
from referral_api.formats.parties import SealKeys
from referral_api.formats.receipt import Receipt, match_receipt, verify_exchange_receipt
from referral_api.formats.statements import KeyMap
from referral_api.formats.strict_json import unb64u

MAX_KEYS_LOG = 1 << 20
"""Leaves that a client is willing to replicate; an exchange with more parties is another exchange."""
MAX_KEYS_LOG_BYTES = 256 << 20
"""Of all its leaves together: each must verify before the next is asked for, but key entries are cheap to make."""
MAX_KEYS_LOG_FILE_BYTES = MAX_KEYS_LOG_BYTES + 2 * MAX_KEYS_LOG
MAX_PROOF_HASHES = 128


@dataclass(frozen=True, slots=True)
class Confirmed:
    """The exchange's verified answer to one act: the receipt, its exact proof, and what the proof shows."""

    receipt: Receipt
    raw_proof: bytes
    included: Included

    @property
    def log(self) -> str:
        """The name of the log in paths: `audit/<term>`."""
        return self.included.checkpoint.origin.rpartition("/v1/log/")[2]


class Replica:
    """The keys log as far as it is replicated, and the key map that it folds to. Leaves come in log order."""

    def __init__(self, profile: Profile, genesis: bytes) -> None:
        """Start from leaf 0. Raises WRONG_ROOT if it is not the pinned one, or says that it is another exchange's."""
        self.keymap = KeyMap.start(genesis, root=unb64u(profile.root))
        if (self.keymap.issuer, self.keymap.environment) != (profile.issuer, profile.environment):
            raise ReferralError(ErrorCode.WRONG_ROOT, reason="issuer")
        self.leaves = [genesis]
        self.frontier = Frontier().extend([leaf_hash(genesis)])
        self.bytes = len(genesis)
        """How much the leaves take."""
        self._roots = {1: self.frontier.root()}
        self._sealing_map: tuple[tuple[int, int, int | None], KeyMap] | None = None

    @property
    def size(self) -> int:
        """How many leaves are here."""
        return len(self.leaves)

    def extend(self, leaves: Sequence[bytes], *, verify: bool = True) -> None:
        """Take the next leaves; `verify` False only for those that a pin of this client already covers.

        Raises what the key map raises for a leaf that it refuses: such a log is not followed any further.
        """
        for leaf in leaves:
            self.keymap.extend(leaf, verify=verify)
        self.leaves += leaves
        self.bytes += sum(map(len, leaves))
        self.frontier = self.frontier.extend([leaf_hash(leaf) for leaf in leaves])
        self._roots[self.size] = self.frontier.root()

    def conclude(self, raw_checkpoint: bytes, pin: Pin | None) -> Pin:
        """The pin to advance to, once these leaves are what the log's key signed and contain what was pinned before.

        Raises as `verify_checkpoint`, `demand_in_time`; TAMPERED (the leaves do not hash to the signed root),
        INCONSISTENT (`shrunk`, `forked`).
        """
        checkpoint = verify_checkpoint(raw_checkpoint, keys_policy(self.keymap))
        if checkpoint.size != self.size or checkpoint.root != self.frontier.root():
            raise ReferralError(ErrorCode.TAMPERED, what="keys-log")
        demand_in_time(self.keymap, checkpoint, self.keymap.clock)
        self.verify_pin(pin)
        return Pin(self.size, self.frontier.root())

    def conclude_witnessed(self, raw_checkpoint: bytes) -> Pin:
        """How far a quorum of witnesses has cosigned these leaves.

        Raises as `verify_checkpoint`, NOT_WITNESSED among it; INCONSISTENT where they cosigned another log than ours.
        """
        checkpoint = verify_checkpoint(raw_checkpoint, keys_policy(self.keymap, witnessed=True))
        witnessed = Pin(checkpoint.size, checkpoint.root)
        self.verify_pin(witnessed)
        return witnessed

    def sealing_map(self, witnessed: Pin | None, known: int | None = None) -> KeyMap:
        """Whose keys may be sealed to: what the quorum has cosigned, less what has been taken away since (design §5).

        `known`: and only those keys that are among as many leaves already. Without a witness policy that is the key map
        itself. Raises NOT_WITNESSED where nothing is cosigned yet.
        """
        policy = keys_policy(self.keymap, witnessed=True)
        if policy.rule is None:
            return self.keymap
        if witnessed is None:
            raise ReferralError(ErrorCode.NOT_WITNESSED, cosigned=0, quorum=policy.rule.threshold)
        self.verify_pin(witnessed)
        sizes = (witnessed.size, self.size, known)
        if self._sealing_map is None or self._sealing_map[0] != sizes:
            sealing = self.fold(witnessed.size)
            sealing.narrow(self.keymap)
            if known is not None:
                sealing.narrow(self.fold(known))
            self._sealing_map = (sizes, sealing)
        return self._sealing_map[1]

    def fold(self, size: int) -> KeyMap:
        """The key map of the first `size` leaves, one at least, which have been verified."""
        keymap = KeyMap.start(self.leaves[0])
        for leaf in self.leaves[1:size]:
            keymap.extend(leaf, verify=False)
        return keymap

    def verify_pin(self, pin: Pin | None) -> None:
        """Raise INCONSISTENT unless what was pinned is a beginning of these leaves."""
        if pin is None:
            return
        if pin.size > self.size:
            raise ReferralError(ErrorCode.INCONSISTENT, reason="shrunk", pinned=pin.size, found=self.size)
        root = self._roots.get(pin.size)
        if root is None:
            root = Frontier().extend([leaf_hash(leaf) for leaf in self.leaves[: pin.size]]).root()
        if root != pin.root:
            raise ReferralError(ErrorCode.INCONSISTENT, reason="forked", pinned=pin.size)
        self._roots[pin.size] = root

    def seal_keys_at(self, credential: str, iat: int, time: int, kids: Collection[Kid] = ()) -> SealKeys:
        """The keys of a credential for an act that the exchange took at `time`, also where they have ended since.

        As `seal_keys_at`. Raises KEY_NOT_VALID.
        """
        return seal_keys_at(self.keymap, self.leaves, credential, iat, time, kids)

    def encode(self) -> bytes:
        """The leaves as one file: entry bundles of the log, one after the other."""
        return encode_leaves(self.leaves)


def load_replica(profile: Profile, raw: bytes, pin: Pin) -> Replica:
    """A replica from its file, which must be exactly what was pinned. Raises INCONSISTENT or MALFORMED.

    The leaves were verified when the pin advanced over them, and hash to its root: their signatures are not done again.
    """
    leaves = parse_entries(raw, pin.size)
    replica = Replica(profile, leaves[0])
    replica.extend(leaves[1:], verify=False)
    replica.verify_pin(pin)
    return replica


def entry_bundles(have: int, size: int) -> Iterator[TileName]:
    """The entry bundles that hold leaves `have` to `size` of a log, one at a time: a size is anybody's claim."""
    for index in range(have // TILE_WIDTH, (size - 1) // TILE_WIDTH + 1):
        yield TileName(ENTRIES, index, min(TILE_WIDTH, size - index * TILE_WIDTH))


def keys_policy(keymap: KeyMap, *, witnessed: bool = False) -> TrustPolicy:
    """Whom to believe about the keys log; `witnessed`: only together with the genesis act's quorum."""
    return policy_of(keymap, "keys", witnessed=witnessed)


def audit_policy(keymap: KeyMap, term: Term, *, witnessed: bool = False) -> TrustPolicy:
    """Whom to believe about the audit log of a term; `witnessed` as above."""
    return policy_of(keymap, term.log, witnessed=witnessed)


def policy_of(keymap: KeyMap, log: str, *, witnessed: bool = False) -> TrustPolicy:
    """Whom to believe about a log by its name; `witnessed` as above. Raises MALFORMED (`log-name`)."""
    if log != "keys":
        Term.of_log(log)
    policy = genesis_policy(keymap.genesis).trust(*log_keys(keymap, log))
    # Witnesses cosign what parties add to the directory; business never waits for them (design §9).
    return policy if witnessed else replace(policy, quorum=0)


def keys_origin(keymap: KeyMap) -> str:
    """The origin of the keys log."""
    return issuer_origin(keymap.issuer, "keys")


def verify_answer(answer: Mapping[str, Any], act: RawAct, keymap: KeyMap, *, witnessed: bool = False) -> Confirmed:
    """Believe a receipt and its proof, or raise: the whole of R-16 and R-18 for an act whose bytes are at hand.

    `witnessed`: only if the genesis act's quorum has cosigned it, else NOT_WITNESSED. Raises as
    `verify_exchange_receipt`, `match_receipt`, `verify_proof`, `demand_in_time`; NOT_INCLUDED with `reason` `leaf` (the
    leaf proved is not this act's) or `index` (not where the receipt says); WRONG_ORIGIN (another log than the receipt
    names, or one that is no audit log of this exchange).
    """
    receipt = verify_exchange_receipt(str(answer["receipt"]).encode(), keymap)
    match_receipt(receipt, act=act.digest, act_id=act.id, sub=act.iss, ref=act.ref, unit=act.unit)
    raw_proof = str(answer["proof"]).encode()
    return Confirmed(receipt, raw_proof, _verify_leaf(receipt, raw_proof, act, keymap, witnessed=witnessed))


def names_no_known_key(error: ReferralError) -> bool:
    """Whether something was refused because no key that is known here has signed it, which newer leaves may bring."""
    return error.code is ErrorCode.SIGNATURE_INVALID and error.facts.get("reason") in ("unknown-key", "absent")


def _verify_leaf(receipt: Receipt, raw_proof: bytes, act: RawAct, keymap: KeyMap, *, witnessed: bool) -> Included:
    place = receipt.payload.log
    term = audit_term(keymap.issuer, place.origin)
    claimed_leaf = parse_proof(raw_proof).extra
    if claimed_leaf is None:
        raise ReferralError(ErrorCode.NOT_INCLUDED, reason="leaf")
    leaf = parse_leaf(claimed_leaf)
    kind = LeafKind.ERASE if act.act is Act.ERASE else LeafKind.ACT
    if leaf.digest != act.leaf_digest or leaf.kind is not kind:
        raise ReferralError(ErrorCode.NOT_INCLUDED, reason="leaf")
    included = verify_proof(raw_proof, claimed_leaf, audit_policy(keymap, term, witnessed=witnessed))
    if included.index != place.index:
        raise ReferralError(ErrorCode.NOT_INCLUDED, reason="index")
    demand_in_time(keymap, included.checkpoint, leaf.logged_s)
    return included


def growth_to_prove(pin: Pin | None, checkpoint: Checkpoint) -> tuple[int, int] | None:
    """Which consistency proof `verify_growth` will want: (from, to), or None for none."""
    if pin is None or pin.size == checkpoint.size:
        return None
    return min(pin.size, checkpoint.size), max(pin.size, checkpoint.size)


def verify_growth(pin: Pin | None, checkpoint: Checkpoint, proof: Sequence[bytes]) -> Pin:
    """The newer of a pin and a checkpoint, once one is seen to be a beginning of the other (R-94).

    The first checkpoint of a log is taken as it is: its signature is all there is. Raises INCONSISTENT.
    """
    seen = Pin(checkpoint.size, checkpoint.root)
    if pin is None:
        return seen
    older, newer = (pin, seen) if pin.size <= seen.size else (seen, pin)
    verify_consistency(older.size, older.root, newer.size, newer.root, proof)
    return newer


def parse_consistency(answer: Mapping[str, Any], sizes: tuple[int, int]) -> list[bytes]:
    """The hashes of a consistency answer for these sizes. Raises MALFORMED, INCONSISTENT (`reason` `sizes`)."""
    proof = answer.get("proof")
    if (answer.get("from"), answer.get("to")) != sizes:
        raise ReferralError(ErrorCode.INCONSISTENT, reason="sizes")
    if not isinstance(proof, list) or len(proof) > MAX_PROOF_HASHES or not all(isinstance(one, str) for one in proof):
        raise ReferralError(ErrorCode.INCONSISTENT, reason="length")
    return [decode_base64(one, "hash") for one in proof]


def claimed_size(raw_checkpoint: bytes) -> int:
    """The size that a checkpoint claims, before anybody has verified it: how much to fetch. Raises MALFORMED."""
    return parse_checkpoint(parse_note(raw_checkpoint).text).size


def witnessed_pin(issuer: str) -> str:
    """Under which name the head of the keys log is pinned that a quorum has cosigned; no origin holds a space."""
    return issuer_origin(issuer, "keys") + " witnessed"


def fresh_pin(issuer: str) -> str:
    """Under which name the newest of those heads is pinned that had been cosigned within the hour when it was seen."""
    return issuer_origin(issuer, "keys") + " fresh"


def issuer_origin(issuer: str, log: str) -> str:
    """The origin of an exchange's log (R-90)."""
    return log_origin(issuer, log)


def audit_term(issuer: str, origin: str) -> Term:
    """The term of an audit log of this exchange by the log's origin. Raises WRONG_ORIGIN."""
    prefix, _, name = origin.rpartition("/")
    with suppress(ReferralError):
        if prefix == issuer_origin(issuer, "audit"):
            return Term.parse(name)
    raise ReferralError(ErrorCode.WRONG_ORIGIN, found=origin)
