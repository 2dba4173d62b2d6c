"""Enrolments as the keys log tells of them, for an exchange that has lost their rows.

An enrolment whose keys stand on the keys log can be made again from there: every key entry names the invitation that it
answers, and the statement behind the entries says what was proposed. Only its number is new; no log knows the old one.
One that had not come that far is lost, and its invitation is open again: whoever holds it begins anew.

Must never: give back an invitation whose keys are on the log, or take an enrolment for further than the log shows.

Implements: R-34, R-97; design §9 (recovery).
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from referral_api.domain.errors import ErrorCode
from referral_api.formats.act import RawAct
from referral_api.formats.directory_bodies import Statement
from referral_api.formats.enrolment import Proposal
from referral_api.formats.key_entry import ENCRYPTION_USES, RawKeyEntry
from referral_api.formats.statements import KeyMap, parse_keys_leaf
from referral_api.server.service.enrolment import settled
from referral_api.server.storage import enrolments
from referral_api.server.storage.database import Transaction
from referral_api.server.storage.enrolments import EnrolmentState, StoredEnrolment


@dataclass(slots=True)
class _Enrolled:
    """What one invitation brought onto the keys log, and what has become of it so far."""

    entries: list[RawKeyEntry]
    statement: RawAct
    proposal: Proposal
    is_new: bool
    state: EnrolmentState | None = None

    def follow(self, keymap: KeyMap, stored: StoredEnrolment) -> None:
        """See what the next act on the keys log has made of it."""
        if self.state in (EnrolmentState.DONE, EnrolmentState.VOID):
            return
        became = settled(keymap, stored, self.proposal.kids())
        # A new party's statement stands there before its approval, in effect nowhere and overtaken by nothing.
        if became is not EnrolmentState.VOID or self.state is EnrolmentState.LISTED:
            self.state = became


class Reenrolled:
    """The enrolments on a stretch of the keys log, as its leaves come back in order."""

    def __init__(self) -> None:
        self._entries: dict[str, list[RawKeyEntry]] = {}
        """Key entries that no statement has listed yet, by the invitation that they answer."""
        self._found: dict[str, tuple[_Enrolled, StoredEnrolment]] = {}

    def take(self, leaf: bytes, grown: KeyMap) -> None:
        """Take the next leaf, with the directory that has just taken it."""
        parsed = parse_keys_leaf(leaf)
        if isinstance(parsed, RawKeyEntry):
            self._entries.setdefault(parsed.nonce, []).append(parsed)
            return
        if isinstance(parsed.body, Statement):
            self._listed(parsed, parsed.body)
        for enrolled, stored in self._found.values():
            enrolled.follow(grown, stored)

    def write(self, tx: Transaction, token_bytes: Callable[[int], bytes], now: int) -> None:
        """Write the rows that are not there, or had not come as far as the log shows."""
        for nonce, (enrolled, told) in self._found.items():
            invitation = enrolments.find_invitation(tx, nonce)
            if invitation is None:
                continue  # The exchange's own keys answer none.
            state = enrolled.state or EnrolmentState.VOID
            if invitation.enrolment is None:
                number = str(uuid.UUID(bytes=token_bytes(16), version=4))
                enrolments.insert_enrolment(tx, replace(told, id=number, state=state, updated_at=now))
                enrolments.take_invitation(tx, nonce, number)
                continue
            known = enrolments.find_enrolment(tx, invitation.enrolment)
            if known is not None and known.state is EnrolmentState.BEGUN:
                after = replace(known, state=state, challenges=told.challenges, body=told.body, updated_at=now)
                enrolments.swap_enrolment(tx, known, after)

    def _listed(self, act: RawAct, body: Statement) -> None:
        kids = {*(kid for one in body.credentials for kid in (one.access, *one.seal)), *(key.kid for key in body.enc)}
        for nonce, entries in list(self._entries.items()):
            if {entry.kid for entry in entries} <= kids:
                enrolled = _enrolled(self._entries.pop(nonce), act, body)
                self._found[nonce] = enrolled, _row(nonce, enrolled)


def _enrolled(entries: list[RawKeyEntry], act: RawAct, body: Statement) -> _Enrolled:
    brought, is_new = {entry.kid for entry in entries}, body.prev_statement is None
    credentials = [one for one in body.credentials if is_new or brought & {one.access, *one.seal}]
    proposal: dict[str, Any] = {
        "credentials": [one.wire() for one in credentials],
        "enc": [key.wire() for key in body.enc if is_new or key.kid in brought],
        "entry": body.entry.wire() if is_new else None,
    }
    return _Enrolled(entries, act, Proposal.parse(proposal, code=ErrorCode.ACT_SCHEMA), is_new)


def _row(nonce: str, enrolled: _Enrolled) -> StoredEnrolment:
    first = enrolled.entries[0]
    return StoredEnrolment(
        id="",
        nonce=nonce,
        party=first.party,
        state=EnrolmentState.COMPLETED,
        challenges={one.kid: str(one.possession) for one in enrolled.entries if one.use in ENCRYPTION_USES},
        body={
            "keys": [one.jws.raw.decode("ascii") for one in enrolled.entries],
            "possession": [],
            "proposal": enrolled.proposal.wire(),
            "statement": enrolled.statement.jws.raw.decode("ascii") if enrolled.is_new else None,
        },
        tries=1,
        created_at=first.iat,
        updated_at=first.iat,
    )
