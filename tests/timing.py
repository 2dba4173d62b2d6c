"""Processor time of one call, for the tests that hold a floor of speed."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from time import process_time


def spent_us(work: Callable[[], object], *, rounds: int = 9, times: int = 200) -> float:
    """Median over rounds of the processor time of one call, in microseconds."""
    samples = []
    for _ in range(rounds):
        start = process_time()
        for _ in range(times):
            work()
        samples.append((process_time() - start) / times * 1e6)
    return median(samples)
