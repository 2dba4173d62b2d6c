"""Joining and admitting against the exchange's real enrolment service: digits are compared, swapped keys show."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from referral_api.client import sdk
from referral_api.client.admission import Applicant
from referral_api.client.compartment import InsecureKdfForTests
from referral_api.client.enrolment import Joining
from referral_api.client.keystore import CredentialKeys, Keystore
from referral_api.client.profile import Profile, ProfileDir
from referral_api.client.sdk import Client
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import CredentialKind, PartyId, Role
from referral_api.formats.act import parse_act
from referral_api.formats.enrolment import parse_invitation
from referral_api.formats.keys import parse_public_key
from referral_api.formats.possession import challenge
from referral_api.formats.statements import KeyMap
from referral_api.formats.strict_json import b64u, sha256_b64u
from referral_api.server.service import enrolment as service
from referral_api.server.storage.database import Database
from tests.client.world import SimulatedExchange, keys_of
from tests.formats import parties_world as pw
from tests.formats.parties_world import NOW
from tests.server.office import Office

PASSPHRASE = "una frase de paso larga"
REGISTRAR = pw.person("registro", "reg1aaa", keyholder=True)
UNIT = {
    "id": "pnp-trata-piura", "role": "police_unit", "name": "Trata Piura", "duty_phone": "+51731234567",
    "area": ["20"], "escalation": [],
}  # fmt: skip
HOTLINE = {"id": "linea-piura", "role": "hotline", "name": "Línea Piura", "area": ["20"], "escalation": []}
AUDITOR = {"id": "defensoria", "role": "auditor", "name": "Defensoría", "area": ["15"], "escalation": []}


class Registry(SimulatedExchange):
    """The simulated exchange with the real enrolment and directory service behind it, on a real database."""

    def __init__(self, database: Database) -> None:
        self.office = Office(database)
        super().__init__(log=self.office.log)
        self.office.open_registry(REGISTRAR)
        self.credentials: dict[str, str] = {}
        self.asked_with: list[str | None] = []
        self.pretends = False

    def answer(self, request: httpx2.Request, path: str) -> tuple[int, Any]:
        body = json.loads(request.content) if request.content.startswith(b"{") else {}
        try:
            if path.startswith("/v1/enrolments"):
                return 200, self.enrolments(request, path, body)
            if path.startswith("/v1/directory/acts/"):
                self.office.accept(body["act"].encode(), body.get("enrolment"), self.now)
        except ReferralError as refusal:
            return 422, {"code": refusal.code.value, "retry": "never"}
        return super().answer(request, path)

    def enrolments(self, request: httpx2.Request, path: str, body: Any) -> Any:
        if path == "/v1/enrolments" and request.method == "GET":
            with self.office.database.read() as conn:
                credential = self.credentials[self.caller]
                return {"enrolments": service.pending_for(conn, self.log.keymap, credential, self.now)}
        self.asked_with.append(request.headers.get("Authorization"))
        if self.pretends:
            return _challenges(body) if request.method == "POST" else {"turn": "registrar"}
        invitation = _Secret(request.headers["Referral-Invitation"])
        if request.method == "POST":
            return self.office.begin(invitation, body["enc"], self.now)  # type: ignore[arg-type]
        enrolment = path.rpartition("/")[2]
        if request.method == "PUT":
            return self.office.complete(invitation, enrolment, body, self.now)  # type: ignore[arg-type]
        return self.office.status(invitation, enrolment, self.now)  # type: ignore[arg-type]


class _Secret:
    """An invitation as the exchange sees it: its secret and nothing else."""

    def __init__(self, secret: str) -> None:
        self.secret = secret


class People:
    """Everybody's profile directories, and clients on them."""

    def __init__(self, registry: Registry, path: Path) -> None:
        self.registry = registry
        self.path = path
        self.opened: list[Client] = []
        directory = ProfileDir(path / "registro")
        root = sha256_b64u(registry.log.leaves[0])
        profile = Profile(pw.ISSUER, pw.ISSUER, root, "sandbox", PartyId("registro"))
        Keystore.create(directory, profile).keep_person(keys_of(REGISTRAR), PASSPHRASE, InsecureKdfForTests())

    def client(self, name: str) -> Client:
        keystore = Keystore.open(ProfileDir(self.path / name))
        credential = str(keystore.profile.person)
        # One transport a profile: the exchange knows its caller by it.
        self.registry.credentials[name] = credential
        client = Client.person(
            self.path / name, PASSPHRASE, transport=self.registry.transport(name), clock=lambda: float(NOW)
        )
        self.opened.append(client)
        return client

    def join(self, name: str, invitation: bytes, **options: Any) -> Any:
        what = Joining(parse_invitation(invitation), PASSPHRASE, kdf=InsecureKdfForTests(), **options)
        return sdk.join(self.path / name, what, transport=self.registry.transport(name), clock=lambda: float(NOW))

    def admit(self, name: str, entry: dict[str, Any], **options: Any) -> Client:
        registrar = self.client("registro")
        kinds = [CredentialKind.PERSON, CredentialKind.SERVICE]
        joined = self.join(name, registrar.invite(entry, kinds), entry=entry, **options)
        registrar.approve(only([one for one in registrar.applicants() if one.party == entry["id"]]), joined.code)
        return self.client(name)


