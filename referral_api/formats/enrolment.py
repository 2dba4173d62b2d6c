"""Enrolment on paper: the invitation file, what an invitee sends, and the thirty digits that two people compare.

The digits are the only thing between a hostile exchange and a swapped key: both sides compute them from what they hold
themselves, and the approver types what the officer reads out over a telephone line that was found outside the system.

Must never: hold a private key; put the invitation's secret anywhere but into its file and one HTTP header.

Implements: docs/protocol.md R-34, R-35, R-36; design §5.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import Digest, Kid
from referral_api.formats import parties
from referral_api.formats.directory_bodies import CredentialEntry, EncryptionEntry, Entry, Issuer
from referral_api.formats.fields import (
    Distinct,
    Document,
    Instant,
    KeyId,
    Many,
    Party,
    Role,
    Sha256,
    Version1,
    broken,
)
from referral_api.formats.statement_rules import MAX_KEYS_A_STATION, KeyLookup, dormant, standing
from referral_api.formats.strict_json import b64u, canonical, parse, sha256_b64u, unb64u

SECRET_BYTES = 16
MAX_INVITATION_BYTES = 4 * 1024
MAX_REQUEST_BYTES = 64 * 1024
MAX_ENC_KEYS = 9
"""Encryption keys in one enrolment: eight workstations and the backup."""
MAX_KEY_ENTRIES = 64
CODE_DIGITS = 30
_GROUP = 5
_CODE_CONTEXT = b"referral-1/enrolment-code\x00"
_TYPED_CODE = re.compile(rf"[0-9]{{{CODE_DIGITS}}}")

KeyEntryText = Annotated[str, Field(min_length=1, max_length=12 * 1024)]
ActText = Annotated[str, Field(min_length=1, max_length=32 * 1024)]

APPROVERS = frozenset({"registrar", "keyholder", "second_keyholder", "second_registrar"})
TURNS = APPROVERS | {"exchange", "invitee", "done", "void", "expired"}
"""Whose turn an enrolment can be (R-36)."""


class Invitation(Document):
    """The file that an invitee is handed (R-34). `root` pins the keys log; the exchange knows `secret` only hashed."""

    v: Version1
    exchange: Issuer
    root: Sha256
    party: Party
    role: Role
    secret: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{21}[AQgw]$")]
    expires_at: Instant
    environment: Literal["production", "sandbox"]

    @property
    def nonce(self) -> Digest:
        """What the `invite` act, the key entries and the digits name: the digest of the secret."""
        return nonce_of(self.secret)


class Challenge(Document):
    """A nonce sealed to one of the invitee's encryption keys (base64url of formats/possession.py's bytes)."""

    kid: KeyId
    sealed: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,4096}$")]


class Proof(Document):
    """The opened nonce: whoever sends it holds the private half of `kid`."""

    kid: KeyId
    nonce: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]$")]


class Begin(Document):
    """The body of `POST /v1/enrolments`: the encryption keys that possession is to be proved of."""

    enc: Annotated[Many[dict[str, str]], Field(max_length=MAX_ENC_KEYS)]


class Begun(Document):
    """Its answer."""

    enrolment: Annotated[str, Field(pattern=r"^[0-9a-f-]{36}$")]
    challenges: Many[Challenge]


class Proposal(Document):
    """What the invitee asks to be listed as, in the members of a statement. `entry` is for a new party only."""

    credentials: Annotated[Many[CredentialEntry], Field(max_length=16)]
    enc: Annotated[Many[EncryptionEntry], Field(max_length=MAX_ENC_KEYS)]
    entry: Entry | None

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not self.credentials and not self.enc:
            raise broken("nothing-proposed")
        return self

    def kids(self) -> list[Kid]:
        """Every key that it names."""
        listed = [kid for credential in self.credentials for kid in (credential.access, *credential.seal)]
        return [*listed, *(key.kid for key in self.enc)]


class Completion(Document):
    """The body of `PUT /v1/enrolments/{id}`: key entries, proofs, the proposal, and for a new party its statement."""

    keys: Annotated[Distinct[KeyEntryText], Field(min_length=1, max_length=MAX_KEY_ENTRIES)]
    possession: Annotated[Many[Proof], Field(max_length=MAX_ENC_KEYS)]
    proposal: Proposal
    statement: ActText | None


def nonce_of(secret: str) -> Digest:
    """The digest under which the exchange knows an invitation's secret (16 bytes in base64url).

    Raises INVITE_UNKNOWN for what cannot be a secret: a mistyped one and an invented one are the same to a caller.
    """
    try:
        return sha256_b64u(unb64u(secret, exact=SECRET_BYTES))
    except ReferralError:
        raise ReferralError(ErrorCode.INVITE_UNKNOWN) from None


def parse_invitation(raw: bytes) -> Invitation:
    """Read an invitation file; raises TOO_LARGE, MALFORMED, ACT_SCHEMA (`where`, `reason`)."""
    return Invitation.parse(parse(raw, max_bytes=MAX_INVITATION_BYTES), code=ErrorCode.ACT_SCHEMA)


def build_invitation(
    *, exchange: str, root: bytes, party: str, role: str, secret: bytes, expires_at: int, environment: str
) -> bytes:
    """The invitation file for a secret of 16 random bytes. Raises what `parse_invitation` raises."""
    document = {
        "v": 1,
        "exchange": exchange,
        "root": b64u(root),
        "party": party,
        "role": role,
        "secret": b64u(secret),
        "expires_at": expires_at,
        "environment": environment,
    }
    raw = canonical(document)
    parse_invitation(raw)
    return raw


def parse_begin(raw: bytes) -> Begin:
    """Read the body that begins an enrolment; raises TOO_LARGE, MALFORMED, ACT_SCHEMA."""
    return Begin.parse(parse(raw, max_bytes=MAX_REQUEST_BYTES), code=ErrorCode.ACT_SCHEMA)


def parse_completion(raw: bytes) -> Completion:
    """Read the body that completes an enrolment; raises TOO_LARGE, MALFORMED, ACT_SCHEMA."""
    return Completion.parse(parse(raw, max_bytes=MAX_REQUEST_BYTES), code=ErrorCode.ACT_SCHEMA)


def enrolment_code(
    *,
    root: bytes,
    issuer: str,
    party: str,
    nonce: str,
    keys: Iterable[str],
    credentials: Sequence[CredentialEntry],
    enc: Sequence[EncryptionEntry],
    entry: Entry | None,
) -> str:
    """The thirty digits in six groups of five, over everything that must not be swapped (R-36).

    `keys` are the thumbprints of all new keys, recomputed by the caller from the keys themselves.
    """
    document: Mapping[str, Any] = {
        "credentials": [credential.wire() for credential in credentials],
        "enc": [one.wire() for one in enc],
        "entry": None if entry is None else entry.wire(),
        "issuer": issuer,
        "keys": sorted(keys),
        "nonce": nonce,
        "party": party,
        "root": b64u(root),
    }
    hashed = hashlib.sha256(_CODE_CONTEXT + canonical(document)).digest()
    digits = f"{int.from_bytes(hashed[:16], 'big') % 10**CODE_DIGITS:0{CODE_DIGITS}d}"
    return " ".join(digits[at : at + _GROUP] for at in range(0, CODE_DIGITS, _GROUP))


def parse_code(typed: str) -> str:
    """The thirty digits of what somebody typed, blanks and hyphens aside; raises CODE_MISMATCH (`reason` digits)."""
    digits = typed.replace(" ", "").replace("-", "").strip()
    if _TYPED_CODE.fullmatch(digits) is None:
        raise ReferralError(ErrorCode.CODE_MISMATCH, reason="digits")
    return digits


def verify_code(typed: str, expected: str) -> Digest:
    """The `code_sha256` for an approval, once the typed digits are those computed here.

    Raises CODE_MISMATCH: `digits` (not thirty of them), `differs`. They are no secret: the comparison is a plain one.
    """
    digits = parse_code(typed)
    if digits != parse_code(expected):
        raise ReferralError(ErrorCode.CODE_MISMATCH, reason="differs")
    return code_digest(digits)


def code_digest(code: str) -> Digest:
    """SHA-256 of the thirty digits in ASCII: `code_sha256` of an approval."""
    return sha256_b64u(parse_code(code).encode("ascii"))


def next_statement(
    party: parties.Party,
    proposal: Proposal,
    keys: KeyLookup,
    now: int,
    *,
    owners: Mapping[Kid, str],
    renewal: bool = False,
) -> dict[str, Any]:
    """The body of the statement that adds a proposal to a party as it stands: what its keyholder signs.

    A credential of the same id is replaced. Left out is what a revoked key belongs to, encryption keys that have ended
    (but for the last one of a workstation that may come back, `dormant`), and those of a workstation beyond its two
    newest. A `renewal` by one person (R-32 d) leaves other workstations as they are. `owners` as in `check_statement`.
    """
    credentials, listed = standing(party.body, keys)
    renewed = {credential.id for credential in proposal.credentials}
    added = {key.kid for key in proposal.enc}
    mine = {_place(key) for key in proposal.enc}
    held: Counter[str] = Counter()
    enc: list[EncryptionEntry] = []
    before = [key for key in listed if key.kid not in added]
    stays = added | dormant([*before, *proposal.enc], credentials, keys, owners, now)
    for key in sorted([*before, *proposal.enc], key=lambda one: (one.from_at, one.kid in added), reverse=True):
        place = _place(key)
        held[place] += 1
        fits = held[place] <= MAX_KEYS_A_STATION and (key.kid in stays or key.until_at.timestamp() > now)
        if fits or (renewal and place not in mine):
            enc.insert(0, key)
    kept = [credential for credential in credentials if credential.id not in renewed]
    if renewal:
        # Nobody else's line may move, or it would be no renewal.
        own = {credential.id: credential for credential in proposal.credentials}
        kept = [own.get(credential.id, credential) for credential in credentials]
    added_credentials = () if renewal else proposal.credentials
    return {
        "seq": party.seq + 1,
        "prev_statement": party.statement,
        "entry": party.entry.wire(),
        "credentials": [credential.wire() for credential in (*kept, *added_credentials)],
        "enc": [key.wire() for key in enc],
    }


def recovery_statement(
    party: parties.Party, proposal: Proposal, keys: KeyLookup, owners: Mapping[Kid, str]
) -> dict[str, Any]:
    """The body of the statement that gives a party new keyholders: what a registrar person signs for it (R-32 e).

    Its former keyholders are dropped, for they are lost; so is what a revoked key belongs to, and every encryption key
    that nobody who stays has vouched for.
    """
    credentials, listed = standing(party.body, keys)
    kept = [credential for credential in credentials if not credential.keyholder]
    staying = {credential.id for credential in kept}
    enc = [
        key for key in listed if (record := keys(key.kid)) is not None and owners.get(record.signed_by[0]) in staying
    ]
    return {
        "seq": party.seq + 1,
        "prev_statement": party.statement,
        "entry": party.entry.wire(),
        "credentials": [credential.wire() for credential in (*kept, *proposal.credentials)],
        "enc": [key.wire() for key in (*enc, *proposal.enc)],
    }


def _place(key: EncryptionEntry) -> str:
    """What the newest key stands for: its workstation, the backup, or itself."""
    return key.use if key.use == "backup" else key.station or key.kid


def parse_turn(answer: Mapping[str, Any], turns: Collection[str]) -> str:
    """Whose turn an answer says it is, of those that can be. Raises MALFORMED (`member`)."""
    turn = answer.get("turn")
    if not isinstance(turn, str) or turn not in turns:
        raise ReferralError(ErrorCode.MALFORMED, member="turn")
    return turn
