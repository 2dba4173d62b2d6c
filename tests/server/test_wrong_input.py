"""Whatever arrives is answered, over real HTTP, with the problem that it is: never a 500, never a change (R-50).

One exchange serves the whole file, because nothing here may leave a trace in it: after each test its rows must still
hold, and its log must be as long as before (but for what is refused for good, which is signed and logged, R-17).
"""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from referral_api.client.sealing import generate_enc_key
from referral_api.domain.words import Act
from referral_api.formats import signed
from referral_api.formats.keys import Alg
from referral_api.formats.strict_json import b64u, canonical, sha256_b64u, unb64u
from tests.faults.submissions import Parcel, parcel
from tests.signing import payload_of, sign, sign_payload
from tests.wire import Answer
from tests.world import HOTLINE, NATIONAL, OTHER_UNIT, UNIT, World
from tests.world_check import Rows

ABSENT = "01900000-0000-7000-8000-000000000000"
SOME_ACT = "00000000-0000-4000-8000-000000000000"
DIGEST = sha256_b64u(b"")


@pytest.fixture(scope="module")
def served(served: World) -> World:
    served.acknowledge("officer", str(served.submit().outgoing.ref))
    return served


@pytest.fixture
def world(served: World) -> Iterator[World]:
    before = len(Rows(served)["act"])
    yield served
    served.check()
    refused_for_good = len(Rows(served)["act"]) - before
    assert refused_for_good <= 1
    assert "internal_error" not in served.log_lines
    assert "_failed" not in served.log_lines


def first_ref(world: World) -> str:
    return str(world.operator.outbox.entries()[0].outgoing.ref)


def put(world: World, one: Parcel, **changes: Any) -> Answer:
    """Send a submission with members of its document replaced (None leaves one out)."""
    document = {name: text for name, text in {**one.document, **changes}.items() if text is not None}
    return world.caller(one.by).call("PUT", f"/v1/referrals/{one.ref}", document)


def payload_in(text: str) -> dict[str, Any]:
    payload: dict[str, Any] = json.loads(unb64u(json.loads(text)["payload"]))
    return payload


def resigned(world: World, one: Parcel, **members: Any) -> str:
    """The submission's act with other members, rightly signed."""
    return sign_payload(world.client(one.by), payload_in(one.document["act"]) | members)


def with_bundle(world: World, change: Callable[[dict[str, Any]], object]) -> Answer:
    """A submission whose envelope was changed, and whose act names the changed one."""
    one = parcel(world)
    envelope = json.loads(one.document["bundle"])
    change(envelope)
    text = json.dumps(envelope, separators=(",", ":"))
    body = payload_in(one.document["act"])["body"] | {
        "bundle": {"sha256": sha256_b64u(text.encode()), "size": len(text)}
    }
    return put(world, one, act=resigned(world, one, body=body), bundle=text)


def in_protected(envelope: dict[str, Any], **members: Any) -> None:
    header = json.loads(unb64u(envelope["protected"])) | members
    envelope["protected"] = b64u(json.dumps(header, separators=(",", ":")).encode())


def in_routing(envelope: dict[str, Any], change: Callable[[dict[str, Any]], object]) -> None:
    routing = json.loads(unb64u(envelope["aad"]))
    change(routing)
    envelope["aad"] = b64u(json.dumps(routing, separators=(",", ":")).encode())


def test_the_submission_that_the_others_are_wrong_copies_of_is_right(served: World) -> None:
    assert put(served, parcel(served)).status == 201
    served.check()


