"""An exchange in memory, spoken to over the client's real HTTP stack: honest unless a test tells it how to lie.

Its answers are made with the project's own formats; what it leaves out is everything that the client cannot see (a
database, authentication of callers, rights). `lies` maps the path of a call to what becomes of its honest answer,
`refusals` to the answer of a call that changes nothing.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any
from urllib.parse import parse_qs

import httpx2

from referral_api.auditlog.checkpoint import cosign_checkpoint, parse_checkpoint, sign_checkpoint
from referral_api.auditlog.evidence import Chronicle, event_of, passed_on
from referral_api.auditlog.leaf import LeafKind, encode_leaf, leaf_of
from referral_api.auditlog.merkle import Frontier, append, leaf_hash
from referral_api.auditlog.note import SignatureType, SignedNote, VerifierKey, parse_note
from referral_api.auditlog.proof import format_proof
from referral_api.auditlog.records import LogGenesis, Retrieved, encode_record, encode_salt, leaf_of_record
from referral_api.auditlog.tiles import TILE_WIDTH, encode_entries, parse_tile_path
from referral_api.client.keystore import CredentialKeys, Secret
from referral_api.client.sealing import EncPrivateKey, enc_private_key
from referral_api.domain.errors import ErrorCode
from referral_api.domain.words import Act, CredentialId, KeyUse, Role
from referral_api.formats.act import RawAct, parse_act
from referral_api.formats.bodies import sealed_of
from referral_api.formats.key_entry import build_key_entry
from referral_api.formats.keys import Alg
from referral_api.formats.receipt import build_receipt, parse_receipt
from referral_api.formats.strict_json import unb64u
from tests.auditlog.naive import mth
from tests.formats import parties_world as pw
from tests.formats.parties_world import NONCE, NOW, Log, Someone, key, seed, service

HOST = "exchange.example"
YEAR = 2026
AUDIT = f"audit/{YEAR}"
Lie = Callable[[int, Any], tuple[int, Any]]


def enc_key(name: str) -> EncPrivateKey:
    return enc_private_key(Alg.HPKE_9, seed(f"enc/{name}"))


def keys_of(someone: Someone, enc: str | None = None) -> CredentialKeys:
    """The keystore content of somebody of the keys log."""

    def secret(name: str, alg: Alg) -> Secret:
        return Secret(alg, seed(f"{name}/{alg}"), NOW)

    return CredentialKeys(
        credential=CredentialId(someone.id),
        access=secret(f"{someone.name}/access", Alg.ED25519),
        seal=tuple(secret(f"{someone.name}/seal", alg) for alg in someone.algs),
        enc=() if enc is None else (Secret(Alg.HPKE_9, seed(f"enc/{enc}"), NOW),),
        storage=seed(f"{someone.id}/storage"),
    )


BOTH = (Alg.ED25519, Alg.ML_DSA_65)
REGISTRAR = pw.person("registro", "reg1aaa", algs=BOTH, keyholder=True)
OPERATOR = pw.person("linea-piura", "op1aaa", algs=BOTH, keyholder=True)
CALLS = service("linea-piura", "calls1", algs=(Alg.ED25519,))
OFFICER = pw.person("pnp-trata-piura", "of1aaa", algs=BOTH, keyholder=True)
STRANGER = pw.person("pnp-otra", "of2bbb", keyholder=True)
NATIONAL = pw.person("pnp-nacional", "of3ccc", keyholder=True)
AUDITOR = pw.person("defensoria", "aud1aa", keyholder=True)


def admit(log: Log, role: str, people: list[Someone], enc: str | None = None, **entry: Any) -> None:
    first = people[0]
    listed: list[dict[str, Any]] = []
    log.put(*(leaf for one in people for leaf in one.entries()))
    if enc is not None:
        public = enc_key(enc).public
        log.put(
            build_key_entry(
                party=first.party, use=KeyUse.ENC, jwk=public.jwk, nonce=NONCE, iat=NOW, possession=NONCE,
                signers=first.seals,
            )
        )  # fmt: skip
        listed.append({"kid": public.kid, "use": "enc", "from": NOW, "until": NOW + 45 * pw.DAY, "station": "st1"})
    body = pw.statement_body(first.party, role, people, enc=listed, **entry)
    statement = first.sign(Act.STATEMENT, body)
    log.put(statement, REGISTRAR.sign(Act.APPROVE_STATEMENT, pw.approval(first.party, statement)))


def directory(*witnesses: str) -> Log:
    """A fresh copy of the directory; building it once is slow enough. Of witnesses (vkeys) named, any two suffice."""
    built, copy = _directory(*witnesses), Log()
    copy.leaves, copy.keymap = list(built.leaves), built.keymap.copy()
    return copy


@cache
def _directory(*witnesses: str) -> Log:
    log = Log(witness_policy={"quorum": 2, "witnesses": list(witnesses)}) if witnesses else Log()
    log.registrar(REGISTRAR)
    admit(log, "hotline", [OPERATOR, CALLS], enc="linea")
    admit(log, "police_unit", [OFFICER], enc="piura", parent="pnp-nacional", duty_phone="+51730000199")
    admit(log, "police_unit", [NATIONAL], enc="nacional")
    admit(log, "police_unit", [STRANGER], enc="otra")
    admit(log, "auditor", [AUDITOR])
    return log


NAMES = ("w1.example", "w2.example", "w3.example")
THREE = tuple(VerifierKey(name, SignatureType.COSIGNATURE_ED25519, unb64u(key(name).public.jwk["x"])) for name in NAMES)


def witnessed() -> SimulatedExchange:
    """An exchange whose genesis names three witnesses, two of whom must cosign; they do whenever asked, dated NOW."""
    made = SimulatedExchange(directory(*(one.vkey for one in THREE)), THREE)
    made.found()
    return made


def cosign(raw: bytes, *who: VerifierKey, forged: bool = False, at: int = NOW) -> bytes:
    """A checkpoint with cosignatures of witnesses whose keys are those of their names; `forged`: of another time."""
    note = parse_note(raw)
    lines = [cosign_checkpoint(parse_checkpoint(note.text), one, key(one.name).sign, at) for one in who]
    if forged:
        lines = [replace(one, raw_signature=bytes(8) + one.raw_signature[8:]) for one in lines]
    return SignedNote(note.text, (*note.signatures, *lines)).to_bytes()


@dataclass
class SimulatedExchange:
    """Answers like the exchange; `calls` lists what was asked, `now` is its clock. `witnesses` cosign when asked."""

    log: Log = field(default_factory=directory)
    witnesses: tuple[VerifierKey, ...] = ()
    now: int = NOW
    audit: list[bytes] = field(default_factory=list)
    records: list[tuple[bytes, bytes | None]] = field(default_factory=list)
    chronicles: dict[str, Chronicle] = field(default_factory=dict)
    answers: dict[str, tuple[bytes, bytes, int]] = field(default_factory=dict)
    acts: dict[str, list[tuple[RawAct, bytes, int]]] = field(default_factory=dict)
    sealed: dict[str, bytes] = field(default_factory=dict)
    retrieved: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    lies: dict[str, Lie] = field(default_factory=dict)
    refusals: dict[str, tuple[int, Any]] = field(default_factory=dict)
    down: bool = False
    caller: str = ""
    calls: list[str] = field(default_factory=list)
    proofs: list[str] = field(default_factory=list)

    # The logs.

    def leaves(self, log: str) -> list[bytes]:
        return self.log.leaves if log == "keys" else self.audit

    def checkpoint(self, log: str) -> bytes:
        frontier = Frontier().extend([leaf_hash(leaf) for leaf in self.leaves(log)])
        return sign_checkpoint(f"{HOST}/v1/log/{log}", frontier.size, frontier.root(), key("exchange/log"))

    def append(self, record: bytes, receipt: bytes | None, leaf: bytes) -> int:
        self.audit.append(leaf)
        self.records.append((record, receipt))
        return len(self.audit) - 1

    def proof(self, index: int) -> bytes:
        growth = append(Frontier(), [leaf_hash(leaf) for leaf in self.audit])
        return format_proof(index, growth.proofs[index], self.checkpoint(AUDIT), self.audit[index])

    # What parties do.

    def accept(self, raw: bytes, *, code: ErrorCode | None = None) -> tuple[bytes, bytes]:
        """Log an act and answer it: receipt and proof; the same act again gets the same receipt."""
        act = parse_act(raw)
        if act.digest in self.answers:
            receipt, _, index = self.answers[act.digest]
            return receipt, self.proof(index)
        states: list[tuple[str, str, str]] = []
        if act.ref is not None and code is None:
            chronicle = self.chronicles.setdefault(act.ref, Chronicle())
            chronicle.accept(event_of(act, self.role(act.party), self.now))
            touched = [act.unit] if act.unit is not None else sorted(chronicle.deliveries)
            states = [(u, chronicle.deliveries[u].state.value, chronicle.deliveries[u].head) for u in touched]
        index = len(self.audit)
        receipt = build_receipt(
            iss=pw.ISSUER, act=act.digest, act_id=act.id, sub=act.iss, carrier=None, ref=act.ref, unit=act.unit,
            time=self.now, code=code, states=states, origin=f"{HOST}/v1/log/{AUDIT}", index=index,
            signer=key("exchange/receipt"),
        )  # fmt: skip
        self.append(raw, receipt, encode_leaf(leaf_of(raw, LeafKind.ACT, self.now)))
        self.answers[act.digest] = (receipt, raw, index)
        if act.ref is not None:
            self.acts.setdefault(act.ref, []).append((act, receipt, index))
        return receipt, self.proof(index)

    def found(self) -> None:
        """Put the directory's own acts into the audit log, as the exchange does when it accepts them (R-92)."""
        self.begin()
        for leaf in self.log.leaves:
            if b"referral-key" not in base64.b64decode(json.loads(leaf)["signatures"][0]["protected"] + "=="):
                self.accept(leaf)

    def begin(self) -> None:
        """The first leaf of the year's audit log."""
        record = LogGenesis(
            t=self.now, salt=encode_salt(b"\0" * 16), origin=f"{HOST}/v1/log/{AUDIT}", kid=key("exchange/log").kid,
            previous=None,
        )  # fmt: skip
        raw = encode_record(record)
        self.append(raw, None, encode_leaf(leaf_of_record(record, raw)))

    def hand_out(self, ref: str, unit: str) -> None:
        """Record that a unit was handed its bundle (R-52)."""
        act = self.brought(ref, unit)
        record = Retrieved(
            t=self.now, salt=encode_salt(b"\0" * 16), party=unit, credential=f"{unit}.of1aaa", ref=ref, unit=unit,
            sealed="bundle", act=act.digest, digest=sealed_of(act.body).sha256,  # type: ignore[union-attr]
        )  # fmt: skip
        raw = encode_record(record)
        index = self.append(raw, None, encode_leaf(leaf_of_record(record, raw)))
        self.chronicles[ref].retrieved(unit, self.now)
        told = {"kind": "retrieved", "unit": unit, "time": self.now, "year": YEAR, "index": index}
        self.retrieved.setdefault(ref, []).append(told)

    def path(self, ref: str, unit: str) -> list[RawAct]:
        """The transfers and approvals that brought a referral to a unit (R-62)."""
        accepted = [act for act, receipt, _ in self.acts[ref] if parse_receipt(receipt).accepted]
        return passed_on(unit, accepted)

    def brought(self, ref: str, unit: str) -> RawAct:
        transfers = [act for act in self.path(ref, unit) if act.act is Act.TRANSFER]
        return transfers[0] if transfers else self.acts[ref][0][0]

    def role(self, party: str) -> Role:
        found = self.log.keymap.find_party(party)
        return Role.EXCHANGE if found is None else found.role

    # HTTP.

    def transport(self, party: str) -> httpx2.MockTransport:
        return httpx2.MockTransport(lambda request: self.handle(request, party))

    def handle(self, request: httpx2.Request, party: str) -> httpx2.Response:
        path = request.url.path
        self.caller = party
        self.calls.append(f"{request.method} {path}")
        if self.down:
            raise httpx2.ConnectError("nobody answers")
        if "DPoP" in request.headers:
            self.proofs.append(request.headers["DPoP"])
        refusal = next((told for part, told in self.refusals.items() if part in path), None)
        status, answer = self.answer(request, path) if refusal is None else refusal
        for part, lie in self.lies.items():
            if part in path:
                status, answer = lie(status, answer)
        return render(status, answer)

    def answer(self, request: httpx2.Request, path: str) -> tuple[int, Any]:
        query = {name: values[0] for name, values in parse_qs(request.url.query.decode()).items()}
        if path == "/oauth/token":
            return 200, {"access_token": "token", "token_type": "DPoP", "expires_in": 300}
        if path.startswith("/v1/log/"):
            return 200, self.log_answer(path.removeprefix("/v1/log/"), query)
        if path == f"/v1/records/{YEAR}":
            start = int(query["from"])
            return 200, {"records": [self.record(at) for at in range(start, len(self.records))][: int(query["limit"])]}
        if request.method == "PUT":
            return self.put(json.loads(request.content))
        if path.endswith("/bundle"):
            ref = path.split("/")[3]
            self.hand_out(ref, self.caller)
            return 200, ("application/jose+json", self.sealed[self.brought(ref, self.caller).digest])
        if "/sealed/" in path:
            return 200, ("application/jose+json", self.sealed[path.rpartition("/")[2]])
        if path.startswith("/v1/referrals/"):
            return 200, self.view(path.rpartition("/")[2])
        return 404, {"code": "not-found", "retry": "never"}

    def log_answer(self, path: str, query: Mapping[str, str]) -> Any:
        log = "keys" if path.startswith("keys/") else AUDIT
        what = path.removeprefix(f"{log}/")
        if what == "checkpoint":
            return "text/plain", cosign(self.checkpoint(log), *(self.witnesses if "cosigned" in query else ()))
        hashes = [leaf_hash(leaf) for leaf in self.leaves(log)]
        if what == "consistency":
            proof = consistency(hashes, int(query["from"]), int(query["to"]))
            nodes = [base64.b64encode(node).decode() for node in proof]
            return {"from": int(query["from"]), "to": int(query["to"]), "proof": nodes}
        name = parse_tile_path(what)
        start = name.index * TILE_WIDTH
        if name.level >= 0:
            span = TILE_WIDTH**name.level
            spans = (self.leaves(log)[at * span : (at + 1) * span] for at in range(start, start + name.width))
            return "application/octet-stream", b"".join(map(mth, spans))
        return "application/octet-stream", encode_entries(self.leaves(log)[start : start + name.width])

    def record(self, index: int) -> dict[str, Any]:
        record, receipt = self.records[index]
        told = {"index": index, "kind": "x", "record": record.decode()}
        return told if receipt is None else told | {"receipt": receipt.decode()}

    def put(self, members: dict[str, str]) -> tuple[int, Any]:
        act = parse_act(members["act"].encode())
        receipt, proof = self.accept(members["act"].encode())
        beside = members.get("bundle", members.get("sealed"))
        if beside is not None:
            self.sealed[act.digest] = beside.encode()
        answer: dict[str, Any] = {"receipt": receipt.decode(), "proof": proof.decode()}
        if "route" in members:
            receipt, proof = self.accept(members["route"].encode())
            answer["route"] = {"receipt": receipt.decode(), "proof": proof.decode()}
        return 201, answer

    def view(self, ref: str) -> dict[str, Any]:
        only = self.caller if self.role(self.caller) is Role.POLICE_UNIT else None
        path = {act.digest for act in self.path(ref, self.caller)}
        deliveries = [d for unit, d in sorted(self.chronicles[ref].deliveries.items()) if only in (None, unit)]
        return {
            "ref": ref,
            "relation": "recipient",
            "deliveries": [{"unit": d.unit, "state": d.state.value, "head": d.head} for d in deliveries],
            "acts": [
                {"act": act.jws.raw.decode(), "receipt": receipt.decode(), "year": YEAR, "index": index, "sealed": None}
                for act, receipt, index in self.acts[ref]
                if only is None or act.digest in path or (act.unit in (None, only) and act.act is not Act.ROUTE)
            ],
            "records": [one for one in self.retrieved.get(ref, []) if only in (None, one["unit"])],
        }


def render(status: int, answer: Any) -> httpx2.Response:
    if isinstance(answer, tuple):
        media_type, body = answer
    else:
        media_type = "application/json" if status < 300 else "application/problem+json"
        body = json.dumps(answer).encode()
    return httpx2.Response(status, headers={"Content-Type": media_type}, stream=httpx2.ByteStream(body))


def consistency(hashes: list[bytes], old: int, new: int) -> tuple[bytes, ...]:
    from referral_api.auditlog.merkle import consistency_proof

    def read(level: int, position: int) -> bytes:
        start = position << level
        return Frontier().extend(hashes[start : start + (1 << level)]).root()

    return consistency_proof(old, new, read)
