"""A whole exchange with everybody on it: the real server behind real HTTP, real keystores, real clients.

`found` makes an exchange and admits all parties once a session, through the same invitations, codes and approvals as
in life; `World` is a copy of that on its own database, served for one test. Every step that a test takes through a
`World` ends with `World.check()` (tests/world_check.py), which believes nothing that the server says of itself.

Must never: replace anything of our own by something else; clock, folders and key derivation are arguments.
"""

from __future__ import annotations

import io
import json
import shutil
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, TypeVar

from referral_api.auditlog.policy import Policy, format_policy
from referral_api.client import sdk
from referral_api.client.compartment import InsecureKdfForTests
from referral_api.client.delivery import Opened
from referral_api.client.enrolment import Joined, Joining
from referral_api.client.keystore import new_service_secret
from referral_api.client.outbox import Entry
from referral_api.client.sdk import Client
from referral_api.client.submission import Composition
from referral_api.domain.errors import ReferralError
from referral_api.domain.words import Act, CredentialKind, PartyId
from referral_api.formats.enrolment import Invitation, build_invitation, code_digest, nonce_of, parse_invitation
from referral_api.formats.strict_json import b64u
from referral_api.server import app
from referral_api.server.service import enrolment, founding
from referral_api.server.service.clock_watch import steady
from referral_api.server.service.reckoning import reckon
from referral_api.server.settings import Settings
from referral_api.server.storage import alarms, enrolments
from referral_api.server.storage.database import Database
from tests.wire import Caller, Wire
from tests.witnesses import WitnessProcess

ISSUER = "http://localhost:8440"
"""What everything signed names; where the server of a test listens is another matter (R-42)."""
WITNESSES = "witnesses.policy"
"""The policy file in an exchange's folder, where it has witnesses."""
PASSPHRASE = "una frase de paso larga"
CANARY = "el colibrí azul duerme bajo el algarrobo"
"""Stands in the sealed referral, and must never be seen on the exchange's side of the wire."""
REFERRAL: dict[str, Any] = json.loads((Path(__file__).parents[1] / "examples/emergencia-piura.json").read_text())
AWAKE_S = 10 * 365 * 24 * 3600
"""For how long units poll, in a test that does not say otherwise: nobody is to telephone because a test takes long."""
CATCH_UP_S = 10
"""How long another process may take to say what is due."""
T = TypeVar("T")
PERSON, SERVICE = CredentialKind.PERSON, CredentialKind.SERVICE

REGISTRY, HOTLINE, OTHER_HOTLINE, NATIONAL, UNIT, OTHER_UNIT, AUDIT = (
    "registro", "linea-1818", "linea-100", "pnp-nacional", "pnp-trata-piura", "pnp-trata-lima", "defensoria",
)  # fmt: skip


def entry(party: str, role: str, **more: Any) -> dict[str, Any]:
    """A directory entry."""
    return {"id": party, "role": role, "name": f"Entidad {party}", "area": [], "escalation": []} | more


ENTRIES: dict[str, dict[str, Any]] = {
    REGISTRY: entry(REGISTRY, "registrar"),
    HOTLINE: entry(HOTLINE, "hotline", duty_phone="+5118180000"),
    OTHER_HOTLINE: entry(OTHER_HOTLINE, "hotline", duty_phone="+5118180001"),
    NATIONAL: entry(NATIONAL, "police_unit", duty_phone="+5112345678"),
    UNIT: entry(
        UNIT, "police_unit", area=["20"], duty_phone="+51731234567", parent=NATIONAL, escalation=[NATIONAL]
    ),
    OTHER_UNIT: entry(OTHER_UNIT, "police_unit", area=["15"], duty_phone="+5117654321", escalation=[NATIONAL]),
    AUDIT: entry(AUDIT, "auditor"),
}  # fmt: skip


@dataclass(slots=True)
class Clock:
    """This machine's time, and what a test adds to it; or one moment that lasts. `wrong_s` is shown too much."""

    ahead_s: float = 0.0
    stopped_at: float | None = None
    wrong_s: float = 0.0

    def __call__(self) -> float:
        """Unix seconds."""
        return self.runs_on() + self.wrong_s

    def runs_on(self) -> float:
        """The same of a clock that nobody can set."""
        return (time.time() if self.stopped_at is None else self.stopped_at) + self.ahead_s


@dataclass(frozen=True, slots=True)
class Seat:
    """One credential's place: its profile folder, and what unlocks it."""

    folder: str
    secret: bytes | None = None


