"""No statement reads through a table that grows with use: SQLite itself says how it would find each one's rows.

The statements are those that reach the engine while a whole life runs over a served exchange, observed by the driver's
own trace; that this life speaks every statement written in the storage folder is checked too.
"""

from __future__ import annotations

import ast
import re
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event
from sqlalchemy.pool import Pool

from referral_api.client import sdk
from referral_api.client.compartment import InsecureKdfForTests
from referral_api.client.enrolment import Joining
from referral_api.domain.terms import Term
from referral_api.domain.words import Act, CredentialKind
from referral_api.formats.enrolment import parse_invitation
from referral_api.server.service.batch import Done
from referral_api.server.service.clock_watch import confirm
from referral_api.server.service.erasure import Erasure
from referral_api.server.service.waking import _keep_told
from referral_api.server.storage import alarms, wakeups
from tests.faults.submissions import parcel, send_at_once
from tests.lying_witness import LyingWitness, policy_at
from tests.signing import sign
from tests.world import ENTRIES, OTHER_UNIT, PASSPHRASE, UNIT, World, entry, found
from tests.world_check import Rows

STORAGE = Path("referral_api/server/storage")
ELSEWHERE = {
    "replay.py": "claims of several processes, on PostgreSQL alone",
    "quotas.py": "counts of several processes, on PostgreSQL alone",
    "notices.py": "notices between processes, on PostgreSQL alone",
    "postgres.py": "PostgreSQL alone",
    "recovery.py": "what recovery alone writes and asks, by key (tests/story/test_recovery.py)",
    "lease.py": "of which adoption alone speaks the last (tests/story/test_recovery.py)",
    "backup.py": "what is asked of a copy beside the exchange, never by a call of it",
    "engine.py": "what the doctor asks of the engine itself, never of a table",
    "inventory.py": "the audit of the database alone, which goes through all of it, by the page",
    "leader.py": "PostgreSQL alone",
    "retention.py": "what the operator asks beside the exchange, by the page",
}
"""Files whose statements SQLite never meets in the life of an exchange."""
NEVER_MANY = {
    "alembic_version": "one row",
    "meta": "a row a fact about the exchange",
    "tally": "counts of the hour under way",
    "log_state": "a row a log: one a year, and the keys log",
    "poll": "a row a party",
    "log_signer": "a row a log",
    "wake_up": "a row a party",
}
"""Tables that may be read from end to end."""
BY: Mapping[str, set[str]] = {
    "act": {"rowid=?", "rowid>? AND rowid<?", "digest=?", "iss=? AND id=?", "ref=?", "ref=? AND pos>? AND pos<?"},
    "record": {"rowid=?", "rowid>? AND rowid<?", "ref=?", "ref=? AND pos>? AND pos<?"},
    "sealed": {"rowid=?"},
    "erasure": {"rowid=?", "rowid>? AND rowid<?"},
    "sealed_lost": {"rowid=?"},
    "referral": {"ref=?", "relates_to=?", "ref>?"},  # the last in a migration alone, by the page
    "refusal": {"rowid=?"},
    "delivery": {"ref=?", "ref=? AND unit=?"},
    "alarm": {"ref=?", "at<?"},
    "feed": {"party=? AND pos=?", "party=? AND pos>?", "ref=? AND party=?"},
    "log_entry": {"log=? AND idx=?", "log=? AND idx>? AND idx<?"},
    "log_tile": {"log=? AND lvl=? AND n=?"},
    "log_checkpoint": {
        "log=?",
        "log=? AND size=?",
        "log=? AND size<?",
    },  # from the newest down, and no further than the first
    "invitation": {"nonce=?"},
    "enrolment": {"id=?", "party=? AND state=?", "state=? AND created_at>?"},
}
"""How rows of a table that grows may be found: by what names one, one referral's few, a range with an end."""

