"""One flipped bit anywhere, in evidence, in what follows from it, in a mirror or a receipt: none is missed.

The columns are those of the tables (storage/inventory.py says what each is worth; a test keeps that list whole).
2,000 cases are drawn with a seed that is printed; REFERRAL_FLIPS_SEED gives another. Flips in different
rows are made together, so that one audit answers for many; each must be named by table, key and column. What is
evidence is also verified from outside, by what any auditor runs, over the bytes that the exchange would serve.
"""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from referral_api.auditlog.checkpoint import TrustPolicy, log_key, verify_checkpoint
from referral_api.auditlog.verification import Report, verify_full
from referral_api.client.audit.sources import MirrorSource
from referral_api.client.sdk import Client
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.terms import Term
from referral_api.domain.words import KeyUse
from referral_api.formats.strict_json import canonical, parse
from referral_api.server.service.erasure import Erasure
from referral_api.server.service.reckoning import Findings, reckon
from referral_api.server.service.reckoning.difference import told_place
from referral_api.server.storage import inventory, logbook
from referral_api.server.storage.database import Connection, Database
from tests.faults.aftermath import as_stored, notes_of, terms_of, verify_outside
from tests.whole_life import live_whole
from tests.world import ISSUER, Founded, World

CASES = 2000
SEED = int(os.environ.get("REFERRAL_FLIPS_SEED", "20261129"))
LEAVES = 262
"""More than a tile, so that every table has rows."""
ALONE = {("log_entry", "log"), ("log_entry", "idx")}
"""Columns whose flip takes a leaf out of its log: what follows is judged without it, so each is made alone."""
EMPTY = {"meta", "sealed_lost"}
"""Tables without rows here; that a row too many is found, tests/server/test_reckoning.py shows."""
UNSIGNED = {
    "tail.json": "records after the mirror's checkpoint, for recovery, which takes no leaf that no signed root covers",
}
"""Files of a mirror that no verification reads, and why."""
AT_ONCE = 25
"""So many faults that a report tells all of them."""
Key: TypeAlias = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Flip:
    """One bit of one cell."""

    table: str
    column: str
    key: Key
    before: Any
    bit: int
    after: Any = None

    @property
    def standing(self) -> tuple[str, str]:
        return self.table, self.column

    def flipped(self) -> Any:
        """The cell with its bit flipped: an integer of 64 bits, or bytes."""
        if isinstance(self.before, int):
            number = (self.before & (1 << 64) - 1) ^ (1 << self.bit)
            return number - (1 << 64) if number >> 63 else number
        raw = bytearray(self.before)
        raw[self.bit // 8] ^= 1 << self.bit % 8
        return bytes(raw)


@dataclass(frozen=True, slots=True)
class Lived:
    """An exchange at rest after a whole life, its rows without triggers, and the newest notes of its signer."""

    folder: Path
    world: World
    notes: dict[str, bytes]
    root: bytes
    terms: list[Term]

    @property
    def file(self) -> Path:
        return self.folder / "data" / "exchange.sqlite"


@pytest.fixture(scope="module")
def lived(founded: Founded, tmp_path_factory: pytest.TempPathFactory) -> Lived:
    folder = tmp_path_factory.mktemp("flips") / "world"
    with World(founded, folder) as world:
        live_whole(world, leaves=LEAVES)
        _erase(world, str(world.submit().outgoing.ref))
        world.auditor.mirror(folder / "mirror")
        root = world.server.runtime.exchange.keymap.root
    with closing(sqlite3.connect(folder / "data" / "exchange.sqlite", isolation_level=None)) as connection:
        for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'trigger'").fetchall():
            connection.execute(f'DROP TRIGGER "{name}"')
        connection.execute("PRAGMA journal_mode = DELETE")
    notes = notes_of(world.settings)
    return Lived(folder, world, notes, root, terms_of(notes))


def _erase(world: World, ref: str) -> None:
    """Take every act on a referral, as the exchange does when its time is over (R-99)."""
    exchange = world.server.runtime.exchange
    with exchange.database.read() as conn:
        acts = [row["pos"] for row in inventory.every(conn, "act") if row["ref"] == ref]
    term = logbook.term_index(acts[0])[0]
    indices = [logbook.term_index(pos)[1] for pos in acts]
    world.after(world.server.runtime.writer.run(Erasure(exchange, ref, term, indices, "retention_ended")))


def cells(connection: sqlite3.Connection, table: str, column: str) -> list[tuple[Key, Any]]:
    """Key and content of every cell of a column that holds something, texts as bytes."""
    key = inventory.key_of(table)
    rows = connection.execute(f"SELECT {', '.join(key)}, {column} FROM {table}").fetchall()
    return [
        (row[:-1], row[-1].encode() if isinstance(row[-1], str) else row[-1])
        for row in rows
        if row[-1] not in (None, "")
    ]


def draw(connection: sqlite3.Connection, standings: Sequence[tuple[str, str]], count: int) -> Iterator[Flip]:
    """Random flips: a column, a row, a bit; the same number of cases for each column on average."""
    chance = random.Random(SEED)  # noqa: S311  # to be drawn again from its seed
    print(f"flips drawn with seed {SEED}")
    filled = {standing: found for standing in standings if (found := cells(connection, *standing))}
    drawn = 0
    while drawn < count:
        table, column = chance.choice(sorted(filled))
        key, before = chance.choice(filled[table, column])
        flip = Flip(table, column, key, before, chance.randrange(64 if isinstance(before, int) else 8 * len(before)))
        if column in inventory.key_of(table) and _is_taken(connection, flip):
            continue  # No database holds two rows of one key.
        drawn += 1
        yield flip


def _is_taken(connection: sqlite3.Connection, flip: Flip) -> bool:
    value = flip.flipped()
    mark = "CAST(? AS TEXT)" if isinstance(value, bytes) else "?"
    names = inventory.key_of(flip.table)
    where = " AND ".join(f"{name} = {mark if name == flip.column else '?'}" for name in names)
    key = [value if name == flip.column else part for name, part in zip(names, flip.key, strict=True)]
    return connection.execute(f"SELECT 1 FROM {flip.table} WHERE {where}", key).fetchone() is not None


def company(flip: Flip) -> str:
    """Flips that are made at once share this: those that keep no audit from seeing the others."""
    if flip.standing in ALONE or (flip.table == "log_entry" and flip.key[0] == "keys"):
        return ""
    if flip.standing in (("act", "jws"), ("log_entry", "leaf")):
        return f"{flip.table}.{flip.column}"
    if flip.column in inventory.EVIDENCE.get(flip.table, ()):
        return "evidence"
    if flip.column not in inventory.key_of(flip.table):
        return "derived"
    return "keys" if flip.table in ("referral", "delivery", "feed", "sealed", "log_tile") else flip.table


def together(flips: Sequence[Flip]) -> list[list[Flip]]:
    """The flips in groups that are made at once, no two in one row."""
    groups: list[list[Flip]] = []
    open_groups: dict[str, list[list[Flip]]] = {}
    for flip in flips:
        mine = open_groups.setdefault(company(flip), [])
        row = (flip.table, flip.key)
        fits = (one for one in mine if len(one) < AT_ONCE and all((other.table, other.key) != row for other in one))
        group = next(fits, None) if company(flip) else None
        if group is None:
            group = []
            mine.append(group)
            groups.append(group)
        group.append(flip)
    return groups


def make(file: Path, group: Sequence[Flip]) -> list[Flip]:
    """Flip the bits in a database, past its constraints but for those that would refuse two rows of one key."""
    made: list[Flip] = []
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("PRAGMA foreign_keys = OFF")
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("BEGIN")
        for flip in group:
            where = " AND ".join(f"{column} = ?" for column in inventory.key_of(flip.table))
            value = flip.flipped()
            is_text = isinstance(value, bytes) and _declared(connection, flip) == "TEXT"
            mark = "CAST(? AS TEXT)" if is_text else "?"
            sql = f"UPDATE {flip.table} SET {flip.column} = {mark} WHERE {where}"
            assert connection.execute(sql, (value, *flip.key)).rowcount == 1
            after = value.decode("utf-8", "surrogateescape") if is_text else value
            made.append(replace(flip, after=after))
        connection.execute("COMMIT")
    return made


def _declared(connection: sqlite3.Connection, flip: Flip) -> str:
    found = connection.execute(f"SELECT type FROM pragma_table_info('{flip.table}') WHERE name = ?", (flip.column,))
    return str(found.fetchone()[0])


def keys_told(flip: Flip) -> set[str]:
    """How the row may be named: by its key as it was or as it is, and a row that left its log by the log's name."""
    names = inventory.key_of(flip.table)
    as_it_is = tuple(flip.after if name == flip.column else part for name, part in zip(names, flip.key, strict=True))
    told = {_told(flip.table, key) for key in (flip.key, as_it_is)}
    return told | ({as_it_is[0]} if flip.column == "log" else set())


def _told(table: str, key: Key) -> str:
    if table in ("act", "record", "sealed"):
        return told_place(key[0])
    if table == "feed":
        return f"{key[0]} {told_place(key[1])}"
    if table in ("log_entry", "log_checkpoint"):
        return f"{key[0]}#{key[1]}"
    return f"{key[0]}#{key[1]}/{key[2]}" if table == "log_tile" else " ".join(map(str, key))


def is_named(findings: Findings, flip: Flip) -> bool:
    """Whether the audit tells this very place."""
    keys = keys_told(flip)
    return any(
        one.table == flip.table and one.key in keys and one.column in (None, flip.column)
        for one in findings.differences
    )


def is_found_outside(report: Report, conn: Connection, lived: Lived, flip: Flip) -> bool:
    """Whether whoever verifies without the database's word finds this flip, at its place."""
    if flip.table == "sealed":
        return True  # Whoever opens it compares it with the digest in the signed act; the audit above does too.
    if flip.table == "log_checkpoint":
        return _note_is_refused(conn, lived, flip)
    if flip.table == "log_tile":
        wanted = {"what": "tile", "level": flip.key[1], "index": flip.key[2]}
        return any(fault.log == flip.key[0] and wanted.items() <= fault.error.facts.items() for fault in report.faults)
    log, index = flip.key if flip.table == "log_entry" else _place(flip.key[0])
    return any(fault.log == log and fault.index == index for fault in report.faults)


def _place(pos: int) -> tuple[str, int]:
    term, index = logbook.term_index(pos)
    return term.log, index


def _note_is_refused(conn: Connection, lived: Lived, flip: Flip) -> bool:
    log, size = flip.key
    keymap = lived.world.server.runtime.exchange.keymap
    origin = lived.world.server.runtime.exchange.origin(log)
    policy = TrustPolicy(log_key(origin, keymap.exchange_keys(KeyUse.LOG)[0].public))
    [row] = inventory.between(conn, "log_checkpoint", size, size, (log,))
    try:
        verify_checkpoint(as_stored(row["note"]), policy)
    except ReferralError:
        return True
    return False


def test_two_thousand_flipped_bits_are_all_found_and_named(lived: Lived, tmp_path: Path) -> None:
    standings = [
        (table, column)
        for part in (inventory.EVIDENCE, inventory.DERIVED)
        for table, columns in part.items()
        for column in columns
        if table not in EMPTY
    ]
    with closing(sqlite3.connect(lived.file)) as connection:
        flips = list(draw(connection, standings, CASES))
    assert {flip.standing for flip in flips} == set(standings), "a column was never drawn, or has no content"
    missed: list[str] = []
    file = tmp_path / "exchange.sqlite"
    for group in together(flips):
        shutil.copyfile(lived.file, file)
        made = make(file, group)
        with Database.look(f"sqlite:///{file}") as database, database.read(snapshot=True) as conn:
            findings = reckon(conn, issuer=ISSUER)
            missed += [f"audit db: {flip}" for flip in made if not is_named(findings, flip)]
            if any(flip.column in inventory.EVIDENCE.get(flip.table, ()) for flip in group):
                report = verify_outside(conn, lived.notes, lived.root)
                outside = [flip for flip in made if not is_found_outside(report, conn, lived, flip)]
                missed += [f"outside: {flip}" for flip in outside]
    assert not missed, "\n".join(missed[:20])


def test_what_is_not_flipped_is_found_whole(lived: Lived) -> None:
    """The negative control: the same two verifications over the same bytes, unflipped."""
    with Database.look(f"sqlite:///{lived.file}") as database, database.read(snapshot=True) as conn:
        assert reckon(conn, issuer=ISSUER).differences == []
        assert verify_outside(conn, lived.notes, lived.root).complete


def test_a_flipped_bit_in_any_file_of_a_mirror_is_found(lived: Lived, tmp_path: Path) -> None:
    mirror = tmp_path / "mirror"
    shutil.copytree(lived.folder / "mirror", mirror)
    files = sorted(path for path in mirror.rglob("*") if path.is_file() and path.name not in UNSIGNED)
    kinds = {path.relative_to(mirror).parts[-2] for path in files}
    chance = random.Random(SEED)  # noqa: S311  # to be drawn again from its seed

    def verify() -> Report:
        return verify_full(MirrorSource(mirror), lived.root, lived.terms, {}, issuer=ISSUER)

    assert verify().complete
    missed = []
    for at in range(120):
        path = files[at % len(files)]
        before = path.read_bytes()
        bit = chance.randrange(8 * len(before))
        raw = bytearray(before)
        raw[bit // 8] ^= 1 << bit % 8
        path.write_bytes(raw)
        if verify().complete:
            missed.append(f"{path.relative_to(mirror)} bit {bit}")
        path.write_bytes(before)
    assert not missed, missed
    assert {"0", "entries", "records", "keys"} <= kinds


def test_a_flipped_bit_in_a_receipt_file_is_found(lived: Lived) -> None:
    """`referral receipt verify`: act, receipt and proof in one file, against the replicated keys log alone."""
    client = Client(lived.folder / "profiles" / "operator")
    entry = next(one for one in client.outbox.entries() if one.receipt is not None and one.proof is not None)
    document = {"v": 1, "act": entry.outgoing.jws.decode()}
    document |= {"receipt": (entry.receipt or b"").decode(), "proof": (entry.proof or b"").decode()}
    whole = canonical(document)

    def verify(raw: bytes) -> None:
        told = parse(raw, max_bytes=1 << 20)
        if told.keys() != document.keys() or told["v"] != 1:
            raise ReferralError(ErrorCode.MALFORMED, reason="members")
        client.verify_receipt(*(str(told[name]).encode() for name in ("act", "receipt", "proof")))

    verify(whole)
    chance = random.Random(SEED)  # noqa: S311  # to be drawn again from its seed
    missed = []
    for _ in range(300):
        bit = chance.randrange(8 * len(whole))
        raw = bytearray(whole)
        raw[bit // 8] ^= 1 << bit % 8
        try:
            verify(bytes(raw))
        except ReferralError:
            continue
        missed.append(bit)
    assert not missed, missed
