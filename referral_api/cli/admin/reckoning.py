"""The screen of `audit db`: opens the database for reading, has it compared with its logs, and tells every place.

Exit code 0 means that every row is what the logs say; 1 that something differs, 3 that it could not be read to the end.

Must never: print what a row holds, or write to the database.

Implements: R-92, R-95; design §9.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from referral_api.cli.admin.settings import load_settings
from referral_api.cli.invocation import Invocation
from referral_api.cli.output import Exit, Shown
from referral_api.formats.strict_json import unb64u
from referral_api.server.service.reckoning import Difference, Findings, reckon
from referral_api.server.storage.database import Database
from referral_api.server.storage.inventory import LOOSE


def show_audit(call: Invocation, config: Path, root: str | None) -> None:
    """Compare, print, and end the call. Raises UNAVAILABLE, MALFORMED (a root that is none)."""
    settings = load_settings(config)
    pinned = None if root is None else unb64u(root, exact=32)
    with (
        Database.look(settings.database) as database,
        database.read(snapshot=True) as conn,
        call.screen.progress() as progress,
    ):
        findings = reckon(conn, root=pinned, issuer=settings.issuer, progress=progress)
    status = Exit.OK if findings.complete else Exit.UNEXPECTED
    call.show(Shown(_data(findings, pinned=root is not None), _lines(call, findings, root), (), status))


def _lines(call: Invocation, findings: Findings, root: str | None) -> list[Any]:
    screen = call.screen
    lines: list[Any] = [screen.say("audit.db_green" if findings.complete else "audit.db_red", count=findings.count)]
    lines += [
        screen.say(
            "audit.db_fault",
            table=one.table,
            key=one.key,
            column=one.column or screen.say("audit.db_row"),
            what=one.what,
            reason=one.reason or "",
        ).rstrip()
        for one in findings.differences
    ]
    lines += [screen.say("audit.db_table", table=table, rows=rows) for table, rows in sorted(findings.rows.items())]
    lines += [
        screen.say("audit.db_log", log=log, size=size, signed=findings.signed.get(log, 0))
        for log, size in findings.sizes.items()
    ]
    lines.append(screen.say("audit.db_loose", columns=", ".join(sorted(_loose()))))
    if findings.root is not None:
        lines.append(screen.say("audit.db_root" if root is None else "audit.db_pinned", root=findings.root))
    return lines


def _data(findings: Findings, *, pinned: bool) -> dict[str, Any]:
    return {
        "complete": findings.complete,
        "count": findings.count,
        "differences": [_difference(one) for one in findings.differences],
        "rows": findings.rows,
        "logs": {log: {"size": size, "signed": findings.signed.get(log, 0)} for log, size in findings.sizes.items()},
        "root": findings.root,
        "pinned": pinned,
        "not_compared": _loose(),
    }


def _difference(one: Difference) -> dict[str, Any]:
    return {"table": one.table, "key": one.key, "column": one.column, "what": one.what, "reason": one.reason}


def _loose() -> dict[str, str]:
    return {f"{table}.{column}": why for table, columns in LOOSE.items() for column, why in columns.items()}
