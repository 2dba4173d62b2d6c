"""Writes schemas/vectors/keys-log-*.json: folding the keys log, asking it, and the digits of enrolment.

Run by `python -m tests.vectors.make_keys_log_vectors`. All keys come from fixed seeds, all signatures are Ed25519: the
files are the same every time. A refused leaf names the `base` log that it follows; `before` are further leaves.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import Act, CredentialKind, KeyUse
from referral_api.formats.act import parse_act
from referral_api.formats.directory_bodies import CredentialEntry, EncryptionEntry, Entry
from referral_api.formats.enrolment import enrolment_code
from referral_api.formats.key_entry import build_key_entry
from referral_api.formats.keys import SigningKey, SoftwareSigningKey
from referral_api.formats.rekeying import FOREVER
from referral_api.formats.statements import KeyMap
from referral_api.formats.strict_json import b64u, unb64u
from tests.formats.parties_world import (
    DAY,
    EXCHANGE_ACT,
    EXCHANGE_CREDENTIAL,
    ISSUER,
    NONCE,
    NOW,
    YEAR,
    Log,
    act,
    approval,
    digest,
    enc_entry,
    enc_kid,
    enc_listed,
    entry_of,
    genesis,
    key,
    key_entry,
    person,
    service,
    statement_body,
)

FOLDER = Path(__file__).resolve().parents[2] / "schemas" / "vectors"
BASE = "an exchange, a registrar, a hotline, a unit"
CHANGED = NOW + 10 * DAY

Vector = dict[str, Any]
USES = (KeyUse.TOKEN, KeyUse.RECEIPT, KeyUse.ACT, KeyUse.LOG)

REGISTRAR = person("registro", "r001", keyholder=True)
ANA = person("linea", "ana1", keyholder=True)
EVA = person("linea", "eva1")
EVA_RENEWED = replace(EVA, generation=2)
BOT = service("linea", "bot1")
LUIS = person("divtrata", "luis", keyholder=True)
ROSA = person("divtrata", "rosa", keyholder=True)
NOA = person("divtrata", "noa1")
MARA = person("defensoria", "mara", keyholder=True)


def base() -> Log:
    """The log that most vectors follow."""
    log = Log()
    log.registrar(REGISTRAR)
    log.admit("hotline", [ANA, EVA, BOT], REGISTRAR, ["linea/1"])
    log.admit("police_unit", [LUIS, ROSA], REGISTRAR, ["divtrata/1", "divtrata/2"], duty_phone="+5173300000")
    return log


def described(keymap: KeyMap) -> Vector:
    """What a reader must have in hand after folding."""
    return {
        "root": b64u(keymap.root),
        "size": keymap.size,
        "parties": {
            party.id: {
                "role": party.role.value,
                "seq": party.seq,
                "statement": party.statement,
                "index": party.index,
                "effect_index": party.effect_index,
                "credentials": [one.id for one in party.credentials],
                "sealable": [one.kid for one in keymap.sealable(party.id, NOW)],
            }
            for party in keymap.parties()
        },
        "pending": {one.party: one.digest for one in keymap.pending()},
    } | own_keys(keymap)


def own_keys(keymap: KeyMap) -> Vector:
    """The exchange's keys of the uses in which it has changed one; `from` and `until` null where there is none."""
    changed = {use: keymap.tenures(use) for use in USES if len(keymap.tenures(use)) > 1}
    described = {
        use.value: [
            {
                "kid": one.key.kid,
                "from": one.begins_at or None,
                "until": None if one.ends_at == FOREVER else one.ends_at,
            }
            for one in tenures
        ]
        for use, tenures in changed.items()
    }
    return {"exchange": described} if described else {}


def _end(seconds: int) -> int | None:
    return None if seconds == FOREVER else seconds


def folded(name: str, clause: str, leaves: Sequence[bytes]) -> Vector:
    keymap = KeyMap.start(leaves[0])
    for leaf in leaves[1:]:
        keymap.extend(leaf)
    return {
        "name": name,
        "clause": clause,
        "input": {"leaves": [leaf.decode() for leaf in leaves]},
        "output": described(keymap),
        "expect": "ok",
    }


