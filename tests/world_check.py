"""What must hold of an exchange at every moment (design §14), read from its raw rows and files and believed of nobody.

The rows are read with the bare drivers, the trees hashed by tests/auditlog/naive.py, which shares nothing with the code
under test; signatures and states are judged by the audit that an auditor runs (auditlog/verification.py), fed with
these same rows. A check that cannot fail is worth nothing: tests/story/test_check_notices.py breaks each of them.

Must never: ask the running exchange anything.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import psycopg
from psycopg.rows import dict_row

from referral_api.auditlog.checkpoint import TrustPolicy, VerifiedCheckpoint, verify_checkpoint
from referral_api.auditlog.evidence import Chronicle
from referral_api.auditlog.leaf import LeafKind, parse_leaf
from referral_api.auditlog.report import Head
from referral_api.auditlog.tiles import ENTRIES, TILE_WIDTH, TileName, encode_entries
from referral_api.auditlog.verification import Check, RawRecord, Report, verify_full
from referral_api.domain.clockwork import Situation, wakes_at
from referral_api.domain.deliveries import Delivery
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.lifecycle import waits_while
from referral_api.domain.rules import RuleBook
from referral_api.domain.terms import Term
from referral_api.domain.words import Act, DeliveryRole, KeyUse, RetentionClass, Urgency
from referral_api.formats.act import RawAct, parse_act
from referral_api.formats.bodies import sealed_of
from referral_api.formats.exchange_bodies import RulesBody
from referral_api.formats.keys import PublicKey, SigningKey
from referral_api.formats.statements import KeyMap
from referral_api.formats.strict_json import b64u
from referral_api.server.settings import Settings
from referral_api.server.storage.signer import LogSigners
from referral_api.server.storage.signer_state import read_host
from tests.auditlog.naive import mth
from tests.world import CANARY, ISSUER

Row = dict[str, Any]
YEAR_BITS, TERM_BITS = 40, 36
LOOKS = 4
LATEST_LOOK_S = 30
"""How long what is due may wait to be posted, on a machine that has other things to do."""


@lru_cache(maxsize=4096)
def _act(jws: str) -> RawAct:
    return parse_act(jws.encode())


class Watched(Protocol):
    """What is checked: a `World`, or an exchange without HTTP (tests/lifetime/house.py)."""

    heads: dict[str, tuple[int, bytes]]
    tape: list[bytes]
    scanned: int

    @property
    def settings(self) -> Settings:
        """Where its files and its database are."""

    @property
    def clock(self) -> Callable[[], float]:
        """Its time."""

    @property
    def log_lines(self) -> str:
        """What it wrote to standard error."""


class Rows:
    """Every table of an exchange as it is on disk, read in one go."""

    def __init__(self, world: Watched) -> None:
        self.tables = dict(_postgres(world.settings.database_url) if world.settings.database_url else _sqlite(world))
        self.logs: dict[str, list[bytes]] = {}
        for row in sorted(self.tables["log_entry"], key=lambda row: (row["log"], row["idx"])):
            leaves = self.logs.setdefault(row["log"], [])
            assert row["idx"] == len(leaves), f"a leaf of {row['log']} is missing or doubled"
            leaves.append(bytes(row["leaf"]))

    def __getitem__(self, table: str) -> list[Row]:
        return self.tables[table]


def _sqlite(world: Watched) -> Iterator[tuple[str, list[Row]]]:
    path = world.settings.data_dir / "exchange.sqlite"
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        connection.row_factory = sqlite3.Row
        connection.execute("BEGIN")
        for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall():
            yield name, [dict(row) for row in connection.execute(f'SELECT * FROM "{name}"')]  # a table's own name


def _postgres(url: str) -> Iterator[tuple[str, list[Row]]]:
    with psycopg.connect(url, row_factory=dict_row) as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        names = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
        for name in names:
            query = psycopg.sql.SQL("SELECT * FROM {}").format(psycopg.sql.Identifier(name["tablename"]))
            yield name["tablename"], connection.execute(query).fetchall()


@dataclass(frozen=True, slots=True)
class RowSource:
    """The rows as an auditor's source."""

    rows: Rows
    notes: dict[str, bytes]

    def checkpoint(self, log: str) -> bytes:
        """The newest note that the signer has signed."""
        return self.notes[log]

    def cosigned(self, log: str) -> bytes:
        """The newest stored note that a quorum has cosigned."""
        notes = [row for row in self.rows["log_checkpoint"] if row["log"] == log and row["witnessed_at"] is not None]
        if not notes:
            raise ReferralError(ErrorCode.NOT_FOUND)
        return str(max(notes, key=lambda row: int(row["size"]))["note"]).encode()

    def tile(self, log: str, name: TileName) -> bytes:
        """Entry bundles and tiles, made from the leaves; what is stored of them is checked by itself."""
        leaves = self.rows.logs[log][name.index * TILE_WIDTH :][: name.width]
        if name.level == ENTRIES:
            return encode_entries(leaves)
        span = TILE_WIDTH**name.level
        first = name.index * TILE_WIDTH
        spans = (self.rows.logs[log][at * span : (at + 1) * span] for at in range(first, first + name.width))
        return b"".join(map(mth, spans))

    def records(self, term: Term, start: int, count: int) -> Sequence[RawRecord]:
        """What stands behind leaves."""
        found = [
            RawRecord(row["pos"] - _position(term, 0), row["jws"].encode(), row["receipt"].encode())
            for row in self.rows["act"]
        ]
        found += [RawRecord(row["pos"] - _position(term, 0), row["body"].encode(), None) for row in self.rows["record"]]
        return [one for one in found if start <= one.index < start + count]


