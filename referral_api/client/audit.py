"""Auditing: the verification of an exchange, of a mirror, or of what is new, against everything that is pinned.

What is verified is what was read: the verification (auditlog/verification.py) does not know where it came from.

Must never: call something verified that the report does not, advance a pin or the kept copy over a log with a fault, or
move either back.

Implements: R-94, R-95; docs/decisions/0021; design §9.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from referral_api.auditlog.checkpoint import parse_checkpoint, verify_checkpoint
from referral_api.auditlog.erasures import Place
from referral_api.auditlog.note import parse_note
from referral_api.auditlog.records import LogClosed, parse_record
from referral_api.auditlog.report import Check, Fault, Head, OnProgress, Report, Source, unheard
from referral_api.auditlog.verification import verify_full
from referral_api.client import exchange, mirroring
from referral_api.client.kept import Kept
from referral_api.client.profile import Pin
from referral_api.client.proven import policy_of, verify_link
from referral_api.client.session import Session
from referral_api.client.sources import TAIL, ContinuedSource, HttpSource, encode_records, parse_records, put
from referral_api.client.trust import audit_policy, issuer_origin
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.formats.act import parse_act
from referral_api.formats.strict_json import unb64u

_YEAR = re.compile("[1-8][0-9]{3}")


def mirror(session: Session, path: Path, years: Sequence[int], progress: OnProgress = unheard) -> dict[str, int]:
    """Copy the keys log and the audit logs of these years, or bring a copy up to date (mirroring.py); sizes by log.

    Beside the newest year lies what its checkpoint does not cover yet, for recovery (R-97).
    """
    source, newest = HttpSource(session), max(years)
    sizes = mirroring.mirror(source, session.keymap, path, years, progress)
    put(path / f"audit/{newest}" / TAIL, encode_records(source.tail(newest, sizes[f"audit/{newest}"])))
    for year in years:
        if year != newest:
            (path / f"audit/{year}" / TAIL).unlink(missing_ok=True)  # Its records are behind leaves now.
    return sizes


def verify(session: Session, source: Source, years: Sequence[int], progress: OnProgress = unheard) -> Report:
    """Verify in full against everything pinned here, and advance the pins of the logs that held completely."""
    return _verify(session, source, years, {}, progress)


def verify_since(
    session: Session, source: Source, years: Sequence[int], *, trust_first: bool, progress: OnProgress = unheard
) -> Report:
    """Verify what is new since the last time, on top of the kept copy; where all of it held, the copy advances.

    The first time everything is new, and there is nothing that the exchange's history could be held against but its
    root: that must be said (`trust_first`). Raises NOT_FOUND (`what` `audit-state`) where it is not; KEYSTORE_CORRUPT;
    and after a complete verification what `mirroring.mirror` raises of tiles that do not fit it. A copy that was
    changed on this machine is a fault of the report.
    """
    kept = Kept(session.directory)
    with kept.locked():
        heads = kept.heads()
        if not heads and not trust_first:
            raise ReferralError(ErrorCode.NOT_FOUND, what="audit-state")
        try:
            kept.verify_copy(heads, session.keymap)
        except ReferralError as error:
            return _changed_here(error)
        # What was there the last time is looked for, whatever the exchange says of its years now.
        years = sorted({*years, *(int(head.origin[-4:]) for head in heads.values() if "/audit/" in head.origin)})
        # The copy would stand in for old leaves, and another history would look like a wrong leaf: so this comes first.
        apart = _linked(session, source, heads)
        if apart.faults:
            return apart
        continued = ContinuedSource(kept.copy, kept.incoming, source)
        continued.withhold(_erased(session, continued, years))
        report = _verify(session, continued, years, heads, progress)
        if report.complete:
            mirroring.mirror(continued, session.keymap, kept.copy, years, progress)
            kept.advance(report.heads)
        continued.forget()
        return report


def years_of(session: Session) -> list[int]:
    """The years whose audit logs must exist at the exchange: the chain from its genesis, and this year.

    A log names the one that continues it in its last leaf; a year in which nothing happened has none. What is read here
    is only where to look: the verification holds the chain's links against each other. This year's log begins with the
    first thing that happens in it, which is at the latest our own reading of a record.
    """
    years, this = [_founded(session)], datetime.fromtimestamp(session.now(), UTC).year
    if this > years[0]:
        session.read(exchange.records(years[0], 0, 1))
    while years[-1] < this and (following := _following(session, years[-1])) is not None:
        years.append(following)
    return years if years[-1] >= this else [*years, this]


def _following(session: Session, year: int) -> int | None:
    """The year whose log continues this one's, as its last leaf says; None where it is not closed."""
    policy = audit_policy(session.keymap, year)
    size = verify_checkpoint(session.read(exchange.checkpoint(f"audit/{year}")), policy).size
    answer = session.read_json(exchange.records(year, size - 1, 1))
    for one in parse_records(answer.get("records")):
        record = one.record
        closed = parse_record(record) if b'"kind":"log.closed"' in record else None
        if isinstance(closed, LogClosed):
            following = closed.following.rpartition("/")[2]
            return int(following) if _YEAR.fullmatch(following) and int(following) > year else None
    return None


