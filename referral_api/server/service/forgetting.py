"""Which ciphertext goes with the purge of a delivery, and its going (rules R1 and R4 of the field).

A text that was sealed for one delivery goes with that delivery; what several units were sent, the bundle above all,
with the last of them. Keys to a text are wrapped inside it, so nothing is left that could open a copy of the rest.

Must never: touch an act, a receipt or a record, or take what another unit is still served.

Implements: R-107; design §9 (purge).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from referral_api.domain.fold import Delivery
from referral_api.domain.words import State
from referral_api.server.storage import erasures
from referral_api.server.storage.database import Connection, Transaction
from referral_api.server.storage.queries import Referral

Texts = Iterable[tuple[int, str | None]]
"""Sealed texts of a referral: the position of the act that each travelled beside, and the unit that it names."""


def goes(texts: Texts, deliveries: Mapping[str, Delivery], unit: str) -> list[int]:
    """Which of these texts go with the purge of this unit's delivery. The audit of the database asks it again."""
    shared = all(one.unit == unit or _is_done(one) for one in deliveries.values())
    return [pos for pos, named in texts if named == unit or (named is None and shared)]


def texts_to_forget(conn: Connection, referral: Referral, deliveries: Mapping[str, Delivery], unit: str) -> list[int]:
    """The positions of the acts whose sealed texts go, of those that are still kept, in log order."""
    kept = [(pos, named) for pos, named, told in erasures.sealed_of_referral(conn, referral.ref) if told]
    return goes(kept, deliveries, unit)


def _is_done(delivery: Delivery) -> bool:
    """Whether a delivery needs the shared texts no more: purged, or held for somebody who was never told of it."""
    return delivery.purged_at is not None or delivery.state is State.HELD


def forget_texts(tx: Transaction, referral: Referral, deliveries: Mapping[str, Delivery], unit: str) -> Sequence[int]:
    """Delete them, in the transaction of the `purged` act; the positions. Sizes and digests stay."""
    tx.flush()
    gone = texts_to_forget(tx, referral, deliveries, unit)
    erasures.empty_sealed(tx, gone)
    return gone