def check(world: Watched) -> Report:
    """Everything, or AssertionError. Signatures that an earlier check has verified it relies on, as auditors
    do: what carries them is under the head that was kept.
    """
    heads = [Head(f"{world.settings.issuer_host}/v1/log/{log}", *head) for log, head in world.heads.items()]
    relied = {head.origin: head for head in heads}
    rows, notes = _at_rest(world)
    check_one_leaf_for_each_record(rows)
    report = verify_full(RowSource(rows, notes), _root(rows), _terms(rows), {}, issuer=ISSUER, relied=relied)
    # Business never waits for a witness.
    unseen = [one for one in report.faults if one.check is Check.WITNESSES and one.missing]
    assert report.complete or (report.stands and report.lost) or unseen == report.faults, report.faults
    assert report.erased == len(rows["erasure"])
    known = {ref: one for ref, one in report.chronicles.items() if ref not in report.final_states}
    check_states(rows, known, report.final_states)
    check_sealed(rows, known)
    check_clocks(rows, known, report.final_states, world.clock())
    check_inboxes(rows, known, report.final_states)
    check_blind(world, rows)
    return report


class StillWritingError(AssertionError):
    """What is signed is not what is stored, which may be so while the exchange says something by itself."""


def _at_rest(world: Watched) -> tuple[Rows, dict[str, bytes]]:
    """All rows, and the newest notes over just these; looked at anew where something was written between the two."""
    for attempt in range(LOOKS):
        rows = Rows(world)
        try:
            return rows, check_logs(world, rows)
        except StillWritingError:
            if attempt == LOOKS - 1:
                raise
            time.sleep(0.1)
    raise AssertionError("it was not looked at")


class Announced:
    """The log's keys as its leaves name them, whatever became of the files."""

    def __init__(self, leaves: Sequence[bytes]) -> None:
        self.keymap = KeyMap.start(leaves[0])
        for leaf in leaves[1:]:
            self.keymap.extend(leaf, verify=False)  # verify_full does

    def signing(self) -> list[SigningKey]:
        raise AssertionError("a check signs nothing")

    def known(self) -> list[PublicKey]:
        return [record.public for record in self.keymap.exchange_keys(KeyUse.LOG)]


@lru_cache(maxsize=16)
def _announced(leaves: tuple[bytes, ...]) -> Announced:
    return Announced(leaves)