def only(applicants: list[Applicant]) -> Applicant:
    (found,) = applicants
    return found


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    url = f"sqlite:///{tmp_path / 'exchange.sqlite'}"
    database = Database.create(url)
    yield Registry(database)
    database.close()


@pytest.fixture
def people(registry: Registry, tmp_path: Path) -> Iterator[People]:
    made = People(registry, tmp_path)
    yield made
    for client in made.opened:
        client.close()


def map_of(registry: Registry) -> KeyMap:
    return registry.log.keymap


def test_a_new_party_joins_is_approved_by_its_digits_and_is_in_the_directory(people: People) -> None:
    unit = people.admit("unit", UNIT, service_secret=b"s" * 32, operator="of-7")
    party = map_of(people.registry).find_party("pnp-trata-piura")
    assert party is not None
    assert {(one.kind, one.keyholder) for one in party.credentials} == {
        (CredentialKind.PERSON, True),
        (CredentialKind.SERVICE, False),
    }
    assert [one.kid for one in party.enc] == [one.kid for one in _enc(unit.keys)]
    assert unit.joining().turn == "done"
    assert unit.sync_keys() == len(people.registry.log.leaves)


def test_keys_are_made_as_the_role_needs_them(people: People) -> None:
    hotline = people.admit("hotline", HOTLINE, service_secret=b"s" * 32)
    unit = people.admit("unit", UNIT, service_secret=b"s" * 32)
    auditor = people.admit("auditor", AUDITOR)
    services = [one.keystore.unlock_service(b"s" * 32) for one in (hotline, unit)]
    assert [len(one.seal) for one in services] == [2, 0]
    assert [len(one.keys.enc) for one in (hotline, unit, auditor)] == [1, 1, 0]
    assert services[0].enc == ()


def test_the_newcomer_has_no_token_and_its_secret_goes_into_one_header_alone(people: People) -> None:
    people.admit("unit", UNIT)
    assert set(people.registry.asked_with) == {None}


def test_wrong_digits_sign_nothing(people: People) -> None:
    registrar = people.client("registro")
    joined = people.join("unit", registrar.invite(UNIT, [CredentialKind.PERSON]), entry=UNIT)
    wrong = joined.code[:-1] + ("0" if joined.code[-1] != "0" else "1")
    size = len(people.registry.log.leaves)
    for typed in (wrong, "", "12345", joined.code[::-1]):
        with pytest.raises(ReferralError, match=ErrorCode.CODE_MISMATCH.value):
            registrar.approve(only(registrar.applicants()), typed)
    assert len(people.registry.log.leaves) == size


