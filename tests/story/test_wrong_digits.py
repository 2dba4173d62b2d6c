"""The wrong digits typed three times: the enrolment is void for everybody, whoever types what afterwards (R-36)."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial

import pytest

from referral_api.client.admission import MAX_TRIES, Applicant
from referral_api.client.compartment import InsecureKdfForTests
from referral_api.client.enrolment import Joined, Joining
from referral_api.client.sdk import Client, join
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import CredentialKind
from referral_api.formats.enrolment import Invitation, parse_invitation
from tests.auditlog.refusals import refused
from tests.wire import Answer, Wire
from tests.world import ENTRIES, PASSPHRASE, UNIT, World, entry

NEW = entry("pnp-trata-cusco", "police_unit", area=["08"], duty_phone="+51842345678")
WRONG = " ".join(["00000"] * 6)


@pytest.fixture
def world(sqlite_world: World) -> World:
    """On SQLite alone: the objection is on both engines in tests/server/test_objections.py."""
    return sqlite_world


def enrolled(world: World, by: str, described: dict[str, object], *, is_new: bool, name: str = "novato") -> Joined:
    """Somebody's enrolment that waits for whoever invited."""
    invitation = parse_invitation(world.after(world.client(by).invite(described, [CredentialKind.PERSON])))
    return _join(world, invitation, described if is_new else None, name)


def _join(world: World, invitation: Invitation, described: dict[str, object] | None, name: str) -> Joined:
    what = Joining(
        invitation, PASSPHRASE, entry=described, kdf=InsecureKdfForTests(), server=world.server.url, station=name[:8]
    )
    return world.after(join(world.folder / "profiles" / name, what, transport=Wire(world.tape), clock=world.clock))


def waiting(client: Client) -> Applicant:
    return client.applicants()[0]


def mistaken(call: Callable[[], object]) -> tuple[object, object]:
    with pytest.raises(ReferralError) as caught:
        call()
    assert caught.value.code is ErrorCode.CODE_MISMATCH
    return caught.value.facts["reason"], caught.value.facts["left"]


def turn(world: World, name: str = "novato") -> str:
    with Client(world.folder / "profiles" / name, server=world.server.url, clock=world.clock) as newcomer:
        return newcomer.joining().turn


def test_a_new_party_is_void_for_both_registrars_after_three_wrong_readings(world: World) -> None:
    """R-36: nothing reaches the keys log, and the right digits come too late, from anybody."""
    joined = enrolled(world, "registrar", NEW, is_new=True)
    applicant, other = waiting(world.registrar), waiting(world.second_registrar)
    size = world.registrar.sync_keys()
    for left in (2, 1, 0):
        assert mistaken(lambda: world.registrar.approve(applicant, WRONG)) == ("differs", left)
        world.check()
    assert turn(world) == "void"
    assert world.registrar.applicants() == []
    assert world.second_registrar.applicants() == []
    refused(ErrorCode.CODE_VOID, world.second_registrar.approve, other, joined.code)
    assert mistaken(lambda: world.registrar.approve(applicant, joined.code)) == ("differs", 0)
    assert world.registrar.sync_keys() == size
    world.check()


def test_a_keyholders_three_wrong_readings_void_what_no_statement_names_yet(world: World) -> None:
    joined = enrolled(world, "officer", ENTRIES[UNIT], is_new=False)
    applicant = waiting(world.officer)
    for _ in range(MAX_TRIES):
        mistaken(lambda: world.officer.approve(applicant, WRONG))
    assert turn(world) == "void"
    assert world.officer.applicants() == []
    assert mistaken(lambda: world.officer.approve(applicant, joined.code)) == ("differs", 0)
    world.check()


def test_a_second_keyholders_three_wrong_readings_void_the_statement_of_the_first(world: World) -> None:
    """R-32 c: what waits on the keys log is objected to there, for every client to see."""
    second = enrolled(world, "officer", ENTRIES[UNIT], is_new=False, name="segunda")
    # Two keyholders from now on.
    world.after(world.officer.approve(waiting(world.officer), second.code))
    _make_keyholder(world)
    enrolled(world, "officer", ENTRIES[UNIT], is_new=False)
    with _client(world, "segunda") as other:
        code = _code(world, "novato")
        world.after(world.officer.approve(waiting(world.officer), code))
        applicant = waiting(other)
        assert applicant.turn == "second_keyholder"
        for _ in range(MAX_TRIES):
            mistaken(lambda: other.approve(applicant, WRONG))
            world.check()
        assert turn(world) == "void"
        assert world.operator.session.sync_keys().keymap.find_pending(UNIT) is None
        assert mistaken(lambda: other.approve(applicant, code)) == ("differs", 0)


