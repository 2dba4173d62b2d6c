"""The exchange's doctor: one examination of its machine, its books and its standing among others, as findings.

It runs beside a running exchange and with it stopped, over connections that only read; each check stands alone.

Must never: end at a fault of what it examines, mend anything, or hold a lock that the exchange would wait for.

Implements: design §5, §9, §11; R-93, R-97, R-101.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from referral_api.domain.errors import ReferralError
from referral_api.domain.findings import Finding, Level, failed, found
from referral_api.formats.strict_json import b64u
from referral_api.server.service.doctor import books, house, street
from referral_api.server.service.doctor.house import Premises, Room
from referral_api.server.storage.database import Database
from referral_api.server.storage.keyfiles import Signers

__all__ = ["Premises", "Room", "examine"]


@dataclass(slots=True)
class Learnt:
    """What the books say that the checks after them need: the root that clients pin, None where they cannot be read."""

    root: str | None = None


def examine(premises: Premises, observed: float) -> Iterator[Finding]:
    """Every finding, in the order in which things depend on each other. `observed` is what the clock shows."""
    now = int(observed)
    yield from house.look_at_programs()
    yield from house.look_at_folders(premises)
    signers, findings = house.look_at_keys(premises)
    yield from findings
    if premises.data_dir.is_dir():
        yield house.look_at_spools(premises, now)
    database, findings = books.open_database(premises)
    yield from findings
    learnt = Learnt()
    if database is not None:
        with database:
            yield from _examine_books(database, premises, signers, learnt, observed)
    yield street.look_at_time()
    yield from street.look_at_process(premises)
    yield from street.look_at_issuer(premises, learnt.root, now)
    yield from street.look_at_witnesses(premises)
    yield found("backups", Level.UNKNOWN, f"referral admin backup --config {premises.config}")
    yield from house.look_at_backups(premises, now)


def _examine_books(
    database: Database, premises: Premises, signers: Signers | None, learnt: Learnt, observed: float
) -> Iterator[Finding]:
    now = int(observed)
    try:
        yield books.look_at_engine(database)
        yield from books.look_at_slack(database, premises)
        with database.read() as conn:
            names = books.logs_of(conn)
        states = books.read_states(premises, names)
        # Only now the database: what a state has signed was committed before.
        with database.read(snapshot=True) as conn:
            keymap = books.fold(conn)
            learnt.root = b64u(keymap.root)
            yield books.match_genesis(premises, keymap)
            if signers is not None:
                yield house.match_keys(signers, keymap, now)
            yield from books.look_at_signer(conn, premises, states, keymap)
            yield from books.look_at_quorum(conn, keymap, now)
            yield from books.look_at_directory(keymap, now)
            yield books.look_at_enrolments(conn, now)
        yield books.look_at_clock(database, premises, observed)
    except ReferralError as error:
        yield failed("database.content", error, f"referral audit db --config {premises.config}")
