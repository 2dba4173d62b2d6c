"""Every limit of R-05 on both sides, and what is no call at all, over real HTTP."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest

from referral_api.client.sealing import generate_enc_key
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import Act, ActId, CredentialKind
from referral_api.formats.bundle import SealRole
from referral_api.formats.contents import NoteBody
from referral_api.formats.keys import Alg
from referral_api.formats.strict_json import b64u, canonical, sha256_b64u, unb64u
from referral_api.server.service.acts import MAX_LAG_S, MAX_LEAD_S
from tests.faults.submissions import Parcel, parcel
from tests.server.test_door_rules import beside
from tests.signing import payload_of, sign, sign_payload
from tests.wire import Answer, Caller
from tests.world import ENTRIES, HOTLINE, UNIT, World

KIB, DAY_S = 1024, 24 * 3600
ABSENT = "01900000-0000-7000-8000-000000000000"
SOME_ACT = "00000000-0000-4000-8000-000000000000"


@pytest.fixture(scope="module")
def served(served: World) -> World:
    served.submit()
    return served


@pytest.fixture
def world(served: World) -> Iterator[World]:
    yield served
    served.check()
    assert "internal_error" not in served.log_lines
    assert "_failed" not in served.log_lines


def on_the_socket(world: World, sent: bytes) -> bytes:
    """What comes back for these very bytes, until the exchange hangs up or says nothing more."""
    with socket.create_connection(("127.0.0.1", world.server.port), timeout=5) as line:
        line.sendall(sent)
        received = b""
        with contextlib.suppress(TimeoutError, ConnectionResetError):
            while chunk := line.recv(65536):
                received += chunk
    return received


def put(world: World, one: Parcel, **changes: str) -> Answer:
    document = one.document | changes
    return world.caller(one.by).call("PUT", f"/v1/referrals/{one.ref}", document)


def payload_in(text: str) -> dict[str, Any]:
    payload: dict[str, Any] = json.loads(unb64u(json.loads(text)["payload"]))
    return payload


def with_bundle(world: World, one: Parcel, bundle: str) -> Answer:
    """The submission with another envelope, named by its act."""
    payload = payload_in(one.document["act"])
    payload["body"]["bundle"] = {"sha256": sha256_b64u(bundle.encode()), "size": len(bundle)}
    return put(world, one, act=sign_payload(world.client(one.by), payload), bundle=bundle)


@pytest.mark.parametrize(("over", "status"), [(0, 200), (1, 431)])
def test_a_header_block_of_16_kib_is_read_and_not_a_byte_more(world: World, over: int, status: int) -> None:
    given = [("host", "x"), ("connection", "close"), ("pad", "")]
    size = sum(len(name) + len(text) + 4 for name, text in given)
    lines = "".join(f"{name}: {text}\r\n" for name, text in given[:-1])
    request = f"GET /healthz HTTP/1.1\r\n{lines}pad: {'x' * (16 * KIB - size + over)}\r\n\r\n"
    answer = on_the_socket(world, request.encode())
    assert answer.startswith(f"HTTP/1.1 {status} ".encode())
    assert (b"headers-too-large" in answer) == bool(over)


@pytest.mark.parametrize(("over", "status"), [(0, 201), (1, 413)])
def test_an_act_of_32_kib_is_taken_and_not_a_byte_more(world: World, over: int, status: int) -> None:
    one = parcel(world)
    act = one.document["act"].ljust(32 * KIB + over)
    answer = put(world, one, act=act)
    assert (answer.status, answer.code) == (status, "too-large" if over else None)


@pytest.mark.parametrize(("over", "status"), [(0, 201), (1, 422)])
def test_a_bundle_of_1_mib_is_taken_and_not_a_byte_more(world: World, over: int, status: int) -> None:
    """What is larger cannot even be named: the schema of the act has the same limit."""
    one = parcel(world)
    answer = with_bundle(world, one, one.document["bundle"].ljust(KIB * KIB + over))
    assert (answer.status, answer.code) == (status, "act-schema" if over else None), answer.body


@pytest.mark.parametrize(("over", "status"), [(0, 201), (1, 422)])
def test_a_sealed_note_of_1_mib_is_taken_and_not_a_byte_more(world: World, over: int, status: int) -> None:
    ref = str(world.submit().outgoing.ref)
    world.acknowledge("officer", ref)
    sealed = beside(world, "officer", HOTLINE, ref, SealRole.INFORMATION, NoteBody(ActId(str(uuid4())), "Nota.", None))
    text = sealed.raw.ljust(KIB * KIB + over)
    body = {"sealed": {"sha256": sha256_b64u(text), "size": len(text)}}
    head = world.officer.referral(ref).chronicle.deliveries[UNIT].head
    act_id, raw = sign(world.officer, Act.NOTE, body, ref, unit=UNIT, prev=head)
    path, document = f"/v1/referrals/{ref}/acts/{act_id}", {"act": raw, "sealed": text.decode()}
    answer = world.caller("officer").call("PUT", path, document)
    assert (answer.status, answer.code) == (status, "act-schema" if over else None), answer.body


@pytest.mark.parametrize(("over", "status"), [(0, 201), (1, 413)])
def test_a_submission_of_1_25_mib_is_read_and_not_a_byte_more(world: World, over: int, status: int) -> None:
    one = parcel(world)
    raw = json.dumps(one.document).encode().ljust(1280 * KIB + over)
    answer = world.caller("operator").call("PUT", f"/v1/referrals/{one.ref}", raw=raw)
    assert (answer.status, answer.code) == (status, "too-large" if over else None)


@pytest.mark.parametrize("over", [0, 1])
@pytest.mark.parametrize("path", ["/v1/enrolments", f"/v1/directory/acts/{SOME_ACT}"])
def test_any_other_body_of_64_kib_is_read_and_not_a_byte_more(world: World, path: str, over: int) -> None:
    raw = b'{"enc":[]}'.ljust(64 * KIB + over)
    method = "POST" if path == "/v1/enrolments" else "PUT"
    answer = world.caller("registrar").call(method, path, raw=raw)
    assert (answer.status == 413) == bool(over)
    assert answer.code in ("too-large", "invite-unknown", "malformed")


def test_a_body_without_a_length_is_cut_off_at_the_limit(world: World) -> None:
    """A chunked body says nothing about its size; it is counted as it comes."""
    chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    head = f"PUT /v1/referrals/{ABSENT} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n"
    answer = on_the_socket(world, head.encode() + chunk * 21 + b"0\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize(("size", "code"), [(16 * KIB, None), (16 * KIB + 1, "too-large")])
def test_a_statement_of_16_kib_is_judged_and_not_a_byte_more(world: World, size: int, code: str | None) -> None:
    registrar = world.registrar
    found = registrar.session.keymap.find_party(registrar.profile.party)
    assert found is not None
    payload = payload_of(registrar, Act.STATEMENT, {}, None)
    raw = canonical(payload)
    act = sign_payload(registrar, raw.ljust(size))
    answer = world.caller("registrar").call("PUT", f"/v1/directory/acts/{payload['id']}", {"act": act})
    assert answer.code == (code or "act-schema")


@pytest.mark.parametrize(("size", "status", "code"), [(12 * KIB, 400, "malformed"), (12 * KIB + 1, 413, "too-large")])
def test_a_key_entry_of_12_kib_is_judged_and_not_a_byte_more(world: World, size: int, status: int, code: str) -> None:
    """The limit stands before everything else: what is read is refused for the proposal, which proposes nothing."""
    entry = "{}".ljust(size)
    document: dict[str, Any] = {
        "keys": [entry],
        "possession": [],
        "proposal": {"credentials": [], "enc": [], "entry": None},
        "statement": None,
    }
    operator = world.operator
    invitation = json.loads(operator.invite(ENTRIES[HOTLINE], [CredentialKind.PERSON]))
    headers = {"Referral-Invitation": invitation["secret"]}
    answer = world.caller("registrar").call(
        "PUT", f"/v1/enrolments/{SOME_ACT}", document, headers=headers, signed=False
    )
    assert (answer.status, answer.code) == (status, code), answer.body


@pytest.mark.parametrize(("count", "code"), [(64, "recipient-key-stale"), (65, "bundle-malformed")])
def test_64_recipients_are_read_and_not_one_more(world: World, count: int, code: str) -> None:
    one = parcel(world)
    envelope = json.loads(one.document["bundle"])
    routing = json.loads(unb64u(envelope["aad"]))
    while len(routing["to"]) < count:
        kid = generate_enc_key(Alg.HPKE_9).kid
        routing["to"].append({"party": UNIT, "kid": kid, "role": "action"})
        model = envelope["recipients"][0]
        envelope["recipients"].append(model | {"header": model["header"] | {"kid": kid}})
    envelope["aad"] = b64u(json.dumps(routing, separators=(",", ":")).encode())
    assert with_bundle(world, one, json.dumps(envelope, separators=(",", ":"))).code == code


@pytest.mark.parametrize(("count", "code"), [(2, None), (3, "malformed")])
def test_two_signatures_are_read_and_not_a_third(world: World, count: int, code: str | None) -> None:
    one = parcel(world)
    act = json.loads(one.document["act"])
    act["signatures"] += [act["signatures"][0]] * (count - 2)
    assert put(world, one, act=json.dumps(act, separators=(",", ":"))).code == code


@pytest.mark.parametrize(("size", "code"), [(KIB, None), (KIB + 1, "malformed")])
def test_a_protected_header_of_1_kib_is_read_and_not_a_byte_more(world: World, size: int, code: str | None) -> None:
    one = parcel(world)
    payload = json.loads(one.document["act"])["payload"]
    signatures = []
    for signer in world.operator.keys.signers():
        header = canonical({"alg": signer.alg.value, "kid": signer.kid, "typ": "referral-act+jws"})
        protected = b64u(header.ljust(size))
        signature = signer.sign(f"{protected}.{payload}".encode("ascii"))
        signatures.append({"protected": protected, "signature": b64u(signature)})
    act = json.dumps({"payload": payload, "signatures": signatures}, separators=(",", ":"))
    assert put(world, one, act=act).code == code


@pytest.mark.parametrize(("depth", "reason"), [(16, "members"), (17, "too-deep")])
def test_json_nests_16_deep_and_not_deeper(world: World, depth: int, reason: str) -> None:
    raw = b"[" * depth + b"]" * depth
    answer = world.caller("operator").call("PUT", f"/v1/referrals/{ABSENT}", raw=raw)
    assert (answer.status, answer.code, answer.json["reason"]) == (400, "malformed", reason)


QUERIES = {
    "limit=200": 200, "limit=201": 400, "limit=0": 400, "limit=-1": 400, "limit=1e1": 400, "limit=": 400,
    "wait=25": 200, "wait=26": 400, "wait=0": 200, "pending=true": 200, "pending=yes": 400, "limit=1&limit=2": 400,
    "sort=asc": 400, "after=": 200, "after=AAAA": 400, "after=%ff": 400, "limit=%D9%A1": 400, "&": 400,
}  # fmt: skip


@pytest.mark.parametrize(("query", "status"), QUERIES.items(), ids=QUERIES.keys())
def test_the_inbox_takes_its_own_parameters_once_each_and_within_bounds(world: World, query: str, status: int) -> None:
    """R-55: `wait=25` is answered at once, because there is something."""
    answer = world.caller("officer").call("GET", f"/v1/inbox?{query}")
    assert answer.status == status, answer.body
    assert answer.code in (None, "malformed", "cursor-invalid")


TWICE = (
    "log/keys/consistency?from=1&from=2",
    "log/keys/consistency?from=1&until=2",
    "log/audit/{year}/consistency?from=1&since=1",
    "records/{year}?from=0&from=1",
    "records/{year}?limit=1&limt=2",
    "records/{year}?party=defensoria&party=defensoria",
    "records/{year}?kind=submit&ref=01890a5d-ac96-774b-bcce",
    "records/{year}?party=defensoria&kind=gossip",
    "records/{year}?since=1&until=-1",
    "records/{year}/0?&from=1",
)


@pytest.mark.parametrize("query", TWICE)
def test_what_an_auditor_asks_twice_or_wrongly_is_refused(world: World, query: str) -> None:
    """What is passed over in silence, the caller believes to have asked for."""
    year = datetime.fromtimestamp(world.clock(), UTC).year
    answer = world.caller("auditor").call("GET", f"/v1/{query.format(year=year)}")
    assert (answer.status, answer.code) == (400, "malformed")
    assert world.caller("auditor").call("GET", f"/v1/{query.format(year=year).partition('&')[0]}").status == 200


def test_a_cursor_of_another_party_is_worth_nothing(world: World) -> None:
    """R-55."""
    cursor = world.caller("officer").call("GET", "/v1/inbox").json["cursor"]
    assert world.caller("stranger").call("GET", f"/v1/inbox?after={cursor}").code == "cursor-invalid"
    changed = ("B" if cursor[0] == "A" else "A") + cursor[1:]
    assert world.caller("officer").call("GET", f"/v1/inbox?after={changed}").code == "cursor-invalid"


def test_records_come_200_at_a_time_and_not_one_more(world: World) -> None:
    year = next(iter(log for log in world.heads if log != "keys")).partition("/")[2]
    caller = world.caller("auditor")
    assert caller.call("GET", f"/v1/records/{year}?limit=200").status == 200
    assert caller.call("GET", f"/v1/records/{year}?limit=201").code == "malformed"
    assert caller.call("GET", "/v1/records/1999?limit=1").json["records"] == []


PATHS = {
    ("GET", "/"): 404, ("GET", "/v1"): 404, ("GET", "/v1/nothing"): 404, ("GET", "/v1/ping/"): 404,
    ("GET", "/v1/referrals/x"): 404, ("GET", f"/v1/referrals/{ABSENT}/acts"): 404,
    ("GET", "/v1/log/audit/20260/checkpoint"): 404, ("GET", "/v1/log/keys/tile/9/000"): 404, ("GET", "//v1/ping"): 404,
    ("GET", "/v1/log/keys/tile/../../x"): 404, ("GET", "/v1/receipts/x"): 404, ("GET", "/v1/parties/nobody"): 404,
    ("DELETE", f"/v1/referrals/{ABSENT}"): 405, ("POST", "/v1/inbox"): 405, ("PATCH", "/v1/ping"): 405,
    ("GET", "/oauth/token"): 405, ("HEAD", f"/v1/referrals/{ABSENT}/bundle"): 404, ("HEAD", "/oauth/token"): 405,
    ("OPTIONS", "/v1/inbox"): 405,
    ("GET", f"/v1/directory/acts/{SOME_ACT}"): 405, ("PUT", "/v1/parties"): 405, ("TRACE", "/v1/ping"): 405,
}  # fmt: skip


@pytest.mark.parametrize(("method", "path"), PATHS.keys(), ids=[f"{method} {path}" for method, path in PATHS])
def test_what_is_no_call_is_404_or_405_and_never_a_redirect(world: World, method: str, path: str) -> None:
    answer = world.caller("officer").call(method, path)
    assert answer.status == PATHS[method, path]
    assert "location" not in answer.headers
    if method != "HEAD":
        assert answer.code == {404: "not-found", 405: "method-not-allowed"}[answer.status]


GARBAGE = [
    b"\r\n\r\n",
    b"GET\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc",
    b"GET /v1/\xff HTTP/1.1\r\nhost: x\r\n\r\n",
]


@pytest.mark.parametrize("sent", GARBAGE, ids=["nothing", "half a line", "TLS", "a byte beyond ASCII"])
def test_what_is_not_http_does_not_stop_the_exchange(world: World, sent: bytes) -> None:
    answer = on_the_socket(world, sent + b"\r\nconnection: close\r\n\r\n")
    assert answer[:12] in (b"", b"HTTP/1.1 400", b"HTTP/1.1 404")
    assert world.caller("officer").call("GET", "/v1/ping").status == 200


@pytest.mark.parametrize(("lead", "code"), [(MAX_LEAD_S, None), (MAX_LEAD_S + 1, "clock-skew")])
def test_an_act_may_be_60_seconds_ahead_and_not_61(world: World, lead: int, code: str | None) -> None:
    assert signed_at(world, lead).code == code


@pytest.mark.parametrize(("lag", "code"), [(MAX_LAG_S, None), (MAX_LAG_S + 1, "clock-skew")])
def test_an_act_may_be_seven_days_old_and_not_a_second_older(world: World, lag: int, code: str | None) -> None:
    world.clock.ahead_s += 8 * DAY_S
    answer = signed_at(world, -lag)
    assert answer.code == code
    if code is not None:
        assert answer.json["skew_s"] == -lag


def signed_at(world: World, offset: int) -> Answer:
    """A submission whose act was signed so many seconds from the exchange's now, while time stands still."""
    one = parcel(world)
    world.caller("operator").call("GET", "/v1/ping")
    try:
        world.clock.stopped_at = float(int(world.clock() - world.clock.ahead_s))
        payload = payload_in(one.document["act"]) | {"iat": int(world.clock()) + offset}
        return put(world, one, act=sign_payload(world.operator, payload))
    finally:
        world.clock.stopped_at = None


