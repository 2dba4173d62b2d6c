"""Reconciliation: leaves that the database has lost come back bit by bit, and its rows are folded from them again.

First everything is computed in memory: for each log, from what the database holds to the largest size that its key has
signed, every leaf must be there, and hash to every signed root on the way. Only then one transaction appends them all,
with their acts, records, deliveries and inbox lines, and a `reconciled` record as the last leaf of it.

Must never: write a leaf that the signed roots do not cover, leave one out, or invent a receipt.

Implements: design §9 (`admin reconcile`); R-92, R-97.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from referral_api.auditlog.evidence import UNFOLDED, event_of
from referral_api.auditlog.leaf import LeafKind, parse_leaf
from referral_api.auditlog.merkle import leaf_hash
from referral_api.auditlog.records import Reconciled, Retrieved, TreeHead, encode_salt, parse_record
from referral_api.domain import fold
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.terms import Term
from referral_api.domain.words import Act, Role
from referral_api.formats.act import RawAct, parse_act
from referral_api.formats.bodies import sealed_of
from referral_api.formats.directory_bodies import Invite
from referral_api.formats.parties import EXCHANGE
from referral_api.formats.receipt import Receipt, verify_exchange_receipt
from referral_api.formats.strict_json import b64u
from referral_api.server.service import enrolment, new_term, new_year
from referral_api.server.service.batch import Batch, Done, Place
from referral_api.server.service.directory import invitation_row
from referral_api.server.service.exchange import Exchange, term_of
from referral_api.server.service.forgetting import forget_texts
from referral_api.server.service.ledger import Change, act_row, carry_out, new_referral
from referral_api.server.service.new_term import Opening
from referral_api.server.service.recorded import keep, tell_sender
from referral_api.server.service.reenrolled import Reenrolled
from referral_api.server.service.salvage import Behind, Promise, Salvage
from referral_api.server.service.still_erased import StillErased
from referral_api.server.service.writer import Writer
from referral_api.server.storage import enrolments, lease, logbook, queries, recovery
from referral_api.server.storage.enrolments import EnrolmentState
from referral_api.server.storage.gate import gate
from referral_api.server.storage.logbook import KEYS
from referral_api.server.storage.queries import StoredAct, StoredRecord
from referral_api.server.storage.signer import LogSigner, LogSigners, closed


@dataclass(frozen=True, slots=True)
class Missing:
    """What one log has lost, complete: the leaves from `first` on, and what stands behind them."""

    log: str
    first: int
    leaves: tuple[bytes, ...]
    behind: Mapping[int, Behind]
    head: Promise
    erased: StillErased
    """What of all logs that come back has no record any more, lawfully."""


@dataclass(slots=True)
class Outcome:
    """What came back: leaves by log. `lost` are referrals whose sealed texts did not, until sent again, and are to be
    had again; `invited` are parties whose open invitations came back, but not what they may have brought since.
    """

    imported: dict[str, int] = field(default_factory=dict)
    lost: list[str] = field(default_factory=list)
    invited: list[str] = field(default_factory=list)
    opened: new_term.Opened | None = None
    closed: str | None = None
    """What still keeps writes closed, if anything: the runbook's name."""


@dataclass(frozen=True, slots=True)
class Short:
    """A log of which not all can be had: `missing` leaves are not, or not with what stands behind them, from `first`
    on. It would be held up to `kept`, and was signed at `signed`.
    """

    log: str
    missing: int
    first: int
    kept: int
    signed: int


def plan(exchange: Exchange, found: Salvage) -> list[Missing]:
    """What is missing, if all of it can be had and fits; nothing is written.

    Raises WRITES_CLOSED as `survey`, and `database-shorter` with `log`, `missing` (how many) and `first` where leaves
    cannot be had.
    """
    missing, short = survey(exchange, found)
    for one in short:
        raise ReferralError(
            ErrorCode.WRITES_CLOSED, reason="database-shorter", log=one.log, missing=one.missing, first=one.first
        )
    return missing


def survey(exchange: Exchange, found: Salvage) -> tuple[list[Missing], list[Short]]:
    """What is missing and can be had, of each log up to the largest signed size that can be reached; and which logs
    were signed further.

    Raises WRITES_CLOSED (`database-differs`) where the database and what was signed are two histories.
    """
    sizes = {log: max(one.size for one in promises) for log, promises in found.promises.items() if promises}
    while True:
        erased = StillErased(exchange.keymap, found, sizes)
        surveyed = {log: _survey(exchange, found, log, erased) for log in found.logs()}
        reached = {log: min(size, surveyed[log][2]) for log, size in sizes.items()}
        # An `erase` act that does not come back excuses nothing.
        if reached == sizes:
            return [one for one, _, _ in surveyed.values() if one], [one for _, one, _ in surveyed.values() if one]
        sizes = reached


