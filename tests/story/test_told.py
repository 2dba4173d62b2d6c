"""What the screens say of calls, rungs, units without a number and mistakes of the person who types.

Clauses R-70, R-80, R-84; design §7.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest

from referral_api.cli import nexts
from referral_api.cli.acting import detail_of, timeline_data
from referral_api.cli.output import Screen
from referral_api.cli.texts import say
from referral_api.client import sdk
from referral_api.client.admission import send_directory_act
from referral_api.client.compartment import InsecureKdfForTests
from referral_api.client.enrolment import Joining
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import Act, ActId, CredentialKind
from referral_api.domain.worklists import Worklist
from referral_api.formats.enrolment import build_invitation, parse_invitation
from referral_api.formats.strict_json import sha256_b64u, unb64u
from tests.auditlog.refusals import refused
from tests.cli.shell import Ran, Shell
from tests.crowd import admit_crowd
from tests.story.test_deadlines import later
from tests.world import ENTRIES, NATIONAL, OTHER_UNIT, PASSPHRASE, REFERRAL, UNIT, World, entry
from tests.world_check import Rows

SILENT = "pnp-sin-numero"


@pytest.fixture
def world(sqlite_world: World) -> World:
    return sqlite_world


@pytest.fixture
def shell(world: World) -> Shell:
    return Shell(world.folder, world.server.url)


@pytest.fixture
def silent(world: World) -> str:
    """A unit of the directory that names no duty telephone, as units invited and enrolled by other software may."""
    registrar, described = world.registrar, entry(SILENT, "police_unit", parent=NATIONAL, escalation=[NATIONAL])
    secret, ends = b"sixteen secret b", int(world.clock()) + 3600
    nonce, profile = sha256_b64u(secret), registrar.profile
    body = {"nonce": nonce, "party": described, "credential_kinds": ["person"], "expires_at": ends}
    send_directory_act(registrar.session, registrar.keys, Act.INVITE, body, ActId(str(uuid4())))
    raw = build_invitation(
        exchange=profile.issuer, root=unb64u(profile.root), party=SILENT, role="police_unit", secret=secret,
        expires_at=ends, environment=profile.environment,
    )  # fmt: skip
    admit_crowd(
        world, registrar, SILENT, names=["eva1"], stations=["st1"], entry=described, invitation=parse_invitation(raw)
    )
    return SILENT


def done(ran: Ran, code: int = 0) -> Any:
    assert ran.exit == code, ran
    return ran.json


def written(world: World, **members: Any) -> str:
    """The file of a referral with these members in the place of its own; None: without that one."""
    body = {name: value for name, value in (REFERRAL | members).items() if value is not None}
    (world.folder / "caso.json").write_text(json.dumps(body), encoding="utf-8")
    return "caso.json"


@pytest.mark.parametrize("escalated_to", [True, False])
def test_a_rung_that_let_nobody_have_it_says_so(world: World, shell: Shell, escalated_to: bool) -> None:
    """R-80: the ladder goes on without anybody above, and must not read as if somebody had it."""
    ref = str(world.submit(excluded=() if escalated_to else (NATIONAL,)).outgoing.ref)
    later(world, 2 * 3600 + 600)
    screen, referral = Screen(), world.operator.referral(ref)
    rungs = [one for one in timeline_data(screen, referral, "")["events"] if one["released"] is not None]
    assert {one["detail"].split()[-1]: one["released"] for one in rungs} == {
        "release_parent": escalated_to,
        "release_national": False,
    }, "whoever is above has it already"
    words = say("es", "life.released_to_nobody")
    assert [words in detail_of(one, screen) for one in rungs] == [not one["released"] for one in rungs]
    for lang, hint in (("es", "venció un plazo"), ("en", "a deadline has passed")):
        ran = shell.run("operator", "inbox", "list", "--lang", lang, COLUMNS="200")
        assert f"{hint}: " in ran.out, "a line of the inbox claims no more than the hint can tell"
        assert not [one for one in (say("es", "act.escalated"), say("en", "act.escalated")) if one in ran.out]
    follow = nexts.next_of(screen, referral)
    assert any("phone" in one or "readdress" in one for one in follow)
    told = timeline_data(screen, world.officer.referral(ref), "")["events"]
    assert not [one for one in told if one["released"] is not None], "a unit sees no delivery but its own"


def test_calls_and_questions_are_told_apart(world: World, shell: Shell) -> None:
    """R-76, R-81: whether somebody was reached, and what was asked, after it was answered too."""
    ref = str(world.submit().outgoing.ref)
    done(shell.run("operator", "phone", ref, "--not-made", "--unit", UNIT, "--json"))
    done(shell.run("operator", "phone", ref, "--at", "00:01", "--unit", UNIT, "--json"))
    world.acknowledge("officer", ref)
    done(shell.run("officer", "ask", ref, "--topic", "timing", "--json"))
    done(shell.run("operator", "answer", ref, "--reply", "not_known", "--unit", UNIT, "--json"))
    events = done(shell.run("operator", "timeline", ref, "--json"))["events"]
    calls = [one for one in events if one["what"] == Act.PHONE_ALERT.value]
    assert [(one["made"], one["called_at"] is None) for one in calls] == [(False, True), (True, False)]
    assert [one["topics"] for one in events if one["what"] == "ask"] == [["timing"]]
    shown = shell.run("operator", "timeline", ref, "--lang", "en").out
    assert "NOT called" in shown
    assert ":01:00" in shown


def test_of_a_unit_without_a_number_whom_to_call_is_said_wherever_it_is_chosen(
    world: World, shell: Shell, silent: str
) -> None:
    """R-84: an alarm without a number is no alarm."""
    number = ENTRIES[NATIONAL]["duty_phone"]
    assert number in shell.run("operator", "units", "show", silent).out
    ran = shell.run("operator", "send", written(world), "--unit", silent)
    assert ran.exit == 0, ran
    assert number in ran.err
    later(world, 16 * 60)
    assert f"llame a {NATIONAL} {number}" in shell.run("operator", "list").out
    assert f"llame a {NATIONAL} {number}" in shell.run("operator", "inbox", "list", "--pending").out


def test_no_police_unit_is_invited_without_a_number(world: World, shell: Shell) -> None:
    described = entry("pnp-nueva", "police_unit", area=["20"])
    (world.folder / "ficha.json").write_text(json.dumps(described), encoding="utf-8")
    ran = shell.run("registrar", "invite", "--entry", "ficha.json", "--out", "nueva.inv")
    assert ran.exit == 2, ran
    assert "duty_phone" in ran.err
    assert not (world.folder / "nueva.inv").exists()


def test_nobody_s_software_invites_or_enrols_a_police_unit_without_a_number(world: World) -> None:
    """R-84: the rule is the client's. An emergency that nobody reads is telephoned, and there would be no number."""
    described = entry("pnp-nueva", "police_unit", area=["20"])
    registrar = world.registrar
    before = Rows(world)["act"]
    for phone in ({}, {"duty_phone": ""}, {"duty_phone": None}):
        invite = lambda more=phone: registrar.invite(described | more, [CredentialKind.PERSON])  # noqa: E731
        assert refused(ErrorCode.MALFORMED, invite) == "duty-phone"
    assert Rows(world)["act"] == before, "nothing was signed or sent"
    invitation = parse_invitation(registrar.invite(described | {"duty_phone": "+51731234569"}, [CredentialKind.PERSON]))
    folder = world.folder / "profiles" / "nueva"
    what = Joining(invitation, PASSPHRASE, entry=described, kdf=InsecureKdfForTests(), server=world.server.url)
    assert refused(ErrorCode.MALFORMED, lambda: sdk.join(folder, what, clock=world.clock)) == "duty-phone"
    assert not folder.exists(), "the same invitation may be used as soon as there is a number"
    again = replace(what, entry=described | {"duty_phone": "+51731234569"})
    assert sdk.join(folder, again, clock=world.clock).turn == "registrar"


