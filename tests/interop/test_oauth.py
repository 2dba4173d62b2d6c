"""An unmodified OAuth client of somebody else's (oauth4webapi) works with the exchange, and its user can check it.

tests/interop/oauth.mjs was written from docs/protocol.md: discovery, a token by private_key_jwt and DPoP, the inbox,
then receipt and proof of what stands in it, over jose and Node's own hashing.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import pytest

from referral_api.client import enrolment, exchange
from referral_api.client.enrolment import Joining, profile_of
from referral_api.client.keystore import CredentialKeys, Secret, new_credential_keys, new_signing_secret
from referral_api.client.profile import ProfileDir
from referral_api.client.sdk import ambient
from referral_api.client.session import Session
from referral_api.domain.errors import ErrorCode
from referral_api.domain.words import CredentialId, CredentialKind
from referral_api.formats.enrolment import Completion, parse_invitation
from referral_api.formats.keys import Alg
from referral_api.formats.strict_json import b64u
from tests.interop.programs import run
from tests.world import ISSUER, Founded, World, composition, entry

pytestmark = pytest.mark.interop
PARTY = "linea-tercera"
HOUR_S = 3600


@pytest.fixture(scope="module")
def served(founded: Founded, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with World(founded, tmp_path_factory.mktemp("oauth") / "world") as world:
        yield world


def job_for(world: World, credential: str, access: Secret, dpop: Alg, *, skew_s: int) -> dict[str, Any]:
    public = access.signing_key().public
    return {
        "issuer": ISSUER,
        "base": world.server.url,
        "client_id": credential,
        "key": {"jwk": public.jwk, "d": b64u(access.secret)},
        "kid": public.kid,
        "dpop_alg": dpop.value,
        "skew_s": skew_s,
    }


def third_party(world: World) -> CredentialKeys:
    """A hotline whose access key is ES256, as smart cards have it, enrolled and approved like any other."""
    described = entry(PARTY, "hotline", duty_phone="+5118180003")
    invitation = parse_invitation(world.registrar.invite(described, [CredentialKind.PERSON]))
    around, what = ambient(world.clock), Joining(invitation, "", entry=described, server=world.server.url)
    now = int(world.clock())
    made = new_credential_keys(CredentialId(f"{PARTY}.card1"), CredentialKind.PERSON, now)
    keys = dataclasses.replace(made, access=new_signing_secret(Alg.ES256, now))
    credentials = [enrolment._listed(keys, CredentialKind.PERSON, what, now)]
    document = {
        "keys": [one.decode() for one in enrolment._own_entries(what, keys, None, now)],
        "possession": [],
        "proposal": {"credentials": credentials, "enc": [], "entry": described},
        "statement": enrolment._first_statement(around, what, keys, credentials, [], now).decode(),
    }
    profile = profile_of(what)
    session = Session(ProfileDir(world.folder / "profiles" / "card"), profile, None, around)
    try:
        begun = session.read_json(exchange.begin_enrolment(invitation.secret, []))
        session.read_json(exchange.complete_enrolment(invitation.secret, begun["enrolment"], document))
    finally:
        session.close()
    code = enrolment.code_of(profile, invitation.secret, Completion.parse(document, code=ErrorCode.MALFORMED))
    applicant = next(one for one in world.registrar.applicants() if one.party == PARTY)
    world.registrar.approve(applicant, code)
    return keys


@pytest.mark.parametrize("dpop", [Alg.ED25519, Alg.ES256])
def test_an_unmodified_client_polls_the_inbox_and_verifies_what_is_behind_it(
    node: str, served: World, dpop: Alg
) -> None:
    sent = served.operator.submit(composition())
    officer = served.officer.keys
    told = run(node, "oauth.mjs", "poll", job_for(served, officer.credential, officer.access, dpop, skew_s=-HOUR_S))
    assert told["metadata"]["issuer"] == ISSUER
    assert (told["token_type"], told["expires_in"]) == ("dpop", 300)
    assert sent.outgoing.ref in {line["ref"] for line in told["inbox"]["entries"]}
    # An hour behind, it was asked for a nonce at both endpoints and got through with it.
    steps = [(call["path"], call["status"], call["nonce"]) for call in told["seen"][:5]]
    assert steps == [
        ("/.well-known/oauth-authorization-server", 200, False),
        ("/oauth/token", 400, True),
        ("/oauth/token", 200, False),
        ("/v1/inbox", 401, True),
        ("/v1/inbox", 200, False),
    ]
    first = told["inbox"]["entries"][0]
    evidence = told["evidence"]
    assert (evidence["outcome"], evidence["act"], evidence["index"]) == ("accepted", first["act"], first["index"])
    assert evidence["origin"] == f"localhost:8440/v1/log/audit/{first['year']}"
    assert evidence["size"] > first["index"]
    served.check()


def test_the_vendors_verification_takes_the_evidence_and_nothing_else(node: str, served: World) -> None:
    served.operator.submit(composition())
    later = served.operator.submit(composition())
    officer = served.officer.keys
    job = job_for(served, officer.credential, officer.access, Alg.ED25519, skew_s=0)
    found = run(node, "oauth.mjs", "poll", job)["evidence"]
    good = {"keys": found["keys"], "act": found["jws"], "receipt": found["receipt"], "proof": found["proof"]}
    assert run(node, "oauth.mjs", "verify", good)["outcome"] == "accepted"
    assert later.receipt is not None
    assert later.proof is not None
    lines = good["proof"].split("\n")
    hashes = lines.index("") - 1
    size = lines.index("") + 2
    refused = {
        "the receipt is of another act": good | {"receipt": later.receipt.decode()},
        "the proof is of another place than the receipt": good | {"proof": later.proof.decode()},
        "the leaf is not in the tree": good
        | {"proof": "\n".join([*lines[:hashes], lines[1][6:50], *lines[hashes + 1 :]])},
        "the checkpoint is forged": good | {"proof": "\n".join([*lines[:size], "1000000", *lines[size + 1 :]])},
        "no published key has this key id": good | {"keys": good["keys"][:2]},
    }
    for reason, lie in refused.items():
        assert run(node, "oauth.mjs", "verify", lie) == {"refused": reason}


@pytest.mark.parametrize("dpop", [Alg.ED25519, Alg.ES256])
def test_a_client_with_an_es256_access_key_polls_as_well(
    node: str, third: tuple[World, CredentialKeys], dpop: Alg
) -> None:
    world, keys = third
    told = run(node, "oauth.mjs", "poll", job_for(world, keys.credential, keys.access, dpop, skew_s=0))
    assert told["inbox"]["entries"] == []
    assert [call["path"] for call in told["seen"] if call["status"] == 200][-2:] == ["/oauth/token", "/v1/inbox"]


@pytest.fixture(scope="module")
def third(served: World) -> tuple[World, CredentialKeys]:
    return served, third_party(served)
