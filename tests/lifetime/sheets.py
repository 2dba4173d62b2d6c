"""What the model keeps: an act that somebody tries, a line of an inbox, one delivery.

Must never: import the fold, the clockwork, the lifecycle or the rules.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from referral_api.domain.words import Act, Role, State

S = State
OVER = {S.CLOSED, S.TRANSFERRED, S.WITHDRAWN, S.PURGED}


@dataclass(frozen=True)
class Move:
    """An act that somebody tries."""

    act: Act
    by: Role
    party: str
    signer: str
    digest: str = ""
    unit: str | None = None
    prev: str | None = None
    code: str | None = None
    question: str | None = None
    to: str | None = None
    joint: bool = False
    review_at: int | None = None
    far: bool = False
    """Its review lies farther ahead than any may."""
    service: bool = False
    """Signed by a program, not by a person."""


@dataclass
class Line:
    """A line of an inbox that waits for an answer until it has had one."""

    party: str
    kind: Act
    unit: str
    digest: str
    waits: Callable[[Sheet], bool]
    pending: bool = True


@dataclass
class Sheet:
    """One delivery."""

    unit: str
    role: str
    state: State
    head: str
    rank: int
    begun: int | None
    since: int | None
    brought: str
    open: dict[str, tuple[Act, str]] = field(default_factory=dict)
    """Questions: digest, kind, who asked."""
    to: str | None = None
    acked: int | None = None
    accepted: int | None = None
    took: bool = False
    """Its unit has it in work, or had when it ended."""
    notified: int | None = None
    status: int | None = None
    ended: int | None = None
    said: int | None = None
    purged: int | None = None
    got: bool = False
    """Whether the bundle was ever handed out."""
    rungs: int = 0
    rung_at: int | None = None
    told: dict[str, int] = field(default_factory=dict)
    rang: int = 0
    """When the hotline was last told to telephone; when it last did, or did in vain (the newer of these)."""
    reached: int | None = None
    missed: int | None = None
    entered: int | None = None
    """When an act last changed its state."""
    consent: bool = False
    """Consent was withdrawn."""
    back: int | None = None
    """Since when it is its unit's again, another having taken and declined it."""
    taken: bool = False
    holds: dict[str, int] = field(default_factory=dict)
    lifted: int = 0
    """When a hold on it was last lifted."""
    investigation: list[str] = field(default_factory=list)
    heard: Counter[Act] = field(default_factory=Counter)
    """What the exchange has said about it by itself, how often each."""

    def to_take_back(self, act: Act) -> State:
        """As what it is taken back: nobody has what expired before it was fetched."""
        nobody = not self.got and self.acked is None
        return S.SUBMITTED if act is Act.WITHDRAW and self.state is S.EXPIRED and nobody else self.state

    def over_and_done(self) -> set[Act]:
        """What its history forbids: taking up what nobody took, acknowledging twice."""
        past = {S.ACCEPTED, S.DECLINED, S.TRANSFERRED, S.CLOSED}
        twice = {Act.ACK} if self.acked is not None and self.state in past else set()
        return twice if self.took else twice | {Act.REOPEN}

    def unread(self) -> bool:
        """Whether it expired and nobody has read it yet."""
        return self.state is S.EXPIRED and self.acked is None

    def rings(self) -> bool:
        return any(kind is Act.TELEPHONE_NOW for kind, _ in self.open.values())

    def enter(self, state: State, now: int) -> None:
        if state is not self.state:
            self.entered = now
        if state is S.PURGED:
            self.open = {}
        if state in OVER and self.state not in OVER:
            self.ended = now
        elif state not in OVER and self.state in OVER:
            self.ended = None
        if state is S.ACCEPTED and self.state is not S.ACCEPTED:
            self.accepted = now
        self.took = (self.took or state is S.ACCEPTED) and state not in {S.DECLINED, S.EXPIRED}
        self.state = state
