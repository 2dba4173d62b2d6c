"""The lifecycle of a delivery as one table, `MOVES`, and the three functions that read it (design §10).

A row says which act, by which role, takes a delivery from which states to which state; whether the act is a fact or a
decision; which later acts answer it (until then the inbox entry it causes stays pending); which open question it needs.
Retrieval is a record, not an act: `retrieved()` is its rule. The investigation status is the other axis: `status` acts
append to it and never move the delivery.

Must never: do I/O, read a clock, or know who is allowed (policy.py does). Clauses: docs/protocol.md R-70 to R-79.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import Act, DeliveryRole, Nature, Role, State

S = State
H, U, X = Role.HOTLINE, Role.POLICE_UNIT, Role.EXCHANGE

UNREAD = frozenset({S.SUBMITTED, S.RETRIEVED, S.RECEIPT_FAILED})
WORKING = frozenset({S.ACKNOWLEDGED, S.ACCEPTED})
ENDED = frozenset({S.DECLINED, S.TRANSFERRED, S.CLOSED})
PUT_OFF = frozenset({S.EXPIRED, S.WITHDRAWN, S.WITHDRAWAL_NOTIFIED})
REACHED = UNREAD | WORKING | ENDED | PUT_OFF
"""Every state in which the unit knows of the delivery: all but `held` and `purged`."""
SERVED = REACHED - {S.WITHDRAWN}
"""States in which the exchange serves the bundle to the unit (design §10: withdrawn bundles are no longer served)."""
PURGEABLE = WORKING | ENDED | PUT_OFF
"""Where ciphertext may go, of one that expired only what was acknowledged late: what nobody has acknowledged or closed
stays, and alarms (rule R1 of the field).
"""
FINISHED = frozenset({S.CLOSED, S.TRANSFERRED, S.WITHDRAWN, S.PURGED})
"""States from whose beginning the time of keeping runs. What was declined still waits for somebody to take it."""
LEFT = frozenset({S.DECLINED, S.EXPIRED})
"""Where a unit has it no more, and somebody else must be found: that is no end."""
WORDS = frozenset({Act.SUPPLEMENT, Act.NOTE, Act.ASK, Act.ANSWER})
"""Acts that add content: shortly before a purge they put it off, once (rule R2 of the field)."""
WAITS_WHILE: dict[Act, frozenset[State]] = {
    Act.SUBMIT: frozenset({S.SUBMITTED, S.RETRIEVED}),
    Act.RELEASED: frozenset({S.SUBMITTED, S.RETRIEVED}),
    Act.APPROVE: frozenset({S.SUBMITTED, S.RETRIEVED}),
    Act.RECEIPT_FAILED: frozenset({S.RECEIPT_FAILED}),
    Act.DECLINE: frozenset({S.DECLINED}),
    Act.EXPIRED: frozenset({S.EXPIRED}),
}
"""Acts that wait for an answer while the delivery is in the state to which they brought it: no question is kept."""
WAITS_AT: dict[Act, Role] = dict.fromkeys((Act.SUBMIT, Act.RELEASED, Act.APPROVE), U) | dict.fromkeys(
    (Act.RECEIPT_FAILED, Act.DECLINE, Act.EXPIRED), H
)
"""At whom they wait: at the unit to be read, at the hotline for somebody else to be found. Others they only inform."""


@dataclass(frozen=True, slots=True)
class Move:
    """One row. `to` None leaves the state as it is; `codes` limits the row to acts whose body carries one of them."""

    act: Act
    by: frozenset[Role]
    source: frozenset[State]
    to: State | None
    nature: Nature
    clause: str
    answered_by: frozenset[Act] = field(default=frozenset())
    answers: frozenset[Act] = field(default=frozenset())
    codes: frozenset[str] = field(default=frozenset())


def _row(
    act: Act,
    by: Role | tuple[Role, ...],
    source: State | frozenset[State],
    to: State | None,
    nature: Nature,
    clause: str,
    *,
    answered_by: tuple[Act, ...] = (),
    answers: tuple[Act, ...] = (),
    codes: tuple[str, ...] = (),
) -> Move:
    return Move(
        act,
        frozenset(by if isinstance(by, tuple) else (by,)),
        source if isinstance(source, frozenset) else frozenset({source}),
        to,
        nature,
        clause,
        frozenset(answered_by),
        frozenset(answers),
        frozenset(codes),
    )


F, D = Nature.FACT, Nature.DECISION
NOTICE = (Act.WITHDRAWAL_ANSWER,)
READ = (Act.ACK, Act.RECEIPT_FAILED, Act.WITHDRAW, Act.EXPIRED)
UNOPENED = (Act.ACK, Act.WITHDRAW, Act.EXPIRED, Act.CLOSE)
ONES_TURN = (Act.ACCEPT, Act.DECLINE, Act.CLOSE, Act.WITHDRAW, Act.TAKEN)
STOPPED = ("stopped_and_destroyed", "stopped_retained_legal_duty")
GOING_ON = ("continuing_public_prosecution", "already_acted")
BY_HAND = "hotline_manual"
"""The reason of a release that the hotline itself decides; the clocks have others (code list `escalation_reason`)."""

MOVES: tuple[Move, ...] = (
    # The unit answers for having received it. A late acknowledgement is recorded, never refused.
    _row(Act.ACK, U, UNREAD, S.ACKNOWLEDGED, F, "R-71"),
    # What went on, or ended, by the answer to a notice may never have been acknowledged (`fold` asks for that).
    _row(Act.ACK, U, PUT_OFF | ENDED | {S.ACCEPTED}, None, F, "R-71"),
    _row(Act.RECEIPT_FAILED, U, UNREAD, S.RECEIPT_FAILED, F, "R-71", answered_by=UNOPENED),
    _row(Act.RECEIPT_FAILED, U, PUT_OFF, None, F, "R-71"),
    # The unit decides.
    _row(Act.ACCEPT, U, S.ACKNOWLEDGED, S.ACCEPTED, D, "R-72"),
    # Somebody else must take it: that waits at the hotline until it has closed this delivery.
    _row(Act.DECLINE, U, WORKING, S.DECLINED, D, "R-72", answered_by=(Act.CLOSE, Act.PURGED)),
    # A proposal waits for an answer, or until the delivery is in work no more.
    _row(Act.TRANSFER, U, WORKING, None, D, "R-73", answered_by=(Act.APPROVE, Act.DECLINE, Act.CLOSE, Act.WITHDRAW)),
    _row(Act.APPROVE, (H, X), WORKING, S.TRANSFERRED, D, "R-73", answers=(Act.TRANSFER,)),
    _row(Act.DECLINE, H, WORKING, None, D, "R-73", answers=(Act.TRANSFER,)),
    # The unit reports. Status may be told after the end too: the thread stays open until purge.
    _row(Act.STATUS, U, WORKING | {S.WITHDRAWAL_NOTIFIED, S.EXPIRED, S.CLOSED}, None, F, "R-74"),
    _row(Act.CLOSE, U, S.ACCEPTED, S.CLOSED, D, "R-74"),
    _row(Act.CLOSE, H, WORKING | {S.RECEIPT_FAILED, S.EXPIRED, S.DECLINED}, S.CLOSED, D, "R-74"),
    # Only what its unit had accepted is taken up again (`fold`): else it would have what it never took.
    _row(Act.REOPEN, (H, U), S.CLOSED, S.ACCEPTED, D, "R-74"),
    # The hotline takes back. Before retrieval nobody has it; afterwards it is a notice that must be answered.
    _row(Act.WITHDRAW, H, frozenset({S.HELD, S.SUBMITTED}), S.WITHDRAWN, F, "R-75"),
    _row(
        Act.WITHDRAW,
        H,
        WORKING | {S.RETRIEVED, S.RECEIPT_FAILED, S.EXPIRED},
        S.WITHDRAWAL_NOTIFIED,
        F,
        "R-75",
        answered_by=NOTICE,
    ),
    _row(Act.WITHDRAW, H, ENDED, None, F, "R-75", answered_by=NOTICE),
    # Whoever has not fetched it yet will: only what nobody can have any more owes no answer (`fold.is_moot`).
    _row(Act.CONSENT_WITHDRAWN, H, REACHED | {S.HELD}, None, F, "R-75", answered_by=NOTICE),
    # Whoever stops has it no more, whatever it was doing; what it passed on stays passed on.
    _row(
        Act.WITHDRAWAL_ANSWER,
        U,
        REACHED - {S.TRANSFERRED, S.WITHDRAWN},
        S.WITHDRAWN,
        D,
        "R-75",
        answers=(Act.WITHDRAW, Act.CONSENT_WITHDRAWN),
        codes=STOPPED,
    ),
    _row(
        Act.WITHDRAWAL_ANSWER,
        U,
        frozenset({S.WITHDRAWAL_NOTIFIED, S.WITHDRAWN}),
        S.ACCEPTED,
        D,
        "R-75",
        answers=(Act.WITHDRAW, Act.CONSENT_WITHDRAWN),
        codes=GOING_ON,
    ),
    _row(
        Act.WITHDRAWAL_ANSWER,
        U,
        REACHED - {S.WITHDRAWAL_NOTIFIED},
        None,
        D,
        "R-75",
        answers=(Act.WITHDRAW, Act.CONSENT_WITHDRAWN),
    ),
    # Talking: open until purge, in both directions, whatever the state.
    _row(Act.NOTE, (H, U), REACHED, None, F, "R-76"),
    _row(Act.ASK, (H, U), REACHED - {S.SUBMITTED}, None, F, "R-76", answered_by=(Act.ANSWER,)),
    _row(Act.ANSWER, (H, U), REACHED, None, F, "R-76", answers=(Act.ASK,)),
    _row(Act.SUPPLEMENT, H, REACHED | {S.HELD}, None, F, "R-76"),
    _row(Act.PHONE_ALERT, H, REACHED | {S.HELD}, None, F, "R-76", answers=(Act.TELEPHONE_NOW,)),
    _row(Act.REWRAP, U, SERVED, None, F, "R-76"),
    # The hotline need not wait for a rung: who stands by may have it now.
    _row(Act.RELEASED, H, S.HELD, S.SUBMITTED, F, "R-78", answered_by=READ),
    # Keeping and forgetting. Of a held delivery its unit knows nothing: only the hotline can speak of it.
    _row(Act.HOLD, H, REACHED | {S.HELD}, None, F, "R-77"),
    _row(Act.HOLD, U, REACHED, None, F, "R-77"),
    _row(Act.PURGE_REQUEST, (H, U), PURGEABLE, None, D, "R-77", answered_by=(Act.APPROVE,)),
    _row(Act.APPROVE, (H, U), PURGEABLE, None, D, "R-77", answers=(Act.PURGE_REQUEST,)),
    _row(Act.PURGE_DUE, X, PURGEABLE, None, F, "R-77"),
    # What was held for a unit that was never told of it goes with the rest.
    _row(Act.PURGED, X, ENDED | {S.WITHDRAWN, S.HELD}, S.PURGED, F, "R-77"),
    _row(Act.PURGED, X, WORKING | {S.WITHDRAWAL_NOTIFIED, S.EXPIRED}, None, F, "R-77"),
    # The exchange's own clocks. They never move a head.
    # A notice may be unanswered in any state, and so may a hold be looked at too late, the sender's of a held one too.
    _row(Act.OVERDUE, X, REACHED | {S.HELD}, None, F, "R-78"),
    _row(Act.ESCALATED, X, UNREAD, None, F, "R-78"),
    _row(Act.TELEPHONE_NOW, X, REACHED, None, F, "R-78", answered_by=(Act.PHONE_ALERT,)),
    _row(Act.RELEASED, X, S.HELD, S.SUBMITTED, F, "R-78", answered_by=READ),
    # Given back, once the unit that had taken it has it no more.
    _row(Act.RELEASED, X, frozenset({S.SUBMITTED, S.RETRIEVED}), None, F, "R-78", answered_by=READ),
    _row(Act.RELEASED, X, S.RECEIPT_FAILED, None, F, "R-78", answered_by=UNOPENED),
    _row(Act.RELEASED, X, S.ACKNOWLEDGED, None, F, "R-78", answered_by=ONES_TURN),
    _row(Act.TAKEN, X, UNREAD | WORKING, None, F, "R-78"),
    _row(Act.EXPIRED, X, UNREAD, S.EXPIRED, F, "R-78", answered_by=(Act.CLOSE, Act.WITHDRAW)),
)

ACTS_ON_DELIVERIES = frozenset(move.act for move in MOVES)
SUBMIT_ANSWERED_BY = frozenset(READ)
"""`submit` creates deliveries instead of moving one, so it is no row; its inbox entry at the unit waits for these."""
NATURE: dict[Act, Nature] = {move.act: move.nature for move in MOVES} | {Act.SUBMIT: F, Act.ROUTE: F}


def waits_while(kind: Act, answered_by: frozenset[Act]) -> frozenset[State] | None:
    """In which states of the delivery an inbox entry waits that has no question of its own; None for one that has.

    What was given back waits where it was: to be read, to be opened, or to be decided about.
    """
    if kind is Act.RELEASED and Act.ACCEPT in answered_by:
        return frozenset({S.ACKNOWLEDGED})
    if kind is Act.RELEASED and Act.CLOSE in answered_by:
        return frozenset({S.RECEIPT_FAILED})
    return WAITS_WHILE.get(kind)


def first_state(role: DeliveryRole) -> State:
    """The state in which `submit` creates a delivery: escalation parties hold theirs until it is released."""
    return S.HELD if role is DeliveryRole.ESCALATION else S.SUBMITTED


def retrieved(state: State) -> State:
    """The state after the bundle was handed out and recorded. Only a first retrieval moves anything."""
    return S.RETRIEVED if state is S.SUBMITTED else state


def find_move(
    act: Act, by: Role, state: State, *, open_questions: frozenset[Act] = frozenset(), code: str | None = None
) -> Move | None:
    """The one row that applies, or None. `open_questions` are acts on the delivery still waiting for an answer."""
    for move in MOVES:
        if move.act is not act or by not in move.by or state not in move.source:
            continue
        if move.answers and act is not Act.PHONE_ALERT and not move.answers & open_questions:
            continue  # A telephone call may be reported unasked; every other answer needs its question.
        if move.codes and code not in move.codes:
            continue
        return move
    return None


def step(
    act: Act, by: Role, state: State, *, open_questions: frozenset[Act] = frozenset(), code: str | None = None
) -> State:
    """The state after `act`.

    Raises ReferralError(ILLEGAL_TRANSITION) with facts `state`, `act` and `allowed` (what this role may do from here).
    """
    move = find_move(act, by, state, open_questions=open_questions, code=code)
    if move is None:
        raise ReferralError(
            ErrorCode.ILLEGAL_TRANSITION,
            state=state.value,
            act=act.value,
            allowed=[a.value for a in allowed(by, state, open_questions=open_questions)],
        )
    return state if move.to is None else move.to


def allowed(by: Role, state: State, *, open_questions: frozenset[Act] = frozenset()) -> list[Act]:
    """The acts that `by` may make next on a delivery in `state`, in table order, each once."""
    found: dict[Act, None] = {}
    for move in MOVES:
        if by in move.by and state in move.source:
            needs = move.answers if move.act is not Act.PHONE_ALERT else frozenset()
            if not needs or needs & open_questions:
                found[move.act] = None
    return list(found)


def arrows() -> Iterator[tuple[State, State, Act, Role]]:
    """Every state change of the table, for the picture in docs/lifecycle.md."""
    for move in MOVES:
        for source in sorted(move.source):
            for by in sorted(move.by):
                if move.to is not None and move.to is not source:
                    yield source, move.to, move.act, by


def mermaid() -> str:
    """The first axis as a Mermaid state diagram, generated from MOVES (docs/lifecycle.md holds its output)."""
    lines = ["stateDiagram-v2", "    [*] --> submitted: submit", "    [*] --> held: submit (escalation)"]
    lines.append("    submitted --> retrieved: bundle handed out")
    merged: dict[tuple[State, State], list[str]] = {}
    for source, target, act, by in arrows():
        label = f"{act.value} ({by.value})"
        if label not in merged.setdefault((source, target), []):
            merged[source, target].append(label)
    lines += [f"    {source} --> {target}: {', '.join(names)}" for (source, target), names in merged.items()]
    return "\n".join([*lines, "    purged --> [*]", ""])
