"""The building blocks of every typed document: the base model, the scalar types, and the one way from dict to model.

A document says each thing in one way: unknown members, explicit nulls for absent members, numbers in text, text around
numbers and repeated entries are refused. What is wrong is told as a place (`where`, a JSON pointer) and a slug from a
closed set (`reason`), never with a value: what a caller sent may be about a person.

Must never: put input into an error, accept free text in a document that travels in clear, or read a clock.

Implements: R-04; design §6 ("unknown members refused", "closed codes only").
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from enum import StrEnum
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    StringConstraints,
    ValidationError,
    ValidationInfo,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import PydanticCustomError, core_schema

from referral_api.domain import words
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.formats.codelists import codes

T = TypeVar("T")
M = TypeVar("M", bound="Document")


class Document(BaseModel):
    """Base of every typed document: strict, frozen, nothing unknown."""

    model_config = ConfigDict(
        strict=True,
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
        validate_by_alias=True,
        validate_by_name=False,
    )

    @classmethod
    def parse(cls, value: Any, *, code: ErrorCode, on: date | None = None) -> Self:
        """Read one decoded JSON value. With `on`, the day of writing, codes out of force on that day are refused too.

        Raises ReferralError(`code`) with facts `where` (JSON pointer of the first fault) and `reason`, one of:
        `missing`, `unknown-member`, `wrong-type`, `not-in-list`, `bad-format`, `too-long`, `too-short`,
        `out-of-range`, `not-in-force`, or a slug of the document's own rules (raised with `broken`).
        """
        try:
            return cls.model_validate(value, context=on)
        except ValidationError as fault:
            where, reason = _first_fault(fault, value)
        # Raised outside the handler: the library's error holds the input, and must not travel along as context.
        raise ReferralError(code, where=where, reason=reason)

    def wire(self) -> dict[str, Any]:
        """The JSON members exactly as they were given: `parse(wire())` is the same document."""
        return self.model_dump(mode="json", by_alias=True, exclude_unset=True)


class PrivateDocument(Document):
    """Base of documents about people: never shows its values, so that no log line or traceback can."""

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        return iter(())


def broken(slug: str) -> PydanticCustomError:
    """The error of a rule that spans several members; `slug`, in which there is a hyphen, becomes the fact `reason`."""
    if "-" not in slug:
        raise ValueError(slug)
    return PydanticCustomError(slug, "{reason}", {"reason": slug})


_REASONS = {
    "missing": "missing",
    "extra_forbidden": "unknown-member",
    "literal_error": "not-in-list",
    "enum": "not-in-list",
    "union_tag_invalid": "not-in-list",
    "union_tag_not_found": "missing",
    "string_pattern_mismatch": "bad-format",
    "string_too_long": "too-long",
    "too_long": "too-long",
    "string_too_short": "too-short",
    "too_short": "too-short",
    "greater_than_equal": "out-of-range",
    "less_than_equal": "out-of-range",
}


def _first_fault(fault: ValidationError, value: Any) -> tuple[str, str]:
    first = fault.errors(include_url=False, include_context=False, include_input=False)[0]
    kind, place = first["type"], first["loc"]
    missing = place[-1:] if kind == "missing" else ()
    # Slugs of `broken` have a hyphen, the library's own kinds never.
    reason = _REASONS.get(kind, kind if "-" in kind else "wrong-type")
    unknown = kind == "extra_forbidden"  # The name of an unknown member is the caller's text; only its parent is told.
    steps = [*_existing(place[:-1] if unknown or missing else place, value), *missing]
    return "".join(f"/{step}" for step in steps), reason


def _existing(place: tuple[int | str, ...], value: Any) -> Iterator[int | str]:
    """The steps of the library's place that lead through the document; it also names the branches of unions."""
    for step in place:
        if isinstance(step, int) if isinstance(value, list) else isinstance(value, dict) and step in value:
            value = value[step]
            yield step


class _NotNull:
    """Lets a member be absent (None inside) without letting it be written as null."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        schema = handler(source)
        if schema["type"] != "nullable":
            raise TypeError("Maybe is for `X | None`")
        inner: core_schema.CoreSchema = schema["schema"]
        return inner


Maybe = Annotated[T | None, _NotNull()]
"""An optional member: left out or given, never null. Use as `name: Maybe[Type] = None`."""


@dataclass(frozen=True, slots=True)
class _Exactly:
    """The one value, by type too: the library's own literals take 1 for true and true for 1."""

    value: bool | int

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        def only(value: Any) -> Any:
            if value != self.value:
                raise broken("out-of-range")
            return value

        kind = core_schema.bool_schema if isinstance(self.value, bool) else core_schema.int_schema
        return core_schema.no_info_after_validator_function(only, kind(strict=True))

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {"const": self.value}


Yes = Annotated[Literal[True], _Exactly(value=True)]
"""A statement that is either made or left out."""
Version1 = Annotated[Literal[1], _Exactly(value=1)]
"""The member `v` of every document of this profile."""


