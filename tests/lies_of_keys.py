"""The five ways in which a dishonest exchange lies about whose keys are whose, and about an applicant's keys.

It swaps a unit's key, hides a newer statement, replays an old one, shows two parties different keys logs, answers with
another exchange's keys. Each is a `Lie` like those of tests/lies.py: told by tests/liar.py with all that the exchange's
keys can sign, and nothing else. `words` are the texts of the screen, where they are not those of a false keys log.

Must never: sign with a party's key.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from referral_api.domain.words import Act, KeyUse
from referral_api.formats import signed
from referral_api.formats.act import build_act
from referral_api.formats.key_entry import build_key_entry
from referral_api.formats.keys import Alg, SigningKey, SoftwareSigningKey, signing_key, thumbprint
from referral_api.formats.receipt import parse_receipt
from referral_api.formats.statements import KeyMap
from referral_api.formats.strict_json import b64u, canonical, sha256_b64u
from tests.forgery import answered, body, changed, forged_receipt, forked, log_of, payload_of, shortened, signed_act
from tests.formats import parties_world as pw
from tests.liar import Asked, Kind, Liar, Lie, Tell, Tree
from tests.lies import KEYS
from tests.wire import Answer
from tests.world import ISSUER, UNIT

K = Kind
NONCE = sha256_b64u(b"invented by the exchange")


def own(name: str, alg: Alg = Alg.ED25519) -> SoftwareSigningKey:
    """A key that whoever runs the exchange has made for itself."""
    return signing_key(alg, pw.seed(f"made by the exchange: {name}"))


def keymap_of(liar: Liar) -> KeyMap:
    """The directory as it truly is."""
    leaves = liar.leaves("keys")
    keymap = KeyMap.start(leaves[0])
    for leaf in leaves[1:]:
        keymap.extend(leaf, verify=False)
    return keymap


# A unit's key, swapped.


def with_more(make: Callable[[Liar, KeyMap], Sequence[bytes]]) -> Tell:
    """The keys log with leaves that the exchange has written itself."""
    return log_of(lambda liar, asked: liar.tree(asked.log, [*liar.leaves("keys"), *make(liar, keymap_of(liar))]))


def _next(keymap: KeyMap, **changes: Any) -> dict[str, Any]:
    """The unit's next statement, changed."""
    party = keymap.find_party(UNIT)
    assert party is not None
    return {**party.body.wire(), "seq": party.seq + 1, "prev_statement": party.statement, **changes}


def _state(liar: Liar, iss: str, said: dict[str, Any], signers: Sequence[SigningKey]) -> bytes:
    now = int(liar.world.clock())
    given: dict[str, Any] = {"act_id": "00000000-0000-4000-8000-00000000000a", "iss": iss, "iat": now, "body": said}
    nothing: dict[str, Any] = {"ref": None, "unit": None, "prev": None}
    return build_act(aud=liar.world.settings.issuer, act=Act.STATEMENT, signers=signers, **given, **nothing)


def _entry(liar: Liar, use: KeyUse, jwk: dict[str, str], signers: Sequence[Any], party: str = UNIT) -> bytes:
    possession = NONCE if use is KeyUse.ENC else None
    now = int(liar.world.clock())
    return build_key_entry(
        party=party, use=use, jwk=jwk, nonce=NONCE, iat=now, possession=possession, signers=signers
    )  # fmt: skip


def swapped_encryption_key(liar: Liar, keymap: KeyMap) -> list[bytes]:
    """A key of the exchange's own in place of the unit's workstation key, vouched for by the exchange."""
    keys = [dict(one) for one in _next(keymap)["enc"]]
    keys[0]["kid"] = pw.enc_kid("swapped")
    entry = _entry(liar, KeyUse.ENC, pw.enc_jwk("swapped"), [liar.signers.act])
    said = _next(keymap, enc=keys)
    return [entry, _state(liar, f"{UNIT}.{said['credentials'][0]['id']}", said, [liar.signers.act])]


