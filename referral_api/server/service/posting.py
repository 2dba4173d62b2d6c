"""The exchange's own acts about a referral: signed, judged like anybody's, stored with their leaves (design §2, 2).

What follows from a party's act is posted in that act's own transaction; what a clock brings, in one of its own
(timers.py).

Must never: post what the lifecycle refuses, purge what somebody holds, or tell a unit of another.

Implements: R-78, R-106, R-107.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from referral_api.auditlog.evidence import event_of
from referral_api.domain import clockwork, fold
from referral_api.domain.clockwork import Owed, Situation
from referral_api.domain.deliveries import Delivery
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.fold import Event
from referral_api.domain.rules import Rules
from referral_api.domain.words import Act, Role
from referral_api.formats.act import RawAct, build_act, parse_act
from referral_api.server.service.batch import Batch, Place
from referral_api.server.service.exchange import Exchange
from referral_api.server.service.forgetting import forget_texts, texts_to_forget
from referral_api.server.service.ledger import Change, Entry, carry_out, store
from referral_api.server.storage import queries
from referral_api.server.storage.queries import Referral

Deliveries = Mapping[str, Delivery]


def situation_of(referral: Referral, deliveries: Deliveries) -> Situation:
    """A referral as its clocks see it."""
    return Situation(referral.urgency, referral.retention, deliveries)


def post_following(
    batch: Batch, exchange: Exchange, referral: Referral, before: Deliveries, after: Deliveries, event: Event
) -> tuple[Place, ...]:
    """Post what follows at once from an act that has just been carried out; the places of its leaves."""
    rules = exchange.rules_at(referral.created_at)
    following = clockwork.follows(rules, before, situation_of(referral, after), event)
    if not following:
        return ()
    return post(batch, exchange, rules, referral, after, following)[1]


def post(
    batch: Batch, exchange: Exchange, rules: Rules, referral: Referral, deliveries: Deliveries, acts: Iterable[Owed]
) -> tuple[dict[str, Delivery], tuple[Place, ...]]:
    """Sign, judge and store these acts in their order; all deliveries as they are then, and where the leaves are.

    An approval that would bring the referral to an excluded unit is left to the hotline, which alone may know why it
    cannot be (R-64). Raises ILLEGAL_TRANSITION where the lifecycle refuses an act: then it was not owed.
    """
    now, places = dict(deliveries), []
    for owed in acts:
        act = _sign(batch, exchange, referral, owed, now)
        event = event_of(act, Role.EXCHANGE, batch.now)
        try:
            changed = fold.judge(event, now, prev_known=True)
        except ReferralError as refusal:
            if owed.act is Act.APPROVE and refusal.code is ErrorCode.TARGET_NOT_ALLOWED:
                continue
            raise
        if (changed.keys() - now.keys()) & referral.excluded:
            continue
        place, _ = store(batch, exchange, Entry(act, None, None, [changed[unit] for unit in sorted(changed)]))
        before, now = now, now | changed
        if owed.act is Act.PURGED:
            forget_texts(batch.tx, referral.ref, now, owed.unit)
        carry_out(batch, rules, Change(event, act, referral, before, changed, place))
        places.append(place)
    return now, tuple(places)


def _sign(batch: Batch, exchange: Exchange, referral: Referral, owed: Owed, deliveries: Deliveries) -> RawAct:
    raw = build_act(
        act_id=exchange.draw_act_id(),
        iss=exchange.credential,
        aud=exchange.issuer,
        iat=batch.now,
        act=owed.act,
        ref=referral.ref,
        unit=owed.unit,
        prev=None,
        body=_body(batch, referral, owed, deliveries),
        signers=exchange.keyring.act_signers(batch.now),
    )
    return parse_act(raw)


def _body(batch: Batch, referral: Referral, owed: Owed, deliveries: Deliveries) -> dict[str, Any]:
    """The body of an owed act, times as documents write them; of a purge what goes with it, and why."""
    body = dict(owed.body)
    if owed.act is not Act.PURGED:
        return body
    request = body.pop("request", None)
    if request is not None:
        asked = queries.find_act_by_digest(batch.tx, request)
        if asked is None:
            raise ReferralError(ErrorCode.NOT_FOUND, what="act", digest=request)
        asked_body: Any = parse_act(asked.jws.encode("ascii")).body
        body["reason"] = asked_body.reason
    return body | {"sealed_count": len(texts_to_forget(batch.tx, referral, deliveries, owed.unit)), "parts_count": 0}
