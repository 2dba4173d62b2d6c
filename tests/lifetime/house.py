"""An exchange in this process, without HTTP: the real door, writer, timers and files, and people who sign real acts.

What years of use would take through sockets takes seconds so: acts are signed with Ed25519 alone, which statements may
ask for, and what is sealed has a real outside around the same random bytes. Everything from `Door.accept` on is what
runs in life. The clock is the test's own.

Must never: judge anything, or write to the exchange's files but through the writer.
"""

from __future__ import annotations

import hashlib
import threading
import time
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Final

from referral_api.client.sealing import EncPrivateKey, answer_challenge, enc_private_key
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import Act, CredentialKind, KeyUse, Role
from referral_api.formats.act import build_act, parse_act
from referral_api.formats.enrolment import (
    Begin,
    Completion,
    Invitation,
    Proposal,
    build_invitation,
    code_digest,
    enrolment_code,
    next_statement,
    parse_invitation,
)
from referral_api.formats.key_entry import build_key_entry
from referral_api.formats.keys import Alg
from referral_api.formats.strict_json import b64u, sha256_b64u, unb64u
from referral_api.server import app
from referral_api.server.service import enrolment, founding
from referral_api.server.service.acts import Door, Submission
from referral_api.server.service.batch import Batch, Committed, Done
from referral_api.server.service.callers import Caller
from referral_api.server.service.clock_watch import confirm
from referral_api.server.service.decision import Accepted
from referral_api.server.service.reading import BundleRead, build_view
from referral_api.server.service.timers import Alone, Timers
from referral_api.server.settings import Settings
from tests.formats import parties_world
from tests.formats.parties_world import Someone, entry_of, key
from tests.world import ISSUER, Clock

START: Final = parties_world.NOW
DAY: Final = 24 * 3600
LONG: Final = 4_000_000_000
"""Until when everybody's credentials hold: longer than any life that is simulated."""
ENC_LIFE_S: Final = 45 * DAY
RENEWED_AFTER_S: Final = 30 * DAY
PATIENCE_S: Final = 60.0
REGISTRY: Final = "registro"


class NoPowerError(RuntimeError):
    """No answer will come: the exchange has lost its power meanwhile."""


@dataclass(slots=True)
class Desk:
    """One party: its people, the first of whom is its keyholder, and its workstation's keys."""

    party: str
    role: Role
    people: list[Someone]
    count: int = 0
    renewed_at: int = 0
    gone: list[Someone] = field(default_factory=list)
    services: list[Someone] = field(default_factory=list)
    """Its program: a hotline's signs submissions, a unit's signs nothing (R-61)."""


