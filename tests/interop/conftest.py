"""Node, where it is installed."""

from __future__ import annotations

import pytest

from tests.interop.programs import get_node


@pytest.fixture(scope="session")
def node() -> str:
    """The node program, with the locked packages installed beside the scripts."""
    return get_node()
