"""Who may do what, and who may see what, as one table each: `RIGHTS` and `SEES` (design §7, §10).

A right is (action, role, kind of credential, relation to the object). There is no inheritance and no wildcard: what
stands in no row is refused. The golden matrix in tests/rules/permissions.txt is generated from here; a change shows as
a diff.

Must never: look at a state (lifecycle.py does), a key or a clock. Clauses: docs/protocol.md R-60 to R-63.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import Act, CredentialKind, DeliveryRole, Role, State


class Read(StrEnum):
    """Everything that can be asked of the exchange without signing an act."""

    PING = "ping"
    DIRECTORY = "directory"
    KEYS_LOG = "keys_log"
    INBOX = "inbox"
    REFERRAL = "referral"
    BUNDLE = "bundle"
    SEALED = "sealed"
    PART_GET = "part_get"
    PART_PUT = "part_put"
    RECEIPT = "receipt"
    CONSISTENCY = "consistency"
    AUDIT_LOG = "audit_log"
    RECORDS = "records"
    EVIDENCE = "evidence"
    STATISTICS = "statistics"
    ENROLMENTS = "enrolments"


Action = Act | Read


class Relation(StrEnum):
    """What the caller's party is to the object asked for."""

    OWN = "own"
    """The object concerns the caller's own party (its keys, its inbox, its receipts), or the whole exchange."""
    SENDER = "sender"
    """The hotline that submitted the referral."""
    RECIPIENT = "recipient"
    """A unit with a delivery of the referral that it may know of."""
    WITHHELD = "withheld"
    """An escalation party whose delivery is held: for it the referral does not exist."""
    STRANGER = "stranger"
    """Anybody else: for it the referral does not exist."""


PERSON, SERVICE = CredentialKind.PERSON, CredentialKind.SERVICE
EITHER = frozenset({PERSON, SERVICE})
ONLY_PERSON = frozenset({PERSON})
H, U, A, R, X = Role.HOTLINE, Role.POLICE_UNIT, Role.AUDITOR, Role.REGISTRAR, Role.EXCHANGE
OWN, SENDER, RECIPIENT = Relation.OWN, Relation.SENDER, Relation.RECIPIENT


@dataclass(frozen=True, slots=True)
class Right:
    """One row: this role, through these kinds of credential, may do this to objects of this relation."""

    action: Action
    role: Role
    kinds: frozenset[CredentialKind]
    relation: Relation


def _rights(actions: Iterable[Action], role: Role, kinds: frozenset[CredentialKind], relation: Relation) -> list[Right]:
    return [Right(action, role, kinds, relation) for action in actions]


_EVERY_PARTY = (Read.PING, Read.DIRECTORY, Read.KEYS_LOG, Read.INBOX, Read.RECEIPT, Read.CONSISTENCY)