def test_a_clock_that_is_off_is_told_by_how_much_and_helped_with_a_nonce(world: World) -> None:
    """R-43: the proof's only fault is its time."""
    caller = world.caller("officer")
    proof = caller.credentials("GET", "/v1/ping", now=int(world.clock()) - 600)
    answer = caller._once("GET", "/v1/ping", b"", {}, proof)
    assert (answer.status, answer.code) == (401, "use_dpop_nonce")
    assert abs(answer.json["skew_s"]) in range(598, 603)
    again = caller.credentials("GET", "/v1/ping", now=int(world.clock()) - 600, nonce=answer.headers["dpop-nonce"])
    assert caller._once("GET", "/v1/ping", b"", {}, again).status == 200


def proofs(caller: Caller) -> dict[str, dict[str, str | None]]:
    """Credentials that are wrong in one way each."""
    right: dict[str, str | None] = {**caller.credentials("GET", "/v1/ping")}
    token = str(right["Authorization"])
    return {
        "no token": right | {"Authorization": None},
        "a bearer token": right | {"Authorization": token.replace("DPoP", "Bearer")},
        "a token cut": right | {"Authorization": token[:-4]},
        "no proof": right | {"DPoP": None},
        "a proof of another method": {**caller.credentials("PUT", "/v1/ping")},
        "a proof of another path": {**caller.credentials("GET", "/v1/inbox")},
        "a proof of another token": {**caller.credentials("GET", "/v1/ping", token="other")},
        "a proof beyond 2 KiB": {**caller.credentials("GET", "/v1/ping", jti="x" * 2048)},
    }


