"""What an auditor looks at one by one: records searched for, the whole of one referral, the keys log replayed.

Nothing is shown that was not verified here: a record hashes to its leaf, the leaf is in the log, an act's signatures
and receipt hold, and a referral's acts fold to the states that its receipts claim and that the exchange shows.

Must never: call a search complete. Who searches for us may leave something out; `audit verify` finds it. Where nothing
is searched for, what is left out is seen here.

Implements: R-52, R-92, R-95, R-98 (what is searched for); design §9.
"""

from __future__ import annotations

import sys
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from referral_api.auditlog.checkpoint import verify_checkpoint
from referral_api.auditlog.erasures import Place
from referral_api.auditlog.evidence import Chronicle, Told, event_of, fold_told
from referral_api.auditlog.leaf import Leaf, LeafKind, parse_leaf
from referral_api.auditlog.records import Retrieved, ServerRecord, kind_of, parse_record
from referral_api.auditlog.report import RawRecord, Source
from referral_api.client import exchange
from referral_api.client.audit.mirroring import find_erasures
from referral_api.client.audit.proven import Proven
from referral_api.client.audit.sources import RECORDS_A_CALL, HttpSource, parse_records
from referral_api.client.session import Session
from referral_api.client.trust import policy_of
from referral_api.client.view import fetch_referral, role_of
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.terms import Term
from referral_api.domain.words import CredentialKind, ReferralId
from referral_api.formats.act import RawAct, parse_act, verify_act
from referral_api.formats.key_entry import RawKeyEntry
from referral_api.formats.parties import EXCHANGE
from referral_api.formats.receipt import Receipt, match_receipt, verify_exchange_receipt
from referral_api.formats.statements import parse_keys_leaf
from referral_api.formats.strict_json import sha256_b64u


@dataclass(frozen=True, slots=True)
class Item:
    """One verified thing of an audit log: an act with its receipt, or a record of the exchange."""

    term: Term
    index: int
    at: int
    """The exchange's time (unix seconds)."""
    act: RawAct | None = None
    record: ServerRecord | None = None
    receipt: Receipt | None = None
    signer: CredentialKind | None = None

    @property
    def kind(self) -> str:
        """What it is: the act's name, or the record's."""
        return self.act.act.value if self.act is not None else str(getattr(self.record, "kind", ""))

    @property
    def by(self) -> str:
        """Whose it is: the credential that signed or read; empty where the exchange alone acted."""
        if self.act is not None:
            return self.act.iss
        return str(getattr(self.record, "credential", None) or "")

    @property
    def party(self) -> str:
        """The party of that credential."""
        return self.act.party if self.act is not None else str(getattr(self.record, "party", None) or "")

    @property
    def ref(self) -> str | None:
        """Which referral it is about."""
        return self.act.ref if self.act is not None else getattr(self.record, "ref", None)

    @property
    def unit(self) -> str | None:
        """Whose delivery it concerns."""
        return self.act.unit if self.act is not None else getattr(self.record, "unit", None)

    def fits(self, wanted: Mapping[str, str]) -> bool:
        """Whether it is what was searched for, in the meaning of R-98."""
        return (
            wanted.get("party", self.party) == self.party
            and wanted.get("ref", self.ref) == self.ref
            and wanted.get("kind", self.kind) == self.kind
            and int(wanted.get("since", self.at)) <= self.at < int(wanted.get("until", self.at + 1))
        )


@dataclass(frozen=True, slots=True)
class Dossier:
    """Everything about one referral, in log order, and the states that follow from it."""

    ref: str
    items: tuple[Item, ...]
    chronicle: Chronicle


def search(
    session: Session, term: Term, start: int, wanted: Mapping[str, str], terms: Sequence[Term] = ()
) -> Iterator[Item]:
    """What is wanted from an index of a term's log on, each verified.

    Where everything is wanted, none may be missing but what an `erase` act in the logs of `terms` names (R-99); of a
    search that cannot be told. Raises NOT_FOUND (`record`, `index`), and as `verify_item` and `Proven`.
    """
    source = HttpSource(session)
    proven, gaps, at = Proven(session, source, term.log), _Gaps(session, source, {term, *terms}), start
    while at < proven.head.size:
        found, following = _page(session, term, at, wanted)
        stop = proven.head.size if following is None else following
        if stop <= at:
            raise ReferralError(ErrorCode.MALFORMED, reason="members")
        yield from _verified(session, proven, gaps, range(at, stop), found, wanted)
        at = stop