def followed(log: Log, clause: str, name: str, leaf: bytes, *, before: Sequence[bytes] = ()) -> Vector:
    """One leaf after the base log and `before`; what comes of it is what our fold says, and the tests pin which."""
    keymap = log.keymap.copy()
    for earlier in before:
        keymap.extend(earlier)
    given: Vector = {"base": BASE, "before": [earlier.decode() for earlier in before], "leaf": leaf.decode()}
    vector: Vector = {"name": name, "clause": clause, "input": given}
    try:
        keymap.extend(leaf)
    except ReferralError as refusal:
        reason = refusal.facts.get("reason", refusal.facts.get("needs"))
        return vector | {"expect": refusal.code.value} | ({"reason": reason} if reason else {})
    return vector | {"output": described(keymap), "expect": "ok"}


def fold_vectors() -> Iterator[Vector]:
    """Whole logs, then one leaf more that is accepted or refused."""
    yield folded("genesis alone", "R-30", [genesis()])
    log = base()
    yield folded(BASE, "R-32", log.leaves)
    yield from _entry_vectors(log)
    yield from _statement_vectors(log)
    yield from _approval_vectors(log)
    yield from _revocation_vectors(log)
    yield from _renewal_vectors(log)
    yield from _recovery_vectors(log)
    yield from _rekey_vectors(log)


def _entry_vectors(log: Log) -> Iterator[Vector]:
    def one(name: str, leaf: bytes, clause: str = "R-31") -> Vector:
        return followed(log, clause, f"key entry: {name}", leaf)

    fresh = key("fresh")
    yield one("of a new key", key_entry("linea", KeyUse.SEAL, fresh))
    yield one("vouched for by a seal key of the party", enc_entry("linea", "linea/2", EVA.seals))
    yield one("vouched for by another party", enc_entry("linea", "linea/2", LUIS.seals))
    yield one("vouched for by an access key", enc_entry("linea", "linea/2", [EVA.access]))
    yield one("of a key that is on the log", key_entry("divtrata", KeyUse.SEAL, EVA.seals[0]), "R-07")
    yield one("of the exchange", key_entry("exchange", KeyUse.ACCESS, fresh))
    ours, theirs = key_entry("linea", KeyUse.SEAL, fresh), key_entry("divtrata", KeyUse.SEAL, fresh)
    forged = ours[: ours.index(b'"signatures"')] + theirs[theirs.index(b'"signatures"') :]
    yield one("with a signature over something else", forged)


def _statement_vectors(log: Log) -> Iterator[Vector]:
    def one(name: str, credentials: Sequence[Any], clause: str = "R-32", by: Any = ANA, **changes: Any) -> Vector:
        body = log.next_body(by.party, credentials) | changes
        return followed(log, clause, f"statement: {name}", by.sign(Act.STATEMENT, body))

    everybody = [ANA, EVA, BOT]
    yield one("without change", everybody)
    yield one("that drops a person", [ANA, BOT])
    yield one("with a gap in seq", everybody, seq=3)
    yield one("with another predecessor", everybody, prev_statement="A" * 43)
    yield one("by a person who is no keyholder", everybody, by=EVA)
    yield one("that drops every keyholder", [EVA, BOT])
    yield one("that lists a key without entry", [*everybody, person("linea", "new1")])
    yield one("that lists another party's key", [ANA, EVA.listed(seal=[LUIS.seals[0].kid]), BOT])
    swapped = EVA.listed(access=EVA.seals[0].kid, seal=[EVA.access.kid])
    yield one("that uses a key otherwise than its entry", [ANA, swapped, BOT])
    crossed = [ANA, EVA.listed(access=BOT.access.kid), BOT.listed(access=EVA.access.kid)]
    yield one("that gives one credential another's key", crossed, "R-06")
    yield one(
        "that turns a service into a person", [ANA, EVA, replace(BOT, kind=CredentialKind.PERSON, algs=(ANA.algs))]
    )
    body = log.next_body("linea", everybody)
    role = body | {"entry": body["entry"] | {"role": "auditor"}}
    yield followed(log, "R-32", "statement: that changes the role", ANA.sign(Act.STATEMENT, role))
    longer = body | {"enc": [enc_listed("linea/1", until=NOW + 46 * DAY)]}
    yield followed(log, "R-32", "statement: with a key sealable for 46 days", ANA.sign(Act.STATEMENT, longer))
    forged = act(Act.STATEMENT, ANA.id, body, LUIS.seals)
    yield followed(log, "R-10", "statement: signed by somebody else", forged)
    elsewhere = ANA.sign(Act.STATEMENT, body, aud="https://other.example")
    yield followed(log, "R-11", "statement: for another exchange", elsewhere)
    first = statement_body("exchange", "auditor", [person("exchange", "mara", keyholder=True)])
    claim = person("exchange", "mara", keyholder=True).sign(Act.STATEMENT, first)
    yield followed(log, "R-32", "statement: of a party called exchange", claim)
    dropped = ANA.sign(Act.STATEMENT, log.next_body("linea", [ANA, BOT]))
    back = log.next_body("linea", everybody) | {"seq": 3, "prev_statement": digest(dropped)}
    yield followed(
        log, "R-32", "statement: that brings back who was dropped", ANA.sign(Act.STATEMENT, back), before=[dropped]
    )
    fork = ANA.sign(Act.STATEMENT, log.next_body("linea", [ANA, EVA]))
    yield followed(log, "R-32", "statement: that forks the chain", fork, before=[dropped])


