"""Who the liar lies to: an exchange with a past, and everybody's profile as it was at three moments of it.

`none` knows no log yet, `old` saw the logs when they were shorter, `new` saw all of them, `anew` is `new` without a
token. Each trial takes a copy of one of these, so that what one lie left behind is nothing to the next.

Must never: let a profile meet the liar before it was kept.
"""

from __future__ import annotations

import itertools
import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from referral_api.auditlog.leaf import encode_leaf
from referral_api.auditlog.merkle import Frontier
from referral_api.auditlog.records import encode_record, encode_salt, leaf_of_record, parse_record
from referral_api.client.keystore import CredentialKeys, Keystore
from referral_api.client.profile import ProfileDir
from referral_api.client.sdk import Client
from referral_api.domain.words import Act, CredentialKind
from referral_api.formats.enrolment import parse_invitation
from tests.liar import Liar
from tests.world import OTHER_HOTLINE, OTHER_UNIT, PASSPHRASE, UNIT, Office, World, composition, entry

SEATS = ("operator", "officer", "auditor", "registrar")
NEWCOMER = "hospital"


class Scene:
    """The exchange, the liar in front of it, and the profiles kept."""

    def __init__(self, world: World, liar: Liar) -> None:
        self.world = world
        self.liar = liar
        self.year = next(log for log in world.heads if log != "keys").partition("/")[2]
        self.log = liar.kept["audit"] = f"audit/{self.year}"
        self.unread: str | None = None
        """A referral that nobody has acknowledged yet, where there is one."""
        self.keys: dict[str, CredentialKeys] = {}
        self._numbers = itertools.count(1)
        self._tokens = itertools.count(1)
        for seat in SEATS:
            folder = ProfileDir(world.folder / "profiles" / seat)
            self.keys[seat] = Keystore.open(folder).unlock_person(PASSPHRASE)

    def folder(self, seat: str, memory: str) -> Path:
        """A fresh copy of somebody's profile."""
        target = self.world.folder / "trials" / str(next(self._numbers)) / seat
        known = "new" if memory == "anew" or seat == NEWCOMER else memory
        shutil.copytree(self.world.folder / known / seat, target)
        token = self.world.folder / "new" / seat / "tokens.json"
        if memory == "anew":
            (target / "tokens.json").unlink(missing_ok=True)
            self._wait_for_tokens()
        elif token.exists():
            # A token says nothing of the logs, and there are only so many in a minute.
            if all(one["expires_at"] < self.world.clock() + 60 for one in json.loads(token.read_bytes()).values()):
                self._renew(seat)
            shutil.copy(token, target / "tokens.json")
        return target

    def _wait_for_tokens(self) -> None:
        """Every so often a minute passes, so that nobody has asked for too many tokens; those kept are renewed."""
        if next(self._tokens) % 6 == 0:
            self.world.clock.ahead_s += 61
            for seat in SEATS:
                self._renew(seat)

    def _renew(self, seat: str) -> None:
        folder = self.world.folder / "new" / seat
        (folder / "tokens.json").unlink()
        with self.client(folder, lied_to=False) as client:
            client.ping()

    def client(self, folder: Path, *, lied_to: bool, answer_s: float = 30.0) -> Client:
        """A client on a copy, in front of the liar or of the exchange itself."""
        server = self.liar.url if lied_to else self.world.server.url
        keys = self.keys.get(folder.name)
        return Client(folder, keys, server=server, clock=self.world.clock, answer_s=answer_s)

    # The past.

    def live(self) -> None:
        """Let everything happen that the lies are about."""
        world = self.world
        self.keep("none")
        first = world.client("operator").submit(composition())
        self.ref = self.quiet = str(first.outgoing.ref)
        officer = world.client("officer")
        officer.acknowledge(officer.open(self.ref))
        officer.act(self.ref, Act.ACCEPT, {}, note="expediente abierto", case_number="7")
        twin = officer.act(self.ref, Act.STATUS, {"code": "registered"})
        world.client("operator").act(self.ref, Act.NOTE, {}, unit=UNIT, note="llamó otra vez")
        self.liar.kept["receipt"] = answer_of(first)
        self.liar.kept["twin"] = answer_of(twin)
        self._other()
        self._wait()
        for seat in SEATS:
            world.client(seat).sync_keys()
        world.client("auditor").audit()
        self.liar.kept["old"] = {log: len(self.liar.leaves(log)) for log in ("keys", self.log)}
        self.keep("old")
        self._grow()
        self.keep("new")

    def _other(self) -> None:
        """Another referral between the same two, which the liar may show in place of the first."""
        world, kept = self.world, self.liar.kept
        operator, officer = world.client("operator"), world.client("officer")
        entry = operator.submit(composition())
        self.other = str(entry.outgoing.ref)
        officer.acknowledge(officer.open(self.other))
        note = operator.act(self.other, Act.NOTE, {}, unit=UNIT, note="otra")
        caller = world.caller("officer")
        kept["bundle"] = caller.call("GET", f"/v1/referrals/{self.other}/bundle").body
        kept["note"] = caller.call("GET", f"/v1/referrals/{self.other}/sealed/{note.outgoing.digest}").body
        kept["other"] = caller.call("GET", f"/v1/referrals/{self.other}").json

    def _wait(self) -> None:
        """Somebody waits to be let in."""
        world = self.world
        office = Office(world.folder, world.server)
        described = entry(NEWCOMER, "police_unit", duty_phone="+51731234568")
        invitation = parse_invitation(world.client("registrar").invite(described, [CredentialKind.PERSON]))
        self.code = office.join(NEWCOMER, invitation, described).code

    def revoke_two(self) -> None:
        """Two keys are revoked, in an order on which nothing hangs."""
        world, kept = self.world, self.liar.kept
        kept["pair"] = len(self.liar.leaves("keys"))
        for seat, party in (("stranger", OTHER_UNIT), ("colleague", OTHER_HOTLINE)):
            session = world.client(seat).session
            kid = session.keymap.sealable(party, session.now())[0].kid
            world.client(seat).revoke(kid, "lost", session.now())

    def _grow(self) -> None:
        """What happened since: two keys revoked, and more acts."""
        world = self.world
        self.revoke_two()
        self.invent()
        world.client("operator").act(self.ref, Act.NOTE, {}, unit=UNIT, note="sigue ahí")
        world.client("officer").act(self.ref, Act.STATUS, {"code": "under_investigation"})
        for seat in SEATS:
            world.client(seat).sync_keys()
        world.client("operator").referral(self.ref)
        assert world.client("auditor").audit().complete

    def invent(self) -> None:
        """A record of the exchange's that it never made, in place of one that it did: index, record, leaf."""
        told = self.world.caller("auditor").call("GET", f"/v1/records/{self.year}?from=0&limit=200").json["records"]
        one = next(one for one in told if '"kind":"viewed"' in one["record"])
        record = parse_record(one["record"].encode()).model_copy(update={"salt": encode_salt(b"\x07" * 16)})
        raw = encode_record(record)
        self.liar.kept["invented"] = one["index"], raw, encode_leaf(leaf_of_record(record, raw))

    def keep(self, memory: str) -> None:
        """Keep everybody's profile as it is now."""
        world = self.world
        world.close_clients()
        shutil.copytree(world.folder / "profiles", world.folder / memory)

    # What a profile holds.

    def verify_pins(self, folder: Path) -> None:
        """Whatever is pinned in a profile is a beginning of the true logs."""
        path = folder / "pins.json"
        pins = json.loads(path.read_bytes())["logs"] if path.exists() else {}
        for origin, pin in pins.items():
            hashes = self.liar.tree(origin.partition("/v1/log/")[2].partition(" ")[0]).hashes
            assert pin["size"] <= len(hashes), f"{origin} was pinned beyond its end"
            assert Frontier().extend(hashes[: pin["size"]]).root().hex() == pin["root"], f"a false {origin} was pinned"


def held(folder: Path) -> dict[str, Any]:
    """What a profile holds that a lie must not change: the cursor, and what counts as received."""
    cursor = folder / "cursor.json"
    found: dict[str, Any] = {"cursor": cursor.read_bytes() if cursor.exists() else None, "received": set()}
    outbox = folder / "outbox.sqlite3"
    if outbox.exists():
        with closing(sqlite3.connect(outbox)) as connection:
            rows = connection.execute(
                "select id, state, receipt, proof from entry where receipt is not null"
            ).fetchall()
        found["received"] = set(rows)
    return found


def answer_of(found: Any) -> tuple[str, str]:
    """The receipt and proof of something sent."""
    return found.receipt.decode(), found.proof.decode()
