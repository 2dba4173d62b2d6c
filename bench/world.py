"""A founded exchange with one hotline and some units: the template that every run copies."""

from __future__ import annotations

import secrets
import shutil
import socket
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn

from referral_api.client import admission, sdk
from referral_api.client.compartment import InsecureKdfForTests
from referral_api.client.enrolment import Joining
from referral_api.client.keystore import CredentialKeys, Keystore
from referral_api.client.profile import ProfileDir
from referral_api.client.session import Session
from referral_api.domain.words import Act, CredentialKind
from referral_api.formats.act import build_act
from referral_api.formats.enrolment import code_digest, nonce_of, parse_invitation
from referral_api.formats.keys import Alg
from referral_api.formats.statements import KeyMap
from referral_api.formats.strict_json import b64u, canonical
from referral_api.server import app
from referral_api.server.service import enrolment, founding
from referral_api.server.settings import Settings
from referral_api.server.storage import enrolments

HOTLINE = "linea"
PASSPHRASE = "solo para medir rendimiento"
UNITS = ("pnp-uno", "pnp-dos", "pnp-tres", "pnp-cuatro")
SIMPLE_HOTLINE, SIMPLE_UNIT = "linea-simple", "pnp-simple"
"""Parties whose statements ask for Ed25519 alone: what the second signature costs is seen against them."""
KDF = InsecureKdfForTests()
COPIED = ("data", "keys", "signer")


@dataclass(frozen=True, slots=True)
class Template:
    """Where the template is, which port is its issuer's, and the directory as it stands."""

    folder: Path
    port: int
    keymap: KeyMap

    @property
    def issuer(self) -> str:
        """The issuer, which every signature and every token names: all runs listen on its port."""
        return f"http://127.0.0.1:{self.port}"

    def copy(self, target: Path) -> Settings:
        """A fresh copy of the exchange, as it was before any referral."""
        for name in COPIED:
            shutil.copytree(self.folder / name, target / name)
        return settings_of(target, self.port)

    def keys(self, party: str = HOTLINE) -> CredentialKeys:
        """What the party's person signs with."""
        return keys_in(self.folder / party)

    def session(self, party: str = HOTLINE) -> Session:
        """A session of the party's person, to ask for tokens with."""
        directory = ProfileDir(self.folder / party)
        return Session(directory, Keystore.open(directory).profile, self.keys(party), sdk.ambient())


def keys_in(profile: Path) -> CredentialKeys:
    """What the person of a profile signs with."""
    return Keystore.open(ProfileDir(profile)).unlock_person(PASSPHRASE)


def sign_act(
    keys: CredentialKeys, issuer: str, act: Act, body: Mapping[str, Any], *, act_id: str | None = None,
    ref: str | None = None, unit: str | None = None, prev: str | None = None,
) -> bytes:  # fmt: skip
    """An act of now with every signature that its party's statement asks for: a simple one's with Ed25519 alone."""
    simple = keys.credential.partition(".")[0] in (SIMPLE_HOTLINE, SIMPLE_UNIT)
    return build_act(
        act_id=act_id or str(uuid.uuid4()),
        iss=keys.credential,
        aud=issuer,
        iat=int(time.time()),
        act=act,
        ref=ref,
        unit=unit,
        prev=prev,
        body=body,
        signers=keys.signers()[:1] if simple else keys.signers(),
    )


