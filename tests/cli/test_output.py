"""Exit codes, failures on screen and in JSON, and texts from elsewhere that must not steer a terminal."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from referral_api.cli.output import EXIT_OF, Exit, Fault, Screen, Shown, harmless
from referral_api.domain.catalogue import Language, text_of
from referral_api.domain.errors import FINAL_REFUSALS, ErrorCode, ReferralError

VERIFICATION = {
    ErrorCode.SIGNATURE_INVALID, ErrorCode.DECRYPT_FAILED, ErrorCode.NOT_INCLUDED, ErrorCode.INCONSISTENT,
    ErrorCode.WRONG_ORIGIN, ErrorCode.WRONG_ROOT, ErrorCode.NOT_WITNESSED, ErrorCode.RECEIPT_MISMATCH,
    ErrorCode.TAMPERED,
}  # fmt: skip


def test_every_error_code_has_exactly_one_exit_code() -> None:
    assert EXIT_OF.keys() == set(ErrorCode)


def test_the_exit_codes_are_those_that_scripts_know() -> None:
    numbers = {one.name: int(one) for one in Exit}
    assert numbers == {
        "OK": 0, "UNEXPECTED": 1, "USAGE": 2, "UNREACHABLE": 3, "NOT_ENROLLED": 4, "VERIFICATION_FAILED": 5,
        "NOT_FOUND": 6, "CONFLICT": 7, "PARTLY": 8, "NOTHING_NEW": 9, "PROBLEMS": 10, "INTERRUPTED": 130,
    }  # fmt: skip


def test_what_fails_verification_is_five_and_what_the_exchange_finally_refuses_is_seven() -> None:
    assert {EXIT_OF[code] for code in VERIFICATION} == {Exit.VERIFICATION_FAILED}
    assert {EXIT_OF[code] for code in FINAL_REFUSALS} == {Exit.CONFLICT}


@pytest.mark.parametrize("lang", ["es", "en"])
@pytest.mark.parametrize("code", list(ErrorCode))
def test_a_failure_says_what_why_what_to_do_code_and_request_id(
    code: ErrorCode, lang: Language, capsys: pytest.CaptureFixture[str]
) -> None:
    error = ReferralError(code, request_id="req-1", limit=7)
    assert Screen(lang).fail(error) is EXIT_OF[code]
    out, err = capsys.readouterr()
    words = text_of(code, lang)
    assert out == ""
    for told in (words.title, words.detail, words.hint, code.value, "req-1", "limit=7"):
        assert told in err
    assert "Traceback" not in err


@pytest.mark.parametrize("code", list(ErrorCode))
def test_a_failure_in_json_has_the_same_exit_code_and_nothing_on_standard_error(
    code: ErrorCode, capsys: pytest.CaptureFixture[str]
) -> None:
    status = Screen(as_json=True).fail(ReferralError(code, request_id="req-1"))
    out, err = capsys.readouterr()
    assert err == ""
    told = json.loads(out)
    assert told["schema"] == "referral.cli/1"
    assert told["error"]["code"] == code.value
    assert told["error"]["facts"] == {"request_id": "req-1"}
    assert told["error"]["exit"] == int(status) == int(EXIT_OF[code])


def test_a_defect_shows_its_kind_and_its_traceback_only_when_asked(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="private") as raised:
        int("something private")
    defect = raised.value
    assert Screen().fail(defect) is Exit.UNEXPECTED
    quiet = capsys.readouterr().err
    assert "ValueError" in quiet
    assert "something private" not in quiet
    assert Screen(verbose=True).fail(defect) is Exit.UNEXPECTED
    assert "Traceback" in capsys.readouterr().err


def test_an_interruption_is_130_and_a_fault_of_the_call_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    assert Screen().fail(KeyboardInterrupt()) is Exit.INTERRUPTED
    assert Screen().fail(Fault("file-exists", path="/x")) is Exit.USAGE
    assert "/x" in capsys.readouterr().err


def test_a_result_in_json_is_one_line_with_schema_and_next(capsys: pytest.CaptureFixture[str]) -> None:
    shown = Shown({"ref": "r"}, ["for people"], ["referral show r"], Exit.PARTLY)
    assert Screen(as_json=True).show(shown) is Exit.PARTLY
    out, err = capsys.readouterr()
    assert json.loads(out) == {"schema": "referral.cli/1", "ref": "r", "next": ["referral show r"]}
    assert (out.count("\n"), err) == (1, "")


def test_results_go_to_standard_output_and_talk_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    shown = Shown({}, ["the result"], ["referral show r"])
    assert Screen().show(shown) is Exit.OK
    out, err = capsys.readouterr()
    assert out == "the result\n"
    assert "referral show r" in err
    assert Screen(quiet=True).show(shown) is Exit.OK
    out, err = capsys.readouterr()
    assert (out, err) == ("the result\n", "")


@given(st.text())
def test_nothing_that_is_shown_can_steer_a_terminal(text: str) -> None:
    shown = harmless(text)
    assert len(shown) == len(text)
    assert not any(ord(one) < 32 and one not in "\n\t" for one in shown)
    assert not set(shown) & {"\x7f", "\x9b", "\u202e", "\u2066", "\u200b"}


@pytest.mark.parametrize("text", ["\x1b[2J", "\x9b31m", "a\u202eb", "\r✔"])
def test_escape_sequences_and_turned_text_are_replaced_in_every_value(text: str) -> None:
    said = Screen().say("unit.phone", phone=text)
    assert text not in said
    assert "\N{REPLACEMENT CHARACTER}" in said


def test_a_time_is_shown_here_and_in_utc(monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    monkeypatch.setenv("TZ", "America/Lima")
    time.tzset()
    try:
        assert Screen().at(1_795_507_200) == "24/11/2026 03:00:00 (08:00:00 UTC)"
    finally:
        monkeypatch.undo()
        time.tzset()


def test_only_plain_facts_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    thing: Any = object()
    Screen(as_json=True).fail(ReferralError(ErrorCode.NOT_FOUND, thing=thing, list=["a", 1]))
    assert json.loads(capsys.readouterr().out)["error"]["facts"] == {"list": ["a", 1]}
