"""The page believes every keys log that Python believes, whoever signed its statements (R-32, R-89)."""

from __future__ import annotations

import pytest

from referral_api.auditlog.report import Verdict
from referral_api.domain.words import Act
from referral_api.formats.strict_json import b64u
from tests.auditlog.packs import told
from tests.auditlog.renewed import DESK, HEIR, NEWER, RENEWED, UNIT, Story
from tests.auditlog.test_pack import verified
from tests.browser.conftest import Verifier
from tests.client.world import OFFICER, REGISTRAR
from tests.formats import parties_world as pw

ROOT = b64u(told().root)


@pytest.mark.parametrize("upto", ["clerk", "renewal", "recovery"])
def test_a_pack_is_intact_whoever_renewed_proposed_or_recovered(verifier: Verifier, upto: str) -> None:
    story = Story()
    for step in ("clerk", "renewal", "recovery"):
        getattr(story, step)()
        if step == upto:
            break
    raw = story.pack()
    report = verified(raw)
    assert report.verdict is not Verdict.FAILED, report.faults
    assert verifier.check(raw, ROOT) == "ok", verifier.words


def told_until_renewal() -> Story:
    story = Story()
    story.clerk()
    story.renewal()
    return story


LIES = {
    "a clerk makes somebody else a keyholder": lambda story: RENEWED.sign(
        Act.STATEMENT, story.body([OFFICER, RENEWED, HEIR], DESK, NEWER)
    ),
    "a clerk makes itself a keyholder": lambda story: RENEWED.sign(
        Act.STATEMENT, story.body([OFFICER, RENEWED.listed(keyholder=True)], DESK, NEWER)
    ),
    "the registrar gives a person of the unit other keys": lambda story: REGISTRAR.sign(
        Act.STATEMENT, story.body([RENEWED.listed(seal=[HEIR.seals[0].kid]), HEIR], DESK, NEWER)
    ),
    "another party signs for the unit": lambda story: pw.act(
        Act.STATEMENT, "linea-piura.op1aaa", story.body([HEIR]), pw.person("linea-piura", "op1aaa").seals
    ),
    "somebody outside the party approves": lambda story: pw.act(
        Act.APPROVE_STATEMENT, "linea-piura.op1aaa", {"party": UNIT, "statement": pw.NONCE},
        pw.person("linea-piura", "op1aaa").seals,
    ),
    "a statement goes behind what was voided": lambda story: OFFICER.sign(
        Act.STATEMENT, story.body([OFFICER], NEWER) | {"prev_statement": pw.NONCE}
    ),
}  # fmt: skip


@pytest.mark.parametrize("lie", LIES)
def test_a_log_on_which_somebody_signs_what_is_not_theirs_is_altered(verifier: Verifier, lie: str) -> None:
    story = told_until_renewal()
    story.log.put(*HEIR.entries())
    raw = story.pack(LIES[lie](story))
    assert verified(raw).verdict is Verdict.FAILED
    assert verifier.check(raw, ROOT) == "failed"
