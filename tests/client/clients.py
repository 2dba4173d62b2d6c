"""Clients of one simulated exchange, and what they send."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from referral_api.client.compartment import InsecureKdfForTests
from referral_api.client.keystore import CredentialKeys, Keystore
from referral_api.client.profile import Profile, ProfileDir
from referral_api.client.sdk import Client
from referral_api.client.submission import Composition
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import PartyId
from referral_api.formats.strict_json import sha256_b64u
from tests.client.world import AUDITOR, OFFICER, OPERATOR, SimulatedExchange, keys_of
from tests.formats import parties_world as pw

PASSPHRASE = "una frase de paso larga"
BODY = json.loads((Path(__file__).parents[2] / "examples/emergencia-piura.json").read_text())


class Clients:
    """Clients of one simulated exchange, each with a profile directory of its own."""

    def __init__(self, exchange: SimulatedExchange, path: Path) -> None:
        self.exchange = exchange
        self.path = path
        self.opened: list[Client] = []

    def of(self, keys: CredentialKeys, name: str | None = None) -> Client:
        party = keys.credential.partition(".")[0]
        directory = ProfileDir(self.path / (name or party))
        if not directory.keystore.exists():
            profile = Profile(pw.ISSUER, pw.ISSUER, sha256_b64u(self.exchange.log.leaves[0]), "sandbox", PartyId(party))
            Keystore.create(directory, profile).keep_person(keys, PASSPHRASE, InsecureKdfForTests())
        client = Client.person(
            directory.path, PASSPHRASE, transport=self.exchange.transport(party), clock=lambda: float(self.exchange.now)
        )
        self.opened.append(client)
        return client

    def hotline(self) -> Client:
        return self.of(keys_of(OPERATOR, "linea"))

    def unit(self) -> Client:
        return self.of(keys_of(OFFICER, "piura"))

    def auditor(self) -> Client:
        return self.of(keys_of(AUDITOR))


def composition(**changes: Any) -> Composition:
    return Composition(**{"body": BODY, "action": PartyId(OFFICER.party)} | changes)


def refused(code: ErrorCode, reason: str = "") -> Any:
    return pytest.raises(ReferralError, match=f"{code.value}.*{reason}")


def sent(clients: Clients) -> str:
    entry = clients.hotline().submit(composition())
    assert entry.outgoing.ref is not None
    return entry.outgoing.ref
