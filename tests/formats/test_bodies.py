"""Act bodies: every act has one, nothing about a person fits into it (R-13), and a fault never repeats its input."""

from __future__ import annotations

from copy import deepcopy
from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import ACCOUNTS, DIRECTORY_ACTS, EXCHANGE_ACTS, Act, Urgency
from referral_api.formats import account_bodies, directory_bodies, exchange_bodies
from referral_api.formats.bodies import (
    BODIES,
    Submit,
    answers_of,
    code_of,
    parse_body,
    sealed_of,
)
from referral_api.formats.fields import Coded, Credential, Party, Ref, Sealed, Sha256
from tests.formats.samples import D1, D2, NOON, REF, SAMPLES, SEALED, full_submit, submit

_WRONG: tuple[Any, ...] = (1.0, 1, "1", True, [], {})
EVERY_SAMPLE = [(act, body) for act, bodies in SAMPLES.items() for body in bodies]
IDS = [f"{act.value}-{index}" for act, bodies in SAMPLES.items() for index in range(len(bodies))]


def fault(act: Act, body: Any) -> tuple[str, str]:
    with pytest.raises(ReferralError) as caught:
        parse_body(act, body)
    assert caught.value.code is ErrorCode.ACT_SCHEMA
    assert caught.value.facts["act"] == act.value
    assert caught.value.facts.keys() == {"act", "where", "reason"}
    return caught.value.facts["where"], caught.value.facts["reason"]


def test_every_act_has_a_body_in_the_right_place() -> None:
    assert set(BODIES) == set(Act)
    assert set(SAMPLES) == set(Act)
    assert set(exchange_bodies.BODIES) == EXCHANGE_ACTS
    assert set(directory_bodies.BODIES) == DIRECTORY_ACTS
    assert set(account_bodies.BODIES) == ACCOUNTS


@pytest.mark.parametrize(("act", "body"), EVERY_SAMPLE, ids=IDS)
def test_what_is_read_is_written_again_member_for_member(act: Act, body: dict[str, Any]) -> None:
    parsed = parse_body(act, body)
    assert parsed.wire() == body
    assert parse_body(act, parsed.wire()) == parsed


@pytest.mark.parametrize(("act", "body"), EVERY_SAMPLE, ids=IDS)
def test_an_unknown_member_is_refused_anywhere_and_never_repeated(act: Act, body: dict[str, Any]) -> None:
    for path in _objects(body, ()):
        changed = deepcopy(body)
        _at(changed, path)["María Quispe"] = "x"
        where, reason = fault(act, changed)
        assert "María" not in where
        assert reason in {"unknown-member", "bad-format", "wrong-type", "not-in-list"}


@pytest.mark.parametrize(("act", "body"), EVERY_SAMPLE, ids=IDS)
def test_no_member_may_be_null_but_the_first_statements_predecessor(act: Act, body: dict[str, Any]) -> None:
    for path in _objects(body, ()):
        for name in _at(body, path):
            changed = deepcopy(body)
            _at(changed, path)[name] = None
            if (act, name) != (Act.STATEMENT, "prev_statement"):
                fault(act, changed)
            else:
                assert body["seq"] == 1 or fault(act, changed) == ("", "chain-broken")


@pytest.mark.parametrize(("act", "body"), EVERY_SAMPLE, ids=IDS)
def test_numbers_are_no_text_and_no_truth_and_text_is_no_number(act: Act, body: dict[str, Any]) -> None:
    for path in _objects(body, ()):
        for name, value in _at(body, path).items():
            for wrong in _WRONG:
                if type(wrong) is type(value):
                    continue  # Another value of the right type is another rule's business.
                changed = deepcopy(body)
                _at(changed, path)[name] = wrong
                fault(act, changed)


def _objects(value: Any, path: tuple[Any, ...]) -> list[tuple[Any, ...]]:
    found = [path] if isinstance(value, dict) else []
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, child in children:
        found += _objects(child, (*path, step))
    return found


def _at(value: Any, path: tuple[Any, ...]) -> Any:
    for step in path:
        value = value[step]
    return value


