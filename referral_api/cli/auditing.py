"""What the auditor's verbs have in common: their exit codes, the evidence they leave, and a report as data and lines.

An auditor's verb ends with 0 only on complete success, with 1 where something is false (and then evidence is on disk),
and with 3 where something could not be had (docs/decisions/0021). Elsewhere a failed verification is 5, because there
nobody asked for one.

Must never: end with 0 over a fault, or with 1 and no evidence.

Implements: R-95; design §9.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import unquote, urlsplit

import typer

from referral_api.auditlog.report import Check, Report, Source, Verdict
from referral_api.auditlog.report import Fault as Finding
from referral_api.cli.invocation import Invocation
from referral_api.cli.output import EXIT_OF, Exit, Fault, Screen
from referral_api.client.audit import exhibits
from referral_api.client.sdk import Client
from referral_api.domain.catalogue import text_of
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import Role

FALSE = Exit.UNEXPECTED
"""Something is not what it must be."""
INCOMPLETE = Exit.UNREACHABLE
"""Something could not be had."""
MARKS = {Verdict.OK: "✔", Verdict.FAILED: "✖", Verdict.INCOMPLETE: "?", Verdict.NOT_REACHED: "·"}


def mirror_folder(named: str) -> Path:
    """The folder of a mirror, by its path or its `file:` address (RFC 8089). Raises Fault for any other address."""
    address = urlsplit(named)
    if "://" not in named and address.scheme != "file":
        return Path(named)
    if address.scheme != "file" or address.netloc not in ("", "localhost") or address.query or address.fragment:
        raise Fault("not-a-folder", address=named)
    return Path(unquote(address.path))


MirrorFolder = Annotated[Path | None, typer.Option("--mirror", parser=mirror_folder)]


def demand_auditor(client: Client) -> None:
    """Only auditors are handed the whole log: for others "incomplete" would be an alarm about nothing."""
    own = client.session.keymap.find_party(client.profile.party)
    if own is None or own.role is not Role.AUDITOR:
        raise ReferralError(ErrorCode.NOT_PERMITTED, needs=Role.AUDITOR.value)


@contextmanager
def judged(call: Invocation, client: Client, evidence: Path | None) -> Iterator[None]:
    """Run a verb whose failed verification is a finding: its evidence is written, and the exit code is 1; 3 where a
    record or receipt is missing.
    """
    try:
        yield
    except ReferralError as error:
        if _is_withheld(error):
            call.screen.fail(error, INCOMPLETE)
            raise typer.Exit(int(INCOMPLETE)) from None
        # What cannot even be read is as false as what does not verify; a refusal has a status, and is neither.
        unreadable = EXIT_OF[error.code] is Exit.USAGE and "status" not in error.facts
        if EXIT_OF[error.code] is not Exit.VERIFICATION_FAILED and not unreadable:
            raise
        folder = exhibits.write_error(client.session, error, evidence)
        call.screen.fail(ReferralError(error.code, **{**error.facts, "evidence": str(folder)}), FALSE)
        raise typer.Exit(int(FALSE)) from None


def _is_withheld(error: ReferralError) -> bool:
    """Whether something was not to be had: a part of a log, what stands behind a leaf, an act's receipt, a quorum.

    Then nothing false was shown, and not all.
    """
    if error.code is ErrorCode.NOT_WITNESSED:
        return True
    of_a_log = error.code is ErrorCode.NOT_FOUND and error.facts.get("what") in ("record", "checkpoint", "tile")
    return of_a_log or (error.code is ErrorCode.RECEIPT_MISMATCH and error.facts.get("member") == "absent")


@contextmanager
def auditing(call: Invocation, evidence: Path | None) -> Iterator[Client]:
    """An auditor's client with the newest keys, for a verb that asks the exchange; `judged`."""
    with call.person() as client, judged(call, client, evidence):
        client.sync_keys()
        demand_auditor(client)
        yield client


def status_of(report: Report) -> Exit:
    """0, 1 or 3: all held, something is false, something is absent."""
    if report.complete:
        return Exit.OK
    return FALSE if report.failed else INCOMPLETE


def keep_evidence(client: Client, report: Report, source: Source | None, to: Path | None) -> Path | None:
    """Write the evidence of a report that found something false; None for any other."""
    return exhibits.write_faults(client.session, report.faults, source, to) if report.failed else None


