"""Watching one's own keys: the keys log is followed, and what is new about this party is told until a person answers.

What of it is told, and why, is changes.py's to judge. A workstation remembers how far it has looked and what waits for
an answer, so that no restart loses an alarm; and it tells of a keys log that is not to be trusted: not freshly
cosigned, cosigned to its end by nobody, or not to be had.

Must never: close what no person has answered, ask a keystore for more than public keys, or let an exchange that does
not answer stop whoever else waits.

Implements: R-102; design §5; docs/decisions/0027.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final

from referral_api.client import freshness, outage, sealing
from referral_api.client.changes import Change, Judge, bounded, encode_change, ours, parse_change
from referral_api.client.keystore import CredentialKeys
from referral_api.client.profile import Pin, ProfileDir, corrupt, read_private
from referral_api.client.session import Session
from referral_api.client.trust import Replica, witnessed_pin
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import CredentialId, Digest
from referral_api.formats.parties import Pending
from referral_api.formats.statements import KeyMap
from referral_api.formats.strict_json import canonical, parse

LOOK_S: Final = 600
"""How often the keys log is looked at, at the most: a cosigned checkpoint of it is renewed as often."""
RETRY_S: Final = 60
REMIND_S: Final = 3600
"""How often an alarm that nobody has answered is told again."""
_MAX_BYTES = 1 << 22
"""What MAX_OPEN notices and alarms of the longest statements take, and more."""


class Trouble(StrEnum):
    """What is wrong on this workstation with what the watch remembers or needs."""

    BEGUN_ANEW = "begun_anew"
    """Its memory was damaged: it is set aside, and all that the log holds is told again."""
    NOT_WATCHED = "not_watched"
    """Files of this profile cannot be read or written, so that nobody watches."""


@dataclass(frozen=True, slots=True)
class KeysReport:
    """How this party's keys stand. `open` waits for a person's answer; `told` is what of it is to be said now.

    The times (unix seconds) say since when something has been wrong with the log itself: it is not freshly cosigned
    (`stale_since`), its end is cosigned by nobody (`uncosigned_since`), or it cannot be had (`unread_since`). `trouble`
    is of this workstation's own.
    """

    size: int
    open: tuple[Change, ...]
    told: tuple[Change, ...]
    stale_since: int | None = None
    uncosigned_since: int | None = None
    unread_since: int | None = None
    trouble: Trouble | None = None

    @property
    def doubtful(self) -> bool:
        """Whether the log itself, or our looking at it, gives cause for alarm."""
        return self.trouble is not None or any(
            one is not None for one in (self.stale_since, self.uncosigned_since, self.unread_since)
        )

    @property
    def alarm(self) -> bool:
        """Whether anything is more than a notice."""
        return self.doubtful or any(one.alarm for one in self.open)


@dataclass(frozen=True, slots=True)
class _Seen:
    """What is remembered: how far was looked, which keys are ours, what is open, since when an end is uncosigned."""

    pin: Pin
    held: frozenset[str]
    open: tuple[Change, ...] = ()
    cosigned: int = 0
    """How much a quorum had cosigned when it began to lag behind."""
    lags_since: int | None = None

    def encode(self) -> bytes:
        """The file."""
        return canonical(
            {
                "cosigned": self.cosigned,
                "held": sorted(self.held),
                "lags_since": self.lags_since,
                "open": [encode_change(one) for one in self.open],
                "root": self.pin.root.hex(),
                "size": self.pin.size,
                "v": 1,
            }
        )


@dataclass(slots=True)
class Watch:
    """One process's watch over the keys log. `keys` are those that are unlocked, if any are."""

    session: Session
    keys: CredentialKeys | None
    _at: KeyMap | None = None
    """The key map as of what was last looked at, so that nobody folds the whole log for one new leaf."""
    _told: set[Digest] = field(default_factory=set)
    _looks_at: int = 0
    _reminds_at: int = 0
    _looked_at: int | None = None
    _trouble: Trouble | None = None
    """What was told of last."""

    def look(self, *, patient: bool = True) -> KeysReport:
        """Follow the keys log and judge what is new of it. Raises as `Session.sync_keys`, KEYSTORE_CORRUPT."""
        session, directory = self.session, self.session.directory
        replica = session.sync_keys(patient=patient)
        while True:
            raw, seen = _read(directory)
            if seen is not None and seen.pin.size > replica.size:
                replica = session.sync_keys()  # Another process of this profile has seen more.
            grown = self._judge(replica, seen)
            if grown is None:
                return self._report(replica, None)
            encoded = grown.encode()
            if encoded == raw or directory.swap(directory.keys_watch, raw, encoded, max_bytes=_MAX_BYTES):
                self._at = replica.keymap.copy()
                return self._report(replica, grown)

    def news(self) -> KeysReport | None:
        """Look, if it is time; None where there is nothing to say.

        At first everything is told that is open, then what is new, and every REMIND_S the alarms again. That the
        exchange does not answer is told once it has lasted, and damaged files at once: others than this watch go on
        meanwhile. Raises what says that the keys log is not to be trusted.
        """
        now = self.session.ambient.now()
        if now < self._looks_at:
            return None
        self._looks_at = now + LOOK_S
        self._looked_at = now if self._looked_at is None else self._looked_at
        try:
            report = self.look_anew(patient=False)
        except (ReferralError, OSError) as error:
            # It says nothing about the keys log, which is asked again; told if it goes on for an hour.
            away = outage.is_passing(error)
            if not away and isinstance(error, ReferralError) and error.code is not ErrorCode.KEYSTORE_CORRUPT:
                raise
            self._looks_at = now + RETRY_S
            if away and now - self._looked_at <= freshness.FRESH_S:
                return None
            since = self._looked_at if away else None
            report = KeysReport(0, (), (), unread_since=since, trouble=None if away else Trouble.NOT_WATCHED)
        else:
            self._looked_at = now
        reminds = now >= self._reminds_at
        told = tuple(one for one in report.open if one.digest not in self._told or (one.alarm and reminds))
        self._told |= {one.digest for one in told}
        known, self._trouble = self._trouble, report.trouble
        if not told and not (report.doubtful and reminds) and report.trouble in (None, known):
            return None
        if report.alarm and reminds:
            self._reminds_at = now + REMIND_S
        return replace(report, told=told)

    def look_anew(self, *, patient: bool = True) -> KeysReport:
        """`look`; where our memory is damaged set it aside, begin anew, and have everything told again."""
        try:
            return self.look(patient=patient)
        except ReferralError as error:
            if error.code is not ErrorCode.KEYSTORE_CORRUPT or not _set_aside(self.session.directory):
                raise
        self._told.clear()
        return replace(self.look(patient=patient), trouble=Trouble.BEGUN_ANEW)

    def _report(self, replica: Replica, seen: _Seen | None) -> KeysReport:
        now = self.session.now()
        stale = freshness.stale_since(self.session.directory, replica, now)
        open_, lags = ((), None) if seen is None else (seen.open, seen.lags_since)
        uncosigned = lags if lags is not None and now - lags > freshness.FRESH_S else None
        return KeysReport(replica.size, open_, open_, stale, uncosigned)

    def _judge(self, replica: Replica, seen: _Seen | None) -> _Seen | None:
        """What is to be remembered once these leaves were looked at; None for who is on no leaf yet."""
        profile = self.session.profile
        party = profile.party
        own = frozenset(one for one in (profile.person, profile.service) if one is not None)
        if seen is None:
            keymap = _joined(replica, own)
            if keymap is None:
                return None
            found = keymap.find_party(party)
            held = frozenset[str]() if found is None else frozenset(ours(found.body, keymap, party, own))
            seen = _Seen(Pin(keymap.size, b""), held)
        else:
            replica.verify_pin(seen.pin)
            known = self._at if self._at is not None and self._at.size == seen.pin.size else None
            same = seen.pin.size == replica.size
            keymap = replica.keymap if same else known.copy() if known is not None else replica.fold(seen.pin.size)
        made = self.session.directory.made()
        judge = Judge(
            party, own, made, set(seen.held if self.keys is None else seen.held | kids_of(self.keys)), list(seen.open)
        )
        for index in range(seen.pin.size, replica.size):
            judge.take(keymap, replica.leaves[index], index)
        pin = Pin(replica.size, replica.frontier.root())
        cosigned, lags_since = self._lag(replica, seen)
        return _Seen(pin, frozenset(judge.held), bounded(judge.open), cosigned, lags_since)

    def _lag(self, replica: Replica, seen: _Seen) -> tuple[int, int | None]:
        """How much a quorum has cosigned, and since when no more of what is there; a new end takes a moment."""
        if replica.keymap.witness_policy is None:
            return 0, None
        pin = self.session.directory.find_pin(witnessed_pin(replica.keymap.issuer))
        cosigned = 0 if pin is None else pin.size
        if cosigned >= replica.size:
            return cosigned, None
        same = seen.lags_since is not None and seen.cosigned == cosigned
        return cosigned, seen.lags_since if same else self.session.now()


