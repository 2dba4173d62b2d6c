"""The registrar's office in front of a real database: invitations, enrolments and directory acts, one transaction each.

`Office.accept` does what the door does around `judge_directory`: a transaction, the act's row, the new key map.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from referral_api.client.sealing import EncPrivateKey, answer_challenge, enc_private_key
from referral_api.domain.errors import ErrorCode
from referral_api.domain.words import Act, KeyUse
from referral_api.formats.act import RawAct, parse_act
from referral_api.formats.enrolment import Begin, Completion, Invitation, build_invitation, parse_invitation
from referral_api.formats.key_entry import build_key_entry
from referral_api.formats.keys import Alg
from referral_api.formats.strict_json import b64u, sha256_b64u, unb64u
from referral_api.server.service import enrolment
from referral_api.server.service.directory import Effects, judge_directory
from referral_api.server.storage import queries
from referral_api.server.storage.database import Database, Transaction
from tests.formats.parties_world import (
    DAY,
    EXCHANGE_ACT,
    EXCHANGE_CREDENTIAL,
    ISSUER,
    NOW,
    Log,
    Someone,
    act,
    enc_listed,
    entry_of,
    statement_body,
)


@dataclass
class Office:
    """One exchange: its database, its keys log, and a counter in place of randomness."""

    database: Database
    log: Log = field(default_factory=Log)
    drawn: int = 0
    stored: int = 0

    def token_bytes(self, count: int) -> bytes:
        self.drawn += 1
        return hashlib.shake_256(f"draw {self.drawn}".encode()).digest(count)

    def accept(self, raw: bytes, enrolment_id: str | None = None, now: int = NOW) -> Effects:
        parsed = parse_act(raw)
        with self.database.write() as tx:
            effects = judge_directory(tx, self.log.keymap, parsed, enrolment_id, now)
            for one in (*effects.carried, parsed):
                self._store(tx, one)
        for leaf in effects.keys_log:
            self.log.put(leaf)
        assert self.log.keymap.size == effects.keymap.size
        assert self.log.keymap.parties() == effects.keymap.parties()
        return effects

    def _store(self, tx: Transaction, one: RawAct) -> None:
        self.stored += 1
        queries.insert_act(
            tx,
            queries.StoredAct(
                pos=self.stored,
                digest=one.digest,
                iss=one.iss,
                id=one.id,
                party=one.party,
                act=one.act,
                ref=None,
                unit=None,
                prev=None,
                jws=one.jws.raw.decode("ascii"),
                outcome="accepted",
                code=None,
                receipt="{}",
                carrier=None,
                received_at=NOW,
            ),
        )

    def invite(self, signer: Someone | None, party: str, role: str, **changes: Any) -> Invitation:
        """An invitation signed by a person, or by the exchange itself."""
        secret = self.token_bytes(16)
        body: dict[str, Any] = {
            "nonce": sha256_b64u(secret),
            "party": entry_of(party, role),
            "credential_kinds": ["person", "service"],
            "expires_at": NOW + 3 * DAY,
        } | changes
        self.accept(
            act(Act.INVITE, EXCHANGE_CREDENTIAL, body, [EXCHANGE_ACT])
            if signer is None
            else signer.sign(Act.INVITE, body)
        )
        return parse_invitation(
            build_invitation(
                exchange=ISSUER,
                root=self.log.keymap.root,
                party=party,
                role=role,
                secret=secret,
                expires_at=body["expires_at"],
                environment="sandbox",
            )
        )

    def begin(self, invitation: Invitation, enc: Sequence[dict[str, str]] = (), now: int = NOW) -> dict[str, Any]:
        with self.database.write() as tx:
            request = Begin.parse({"enc": list(enc)}, code=ErrorCode.ACT_SCHEMA)
            return enrolment.begin(tx, self.log.keymap, invitation.secret, request, self.token_bytes, now).wire()

    def complete(
        self, invitation: Invitation, enrolment_id: str, body: dict[str, Any], now: int = NOW
    ) -> dict[str, Any]:
        completion = Completion.parse(body, code=ErrorCode.ACT_SCHEMA)
        with self.database.write() as tx:
            return enrolment.complete(tx, self.log.keymap, invitation.secret, enrolment_id, completion, now)

    def status(self, invitation: Invitation, enrolment_id: str, now: int = NOW) -> dict[str, Any]:
        with self.database.read() as conn:
            return enrolment.status(conn, self.log.keymap, invitation.secret, enrolment_id, now)

    def pending_for(self, who: Someone, now: int = NOW) -> list[dict[str, Any]]:
        with self.database.read() as conn:
            return enrolment.pending_for(conn, self.log.keymap, who.id, now)

    def open_registry(self, registrar: Someone) -> None:
        """Admit the registrar party: invited and approved by the exchange's own act key."""
        invitation = self.invite(None, registrar.party, "registrar")
        desk = Desk(self, invitation, [registrar])
        desk.enrol()
        self.accept(act(Act.APPROVE_STATEMENT, EXCHANGE_CREDENTIAL, desk.approval(), [EXCHANGE_ACT]))