def _survey(
    exchange: Exchange, found: Salvage, log: str, erased: StillErased
) -> tuple[Missing | None, Short | None, int]:
    """Of one log what can be had, what cannot, and up to which size it would be held."""
    promises = _promises(found, log)
    with exchange.database.read(snapshot=True) as conn:
        if logbook.following(conn, log) is not None:
            return None, None, logbook.size(conn, log)  # What it has lost is settled, and its end is signed elsewhere.
        edge = logbook.frontier(conn, log)
        for promise in promises:
            if promise.size <= edge.size:
                _demand(logbook.frontier_at(conn, log, promise.size).root() == promise.root, log)
    ahead = [one for one in promises if one.size > edge.size]
    if not ahead:
        return None, None, edge.size
    leaves, behind, signed = found.leaves.get(log, {}), found.records.get(log, {}), ahead[-1].size
    wanted = range(edge.size, signed)
    absent = [index for index in wanted if index not in leaves]
    closed = [] if log == KEYS else [at for at in wanted if at not in behind and not erased.names(log, at)]
    stop = min([signed, *absent[:1], *closed[:1]])
    absent = absent or closed
    heads = [one for one in ahead if one.size <= stop]
    kept = heads[-1].size if heads else edge.size
    short = Short(log, len(absent), absent[0], kept, signed) if absent else None
    if not heads:
        return None, short, kept
    had = tuple(leaves[index] for index in range(edge.size, kept))
    hashes = [leaf_hash(leaf) for leaf in had]
    for promise in heads:
        _demand(edge.extend(hashes[: promise.size - edge.size]).root() == promise.root, log)
    return Missing(log, edge.size, had, behind, heads[-1], erased), short, kept


def _promises(found: Salvage, log: str) -> list[Promise]:
    """What was signed of a log, smallest first; of one whose next term comes back, only what that says is held."""
    promises = sorted(found.promises.get(log, []), key=lambda one: one.size)
    after = Term.of_log(log).following if log != KEYS else None
    if after is None or not found.leaves.get(after.log):
        return promises
    kept = found.kept.get(log)
    return promises if kept is None else [one for one in promises if one.size <= kept]


def _demand(holds: bool, log: str) -> None:  # noqa: FBT001 - the one thing that is asked
    if not holds:
        raise ReferralError(ErrorCode.WRITES_CLOSED, reason="database-differs", log=log)


def reconcile(
    exchange: Exchange,
    signers: LogSigners,
    missing: Sequence[Missing],
    *,
    clock: Callable[[], float],
    opening: Opening | None = None,
    on_step: Callable[[str], None] = lambda _: None,
) -> Outcome:
    """Bring back what is missing, and sign it if this host's signer may. `opening` gives up what cannot be had of a
    log, and begins its next term behind what comes back.

    Raises what the database raises; then nothing has been written.
    """
    outcome = Outcome()
    if missing or opening is not None:
        writer = Writer(
            exchange.database,
            _nobody,
            clock=lambda _newest_s: clock(),
            term_of=term_of,
            begin=lambda _: None,
            committed=lambda batch: exchange.directory.advance(batch.keymap) if batch.keymap is not None else None,
            checkpoints={},
            on_step=on_step,
        )
        writer.start()
        try:
            outcome = writer.run(Reconciliation(exchange, signers, missing, opening)).result
        finally:
            writer.stop()
    try:
        gate(exchange.database, signers)
    except ReferralError as refusal:
        if refusal.code is not ErrorCode.WRITES_CLOSED:
            raise
        outcome.closed = str(refusal.facts["reason"])
    on_step("signed")
    return outcome


def _nobody(log: str) -> LogSigner:
    """The signer has signed beyond where this growth begins: the gate signs, which compares the whole first."""
    raise closed("database-shorter", log)


