"""The directory as docs/protocol.md §6 says it in words, with dictionaries of plain values: R-30 to R-33, R-64.

It is told what a leaf says instead of reading it, knows no signature but "genuine", and shares no code with what is
under test. What it refuses it refuses without a reason.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

DAY, SKEW = 24 * 3600, 60
WEEK, OBJECTION, ENC_LIFE, BACKUP_LIFE = 7 * DAY, DAY, 45 * DAY, 400 * DAY
FOREVER = 2**53 - 1


class No(Exception):  # noqa: N818 - a refusal, and nothing more
    """This leaf does not count."""


@dataclass(frozen=True)
class Entered:
    """A key entry: whose key, for what, and which keys have signed for it."""

    party: str
    use: str
    kid: str
    alg: str
    signed_by: tuple[str, ...]
    genuine: bool = True


@dataclass(frozen=True)
class Said:
    """A directory act: who says what, when, signed with which keys. `party` is the first part of `iss`."""

    kind: str
    iss: str
    iat: int
    body: dict[str, Any]
    digest: str
    signed_by: tuple[str, ...]
    genuine: bool = True
    here: bool = True

    @property
    def party(self) -> str:
        return self.iss.partition(".")[0]


@dataclass
class Directory:
    """Who is who. `needed` is how many registrar persons it takes to admit anybody."""

    exchange: str
    exchange_keys: tuple[str, ...]
    needed: int
    clock: int
    keys: dict[str, dict[str, Any]] = field(default_factory=dict)
    parties: dict[str, dict[str, Any]] = field(default_factory=dict)
    ever: dict[str, dict[str, str]] = field(default_factory=dict)
    seals: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    waiting: dict[str, dict[str, Any]] = field(default_factory=dict)
    proposed: dict[str, set[str]] = field(default_factory=dict)

    def took(self, leaf: Entered | Said) -> bool:
        """Fold in a leaf; False, and nothing changed, where it does not count."""
        try:
            # Everything is demanded before anything is changed.
            if isinstance(leaf, Entered):
                self._enter(leaf)
            else:
                self._say(leaf)
                self.clock = max(self.clock, leaf.iat)
        except No:
            return False
        return True

    # Questions.

    def persons(self, now: int, role: str) -> int:
        """How many persons of the parties of a role are in their time, with good keys."""
        listed = [one for party in self.parties.values() if party["role"] == role for one in party["people"].values()]
        return sum(one["kind"] == "person" and self._able(one, now) for one in listed)

    def _able(self, one: dict[str, Any], now: int) -> bool:
        """Whether somebody listed could sign."""
        return holds(one, now) and not any(self.keys[kid]["revoked"] for kid in (one["access"], *one["seal"]))

    def person(self, credential: str) -> dict[str, Any] | None:
        """What is listed of a credential."""
        party, _, short = credential.partition(".")
        return self.parties[party]["people"].get(short) if party in self.parties else None

    def access(self, credential: str, now: int) -> str | None:
        """The key that it authenticates with."""
        one = self.person(credential)
        usable = one is not None and holds(one, now) and not self.keys[one["access"]]["revoked"]
        return one["access"] if usable and one is not None else None

    def seal(self, credential: str, iat: int, now: int) -> tuple[str, ...] | None:
        """The keys of an act that it signed at `iat` and that arrives at `now`: of the newest set that stands."""
        for one in self.seals.get(credential, []):
            in_time = one["from"] - SKEW <= min(iat, now) and iat < one["until"] and now <= one["until"] + WEEK
            if in_time and not any(self.keys[kid]["revoked"] for kid in one["kids"]):
                return tuple(one["kids"])
        return None

    def usable(self, party: str, now: int) -> set[str]:
        """The encryption keys that a bundle may be sealed to."""
        listed = self.parties[party]["body"]["enc"] if party in self.parties else []
        return {
            one["kid"]
            for one in listed
            if one["from"] - SKEW <= now < one["until"] and not self.keys[one["kid"]]["revoked"]
        }

    def sealable(self, party: str, now: int) -> set[str]:
        """Of those, the newest of each workstation."""
        listed = {one["kid"]: one for one in (self.parties[party]["body"]["enc"] if party in self.parties else [])}
        newest: dict[str, tuple[int, str]] = {}
        for kid in self.usable(party, now):
            place = listed[kid].get("station", kid)
            newest[place] = max(newest.get(place, (0, "")), (listed[kid]["from"], kid))
        return {kid for _, kid in newest.values()}

    # Leaves.

    def _enter(self, one: Entered) -> None:
        demand(one.kid not in self.keys and one.party != "exchange" and one.genuine)
        if one.use == "enc":
            for kid in one.signed_by:
                key = self.keys.get(kid)
                demand(key is not None and (key["party"], key["use"], key["revoked"]) == (one.party, "seal", False))
        else:
            demand(one.signed_by == (one.kid,))
        self.keys[one.kid] = {
            "party": one.party, "use": one.use, "alg": one.alg, "signed_by": one.signed_by, "revoked": False,
        }  # fmt: skip

    def _say(self, said: Said) -> None:
        demand(said.here)
        now = max(self.clock, said.iat)
        acts = {"approve_statement": self._approve, "object": self._object, "revoke": self._revoke}
        acts.get(said.kind, self._state)(said, now)

    def _signer(self, said: Said, now: int) -> dict[str, Any]:
        """A person in its time whose newest keys are good and have signed."""
        if said.iss == self.exchange:
            demand(said.genuine and said.signed_by == self.exchange_keys)
            return {"keyholder": False, "party": "exchange", "role": "exchange", "kids": self.exchange_keys}
        one = self.person(said.iss)
        demand(one is not None and one["kind"] == "person" and holds(one, now))
        assert one is not None
        newest = self.seals[said.iss][0]
        demand(not any(self.keys[kid]["revoked"] for kid in newest["kids"]))
        self._signed(said, newest["kids"], newest["require"])
        return one | {"party": said.party, "role": self.parties[said.party]["role"], "kids": newest["kids"]}

    def _signed(self, said: Said, kids: list[str], require: list[str]) -> None:
        demand(said.genuine and bool(said.signed_by) and set(said.signed_by) <= set(kids))
        demand(set(require) <= {self.keys[kid]["alg"] for kid in said.signed_by})

    def _state(self, said: Said, now: int) -> None:
        body, named = said.body, said.body["entry"]["id"]
        own = said.party
        registrar = own in self.parties and self.parties[own]["role"] == "registrar" and self.person(said.iss)
        party = named if named != own and named in self.parties and registrar else own
        before = self.parties.get(party)
        follows = (1, None) if before is None else (before["body"]["seq"] + 1, before["digest"])
        demand((body["seq"], body["prev_statement"]) == follows and named == party)
        self._content(party, body, before)
        opens = 0
        if before is None:
            waits = self._found(said, body, now)
        elif party != own:
            self._signer(said, now)
            demand(recovers(body, before["body"]) and self.persons(now, "registrar") >= self.needed)
            waits, opens = "second_registrar", now + OBJECTION
        else:
            waits = self._sign_off(said, body, before, now)
        found = {"body": body, "digest": said.digest, "signer": said.iss, "waits": waits, "opens": opens}
        running = self.waiting.get(party)
        # No proposal ends a recovery, but another recovery.
        demand(running is None or not running["opens"] or not waits or bool(opens))
        # A statement waits once: what was voided does not come back by itself.
        demand(said.digest not in self.proposed.get(party, ()))
        if waits:
            self.waiting[party] = found
            self.proposed.setdefault(party, set()).add(said.digest)
        else:
            self._effect(party, found, now)

    def _found(self, said: Said, body: dict[str, Any], now: int) -> str:
        role = body["entry"]["role"]
        demand(role != "registrar" or all(one["role"] != "registrar" for one in self.parties.values()))
        one = {one["id"]: one for one in body["credentials"]}.get(said.iss.partition(".")[2])
        demand(one is not None and one.get("keyholder", False) and now < one["until"])
        assert one is not None
        self._signed(said, one["seal"], self._require(one))
        return "exchange" if role == "registrar" else "registrar"

    def _sign_off(self, said: Said, body: dict[str, Any], before: dict[str, Any], now: int) -> str:
        was, signer, short = self._standing(before["body"]), self._signer(said, now), said.iss.partition(".")[2]
        same_people = (body["entry"], body["credentials"]) == (was["entry"], was["credentials"])
        if same_people and body["enc"] != was["enc"] and self._keeps(body, was, said.party, short):
            return ""
        if not signer.get("keyholder"):
            demand(self._rekeys(body, was, said.party, short))
        ever = {owner for owner in self.ever.get(said.party, {}).values() if owner}
        if before["role"] == "registrar" and adds(body, before["body"]) and 1 < self.needed <= len(ever):
            return "second_registrar" if self.persons(now, "registrar") >= self.needed else "exchange"
        if not signer.get("keyholder"):
            return "keyholder"
        keyholders = [one for one in before["people"].values() if one.get("keyholder") and self._able(one, now)]
        return "keyholder" if len(keyholders) > 1 and adds(body, before["body"]) else ""

    def _standing(self, was: dict[str, Any]) -> dict[str, Any]:
        """What may go on being listed: everything of which no key is revoked."""
        people = [
            one
            for one in was["credentials"]
            if not any(self.keys[kid]["revoked"] for kid in (one["access"], *one["seal"]))
        ]
        enc = [one for one in was["enc"] if not self.keys[one["kid"]]["revoked"]]
        return {"entry": was["entry"], "credentials": people, "enc": enc}

    def _rekeys(self, body: dict[str, Any], was: dict[str, Any], party: str, short: str) -> bool:
        """Nothing but the signer's own keys, and those of its workstations."""
        old = next((one for one in was["credentials"] if one["id"] == short), None)
        new = next((one for one in body["credentials"] if one["id"] == short), None)
        if old is None or new is None or old == new or not set(self._require(old)) <= set(self._require(new)):
            return False
        as_it_was = [old if one == new else one for one in body["credentials"]]
        return (
            new | {"access": old["access"], "seal": old["seal"]} == old
            and (body["entry"], as_it_was) == (was["entry"], was["credentials"])
            and self._keeps(body, was, party, short)
        )

    def _keeps(self, body: dict[str, Any], was: dict[str, Any], party: str, short: str) -> bool:
        if {one.get("station") for one in body["enc"]} != {one.get("station") for one in was["enc"]}:
            return False
        changed = [one for one in body["enc"] if one not in was["enc"]]
        changed += [one for one in was["enc"] if one not in body["enc"]]
        return all(self._keeper(body, party, one["kid"]) == short for one in changed)

    def _keeper(self, body: dict[str, Any], party: str, kid: str) -> str:
        by = self.keys[kid]["signed_by"][0]
        listed = next((one["id"] for one in body["credentials"] if by in one["seal"]), None)
        return listed or self.ever.get(party, {}).get(by, "")

    def _require(self, one: dict[str, Any]) -> list[str]:
        return list(one.get("require", [self.keys[kid]["alg"] for kid in one["seal"] if kid in self.keys]))

    def _content(self, party: str, body: dict[str, Any], before: dict[str, Any] | None) -> None:
        was = {"credentials": [], "enc": [], "entry": body["entry"]} if before is None else before["body"]
        demand(body["entry"]["role"] == was["entry"]["role"])
        demand(body["entry"].get("country") == was["entry"].get("country"))
        kids = [kid for one in body["credentials"] for kid in (one["access"], *one["seal"])]
        kids += [one["kid"] for one in body["enc"]]
        demand(len(set(kids)) == len(kids))
        ever, old = self.ever.get(party, {}), {one["id"]: one for one in was["credentials"]}
        listed = {kid for one in was["credentials"] for kid in (one["access"], *one["seal"])}
        for one in body["credentials"]:
            demand(one["id"] in old or one["id"] not in ever.values())
            algs = []
            for kid, use in ((one["access"], "access"), *((kid, "seal") for kid in one["seal"])):
                key = self.keys.get(kid)
                demand(key is not None and (key["party"], key["use"], key["revoked"]) == (party, use, False))
                assert key is not None
                demand(kid not in ever or (ever[kid] == one["id"] and kid in listed))
                algs += [key["alg"]] if use == "seal" else []
            demand(len(set(algs)) == len(algs) and set(one.get("require", [])) <= set(algs))
            demand(one["kind"] == "person" or not one["seal"] or body["entry"]["role"] == "hotline")
        demand(any(one.get("keyholder") for one in body["credentials"]))
        self._workstations(party, body, {one["kid"]: one for one in was["enc"]})

    def _workstations(self, party: str, body: dict[str, Any], listed: dict[str, Any]) -> None:
        ever, keepers, held = self.ever.get(party, {}), dict[str, str](), dict[str, int]()
        for one in body["enc"]:
            key = self.keys.get(one["kid"])
            demand(key is not None and (key["party"], key["use"], key["revoked"]) == (party, "enc", False))
            assert key is not None
            demand(one["kid"] not in ever or (ever[one["kid"]] == "" and one["kid"] in listed))
            demand(one["from"] < one["until"] <= one["from"] + ENC_LIFE)
            if one["kid"] in listed:
                old = listed[one["kid"]]
                demand((old["from"], old["station"]) == (one["from"], one["station"]))
            else:
                algs = {self.keys[kid]["alg"] for kid in key["signed_by"]}
                demand(
                    any(
                        bool(who["seal"])
                        and set(key["signed_by"]) <= set(who["seal"])
                        and set(self._require(who)) <= algs
                        for who in body["credentials"]
                    )
                )
            held[one["station"]] = held.get(one["station"], 0) + 1
            keeper = self._keeper(body, party, one["kid"])
            demand(keepers.setdefault(one["station"], keeper) == keeper and held[one["station"]] <= 2)
        demand(len(held) <= 8)

    def _approve(self, said: Said, now: int) -> None:
        found = self.waiting.get(said.body["party"])
        demand(found is not None and found["digest"] == said.body["statement"])
        assert found is not None
        signer, party = self._signer(said, now), said.body["party"]
        if found["waits"] == "exchange":
            demand(said.iss == self.exchange)
        elif found["waits"] == "keyholder":
            demand(bool(signer["keyholder"]) and said.party == party and said.iss != found["signer"])
        else:
            # A newcomer has signed its own; a recovery takes another registrar person, unless one is enough.
            demand(signer["role"] == "registrar" and self.persons(now, "registrar") >= self.needed)
            demand(said.iss != found["signer"] or self.needed == 1)
        demand(said.iat >= found["opens"])
        self._effect(party, found, now)

    def _object(self, said: Said, now: int) -> None:
        party = next((one for one, found in self.waiting.items() if found["digest"] == said.body["statement"]), None)
        demand(party is not None)
        assert party is not None
        signer = self._signer(said, now)
        demand(said.party == party or signer["role"] == "registrar")
        del self.waiting[party]

    def _revoke(self, said: Said, now: int) -> None:
        key = self.keys.get(said.body["kid"])
        demand(key is not None and key["party"] != "exchange" and not key["revoked"])
        assert key is not None
        signer = self._signer(said, now)
        kid, short = said.body["kid"], said.iss.partition(".")[2]
        own = kid in (signer.get("access"), *signer["kids"])
        if key["use"] == "enc":
            own = self.ever.get(said.party, {}).get(key["signed_by"][0]) == short
        theirs = key["party"] == said.party and (signer["keyholder"] or own)
        demand(theirs or signer["role"] in ("registrar", "exchange"))
        self.keys[said.body["kid"]] = key | {"revoked": True}

    def _effect(self, party: str, found: dict[str, Any], now: int) -> None:
        body, before = found["body"], self.parties.get(party)
        old = {} if before is None else before["people"]
        people: dict[str, dict[str, Any]] = {}
        for one in body["credentials"]:
            begins = old[one["id"]]["from"] if one["id"] in old else now
            people[one["id"]] = {**one, "keyholder": one.get("keyholder", False), "from": one.get("from", begins)}
        ever = dict(self.ever.get(party, {}))
        for one in body["credentials"]:
            ever |= dict.fromkeys((one["access"], *one["seal"]), one["id"])
        self.ever[party] = ever | {one["kid"]: "" for one in body["enc"]}
        for short in old.keys() - people.keys():
            self._end(f"{party}.{short}", now)
        for short, one in people.items():
            self._renew(f"{party}.{short}", one, now)
        self.parties[party] = {
            "role": body["entry"]["role"], "body": body, "digest": found["digest"], "people": people,
        }  # fmt: skip
        self.waiting.pop(party, None)
        self.proposed.pop(party, None)

    def _renew(self, credential: str, one: dict[str, Any], now: int) -> None:
        require, sets = self._require(one), self.seals.get(credential, [])
        if sets and (set(sets[0]["kids"]), sets[0]["require"]) == (set(one["seal"]), require):
            sets[0]["until"] = one["until"]
            return
        self._end(credential, now)
        if one["seal"]:
            begins = now if sets else one["from"]
            new = {"kids": one["seal"], "require": require, "from": begins, "until": one["until"]}
            self.seals[credential] = [new, *self.seals.get(credential, [])]

    def _end(self, credential: str, now: int) -> None:
        ended = [one | {"until": min(one["until"], now)} for one in self.seals.get(credential, [])]
        self.seals[credential] = [one for one in ended if now <= one["until"] + WEEK]


