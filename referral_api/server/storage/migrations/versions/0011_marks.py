"""The moments that clocks go by since, written on the deliveries that there are: computed from the acts on them.

Without them an exchange that has lived would ring for nobody who was declined before, and would go on with what a
person wants no further. Every referral with such a moment is looked at once.

Must never: be edited once released; a later change is a later step.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import sqlalchemy as sa
from alembic import op

from referral_api.formats.strict_json import parse, unb64u

revision = "0011"
down_revision = "0010"

_MAX_BYTES = 64 * 1024
"""Twice what an act may be, and more than a column holds."""
_ORDER = ("began_at", "rungs", "rung_at", "told", "taken", "holds", "ended_at", "content_at", "purged_at")
"""How the members of `clockwork` follow each other."""
_KINDS = (
    *("submit", "transfer", "approve", "decline", "close", "reopen", "expired", "taken", "released", "purged"),
    *("telephone_now", "phone_alert", "withdraw", "consent_withdrawn", "withdrawal_answer", "hold"),
)
"""The acts that leave such a moment, or that decide whether another one does."""
_STOPPED = frozenset({"stopped_and_destroyed", "stopped_retained_legal_duty"})


class _Act(NamedTuple):
    """An accepted act as stored."""

    pos: int
    digest: str
    party: str
    kind: str
    unit: str | None
    jws: str
    at: int

    @property
    def body(self) -> dict[str, Any]:
        """What it says; it was verified when it was taken."""
        payload = parse(self.jws.encode("ascii"), max_bytes=_MAX_BYTES)["payload"]
        found: dict[str, Any] = parse(unb64u(payload), max_bytes=_MAX_BYTES)["body"]
        return found


class _Marks:
    """One delivery, as far as its moments depend on its state; `gone_at` is where the purge is that it ended with."""

    def __init__(self, gone_at: int | None) -> None:
        self.gone_at = gone_at
        self.told: dict[str, int] = {}
        self.holders: set[str] = set()
        self.ended = self.passed_on = self.taken = False
        self.taken_back = False
        """The unit was told that it is taken back, or has it no more."""

    def take(self, act: _Act) -> None:
        """What an act on it leaves."""
        if self.gone_at is not None and act.pos > self.gone_at:
            return  # An act on the whole referral, for the others.
        if self.passed_on and act.kind == "withdrawal_answer":
            return  # What was passed on stays so.
        if act.kind == "expired" or (act.kind == "decline" and act.party == act.unit):
            self.ended = act.kind == "decline"
            self.told["left"] = act.at
        elif act.kind in {"telephone_now", "phone_alert"}:
            self._call(act)
        elif act.kind in {"withdraw", "consent_withdrawn"}:
            self._notify(act)
        elif act.kind == "withdrawal_answer":
            self._answer(stops=act.body["code"] in _STOPPED)
        elif act.kind in {"close", "reopen"}:
            self.ended = act.kind == "close"
        elif act.kind == "taken":
            self.taken = True
        elif act.kind == "released" and self.taken:
            self.taken = False
            self.told["given_back"] = act.at
        elif act.kind == "approve":
            self.passed_on = True
        elif act.kind == "hold":
            self._hold(act)

    def _call(self, act: _Act) -> None:
        if act.kind == "telephone_now":
            self.told["telephone"] = act.at
            return
        for one in ("reached", "unreached"):
            self.told.pop(one, None)
        self.told["reached" if act.body["made"] else "unreached"] = act.at

    def _notify(self, act: _Act) -> None:
        withdraws = act.kind == "withdraw"
        if withdraws and self.taken_back:
            return  # An act on the whole referral, for those that were not taken back before.
        if withdraws and not (self.ended or self.passed_on):
            self.taken_back = True
        if not withdraws or act.body["reason"] == "consent_withdrawn":
            self.told["consent"] = act.at

    def _answer(self, *, stops: bool) -> None:
        if self.taken_back and not stops:
            self.told.pop("left", None)
        self.taken_back = stops
        self.ended = self.ended and not stops

    def _hold(self, act: _Act) -> None:
        if act.body["on"]:
            self.holders.add(act.party)
        elif act.party in self.holders:
            self.holders.remove(act.party)
            self.told["lifted"] = act.at


def upgrade() -> None:
    """Write them, referral by referral: an exchange may be years old."""
    connection = op.get_bind()
    for ref in list(_referrals(connection)):
        rows = connection.execute(sa.text("SELECT unit, state, clockwork FROM delivery WHERE ref = :ref"), {"ref": ref})
        stored = {unit: (state, clockwork) for unit, state, clockwork in rows.fetchall()}
        marks = _reckon(list(_acts(connection, ref)), {unit: state for unit, (state, _) in stored.items()})
        changed = False
        for unit, (_, clockwork) in stored.items():
            after = _with(clockwork, marks[unit].told if unit in marks else {})
            if after != clockwork:
                changed = True
                connection.execute(
                    sa.text("UPDATE delivery SET clockwork = :after WHERE ref = :ref AND unit = :unit"),
                    {"after": after, "ref": ref, "unit": unit},
                )
        if changed:
            connection.execute(
                sa.text("INSERT INTO alarm (ref, at) VALUES (:ref, 0) ON CONFLICT (ref) DO UPDATE SET at = 0"),
                {"ref": ref},
            )


def _referrals(connection: sa.Connection) -> Iterator[str]:
    """Every referral, by the page."""
    after = ""
    page = sa.text("SELECT ref FROM referral WHERE ref > :after ORDER BY ref LIMIT 1024")
    while rows := connection.execute(page, {"after": after}).fetchall():
        yield from (ref for (ref,) in rows)
        after = rows[-1][0]


def _acts(connection: sa.Connection, ref: str) -> Iterator[_Act]:
    """The accepted acts of a referral that matter, in log order; none of one that was erased."""
    rows = connection.execute(
        sa.text(
            "SELECT pos, digest, party, act, unit, jws, received_at FROM act"
            " WHERE ref = :ref AND outcome = 'accepted' ORDER BY pos"
        ),
        {"ref": ref},
    )
    return (act for act in (_Act(*row) for row in rows.fetchall()) if act.kind in _KINDS)


def _reckon(acts: list[_Act], states: dict[str, str]) -> dict[str, _Marks]:
    """The moments on each delivery, by unit."""
    purges = {act.unit: act.pos for act in acts if act.kind == "purged"}
    gone = {unit: purges.get(unit) for unit, state in states.items() if state == "purged"}
    proposed: dict[str, str] = {}
    found: dict[str, _Marks] = {}
    for act in acts:
        if act.kind == "submit":
            found |= {to["unit"]: _Marks(gone.get(to["unit"])) for to in act.body["to"]}
        elif act.kind == "transfer":
            proposed[act.digest] = act.body["to"]
        elif act.kind != "approve" or act.body["answers"] in proposed:
            for one in [mark for unit, mark in found.items() if act.unit in (None, unit)]:
                one.take(act)
        if act.kind == "approve" and act.body["answers"] in proposed:
            to = proposed[act.body["answers"]]
            found[to] = _Marks(gone.get(to))
    return found


def _with(clockwork: str, told: dict[str, int]) -> str:
    """The column with these moments among what it holds."""
    if not told:
        return clockwork
    value: dict[str, Any] = parse(clockwork.encode(), max_bytes=_MAX_BYTES)
    kept = {name: at for name, at in value.get("told", []) if name not in {"reached", "unreached"}}
    value["told"] = sorted((kept | told).items())
    return json.dumps({name: value[name] for name in _ORDER if name in value})
