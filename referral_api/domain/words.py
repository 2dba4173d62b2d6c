"""The glossary as types: one word per thing, used alike in code, API, SQL and documents (design §3).

Not used anywhere: case, tip, ticket, message, item, user, tenant.

Must never: import anything but the standard library, read a clock, or hold text for people.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NewType

PartyId = NewType("PartyId", str)
"""`[a-z][a-z0-9-]{1,39}`: a hotline, a police unit, an auditing body, the registrar or the exchange itself."""
CredentialId = NewType("CredentialId", str)
"""`<party>.<4 to 12 of a-z0-9>`: one person's or one service's keys within a party; also the OAuth client_id."""
ReferralId = NewType("ReferralId", str)
"""UUIDv7 in lower-case canonical text, chosen by the hotline's client."""
ActId = NewType("ActId", str)
"""UUIDv4 in lower-case canonical text, chosen by the signer: idempotency key, makes act digests unguessable."""
Kid = NewType("Kid", str)
"""RFC 7638 SHA-256 thumbprint, base64url: 43 characters."""
Digest = NewType("Digest", str)
"""SHA-256, base64url without padding: 43 characters."""

PROFILE = "referral-1"
"""The profile of the protocol that this code speaks: its formats, algorithms and calls (docs/protocol.md)."""
PARTY_ID = r"[a-z][a-z0-9-]{1,39}"
CREDENTIAL_ID = PARTY_ID + r"\.[a-z0-9]{4,12}"
UUID4 = r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
UUID7 = r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
DIGEST = r"[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]"
"""43 characters whose last one has its two spare bits zero, as canonical base64url demands."""


class Role(StrEnum):
    """What kind of party this is."""

    HOTLINE = "hotline"
    POLICE_UNIT = "police_unit"
    AUDITOR = "auditor"
    REGISTRAR = "registrar"
    EXCHANGE = "exchange"


class CredentialKind(StrEnum):
    """Who stands behind a credential. Acknowledging, deciding and approving take a person (R-61)."""

    PERSON = "person"
    SERVICE = "service"


class KeyUse(StrEnum):
    """What one key may do; a key has exactly one use for its whole life."""

    ACCESS = "access"
    SEAL = "seal"
    ENC = "enc"
    BACKUP = "backup"
    TOKEN = "token"
    RECEIPT = "receipt"
    ACT = "act"
    LOG = "log"


class Urgency(StrEnum):
    """How fast a referral must be answered; clocks.py says within what time."""

    EMERGENCY = "emergency"
    URGENT = "urgent"
    ROUTINE = "routine"


class DeliveryRole(StrEnum):
    """Why a unit is addressed: to act, to know, or held until a deadline passes."""

    ACTION = "action"
    INFORMATION = "information"
    ESCALATION = "escalation"


class State(StrEnum):
    """Delivery state, per referral and unit (R-70)."""

    HELD = "held"
    SUBMITTED = "submitted"
    RETRIEVED = "retrieved"
    ACKNOWLEDGED = "acknowledged"
    RECEIPT_FAILED = "receipt_failed"
    ACCEPTED = "accepted"
    DECLINED = "declined"
    TRANSFERRED = "transferred"
    WITHDRAWN = "withdrawn"
    WITHDRAWAL_NOTIFIED = "withdrawal_notified"
    EXPIRED = "expired"
    CLOSED = "closed"
    PURGED = "purged"


class Investigation(StrEnum):
    """Investigation status, append-only (R-74); codes of the list `investigation_status`."""

    REGISTERED = "registered"
    PRELIMINARY_ENQUIRIES = "preliminary_enquiries"
    PROSECUTOR_INFORMED = "prosecutor_informed"
    UNDER_INVESTIGATION = "under_investigation"
    OPERATION_DONE = "operation_done"
    JUDICIAL_PHASE = "judicial_phase"
    CONCLUDED = "concluded"
    VICTIM_LOCATED = "victim_located"
    VICTIM_SAFE = "victim_safe"
    VICTIM_IN_PROTECTION = "victim_in_protection"
    SUSPECT_DETAINED = "suspect_detained"
    ON_HOLD = "on_hold"
    UNABLE_TO_LOCATE = "unable_to_locate"
    CANNOT_DISCLOSE = "cannot_disclose"
    PASSED_TO_OTHER_AUTHORITY = "passed_to_other_authority"


