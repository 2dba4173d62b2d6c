"""Auditing: the verification of an exchange, of a mirror, or of what is new, against everything that is pinned.

What is verified is what was read: the verification (auditlog/verification.py) does not know where it came from.

Must never: call something verified that the report does not, advance a pin or the kept copy over a log with a fault, or
move either back.

Implements: R-94, R-95; docs/decisions/0021; design §9.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from referral_api.auditlog.checkpoint import Checkpoint, TrustPolicy, parse_checkpoint, verify_checkpoint
from referral_api.auditlog.erasures import Place
from referral_api.auditlog.losses import LEAVES_TO_TELL, LostLog, read_lost
from referral_api.auditlog.note import parse_note
from referral_api.auditlog.records import LogClosed, parse_record
from referral_api.auditlog.report import Check, Fault, Head, OnProgress, Report, Source, unheard
from referral_api.auditlog.trail import AHEAD_S
from referral_api.auditlog.verification import verify_full
from referral_api.client import exchange
from referral_api.client.audit import mirroring
from referral_api.client.audit.kept import Kept
from referral_api.client.audit.proven import verify_link
from referral_api.client.audit.sources import (
    TAIL,
    ContinuedSource,
    HttpSource,
    encode_records,
    is_live,
    parse_records,
    put,
)
from referral_api.client.freshness import FRESH_S
from referral_api.client.losses import find_following
from referral_api.client.profile import Pin
from referral_api.client.session import Session
from referral_api.client.trust import audit_policy, audit_term, issuer_origin, policy_of
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.terms import LAST_NUMBER, Term
from referral_api.formats.act import parse_act
from referral_api.formats.strict_json import unb64u


def mirror(session: Session, path: Path, terms: Sequence[Term], progress: OnProgress = unheard) -> dict[str, int]:
    """Copy the keys log and the audit logs of these years, or bring a copy up to date (mirroring.py); sizes by log.

    Raises as `mirroring.mirror`, to which what is pinned here counts like an older mirror.

    Beside the newest year lies what its checkpoint does not cover yet, for recovery (R-97).
    """
    source, newest = HttpSource(session), max(terms)
    # The folder may be new; what this machine has seen of the logs is not.
    sizes = mirroring.mirror(source, session.keymap, path, terms, progress, _pinned(session, terms))
    put(path / f"audit/{newest}" / TAIL, encode_records(source.tail(newest, sizes[f"audit/{newest}"])))
    for term in terms:
        if term != newest:
            (path / term.log / TAIL).unlink(missing_ok=True)  # Its records are behind leaves now.
    return sizes


def verify(session: Session, source: Source, terms: Sequence[Term], progress: OnProgress = unheard) -> Report:
    """Verify in full against everything pinned here, and advance the pins of the logs that held completely."""
    return _verify(session, source, terms, {}, progress)


def verify_since(
    session: Session, source: Source, terms: Sequence[Term], *, trust_first: bool, progress: OnProgress = unheard
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
        terms = sorted(
            {
                *terms,
                *(
                    audit_term(session.profile.issuer, head.origin)
                    for head in heads.values()
                    if "/audit/" in head.origin
                ),
            }
        )
        # The copy would stand in for old leaves, and another history would look like a wrong leaf: so this comes first.
        apart = _linked(session, source, heads, _lost(session, source, terms))
        if apart.faults:
            return apart
        continued = ContinuedSource(kept.copy, kept.incoming, source)
        continued.withhold(_erased(session, continued, terms))
        report = _verify(session, continued, terms, heads, progress)
        if report.stands:
            mirroring.mirror(continued, session.keymap, kept.copy, terms, progress)
            kept.advance(report.heads)
        continued.forget()
        return report


def terms_of(session: Session) -> list[Term]:
    """The terms whose audit logs must exist at the exchange: the chain from its genesis to this year's.

    A log names the one that continues it in its last leaf; a year in which nothing happened has none. A log that has
    lost leaves ends without one, and its year's next term continues it. What is read here is only where to look: the
    verification holds the chain's links against each other. This year's log begins with the first thing that happens in
    it, which is at the latest our own reading of a record.
    """
    terms, this = [Term(_founded(session))], Term(datetime.fromtimestamp(session.now(), UTC).year)
    if this > terms[0]:
        session.read(exchange.records(terms[0], 0, 1))
    while (following := _following(session, terms[-1], this)) is not None:
        terms.append(following)
    return terms


def _following(session: Session, term: Term, this: Term) -> Term | None:
    """The term whose log continues this one's; None where it is the newest."""
    after = find_following(session, term)
    if after is None and term < this:
        after = _named(session, term) or this
    return after


def _named(session: Session, term: Term) -> Term | None:
    """The term that continues this one, as its last leaf says; None where it is not closed."""
    size = verify_checkpoint(session.read(exchange.checkpoint(term.log)), audit_policy(session.keymap, term)).size
    answer = session.read_json(exchange.records(term, size - 1, 1))
    for one in parse_records(answer.get("records"), within=range(size - 1, size)):
        closed = parse_record(one.record) if b'"kind":"log.closed"' in one.record else None
        if isinstance(closed, LogClosed):
            with suppress(ReferralError):
                following = audit_term(session.profile.issuer, closed.following)
                return following if following > term else None
    return None


