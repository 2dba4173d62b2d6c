"""A later act of ours, from what is meant to what is sent: judged here, sealed, signed, durable in the outbox, sent.

The exchange judges every act; so does this, by the same fold and before anything leaves the machine, because a final
refusal is on the log for ever and helps nobody at three in the morning.

Must never: send what the lifecycle refuses as far as this party can see, put words into an act in clear, or seal to a
party that the act does not concern.

Implements: R-54, R-62, R-65, R-70; design §6 (sealed notes), §12.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from referral_api.auditlog.evidence import event_of
from referral_api.client import addressing, declining, delivery, forgetting, submission
from referral_api.client.keystore import CredentialKeys
from referral_api.client.outbox import Entry, Outbox, Outgoing
from referral_api.client.renewal import follow
from referral_api.client.session import Session
from referral_api.client.view import Referral, role_of
from referral_api.domain import fold
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import Act, ActId, PartyId, ReferralId, Role
from referral_api.formats.act import RawAct, parse_act
from referral_api.formats.bodies import parse_body
from referral_api.formats.bundle import SealedBundle
from referral_api.formats.contents import NoteBody, says_something

Enclosed = Callable[[ActId], SealedBundle]
"""Seals what travels beside the act of this id."""


@dataclass(frozen=True, slots=True)
class Pen:
    """One credential's signing hand. `keys` is asked at every act: they may have been renewed since the last."""

    session: Session
    keys: Callable[[], CredentialKeys]
    outbox: Outbox

    def fetch(self, ref: str) -> Referral:
        """The referral as it stands, everything verified. Raises as `forgetting.fetch`."""
        return forgetting.fetch(self.session, self.outbox, ReferralId(ref))

    def act(
        self,
        referral: Referral,
        act: Act,
        body: Mapping[str, Any],
        *,
        unit: str | None = None,
        note: str | None = None,
        case_number: str | None = None,
    ) -> Entry:
        """Sign an act on a referral that has been fetched, with a note sealed to the other side where there is one.

        `unit` names the delivery: a unit's own by itself; None for a hotline's act on the whole referral. A case number
        is a unit's alone. Raises NOT_PERMITTED (`case-number`) and ILLEGAL_TRANSITION before anything is sent,
        NO_USABLE_KEY for a note that names no unit, MALFORMED (`note-empty`) for one that says nothing, and as
        `declining.demand_grounds`; ACT_SCHEMA (`note-required`) where a code demands words and there are none; the
        entry's `code` tells of a refusal by the exchange.
        """
        if note is not None and not says_something(note):
            # A code that needs words would have them by name, and the other side nothing to read.
            raise ReferralError(ErrorCode.MALFORMED, where="/note", reason="note-empty")
        if role_of(self.session, self.session.profile.party) is Role.POLICE_UNIT:
            unit = self.session.profile.party
        elif case_number is not None:
            # Its reader would take it for a number of its own.
            raise ReferralError(ErrorCode.NOT_PERMITTED, act=act.value, needs="unit", reason="case-number")
        if note is None and case_number is None:
            return self.enclose(referral, act, body, unit, None)
        if note is None:
            _demand_no_words(act, body)
        other = referral.submit().act.party if unit == self.session.profile.party else unit
        if other is None:
            raise ReferralError(ErrorCode.NO_USABLE_KEY, unit=None, instead=[])

        def sealed(act_id: ActId) -> SealedBundle:
            recipients = addressing.recipients_for(self.session, other, self.session.now())
            told = NoteBody(act_id, note or "", case_number)
            return submission.seal_beside(self.session, self.keys(), referral.ref, told, recipients)

        return self.enclose(referral, act, body, unit, sealed)

    def enclose(
        self, referral: Referral, act: Act, body: Mapping[str, Any], unit: str | None, sealed: Enclosed | None
    ) -> Entry:
        """The same with whatever `sealed` makes beside it, by the keys of today."""
        if act is Act.DECLINE:
            declining.demand_grounds(referral, body, unit)
        session, act_id = self.session, self.session.ambient.act_id()
        members, beside = dict(body), None
        if sealed is not None:
            follow(session)
            envelope = sealed(act_id)
            members["sealed"] = {"sha256": envelope.sha256, "size": envelope.size}
            beside = envelope.raw
        if self.keys().coming:
            follow(session)  # What is refused for keys that have ended stays refused.
        place = None if unit is None else PartyId(unit)
        raw = delivery.sign_act(session, self.keys(), referral, act_id, act, members, place)
        parsed = parse_act(raw)
        self._judge(referral, parsed)
        entry = self.outbox.put(
            Outgoing(parsed.id, act, referral.ref, parsed.digest, raw, beside), session.ambient.now()
        )
        submission.flush(session, self.outbox)
        return self.outbox.get(entry.outgoing.id)

    def _judge(self, referral: Referral, act: RawAct) -> None:
        """What the fold says of it, on what this party can see: the same reasons as the exchange would give."""
        event = event_of(act, role_of(self.session, act.party), self.session.now())
        fold.judge(event, referral.chronicle.deliveries, prev_known=True)


def _demand_no_words(act: Act, body: Mapping[str, Any]) -> None:
    """That no code of this body demands a note: the exchange sees only that something is sealed, and here that is a
    case number alone. Raises ACT_SCHEMA (`note-required`); whatever else is wrong is said by who signs the act.
    """
    try:
        parse_body(act, body)
    except ReferralError as error:
        if error.facts.get("reason") == "note-required":
            raise