def invented_keyholder(liar: Liar, keymap: KeyMap) -> list[bytes]:
    """A person of the unit whom the exchange has made up: her keys prove themselves; nobody of the unit has signed."""
    access, seal = own("access"), own("seal")
    person = {"id": "inventada", "kind": "person", "access": access.kid, "seal": [seal.kid], "keyholder": True}
    said = _next(keymap)
    said["credentials"] = [*said["credentials"], {**person, "until": int(liar.world.clock()) + pw.YEAR}]
    entries = [_entry(liar, use, key.public.jwk, [key]) for use, key in ((KeyUse.ACCESS, access), (KeyUse.SEAL, seal))]
    return [*entries, _state(liar, f"{UNIT}.inventada", said, [seal])]


def by_the_exchange_itself(liar: Liar, keymap: KeyMap) -> list[bytes]:
    """The unit's statement in the exchange's own name, as if it were entitled to write it."""
    return [_state(liar, keymap.exchange_credential, _next(keymap), [liar.signers.act])]


def swapped_in_place(liar: Liar, asked: Asked) -> Tree:
    """The log as it is, but for one leaf: the entry of the unit's key brings another key."""
    keymap, leaves = keymap_of(liar), liar.leaves("keys")
    record = keymap.get_key(keymap.sealable(UNIT, int(liar.world.clock()))[0].kid)
    leaves[record.index] = _entry(liar, KeyUse.ENC, pw.enc_jwk("swapped"), [liar.signers.act])
    return liar.tree(asked.log, leaves)


# An old statement, replayed.


def replayed_statement(liar: Liar, keymap: KeyMap) -> list[bytes]:
    """What a party has truly said, once more: its signature is as good as ever."""
    party = keymap.find_party(UNIT)
    assert party is not None
    return [liar.leaves("keys")[party.index]]


def replayed_key(liar: Liar, keymap: KeyMap) -> list[bytes]:
    """The entry of a key that has been revoked."""
    records = (keymap.get_key(kid) for party in keymap.parties() for kid in party.body.kids())
    return [liar.leaves("keys")[next(one for one in records if one.revoked).index]]


def replayed_approval(liar: Liar, _keymap: KeyMap) -> list[bytes]:
    """An approval that has had its effect."""
    found = (
        leaf for leaf in reversed(liar.leaves("keys")) if payload_of(leaf.decode()).get("act") == "approve_statement"
    )
    return [next(found)]


# Another exchange's keys.


def other_genesis(liar: Liar) -> bytes:
    """The first act of another exchange, which calls itself by the same address."""
    keys = {use: own(use) for use in ("act", "token", "receipt", "log")}
    listed = [{"kid": key.kid, "jwk": key.public.jwk, "use": use} for use, key in keys.items()]
    said = pw.genesis_body(issuer=liar.world.settings.issuer, keys=listed)
    payload = {
        "id": "00000000-0000-4000-8000-00000000000b", "iss": "exchange.acts", "iat": int(liar.world.clock()) - pw.DAY,
        "aud": liar.world.settings.issuer, "act": "genesis", "ref": None, "unit": None, "prev": None, "body": said,
    }  # fmt: skip
    return signed_act(payload, keys["act"])


def another_exchange(liar: Liar, asked: Asked) -> Tree:
    """Its keys log whole, signed with its own key."""
    return Tree(f"{liar.host}/v1/log/{asked.log}", (other_genesis(liar), *liar.leaves("keys")[1:]), own("log"))


def its_checkpoint(liar: Liar, asked: Asked, answer: Answer) -> Answer | None:
    """A checkpoint of the true leaves, by the other exchange's log key."""
    return body(answer, liar.tree(asked.log).signed(key=own("log"))) if asked.kind is K.KEYS_CHECKPOINT else None


def _its_receipt(_liar: Liar, document: dict[str, Any]) -> object:
    if parse_receipt(document["receipt"].encode()).payload.iss is None:
        return False
    document["receipt"] = forged_receipt(document["receipt"], own("receipt"))
    return None


