"""The liar's second scene: an exchange with witnesses in processes of their own, and an audit log of several entry
bundles, which is what lies about cosignatures and about full tiles need.

Its policy names three witnesses; two of them are there, and the third is away all the time. Those two can be made to
conspire: the liar holds their keys (`liar.kept["witnesses"]`), as it holds those of the exchange.

Must never: let a witness conspire in what it says of itself.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from referral_api.auditlog.checkpoint import log_key
from referral_api.auditlog.policy import Policy, format_policy
from referral_api.auditlog.records import Refused, encode_salt
from referral_api.auditlog.tiles import TILE_WIDTH
from referral_api.client import exchange
from referral_api.domain.errors import ErrorCode
from referral_api.domain.words import Act, CredentialId, PartyId
from referral_api.formats.act import build_act, parse_act
from referral_api.server.service.batch import Batch, Done, Job
from referral_api.server.storage.keyfiles import load_signers
from referral_api.witness.keys import cosigning_keys
from tests.forgery import payload_of
from tests.liar import Liar
from tests.liar_scene import SEATS, Scene, answer_of
from tests.witnesses import WitnessProcess, make_witness, new_seeds, policy_of_witnesses
from tests.world import UNIT, WITNESSES, World, composition, found, settings_of

NAMES = tuple(f"testigo.example/{at}" for at in (1, 2, 3))
QUORUM = 2
STATEMENTS = 212
"""So many leaves the keys log grows by, to have more than one bundle."""
LEAVES = 2 * TILE_WIDTH + 8
"""How many leaves the audit log has at the least: two full bundles, and a partial one."""


class WitnessedScene(Scene):
    """The exchange, the liar in front of it, its witnesses, and the profiles kept."""

    @property
    def policy(self) -> Policy:
        """The witnesses that are there, and where: what an auditor was given."""
        return policy_of_witnesses(self.world.witnesses, QUORUM)

    def live(self) -> None:
        """Let a referral be sent, everything be cosigned, much be recorded, and be cosigned again."""
        world, kept = self.world, self.liar.kept
        self.witnessed("keys")
        self.keep("none")
        first = world.client("operator").submit(composition())
        self.ref, self.act = str(first.outgoing.ref), first.outgoing.id
        officer = world.client("officer")
        officer.acknowledge(officer.open(self.ref))
        kept["receipt"] = answer_of(officer.act(self.ref, Act.NOTE, {}, note="leído"))
        kept["twin"] = answer_of(world.client("operator").act(self.ref, Act.NOTE, {}, unit=UNIT, note="sigue ahí"))
        # Nothing more happens to this one, so that what a quorum cosigns covers all of it.
        self.quiet = str(world.client("operator").submit(composition()).outgoing.ref)
        for seat in SEATS:
            world.client(seat).sync_keys()
        assert world.client("auditor").audit_since(trust_first=True).complete
        kept["old cosigned"] = {log: self.witnessed(log) for log in ("keys", self.log)}
        kept["old"] = {log: len(self.liar.leaves(log)) for log in ("keys", self.log)}
        self.keep("old")
        self._grow()
        kept["cosigned"] = {log: self.witnessed(log) for log in ("keys", self.log)}
        for seat in SEATS:
            world.client(seat).sync_keys()
        self.keep("new")

    def _grow(self) -> None:
        world = self.world
        self._state_anew(STATEMENTS)
        self.revoke_two()
        self.invent()
        caller = world.client("officer").keys.credential
        world.server.runtime.writer.run(_refusals(caller, LEAVES - len(self.liar.leaves(self.log))))
        world.client("officer").act(self.ref, Act.ACCEPT, {})
        assert world.client("auditor").audit_since().complete

    def _state_anew(self, count: int) -> None:
        """Let a party say of its keys what it has said, so many times: the keys log grows, and nothing changes."""
        client, caller = self.world.client("stranger"), self.world.caller("stranger")
        session, keys = client.session, client.keys
        session.sync_keys()
        party = session.keymap.find_party(client.profile.party)
        assert party is not None
        body, before = payload_of(session.replica.leaves[party.index].decode())["body"], party.statement
        for seq in range(party.seq + 1, party.seq + 1 + count):
            act_id = session.ambient.act_id()
            raw = build_act(
                act_id=act_id,
                iss=keys.credential,
                aud=session.profile.issuer,
                iat=session.now(),
                act=Act.STATEMENT,
                ref=None,
                unit=None,
                prev=None,
                body=body | {"seq": seq, "prev_statement": before},
                signers=keys.signers(),
            )
            answer = caller.call("PUT", f"/v1/directory/acts/{act_id}", {"act": raw.decode()})
            assert answer.status == 201, answer
            before = parse_act(raw).digest

    def witnessed(self, log: str) -> bytes:
        """A log's checkpoint, once a quorum has cosigned all that there is now; the whole of it, with its lines."""
        session, size = self.world.client("auditor").session, len(self.liar.leaves(log))
        line, ends = self.world.server.runtime.witnessing, time.monotonic() + 30
        assert line is not None
        while True:
            with self.world.server.runtime.exchange.database.read() as conn:
                newest = self.world.server.runtime.exchange.newest_witnessed(conn, log)
            if newest is not None and newest[0] >= size:
                return session.read(exchange.checkpoint(log, cosigned=True))
            assert time.monotonic() < ends, "no quorum has cosigned it"
            line.hurry()
            time.sleep(0.05)


def _refusals(credential: CredentialId, count: int) -> Job[None]:
    """So many refusals of one caller, as one job of the writer."""

    def job(batch: Batch) -> Done[None]:
        for _ in range(count):
            batch.record(
                Refused(
                    t=batch.now,
                    salt=encode_salt(os.urandom(16)),
                    party=PartyId(UNIT),
                    credential=credential,
                    code=ErrorCode.NOT_FOUND,
                    ref=None,
                    act=None,
                )
            )
        return Done(None)

    return job


@contextmanager
def witnessed_scene(folder: Path) -> Iterator[WitnessedScene]:
    """Found the exchange, introduce it to its witnesses, start all of them, and live through the past."""
    seeds = {name: new_seeds() for name in NAMES}
    named = [make_witness(folder, name, seeds=seeds[name]) for name in NAMES]
    nowhere = [replace(one, port=9) for one in named]
    founded, witnesses = found(_made(folder / "founded"), policy=policy_of_witnesses(nowhere, QUORUM)), named[:QUORUM]
    _introduce(witnesses, founded.folder)
    try:
        for witness in witnesses:
            witness.launch()
        for witness in witnesses:
            witness.wait()
        policy = policy_of_witnesses([*witnesses, *nowhere[QUORUM:]], QUORUM)
        (founded.folder / WITNESSES).write_bytes(format_policy(policy))
        with World(founded, folder / "world") as world, Liar(world) as liar:
            world.witnesses = witnesses
            world.check()
            liar.kept["witnesses"] = [cosigning_keys(one.name, seeds[one.name]) for one in witnesses]
            scene = WitnessedScene(world, liar)
            scene.live()
            yield scene
    finally:
        for witness in witnesses:
            witness.stop()


def _introduce(witnesses: list[WitnessProcess], folder: Path) -> None:
    settings = settings_of(folder)
    origin, public = f"{settings.issuer_host}/v1/log/", load_signers(settings.keys_dir).log.public
    year = time.gmtime().tm_year
    for witness in witnesses:
        witness.introduce([log_key(f"{origin}keys", public).vkey], [log_key(f"{origin}audit/{year}", public).vkey])


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder
