"""What an auditor does: `audit verify`, `audit mirror`; and for everybody `receipt show` and `receipt verify`.

Everything is checked on this machine, against what was pinned on it; what the exchange says of itself counts for
nothing. Exit code 0 means that everything was there and held. Reading the whole log takes a person.

Must never: say "verified" for less than that, or stop at the first fault.

Implements: R-94, R-95; R-16, R-18 (receipts offline); design §9.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from referral_api.cli import evidence as packs
from referral_api.cli import explaining, figures, inspecting
from referral_api.cli.audit_db import audit_db
from referral_api.cli.auditing import (
    MirrorFolder,
    auditing,
    judged,
    keep_evidence,
    report_data,
    report_lines,
    status_of,
)
from referral_api.cli.explaining import keep_report, run_verification
from referral_api.cli.invocation import Invocation, invocation, read_document, write_private_file
from referral_api.cli.output import Fault, Shown
from referral_api.client.outbox import Entry
from referral_api.client.trust import Confirmed
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.formats.strict_json import canonical


def register(app: typer.Typer) -> None:
    """Add these verbs to the command."""
    audit = typer.Typer(no_args_is_help=True)
    audit.command("verify")(audit_verify)
    audit.command("db")(audit_db)
    audit.command("mirror")(audit_mirror)
    for module in (explaining, inspecting, figures, packs):
        module.register(audit)
    app.add_typer(audit, name="audit")
    receipt = typer.Typer(no_args_is_help=True)
    receipt.command("show")(receipt_show)
    receipt.command("upgrade")(receipt_upgrade)
    receipt.command("verify")(receipt_verify)
    app.add_typer(receipt, name="receipt")


def audit_verify(
    ctx: typer.Context,
    full: Annotated[bool, typer.Option("--full")] = False,  # noqa: FBT002 - an option of the command line
    since: Annotated[bool, typer.Option("--since")] = False,  # noqa: FBT002 - as above
    trust_first: Annotated[bool, typer.Option("--trust-first")] = False,  # noqa: FBT002 - as above
    mirror: MirrorFolder = None,
    evidence: Annotated[Path | None, typer.Option("--evidence")] = None,
) -> None:
    """Verify everything, or what is new since the last time; exit 0 only if all was there and held (R-95)."""
    call = invocation(ctx)
    if full and since:
        raise Fault("full-or-since")
    with call.person() as client, judged(call, client, evidence):
        report, source = run_verification(call, client, mirror, since=since, trust_first=trust_first)
        written = keep_evidence(client, report, source, evidence)
        data = report_data(client, report, mode="since" if since else "full", evidence=written)
        keep_report(client, data)
    follow = f"referral audit mirror {call.screen.say('place.folder')}" if report.complete else "referral audit explain"
    call.show(Shown(data, report_lines(call, report, data), [follow], status_of(report)))


def audit_mirror(
    ctx: typer.Context,
    path: Annotated[Path, typer.Argument()],
    evidence: Annotated[Path | None, typer.Option("--evidence")] = None,
) -> None:
    """Copy the logs and their records to a folder, or bring a copy there up to date."""
    call = invocation(ctx)
    with auditing(call, evidence) as client, call.screen.progress() as progress:
        sizes = client.mirror(path, progress)
    lines = [call.screen.say("mirror.log", log=log, size=size) for log, size in sizes.items()]
    call.show(Shown({"mirror": str(path), "sizes": sizes}, lines, [f"referral audit verify --mirror {path}"]))


def receipt_show(
    ctx: typer.Context,
    named: Annotated[str, typer.Argument()],
    out: Annotated[Path | None, typer.Option("--out", "-o")] = None,
) -> None:
    """Write act, receipt and proof of something sent from here as one evidence file."""
    call = invocation(ctx)
    with call.nobody() as client:
        entry = _with_receipt(client.outbox.entries(), named)
    document = {"v": 1, "act": _text(entry.outgoing.jws), "receipt": _text(entry.receipt), "proof": _text(entry.proof)}
    if out is not None:
        write_private_file(out, canonical(document) + b"\n")
    place = call.screen.say("receipt.written", path=out) if out is not None else canonical(document).decode("ascii")
    call.show(
        Shown({"evidence": document}, [place], [f"referral receipt verify {out or call.screen.say('place.file')}"])
    )


def receipt_upgrade(
    ctx: typer.Context, named: Annotated[str, typer.Argument()], wait: Annotated[int, typer.Option(min=0, max=25)] = 20
) -> None:
    """Fetch the proof that a quorum of witnesses has cosigned, in place of the older one."""
    call = invocation(ctx)
    with call.anyone() as client:
        entry = _with_receipt(client.outbox.entries(), named)
        confirmed = client.cosign_receipt(entry, wait_s=wait)
    data = {"id": entry.outgoing.id, "cosignatures": _cosignatures(confirmed)}
    follow = [f"referral receipt show {named} --out {call.screen.say('place.file')}"]
    call.show(Shown(data, _cosigned_lines(call, confirmed), follow))


def _cosignatures(confirmed: Confirmed) -> list[dict[str, Any]]:
    cosigned = confirmed.included.checkpoint.cosignatures
    return [{"witness": one.witness, "key": f"{one.key.key_id:08x}", "time": one.cosigned_s} for one in cosigned]


def _cosigned_lines(call: Invocation, confirmed: Confirmed) -> list[str]:
    """Which witnesses have cosigned the checkpoint of a proof, and when first, a line each."""
    times: dict[str, int] = {}
    for one in confirmed.included.checkpoint.cosignatures:
        times[one.witness] = min(one.cosigned_s, times.get(one.witness, one.cosigned_s))
    return [
        call.screen.say("receipt.cosigned", witness=name, at=call.screen.at(at)) for name, at in sorted(times.items())
    ]


def receipt_verify(ctx: typer.Context, file: Annotated[Path, typer.Argument()]) -> None:
    """Verify such a file against the replicated keys log, without any connection."""
    call = invocation(ctx)
    document = read_document(file)
    if document.keys() != {"v", "act", "receipt", "proof"} or not all(
        isinstance(document[name], str) for name in ("act", "receipt", "proof")
    ):
        raise Fault("not-evidence", path=file)
    with call.nobody() as client:
        confirmed = client.verify_receipt(*(str(document[name]).encode() for name in ("act", "receipt", "proof")))
    payload, screen = confirmed.receipt.payload, call.screen
    size = confirmed.included.checkpoint.size
    lines = [
        screen.say("receipt.verified"),
        screen.say("receipt.act", id=payload.id, sub=payload.sub, at=screen.at(payload.time)),
        screen.say("receipt.outcome", outcome=screen.say(f"outcome.{payload.outcome}"), code=payload.code or "—"),
        screen.say("receipt.place", log=payload.log.origin, index=payload.log.index, size=size),
        *_cosigned_lines(call, confirmed),
    ]
    data = {
        "receipt": payload.wire(),
        "checkpoint_size": size,
        "cosignatures": _cosignatures(confirmed),
        "verified": True,
    }
    call.show(Shown(data, lines, ["referral whoami"]))


def _with_receipt(entries: list[Entry], named: str) -> Entry:
    """The newest entry with a receipt of this act id or referral. Raises NOT_FOUND."""
    for entry in reversed(entries):
        if entry.receipt is not None and named in (entry.outgoing.id, entry.outgoing.ref):
            return entry
    raise ReferralError(ErrorCode.NOT_FOUND)


def _text(raw: bytes | None) -> str:
    return (raw or b"").decode("utf-8")
