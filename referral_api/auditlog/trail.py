"""The records behind an audit log, leaf by leaf in log order: what each says, who signed it, and what became of it.

The key map grows exactly where a directory act stands in the audit log, so that every signature is judged by the keys
as they were at that leaf. Nothing stops at a fault: an auditor needs to know everything that is wrong.

Must never: read a log or a record itself (verification.py hands them in), or pass over a leaf in silence.

Implements: R-91, R-92, R-95 (records, signatures, receipts, states, both logs); design §9.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any

from referral_api.auditlog.accounts import verify_account
from referral_api.auditlog.closed_reads import ClosedReads
from referral_api.auditlog.erasures import Erasures, Place, check_erasable
from referral_api.auditlog.evidence import Chronicle, event_of
from referral_api.auditlog.gates import check_gates, let_through
from referral_api.auditlog.leaf import Leaf, LeafKind, parse_leaf
from referral_api.auditlog.records import LogClosed, LogGenesis, LogLost, Retrieved, TreeHead, kind_of, parse_record
from referral_api.auditlog.relations import check_relation, passed_down
from referral_api.auditlog.report import Check, RawRecord, Report
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.terms import Term
from referral_api.domain.words import ACCOUNTS, Act, CredentialKind, KeyUse, Role
from referral_api.formats.act import RawAct, parse_act, verify_act
from referral_api.formats.bodies import Route, sealed_of
from referral_api.formats.fields import LATEST_S
from referral_api.formats.parties import EXCHANGE, SKEW_S
from referral_api.formats.receipt import Receipt, match_receipt, verify_exchange_receipt
from referral_api.formats.statements import KeyMap
from referral_api.formats.strict_json import b64u, sha256_b64u

_ON_KEYS_LOG = frozenset({Act.GENESIS, Act.STATEMENT, Act.APPROVE_STATEMENT, Act.REVOKE, Act.REKEY})
"""Directory acts that change the key map whenever they are accepted; an objection does where its statement waits."""
AHEAD_S = 300
"""How far a leaf may be dated after its reader's own time: as far as an exchange lets its clock run ahead (R-97)."""
_FROM_GAPS = frozenset({ErrorCode.KEY_NOT_VALID, ErrorCode.NOT_INCLUDED})
REFUSED_BY_THE_FOLD = frozenset({ErrorCode.STALE_HEAD, ErrorCode.ILLEGAL_TRANSITION})
"""Refusals that whoever sees everything can judge: they lie in what went before."""