def test_a_swapped_key_gives_other_digits(people: People, tmp_path: Path) -> None:
    """A hostile exchange enrols keys of its own under the same invitation and shows those to the registrar."""
    registry, registrar = people.registry, people.client("registro")
    invitation = registrar.invite(UNIT, [CredentialKind.PERSON])
    joined = people.join("unit", invitation, entry=UNIT)
    registry.pretends = True
    false = people.join("forger", invitation, entry=UNIT)
    registry.pretends = False
    forged = json.loads((tmp_path / "forger" / "enrolment.json").read_text())["completion"]
    shown = {name: forged[name] for name in ("keys", "proposal", "statement")}
    registry.lies["/v1/enrolments"] = lambda status, answer: (
        status,
        {"enrolments": [one | shown for one in answer["enrolments"]]},
    )
    applicant = only(registrar.applicants())
    assert false.code != joined.code
    with pytest.raises(ReferralError, match=ErrorCode.CODE_MISMATCH.value):
        registrar.approve(applicant, joined.code)


def _challenges(body: Any) -> Any:
    sealed = [{"kid": parse_public_key(jwk).kid, "sealed": b64u(challenge(jwk, b"n" * 32))} for jwk in body["enc"]]
    return {"enrolment": "11111111-1111-4111-8111-111111111111", "challenges": sealed}


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda one: one | {"keys": one["keys"][:-1]}, "code-mismatch"),
        (lambda one: one | {"nonce": sha256_b64u(b"other")}, "possession-not-proved"),
        (lambda one: one | {"party": "pnp-otra"}, "possession-not-proved"),
        (
            lambda one: one | {"statement": one["statement"].replace('"signature":"', '"signature":"AAAA', 1)},
            "malformed",
        ),
        (lambda one: {k: v for k, v in one.items() if k != "nonce"}, "malformed"),
    ],
)
def test_documents_that_do_not_verify_are_never_shown_as_an_applicant(people: People, change: Any, code: str) -> None:
    registrar = people.client("registro")
    people.join("unit", registrar.invite(UNIT, [CredentialKind.PERSON]), entry=UNIT)
    people.registry.lies["/v1/enrolments"] = lambda status, answer: (
        status,
        {"enrolments": [change(one) for one in answer["enrolments"]]},
    )
    with pytest.raises(ReferralError, match=code):
        registrar.applicants()


def test_a_new_party_without_its_statement_cannot_be_approved(people: People) -> None:
    registrar = people.client("registro")
    joined = people.join("unit", registrar.invite(UNIT, [CredentialKind.PERSON]), entry=UNIT)
    people.registry.lies["/v1/enrolments"] = lambda status, answer: (
        status,
        {"enrolments": [one | {"statement": None} for one in answer["enrolments"]]},
    )
    with pytest.raises(ReferralError, match=ErrorCode.NOT_PERMITTED.value):
        registrar.approve(only(registrar.applicants()), joined.code)


def test_a_second_person_is_taken_in_by_a_keyholder_and_a_third_by_two(people: People) -> None:
    first = people.admit("unit", UNIT)
    file = first.invite(UNIT, [CredentialKind.PERSON])
    joined = people.join("unit-2", file, keyholder=True, station="st2")
    first.approve(only(first.applicants()), joined.code)
    second = people.client("unit-2")
    assert second.joining().turn == "done"
    third = people.join("unit-3", second.invite(UNIT, [CredentialKind.PERSON]), station="st3")
    second.approve(only(second.applicants()), third.code)
    waiting = only(first.applicants())
    assert waiting.turn == "second_keyholder"
    with pytest.raises(ReferralError, match=ErrorCode.CODE_MISMATCH.value):
        first.approve(waiting, joined.code)
    first.approve(waiting, third.code)
    party = map_of(people.registry).find_party("pnp-trata-piura")
    assert party is not None
    assert (len(party.credentials), len(party.enc), party.seq) == (3, 3, 3)
    assert people.client("unit-3").joining().turn == "done"