@dataclass(slots=True)
class House:
    """The exchange and everybody on it. Its members serve as those of a `World` to tests/world_check.py."""

    settings: Settings
    clock: Clock
    desks: dict[str, Desk] = field(default_factory=dict)
    heads: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    tape: list[bytes] = field(default_factory=list)
    scanned: int = 0
    log_lines: str = ""
    drawn: int = 0
    cut_at: str | None = None
    """The step of the next batch at which the power fails."""
    runtime: app.Runtime = field(init=False)
    door: Door = field(init=False)
    second: Timers = field(init=False)
    """The clocks of a second process, as far as one process can have them."""

    # Opening, closing, and losing power.

    @classmethod
    def found(cls, folder: Path, parties: Mapping[str, Role], database_url: str = "") -> House:
        """Found an exchange with these parties, two people each, and open it."""
        settings = Settings(
            issuer=ISSUER,
            environment="sandbox",
            data_dir=folder / "data",
            keys_dir=folder / "keys",
            signer_dir=folder / "signer",
            database_url=database_url,
        )
        house = cls(settings, Clock(stopped_at=START))
        app.found(settings, registrars_required=1, clock=house.clock).close()
        house.open()
        for party, role in {REGISTRY: Role.REGISTRAR, **parties}.items():
            house._admit(party, role)
        return house

    def open(self) -> None:
        """Open the exchange on its files, as its process does when it starts. Its operator has looked at the clock."""
        confirm(self.settings.data_dir, self.clock())
        self.runtime = app.open_runtime(
            self.settings, clock=self.clock, runs_on=self.clock.runs_on, on_step=self._on_step
        )
        self.runtime.writer.start()
        self.door = Door(self.runtime.exchange, self.runtime.writer)
        self.second = Timers(self.runtime.exchange, self.runtime.writer, Alone(), self.clock, {}, time.monotonic)
        self.run(lambda _: Done(None))

    def close(self) -> None:
        """Stop as on SIGTERM."""
        self.runtime.close()

    def lose_power(self, step: str = "begin") -> None:
        """Lose power at this step of a batch that does nothing, and start again."""
        self.cut_at = step
        self.fall()

    def fall(self) -> None:
        """The power fails at the step that was named, at the latest in a batch that does nothing; then start again."""
        with suppress(ReferralError):  # The writer may be gone already.
            self.runtime.writer.submit(lambda _: Done(None), lambda _: None)
        self.start_again()

    def start_again(self) -> None:
        """After the power has failed: nothing was said good-bye to; open what is on the disk."""
        deadline = threading.Event()
        while self.runtime.writer.alive and not deadline.wait(0.001):
            pass
        self.runtime.close()
        self.open()

    def _on_step(self, step: str) -> None:
        if step == self.cut_at:
            self.cut_at = None
            raise SystemExit  # The thread ends where it is, as if the machine had lost its power.

    # Time.

    @property
    def now(self) -> int:
        """Unix seconds of the exchange's clock."""
        return int(self.clock())

    def turn(self, timers: Timers | None = None) -> int:
        """Let the clocks say everything that is due by now; how many acts that were."""
        posted, timers = 0, timers or self.runtime.timers
        while found := timers.turn():
            posted += found
        return posted

    def turn_twice_at_once(self) -> None:
        """Two processes look at the same moment."""
        threads = [threading.Thread(target=self.turn, args=(timers,)) for timers in (self.runtime.timers, self.second)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def keep_alive(self, silent: Collection[str] = ()) -> None:
        """Every unit has polled just now, but those that are silent."""
        for party, desk in self.desks.items():
            if desk.role is Role.POLICE_UNIT and party not in silent:
                self.runtime.polled[party] = self.second.polled[party] = self.now  # type: ignore[index]

    # Acts.

    def draw(self, version: int = 4) -> str:
        """A fresh id, the same ones in the same order every time."""
        self.drawn += 1
        raw = bytearray(hashlib.sha256(f"id {self.drawn}".encode()).digest()[:16])
        if version == 7:
            raw[:6] = (self.now * 1000 + self.drawn % 1000).to_bytes(6, "big")
            raw[6], raw[8] = raw[6] & 0x0F | 0x70, raw[8] & 0x3F | 0x80
            return str(uuid.UUID(bytes=bytes(raw)))
        return str(uuid.UUID(bytes=bytes(raw), version=4))

    def caller(self, who: Someone) -> Caller:
        """Somebody who has called with an access token."""
        return Caller(who.id, who.party, self.desks[who.party].role, who.kind, who.keyholder)

    def sign(
        self, who: Someone, act: Act, body: Mapping[str, Any], *, ref: str | None = None, unit: str | None = None,
        prev: str | None = None, iat: int | None = None, iss: str | None = None,
    ) -> bytes:  # fmt: skip
        """An act of somebody's, signed now or then, with a key that nobody knows if he has none; `iss` is whose it says
        to be.
        """
        signers = who.seals or [key(f"{who.name}/seal")]
        return build_act(
            act_id=self.draw(), iss=iss or who.id, aud=ISSUER, iat=self.now if iat is None else iat, act=act,
            ref=ref, unit=unit, prev=prev, body=body, signers=signers,
        )  # fmt: skip

    def send(self, who: Someone, act: bytes, **beside: Any) -> Committed[Accepted]:
        """Through the door, by its signer or whoever carries it.

        Raises what the door raises, and NoPowerError where no answer ever comes.
        """
        answers: SimpleQueue[Committed[Accepted] | ReferralError] = SimpleQueue()
        submission = Submission(act, ref=parse_act(act).ref, **beside)
        known = self.door.accept(submission, self.caller(who), answers.put, self.now)
        return known or self._wait(answers)

    def run(self, job: Callable[[Batch], Done[Any]]) -> Any:
        """A job of the writer's, and its result."""
        answers: SimpleQueue[Any] = SimpleQueue()
        self.runtime.writer.submit(job, answers.put)
        return self._wait(answers).result

    def _wait(self, answers: SimpleQueue[Any]) -> Any:
        waited = 0.0
        while True:
            alive = self.runtime.writer.alive
            try:
                outcome = answers.get(timeout=0.05)
            except Empty:
                waited += 0.05
                if not alive:
                    raise NoPowerError from None
                if waited > PATIENCE_S:
                    raise TimeoutError from None
                continue
            if isinstance(outcome, ReferralError):
                raise outcome
            return outcome

    def fetch(self, who: Someone, ref: str) -> bytes:
        """The bundle, whose handing out is on the record. Raises NOT_FOUND."""
        return bytes(self.run(BundleRead(self.runtime.exchange, ref, self.caller(who))))

    def view(self, who: Someone, ref: str) -> dict[str, Any]:
        """The referral as it is shown to somebody."""
        exchange = self.runtime.exchange
        with exchange.database.read(snapshot=True) as conn:
            return build_view(conn, ref, self.caller(who), exchange.ruling)

    # Parties and their keys.

    def recipients(self, party: str) -> list[tuple[str, Alg]]:
        """The keys that a bundle for this party is sealed to now."""
        return [(key.kid, key.public.alg) for key in self.runtime.exchange.keymap.sealable(party, self.now)]

    def renew_keys(self) -> None:
        """Every workstation that is due makes its next key and has it listed (R-32)."""
        for desk in self.desks.values():
            if self.now >= desk.renewed_at + RENEWED_AFTER_S and desk.role is not Role.REGISTRAR:
                self._join(desk, [], desk.people[0])

    def revoke(self, by: Someone, whom: Someone) -> None:
        """A registrar, or a keyholder of the party, revokes somebody's seal key."""
        body = {"kid": whom.seals[0].kid, "reason": "lost", "at": self.now}
        self.send(by, self.sign(by, Act.REVOKE, body))
        desk = self.desks[whom.party]
        desk.people.remove(whom)
        desk.gone.append(whom)

    def take_in(self, party: str) -> Someone:
        """The party's keyholder takes a new person in."""
        desk = self.desks[party]
        desk.count += 1
        newcomer = Someone(party, f"pers{desk.count}", until=LONG)
        self._join(desk, [newcomer], desk.people[0])
        desk.people.append(newcomer)
        return newcomer

    def _admit(self, party: str, role: Role) -> None:
        people = [Someone(party, f"pers{at}", keyholder=at == 1, until=LONG) for at in (1, 2)]
        desk = self.desks[party] = Desk(party, role, people, count=2)
        if role in (Role.HOTLINE, Role.POLICE_UNIT):
            algs = (Alg.ED25519,) if role is Role.HOTLINE else ()
            desk.services = [Someone(party, "serv1", kind=CredentialKind.SERVICE, algs=algs, until=LONG)]
        self._join(desk, [*people, *desk.services], None if role is Role.REGISTRAR else self.desks[REGISTRY].people[0])

    def _join(self, desk: Desk, newcomers: Sequence[Someone], by: Someone | None) -> None:
        """Invitation, challenges, keys, proposal, and the statement of whoever decides (R-32, R-34, R-35)."""
        invitation, is_new = self._invite(desk, by), self.runtime.exchange.keymap.find_party(desk.party) is None
        voucher = newcomers[0] if is_new else desk.people[0]
        with_station = (is_new or not newcomers) and desk.role is not Role.REGISTRAR
        own = [self._enc_key(desk)] if with_station else []
        exchange, secret = self.runtime.exchange, invitation.secret
        asked = Begin.parse({"enc": [one.public.jwk for one in own]}, code=ErrorCode.MALFORMED)

        def begin(batch: Batch) -> Done[dict[str, Any]]:
            keymap = batch.keymap or exchange.keymap
            return Done(enrolment.begin(batch.tx, keymap, secret, asked, exchange.token_bytes, batch.now).wire())

        begun = self.run(begin)
        nonces = {
            one.public.kid: answer_challenge(one, unb64u(sealed["sealed"]))
            for one, sealed in zip(own, begun["challenges"], strict=True)
        }
        document = self._completion(desk, invitation, newcomers, voucher, own, nonces)
        completion = Completion.parse(document, code=ErrorCode.MALFORMED)

        def complete(batch: Batch) -> Done[dict[str, Any]]:
            keymap = batch.keymap or exchange.keymap
            return Done(enrolment.complete(batch.tx, keymap, secret, begun["enrolment"], completion, batch.now))

        self.run(complete)
        self._decide(desk, invitation, completion, begun["enrolment"], by)
        if with_station:
            desk.renewed_at = self.now

    def _invite(self, desk: Desk, by: Someone | None) -> Invitation:
        secret, expires_at = hashlib.sha256(self.draw().encode()).digest()[:16], self.now + 2 * DAY
        body = {
            "nonce": sha256_b64u(secret),
            "party": entry_of(desk.party, desk.role.value),
            "credential_kinds": ["person", "service"],
            "expires_at": expires_at,
        }
        exchange = self.runtime.exchange
        if by is None:
            founding.exchange_signs(exchange, self.runtime.writer, Act.INVITE, body, self.now)
        else:
            self.send(by, self.sign(by, Act.INVITE, body))
        raw = build_invitation(
            exchange=ISSUER, root=exchange.keymap.root, party=desk.party, role=desk.role.value, secret=secret,
            expires_at=expires_at, environment="sandbox",
        )  # fmt: skip
        return parse_invitation(raw)

    def _enc_key(self, desk: Desk) -> EncPrivateKey:
        return enc_private_key(Alg.HPKE_9, hashlib.sha256(f"{desk.party} {self.draw()}".encode()).digest())

    def _completion(
        self, desk: Desk, invitation: Invitation, newcomers: Sequence[Someone], voucher: Someone,
        own: Sequence[EncPrivateKey], nonces: Mapping[Any, bytes],
    ) -> dict[str, Any]:  # fmt: skip
        """What the newcomer, or whoever renews a key, sends: entries, proofs, proposal, a new party's statement."""
        now = self.now
        made: list[tuple[KeyUse, Any, str | None, Sequence[Any]]]
        made = [(KeyUse.ENC, one.public.jwk, sha256_b64u(nonces[one.public.kid]), voucher.seals) for one in own]
        made += [(KeyUse.ACCESS, one.access.public.jwk, None, [one.access]) for one in newcomers]
        made += [(KeyUse.SEAL, seal.public.jwk, None, [seal]) for one in newcomers for seal in one.seals]
        entries = [
            build_key_entry(
                party=desk.party, use=use, jwk=jwk, nonce=invitation.nonce, iat=now, possession=proof, signers=signers
            )
            for use, jwk, proof, signers in made
        ]
        listed = [
            {"kid": one.public.kid, "use": "enc", "station": "st1", "from": now, "until": now + ENC_LIFE_S}
            for one in own
        ]
        credentials = [one.listed() for one in newcomers]
        is_new = self.runtime.exchange.keymap.find_party(desk.party) is None
        entry = entry_of(desk.party, desk.role.value) if is_new else None
        statement = {
            "seq": 1, "prev_statement": None, "entry": entry, "credentials": credentials, "enc": listed,
        }  # fmt: skip
        return {
            "keys": [one.decode() for one in entries],
            "possession": [{"kid": kid, "nonce": b64u(nonce)} for kid, nonce in nonces.items()],
            "proposal": {"credentials": credentials, "enc": listed, "entry": entry},
            "statement": self.sign(voucher, Act.STATEMENT, statement).decode() if is_new else None,
        }

    def _decide(
        self, desk: Desk, invitation: Invitation, completion: Completion, enrolment_id: str, by: Someone | None
    ) -> None:
        """Whoever decides has compared the digits: the registrar approves a new party, a keyholder states the rest."""
        exchange, proposal = self.runtime.exchange, completion.proposal
        if completion.statement is None:
            party = exchange.keymap.find_party(desk.party)
            if party is None or by is None:
                raise RuntimeError("nobody decides about this party")
            owners = exchange.keymap.owners_of(party.id)
            body = next_statement(party, proposal, exchange.keymap.find_key, self.now, owners=owners)
            self.send(by, self.sign(by, Act.STATEMENT, body), enrolment=enrolment_id)
            return
        approval = {
            "party": desk.party,
            "statement": parse_act(completion.statement.encode()).digest,
            "code_sha256": code_digest(self._digits(invitation, proposal)),
        }
        if by is None:
            founding.exchange_signs(exchange, self.runtime.writer, Act.APPROVE_STATEMENT, approval, self.now)
        else:
            self.send(by, self.sign(by, Act.APPROVE_STATEMENT, approval))

    def _digits(self, invitation: Invitation, proposal: Proposal) -> str:
        return enrolment_code(
            root=self.runtime.exchange.keymap.root, issuer=ISSUER, party=invitation.party, nonce=invitation.nonce,
            keys=proposal.kids(), credentials=proposal.credentials, enc=proposal.enc, entry=proposal.entry,
        )  # fmt: skip


def memory() -> str | None:
    """A folder in memory where there is one, for thousands of commits that need wait for no disk."""
    return "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108 - a fresh folder is made in it


@contextmanager
def open_house(folder: Path, parties: Mapping[str, Role], database_url: str = "") -> Iterator[House]:
    """A founded exchange, open for the length of the block."""
    house = House.found(folder, parties, database_url)
    try:
        yield house
    finally:
        house.close()
