"""What a thief has: a profile without its passphrase, a running token without its key, a revoked officer's pen.

A stolen keystore gives nothing but the public profile, a stolen token opens no call at all, and what an officer signed
before the revocation counts only if it was logged before.
"""

from __future__ import annotations

import base64
import json
import math
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from referral_api.client import access, delivery
from referral_api.client.compartment import InsecureKdfForTests, Kdf
from referral_api.client.keystore import CredentialKeys, Keystore
from referral_api.client.profile import ProfileDir
from referral_api.client.sdk import Client
from referral_api.domain.errors import ErrorCode
from referral_api.domain.words import Act, PartyId
from referral_api.formats.act import parse_act
from referral_api.formats.keys import Alg
from referral_api.formats.strict_json import b64u, unb64u
from referral_api.server.api.operations import OPERATIONS, Operation
from tests.auditlog.refusals import refused
from tests.formats.parties_world import key
from tests.wire import Answer
from tests.world import CANARY, ISSUER, PASSPHRASE, UNIT, World, composition

# A keystore without its passphrase.


def secrets_of(keys: CredentialKeys) -> dict[str, bytes]:
    """Everything secret of a person, by name."""
    named = {"access": keys.access.secret, "storage": keys.storage}
    named |= {f"seal {at}": one.secret for at, one in enumerate(keys.seal)}
    return named | {f"enc {at}": one.secret for at, one in enumerate(keys.enc)}


def spellings(secret: bytes) -> Iterator[bytes]:
    """How a secret could stand in a file."""
    yield from (secret, b64u(secret).encode(), secret.hex().encode(), base64.b64encode(secret))


@pytest.mark.parametrize("seat", ["operator", "officer"])
def test_a_profile_that_was_lived_with_holds_no_secret_of_the_person_and_nothing_of_a_case(
    seat: str, sqlite_world: World
) -> None:
    """Whatever lies beside the keystore: outbox, cursor, pins, replicated log; drafts of what still waits too."""
    world = sqlite_world
    ref = str(world.submit().outgoing.ref)
    world.acknowledge("officer", ref)
    world.act("officer", ref, Act.ACCEPT, note="expediente 7")
    world.operator.act(ref, Act.NOTE, {}, unit=UNIT, note=CANARY)
    world.operator.queue(composition())
    found = secrets_of(world.client(seat).keys)
    world.close_clients()
    files = [path for path in (world.folder / "profiles" / seat).rglob("*") if path.is_file()]
    assert {"keystore.json", "outbox.sqlite3", "pins.json"} <= {path.name for path in files}
    for path in files:
        raw = path.read_bytes()
        for name, secret in found.items():
            assert not any(one in raw for one in spellings(secret)), f"{name} stands in {path.name}"
        for told in (CANARY, "expediente 7", PASSPHRASE):
            assert told.encode() not in raw, f"{told} stands in {path.name}"
        assert path.stat().st_mode & 0o077 == 0 or path.suffix == "", path.name


def test_of_a_keystore_file_nothing_is_readable_but_the_public_profile(sqlite_world: World) -> None:
    """Every member of the file is named here: what each says to a thief, and that the rest says nothing."""
    raw = (sqlite_world.folder / "profiles" / "officer" / "keystore.json").read_bytes()
    document = json.loads(raw)
    assert document.keys() == {"v", "profile", "person", "service", "sha256"}
    public = {"server", "issuer", "root", "environment", "party", "lang", "person", "service"}
    assert document["profile"].keys() == public
    bound = {"compartment", "credential", "issuer", "kdf", "root", "salt", "v"}
    for kind, costs in (("person", {"lanes", "memory_kib", "passes"}), ("service", set[str]())):
        sealed = document[kind]
        assert sealed.keys() == {"ciphertext", "header", "nonce"}
        assert json.loads(unb64u(sealed["header"])).keys() == bound | costs
        # Of 250 random bytes it is 0.9, give or take 0.01; of the JSON inside, 0.7.
        assert entropy(unb64u(sealed["ciphertext"])) > 0.85, "it reads like something"


