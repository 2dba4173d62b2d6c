"""The exchange's own records: what it writes down about itself and about who was given what to read.

A record is canonical JSON with the members of its kind and no others, salted with 16 random bytes that the caller
draws: without the salt, whoever sees a leaf could guess a record of so few possible values. The audit log holds its
digest; the record itself lives in a table until it is erased.

Must never: hold a name, an address, free text or anything else about a person; parties, credentials, referrals and
digests are all that a record names. Must never draw its own salt or read a clock.

Implements: design §6 (Leaf), §9 ("Recorded one by one …"), R-52, R-91.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal, TypeAlias, get_args

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from referral_api.auditlog.leaf import Leaf, LeafKind, leaf_of
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import CREDENTIAL_ID, DIGEST, PARTY_ID, UUID7
from referral_api.formats.fields import Version1
from referral_api.formats.strict_json import MAX_SAFE_INTEGER, b64u, canonical, malformed

SALT_BYTES: Final = 16
MAX_RECORD_BYTES: Final = 4096
"""More than the largest record that the models below allow."""

Party: TypeAlias = Annotated[str, Field(pattern=f"^{PARTY_ID}$")]
Credential: TypeAlias = Annotated[str, Field(pattern=f"^{CREDENTIAL_ID}$")]
Referral: TypeAlias = Annotated[str, Field(pattern=f"^{UUID7}$")]
Sha256: TypeAlias = Annotated[str, Field(pattern=f"^{DIGEST}$")]
Salt: TypeAlias = Annotated[str, Field(pattern="^[A-Za-z0-9_-]{21}[AQgw]$")]
Origin: TypeAlias = Annotated[str, Field(pattern="^[a-z0-9][a-z0-9./:-]{0,199}$")]
Slug: TypeAlias = Annotated[str, Field(pattern="^[a-z][a-z0-9_.-]{0,63}$")]
Count: TypeAlias = Annotated[int, Field(ge=0, le=MAX_SAFE_INTEGER)]


class _Record(BaseModel):
    """What every record has: format version, time in seconds (the leaf's `t`), salt in base64url."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    v: Version1 = 1
    t: Count
    salt: Salt


class _Reading(_Record):
    """A record of a credential that was given something to read."""

    party: Party
    credential: Credential


class TreeHead(BaseModel):
    """A log as it stood: its origin, size and root."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    origin: Origin
    size: Count
    root: Sha256


class Retrieved(_Reading):
    """Ciphertext was handed out: the submit's bundle, or what went sealed beside an act. Steps the delivery (R-66).

    `unit` is null where the reader is not a recipient's unit (the sender reading its own); `act` is the digest of the
    act that the ciphertext belongs to, `digest` the ciphertext's own.
    """

    kind: Literal["retrieved"] = "retrieved"
    ref: Referral
    unit: Party | None
    sealed: Literal["bundle", "beside"]
    act: Sha256
    digest: Sha256


class PartRead(_Reading):
    """One part of an encrypted attachment was handed out."""

    kind: Literal["part_read"] = "part_read"
    ref: Referral
    digest: Sha256


class Viewed(_Reading):
    """A referral's acts and computed states were shown."""

    kind: Literal["viewed"] = "viewed"
    ref: Referral


class Sought(BaseModel):
    """Which records an auditor asked for among those looked through: of this party, referral, kind; null: of any."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    party: Party | None = None
    ref: Referral | None = None
    kind: Slug | None = None


class RecordRead(_Reading):
    """Records behind `count` leaves of a log, from index `start`, were handed to an auditor.

    With `sought` only those that fit were, of all these leaves. A bound of time is said by `start` and `count`.
    """

    kind: Literal["record_read"] = "record_read"
    origin: Origin
    start: Count
    count: Count
    sought: Sought | None


class ProofRead(_Reading):
    """A stored receipt and its fresh proof were handed out; `act` is the act's digest."""

    kind: Literal["proof_read"] = "proof_read"
    act: Sha256


class PackRead(_Reading):
    """An evidence pack about one referral was made and handed out; `digest` is the pack's."""

    kind: Literal["pack_read"] = "pack_read"
    ref: Referral
    digest: Sha256


class UnloggedRead(_Reading):
    """While writes were closed, something about a referral was handed out that was on no log, nor is so far.

    The database that it came from was not the one that was signed. Logged behind a `writes_closed` record alone, in the
    place of `retrieved`, `viewed` or `pack_read`; moves no delivery. `act` is that which the ciphertext (`bundle`,
    `beside`) belongs to, `digest` the ciphertext's or the pack's own.
    """

    kind: Literal["unlogged_read"] = "unlogged_read"
    ref: Referral
    what: Literal["bundle", "beside", "view", "pack"]
    act: Sha256 | None
    digest: Sha256 | None


class StatisticsRead(_Reading):
    """The fixed annual tables were handed out; `digest` is theirs, the same at every reading (R-103)."""

    kind: Literal["statistics_read"] = "statistics_read"
    year: Annotated[int, Field(ge=2000, le=9999)]
    digest: Sha256


class AuditSession(_Reading):
    """An auditor reads tiles of a log, up to `new_size` leaves of it: one record a session instead of one a tile.

    `old_size` is what the session before said, where the process that wrote this knew of one; else 0.
    """

    kind: Literal["audit_session"] = "audit_session"
    origin: Origin
    old_size: Count
    new_size: Count


class Tokens(_Reading):
    """How many access tokens a credential was given from `since` to `until` (seconds; one hour)."""

    kind: Literal["tokens"] = "tokens"
    since: Count
    until: Count
    count: Count


class Refused(_Record):
    """A call was refused without a signed receipt. Null where the call did not get as far as saying so."""

    kind: Literal["refused"] = "refused"
    party: Party | None
    credential: Credential | None
    code: ErrorCode
    ref: Referral | None
    act: Sha256 | None


class Refusals(_Record):
    """The same refusal again and again: how often from `since` to `until` (seconds; one hour)."""

    kind: Literal["refusals"] = "refusals"
    party: Party | None
    credential: Credential | None
    code: ErrorCode
    since: Count
    until: Count
    count: Count


class LogGenesis(_Record):
    """The first leaf of a log: its origin, its key's thumbprint, the last checkpoint of the log that it continues."""

    kind: Literal["log.genesis"] = "log.genesis"
    origin: Origin
    kid: Sha256
    previous: TreeHead | None


class LogLost(_Record):
    """The second leaf of a term that follows a log whose last leaves are lost for good (R-92).

    `kept` is that log as far as it is held. `signed` is the largest size that it is known to have been signed at, and
    `authority` says who vouches for the checkpoint that the term's first leaf names as `previous`: the quorum of
    witnesses, or where the exchange has none, the log's key alone.
    """

    kind: Literal["log.lost"] = "log.lost"
    kept: TreeHead
    signed: Count
    authority: Literal["witnesses", "log"]


class LogClosed(_Record):
    """The last leaf of a log: which one continues it."""

    kind: Literal["log.closed"] = "log.closed"
    origin: Origin
    following: Origin


class Configuration(_Record):
    """The exchange runs with another configuration from now on: its digest and which settings changed."""

    kind: Literal["configuration"] = "configuration"
    version: Annotated[str, Field(pattern="^[0-9a-z.+-]{1,40}$")]
    digest: Sha256
    changed: Annotated[list[Slug], Field(max_length=40)]


class ClockJump(_Record):
    """The clock was not where the exchange expected it (both in seconds)."""

    kind: Literal["clock_jump"] = "clock_jump"
    expected: Count
    observed: Count


class SignerAdopted(_Record):
    """A signer took over a log, authorised by its predecessor's state or by the witnesses' quorum."""

    kind: Literal["signer_adopted"] = "signer_adopted"
    head: TreeHead
    authority: Literal["state", "witnesses"]


class WritesClosed(_Record):
    """The start-up gate refused writes, and why; logged first when it reopens."""

    kind: Literal["writes_closed"] = "writes_closed"
    reason: Slug


class Reconciled(_Record):
    """Recovery put back `imported` missing leaves and writes are open again; `head` is what had been promised."""

    kind: Literal["reconciled"] = "reconciled"
    head: TreeHead
    imported: Count


ServerRecord: TypeAlias = (
    Retrieved
    | PartRead
    | Viewed
    | RecordRead
    | ProofRead
    | PackRead
    | UnloggedRead
    | StatisticsRead
    | AuditSession
    | Tokens
    | Refused
    | Refusals
    | LogGenesis
    | LogLost
    | LogClosed
    | Configuration
    | ClockJump
    | SignerAdopted
    | WritesClosed
    | Reconciled
)

KINDS: Final = frozenset(str(model.model_fields["kind"].default) for model in get_args(ServerRecord))
"""What `kind` may say in a record."""

_ADAPTER: Final[TypeAdapter[ServerRecord]] = TypeAdapter(Annotated[ServerRecord, Field(discriminator="kind")])


def encode_salt(salt: bytes) -> str:
    """16 random bytes, drawn by the caller, as a record's `salt`. Any other length is a programmer's error."""
    if len(salt) != SALT_BYTES:
        raise ValueError("a record is salted with 16 bytes")
    return b64u(salt)


def encode_record(record: ServerRecord) -> bytes:
    """The one spelling of a record: its bytes are what a leaf commits to."""
    return canonical(record.model_dump(mode="json"))


def parse_record(raw: bytes) -> ServerRecord:
    """Read a record; what is accepted re-encodes to the same bytes, so no two texts mean the same record.

    Raises TOO_LARGE (`limit`), MALFORMED with `reason` `record` (members, types) or `canonical` (another spelling).
    """
    if len(raw) > MAX_RECORD_BYTES:
        raise ReferralError(ErrorCode.TOO_LARGE, limit=MAX_RECORD_BYTES)
    try:
        record = _ADAPTER.validate_json(raw)
    except ValidationError:
        # The library's message quotes its input, which must not travel further.
        raise malformed("record") from None
    if encode_record(record) != raw:
        raise malformed("canonical")
    return record


def leaf_of_record(record: ServerRecord, raw: bytes) -> Leaf:
    """The leaf for a record and its encoding."""
    return leaf_of(raw, kind_of(record), record.t)


def kind_of(record: ServerRecord) -> LeafKind:
    """Under which kind of leaf a record is logged."""
    if isinstance(record, _Reading):
        return LeafKind.ACCESS
    return LeafKind.SERVER if isinstance(record, Refused | Refusals) else LeafKind.SYSTEM
