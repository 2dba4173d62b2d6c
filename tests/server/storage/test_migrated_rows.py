"""An exchange that has lived is brought to the newest tables with all its rows, and everything holds of it then."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from referral_api.server.storage.database import Database
from tests.world import World
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
        for statement in undone:
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
