"""Which leaves' records may be gone: those that exactly one `erase` act of the exchange names (R-99).

The acts are gathered before the logs are walked, because an act stands in the log behind what it takes. Of a referral
of which anything was taken, nothing can be recomputed from there on; the states in the act stand for it.

Must never: excuse a missing record by an act that the exchange's act key has not signed.

Implements: R-99; design §9 ("every leaf opens, or exactly one permitted erase act names it").
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from referral_api.auditlog.leaf import Leaf, LeafKind, parse_leaf
from referral_api.auditlog.report import RawRecord, Source
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.terms import Term
from referral_api.domain.words import Act
from referral_api.formats.act import RawAct, parse_act, verify_act
from referral_api.formats.exchange_bodies import FinalState
from referral_api.formats.parties import EXCHANGE
from referral_api.formats.statements import KeyMap
from referral_api.formats.strict_json import sha256_b64u

ERASABLE = frozenset({LeafKind.ACT, LeafKind.ACCESS, LeafKind.SERVER})
"""Kinds of leaves whose records may be erased. The log's own first and last ones hold the logs together, and an `erase`
act says why others are gone.
"""
_ERASE = b'"k":"erase"'
Place = tuple[str, int]
Erasing = tuple[str, int, bytes]
"""A leaf that may be of kind `erase`: its log, its index and itself."""


@dataclass(slots=True)
class Erasures:
    """What the `erase` acts of the logs name. `sizes` are the logs' own: `audit/<term>` and how many leaves it has."""

    keymap: KeyMap
    sizes: Mapping[str, int]
    acts: set[Place] = field(default_factory=set)
    """Where acts stand that the exchange's act key has signed."""
    named: dict[Place, Place] = field(default_factory=dict)
    """The act that names a leaf, by the leaf."""
    first: dict[str, Place] = field(default_factory=dict)
    """The first leaf that was taken of a referral."""
    states: dict[str, tuple[FinalState, ...]] = field(default_factory=dict)
    """How each delivery of such a referral ended, as the latest act says."""
    faults: list[tuple[Place, ReferralError]] = field(default_factory=list)
    """Acts that name what they must not, by their own place."""

    def gather(self, erasing: Sequence[Erasing], source: Source) -> None:
        """Take the acts behind these leaves, as a source gives them. Raises UNREACHABLE alone: whatever else is wrong
        with one, whoever walks the log finds and names it in its place.
        """
        for log, index, raw_leaf in erasing:
            try:
                leaf = parse_leaf(raw_leaf)
                for found in source.records(Term.of_log(log), index, 1):
                    if found.index == index:
                        self.take(log, leaf, found)
            except ReferralError as error:
                if error.code is ErrorCode.UNREACHABLE:
                    raise

    def take(self, log: str, leaf: Leaf, found: RawRecord) -> None:
        """Take the act behind a leaf of kind `erase`; one that is not the exchange's counts for nothing.

        Raises what makes it no act of the exchange's act key; whoever walks the log finds the same and names it.
        """
        act = parse_act(found.record)
        if act.act is not Act.ERASE or act.party != EXCHANGE or sha256_b64u(found.record) != leaf.digest:
            raise ReferralError(ErrorCode.TAMPERED, what="erasure", reason="signer")
        seal = self.keymap.seal_keys(act.iss, act.iat, act.iat, kids=[one.kid for one in act.jws.signatures])
        verify_act(act, seal.keys, required=seal.require)
        self.acts.add((log, found.index))
        self._read(log, found.index, act)

    def _read(self, log: str, index: int, act: RawAct) -> None:
        body: Any = act.body
        own, ref = (log, index), str(act.ref)
        of = body.origin.rpartition("/v1/log/")[2]
        issuer = self.keymap.issuer.partition("://")[2]
        if of not in self.sizes or body.origin != f"{issuer}/v1/log/{of}":
            self._fault(own, "origin")
            return
        for at in body.indices:
            place = (of, at)
            if at >= self.sizes[of] or not _before(place, own):
                self._fault(own, "range", index=at)
            elif place in self.named:
                self._fault(own, "twice", index=at)
            else:
                self.named[place] = own
                self.first[ref] = min(place, self.first.get(ref, place))
        self.states[ref] = tuple(body.states)

    def _fault(self, own: Place, reason: str, **facts: int) -> None:
        self.faults.append((own, ReferralError(ErrorCode.TAMPERED, what="erasure", reason=reason, **facts)))

    def knows(self, ref: str, place: Place) -> bool:
        """Whether a referral can still be recomputed at a place of the log: nothing before it was taken."""
        first = self.first.get(ref)
        return first is None or _before(place, first)


def erasing_leaves(log: str, start: int, leaves: Sequence[bytes]) -> list[Erasing]:
    """Which of a log's leaves, from index `start` on, may be of kind `erase`: read in passing, judged by `gather`."""
    return [(log, index, leaf) for index, leaf in enumerate(leaves, start) if _ERASE in leaf]


def _before(place: Place, other: Place) -> bool:
    """Log order; terms are ordered as their names are as texts."""
    return place < other


def check_erasable(leaf: Leaf, *, on_keys_log: bool) -> None:
    """Raises TAMPERED where a leaf is of a kind that no act may take, or its act is on the keys log for ever."""
    if leaf.kind not in ERASABLE or on_keys_log:
        raise ReferralError(ErrorCode.TAMPERED, what="erasure", reason="not-erasable", kind=leaf.kind.value)