def entropy(raw: bytes) -> float:
    """Bits a byte of what so many bytes could have at most."""
    counts = Counter(raw).values()
    bits = -sum(count / len(raw) * math.log2(count / len(raw)) for count in counts)
    return bits / min(8, math.log2(len(raw)))


def test_the_same_keys_sealed_again_share_not_a_block_of_ciphertext(sqlite_world: World) -> None:
    """A fresh salt and nonce each time: two stolen copies say nothing of each other."""
    folder = ProfileDir(sqlite_world.folder / "profiles" / "officer")
    keystore = Keystore.open(folder)
    keys = keystore.unlock_person(PASSPHRASE)
    seen: set[bytes] = set()
    for _ in range(3):
        keystore.keep_person(keys, PASSPHRASE, InsecureKdfForTests())
        raw = unb64u(json.loads(folder.keystore.read_bytes())["person"]["ciphertext"])
        blocks = {raw[at : at + 16] for at in range(0, len(raw) - 15, 16)}
        assert not blocks & seen
        seen |= blocks


def test_a_guess_costs_what_the_parameters_say_and_a_thief_cannot_lower_them(
    tmp_path: Path, sqlite_world: World
) -> None:
    """256 MiB, three passes, two lanes by default (`python -m bench.guess` says what that takes); they are bound in."""
    kept = Keystore.open(ProfileDir(sqlite_world.folder / "profiles" / "officer"))
    keys, folder = kept.unlock_person(PASSPHRASE), ProfileDir(tmp_path / "thief")
    Keystore.create(folder, kept.profile).keep_person(keys, PASSPHRASE, Kdf())
    header = json.loads(unb64u(json.loads(folder.keystore.read_bytes())["person"]["header"]))
    assert (header["kdf"], header["memory_kib"], header["passes"], header["lanes"]) == ("argon2id", 1 << 18, 3, 2)
    assert (Kdf().memory_kib, Kdf().passes, Kdf().lanes) == (1 << 18, 3, 2)
    for guess in (PASSPHRASE.upper(), PASSPHRASE + " ", "contraseña", "x" * 64):
        refused(ErrorCode.LOCKED, kept.unlock_person, guess)
    assert Keystore.open(folder).unlock_person(PASSPHRASE) == keys


# A running token without its key.

PLACES = {
    "ref": "{ref}", "id": "00000000-0000-4000-8000-000000000000", "digest": "A" * 43, "party": UNIT, "path": "0/000",
    "enrolment": "00000000-0000-4000-8000-000000000000", "term": "2026", "index": "0",
}  # fmt: skip
GUARDED = [one for one in OPERATIONS if one.action is not None]


def path_of(operation: Operation, ref: str) -> str:
    return operation.path.format(**PLACES).format(ref=ref)


@pytest.fixture(scope="module")
def stolen(served: World) -> tuple[World, str]:
    """An exchange, on each engine, and a referral on it."""
    served.clock.ahead_s += 120  # Proofs of just after its start are asked for again, with a nonce.
    return served, str(served.submit().outgoing.ref)


@pytest.mark.parametrize("operation", GUARDED, ids=lambda one: one.name)
def test_a_token_without_its_key_opens_no_call(operation: Operation, stolen: tuple[World, str]) -> None:
    """R-42: no proof, one by another key or of another call, one that was seen on the way, a bearer's token."""
    world, ref = stolen
    caller, path = world.caller("officer"), path_of(operation, ref)
    token = world.officer.session._token()
    thief = key("thief/dpop", Alg.ED25519)
    url = ISSUER + path

    def proof(**changes: Any) -> str:
        given: dict[str, Any] = {"jti": b64u(world.officer.session.ambient.random(16)), "now": int(world.clock())}
        signer = changes.pop("signer", thief)
        method, target = changes.pop("method", operation.method), changes.pop("url", url)
        return access.build_proof(signer, method, target, token=token.value, **given | changes)

    own = access.proof_key(token.dpop_secret)
    overheard = proof(signer=own, method="GET", url=ISSUER + "/v1/ping")
    assert ping(world, token.value, overheard).status == 200
    scheme = f"DPoP {token.value}"
    tries: dict[str, dict[str, str]] = {
        "no proof": {"Authorization": scheme},
        "another key": {"Authorization": scheme, "DPoP": proof()},
        "of another call": {"Authorization": scheme, "DPoP": proof(signer=own, url=ISSUER + "/v1/elsewhere")},
        "seen on the way": {"Authorization": scheme, "DPoP": overheard},
        "a bearer's": {"Authorization": f"Bearer {token.value}"},
        "of an hour ago": {"Authorization": scheme, "DPoP": proof(signer=own, now=int(world.clock()) - 3600)},
    }
    for name, headers in tries.items():
        answer = caller.call(operation.method, path, signed=False, headers=headers)
        assert answer.status == 401, (operation.name, name, answer)
        assert answer.code in ("invalid_token", "invalid_dpop_proof", "use_dpop_nonce"), (operation.name, name)
    world.check()