class Server:
    """One exchange, served on a loopback port from a thread of this process, as `serve` does it."""

    def __init__(self, settings: Settings, clock: Callable[[], float]) -> None:
        self.settings = settings
        self.clock = clock
        self.port = 0
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    def start(self, on_step: Callable[[str], None] = lambda _: None) -> None:
        """Open the exchange and serve it; the port stays the same when it is started again."""
        runs_on = self.clock.runs_on if isinstance(self.clock, Clock) else steady
        self.runtime = app.open_runtime(self.settings, clock=self.clock, runs_on=runs_on, on_step=on_step)
        self.runtime.timers.seen |= dict.fromkeys((NATIONAL, UNIT, OTHER_UNIT), int(self.clock()) + AWAKE_S)
        listener = socket.create_server(("127.0.0.1", self.port), backlog=256)
        self.port = listener.getsockname()[1]
        self._http = app.http_server(app.create_app(self.runtime), self.settings)
        self._thread = threading.Thread(target=self._http.run, kwargs={"sockets": [listener]}, name="exchange")
        self._thread.start()
        thread = self._thread
        while not self._http.started:
            if not thread.is_alive():
                raise RuntimeError("the exchange did not start")
            time.sleep(0.002)

    def catch_up(self) -> None:
        """Let the exchange's clocks say what is due by now, which they would within a second."""
        serves = self._thread is not None and self._thread.is_alive()
        if serves and self.runtime.writer.closed is None:
            timers, ends = self.runtime.timers, time.monotonic() + CATCH_UP_S
            with suppress(ReferralError):  # Why nothing can be posted is the matter of whoever made it so.
                while timers.turn() or not timers.leads:
                    # Another process leads, or has led until just now.
                    if timers.leads:
                        continue
                    with self.runtime.exchange.database.read() as conn:
                        if not alarms.due_alarms(conn, 1, int(self.clock())) or time.monotonic() > ends:
                            break
                    time.sleep(0.05)

    def stop(self) -> None:
        """Stop serving, as on SIGTERM."""
        self._http.should_exit = True
        if self._thread is not None:
            self._thread.join()


@dataclass(frozen=True, slots=True)
class Founded:
    """An exchange on which everybody is enrolled, at rest in `folder`, to be copied."""

    folder: Path
    seats: dict[str, Seat]
    database: str
    """The name of its PostgreSQL database, or "" for SQLite."""
    heads: dict[str, tuple[int, bytes]]
    """Size and root of each log when it was checked whole; what is made of copies of it relies on that."""


def settings_of(folder: Path, database_url: str = "") -> Settings:
    """The settings of an exchange in `folder`."""
    policy = folder / WITNESSES
    return Settings(
        issuer=ISSUER,
        environment="sandbox",
        data_dir=folder / "data",
        keys_dir=folder / "keys",
        signer_dir=folder / "signer",
        database_url=database_url,
        witness_policy=policy if policy.exists() else None,
    )


def found(
    folder: Path,
    *,
    database_url: str = "",
    database: str = "",
    policy: Policy | None = None,
    clock: Callable[[], float] = time.time,
) -> Founded:
    """Found an exchange and enrol everybody: invitation, keys made by the newcomer, code read out, approval (R-34).

    With a `policy` its genesis act names these witnesses; a test may write their addresses into `WITNESSES` anew.
    """
    if policy is not None:
        (folder / WITNESSES).write_bytes(format_policy(policy))
    settings = settings_of(folder, database_url)
    app.found(settings, registrars_required=2, clock=clock).close()
    return enrol(folder, settings, database, clock)


def enrol(folder: Path, settings: Settings, database: str, clock: Callable[[], float]) -> Founded:
    """Enrol everybody at an exchange that was founded, however long ago."""
    server = Server(settings, clock)
    server.start()
    try:
        office = Office(folder, server)
        office.open()
        for party in (HOTLINE, OTHER_HOTLINE, NATIONAL, UNIT, OTHER_UNIT, AUDIT):
            office.admit(party)
        office.close()
    finally:
        server.stop()
    with Database.open(settings.database) as opened, opened.write() as tx:
        # What was counted in the hour of founding would be recorded in the midst of whatever test begins the next one.
        tx.run("DELETE FROM tally")
    return Founded(folder, office.seats, database, AtRest(settings, clock).check())


@dataclass
class AtRest:
    """An exchange that is not served, as tests/world_check.py wants it."""

    settings: Settings
    clock: Callable[[], float]
    heads: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    tape: list[bytes] = field(default_factory=list)
    scanned: int = 0
    log_lines: str = ""

    def check(self) -> dict[str, tuple[int, bytes]]:
        """Whether everything holds that must hold at every moment; the heads of its logs."""
        from tests.world_check import check

        check(self)
        return self.heads