def _lies() -> Iterator[Lie]:
    def lie(what: str, says: str, noticed: str, tell: Tell, memory: str = "new", family: str = "swapped key") -> Lie:
        return Lie(f"{family}: {what}", says, noticed, KEYS, tell, memory, family=family)

    unit = "the unit's own signatures"
    yield lie("in place", "the unit's key entry brings another key", unit, log_of(swapped_in_place), "none")
    yield lie("in place, seen before", "the same, to who knows better", "the pin", log_of(swapped_in_place))
    yield lie("vouched for by the exchange", "a new key and statement", unit, with_more(swapped_encryption_key))
    yield lie("by an invented keyholder", "who signs for herself", unit, with_more(invented_keyholder))
    yield lie("by the exchange", "the unit's statement, in its own name", unit, with_more(by_the_exchange_itself))
    pin = "the pin: the log must contain what was seen of it"
    yield lie("a newer one", "the log as it was before", pin, log_of(shortened), family="hidden statement")
    chain, once = "`seq` and `prev_statement`", "a key is entered once"
    yield lie("a statement", "what the unit said before", chain, with_more(replayed_statement), family="replayed")
    yield lie("an approval", "which has had its effect", chain, with_more(replayed_approval), family="replayed")
    yield lie("a revoked key's entry", "as if it were new", once, with_more(replayed_key), family="replayed")
    yield lie("its order", "two revocations changed places", pin, log_of(forked), family="other log")
    root, key = "the pinned root", "the log's key, from the pinned root"
    yield lie("whole", "its keys log", root, log_of(another_exchange), "none", family="another exchange")
    yield lie("its checkpoint", "over the true leaves", key, its_checkpoint, family="another exchange")


OF_KEYS: dict[str, Lie] = {lie.name: lie for lie in _lies()}
ITS_RECEIPT = Lie(
    "another exchange: its receipt", "signed with its receipt key", "the receipt keys, from the pinned root",
    frozenset({K.PUT, K.RECEIPT}), answered(_its_receipt), family="another exchange",
)  # fmt: skip


# An applicant's keys that are none.

SMALL_ORDER = (1).to_bytes(32, "little")
"""The neutral point: under it one signature fits every text, and the library alone takes it for a key."""
ONE_FOR_ALL = SMALL_ORDER + bytes(32)
_P = 2**255 - 19
_GOOD = pw.key("anybody", Alg.ES256).public.jwk


def _edwards(y: int) -> dict[str, str]:
    return {"alg": "Ed25519", "crv": "Ed25519", "kty": "OKP", "x": b64u(y.to_bytes(32, "little"))}


WEAK: dict[str, tuple[str, dict[str, str], str]] = {
    "small-order": ("access", _edwards(1), "small-order"),
    "small-order seal": ("seal", _edwards(_P - 1), "small-order"),
    "non-canonical": ("access", _edwards(_P + 3), "encoding"),
    "all-zero KEM": ("enc", {"alg": "HPKE-9-KE", "kty": "AKP", "pub": b64u(bytes(1216))}, "all-zero"),
    "all-zero KEM, P-384": ("enc", {"alg": "HPKE-10-KE", "kty": "AKP", "pub": b64u(bytes(1665))}, "all-zero"),
    "weak curve": ("access", _GOOD | {"crv": "P-192"}, "members"),
    "another curve": ("seal", _GOOD | {"crv": "secp256k1"}, "members"),
    "off the curve": ("access", _GOOD | {"y": _GOOD["x"]}, "off-curve"),
}  # fmt: skip
"""Keys that must not be anybody's: what they would be used for, and the reason with which they are refused."""


Weak = tuple[str, dict[str, str]]
"""What such a key would be used for, and its JWK."""