def ping(world: World, token: str, proof: str) -> Answer:
    """A true call, which somebody overhears."""
    headers = {"Authorization": f"DPoP {token}", "DPoP": proof}
    return world.caller("officer").call("GET", "/v1/ping", signed=False, headers=headers)


# What a revoked officer has signed.


def signed_by(client: Client, ref: str) -> bytes:
    """A status that somebody signs, and does not send."""
    referral = client.referral(ref)
    act_id = client.session.ambient.act_id()
    body = {"code": "registered"}
    return delivery.sign_act(client.session, client.keys, referral, act_id, Act.STATUS, body, PartyId(UNIT))


def test_what_a_revoked_officer_signed_counts_only_if_it_was_logged_before(world: World) -> None:
    """R-33: both are signed before the revocation; the one that arrives after it is refused, whoever carries it."""
    ref = str(world.submit().outgoing.ref)
    world.acknowledge("officer", ref)
    world.act("officer", ref, Act.ACCEPT)
    lost = world.second_officer
    logged, late = signed_by(lost, ref), signed_by(lost, ref)
    path = f"/v1/referrals/{ref}/acts/"
    taken = world.caller("second_officer").call("PUT", path + parse_act(logged).id, {"act": logged.decode()})
    assert taken.status == 201, taken
    world.check()
    world.after(world.officer.revoke(lost.keys.signers()[0].kid, "lost", int(world.clock())))
    for who in ("second_officer", "officer"):
        answer = world.caller(who).call("PUT", path + parse_act(late).id, {"act": late.decode()})
        assert (answer.status, answer.code, answer.json["reason"]) == (422, "key-not-valid", "revoked")
        world.check()

    receipt, proof = (taken.json[name].encode() for name in ("receipt", "proof"))
    for one in (world.operator, world.officer, world.auditor):
        one.sync_keys()
        confirmed = one.verify_receipt(logged, receipt, proof)
        assert confirmed.receipt.accepted, "it was logged before, and stands for ever"
        refused(ErrorCode.RECEIPT_MISMATCH, one.verify_receipt, late, receipt, proof)
    digests = {one.act.digest for one in world.operator.referral(ref).acts}
    assert parse_act(logged).digest in digests
    assert parse_act(late).digest not in digests
    again = world.caller("second_officer").call("PUT", path + parse_act(logged).id, {"act": logged.decode()})
    assert (again.status, again.json["receipt"]) == (200, taken.json["receipt"])
    assert world.auditor.audit().complete


def test_an_act_that_was_taken_too_long_after_the_revocation_is_believed_by_nobody(sqlite_world: World) -> None:
    """R-33: an exchange that takes a revoked officer's act, and dates it as it must, convicts itself."""
    world = sqlite_world
    ref = str(world.submit().outgoing.ref)
    world.acknowledge("officer", ref)
    lost = world.second_officer
    late = signed_by(lost, ref)
    world.officer.revoke(lost.keys.signers()[0].kid, "lost", int(world.clock()))
    act = parse_act(late)
    for one in (world.operator, world.auditor):
        replica = one.session.sync_keys()
        kids = [signature.kid for signature in act.jws.signatures]
        hour = int(world.clock()) + 3602
        refused(ErrorCode.KEY_NOT_VALID, replica.seal_keys_at, act.iss, act.iat, hour, kids)
