"""Histories of a directory, as anybody might write them: sensible acts, senseless ones, and false ones.

A history is a list of steps, each a few small numbers, so that any list of numbers is one and a failing one shrinks.
The author goes by the naive directory alone, and says of every leaf that it writes what it says. Keys are of one pool.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

from referral_api.domain.words import Act, CredentialKind, KeyUse
from referral_api.formats.keys import Alg, SoftwareSigningKey
from referral_api.formats.strict_json import b64u, canonical, parse, sha256_b64u, unb64u
from tests.formats import parties_world as pw
from tests.formats.naive_directory import DAY, Directory, Entered, Said
from tests.formats.parties_world import NOW, Someone

Step = tuple[str, int, int, int, int, str]
"""What, who, of or about whom, how, seconds later, and what is false about it."""
Entry = tuple[bytes, Entered]
Written = Entry | tuple[bytes, Said]
BOTH = (Alg.ED25519, Alg.ML_DSA_65)
GENERATIONS, NAMES = 3, 10
PARTIES = {"registro": "registrar", "divtrata": "police_unit", "linea": "hotline", "otra": "police_unit"}
PEOPLE = (
    Someone("registro", "mara", keyholder=True),
    Someone("registro", "raul"),
    Someone("divtrata", "luis", keyholder=True, algs=BOTH),
    Someone("divtrata", "rosa"),
    Someone("divtrata", "nora"),
    Someone("divtrata", "desk", kind=CredentialKind.SERVICE, algs=()),
    Someone("linea", "olga", keyholder=True),
    Someone("linea", "bot1", kind=CredentialKind.SERVICE),
    Someone("otra", "anna", keyholder=True),
    Someone("otra", "benj"),
)
LATER = (0, 0, 60, DAY // 24, DAY, DAY + 60, 8 * DAY, 31 * DAY, 200 * DAY, -90, -DAY)
FLAWS = ("", "", "", "", "", "", "", "forged", "stranger", "elsewhere", "sequence", "stripped", "old-keys")
WHAT = (
    "enter",
    *("state",) * 6,
    *("approve",) * 5,
    "object",
    "revoke",
    *("recover",) * 2,
    "sync",
    "client",
    "exchange",
    "again",
)
CHANGES = (
    "add", "add", "drop", "rekey", "rekey", "keyholder", "until", "enc", "enc", "renew-enc", "drop-enc", "phone",
    "nothing", "move-enc", "return", "return", "steal", "require", "from", "last-enc",
    "ladder", "ladder",
)  # fmt: skip


@cache
def someone(party: str, short: str, generation: int) -> Someone:
    """A person or service with the keys of one generation."""
    return replace(next(one for one in PEOPLE if (one.party, one.short) == (party, short)), generation=generation)


@cache
def seals_of(party: str, short: str, generation: int) -> list[SoftwareSigningKey]:
    """Its seal keys."""
    return someone(party, short, generation).seals


@cache
def own_entries(party: str, short: str, generation: int) -> tuple[Entry, ...]:
    """Its own keys' entries."""
    one = someone(party, short, generation)
    keys = [(KeyUse.ACCESS, one.access), *((KeyUse.SEAL, key) for key in one.seals)]
    return tuple(
        (leaf, Entered(party, use.value, key.kid, key.alg.value, (key.kid,)))
        for leaf, (use, key) in zip(one.entries(), keys, strict=True)
    )


@cache
def enc_entry(party: str, name: str, short: str, generation: int) -> Entry:
    """An encryption key's, vouched for by a person."""
    seals = seals_of(party, short, generation)
    kid = pw.enc_kid(f"{party}/{name}")
    leaf = pw.enc_entry(party, f"{party}/{name}", seals)
    return leaf, Entered(party, "enc", kid, Alg.HPKE_9.value, tuple(one.kid for one in seals))


@cache
def who_is(kid: str) -> tuple[str, str, int]:
    """Whose access key it is, and of which generation."""
    for one in PEOPLE:
        for generation in range(GENERATIONS):
            if someone(one.party, one.short, generation).access.kid == kid:
                return one.party, one.short, generation
    raise LookupError(kid)