def weak_entry(key: Weak, party: str, nonce: str, iat: int, vouchers: Sequence[SigningKey] = ()) -> bytes:
    """The entry that brings such a key, signed as well as it can be: the small-order one so that it verifies."""
    use, jwk = key
    possession = NONCE if use == "enc" else None
    said = {"iat": iat, "jwk": jwk, "nonce": nonce, "party": party, "possession": possession, "use": use, "v": 1}
    payload = canonical(said)
    if use == "enc":
        return signed.sign_jws(payload, typ=signed.KEY, signers=vouchers)
    header = canonical({"alg": jwk["alg"], "kid": thumbprint(jwk), "typ": signed.KEY})
    signature = {"protected": b64u(header), "signature": b64u(ONE_FOR_ALL)}
    return canonical({"payload": b64u(payload), "signatures": [signature]})


def forged_completion(key: Weak | None, shown: dict[str, Any], iat: int) -> dict[str, Any]:
    """The documents of an applicant whose keys somebody has made, with such a key in the place of one of them.

    `shown` names `party`, `nonce` and the `entry` that it describes itself with.
    """
    party, nonce, use = shown["party"], shown["nonce"], "" if key is None else key[0]
    access, seal = own(f"{nonce}/access"), own(f"{nonce}/seal")
    entries = {
        key_use.value: build_key_entry(
            party=party, use=key_use, jwk=one.public.jwk, nonce=nonce, iat=iat, possession=None, signers=[one]
        )
        for key_use, one in ((KeyUse.ACCESS, access), (KeyUse.SEAL, seal))
    }
    kids = {"access": str(access.kid), "seal": str(seal.kid)}
    if key is not None:
        entries[use] = weak_entry(key, party, nonce, iat, [seal])
        kids[use] = str(thumbprint(key[1]))
    person = {"id": "forged1", "kind": "person", "access": kids["access"], "seal": [kids["seal"]], "keyholder": True}
    person["until"] = iat + pw.YEAR
    station = {"use": "enc", "station": "st1", "from": iat, "until": iat + 45 * pw.DAY}
    enc = [station | {"kid": kids["enc"]}] if use == "enc" else []
    said = {"seq": 1, "prev_statement": None, "entry": shown["entry"], "credentials": [person], "enc": enc}
    statement = pw.act(Act.STATEMENT, f"{party}.forged1", said, [seal], iat=iat, aud=ISSUER)
    proposal = {"credentials": [person], "enc": enc, "entry": shown["entry"]}
    keys = [one.decode() for one in entries.values()]
    return {"keys": keys, "proposal": proposal, "statement": statement.decode()}


def _applicant(what: str, says: str, noticed: str, key: Callable[[Liar], Weak]) -> Lie:
    def tell(liar: Liar, told: dict[str, Any]) -> object:
        if not told.get("enrolments"):
            return False
        now = int(liar.world.clock())
        told["enrolments"] = [
            one | forged_completion(key(liar), one | {"entry": one["proposal"]["entry"]}, now)
            for one in told["enrolments"]
        ]
        return None

    about = frozenset({K.ENROLMENTS})
    return Lie(f"applicant: {what}", says, noticed, about, changed(tell), family="applicant")


def _always(key: Weak, _liar: Liar) -> Weak:
    return key


def _of_another(liar: Liar) -> Weak:
    """The encryption key of a unit: whoever lists it as his own would have its bundles sealed for both."""
    return "enc", keymap_of(liar).sealable(UNIT, int(liar.world.clock()))[0].public.jwk


def _of_applicants() -> Iterator[Lie]:
    for name, (use, jwk, _reason) in WEAK.items():
        yield _applicant(name, f"a key that is {name}", "no such key is one (R-07)", partial(_always, (use, jwk)))
    yield _applicant("a unit's own key", "another's key, as the applicant's", "it is on the keys log", _of_another)


OF_APPLICANTS: dict[str, Lie] = {lie.name: lie for lie in _of_applicants()}
REFUSED_FOR: dict[str, tuple[str, str | None]] = {
    **{f"applicant: {name}": ("key-unsuitable", reason) for name, (_use, _jwk, reason) in WEAK.items()},
    "applicant: a unit's own key": ("key-reused", None),
}
"""By lie: the code, and the reason."""
