"""The walk of the audit of the database: logs in order, behind every leaf its row, then everything that follows.

Ranges of positions leave no gap between them, from the lowest number to the highest, so that a row that was moved
anywhere is met. What one leaf shows is told at once; whether the leaf or its record was changed, the tree decides.

Must never: pass over a row, or believe a row about its own place.

Implements: R-30, R-90 to R-95; design §9.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from referral_api.auditlog.checkpoint import TrustPolicy
from referral_api.auditlog.erasures import Erasures
from referral_api.auditlog.evidence import event_of
from referral_api.auditlog.keyslog import log_keys
from referral_api.auditlog.leaf import Leaf, LeafKind, parse_leaf
from referral_api.auditlog.policy import genesis_policy
from referral_api.auditlog.records import Reconciled, Retrieved, TreeHead, parse_record
from referral_api.auditlog.report import Check, Fault, OnProgress, RawRecord, Report, unheard
from referral_api.auditlog.trail import Trail, role_of, tree_head
from referral_api.domain.deliveries import Delivery
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.terms import Term
from referral_api.domain.words import Act
from referral_api.formats.act import RawAct, parse_act
from referral_api.formats.receipt import Receipt, parse_receipt
from referral_api.formats.statements import KeyMap
from referral_api.formats.strict_json import b64u
from referral_api.server.service.reckoning.books import Books
from referral_api.server.service.reckoning.difference import Findings, told_place
from referral_api.server.service.reckoning.directory import Register
from referral_api.server.service.reckoning.trees import HIGHEST, LOWEST, PolicyOf, Tree
from referral_api.server.storage import inventory, logbook
from referral_api.server.storage.database import Connection
from referral_api.server.storage.inventory import Cells
from referral_api.server.storage.logbook import KEYS

_COLUMN = {"act": "jws", "record": "body"}
_ABOUT = {Check.LEAVES: ("log_entry", "leaf"), Check.RECEIPTS: ("act", "receipt")}
"""Where a fault is that is not about the record itself."""


def reckon(
    conn: Connection, *, root: bytes | None = None, issuer: str | None = None, progress: OnProgress = unheard
) -> Findings:
    """Compare every table of the database with its logs; `conn` sees one moment of it.

    `root` is the digest of the first leaf as the caller knows it, `issuer` whose exchange it is. Nothing that is wrong
    stops it but a keys log that does not fold: without keys nothing else can be judged, and that is said. Raises only
    RolledBack, where the database does not answer.
    """
    return _Walk(conn, issuer, progress).run(root)


@dataclass(frozen=True, slots=True)
class _Behind:
    """What stands behind one leaf."""

    table: str
    row: Cells
    raw: RawRecord


class _Walk:
    def __init__(self, conn: Connection, issuer: str | None, progress: OnProgress) -> None:
        self._conn = conn
        self._issuer = issuer
        self._progress = progress
        self._findings = Findings()
        self._report = Report()
        self._told = 0
        self._keymap: KeyMap | None = None

    def run(self, root: bytes | None) -> Findings:
        states = {row["log"]: row for row in inventory.every(self._conn, "log_state")}
        self._findings.rows["log_state"] = len(states)
        logs = self._logs(states)
        leaves = self._keys(root, states.get(KEYS))
        if self._keymap is None:
            return self._findings
        register = Register(self._conn, self._findings, leaves)
        erasures = self._erasures({term.log: states.get(term.log) for term in logs}, self._keymap)
        books = Books(self._conn, self._findings, erasures)
        trail = Trail(self._report, leaves, self._keymap.root, erasures)
        first, previous = LOWEST, None
        for term in logs:
            first, previous = self._term(term, trail, books, register, states.get(term.log), first, previous)
        self._extra(first, HIGHEST, set())
        books.close_range(first, HIGHEST)
        trail.both_logs()
        self._tell(None)
        register.finish()
        books.finish(self._report.chronicles)
        return self._findings

    def _logs(self, states: dict[str, Cells]) -> list[Term]:
        """The terms that have leaves; rows of logs that cannot be are told."""
        names = set(states)
        for table in ("log_entry", "log_tile", "log_checkpoint"):
            for log in inventory.leading(self._conn, table):
                if log not in states:
                    self._findings.note(table, log, "log", "extra")
                if table == "log_entry":
                    names.add(log)
        terms = {name: _term_of(name) for name in names - {KEYS}}
        for name in (name for name, term in terms.items() if term is None):
            self._findings.note("log_state", name, "log", "extra")
        return sorted(term for term in terms.values() if term is not None)

    # The keys log, folded from its first leaf.

    def _keys(self, root: bytes | None, state: Cells | None) -> list[bytes]:
        tree = Tree(self._conn, self._findings, KEYS)
        leaves: list[bytes] = []
        start: list[KeyMap] = []
        announced: list[KeyMap] = []
        for page in tree.pages(lambda: self._policy(announced[0]) if announced else None):
            if not leaves and page[0][0] == 0:
                self._report.hold(Check.KEYS_LOG, KEYS, 0, partial(self._start, page[0][1], root, start))
                announced.extend(one.copy() for one in start)
            # By which keys checkpoints may be signed: the exchange's own keys are verified even so.
            with suppress(ReferralError):
                for index, leaf in page:
                    if announced and index == announced[0].size:
                        announced[0].extend(leaf, verify=False)
            leaves += [leaf for _, leaf in page]
            self._progress("leaves keys", tree.size, tree.size)
        tree.edge(state)
        tree.finish()
        self._tiles(tree)
        self._findings.root = b64u(start[0].root) if start else None
        keymap = start[0] if start else None
        for index, leaf in enumerate(leaves[1:], 1):
            if keymap is not None and not self._report.hold(Check.KEYS_LOG, KEYS, index, partial(keymap.extend, leaf)):
                keymap = None
        if keymap is None and not self._report.faults:
            self._findings.note("log_entry", tree.place(0), None, "missing")
        self._tell(None)
        self._keymap = keymap
        return leaves

    def _erasures(self, states: Mapping[str, Cells | None], keymap: KeyMap) -> Erasures:
        """What the `erase` acts name (R-99): they stand behind what they take, so they are gathered first."""
        erasures = Erasures(keymap, {log: 0 if row is None else row["size"] for log, row in states.items()})
        for row in inventory.every(self._conn, "act"):
            if row["act"] != Act.ERASE.value:
                continue
            try:
                term, index = logbook.term_index(row["pos"])
            except ValueError:
                continue  # Moved to where no leaf can be; the walk finds the row behind no leaf.
            try:
                leaf = parse_leaf(logbook.leaf(self._conn, term.log, index))
                erasures.take(term.log, leaf, RawRecord(index, row["jws"].encode("utf-8", "surrogateescape"), None))
            except ReferralError:
                continue  # The walk finds what is wrong with it in its place.
        for (log, index), error in erasures.faults:
            self._report.note(Check.RECORDS, log, index, error)
        return erasures

    def _start(self, genesis: bytes, root: bytes | None, into: list[KeyMap]) -> None:
        keymap = KeyMap.start(genesis, root=root)
        if self._issuer is not None and keymap.issuer != self._issuer:
            raise ReferralError(ErrorCode.WRONG_ROOT, reason="issuer")
        into.append(keymap)

    @staticmethod
    def _policy(keymap: KeyMap) -> PolicyOf:
        def policy(log: str) -> tuple[TrustPolicy, TrustPolicy]:
            demanding = genesis_policy(keymap.genesis).trust(*log_keys(keymap, log))
            return replace(demanding, quorum=0), demanding

        return policy

    def _tiles(self, tree: Tree) -> None:
        """Tiles that are stored and must not be; those that must be were compared as the log was read."""
        for level, n in inventory.tile_names(self._conn, tree.log):
            if not tree.is_tile(level, n):
                self._findings.note("log_tile", f"{tree.log}#{level}/{n}", None, "extra")

    # The audit log of one term, and everything behind it.

    def _term(
        self,
        term: Term,
        trail: Trail,
        books: Books,
        register: Register,
        state: Cells | None,
        first: int,
        previous: TreeHead | None,
    ) -> tuple[int, TreeHead | None]:
        if self._keymap is None:
            raise RuntimeError("the keys log has been folded")
        log, keymap = term.log, self._keymap
        tree = Tree(self._conn, self._findings, log)
        suspects: list[int] = []
        policy = self._policy(keymap)
        total = 0 if state is None else state["size"]
        for page in tree.pages(lambda: policy):
            last = logbook.position(term, page[-1][0])
            behind = self._behind(first, last)
            for index, leaf in page:
                found = behind.pop(logbook.position(term, index), None)
                if index == 0:
                    raw = None if found is None else found.raw
                    trail.begin_term(log, _origin(keymap, log), raw, previous)
                if not self._leaf(trail, books, register, log, index, leaf, found):
                    suspects.append(index)
            for pos, one in behind.items():
                self._findings.note(one.table, told_place(pos), None, "extra")
            books.close_range(first, last)
            first = last + 1
            self._progress(f"verified {log}", tree.size, max(total, tree.size))
        tree.edge(state)
        tree.finish()
        self._tiles(tree)
        if not tree.holds:
            for index in suspects:
                self._findings.note("log_entry", tree.place(index), "leaf", "differs")
        return first, tree_head(_origin(keymap, log), tree.size, tree.frontier.root())

    def _behind(self, first: int, last: int) -> dict[int, _Behind]:
        """The rows of acts and records at these positions, by position."""
        found: dict[int, _Behind] = {}
        for table, column in _COLUMN.items():
            for row in inventory.between(self._conn, table, first, last):
                self._findings.looked(table, 1)
                if row["pos"] in found:
                    self._findings.note(table, told_place(row["pos"]), None, "extra")
                    continue
                receipt = row["receipt"].encode("utf-8", "surrogateescape") if table == "act" else None
                index = row["pos"] & (1 << logbook.TERM_SHIFT) - 1
                raw = RawRecord(index, row[column].encode("utf-8", "surrogateescape"), receipt)
                found[row["pos"]] = _Behind(table, row, raw)
        return found

    def _extra(self, first: int, last: int, known: set[int]) -> None:
        for pos, one in self._behind(first, last).items():
            if pos not in known:
                self._findings.note(one.table, told_place(pos), None, "extra")

    def _leaf(
        self,
        trail: Trail,
        books: Books,
        register: Register,
        log: str,
        index: int,
        raw_leaf: bytes,
        found: _Behind | None,
    ) -> bool:
        """Verify one leaf and all behind it, and compare its row; False if something did not hold."""
        before = self._findings.count
        act = None if found is None or found.table != "act" else self._parsed(parse_act, found.raw.record)
        receipt = None if found is None or found.raw.receipt is None else self._parsed(parse_receipt, found.raw.receipt)
        ref = None if act is None or act.ref is None else act.ref
        record = None
        if found is not None and found.table == "record":
            record = self._parsed(parse_record, found.raw.record)
            ref = getattr(record, "ref", None)
        chronicle = None if ref is None else self._report.chronicles.get(ref)
        deliveries = {} if chronicle is None else dict(chronicle.deliveries)
        trail.leaf(log, index, raw_leaf, None if found is None else found.raw)
        self._tell(None if found is None else found.table, self._parsed(parse_leaf, raw_leaf))
        if found is not None:
            pos = found.row["pos"]
            if act is not None and receipt is not None:
                self._act(found.row, act, receipt, raw_leaf)
                if receipt.accepted:
                    self._accepted(books, register, act, deliveries, pos, receipt.payload.time)
            elif record is not None:
                self._record(found.row, record)
                books.recovered = books.recovered or isinstance(record, Reconciled)
                if isinstance(record, Retrieved):
                    books.retrieve(record, deliveries, pos)
        return self._findings.count == before

    def _accepted(
        self, books: Books, register: Register, act: RawAct, before: dict[str, Delivery], pos: int, at: int
    ) -> None:
        if act.ref is None:
            register.accept(act)
            books.rule(act, at)
        elif self._keymap is not None:
            role = self._parsed(lambda raw: role_of(raw, self._keymap), act)
            if role is not None:
                books.accept(act, event_of(act, role, at), before, pos)

    def _act(self, row: Cells, act: RawAct, receipt: Receipt, raw_leaf: bytes) -> None:
        """Every column of an act's row is what its own text, its receipt and its leaf say."""
        payload = receipt.payload
        leaf = self._parsed(parse_leaf, raw_leaf)
        expected = {
            "digest": act.digest,
            "iss": act.iss,
            "id": act.id,
            "party": act.party,
            "act": act.act.value,
            "ref": act.ref,
            "unit": act.unit,
            "prev": act.prev,
            "outcome": payload.outcome,
            "code": payload.code,
            "carrier": payload.carrier,
            "received_at": payload.time if leaf is None else leaf.logged_s,
        }
        self._findings.compare("act", told_place(row["pos"]), row, expected)

    def _record(self, row: Cells, record: Any) -> None:
        expected = {
            "kind": record.kind,
            "ref": getattr(record, "ref", None),
            "party": getattr(record, "party", None),
        }
        self._findings.compare("record", told_place(row["pos"]), row, expected)

    # What the verification of the logs says, as places of the database.

    def _tell(self, table: str | None, leaf: Leaf | None = None) -> None:
        """`table` is where the record of the leaf stands; None where it is gone, and the leaf says what it was."""
        gone = "act" if leaf is not None and leaf.kind in (LeafKind.ACT, LeafKind.ERASE) else "record"
        for fault in self._report.faults[self._told :]:
            place = self._place(fault, table, gone)
            self._findings.note(*place, fault.error.code.value, fault.error.facts.get("reason"))
        self._told = len(self._report.faults)

    @staticmethod
    def _place(fault: Fault, table: str | None, missing: str) -> tuple[str, str, str | None]:
        key = fault.log if fault.index is None else f"{fault.log}#{fault.index}"
        if fault.log == KEYS or fault.index is None:
            return "log_entry", key, "leaf"
        if table is None:
            return missing, key, None
        about, column = _ABOUT.get(fault.check, (table, _COLUMN[table]))
        return about, key, column

    @staticmethod
    def _parsed(read: Any, raw: Any) -> Any:
        """What a reader makes of it, or None: the walk says what is wrong with it."""
        try:
            return read(raw)
        except ReferralError:
            return None


def _term_of(log: str) -> Term | None:
    try:
        return Term.of_log(log)
    except ReferralError:
        return None


def _origin(keymap: KeyMap, log: str) -> str:
    return f"{keymap.issuer.partition('://')[2]}/v1/log/{log}"
