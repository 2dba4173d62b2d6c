"""The evidence pack: one file that shows, offline and years later, what became of a referral and who signed what.

It holds every act that its reader may see, word for word, with the exchange's receipt and a proof that the leaf stands
in the log; the exchange's records; checkpoints; the whole keys log, from which every key follows once its first leaf is
believed; the policy of witnesses; and pages that say how to check it, or do so.

The manifest says what belongs to the pack and finds accidents. Nobody signs it: what a pack proves, it proves by the
signatures in it, under a root that its reader knows from elsewhere.

Must never: hold anything that its reader may not see, be made differently from the same evidence, or do I/O.

Implements: R-89; design §9; formats: container.py, proof.py, policy.py, checkpoint.py.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from hashlib import sha256
from importlib.resources import files as package_files
from typing import Annotated, Final, Literal, Self

from pydantic import Field, model_validator

from referral_api.auditlog.container import write_archive
from referral_api.auditlog.keyslog import encode_leaves, log_keys
from referral_api.auditlog.merkle import Proof
from referral_api.auditlog.policy import Log, Policy, format_policy, genesis_policy
from referral_api.auditlog.proof import format_proof
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.terms import TERM, Term
from referral_api.formats.fields import Document, Party, Ref, Sha256, Version1, broken
from referral_api.formats.roster import Roster
from referral_api.formats.strict_json import b64u, canonical, malformed, parse

MANIFEST: Final = "manifest.json"
VERIFIER: Final = "verificador.html"
PAGES: Final = ("LEAME.html", "README.html", VERIFIER)
KEYS: Final = "keys-log"
MAX_MANIFEST_BYTES: Final = 4 << 20
MAX_INDEX: Final = 10**12
_PLACE: Final = re.compile(rf"(audit-{TERM})/([0-9]{{12}})\.(act\.json|receipt\.json|record\.json|tlog-proof)")
_OF_LOG: Final = re.compile(rf"(keys-log|audit-{TERM})/(checkpoint|policy|entries)")

Relation = Literal["auditor", "sender", "recipient"]


class FileEntry(Document):
    """One file of the pack: its SHA-256 in hex, as other people's tools print it, and its size in bytes."""

    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    size: Annotated[int, Field(ge=0, le=2**53 - 1)]


class Manifest(Document):
    """What a pack is about and what belongs to it.

    `relation` says for whom it was made, `unit` whose delivery alone it shows (null: all of them); `root` is the root
    of the keys log in it, which a reader compares with the one known from elsewhere.
    """

    v: Version1
    issuer: Annotated[str, Field(min_length=1, max_length=400)]
    root: Sha256
    ref: Ref
    relation: Relation
    unit: Party | None
    files: dict[Annotated[str, Field(max_length=100)], FileEntry]

    @model_validator(mode="after")
    def _one_view(self) -> Self:
        if (self.relation == "recipient") != (self.unit is not None):
            raise broken("members-contradict")
        return self


