"""The same on PostgreSQL: one flipped bit of any cell is named by the audit of the database (test_flips.py).

Fewer cases, made and undone in one database. What this engine cannot hold at all (a text that is no UTF-8, a number
outside its column) is not drawn: its own files are checked by its own checksums.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import replace

import psycopg
import pytest
from psycopg import sql

from referral_api.server.service.reckoning import Findings, reckon
from referral_api.server.storage import inventory
from referral_api.server.storage.database import Database
from tests.faults.test_flips import EMPTY, LEAVES, SEED, Flip, Key, _erase, is_named, together
from tests.postgres import create_database, drop_database
from tests.whole_life import live_whole
from tests.world import ISSUER, Founded, World

pytestmark = pytest.mark.postgres
CASES = 200
NAME = "flips"
Session = psycopg.Connection[tuple[object, ...]]


@pytest.fixture(scope="module")
def database_url(
    founded_on_postgres: Founded, postgres_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """The database of an exchange that has ended after a whole life."""
    url = create_database(postgres_url, NAME, founded_on_postgres.database)
    with World(founded_on_postgres, tmp_path_factory.mktemp(NAME) / "world", url) as world:
        live_whole(world, leaves=LEAVES)
        _erase(world, str(world.submit().outgoing.ref))
    yield url
    drop_database(postgres_url, NAME)


@pytest.fixture
def session(database_url: str) -> Iterator[Session]:
    """As the owner, past every trigger and foreign key."""
    with psycopg.connect(database_url, autocommit=True) as found:
        found.execute("SET session_replication_role = replica")
        yield found


def audited(url: str) -> Findings:
    """What `referral audit db` says."""
    with Database.look(url) as database, database.read(snapshot=True) as conn:
        return reckon(conn, issuer=ISSUER)


def cells(session: Session, table: str, column: str) -> list[tuple[Key, object]]:
    """Key and content of every cell of a column that holds something, in an order that stays."""
    key = inventory.key_of(table)
    query = sql.SQL("SELECT {} FROM {} ORDER BY {}").format(
        sql.SQL(", ").join(map(sql.Identifier, (*key, column))),
        sql.Identifier(table),
        sql.SQL(", ").join(map(sql.Identifier, key)),
    )
    rows = session.execute(query).fetchall()
    return [(row[:-1], row[-1]) for row in rows if row[-1] not in (None, "", b"")]


def after(flip: Flip) -> object:
    """The cell as this engine would hold it. Raises UnicodeDecodeError for a text that it cannot."""
    if isinstance(flip.before, bool):
        return not flip.before
    if isinstance(flip.before, str):
        return replace(flip, before=flip.before.encode()).flipped().decode()
    return flip.flipped()


def write(session: Session, flip: Flip, key: Key, value: object) -> None:
    """Put a value into a flip's cell, in the row that has this key now."""
    names = inventory.key_of(flip.table)
    where = sql.SQL(" AND ").join(sql.SQL("{} = %s").format(sql.Identifier(name)) for name in names)
    table, column = sql.Identifier(flip.table), sql.Identifier(flip.column)
    query = sql.SQL("UPDATE {} SET {} = %s WHERE {}").format(table, column, where)
    assert session.execute(query, (value, *key)).rowcount == 1


def key_after(flip: Flip) -> Key:
    """The key under which a row is found once it has been flipped."""
    names = inventory.key_of(flip.table)
    return tuple(flip.after if name == flip.column else part for name, part in zip(names, flip.key, strict=True))


def draw(session: Session, standings: Sequence[tuple[str, str]]) -> Iterator[Flip]:
    """Flips that the engine takes: each column in turn, a random row, a random bit."""
    chance = random.Random(SEED)  # noqa: S311  # to be drawn again from its seed
    print(f"flips drawn with seed {SEED}")
    filled = {standing: cells(session, *standing) for standing in standings}
    for at in range(CASES):
        standing = standings[at % len(standings)]
        while True:
            key, before = chance.choice(filled[standing])
            bits = 8 * len(before.encode() if isinstance(before, str) else before) if _has_bytes(before) else 64  # type: ignore[arg-type]
            flip = Flip(*standing, key, before, chance.randrange(bits))
            try:
                flip = replace(flip, after=after(flip))
                with session.transaction(force_rollback=True):
                    write(session, flip, flip.key, flip.after)
            except (UnicodeDecodeError, psycopg.DataError, psycopg.IntegrityError):
                continue  # No database of this engine holds that.
            yield flip
            break


def _has_bytes(cell: object) -> bool:
    return isinstance(cell, str | bytes)


def test_two_hundred_flipped_bits_are_all_named_on_postgresql(database_url: str, session: Session) -> None:
    standings = sorted(
        (table, column)
        for part in (inventory.EVIDENCE, inventory.DERIVED)
        for table, columns in part.items()
        for column in columns
        if table not in EMPTY
    )
    assert len(standings) <= CASES, "each column is flipped"
    flips = list(draw(session, standings))
    assert audited(database_url).complete, "nothing is flipped yet"
    missed: list[Flip] = []
    for group in together(flips):
        for flip in group:
            write(session, flip, flip.key, flip.after)
        findings = audited(database_url)
        missed += [flip for flip in group if not is_named(findings, flip)]
        for flip in group:
            write(session, flip, key_after(flip), flip.before)
    assert not missed, "\n".join(map(str, missed[:20]))
    assert audited(database_url).complete, "every flip was undone"
