"""Policy files: which logs and witnesses somebody knows, and which of them must have cosigned what is believed.

A policy is handed over outside of the system and pinned. The exchange reads one to learn where its witnesses are; an
auditor may hold one that is stricter than the quorum that the genesis act names; an evidence pack carries one so that
other people's tools need nothing else.

Must never: guess what a line means, take a key for two witnesses, or let a witness count in two ways.

Implements: C2SP tlog-policy (as of 2026-07); design §9.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from referral_api.auditlog.checkpoint import Quorum, TrustPolicy
from referral_api.auditlog.note import SignatureType, VerifierKey, parse_vkey
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.formats.directory_bodies import Genesis, WitnessPolicy
from referral_api.formats.strict_json import malformed

MAX_POLICY_BYTES: Final = 256 * 1024
MAX_NAMES: Final = 64
"""Logs, witnesses and groups, each; the specification asks for at least 32."""
NONE: Final = "none"
_OCTETS: Final = re.compile(rb"[\t\n\x20-\x7e\x80-\xff]*")
_NUMBER: Final = re.compile(r"[1-9][0-9]{0,2}")


@dataclass(frozen=True, slots=True)
class Log:
    """A log that the policy accepts: its key, named like its origin, and where it is read."""

    key: VerifierKey
    url: str | None = None


@dataclass(frozen=True, slots=True)
class Witness:
    """A witness's key under its name in this policy; `url` is its submission prefix."""

    name: str
    key: VerifierKey
    url: str | None = None