def years_in(session: Session, path: Path) -> list[int]:
    """The years whose audit logs a mirror must hold: the genesis's, those that it has, those pinned here."""
    founded, this = _founded(session), datetime.fromtimestamp(session.now(), UTC).year
    there = {int(one.name) for one in (path / "audit").glob("[0-9]" * 4)}
    issuer = session.profile.issuer
    pinned = {
        year
        for year in range(founded, this + 1)
        if session.directory.find_pin(issuer_origin(issuer, f"audit/{year}")) is not None
    }
    return sorted({founded} | there | pinned)


def _verify(
    session: Session, source: Source, years: Sequence[int], relied: Mapping[str, Head], progress: OnProgress
) -> Report:
    directory, profile = session.directory, session.profile
    logs = {issuer_origin(profile.issuer, log): log for log in ("keys", *(f"audit/{year}" for year in years))}
    pins = {origin: pin for origin in logs if (pin := directory.find_pin(origin)) is not None}
    heads = {origin: Head(origin, pin.size, pin.root) for origin, pin in pins.items()}
    report = verify_full(
        source, unb64u(profile.root), years, heads, issuer=profile.issuer, relied=relied, progress=progress
    )
    if report.complete:
        kept = Kept(directory)
        for origin, head in report.heads.items():
            kept.keep_checkpoint(logs[origin], source.checkpoint(logs[origin]))
            # The keys log is pinned together with its replica (Session.sync_keys), never without it.
            if logs[origin] != "keys":
                directory.advance_pin(origin, Pin(head.size, head.root), seen=pins.get(origin))
    return report


def _erased(session: Session, source: Source, years: Sequence[int]) -> Mapping[Place, Place]:
    """What `erase` acts name, as far as it can be read: the kept copy may have it still."""
    sizes: dict[str, int] = {}
    for log in (f"audit/{year}" for year in years):
        try:
            sizes[log] = parse_checkpoint(parse_note(source.checkpoint(log)).text).size
        except ReferralError as error:
            if error.code is ErrorCode.UNREACHABLE:
                raise
    return mirroring.find_erasures(source, session.keymap, sizes).named


def _linked(session: Session, source: Source, heads: Mapping[str, Head]) -> Report:
    """A report that has faults where the source's newest checkpoints do not continue what was verified."""
    report = Report()
    for origin, head in heads.items():
        log = origin.rpartition("/v1/log/")[2]

        def judge(log: str = log, head: Head = head) -> None:
            raw = source.checkpoint(log)
            report.exhibits = {"checkpoint": raw}
            verify_link(source, log, head, verify_checkpoint(raw, policy_of(session.keymap, log)))

        report.hold(Check.GROWTH, log, None, judge)
    return report


def _changed_here(error: ReferralError) -> Report:
    """The report of a verification that ended before it began: what it would have built on is not what it was."""
    report = Report()
    index = error.facts.get("index")
    place = index if isinstance(index, int) else None
    report.faults.append(Fault(Check.GROWTH, str(error.facts["log"]), place, error))
    return report


def _founded(session: Session) -> int:
    return datetime.fromtimestamp(parse_act(session.replica.leaves[0]).iat, UTC).year
