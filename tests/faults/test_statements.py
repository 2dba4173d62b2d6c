"""Kill -9 before every SQL statement of a submit, an acknowledgement and a read, around COMMIT and in the signer.

The places are counted in a first life that is spared; then each is the end of a life on files of its own. Whatever it
was, the exchange opens again, the same work done again is done once, and log and database verify in full, from outside
and by the operator's own audit. `make test` takes every place on SQLite and some on PostgreSQL, `make faults` all.
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from referral_api.client.delivery import ack_body
from referral_api.domain.words import Act
from referral_api.formats.act import parse_act
from referral_api.formats.receipt import parse_receipt
from referral_api.server import app
from tests.faults.aftermath import verify_both
from tests.faults.statement_process import Mortal, Work, run
from tests.faults.submissions import parcel
from tests.postgres import create_database, drop_database
from tests.signing import sign
from tests.world import UNIT, Founded, World, composition, settings_of

POSTGRES_STRIDE = 1 if "REFERRAL_KILLS" in os.environ else 11


@dataclass(frozen=True, slots=True)
class Prepared:
    """An exchange at rest on which each kind of work can be done once, and the work."""

    folder: Path
    database: str
    server: str
    root: bytes
    works: dict[str, Work]


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def prepared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prepared]:
    on_postgres = request.param == "postgresql"
    founded: Founded = request.getfixturevalue("founded_on_postgres" if on_postgres else "founded")
    server = request.getfixturevalue("postgres_url") if on_postgres else ""
    url = create_database(server, "statements", founded.database) if on_postgres else ""
    folder = tmp_path_factory.mktemp("statements") / "world"
    with World(founded, folder, url) as world:
        sent = parcel(world)
        officer = world.officer
        ref = str(world.operator.submit(composition()).outgoing.ref)
        opened = officer.open(ref)
        submitted = officer.referral(ref).submit().act.digest
        _, ack = sign(officer, Act.ACK, ack_body(opened), ref, unit=UNIT, prev=submitted)
        unread = str(world.operator.submit(composition()).outgoing.ref)
        works = {
            "submit": Work(world.operator.keys.credential, sent.ref, sent.document["act"], sent.document["bundle"]),
            "ack": Work(officer.keys.credential, ref, ack),
            "read": Work(officer.keys.credential, unread),
        }
        root = world.server.runtime.exchange.keymap.root
    yield Prepared(folder, "statements" if on_postgres else "", server, root, works)
    if on_postgres:
        drop_database(server, "statements")


@pytest.mark.faults
@pytest.mark.parametrize("what", ["submit", "ack", "read"])
def test_a_kill_at_every_statement_and_signer_step_leaves_a_log_that_verifies(
    prepared: Prepared, what: str, tmp_path: Path
) -> None:
    work = prepared.works[what]
    mortal = Mortal(tmp_path / "log")
    try:
        ended, places = _life(prepared, mortal, work, tmp_path / "spared", None)
        assert ended == 0, (tmp_path / "log").read_text()
        assert {"COMMIT", "committed", "before pwrite", "after fdatasync"} <= set(places)
        assert sum(place.startswith(("SELECT", "INSERT", "UPDATE", "BEGIN")) for place in places) >= 8
        stride = POSTGRES_STRIDE if prepared.database else 1
        for last in range(0, len(places), stride):
            ended, _ = _life(prepared, mortal, work, tmp_path / str(last), last)
            assert ended == -signal.SIGKILL, f"lived through {places[last]}"
    finally:
        mortal.close()


def _life(prepared: Prepared, mortal: Mortal, work: Work, folder: Path, last: int | None) -> tuple[int, list[str]]:
    """One life on a copy, and what must hold after it."""
    for part in ("data", "keys", "signer"):
        shutil.copytree(prepared.folder / part, folder / part)
    name = f"{prepared.database}_{folder.name}" if prepared.database else ""
    settings = settings_of(folder, create_database(prepared.server, name, prepared.database) if name else "")
    told = mortal.live(settings, work, last)
    runtime = app.open_runtime(settings)
    runtime.writer.start()
    try:
        first, second = run(runtime, work), run(runtime, work)
    finally:
        runtime.close()
    assert first == second
    verify_both(settings, prepared.root)
    if work.act is not None:
        assert parse_receipt(first.encode()).payload.act == parse_act(work.act.encode()).digest
    if name:
        drop_database(prepared.server, name)
    shutil.rmtree(folder)
    return told
