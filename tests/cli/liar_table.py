"""Which command meets which lies, and with what exit code it ends: the table of tests/cli/test_liar.py.

An auditor's verb ends with 1 where something false was shown, and with 3 where something was withheld (decision 0021);
every other command with 5 where something did not verify. Where nothing of the protocol was answered at all, the code
is the network's, 3, or with a token that is none, 4. `ENDS` has the lies that end otherwise, a line each.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from referral_api.cli.output import Exit
from tests.liar import Lie
from tests.liar_scene import NEWCOMER
from tests.world import UNIT

FALSE, WITHHELD = int(Exit.UNEXPECTED), int(Exit.UNREACHABLE)
NOT_VERIFIED, AWAY, NO_TOKEN = int(Exit.VERIFICATION_FAILED), int(Exit.UNREACHABLE), int(Exit.NOT_ENROLLED)
WAITS = int(Exit.PARTLY)

ENDS: Mapping[str, tuple[int, int]] = {
    "no answer": (AWAY, AWAY),
    "no answer: nonsense": (AWAY, FALSE),
    "token: a portal's page": (AWAY, AWAY),
    "token: a redirect": (AWAY, AWAY),
    "token: nonsense": (NO_TOKEN, NO_TOKEN),
    "token: a bearer token": (NO_TOKEN, NO_TOKEN),
    "records: one left out": (NOT_VERIFIED, WITHHELD),
    "records: none": (NOT_VERIFIED, WITHHELD),
    "records: one without its receipt": (NOT_VERIFIED, WITHHELD),
    "view: receipt withheld": (NOT_VERIFIED, WITHHELD),
    "cosignatures: of the future": (0, WITHHELD),
    "audit cosignatures: of the future": (0, WITHHELD),
    "cosigned: long ago": (0, 0),
    "cosigned: withheld": (0, WITHHELD),
}
"""By a lie, or a family of them: how a command ends, and how an auditor's verb. Of all others: 5, and 1."""


@dataclass(frozen=True)
class Row:
    """A command line: whose, its words, families of lies or single ones, and what must have become of the referral.

    `ends`: the exit codes that are this command's own, by lie or family, and why in a comment. `untold`: lies of its
    families that it asks nothing about.
    """

    seat: str
    words: tuple[str, ...]
    families: tuple[str, ...]
    before: str = "submitted"
    ends: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    untold: frozenset[str] = frozenset()

    @property
    def judges(self) -> bool:
        """An auditor's verb: what is false is what it was asked to find, and ends it with 1 (decision 0021)."""
        return self.seat == "auditor"

    def end(self, lie: Lie) -> int:
        """The exit code with which it ends in front of this lie."""
        for name in (lie.name, lie.family):
            if name in self.ends:
                return self.ends[name]
        for name in (lie.name, lie.family):
            if name in ENDS:
                return ENDS[name][self.judges]
        return FALSE if self.judges else NOT_VERIFIED

    def lies(self, *tables: Mapping[str, Lie]) -> Iterator[Lie]:
        """The lies of its families that it is told."""
        for lie in (lie for table in tables for lie in table.values()):
            if {lie.name, lie.family} & {*self.families} and lie.name not in self.untold:
                yield lie