def _approval_vectors(log: Log) -> Iterator[Vector]:
    def one(name: str, leaf: bytes, before: Sequence[bytes]) -> Vector:
        return followed(log, "R-32", f"approval: {name}", leaf, before=before)

    admission = MARA.sign(Act.STATEMENT, statement_body("defensoria", "auditor", [MARA]))
    admitted = [*MARA.entries(), admission]
    say_yes = approval("defensoria", admission)
    yield followed(log, "R-32", "statement: the first of a party", admission, before=MARA.entries())
    yield one("of a new party by a registrar person", REGISTRAR.sign(Act.APPROVE_STATEMENT, say_yes), admitted)
    yield one("of a new party by a hotline", ANA.sign(Act.APPROVE_STATEMENT, say_yes), admitted)
    yield one("of a new party by itself", MARA.sign(Act.APPROVE_STATEMENT, say_yes), admitted)
    by_exchange = act(Act.APPROVE_STATEMENT, EXCHANGE_CREDENTIAL, say_yes, [EXCHANGE_ACT])
    yield one("of a new party by the exchange", by_exchange, admitted)
    yield one("of what is not there", REGISTRAR.sign(Act.APPROVE_STATEMENT, say_yes), MARA.entries())
    addition = LUIS.sign(Act.STATEMENT, log.next_body("divtrata", [LUIS, ROSA, NOA]))
    added = [*NOA.entries(), addition]
    yes = approval("divtrata", addition)
    yield followed(log, "R-32", "statement: an addition where there are two keyholders", addition, before=NOA.entries())
    yield one("of an addition by the other keyholder", ROSA.sign(Act.APPROVE_STATEMENT, yes), added)
    yield one("of an addition by its own signer", LUIS.sign(Act.APPROVE_STATEMENT, yes), added)
    yield one("of an addition by a registrar person", REGISTRAR.sign(Act.APPROVE_STATEMENT, yes), added)
    waits = NOA.listed(**{"from": NOW + 30 * DAY})
    let_in = LUIS.sign(Act.STATEMENT, log.next_body("divtrata", [LUIS, ROSA, waits]))
    both = [*NOA.entries(), let_in, ROSA.sign(Act.APPROVE_STATEMENT, approval("divtrata", let_in))]
    sooner = log.next_body("divtrata", [LUIS, ROSA, NOA.listed(**{"from": NOW + DAY})])
    sooner |= {"seq": 3, "prev_statement": digest(let_in)}
    name = "statement: an earlier beginning where there are two keyholders"
    yield followed(log, "R-32", name, LUIS.sign(Act.STATEMENT, sooner), before=both)
    no = {"statement": digest(addition), "reason": "not_authorised"}
    yield followed(log, "R-32", "objection: by the party", ROSA.sign(Act.OBJECT, no), before=added)
    yield followed(log, "R-32", "objection: by a registrar person", REGISTRAR.sign(Act.OBJECT, no), before=added)
    yield followed(log, "R-32", "objection: by a stranger", ANA.sign(Act.OBJECT, no), before=added)
    yield one(
        "after an objection",
        ROSA.sign(Act.APPROVE_STATEMENT, yes),
        [*added, ROSA.sign(Act.OBJECT, no)],
    )
    once_more = [*added, ROSA.sign(Act.OBJECT, no)]
    yield followed(log, "R-32", "statement: once more, after an objection", addition, before=once_more)
    stolen = ROSA.sign(Act.REVOKE, {"kid": ROSA.access.kid, "reason": "lost", "at": NOW})
    alone = LUIS.sign(Act.STATEMENT, log.next_body("divtrata", [LUIS, NOA]))
    name = "statement: an addition where the other keyholder is revoked"
    yield followed(log, "R-32", name, alone, before=[*NOA.entries(), stolen])
    held = [enc_listed("divtrata/1", "st1"), enc_listed("divtrata/2", "st2")]
    short = [held[0], held[1] | {"until": NOW + DAY}]
    shorter = ROSA.sign(Act.STATEMENT, log.next_body("divtrata", [LUIS, ROSA], enc=short))
    longer = log.next_body("divtrata", [LUIS, ROSA], enc=held) | {"seq": 3, "prev_statement": digest(shorter)}
    name = "statement: another's key sealed to for longer, where there are two keyholders"
    yield followed(log, "R-32", name, ROSA.sign(Act.STATEMENT, longer), before=[shorter])
    body = log.next_body("divtrata", [LUIS, ROSA], enc=held)
    for name, beside in (("another escalation party", {"escalation": ["linea"]}), ("a parent", {"parent": "linea"})):
        named = ROSA.sign(Act.STATEMENT, body | {"entry": body["entry"] | beside})
        yield followed(log, "R-32", f"statement: {name}, where there are two keyholders", named)