BODIES: Mapping[str, tuple[bytes, str]] = {
    "nothing": (b" ", "malformed"),
    "no JSON": (b'{"act":', "malformed"),
    "no object": (b'["act","bundle"]', "malformed"),
    "no text in a member": (b'{"act":1,"bundle":"x"}', "malformed"),
    "a member missing": (b'{"act":"x"}', "malformed"),
    "a member too many": (b'{"act":"x","bundle":"x","case":"x"}', "malformed"),
    "a member twice": (b'{"act":"x","bundle":"x","act":"y"}', "malformed"),
    "NaN": (b'{"act":NaN,"bundle":"x"}', "malformed"),
    "a byte order mark": (b'\xef\xbb\xbf{"act":"x","bundle":"x"}', "malformed"),
    "no UTF-8": (b'{"act":"\xff","bundle":"x"}', "malformed"),
    "letters beyond ASCII": ('{"act":"ñ","bundle":"x"}'.encode(), "malformed"),
    "a lone surrogate": (b'{"act":"\\ud800","bundle":"x"}', "malformed"),
    "an act that is no JWS": (b'{"act":"x","bundle":"x"}', "malformed"),
}


@pytest.mark.parametrize(("raw", "code"), BODIES.values(), ids=BODIES.keys())
def test_a_body_that_is_no_submission_is_malformed(world: World, raw: bytes, code: str) -> None:
    """R-01: strict documents only."""
    answer = world.caller("operator").call("PUT", f"/v1/referrals/{ABSENT}", raw=raw)
    assert (answer.status, answer.code, answer.json["retry"]) == (400, code, "never")


HEADERS: Mapping[str, tuple[dict[str, str | None], bytes, int, str]] = {
    "no content type": ({"Content-Type": None}, b"{}", 415, "media-type"),
    "another content type": ({"Content-Type": "text/plain"}, b"{}", 415, "media-type"),
    "gzip": ({"Content-Encoding": "gzip"}, gzip.compress(b"{}"), 415, "encoding-not-allowed"),
    "an unknown encoding": ({"Content-Encoding": "x"}, b"{}", 415, "encoding-not-allowed"),
}


@pytest.mark.parametrize(("headers", "raw", "status", "code"), HEADERS.values(), ids=HEADERS.keys())
def test_wrong_headers_are_told_apart(
    world: World, headers: dict[str, str | None], raw: bytes, status: int, code: str
) -> None:
    """R-51 for encodings: a thousandfold body must not even be unpacked."""
    answer = world.caller("operator").call("PUT", f"/v1/referrals/{ABSENT}", raw=raw, headers=headers)
    assert (answer.status, answer.code) == (status, code)


ACTS: Mapping[str, tuple[Callable[[World, Parcel], str], int, str]] = {
    "signed as a receipt": (
        lambda world, one: sign_payload(world.operator, payload_in(one.document["act"]), typ=signed.RECEIPT),
        422,
        "wrong-type",
    ),
    "a payload that is no JSON": (lambda world, one: sign_payload(world.operator, b"{"), 400, "malformed"),
    "a payload with a float": (lambda world, one: sign_payload(world.operator, b'{"v":1.0}'), 400, "malformed"),
    "a payload with a member twice": (
        lambda world, one: sign_payload(world.operator, b'{"v":1,"v":1}'),
        400,
        "malformed",
    ),
    "an unknown member": (lambda world, one: resigned(world, one, urgent=True), 422, "act-schema"),
    "an unknown act": (lambda world, one: resigned(world, one, act="explode"), 422, "act-schema"),
    "an unknown member of the body": (
        lambda world, one: resigned(world, one, body=payload_in(one.document["act"])["body"] | {"victim": "x"}),
        422,
        "act-schema",
    ),
    "an unknown code": (
        lambda world, one: resigned(world, one, body=payload_in(one.document["act"])["body"] | {"urgency": "soon"}),
        422,
        "act-schema",
    ),
    "another version": (lambda world, one: resigned(world, one, v=2), 422, "act-schema"),
    "an id that is no UUIDv4": (lambda world, one: resigned(world, one, id=ABSENT), 422, "act-schema"),
    "an unknown credential": (lambda world, one: resigned(world, one, iss=f"{HOTLINE}.nobody"), 422, "key-not-valid"),
    "a party that is not the credential's": (lambda world, one: resigned(world, one, party=UNIT), 422, "act-schema"),
    "another exchange": (
        lambda world, one: resigned(world, one, aud="https://other.example"),
        422,
        "wrong-audience",
    ),
    "another referral": (lambda world, one: resigned(world, one, ref=ABSENT), 422, "path-mismatch"),
    "keys of somebody else": (
        lambda world, one: sign_payload(
            world.operator, payload_in(one.document["act"]), signers=world.colleague.keys.signers()
        ),
        422,
        "key-not-valid",
    ),
    "a signature stripped": (
        lambda world, one: sign_payload(
            world.operator, payload_in(one.document["act"]), signers=world.operator.keys.signers()[:1]
        ),
        422,
        "act-signature-invalid",
    ),
    "a signature forged": (
        lambda world, one: one.document["act"].replace(
            json.loads(one.document["act"])["signatures"][0]["signature"], b64u(bytes(64))
        ),
        422,
        "act-signature-invalid",
    ),
    "a payload changed after signing": (
        lambda world, one: one.document["act"].replace(
            json.loads(one.document["act"])["payload"],
            b64u(canonical(payload_in(one.document["act"]) | {"iat": 1 + payload_in(one.document["act"])["iat"]})),
        ),
        422,
        "act-signature-invalid",
    ),
    "time that is text": (lambda world, one: resigned(world, one, iat="now"), 422, "act-schema"),
}