class Trail:
    """The audit logs of one exchange as they are walked, year after year."""

    def __init__(
        self, report: Report, keys_leaves: Sequence[bytes], root: bytes, erasures: Erasures, now: int | None = None
    ) -> None:
        self._report = report
        self._latest_s = LATEST_S if now is None else now + AHEAD_S
        self._erasures = erasures
        self._keys_leaves = keys_leaves
        self._keys_index = {sha256_b64u(leaf): index for index, leaf in enumerate(keys_leaves)}
        self._keymap = KeyMap.start(keys_leaves[0], root=root)
        self._met: set[int] = set()
        self.logged_s = 0
        self._acts: set[tuple[str, str]] = set()
        self._sealed: dict[str, tuple[str | None, str]] = {}
        """For every accepted act with ciphertext beside it: its referral, and the ciphertext's digest."""
        self._excluded: dict[str, set[str]] = {}
        self._closed: dict[str, LogClosed] = {}
        """The closing leaves that were met, by log: nothing may follow one."""
        self._kept: dict[str, TreeHead | None] = {}
        """How far the log before was held, by the log that follows because that one has lost leaves."""
        self._closed_reads = ClosedReads()
        self._relied = False
        self._lost = False
        self._in_doubt: frozenset[ErrorCode] = frozenset()
        """What no longer convicts anybody: without a record, what follows may be judged wrongly."""

    def lack(self) -> None:
        """Note that something was not there: keys, states and the other log's acts may depend on it."""
        self._in_doubt = _FROM_GAPS
        self._closed_reads.lack()

    def leaf(
        self,
        log: str,
        index: int,
        raw_leaf: bytes,
        found: RawRecord | None,
        *,
        relied: bool = False,
        lost: bool = False,
    ) -> None:
        """Check one leaf and everything behind it. `relied`: but for its act's signatures, which were verified before.

        The record hashes to a leaf that a verified head covers, so its signatures are what they were. Its receipt is in
        no leaf and is verified every time. `lost`: the exchange has lost it and holds to nothing in it any more.
        """
        self._relied, self._lost = relied, lost
        if log in self._closed:
            error = ReferralError(ErrorCode.TAMPERED, what="log-closed", reason="followed")
            self._report.note(Check.GROWTH, log, index, error)
        erased = (log, index) in self._erasures.named
        if found is None:
            if erased:
                self._erased(log, index, raw_leaf)
            else:
                error = ReferralError(ErrorCode.NOT_FOUND, what="record")
                self._report.note(Check.RECORDS, log, index, error, missing=True)
                self.lack()
            return
        if erased:
            error = ReferralError(ErrorCode.TAMPERED, what="erasure", reason="present")
            self._report.note(Check.RECORDS, log, index, error)
        judged: list[Leaf] = []

        def judge_record() -> None:
            leaf = parse_leaf(raw_leaf)
            if sha256_b64u(found.record) != leaf.digest:
                raise ReferralError(ErrorCode.TAMPERED, what="record", digest=leaf.digest)
            judged.append(leaf)

        if not self._report.hold(Check.RECORDS, log, index, judge_record):
            return
        self._report.hold(Check.LEAVES, log, index, partial(self._check_time, log, judged[0]))
        if judged[0].kind in (LeafKind.ACT, LeafKind.ERASE):
            self._act(log, index, judged[0], found)
        else:
            self._report.hold(
                Check.RECORDS, log, index, lambda: self._server_record((log, index), judged[0], found.record)
            )

    def begin_term(self, log: str, origin: str, found: RawRecord | None, previous: TreeHead | None) -> None:
        """The first leaf of a term names the log, its key, and the log that it continues, as that was when it ended; or
        where that one has lost leaves, its last checkpoint, and how far it is held (`previous`) stands in the second.
        """
        after_loss = Term.of_log(log).before is not None
        if after_loss:
            self._kept[log] = previous

        def judge() -> None:
            if found is None:
                raise ReferralError(ErrorCode.NOT_FOUND, what="record")
            record = parse_record(found.record)
            if not isinstance(record, LogGenesis):
                raise ReferralError(ErrorCode.TAMPERED, what="log-genesis", reason="absent")
            kid = next((key.kid for key in self._keymap.keys_in_use(KeyUse.LOG, record.t)), None)
            before = record.previous
            # Whether a lost log's last checkpoint is what it says, whoever has seen it says (verification.py).
            continues = before == previous
            if after_loss:
                continues = before is not None and previous is not None and before.origin == previous.origin
            if (record.origin, record.kid) != (origin, kid) or not continues:
                raise ReferralError(ErrorCode.TAMPERED, what="log-genesis", reason="differs")

        self._report.hold(Check.GROWTH, log, 0, judge)

    def end_term(self, log: str, index: int, origin: str, found: RawRecord | None, following: str | None) -> None:
        """The last leaf of a log that another one continues closes it, with the last second of its year, and names that
        one; a closing leaf that nothing follows says that a log is kept from us.
        """

        def judge() -> None:
            if found is None:
                raise ReferralError(ErrorCode.NOT_FOUND, what="record")
            record = self._closed.get(log)
            if record is None:
                if following is not None:
                    raise ReferralError(ErrorCode.TAMPERED, what="log-closed", reason="absent")
                return
            if following is None:
                raise ReferralError(ErrorCode.NOT_FOUND, what="log", origin=record.following)
            begins = datetime(Term.of_log(log).year + 1, 1, 1, tzinfo=UTC)
            if (record.origin, record.following, record.t + 1) != (origin, following, int(begins.timestamp())):
                raise ReferralError(ErrorCode.TAMPERED, what="log-closed", reason="differs")

        self._report.hold(Check.GROWTH, log, index, judge)

    def both_logs(self) -> None:
        """R-92: every act of the keys log, its genesis among them, has its leaf in an audit log too."""
        for index, leaf in enumerate(self._keys_leaves):

            def judge(index: int = index, leaf: bytes = leaf) -> None:
                if index not in self._met and _is_act(leaf):
                    raise ReferralError(ErrorCode.NOT_INCLUDED, reason="audit-log")

            self._report.hold(Check.BOTH_LOGS, "keys", index, judge, self._in_doubt)

    def _check_time(self, log: str, leaf: Leaf) -> None:
        """The exchange's clock never runs backwards, and a log holds its own year and no other."""
        # One leaf that is dated ahead is one fault, not that of every leaf behind it.
        before, self.logged_s = self.logged_s, leaf.logged_s
        if leaf.logged_s > self._latest_s >= before:
            raise ReferralError(ErrorCode.TAMPERED, what="time", reason="ahead")
        if leaf.logged_s < before:
            raise ReferralError(ErrorCode.TAMPERED, what="time", reason="backwards")
        if leaf.logged_s > LATEST_S or datetime.fromtimestamp(leaf.logged_s, UTC).year != Term.of_log(log).year:
            raise ReferralError(ErrorCode.TAMPERED, what="time", reason="year")

    def _erased(self, log: str, index: int, raw_leaf: bytes) -> None:
        """A leaf that does not open, and that an act says need not: what it was can be asked no more, but its kind and
        time can.
        """

        def judge() -> None:
            leaf = parse_leaf(raw_leaf)
            check_erasable(leaf, on_keys_log=leaf.digest in self._keys_index)
            self._check_time(log, leaf)

        if self._report.hold(Check.RECORDS, log, index, judge):
            self._report.erased += 1

    def _server_record(self, place: Place, leaf: Leaf, raw: bytes) -> None:
        record = parse_record(raw)
        if kind_of(record) is not leaf.kind or record.t != leaf.logged_s:
            raise ReferralError(ErrorCode.TAMPERED, what="leaf-of-record")
        self._closed_reads.take(record, self._sealed, self._report.chronicles)
        self._report.unlogged = self._closed_reads.count
        if self._lost:
            return
        if (place[1] == 1 and place[0] in self._kept) != isinstance(record, LogLost):
            raise ReferralError(ErrorCode.TAMPERED, what="log-lost", reason="absent")
        if isinstance(record, LogLost) and record.kept != self._kept[place[0]]:
            raise ReferralError(ErrorCode.TAMPERED, what="log-lost", reason="differs")
        if isinstance(record, LogClosed):
            self._closed[place[0]] = record
        if not isinstance(record, Retrieved) or not self._erasures.knows(record.ref, place):
            return
        if self._in_doubt and record.act not in self._sealed:
            raise ReferralError(ErrorCode.NOT_FOUND, what="act", digest=record.act)
        if self._sealed.get(record.act) != (record.ref, record.digest) or record.unit not in (None, record.party):
            raise ReferralError(ErrorCode.TAMPERED, what="retrieved", digest=record.digest)
        if record.sealed == "bundle" and record.unit is not None:
            self._chronicle(record.ref).retrieved(record.unit, record.t)

    def _act(self, log: str, index: int, leaf: Leaf, found: RawRecord) -> None:
        self._closed_reads.pass_act()
        parsed: list[RawAct] = []
        kinds: list[CredentialKind] = []
        receipts: list[Receipt] = []
        report = self._report

        def judge_signatures() -> None:
            parsed.append(parse_act(found.record))
            kinds.extend(self._verify_signatures(parsed[0], leaf))

        def judge_receipt() -> None:
            receipts.append(verify_logged_receipt(log, index, parsed[0], leaf, found.receipt, self._keymap))

        # An `erase` act that no key of the exchange has ever signed is false, whatever is missing before it.
        doubted = leaf.kind is not LeafKind.ERASE or (log, index) in self._erasures.acts
        in_doubt = self._in_doubt if doubted else frozenset()
        if not report.hold(Check.SIGNATURES, log, index, judge_signatures, in_doubt) and not parsed:
            return
        act = parsed[0]
        if not self._lost:
            report.hold(Check.RECORDS, log, index, partial(self._check_once, act))
        # The exchange's own acts answer nobody, so they may carry no receipt.
        if found.receipt is None and act.party != EXCHANGE:
            missing = ReferralError(ErrorCode.NOT_FOUND, what="receipt")
            report.note(Check.RECEIPTS, log, index, missing, missing=True)
        elif found.receipt is not None:
            report.hold(Check.RECEIPTS, log, index, judge_receipt)
        receipt = receipts[0] if receipts else None
        if act.ref is None:
            report.hold(Check.BOTH_LOGS, log, index, lambda: self._listed(act, receipt, leaf, kinds))
        elif (receipt is not None or found.receipt is None) and not self._lost:
            kind = kinds[0] if kinds else None
            fold = partial(self._fold, (log, index), act, leaf, receipt, kind)
            report.hold(Check.STATES, log, index, fold, self._states_in_doubt)

    @property
    def _states_in_doubt(self) -> frozenset[ErrorCode]:
        return self._in_doubt and frozenset({ErrorCode.TAMPERED})

    def _verify_signatures(self, act: RawAct, leaf: Leaf) -> list[CredentialKind]:
        if act.aud != self._keymap.issuer:
            raise ReferralError(ErrorCode.WRONG_AUDIENCE)
        if (act.act is Act.ERASE) != (leaf.kind is LeafKind.ERASE):
            raise ReferralError(ErrorCode.TAMPERED, what="leaf-of-record")
        if act.leaf_digest in self._keys_index:
            return []  # The key map verified it when it took this leaf.
        if act.iat > leaf.logged_s + SKEW_S:
            # No exchange takes an act before it was signed: its leaf, or everything since, is dated back.
            raise ReferralError(ErrorCode.TAMPERED, what="time", reason="before-signed")
        kids = [one.kid for one in act.jws.signatures]
        seal = self._keymap.seal_keys(act.iss, act.iat, leaf.logged_s, kids=kids)
        if not self._relied:
            verify_act(act, seal.keys, required=seal.require)
        return [seal.kind]

    def _check_once(self, act: RawAct) -> None:
        """R-92: exactly one leaf an act. A second one would let an act of a party happen again without it."""
        if (act.iss, act.id) in self._acts:
            raise ReferralError(ErrorCode.TAMPERED, what="act", reason="repeated", digest=act.digest)
        self._acts.add((act.iss, act.id))

    def _listed(self, act: RawAct, receipt: Receipt | None, leaf: Leaf, kinds: Sequence[CredentialKind]) -> None:
        """R-30, R-92: what changes the directory is on the keys log too, in the same order, and only if accepted."""
        place = self._keys_index.get(act.leaf_digest)
        accepted = receipt is None or receipt.accepted
        if place is None:
            body: Any = act.body
            objects = act.act is Act.OBJECT and any(one.digest == body.statement for one in self._keymap.pending())
            if accepted and (act.act in _ON_KEYS_LOG or objects):
                raise ReferralError(ErrorCode.NOT_INCLUDED, reason="keys-log", digest=act.digest)
            if accepted and kinds and act.act in ACCOUNTS:
                verify_account(act, role_of(act, self._keymap), kinds[0], leaf.logged_s)
            return
        if not accepted:
            raise ReferralError(ErrorCode.TAMPERED, what="keys-log", reason="refused", digest=act.digest)
        if place in self._met or (place and place < self._keymap.size):
            raise ReferralError(ErrorCode.TAMPERED, what="keys-log", reason="order", digest=act.digest)
        self._met.add(place)
        while self._keymap.size <= place:
            self._keymap.extend(self._keys_leaves[self._keymap.size], verify=False)

    def _fold(
        self, place: Place, act: RawAct, leaf: Leaf, receipt: Receipt | None, kind: CredentialKind | None
    ) -> None:
        if not self._erasures.knows(str(act.ref), place):
            return  # What the states came from is gone.
        chronicle = self._chronicle(str(act.ref))
        event = event_of(act, role_of(act, self._keymap), leaf.logged_s)
        if receipt is None or receipt.accepted:
            check_gates(act, kind, leaf.logged_s, self._keymap, chronicle.sender)
            known, gaps = self._report.chronicles, bool(self._in_doubt)
            check_relation(act, known, self._excluded, self._erasures.first, gaps=gaps)
            chronicle.accept(event, kind)
            # Whoever is excluded is noted, for no act may give such a unit a delivery.
            excluded = self._excluded.setdefault(str(act.ref), set())
            excluded.update(act.body.excluded if isinstance(act.body, Route) else ())
            excluded.update(passed_down(act, self._excluded, self._erasures.first))
            if excluded & chronicle.deliveries.keys():
                raise let_through(act, "excluded")
            if (sealed := sealed_of(act.body)) is not None:
                self._sealed[act.digest] = (act.ref, sealed.sha256)
        elif receipt.refusal in REFUSED_BY_THE_FOLD:
            chronicle.refuse(event)
        if receipt is not None:
            chronicle.verify_receipt(receipt)

    def _chronicle(self, ref: str) -> Chronicle:
        return self._report.chronicles.setdefault(ref, Chronicle())