def forged(leaf: bytes) -> bytes:
    """The same words under a signature that is none."""
    document = parse(leaf, max_bytes=64 * 1024)
    for one in document["signatures"]:
        one["signature"] = b64u(bytes(len(one["signature"]) * 3 // 4))
    return canonical(document)


@dataclass
class Author:
    """Writes what a step says; `known` is the directory as it naively is."""

    known: Directory
    replaced: str = ""
    """The digest of the last statement that was ever proposed."""
    stated: list[Written] = field(default_factory=list)
    """Every statement that was ever written, taken or not."""

    def write(self, step: Step) -> Iterator[Written]:
        """The leaves of a step, in order. Whoever takes them has told `known` before the next is asked for."""
        what, who, whom, how, later, flaw = step
        actor = PEOPLE[who % len(PEOPLE)]
        iat = max(self.known.clock + later, NOW - DAY)
        if what == "enter":
            yield from self._enter(actor, PEOPLE[whom % len(PEOPLE)], how, flaw)
        elif what == "state":
            yield from self._state(actor, actor.party, whom, how, iat, flaw)
        elif what == "again" and self.stated:
            yield self.stated[-1 - how % min(len(self.stated), 4)]
        elif what == "recover":
            registrars = [one for one in PEOPLE if one.party == "registro"]
            lost = [party for party in PARTIES if party != "registro"][whom % 3]
            yield from self._state(registrars[who % 2], lost, who, how, iat, flaw, recovers=True)
        else:
            party = list(PARTIES)[whom % len(PARTIES)]
            if self.known.waiting and how % 4:
                # Somebody who may, about something that waits: else most of these would be refused.
                party = sorted(self.known.waiting)[whom % len(self.known.waiting)]
                able = [one for one in PEOPLE if one.party in (party, "registro") and self.known.person(one.id)]
                actor = able[who % len(able)] if able else actor
            waiting = self.known.waiting.get(party)
            digest = waiting["digest"] if waiting is not None and flaw != "sequence" else self.replaced or pw.NONCE
            body: dict[str, Any] = {"party": party, "statement": digest}
            if what == "object":
                body = {"statement": digest, "reason": "not_authorised"}
            elif what == "revoke":
                theirs = sorted(kid for kid, key in self.known.keys.items() if key["party"] == party)
                kid = theirs[how % len(theirs)] if theirs else pw.enc_kid("nobody")
                body = {"kid": kid, "reason": "lost", "at": iat}
            kinds = {"approve": Act.APPROVE_STATEMENT, "object": Act.OBJECT, "revoke": Act.REVOKE}
            as_exchange = (what == "approve" and party == "registro") or how == 0
            yield self._sign(kinds[what], None if as_exchange else actor, body, iat, flaw)

    def _enter(self, actor: Someone, other: Someone, how: int, flaw: str) -> Iterator[Written]:
        """Keys that perhaps nobody lists, perhaps for the second time, perhaps by a stranger."""
        generation = how % GENERATIONS
        if how % 2 and actor.seals:
            leaf, said = enc_entry(actor.party, str(how), actor.short, self._generation(actor))
            if flaw == "stranger" and other.seals:
                seals = seals_of(other.party, other.short, self._generation(other))
                if how > NAMES:  # One of them is somebody's of the party, the other nobody's.
                    seals = [actor.seals[0], pw.key("nobody/seal", Alg.ML_DSA_65)]
                leaf = pw.enc_entry(actor.party, f"{actor.party}/{how}", seals)
                said = replace(said, signed_by=tuple(one.kid for one in seals))
            yield self._flawed(leaf, said, flaw)
            return
        for leaf, said in own_entries(actor.party, actor.short, generation):
            yield self._flawed(leaf, said, flaw)

    @staticmethod
    def _flawed(leaf: bytes, said: Entered, flaw: str) -> Entry:
        return (forged(leaf), replace(said, genuine=False)) if flaw == "forged" else (leaf, said)

    def _generation(self, one: Someone) -> int:
        """Of the keys that are listed for it, or else the first."""
        listed = self.known.person(one.id)
        return 0 if listed is None else who_is(listed["access"])[2]

    # Statements.

    def _state(
        self, actor: Someone, party: str, whom: int, how: int, iat: int, flaw: str, *, recovers: bool = False
    ) -> Iterator[Written]:
        theirs = [one for one in PEOPLE if one.party == party]
        subject, change = theirs[whom % len(theirs)], CHANGES[how % len(CHANGES)]
        before = self.known.parties.get(party)
        if before is None:
            body, fresh = self._first(party, theirs, how)
        else:
            body, fresh = self._next(before, whole=how % 2 == 0), []
            if recovers:
                subject, change = self._newcomer(theirs, before) or subject, "add"
                body["credentials"] = [one for one in body["credentials"] if not one.get("keyholder")]
            fresh += self._change(body, change, subject, how, iat, keyholder=recovers)
        for leaf, said in fresh:
            if said.kid not in self.known.keys:
                yield leaf, said
        if flaw == "sequence":
            body["seq"] += 1
            body["prev_statement"] = body["prev_statement"] or pw.NONCE
        yield self._sign(Act.STATEMENT, actor, body, iat, flaw)

    def _newcomer(self, theirs: Sequence[Someone], before: dict[str, Any]) -> Someone | None:
        unlisted = [one for one in theirs if one.short not in before["people"]]
        persons = [one for one in unlisted if one.kind is CredentialKind.PERSON]
        return next((one for one in persons if one.short not in self.known.ever[one.party].values()), None)

    def _first(self, party: str, theirs: Sequence[Someone], how: int) -> tuple[dict[str, Any], list[Entry]]:
        chosen = [one for at, one in enumerate(theirs) if at == 0 or how >> at & 1]
        fresh = [leaf for one in chosen for leaf in own_entries(party, one.short, 0)]
        return pw.statement_body(party, PARTIES[party], [someone(party, one.short, 0) for one in chosen]), fresh

    def _next(self, before: dict[str, Any], *, whole: bool) -> dict[str, Any]:
        """What a party says next where nothing changes; not `whole`: without what a revoked key belongs to."""
        body = before["body"]
        copy = {name: [dict(one) for one in body[name]] for name in ("credentials", "enc")}
        if not whole:
            gone = {kid for kid, key in self.known.keys.items() if key["revoked"]}
            copy["credentials"] = [one for one in copy["credentials"] if not gone & {one["access"], *one["seal"]}]
            copy["enc"] = [one for one in copy["enc"] if one["kid"] not in gone]
        return {"seq": body["seq"] + 1, "prev_statement": before["digest"], "entry": dict(body["entry"]), **copy}

    def _change(
        self,
        body: dict[str, Any],
        change: str,
        subject: Someone,
        how: int,
        iat: int,
        *,
        keyholder: bool,
    ) -> list[Entry]:
        """Make the change; the key entries that it needs."""
        people, enc = body["credentials"], body["enc"]
        at = next((at for at, one in enumerate(people) if one["id"] == subject.short), None)
        own_enc = [one for one in enc if one["station"] == subject.short]
        if change in ("enc", "renew-enc") and subject.seals:
            return self._workstation(body, subject, own_enc, iat, renew=change == "renew-enc")
        if change == "add" and at is None:
            generation = how // len(CHANGES) % GENERATIONS
            one = someone(subject.party, subject.short, generation)
            is_person = one.kind is CredentialKind.PERSON
            more = {"keyholder": True} if is_person and (keyholder or how % 3 == 0) else {}
            listed = replace(one, keyholder=False).listed(until=iat + pw.YEAR)
            people.append(listed | more)
            return list(own_entries(one.party, one.short, generation))
        if change == "steal":
            people.append(someone(*(("linea", "olga", 0) if subject.party == "otra" else ("otra", "anna", 0))).listed())
        elif change == "return" and (gone := self._gone(subject.party, people)) is not None:
            people.append(gone)
        elif change == "drop-enc" and enc:
            enc.pop(how % len(enc))
        elif change == "move-enc" and enc:
            enc[-1]["from"] += 60
        elif change == "last-enc" and enc:
            enc[-1]["until"] = enc[-1]["from"] + (10, 45)[how // len(CHANGES) % 2] * DAY
        elif change == "phone":
            body["entry"]["duty_phone"] = f"+5173{100000 + how}"
            body["entry"] |= {"country": "EC"} if how % 7 == 0 else {}
        elif change == "ladder":
            body["entry"] = {name: value for name, value in body["entry"].items() if name != "parent"}
            body["entry"] |= {"parent": "tercera"} if how % 5 == 0 else {}
            body["entry"]["escalation"] = [one for bit, one in ((2, "segunda"), (3, "tercera")) if how % bit == 0]
        elif at is not None:
            return self._alter(people, at, change, subject, how, iat)
        return []

    def _alter(
        self, people: list[dict[str, Any]], at: int, change: str, subject: Someone, how: int, iat: int
    ) -> list[Entry]:
        one = people[at]
        if change == "drop":
            people.pop(at)
        elif change in ("rekey", "return"):
            # Keys that come back have been somebody's once, and never are again.
            later = 1 if change == "rekey" else -1
            generation = max(min(self._generation(subject) + later, GENERATIONS - 1), 0)
            new = someone(subject.party, subject.short, generation)
            one |= {"access": new.access.kid, "seal": [key.kid for key in new.seals]}
            return list(own_entries(subject.party, subject.short, generation))
        elif change == "keyholder" and subject.kind is CredentialKind.PERSON:
            people[at] = {name: value for name, value in one.items() if name != "keyholder"}
            people[at] |= {} if "keyholder" in one else {"keyholder": True}
        elif change == "until":
            one["until"] = max(iat + (DAY, 100 * DAY, 2 * pw.YEAR)[how % 3], NOW)
        elif change == "from":
            people[at] = {name: value for name, value in one.items() if name != "from"}
            people[at] |= {"from": min(iat + (-DAY, DAY, 9 * DAY)[how % 3], one["until"] - 1)} if how % 4 else {}
        elif change == "require" and len(subject.algs) > 1:
            people[at] = {name: value for name, value in one.items() if name != "require"}
            people[at] |= {} if "require" in one else {"require": [subject.algs[how % 2].value]}
        return []

    def _workstation(
        self, body: dict[str, Any], subject: Someone, own: list[dict[str, Any]], iat: int, *, renew: bool
    ) -> list[Entry]:
        """One more key of somebody's workstation, or a newer one in the place of the older."""
        used = set(self.known.keys)
        name = next((str(at) for at in range(NAMES) if pw.enc_kid(f"{subject.party}/{at}") not in used), None)
        if name is None:
            return []
        fresh = enc_entry(subject.party, name, subject.short, self._generation(subject))
        if renew and own:
            body["enc"].remove(own[0])
        lasts = (45 if len(own) < 2 else 46) * DAY
        body["enc"].append(
            {"kid": fresh[1].kid, "use": "enc", "from": iat, "until": iat + lasts, "station": subject.short}
        )
        return [fresh]

    def _gone(self, party: str, people: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
        """Somebody who was listed once, with keys of a later generation."""
        listed = {one["id"] for one in people}
        gone = sorted({short for short in self.known.ever.get(party, {}).values() if short and short not in listed})
        return someone(party, gone[0], 1).listed() if gone else None

    # Signing.

    def _sign(self, kind: Act, actor: Someone | None, body: dict[str, Any], iat: int, flaw: str) -> Written:
        iss = pw.EXCHANGE_CREDENTIAL if actor is None else actor.id
        keys = [pw.EXCHANGE_ACT] if actor is None else self._keys(actor, body, flaw)
        aud = "https://other.example" if flaw == "elsewhere" else pw.ISSUER
        raw = pw.act(kind, iss, body, keys, iat=iat, aud=aud)
        digest = sha256_b64u(unb64u(parse(raw, max_bytes=64 * 1024)["payload"]))
        if kind is Act.STATEMENT:
            self.replaced = digest
        said = Said(kind.value, iss, iat, body, digest, tuple(one.kid for one in keys), here=flaw != "elsewhere")
        written = (forged(raw), replace(said, genuine=False)) if flaw == "forged" else (raw, said)
        self.stated += [written] if kind is Act.STATEMENT else []
        return written

    def _keys(self, actor: Someone, body: dict[str, Any], flaw: str) -> list[SoftwareSigningKey]:
        generation = self._generation(actor)
        if flaw == "old-keys":
            generation = (generation + 1) % GENERATIONS
        elif self.known.person(actor.id) is None and "credentials" in body:
            listed = next((one for one in body["credentials"] if one["id"] == actor.short), None)
            generation = 0 if listed is None else who_is(listed["access"])[2]
        if flaw == "stranger" or not actor.seals:
            return [pw.key("nobody/seal")]
        seals = seals_of(actor.party, actor.short, generation)
        return seals[:1] if flaw == "stripped" else seals
