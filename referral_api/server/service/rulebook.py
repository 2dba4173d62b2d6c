"""The rules that this exchange runs by: loaded at the start, changed by its own `rules` act, in force from its leaf on.

Must never: apply a rule that no act states, or change the rules of a referral that was submitted before.

Implements: R-105; domain/rules.py.
"""

from __future__ import annotations

import threading

from referral_api.domain.rules import Rules
from referral_api.domain.terms import Term
from referral_api.domain.words import Act
from referral_api.formats.act import parse_act
from referral_api.formats.exchange_bodies import RulesBody, rules_wire
from referral_api.server.service.batch import Batch, Done
from referral_api.server.service.exchange import Exchange, Ruling
from referral_api.server.service.founding import exchange_act
from referral_api.server.service.ledger import Entry, store
from referral_api.server.storage import logbook, queries
from referral_api.server.storage.database import Connection

_KEEPING_UP = threading.Lock()


def load_rules(conn: Connection) -> Ruling:
    """All changes so far."""
    ruling = Ruling()
    keep_up(ruling, conn)
    return ruling


def keep_up(ruling: Ruling, conn: Connection, end: int | None = None) -> None:
    """Take in what other processes changed. `end` is the position of the audit log's next leaf, where the caller knows
    it: mostly that of the last time, and then there is nothing to ask.
    """
    if end is None:
        newest = logbook.newest_audit(conn)
        end = 0 if newest is None else logbook.position(Term.of_log(newest[0]), newest[1])
    with _KEEPING_UP:
        if end <= ruling.end:
            return
        for stored in queries.acts_about_nothing(conn, Act.RULES, ruling.end, end):
            body = parse_act(stored.jws.encode("ascii")).body
            if stored.outcome == "accepted" and isinstance(body, RulesBody):
                ruling.change(stored.received_at, body.rules(), stored.jws)
        ruling.end = end


class ChangeRules:
    """The job that changes the rules, by the exchange's own act."""

    def __init__(self, exchange: Exchange, rules: Rules) -> None:
        self._exchange = exchange
        self._rules = rules

    def __call__(self, batch: Batch) -> Done[str]:
        """The digest of the act. Raises ACT_SCHEMA for rules that cannot be."""
        exchange = self._exchange
        signers = exchange.keyring.act_signers(batch.now)
        body = rules_wire(self._rules)
        act = parse_act(exchange_act(exchange.issuer, Act.RULES, body, signers, exchange.token_bytes, batch.now))
        place, _ = store(batch, exchange, Entry(act, None, None, ()))
        batch.ruled = (batch.now, self._rules, act.jws.raw.decode("ascii"))
        return Done(act.digest, also=(place,))