def settings_of(folder: Path, port: int) -> Settings:
    """Settings of an exchange in `folder`, on loopback."""
    return Settings(
        issuer=f"http://127.0.0.1:{port}",
        environment="sandbox",
        data_dir=folder / "data",
        keys_dir=folder / "keys",
        signer_dir=folder / "signer",
        port=port,
        # What a thousand would send, one credential sends here. It is counted as ever.
        calls_a_minute=1_000_000_000,
    )


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def serving(settings: Settings) -> Iterator[None]:
    """The exchange on a thread, for as long as parties are enrolled."""
    server = uvicorn.Server(
        uvicorn.Config(
            app.create_app(app.open_runtime(settings)), port=settings.port, log_config=None, access_log=False
        )
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield
    finally:
        server.should_exit = True
        thread.join()


def make(folder: Path) -> Template:
    """Found an exchange and enrol a registrar, a hotline and some units through its real enrolment."""
    port = free_port()
    settings = settings_of(folder, port)
    entry = _entry("registro", "registrar")
    invitation = _found(settings, entry)
    with serving(settings):
        joined = sdk.join(
            folder / "registrar",
            Joining(parse_invitation(invitation), PASSPHRASE, entry=entry, keyholder=True, kdf=KDF),
        )
    _approve(settings, joined.enrolment, joined.code)
    with serving(settings), sdk.Client.person(folder / "registrar", PASSPHRASE) as registrar:
        for unit in (*UNITS, SIMPLE_UNIT):
            _admit(registrar, folder, _entry(unit, "police_unit"))
        for hotline in (HOTLINE, SIMPLE_HOTLINE):
            _admit(registrar, folder, _entry(hotline, "hotline"))
        for party in (SIMPLE_HOTLINE, SIMPLE_UNIT):
            _ask_for_less(folder / party)
    runtime = app.open_runtime(settings)
    keymap = runtime.exchange.keymap
    runtime.log_signers.close()
    runtime.exchange.database.close()
    return Template(folder, port, keymap)


def _entry(party: str, role: str) -> dict[str, Any]:
    phone = {"duty_phone": "+441632960999"} if role == "police_unit" else {}
    return {"id": party, "role": role, "name": f"Parte {party}", "area": [], "escalation": []} | phone


def _found(settings: Settings, entry: dict[str, Any]) -> bytes:
    runtime = app.found(settings, registrars_required=1)
    secret, expires_at = b64u(secrets.token_bytes(16)), int(time.time()) + 3600
    body = {"nonce": nonce_of(secret), "party": entry, "credential_kinds": ["person"], "expires_at": expires_at}
    founding.exchange_signs(runtime.exchange, runtime.writer, Act.INVITE, body, int(time.time()))
    root = runtime.exchange.keymap.root
    runtime.close()
    return canonical(
        {
            "v": 1,
            "exchange": settings.issuer,
            "root": b64u(root),
            "party": entry["id"],
            "role": entry["role"],
            "secret": secret,
            "expires_at": expires_at,
            "environment": "sandbox",
        }
    )


def _approve(settings: Settings, enrolment_id: str, code: str) -> None:
    runtime = app.open_runtime(settings)
    runtime.writer.start()
    with runtime.exchange.database.read() as conn:
        stored = enrolments.find_enrolment(conn, enrolment_id)
    if stored is None:
        raise RuntimeError("the enrolment is gone")
    statement = enrolment.read_waiting(stored).statement
    if statement is None:
        raise RuntimeError("a new party without a statement")
    body = {"party": stored.party, "statement": statement.digest, "code_sha256": code_digest(code)}
    founding.exchange_signs(runtime.exchange, runtime.writer, Act.APPROVE_STATEMENT, body, int(time.time()))
    runtime.close()


def _admit(registrar: sdk.Client, folder: Path, entry: dict[str, Any]) -> None:
    invitation = registrar.invite(entry, [CredentialKind.PERSON])
    joined = sdk.join(
        folder / entry["id"],
        Joining(parse_invitation(invitation), PASSPHRASE, entry=entry, keyholder=True, kdf=KDF),
    )
    applicant = next(one for one in registrar.applicants() if one.party == entry["id"])
    registrar.approve(applicant, joined.code)


def _ask_for_less(profile: Path) -> None:
    """The party's keyholder states that Ed25519 alone will do."""
    with sdk.Client.person(profile, PASSPHRASE) as client:
        session = client.session
        party = session.sync_keys().keymap.find_party(client.profile.party)
        if party is None:
            raise RuntimeError("the party was not admitted")
        body = party.body.wire() | {"seq": party.seq + 1, "prev_statement": party.statement}
        for credential in body["credentials"]:
            credential["require"] = [Alg.ED25519.value]
        admission.send_directory_act(session, client.keys, Act.STATEMENT, body, session.ambient.act_id())
