"""`verificador.html` in a real browser, from disk and offline: good packs and bad ones, in both languages (R-89).

The page is a second implementation of what auditlog/pack_verification.py does: whatever Python finds altered, the page
must not call intact, but for the steps that it says it does not take.
"""

from __future__ import annotations

import base64
import hashlib
import random
import re
from dataclasses import replace

import pytest

from referral_api.auditlog.container import read_archive, write_archive
from referral_api.auditlog.pack import MANIFEST, PAGES
from referral_api.domain.words import Act
from referral_api.formats.strict_json import b64u
from tests.auditlog.packs import OFFICER, spoiled, told, witness, witnessed
from tests.auditlog.test_pack import SPOILS, Contents, exchange_with
from tests.browser.conftest import PAGES as FOLDER
from tests.browser.conftest import Verifier

SOURCE = (FOLDER / "verificador.html").read_text()
ROOT = b64u(told().root)
ALL = {"archive", "manifest", "keysLog", "checkpoints", "inclusion", "signatures", "records", "receipts"}
WITNESSES = [witness(f"{name}.example") for name in ("one", "other", "third")]
UNSEEN = {"an_act_left_out_with_all_that_belongs_to_it"}
"""What only the fold of the states proves, a step that the page does not take; it sees that something is missing."""


@pytest.fixture(scope="module")
def good() -> bytes:
    return told().pack()


def test_a_good_pack_is_intact_and_the_page_says_what_it_did_not_check(verifier: Verifier, good: bytes) -> None:
    assert verifier.check(good, ROOT) == "ok"
    outcomes = verifier.outcomes()
    assert {step for step, outcome in outcomes.items() if outcome == "ok"} == ALL
    assert {step for step, outcome in outcomes.items() if outcome == "skipped"} == {"witnesses", "states"}
    words = verifier.words
    for said in ("✔ ÍNTEGRO", "Lo que no se ha comprobado", "ML-DSA-65", "no nombra testigos", told().ref, "accept"):
        assert said in words
    assert verifier.page.evaluate("document.activeElement.id") == "verdict"


def test_each_pack_gets_a_result_of_its_own(verifier: Verifier, good: bytes) -> None:
    assert [verifier.check(raw, ROOT) for raw in (good, good[:-1], good)] == ["ok", "failed", "ok"]


def test_a_file_that_is_chosen_again_is_read_again(verifier: Verifier, good: bytes) -> None:
    file = verifier.folder / "pack.zip"
    for raw, verdict in ((good, "ok"), (good[:-1], "failed")):
        file.write_bytes(raw)
        verifier.page.fill("#root", ROOT)
        with verifier.page.expect_file_chooser() as chosen:
            verifier.page.click("#file")
        chosen.value.set_files(str(file))
        verifier.page.wait_for_selector("#result:not([hidden])")
        assert verifier.page.get_attribute("#verdict", "class") == verdict


def test_the_same_in_english_and_the_button_changes_the_language_of_a_result(english: Verifier, good: bytes) -> None:
    assert english.check(good, ROOT) == "ok"
    assert "✔ INTACT" in english.words
    assert "What was not checked" in english.words
    english.page.click("#language")
    assert english.page.get_attribute("html", "lang") == "es"
    assert "✔ ÍNTEGRO" in english.words
    assert "INTACT" not in english.words


def test_spanish_comes_first_whatever_the_browser_speaks(verifier: Verifier) -> None:
    assert verifier.page.evaluate("navigator.language").startswith("en")
    assert verifier.page.get_attribute("html", "lang") == "es"
    assert "Verificador de evidencias" in verifier.words


def test_without_a_root_nothing_is_called_intact_until_somebody_has_compared_it(
    verifier: Verifier, good: bytes
) -> None:
    assert verifier.check(good) == "incomplete"
    assert "? INCOMPLETO" in verifier.words
    assert ROOT in verifier.words
    verifier.page.get_by_label("La he comparado: es la misma.").check()
    assert verifier.page.get_attribute("#verdict", "class") == "ok"
    verifier.page.get_by_label("La he comparado: es la misma.").uncheck()
    assert verifier.page.get_attribute("#verdict", "class") == "incomplete"


def test_under_another_root_a_pack_is_altered(verifier: Verifier, good: bytes) -> None:
    assert verifier.check(good, b64u(bytes(32))) == "failed"
    assert verifier.outcomes()["keysLog"] == "failed"
    assert "✖ ALTERADO" in verifier.words


@pytest.mark.parametrize("name", sorted(SPOILS.keys() - UNSEEN))
def test_what_python_finds_altered_the_page_finds_too(verifier: Verifier, good: bytes, name: str) -> None:
    spoil, _ = SPOILS[name]
    assert verifier.check(spoiled(good, spoil), ROOT) == "failed"
    assert verifier.page.locator(".fault.failed").count() >= 1


def test_an_act_that_is_left_out_is_missed_by_what_builds_on_it(verifier: Verifier, good: bytes) -> None:
    (name,) = UNSEEN
    assert verifier.check(spoiled(good, SPOILS[name][0]), ROOT) == "incomplete"
    assert "se apoya en un acto que no está" in verifier.words


