"""The code lists of the profile: language-neutral codes with Spanish and English labels, read from package data.

`codes/*.csv` is the one source; `schemas/codes/` is a generated copy of it, and JSON Schemas take their enumerations
from here. A list is named by its path without the ending (`decline_reason`, `htcds_2_0/gender`). Codes are never
deleted or renamed: one that is no longer to be used gets an `effective_to`, and documents that carry it still read.

Must never: hold text for people outside the CSV files, or change a code of the standard it was taken from.

Implements: design §6 (Referral body, code lists) and principle 10. HTCDS 2.0 lists: see codes/htcds_2_0/NOTICE.md.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from types import MappingProxyType
from typing import Literal

COLUMNS = ("code", "es", "en", "effective_from", "effective_to", "note_required", "maps_to_htcds", "maps_to_fhir")


@dataclass(frozen=True, slots=True)
class Code:
    """One row of a list. Dates are whole days, both ends included; an empty mapping is None."""

    code: str
    es: str
    en: str
    effective_from: date
    effective_to: date | None
    note_required: bool
    maps_to_htcds: str | None
    maps_to_fhir: str | None

    def effective_on(self, day: date) -> bool:
        """Whether a document written on `day` may use the code."""
        return self.effective_from <= day and (self.effective_to is None or day <= self.effective_to)


Language = Literal["es", "en"]


@cache
def list_names() -> tuple[str, ...]:
    """Every list of the package, sorted."""
    return tuple(sorted(_walk(_root(), "")))


@cache
def codes(list_name: str) -> Mapping[str, Code]:
    """The codes of one list in the order of its file. An unknown name is a programmer's error (KeyError)."""
    if list_name not in list_names():
        raise KeyError(list_name)
    return MappingProxyType({row.code: row for row in _read(list_name)})


def label(list_name: str, code: str, lang: Language) -> str:
    """What people read for a code, in Spanish or English. KeyError if list or code is unknown."""
    row = codes(list_name)[code]
    return row.es if lang == "es" else row.en


def raw_csv(list_name: str) -> bytes:
    """The exact bytes of a list's file, for schemas/codes/."""
    return _root().joinpath(f"{list_name}.csv").read_bytes()


def raw_notice(path: str) -> bytes:
    """One of the notices (`NOTICE.md`, `htcds_2_0/NOTICE.md`) that must travel with every copy of the lists (CC BY
    4.0).
    """
    return _root().joinpath(*path.split("/")).read_bytes()


def _root() -> Traversable:
    return files("referral_api.formats").joinpath("codes")


def _walk(folder: Traversable, prefix: str) -> list[str]:
    names = []
    for entry in folder.iterdir():
        if entry.is_dir():
            names += _walk(entry, f"{prefix}{entry.name}/")
        elif entry.name.endswith(".csv"):
            names.append(prefix + entry.name.removesuffix(".csv"))
    return names


def _read(list_name: str) -> list[Code]:
    reader = csv.DictReader(io.StringIO(raw_csv(list_name).decode("utf-8"), newline=""))
    if tuple(reader.fieldnames or ()) != COLUMNS:
        raise RuntimeError(f"columns of {list_name}")
    rows = [_code(list_name, row) for row in reader]
    if len({row.code for row in rows}) != len(rows):
        raise RuntimeError(f"a code stands twice in {list_name}")
    return rows


def _code(list_name: str, row: Mapping[str, str]) -> Code:
    ends, note = row["effective_to"], row["note_required"]
    if note not in ("yes", "no"):
        raise RuntimeError(f"note_required of {list_name}: {row['code']}")
    return Code(
        code=row["code"],
        es=row["es"],
        en=row["en"],
        effective_from=date.fromisoformat(row["effective_from"]),
        effective_to=date.fromisoformat(ends) if ends else None,
        note_required=note == "yes",
        maps_to_htcds=row["maps_to_htcds"] or None,
        maps_to_fhir=row["maps_to_fhir"] or None,
    )
