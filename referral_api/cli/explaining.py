"""`audit explain`: a verification's report in plain words, for whoever must decide what happens next.

What was checked, what was found, what it means, what to do, and whom to call. The report is the JSON of `audit verify`:
the last one of this profile, one from a file, or one made now.

Must never: call anything verified that the report does not, or print a text of the report as it stands.

Implements: R-95; design §9, §10 of its principles (Spanish first).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from referral_api.auditlog.report import Check, Report, Source, Verdict
from referral_api.cli.auditing import (
    FALSE,
    INCOMPLETE,
    MARKS,
    MirrorFolder,
    demand_auditor,
    erased_lines,
    judged,
    keep_evidence,
    lost_lines,
    report_data,
    witnessed_lines,
)
from referral_api.cli.invocation import Invocation, invocation, read_document
from referral_api.cli.output import SCHEMA, Exit, Fault, Screen, Shown
from referral_api.client.audit import verifying
from referral_api.client.audit.kept import Kept
from referral_api.client.sdk import Client
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.terms import TERM
from referral_api.domain.words import Role, State
from referral_api.formats.strict_json import canonical, parse

_MAX_REPORT_BYTES = 1 << 20
_REF, _SLUG = re.compile("[0-9a-f-]{36}"), re.compile("[a-z0-9-]{1,64}")
_LOG = re.compile(rf"audit/{TERM}")
_RESULTS = {"intact": Exit.OK, "false": FALSE, "incomplete": INCOMPLETE}
_BY_WHAT = {
    "kept-copy": "kept",
    "record": "record",
    "leaf-of-record": "record",
    "retrieved": "record",
    "unlogged-read": "record",
    "act": "twice",
    "leaves": "leaves",
    "tile": "leaves",
    "log-genesis": "genesis",
    "time": "clock",
    "fold": "state",
    "state": "state",
    "gate": "gate",
    "keys-log": "both_logs",
}
_BY_REASON = {"lost": "lost", "late": "stale", "stale": "stale"}
"""Of what is missing."""
_BY_CHECK = {
    Check.KEYS_LOG: "keys_log",
    Check.CHECKPOINT: "checkpoint",
    Check.GROWTH: "forked",
    Check.WITNESSES: "witnesses",
    Check.LEAVES: "leaves",
    Check.RECORDS: "record",
    Check.SIGNATURES: "signature",
    Check.RECEIPTS: "receipt",
    Check.STATES: "state",
    Check.BOTH_LOGS: "both_logs",
}


def register(audit_group: typer.Typer) -> None:
    """Add this verb to the auditor's group."""
    audit_group.command("explain")(audit_explain)


def audit_explain(
    ctx: typer.Context,
    report: Annotated[Path | None, typer.Argument()] = None,
    full: Annotated[bool, typer.Option("--full")] = False,  # noqa: FBT002 - an option of the command line
    mirror: MirrorFolder = None,
    evidence: Annotated[Path | None, typer.Option("--evidence")] = None,
) -> None:
    """Say in plain words what a verification found; its exit code is the verification's."""
    call = invocation(ctx)
    if full or mirror is not None:
        with call.person() as client, judged(call, client, evidence):
            found, source = run_verification(call, client, mirror, since=False, trust_first=False)
            written = keep_evidence(client, found, source, evidence)
            data = report_data(client, found, mode="full", evidence=written)
            keep_report(client, data)
    else:
        data = _read_report(call, report)
    lines = list(explain(call.screen, data, _parties(call)))
    call.show(Shown({"explained": lines}, lines, ["referral audit witnesses"], _RESULTS[data["result"]]))


def run_verification(
    call: Invocation, client: Client, mirror: Path | None, *, since: bool, trust_first: bool
) -> tuple[Report, Source]:
    """Verify as the options say, with bars; the report, and where it was read."""
    if mirror is None:
        client.sync_keys()
        demand_auditor(client)
    if since and not trust_first and not Kept(client.directory).heads():
        raise Fault("first-trust")
    source, terms = client.audited(mirror)
    with call.screen.progress() as progress:
        if since:
            found = verifying.verify_since(client.session, source, terms, trust_first=trust_first, progress=progress)
        else:
            found = verifying.verify(client.session, source, terms, progress)
    return found, source


def keep_report(client: Client, data: Mapping[str, Any]) -> None:
    """Keep a report for `audit explain`."""
    Kept(client.directory).keep_report(canonical({"schema": SCHEMA, **data}))