def _revocation_vectors(log: Log) -> Iterator[Vector]:
    def revoke(who: Any, kid: str) -> bytes:
        made: bytes = who.sign(Act.REVOKE, {"kid": kid, "reason": "compromised", "at": NOW})
        return made

    def one(name: str, leaf: bytes, before: Sequence[bytes] = ()) -> Vector:
        return followed(log, "R-33", f"revocation: {name}", leaf, before=before)

    yield one("of one's own key", revoke(EVA, EVA.access.kid))
    yield one("of a colleague's key by a keyholder", revoke(ANA, EVA.access.kid))
    yield one("of a colleague's key by no keyholder", revoke(EVA, ANA.access.kid))
    yield one("of another party's key", revoke(LUIS, EVA.access.kid))
    yield one("of any party's key by a registrar person", revoke(REGISTRAR, EVA.access.kid))
    yield one("of an exchange's key", revoke(REGISTRAR, EXCHANGE_ACT.kid))
    yield one("of an unknown key", revoke(ANA, key("nobody").kid))
    yield one("twice", revoke(ANA, EVA.access.kid), [revoke(EVA, EVA.access.kid)])
    yield one("by a revoked key", revoke(EVA, EVA.access.kid), [revoke(ANA, EVA.seals[0].kid)])
    yield one("of an encryption key, which is sealed to no more", revoke(LUIS, enc_kid("divtrata/1")))