class Reconciliation:
    """The job of the writer that imports everything and folds it."""

    def __init__(
        self, exchange: Exchange, signers: LogSigners, missing: Sequence[Missing], opening: Opening | None
    ) -> None:
        self._exchange = exchange
        self._signers = signers
        self._missing = missing
        self._opening = opening
        self._outcome = Outcome()
        self._lost: dict[int, str] = {}
        self._reenrolled = Reenrolled()
        self._invites: list[Invite] = []

    def __call__(self, batch: Batch) -> Done[Outcome]:
        """All logs, the keys log first, then the records of it."""
        now = batch.now
        for one in self._missing:
            if one.log not in batch.heads:
                batch.heads |= logbook.lock(batch.tx, [one.log])
            if batch.heads[one.log].size != one.first:
                raise ReferralError(ErrorCode.WRITES_CLOSED, reason="database-differs", log=one.log)
            if one.log == KEYS:
                self._import_keys(batch, one)
            else:
                now = max(now, self._import_audit(batch, one))
                self._lease(batch, one)
            self._outcome.imported[one.log] = len(one.leaves)
        batch.now = now
        # What was purged or erased after it was lost is asked of nobody.
        self._outcome.lost += [ref for pos, ref in self._lost.items() if recovery.is_lost(batch.tx, pos)]
        self._settle_enrolments(batch)
        self._reenrolled.write(batch.tx, self._exchange.token_bytes, now)
        self._tell_invited(batch, now)
        batch.term = max([batch.term, *(Term.of_log(one.log) for one in self._missing if one.log != KEYS)])
        if self._opening is not None:
            self._outcome.opened = new_term.begin(self._exchange, self._signers, batch, self._opening)
        log = batch.term.log
        batch.heads |= logbook.lock(batch.tx, [] if log in batch.heads else [log])
        if batch.next_index(log) == 0:
            lease.hold(batch.tx, self._signers, log, 0, batch.now)
        new_year.begin_term(self._exchange, batch)
        for one in self._missing:
            head = TreeHead(origin=self._exchange.origin(one.log), size=one.head.size, root=b64u(one.head.root))
            salt = encode_salt(self._exchange.token_bytes(16))
            keep(batch, Reconciled(t=batch.now, salt=salt, head=head, imported=len(one.leaves)))
        return Done(self._outcome)

    def _import_keys(self, batch: Batch, one: Missing) -> None:
        grown = self._exchange.keymap.copy()
        for leaf in one.leaves:
            grown.extend(leaf)
            self._reenrolled.take(leaf, grown)
            batch.append_leaf(KEYS, leaf)
        batch.keymap = grown

    def _import_audit(self, batch: Batch, one: Missing) -> int:
        """Append one log's leaves with their rows; the time of its last leaf."""
        for at, raw in enumerate(one.leaves):
            leaf, index = parse_leaf(raw), one.first + at
            place = batch.append_leaf(one.log, raw)
            batch.now = leaf.logged_s
            if one.erased.names(one.log, index):
                one.erased.keep(batch, place)
                continue
            if leaf.kind in (LeafKind.ACT, LeafKind.ERASE):
                following = one.behind.get(index + 1)
                self._act(batch, place, one, following)
            else:
                self._record(batch, place, one)
        return batch.now

    def _lease(self, batch: Batch, one: Missing) -> None:
        """A log of which the database knew nothing is signed by who has signed it, if that is this host; the one that
        it follows because that one has lost leaves, by nobody.
        """
        if one.first == 0 and one.log in self._signers.names() and lease.find_holder(batch.tx, one.log) is None:
            lease.move(batch.tx, one.log, None, self._signers(one.log).claim, batch.now)
        before = Term.of_log(one.log).before
        if one.first == 0 and before is not None:
            lease.close(batch.tx, before.log)

    def _act(self, batch: Batch, place: Place, one: Missing, following: Behind | None) -> None:
        behind = one.behind[place.index]
        act = parse_act(behind.record)
        if behind.receipt is None:
            raise ReferralError(ErrorCode.NOT_FOUND, what="receipt")
        keymap = batch.keymap or self._exchange.keymap
        receipt = verify_exchange_receipt(behind.receipt, keymap)
        queries.insert_act(batch.tx, _stored(place, act, behind, receipt))
        sealed = sealed_of(act.body)
        if not receipt.accepted:
            return
        if sealed is not None:
            recovery.insert_lost(batch.tx, place.pos, sealed.sha256, sealed.size)
            self._lost[place.pos] = str(act.ref)
        if act.act is Act.ERASE:
            one.erased.carry_out(batch, act)
        elif act.ref is not None and one.erased.knows(act.ref, place.log, place.index):
            self._fold(batch, place, act, following)
        elif isinstance(act.body, Invite) and enrolments.find_invitation(batch.tx, act.body.nonce) is None:
            enrolments.insert_invitation(batch.tx, invitation_row(act, act.body))
            self._invites.append(act.body)

    def _fold(self, batch: Batch, place: Place, act: RawAct, following: Behind | None) -> None:
        event = event_of(act, self._role(batch, act), batch.now)
        if event.act in UNFOLDED:
            return
        if event.act is Act.SUBMIT:
            excluded = _excluded(act, following)
            referral = new_referral(act, batch.now, excluded)
            queries.insert_referral(batch.tx, referral)
            rules = self._exchange.rules_at(referral.created_at)
            carry_out(batch, rules, Change(event, act, referral, {}, fold.open_deliveries(event), place))
            return
        found = queries.find_referral(batch.tx, str(act.ref))
        if found is None:
            raise ReferralError(ErrorCode.TAMPERED, what="fold", act=act.act.value, digest=act.digest)
        before = queries.deliveries_of(batch.tx, found.ref)
        # The door has accepted it, its receipt says so: what it named was known then.
        changed = fold.judge(event, before, prev_known=True)
        if event.act is Act.PURGED:
            forget_texts(batch.tx, found.ref, {**before, **changed}, str(act.unit))
        rules = self._exchange.rules_at(found.created_at)
        carry_out(batch, rules, Change(event, act, found, before, changed, place))

    def _role(self, batch: Batch, act: RawAct) -> Role:
        if act.party == EXCHANGE:
            return Role.EXCHANGE
        party = (batch.keymap or self._exchange.keymap).find_party(act.party)
        if party is None:
            raise ReferralError(ErrorCode.KEY_NOT_VALID, reason="unknown", credential=act.iss)
        return party.role

    @staticmethod
    def _record(batch: Batch, place: Place, one: Missing) -> None:
        raw = one.behind[place.index].record
        record = parse_record(raw)
        ref, party = getattr(record, "ref", None), getattr(record, "party", None)
        queries.insert_record(batch.tx, StoredRecord(place.pos, record.kind, ref, party, raw.decode("ascii")))
        if not isinstance(record, Retrieved) or record.sealed != "bundle" or record.unit is None:
            return
        if not one.erased.knows(record.ref, place.log, place.index):
            return
        own = queries.deliveries_of(batch.tx, record.ref)[record.unit]
        referral = queries.find_referral(batch.tx, record.ref)
        if own.retrieved_at is None and referral is not None:
            if not queries.swap_delivery(batch.tx, record.ref, own, fold.retrieve(own, record.t)):
                raise RuntimeError("a delivery changed under the log's lock")
            tell_sender(batch, referral, record, place.pos)

    def _tell_invited(self, batch: Batch, now: int) -> None:
        """Whose invitations came back open: an enrolment that had begun with one is lost, and begins anew."""
        for body in self._invites:
            stored = enrolments.find_invitation(batch.tx, body.nonce)
            if stored is not None and stored.enrolment is None and stored.expires_at > now:
                self._outcome.invited.append(body.party.id)

    @staticmethod
    def _settle_enrolments(batch: Batch) -> None:
        """Enrolments that the backup still holds open, and whose keys the keys log lists by now."""
        if batch.keymap is None:
            return
        for state in (EnrolmentState.COMPLETED, EnrolmentState.RECOVERING, EnrolmentState.LISTED):
            for stored in enrolments.enrolments_in(batch.tx, state):
                kids = enrolment.read_waiting(stored).proposal.kids()
                became = enrolment.settled(batch.keymap, stored, kids)
                if became is EnrolmentState.DONE or (became is EnrolmentState.LISTED and became is not state):
                    enrolments.swap_enrolment(batch.tx, stored, replace(stored, state=became, updated_at=batch.now))


def _stored(place: Place, act: RawAct, behind: Behind, receipt: Receipt) -> StoredAct:
    text, payload = (behind.receipt or b"").decode("ascii"), receipt.payload
    return act_row(act, place, text, code=receipt.refusal, carrier=payload.carrier, received_at=payload.time)


def _excluded(submit: RawAct, following: Behind | None) -> frozenset[str]:
    """The units that a submit excludes: the route act that came with it has the next leaf (R-64)."""
    if following is None or following.receipt is None:
        return frozenset()
    route = parse_act(following.record)
    body: Any = route.body
    return frozenset(body.excluded) if (route.act, route.ref) == (Act.ROUTE, submit.ref) else frozenset()
