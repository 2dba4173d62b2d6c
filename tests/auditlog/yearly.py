"""A year of few referrals, act by act as they come, and every figure of it (R-103)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from referral_api.auditlog.counting import Counting
from referral_api.auditlog.figures import Figures
from referral_api.auditlog.records import Retrieved, encode_salt
from referral_api.domain.clocks import TERMS
from referral_api.domain.rules import RuleBook
from referral_api.domain.words import Act, CredentialKind, Role, Urgency
from referral_api.formats.act import RawAct, build_act, parse_act
from referral_api.formats.keys import Alg, signing_key
from tests.formats.samples import D1, NOON, REF, submit

KEY = signing_key(Alg.ED25519, b"\x07" * 32)
HOTLINE, UNIT, PARENT, ALSO, EXCHANGE = "linea-1818", "pnp-trata-piura", "pnp-trata", "fiscalia-piura", "exchange"
ROLES = {
    HOTLINE: Role.HOTLINE, EXCHANGE: Role.EXCHANGE, UNIT: Role.POLICE_UNIT, PARENT: Role.POLICE_UNIT,
    ALSO: Role.POLICE_UNIT,
}  # fmt: skip
SENT = NOON + 60
TO = [
    {"unit": UNIT, "role": "action"},
    {"unit": PARENT, "role": "escalation"},
    {"unit": ALSO, "role": "information"},
]


OVER = int(datetime(2027, 1, 1, tzinfo=UTC).timestamp())
"""The first second after the year."""
COPY: dict[str, Any] = {
    "urgency": "routine",
    "to": [{"unit": ALSO, "role": "information"}],
    "relation": {"type": "copy_of", "ref": REF},
}


def other(last: str) -> str:
    """A further referral's id, by its last digit."""
    return f"{REF[:-1]}{last}"


class Year:
    """One referral of an urgency, and whatever else is sent and said; every figure of the year."""

    def __init__(self, urgency: str, sent: int = SENT) -> None:
        self.counting = Counting(
            dict.fromkeys((f"{one}.aaaa" for one in ROLES), CredentialKind.PERSON), RuleBook(), 2026
        )
        self.urgency = urgency
        self.within_s = int(TERMS[Urgency(urgency)].ack.total_seconds())
        self._signed = 0
        self.submitted = self.send(at=sent).digest

    def send(self, ref: str = REF, at: int = SENT, **members: Any) -> RawAct:
        """Submit a referral; the members are of its submit's body."""
        return self.take(HOTLINE, Act.SUBMIT, None, self.body(**members), at, ref=ref)

    def body(self, **members: Any) -> dict[str, Any]:
        """The body of a submit."""
        called = {"phone_alert": {"made": True, "at": NOON, "to_unit": UNIT, "by": "op-2"}}
        found = submit() | {"urgency": self.urgency, "to": TO} | members
        return found | (called if found["urgency"] == "emergency" else {})

    def sign(
        self, party: str, act: Act, unit: str | None, body: Mapping[str, Any], at: int, prev: str | None, ref: str
    ) -> RawAct:
        """An act as a party signs it."""
        self._signed += 1
        raw = build_act(
            act_id=str(UUID(int=self._signed, version=4)), iss=f"{party}.aaaa", aud="https://x.example", iat=at,
            act=act, ref=ref, unit=unit, prev=prev, body=body, signers=[KEY],
        )  # fmt: skip
        return parse_act(raw)

    def take(
        self, party: str, act: Act, unit: str | None, body: Mapping[str, Any], at: int, prev: str | None = None,
        ref: str = REF,
    ) -> RawAct:  # fmt: skip
        """Sign an act and have it counted."""
        found = self.sign(party, act, unit, body, at, prev, ref)
        self.counting.act(found, ROLES[party], at)
        return found

    def acknowledge(self, unit: str, after_s: int, ref: str = REF, submitted: str | None = None) -> RawAct:
        """A unit acknowledges, so long after the submission."""
        opened = submitted or self.submitted
        body = {"bundle": D1, "submit": opened, "decrypted": True}
        return self.take(unit, Act.ACK, unit, body, SENT + after_s, opened, ref)

    def release(self, after_s: int) -> None:
        """The exchange releases it to the parent."""
        self.take(EXCHANGE, Act.RELEASED, PARENT, {"reason": "ack_timeout"}, SENT + after_s)

    def read(self, unit: str, at: int, ref: str = REF) -> None:
        """A person of a unit is handed the bundle."""
        self.counting.read(
            Retrieved(
                t=at, salt=encode_salt(bytes(16)), party=unit, credential=f"{unit}.aaaa", ref=ref, unit=unit,
                sealed="bundle", act=self.submitted, digest=D1,
            )
        )  # fmt: skip

    @property
    def figures(self) -> Figures:
        """All that was counted."""
        return self.counting.figures()

    @property
    def cells(self) -> dict[str, int]:
        """All cells that are not zero."""
        return {cell: count for cell, count in self.figures.counts.items() if count}

    def of(self, *tables: str) -> dict[str, int]:
        """The cells of these tables that are not zero, without their totals."""
        found = self.cells.items()
        return {cell: count for cell, count in found if cell.startswith(tables) and not cell.endswith(".total")}