def demand(holds_true: bool) -> None:
    """Refuse the leaf unless it is so."""
    if not holds_true:
        raise No


def holds(one: dict[str, Any], now: int) -> bool:
    """Whether somebody listed is in its time."""
    return bool(one["from"] - SKEW <= now < one["until"])


def sealed_beside(body: dict[str, Any]) -> set[str]:
    """Its parent and its escalation parties."""
    return {*body["entry"]["escalation"], body["entry"].get("parent", "")} - {""}


def adds(body: dict[str, Any], was: dict[str, Any]) -> bool:
    """Whether a statement gives anybody more than the one before."""
    kids = {kid for one in was["credentials"] for kid in (one["access"], *one["seal"])}
    kids |= {one["kid"] for one in was["enc"]}
    if not sealed_beside(body) <= sealed_beside(was):
        return True
    old = {one["id"]: one for one in was["credentials"]}
    for one in body["credentials"]:
        before = old.get(one["id"])
        if before is None or not {one["access"], *one["seal"]} <= kids or one["until"] > before["until"]:
            return True
        if one.get("keyholder") and not before.get("keyholder"):
            return True
        begins, began = one.get("from"), before.get("from")
        if begins != began and (begins is None or began is None or begins < began):
            return True
        # Fewer signatures needed than before.
        if "require" not in one and not set(before["seal"]) <= set(one["seal"]):
            return True
        if "require" in one and not ("require" in before and set(before["require"]) <= set(one["require"])):
            return True
    ends = {one["kid"]: one["until"] for one in was["enc"]}
    return not {one["kid"] for one in body["enc"]} <= kids or any(
        one["until"] > ends[one["kid"]] for one in body["enc"]
    )


def recovers(body: dict[str, Any], was: dict[str, Any]) -> bool:
    """Whether it only drops, and adds what is new: the rest is as it was."""
    old = {one["id"]: one for one in was["credentials"]}
    held = {one["kid"]: one for one in was["enc"]}
    return (
        body["entry"] == was["entry"]
        and all(old.get(one["id"], one) == one for one in body["credentials"])
        and all(held.get(one["kid"], one) == one for one in body["enc"])
    )
