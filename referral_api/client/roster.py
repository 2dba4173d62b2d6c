"""Who and what a party consists of: its persons, services and workstations, looked through and taken away.

A statement is complete, so taking away is a statement without what ends. It acts at once, by one keyholder (R-32 b):
who leaves in the evening cannot call at night. With a person go the workstation keys that this person vouched for,
because their private halves lie in the same keystore. The yearly review prolongs whoever is still here and drops the
rest; prolonging adds, so where there are two keyholders the second confirms it.

Must never: drop the last keyholder or the one who signs, prolong whom nobody confirmed, or confirm in a second's name
anything but a review.

Implements: R-32 (b), R-33; design §5 (credentials).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from referral_api.client.admission import send_directory_act
from referral_api.client.enrolment import CREDENTIAL_TERM_S
from referral_api.client.keystore import CredentialKeys
from referral_api.client.session import Session
from referral_api.client.trust import Confirmed
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import Act, ActId, CredentialId, Digest, Role
from referral_api.formats.act import RawAct
from referral_api.formats.directory_bodies import ApproveStatement, CredentialEntry, EncryptionEntry, Statement
from referral_api.formats.parties import Approver, Party, Pending
from referral_api.formats.statement_rules import check_statement, dormant, standing
from referral_api.formats.statements import KeyMap, parse_keys_leaf

ENDS_SOON_S = 60 * 24 * 3600
STATION = "station/"
"""How the name of a workstation's line begins; a credential's line has the credential's short id."""
BACKUP = "backup"


class Kind(StrEnum):
    """What one line of the roster is."""

    PERSON = "person"
    SERVICE = "service"
    STATION = "station"
    BACKUP = "backup"


@dataclass(frozen=True, slots=True)
class Line:
    """One credential, or one workstation with its newest key. Times are unix seconds.

    `keeper` is the person whose keystore holds a workstation's key; `vouched_by` who signed for it first, and approved
    that where it took two. `own`: of whoever looks. `revoked`: a key of it (or of its keeper) is, and it ends with the
    next statement, whatever that says.
    """

    name: str
    kind: Kind
    since: int
    until: int
    vouched_by: tuple[str, ...]
    keeper: str | None = None
    keyholder: bool = False
    own: bool = False
    revoked: bool = False


@dataclass(frozen=True, slots=True)
class Roster:
    """A party as its statement in effect has it, line by line, and a statement that waits for a second keyholder."""

    party: Party
    lines: tuple[Line, ...]
    pending: Pending | None


@dataclass(frozen=True, slots=True)
class Removal:
    """What a statement without some of its lines would end and leave, before anybody signs it.

    `overtakes`: a statement that waits for a second keyholder, and falls with this one.
    """

    party: Party
    body: Mapping[str, Any]
    ends: tuple[Line, ...]
    stations_left: tuple[str, ...]
    keyholders_left: tuple[CredentialId, ...]
    overtakes: Pending | None


def roster(session: Session) -> Roster:
    """Our own party, line by line, from the newest keys log. Raises NOT_ENROLLED."""
    keymap = session.sync_keys().keymap
    party = keymap.find_party(session.profile.party)
    if party is None:
        raise ReferralError(ErrorCode.NOT_ENROLLED)
    vouched = _vouched(session, party)
    own = {session.profile.person, session.profile.service}
    lines = [_credential_line(keymap, party, entry, vouched, own) for entry in party.body.credentials]
    lines += _station_lines(keymap, party, vouched, own)
    pending = keymap.find_pending(party.id)
    second = Approver.SECOND_REGISTRAR if party.role is Role.REGISTRAR else Approver.KEYHOLDER
    is_ours = pending is not None and pending.waits_for in (second, Approver.KEYHOLDER)
    return Roster(party, tuple(lines), pending if is_ours else None)


def removal(session: Session, keys: CredentialKeys, gone: Collection[str]) -> Removal:
    """What it means to drop these lines, by name; with a person its workstations.

    Raises NOT_FOUND for a name that is none; NOT_PERMITTED (`needs` keyholder: whoever signs is none; `reason`
    last-keyholder, oneself).
    """
    found = roster(session)
    ends = _ending(session.keymap, found, keys, gone, session.now())
    return _removal(session, keys, found, ends, {})


def remove(session: Session, keys: CredentialKeys, what: Removal, act_id: ActId) -> Confirmed:
    """Sign and send it. Raises as `send_directory_act`; STATEMENT_OUT_OF_SEQUENCE where another was quicker."""
    return send_directory_act(session, keys, Act.STATEMENT, what.body, act_id)