def test_a_lost_answer_is_made_good_by_the_same_proposal_and_the_same_digits(people: People) -> None:
    registrar = people.client("registro")
    invitation = registrar.invite(UNIT, [CredentialKind.PERSON])
    people.registry.lies["/v1/enrolments/"] = lambda status, answer: (503, {"code": "not-found", "retry": "never"})
    with pytest.raises(ReferralError, match=ErrorCode.NOT_FOUND.value):
        people.join("unit", invitation, entry=UNIT)
    people.registry.lies.clear()
    resumed = people.client("unit").resume_joining()
    assert resumed.turn == "registrar"
    registrar.approve(only(registrar.applicants()), resumed.code)
    assert people.client("unit").joining().turn == "done"


def test_a_refused_proposal_leaves_the_profile_free_for_another_with_the_same_invitation(people: People) -> None:
    registrar = people.client("registro")
    invitation = registrar.invite(UNIT, [CredentialKind.PERSON])
    with pytest.raises(ReferralError, match=ErrorCode.NOT_PERMITTED.value):
        people.join("unit", invitation, entry=UNIT, service_secret=b"s" * 32)  # only a person was invited
    assert not ProfileDir(people.path / "unit").keystore.exists()
    assert people.join("unit", invitation, entry=UNIT).turn == "registrar"


def test_an_enrolment_that_nobody_heard_of_leaves_the_profile_free(people: People) -> None:
    invitation = people.client("registro").invite(UNIT, [CredentialKind.PERSON])
    people.registry.lies["/v1/enrolments"] = lambda status, answer: (502, {"code": "unavailable", "retry": "after"})
    with pytest.raises(ReferralError, match=ErrorCode.UNAVAILABLE.value):
        people.join("unit", invitation, entry=UNIT)
    people.registry.lies.clear()
    assert people.join("unit", invitation, entry=UNIT).turn == "registrar"


def test_an_invitation_is_used_once_and_a_profile_holds_one_keystore(people: People) -> None:
    registrar = people.client("registro")
    invitation = registrar.invite(UNIT, [CredentialKind.PERSON])
    people.join("unit", invitation, entry=UNIT)
    with pytest.raises(ReferralError, match=ErrorCode.INVITE_USED.value):
        people.join("again", invitation, entry=UNIT)
    with pytest.raises(FileExistsError):
        people.join("unit", invitation, entry=UNIT)


def test_a_revoked_key_ends_what_its_credential_may_do_and_its_earlier_acts_still_verify(people: People) -> None:
    unit = people.admit("unit", UNIT)
    credential = unit.keys.credential
    kid = unit.keys.signers()[0].kid
    act = parse_act(people.registry.log.leaves[-2])
    assert act.iss == credential
    unit.revoke(kid, "lost", NOW)
    replica = unit.session.replica
    with pytest.raises(ReferralError, match="revoked"):
        replica.keymap.seal_keys(credential, NOW, NOW)
    kids = [one.kid for one in act.jws.signatures]
    assert set(replica.seal_keys_at(credential, NOW, NOW, kids).keys) == set(kids)
    with pytest.raises(ReferralError, match="revoked"):
        replica.seal_keys_at(credential, NOW, NOW + 2 * 3600, kids)


def _enc(keys: CredentialKeys) -> list[Any]:
    from referral_api.client.delivery import private_keys

    return list(private_keys(keys).values())


def test_the_roles_that_bundles_are_sealed_to_are_the_two_that_hold_referrals() -> None:
    from referral_api.client.enrolment import SEALED_TO

    assert {Role.HOTLINE, Role.POLICE_UNIT} == SEALED_TO