_LITERAL = re.compile(r"x'[0-9a-fA-F]*'|'(?:[^']|'')*'|\bNULL\b|\b\d+\b")
_LIST, _ROWS = re.compile(r"\?(?:, ?\?)+"), re.compile(r"\(\?\)(?:, ?\(\?\))+")
_LOOK = re.compile(r"(?:SCAN|SEARCH) (?!\d* ?CONSTANT ROW)(\w+)(?: .*?\(([^()]*)\))?")
_DATA = re.compile("SELECT|INSERT|UPDATE|DELETE|WITH")
_ONCE = (
    "INSERT INTO alarm (ref, at) SELECT",
    "SELECT referral.ref, act.jws FROM referral JOIN act",
    "INSERT INTO feed (party, pos, act_digest, act_id, kind, ref, unit, sender, urgency, at, answered_by, pending) SEL",
)
"""What a migration does, once, and on purpose to all there is."""


def shape(sql: str) -> str:
    """A statement with every value, and every list of values, as one `?`."""
    return _ROWS.sub("(?)", _LIST.sub("?", _LITERAL.sub("?", sql)))


@contextmanager
def overhearing() -> Iterator[dict[str, str]]:
    """What reaches SQLite over connections opened meanwhile: the longest statement, with its values, of each shape.

    The longest, because a list of one value is looked up in other ways than a list of several.
    """
    heard: dict[str, str] = {}

    def hear(sql: str) -> None:
        if _DATA.match(sql) and not sql.startswith(_ONCE):
            short = shape(sql)
            heard[short] = max(heard.get(short, ""), sql, key=len)

    def listen(connection: Any, _record: object) -> None:
        if isinstance(connection, sqlite3.Connection):
            connection.set_trace_callback(hear)

    event.listen(Pool, "connect", listen)
    try:
        yield heard
    finally:
        event.remove(Pool, "connect", listen)


def live(world: World) -> None:
    """Whatever an exchange is asked to do: joining, the whole of a referral, reading, auditing, a new year."""
    _admit_a_unit(world)
    sent = parcel(world, excluded=(OTHER_UNIT,))
    for status in (201, 200):
        answer = sent.send(world)
        assert answer is not None
        assert answer.status == status, answer.body
    assert [line.ref for line in world.desk.next_page().entries] == [sent.ref]
    _submit_in_one_batch(world)
    opened = world.officer.open(sent.ref)
    acknowledged = world.officer.acknowledge(opened).outgoing
    world.officer.act(sent.ref, Act.ACCEPT, {})
    world.officer.act(sent.ref, Act.STATUS, {"code": "registered"})
    note = world.officer.act(sent.ref, Act.NOTE, {}, note="Asumido por la guardia.").outgoing.digest
    asked = world.officer.act(sent.ref, Act.ASK, {"topics": ["timing"]}, note="¿Desde cuándo?").outgoing.digest
    seen = world.operator.referral(sent.ref)
    world.operator.open_note(seen, next(shown for shown in seen.acts if shown.act.digest == note))
    assert [line.kind for line in world.operator.inbox(pending=True)] == ["ask"]
    world.operator.act(sent.ref, Act.ANSWER, {"answers": asked, "code": "provided"}, unit=UNIT, note="Ayer.")
    head = world.officer.referral(sent.ref).chronicle.deliveries[UNIT].head
    late, text = sign(world.officer, Act.ACCEPT, {}, sent.ref, unit=UNIT, prev=head)
    for _ in range(2):
        answer = world.caller("officer").call("PUT", f"/v1/referrals/{sent.ref}/acts/{late}", {"act": text})
        assert (answer.status, answer.json["state"]) == (409, "accepted")
    assert world.caller("officer").call("GET", f"/v1/receipts/{acknowledged.digest}").status == 200
    assert world.caller("operator").call("GET", "/v1/parties").status == 200
    requested = world.operator.act(sent.ref, Act.PURGE_REQUEST, {"reason": "entered_in_error"}, unit=UNIT)
    world.officer.act(sent.ref, Act.APPROVE, {"answers": requested.outgoing.digest})
    # Beyond 256 leaves there are tiles, and an auditor reads all of it.
    for _ in range(256):
        assert world.caller("operator").call("GET", f"/v1/referrals/{sent.ref}").status == 200
    assert world.auditor.audit().complete
    now = int(world.clock())
    for sought in (f"ref={sent.ref}", f"party={UNIT}&since={now - 3600}", f"kind=viewed&until={now}"):
        year = datetime.fromtimestamp(now, UTC).year
        assert world.caller("auditor").call("GET", f"/v1/records/{year}?{sought}").status == 200
    submitted = next(line for line in world.operator.outbox.entries() if line.receipt is not None)
    assert world.operator.cosign_receipt(submitted).included.checkpoint.witnesses() == {"w.example"}
    lost = world.second_officer.keys.signers()[0].kid
    world.officer.revoke(lost, "lost", int(world.clock()))
    # A new year has a new log, which a batch begins.
    world.clock.ahead_s = datetime(datetime.now(UTC).year + 1, 1, 1, 1, tzinfo=UTC).timestamp() - world.clock()
    confirm(world.settings.data_dir, world.clock())
    world.restart()
    assert world.caller("operator").call("GET", f"/v1/referrals/{sent.ref}").status == 200
    year, exchange = datetime.now(UTC).year, world.server.runtime.exchange
    positions = [row["pos"] for row in Rows(world)["act"] if row["ref"] == sent.ref]
    indices = [pos - (year << 40) for pos in positions if pos < (year + 1) << 40]
    world.server.runtime.writer.run(Erasure(exchange, sent.ref, Term(year), indices, "retention_ended"))
    assert world.caller("auditor").call("GET", f"/v1/statistics?year={year}").status == 200
    _wake(world)
    with world.server.runtime.exchange.database.read() as conn:
        alarms.newest_offline(conn, UNIT)
    world.check()


