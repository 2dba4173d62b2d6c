"""An auditor's tables: `audit statistics`, `audit exposure`, `audit overrides`.

Each is also written as CSV where a file is named: UTF-8, every field as text that a spreadsheet takes for no formula,
and with `--semicolon` as a spreadsheet in Spanish opens it.

Must never: write a cell that a spreadsheet would run, or replace a file.

Implements: R-103, R-104; rules R6, R12 and R13 of the field; design §9.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from referral_api.auditlog.figures import CODE_LISTS, rows_of
from referral_api.cli.auditing import INCOMPLETE, MirrorFolder, auditing
from referral_api.cli.invocation import Invocation, invocation, write_private_file
from referral_api.cli.output import Exit, Fault, Screen, Shown
from referral_api.client.audit import figures
from referral_api.client.audit.figures import Exposure, Overriding, Yearly
from referral_api.client.audit.inspection import Item
from referral_api.formats.codelists import codes as codes_of
from referral_api.formats.codelists import label

_RUNS = ("=", "+", "-", "@", "\t", "\r")
"""With what a cell begins that a spreadsheet takes for a formula, or for a part of one."""
DIGEST_OF = "sha256:"
"""What stands before a digest in a sheet."""
CsvFile = Annotated[Path | None, typer.Option("--csv")]
Semicolon = Annotated[bool, typer.Option("--semicolon")]
Evidence = Annotated[Path | None, typer.Option("--evidence")]
_MOMENTS = ["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"]


def register(audit_group: typer.Typer) -> None:
    """Add these verbs to the auditor's group."""
    audit_group.command("statistics")(audit_statistics)
    audit_group.command("exposure")(audit_exposure)
    audit_group.command("overrides")(audit_overrides)


def audit_statistics(
    ctx: typer.Context,
    of_year: Annotated[int, typer.Option("--year", min=2000, max=7998)],
    mirror: MirrorFolder = None,
    csv_file: CsvFile = None,
    semicolon: Semicolon = False,  # noqa: FBT002 - an option of the command line
    evidence: Evidence = None,
) -> None:
    """The national tables of a year that is over, counted again from the log; small cells are blank."""
    call = invocation(ctx)
    with auditing(call, evidence) as client:
        _demand_over(of_year, client.session.now())
        found = figures.statistics(client.session, of_year, mirror)
    screen = call.screen
    rows = [
        [_table(screen, table), _row(screen, table, row), _figure(shown)]
        for table, row, shown in rows_of(found.document)
    ]
    columns = ("col.table", "col.row", "col.figure")
    lines: list[Any] = [
        screen.say("figures.year", year=of_year),
        screen.table(columns, rows),
        screen.say("figures.blank"),
    ]
    lines.append(_recounted(screen, found))
    plain = [
        [
            str(of_year),
            table,
            row,
            "" if shown is None else str(shown),
            f"{_table(screen, table)}: {_row(screen, table, row)}",
        ]
        for table, row, shown in rows_of(found.document)
    ]
    lines += _keep(call, csv_file, ["year", "table", "row", "figure", "label"], plain, semicolon=semicolon)
    data = {"statistics": dict(found.document), "erased_leaves": found.erased, "verified": not found.erased}
    status = INCOMPLETE if found.erased else Exit.OK
    call.show(Shown(data, lines, [f"referral audit overrides --year {of_year}"], status))


def audit_exposure(
    ctx: typer.Context,
    whose: Annotated[str, typer.Option("--credential")],
    after: Annotated[datetime, typer.Option("--since", formats=_MOMENTS)],
    before: Annotated[datetime, typer.Option("--until", formats=_MOMENTS)],
    mirror: MirrorFolder = None,
    csv_file: CsvFile = None,
    semicolon: Semicolon = False,  # noqa: FBT002 - an option of the command line
    evidence: Evidence = None,
) -> None:
    """Everything that a credential was handed in some time: what may be known to whoever held its keys."""
    call = invocation(ctx)
    first, last = (int(one.replace(tzinfo=UTC).timestamp()) for one in (after, before))
    with auditing(call, evidence) as client:
        found = figures.exposure(client.session, whose, first, last, mirror)
    screen = call.screen
    rows = [
        [screen.at(one.at), _what(screen, one), one.ref or "—", one.unit or "—", _place(one)] for one in found.items
    ]
    units = {unit for named in found.units.values() for unit in named or ()}
    counted = {"handed": len(found.items), "referrals": len(found.units), "units": len(units)}
    lines: list[Any] = [screen.say("exposure.of", credential=whose, since=screen.at(first), until=screen.at(last))]
    columns = ("col.when", "col.what", "col.ref", "col.unit", "col.place")
    lines.append(screen.table(columns, rows) if rows else screen.say("inspect.none"))
    lines += [screen.say("exposure.count", **counted), screen.say("exposure.before")]
    lines += [screen.say("exposure.unit", ref=ref, units=_named(screen, named)) for ref, named in found.units.items()]
    lines.append(screen.say("inspect.searched" if mirror is None else "inspect.mirrored"))
    header = ["time", "kind", "referral", "units", "digest", "log", "index"]
    lines += _keep(call, csv_file, header, [_exposed(found, one) for one in found.items], semicolon=semicolon)
    data = {
        "credential": whose,
        "since": first,
        "until": last,
        "counts": counted,
        "items": [_item(one) for one in found.items],
        "units": {ref: None if named is None else list(named) for ref, named in found.units.items()},
    }
    call.show(Shown(data, lines, ["referral audit verify --since"]))