_verified = lru_cache(maxsize=4096)(verify_checkpoint)


def check_logs(world: Watched, rows: Rows) -> dict[str, bytes]:
    """Every checkpoint that was ever signed covers a beginning of the log; the newest covers all of it (R-92, R-93)."""
    signers = LogSigners(
        world.settings.signer_dir,
        f"{world.settings.issuer_host}/v1/log",
        _announced(tuple(rows.logs["keys"])),
        token_bytes=secrets.token_bytes,
        host=read_host(),
    )
    notes: dict[str, bytes] = {}
    try:
        for log, leaves in rows.logs.items():
            if _is_lost(rows, log):
                signed = [row for row in rows["log_checkpoint"] if row["log"] == log]
                notes[log] = max(signed, key=lambda row: int(row["size"]))["note"].encode()
                continue
            policy = signers.trust(log)
            newest = signers(log)._load().note
            assert newest is not None, f"{log} has leaves and no checkpoint"
            notes[log] = newest
            if (size := _verified(newest, policy).size) != len(leaves):
                raise StillWritingError(f"{log}: {len(leaves)} leaves, {size} signed for")
            checkpoint = _covers(newest, policy, leaves)
            state = next(row for row in rows["log_state"] if row["log"] == log)
            assert state["size"] == len(leaves)
            for saved in rows["log_checkpoint"]:
                if saved["log"] == log:
                    assert _covers(saved["note"].encode(), policy, leaves).size == saved["size"]
            before, root = world.heads.get(log, (0, b""))
            assert before <= len(leaves), f"{log} has shrunk"
            assert before == 0 or mth(leaves[:before]) == root, f"{log} has forked"
            world.heads[log] = (checkpoint.size, checkpoint.root)
    finally:
        signers.close()
    _check_tiles(rows)
    return notes


def _covers(note: bytes, policy: TrustPolicy, leaves: Sequence[bytes]) -> VerifiedCheckpoint:
    checkpoint = _verified(note, policy)
    assert checkpoint.size <= len(leaves), "a checkpoint covers what is not there"
    assert mth(leaves[: checkpoint.size]) == checkpoint.root, "a checkpoint signs another tree"
    return checkpoint


