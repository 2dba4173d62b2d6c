"""One exchange for all transcripts of a module, served by its own process; and no pauses between attempts."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import stamina

from tests.cli.shell import Shell, served
from tests.world import Founded


@pytest.fixture(autouse=True)
def _no_pauses() -> Iterator[None]:
    with stamina.set_testing(True, attempts=1):
        yield


@pytest.fixture(scope="module")
def shell(founded: Founded, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """Everybody's machine, in front of a served exchange."""
    with served(founded, tmp_path_factory.mktemp("served")) as found:
        yield found