@dataclass(frozen=True, slots=True)
class Piece:
    """One leaf and what stands behind it: an act with its receipt (the exchange's own may have none), or a record."""

    term: Term
    index: int
    leaf: bytes
    hashes: Proof
    """From the leaf to the root of its log's checkpoint."""
    content: bytes
    is_act: bool
    receipt: bytes | None = None


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that goes into a pack. `checkpoints` are exact notes by term; `keys_checkpoint` covers `keys_leaves`."""

    ref: str
    relation: Relation
    unit: str | None
    keys_leaves: Sequence[bytes]
    keys_checkpoint: bytes
    checkpoints: Mapping[Term, bytes]
    pieces: Sequence[Piece]


def build_pack(evidence: Evidence, directory: Roster) -> bytes:
    """The pack of this evidence: the same bytes whenever and wherever it is made.

    `directory` is any fold of the same keys log. Raises TOO_LARGE (`limit`): a pack is one file that people can carry.
    """
    contents = {name: _page(name) for name in PAGES}
    contents[f"{KEYS}/entries"] = encode_leaves(evidence.keys_leaves)
    contents[f"{KEYS}/checkpoint"] = evidence.keys_checkpoint
    contents[f"{KEYS}/policy"] = format_policy(stated_policy(directory, "keys"))
    for term, note in evidence.checkpoints.items():
        contents[f"audit-{term}/checkpoint"] = note
        contents[f"audit-{term}/policy"] = format_policy(stated_policy(directory, term.log))
    for piece in evidence.pieces:
        place = f"audit-{piece.term}/{piece.index:012}"
        contents[f"{place}.act.json" if piece.is_act else f"{place}.record.json"] = piece.content
        if piece.receipt is not None:
            contents[f"{place}.receipt.json"] = piece.receipt
        note = evidence.checkpoints[piece.term]
        contents[f"{place}.tlog-proof"] = format_proof(piece.index, piece.hashes, note, extra=piece.leaf)
    about = {
        "v": 1,
        "issuer": directory.issuer,
        "root": b64u(directory.root),
        "ref": evidence.ref,
        "relation": evidence.relation,
        "unit": evidence.unit,
    }
    return seal_pack(about, contents)


def seal_pack(about: Mapping[str, object], contents: Mapping[str, bytes]) -> bytes:
    """The archive of these files with the manifest that lists them."""
    listed = {name: {"sha256": sha256(raw).hexdigest(), "size": len(raw)} for name, raw in contents.items()}
    return write_archive({**contents, MANIFEST: canonical({**about, "files": listed})})


def read_manifest(raw: bytes) -> Manifest:
    """Read a manifest. Raises TOO_LARGE, MALFORMED (`members`; `canonical`: another spelling of the same)."""
    document = parse(raw, max_bytes=MAX_MANIFEST_BYTES)
    manifest = Manifest.parse(document, code=ErrorCode.MALFORMED)
    if canonical(document) != raw:
        raise malformed("canonical")
    return manifest


def verify_listed(manifest: Manifest, contents: Mapping[str, bytes], name: str) -> None:
    """Raise unless the file is listed and there, belongs to a pack, and is what the manifest says of it.

    NOT_FOUND (absent), MALFORMED (`unlisted`, `archive-name`), DIGEST_MISMATCH (`file`).
    """
    if name not in contents:
        raise ReferralError(ErrorCode.NOT_FOUND, what="file", file=name)
    if name not in manifest.files:
        raise ReferralError(ErrorCode.MALFORMED, reason="unlisted", file=name)
    if name not in PAGES and not _PLACE.fullmatch(name) and not _OF_LOG.fullmatch(name):
        raise ReferralError(ErrorCode.MALFORMED, reason="archive-name", file=name)
    entry, raw = manifest.files[name], contents[name]
    if (entry.size, entry.sha256) != (len(raw), sha256(raw).hexdigest()):
        raise ReferralError(ErrorCode.DIGEST_MISMATCH, file=name)


@dataclass(frozen=True, slots=True)
class Bundle:
    """The files of one leaf as they stand in a pack; whatever is not there is None."""

    term: Term
    index: int
    act: bytes | None
    record: bytes | None
    receipt: bytes | None
    proof: bytes | None

    @property
    def place(self) -> str:
        """The beginning of their names."""
        return f"audit-{self.term}/{self.index:012}"


def bundles_of(contents: Mapping[str, bytes]) -> list[Bundle]:
    """What a pack holds leaf by leaf, in log order."""
    found: dict[tuple[str, str], dict[str, bytes]] = {}
    for name in sorted(contents):
        if (match := _PLACE.fullmatch(name)) is not None:
            found.setdefault((match[1], match[2]), {})[match[3]] = contents[name]
    return [
        Bundle(
            term=Term.parse(log.removeprefix("audit-")),
            index=int(index),
            act=one.get("act.json"),
            record=one.get("record.json"),
            receipt=one.get("receipt.json"),
            proof=one.get("tlog-proof"),
        )
        for (log, index), one in sorted(found.items())
    ]


def terms_of(contents: Mapping[str, bytes]) -> list[Term]:
    """The terms of which a pack holds anything; a name that is none of a pack's says nothing (`verify_listed`)."""
    found = {match[1] for name in contents if (match := _PLACE.fullmatch(name) or _OF_LOG.fullmatch(name))}
    return sorted(Term.parse(log.removeprefix("audit-")) for log in found - {KEYS})


def stated_policy(directory: Roster, log: str) -> Policy:
    """Whom the keys log tells to believe about a log: its keys, and the quorum of witnesses if there is one.

    A file for each log, because one key signs them all and a policy names no key twice.
    """
    return replace(genesis_policy(directory.genesis), logs=tuple(Log(own) for own in log_keys(directory, log)))


@cache
def _page(name: str) -> bytes:
    return package_files("referral_api.auditlog").joinpath("pages", name).read_bytes()


def is_own_page(name: str, raw: bytes) -> bool:
    """Whether a page of a pack is the one that this program comes with."""
    return raw == _page(name)
