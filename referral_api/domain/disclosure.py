"""What of a table may be published: small cells are blanked, and others with them, so that none can be computed.

A cell below THRESHOLD is blank, zero included (rule R12 of the field). That alone hides nothing where totals are shown:
further cells are blanked until no blank has only one possible value. The reader that this is measured against knows
every published cell, how they add up, and for each blank whether it was small or was blanked to protect another. Which
cell is blanked to protect another depends on the order in which the cells are listed, never on how large they are:
what follows from "the smallest one was taken" would narrow a blank down again.

Must never: publish a percentage or percentile of something that is blank, or round instead of blanking.

Implements: R-103; rule R12 of the field.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

THRESHOLD: Final = 11
"""Below this a count is blank: as the largest public data set on trafficking does it (CTDC)."""


@dataclass(frozen=True, slots=True)
class Sum:
    """One cell is the sum of others, all of them listed. `exact` False: it only rises and falls with them.

    So much as that is to be taken for known where two tables count nearly the same thing.
    """

    total: str
    parts: tuple[str, ...]
    exact: bool = True

    def signs(self) -> Iterator[tuple[str, int]]:
        """Each of its cells with the sign under which all of them come to zero."""
        yield self.total, -1
        for part in self.parts:
            yield part, 1


def disclose(counts: Mapping[str, int], sums: Sequence[Sum]) -> dict[str, int | None]:
    """The cells as they may be published, None for a blank; every cell that `sums` names must be counted.

    No blank can be computed from what is shown, and no sum of blanks that is below THRESHOLD.
    """
    for one in sums:
        if one.exact and counts[one.total] != sum(counts[part] for part in one.parts):
            raise ValueError(f"{one.total} is not the sum of its parts")
    blank = {cell for cell, count in counts.items() if count < THRESHOLD}
    small = frozenset(blank)
    while (found := _find_exposed(counts, sums, blank, small)) is not None:
        blank.add(found)
    return {cell: None if cell in blank else count for cell, count in counts.items()}


def percentage(part: int | None, whole: int | None) -> int | None:
    """Whole per cent of two published cells; None where either is blank, so that it tells no more than they do."""
    return None if part is None or not whole else round(100 * part / whole)


def percentile(values: Sequence[int], rank: int, *, shown: int | None) -> int | None:
    """The smallest value that `rank` per cent of all do not exceed; None for fewer than THRESHOLD values.

    `shown` is the published cell that counts them: of a blank one there is no percentile, or it would tell its size.
    """
    if shown is None or len(values) < THRESHOLD:
        return None
    return sorted(values)[max(0, -(-len(values) * rank // 100) - 1)]


def _find_exposed(
    counts: Mapping[str, int], sums: Sequence[Sum], blank: Collection[str], small: Collection[str]
) -> str | None:
    """The next cell that must be blanked too, or None: all is safe, or nothing is left to blank."""
    for one in sums:
        inside = [part for part in one.parts if part in blank]
        # What the blanks of a sum come to can be computed, and is a small cell itself.
        weak = one.exact and inside and one.total not in blank and sum(counts[part] for part in inside) < THRESHOLD
        names = [name for name, _ in one.signs() if name in blank]
        if not weak and all(_moves(name, counts, sums, blank, small) for name in names):
            continue
        shown = [name for name in (*one.parts, one.total) if name not in blank]
        if shown:
            return shown[0]
    return None


def _moves(
    cell: str, counts: Mapping[str, int], sums: Sequence[Sum], blank: Collection[str], small: Collection[str]
) -> bool:
    """Whether a blank may as well be one more or one less, as far as anybody can tell: blanks beside it make up for it.

    Sums of one table and of rows and columns have such a step wherever they have any other solution at all.
    """
    return any(
        _settles({cell: step}, counts, sums, blank, small) for step in (1, -1) if _may(cell, step, counts, small)
    )


def _may(cell: str, step: int, counts: Mapping[str, int], small: Collection[str]) -> bool:
    """Whether the cell stays what it is known to be: small, or not."""
    least, most = (0, THRESHOLD - 1) if cell in small else (THRESHOLD, counts[cell] + 1)
    return least <= counts[cell] + step <= most


def _settles(
    steps: dict[str, int],
    counts: Mapping[str, int],
    sums: Sequence[Sum],
    blank: Collection[str],
    small: Collection[str],
) -> bool:
    """Whether further steps of other blanks can make every sum come out again."""
    for one in sums:
        off = sum(sign * steps.get(name, 0) for name, sign in one.signs())
        if off == 0:
            continue
        for name, sign in one.signs():
            step = -sign if off > 0 else sign
            if name in blank and name not in steps and _may(name, step, counts, small):
                steps[name] = step
                if _settles(steps, counts, sums, blank, small):
                    return True
                del steps[name]
        return False
    return True