WRONG_PROOFS = (
    "no token", "a bearer token", "a token cut", "no proof", "a proof of another method", "a proof of another path",
    "a proof of another token", "a proof beyond 2 KiB",
)  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG_PROOFS)
def test_a_call_without_right_credentials_is_401_with_a_challenge(world: World, wrong: str) -> None:
    """R-42."""
    caller = world.caller("officer")
    answer = caller.call("GET", "/v1/ping", headers=proofs(caller)[wrong], signed=False)
    assert (answer.status, answer.code in ("invalid_token", "invalid_dpop_proof")) == (401, True)
    assert answer.headers["www-authenticate"].startswith("DPoP ")


def test_a_proof_is_used_once(world: World) -> None:
    """R-44."""
    caller = world.caller("officer")
    asked = caller._once("GET", "/v1/ping", b"", {}, caller.credentials("GET", "/v1/ping", now=1))
    proof = caller.credentials("GET", "/v1/ping", nonce=asked.headers["dpop-nonce"])
    assert caller._once("GET", "/v1/ping", b"", {}, proof).status == 200
    assert caller._once("GET", "/v1/ping", b"", {}, proof).code == "invalid_dpop_proof"


def test_two_proofs_are_none(world: World) -> None:
    caller = world.caller("officer")
    right, other = caller.credentials("GET", "/v1/ping"), caller.credentials("GET", "/v1/ping")
    lines = [f"Authorization: {right['Authorization']}", f"DPoP: {right['DPoP']}", f"DPoP: {other['DPoP']}"]
    text = "\r\n".join(["GET /v1/ping HTTP/1.1", "host: x", "connection: close", *lines, "", ""])
    answer = on_the_socket(world, text.encode())
    assert answer.startswith(b"HTTP/1.1 401 ")


def test_twenty_tokens_a_minute_are_issued_and_not_one_more(world: World) -> None:
    """R-05, R-40: a token serves 300 seconds of calls; the answer says when to ask again."""
    colleague = world.colleague
    session, keys = colleague.session, colleague.keys

    world.clock.ahead_s += 180  # Past the first minutes of the exchange, in which every proof needs a nonce.

    def ask() -> dict[str, Any]:
        return session._ask_for_token(keys, session.ambient.random(32))

    for _ in range(20):
        assert ask()["token_type"] == "DPoP"
    with pytest.raises(ReferralError) as caught:
        ask()
    assert (caught.value.code, caught.value.facts["status"]) == (ErrorCode.RATE_LIMITED, 429)
    assert caught.value.facts["retry_after_s"] > 0
    world.clock.ahead_s += 61
    assert ask()["token_type"] == "DPoP"