def _renewal_vectors(log: Log) -> Iterator[Vector]:
    """Keys renewed by their own person (R-32 d)."""

    def one(name: str, leaf: bytes, before: Sequence[bytes]) -> Vector:
        return followed(log, "R-32", f"renewal: {name}", leaf, before=before)

    unit = log.keymap.find_party("divtrata")
    if unit is None:
        raise LookupError("divtrata")
    held = [one.wire() for one in unit.body.enc]
    fresh = enc_entry("divtrata", "divtrata/1b", LUIS.seals)
    renewed = {**enc_listed("divtrata/1b", held[0]["station"]), "from": CHANGED, "until": CHANGED + 45 * DAY}

    def state(credentials: Sequence[Any], enc: Sequence[Any], by: Any = LUIS) -> bytes:
        made: bytes = by.sign(Act.STATEMENT, log.next_body("divtrata", credentials, enc=enc), iat=CHANGED)
        return made

    both = [LUIS, ROSA]
    name = "of a workstation by whoever keeps it, though there are two keyholders"
    yield one(name, state(both, [*held, renewed]), [fresh])
    yield one("that is a new workstation's, too", state(both, [*held, {**renewed, "station": "st9"}]), [fresh])
    yield one("of a workstation that another keeps", state(both, [*held, renewed], by=ROSA), [fresh])
    revoked = REGISTRAR.sign(Act.REVOKE, {"kid": ROSA.access.kid, "reason": "lost", "at": NOW})
    yield one("that leaves out who was revoked", state([LUIS], [*held, renewed]), [fresh, revoked])
    yield one("that goes on listing who was revoked", state(both, [*held, renewed]), [fresh, revoked])
    rekeyed = log.next_body("linea", [ANA, EVA_RENEWED, BOT])
    new = [key_entry("linea", KeyUse.ACCESS, EVA_RENEWED.access)]
    new += [key_entry("linea", KeyUse.SEAL, one) for one in EVA_RENEWED.seals]
    yield one("of one's own seal keys, which a keyholder has yet to approve", EVA.sign(Act.STATEMENT, rekeyed), new)
    longer = log.next_body("linea", [ANA, EVA_RENEWED.listed(until=NOW + 2 * YEAR), BOT])
    yield one("of one's own seal keys, with more time", EVA.sign(Act.STATEMENT, longer), new)
    gone = {"kid": enc_kid("divtrata/1"), "reason": "destroyed", "at": CHANGED}
    yield one("and of the old key, that it is destroyed", LUIS.sign(Act.REVOKE, gone), [])


def _recovery_vectors(log: Log) -> Iterator[Vector]:
    """A party that has lost its keyholders (R-32 e), and what the exchange may revoke (R-33)."""

    def one(name: str, leaf: bytes, before: Sequence[bytes] = ()) -> Vector:
        return followed(log, "R-32", f"recovery: {name}", leaf, before=before)

    lena = person("divtrata", "lena", keyholder=True)
    body = log.next_body("divtrata", [lena], enc=[])
    statement = REGISTRAR.sign(Act.STATEMENT, body, iat=CHANGED)
    yes = approval("divtrata", statement)
    begun = [*lena.entries(), statement]
    yield one("signed by a registrar person", statement, lena.entries())
    yield one("signed by a hotline", ANA.sign(Act.STATEMENT, body, iat=CHANGED), lena.entries())
    moved = body | {"entry": body["entry"] | {"duty_phone": "+5173300009"}}
    yield one("with another telephone", REGISTRAR.sign(Act.STATEMENT, moved, iat=CHANGED), lena.entries())
    kept = log.next_body("divtrata", [LUIS.listed(until=NOW + 2 * YEAR), lena], enc=[])
    yield one("that gives somebody more time", REGISTRAR.sign(Act.STATEMENT, kept, iat=CHANGED), lena.entries())
    for name, iat in (("a second before the day is over", CHANGED + DAY - 1), ("a day later", CHANGED + DAY)):
        yield one(f"approved {name}", REGISTRAR.sign(Act.APPROVE_STATEMENT, yes, iat=iat), begun)
    added = LUIS.sign(Act.STATEMENT, log.next_body("divtrata", [LUIS, ROSA, NOA]), iat=CHANGED)
    yield one("in the place of what the party itself proposed", statement, [*lena.entries(), *NOA.entries(), added])
    yield one("and a proposal of the party's own, which would have to wait", added, [*begun, *NOA.entries()])
    dropped = LUIS.sign(Act.STATEMENT, log.next_body("divtrata", [LUIS]), iat=CHANGED)
    yield one("and a statement of the party's own that takes effect at once", dropped, begun)
    no = ROSA.sign(Act.OBJECT, {"statement": digest(statement), "reason": "not_authorised"}, iat=CHANGED)
    late = REGISTRAR.sign(Act.APPROVE_STATEMENT, yes, iat=CHANGED + DAY)
    yield one("approved after an objection", late, [*begun, no])
    stolen = {"kid": EVA.access.kid, "reason": "compromised", "at": NOW}
    by_exchange = act(Act.REVOKE, EXCHANGE_CREDENTIAL, stolen, [EXCHANGE_ACT])
    yield followed(log, "R-33", "revocation: of any party's key by the exchange", by_exchange)