@pytest.mark.parametrize(("make", "status", "code"), ACTS.values(), ids=ACTS.keys())
def test_a_wrong_act_is_told_what_is_wrong_and_its_id_stays_unused(
    world: World, make: Callable[[World, Parcel], str], status: int, code: str
) -> None:
    """R-10, R-11, R-15, R-17: only what is rightly signed by who calls gets further than a problem document."""
    one = parcel(world)
    answer = put(world, one, act=make(world, one))
    assert (answer.status, answer.code) == (status, code), answer.body
    assert "receipt" not in answer.json
    assert not [row for row in Rows(world)["act"] if row["id"] == one.act_id]


def _other_unit_in_routing(envelope: dict[str, Any]) -> None:
    in_routing(envelope, lambda routing: routing["to"][0].update(party=OTHER_UNIT))


def _unknown_kid(envelope: dict[str, Any]) -> None:
    kid = generate_enc_key(Alg.HPKE_9).kid
    in_routing(envelope, lambda routing: routing["to"][0].update(kid=kid))
    envelope["recipients"][0]["header"]["kid"] = kid


BUNDLES: Mapping[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "zip": (lambda e: in_protected(e, zip="DEF"), "bundle-malformed"),
    "another content encryption": (lambda e: in_protected(e, enc="A128GCM"), "bundle-malformed"),
    "another kind of contents": (lambda e: in_protected(e, cty="referral-act+jws"), "bundle-malformed"),
    "a note in a bundle's place": (lambda e: in_protected(e, cty="referral-note+jws"), "wrong-type"),
    "a classical recipient": (
        lambda e: e["recipients"][0]["header"].update(alg="ECDH-ES+A256KW"),
        "classical-recipient",
    ),
    "a recipient missing": (lambda e: e["recipients"].pop(), "recipient-mismatch"),
    "a recipient twice": (lambda e: e["recipients"].append(e["recipients"][0]), "recipient-mismatch"),
    "recipients exchanged": (lambda e: e["recipients"].reverse(), "recipient-mismatch"),
    "no recipient": (lambda e: e.update(recipients=[]), "bundle-malformed"),
    "a recipient that the routing does not name": (_other_unit_in_routing, "recipient-key-stale"),
    "a key that nobody has": (_unknown_kid, "recipient-key-stale"),
    "an attachment that nobody can fetch": (
        lambda e: in_routing(e, lambda r: r.update(att=[{"id": "a0", "manifest": "A" * 43, "size": 1}])),
        "bundle-malformed",
    ),
    "a member too many": (lambda e: e.update(unprotected={}), "bundle-malformed"),
    "a member missing": (lambda e: e.pop("tag"), "bundle-malformed"),
    "an encapsulation too short": (lambda e: e["recipients"][0]["header"].update(ek="AAAA"), "bundle-malformed"),
    "a key encrypted to another length": (
        lambda e: e["recipients"][0].update(encrypted_key="AAAA"),
        "bundle-malformed",
    ),
    "base64 with padding": (lambda e: e.update(iv=base64.b64encode(bytes(12)).decode() + "="), "bundle-malformed"),
    "from another party": (
        lambda e: in_routing(e, lambda r: r.update({"from": NATIONAL})),
        "bundle-malformed",
    ),
    "about another referral": (lambda e: in_routing(e, lambda r: r.update(ref=ABSENT)), "recipient-mismatch"),
    "routing with a member too many": (lambda e: in_routing(e, lambda r: r.update(note="x")), "bundle-malformed"),
}