def reviewed(session: Session, keys: CredentialKeys, here: Collection[str], gone: Collection[str]) -> Removal:
    """What a review would change: whoever is `here` is prolonged for a year, whoever is `gone` is dropped.

    Every line must be answered for; a workstation goes with its keeper, unasked. The key of a workstation is not
    prolonged: it is renewed by the workstation itself. Raises as `removal`, and MALFORMED (`reason` unanswered or
    answered-twice, `names`).
    """
    found = roster(session)
    ends = _ending(session.keymap, found, keys, gone, session.now())
    ending = {line.name for line in ends}
    both, open_ = sorted({*here} & ending), sorted({line.name for line in found.lines} - ending - {*here})
    if both or open_:
        reason = "answered-twice" if both else "unanswered"
        raise ReferralError(ErrorCode.MALFORMED, reason=reason, names=", ".join(both or open_))
    until = session.now() + CREDENTIAL_TERM_S
    return _removal(session, keys, found, ends, dict.fromkeys(here, until))


def confirm(session: Session, keys: CredentialKeys, statement: Digest, act_id: ActId) -> Confirmed:
    """Approve, as a second keyholder, another keyholder's review, by the digest that was looked at.

    No digits are compared, because nothing in it is new. Raises STATEMENT_OUT_OF_SEQUENCE (`not-pending`);
    NOT_PERMITTED (`reason` oneself; not-a-review: it adds keys or rights, and those are approved with digits).
    """
    found = roster(session)
    if found.pending is None or found.pending.digest != statement:
        raise ReferralError(ErrorCode.STATEMENT_OUT_OF_SEQUENCE, reason="not-pending", statement=statement)
    if found.pending.signer == keys.credential:
        raise ReferralError(ErrorCode.NOT_PERMITTED, act=Act.APPROVE_STATEMENT.value, reason="oneself")
    if not is_review(found.pending.body, found.party.body):
        raise ReferralError(ErrorCode.NOT_PERMITTED, act=Act.APPROVE_STATEMENT.value, reason="not-a-review")
    body = {"party": found.party.id, "statement": statement}
    return send_directory_act(session, keys, Act.APPROVE_STATEMENT, body, act_id)


def is_review(statement: Statement, before: Statement) -> bool:
    """Whether a statement does no more than a review may: what it lists was listed, and changes only its end."""
    known = {one.id: one for one in before.credentials}
    return (
        statement.entry == before.entry
        and {*statement.enc} <= {*before.enc}
        and all(
            (was := known.get(one.id)) is not None and one.model_copy(update={"until_at": was.until_at}) == was
            for one in statement.credentials
        )
    )


def changes(found: Roster, statement: Statement) -> tuple[list[Line], list[tuple[Line, int]]]:
    """What a statement would make of these lines: those that end, and those that are prolonged, with their new end."""
    listed = {one.id: int(one.until_at.timestamp()) for one in statement.credentials}
    listed |= {_station_name(one): int(one.until_at.timestamp()) for one in statement.enc}
    ends = [line for line in found.lines if line.name not in listed]
    longer = [(line, listed[line.name]) for line in found.lines if listed.get(line.name, 0) > line.until]
    return ends, longer


def _ending(keymap: KeyMap, found: Roster, keys: CredentialKeys, gone: Collection[str], now: int) -> tuple[Line, ...]:
    """The lines that end with these names, their workstations among them."""
    names = {name.removeprefix(f"{found.party.id}.") for name in gone}
    if names - {line.name for line in found.lines}:
        raise ReferralError(ErrorCode.NOT_FOUND)
    if keys.credential.partition(".")[2] in names:
        # Whoever has signed away the own credential could not even fetch what came of it.
        others = any(one.id != keys.credential for one in keymap.keyholders(found.party, now))
        reason = "oneself" if others else "last-keyholder"
        raise ReferralError(ErrorCode.NOT_PERMITTED, act=Act.STATEMENT.value, reason=reason)
    return tuple(line for line in found.lines if line.name in names or line.keeper in names or line.revoked)