def _rekey_vectors(log: Log) -> Iterator[Vector]:
    """The exchange's own keys change (R-37)."""
    new, third = key("exchange/receipt/2"), key("exchange/receipt/3")

    def entry(own: SigningKey = new, use: KeyUse = KeyUse.RECEIPT, **changes: Any) -> bytes:
        given: dict[str, Any] = {"party": "exchange", "nonce": b64u(log.keymap.root)} | changes
        return build_key_entry(use=use, jwk=own.public.jwk, iat=NOW, possession=None, signers=[own], **given)

    def change(
        own: SigningKey = new, changes: Vector | None = None, *, by: SoftwareSigningKey = EXCHANGE_ACT, iat: int = NOW
    ) -> bytes:
        body = {
            "use": "receipt", "kid": own.kid, "replaces": key("exchange/receipt").kid, "from": NOW + DAY,
            "until": NOW + 2 * DAY,
        }  # fmt: skip
        return act(Act.REKEY, EXCHANGE_CREDENTIAL, body | (changes or {}), [by], iat=iat)

    def one(name: str, leaf: bytes, before: Sequence[bytes] = ()) -> Vector:
        return followed(log, "R-37", f"exchange's key: {name}", leaf, before=before)

    yield one("an entry over its own root", entry())
    yield one("an entry over another root", entry(nonce=NONCE))
    yield one("an entry of a party", entry(party="linea"))
    yield one("announced", change(), [entry()])
    yield one("announced without an entry", change())
    yield one("announced for another use than its entry's", change(), [entry(use=KeyUse.LOG)])
    yield one("announced by another key", change(by=new), [entry()])
    body = parse_act(change()).body.wire()
    yield one("announced by a registrar person", REGISTRAR.sign(Act.REKEY, body), [entry()])
    for name, changes in (
        ("used too early", {"from": NOW + DAY - 1}),
        ("used too late", {"from": NOW + 90 * DAY + 1, "until": NOW + 92 * DAY}),
        ("with too short an overlap", {"until": NOW + 2 * DAY - 1}),
        ("with too long an overlap", {"until": NOW + 91 * DAY + 1}),
        ("in the place of a key of another use", {"replaces": key("exchange/log").kid}),
    ):
        yield one(name, change(new, changes), [entry()])
    announced = [entry(), change(), entry(third)]
    later = {"from": NOW + 2 * DAY, "until": NOW + 3 * DAY}
    yield one("a second one while one is announced", change(third, {"replaces": new.kid}), announced)
    for name, own, replaces in (
        ("a second one in its place", third, new.kid),
        ("a second one in the place of the first", third, key("exchange/receipt").kid),
        ("announced once more", new, third.kid),
    ):
        yield one(name, change(own, {"replaces": replaces, **later}, iat=NOW + DAY), announced)
    token = key("exchange/token/2")
    at_once = {"use": "token", "replaces": key("exchange/token").kid, "from": NOW, "until": NOW}
    yield one("a token key at once", change(token, at_once), [entry(token, KeyUse.TOKEN)])


