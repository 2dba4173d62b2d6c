"""Evidence packs of one story, and ways to spoil them. The exchange is that of tests/client, its formats are real."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from referral_api.auditlog.container import read_archive
from referral_api.auditlog.merkle import Frontier, append, leaf_hash
from referral_api.auditlog.note import SignatureType, VerifierKey
from referral_api.auditlog.pack import MANIFEST, Evidence, Piece, Relation, build_pack, read_manifest, seal_pack
from referral_api.auditlog.records import parse_record
from referral_api.domain.terms import Term
from referral_api.domain.words import Act
from referral_api.formats.act import parse_act
from referral_api.formats.strict_json import unb64u
from tests.client.clients import Clients, sent
from tests.client.world import AUDIT, OFFICER, YEAR, SimulatedExchange, cosign, directory
from tests.formats.parties_world import key

Spoil = Callable[[dict[str, bytes]], Any]


@dataclass(frozen=True)
class Told:
    """A story and where it was told: two referrals, the first of which has come a long way."""

    exchange: SimulatedExchange
    ref: str
    other: str

    @property
    def root(self) -> bytes:
        return self.exchange.log.keymap.root

    def pack(self, relation: Relation = "auditor", unit: str | None = None, ref: str | None = None) -> bytes:
        evidence = evidence_of(self.exchange, ref or self.ref, relation, unit)
        return build_pack(evidence, self.exchange.log.keymap)


@cache
def told(*witnesses: VerifierKey) -> Told:
    """The story, told once for all tests; nobody changes it. `witnesses` are those that the genesis act names."""
    exchange = SimulatedExchange(directory(*(one.vkey for one in witnesses)), witnesses)
    exchange.found()
    with TemporaryDirectory() as place:
        clients = Clients(exchange, Path(place))
        ref, other = sent(clients), sent(clients)
        unit = clients.unit()
        unit.acknowledge(unit.open(ref))
        unit.act(ref, Act.ACCEPT, {})
        unit.act(ref, Act.STATUS, {"code": "registered"})
        for client in clients.opened:
            client.close()
    return Told(exchange, ref, other)


def evidence_of(exchange: SimulatedExchange, ref: str, relation: Relation, unit: str | None) -> Evidence:
    """All that the audit log of a simulated exchange holds about a referral."""
    growth = append(Frontier(), [leaf_hash(leaf) for leaf in exchange.audit])
    pieces: list[Piece] = []
    for index, (content, receipt) in enumerate(exchange.records):
        is_act = content.startswith(b'{"payload"')
        about = parse_act(content).ref if is_act else getattr(parse_record(content), "ref", None)
        if about == ref:
            leaf, path = exchange.audit[index], growth.proofs[index]
            pieces.append(Piece(Term(YEAR), index, leaf, path, content, is_act=is_act, receipt=receipt))
    return Evidence(
        ref,
        relation,
        unit,
        exchange.log.leaves,
        exchange.checkpoint("keys"),
        {Term(YEAR): exchange.checkpoint(AUDIT)},
        pieces,
    )


def spoiled(raw: bytes, spoil: Spoil) -> bytes:
    """The pack after `spoil` has changed its files, with a manifest that fits again: what a forger would hand over."""
    contents = read_archive(raw)
    manifest = read_manifest(contents.pop(MANIFEST)).wire()
    del manifest["files"]
    about = spoil(contents)
    return seal_pack(manifest | (about if isinstance(about, dict) else {}), contents)


def witness(name: str) -> VerifierKey:
    """An Ed25519 witness whose key `key(name)` signs for."""
    return VerifierKey(name, SignatureType.COSIGNATURE_ED25519, unb64u(key(name).public.jwk["x"]))


def witnessed(raw: bytes, *who: VerifierKey, forged: bool = False) -> bytes:
    """The same pack with cosignatures below its checkpoints; `forged` ones were made over another time."""

    def add(contents: dict[str, bytes]) -> None:
        for log in ("keys-log", f"audit-{YEAR}"):
            before = contents[f"{log}/checkpoint"]
            after = cosign(before, *who, forged=forged)
            contents |= {name: raw.replace(before, after) for name, raw in contents.items() if name.startswith(log)}

    return spoiled(raw, add)


__all__ = ["OFFICER", "evidence_of", "spoiled", "told", "witness", "witnessed"]
