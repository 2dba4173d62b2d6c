"""What may not enrol, over real HTTP: each refused with its own code, and nothing of it left behind (R-07, R-34, R-35).

The approver's side of the same keys, in front of a dishonest exchange: tests/story/test_swapped_keys.py; digits typed
wrong: tests/story/test_wrong_digits.py.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from referral_api.domain.words import CredentialKind, KeyUse
from referral_api.formats.enrolment import Invitation, parse_invitation
from referral_api.formats.key_entry import build_key_entry
from referral_api.formats.strict_json import b64u
from tests.cli.shell import Ran, Shell
from tests.formats.parties_world import enc_jwk
from tests.lies_of_keys import WEAK, forged_completion
from tests.wire import Answer
from tests.world import PASSPHRASE, UNIT, World, entry

NEW = entry("pnp-trata-cusco", "police_unit", area=["08"], duty_phone="+51842345678")
NO_UUID = "00000000-0000-4000-8000-000000000000"


@pytest.fixture
def world(sqlite_world: World) -> World:
    """For what a command prints; what the exchange refuses is on both engines (`enrolling`)."""
    return sqlite_world


def invited(world: World) -> Invitation:
    return parse_invitation(world.client("registrar").invite(NEW, [CredentialKind.PERSON]))


def call(world: World, method: str, path: str, secret: str, document: Any = None) -> Answer:
    """A call of somebody who has an invitation's secret and nothing else."""
    headers = {"Referral-Invitation": secret}
    return world.caller("registrar").call(method, path, document, headers=headers, signed=False)


def begun(world: World, invitation: Invitation, enc: list[dict[str, str]]) -> Answer:
    return call(world, "POST", "/v1/enrolments", invitation.secret, {"enc": enc})


def completed(world: World, invitation: Invitation, enrolment: str, documents: dict[str, Any]) -> Answer:
    body = {**documents, "possession": []}
    return call(world, "PUT", f"/v1/enrolments/{enrolment}", invitation.secret, body)


def documents(world: World, invitation: Invitation, key: tuple[str, dict[str, str]] | None = None) -> dict[str, Any]:
    shown = {"party": NEW["id"], "nonce": invitation.nonce, "entry": NEW}
    return forged_completion(key, shown, int(world.clock()))


def told(answer: Answer) -> tuple[int, str | None, Any]:
    return answer.status, answer.code, answer.json.get("reason")


@pytest.fixture(scope="module")
def enrolling(served: World) -> Iterator[tuple[World, Invitation, str]]:
    """An enrolment that has begun, on each engine: whatever is refused leaves it where it was."""
    invitation = invited(served)
    yield served, invitation, begun(served, invitation, []).json["enrolment"]
    enrolment = begun(served, invitation, []).json["enrolment"]
    assert completed(served, invitation, enrolment, documents(served, invitation)).json["turn"] == "registrar"


@pytest.mark.parametrize("name", WEAK)
def test_a_key_that_is_none_is_refused_where_it_first_appears(
    name: str, enrolling: tuple[World, Invitation, str]
) -> None:
    """R-07: an encryption key before it is challenged, a signing key with its entry."""
    world, invitation, enrolment = enrolling
    use, jwk, reason = WEAK[name]
    if use == "enc":
        assert told(begun(world, invitation, [jwk])) == (422, "key-unsuitable", reason)
    refused = completed(world, invitation, enrolment, documents(world, invitation, (use, jwk)))
    assert told(refused) == (422, "key-unsuitable", reason)
    world.check()


def test_a_key_that_is_on_the_keys_log_is_refused(enrolling: tuple[World, Invitation, str]) -> None:
    """R-07: an encryption key of another party, and a signing key, though its own holder brings it."""
    world, invitation, enrolment = enrolling
    keymap = world.operator.session.sync_keys().keymap
    theirs = keymap.sealable(UNIT, int(world.clock()))[0].public
    assert told(begun(world, invitation, [theirs.jwk]))[:2] == (422, "key-reused")
    access = world.officer.keys.access.signing_key()
    again = build_key_entry(
        party=str(NEW["id"]), use=KeyUse.ACCESS, jwk=access.public.jwk, nonce=invitation.nonce,
        iat=int(world.clock()), possession=None, signers=[access],
    )  # fmt: skip
    said = documents(world, invitation, ("access", access.public.jwk))
    said["keys"][0] = again.decode()
    assert told(completed(world, invitation, enrolment, said))[:2] == (422, "key-reused")
    twice = [WEAK["all-zero KEM"][1] | {"pub": theirs.jwk["pub"]}] * 2
    assert told(begun(world, invitation, twice))[:2] == (422, "key-reused")
    world.check()


