"""The door's judgement on what a party states of itself (a hotline's calls of a month): right, month, one transaction.

Must never: put such an act on the keys log, or let it touch a referral.

Implements: R-103; R-14, R-92.
"""

from __future__ import annotations

from referral_api.auditlog.accounts import check_account
from referral_api.domain.errors import FINAL_REFUSALS, ErrorCode, ReferralError
from referral_api.server.service.batch import Batch, Done
from referral_api.server.service.callers import Caller, check_access
from referral_api.server.service.decision import Accepted, Checked, Repeat, recheck_keys
from referral_api.server.service.exchange import Exchange
from referral_api.server.service.ledger import Entry, store
from referral_api.server.storage import queries


class AccountDecision:
    """The decision on one such act, as a job of the writer."""

    def __init__(self, exchange: Exchange, checked: Checked, caller: Caller) -> None:
        self._exchange = exchange
        self._checked = checked
        self._caller = caller

    def __call__(self, batch: Batch) -> Done[Accepted]:
        """Judge and store. Raises what leaves the id unused: ACT_ID_REUSED, KEY_NOT_VALID, ACT_SCHEMA (the month)."""
        act = self._checked.act
        seen = queries.find_act(batch.tx, act.iss, act.id)
        if seen is not None:
            if seen.digest != act.digest:
                raise ReferralError(ErrorCode.ACT_ID_REUSED, digest=seen.digest)
            return Repeat(seen)(batch)
        keymap = batch.keymap or self._exchange.keymap
        if keymap.size != self._checked.keys_seen:
            check_access(keymap, self._caller, batch.now)
        recheck_keys(keymap, self._checked, batch.now)
        signer = keymap.get_credential(act.iss)
        refusal = None
        try:
            check_account(act, signer.role, signer.kind, batch.now)
        except ReferralError as refused:
            if refused.code not in FINAL_REFUSALS:
                raise
            refusal = refused
        code, facts = (None, {}) if refusal is None else (refusal.code, refusal.facts)
        place, receipt = store(batch, self._exchange, Entry(act, self._checked.carrier, None, (), code))
        return Done(Accepted(receipt, code, facts, fresh=True), place)
