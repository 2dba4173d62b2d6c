"""What of a table may be published: small cells are blanked, and others with them, so that none can be computed.

A cell below THRESHOLD is blank, zero included (rule R12 of the field); more are given up until no blank has only one
possible value, for a reader who knows all that is shown and which blanks are small, and for one who tries this program
on every table that there could be. So which are given up follows from which are small and from their order, not from
how large anything is, but where counts lie so close to their bounds that a blank is pinned (docs/decisions/0035).

Must never: publish a percentage or percentile of something that is blank, round instead of blanking, or take for safe
what was not found to be: a search that takes too long has found nothing.

Implements: R-103; rule R12 of the field.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Final

THRESHOLD: Final = 11
"""Below this a count is blank: as the largest public data set on trafficking does it (CTDC)."""
PATIENCE: Final = 5_000
"""Cells that one search tries at most. Those of the fixed tables end after some dozens."""

Bounds = Callable[[str, int], bool]
"""Whether a cell may be one more or one less, for all that a reader knows of it alone."""


@dataclass(frozen=True, slots=True)
class Sum:
    """One cell is the sum of others, all of them listed."""

    total: str
    parts: tuple[str, ...]

    def signs(self) -> Iterator[tuple[str, int]]:
        """Each of its cells with the sign under which all of them come to zero."""
        yield self.total, -1
        for part in self.parts:
            yield part, 1


def disclose(counts: Mapping[str, int], sums: Sequence[Sum]) -> dict[str, int | None]:
    """The cells as they may be published, None for a blank; every cell that `sums` names must be counted.

    No blank can be computed from what is shown, and of no sum what its blank parts come to, if that is below THRESHOLD.
    Raises ValueError where a total is none.
    """
    for one in sums:
        if counts[one.total] != sum(counts[part] for part in one.parts):
            raise ValueError(f"{one.total} is not the sum of its parts")
    small = frozenset(cell for cell, count in counts.items() if count < THRESHOLD)

    def within(cell: str, step: int) -> bool:
        """Whether it stays what it is known to be: small, or not."""
        least, most = (0, THRESHOLD - 1) if cell in small else (THRESHOLD, counts[cell] + 1)
        return least <= counts[cell] + step <= most

    blank, low = set(small), set(small)
    while True:
        if (found := _lacking(sums, blank, low) or _fixed(sums, blank, lambda _cell, _step: True)) is not None:
            blank.add(found)
        elif (found := _fixed(sums, blank, within)) is not None:
            blank.add(found)
            low.add(found)
        else:
            return {cell: None if cell in blank else count for cell, count in counts.items()}


def percentage(part: int | None, whole: int | None) -> int | None:
    """Whole per cent of two published cells; None where either is blank, so that it tells no more than they do."""
    return None if part is None or not whole else round(100 * part / whole)


def percentile(values: Sequence[int], rank: int, *, shown: int | None) -> int | None:
    """The smallest value that at least `rank` per cent of all do not exceed (nearest rank).

    `shown` is the published cell that counts all, and `values` are the smallest of them; None where the one in question
    is not among these, or the cell is blank: of a blank one there is no percentile, or it would tell its size.
    """
    # With fewer, it would be what one of them took: of 19 values the 95th percentile is the largest.
    if shown is None or shown < THRESHOLD or shown * (100 - rank) < 100:
        return None
    place = -(-shown * rank // 100)
    return sorted(values)[place - 1] if place <= len(values) else None


def _lacking(sums: Sequence[Sum], blank: AbstractSet[str], low: AbstractSet[str]) -> str | None:
    """The next cell to give up because small cells alone are blank beside shown ones and their total; or None.

    What they come to can be computed then. Whether it is small itself must not decide, or its fate would tell.
    """
    for one in sums:
        inside = [part for part in one.parts if part in blank]
        if one.total not in blank and 0 < len(inside) < len(one.parts) and low >= set(inside):
            return next(part for part in one.parts if part not in blank)
    return None


def _fixed(sums: Sequence[Sum], blank: AbstractSet[str], bounds: Bounds) -> str | None:
    """The next cell to give up because a blank has one value within these bounds; None if all is safe, or nothing is
    left to give up.
    """
    search = _Search(sums, blank, bounds)
    for one in sums:
        for cell, _ in one.signs():
            if cell in blank and not search.moves(cell) and (found := _nearest(sums, cell, blank)) is not None:
                return found
    return None


def _nearest(sums: Sequence[Sum], cell: str, blank: AbstractSet[str]) -> str | None:
    """The first shown cell of a sum with this cell in it, or else of sums that share cells with those, and so on."""
    reached = {cell}
    while True:
        near = [(*one.parts, one.total) for one in sums if one.total in reached or not reached.isdisjoint(one.parts)]
        shown = [name for names in near for name in names if name not in blank]
        wider = reached.union(*near)
        if shown or wider == reached:
            return shown[0] if shown else None
        reached = wider


class _Search:
    """Looks for steps: blanks that can all be one more or one less together, so that every sum comes out again.

    Where each cell is in two sums at most, or these add up as rows and columns do, there is such a step for a blank
    whenever there is any other solution at all (the matrix is a network's). Elsewhere it may be missed, which blanks
    more.
    """

    def __init__(self, sums: Sequence[Sum], blank: AbstractSet[str], bounds: Bounds) -> None:
        self._bounds = bounds
        self._places: defaultdict[str, list[tuple[int, int]]] = defaultdict(list)
        for at, one in enumerate(sums):
            for name, sign in one.signs():
                if name in blank:
                    self._places[name].append((at, sign))
        # Whoever is in one sum alone settles it without unsettling another, and is tried first.
        order = sorted(self._places, key=lambda name: len(self._places[name]))
        self._cells: list[list[tuple[str, int]]] = [[] for _ in sums]
        for name in order:
            for at, sign in self._places[name]:
                self._cells[at].append((name, sign))
        self._safe: set[str] = set()
        self._left = 0

    def moves(self, cell: str) -> bool:
        """Whether a blank was found to have a second value."""
        for step in (1, -1):
            if cell not in self._safe and self._bounds(cell, step):
                self._left = PATIENCE
                steps, off = {cell: step}, dict.fromkeys(range(len(self._cells)), 0)
                self._shift(off, cell, step)
                if self._settles(steps, off):
                    # Every blank that took part has a second value.
                    self._safe |= steps.keys()
        return cell in self._safe

    def _shift(self, off: dict[int, int], cell: str, step: int) -> None:
        for at, sign in self._places[cell]:
            off[at] += sign * step

    def _settles(self, steps: dict[str, int], off: dict[int, int]) -> bool:
        """Whether further steps of other blanks make every sum come out again; they are added to `steps` then."""
        at = next((at for at, lacks in off.items() if lacks), None)
        if at is None:
            return True
        for name, sign in self._cells[at]:
            step = -sign if off[at] > 0 else sign
            if name in steps or not self._bounds(name, step):
                continue
            self._left -= 1
            if self._left < 0:
                return False
            steps[name] = step
            self._shift(off, name, step)
            if self._settles(steps, off):
                return True
            self._shift(off, name, -step)
            del steps[name]
        return False
