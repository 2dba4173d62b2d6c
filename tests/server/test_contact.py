"""Where a weakness is reported stands in the exchange's public configuration, as SECURITY.md promises."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from referral_api.server.settings import Settings
from tests.world import World


def test_the_operators_contact_is_published(sqlite_world: World) -> None:
    """R-51: null where the operator gave none."""
    world = sqlite_world

    def published() -> Any:
        return world.caller("officer").call("GET", "/.well-known/referral-configuration", signed=False).json["contact"]

    assert published() is None
    world.server.settings = world.server.settings.model_copy(update={"contact": "mailto:guardia@exchange.example"})
    world.restart()
    assert published() == "mailto:guardia@exchange.example"


@pytest.mark.parametrize("contact", ["guardia@exchange.example", "javascript:alert(1)", "mailto:a b@c", "https://"])
def test_a_contact_that_nobody_could_follow_is_refused(sqlite_world: World, contact: str) -> None:
    given: dict[str, Any] = sqlite_world.settings.model_dump() | {"contact": contact}
    with pytest.raises(ValidationError):
        Settings(**given)
