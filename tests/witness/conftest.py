"""A witness in a folder of the test, which knows one log."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from referral_api.witness.cosigner import Cosigner
from referral_api.witness.file import create_file
from referral_api.witness.keys import Seeds
from referral_api.witness.memory import Memory, parse_log
from tests.witness.histories import History

NAME = "testigo.example/defensoria"
SEEDS = Seeds(b"\7" * 16, b"\x08" * 32, b"\x09" * 32)
BORN = 1_790_000_000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The file of a witness that trusts the log of `History()`."""
    made = tmp_path / "witness.db"
    create_file(made, NAME, SEEDS, BORN)
    memory = Memory.open(made)
    with memory.changing() as changes:
        changes.trust(parse_log(History().verifier.vkey, yearly=False))
    memory.close()
    return made


@pytest.fixture
def memory(path: Path) -> Iterator[Memory]:
    opened = Memory.open(path)
    yield opened
    opened.close()


@pytest.fixture
def cosigner(memory: Memory) -> Cosigner:
    return Cosigner(memory)
