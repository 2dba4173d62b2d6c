"""A pack about a referral whose life goes on in the term after a loss: it has both logs, and a browser reads both."""

from __future__ import annotations

from pathlib import Path

import pytest

from referral_api.auditlog.container import read_archive
from referral_api.domain.words import Act, ReferralId
from referral_api.formats.strict_json import b64u
from tests.browser.conftest import Verifier
from tests.story.test_next_term import live, lose, run_new_origin
from tests.world import Founded, World


@pytest.fixture(scope="module")
def packed(founded: Founded, tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, str, str]:
    """The pack, its root, the first term's log. Made before the browser is opened, beside which no loop may run."""
    folder: Path = tmp_path_factory.mktemp("terms")
    with World(founded, folder / "world") as world:
        ref = str(world.submit().outgoing.ref)
        world.acknowledge("officer", ref)
        log, _, note = lose(world, lambda: live(world))
        assert run_new_origin(world, note).closed is None
        world.server.start()
        (loss,) = world.officer.losses()
        world.officer.accept_loss(loss.log)
        world.officer.act(ref, Act.ACCEPT, {})
        raw, report = world.officer.evidence_pack(ReferralId(ref))
        assert not report.faults
        return raw, b64u(world.server.runtime.exchange.keymap.root), log


def test_a_browser_finds_a_pack_of_two_terms_intact(packed: tuple[bytes, str, str], verifier: Verifier) -> None:
    raw, root, log = packed
    logs = {name.partition("/")[0] for name in read_archive(raw)}
    first = log.replace("/", "-")
    assert {first, f"{first}.2"} <= logs
    assert verifier.check(raw, root) == "ok", verifier.words
    assert verifier.outcomes()["inclusion"] == "ok"
