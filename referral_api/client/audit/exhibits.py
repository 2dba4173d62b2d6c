"""Evidence on disk: for each fault of a verification the very bytes that do not hold, so that others can see it too.

A folder of its own for every time, in it one folder a fault, named by the check, the log and the leaf: the checkpoint
that the log's key signed and the one before it, leaf, proof of inclusion, record, receipt, tiles. `manifest.json` lists
every file with its digest. Who finds the exchange lying needs nothing of this machine afterwards.

Must never: write over earlier evidence, or hold a key, a token or a passphrase.

Implements: R-95; docs/decisions/0021; design §9.
"""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

from referral_api import __version__
from referral_api.auditlog.checkpoint import parse_checkpoint
from referral_api.auditlog.merkle import leaf_hash, verify_inclusion
from referral_api.auditlog.note import parse_note
from referral_api.auditlog.proof import format_proof
from referral_api.auditlog.report import Fault, Source
from referral_api.auditlog.tiles import TileName, TileReader
from referral_api.client.audit.kept import Kept
from referral_api.client.profile import write_private
from referral_api.client.session import Session
from referral_api.client.trust import issuer_origin
from referral_api.domain.errors import ReferralError
from referral_api.formats.strict_json import canonical

_NOT_IN_NAMES = re.compile(r"[^a-z0-9.-]+")


def write_faults(session: Session, faults: list[Fault], source: Source | None = None, to: Path | None = None) -> Path:
    """Write the evidence of these faults to a new folder below `to` (the profile's, if None); its path."""
    folder = _Folder(session, to)
    for number, fault in enumerate(faults, 1):
        place = "" if fault.index is None else f"-{fault.index}"
        folder.add_fault(_name(f"{number:03}-{fault.check.value}-{fault.log}{place}"), fault, source)
    return folder.finish()


def write_error(session: Session, error: ReferralError, to: Path | None = None) -> Path:
    """Write the evidence of a failure that ended a command: what it was, and what the exchange last answered."""
    folder = _Folder(session, to)
    name = _name(f"001-{error.code.value}")
    folder.put(f"{name}/fault.json", canonical({"code": error.code.value, "facts": plain_facts(error)}))
    for number, (target, response) in enumerate(session.latest, 1):
        head = {"call": target, "status": response.status, "headers": dict(response.headers)}
        folder.put(f"{name}/answer-{number}.json", canonical(head))
        folder.put(f"{name}/answer-{number}.body", response.body)
    return folder.finish()


def plain_facts(error: ReferralError) -> dict[str, Any]:
    """The facts of an error that a document can hold."""
    return {name: value for name, value in error.facts.items() if isinstance(value, (str, int))}


class _Folder:
    def __init__(self, session: Session, to: Path | None) -> None:
        self._session = session
        self._kept = Kept(session.directory)
        self._at = session.ambient.now()
        base = (to or self._kept.evidence) / f"{datetime.fromtimestamp(self._at, UTC):%Y%m%dT%H%M%SZ}"
        self.path = base
        number = 1
        while self.path.exists():
            number += 1
            self.path = base.with_name(f"{base.name}-{number}")
        self._files: dict[str, bytes] = {}

    def put(self, name: str, raw: bytes) -> None:
        target = self.path / name
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private(target, raw)
        self._files[name] = sha256(raw).digest()

    def add_fault(self, name: str, fault: Fault, source: Source | None) -> None:
        document = {
            "check": fault.check.value,
            "log": fault.log,
            "index": fault.index,
            "missing": fault.missing,
            "code": fault.error.code.value,
            "facts": plain_facts(fault.error),
        }
        self.put(f"{name}/fault.json", canonical(document))
        for what, raw in fault.exhibits.items():
            self.put(f"{name}/{what}", raw)
        self._add_past(name, fault)
        if source is not None and fault.index is not None:
            proof = _prove(source, fault)
            if proof is not None:
                self.put(f"{name}/proof", proof)

    def _add_past(self, name: str, fault: Fault) -> None:
        """What was promised of this log before: the signed text where it was kept, and the pin."""
        earlier = self._kept.find_checkpoint(fault.log)
        if earlier is not None:
            self.put(f"{name}/earlier-checkpoint", earlier)
        pin = self._session.directory.find_pin(issuer_origin(self._session.profile.issuer, fault.log))
        if pin is not None:
            self.put(f"{name}/pinned.json", canonical({"size": pin.size, "root": pin.root.hex()}))

    def finish(self) -> Path:
        profile = self._session.profile
        manifest = {
            "v": 1,
            "made_at": self._at,
            "made_with": __version__,
            "issuer": profile.issuer,
            "root": profile.root,
            "files": {name: digest.hex() for name, digest in sorted(self._files.items())},
        }
        self.put("manifest.json", canonical(manifest))
        return self.path


def _prove(source: Source, fault: Fault) -> bytes | None:
    """That the log's key signed a tree with this very leaf; None where the source cannot show it."""
    raw, leaf, index = fault.exhibits.get("checkpoint"), fault.exhibits.get("leaf"), fault.index
    if raw is None or leaf is None or index is None:
        return None
    with suppress(ReferralError):
        checkpoint = parse_checkpoint(parse_note(raw).text)

        def read_tile(level: int, at: int, width: int) -> bytes:
            return source.tile(fault.log, TileName(level, at, width))

        proof = TileReader(checkpoint.size, read_tile).inclusion_proof(index)
        verify_inclusion(index, checkpoint.size, leaf_hash(leaf), proof, checkpoint.root)
        return format_proof(index, proof, raw, leaf)
    return None


def _name(text: str) -> str:
    return _NOT_IN_NAMES.sub("-", text.lower())