def seal_vectors() -> Iterator[Vector]:
    """Whether an act signed at `iat` and received at `now` stands (R-33), after EVA was re-keyed at CHANGED."""
    log = base()
    log.put(*EVA_RENEWED.entries())
    log.put(ANA.sign(Act.STATEMENT, log.next_body("linea", [ANA, EVA_RENEWED, BOT]), iat=CHANGED))
    yield folded("a person was re-keyed", "R-33", log.leaves)
    old, new = EVA.seals[0].kid, EVA_RENEWED.seals[0].kid
    week = 7 * DAY
    for name, credential, iat, now, kids in (
        ("the old key before it was superseded", EVA.id, CHANGED - 1, CHANGED - 1, [old]),
        ("the old key, seven days late", EVA.id, CHANGED - 1, CHANGED + week, [old]),
        ("the old key, a second more than seven days late", EVA.id, CHANGED - 1, CHANGED + week + 1, [old]),
        ("the old key after it was superseded", EVA.id, CHANGED, CHANGED, [old]),
        ("the new key", EVA.id, CHANGED, CHANGED, [new]),
        ("the new key of a clock a minute behind", EVA.id, CHANGED - 60, CHANGED, [new]),
        ("the new key before its time", EVA.id, CHANGED - 61, CHANGED, [new]),
        ("old and new together", EVA.id, CHANGED - 1, CHANGED, [new, old]),
        ("before the first statement", EVA.id, NOW - 61, NOW, [old]),
        ("at the last second", ANA.id, NOW + YEAR - 1, NOW + YEAR - 1, [ANA.seals[0].kid]),
        ("after its end", ANA.id, NOW + YEAR, NOW + YEAR, [ANA.seals[0].kid]),
        ("a service without seal key", BOT.id, NOW, NOW, []),
        ("somebody unknown", "linea.zoe1", NOW, NOW, []),
        ("somebody else's key", ANA.id, NOW, NOW, [LUIS.seals[0].kid]),
    ):
        vector: Vector = {
            "name": name,
            "clause": "R-33",
            "input": {"base": "a person was re-keyed", "credential": credential, "iat": iat, "now": now, "kids": kids},
        }
        try:
            keys = log.keymap.seal_keys(credential, iat, now, kids=kids)
        except ReferralError as refusal:
            yield vector | {"expect": refusal.code.value, "reason": refusal.facts["reason"]}
        else:
            output = {"keys": sorted(keys.keys), "require": [alg.value for alg in keys.require]}
            yield vector | {"output": output, "expect": "ok"}


def code_vectors() -> Iterator[Vector]:
    """The thirty digits (R-36)."""
    entry = entry_of("divtrata", "police_unit", duty_phone="+5173300000")
    everything: Vector = {
        "root": "A" * 43,
        "issuer": ISSUER,
        "party": "divtrata",
        "nonce": NONCE,
        "keys": sorted([LUIS.access.kid, LUIS.seals[0].kid]),
        "credentials": [LUIS.listed()],
        "enc": [],
        "entry": entry,
    }
    for name, changes in (
        ("a new party", {}),
        ("a person of an existing party", {"entry": None}),
        ("another root", {"root": "B" + "A" * 42}),
        ("another key", {"keys": sorted([LUIS.access.kid, ROSA.seals[0].kid])}),
        ("another duty phone", {"entry": entry | {"duty_phone": "+5173300001"}}),
        (
            "a workstation alone",
            {"credentials": [], "enc": [enc_listed("divtrata/1")], "entry": None, "keys": [enc_kid("divtrata/1")]},
        ),
    ):
        given = everything | changes
        yield {"name": name, "clause": "R-36", "input": given, "output": {"code": code_of(given)}, "expect": "ok"}


def code_of(given: Vector) -> str:
    """The digits of a vector's input, by our own code."""
    return enrolment_code(
        root=unb64u(given["root"], exact=32),
        issuer=given["issuer"],
        party=given["party"],
        nonce=given["nonce"],
        keys=given["keys"],
        credentials=[CredentialEntry.parse(one, code=ErrorCode.ACT_SCHEMA) for one in given["credentials"]],
        enc=[EncryptionEntry.parse(one, code=ErrorCode.ACT_SCHEMA) for one in given["enc"]],
        entry=None if given["entry"] is None else Entry.parse(given["entry"], code=ErrorCode.ACT_SCHEMA),
    )


def files() -> dict[str, str]:
    """File name to exact content."""
    made = {"fold": fold_vectors(), "seal": seal_vectors(), "code": code_vectors()}
    return {
        f"keys-log-{name}.json": json.dumps(list(vectors), indent=1, ensure_ascii=False) + "\n"
        for name, vectors in made.items()
    }


if __name__ == "__main__":
    for file, content in files().items():
        (FOLDER / file).write_text(content, encoding="utf-8")
