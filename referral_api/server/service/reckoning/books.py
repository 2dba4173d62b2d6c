"""What follows from acts and records, made again and compared: referrals, deliveries, inbox lines, what is sealed.

Inbox lines come from the functions of service/ledger.py, deliveries from the fold, so that there is no second rule that
could differ. Only lines that still wait are kept in memory; the others are compared a range of positions at a time.

Must never: take anything from a derived row but to compare it.

Implements: design §2.5, §9; R-55, R-66, R-68, R-92.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from referral_api.auditlog.erasures import Erasures
from referral_api.auditlog.evidence import Chronicle
from referral_api.auditlog.records import Retrieved
from referral_api.domain import clockwork, fold
from referral_api.domain.deliveries import Delivery
from referral_api.domain.errors import ReferralError
from referral_api.domain.fold import Event
from referral_api.domain.terms import Term
from referral_api.domain.words import Act
from referral_api.formats.act import RawAct
from referral_api.formats.bodies import sealed_of
from referral_api.formats.exchange_bodies import RulesBody
from referral_api.formats.strict_json import sha256_b64u
from referral_api.server.service.exchange import Ruling
from referral_api.server.service.forgetting import Holders, goes, holders
from referral_api.server.service.ledger import answers, delivery_line, lines_of, new_referral, retrieval_line, sent_line
from referral_api.server.service.posting import situation_of
from referral_api.server.service.reckoning.difference import Findings, told_place
from referral_api.server.storage import inventory, logbook, queries
from referral_api.server.storage.database import Connection
from referral_api.server.storage.feeds import FeedEntry, feed_row
from referral_api.server.storage.queries import Referral

Place = tuple[str, int]


class Books:
    """The derived tables about referrals, as the logs say that they are."""

    def __init__(self, conn: Connection, findings: Findings, erasures: Erasures) -> None:
        self._conn = conn
        self._findings = findings
        self._referrals: dict[str, Referral] = {}
        self._fresh: dict[Place, FeedEntry] = {}
        """Lines of the range that is being read."""
        self._open: dict[str, dict[Place, FeedEntry]] = {}
        """Lines that wait for an answer, by referral."""
        self._pending: set[Place] = set()
        """Where the stored lines say that they wait."""
        self._erased = erasures.first.keys()
        """Referrals of which records are erased: what became of them cannot be made again (R-99)."""
        self._taken = erasures.named
        self._erasing: dict[int, str] = {}
        """Digests of `erase` acts by position."""
        self._parties = sorted(inventory.leading(conn, "feed"))
        self._excluded: dict[str, frozenset[str]] = {}
        self._texts: dict[str, dict[int, Holders]] = {}
        """Where sealed texts are that no purge has taken, by referral, and whose they are."""
        self._untold: set[int] = set()
        """Where sealed texts are of referrals that are erased in part: their purges may be among what is gone."""
        self._purged: set[int] = set()
        self._empty: list[int] = []
        self.ruling = Ruling()
        self._lost: list[int] = []
        self.recovered = False
        """Whether the log has a record of recovery."""
        self._named: dict[int, tuple[str, int]] = {}
        """What the accepted acts of this range name as sealed beside them: digest, size."""

    def accept(self, act: RawAct, event: Event, before: Mapping[str, Delivery], pos: int) -> None:
        """Take an accepted act on a referral; `before` are its deliveries until then."""
        ref = str(act.ref)
        body: Any = act.body
        if (sealed := sealed_of(act.body)) is not None:
            self._named[pos] = (sealed.sha256, sealed.size)
            self._texts.setdefault(ref, {})[pos] = holders(act)
        if act.act is Act.ERASE:
            self._erasing[pos] = act.digest
        if ref in self._erased:
            self._untold.add(pos)
            return
        if act.act is Act.SUBMIT:
            self._referrals[ref] = new_referral(act, event.at, frozenset())
        elif act.act is Act.ROUTE:
            # It stands right after its submit, in the same transaction.
            self._excluded[ref] = self._excluded.get(ref, frozenset()) | frozenset(body.excluded)
        referral = self._referrals.get(ref)
        if referral is None or act.act is Act.ROUTE:
            return
        try:
            # `prev` has been judged by the walk; here only what the act does is asked for.
            changed = (
                fold.open_deliveries(event) if act.act is Act.SUBMIT else fold.judge(event, before, prev_known=True)
            )
        except (ReferralError, KeyError):
            return  # The walk has said so already.
        if act.act is Act.PURGED:
            texts = self._texts.get(ref, {})
            gone = goes(texts.items(), {**before, **changed}, str(act.unit))
            self._purged.update(gone)
            self._texts[ref] = {at: whose for at, whose in texts.items() if at not in gone}
        self._lines(act, event, referral, before, changed, pos)

    def rule(self, act: RawAct, at: int) -> None:
        """Take an accepted act about no referral: rules count for what is submitted after them."""
        if isinstance(act.body, RulesBody):
            self.ruling.change(at, act.body.rules(), act.jws.raw.decode("ascii"))

    def retrieve(self, record: Retrieved, before: Mapping[str, Delivery], pos: int) -> None:
        """Take a record that a bundle was handed out; the first one to a unit is told to the sender."""
        if record.ref in self._erased:
            return
        own = None if record.unit is None else before.get(record.unit)
        referral = self._referrals.get(record.ref)
        if record.sealed == "bundle" and own is not None and own.retrieved_at is None and referral is not None:
            self._add(retrieval_line(referral, record, pos))

    def close_range(self, first: int, last: int) -> None:
        """Compare the inbox lines and sealed texts at these positions with what was taken since the last range."""
        for party in self._parties:
            for row in inventory.between(self._conn, "feed", first, last, (party,)):
                self._line(row)
        for party, pos in self._fresh:
            self._findings.note("feed", f"{party} {told_place(pos)}", None, "missing")
        self._fresh.clear()
        for row in inventory.between(self._conn, "sealed", first, last):
            self._sealed(row)
        for row in inventory.between(self._conn, "sealed_lost", first, last):
            self._findings.looked("sealed_lost", 1)
            if row["pos"] in self._empty:
                self._lost.append(row["pos"])
            else:
                self._findings.note("sealed_lost", told_place(row["pos"]), None, "extra")
        for pos in self._named:
            self._findings.note("sealed", told_place(pos), None, "missing")
        self._named.clear()

    def finish(self, chronicles: Mapping[str, Chronicle]) -> None:
        """After the last range: which lines wait, what may be purged, referrals and deliveries."""
        waiting = {place for lines in self._open.values() for place in lines}
        for party, pos in sorted(waiting ^ self._pending):
            self._findings.note("feed", f"{party} {told_place(pos)}", "pending", "differs")
        for pos in self._empty:
            if pos not in self._purged and pos not in self._lost and pos not in self._untold:
                self._findings.note("sealed", told_place(pos), "body", "missing", "not-purged")
        for pos in sorted(self._purged.difference(self._empty)):
            if not self._is_erased(pos):
                self._findings.note("sealed", told_place(pos), "body", "extra", "purged")
        for pos in self._lost if not self.recovered else ():
            # Only recovery may say that it could not bring something back, and it says so on the log.
            self._findings.note("sealed_lost", told_place(pos), None, "extra", "not-recovered")
        for pos in sorted(self._purged.intersection(self._lost)):
            # Else whoever sends it again would have it kept for good.
            self._findings.note("sealed_lost", told_place(pos), None, "extra", "purged")
        referrals = {
            ref: queries.referral_row(replace(one, excluded=self._gone(ref))) for ref, one in self._referrals.items()
        }
        self._table("referral", {(ref,): row for ref, row in referrals.items()})
        deliveries: dict[tuple[str | int, ...], dict[str, object]] = {
            (ref, unit): queries.delivery_row(ref, delivery)
            for ref, chronicle in chronicles.items()
            if ref not in self._erased
            for unit, delivery in chronicle.deliveries.items()
        }
        self._table("delivery", deliveries)
        self._table("alarm", self._alarms(chronicles))
        erased: dict[tuple[str | int, ...], dict[str, object]] = {
            (_pos(taken),): {"act": self._erasing.get(_pos(by))} for taken, by in self._taken.items()
        }
        self._table("erasure", erased)

    def _alarms(self, chronicles: Mapping[str, Chronicle]) -> dict[tuple[str | int, ...], dict[str, object]]:
        """When each referral is to be looked at next, by the rules that it lives by."""
        found: dict[tuple[str | int, ...], dict[str, object]] = {}
        for ref, one in self._referrals.items():
            if ref in self._erased or ref not in chronicles:
                continue
            situation = situation_of(one, chronicles[ref].deliveries)
            at = clockwork.wakes_at(self.ruling.book.at(one.created_at), situation)
            if at is not None:
                found[ref,] = {"at": at}
        return found

    def _is_erased(self, pos: int) -> bool:
        term, index = logbook.term_index(pos)
        return (term.log, index) in self._taken

    def _gone(self, ref: str) -> frozenset[str]:
        return self._excluded.get(ref, frozenset())

    def _table(self, table: str, expected: dict[tuple[str | int, ...], dict[str, object]]) -> None:
        """Compare a whole table whose every row is known; what is left of `expected` is missing."""
        for row in inventory.every(self._conn, table):
            if row.get("ref") in self._erased:
                continue
            key = tuple(row[column] for column in inventory.key_of(table))
            told = " ".join(map(str, key))
            self._findings.looked(table, 1)
            wanted = expected.pop(key, None)
            if wanted is None:
                self._findings.note(table, told, None, "extra")
            else:
                self._findings.compare(table, told, row, wanted)
        for key in expected:
            self._findings.note(table, " ".join(map(str, key)), None, "missing")

    # Inbox lines.

    def _lines(
        self,
        act: RawAct,
        event: Event,
        referral: Referral,
        before: Mapping[str, Delivery],
        changed: Mapping[str, Delivery],
        pos: int,
    ) -> None:
        for unit, after in changed.items():
            line = None if unit in before else delivery_line(act, referral, after, pos, event.at)
            if line is not None:
                self._add(line)
        if not before:
            self._add(sent_line(act, referral, pos, event.at))
            return
        waiting = self._open.get(referral.ref, {})
        asked = {referral.sender, *changed}
        for place, line in list(waiting.items()):
            if line.party in asked and answers(event, line, changed):
                del waiting[place]
        for line in lines_of(event, act.id, referral, {u: d for u, d in before.items() if u in changed}, pos):
            self._add(line)

    def _add(self, line: FeedEntry) -> None:
        place = (line.party, line.pos)
        self._fresh[place] = line
        if line.pending:
            self._open.setdefault(str(line.ref), {})[place] = line

    def _line(self, row: dict[str, Any]) -> None:
        place = (row["party"], row["pos"])
        key = f"{row['party']} {told_place(row['pos'])}"
        self._findings.looked("feed", 1)
        if row["ref"] in self._erased:
            return
        line = self._fresh.pop(place, None)
        if row["pending"] not in (0, 1):
            self._findings.note("feed", key, "pending", "differs")
        elif row["pending"]:
            self._pending.add(place)
        if line is None:
            self._pending.discard(place)
            self._findings.note("feed", key, None, "extra")
            return
        expected = feed_row(line)
        del expected["pending"]
        self._findings.compare("feed", key, row, expected)

    # What travelled sealed.

    def _sealed(self, row: dict[str, Any]) -> None:
        pos, key = row["pos"], told_place(row["pos"])
        self._findings.looked("sealed", 1)
        named = self._named.pop(pos, None)
        if named is None:
            self._findings.note("sealed", key, None, "extra")
            return
        digest, size = named
        self._findings.compare("sealed", key, row, {"sha256": digest, "size": size})
        body = inventory.sealed_body(self._conn, pos)
        if body is None:
            self._empty.append(pos)
        elif sha256_b64u(body) != digest:
            self._findings.note("sealed", key, "body", "differs")


def _pos(place: tuple[str, int]) -> int:
    return logbook.position(Term.of_log(place[0]), place[1])
