"""What the measurements of an old exchange measure is an exchange: it opens, and signs all that was put into it."""

from __future__ import annotations

import shutil
from pathlib import Path

from referral_api.server import app
from referral_api.server.storage import logbook
from tests.server.growth import grow
from tests.world import Founded, settings_of


def test_an_exchange_that_was_filled_opens_and_signs_what_it_holds(founded: Founded, tmp_path: Path) -> None:
    shutil.copytree(founded.folder, tmp_path / "filled")
    settings = settings_of(tmp_path / "filled")
    grow(settings, 100)
    runtime = app.open_runtime(settings)
    try:
        runtime.writer.start()
        runtime.writer.check_room()
        with runtime.exchange.database.read() as conn:
            found = logbook.newest_audit(conn)
        assert found is not None
        signed = runtime.exchange.signed(found[0])
        assert signed is not None
        assert 100 < signed.size == found[1]
    finally:
        runtime.close()