RIGHTS: tuple[Right, ...] = (
    # A hotline. Its service may send (the body names the operator's code); everything else it signs takes a person.
    Right(Act.SUBMIT, H, EITHER, OWN),
    Right(Act.ROUTE, H, EITHER, OWN),
    *_rights(
        (Act.PHONE_ALERT, Act.RELEASED, Act.SUPPLEMENT, Act.WITHDRAW, Act.CONSENT_WITHDRAWN),
        H,
        ONLY_PERSON,
        SENDER,
    ),
    *_rights((Act.NOTE, Act.ASK, Act.ANSWER, Act.APPROVE, Act.DECLINE, Act.CLOSE), H, ONLY_PERSON, SENDER),
    *_rights((Act.REOPEN, Act.HOLD, Act.PURGE_REQUEST), H, ONLY_PERSON, SENDER),
    *_rights((Read.REFERRAL, Read.BUNDLE, Read.SEALED, Read.PART_GET, Read.EVIDENCE), H, EITHER, SENDER),
    Right(Read.PART_PUT, H, EITHER, SENDER),
    Right(Act.CALL_TOTAL, H, ONLY_PERSON, OWN),
    # A police unit. Its service polls, retrieves and downloads; acknowledging and deciding take a person.
    *_rights(
        (Act.ACK, Act.RECEIPT_FAILED, Act.ACCEPT, Act.DECLINE, Act.TRANSFER, Act.STATUS, Act.WITHDRAWAL_ANSWER),
        U,
        ONLY_PERSON,
        RECIPIENT,
    ),
    *_rights(
        (Act.NOTE, Act.ASK, Act.ANSWER, Act.CLOSE, Act.REOPEN, Act.REWRAP, Act.HOLD, Act.PURGE_REQUEST, Act.APPROVE),
        U,
        ONLY_PERSON,
        RECIPIENT,
    ),
    *_rights((Read.REFERRAL, Read.BUNDLE, Read.SEALED, Read.PART_GET, Read.EVIDENCE), U, EITHER, RECIPIENT),
    Right(Read.PART_PUT, U, ONLY_PERSON, RECIPIENT),
    # Auditors read everything that is on the record, and no bundle. Their reads are recorded.
    *_rights(
        (Read.AUDIT_LOG, Read.RECORDS, Read.REFERRAL, Read.EVIDENCE, Read.STATISTICS), A, ONLY_PERSON, Relation.STRANGER
    ),
    Right(Read.RECEIPT, A, ONLY_PERSON, Relation.STRANGER),
    # The exchange's own clocks.
    *_rights(
        (Act.OVERDUE, Act.ESCALATED, Act.RELEASED, Act.TAKEN, Act.TELEPHONE_NOW, Act.EXPIRED, Act.UNIT_OFFLINE),
        X,
        frozenset({SERVICE}),
        OWN,
    ),
    *_rights(
        (Act.PURGE_DUE, Act.PURGED, Act.RULES, Act.ERASE, Act.APPROVE, Act.GENESIS, Act.REKEY),
        X,
        frozenset({SERVICE}),
        OWN,
    ),
    Right(Act.APPROVE_STATEMENT, X, frozenset({SERVICE}), OWN),
    Right(Act.INVITE, X, frozenset({SERVICE}), OWN),
    Right(Act.REVOKE, X, frozenset({SERVICE}), OWN),
    # Directory: a party's keyholders speak for its keys; the registrar admits new parties.
    *(Right(Act.STATEMENT, role, ONLY_PERSON, OWN) for role in (H, U, A, R)),
    *(Right(Act.APPROVE_STATEMENT, role, ONLY_PERSON, OWN) for role in (H, U, A, R)),
    *(Right(Act.INVITE, role, ONLY_PERSON, OWN) for role in (H, U, A, R)),
    *(Right(Act.REVOKE, role, ONLY_PERSON, OWN) for role in (H, U, A, R)),
    *(Right(Act.OBJECT, role, ONLY_PERSON, OWN) for role in (H, U, A, R)),
    *(Right(Read.ENROLMENTS, role, ONLY_PERSON, OWN) for role in (H, U, A, R)),
    *(Right(action, role, EITHER, OWN) for role in (H, U, A, R) for action in _EVERY_PARTY),
)

_INDEX = {(right.action, right.role, kind, right.relation) for right in RIGHTS for kind in right.kinds}


def may(action: Action, role: Role, kind: CredentialKind, relation: Relation) -> bool:
    """Whether a row allows it."""
    return (action, role, kind, relation) in _INDEX


def demand(action: Action, role: Role, kind: CredentialKind, relation: Relation) -> None:
    """Refuse what no row allows.

    Raises ReferralError(NOT_FOUND) where the caller must not even learn that the object exists, else NOT_PERMITTED with
    the fact `needs` = "person" where a person of the same party could.
    """
    if may(action, role, kind, relation):
        return
    if relation in (Relation.STRANGER, Relation.WITHHELD):
        raise ReferralError(ErrorCode.NOT_FOUND)
    facts = {"needs": "person"} if kind is SERVICE and may(action, role, PERSON, relation) else {}
    raise ReferralError(ErrorCode.NOT_PERMITTED, act=action.value, **facts)


def relation_of(party: str, role: Role, *, sender: str, state: State | None) -> Relation:
    """What `party` is to a referral sent by `sender`, given the state of its own delivery (None: it has none)."""
    if role is Role.HOTLINE:
        return Relation.SENDER if party == sender else Relation.STRANGER
    if state is None:
        return Relation.STRANGER
    return Relation.WITHHELD if state is State.HELD else Relation.RECIPIENT