@pytest.mark.parametrize(("change", "code"), BUNDLES.values(), ids=BUNDLES.keys())
def test_an_envelope_that_breaks_the_profile_is_refused(
    world: World, change: Callable[[dict[str, Any]], object], code: str
) -> None:
    """R-20, R-21, R-25, R-64: the exchange cannot open a bundle, but it can see that nobody could."""
    answer = with_bundle(world, change)
    assert (answer.status, answer.code) == (422, code), answer.body


def test_a_bundle_that_is_not_the_one_named_is_refused(world: World) -> None:
    one = parcel(world)
    other = parcel(world).document["bundle"]
    cut = one.document["bundle"][:-100]
    assert put(world, one, bundle=other).code == "digest-mismatch"
    assert put(world, one, bundle=cut).code == "bundle-malformed"
    assert put(world, one, bundle=one.document["bundle"] + " ").code == "digest-mismatch"


def later(world: World, by: str, act: Act, body: Mapping[str, Any], **members: Any) -> Answer:
    """Some later act on the referral that the unit has acknowledged."""
    ref = members.pop("path_ref", first_ref(world))
    sealed = members.pop("sealed", None)
    act_id, text = sign(world.client(by), act, body, members.pop("ref", ref), **members)
    document = {"act": text} | ({} if sealed is None else {"sealed": sealed})
    return world.caller(by).call("PUT", f"/v1/referrals/{ref}/acts/{members.get('path_id', act_id)}", document)


def head(world: World) -> str:
    return world.officer.referral(first_ref(world)).chronicle.deliveries[UNIT].head