def _check_tiles(rows: Rows) -> None:
    for tile in rows["log_tile"]:
        span = TILE_WIDTH ** tile["lvl"]
        leaves, data = rows.logs[tile["log"]], bytes(tile["data"])
        for at in range(len(data) // 32):
            first = (tile["n"] * TILE_WIDTH + at) * span
            assert mth(leaves[first : first + span]) == data[at * 32 : (at + 1) * 32], "a tile holds another hash"


def check_one_leaf_for_each_record(rows: Rows) -> None:
    """Every act has exactly one leaf in the audit log and every leaf exactly one record (R-92)."""
    places: dict[int, tuple[str, bytes]] = {}
    for row in rows["act"]:
        places[row["pos"]] = ("act", row["jws"].encode())
    for row in rows["record"]:
        assert row["pos"] not in places, "two records at one leaf"
        places[row["pos"]] = ("record", row["body"].encode())
    expected = {_position(term, index) for term in _terms(rows) for index in range(len(rows.logs[term.log]))}
    erased = {row["pos"] for row in rows["erasure"]}
    assert not erased & places.keys(), "a record that was erased is there"
    assert places.keys() | erased == expected, "a leaf without its record, or a record without its leaf"
    seen: Counter[str] = Counter()
    for pos, (table, record) in places.items():
        term, index = _place(pos)
        leaf = parse_leaf(rows.logs[term.log][index])
        assert leaf.digest == _sha256(record), f"leaf {index} commits to something else than its record"
        assert (leaf.kind in (LeafKind.ACT, LeafKind.ERASE)) == (table == "act")
        seen[leaf.digest] += 1
    assert set(seen.values()) <= {1}, "an act has two leaves"
    for row in rows["act"]:
        act = _act(row["jws"])
        assert (act.digest, act.iss, act.id, act.act.value, act.ref, act.unit, act.prev, act.party) == tuple(
            row[name] for name in ("digest", "iss", "id", "act", "ref", "unit", "prev", "party")
        ), "a column of an act is not what was signed"


def check_states(rows: Rows, chronicles: dict[str, Chronicle], erased: Collection[str] = ()) -> None:
    """Acts and retrieval records, replayed in log order, give the stored deliveries (R-68)."""
    stored: dict[str, dict[str, Row]] = {}
    for row in (row for row in rows["delivery"] if row["ref"] not in erased):
        stored.setdefault(row["ref"], {})[row["unit"]] = row
    assert stored.keys() == {row["ref"] for row in rows["referral"] if row["ref"] not in erased}
    folded = {ref: one.deliveries for ref, one in chronicles.items() if one.deliveries}
    assert {ref: set(units) for ref, units in stored.items()} == {ref: set(units) for ref, units in folded.items()}
    for ref, units in folded.items():
        for unit, delivery in units.items():
            assert _columns(delivery) == {name: stored[ref][unit][name] for name in _columns(delivery)}


def _columns(delivery: Delivery) -> Row:
    return {
        "role": delivery.role.value,
        "state": delivery.state.value,
        "head": delivery.head,
        "submitted_at": delivery.submitted_at,
        "retrieved_at": delivery.retrieved_at,
        "acknowledged_at": delivery.acknowledged_at,
        "accepted_at": delivery.accepted_at,
        "notified_at": delivery.notified_at,
        "last_status_at": delivery.last_status_at,
        "transfer_to": delivery.transfer_to,
        "rank": delivery.rank,
        "clockwork": _clockwork(delivery),
        "investigation": json.dumps(list(delivery.investigation)),
        "questions": json.dumps([[one.act.value, one.digest, one.asker] for one in delivery.questions]),
    }


def _clockwork(delivery: Delivery) -> str:
    names = ("began_at", "rungs", "rung_at", "told", "taken", "holds", "ended_at", "content_at", "purged_at")
    return json.dumps({name: value for name in names if (value := getattr(delivery, name))})


def check_clocks(rows: Rows, chronicles: dict[str, Chronicle], erased: Collection[str], now: float) -> None:
    """No deadline has passed without a word, and each referral is looked at when the next one does (R-106)."""
    alarms = {row["ref"]: row["at"] for row in rows["alarm"] if row["ref"] not in erased}
    for row in rows["referral"]:
        if row["ref"] not in chronicles:
            continue
        kept = RetentionClass(row["retention"])
        situation = Situation(Urgency(row["urgency"]), kept, chronicles[row["ref"]].deliveries)
        at = wakes_at(_rules(rows).at(row["created_at"]), situation)
        assert alarms.pop(row["ref"], None) == at, "the alarm of a referral is set to another time"
        assert at is None or at > now - LATEST_LOOK_S, "a deadline has passed, and nobody was told"
    assert not alarms, "an alarm for what is not there"


def _rules(rows: Rows) -> RuleBook:
    book = RuleBook()
    for row in sorted(rows["act"], key=lambda row: int(row["pos"])):
        if row["act"] == Act.RULES.value:
            body = _act(row["jws"]).body
            assert isinstance(body, RulesBody)
            book = book.changed(row["received_at"] + 1, body.rules())
    return book


def check_sealed(rows: Rows, chronicles: dict[str, Chronicle]) -> None:
    """What is kept sealed is exactly what its act named, and every accepted act that names something has it, until it
    is purged (R-13, R-107).
    """
    kept = {row["pos"]: row for row in rows["sealed"]}
    lost = {row["pos"] for row in rows["sealed_lost"]}
    accepted: dict[str, list[Row]] = {}
    for row in sorted(rows["act"], key=lambda row: int(row["pos"])):
        if row["outcome"] == "accepted":
            accepted.setdefault(row["ref"], []).append(row)
    assert lost <= kept.keys(), "something is lost that never was"
    for row in rows["act"]:
        named = sealed_of(_act(row["jws"]).body)
        if named is None or row["outcome"] != "accepted":
            assert row["pos"] not in kept, "something is kept that no accepted act names"
            continue
        assert row["pos"] in kept, "what an accepted act names is gone"
        sealed = kept.pop(row["pos"])
        assert (sealed["sha256"], sealed["size"]) == (named.sha256, named.size)
        if row["ref"] not in chronicles and sealed["body"] is None:
            continue  # Of what is erased in part, the purge may be among what is gone.
        purged = _is_purged(row, chronicles, accepted[row["ref"]])
        assert not (purged and row["pos"] in lost), "what was purged may come again"
        if row["pos"] in lost or purged:
            # Recovery brought the act back, not what was sealed beside it; or it has gone on schedule.
            assert sealed["body"] is None
            continue
        assert sealed["body"] is not None
        assert (_sha256(bytes(sealed["body"])), len(sealed["body"])) == (named.sha256, named.size)
    assert not kept, "something is kept for no act"


def _is_purged(act: Row, chronicles: dict[str, Chronicle], accepted: list[Row]) -> bool:
    """Whether what travelled beside an act went with a later purge: with its own unit's, or with everybody's."""
    if act["ref"] not in chronicles:
        return False
    # What a transfer carried is also the new unit's.
    body: Any = _act(act["jws"]).body
    named = {act["unit"], body.to} if act["act"] == Act.TRANSFER.value else {act["unit"]}
    concerned = [one for unit, one in chronicles[act["ref"]].deliveries.items() if named & {None, unit}]
    units = {one.unit for one in concerned}
    purges = [row for row in accepted if row["act"] == Act.PURGED.value and row["unit"] in units]
    return any(
        act["pos"] < purge["pos"] and all(_needs_it_no_more(one, purge["pos"], accepted) for one in concerned)
        for purge in purges
    )


def _needs_it_no_more(delivery: Delivery, pos: int, accepted: list[Row]) -> bool:
    """Whether a delivery was purged by then, or was one that its unit had not been told of and that nobody held on to,
    whatever became of it later.
    """
    before = [row for row in accepted if row["pos"] <= pos and row["unit"] in (None, delivery.unit)]
    acts = {row["act"] for row in before}
    if Act.PURGED.value in acts:
        return True
    proposed = {row["digest"] for row in accepted if row["act"] == Act.TRANSFER.value and _to(row) == delivery.unit}
    approved = [row["pos"] for row in accepted if row["act"] == Act.APPROVE.value and _answers(row) in proposed]
    if approved and min(approved) > pos:
        return True  # It was not there yet, and nothing of this was sealed for it.
    brought = bool(proposed)
    told = brought or delivery.role is not DeliveryRole.ESCALATION or acts & {Act.RELEASED.value, Act.WITHDRAW.value}
    holds: dict[str, Any] = {row["party"]: _act(row["jws"]).body for row in before if row["act"] == Act.HOLD.value}
    return not told and not any(one.on for one in holds.values())


def _to(row: Row) -> object:
    body: Any = _act(row["jws"]).body
    return body.to


def _answers(row: Row) -> object:
    body: Any = _act(row["jws"]).body
    return body.answers


def _about(line: Row) -> object:
    return line["party"], line["kind"], line["ref"], line["unit"]


def check_inboxes(rows: Rows, chronicles: dict[str, Chronicle], erased: Collection[str] = ()) -> None:
    """An inbox line is pending exactly while the fold says that it waits for an answer (R-55); held ones have none."""
    acts = {row["digest"]: row for row in rows["act"]}
    newest: dict[object, int] = {}
    for line in rows["feed"]:
        newest[_about(line)] = max(newest.get(_about(line), -1), line["pos"])
    for line in (line for line in rows["feed"] if line["ref"] not in erased):
        answered_by = set((line["answered_by"] or "").split())
        assert line["act_digest"] in acts
        if not answered_by:
            assert not line["pending"], "a line that only informs is pending"
            continue
        deliveries = chronicles[line["ref"]].deliveries
        concerned = [one for unit, one in deliveries.items() if line["unit"] in (None, unit)]
        states = waits_while(Act(line["kind"]), frozenset(map(Act, answered_by)))
        if states is not None and (line["kind"] != Act.DECLINE.value or line["sender"] == line["unit"]):
            is_turn = line["kind"] == Act.RELEASED.value and Act.TAKEN.value in answered_by
            waits = any(one.state in states and not (is_turn and one.taken) for one in concerned)
            # Of two refusals with a reopening between them, the first has had its answer.
            waits = waits and (bool(line["pending"]) or line["pos"] == newest[_about(line)])
        else:
            waits = any(line["act_digest"] == question.digest for one in concerned for question in one.questions)
        assert bool(line["pending"]) == waits, f"the line about {line['kind']} at {line['party']} is wrong"
    lines = {(line["party"], line["ref"]) for line in rows["feed"]}
    for ref, chronicle in chronicles.items():
        for unit, delivery in chronicle.deliveries.items():
            told = delivery.submitted_at is not None
            assert told or (delivery.role is DeliveryRole.ESCALATION and delivery.retrieved_at is None)
            assert ((unit, ref) in lines) == told, "R-63: an inbox and a held delivery"


def check_blind(world: Watched, rows: Rows) -> None:
    """The canary of the sealed text is in no cell, file, log line or HTTP exchange (R-13; design §2, 1)."""
    for table, lines in rows.tables.items():
        cells = [_bytes(cell) for row in lines for cell in row.values()]
        assert not shows_canary(b"\n".join(cells)), f"plaintext in {table}"
    for folder in (world.settings.data_dir, world.settings.keys_dir, world.settings.signer_dir):
        for path in folder.rglob("*"):
            if path.is_file():
                assert not shows_canary(_read(path)), f"plaintext in {path.name}"
    assert not shows_canary(world.log_lines.encode()), "plaintext in the log"
    fresh, world.scanned = world.tape[world.scanned :], len(world.tape)
    for passage in fresh:
        assert not shows_canary(passage), "plaintext on the wire"


def _spellings(text: str) -> Iterator[bytes]:
    """The canary as somebody might have written it: bytes, escapes, UTF-16, hex, base64 at any of three offsets."""
    raw = text.encode()
    yield raw
    yield json.dumps(text)[1:-1].encode()
    yield text.encode("utf-16-le")
    yield raw.hex().encode()
    for shift in range(3):
        encoded = base64.b64encode(b"\0" * shift + raw)[4 if shift else 0 :].rstrip(b"=")[:-4]
        yield encoded
        yield encoded.replace(b"+", b"-").replace(b"/", b"_")


SPELLINGS = tuple(_spellings(CANARY))


def shows_canary(raw: bytes) -> bool:
    """Whether these bytes hold the canary in any spelling."""
    return any(spelling in raw for spelling in SPELLINGS)


def _bytes(cell: object) -> bytes:
    return bytes(cell) if isinstance(cell, bytes | memoryview) else str(cell).encode()


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:  # SQLite's journals come and go.
        return b""


def _root(rows: Rows) -> bytes:
    return hashlib.sha256(rows.logs["keys"][0]).digest()


def _terms(rows: Rows) -> list[Term]:
    return sorted(Term.of_log(log) for log in rows.logs if log != "keys")


def _position(term: Term, index: int) -> int:
    return (term.year << YEAR_BITS) + (term.number - 1 << TERM_BITS) + index


def _place(pos: int) -> tuple[Term, int]:
    return Term(pos >> YEAR_BITS, (pos >> TERM_BITS & 15) + 1), pos & (1 << TERM_BITS) - 1


def _is_lost(rows: Rows, log: str) -> bool:
    """Whether a log has lost leaves: its year's next term is there."""
    after = None if log == "keys" else Term.of_log(log).following
    return after is not None and after.log in rows.logs


def _sha256(raw: bytes) -> str:
    return b64u(hashlib.sha256(raw).digest())