def test_a_pack_that_calls_itself_no_auditors_does_not_hide_what_is_left_out(verifier: Verifier, good: bytes) -> None:
    (name,) = UNSEEN

    def leave_out(contents: Contents) -> dict[str, str]:
        SPOILS[name][0](contents)
        return {"relation": "sender"}

    verifier.check(spoiled(good, leave_out), ROOT)
    assert "Que no falte otro acto en medio" in verifier.words
    verifier.check(good, ROOT)
    assert "Que no falte otro acto en medio" not in verifier.words


def test_changed_bytes_are_found_in_every_file_under_a_manifest_that_fits(english: Verifier, good: bytes) -> None:
    chance = random.Random(91)  # noqa: S311 - places to look at
    for name in sorted(read_archive(good).keys() - {MANIFEST, *PAGES}):

        def flip(contents: Contents, name: str = name) -> None:
            changed = bytearray(contents[name])
            changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
            contents[name] = bytes(changed)

        assert english.check(spoiled(good, flip), ROOT) != "ok", name


def test_changed_bytes_of_the_archive_are_found(english: Verifier, good: bytes) -> None:
    chance = random.Random(92)  # noqa: S311 - as above
    places = [0, 6, 10, 14, len(good) - 1, good.index(b"PK\1\2") + 38, *chance.sample(range(len(good)), 12)]
    for at in places:
        changed = bytearray(good)
        changed[at] ^= 1
        assert english.check(bytes(changed), ROOT) == "failed", at


@pytest.mark.parametrize(
    "raw", [b"", b"PK", b"%PDF-1.7", write_archive({"a": b"b"})], ids=["empty", "pk", "pdf", "zip"]
)
def test_another_file_is_never_intact(verifier: Verifier, raw: bytes) -> None:
    assert verifier.check(raw, ROOT) in ("failed", "incomplete")
    assert "ÍNTEGRO" not in verifier.words


def test_a_missing_file_leaves_a_pack_incomplete(verifier: Verifier, good: bytes) -> None:
    contents = read_archive(good)
    del contents[next(name for name in contents if name.endswith(".receipt.json"))]
    assert verifier.check(write_archive(contents), ROOT) == "incomplete"
    assert verifier.outcomes()["manifest"] == "missing"
    assert "falta el recibo" in verifier.words


def test_an_act_that_somebody_else_signed_is_found(verifier: Verifier) -> None:
    assert verifier.check(exchange_with(Act.ACCEPT, replace(OFFICER, generation=2)), ROOT) == "failed"
    assert verifier.outcomes()["signatures"] == "failed"


def test_a_units_pack_says_that_it_shows_one_delivery(verifier: Verifier) -> None:
    assert verifier.check(told().pack("recipient", OFFICER.party), ROOT) == "ok"
    assert "el paquete es de una sola" in verifier.words


@pytest.mark.parametrize(
    ("cosigned", "verdict", "outcome"),
    [(0, "incomplete", "missing"), (1, "incomplete", "missing"), (2, "ok", "ok"), (3, "ok", "ok")],
)
def test_the_quorum_of_the_genesis_act_counts(verifier: Verifier, cosigned: int, verdict: str, outcome: str) -> None:
    story = told(*WITNESSES)
    assert verifier.check(witnessed(story.pack(), *WITNESSES[:cosigned]), b64u(story.root)) == verdict
    assert verifier.outcomes()["witnesses"] == outcome


def test_a_forged_cosignature_condemns_the_pack(verifier: Verifier) -> None:
    story = told(*WITNESSES)
    assert verifier.check(witnessed(story.pack(), *WITNESSES, forged=True), b64u(story.root)) == "failed"
    assert verifier.outcomes()["witnesses"] == "failed"


def test_names_from_a_pack_are_text_and_never_markup(verifier: Verifier, good: bytes) -> None:
    def script(contents: Contents) -> dict[str, str]:
        return {"issuer": "<img src=x onerror=alert(1)>"}

    verifier.check(spoiled(good, script), ROOT)
    assert "<img src=x" in verifier.words
    assert verifier.page.locator("#result img").count() == 0


def test_the_policy_allows_this_script_and_this_style_and_nothing_else() -> None:
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', SOURCE)
    assert policy is not None
    expected = ["default-src 'none'"]
    for tag, directive in (("script", "script-src"), ("style", "style-src")):
        (body,) = re.findall(f"<{tag}>(.*?)</{tag}>", SOURCE, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(body.encode()).digest()).decode()
        expected.append(f"{directive} 'sha256-{digest}'")
    assert policy[1].split("; ") == [*expected, "base-uri 'none'", "form-action 'none'"]
    assert not re.findall(r"innerHTML|outerHTML|insertAdjacent|document\.write|fetch\(|XMLHttp|eval\(|https?:", SOURCE)


def test_every_control_has_a_label_and_results_are_announced(verifier: Verifier, good: bytes) -> None:
    assert verifier.page.get_by_label("1. Elija el paquete (archivo .zip):").count() == 1
    assert verifier.page.get_by_label("2. Raíz del servidor").count() == 1
    assert verifier.page.get_attribute("#busy", "aria-live") == "polite"
    assert verifier.check(good, ROOT) == "ok"
    assert verifier.page.get_by_role("status").count() >= 1
    # No outcome is told by colour alone: every step begins with its mark and ends with its word.
    for line in verifier.page.locator("#steps > li").all():
        assert re.search(r"[✔✖?–].*: (comprobado|no concuerda|falta|no comprobado)", line.inner_text(), re.DOTALL)