def test_an_encryption_key_whose_challenge_nobody_answered_is_refused(
    enrolling: tuple[World, Invitation, str],
) -> None:
    """R-35: possession is proved to the exchange, not claimed."""
    world, invitation, enrolment = enrolling
    key = ("enc", enc_jwk("nobody opens what is sealed to it"))
    refused = completed(world, invitation, enrolment, documents(world, invitation, key))
    assert told(refused) == (422, "possession-not-proved", "nonce")
    challenged = begun(world, invitation, [key[1]]).json
    assert challenged["enrolment"] == enrolment
    refused = completed(world, invitation, enrolment, documents(world, invitation, key))
    assert told(refused) == (422, "possession-not-proved", "nonce")
    world.check()


def test_a_used_an_expired_and_a_foreign_invitation_open_nothing(served: World) -> None:
    """R-34, R-51: a secret of elsewhere is like none at all, and another's enrolment is not there."""
    world = served
    used, other = invited(world), invited(world)
    enrolment = begun(world, used, []).json["enrolment"]
    assert completed(world, used, enrolment, documents(world, used)).json["turn"] == "registrar"
    for answer in (begun(world, used, []), completed(world, used, enrolment, documents(world, other))):
        assert told(answer)[:2] == (409, "invite-used"), answer.json
    for path in (enrolment, NO_UUID):
        assert told(completed(world, other, path, documents(world, other)))[:2] == (404, "invite-unknown")
        assert told(call(world, "GET", f"/v1/enrolments/{path}", other.secret))[:2] == (404, "invite-unknown")
    foreign = b64u(b"of another one.."), b64u(bytes(16)), "A" * 21 + "B", "short"
    for secret in foreign:
        assert told(call(world, "POST", "/v1/enrolments", secret, {"enc": []}))[:2] == (404, "invite-unknown")
    world.check()


def test_an_invitation_that_is_out_of_time_opens_nothing(world: World) -> None:
    """R-34: 72 hours to begin, seven days to complete."""
    late, slow = invited(world), invited(world)
    enrolment = begun(world, slow, []).json["enrolment"]
    world.clock.ahead_s += 72 * 3600 + 61
    assert told(begun(world, late, []))[:2] == (410, "invite-expired")
    world.clock.ahead_s += 4 * 24 * 3600
    assert told(completed(world, slow, enrolment, documents(world, slow)))[:2] == (410, "invite-expired")
    world.check()


# On the screen of whoever was invited.


def enrol(world: World, name: str, invitation: Invitation, *more: str) -> Ran:
    """`referral enrol` with an invitation file, as somebody new."""
    shell = Shell(world.folder, world.server.url)
    (world.folder / f"{name}.json").write_text(invitation.model_dump_json(), encoding="utf-8")
    (world.folder / "ficha.json").write_text(json.dumps(NEW), encoding="utf-8")
    (world.folder / "passphrase").write_text(PASSPHRASE, encoding="utf-8")
    return shell.run(name, "enrol", f"{name}.json", "--entry", "ficha.json", "--no-service", *more)


SCREENS = {
    "used": (
        ("es", "✖ La invitación ya fue usada.", "Si no la usó usted, llame de inmediato al registrador."),
        ("en", "✖ The invitation has been used.", "call the registrar"),
    ),
    "expired": (
        ("es", "✖ La invitación venció.", "Pida una nueva a quien le invitó."),
        ("en", "✖ The invitation has expired.", "Ask"),
    ),
    "unknown": (
        ("es", "✖ La invitación es desconocida.", "Si es así, pida al registrador una invitación nueva."),
        ("en", "✖ The invitation is unknown.", "registrar"),
    ),
}


@pytest.mark.parametrize("what", SCREENS)
def test_whoever_was_invited_is_told_why_and_what_to_do(what: str, sqlite_world: World) -> None:
    world, invitation = sqlite_world, invited(sqlite_world)
    if what == "used":
        assert begun(world, invitation, []).status == 201
        enrolment = begun(world, invitation, []).json["enrolment"]
        assert completed(world, invitation, enrolment, documents(world, invitation)).status == 200
    elif what == "expired":
        world.clock.ahead_s += 72 * 3600 + 61
    else:
        invitation = invitation.model_copy(update={"secret": b64u(b"of another one..")})
    for lang, title, do in SCREENS[what]:
        ran = enrol(world, f"{what}-{lang}", invitation, "--lang", lang)
        assert ran.exit == 4, ran
        assert title in ran.err
        assert do in ran.err
        assert f"invite-{what}" in ran.err
        assert not list((world.folder / "profiles" / f"{what}-{lang}").glob("keystore*")), "the profile is free again"
