"""Evidence packs on the command line: `audit pack` keeps one, `audit verify-pack` checks one that somebody handed over.

Exit codes: 0 only where every step was taken and held under a root known from elsewhere; 1 where something does not
hold; 3 where nothing is wrong but something is missing. `verify-pack` needs no profile, connection or server code.

Must never: write a pack that does not hold, extract one, or let its own root pass for one that somebody vouched for.

Implements: R-89; design §9 (`referral audit`).
"""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any

import typer

from referral_api.auditlog.container import MAX_ARCHIVE_BYTES
from referral_api.auditlog.pack_verification import PackFault, PackReport, Step, verify_pack
from referral_api.auditlog.policy import MAX_POLICY_BYTES, Policy, parse_policy
from referral_api.auditlog.report import Verdict
from referral_api.cli.invocation import Invocation, invocation, read_file, write_private_file
from referral_api.cli.output import Exit, Shown
from referral_api.domain.catalogue import text_of
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import ReferralId
from referral_api.formats.strict_json import unb64u

_MARKS = {Verdict.OK: "✔", Verdict.FAILED: "✖", Verdict.INCOMPLETE: "?", Verdict.NOT_REACHED: "–"}
_EXITS = {Verdict.OK: Exit.OK, Verdict.FAILED: Exit.UNEXPECTED, Verdict.INCOMPLETE: Exit.UNREACHABLE}
"""0, 1 and 3, as every verb of `audit` ends."""
_ROOT_BYTES = 32


def register(audit: typer.Typer) -> None:
    """Add these verbs to the group."""
    audit.command("pack")(audit_pack)
    audit.command("verify-pack")(audit_verify_pack)


def audit_pack(
    ctx: typer.Context,
    ref: Annotated[str, typer.Argument()],
    out: Annotated[Path, typer.Option("--out", "-o")],
    policy: Annotated[Path | None, typer.Option("--policy")] = None,
) -> None:
    """Fetch a referral's evidence pack, verify it, and keep it if nothing in it is altered."""
    call = invocation(ctx)
    own = _read_policy(policy)
    with call.reader() as client:
        raw, report = client.evidence_pack(ReferralId(ref), own)
    keep = report.verdict is not Verdict.FAILED
    if keep:
        write_private_file(out, raw)
        told = call.screen.say("pack.written", path=out, sha256=sha256(raw).hexdigest())
    else:
        told = call.screen.say("pack.not_written")
    data = _data(report, raw, "profile") | {"path": str(out) if keep else None}
    follow = [f"referral audit verify-pack {out}"] if keep else []
    call.show(Shown(data, [*_lines(call, report, "profile"), told], follow, _EXITS[report.verdict]))


def audit_verify_pack(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument()],
    root: Annotated[str | None, typer.Option("--root")] = None,
    policy: Annotated[Path | None, typer.Option("--policy")] = None,
) -> None:
    """Verify a pack without any connection, under the root that is given, or else the one pinned here."""
    call = invocation(ctx)
    own, (pinned, source) = _read_policy(policy), _root(call, root)
    raw = read_file(file, MAX_ARCHIVE_BYTES)
    report = verify_pack(raw, pinned, own)
    shown = Shown(_data(report, raw, source), _lines(call, report, source), (), _EXITS[report.verdict])
    call.show(shown)


def _root(call: Invocation, given: str | None) -> tuple[bytes | None, str]:
    """Which root to believe, and where it comes from. Raises MALFORMED for what is none."""
    if given is not None:
        return unb64u(given.strip(), exact=_ROOT_BYTES), "option"
    try:
        return unb64u(call.profile().root), "profile"
    except ReferralError as error:
        if error.code is not ErrorCode.NOT_ENROLLED:
            raise
        return None, "pack"


def _read_policy(path: Path | None) -> Policy | None:
    return None if path is None else parse_policy(read_file(path, MAX_POLICY_BYTES))


def _lines(call: Invocation, report: PackReport, source: str) -> list[Any]:
    screen, manifest = call.screen, report.manifest
    lines: list[Any] = [screen.say(f"pack.{report.verdict.value}")]
    if manifest is not None:
        lines.append(screen.say("pack.about", ref=manifest.ref, issuer=manifest.issuer))
        lines.append(screen.say("pack.root", root=manifest.root, source=screen.say(f"pack.root_{source}")))
    for number, step in enumerate(Step, 1):
        outcome = report.outcome(step)
        told = screen.say(f"verdict.{outcome.value}")
        words = screen.say(f"step.{step.value}")
        lines.append(f"  {number:>2} {_MARKS[outcome]} {words}: {told} ({report.counts[step]})")
    lines += [_fault_line(call, fault) for fault in report.faults]
    for unit, delivery in sorted(report.chronicle.deliveries.items()):
        if report.verdict is not Verdict.FAILED:
            lines.append(screen.say("pack.delivery", unit=unit, state=screen.say(f"state.{delivery.state.value}")))
    lines.append(screen.say("pack.unchecked"))
    lines += [f"  – {screen.say(f'unchecked.{one.value}')}" for one in report.unchecked]
    lines.append(screen.say("audit.here"))
    return lines


def _fault_line(call: Invocation, fault: PackFault) -> str:
    screen = call.screen
    facts = "  ".join(f"{name}={value}" for name, value in sorted(fault.error.facts.items()))
    return screen.say(
        "pack.fault",
        mark="?" if fault.missing else "✖",
        step=screen.say(f"step.{fault.step.value}"),
        file=fault.file or screen.say("pack.whole"),
        words=text_of(fault.error.code, screen.lang).title,
        code=fault.error.code.value,
        facts=facts,
    )


def _data(report: PackReport, raw: bytes, source: str) -> dict[str, Any]:
    manifest = report.manifest
    return {
        "verdict": report.verdict.value,
        "sha256": sha256(raw).hexdigest(),
        "ref": None if manifest is None else manifest.ref,
        "issuer": None if manifest is None else manifest.issuer,
        "root": None if manifest is None else manifest.root,
        "root_from": source,
        "steps": {step.value: {"verdict": report.outcome(step).value, "count": report.counts[step]} for step in Step},
        "faults": [
            {
                "step": fault.step.value,
                "file": fault.file,
                "code": fault.error.code.value,
                "missing": fault.missing,
                "facts": {n: v for n, v in fault.error.facts.items() if isinstance(v, (str, int))},
            }
            for fault in report.faults
        ],
        "unchecked": [one.value for one in report.unchecked],
        "deliveries": {unit: one.state.value for unit, one in sorted(report.chronicle.deliveries.items())},
        "heads": {log: {"size": head.size, "root": head.root.hex()} for log, head in report.heads.items()},
        "witnesses": sorted({name for head in report.heads.values() for name in head.witnesses()}),
    }
