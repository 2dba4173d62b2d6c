"""What each error code means, in the words that people read: Spanish first, English complete (design §2, R-50).

Every text is constant. What varies (a limit, a head, a key id) travels as a fact beside it, so that no text can ever
carry something about a person, and a translation cannot lose a number.

Must never: take a parameter, name a product's command, or promise what the code does not do. Clause: R-50.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from referral_api.domain.catalogue_en import ENGLISH
from referral_api.domain.catalogue_es import SPANISH
from referral_api.domain.errors import ErrorCode

Language = Literal["es", "en"]


@dataclass(frozen=True, slots=True)
class Text:
    """Three short texts about one code: what it is called, what happened, what to do next."""

    title: str
    detail: str
    hint: str


TEXTS: Final[Mapping[Language, Mapping[ErrorCode, Text]]] = {
    "es": {code: Text(*words) for code, words in SPANISH.items()},
    "en": {code: Text(*words) for code, words in ENGLISH.items()},
}


def text_of(code: ErrorCode, language: Language) -> Text:
    """The texts of `code` in `language`; every code has them in both."""
    return TEXTS[language][code]
