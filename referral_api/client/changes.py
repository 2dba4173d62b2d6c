"""What the keys log says of one's own party that was not done on this workstation: leaf by leaf, and why it is told.

Every act about this party is told by who signed it. What was made here is noted before it is sent (`ProfileDir
.note_made`) and is nothing new. What a colleague signed is a notice, for somebody to ask the colleague. An alarm is:
what this workstation's own keys have signed and this workstation has not; what somebody outside the party has signed, a
registrar person's recovery above all; and what gives this workstation other keys than it holds, or takes keys away.

Must never: read a file or a clock, or take a key for ours because the log says so.

Implements: R-102; design §5; docs/decisions/0027.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any, Final

from referral_api.domain.words import Act, CredentialId, Digest, KeyUse, Kid, PartyId
from referral_api.formats.act import RawAct
from referral_api.formats.directory_bodies import ApproveStatement, CredentialEntry, Object, Revoke, Statement
from referral_api.formats.statements import KeyMap, parse_keys_leaf


class Cause(StrEnum):
    """Why a change is told."""

    OUTSIDER = "outsider"
    """Signed by somebody who is not of this party: a registrar person, or the exchange."""
    NOT_HERE = "not_here"
    """Signed with the keys of this workstation's own credential, and not on this workstation."""
    OWN_KEYS = "own_keys"
    """Changes, drops or revokes keys of this credential or workstation, and those that follow are not held here; or
    takes rights or time away from it."""
    COLLEAGUE = "colleague"
    """Signed by somebody else of this party."""
    EXCHANGE = "exchange"
    """The exchange has other keys of its own."""


MAX_OPEN: Final = 200
"""How many notices wait for an answer, and how many alarms each by itself."""
_NOTICES = frozenset({Cause.COLLEAGUE, Cause.EXCHANGE})


@dataclass(frozen=True, slots=True)
class Change:
    """One act of the keys log that concerns this party and was not made here; `at` is its signer's time (`iat`).

    `statement` is the one that it is, approves or objects to; `added`, `dropped` and `revoked` are keys. It stands for
    `more` later acts beside itself that the same credential signed, and are told for the same cause.
    """

    digest: Digest
    act: Act
    by: CredentialId
    at: int
    index: int
    cause: Cause
    statement: Digest | None = None
    added: tuple[Kid, ...] = ()
    dropped: tuple[Kid, ...] = ()
    revoked: tuple[Kid, ...] = ()
    more: int = 0

    @property
    def alarm(self) -> bool:
        """Whether it is more than a notice."""
        return self.cause not in _NOTICES


@dataclass(slots=True)
class Judge:
    """What the leaves say, one after the other."""

    party: PartyId
    own: frozenset[CredentialId]
    made: frozenset[str]
    """Digests and thumbprints, as noted."""
    held: set[str]
    """Keys that are ours because of what was made here."""
    open: list[Change]
    """What waits for a person's answer."""

    def take(self, keymap: KeyMap, leaf: bytes, index: int) -> None:
        """Judge one leaf, and fold it into `keymap`, which stands before it."""
        parsed = parse_keys_leaf(leaf)
        exchange = _exchange_keys(keymap)
        change = self._change(keymap, parsed, index) if isinstance(parsed, RawAct) else None
        keymap.extend(leaf, verify=False)
        if isinstance(parsed, RawAct) and (now := _exchange_keys(keymap)) != exchange:
            added, dropped = tuple(sorted(now - exchange)), tuple(sorted(exchange - now))
            cause = Cause.EXCHANGE
            change = Change(
                parsed.digest, parsed.act, parsed.iss, parsed.iat, index, cause, added=added, dropped=dropped
            )
        if change is not None:
            self.open.append(change)

    def _change(self, keymap: KeyMap, act: RawAct, index: int) -> Change | None:
        """What an act changes of this party's, and why it is told; None for nothing, and for our own doing."""
        found = self._about(keymap, act)
        if found is None:
            return None
        statement, body, kid = found
        party = keymap.find_party(self.party)
        before = None if party is None else party.body
        mine = set() if before is None else ours(before, keymap, self.party, self.own)
        next_mine = mine if body is None else ours(body, keymap, self.party, self.own)
        if act.digest in self.made:
            self.held |= next_mine
            # Whoever approves or objects has looked at it.
            self.open = [one for one in self.open if one.digest != statement or one.more]
            return None
        earlier = next((one for one in self.open if one.digest == statement and one.alarm), None)
        if act.iss in self.own:
            cause = Cause.NOT_HERE
        elif act.party != self.party:
            cause = Cause.OUTSIDER
        elif (kid is not None and kid in mine) or (
            body is not None and self._loses(before, body, mine, next_mine, act)
        ):
            cause = Cause.OWN_KEYS
        elif isinstance(act.body, ApproveStatement) and earlier is not None:
            cause = earlier.cause
        elif isinstance(act.body, ApproveStatement) and statement in self.made:
            self.held |= next_mine
            return None
        elif kid is not None and not _lives(before, kid, act.iat):
            return None  # A key that is spent, whose destruction its owner has receipted.
        else:
            cause = Cause.COLLEAGUE
        was, will = (set() if one is None else set(one.kids()) for one in (before, body))
        added, dropped = ((), ()) if body is None else (tuple(sorted(will - was)), tuple(sorted(was - will)))
        revoked = () if kid is None else (kid,)
        return Change(act.digest, act.act, act.iss, act.iat, index, cause, statement, added, dropped, revoked)

    def _about(self, keymap: KeyMap, act: RawAct) -> tuple[Digest | None, Statement | None, Kid | None] | None:
        """Which statement of this party an act is, approves or objects to, what it says, and which key it revokes."""
        body, pending = act.body, keymap.find_pending(self.party)
        if isinstance(body, Statement):
            return (act.digest, body, None) if body.entry.id == self.party else None
        if isinstance(body, ApproveStatement) and body.party == self.party and pending is not None:
            return pending.digest, pending.body, None
        if isinstance(body, Object) and pending is not None and pending.digest == body.statement:
            return pending.digest, None, None
        if isinstance(body, Revoke) and keymap.get_key(body.kid).party == self.party:
            return None, None, Kid(body.kid)
        return None

    def _loses(
        self, before: Statement | None, body: Statement, mine: set[str], next_mine: set[str], act: RawAct
    ) -> bool:
        """Whether this workstation would stand in the directory with keys that it does not hold, or without its own, or
        with less than they could do.
        """
        if next_mine - mine - self.held - self.made:
            return True
        if before is None:
            return False
        listed = {body.credential_id(one): one for one in body.credentials}
        own = [(one, listed.get(before.credential_id(one))) for one in before.credentials]
        if any(before.credential_id(was) in self.own and (one is None or _less(one, was)) for was, one in own):
            return True
        ends = {key.kid: key.until_at for key in body.enc}
        if any(key.kid in mine and ends.get(key.kid, key.until_at) < key.until_at for key in before.enc):
            return True
        stations = {key.station for key in body.enc if key.kid in next_mine}
        return any(
            key.kid in mine and key.kid not in next_mine and key.until_at.timestamp() > act.iat
            and (key.station is None or key.station not in stations)
            for key in before.enc
        )  # fmt: skip


