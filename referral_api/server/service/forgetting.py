"""Which ciphertext goes with the purge of a delivery, and its going (rules R1 and R4 of the field).

A text that was sealed for one delivery goes with that delivery; what several units were sent, the bundle above all,
with the last of them, and so does the bundle with which one unit passed a referral on to another. Keys to a text are
wrapped inside it, so nothing is left that could open a copy of the rest.

Must never: touch an act, a receipt or a record, or take what another unit is still served.

Implements: R-107; design §9 (purge).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from referral_api.domain.deliveries import Delivery
from referral_api.domain.words import Act, State
from referral_api.formats.act import RawAct, parse_act
from referral_api.server.storage import erasures
from referral_api.server.storage.database import Connection, Transaction
from referral_api.server.storage.queries import Referral

Holders = frozenset[str] | None
"""The units whose deliveries a text belongs to; None: all of the referral's."""
Texts = Iterable[tuple[int, Holders]]
"""Sealed texts of a referral: the position of the act that each travelled beside, and whose it is."""


def holders(act: RawAct) -> Holders:
    """Whose the text beside an act is. What a transfer brought is the new unit's too, if it ever became one."""
    body: Any = act.body
    if act.unit is None:
        return None
    return frozenset({act.unit, body.to} if act.act is Act.TRANSFER else {act.unit})


def goes(texts: Texts, deliveries: Mapping[str, Delivery], unit: str) -> list[int]:
    """Which of these texts go with the purge of this unit's delivery. The audit of the database asks it again."""
    others = frozenset(one.unit for one in deliveries.values() if one.unit != unit and not _is_done(one))
    everybody = frozenset(deliveries)
    return [
        pos
        for pos, whose in texts
        for units in (everybody if whose is None else whose,)
        if unit in units and not units & others
    ]


def texts_to_forget(conn: Connection, referral: Referral, deliveries: Mapping[str, Delivery], unit: str) -> list[int]:
    """The positions of the acts whose sealed texts go, of those that are still kept, in log order."""
    kept = (one for one in erasures.sealed_of_referral(conn, referral.ref) if one.kept)
    return goes(_with_holders(kept), deliveries, unit)


def _with_holders(texts: Iterable[erasures.Text]) -> list[tuple[int, Holders]]:
    return [
        (one.pos, holders(parse_act(one.jws.encode("ascii"))) if one.jws is not None else _only(one.unit))
        for one in texts
    ]


def _only(unit: str | None) -> Holders:
    return None if unit is None else frozenset({unit})


def _is_done(delivery: Delivery) -> bool:
    """Whether a delivery needs the shared texts no more: purged, or sealed to somebody who was never told of it, unless
    one of its parties keeps just that.
    """
    return delivery.purged_at is not None or (delivery.state is State.HELD and not delivery.holds)


def forget_texts(tx: Transaction, ref: str, deliveries: Mapping[str, Delivery], unit: str) -> None:
    """Delete them, in the transaction in which the `purged` act is stored, whether it is new or comes back; and let
    nobody put back what recovery has lost of them (R-97). Sizes and digests stay.
    """
    tx.flush()
    texts = (one for one in erasures.sealed_of_referral(tx, ref) if one.kept or one.lost)
    erasures.empty_sealed(tx, goes(_with_holders(texts), deliveries, unit))