@dataclass
class Desk:
    """An invitee's workstation: makes keys, answers challenges, writes entries, proposal and (new party) statement."""

    office: Office
    invitation: Invitation
    people: list[Someone]
    stations: tuple[str, ...] = ()
    keeper: Someone | None = None
    """Who vouches for the workstations: the first of `people`, or whoever only renews a key."""
    enrolment: str = ""
    body: dict[str, Any] = field(default_factory=dict)

    @property
    def enc(self) -> list[EncPrivateKey]:
        return [enc_private_key(Alg.HPKE_9, hashlib.sha256(name.encode()).digest()) for name in self.stations]

    @property
    def party(self) -> str:
        return str(self.invitation.party)

    def enrol(self, now: int = NOW) -> dict[str, Any]:
        self.begin()
        return self.office.complete(self.invitation, self.enrolment, self.body, now)

    def begin(self, voucher: Someone | None = None) -> None:
        answer = self.office.begin(self.invitation, [one.public.jwk for one in self.enc])
        self.enrolment = answer["enrolment"]
        nonces = {
            private.public.kid: answer_challenge(private, unb64u(challenge["sealed"]))
            for private, challenge in zip(self.enc, answer["challenges"], strict=True)
        }
        self.body = self.written(nonces, voucher or self.keeper or self.people[0])

    def written(self, nonces: dict[Any, bytes], voucher: Someone) -> dict[str, Any]:
        listed = [
            enc_listed("", f"{(self.keeper or self.people[0]).short}{at}") | {"kid": private.public.kid}
            for at, private in enumerate(self.enc, 1)
        ]
        is_new = self.office.log.keymap.find_party(self.party) is None
        role = self.invitation.role.value
        statement = statement_body(self.party, role, self.people, enc=listed)
        return {
            "keys": [entry.decode() for entry in (*self.enc_entries(nonces, voucher), *self.own_entries())],
            "possession": [{"kid": kid, "nonce": b64u(nonce)} for kid, nonce in nonces.items()],
            "proposal": {
                "credentials": statement["credentials"],
                "enc": listed,
                "entry": statement["entry"] if is_new else None,
            },
            "statement": self.people[0].sign(Act.STATEMENT, statement).decode() if is_new else None,
        }

    def own_entries(self) -> list[bytes]:
        return [
            build_key_entry(
                party=self.party,
                use=use,
                jwk=own.public.jwk,
                nonce=self.invitation.nonce,
                iat=NOW,
                possession=None,
                signers=[own],
            )
            for one in self.people
            for use, own in ((KeyUse.ACCESS, one.access), *((KeyUse.SEAL, seal) for seal in one.seals))
        ]

    def enc_entries(self, nonces: dict[Any, bytes], voucher: Someone) -> list[bytes]:
        return [
            build_key_entry(
                party=self.party,
                use=KeyUse.ENC,
                jwk=private.public.jwk,
                nonce=self.invitation.nonce,
                iat=NOW,
                possession=sha256_b64u(nonces[private.public.kid]),
                signers=voucher.seals,
            )
            for private in self.enc
        ]

    def digits(self) -> str:
        """What the invitee's own screen shows."""
        from referral_api.formats.enrolment import Proposal, enrolment_code

        proposal = Proposal.parse(self.body["proposal"], code=ErrorCode.ACT_SCHEMA)
        return enrolment_code(
            root=self.office.log.keymap.root,
            issuer=self.invitation.exchange,
            party=self.party,
            nonce=self.invitation.nonce,
            keys=proposal.kids(),
            credentials=proposal.credentials,
            enc=proposal.enc,
            entry=proposal.entry,
        )

    def approval(self, digits: str | None = None) -> dict[str, Any]:
        statement = parse_act(self.body["statement"].encode())
        return {"party": self.party, "statement": statement.digest, "code_sha256": self.typed(digits)}

    def typed(self, digits: str | None = None) -> str:
        """What an approval says of the digits: those of the screen, or others."""
        return sha256_b64u((digits or self.digits()).replace(" ", "").encode())
