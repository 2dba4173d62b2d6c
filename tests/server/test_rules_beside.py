"""Rules that one process changes are in force in the others, from the leaf of the act on (R-105)."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import httpx2
import pytest

from referral_api.domain.rules import DEFAULT, Retention
from referral_api.domain.words import RetentionClass
from referral_api.formats.exchange_bodies import rules_wire
from tests.cli.test_recovery import config_of, referral
from tests.world import UNIT, World

pytestmark = pytest.mark.postgres


def test_a_process_that_runs_takes_in_what_another_changed(
    postgres_world: World, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    world, path = postgres_world, tmp_path / "reglas.json"
    days = timedelta(days=5)
    rules = replace(DEFAULT, retention={**DEFAULT.retention, RetentionClass.SHORT: Retention(days, days)})
    path.write_text(json.dumps(rules_wire(rules)))
    code, told = referral(capsys, "admin", "rules", "--file", path, "--config", config_of(world))
    assert (code, len(told["differs"])) == (0, 2)
    time.sleep(1.1)  # A change counts from the second after its leaf on.
    # Without waiting for whatever looks now and then: the writer knows it under the log's lock.
    ref = str(world.submit(retention_class="short").outgoing.ref)
    world.acknowledge("officer", ref)
    at = world.operator.referral(ref).standings[UNIT].purge_at or 0
    assert round((at - world.clock()) / 86400) == 5
    published = httpx2.get(f"{world.server.url}/.well-known/referral-configuration").json()
    assert published["rules"] == rules_wire(rules)
    assert world.auditor.audit().complete
