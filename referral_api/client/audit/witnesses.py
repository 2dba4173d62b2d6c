"""What the witnesses say: who has cosigned a log, how long ago, and whether what each of them saw is what we are shown.

A cosignature on the exchange's checkpoint says that a witness knew no other tree. What the witness itself shows says
more: if that is larger than the exchange's log, or another one, the exchange shows different logs to different people,
and both signed texts are here to prove it.

Must never: take a witness that cannot be reached for one that agrees, or send a credential to one.

Implements: R-94, R-96; C2SP tlog-policy, tlog-witness (monitors); design §9.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from referral_api.auditlog.checkpoint import TrustPolicy, VerifiedCheckpoint, verify_checkpoint
from referral_api.auditlog.keyslog import log_keys
from referral_api.auditlog.policy import Policy, Witness, genesis_policy
from referral_api.auditlog.report import Check, Fault, Head
from referral_api.auditlog.witnessing import monitoring_path
from referral_api.client import exchange
from referral_api.client.audit.proven import Proven, verify_link
from referral_api.client.audit.public import read_public
from referral_api.client.audit.sources import HttpSource
from referral_api.client.session import Session
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.formats.statements import KeyMap

FRESH_S = 3600
"""A cosignature older than this says little about today."""
AHEAD_S = 300
"""One from further in the future says nothing about today: it would look fresh for as long as a log is frozen."""
_NOT_HAD = frozenset({ErrorCode.UNREACHABLE, ErrorCode.UNAVAILABLE, ErrorCode.NOT_FOUND, ErrorCode.TOO_LARGE})


@dataclass(frozen=True, slots=True)
class Finding:
    """What is known of one witness. `verdict`: `fresh`, `stale`, `ahead` (dated in the future), `absent` (has not
    cosigned), `unreachable`, `false`.

    `age_s` is the age of its newest cosignature, below 0 where it is `ahead`, `size` what it had seen then; None where
    there is none.
    """

    name: str
    verdict: str
    age_s: int | None = None
    size: int | None = None
    error: ReferralError | None = None
    exhibits: Mapping[str, bytes] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Standing:
    """One log and its witnesses: what the exchange shows now, what of it a quorum has cosigned, and each witness."""

    log: str
    size: int
    cosigned_size: int
    cosigned: int
    fresh: int
    """How many of those that count towards the quorum have cosigned within the last hour."""
    threshold: int
    ended: bool
    """Whether the log grows no more: nobody cosigns it again, and what was cosigned of it does not become old."""
    findings: tuple[Finding, ...]

    def faults(self) -> list[Fault]:
        """What is false, with the texts that prove it."""
        return [
            Fault(Check.GROWTH, self.log, None, one.error, exhibits=one.exhibits)
            for one in self.findings
            if one.verdict == "false" and one.error is not None
        ]

    def lacking(self) -> bool:
        """Whether something could not be had: a quorum, a witness's own word, or how old it is."""
        counted = self.cosigned if self.ended else min(self.cosigned, self.fresh)
        doubtful = {"unreachable", "ahead"} if self.ended or self.threshold else {"unreachable", "ahead", "stale"}
        return counted < self.threshold or any(one.verdict in doubtful for one in self.findings)


def effective_policy(keymap: KeyMap, chosen: Policy | None) -> Policy | None:
    """The policy to judge by: the auditor's own, else that of the genesis act; None where that names no witness."""
    if chosen is not None:
        return chosen
    return None if keymap.witness_policy is None else genesis_policy(keymap.genesis)