def search_mirror(
    session: Session, source: Source, term: Term, start: int, wanted: Mapping[str, str], terms: Sequence[Term] = ()
) -> Iterator[Item]:
    """The same in a mirror, where nobody else does the searching."""
    proven, gaps = Proven(session, source, term.log), _Gaps(session, source, {term, *terms})
    for at in range(start, proven.head.size, RECORDS_A_CALL):
        stop = min(at + RECORDS_A_CALL, proven.head.size)
        yield from _verified(session, proven, gaps, range(at, stop), source.records(term, at, stop - at), wanted)


class _Gaps:
    """Which leaves may be without a record: those that an `erase` act names, sought when the first one is missing."""

    def __init__(self, session: Session, source: Source, terms: Iterable[Term]) -> None:
        self._session = session
        self._source = source
        self._terms = terms
        self._named: Container[Place] | None = None

    def judge(self, log: str, index: int) -> None:
        """Raise NOT_FOUND unless this record was erased."""
        if self._named is None:
            keymap, heads = self._session.keymap, {}
            for term in self._terms:
                raw = self._source.checkpoint(term.log)
                heads[term.log] = verify_checkpoint(raw, policy_of(keymap, term.log)).size
            self._named = find_erasures(self._source, keymap, heads).named
        if (log, index) not in self._named:
            raise ReferralError(ErrorCode.NOT_FOUND, what="record", log=log, index=index)


def _verified(
    session: Session,
    proven: Proven,
    gaps: _Gaps,
    looked: range,
    found: Sequence[RawRecord],
    wanted: Mapping[str, str],
) -> Iterator[Item]:
    """The items of one look at these indices, in log order, up to the proved head.

    All that was given is verified before anything is said of what was not: what is false must not pass for missing.
    """
    given = {one.index: verify_item(session, proven, one) for one in found if one.index < proven.head.size}
    for index in sorted(given) if wanted else looked:
        if index not in given:
            gaps.judge(proven.log, index)
        elif given[index].fits(wanted):
            yield given[index]


def verify_item(session: Session, proven: Proven, raw: RawRecord) -> Item:
    """One record, held against its leaf in the log; of an act signatures and receipt too.

    Raises TAMPERED (`index`) for another record than the leaf's, what `Proven.leaf` raises, and what
    `trust.verify_answer` raises of acts and receipts.
    """
    leaf, term = parse_leaf(proven.leaf(raw.index)), Term.of_log(proven.log)
    if sha256_b64u(raw.record) != leaf.digest:
        raise ReferralError(ErrorCode.TAMPERED, what="record", index=raw.index)
    if leaf.kind in (LeafKind.ACT, LeafKind.ERASE):
        return _act(session, proven, leaf, term, raw)
    record = parse_record(raw.record)
    if kind_of(record) is not leaf.kind or record.t != leaf.logged_s:
        raise ReferralError(ErrorCode.TAMPERED, what="leaf-of-record", index=raw.index)
    return Item(term, raw.index, leaf.logged_s, record=record)


def dossier(session: Session, ref: str, terms: list[Term]) -> Dossier:
    """Everything about a referral: acts, retrievals, readings, and the states that follow from them.

    Raises NOT_FOUND; as `search`; TAMPERED where it does not fold, where the exchange shows other states than those, or
    where what it shows to parties (`view`) is not what its log holds.
    """
    shown = fetch_referral(session, ReferralId(ref))
    items = tuple(item for term in terms for item in search(session, term, 0, {"ref": ref}))
    told = [one for item in items if (one := _told(session, item)) is not None]
    known = {item.act.digest: item for item in items if item.act is not None and _accepted(item)}
    for act in shown.acts:
        if act.accepted and act.act.digest not in known:
            raise ReferralError(ErrorCode.TAMPERED, what="view", reason="omitted", digest=act.act.digest)
        if act.accepted and (act.term, act.index) != (known[act.act.digest].term, known[act.act.digest].index):
            raise ReferralError(ErrorCode.TAMPERED, what="view", reason="place", digest=act.act.digest)
    # What happened after the exchange had shown the referral is in its log already.
    last = max([(one.term, one.index) for one in shown.acts] + [(one.term, one.index) for one in shown.retrievals])
    then = fold_told([one for one in told if (one.term, one.index) <= last])
    for unit, delivery in shown.chronicle.deliveries.items():
        then.verify_state(unit, delivery.state.value, delivery.head)
    return Dossier(ref, items, fold_told(told))