def _wake(world: World) -> None:
    """What a process asks and keeps when it looks whom nobody has woken."""
    runtime = world.server.runtime
    with runtime.exchange.database.read() as conn:
        wakeups.find_untold(conn, UNIT, 0, 0, "emergency")
    runtime.writer.run(lambda batch: Done(wakeups.take_sweep(batch.tx, UNIT, 60, batch.now)))
    runtime.writer.run(partial(_keep_told, UNIT, 1))


def _submit_in_one_batch(world: World) -> None:
    """Several plain submissions, which wait while the writer is held up and are then taken together."""
    go, writer = threading.Event(), world.server.runtime.writer
    writer.submit(lambda _: Done(go.wait(20)), lambda _: None)
    parcels = [parcel(world) for _ in range(3)]
    with ThreadPoolExecutor(1) as pool:
        answers = pool.submit(send_at_once, world, parcels)
        while writer._queue.qsize() < len(parcels) and not answers.done():
            time.sleep(0.002)
        go.set()
        assert [answer and answer.status for answer in answers.result()] == [201] * len(parcels)


def _admit_a_unit(world: World) -> None:
    """A new unit by the registrar's approval, and a further person of another by its keyholder's."""
    new = entry("pnp-trata-cusco", "police_unit", area=["08"], duty_phone="+51842345678")
    for approver, described, is_new in (("registrar", new, True), ("officer", ENTRIES[UNIT], False)):
        invitation = parse_invitation(world.client(approver).invite(described, [CredentialKind.PERSON]))
        what = Joining(
            invitation, PASSPHRASE, entry=described if is_new else None, kdf=InsecureKdfForTests(),
            server=world.server.url, station="st5",
        )  # fmt: skip
        joined = sdk.join(world.folder / "profiles" / f"new-{approver}", what, clock=world.clock)
        world.client(approver).approve(world.client(approver).applicants()[0], joined.code)


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, str], Path]:
    """The statements of a whole life, and the database that it left."""
    with LyingWitness("w.example") as witness, overhearing() as heard:
        founded = found(tmp_path_factory.mktemp("founded"), policy=policy_at([witness], 1))
        with World(founded, tmp_path_factory.mktemp("plans") / "world") as world:
            live(world)
    return heard, world.settings.data_dir / "exchange.sqlite"


