"""What every call must bring, and what is refused instead (R-42, R-43, R-45); after the OIDF's negative tests."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import CredentialKind, KeyUse, Role
from referral_api.formats.keys import Alg, PublicKey, SigningKey
from referral_api.formats.strict_json import b64u, unb64u
from referral_api.server.service.proofs import MAX_PROOF_BYTES, NONCE_S, Nonces
from referral_api.server.service.token_keys import OneTokenKey
from referral_api.server.service.tokens import Caller, TokenService, challenge_headers
from tests.server.access import ISSUER, START, AccessWorld, claims_of, compact, header_of, key

INBOX = f"{ISSUER}/v1/inbox"


@pytest.fixture
def world(tmp_path: Path) -> AccessWorld:
    return AccessWorld(tmp_path)


@pytest.fixture
def token(world: AccessWorld) -> str:
    return world.hotline.token()


def reason(error: pytest.ExceptionInfo[ReferralError], code: ErrorCode = ErrorCode.INVALID_DPOP_PROOF) -> Any:
    """The `reason` of a refusal with this code."""
    assert error.value.code is code, error.value
    return error.value.facts.get("reason")


def test_a_good_call_names_its_caller_as_the_directory_does(world: AccessWorld, token: str) -> None:
    assert world.hotline.call(token) == Caller(
        "linea-sur.svc1", "linea-sur", Role.HOTLINE, CredentialKind.SERVICE, keyholder=False
    )
    assert world.unit.call(world.unit.token()).kind is CredentialKind.PERSON


@pytest.mark.parametrize("scheme", ["DPoP", "dpop", "DPOP"])
def test_the_scheme_is_compared_without_case(world: AccessWorld, token: str, scheme: str) -> None:
    assert world.hotline.call(token, scheme=scheme).credential == world.hotline.id


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "Basic", "DPoP2", ""])
def test_a_bound_token_is_refused_under_any_other_scheme(world: AccessWorld, token: str, scheme: str) -> None:
    with pytest.raises(ReferralError) as error:
        world.hotline.call(token, scheme=scheme)
    assert reason(error, ErrorCode.INVALID_TOKEN) == "scheme"


def test_a_call_without_a_token_is_refused_whatever_proof_it_brings(world: AccessWorld) -> None:
    with pytest.raises(ReferralError) as error:
        world.service.authenticate("GET", "/v1/inbox", [(b"dpop", world.hotline.proof("GET", INBOX))], START)
    assert reason(error, ErrorCode.INVALID_TOKEN) == "missing"


def test_two_authorization_headers_are_refused(world: AccessWorld, token: str) -> None:
    header = (b"authorization", f"DPoP {token}".encode())
    with pytest.raises(ReferralError) as error:
        world.service.authenticate("GET", "/v1/inbox", [header, header], START)
    assert reason(error, ErrorCode.INVALID_TOKEN) == "doubled"


def test_a_token_ends_after_five_minutes_cached_or_not(world: AccessWorld, token: str) -> None:
    world.now = START + 299
    assert world.hotline.call(token).credential == world.hotline.id
    for service in (world.service, world.make_service()):
        world.service, world.now = service, START + 300
        with pytest.raises(ReferralError) as error:
            world.hotline.call(token)
        assert reason(error, ErrorCode.INVALID_TOKEN) == "expired"


def test_a_token_serves_every_process_of_the_exchange(world: AccessWorld, token: str) -> None:
    world.service = world.make_service()
    assert world.hotline.call(token).credential == world.hotline.id


class Both:
    """A token key that follows another, which still counts."""

    def __init__(self, newer: SigningKey, older: SigningKey) -> None:
        self.keys = [OneTokenKey(newer), OneTokenKey(older)]

    def signer(self, use: KeyUse, now: int) -> SigningKey:
        return self.keys[0].signer(use, now)

    def verifier(self, kid: str, now: int) -> PublicKey | None:
        return self.keys[0].verifier(kid, now) or self.keys[1].verifier(kid, now)


def test_a_token_of_the_key_before_serves_while_that_key_is_trusted(world: AccessWorld, token: str) -> None:
    def service(**more: Any) -> TokenService:
        return TokenService(
            issuer=ISSUER,
            token_key=key("next token"),
            directory=lambda: world.roll,
            replay=world.replay,
            limits=world.service.limits,
            **more,
        )

    world.service = service(keys=Both(key("next token"), world.token_key))
    assert world.hotline.call(token).credential == world.hotline.id
    world.service = service()
    with pytest.raises(ReferralError) as error:
        world.hotline.call(token)
    assert reason(error, ErrorCode.INVALID_TOKEN) == "signature"


def test_a_token_that_was_taken_before_ends_with_its_key(world: AccessWorld, token: str) -> None:
    """R-37: what the service remembers of a token is worth no more than the key that signed it."""
    ended: list[int] = []

    class Ending(OneTokenKey):
        def verifier(self, kid: str, now: int) -> PublicKey | None:
            return None if ended else super().verifier(kid, now)

    world.service = TokenService(
        issuer=ISSUER, token_key=world.token_key, keys=Ending(world.token_key), directory=lambda: world.roll,
        replay=world.replay, limits=world.service.limits,
    )  # fmt: skip
    assert world.hotline.call(token).credential == world.hotline.id
    ended.append(START)
    with pytest.raises(ReferralError) as error:
        world.hotline.call(token)
    assert reason(error, ErrorCode.INVALID_TOKEN) == "signature"


@pytest.mark.parametrize("name", ["receipt", "act", "log", "thief"])
def test_no_other_key_of_the_exchange_signs_tokens(world: AccessWorld, token: str, name: str) -> None:
    other = key(name)
    for kid in (other.kid, world.token_key.kid):
        forged = compact({**header_of(token), "kid": kid}, claims_of(token), other).decode()
        with pytest.raises(ReferralError) as error:
            world.hotline.call(forged)
        assert reason(error, ErrorCode.INVALID_TOKEN) == "signature"


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ({"typ": None}, "malformed"),
        ({"typ": "JWT"}, "claims"),
        ({"typ": "dpop+jwt"}, "claims"),
        ({"typ": "referral-receipt+jws"}, "claims"),
        ({"alg": "none"}, "signature"),
        ({"alg": "EdDSA"}, "signature"),
        ({"alg": "HS256"}, "signature"),
        ({"alg": ["Ed25519"]}, "signature"),
        ({"kid": None}, "malformed"),
        ({"kid": ["a"]}, "signature"),
        ({"kid": {"a": "b"}}, "signature"),
        ({"crit": ["exp"]}, "malformed"),
        ({"x": "y"}, "malformed"),
    ],
)
def test_a_token_with_another_header_is_refused(
    world: AccessWorld, token: str, header: dict[str, Any], expected: str
) -> None:
    changed = {name: value for name, value in {**header_of(token), **header}.items() if value is not None}
    with pytest.raises(ReferralError) as error:
        world.hotline.call(compact(changed, claims_of(token), world.token_key).decode())
    assert reason(error, ErrorCode.INVALID_TOKEN) == expected


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "https://other.example"},
        {"aud": "linea-sur.svc1"},
        {"aud": ISSUER},
        {"aud": [f"{ISSUER}/v1"]},
        {"aud": None},
        {"sub": "unidad-7.ana1"},
        {"client_id": None},
        {"client_id": 7, "sub": 7},
        {"access_kid": None},
        {"jti": None},
        {"cnf": None},
        {"cnf": {}},
        {"cnf": {"jkt": 7}},
        {"cnf": "x"},
        {"exp": None},
        {"exp": START + 864_000},
        {"exp": START + 60.5},
        {"iat": None},
        {"iat": True},
    ],
)
def test_a_token_with_other_claims_is_refused_even_under_the_right_key(
    world: AccessWorld, token: str, claims: dict[str, Any]
) -> None:
    changed = {name: value for name, value in {**claims_of(token), **claims}.items() if value is not None}
    with pytest.raises(ReferralError) as error:
        world.hotline.call(compact(header_of(token), changed, world.token_key).decode())
    assert reason(error, ErrorCode.INVALID_TOKEN) == "claims"


@pytest.mark.parametrize(
    "text",
    ["", "x", "a.b.c", "..", "e30.e30.", "x" * 5000, b64u(b"[" * 2000) + ".e30.AAAA", b64u(b"[]") + ".e30.AAAA"],
)
def test_text_that_is_no_token_is_refused(world: AccessWorld, text: str) -> None:
    with pytest.raises(ReferralError) as error:
        world.hotline.call(text)
    assert reason(error, ErrorCode.INVALID_TOKEN) == "malformed"


def test_a_token_altered_in_any_part_is_refused(world: AccessWorld, token: str) -> None:
    for at in range(0, len(token), 7):
        altered = token[:at] + ("A" if token[at] != "A" else "B") + token[at + 1 :]
        with pytest.raises(ReferralError) as error:
            world.hotline.call(altered)
        assert error.value.code is ErrorCode.INVALID_TOKEN


def test_a_removed_credential_is_out_at_its_next_call(world: AccessWorld, token: str) -> None:
    world.hotline.call(token)
    del world.roll.credentials[world.hotline.id], world.roll.keys[world.hotline.id]
    with pytest.raises(ReferralError) as error:
        world.hotline.call(token)
    assert reason(error, ErrorCode.INVALID_TOKEN) == "credential"


def test_an_ended_credential_is_out_at_its_next_call(world: AccessWorld, token: str) -> None:
    world.hotline.call(token)
    world.roll.valid_until[world.hotline.id] = START
    with pytest.raises(ReferralError) as error:
        world.hotline.call(token)
    assert reason(error, ErrorCode.INVALID_TOKEN) == "credential"


def test_a_token_of_a_replaced_access_key_is_out_though_the_credential_stays(world: AccessWorld, token: str) -> None:
    world.hotline.call(token)
    world.hotline.access = key("new access")
    world.roll.keys[world.hotline.id] = world.hotline.access.public
    with pytest.raises(ReferralError) as error:
        world.hotline.call(token)
    assert reason(error, ErrorCode.INVALID_TOKEN) == "key"
    assert world.hotline.call(world.hotline.token()).credential == world.hotline.id


def test_rights_come_from_the_directory_not_from_the_token(world: AccessWorld, token: str) -> None:
    before = world.roll.credentials[world.hotline.id]
    assert world.hotline.call(token).keyholder is False
    world.roll.credentials[world.hotline.id] = type(before)(
        before.id, before.party, before.role, CredentialKind.PERSON, keyholder=True
    )
    caller = world.hotline.call(token)
    assert (caller.kind, caller.keyholder) == (CredentialKind.PERSON, True)


def test_a_call_without_exactly_one_proof_is_refused(world: AccessWorld, token: str) -> None:
    authorization = (b"authorization", f"DPoP {token}".encode())
    with pytest.raises(ReferralError) as error:
        world.service.authenticate("GET", "/v1/inbox", [authorization], START)
    assert reason(error) == "missing"
    proofs = [(b"dpop", world.hotline.proof("GET", INBOX, token=token)) for _ in range(2)]
    with pytest.raises(ReferralError) as error:
        world.service.authenticate("GET", "/v1/inbox", [authorization, *proofs], START)
    assert reason(error) == "doubled"


def test_a_proof_by_another_key_does_not_fit_the_token(world: AccessWorld, token: str) -> None:
    for other in (world.unit.dpop, world.hotline.access, world.token_key):
        with pytest.raises(ReferralError) as error:
            world.hotline.call(token, proof=world.hotline.proof("GET", INBOX, token=token, signer=other))
        assert reason(error) == "binding"


def test_a_proof_signed_by_another_key_than_it_shows_is_refused(world: AccessWorld, token: str) -> None:
    shown = {name: text for name, text in world.hotline.dpop.public.jwk.items() if name != "alg"}
    proof = world.hotline.proof("GET", INBOX, token=token, signer=key("thief"), header={"jwk": shown})
    with pytest.raises(ReferralError) as error:
        world.hotline.call(token, proof=proof)
    assert reason(error) == "signature"


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ({"typ": None}, "typ"),
        ({"typ": "JWT"}, "typ"),
        ({"typ": "at+jwt"}, "typ"),
        ({"typ": ["dpop+jwt"]}, "typ"),
        ({"alg": None}, "alg"),
        ({"alg": "none"}, "alg"),
        ({"alg": "HS256"}, "alg"),
        ({"alg": "RS256"}, "alg"),
        ({"alg": "EdDSA"}, "alg"),
        ({"alg": "ES256"}, "alg"),
        ({"alg": ["Ed25519"]}, "alg"),
        ({"alg": "ML-DSA-65"}, "alg"),
        ({"crit": ["exp"]}, "crit"),
        ({"crit": []}, "crit"),
        ({"jwk": None}, "jwk"),
        ({"jwk": "x"}, "jwk"),
        ({"jwk": {}}, "jwk"),
        ({"jwk": {"kty": "oct", "k": "AAAA"}}, "private-key"),
        ({"jwk": {"kty": "RSA", "n": "AQAB", "e": "AQAB"}}, "jwk"),
        ({"jwk": {"kty": ["OKP"], "crv": {}}}, "jwk"),
        ({"jwk": {"kty": "OKP", "crv": "X25519", "x": "A" * 43}}, "jwk"),
        ({"jwk": {"kty": "EC", "crv": "P-384", "x": "A" * 64, "y": "A" * 64}}, "jwk"),
    ],
)
def test_a_proof_with_a_wrong_header_is_refused(
    world: AccessWorld, token: str, header: dict[str, Any], expected: str
) -> None:
    with pytest.raises(ReferralError) as error:
        world.hotline.call(token, proof=world.hotline.proof("GET", INBOX, token=token, header=header))
    assert reason(error) == expected


@pytest.mark.parametrize(
    ("jwk", "expected"),
    [
        ({"d": "AAAA"}, "private-key"),
        ({"d": ""}, "private-key"),
        ({"priv": "AAAA"}, "private-key"),
        ({"x": None}, "jwk"),
        ({"x": 7}, "jwk"),
        ({"x": "A" * 42}, "jwk"),
        ({"x": b64u(b"\x01" + bytes(31))}, "jwk"),
        ({"x": b64u(b"\xee" + b"\xff" * 31)}, "jwk"),
        ({"alg": "ES256"}, "alg"),
        ({"alg": "EdDSA"}, "alg"),
    ],
)
def test_a_proof_key_that_is_private_weak_or_misshapen_is_refused(
    world: AccessWorld, token: str, jwk: dict[str, Any], expected: str
) -> None:
    with pytest.raises(ReferralError) as error:
        world.hotline.call(token, proof=world.hotline.proof("GET", INBOX, token=token, jwk=jwk))
    assert reason(error) == expected


@pytest.mark.parametrize("alg", [Alg.ED25519, Alg.ES256])
def test_members_that_mean_nothing_here_are_ignored(world: AccessWorld, alg: Alg) -> None:
    client = world.enrol("linea-sur.svc3", Role.HOTLINE, CredentialKind.SERVICE, alg, alg)
    token = client.token()
    proof = client.proof(
        "GET",
        INBOX,
        token=token,
        header={"kid": "any", "x5t": "any", "extra": {"a": [1, 2.5]}},
        jwk={"alg": alg.value, "use": "sig", "key_ops": ["verify"], "ext": True, "kid": "any"},
        exp=1,
        nbf=2**50,
        extra={"a": [1.5]},
        sub="nobody",
    )
    assert client.call(token, proof=proof).credential == client.id


@pytest.mark.parametrize(
    ("claims", "expected"),
    [
        ({"htm": None}, "htm"),
        ({"htm": "POST"}, "htm"),
        ({"htm": "get"}, "htm"),
        ({"htm": ["GET"]}, "htm"),
        ({"htu": None}, "htu"),
        ({"htu": 7}, "htu"),
        ({"htu": ""}, "htu"),
        ({"jti": None}, "jti"),
        ({"jti": ""}, "jti"),
        ({"jti": 7}, "jti"),
        ({"jti": "x" * 65}, "jti"),
        ({"iat": None}, "iat"),
        ({"iat": str(START)}, "iat"),
        ({"iat": START + 0.5}, "iat"),
        ({"iat": True}, "iat"),
        ({"ath": None}, "ath"),
        ({"ath": ""}, "ath"),
        ({"ath": b64u(hashlib.sha256(b"another").digest())}, "ath"),
        ({"ath": 7}, "ath"),
    ],
)
def test_a_proof_with_a_wrong_claim_is_refused(
    world: AccessWorld, token: str, claims: dict[str, Any], expected: str
) -> None:
    with pytest.raises(ReferralError) as error:
        world.hotline.call(token, proof=world.hotline.proof("GET", INBOX, token=token, **claims))
    assert reason(error) == expected


def test_a_proof_of_one_token_does_not_serve_another_of_the_same_key(world: AccessWorld, token: str) -> None:
    proof = world.hotline.proof("GET", INBOX, token=token)
    with pytest.raises(ReferralError) as error:
        world.hotline.call(world.hotline.token(), proof=proof)
    assert reason(error) == "ath"


@pytest.mark.parametrize(
    "text",
    [b"", b"x", b"a.b", b"a.b.c", b"..", b"e30.e30.e30.e30", b"\xff.\xff.\xff", b"W10.W10.AA"],
)
def test_text_that_is_no_proof_is_refused(world: AccessWorld, token: str, text: bytes) -> None:
    with pytest.raises(ReferralError) as error:
        world.hotline.call(token, proof=text)
    assert reason(error) == "malformed"


def test_a_payload_that_is_no_object_or_doubles_a_member_is_refused(world: AccessWorld, token: str) -> None:
    header = {"typ": "dpop+jwt", "alg": "Ed25519", "jwk": {**world.hotline.dpop.public.jwk}}
    for payload in (b"[]", b"7", b'{"htm":"GET","htm":"GET"}', b"[" * 500, b"\xef\xbb\xbf{}"):
        with pytest.raises(ReferralError) as error:
            world.hotline.call(token, proof=compact(header, payload, world.hotline.dpop))
        assert reason(error) == "malformed"


def test_a_proof_of_2_kilobytes_is_read_and_one_byte_more_is_not(world: AccessWorld, token: str) -> None:
    def padded(filler: int) -> bytes:
        return world.hotline.proof("GET", INBOX, token=token, jti="j" * 60, extra="x" * filler)

    filler = next(n for n in range(2000, 0, -1) if len(padded(n)) <= MAX_PROOF_BYTES)
    assert MAX_PROOF_BYTES - 1 <= len(padded(filler)) <= MAX_PROOF_BYTES
    assert world.hotline.call(token, proof=padded(filler)).credential == world.hotline.id
    with pytest.raises(ReferralError) as error:
        world.hotline.call(token, proof=padded(filler + 2))
    assert reason(error) == "too-large"


def test_a_proof_works_once(world: AccessWorld, token: str) -> None:
    proof = world.hotline.proof("GET", INBOX, token=token, jti="j" * 64)
    world.hotline.call(token, proof=proof)
    with pytest.raises(ReferralError) as error:
        world.hotline.call(token, proof=proof)
    assert reason(error) == "replayed"


def test_the_other_spelling_of_an_ecdsa_signature_is_the_same_proof(world: AccessWorld) -> None:
    unit, token = world.unit, world.unit.token()
    proof = unit.proof("GET", INBOX, token=token)
    unit.call(token, proof=proof)
    signing_input, _, signature = proof.rpartition(b".")
    raw = unb64u(signature.decode())
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    mirrored = raw[:32] + (order - int.from_bytes(raw[32:], "big")).to_bytes(32, "big")
    with pytest.raises(ReferralError) as error:
        unit.call(token, proof=signing_input + b"." + b64u(mirrored).encode())
    assert reason(error) == "replayed"


def test_a_refused_call_does_not_use_its_proof_up(world: AccessWorld, token: str) -> None:
    proof = world.hotline.proof("GET", INBOX, token=token)
    with pytest.raises(ReferralError):
        world.hotline.call(token, proof=proof, path="/v1/parties")
    assert world.hotline.call(token, proof=proof).credential == world.hotline.id


@pytest.mark.parametrize("iat", [START - 60, START - 10, START + 10, START + 15])
def test_a_clock_within_the_window_is_believed(world: AccessWorld, token: str, iat: int) -> None:
    proof = world.hotline.proof("GET", INBOX, token=token, iat=iat)
    assert world.hotline.call(token, proof=proof).credential == world.hotline.id


@pytest.mark.parametrize("iat", [0, START - 86_400, START - 61, START + 16, START + 86_400, 2**53 - 1])
def test_a_skewed_clock_is_measured_and_the_nonce_helps_once(world: AccessWorld, token: str, iat: int) -> None:
    hotline = world.hotline
    with pytest.raises(ReferralError) as error:
        hotline.call(token, proof=hotline.proof("GET", INBOX, token=token, iat=iat))
    assert error.value.code is ErrorCode.USE_DPOP_NONCE
    assert error.value.facts["skew_s"] == iat - START
    retry = hotline.proof("GET", INBOX, token=token, iat=iat, nonce=error.value.facts["nonce"])
    assert hotline.call(token, proof=retry).credential == hotline.id
    ath, service = b64u(hashlib.sha256(token.encode()).digest()), world.service
    for at in sorted({START, START + 100, START + NONCE_S, START + NONCE_S + 1, START + NONCE_S + 31, max(START, iat)}):
        with pytest.raises(ReferralError) as error:
            service._claim_proof(service._proofs.verify_proof(retry, "GET", "/v1/inbox", at, ath=ath), at)
        assert error.value.code is (ErrorCode.INVALID_DPOP_PROOF if at <= START + NONCE_S else ErrorCode.USE_DPOP_NONCE)


def test_a_wrong_clock_is_only_named_when_all_else_is_right(world: AccessWorld, token: str) -> None:
    wrongs: list[dict[str, Any]] = [{"ath": "x"}, {"htm": "PUT"}, {"jti": ""}, {"htu": ISSUER}]
    for wrong in wrongs:
        with pytest.raises(ReferralError) as error:
            world.hotline.call(token, proof=world.hotline.proof("GET", INBOX, token=token, iat=0, **wrong))
        assert error.value.code is ErrorCode.INVALID_DPOP_PROOF


def test_one_nonce_serves_many_proofs_until_it_is_five_minutes_old(world: AccessWorld) -> None:
    hotline = world.hotline
    nonce = world.service._proofs.ask_for_nonce(0, START).facts["nonce"]
    world.now = START + NONCE_S
    token = hotline.token()
    for _ in range(3):
        proof = hotline.proof("GET", INBOX, token=token, iat=7, nonce=nonce)
        assert hotline.call(token, proof=proof).credential == hotline.id
    world.now = START + NONCE_S + 1
    with pytest.raises(ReferralError) as error:
        hotline.call(token, proof=hotline.proof("GET", INBOX, token=token, nonce=nonce))
    assert error.value.code is ErrorCode.USE_DPOP_NONCE


def test_a_nonce_that_is_not_ours_is_answered_with_one_that_is(world: AccessWorld, token: str) -> None:
    hotline = world.hotline
    ours: str = world.service._proofs.ask_for_nonce(0, START).facts["nonce"]
    theirs = Nonces(b"x" * 32).mint(world.replay.epoch(START), START)
    for wrong in (theirs, "", "A" * 43, ours[:-1], ours + "A", "B" + ours[1:], 7, "\u00e9", "x" * 1000):
        with pytest.raises(ReferralError) as error:
            hotline.call(token, proof=hotline.proof("GET", INBOX, token=token, nonce=wrong))
        assert error.value.code is ErrorCode.USE_DPOP_NONCE
        again = hotline.proof("GET", INBOX, token=token, nonce=error.value.facts["nonce"])
        assert hotline.call(token, proof=again).credential == hotline.id


def test_a_nonce_serves_every_process_of_the_exchange(world: AccessWorld, token: str) -> None:
    nonce = world.make_service()._proofs.ask_for_nonce(0, START).facts["nonce"]
    proof = world.hotline.proof("GET", INBOX, token=token, iat=1, nonce=nonce)
    assert world.hotline.call(token, proof=proof).credential == world.hotline.id


def test_the_challenge_names_scheme_error_and_algorithms(world: AccessWorld) -> None:
    def challenge(code: ErrorCode, **facts: Any) -> dict[bytes, bytes]:
        return dict(challenge_headers(ReferralError(code, **facts)))

    algs = b'algs="ES256 Ed25519"'
    assert challenge(ErrorCode.INVALID_TOKEN, reason="missing") == {b"www-authenticate": b"DPoP " + algs}
    assert challenge(ErrorCode.INVALID_TOKEN, reason="expired") == {
        b"www-authenticate": b'DPoP error="invalid_token", ' + algs
    }
    assert challenge(ErrorCode.INVALID_DPOP_PROOF, reason="htu") == {
        b"www-authenticate": b'DPoP error="invalid_dpop_proof", ' + algs
    }
    assert challenge(ErrorCode.USE_DPOP_NONCE, skew_s=1, nonce="abc") == {
        b"www-authenticate": b'DPoP error="use_dpop_nonce", ' + algs,
        b"dpop-nonce": b"abc",
    }


def test_ten_thousand_sessions_are_kept_and_the_oldest_gives_way(world: AccessWorld, token: str) -> None:
    service = world.service
    world.hotline.call(token)
    (session,) = service._sessions.values()
    for number in range(10_000):
        service._sessions[number.to_bytes(32, "big")] = session
    other = world.unit.token()
    world.unit.call(other)
    assert len(service._sessions) == 10_000
    assert hashlib.sha256(other.encode()).digest() in service._sessions
    assert world.hotline.call(token).credential == world.hotline.id
