"""What a delivery is: one referral × one unit, as the acts on it left it (design §2, 5).

Must never: change by itself (domain/fold.py says what an act makes of it), verify, or read a clock.
Clauses: docs/protocol.md R-64 to R-69.
"""

from __future__ import annotations

from dataclasses import dataclass

from referral_api.domain import lifecycle
from referral_api.domain.words import Act, DeliveryRole, State

NOTICES = frozenset({Act.WITHDRAW, Act.CONSENT_WITHDRAWN})
"""Questions that must be answered within 72 hours (R-75, R-80)."""
HOLD_OFF, NOT_MADE = "off", "not_made"
MAX_REVIEW_S = 400 * 24 * 3600
"""How far ahead a hold's review may lie: what nobody looks at within a year and a month is kept for ever unawares."""
TELEPHONED, REACHED, UNREACHED = "telephone", "reached", "unreached"
"""Among what was told: when the hotline was last told to telephone, and said that it did, or could not (the newer)."""
LEFT, GIVEN_BACK, CONSENT, LIFTED = "left", "given_back", "consent", "lifted"
"""When it was declined or expired, until its unit has it again; since when it is the unit's turn again; when consent
was withdrawn; when a hold on it was last lifted.
"""


@dataclass(frozen=True, slots=True)
class Question:
    """An act that waits for an answer: its kind, its digest, and the credential (or party) that asked."""

    act: Act
    digest: str
    asker: str

    def waits_for(self, party: str, signer: str) -> bool:
        """Whether this party's signer may answer: the other side does, and of a purge another person than asked."""
        if self.act is Act.PURGE_REQUEST:
            return self.asker != signer
        return self.asker.partition(".")[0] != party


@dataclass(frozen=True, slots=True)
class Delivery:
    """One referral × one unit. Times are unix seconds of the exchange's clock; digests are of act payloads."""

    unit: str
    role: DeliveryRole
    state: State
    head: str
    """The latest party act visible to both sides on this delivery; decisions must carry it as `prev`."""
    submitted_at: int | None
    """Since when its unit may fetch it; None while it is held, and for ever if it was withdrawn before a release."""
    questions: tuple[Question, ...] = ()
    retrieved_at: int | None = None
    acknowledged_at: int | None = None
    accepted_at: int | None = None
    notified_at: int | None = None
    last_status_at: int | None = None
    investigation: tuple[str, ...] = ()
    transfer_to: str | None = None
    rank: int = 0
    """Its place among those addressed by the submit: held ones are released in this order."""
    began_at: int | None = None
    """Of one that a transfer brought: when the referral was submitted; the total clock runs on from there (R-80)."""
    rungs: int = 0
    """How many rungs of the ladder were reached (`escalated`), and when the newest was."""
    rung_at: int | None = None
    told: tuple[tuple[str, int], ...] = ()
    """Moments that clocks go by, the newest of each kind: what was said to be late with (when due), and those above."""
    taken: bool = False
    """Another unit accepted the referral first."""
    holds: tuple[tuple[str, int], ...] = ()
    """Parties that keep it from being purged, each with the moment of its next review."""
    ended_at: int | None = None
    content_at: int | None = None
    """When something was last added to it in words."""
    purged_at: int | None = None

    @property
    def since(self) -> int | None:
        """Since when its total clock runs; None while it is held."""
        return self.submitted_at if self.began_at is None else self.began_at

    @property
    def begun(self) -> int | None:
        """Since when its unit is to act on it: from when it could, or was to again; None while it is held."""
        return dict(self.told).get(GIVEN_BACK, self.submitted_at)

    @property
    def shown_state(self) -> State:
        """The state as far as its unit may know of it: what was never released to it stays held for it (R-63)."""
        return State.HELD if self.submitted_at is None else self.state

    @property
    def is_anothers(self) -> bool:
        """Whether another unit has taken it, and this one neither works on it nor has ended it otherwise."""
        return self.taken and self.state in lifecycle.UNREAD | {State.ACKNOWLEDGED, State.EXPIRED}

    @property
    def is_unread(self) -> bool:
        """Whether it expired and nobody has acknowledged it since: nothing of it goes (rule R1 of the field)."""
        return self.state is State.EXPIRED and self.acknowledged_at is None

    @property
    def was_had(self) -> bool:
        """Whether its unit has fetched it, or has acknowledged what came to it offline."""
        return self.retrieved_at is not None or self.acknowledged_at is not None

    @property
    def was_accepted(self) -> bool:
        """Whether its unit has accepted it, or went on after a notice, and has not declined it since."""
        return self.accepted_at is not None and LEFT not in dict(self.told)

    @property
    def open_questions(self) -> frozenset[Act]:
        """Kinds of the questions still open, whoever is to answer them."""
        return frozenset(question.act for question in self.questions)

    def questions_for(self, party: str, signer: str) -> frozenset[Act]:
        """Kinds of the open questions that this party's signer may answer, as the lifecycle wants them."""
        return frozenset(question.act for question in self.questions if question.waits_for(party, signer))