def test_a_fault_is_told_as_a_place_and_a_slug_and_carries_no_input() -> None:
    body = full_submit()
    body["to"][1]["unit"] = "Comisaría de Sur"
    assert fault(Act.SUBMIT, body) == ("/to/1/unit", "bad-format")
    with pytest.raises(ReferralError) as caught:
        parse_body(Act.SUBMIT, body)
    assert caught.value.__context__ is None
    assert "Comisaría" not in repr(caught.value.facts) + str(caught.value)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"bundle": SEALED | {"size": 0}}, ("/bundle/size", "out-of-range")),
        ({"bundle": SEALED | {"size": 2**20 + 1}}, ("/bundle/size", "out-of-range")),
        ({"bundle": {"sha256": D1}}, ("/bundle/size", "missing")),
        ({"bundle": SEALED | {"sha256": "A" * 42 + "B"}}, ("/bundle/sha256", "bad-format")),
        ({"bundle": SEALED | {"sha256": D1 + "\n"}}, ("/bundle/sha256", "bad-format")),
        ({"to": []}, ("/to", "too-short")),
        ({"to": [{"unit": "u-1", "role": "information"}]}, ("", "one-action-unit")),
        ({"to": [{"unit": "u-1", "role": "action"}, {"unit": "u-2", "role": "action"}]}, ("", "one-action-unit")),
        ({"relation": {"type": "copy_of", "ref": REF}}, ("", "copy-only-informs")),
        (
            {"relation": {"type": "copy_of", "ref": REF}, "to": [{"unit": "u-1", "role": "escalation"}]},
            ("", "copy-only-informs"),
        ),
        (
            {"relation": {"type": "supplements", "ref": REF}, "to": [{"unit": "u-1", "role": "information"}]},
            ("", "one-action-unit"),
        ),
        ({"to": [{"unit": "u-1", "role": "action"}, {"unit": "u-1", "role": "escalation"}]}, ("", "repeated-entry")),
        ({"urgency": "emergency"}, ("", "phone-alert-required")),
        ({"urgency": "Emergency"}, ("/urgency", "not-in-list")),
        ({"phone_alert": {"made": True, "at": NOON}}, ("/phone_alert", "call-incomplete")),
        ({"created_at": 1_577_836_799}, ("/created_at", "out-of-range")),
        ({"created_at": NOON * 1000}, ("/created_at", "out-of-range")),
        ({"relation": {"type": "related_to", "ref": REF.upper()}}, ("/relation/ref", "bad-format")),
        ({"override": {"reason": "because", "second_person": "a-b.cdef"}}, ("/override/reason", "not-in-list")),
        ({"override": {"reason": "suicide_risk", "second_person": "Ana"}}, ("/override/second_person", "bad-format")),
        ({"agreement": "Señor Juan"}, ("/agreement", "bad-format")),
        ({"operator": "Juan"}, ("/operator", "bad-format")),
    ],
)
def test_a_submission_is_refused_for(change: dict[str, Any], expected: tuple[str, str]) -> None:
    assert fault(Act.SUBMIT, submit() | change) == expected


def test_a_submission_may_address_64_units_and_not_65() -> None:
    units = [{"unit": f"unit-{n}", "role": "action" if n == 0 else "information"} for n in range(65)]
    assert isinstance(parse_body(Act.SUBMIT, submit() | {"to": units[:64]}), Submit)
    assert fault(Act.SUBMIT, submit() | {"to": units}) == ("/to", "too-long")


