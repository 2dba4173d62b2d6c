"""Invitations and enrolments as far as the logs determine them: who was invited, and what became of whom.

What an invitee and the exchange said to each other before anybody signed is on no log (storage/inventory.py, LOOSE).

Must never: admit anybody, or take a row's word for its own state.

Implements: R-34 to R-36, R-92; design §5.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from referral_api.domain.errors import ReferralError
from referral_api.domain.words import Act, Digest
from referral_api.formats.act import RawAct
from referral_api.formats.directory_bodies import Invite, Statement
from referral_api.formats.key_entry import ENCRYPTION_USES
from referral_api.formats.statements import KeyMap
from referral_api.formats.strict_json import sha256_b64u
from referral_api.server.service.enrolment import Waiting, read_waiting, settled
from referral_api.server.service.reckoning.difference import Findings
from referral_api.server.storage import enrolments, inventory
from referral_api.server.storage.database import Connection
from referral_api.server.storage.enrolments import EnrolmentState


@dataclass(slots=True)
class _Under:
    """One enrolment as it becomes."""

    row: Mapping[str, Any]
    waiting: Waiting | None
    leaves: frozenset[Digest]
    state: EnrolmentState


class Register:
    """Invitations and enrolments, made again from directory acts in log order. A directory grows along."""

    def __init__(self, conn: Connection, findings: Findings, keys_leaves: Sequence[bytes]) -> None:
        self._conn = conn
        self._findings = findings
        self._leaves = keys_leaves
        self._places = {sha256_b64u(leaf): index for index, leaf in enumerate(keys_leaves)}
        self._keymap = KeyMap.start(keys_leaves[0])
        self._invitations: dict[str, dict[str, Any]] = {}
        self._inviters: dict[str, str] = {}
        self._enrolments = [one for row in inventory.every(conn, "enrolment") if (one := self._read(row)) is not None]

    def accept(self, act: RawAct) -> None:
        """Take an accepted directory act."""
        if isinstance(act.body, Invite):
            self._inviters[act.body.nonce] = act.party
            self._invitations[act.body.nonce] = {
                "nonce": act.body.nonce,
                "party": act.body.party.id,
                "role": act.body.party.role.value,
                "act_digest": act.digest,
                "expires_at": int(act.body.expires_at.timestamp()),
                "enrolment": None,
            }
        place = self._places.get(act.leaf_digest, -1)
        if place >= self._keymap.size:
            grown = self._keymap.copy()
            while grown.size <= place:
                grown.extend(self._leaves[grown.size], verify=False)
            self._keymap = grown
        for one in self._enrolments:
            if one.waiting is not None:
                one.state = self._after(act, one, one.waiting)

    def finish(self) -> None:
        """Compare both tables."""
        for one in self._enrolments:
            self._enrolment(one)
        for row in inventory.every(self._conn, "invitation"):
            self._findings.looked("invitation", 1)
            expected = self._invitations.pop(row["nonce"], None)
            if expected is None:
                self._findings.note("invitation", row["nonce"], None, "extra")
            else:
                self._findings.compare("invitation", row["nonce"], row, expected)
                if row["enrolment"] != expected["enrolment"] and expected["enrolment"] is not None:
                    # No log knows the number of an enrolment: one of the two rows was changed.
                    self._findings.note("enrolment", expected["enrolment"], "id", "differs")
        for nonce in self._invitations:
            self._findings.note("invitation", nonce, None, "missing")

    def _read(self, row: dict[str, Any]) -> _Under | None:
        self._findings.looked("enrolment", 1)
        try:
            stored = enrolments.read_enrolment(row)
            waiting = None if stored.body is None else read_waiting(stored)
        except (ReferralError, ValueError, TypeError, LookupError):
            for column in enrolments.unreadable(row) or ["body"]:
                self._findings.note("enrolment", row["id"], column, "unreadable")
            return None
        leaves = frozenset(map(sha256_b64u, () if waiting is None else waiting.leaves))
        return _Under(row, waiting, leaves, EnrolmentState.BEGUN if waiting is None else EnrolmentState.COMPLETED)

    def _after(self, act: RawAct, one: _Under, waiting: Waiting) -> EnrolmentState:
        """The state of an enrolment after a directory act, as service/directory.py left it."""
        body: Any = act.body
        if one.state is EnrolmentState.LISTED:
            return settled(self._keymap, waiting.stored, waiting.proposal.kids())
        if one.state is not EnrolmentState.COMPLETED:
            return one.state
        is_listed = all(self._places.get(leaf, self._keymap.size) < self._keymap.size for leaf in one.leaves)
        if act.act is Act.OBJECT and getattr(body, "statement", None) == one.row["nonce"]:
            return EnrolmentState.VOID
        if waiting.statement is None and is_listed:
            self._proposed(one, waiting, body)
            return settled(self._keymap, waiting.stored, waiting.proposal.kids())
        if waiting.statement is not None and getattr(body, "statement", None) == waiting.statement.digest:
            if act.act is Act.APPROVE_STATEMENT and is_listed:
                return EnrolmentState.DONE
            return EnrolmentState.VOID if act.act is Act.OBJECT and not is_listed else one.state
        return one.state

    def _proposed(self, one: _Under, waiting: Waiting, body: object) -> None:
        """The statement that listed an enrolment's keys says what was proposed (R-32 b)."""
        if not isinstance(body, Statement):
            return
        proposal = waiting.proposal
        listed = all(one in body.credentials for one in proposal.credentials)
        if not listed or not all(one in body.enc for one in proposal.enc):
            self._findings.note("enrolment", one.row["id"], "body", "differs")

    def _unsigned(self, one: _Under, party: str) -> EnrolmentState:
        """Its state, where the log knows who has to sign for it: of a party that exists, whoever invited (R-32 e)."""
        joins = one.state is EnrolmentState.COMPLETED and one.waiting is not None and one.waiting.statement is None
        return EnrolmentState.RECOVERING if joins and self._inviters[one.row["nonce"]] != party else one.state

    def _enrolment(self, one: _Under) -> None:
        row, waiting = one.row, one.waiting
        invitation = self._invitations.get(row["nonce"])
        if invitation is None:
            self._findings.note("enrolment", row["id"], "nonce", "differs")
            return
        if invitation["enrolment"] is not None:
            self._findings.note("enrolment", row["id"], None, "extra")
            return
        invitation["enrolment"] = row["id"]
        expected = {"party": invitation["party"], "state": self._unsigned(one, invitation["party"]).value}
        self._findings.compare("enrolment", row["id"], row, expected)
        if waiting is None:
            return
        if row["state"] in (EnrolmentState.LISTED, EnrolmentState.DONE) and not one.leaves <= self._places.keys():
            # Keys of an enrolment that is through stand on the keys log, byte for byte.
            self._findings.note("enrolment", row["id"], "body", "differs")
        statement = waiting.statement
        if statement is not None and isinstance(statement.body, Statement):
            said, proposal = statement.body, waiting.proposal
            if (said.credentials, said.enc, said.entry) != (proposal.credentials, proposal.enc, proposal.entry):
                self._findings.note("enrolment", row["id"], "body", "differs")
        for entry in waiting.entries:
            challenged = waiting.stored.challenges.get(entry.kid)
            if entry.use in ENCRYPTION_USES and challenged != entry.possession:
                self._findings.note("enrolment", row["id"], "challenges", "differs")
