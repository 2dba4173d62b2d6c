"""Which codes an option takes: for whoever gives none, or one that is none, and has to know which there are.

Must never: name a list from which the command would refuse a code.

Implements: design §7 (a refusal says what to do).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from referral_api.cli.texts import say
from referral_api.domain.catalogue import Language
from referral_api.domain.worklists import Worklist
from referral_api.formats.codelists import codes, label

_LISTS: Final[Mapping[tuple[str, str], str]] = {
    ("decline", "reason"): "decline_reason",
    ("refuse-transfer", "reason"): "decline_reason",
    ("transfer", "reason"): "transfer_reason",
    ("withdraw", "reason"): "withdraw_reason",
    ("receipt-failed", "reason"): "receipt_failure",
    ("reopen", "reason"): "reopen_reason",
    ("purge", "reason"): "purge_reason",
    ("close", "outcome"): "outcome",
    ("ask", "topic"): "info_request",
    ("answer", "reply"): "info_answer",
    ("answer-notice", "reply"): "withdrawal_answer",
    ("status", "to"): "investigation_status",
}


def listed(lang: Language, verb: str, parameter: str) -> str | None:
    """The codes that a parameter of a command takes, a line each with its words; None for any other parameter."""
    if (verb, parameter) == ("list", "only"):
        return "\n    ".join(f"{one.value}: {say(lang, f'list.on.{one.value}')}" for one in Worklist)
    name = _LISTS.get((verb, parameter))
    if name is None:
        return None
    return "\n    ".join(f"{code}: {label(name, code, lang)}" for code in codes(name))
