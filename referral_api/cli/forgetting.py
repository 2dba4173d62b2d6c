"""How long a referral is kept, as a screen says it: when its ciphertext goes, who keeps it, and that it is gone.

Must never: say that something is gone which the acts do not say is gone.

Implements: R-107; rules R2 and R3 of the field.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from referral_api.cli.output import Screen
from referral_api.client.forgetting import holds_of
from referral_api.client.view import Referral
from referral_api.formats.codelists import label


def data(referral: Referral, unit: str) -> dict[str, Any]:
    """Of one delivery, as JSON members: `purge_at` is null where nothing goes by itself."""
    return {
        "purge_at": referral.standings[unit].purge_at,
        "purged_at": referral.chronicle.deliveries[unit].purged_at,
        "holds": [
            {"party": one.party, "by": one.by, "basis": one.basis, "since": one.since, "review_at": one.review_at}
            for one in holds_of(referral, unit)
        ],
    }


def lines(screen: Screen, delivery: Mapping[str, Any]) -> list[str]:
    """The same as lines; none where there is nothing to say yet."""
    unit = delivery["unit"]
    shown: list[str] = []
    if delivery["purged_at"] is not None:
        shown.append(screen.say("kept.gone", unit=unit, at=screen.at(delivery["purged_at"])))
    if delivery["purge_at"] is not None:
        key = "kept.held_past" if delivery["holds"] else "kept.until"
        shown.append(screen.say(key, unit=unit, at=screen.at(delivery["purge_at"])))
    return shown + [held(screen, unit, one) for one in delivery["holds"]]


def held(screen: Screen, unit: str, hold: Mapping[str, Any]) -> str:
    """One hold as a line."""
    basis = label("hold_basis", hold["basis"], screen.lang)
    return screen.say("kept.held", unit=unit, by=hold["by"], basis=basis, at=screen.at(hold["review_at"]))
