"""The floors of docs/performance.md for the log as the exchange writes and reads it, held by `python -m bench.log`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bench import log

FLAT = 1.5
"""How much more an append may cost after a million leaves than at the first: a little deeper lies what is looked up."""


@pytest.fixture(scope="module")
def figures(tmp_path_factory: pytest.TempPathFactory) -> Iterator[log.Figures]:
    folder = tmp_path_factory.mktemp("log")
    made = log.measure(folder)
    print("\n".join(made.lines()))
    yield made
    # Some hundred megabytes, which pytest would keep.
    for path in folder.iterdir():
        path.unlink()


@pytest.mark.bench
@pytest.mark.slow
def test_a_million_leaves_are_hashed_in_seconds_and_in_a_line(figures: log.Figures) -> None:
    assert figures.verified_s <= 5
    assert figures.verified_s <= 1.5 * 10 * figures.tenth_verified_s


@pytest.mark.bench
@pytest.mark.slow
def test_a_proof_is_made_in_milliseconds_from_the_tiles_of_a_million_leaves(figures: log.Figures) -> None:
    assert figures.proof_s <= 0.002


@pytest.mark.bench
@pytest.mark.slow
@pytest.mark.parametrize("batch", log.BATCHES)
def test_an_append_to_the_database_costs_the_same_at_nothing_and_at_a_million(figures: log.Figures, batch: int) -> None:
    """R-92: whoever appends holds the log's lock, and everybody waits for it."""
    assert figures.at_size[batch] <= 60e-6
    assert figures.growth[batch] <= FLAT


def test_one_command_prints_all_three_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert log.main(["--leaves", "3000", "--dir", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    for figure in ("full verification of 3,000 leaves", "inclusion proof at 3,000 leaves", "append, batch 16:"):
        assert figure in said
    assert list(tmp_path.iterdir()) == []
