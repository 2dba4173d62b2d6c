"""Evidence packs as a client fetches them: believed only against what is pinned on this machine.

A pack proves itself under a root. Here there is more to hold it against: the keys log as it is replicated and the heads
of the audit logs that this client has seen, of which the pack's must be a beginning or a continuation.

Must never: give a pack that does not hold to whoever would keep it, or pin what a pack alone says.

Implements: R-89, R-94; design §7 (`GET /v1/evidence/{ref}`).
"""

from __future__ import annotations

from functools import partial

from referral_api.auditlog.pack import MANIFEST
from referral_api.auditlog.pack_verification import PackReport, Step, verify_pack
from referral_api.auditlog.policy import Policy
from referral_api.client import exchange
from referral_api.client.profile import Pin
from referral_api.client.session import Session
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import ReferralId
from referral_api.formats.strict_json import unb64u


def fetch_pack(session: Session, ref: ReferralId, policy: Policy | None = None) -> tuple[bytes, PackReport]:
    """A referral's evidence pack as the exchange gives it, and what verifying it here found.

    Nobody may keep a pack whose report says `failed`; so it does for a pack of another referral too, and for one whose
    logs are not those that this client has seen. Raises NOT_FOUND, UNREACHABLE and what else a call does.
    """
    raw = session.read(exchange.evidence(ref))
    report = verify_pack(raw, unb64u(session.profile.root), policy)

    def judge_ref() -> None:
        if report.manifest is not None and report.manifest.ref != ref:
            raise ReferralError(ErrorCode.TAMPERED, what="pack", reason="ref")

    report.hold(Step.MANIFEST, MANIFEST, judge_ref)
    for log, head in report.heads.items():
        if log == "keys":
            replica = session.sync_keys()
            seen = partial(replica.verify_pin, Pin(head.size, head.root))
        else:
            seen = partial(session.follow, log, head)
        report.hold(Step.CHECKPOINTS, f"{log}/checkpoint", seen)
    return raw, report
