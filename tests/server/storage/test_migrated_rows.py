"""An exchange that has lived is brought to the newest tables with all its rows, and everything holds of it then."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from referral_api.domain.words import Act, State
from referral_api.server.storage.database import Database
from tests.story.test_deadlines import HOUR, MINUTE, later, states
from tests.world import NATIONAL, UNIT, World
from tests.world_check import Rows

BEFORE_RELATIONS = (
    "DROP INDEX referral_relates_to",
    "ALTER TABLE referral DROP COLUMN relates_to",
    "DROP TABLE refusal",
    "DROP TABLE wake_up",
    "UPDATE alembic_version SET version_num = '0007'",
)


def found(world: World, table: str, *columns: str) -> dict[str, Any]:
    """These columns of a table's rows, by referral."""
    return {row["ref"]: [row[one] for one in columns] for row in Rows(world)[table]}


def migrate_from(world: World, undone: Iterable[str]) -> None:
    """Take an exchange's tables back to what they were, and bring them to the newest again; it is stopped for that."""
    world.close_clients()
    world.server.stop()
    with Database.open(world.settings.database) as opened, opened.write() as tx:
        for statement in (*undone, "DELETE FROM feed WHERE party = sender"):
            tx.run(statement)
    Database.migrate(world.settings.database).close()


def test_the_relations_of_years_are_found_when_their_column_is_added(world: World) -> None:
    """Migration 0008 reads them from the submissions."""
    first = str(world.submit().outgoing.ref)
    refs = [str(world.submit(relation={"type": "supplements", "ref": first}).outgoing.ref) for _ in range(3)]
    before = found(world, "referral", "relates_to")
    assert sorted(ref for ref, (relates,) in before.items() if relates == first) == sorted(refs)
    migrate_from(world, BEFORE_RELATIONS)
    assert found(world, "referral", "relates_to") == before
    world.server.start()
    world.check()
    assert sorted(map(str, world.operator.referral(first).later)) == sorted(refs)


BEFORE_CLOCKS = (
    *BEFORE_RELATIONS,
    "DROP TABLE alarm",
    "ALTER TABLE referral DROP COLUMN retention",
    "ALTER TABLE delivery DROP COLUMN rank",
    "ALTER TABLE delivery DROP COLUMN clockwork",
    "UPDATE alembic_version SET version_num = '0006'",
)


def test_what_was_sent_before_there_were_clocks_is_watched_by_them_from_then_on(world: World) -> None:
    """Migration 0007: an exchange of referrals that nobody has answered is brought to the newest tables."""
    waiting = str(world.submit(retention_class="short").outgoing.ref)
    taken = str(world.submit().outgoing.ref)
    world.acknowledge("officer", taken)
    migrate_from(world, BEFORE_CLOCKS)
    assert found(world, "referral", "retention") == {waiting: ["short"], taken: ["standard"]}
    world.server.start()
    world.check()
    world.clock.ahead_s += 16 * 60
    world.check()
    assert waiting in [line.ref for line in world.national.inbox(pending=True)]


MARKS = {"left", "given_back", "consent", "telephone", "reached", "unreached", "lifted"}


def before_marks(rows: Rows) -> Iterator[str]:
    """An exchange as it was before these moments were written on its deliveries: nobody is to look at them again."""
    for (ref, unit), column in clockworks(rows).items():
        clockwork = json.loads(column)
        if "told" in clockwork:
            clockwork["told"] = [one for one in clockwork["told"] if one[0] not in MARKS]
        without = json.dumps({name: value for name, value in clockwork.items() if value})
        if without != column:
            yield f"DELETE FROM alarm WHERE ref = '{ref}'"
        yield f"UPDATE delivery SET clockwork = '{without}' WHERE ref = '{ref}' AND unit = '{unit}'"
    yield "UPDATE alembic_version SET version_num = '0010'"


def clockworks(rows: Rows) -> dict[tuple[str, str], str]:
    return {(row["ref"], row["unit"]): row["clockwork"] for row in rows["delivery"]}


def test_what_was_left_or_called_about_before_is_rung_about_from_then_on(world: World) -> None:
    """Migration 0011 computes these moments from the acts on every delivery, and changes nothing else."""
    refs = [str(world.submit().outgoing.ref) for _ in range(4)]
    declined, unwanted, given_back, expired = refs
    for ref in (declined, unwanted):
        world.acknowledge("officer", ref)
        assert world.act("officer", ref, Act.DECLINE, {"reason": "no_capacity"}).code is None
    assert world.act("operator", unwanted, Act.CONSENT_WITHDRAWN).code is None
    called = {"made": True, "at": int(world.clock()), "to_unit": UNIT}
    assert world.act("operator", expired, Act.PHONE_ALERT, called, unit=UNIT).code is None
    assert world.act("operator", declined, Act.PHONE_ALERT, {"made": False}, unit=UNIT).code is None
    basis: dict[str, object] = {"basis": "prosecutor_order"}
    for hold in (basis | {"on": True, "review_at": int(world.clock()) + 24 * HOUR}, basis | {"on": False}):
        assert world.act("operator", declined, Act.HOLD, hold, unit=UNIT).code is None
    later(world, 16 * MINUTE)
    world.acknowledge("national", given_back)
    for act, body in ((Act.ACCEPT, None), (Act.DECLINE, {"reason": "no_capacity"})):
        assert world.act("national", given_back, act, body).code is None
    for _ in range(4):
        later(world, 24 * HOUR)
    assert states(world.operator.referral(expired)) == {UNIT: State.EXPIRED, NATIONAL: State.EXPIRED}
    before = clockworks(Rows(world))
    names = {name for column in before.values() for name, _ in json.loads(column).get("told", [])}
    assert names >= MARKS, "nothing to compute"
    migrate_from(world, before_marks(Rows(world)))
    assert clockworks(Rows(world)) == before
    world.server.start()
    world.check()


def test_what_was_sent_before_is_in_its_sender_s_inbox_too(world: World) -> None:
    """Migration 0012."""
    for _ in range(2):
        world.submit()
    before = [row for row in Rows(world)["feed"] if row["party"] == row["sender"]]
    assert [row["kind"] for row in before] == ["submit"] * 2
    migrate_from(world, ("UPDATE alembic_version SET version_num = '0011'",))
    assert [row for row in Rows(world)["feed"] if row["party"] == row["sender"]] == before
    world.server.start()
    world.check()