@dataclass(frozen=True, slots=True)
class Group:
    """A rule over names that were defined before it: so many of them."""

    name: str
    threshold: int
    members: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy as it was written. `quorum` names a witness or a group, or is `none`."""

    logs: tuple[Log, ...] = ()
    witnesses: tuple[Witness, ...] = ()
    groups: tuple[Group, ...] = ()
    quorum: str = NONE

    def rule(self) -> Quorum | None:
        """The quorum as a rule over keys; None where no cosignature is asked for."""
        if self.quorum == NONE:
            return None
        known: dict[str, Quorum | VerifierKey] = {witness.name: witness.key for witness in self.witnesses}
        for group in self.groups:
            known[group.name] = Quorum(group.threshold, tuple(known[name] for name in group.members))
        found = known[self.quorum]
        return found if isinstance(found, Quorum) else Quorum(1, (found,))

    def trust(self, *keys: VerifierKey) -> TrustPolicy:
        """Whom to believe about the log that has these keys, under this policy.

        Of a log whose keys were replaced a policy that lists logs may know some and not others: those that it lists
        count. Raises WRONG_ORIGIN where it lists logs and none of these; KEY_REUSED where a witness has one.
        """
        known = [key for key in keys if not self.logs or key in {one.key for one in self.logs}]
        if not known:
            raise ReferralError(ErrorCode.WRONG_ORIGIN, found=keys[0].name)
        if {key.public for key in known} & {witness.key.public for witness in self.witnesses}:
            raise ReferralError(ErrorCode.KEY_REUSED, key=known[0].name)
        rule, witnesses = self.rule(), tuple(witness.key for witness in self.witnesses)
        return TrustPolicy(known[0], witnesses, 0 if rule is None else rule, tuple(known[1:]))


def policy_of(quorum: int, witnesses: Sequence[VerifierKey], logs: Sequence[VerifierKey] = ()) -> Policy:
    """The policy that a genesis act states in short: so many of these witnesses, counted by the names of their keys."""
    named: dict[str, list[VerifierKey]] = {}
    for key in witnesses:
        named.setdefault(key.name, []).append(key)
    lines: list[Witness] = []
    groups: list[Group] = []
    members: list[str] = []
    for name, keys in named.items():
        own = [Witness(name if len(keys) == 1 else f"{name}#{at}", key) for at, key in enumerate(keys, 1)]
        lines += own
        if len(own) > 1:
            groups.append(Group(name, 1, tuple(one.name for one in own)))
        members.append(name)
    top = _free_name("quorum", {*members, *(line.name for line in lines)})
    groups.append(Group(top, quorum, tuple(members)))
    return Policy(tuple(Log(key) for key in logs), tuple(lines), tuple(groups), top)


def genesis_policy(genesis: Genesis) -> Policy:
    """The policy of an exchange's first act: `quorum none` where running without witnesses is its declared choice.

    Raises MALFORMED, KEY_UNSUITABLE for keys that are none, or not a witness's.
    """
    stated = genesis.witness_policy
    if not isinstance(stated, WitnessPolicy):
        return Policy()
    keys = [parse_vkey(text) for text in stated.witnesses]
    if any(key.type is SignatureType.ED25519 for key in keys) or len({key.public for key in keys}) != len(keys):
        raise ReferralError(ErrorCode.KEY_UNSUITABLE, reason="use")
    return policy_of(stated.quorum, keys)


def short_form(policy: Policy) -> tuple[int, tuple[VerifierKey, ...]]:
    """The number and the keys by which a genesis act states this policy.

    Raises MALFORMED (`reason` `quorum-shape`) for a rule that is not "so many witnesses, each by one of its own keys".
    """
    rule = policy.rule()
    if rule is None:
        raise malformed("quorum-shape")
    names: list[str] = []
    for member in rule.members:
        keys = member.keys() if isinstance(member, Quorum) else (member,)
        one_level = not isinstance(member, Quorum) or all(isinstance(key, VerifierKey) for key in member.members)
        if not one_level or (isinstance(member, Quorum) and member.threshold != 1) or len({k.name for k in keys}) != 1:
            raise malformed("quorum-shape")
        names.append(keys[0].name)
    if len(set(names)) != len(names):
        raise malformed("quorum-shape")
    return rule.threshold, rule.keys()


def states_the_same(one: Policy, other: Policy) -> bool:
    """Whether two policies ask for as many of the same witnesses. Raises MALFORMED as `short_form`."""
    (quorum, keys), (other_quorum, other_keys) = short_form(one), short_form(other)
    return quorum == other_quorum and set(keys) == set(other_keys)


def format_policy(policy: Policy) -> bytes:
    """The file: logs, witnesses, groups, quorum, a line each. What `parse_policy` reads back is the same policy."""
    lines = [_line("log", one.key.vkey, one.url) for one in policy.logs]
    lines += [_line("witness", one.name, one.key.vkey, one.url) for one in policy.witnesses]
    lines += [_line("group", one.name, str(one.threshold), *one.members) for one in policy.groups]
    lines.append(_line("quorum", policy.quorum))
    return "".join(lines).encode("utf-8", "surrogateescape")


def parse_policy(raw: bytes) -> Policy:
    """Read a policy file.

    Raises TOO_LARGE (`limit`), MALFORMED with `line` (from 1; 0: the file as a whole) and `reason`: `character`,
    `policy-line`, `name` (taken, or not defined before), `threshold`, `duplicate-key`, `quorum` (none, or a second
    one), `vkey`; KEY_UNSUITABLE for a key that is none.
    """
    if len(raw) > MAX_POLICY_BYTES:
        raise ReferralError(ErrorCode.TOO_LARGE, limit=MAX_POLICY_BYTES)
    if not _OCTETS.fullmatch(raw) or (raw and not raw.endswith(b"\n")):
        raise _refused("character", 0)
    reader = _Reader()
    # Names are octets to the specification; this way of decoding keeps every octet.
    for number, line in enumerate(raw.decode("utf-8", "surrogateescape").split("\n"), 1):
        words = [word for word in re.split("[ \t]+", line) if word]
        if words and not words[0].startswith("#"):
            reader.take(words, number)
    return reader.done()


class _Reader:
    """What the lines so far have defined."""

    def __init__(self) -> None:
        self._logs: list[Log] = []
        self._witnesses: list[Witness] = []
        self._groups: list[Group] = []
        self._quorum: str | None = None
        self._names: set[str] = set()
        self._members: set[str] = set()

    def take(self, words: Sequence[str], line: int) -> None:
        match words:
            case ["log", vkey] | ["log", vkey, _]:
                key = _key(vkey, line, is_log=True)
                self._logs.append(Log(key, words[2] if len(words) == 3 else None))
                self._demand_distinct([one.key.public for one in self._logs], line)
            case ["witness", name, vkey] | ["witness", name, vkey, _]:
                self._define(name, line)
                key = _key(vkey, line, is_log=False)
                self._witnesses.append(Witness(name, key, words[3] if len(words) == 4 else None))
                self._demand_distinct([one.key.public for one in self._witnesses], line)
            case ["group", name, threshold, *members] if members:
                self._groups.append(Group(name, _threshold(threshold, len(members), line), tuple(members)))
                self._use(members, line)
                self._define(name, line)
            case ["quorum", name]:
                if self._quorum is not None:
                    raise _refused("quorum", line)
                if name != NONE and name not in self._names:
                    raise _refused("name", line)
                self._quorum = name
            case _:
                raise _refused("policy-line", line)

    def done(self) -> Policy:
        if self._quorum is None:
            raise _refused("quorum", 0)
        return Policy(tuple(self._logs), tuple(self._witnesses), tuple(self._groups), self._quorum)

    def _define(self, name: str, line: int) -> None:
        if name == NONE or name in self._names or len(self._names) >= 2 * MAX_NAMES:
            raise _refused("name", line)
        self._names.add(name)

    def _use(self, members: Sequence[str], line: int) -> None:
        # A name may be a member once in the whole file: so each witness contributes in one way only.
        if not self._names.issuperset(members) or len(set(members)) != len(members) or self._members & set(members):
            raise _refused("name", line)
        self._members.update(members)

    @staticmethod
    def _demand_distinct(publics: Sequence[bytes], line: int) -> None:
        if len(set(publics)) != len(publics):
            raise _refused("duplicate-key", line)
        if len(publics) > MAX_NAMES:
            raise ReferralError(ErrorCode.TOO_LARGE, limit=MAX_NAMES)


def _key(text: str, line: int, *, is_log: bool) -> VerifierKey:
    try:
        key = parse_vkey(text)
    except (ReferralError, UnicodeEncodeError) as error:
        if isinstance(error, ReferralError) and error.code is ErrorCode.KEY_UNSUITABLE:
            raise
        raise _refused("vkey", line) from None
    if (key.type is SignatureType.ED25519) != is_log:
        raise ReferralError(ErrorCode.KEY_UNSUITABLE, reason="use", line=line)
    return key


def _threshold(text: str, members: int, line: int) -> int:
    if text in ("any", "all"):
        return 1 if text == "any" else members
    if not _NUMBER.fullmatch(text) or int(text) > members:
        raise _refused("threshold", line)
    return int(text)


def _refused(reason: str, line: int) -> ReferralError:
    return ReferralError(ErrorCode.MALFORMED, reason=reason, line=line)


def _line(*words: str | None) -> str:
    return " ".join(word for word in words if word is not None) + "\n"


def _free_name(wanted: str, taken: set[str]) -> str:
    while wanted in taken or wanted == NONE:
        wanted += "_"
    return wanted
