"""Who was told of what, on both engines: once, by one process, and a wrong clock keeps nobody asleep."""

from __future__ import annotations

from referral_api.server.storage import feeds, wakeups
from referral_api.server.storage.database import Database
from referral_api.server.storage.wakeups import Untold

PARTY = "pnp-trata-piura"


def line(pos: int, at: int, *, urgency: str = "urgent", pending: bool = True, party: str = PARTY) -> feeds.FeedEntry:
    answered_by = frozenset({"ack"}) if pending else frozenset[str]()
    return feeds.FeedEntry(party, pos, "d", "i", "submit", "r", party, "linea-1818", urgency, at, answered_by, pending)


def untold(database: Database, *, polled: int = 0, told: int = 0) -> Untold | None:
    with database.read() as conn:
        return wakeups.find_untold(conn, PARTY, polled, told, "emergency")


def test_what_still_waits_is_untold_until_a_notice_or_if_it_is_no_emergency_a_poll(exchange_database: Database) -> None:
    assert untold(exchange_database) is None
    with exchange_database.write() as tx:
        feeds.insert_feed(tx, line(1, 100, urgency="emergency"))
        feeds.insert_feed(tx, line(2, 200))
        feeds.insert_feed(tx, line(3, 300, pending=False))
        feeds.insert_feed(tx, line(4, 400, party="another"))
    assert untold(exchange_database) == Untold(200, urgent=True)
    assert untold(exchange_database, told=100) == Untold(200, urgent=False)
    assert untold(exchange_database, told=200) is None
    with exchange_database.write() as tx:
        feeds.touch_poll(tx, [(PARTY, 150)])
    assert untold(exchange_database, told=100) == Untold(200, urgent=False)
    assert untold(exchange_database) == Untold(200, urgent=True), "whoever polls may be a workstation in an empty room"
    assert untold(exchange_database, polled=200) == Untold(100, urgent=True)
    assert untold(exchange_database, polled=200, told=100) is None
    with exchange_database.write() as tx:
        wakeups.note_told(tx, PARTY, 200)
        wakeups.note_told(tx, PARTY, 120)
    assert untold(exchange_database) is None


def test_of_those_who_sweep_together_one_takes_it(exchange_database: Database) -> None:
    taken = []
    for now in (1000, 1001, 1059, 1060, 1061, 2000):
        with exchange_database.write() as tx:
            taken.append(wakeups.take_sweep(tx, PARTY, 60, now))
    assert taken == [True, False, False, True, False, True]
    # What was written under a clock that was ahead is no time that has been.
    with exchange_database.write() as tx:
        assert wakeups.take_sweep(tx, PARTY, 60, 500)
    with exchange_database.read() as conn:
        assert wakeups.last_poll(conn, PARTY) == 0