def test_people_are_invited_into_a_unit_that_has_no_number(world: World, silent: str) -> None:
    """Or nobody could be added there, not even by whom the registrar lets recover it."""
    world.registrar.sync_keys()
    described = entry(silent, "police_unit", parent=NATIONAL, escalation=[NATIONAL])
    assert parse_invitation(world.registrar.invite(described, [CredentialKind.PERSON])).party == silent


def test_everybody_is_announced_before_anything_is_sealed(world: World, shell: Shell) -> None:
    """R-84: whoever is informed, gets a copy, or is proposed by a transfer, too."""
    number = ENTRIES[OTHER_UNIT]["duty_phone"]
    mark = "FUERA DE LÍNEA, según el servidor"
    ran = shell.run("operator", "send", written(world), "--unit", UNIT, "--inform", OTHER_UNIT, "--json")
    ref = done(ran)["ref"]
    assert [one["id"] for one in ran.json["informed"]] == [OTHER_UNIT]
    plain = str(world.submit().outgoing.ref)
    copied = shell.run("operator", "copy", plain, "--unit", OTHER_UNIT)
    world.acknowledge("officer", plain)
    proposed = shell.run("officer", "transfer", plain, "--to", OTHER_UNIT, "--reason", "jurisdiction", "--yes")
    approved = shell.run("operator", "approve", plain, "--yes")
    for ran in (copied, proposed, approved):
        assert ran.exit == 0, ran
        assert f"Unidad {OTHER_UNIT}" in ran.err, ran
        assert number in ran.err
        assert mark in ran.err
    assert ref


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"phone_alert": None}, "si se llamó por teléfono"),
        ({"consent": None}, "/consent"),
        ({"hotline_contact": {"name": "x"}}, "/hotline_contact/duty_phone"),
    ],
)
def test_a_referral_that_lacks_something_is_refused_in_the_operators_words(
    world: World, shell: Shell, members: dict[str, Any], words: str
) -> None:
    ran = shell.run("operator", "send", written(world, **members), "--unit", UNIT)
    assert ran.exit != 0
    assert words in ran.err, ran
    assert "programa que lo generó" not in ran.err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--ubigeo", "piura"), "2 cifras"),
        (("--ubigeo", "20010"), "2 cifras"),
        (("--ubigeo", "20", "--speciality", "xx"), "children"),
    ],
)
def test_a_place_or_a_speciality_that_is_none_is_said_so(shell: Shell, words: tuple[str, ...], told: str) -> None:
    ran = shell.run("operator", "units", "suggest", *words)
    assert ran.exit == 2, ran
    assert told in ran.err
    assert "programa que lo generó" not in ran.err


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("decline", "x"), "no_capacity"), (("close", "x"), "not_located"), (("ask", "x"), "timing"),
        (("answer", "x"), "not_known"), (("withdraw", "x"), "safety_risk"),
        (("transfer", "x", "--to", "y"), "jurisdiction"),
    ],
)  # fmt: skip
def test_whoever_gives_no_code_reads_which_there_are(shell: Shell, words: tuple[str, ...], code: str) -> None:
    ran = shell.run("officer", *words)
    assert ran.exit == 2, ran
    assert f"    {code}: " in ran.err
    assert "Falta --" in ran.err


