"""What an audit of the database found: places that are not as the logs say, and how much was looked at.

Must never: hold a value of a row; only where it stands.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from referral_api.server.storage import logbook

MAX_TOLD = 1000
"""Of very many differences the first are told, and how many there are."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One place. `column` None is the row as a whole; `what` is `missing`, `extra`, `differs` or an error code."""

    table: str
    key: str
    column: str | None
    what: str
    reason: str | None = None


@dataclass(slots=True)
class Findings:
    """The result. `rows` says how many rows of each table were compared, `sizes` and `signed` how long each log is and
    how much of it a stored checkpoint covers, `root` is the digest of the first leaf.
    """

    differences: list[Difference] = field(default_factory=list)
    count: int = 0
    rows: dict[str, int] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    signed: dict[str, int] = field(default_factory=dict)
    root: str | None = None

    @property
    def complete(self) -> bool:
        """Whether every row is what the logs say, and nothing is missing."""
        return self.count == 0

    def note(self, table: str, key: object, column: str | None, what: str, reason: object = None) -> None:
        """Note a difference."""
        self.count += 1
        if len(self.differences) < MAX_TOLD:
            told = None if reason is None else str(reason)
            self.differences.append(Difference(table, str(key), column, what, told))

    def looked(self, table: str, rows: int) -> None:
        """Count rows that were compared."""
        self.rows[table] = self.rows.get(table, 0) + rows

    def compare(self, table: str, key: object, stored: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
        """Note every column of a row that is not as expected. Columns that are not expected are not looked at."""
        for column, value in expected.items():
            found = stored[column]
            # True is 1 to Python, and a flag on one engine is a number on the other; of texts and bytes neither is.
            if found != value:
                self.note(table, key, column, "differs")


def told_place(pos: int) -> str:
    """A position as people name it; of a row that was moved somewhere impossible, the number."""
    try:
        term, index = logbook.term_index(pos)
    except ValueError:
        return f"pos {pos}"
    return f"{term.log}#{index}"