class Viewer(StrEnum):
    """Who looks at an act of a referral."""

    SENDER = "sender"
    UNIT = "unit"
    """The unit whose delivery the act names; for an act on the whole referral, every unit that knows of it."""
    AUDITOR = "auditor"


_ALL = frozenset(Viewer)
_NOT_UNITS = frozenset({Viewer.SENDER, Viewer.AUDITOR})

_SEEN_BY_ALL = (
    *(Act.SUBMIT, Act.PHONE_ALERT, Act.SUPPLEMENT, Act.WITHDRAW, Act.CONSENT_WITHDRAWN, Act.ACK),
    *(Act.RECEIPT_FAILED, Act.ACCEPT, Act.DECLINE, Act.TRANSFER, Act.STATUS, Act.WITHDRAWAL_ANSWER, Act.NOTE),
    *(Act.ASK, Act.ANSWER, Act.APPROVE, Act.CLOSE, Act.REOPEN, Act.HOLD, Act.PURGE_REQUEST),
    *(Act.OVERDUE, Act.RELEASED, Act.TAKEN, Act.EXPIRED, Act.PURGE_DUE, Act.PURGED),
)

SEES: dict[Act, frozenset[Viewer]] = dict.fromkeys(_SEEN_BY_ALL, _ALL) | {
    # Which units were passed over, and that the hotline must telephone, is no business of any unit.
    Act.ROUTE: _NOT_UNITS,
    Act.ESCALATED: _NOT_UNITS,
    Act.TELEPHONE_NOW: _NOT_UNITS,
    # It is about no referral: what a hotline needs of it, the `telephone_now` about its own referral says.
    Act.UNIT_OFFLINE: frozenset({Viewer.AUDITOR}),
    # A re-wrap is between the unit's own workstations; the hotline has no part in it.
    Act.REWRAP: frozenset({Viewer.UNIT, Viewer.AUDITOR}),
    Act.ERASE: frozenset({Viewer.AUDITOR}),
    Act.RULES: frozenset({Viewer.AUDITOR}),
}


def may_see(act: Act, *, viewer: Viewer, own_delivery: bool) -> bool:
    """Whether `viewer` may see an act of a referral it knows of.

    `own_delivery` says for a unit that the act names its own delivery or the whole referral; another unit's are hidden.
    """
    return viewer in SEES.get(act, frozenset()) and (viewer is not Viewer.UNIT or own_delivery)


def is_common(act: Act) -> bool:
    """Whether both sides of a delivery see acts of this kind: what the one may build on and the other can follow."""
    return {Viewer.SENDER, Viewer.UNIT} <= SEES.get(act, frozenset())


def role_at_delivery(role: DeliveryRole) -> frozenset[Act]:
    """Acts that a delivery's role rules out: who is only informed decides nothing."""
    if role is DeliveryRole.INFORMATION:
        return frozenset({Act.ACCEPT, Act.DECLINE, Act.TRANSFER, Act.STATUS, Act.CLOSE, Act.REOPEN})
    return frozenset()


def matrix() -> str:
    """Role × kind × relation × action as text, ✔ where a row allows it: the golden permission matrix."""
    columns = [(role, kind) for role in Role for kind in CredentialKind]
    names = " ".join(f"{role.value[:9]}/{kind.value[:1]}".ljust(11) for role, kind in columns)
    lines = ["action".ljust(20) + "relation".ljust(11) + names.rstrip()]
    for action in (*Act, *Read):
        for relation in Relation:
            marks = ["✔" if may(action, role, kind, relation) else "✘" for role, kind in columns]
            if "✔" in marks:
                row = action.value.ljust(20) + relation.value.ljust(11) + " ".join(m.ljust(11) for m in marks)
                lines.append(row.rstrip())
    lines.append("")
    lines.append("act".ljust(20) + "seen by")
    for act, viewers in SEES.items():
        lines.append(act.value.ljust(20) + ", ".join(sorted(v.value for v in viewers)))
    return "\n".join([*lines, ""])