def kids_of(keys: CredentialKeys) -> frozenset[str]:
    """The thumbprints of all keys of a credential, those among them that are still to come."""
    signing = {one.signing_key().kid for one in (keys.access, *keys.seal, *keys.coming)}
    return frozenset(signing | {sealing.enc_private_key(one.alg, one.secret).kid for one in keys.enc})


def answer(directory: ProfileDir, *digests: str) -> tuple[Change, ...]:
    """Close what a person has answered, by the digests of the acts; those that were open."""
    while True:
        raw, seen = _read(directory)
        if seen is None or raw is None:
            return ()
        answered = tuple(one for one in seen.open if one.digest in digests)
        left = replace(seen, open=tuple(one for one in seen.open if one.digest not in digests))
        if not answered or directory.swap(directory.keys_watch, raw, left.encode(), max_bytes=_MAX_BYTES):
            return answered


def find_waiting(keymap: KeyMap, statement: str) -> Pending | None:
    """The statement of this digest, whosesoever, that waits on the keys log."""
    return next((one for one in keymap.pending() if one.digest == statement), None)


def _joined(replica: Replica, own: Iterable[CredentialId]) -> KeyMap | None:
    """The key map of the leaf with which one of these credentials came into effect: what was before is not ours."""
    keymap = KeyMap.start(replica.leaves[0])
    for leaf in replica.leaves[1:]:
        keymap.extend(leaf, verify=False)
        if any(keymap.find_credential(one) is not None for one in own):
            return keymap
    return None


def _read(directory: ProfileDir) -> tuple[bytes | None, _Seen | None]:
    """The file and what it says. Raises KEYSTORE_CORRUPT: to begin anew in silence would hide that it was touched."""
    try:
        raw = read_private(directory.keys_watch, max_bytes=_MAX_BYTES)
    except FileNotFoundError:
        return None, None
    try:
        told = parse(raw, max_bytes=_MAX_BYTES)
        pin = Pin(int(told["size"]), bytes.fromhex(told["root"]))
        lags = told["lags_since"]
        open_ = tuple(parse_change(one) for one in told["open"])
        seen = _Seen(pin, frozenset(map(str, told["held"])), open_, int(told["cosigned"]), lags and int(lags))
    except (ReferralError, LookupError, TypeError, ValueError, AttributeError):
        raise corrupt("contents") from None
    return raw, seen


def _set_aside(directory: ProfileDir) -> bool:
    """Put our file aside, as `keys-watch.json.damaged`, if it is damaged; False if it is not."""
    path = directory.keys_watch
    try:
        _read(directory)
    except ReferralError:
        path.replace(path.with_name(f"{path.name}.damaged"))
        return True
    return False