def _removal(
    session: Session, keys: CredentialKeys, found: Roster, ends: tuple[Line, ...], until: Mapping[str, int]
) -> Removal:
    party, now, gone = found.party, session.now(), {line.name for line in ends}
    signer = session.keymap.find_credential(keys.credential)
    if signer is None or not signer.keyholder:
        raise ReferralError(ErrorCode.NOT_PERMITTED, act=Act.STATEMENT.value, needs="keyholder")
    credentials, enc = standing(party.body, session.keymap.find_key)
    kept = [one for one in credentials if one.id not in gone]
    owners = session.keymap.owners_of(party.id)
    listed = [one for one in enc if _station_name(one) not in gone]
    asleep = dormant(listed, kept, session.keymap.find_key, owners, now)
    body = {
        "seq": party.seq + 1,
        "prev_statement": party.statement,
        "entry": party.entry.wire(),
        "credentials": [one.wire() | ({"until": until[one.id]} if one.id in until else {}) for one in kept],
        "enc": [one.wire() for one in listed if one.kid in asleep or one.until_at.timestamp() > now],
    }
    keyholders = tuple(one.id for one in session.keymap.keyholders(party, now) if one.id.partition(".")[2] not in gone)
    statement = Statement.parse(body, code=ErrorCode.ACT_SCHEMA)
    check_statement(party.id, statement, party.body, session.keymap.find_key, owners)
    reached = [one for one in statement.enc if one.use != BACKUP and one.kid not in asleep]
    stations = sorted({one.station or str(one.kid) for one in reached})
    return Removal(party, body, ends, tuple(stations), keyholders, found.pending)


def _credential_line(
    keymap: KeyMap,
    party: Party,
    entry: CredentialEntry,
    vouched: Mapping[str, tuple[int, tuple[str, ...]]],
    own: Collection[CredentialId | None],
) -> Line:
    since, by = vouched[entry.id]
    return Line(
        name=entry.id,
        kind=Kind(entry.kind.value),
        since=since,
        until=int(entry.until_at.timestamp()),
        vouched_by=by,
        keyholder=bool(entry.keyholder),
        own=party.body.credential_id(entry) in own,
        revoked=any(keymap.get_key(kid).revoked for kid in (entry.access, *entry.seal)),
    )


def _station_lines(
    keymap: KeyMap,
    party: Party,
    vouched: Mapping[str, tuple[int, tuple[str, ...]]],
    own: Collection[CredentialId | None],
) -> Iterator[Line]:
    """One line a workstation, of its newest key; its age is that of its oldest."""
    left, _ = standing(party.body, keymap.find_key)
    revoked = {one.id for one in party.body.credentials} - {one.id for one in left}
    newest: dict[str, EncryptionEntry] = {}
    for one in sorted(party.body.enc, key=lambda one: one.from_at):
        newest[_station_name(one)] = one
    for name, one in sorted(newest.items()):
        keeper = keymap.keeper_of(keymap.get_key(one.kid))
        yield Line(
            name=name,
            kind=Kind.BACKUP if one.use == BACKUP else Kind.STATION,
            since=vouched[name][0],
            until=int(one.until_at.timestamp()),
            vouched_by=vouched[name][1],
            keeper=keeper or None,
            own=f"{party.id}.{keeper}" in own,
            revoked=keeper in revoked
            or all(keymap.get_key(key.kid).revoked for key in party.body.enc if _station_name(key) == name),
        )


def _station_name(key: EncryptionEntry) -> str:
    return BACKUP if key.use == BACKUP else STATION + (key.station or str(key.kid))


def _vouched(session: Session, party: Party) -> dict[str, tuple[int, tuple[str, ...]]]:
    """When each line of a party first stood in a statement that took effect, and who signed and approved that."""
    stated: dict[Digest, RawAct] = {}
    approved: dict[str, str] = {}
    for leaf in session.replica.leaves:
        act = parse_keys_leaf(leaf)
        if not isinstance(act, RawAct):
            continue
        if isinstance(act.body, Statement) and act.body.entry.id == party.id:
            stated[act.digest] = act
        elif isinstance(act.body, ApproveStatement) and act.body.party == party.id:
            approved[act.body.statement] = act.iss
    found: dict[str, tuple[int, tuple[str, ...]]] = {}
    place: Digest | None = party.statement
    while place is not None:
        act, body = stated[place], stated[place].body
        if not isinstance(body, Statement):
            raise TypeError("the body of a statement act is a Statement")
        by = (act.iss, approved[place]) if place in approved else (act.iss,)
        names = [*(one.id for one in body.credentials), *(_station_name(one) for one in body.enc)]
        found |= dict.fromkeys(names, (act.iat, by))
        place = None if body.prev_statement is None else Digest(body.prev_statement)
    return found
