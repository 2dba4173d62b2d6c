"""The error catalogue: every code in both languages, as constant prose of a readable length (R-50)."""

from __future__ import annotations

import re

import pytest

from referral_api.domain.catalogue import TEXTS, Language, Text, text_of
from referral_api.domain.catalogue_en import ENGLISH
from referral_api.domain.catalogue_es import SPANISH
from referral_api.domain.errors import FINAL_REFUSALS, ErrorCode

LANGUAGES: tuple[Language, ...] = ("es", "en")
PLACEHOLDER = re.compile(r"[{}<>\[\]]|%[a-z(]|\$\w|\bTODO\b|\.\.\.")
TUTEO = re.compile(r"\b(tú|tu|tus|ti|contigo|puedes|debes|tienes|envía|verifica|revisa|llama)\b", re.IGNORECASE)
LONGEST = {"title": 70, "detail": 120, "hint": 120}


def parts(text: Text) -> dict[str, str]:
    return {"title": text.title, "detail": text.detail, "hint": text.hint}


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_code_has_its_texts_in_the_order_of_the_closed_list(language: Language) -> None:
    assert list(TEXTS[language]) == list(ErrorCode)
    assert all(text_of(code, language) is TEXTS[language][code] for code in ErrorCode)


@pytest.mark.parametrize("code", ErrorCode)
@pytest.mark.parametrize("language", LANGUAGES)
def test_every_text_is_whole_sentences_of_a_readable_length(code: ErrorCode, language: Language) -> None:
    for part, text in parts(text_of(code, language)).items():
        assert re.search(r"[^.]\.$", text), text
        assert text[0].isupper(), text
        assert text == " ".join(text.split()), text
        assert 8 <= len(text) <= LONGEST[part], (part, len(text), text)


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_text_has_a_placeholder_because_what_varies_travels_as_a_fact(language: Language) -> None:
    texts = [text for code in ErrorCode for text in parts(text_of(code, language)).values()]
    assert not [text for text in texts if PLACEHOLDER.search(text)]
    assert PLACEHOLDER.search("at most {limit} bytes")
    assert PLACEHOLDER.search("wait %d s")


def test_spanish_and_english_differ_in_every_text() -> None:
    """Rule R17 of the field: Spanish first, English complete."""
    same = [
        (code, part)
        for code in ErrorCode
        for part in ("title", "detail", "hint")
        if parts(text_of(code, "es"))[part] == parts(text_of(code, "en"))[part]
    ]
    assert not same


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_two_codes_share_a_title_or_a_detail(language: Language) -> None:
    for part in ("title", "detail"):
        texts = [parts(text_of(code, language))[part] for code in ErrorCode]
        assert len(set(texts)) == len(texts), [text for text in texts if texts.count(text) > 1]


def test_spanish_says_usted_throughout() -> None:
    wrong = [text for words in SPANISH.values() for text in words if TUTEO.search(text)]
    assert not wrong
    assert TUTEO.search("Revisa tu clave.")


def test_final_refusals_of_a_step_that_was_judged_say_that_they_are_final() -> None:
    """R-17: the id is used up, and the next attempt is another act."""
    for code in FINAL_REFUSALS - {ErrorCode.CONSENT_GATE, ErrorCode.TARGET_NOT_ALLOWED}:
        assert "final" in ENGLISH[code][2], code
        assert "definitivo" in SPANISH[code][2], code


@pytest.mark.parametrize("code", [ErrorCode.OUTCOME_UNKNOWN, ErrorCode.CHECKPOINT_PENDING, ErrorCode.QUEUE_FULL])
def test_where_the_same_bytes_are_to_be_sent_again_the_hint_says_so(code: ErrorCode) -> None:
    """R-53: a retry is safe at any time, and nobody may be led to sign a second act instead."""
    assert "same bytes again" in ENGLISH[code][2]
    assert "los mismos bytes otra vez" in SPANISH[code][2]