def _make_keyholder(world: World) -> None:
    """The unit's keyholder makes the second person one too."""
    from referral_api.client.admission import send_directory_act
    from referral_api.domain.words import Act

    session, keys = world.officer.session, world.officer.keys
    party = session.sync_keys().keymap.find_party(UNIT)
    assert party is not None
    person = json.loads((world.folder / "profiles" / "segunda" / "keystore.json").read_text())["profile"]["person"]
    body = party.body.wire() | {"seq": party.seq + 1, "prev_statement": party.statement}
    body["credentials"] = [
        one | ({"keyholder": True} if f"{UNIT}.{one['id']}" == person else {}) for one in body["credentials"]
    ]
    world.after(send_directory_act(session, keys, Act.STATEMENT, body, session.ambient.act_id()))


def _client(world: World, name: str) -> Client:
    return Client.person(world.folder / "profiles" / name, PASSPHRASE, server=world.server.url, clock=world.clock)


def _code(world: World, name: str) -> str:
    with Client(world.folder / "profiles" / name, server=world.server.url, clock=world.clock) as newcomer:
        return newcomer.joining().code


def test_what_is_not_thirty_digits_is_a_slip_and_counts_for_nothing(sqlite_world: World) -> None:
    world = sqlite_world
    joined = enrolled(world, "registrar", NEW, is_new=True)
    applicant = waiting(world.registrar)
    for typed in ("", "12345", WRONG[:-1], WRONG + "0", WRONG.replace("0", "o")):
        assert mistaken(partial(world.registrar.approve, applicant, typed)) == ("digits", MAX_TRIES)
    assert mistaken(lambda: world.registrar.approve(applicant, WRONG)) == ("differs", 2)
    assert mistaken(lambda: world.registrar.approve(applicant, "12345")) == ("digits", 2)
    world.after(world.registrar.approve(applicant, joined.code))
    assert turn(world) == "done"


def test_starting_again_gives_no_further_try_and_each_enrolment_has_its_own(sqlite_world: World) -> None:
    world = sqlite_world
    enrolled(world, "registrar", NEW, is_new=True)
    for left in (2, 1):
        applicant = waiting(world.registrar)
        assert mistaken(partial(world.registrar.approve, applicant, WRONG)) == ("differs", left)
        world.close_clients()
    other = enrolled(world, "registrar", NEW | {"id": "pnp-trata-puno"}, is_new=True, name="puno")
    puno = next(one for one in world.registrar.applicants() if one.party == "pnp-trata-puno")
    assert mistaken(lambda: world.registrar.approve(puno, WRONG)) == ("differs", 2)
    cusco = next(one for one in world.registrar.applicants() if one.party == NEW["id"])
    assert mistaken(lambda: world.registrar.approve(cusco, WRONG)) == ("differs", 0)
    assert (turn(world), turn(world, "puno")) == ("void", "registrar")
    world.after(world.registrar.approve(puno, other.code))


def test_an_objection_that_did_not_arrive_is_sent_again_and_nothing_is_approved_meanwhile(sqlite_world: World) -> None:
    world = sqlite_world
    joined = enrolled(world, "registrar", NEW, is_new=True)
    applicant = waiting(world.registrar)
    for _ in range(MAX_TRIES - 1):
        mistaken(lambda: world.registrar.approve(applicant, WRONG))
    away = Answer(503, {"content-type": "application/problem+json"}, b'{"code":"unavailable","retry":"after"}')
    world.wires["registrar"].lies = {"/v1/directory/acts/": lambda _answer: away}
    refused(ErrorCode.UNAVAILABLE, world.registrar.approve, applicant, WRONG)
    world.wires["registrar"].lies = {}
    assert mistaken(lambda: world.registrar.approve(applicant, joined.code)) == ("differs", 0)
    assert turn(world) == "void"
    world.check()


def test_an_exchange_that_shows_a_void_enrolment_again_gets_no_signature(sqlite_world: World) -> None:
    """What was shown once is shown again with other words of whose turn it is: the count is of this machine."""
    world = sqlite_world
    joined = enrolled(world, "registrar", NEW, is_new=True)
    shown = world.caller("registrar").call("GET", "/v1/enrolments").body
    for _ in range(MAX_TRIES):
        mistaken(lambda: world.registrar.approve(waiting(world.registrar), WRONG))
    replay = Answer(200, {"content-type": "application/json"}, shown)
    world.wires["registrar"].lies = {"/v1/enrolments": lambda _answer: replay}
    again = waiting(world.registrar)
    assert mistaken(lambda: world.registrar.approve(again, joined.code)) == ("differs", 0)
    world.wires["registrar"].lies = {}
    assert turn(world) == "void"
    world.check()


def test_a_count_that_somebody_has_changed_is_no_reason_to_go_on(sqlite_world: World) -> None:
    world = sqlite_world
    joined = enrolled(world, "registrar", NEW, is_new=True)
    applicant = waiting(world.registrar)
    mistaken(lambda: world.registrar.approve(applicant, WRONG))
    count = world.folder / "profiles" / "registrar" / "tries.json"
    assert count.stat().st_mode & 0o777 == 0o600
    for damaged in (b"", b"{}", b'{"tries":[],"v":1}', b'{"tries":{"x":-5},"v":1}'):
        count.write_bytes(damaged)
        refused(ErrorCode.KEYSTORE_CORRUPT, world.registrar.approve, applicant, joined.code)
    world.check()