def standing(session: Session, policy: Policy, log: str, *, ended: bool = False) -> Standing:
    """How a log stands with its witnesses; `ended`: another log follows it.

    Raises what `Policy.trust` raises of a policy that is not for this log, and as `verify_checkpoint` and `Proven`
    where the exchange's own checkpoint is false.
    """
    trust = policy.trust(*log_keys(session.keymap, log))
    shown = {one.name: _ask(one, trust) for one in policy.witnesses if one.url is not None}
    raw_cosigned = _cosigned(session, log)
    source = HttpSource(session)
    # Last, because a log only grows: whatever anybody else has seen of it must be in what the exchange shows after it.
    proven, raw_newest = Proven(session, source, log), source.checkpoint(log)
    cosigned = verify_checkpoint(raw_cosigned or raw_newest, replace(trust, quorum=0))
    verify_link(source, log, _head(cosigned), proven.head)
    now = session.now()
    findings = [_judge(one, shown.get(one.name), cosigned, now) for one in policy.witnesses]
    findings = [_hold(one, shown.get(one.name), source, proven, raw_newest) for one in findings]
    rule = trust.rule
    keys = {one.key for one in cosigned.cosignatures if one.cosigned_s}
    fresh = {one.key for one, found in zip(policy.witnesses, findings, strict=True) if found.verdict == "fresh"}
    count, new, threshold = (0, 0, 0) if rule is None else (rule.count(keys), rule.count(fresh), rule.threshold)
    return Standing(log, proven.head.size, cosigned.size if keys else 0, count, new, threshold, ended, tuple(findings))


@dataclass(frozen=True, slots=True)
class _Shown:
    """What a witness itself shows, or why there is nothing."""

    raw: bytes = field(default=b"", repr=False)
    checkpoint: VerifiedCheckpoint | None = None
    error: ReferralError | None = None


def _ask(witness: Witness, trust: TrustPolicy) -> _Shown:
    raw = b""
    try:
        raw = read_public(f"{str(witness.url).rstrip('/')}/{monitoring_path(trust.log.name)}")
        # The witness's line must be there; others' lines are none of its business.
        own = replace(trust, known_witnesses=(witness.key,), quorum=1)
        return _Shown(raw, verify_checkpoint(raw, own))
    except ReferralError as error:
        return _Shown(raw, error=error)


def _cosigned(session: Session, log: str) -> bytes | None:
    try:
        return session.read(exchange.checkpoint(log, cosigned=True))
    except ReferralError as error:
        if error.code not in (ErrorCode.NOT_FOUND, ErrorCode.NOT_WITNESSED, ErrorCode.CHECKPOINT_PENDING):
            raise
        return None


def _judge(witness: Witness, shown: _Shown | None, cosigned: VerifiedCheckpoint, now: int) -> Finding:
    """A witness by its newest cosignature, wherever that was seen."""
    seen = [(one.cosigned_s, cosigned.size) for one in cosigned.cosignatures if one.key == witness.key]
    if shown is not None and shown.checkpoint is not None:
        seen += [(one.cosigned_s, shown.checkpoint.size) for one in shown.checkpoint.cosignatures]
    seen = [one for one in seen if one[0]]
    if shown is not None and shown.error is not None:
        lies = shown.error.code not in _NOT_HAD and shown.error.code is not ErrorCode.MALFORMED
        age = max(0, now - max(seen)[0]) if seen else None
        exhibits = {"witness-checkpoint": shown.raw} if lies else {}
        return Finding(witness.name, "false" if lies else "unreachable", age, None, shown.error, exhibits)
    if not seen:
        return Finding(witness.name, "absent")
    at, size = max(seen)
    if at > now + AHEAD_S:
        return Finding(witness.name, "ahead", now - at, size)
    age = max(0, now - at)
    return Finding(witness.name, "fresh" if age <= FRESH_S else "stale", age, size)


def _hold(finding: Finding, shown: _Shown | None, source: HttpSource, proven: Proven, raw_newest: bytes) -> Finding:
    """The same finding, or that what the witness saw is not in the log that we are shown."""
    if shown is None or shown.checkpoint is None:
        return finding
    try:
        verify_link(source, proven.log, _head(shown.checkpoint), proven.head)
    except ReferralError as error:
        if error.code is not ErrorCode.INCONSISTENT:
            raise
        exhibits = {"checkpoint": raw_newest, "witness-checkpoint": shown.raw}
        return replace(finding, verdict="false", error=error, exhibits=exhibits)
    return finding


def _head(checkpoint: VerifiedCheckpoint) -> Head:
    return Head(checkpoint.origin, checkpoint.size, checkpoint.root)