def plan(database: Path, sql: str) -> list[str]:
    """How SQLite would execute a statement."""
    with closing(sqlite3.connect(database)) as connection:
        return [str(row[3]) for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}")]


def faults(steps: list[str]) -> list[str]:
    """The steps of a plan that cost more the longer the exchange has been in use."""
    looks = [(step, *match.groups()) for step in steps if (match := _LOOK.match(step)) and match[1] not in NEVER_MANY]
    wrong = [step for step, table, by in looks if by not in BY.get(table, ()) or "AUTOMATIC" in step]
    # What is sorted is not read in the order of its index, so that a LIMIT spares nothing.
    return wrong + [step for step in steps if looks and step.startswith("USE TEMP B-TREE")]


def test_no_statement_reads_through_a_table_that_grows(lived: tuple[dict[str, str], Path]) -> None:
    heard, database = lived
    wrong = {short: found for short, sql in heard.items() if (found := faults(plan(database, sql)))}
    assert not wrong, "\n".join(f"{short}\n    {found}" for short, found in wrong.items())


def written() -> Iterator[tuple[str, re.Pattern[str]]]:
    """Every statement that stands in the storage folder, as a pattern of its shape: what is filled in is anything."""
    for path in sorted(STORAGE.glob("*.py")):
        if path.name in ELSEWHERE:
            continue
        tree = ast.parse(path.read_text())
        joined = [node for node in ast.walk(tree) if isinstance(node, ast.JoinedStr)]
        parts = {id(part) for node in joined for part in node.values}
        plain = [node for node in ast.walk(tree) if isinstance(node, ast.Constant) and id(node) not in parts]
        for node in (*joined, *plain):
            pieces = node.values if isinstance(node, ast.JoinedStr) else [node]
            sql = "".join(str(piece.value) if isinstance(piece, ast.Constant) else "\0" for piece in pieces)
            if re.match(r"(SELECT|INSERT INTO|UPDATE|DELETE FROM) ", sql):
                yield f"{path}:{node.lineno}", re.compile(re.escape(shape(sql)).replace("\0", ".*"), re.DOTALL)


def test_that_life_speaks_every_statement_of_the_storage_folder(lived: tuple[dict[str, str], Path]) -> None:
    heard, _ = lived
    statements = dict(written())
    assert len(statements) > 40
    silent = [place for place, pattern in statements.items() if not any(map(pattern.fullmatch, heard))]
    assert not silent, silent


SLOW = {
    "pairs in a list of values": "SELECT jws FROM act WHERE (iss, id) IN (VALUES ('a', 'b'), ('c', 'd'))",
    "a column without an index": "SELECT jws FROM act WHERE party = 'a'",
    "a table from end to end": "SELECT count(*) FROM record",
    "the whole inbox of a party": "SELECT pos FROM feed WHERE party = 'a' AND ref = 'b' ORDER BY pos",
    "a sort": "SELECT jws FROM act WHERE ref = 'a' ORDER BY received_at",
    "a change of every row": "UPDATE feed SET pending = 0 WHERE unit = 'a'",
    "a join without an index": "SELECT * FROM referral JOIN record ON record.party = referral.sender",
}


@pytest.mark.parametrize("sql", SLOW.values(), ids=SLOW.keys())
def test_a_statement_that_slows_down_with_use_is_noticed(lived: tuple[dict[str, str], Path], sql: str) -> None:
    assert faults(plan(lived[1], sql))
