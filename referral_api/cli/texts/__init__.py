"""Every word of the command line, by key and language: Spanish first, English complete (design §2).

A text may hold named places (`{ref}`), the same ones in both languages; what fills them has been made harmless by
output.py. Error codes have their words in domain/catalogue.py, code lists in formats/codes/*.csv.

Must never: hold a secret, or a text that is true only of one caller.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from referral_api.cli.texts.admin_doctor import ADMIN_DOCTOR
from referral_api.cli.texts.audit import AUDIT
from referral_api.cli.texts.care import CARE
from referral_api.cli.texts.choosing import CHOOSING
from referral_api.cli.texts.doctor import DOCTOR
from referral_api.cli.texts.evidence import EVIDENCE
from referral_api.cli.texts.faults import FAULTS
from referral_api.cli.texts.fields import FIELDS
from referral_api.cli.texts.figures import FIGURES
from referral_api.cli.texts.forgetting import FORGETTING
from referral_api.cli.texts.help import HELP
from referral_api.cli.texts.keys import KEYS
from referral_api.cli.texts.life import LIFE
from referral_api.cli.texts.loss import LOSS
from referral_api.cli.texts.notices import NOTICES
from referral_api.cli.texts.recall import RECALL
from referral_api.cli.texts.recovery import RECOVERY
from referral_api.cli.texts.roster import ROSTER
from referral_api.cli.texts.screens import SCREENS
from referral_api.cli.texts.serverkeys import SERVER_KEYS
from referral_api.cli.texts.standing import STANDING
from referral_api.cli.texts.threat import THREAT
from referral_api.cli.texts.watch import WATCH
from referral_api.cli.texts.worklist import WORKLIST
from referral_api.domain.catalogue import Language

__all__ = ["FAULTS", "FIELDS", "HELP", "PARTS", "SCREENS", "TEXTS", "find", "say"]
PARTS: Final = (
    SCREENS, AUDIT, FAULTS, HELP, FIELDS, RECOVERY, EVIDENCE, LOSS, KEYS, ROSTER, WATCH, DOCTOR, ADMIN_DOCTOR, THREAT,
    SERVER_KEYS, FIGURES, NOTICES, CARE, CHOOSING, LIFE, FORGETTING, STANDING, WORKLIST, RECALL,
)  # fmt: skip
TEXTS: Final[Mapping[str, tuple[str, str]]] = {key: words for part in PARTS for key, words in part.items()}
_PLACE: Final[Mapping[Language, int]] = {"es": 0, "en": 1}


def say(lang: Language, key: str, /, **values: Any) -> str:
    """The text of `key` with its places filled. An unknown key or a missing value is a defect (KeyError)."""
    return TEXTS[key][_PLACE[lang]].format(**values)


def find(lang: Language, key: str) -> str | None:
    """The text of `key` as it stands, or None."""
    found = TEXTS.get(key)
    return None if found is None else found[_PLACE[lang]]
