"""An auditor's closer looks: `audit referral`, `audit keys`, `audit records`, `audit witnesses`.

Each shows only what was verified on this machine, and says which of the ticks stand for what.

Must never: print a record that does not hash to its leaf, or call what an exchange searched out complete.

Implements: R-52, R-92, R-95, R-96; design §9.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer

from referral_api.auditlog.policy import Policy, parse_policy
from referral_api.auditlog.report import Head
from referral_api.cli.auditing import FALSE, INCOMPLETE, MirrorFolder, auditing, demand_auditor, judged
from referral_api.cli.invocation import invocation, read_file
from referral_api.cli.output import Exit, Screen, Shown
from referral_api.client.audit import exhibits, inspection, verifying, witnesses
from referral_api.client.audit.inspection import Item
from referral_api.client.audit.kept import Kept
from referral_api.client.audit.sources import MirrorSource
from referral_api.client.audit.witnesses import Finding, Standing
from referral_api.client.sdk import Client
from referral_api.client.trust import keys_origin
from referral_api.domain.catalogue import text_of
from referral_api.domain.terms import Term

_DAY_S = 86_400


def register(audit_group: typer.Typer) -> None:
    """Add these verbs to the auditor's group."""
    audit_group.command("witnesses")(audit_witnesses)
    audit_group.command("referral")(audit_referral)
    audit_group.command("keys")(audit_keys)
    audit_group.command("records")(audit_records)