@pytest.mark.parametrize(
    ("act", "body", "expected"),
    [
        (Act.DECLINE, {"reason": "other"}, ("", "note-required")),
        (Act.DECLINE, {"reason": "no_capacity", "duplicate_of": REF}, ("", "members-contradict")),
        (Act.ANSWER, {"answers": D1, "code": "provided"}, ("", "note-required")),
        (Act.REOPEN, {"reason": "other"}, ("", "note-required")),
        (Act.HOLD, {"on": True, "basis": "audit"}, ("", "review-date")),
        (Act.HOLD, {"on": False, "basis": "audit", "review_at": NOON}, ("", "review-date")),
        (Act.ACK, {"bundle": D1, "submit": D2, "decrypted": False}, ("/decrypted", "out-of-range")),
        (Act.ACK, {"bundle": D1, "submit": D2, "decrypted": True, "parts": [D1, D1]}, ("/parts", "repeated-entry")),
        (Act.ASK, {"topics": []}, ("/topics", "too-short")),
        (Act.ROUTE, {"excluded": ["u-1", "u-1"]}, ("/excluded", "repeated-entry")),
        (Act.TRANSFER, {"to": "u-1", "reason": "capacity"}, ("/sealed", "missing")),
        (Act.NOTE, {"text": "hola"}, ("/sealed", "missing")),
        (Act.STATUS, {"code": "arrested Juan"}, ("/code", "not-in-list")),
        (Act.NOTE, [], ("", "wrong-type")),
        (Act.NOTE, None, ("", "wrong-type")),
        (Act.ERASE, SAMPLES[Act.ERASE][0] | {"indices": [3, 3]}, ("", "not-ascending")),
        (Act.ERASE, SAMPLES[Act.ERASE][0] | {"indices": list(range(1025))}, ("/indices", "too-long")),
        (Act.ERASE, SAMPLES[Act.ERASE][0] | {"origin": "https://x/y"}, ("/origin", "bad-format")),
    ],
)
def test_a_body_is_refused_for(act: Act, body: Any, expected: tuple[str, str]) -> None:
    assert fault(act, body) == expected


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        (Party, ["ab", "pnp-trata-piura", "a" + "b" * 39], ["a", "1ab", "Pnp", "a" + "b" * 40, "a.b", "ab\n", "ñandu"]),
        (Credential, ["ab.abcd", "linea-peru.a1b2c3d4e5f6"], ["ab.abc", "ab", "ab.abcdefghijklm", "ab.ABCD", "a.abcd"]),
        (Ref, [REF], [REF.upper(), REF.replace("7000", "4000", 1), REF + "0", REF.replace("-8", "-c")]),
        (Sha256, [D1], [D1[:-1] + "B", D1[:-1], D1 + "=", D1[:-1] + "+"]),
    ],
)
def test_identifiers_have_one_spelling(kind: Any, good: list[str], bad: list[str]) -> None:
    read = TypeAdapter(kind).validate_python
    assert [read(text) for text in good] == good
    for text in bad:
        with pytest.raises(ValidationError):
            read(text)


def test_readers_of_any_body_find_ciphertext_code_and_question() -> None:
    sent = parse_body(Act.SUBMIT, submit())
    assert sealed_of(sent) == Sealed.parse(SEALED, code=ErrorCode.ACT_SCHEMA)
    assert sealed_of(parse_body(Act.NOTE, {"sealed": SEALED})) == sealed_of(sent)
    assert sealed_of(parse_body(Act.ACCEPT, {})) is None
    assert sealed_of(parse_body(Act.TAKEN, {"accept": D1})) is None
    told = parse_body(Act.WITHDRAWAL_ANSWER, {"code": "already_acted", "answers": D2})
    assert (code_of(told), answers_of(told)) == ("already_acted", D2)
    assert (code_of(sent), answers_of(sent)) == (None, None)


def test_times_are_aware_and_enumerations_are_the_glossarys() -> None:
    sent = parse_body(Act.SUBMIT, full_submit())
    assert isinstance(sent, Submit)
    assert sent.urgency is Urgency.EMERGENCY
    assert sent.created_at.timestamp() == NOON
    assert sent.created_at.utcoffset() is not None


def test_a_writer_is_refused_a_code_out_of_force_and_a_reader_is_not() -> None:
    body = {"reason": "safety_risk"}
    before_the_list = date(2025, 12, 31)
    assert parse_body(Act.WITHDRAW, body, on=date(2026, 11, 24)) == parse_body(Act.WITHDRAW, body)
    with pytest.raises(ReferralError) as caught:
        parse_body(Act.WITHDRAW, body, on=before_the_list)
    assert caught.value.facts == {"act": "withdraw", "where": "/reason", "reason": "not-in-force"}
    assert Coded(("withdraw_reason",)).effective_on("safety_risk", date(2026, 1, 1))


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=12) | st.sampled_from(["action", "other", D1]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(act=st.sampled_from(Act), data=st.data())
def test_no_body_whatever_raises_anything_but_act_schema(act: Act, data: st.DataObject) -> None:
    body = deepcopy(data.draw(st.sampled_from(SAMPLES[act])))
    names = sorted({*body, *BODIES[act].model_fields})
    for name in data.draw(st.lists(st.sampled_from(names or ["x"]), max_size=2)):
        body[name] = data.draw(_JSON)
    refused = None
    try:
        written = parse_body(act, body).wire()
    except ReferralError as error:
        refused, written = error.code, body
    assert refused in {None, ErrorCode.ACT_SCHEMA}
    assert written == body