def verify_logged_receipt(log: str, index: int, act: RawAct, leaf: Leaf, raw: bytes | None, keymap: KeyMap) -> Receipt:
    """The receipt of an act whose leaf stands at this place of a log, with this time (R-16, R-95).

    Raises as `verify_exchange_receipt`, `match_receipt`; RECEIPT_MISMATCH (`log`, `time`); NOT_FOUND: there is none.
    """
    if raw is None:
        raise ReferralError(ErrorCode.NOT_FOUND, what="receipt")
    receipt = verify_exchange_receipt(raw, keymap)
    match_receipt(receipt, act=act.digest, act_id=act.id, sub=act.iss, ref=act.ref, unit=act.unit)
    place = receipt.payload.log
    if (place.origin.rpartition("/v1/log/")[2], place.index) != (log, index):
        raise ReferralError(ErrorCode.RECEIPT_MISMATCH, member="log")
    if receipt.payload.time != leaf.logged_s:
        raise ReferralError(ErrorCode.RECEIPT_MISMATCH, member="time")
    return receipt


def role_of(act: RawAct, keymap: KeyMap) -> Role:
    """The role of the party that an act is of. Raises KEY_NOT_VALID (`unknown`)."""
    if act.party == EXCHANGE:
        return Role.EXCHANGE
    party = keymap.find_party(act.party)
    if party is None:
        raise ReferralError(ErrorCode.KEY_NOT_VALID, reason="unknown", credential=act.iss)
    return party.role


def _is_act(leaf: bytes) -> bool:
    try:
        parse_act(leaf)
    except ReferralError:
        return False
    return True


def tree_head(origin: str, size: int, root: bytes) -> TreeHead:
    """A verified head as records write it."""
    return TreeHead(origin=origin, size=size, root=b64u(root))
