"""Every act that anybody may try on a referral, as values, and the bodies that say them.

Must never: leave out an act of the lifecycle.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

from referral_api.domain.rules import DEFAULT
from referral_api.domain.words import Act, CredentialKind, Role
from referral_api.formats.exchange_bodies import rules_wire
from referral_api.formats.strict_json import sha256_b64u
from tests.formats.parties_world import Someone
from tests.lifetime.house import House
from tests.lifetime.model import DAY, OF_HOTLINES, OF_UNITS, Case
from tests.lifetime.parcels import SEALED_ALWAYS, Parcel, parcel
from tests.lifetime.sheets import Move

UNKNOWN: Final = sha256_b64u(b"nobody has ever said this")
ANSWERING: Final = {
    Act.ANSWER: {Act.ASK},
    Act.APPROVE: {Act.TRANSFER, Act.PURGE_REQUEST},
    Act.WITHDRAWAL_ANSWER: {Act.WITHDRAW, Act.CONSENT_WITHDRAWN},
    Act.DECLINE: {Act.TRANSFER},
    Act.PHONE_ALERT: {Act.TELEPHONE_NOW},
}
NAMES_ITS_QUESTION: Final = {Act.ANSWER, Act.APPROVE, Act.WITHDRAWAL_ANSWER}
CODES: Final[Mapping[Act, tuple[str, ...]]] = {
    Act.WITHDRAWAL_ANSWER: ("stopped_and_destroyed", "continuing_public_prosecution", "already_acted"),
    Act.STATUS: ("registered", "cannot_disclose", "victim_safe"),
    Act.HOLD: ("on", "off"),
    Act.PHONE_ALERT: ("made", "not_made"),
    Act.WITHDRAW: ("safety_risk", "consent_withdrawn"),
    Act.RELEASED: ("hotline_manual", "ack_timeout"),
}


def attempts(case: Case, by: Role, who: Someone, unit: str | None, units: tuple[str, ...], now: int) -> Iterator[Move]:
    """What one person could say about a delivery, or about the whole referral, if nothing forbade it."""
    sheet = case.sheets.get(unit) if unit is not None else None
    prev, service = case.submit if sheet is None else sheet.head, who.kind is CredentialKind.SERVICE
    blank = Move(Act.NOTE, by, who.party, who.id, unit=unit, prev=prev, service=service)
    for act in sorted(OF_HOTLINES if by is Role.HOTLINE else OF_UNITS):
        asked = [None, UNKNOWN, *(sheet.open if sheet is not None else ())] if act in ANSWERING else [None]
        for code in CODES.get(act, (None,)):
            for question in asked:
                if act in NAMES_ITS_QUESTION and question is None:
                    continue
                move = replace(blank, act=act, code=code, question=question)
                if act is Act.TRANSFER:
                    yield from (replace(move, to=to) for to in units if to != unit)
                elif act is Act.ACCEPT:
                    yield from (replace(move, joint=joint) for joint in (False, True))
                elif act is Act.HOLD and code == "on":
                    yield from (replace(move, review_at=now + days * DAY, far=days > 400) for days in (1, 60, 402))
                else:
                    yield move


def write(house: House, case: Case, move: Move, who: Someone, bundles: Mapping[str, str]) -> Parcel:
    """The signed act; `bundles` are the digests of sealed texts by the act that they travelled beside."""
    to: list[str] = []
    if move.act in SEALED_ALWAYS:
        other = case.sender if move.by is Role.POLICE_UNIT else move.unit
        to = [move.to or (who.party if move.act is Act.REWRAP else other) or next(iter(case.sheets))]
    question = _digest_of(house, case, move)
    body = {name: value for name, value in _body(case, move, bundles, question, house.now).items() if value is not None}
    return parcel(house, who, move.act, body, ref=case.ref, unit=move.unit, prev=move.prev, to=to)


def _digest_of(house: House, case: Case, move: Move) -> str | None:
    """A question as the exchange names it: the digest of its own call to the telephone only it can know."""
    sheet = case.sheets.get(move.unit) if move.unit is not None else None
    if sheet is None or move.question not in sheet.open or sheet.open[move.question][0] is not Act.TELEPHONE_NOW:
        return move.question
    sender = house.desks[case.sender].people[0]
    shown = next(one for one in house.view(sender, case.ref)["deliveries"] if one["unit"] == move.unit)
    return str(next(one["digest"] for one in shown["open"] if one["act"] == Act.TELEPHONE_NOW.value))


def _call(move: Move, now: int) -> dict[str, Any]:
    made = move.code == "made"
    return {"made": made} | ({"at": now, "to_unit": move.unit or "unit-one"} if made else {})


def _body(case: Case, move: Move, bundles: Mapping[str, str], question: str | None, now: int) -> dict[str, Any]:
    sheet = case.sheets.get(move.unit) if move.unit is not None else None
    brought = case.submit if sheet is None else sheet.brought
    bodies: dict[Act, dict[str, Any]] = {
        Act.ACK: {"bundle": bundles.get(brought, UNKNOWN), "submit": brought, "decrypted": True},
        Act.RECEIPT_FAILED: {"reason": "cannot_decrypt"},
        Act.ACCEPT: {"joint": "several_places" if move.joint else None},
        Act.DECLINE: {"reason": "no_capacity", "answers": question},
        Act.TRANSFER: {"to": move.to, "reason": "jurisdiction"},
        Act.STATUS: {"code": move.code},
        Act.WITHDRAWAL_ANSWER: {"code": move.code, "answers": question},
        Act.ASK: {"topics": ["timing"]},
        Act.ANSWER: {"code": "not_known", "answers": question},
        Act.APPROVE: {"answers": question},
        Act.CLOSE: {"outcome": "not_located"},
        Act.REOPEN: {"reason": "new_information"},
        Act.REWRAP: {"original": brought, "reason": "new_workstation"},
        Act.HOLD: {"on": move.code == "on", "basis": "prosecutor_order", "review_at": move.review_at},
        Act.PURGE_REQUEST: {"reason": "data_subject_request"},
        Act.WITHDRAW: {"reason": move.code},
        Act.RELEASED: {"reason": move.code},
        Act.PHONE_ALERT: _call(move, now) | {"answers": question},
    }
    return bodies.get(move.act, {})


def as_the_exchange(case: Case, unit: str, now: int) -> Iterator[tuple[Act, str | None, dict[str, Any]]]:
    """What only the exchange may say, well formed: the act, the unit that it names, its body."""
    purge = {"reason": "data_subject_request", "sealed_count": 1, "parts_count": 0}
    erase = {"origin": "localhost:8440/v1/log/audit-2026", "indices": [0], "basis": "court_order", "states": []}
    yield Act.OVERDUE, unit, {"clock": "ack", "due_at": now}
    yield Act.ESCALATED, unit, {"reason": "ack_timeout", "rung": "release_parent"}
    yield Act.RELEASED, unit, {"reason": "ack_timeout"}
    yield Act.TAKEN, unit, {"accept": case.submit}
    yield Act.TELEPHONE_NOW, unit, {"reason": "hotline_manual"}
    yield Act.EXPIRED, unit, {"due_at": now}
    yield Act.PURGE_DUE, unit, {"days": 3, "due_at": now + 3 * DAY}
    yield Act.PURGED, unit, purge
    yield Act.ERASE, None, erase
    yield Act.UNIT_OFFLINE, unit, {}
    yield Act.RULES, None, rules_wire(DEFAULT)