def audit_referral(
    ctx: typer.Context,
    ref: Annotated[str, typer.Argument()],
    evidence: Annotated[Path | None, typer.Option("--evidence")] = None,
) -> None:
    """Everything about one referral: who, when, what, with its proofs, and the states that follow."""
    call = invocation(ctx)
    with auditing(call, evidence) as client:
        found = inspection.dossier(client.session, ref, verifying.terms_of(client.session))
    screen = call.screen
    rows, before = [], None
    for item in found.items:
        gap = "" if before is None else screen.say("inspect.gap", minutes=(item.at - before) // 60)
        rows.append([screen.at(item.at), gap, _what(screen, item), item.unit or "—", item.by or "—", *_ticks(item)])
        before = item.at
    columns = ("col.when", "col.gap", "col.what", "col.unit", "col.who", "col.signed", "col.receipt", "col.place")
    states = [
        screen.say("inspect.state", unit=unit, state=screen.say(f"state.{one.state.value}"))
        for unit, one in sorted(found.chronicle.deliveries.items())
    ]
    lines: list[Any] = [
        screen.say("inspect.referral", ref=ref),
        screen.table(columns, rows),
        *states,
        screen.say("inspect.ticks"),
    ]
    data = {
        "ref": ref,
        "items": [_item_data(item) for item in found.items],
        "deliveries": [
            {"unit": unit, "state": one.state.value, "head": one.head}
            for unit, one in sorted(found.chronicle.deliveries.items())
        ],
        "verified": True,
    }
    call.show(Shown(data, lines, [f"referral audit records --ref {ref}"]))


def audit_keys(ctx: typer.Context, evidence: Annotated[Path | None, typer.Option("--evidence")] = None) -> None:
    """The keys log replayed: who signed what, which keys are good now, and what has changed since the last time."""
    call = invocation(ctx)
    with call.person() as client, judged(call, client, evidence):
        client.sync_keys()
        replica, kept = client.session.replica, Kept(client.directory)
        origin = keys_origin(replica.keymap)
        seen = kept.keys_seen(origin)
        events = inspection.replay_keys(client.session)
        current = _current_keys(client)
        kept.see_keys(Head(origin, replica.size, replica.frontier.root()))
    screen = call.screen
    new = [one for one in events if one.index >= seen]
    columns = ("col.index", "col.when", "col.what", "col.party", "col.who", "col.detail")
    rows = [
        [str(one.index), screen.at(one.at), screen.say(f"keys.{one.what}"), one.party, one.by, one.detail]
        for one in events
    ]
    held = ("col.party", "col.use", "col.credential", "col.until", "col.key", "col.state")
    holds = [
        [
            one["party"],
            one["use"],
            one["credential"] or one["station"] or "—",
            screen.at(one["until"]),
            one["kid"],
            screen.say("keys.revoked" if one["revoked"] else "keys.good"),
        ]
        for one in current
    ]
    told = (
        screen.say("keys.first", count=len(new)) if seen == 0 else screen.say("keys.since", count=len(new), seen=seen)
    )
    lines: list[Any] = [screen.table(columns, rows), "", screen.table(held, holds), "", told]
    lines += [f"  {one.index}  {screen.say(f'keys.{one.what}')}  {one.party}" for one in new if seen]
    data = {
        "origin": origin,
        "size": len(events),
        "events": [_event_data(one) for one in events],
        "keys": current,
        "seen": seen,
        "changed": [one.index for one in new],
    }
    call.show(Shown(data, lines, ["referral audit verify --since"]))


def audit_records(
    ctx: typer.Context,
    year: Annotated[str | None, typer.Option(metavar="YEAR[.TERM]")] = None,
    first: Annotated[int, typer.Option("--from", min=0)] = 0,
    limit: Annotated[int, typer.Option(min=1, max=10_000)] = 50,
    party: Annotated[str | None, typer.Option("--party")] = None,
    ref: Annotated[str | None, typer.Option("--ref")] = None,
    of_kind: Annotated[str | None, typer.Option("--kind")] = None,
    after: Annotated[datetime | None, typer.Option("--since", formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"])] = None,
    before: Annotated[datetime | None, typer.Option("--until", formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"])] = None,
    mirror: MirrorFolder = None,
    evidence: Annotated[Path | None, typer.Option("--evidence")] = None,
) -> None:
    """The records behind the leaves of one year, each verified against its leaf."""
    call = invocation(ctx)
    given = {
        "party": party,
        "ref": ref,
        "kind": of_kind,
        "since": None if after is None else str(int(after.replace(tzinfo=UTC).timestamp())),
        "until": None if before is None else str(int(before.replace(tzinfo=UTC).timestamp())),
    }
    wanted = {name: value for name, value in given.items() if value is not None}
    with call.person() as client, judged(call, client, evidence):
        found = _find_records(client, mirror, None if year is None else Term.parse(year), first, limit, wanted)
    screen, more = call.screen, len(found) > limit
    items = found[:limit]
    columns = ("col.place", "col.when", "col.kind", "col.who", "col.ref", "col.unit", "col.signed", "col.receipt")
    rows = [
        [
            f"{item.term}/{item.index}",
            screen.at(item.at),
            _what(screen, item),
            item.by or "—",
            item.ref or "—",
            item.unit or "—",
            *_ticks(item)[:2],
        ]
        for item in items
    ]
    lines: list[Any] = [screen.table(columns, rows) if rows else screen.say("inspect.none")]
    lines.append(screen.say("inspect.searched" if mirror is None else "inspect.mirrored"))
    following = found[limit].index if more else None
    follow = f"referral audit records --from {following}" if more else "referral audit verify --since"
    data = {"records": [_item_data(item) for item in items], "next": following}
    call.show(Shown(data, lines, [follow]))


def audit_witnesses(
    ctx: typer.Context,
    policy: Annotated[Path | None, typer.Option("--policy")] = None,
    evidence: Annotated[Path | None, typer.Option("--evidence")] = None,
) -> None:
    """Who else has seen the same logs: cosignatures, their age, and what each witness itself shows."""
    call = invocation(ctx)
    chosen = None if policy is None else parse_policy(read_file(policy))
    with auditing(call, evidence) as client:
        rule = witnesses.effective_policy(client.session.keymap, chosen)
        found = [] if rule is None else _ask_witnesses(client, rule)
        faults = [fault for one in found for fault in one.faults()]
        written = exhibits.write_faults(client.session, faults, to=evidence) if faults else None
    screen = call.screen
    lines: list[Any] = [screen.say("witnesses.none")] if rule is None else []
    for one in found:
        lines += _standing_lines(screen, one)
    if written is not None:
        lines.append(screen.say("audit.evidence", path=written))
    status = _witness_status(found)
    data = {
        "policy": "none" if rule is None else "file" if chosen is not None else "genesis",
        "logs": [_standing_data(one) for one in found],
        "evidence": None if written is None else str(written),
    }
    call.show(Shown(data, lines, ["referral audit verify --since"], status))


def _ask_witnesses(client: Client, policy: Policy) -> list[Standing]:
    *ended, newest = (term.log for term in verifying.terms_of(client.session))
    return [witnesses.standing(client.session, policy, log, ended=log in ended) for log in ("keys", *ended, newest)]


def _witness_status(found: Sequence[Standing]) -> Exit:
    if any(one.faults() for one in found):
        return FALSE
    return INCOMPLETE if any(one.lacking() for one in found) else Exit.OK


def _standing_lines(screen: Screen, one: Standing) -> list[str]:
    mark = "✔" if not one.faults() and not one.lacking() else "✖" if one.faults() else "?"
    lines = [screen.say("seen.log", mark=mark, log=one.log, size=one.size, cosigned=one.cosigned_size)]
    lines.append(screen.say("seen.quorum", cosigned=one.cosigned, quorum=one.threshold, fresh=one.fresh))
    lines += [_finding_line(screen, finding) for finding in one.findings]
    return lines


def _finding_line(screen: Screen, finding: Finding) -> str:
    words = screen.say(f"seen.{finding.verdict}")
    code = "" if finding.error is None else text_of(finding.error.code, screen.lang).title
    if finding.age_s is None:
        age = screen.say("seen.never")
    else:
        age = screen.say("seen.future" if finding.age_s < 0 else "seen.age", minutes=abs(finding.age_s) // 60)
    return screen.say("seen.witness", name=finding.name, words=words, age=age, code=code)


def _standing_data(one: Standing) -> dict[str, Any]:
    return {
        "log": one.log,
        "size": one.size,
        "cosigned_size": one.cosigned_size,
        "cosigned": one.cosigned,
        "fresh": one.fresh,
        "quorum": one.threshold,
        "witnesses": [
            {
                "name": finding.name,
                "verdict": finding.verdict,
                "age_s": finding.age_s,
                "size": finding.size,
                "code": None if finding.error is None else finding.error.code.value,
            }
            for finding in one.findings
        ],
    }


def _find_records(
    client: Client, mirror: Path | None, term: Term | None, first: int, limit: int, wanted: Mapping[str, str]
) -> list[Item]:
    """As many as are asked for, and one more where there is one."""
    session = client.session
    if mirror is not None:
        terms = verifying.terms_in(session, mirror)
        items = inspection.search_mirror(session, MirrorSource(mirror), term or terms[-1], first, wanted, terms)
    else:
        client.sync_keys()
        demand_auditor(client)
        terms = verifying.terms_of(session)
        items = inspection.search(session, term or terms[-1], first, wanted, terms)
    return list(islice(items, limit + 1))


def _current_keys(client: Client) -> list[dict[str, Any]]:
    keymap = client.session.keymap
    found: list[dict[str, Any]] = []
    for party in keymap.parties():
        for one in party.credentials:
            uses = [("access", one.access), *(("seal", kid) for kid in one.seal)]
            found += [
                {
                    "party": party.id,
                    "use": use,
                    "credential": one.id,
                    "station": None,
                    "until": one.valid_until,
                    "kid": kid,
                    "revoked": keymap.get_key(kid).revoked,
                }
                for use, kid in uses
            ]
        found += [
            {
                "party": party.id,
                "use": key.use.value,
                "credential": None,
                "station": key.station,
                "until": key.valid_until,
                "kid": key.kid,
                "revoked": keymap.get_key(key.kid).revoked,
            }
            for key in party.enc
        ]
    return found


def _event_data(one: inspection.KeyEvent) -> dict[str, Any]:
    return {
        "index": one.index,
        "at": one.at,
        "what": one.what,
        "party": one.party,
        "by": one.by,
        "detail": one.detail,
    }


def _what(screen: Screen, item: Item) -> str:
    words = screen.say(f"act.{item.kind}" if item.act is not None else f"record.{item.kind}")
    refused = item.receipt is not None and not item.receipt.accepted
    return f"{words} ✖" if refused else words


def _ticks(item: Item) -> list[str]:
    """Signed and verified; receipted and verified; where it is proved to stand."""
    signed = "✔" if item.act is not None else "—"
    return [signed, "✔" if item.receipt is not None else "—", f"✔ {item.term}/{item.index}"]


def _item_data(item: Item) -> dict[str, Any]:
    return {
        **item.term.members(),
        "index": item.index,
        "at": item.at,
        "kind": item.kind,
        "is_act": item.act is not None,
        "by": item.by or None,
        "party": item.party or None,
        "ref": item.ref,
        "unit": item.unit,
        "outcome": None if item.receipt is None else item.receipt.payload.outcome,
        "verified": True,
    }


__all__ = ["register"]