LATER: Mapping[str, tuple[Callable[[World], Answer], int, str]] = {
    "by a stranger": (
        lambda w: later(w, "stranger", Act.STATUS, {"code": "registered"}, unit=OTHER_UNIT, prev=head(w)),
        404,
        "not-found",
    ),
    "in another unit's name": (
        lambda w: later(w, "officer", Act.STATUS, {"code": "registered"}, unit=NATIONAL, prev=head(w)),
        403,
        "not-permitted",
    ),
    "on a referral that is not there": (
        lambda w: later(w, "officer", Act.STATUS, {"code": "registered"}, unit=UNIT, path_ref=ABSENT),
        404,
        "not-found",
    ),
    "by who stands by": (
        lambda w: later(w, "national", Act.ACK, {"bundle": DIGEST, "submit": DIGEST, "decrypted": True}, unit=NATIONAL),
        404,
        "not-found",
    ),
    "by an auditor": (
        lambda w: later(w, "auditor", Act.NOTE, {"sealed": {"sha256": DIGEST, "size": 1}}),
        422,
        "digest-mismatch",
    ),
    "an act of the exchange": (lambda w: later(w, "operator", Act.TELEPHONE_NOW, {}), 422, "act-schema"),
    "a decision on an old head": (
        lambda w: later(w, "officer", Act.ACCEPT, {}, unit=UNIT, prev=DIGEST),
        409,
        "stale-head",
    ),
    "a decision on no head": (lambda w: later(w, "officer", Act.ACCEPT, {}, unit=UNIT), 409, "stale-head"),
    "a fact on nothing": (
        lambda w: later(w, "officer", Act.STATUS, {"code": "registered"}, unit=UNIT, prev=DIGEST),
        409,
        "stale-head",
    ),
    "a decision on the whole referral": (
        lambda w: later(w, "operator", Act.CLOSE, {"outcome": "duplicate"}, prev=head(w)),
        409,
        "illegal-transition",
    ),
    "an illegal move": (
        lambda w: later(w, "officer", Act.CLOSE, {"outcome": "duplicate"}, unit=UNIT, prev=head(w)),
        409,
        "illegal-transition",
    ),
    "an answer to nothing": (
        lambda w: later(w, "operator", Act.ANSWER, {"answers": DIGEST, "code": "not_known"}, unit=UNIT, prev=head(w)),
        409,
        "illegal-transition",
    ),
    "an acknowledgement of another bundle": (
        lambda w: later(
            w,
            "officer",
            Act.ACK,
            {"bundle": DIGEST, "submit": w.officer.referral(first_ref(w)).submit().act.digest, "decrypted": True},
            unit=UNIT,
            prev=head(w),
        ),
        422,
        "digest-mismatch",
    ),
    "an acknowledgement of no submit": (
        lambda w: later(
            w, "officer", Act.ACK, {"bundle": DIGEST, "submit": DIGEST, "decrypted": True}, unit=UNIT, prev=head(w)
        ),
        422,
        "digest-mismatch",
    ),
    "something sealed that is not named": (
        lambda w: later(w, "officer", Act.STATUS, {"code": "registered"}, unit=UNIT, prev=head(w), sealed="{}"),
        422,
        "digest-mismatch",
    ),
    "something named that is not there": (
        lambda w: later(w, "officer", Act.NOTE, {"sealed": {"sha256": DIGEST, "size": 1}}, unit=UNIT, prev=head(w)),
        422,
        "digest-mismatch",
    ),
    "under another id": (
        lambda w: w.caller("officer").call(
            "PUT",
            f"/v1/referrals/{first_ref(w)}/acts/{SOME_ACT}",
            {"act": sign(w.officer, Act.STATUS, {"code": "registered"}, first_ref(w), unit=UNIT)[1]},
        ),
        422,
        "path-mismatch",
    ),
    "a directory act on a referral": (
        lambda w: later(w, "officer", Act.REVOKE, {"kid": DIGEST, "reason": "lost", "at": 1_795_000_000}, ref=None),
        422,
        "path-mismatch",
    ),
}


@pytest.mark.parametrize(("send", "status", "code"), LATER.values(), ids=LATER.keys())
def test_a_later_act_out_of_place_is_refused(
    world: World, send: Callable[[World], Answer], status: int, code: str
) -> None:
    """R-17, R-51, R-60, R-61, R-65: the five final refusals come with a receipt, all others without."""
    answer = send(world)
    assert (answer.status, answer.code) == (status, code), answer.body
    final = {"stale-head", "illegal-transition", "not-permitted", "consent-gate", "target-not-allowed"}
    assert ("receipt" in answer.json, "proof" in answer.json) == (code in final, code in final)


def test_what_another_party_signed_is_carried_by_nobody_else(world: World) -> None:
    """R-15."""
    one = parcel(world)
    one.by = "colleague"
    assert put(world, one).code == "issuer-mismatch"


def test_a_consent_tuple_that_does_not_fit_is_refused_for_good(world: World) -> None:
    """R-83: vital interest identifies nobody without an override; the gate's refusal is signed."""
    one = parcel(world)
    body = payload_in(one.document["act"])["body"] | {"basis": "vital_interest"}
    answer = put(world, one, act=resigned(world, one, body=body))
    assert (answer.status, answer.code, "receipt" in answer.json) == (403, "consent-gate", True)