def audit_overrides(
    ctx: typer.Context,
    of_year: Annotated[int, typer.Option("--year", min=2000, max=7998)],
    mirror: MirrorFolder = None,
    csv_file: CsvFile = None,
    semicolon: Semicolon = False,  # noqa: FBT002 - an option of the command line
    evidence: Evidence = None,
) -> None:
    """Every referral that was sent against a refusal: when, by whom, who agreed, and why."""
    call = invocation(ctx)
    with auditing(call, evidence) as client:
        found = figures.overrides(client.session, of_year, mirror)
    screen = call.screen
    rows = [
        [
            *(screen.at(one.item.at), str(one.item.ref), one.by, one.second_person),
            label("override_reason", one.reason, screen.lang),
            _place(one.item),
        ]
        for one in found
    ]
    columns = ("col.when", "col.ref", "col.who", "col.second", "col.reason", "col.place")
    lines: list[Any] = [screen.table(columns, rows) if rows else screen.say("inspect.none")]
    lines.append(screen.say("inspect.searched" if mirror is None else "inspect.mirrored"))
    data = {"year": of_year, "overrides": [_overriding(one) for one in found]}
    plain = [[str(value) for value in _overriding(one).values()] for one in found]
    header = ["time", "referral", "by", "second_person", "reason", "basis", "identity_level", "log", "index"]
    lines += _keep(call, csv_file, header, plain, semicolon=semicolon)
    call.show(Shown(data, lines, ["referral audit verify --since"]))


def sheet(header: Sequence[str], rows: Iterable[Sequence[str]], *, semicolon: bool) -> bytes:
    """CSV (RFC 4180) for a spreadsheet: no cell is a formula; semicolons and a byte order mark for one in Spanish."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=";" if semicolon else ",", lineterminator="\r\n")
    for row in (header, *rows):
        writer.writerow(f"'{cell}" if cell.startswith(_RUNS) else cell for cell in row)
    return text.getvalue().encode("utf-8-sig" if semicolon else "utf-8")


def _keep(
    call: Invocation, to: Path | None, header: Sequence[str], rows: Iterable[Sequence[str]], *, semicolon: bool
) -> list[str]:
    if to is None:
        return []
    write_private_file(to, sheet(header, rows, semicolon=semicolon))
    return [call.screen.say("figures.written", path=to)]


def _demand_over(year: int, now: int) -> None:
    if year >= datetime.fromtimestamp(now, UTC).year:
        raise Fault("year-not-over", year=year)


def _recounted(screen: Screen, found: Yearly) -> str:
    return screen.say("figures.erased", count=found.erased) if found.erased else screen.say("figures.recounted")


def _table(screen: Screen, table: str) -> str:
    return screen.say(f"figures.table.{table}")


def _row(screen: Screen, table: str, row: str) -> str:
    """What people read for a row: a code's own words, or ours."""
    named = CODE_LISTS.get(table)
    if named is not None and row in codes_of(named):
        return label(named, row, screen.lang)
    first, _, rank = row.partition(".")
    if first in codes_of("urgency"):
        return f"{label('urgency', first, screen.lang)} {rank}".rstrip()
    return screen.say(f"figures.row.{row}")


def _figure(shown: int | None) -> str:
    return "·" if shown is None else str(shown)


def _what(screen: Screen, item: Item) -> str:
    sealed = getattr(item.record, "sealed", None)
    return screen.say("exposure.beside") if sealed == "beside" else screen.say(f"record.{item.kind}")


def _place(item: Item) -> str:
    return f"✔ {item.term}/{item.index}"


def _named(screen: Screen, units: tuple[str, ...] | None) -> str:
    return screen.say("exposure.gone") if units is None else ", ".join(units)


def _item(item: Item) -> dict[str, Any]:
    record: Any = item.record
    told = record.model_dump(mode="json", exclude={"v", "salt", "t", "party", "credential", "kind"})
    return {**item.term.members(), "index": item.index, "at": item.at, "kind": item.kind, "record": told}


def _exposed(found: Exposure, item: Item) -> list[str]:
    units = found.units.get(item.ref or "") or ()
    at, digest = datetime.fromtimestamp(item.at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"), getattr(item.record, "digest", "")
    # One digest in 64 begins with "-", as a formula does: with its name before it, every one stands as it is.
    named = f"{DIGEST_OF}{digest}" if digest else ""
    return [at, item.kind, item.ref or "", " ".join(units), named, item.term.log, str(item.index)]


def _overriding(one: Overriding) -> dict[str, Any]:
    return {
        "at": one.item.at,
        "ref": one.item.ref,
        "by": one.by,
        "second_person": one.second_person,
        "reason": one.reason,
        "basis": one.basis,
        "identity_level": one.identity_level,
        "log": one.item.term.log,
        "index": one.item.index,
    }


__all__ = ["register", "sheet"]