class Office:
    """The registrar's office while parties are admitted."""

    names: Mapping[str, tuple[str, str | None]] = {
        HOTLINE: ("operator", "calls"),
        OTHER_HOTLINE: ("colleague", None),
        NATIONAL: ("national", None),
        UNIT: ("officer", "desk"),
        OTHER_UNIT: ("stranger", None),
        AUDIT: ("auditor", "inspector"),
    }

    def __init__(self, folder: Path, server: Server) -> None:
        self.folder = folder
        self.server = server
        self.seats: dict[str, Seat] = {}
        self._opened: list[Client] = []

    def open(self) -> None:
        """Enrol the registrar's first person, whom the exchange itself approves, and the second, whom the first does.

        The unit's second officer is enrolled by the unit's own keyholder in the same way (`admit`).
        """
        joined = self.join("registrar", self._first_invitation(), ENTRIES[REGISTRY])
        runtime = self.server.runtime
        with runtime.exchange.database.read() as conn:
            stored = enrolments.find_enrolment(conn, joined.enrolment)
        if stored is None:
            raise RuntimeError("the enrolment is not stored")
        waiting = enrolment.read_waiting(stored)
        if waiting.statement is None:
            raise RuntimeError("a new party brings its statement")
        approval = {
            "party": REGISTRY,
            "statement": waiting.statement.digest,
            "code_sha256": code_digest(joined.code),
        }
        now = int(self.server.clock())
        founding.exchange_signs(runtime.exchange, runtime.writer, Act.APPROVE_STATEMENT, approval, now)
        self.registrar = self.client("registrar")
        self.add_person(self.registrar, REGISTRY, "second_registrar")

    def admit(self, party: str) -> None:
        """Invite, enrol and approve one party."""
        person, service = self.names[party]
        kinds = [PERSON] if service is None else [PERSON, SERVICE]
        invitation = parse_invitation(self.registrar.invite(ENTRIES[party], kinds))
        secret = None if service is None else new_service_secret()
        joined = self.join(person, invitation, ENTRIES[party], secret)
        if service is not None:
            self.seats[service] = Seat(person, secret)
        self.approve(self.registrar, party, joined)
        if party == UNIT:
            self.add_person(self.client(person), UNIT, "second_officer")

    def add_person(self, keyholder: Client, party: str, name: str) -> None:
        """A further person of a party, taken in by its keyholder."""
        keyholder.sync_keys()
        invitation = parse_invitation(keyholder.invite(ENTRIES[party], [PERSON]))
        self.approve(keyholder, party, self.join(name, invitation, None))

    def join(
        self, name: str, invitation: Invitation, described: Mapping[str, Any] | None, secret: bytes | None = None
    ) -> Joined:
        """What the newcomer does on the new workstation."""
        self.seats[name] = Seat(name)
        what = Joining(
            invitation, PASSPHRASE, entry=described, keyholder=described is not None, service_secret=secret,
            kdf=InsecureKdfForTests(), server=self.server.url, station="st1" if described is not None else "st2",
        )  # fmt: skip
        return sdk.join(self.folder / "profiles" / name, what, clock=self.server.clock)

    def approve(self, approver: Client, party: str, joined: Joined) -> None:
        """What the approver does after the telephone call: type the digits."""
        applicant = next(one for one in approver.applicants() if one.party == party)
        approver.approve(applicant, joined.code)

    def client(self, name: str) -> Client:
        """A client of somebody enrolled."""
        client = Client.person(
            self.folder / "profiles" / name, PASSPHRASE, server=self.server.url, clock=self.server.clock
        )
        self._opened.append(client)
        return client

    def close(self) -> None:
        """Close the clients."""
        for client in self._opened:
            client.close()

    def _first_invitation(self) -> Invitation:
        runtime = self.server.runtime
        secret, expires_at = b"\x01" * 16, int(self.server.clock()) + 72 * 3600
        body = {
            "nonce": nonce_of(b64u(secret)),
            "party": ENTRIES[REGISTRY],
            "credential_kinds": ["person"],
            "expires_at": expires_at,
        }
        founding.exchange_signs(runtime.exchange, runtime.writer, Act.INVITE, body, int(self.server.clock()))
        raw = build_invitation(
            exchange=ISSUER,
            root=runtime.exchange.keymap.root,
            party=REGISTRY,
            role="registrar",
            secret=secret,
            expires_at=expires_at,
            environment="sandbox",
        )
        return parse_invitation(raw)


@dataclass(slots=True)
class Tee:
    """Standard error, and a copy of it."""

    screen: Any
    copy: io.StringIO = field(default_factory=io.StringIO)

    def write(self, text: str) -> int:
        """Write to both."""
        self.copy.write(text)
        return int(self.screen.write(text))

    def flush(self) -> None:
        """Flush the screen."""
        self.screen.flush()