def _less(one: CredentialEntry, was: CredentialEntry) -> bool:
    """Whether a credential may do less than it could: for a shorter time, or admit nobody any more."""
    later = one.from_at is not None and (was.from_at is None or one.from_at > was.from_at)
    return later or one.until_at < was.until_at or (bool(was.keyholder) and not one.keyholder)


def bounded(changes: Sequence[Change]) -> tuple[Change, ...]:
    """What is remembered of them: the newest MAX_OPEN notices, and every alarm, though of those that are older than the
    newest MAX_OPEN the first of each signer stands for the rest. A thief who signs all night must not fill the file.
    """
    notices, alarms = ([one for one in changes if one.alarm is alarm] for alarm in (False, True))
    first: dict[tuple[CredentialId, Cause], Change] = {}
    for one in alarms[:-MAX_OPEN]:
        known = first.get((one.by, one.cause))
        first[one.by, one.cause] = one if known is None else replace(known, more=known.more + 1 + one.more)
    return tuple(sorted([*notices[-MAX_OPEN:], *first.values(), *alarms[-MAX_OPEN:]], key=lambda one: one.index))


def _lives(statement: Statement | None, kid: Kid, at: int) -> bool:
    """Whether a statement lists a key, and as an encryption key beyond this time."""
    listed = () if statement is None else statement.enc
    ends = next((key.until_at.timestamp() for key in listed if key.kid == kid), None)
    return statement is not None and kid in set(statement.kids()) and (ends is None or ends > at)


def ours(body: Statement, keymap: KeyMap, party: PartyId, own: Iterable[CredentialId]) -> set[str]:
    """The keys that a statement lists for these credentials, and for the workstations that they vouched for."""
    shorts = {one.partition(".")[2] for one in own}
    listed = {kid for one in body.credentials if one.id in shorts for kid in (one.access, *one.seal)}
    seals = listed | {kid for kid, owner in keymap.owners_of(party).items() if owner in shorts}
    enc = [(key.kid, keymap.find_key(key.kid)) for key in body.enc]
    return listed | {kid for kid, record in enc if record is not None and seals.issuperset(record.signed_by)}


def _exchange_keys(keymap: KeyMap) -> frozenset[Kid]:
    uses = (KeyUse.TOKEN, KeyUse.RECEIPT, KeyUse.ACT, KeyUse.LOG)
    return frozenset(one.kid for use in uses for one in keymap.exchange_keys(use) if not one.revoked)


def encode_change(change: Change) -> dict[str, Any]:
    """Its JSON members."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(change).items()}


def parse_change(told: Any) -> Change:
    """What `encode_change` wrote. Raises LookupError, TypeError, ValueError or AttributeError for anything else."""

    def kids(name: str) -> tuple[Kid, ...]:
        return tuple(Kid(str(one)) for one in told[name])

    return Change(
        digest=Digest(str(told["digest"])),
        act=Act(told["act"]),
        by=CredentialId(str(told["by"])),
        at=int(told["at"]),
        index=int(told["index"]),
        cause=Cause(told["cause"]),
        statement=None if told["statement"] is None else Digest(str(told["statement"])),
        added=kids("added"),
        dropped=kids("dropped"),
        revoked=kids("revoked"),
        more=int(told.get("more", 0)),
    )