def explain(screen: Screen, data: Mapping[str, Any], phones: Mapping[str, str]) -> Iterator[str]:
    """The report in plain words; `phones` are those of whoever relies on the exchange."""
    yield screen.say("explain.title", issuer=data["issuer"], at=screen.at(data["at"]))
    yield screen.say(f"explain.result.{data['result']}")
    yield ""
    yield screen.say("explain.checked")
    for check in Check:
        one = data["checks"][check.value]
        mark = MARKS[Verdict(one["verdict"])]
        verdict = screen.say(f"verdict.{one['verdict']}")
        yield f"  {mark} {screen.say(f'explain.check.{check.value}')} — {verdict} ({one['count']})"
    yield from witnessed_lines(screen, data)
    for log, size in data["relied"].items():
        yield screen.say("audit.relied", log=log, size=size)
    yield from lost_lines(screen, data.get("lost", ()))
    yield screen.say("explain.covered", referrals=data["referrals"])
    yield from erased_lines(screen, data)
    for origin, head in data["heads"].items():
        yield screen.say("audit.head", log=origin, size=head["size"])
    yield ""
    yield screen.say("explain.found")
    kinds: dict[str, int] = {}
    for fault in data["faults"]:
        kinds[kind_of(fault)] = kinds.get(kind_of(fault), 0) + 1
    for kind, count in kinds.items():
        yield screen.say("explain.kind", words=screen.say(f"explain.means.{kind}"), count=count)
    if not kinds:
        yield screen.say("explain.nothing")
    yield ""
    yield screen.say("explain.next")
    for kind in kinds or {"intact": 0}:
        yield f"  → {screen.say(f'explain.do.{kind}')}"
    if data.get("evidence"):
        yield screen.say("audit.evidence", path=data["evidence"])
    yield ""
    yield screen.say("explain.call")
    for name, phone in phones.items():
        yield f"  {name}: {phone}"
    yield screen.say("explain.not_checked")
    if not data["witnesses"]:
        yield screen.say("witnesses.none")


def kind_of(fault: Mapping[str, Any]) -> str:
    """Which of the things that can be wrong a fault is, in the words of a person."""
    facts = fault["facts"]
    if fault["kept"]:
        return "kept"
    if fault["missing"]:
        return _BY_REASON.get(str(facts.get("reason")), "missing")
    if facts.get("reason") in ("shrunk", "forked"):
        return str(facts["reason"])
    return _BY_WHAT.get(str(facts.get("what")), _BY_CHECK[Check(fault["check"])])


def _read_report(call: Invocation, named: Path | None) -> dict[str, Any]:
    if named is not None:
        document = read_document(named)
    else:
        raw = Kept(call.directory).find_report()
        if raw is None:
            raise Fault("no-report", Exit.NOT_FOUND)
        document = parse(raw, max_bytes=_MAX_REPORT_BYTES)
    if not _is_report(document):
        raise Fault("not-a-report", path=named or "report.json")
    return dict(document)


def _is_report(document: Any) -> bool:
    """Whether every member that will be read is there and of its kind: the file may be anybody's."""
    try:
        checks = document["checks"]
        return (
            document["schema"] == SCHEMA
            and isinstance(document["issuer"], str)
            and type(document["at"]) is int
            and 0 <= document["at"] < 1 << 40
            and document["result"] in _RESULTS
            and (document["result"] == "intact") == (document["complete"] is True and not document["faults"])
            and all(
                Verdict(checks[check.value]["verdict"]) and int(checks[check.value]["count"]) >= 0 for check in Check
            )
            and all(Check(fault["check"]) and isinstance(fault["facts"], dict) for fault in document["faults"])
            and all({"kept", "missing", "log"} <= fault.keys() for fault in document["faults"])
            and all(int(head["size"]) for head in document["heads"].values())
            and all(int(size) for size in document["relied"].values())
            and {"referrals", "witnesses"} <= document.keys()
            and all(int(size) >= 0 for size in (document["witnessed"] or {}).values())
            and min(int(document["erased"]), int(document["unlogged"])) >= 0
            and all(
                _LOG.fullmatch(one["log"])
                and all(type(one[name]) is int for name in ("kept", "signed", "absent", "checkpoint"))
                and all(isinstance(name, str) for name in one["witnesses"])
                for one in document.get("lost", ())
            )
            and all(
                _REF.fullmatch(ref) and _SLUG.fullmatch(one["unit"]) and State(one["state"])
                for ref, states in document["final_states"].items()
                for one in states
            )
        )
    except (LookupError, TypeError, ValueError, AttributeError):
        return False


def _parties(call: Invocation) -> dict[str, str]:
    """Who relies on the exchange, and is called when it cannot be relied on: the hotlines' duty phones."""
    try:
        with call.nobody() as client:
            parties = client.parties()
    except ReferralError as error:
        if error.code in (ErrorCode.NOT_ENROLLED, ErrorCode.UNREACHABLE, ErrorCode.LOCKED):
            return {}
        raise
    return {
        one.entry.name: one.entry.duty_phone
        for one in parties
        if one.role is Role.HOTLINE and one.entry.duty_phone is not None
    }