def test_an_option_is_named_as_it_is_typed(shell: Shell) -> None:
    assert "El valor de --list no sirve" in shell.run("operator", "list", "--list", "bogus").err


@pytest.mark.parametrize(("lang", "words"), [("es", "por leer"), ("en", "to read")])
def test_whoever_names_a_list_that_is_none_reads_which_there_are(shell: Shell, lang: str, words: str) -> None:
    ran = shell.run("operator", "--lang", lang, "list", "--list", "bogus")
    assert ran.exit == 2, ran
    assert f"    read: {words}" in ran.err
    assert all(f"    {one.value}: " in ran.err for one in Worklist)
    assert all(shell.run("operator", "list", "--list", one.value).exit == 0 for one in Worklist)


def test_a_code_that_demands_a_note_is_not_met_by_a_case_number(world: World) -> None:
    """R-76: the exchange sees that something is sealed; the hotline would find nothing to read there."""
    ref = str(world.submit().outgoing.ref)
    world.acknowledge("officer", ref)
    officer = world.officer
    before = len(officer.outbox.entries())
    decline = lambda: officer.act(ref, Act.DECLINE, {"reason": "other"}, case_number="PIU-77")  # noqa: E731
    assert refused(ErrorCode.ACT_SCHEMA, decline) == "note-required"
    asked = world.act("operator", ref, Act.ASK, {"topics": ["timing"]}, unit=UNIT, note="¿Cuándo?")
    answer = {"code": "provided", "answers": asked.outgoing.digest}
    given = lambda: officer.act(ref, Act.ANSWER, answer, case_number="PIU-77")  # noqa: E731
    assert refused(ErrorCode.ACT_SCHEMA, given) == "note-required"
    assert len(officer.outbox.entries()) == before, "nothing was signed"
    for act, more in ((Act.ANSWER, answer), (Act.ACCEPT, {}), (Act.NOTE, {})):
        words = {"note": "Anoche."} if act is Act.ANSWER else {}
        assert world.act("officer", ref, act, more, case_number="PIU-77", **words).code is None
    world.check()


def test_a_hotline_gives_no_case_number(world: World, shell: Shell) -> None:
    """Whoever reads it would take it for one of their own."""
    ref = str(world.submit().outgoing.ref)
    (world.folder / "nota.txt").write_text("Vive en otro sitio.", encoding="utf-8")
    ran = shell.run("operator", "note", ref, "nota.txt", "--unit", UNIT, "--case-number", "L-17")
    assert ran.exit == 2, ran
    with pytest.raises(ReferralError) as caught:
        world.operator.act(ref, Act.NOTE, {}, unit=UNIT, note="x", case_number="L-17")
    assert caught.value.code is ErrorCode.NOT_PERMITTED