class Nature(StrEnum):
    """How an act relates to what its signer had seen (design §6): a decision must carry the head, a fact need not."""

    FACT = "fact"
    DECISION = "decision"


class Act(StrEnum):
    """Every kind of signed statement that changes something."""

    # hotline
    SUBMIT = "submit"
    ROUTE = "route"
    PHONE_ALERT = "phone_alert"
    SUPPLEMENT = "supplement"
    WITHDRAW = "withdraw"
    CONSENT_WITHDRAWN = "consent_withdrawn"
    # police unit
    ACK = "ack"
    RECEIPT_FAILED = "receipt_failed"
    ACCEPT = "accept"
    DECLINE = "decline"
    TRANSFER = "transfer"
    STATUS = "status"
    WITHDRAWAL_ANSWER = "withdrawal_answer"
    # either side
    NOTE = "note"
    ASK = "ask"
    ANSWER = "answer"
    APPROVE = "approve"
    CLOSE = "close"
    REOPEN = "reopen"
    REWRAP = "rewrap"
    HOLD = "hold"
    PURGE_REQUEST = "purge_request"
    # the exchange's own (its timers sign too)
    OVERDUE = "overdue"
    ESCALATED = "escalated"
    RELEASED = "released"
    TAKEN = "taken"
    TELEPHONE_NOW = "telephone_now"
    EXPIRED = "expired"
    UNIT_OFFLINE = "unit_offline"
    PURGE_DUE = "purge_due"
    PURGED = "purged"
    ERASE = "erase"
    RULES = "rules"
    # a hotline, about itself
    CALL_TOTAL = "call_total"
    # directory
    GENESIS = "genesis"
    INVITE = "invite"
    STATEMENT = "statement"
    APPROVE_STATEMENT = "approve_statement"
    REVOKE = "revoke"
    OBJECT = "object"
    REKEY = "rekey"


ACCOUNTS = frozenset({Act.CALL_TOTAL})
"""What a party states of itself, about no referral and no key: it stands on the audit log alone (R-103)."""
DIRECTORY_ACTS = frozenset(
    {Act.GENESIS, Act.INVITE, Act.STATEMENT, Act.APPROVE_STATEMENT, Act.REVOKE, Act.OBJECT, Act.REKEY}
)
EXCHANGE_ACTS = frozenset(
    {
        Act.OVERDUE,
        Act.ESCALATED,
        Act.RELEASED,
        Act.TAKEN,
        Act.TELEPHONE_NOW,
        Act.EXPIRED,
        Act.UNIT_OFFLINE,
        Act.PURGE_DUE,
        Act.PURGED,
        Act.ERASE,
        Act.RULES,
    }
)
"""What the exchange says by itself. A hotline may say `released` too (R-78), and the exchange `approve` (R-105)."""
WITHOUT_REFERRAL = DIRECTORY_ACTS | ACCOUNTS | {Act.UNIT_OFFLINE, Act.RULES}
"""Acts that concern no referral: their `ref` is null."""


class Basis(StrEnum):
    """Lawful ground for sharing (code list `sharing_basis`)."""

    CONSENT = "consent"
    VITAL_INTEREST = "vital_interest"
    CHILD_PROTECTION = "child_protection"
    LEGAL_OBLIGATION = "legal_obligation"
    THIRD_PARTY_TIP = "third_party_tip"


COPY_OF = "copy_of"
"""The relation (code list `relation_type`) of a submit that informs further units of an earlier referral (R-86)."""


class IdentityLevel(StrEnum):
    """How much the sealed body tells of who the victim is (code list `identity_level`)."""

    IDENTIFIED = "identified"
    PSEUDONYMOUS = "pseudonymous"
    ANONYMOUS = "anonymous"


class RetentionClass(StrEnum):
    """How long ciphertext is kept once a delivery has ended (code list `retention_class`)."""

    STANDARD = "standard"
    SHORT = "short"
    LEGAL_HOLD_REQUESTED = "legal_hold_requested"
