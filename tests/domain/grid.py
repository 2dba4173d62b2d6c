"""The lifecycle as a grid written by hand from the protocol's clauses, for tests to hold the code against (R-70).

A row of the grid says what one role's act does in each state: a letter is the state it leads to, `=` leaves the state
as it is, `-` is refused. The grid knows nothing of how `MOVES` is written, so a slip in either of them shows.
"""

from __future__ import annotations

from referral_api.domain.lifecycle import GOING_ON, STOPPED
from referral_api.domain.words import Act, Role, State

H, U, X = Role.HOTLINE, Role.POLICE_UNIT, Role.EXCHANGE
STATES = {
    "h": State.HELD,
    "s": State.SUBMITTED,
    "r": State.RETRIEVED,
    "f": State.RECEIPT_FAILED,
    "k": State.ACKNOWLEDGED,
    "a": State.ACCEPTED,
    "d": State.DECLINED,
    "t": State.TRANSFERRED,
    "c": State.CLOSED,
    "w": State.WITHDRAWN,
    "n": State.WITHDRAWAL_NOTIFIED,
    "x": State.EXPIRED,
    "p": State.PURGED,
}
ANY = "any"
NOTICES = frozenset({Act.WITHDRAW, Act.CONSENT_WITHDRAWN})

# act, code, roles, questions of which one must be open: h s r f k a d t c w n x p; clause.
GRID = """
ack               any     U  -                 - k k k - = = = = = = = -  R-71
receipt_failed    any     U  -                 - f f f - - - - - = = = -  R-71
accept            any     U  -                 - - - - a - - - - - - - -  R-72
decline           any     U  -                 - - - - d d - - - - - - -  R-72
transfer          any     U  -                 - - - - = = - - - - - - -  R-73
approve           any     HX transfer          - - - - t t - - - - - - -  R-73
decline           any     H  transfer          - - - - = = - - - - - - -  R-73
status            any     U  -                 - - - - = = - - = - = = -  R-74
close             any     U  -                 - - - - - c - - - - - - -  R-74
close             any     H  -                 - - - c c c c - - - - c -  R-74
reopen            any     HU -                 - - - - - - - - a - - - -  R-74
withdraw          any     H  -                 w w n n n n = = = - - n -  R-75
consent_withdrawn any     H  -                 = = = = = = = = = = = = -  R-75
withdrawal_answer stopped U  withdraw,consent  - w w w w w w = w = w w -  R-75
withdrawal_answer going   U  withdraw,consent  - = = = = = = = = a a = -  R-75
withdrawal_answer any     U  withdraw,consent  - = = = = = = = = = - = -  R-75
note              any     HU -                 - = = = = = = = = = = = -  R-76
ask               any     HU -                 - - = = = = = = = = = = -  R-76
answer            any     HU ask               - = = = = = = = = = = = -  R-76
supplement        any     H  -                 = = = = = = = = = = = = -  R-76
phone_alert       any     H  -                 = = = = = = = = = = = = -  R-76
rewrap            any     U  -                 - = = = = = = = = - = = -  R-76
hold              any     H  -                 = = = = = = = = = = = = -  R-77
hold              any     U  -                 - = = = = = = = = = = = -  R-77
purge_request     any     HU -                 - - - - = = = = = = = = -  R-77
approve           any     HU purge_request     - - - - = = = = = = = = -  R-77
purge_due         any     X  -                 - - - - = = = = = = = = -  R-77
purged            any     X  -                 p - - - = = p p p p = = -  R-77
overdue           any     X  -                 = = = = = = = = = = = = -  R-78
escalated         any     X  -                 - = = = - - - - - - - - -  R-78
telephone_now     any     X  -                 - = = = = = = = = = = = -  R-78
released          any     H  -                 s - - - - - - - - - - - -  R-78
released          any     X  -                 s = = = = - - - - - - - -  R-78
taken             any     X  -                 - = = = = = - - - - - - -  R-78
expired           any     X  -                 - x x x - - - - - - - - -  R-78
"""
QUESTIONS = {
    "-": frozenset[Act](),
    "transfer": frozenset({Act.TRANSFER}),
    "ask": frozenset({Act.ASK}),
    "purge_request": frozenset({Act.PURGE_REQUEST}),
    "withdraw,consent": NOTICES,
}


class Row:
    """One line of the grid, read."""

    def __init__(self, line: str) -> None:
        act, code, roles, needs, *cells = line.split()
        *cells, self.clause = cells
        self.act, self.code = Act(act), code
        self.roles = {{"H": H, "U": U, "X": X}[letter] for letter in roles}
        self.needs = QUESTIONS[needs]
        self.cells = dict(zip(STATES.values(), cells, strict=True))

    def result(self, state: State) -> State | None:
        cell = self.cells[state]
        return {"=": state, "-": None}.get(cell) or STATES.get(cell)


ROWS = [Row(line) for line in GRID.strip().splitlines()]


def expected(act: Act, by: Role, state: State, questions: frozenset[Act], code: str | None) -> tuple[State, str] | None:
    """The state and clause that the grid asks for, or None where it refuses. The first row that fits decides."""
    kind = "stopped" if code in STOPPED else "going" if code in GOING_ON else ANY
    for row in ROWS:
        if row.act is not act or by not in row.roles or (row.needs and not row.needs & questions):
            continue
        if act is Act.WITHDRAWAL_ANSWER and row.code != kind:
            continue
        result = row.result(state)
        if result is not None:
            return result, row.clause
    return None