class World:
    """A founded exchange, copied and served, with a client for everybody (opened when first asked for)."""

    def __init__(self, founded: Founded, folder: Path, database_url: str = "", clock: Clock | None = None) -> None:
        shutil.copytree(founded.folder, folder, dirs_exist_ok=True)
        self.folder = folder
        self.seats = founded.seats
        self.clock = clock or Clock()
        self.tape: list[bytes] = []
        self.heads = dict(founded.heads)
        """Size and root of each log at the last check; only tests/world_check.py uses it."""
        self.scanned = 0
        """How much of the tape has been looked through for the canary."""
        self.settings = settings_of(folder, database_url)
        self.server = Server(self.settings, self.clock)
        self.wires: dict[str, Wire] = {}
        self.witnesses: list[WitnessProcess] = []
        """Of a test that has them; it starts and stops them."""
        self._clients: dict[str, Client] = {}
        self._callers: dict[str, Caller] = {}
        self._tee = Tee(sys.stderr)

    def __enter__(self) -> Self:
        sys.stderr = self._tee
        self.server.start()
        return self

    def close_clients(self) -> None:
        """Close everybody's client; each is opened anew when it is next asked for."""
        for caller in self._callers.values():
            caller.close()
        for client in self._clients.values():
            client.close()
        self._clients.clear()
        self._callers.clear()

    def __exit__(self, *_: object) -> None:
        self.close_clients()
        with suppress(AttributeError):
            self.server.stop()
        sys.stderr = self._tee.screen

    @property
    def log_lines(self) -> str:
        """Everything that the exchange wrote to standard error, in this process and in others."""
        return self._tee.copy.getvalue() + "".join(path.read_text() for path in sorted(self.folder.glob("*.log")))

    def restart(self, on_step: Callable[[str], None] = lambda _: None) -> None:
        """Stop the exchange and start it again."""
        self.server.stop()
        self.server.start(on_step)

    # Who is there.

    def client(self, name: str, clock: Callable[[], float] | None = None) -> Client:
        """The client of a seat; `self.wires[name]` is its line."""
        if name not in self._clients:
            seat = self.seats[name]
            self.wires[name] = Wire(self.tape)
            options = {"server": self.server.url, "transport": self.wires[name], "clock": clock or self.clock}
            profile = self.folder / "profiles" / seat.folder
            self._clients[name] = (
                Client.person(profile, PASSPHRASE, **options)
                if seat.secret is None
                else Client.service(profile, seat.secret, **options)
            )
        return self._clients[name]

    def __getattr__(self, name: str) -> Client:
        """`world.operator`, `world.officer`: the client of a seat."""
        if name.startswith("_") or name not in self.seats:
            raise AttributeError(name)
        return self.client(name)

    def caller(self, name: str) -> Caller:
        """Somebody who calls with a seat's credential and writes every byte himself."""
        if name not in self._callers:
            self._callers[name] = Caller(self.client(name), self.server.url, self.tape)
        return self._callers[name]

    # Steps. Each ends with a check.

    def submit(self, by: str = "operator", *, action: str = UNIT, **changes: Any) -> Entry:
        """The hotline seals, signs and sends a referral."""
        return self.after(self.client(by).submit(composition(action=action, **changes)))

    def open(self, by: str, ref: str) -> Opened:
        """Somebody fetches and opens a referral's bundle."""
        return self.after(self.client(by).open(ref))

    def acknowledge(self, by: str, ref: str) -> Entry:
        """A unit opens and acknowledges."""
        return self.after(self.client(by).acknowledge(self.open(by, ref)))

    def act(self, by: str, ref: str, act: Act, body: Mapping[str, Any] | None = None, **more: Any) -> Entry:
        """Any later act."""
        return self.after(self.client(by).act(ref, act, body or {}, **more))

    def after(self, result: T) -> T:
        """Check the world, and hand on the result of the step just taken."""
        self.check()
        return result

    def check(self) -> None:
        """Whether everything holds that must hold at every moment (design §14)."""
        from tests.world_check import check

        self.server.catch_up()
        check(self)


def check_database(world: World) -> None:
    """The operator's own audit agrees too: the database is what its logs say (tests/server/test_reckoning.py)."""
    with Database.look(world.settings.database) as database, database.read(snapshot=True) as conn:
        findings = reckon(conn, issuer=ISSUER)
    assert findings.complete, findings.differences


def composition(*, action: str = UNIT, body: Mapping[str, Any] | None = None, **changes: Any) -> Composition:
    """A composition of the invented emergency, with the canary in it."""
    given = {**REFERRAL, **(body or {})}
    return Composition(body=given, action=PartyId(action), **({"operator": "op-2"} | changes))
