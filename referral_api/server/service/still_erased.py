"""What was lawfully erased stays erased when a log comes back: its leaves return, the records behind them do not.

A mirror has dropped such records with the `erase` act that names them (R-99); a party's receipt, or the backup itself,
may still have them. The act decides: what it names is not written, or is deleted again as the act comes back.

Must never: excuse a missing record by an act that the exchange's act key has not signed, or that does not come back.

Implements: R-97, R-99; design §9.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from referral_api.auditlog.erasures import Erasures
from referral_api.auditlog.leaf import LeafKind, parse_leaf
from referral_api.auditlog.report import RawRecord
from referral_api.domain.deliveries import Delivery
from referral_api.domain.errors import ReferralError
from referral_api.domain.terms import Term
from referral_api.domain.words import State
from referral_api.formats.act import RawAct, parse_act
from referral_api.formats.statements import KeyMap
from referral_api.server.service.batch import Batch, Place
from referral_api.server.service.forgetting import forget_texts
from referral_api.server.service.salvage import Behind, Salvage
from referral_api.server.storage import erasures, logbook, queries
from referral_api.server.storage.logbook import KEYS


class StillErased:
    """What the `erase` acts among salvaged leaves name. `sizes` say how much of each log is to come back."""

    def __init__(self, keymap: KeyMap, found: Salvage, sizes: Mapping[str, int]) -> None:
        audited = {log: size for log, size in sizes.items() if log != KEYS}
        self._erasures = Erasures(keymap, audited)
        self._digests: dict[tuple[str, int], str] = {}
        for log, size in audited.items():
            for index, behind in sorted(found.records.get(log, {}).items()):
                raw = found.leaves.get(log, {}).get(index)
                if raw is not None and index < size and parse_leaf(raw).kind is LeafKind.ERASE:
                    self._take(log, index, raw, behind)

    def names(self, log: str, index: int) -> bool:
        """Whether the record behind a leaf is erased."""
        return (log, index) in self._erasures.named

    def knows(self, ref: str, log: str, index: int) -> bool:
        """Whether a referral can still be folded at this place: nothing of it was erased before."""
        return self._erasures.knows(ref, (log, index))

    def keep(self, batch: Batch, place: Place) -> None:
        """Note that there is no record behind a leaf that has come back, and which act has taken it."""
        act = self._digests[self._erasures.named[place.log, place.index]]
        erasures.erase_behind(batch.tx, [place.pos], act, ())

    def carry_out(self, batch: Batch, act: RawAct) -> None:
        """Delete what an `erase` act that comes back names and the backup has; of its referral only the act's states
        are left.
        """
        body: Any = act.body
        ref, log = str(act.ref), body.origin.rpartition("/v1/log/")[2]
        positions = [_position(log, index) for index in body.indices]
        gone = erasures.erased_among(batch.tx, min(positions), max(positions))
        referral, deliveries = queries.find_referral(batch.tx, ref), queries.deliveries_of(batch.tx, ref)
        submit = None if referral is None else queries.find_act_by_digest(batch.tx, referral.submit_digest)
        readers = set(deliveries) if referral is None else {referral.sender, *deliveries}
        erasures.erase_behind(batch.tx, [pos for pos in positions if pos not in gone], act.digest, readers)
        if referral is not None and (submit is None or submit.pos in positions):
            erasures.forget_referral(batch.tx, ref)
            return
        for final in body.states:
            if (own := deliveries.get(final.unit)) is not None:
                queries.swap_delivery(batch.tx, ref, own, _final(own, final))
        # The `purged` act itself may be among what is gone; what it took is not to be had from the backup either.
        purged = [final.unit for final in body.states if State(final.state) is State.PURGED]
        ended = {unit: replace(own, purged_at=batch.now) if unit in purged else own for unit, own in deliveries.items()}
        for unit in purged:
            forget_texts(batch.tx, ref, ended, unit)

    def _take(self, log: str, index: int, raw: bytes, behind: Behind) -> None:
        try:
            self._erasures.take(log, parse_leaf(raw), RawRecord(index, behind.record, behind.receipt))
        except ReferralError:
            return  # It names nothing; the import refuses it in its place.
        self._digests[log, index] = parse_act(behind.record).digest


def _position(log: str, index: int) -> int:
    return logbook.position(Term.of_log(log), index)


def _final(own: Delivery, final: Any) -> Delivery:
    """A delivery as the act says that it ended; how it came there can be asked no more."""
    last = () if final.investigation is None else (final.investigation,)
    seen = own.investigation if own.investigation[-1:] == last else (*own.investigation, *last)
    return replace(own, state=State(final.state), investigation=seen)