def test_an_addressed_unit_that_the_route_excludes_is_refused_for_good(world: World) -> None:
    one = parcel(world)
    route = sign_payload(world.operator, payload_of(world.operator, Act.ROUTE, {"excluded": [UNIT]}, one.ref))
    answer = put(world, one, route=route)
    assert (answer.status, answer.code, "receipt" in answer.json) == (403, "target-not-allowed", True)


def test_a_route_act_of_another_referral_travels_with_none(world: World) -> None:
    one = parcel(world)
    route = sign_payload(world.operator, payload_of(world.operator, Act.ROUTE, {"excluded": [OTHER_UNIT]}, ABSENT))
    assert put(world, one, route=route).code == "path-mismatch"
    assert put(world, one, route=one.document["act"]).code in ("path-mismatch", "digest-mismatch")


def test_an_id_that_was_used_for_something_else_is_refused_and_changes_nothing(world: World) -> None:
    """R-14."""
    stored = next(row for row in Rows(world)["act"] if row["act"] == "submit")
    one = parcel(world)
    act = resigned(world, one, id=stored["id"])
    answer = put(world, one, act=act)
    assert (answer.status, answer.code, answer.json["digest"]) == (409, "act-id-reused", stored["digest"])


def test_other_signature_bytes_over_the_same_payload_get_the_first_receipt(world: World) -> None:
    """R-14: signature bytes are no identity."""
    entry = world.operator.outbox.entries()[0]
    again = sign_payload(world.operator, payload_in(entry.outgoing.jws.decode()))
    one = Parcel("operator", str(entry.outgoing.ref), entry.outgoing.id, {})
    bundle = None if entry.outgoing.beside is None else entry.outgoing.beside.decode()
    answer = put(world, one, act=again, bundle=bundle)
    assert again.encode() != entry.outgoing.jws
    assert entry.receipt is not None
    assert (answer.status, answer.json["receipt"]) == (200, entry.receipt.decode())


def test_a_submit_under_a_referral_that_exists_is_refused(world: World) -> None:
    one = parcel(world)
    text = resigned(world, one, ref=first_ref(world))
    path = f"/v1/referrals/{first_ref(world)}"
    answer = world.caller("operator").call("PUT", path, {"act": text, "bundle": one.document["bundle"]})
    assert answer.code == "recipient-mismatch"
    foreign = parcel(world, "colleague")
    text = resigned(world, foreign, ref=first_ref(world))
    answer = world.caller("colleague").call("PUT", path, {"act": text, "bundle": foreign.document["bundle"]})
    assert answer.code == "recipient-mismatch"


@pytest.mark.parametrize("members", [{"prev": "A" * 43}, {"unit": UNIT}], ids=["prev", "unit"])
def test_a_directory_act_that_speaks_of_a_delivery_never_reaches_the_keys_log(
    world: World, members: dict[str, str]
) -> None:
    """R-11: one such leaf, and a reader that goes by the text could never follow the log again."""
    kid = world.second_officer.keys.signers()[0].kid
    body = {"kid": kid, "reason": "lost", "at": int(world.clock())}
    act_id, raw = sign(world.officer, Act.REVOKE, body, None, **members)
    answer = world.caller("officer").call("PUT", f"/v1/directory/acts/{act_id}", {"act": raw})
    assert (answer.status, answer.code, answer.json["reason"]) == (422, "act-schema", "contradiction")


@pytest.mark.parametrize(("size", "status"), [(16 * 1024, 201), (16 * 1024 + 1, 413)])
def test_a_routing_header_of_16_kib_is_read_and_one_byte_more_is_not(world: World, size: int, status: int) -> None:
    """R-05."""

    def pad(envelope: dict[str, Any]) -> None:
        envelope["aad"] = b64u(unb64u(envelope["aad"]).ljust(size))

    answer = with_bundle(world, pad)
    assert (answer.status, answer.code) == (status, "too-large" if status == 413 else None)
