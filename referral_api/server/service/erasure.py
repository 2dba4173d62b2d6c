"""Lawful erasure: an `erase` act of the exchange takes the records behind leaves, and nothing else of the log (R-99).

The act and what it takes commit in one transaction. Leaves, tiles and checkpoints stay, so that every proof that was
ever given still verifies; what became of the referral is told by the states in the act. When an erasure is lawful is
decided by whoever asks for it; here stands what may be named at all.

Must never: take a leaf that is not about the referral, an `erase` act, or one of the log's own records; or be signed
with any key but the exchange's act key.

Implements: R-99; design §9 ("Two stages of forgetting").
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from referral_api.auditlog.erasures import check_erasable
from referral_api.auditlog.leaf import parse_leaf
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.terms import Term
from referral_api.domain.words import Act
from referral_api.formats.act import RawAct, build_act, parse_act
from referral_api.server.service.batch import Batch, Done
from referral_api.server.service.decision import Accepted
from referral_api.server.service.exchange import Exchange
from referral_api.server.service.ledger import Entry, store
from referral_api.server.storage import erasures, logbook, queries
from referral_api.server.storage.queries import Sought


class Erasure:
    """The job that erases the records behind leaves of one year's audit log, all of them about one referral.

    Refused as a whole, with nothing erased: NOT_FOUND (no such referral, or a leaf that is not there or not about it;
    `index`), ILLEGAL_TRANSITION with `reason` `erased` (`index`), TAMPERED as `check_erasable`.
    """

    def __init__(self, exchange: Exchange, ref: str, term: Term, indices: Sequence[int], basis: str) -> None:
        self._exchange = exchange
        self._ref = ref
        self._term = term
        self._indices = sorted(set(indices))
        self._basis = basis

    def __call__(self, batch: Batch) -> Done[Accepted]:
        """Sign the act with the states as they are, store it, and delete what it names."""
        referral = queries.find_referral(batch.tx, self._ref)
        if referral is None or not self._indices:
            raise ReferralError(ErrorCode.NOT_FOUND)
        positions = self._check(batch)
        deliveries = queries.deliveries_of(batch.tx, self._ref)
        act = self._sign(batch, [_final(unit, one.state.value, one.investigation) for unit, one in deliveries.items()])
        place, receipt = store(batch, self._exchange, Entry(act, None, None, ()))
        # Found before it is gone.
        submit = queries.find_act_by_digest(batch.tx, referral.submit_digest)
        erasures.erase_behind(batch.tx, positions, act.digest, {referral.sender, *deliveries})
        if submit is not None and submit.pos in positions:
            erasures.forget_referral(batch.tx, self._ref)
        batch.forget(self._ref)
        return Done(Accepted(receipt, None, {}, fresh=True), place)

    def _check(self, batch: Batch) -> list[int]:
        """The positions of the leaves, each of which may be erased."""
        positions = [logbook.position(self._term, index) for index in self._indices]
        span = Sought(positions[0], positions[-1], positions[-1] - positions[0] + 1, ref=self._ref)
        about = {act.pos for act in queries.acts_sought(batch.tx, span)}
        about |= {record.pos for record in queries.records_sought(batch.tx, span)}
        gone = erasures.erased_among(batch.tx, positions[0], positions[-1])
        for index, pos in zip(self._indices, positions, strict=True):
            if pos in gone:
                raise ReferralError(ErrorCode.ILLEGAL_TRANSITION, act=Act.ERASE.value, reason="erased", index=index)
            if pos not in about:
                raise ReferralError(ErrorCode.NOT_FOUND, index=index)
            # Directory acts are about no referral, so none comes as far as this.
            check_erasable(parse_leaf(logbook.leaf(batch.tx, self._term.log, index)), on_keys_log=False)
        return positions

    def _sign(self, batch: Batch, states: Sequence[dict[str, Any]]) -> RawAct:
        exchange = self._exchange
        raw = build_act(
            act_id=exchange.draw_act_id(),
            iss=exchange.credential,
            aud=exchange.issuer,
            iat=batch.now,
            act=Act.ERASE,
            ref=self._ref,
            unit=None,
            prev=None,
            body={
                "origin": exchange.audit_origin(self._term),
                "indices": self._indices,
                "basis": self._basis,
                "states": list(states),
            },
            signers=exchange.keyring.act_signers(batch.now),
        )
        return parse_act(raw)


def _final(unit: str, state: str, investigation: Sequence[str]) -> dict[str, Any]:
    last = {"investigation": investigation[-1]} if investigation else {}
    return {"unit": unit, "state": state, **last}