@dataclass(frozen=True, slots=True)
class KeyEvent:
    """One leaf of the keys log: a key that came, or an act on the directory."""

    index: int
    at: int
    """When its signer says that it was signed (unix seconds)."""
    what: str
    party: str
    """Whose keys it is about."""
    by: str
    """The credential that signed the act; for a key the keys that vouch for it."""
    detail: str


def replay_keys(session: Session) -> list[KeyEvent]:
    """Every leaf of the replicated keys log, in order; each was verified when it was replicated."""
    return [_key_event(index, leaf) for index, leaf in enumerate(session.replica.leaves)]


def _key_event(index: int, leaf: bytes) -> KeyEvent:
    act = parse_keys_leaf(leaf)
    if isinstance(act, RawKeyEntry):
        return KeyEvent(index, act.iat, "key", act.party, " ".join(act.signed_by), f"{act.use} {act.kid}")
    body: Any = act.body
    about = str(getattr(body, "party", None) or act.party)
    detail = str(getattr(body, "kid", None) or getattr(body, "statement", None) or act.digest)
    return KeyEvent(index, act.iat, act.act.value, about, act.iss, detail)


def _page(session: Session, term: Term, start: int, wanted: Mapping[str, str]) -> tuple[list[RawRecord], int | None]:
    """One page of what is wanted, and where the next one begins. Raises MALFORMED (`members`), TAMPERED (`index`)."""
    answer = session.read_json(exchange.records(term, start, RECORDS_A_CALL, **wanted))
    following = answer.get("next", ...)
    if not isinstance(following, (int, type(None))):
        raise ReferralError(ErrorCode.MALFORMED, reason="members")
    within = range(start, sys.maxsize if following is None else following)
    return parse_records(answer.get("records"), within=within), following


def _act(session: Session, proven: Proven, leaf: Leaf, term: Term, raw: RawRecord) -> Item:
    act = parse_act(raw.record)
    if act.aud != session.profile.issuer:
        raise ReferralError(ErrorCode.WRONG_AUDIENCE)
    kids = [signature.kid for signature in act.jws.signatures]
    seal = session.replica.seal_keys_at(act.iss, act.iat, leaf.logged_s, kids)
    verify_act(act, seal.keys, required=seal.require)
    receipt = None
    if raw.receipt is not None:
        receipt = verify_exchange_receipt(raw.receipt, session.keymap)
        match_receipt(receipt, act=act.digest, act_id=act.id, sub=act.iss, ref=act.ref, unit=act.unit)
        place = receipt.payload.log
        if (place.origin, place.index, receipt.payload.time) != (proven.head.origin, raw.index, leaf.logged_s):
            raise ReferralError(ErrorCode.RECEIPT_MISMATCH, member="log")
    elif act.party != EXCHANGE:
        raise ReferralError(ErrorCode.RECEIPT_MISMATCH, member="absent", log=proven.log, index=raw.index)
    return Item(term, raw.index, leaf.logged_s, act=act, receipt=receipt, signer=seal.kind)


def _accepted(item: Item) -> bool:
    return item.receipt is None or item.receipt.accepted


def _told(session: Session, item: Item) -> Told | None:
    """What an item says to the fold; None where it says nothing."""
    if item.act is not None:
        if not _accepted(item):
            return None
        event = event_of(item.act, role_of(session, item.act.party), item.at)
        return Told(item.term, item.index, event=event, kind=item.signer, receipt=item.receipt, at=item.at)
    record: Any = item.record
    if isinstance(record, Retrieved) and record.sealed == "bundle" and record.unit is not None:
        return Told(item.term, item.index, retrieved_by=record.unit, at=item.at)
    return None