def terms_in(session: Session, path: Path) -> list[Term]:
    """The terms whose audit logs a mirror must hold: the genesis's, those that it has, those pinned here."""
    founded, this = _founded(session), datetime.fromtimestamp(session.now(), UTC).year
    terms = {Term(founded)}
    for one in (path / "audit").glob("*"):
        with suppress(ReferralError):
            terms.add(Term.parse(one.name))
    for term in (Term(year, number) for year in range(founded, this + 1) for number in range(1, LAST_NUMBER + 1)):
        if session.directory.find_pin(issuer_origin(session.profile.issuer, term.log)) is not None:
            terms.add(term)
    return sorted(terms)


def _verify(
    session: Session, source: Source, terms: Sequence[Term], relied: Mapping[str, Head], progress: OnProgress
) -> Report:
    directory, profile = session.directory, session.profile
    logs = {issuer_origin(profile.issuer, log): log for log in ("keys", *(term.log for term in terms))}
    heads = _pinned(session, terms)
    # This machine's own time: the exchange, which may be at fault, has no say in it.
    now = int(session.ambient.now())
    report = verify_full(
        source, unb64u(profile.root), terms, heads, issuer=profile.issuer, relied=relied, progress=progress, now=now
    )
    if session.keymap.witness_policy is not None and is_live(source):
        for log in ("keys", max(terms).log):
            _note_stale(report, source, policy_of(session.keymap, log, witnessed=True), log, now)
    if report.stands:
        kept = Kept(directory)
        for origin, head in report.heads.items():
            kept.keep_checkpoint(logs[origin], source.checkpoint(logs[origin]))
            # The keys log is pinned together with its replica (Session.sync_keys), never without it.
            if logs[origin] != "keys":
                seen = heads.get(origin)
                pin = None if seen is None else Pin(seen.size, seen.root)
                directory.advance_pin(origin, Pin(head.size, head.root), seen=pin)
    return report


def _pinned(session: Session, terms: Sequence[Term]) -> dict[str, Head]:
    """What this machine has pinned of these years' logs and the keys log, by origin."""
    origins = [issuer_origin(session.profile.issuer, log) for log in ("keys", *(term.log for term in terms))]
    pins = {origin: session.directory.find_pin(origin) for origin in origins}
    return {origin: Head(origin, pin.size, pin.root) for origin, pin in pins.items() if pin is not None}


def _note_stale(report: Report, source: Source, trusted: TrustPolicy, log: str, now: int) -> None:
    """Note as missing that no quorum has cosigned within the hour what an exchange shows as its newest, by this
    machine's own time: it may be as it was long ago, and everything in it would verify. Nobody cosigns a log again that
    another one follows, and a mirror is as old as it is.
    """
    try:
        checkpoint = verify_checkpoint(source.cosigned(log), trusted)
    except ReferralError as error:
        if error.code is ErrorCode.UNREACHABLE:
            raise
        return  # That there is none, or a false one, has been found.
    times = {one.key: one.cosigned_s for one in checkpoint.cosignatures if one.cosigned_s}
    try:
        trusted.verify_quorum({key for key, at in times.items() if -FRESH_S <= at - now <= AHEAD_S})
    except ReferralError as error:
        stale = ReferralError(error.code, **error.facts, reason="stale", cosigned_at=max(times.values()))
        report.exhibits = {"cosigned": source.cosigned(log)}
        report.note(Check.WITNESSES, log, None, stale, missing=True)


def _erased(session: Session, source: Source, terms: Sequence[Term]) -> Mapping[Place, Place]:
    """What `erase` acts name, as far as it can be read: the kept copy may have it still."""
    sizes: dict[str, int] = {}
    for log in (term.log for term in terms):
        try:
            sizes[log] = parse_checkpoint(parse_note(source.checkpoint(log)).text).size
        except ReferralError as error:
            if error.code is ErrorCode.UNREACHABLE:
                raise
    return mirroring.find_erasures(source, session.keymap, sizes).named


def _lost(session: Session, source: Source, terms: Sequence[Term]) -> Mapping[str, LostLog]:
    """The logs that have lost leaves, as far as it can be read; the verification holds it against everything else."""
    found: dict[str, LostLog] = {}
    for term in terms:
        if term.before is not None:
            with suppress(ReferralError):
                first = {one.index: one.record for one in source.records(term, 0, LEAVES_TO_TELL)}
                if {0, 1} <= first.keys():
                    origin = issuer_origin(session.profile.issuer, term.before.log)
                    found[term.before.log] = read_lost(term, origin, first[0], first[1])
    return found


def _linked(session: Session, source: Source, heads: Mapping[str, Head], lost: Mapping[str, LostLog]) -> Report:
    """A report that has faults where the source's newest checkpoints do not continue what was verified."""
    report = Report()
    for origin, head in heads.items():
        log = origin.rpartition("/v1/log/")[2]

        def judge(log: str = log, head: Head = head) -> None:
            raw = source.checkpoint(log)
            report.exhibits = {"checkpoint": raw}
            newest: Checkpoint = verify_checkpoint(raw, policy_of(session.keymap, log))
            if (gone := lost.get(log)) is not None:
                gone.admit(head.size, head.root)
                if head.size >= gone.kept:
                    return
                newest = Checkpoint(gone.origin, gone.kept, gone.kept_root)
            verify_link(source, log, head, newest)

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