class _UnixSeconds:
    """Integer Unix seconds in the document, an aware UTC datetime inside."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.no_info_after_validator_function(
            lambda seconds: datetime.fromtimestamp(seconds, UTC),
            core_schema.int_schema(strict=True, ge=EARLIEST_S, le=LATEST_S),
            serialization=core_schema.plain_serializer_function_ser_schema(
                lambda at: int(at.timestamp()), return_schema=core_schema.int_schema()
            ),
        )


EARLIEST_S = 1_577_836_800
"""2020-01-01: an earlier time in a signed act is a broken clock."""
LATEST_S = 4_102_444_800
"""2100-01-01."""

Instant = Annotated[datetime, _UnixSeconds()]


@dataclass(frozen=True, slots=True)
class Coded:
    """A code of one or several lists of formats/codelists.py; `gaps` also admits `unknown` and `not_disclosed`."""

    lists: tuple[str, ...]
    gaps: bool = False

    def values(self) -> list[str]:
        """The codes admitted, in the order of the lists."""
        names = (*self.lists, "answer_gap") if self.gaps else self.lists
        return list(dict.fromkeys(code for name in names for code in codes(name)))

    def effective_on(self, code: str, day: date) -> bool:
        """Whether a document written on `day` may use `code`, which is one of `values()`."""
        rows = (codes(name).get(code) for name in (*self.lists, "answer_gap"))
        return any(row is not None and row.effective_on(day) for row in rows)

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        """A closed list: checked in the validator's core, and an `enum` in the JSON Schema."""

        def in_force(code: str, info: ValidationInfo) -> str:
            if info.context is not None and not self.effective_on(code, info.context):
                raise broken("not-in-force")
            return code

        return core_schema.with_info_after_validator_function(in_force, core_schema.literal_schema(self.values()))


@dataclass(frozen=True, slots=True)
class _ByValue:
    """An enumeration of the glossary, written as its value."""

    def __get_pydantic_core_schema__(
        self, source: type[StrEnum], handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        return core_schema.enum_schema(source, list(source), sub_type="str", strict=False)


def _matching(pattern: str) -> StringConstraints:
    return StringConstraints(strict=True, pattern=f"^(?:{pattern})$")


Many = Annotated[tuple[T, ...], Field(strict=False)]
"""A JSON array. Inside it is a tuple, so that a frozen document is frozen all the way down."""


def _distinct(entries: tuple[T, ...]) -> tuple[T, ...]:
    if len(set(entries)) != len(entries):
        raise broken("repeated-entry")
    return entries


Distinct = Annotated[Many[T], AfterValidator(_distinct), Field(json_schema_extra={"uniqueItems": True})]
"""A JSON array without repetitions, of values that can be compared as a whole."""


def stating(*rules: JsonSchemaValue) -> ConfigDict:
    """A model's configuration that says rules between members in its JSON Schema too; validators enforce them here."""
    return ConfigDict(json_schema_extra={"allOf": list(rules)})


def demands(member: str, values: Iterable[object], *required: str) -> JsonSchemaValue:
    """The schema of a rule: where `member` is given with one of `values`, the `required` members are given too."""
    return {
        "if": {"properties": {member: {"enum": list(values)}}, "required": [member]},
        "then": {"required": list(required)},
    }


def all_distinct(values: Iterable[object]) -> bool:
    """Whether no value stands twice."""
    seen = list(values)
    return len(set(seen)) == len(seen)


Party = Annotated[words.PartyId, _matching(words.PARTY_ID)]
Credential = Annotated[words.CredentialId, _matching(words.CREDENTIAL_ID)]
Ref = Annotated[words.ReferralId, _matching(words.UUID7)]
Sha256 = Annotated[words.Digest, _matching(words.DIGEST)]
KeyId = Annotated[words.Kid, _matching(words.DIGEST)]
OperatorCode = Annotated[str, _matching(r"[a-z0-9][a-z0-9-]{0,15}")]
"""What a hotline calls an operator: a code of its own, never a name."""
Opaque = Annotated[str, _matching(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}")]
"""An identifier given by another register (an agreement, a file number)."""

Urgency = Annotated[words.Urgency, _ByValue()]
DeliveryRole = Annotated[words.DeliveryRole, _ByValue()]
Basis = Annotated[words.Basis, _ByValue()]
IdentityLevel = Annotated[words.IdentityLevel, _ByValue()]
RetentionClass = Annotated[words.RetentionClass, _ByValue()]
Investigation = Annotated[words.Investigation, _ByValue()]
State = Annotated[words.State, _ByValue()]
Role = Annotated[words.Role, _ByValue()]
CredentialKind = Annotated[words.CredentialKind, _ByValue()]

MAX_SEALED_BYTES = 1 << 20


class Sealed(Document):
    """Ciphertext that travels beside an act: SHA-256 and length of its exact bytes, at most 1 MiB (R-05, R-13)."""

    sha256: Sha256
    size: Annotated[int, Field(ge=1, le=MAX_SEALED_BYTES)]