def report_data(client: Client, report: Report, *, mode: str, evidence: Path | None) -> dict[str, Any]:
    """A report as JSON members: what `audit explain` reads."""
    return {
        "issuer": client.profile.issuer,
        "at": client.session.ambient.now(),
        "mode": mode,
        "complete": report.complete,
        "result": "intact" if report.complete else "false" if report.failed else "incomplete",
        "checks": {
            check.value: {"verdict": report.verdict(check).value, "count": report.counts[check]} for check in Check
        },
        "faults": [_finding_data(report, finding) for finding in report.faults],
        "heads": {origin: {"size": head.size, "root": head.root.hex()} for origin, head in report.heads.items()},
        "relied": dict(report.relied),
        "lost": [
            {
                "log": told.log.term.log,
                "kept": told.log.kept,
                "signed": told.log.signed,
                "absent": told.absent,
                "checkpoint": told.log.size,
                "witnesses": list(told.witnesses),
            }
            for told in report.lost
        ],
        "referrals": len(report.chronicles),
        "witnessed": report.witnessed,
        "erased": report.erased,
        "unlogged": report.unlogged,
        "final_states": {
            ref: [one.model_dump(mode="json") for one in states] for ref, states in sorted(report.final_states.items())
        },
        "witnesses": client.session.keymap.witness_policy is not None,
        "evidence": None if evidence is None else str(evidence),
    }


def report_lines(call: Invocation, report: Report, data: dict[str, Any]) -> list[Any]:
    """A report for people."""
    screen = call.screen
    lines: list[Any] = [screen.say("audit.green" if report.complete else "audit.red")]
    for number, check in enumerate(Check, 1):
        verdict = report.verdict(check)
        words = screen.say(f"check.{check.value}")
        told = screen.say(f"verdict.{verdict.value}")
        lines.append(f"  {number} {MARKS[verdict]} {words}: {told} ({report.counts[check]})")
    for finding in report.faults:
        place = screen.say("audit.log") if finding.index is None else screen.say("audit.leaf", index=finding.index)
        words = text_of(finding.error.code, screen.lang).title
        facts = "  ".join(f"{name}={value}" for name, value in sorted(finding.error.facts.items()))
        code = finding.error.code.value
        lines.append(screen.say("audit.fault", log=finding.log, place=place, words=words, code=code, facts=facts))
    lines += lost_lines(screen, data["lost"])
    lines += [screen.say("audit.head", log=head.origin, size=head.size) for head in report.heads.values()]
    lines += witnessed_lines(screen, data)
    lines += [screen.say("audit.relied", log=log, size=size) for log, size in report.relied.items()]
    lines += erased_lines(screen, data)
    if data["evidence"] is not None:
        lines.append(screen.say("audit.evidence", path=data["evidence"]))
    lines.append(screen.say("audit.here"))
    if not data["witnesses"]:
        lines.append(screen.say("witnesses.none"))
    return lines


def witnessed_lines(screen: Screen, data: Mapping[str, Any]) -> list[str]:
    """How far a quorum of witnesses has cosigned each log; nothing where the genesis act names none."""
    return [screen.say("audit.witnessed", log=log, size=size) for log, size in (data["witnessed"] or {}).items()]


def erased_lines(screen: Screen, data: Mapping[str, Any]) -> list[str]:
    """What was lawfully erased, and how each delivery of it ended (R-99); and how often, while writes were closed,
    something was read that is on no log (R-97). Nothing where nothing was.
    """
    lines = [screen.say("audit.unlogged", count=data["unlogged"])] if data["unlogged"] else []
    if not data["erased"]:
        return lines
    lines.append(screen.say("audit.erased", count=data["erased"]))
    for ref, states in data["final_states"].items():
        for one in states:
            state = screen.say(f"state.{one['state']}")
            lines.append(screen.say("audit.final", ref=ref, unit=one["unit"], state=state))
    return lines


def lost_lines(screen: Screen, lost: Sequence[Mapping[str, Any]]) -> list[str]:
    """What logs have lost, and who vouches that it was there; or that it is here."""
    lines: list[str] = []
    for one in lost:
        who = ", ".join(one["witnesses"]) or screen.say("reconcile.nobody")
        key, count = ("audit.lost", one["absent"]) if one["absent"] else ("audit.found", one["signed"] - one["kept"])
        lines.append(screen.say(key, lost=count, log=one["log"], size=one["checkpoint"], who=who))
    return lines


def _finding_data(report: Report, finding: Finding) -> dict[str, Any]:
    kept = finding.error.facts.get("what") == "kept-copy" or (
        finding.index is not None and finding.index < report.relied.get(finding.log, 0)
    )
    return {
        "check": finding.check.value,
        "log": finding.log,
        "index": finding.index,
        "code": finding.error.code.value,
        "missing": finding.missing,
        "kept": kept,
        "facts": exhibits.plain_facts(finding.error),
    }
