"""Care on the screen (R-86, R-87): numbers that grew old, warnings with what to do, handling codes before an
acknowledgement, copies, and who agreed to share against a refusal. Rules R6, R8, R9, R10 and R11 of the field.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from referral_api.client import exchange
from referral_api.client.sdk import Client
from tests.cli.shell import Ran, Shell
from tests.smuggling import seal_unchecked
from tests.world import HOTLINE, OTHER_UNIT, PASSPHRASE, REFERRAL, UNIT

PHONE, OTHER = "+51999000111", "+51999000222"
SUSPECT = "+51900000000"
HOTLINE_PHONE = REFERRAL["hotline_contact"]["duty_phone"]


def done(ran: Ran) -> Ran:
    assert ran.exit == 0, ran
    return ran


def old() -> dict[str, Any]:
    """A referral whose safe contact was good until yesterday."""
    yesterday = (datetime.now(UTC) - timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    contact = {"channel": "phone", "value": PHONE, "valid_until": yesterday, "code_word": f"pregunte por {PHONE}"}
    victim = REFERRAL["victims"][0] | {"safe_contact": contact, "phones": [PHONE, OTHER]}
    return REFERRAL | {"victims": [victim, REFERRAL["victims"][1]]}


def send(shell: Shell, body: dict[str, Any]) -> str:
    (shell.folder / "una.json").write_text(json.dumps(body), encoding="utf-8")
    return str(done(shell.run("operator", "send", "una.json", "--unit", UNIT, "--json")).json["ref"])


def smuggled(shell: Shell, body: dict[str, Any]) -> str:
    """The same from software that checks nothing before it seals."""
    with Client.person(shell.folder / "profiles" / "operator", PASSPHRASE, server=shell.server) as client:
        ref, (_, act, bundle) = seal_unchecked(client, body, UNIT)
        client.session.call(exchange.submit(ref, act.encode(), bundle.encode(), None), exchange.judge_receipted)
    return ref


@pytest.mark.parametrize("lang", ["es", "en"])
def test_a_number_that_grew_old_takes_a_step_of_its_own(shell: Shell, lang: str) -> None:
    """Rule R11 of the field: not on any screen, in no JSON, until somebody asks for it."""
    ref = send(shell, old())
    done(shell.run("operator", "note", ref, "-", "--unit", UNIT, given="Llame antes a la línea."))
    expired, step = {
        "es": ("VENCIDO", f"referral show {ref} --reveal-expired"),
        "en": ("EXPIRED", f"referral show {ref} --reveal-expired"),
    }[lang]
    shown = done(shell.run("officer", "show", ref, "--lang", lang)).out
    assert expired in shown
    assert HOTLINE_PHONE in shown[shown.index(expired) :].splitlines()[0]
    assert step in shown
    for words in (["show", ref], ["ack", ref], ["timeline", ref]):
        for form in ([], ["--json"]):
            if words[0] == "ack" and form:
                continue
            ran = done(shell.run("officer", *words, *form, "--lang", lang))
            assert PHONE not in ran.out + ran.err
            assert OTHER not in ran.out + ran.err
    revealed = done(shell.run("officer", "show", ref, "--reveal-expired", "--lang", lang)).out
    assert (PHONE in revealed, OTHER in revealed, expired in revealed) == (True, True, True)


def test_json_says_what_it_leaves_out_and_why(shell: Shell) -> None:
    body = old()
    ref = send(shell, body)
    ran = done(shell.run("officer", "show", ref, "--json")).json
    place = "/victims/0"
    assert ran["hidden"] == [f"{place}/{one}" for one in ("phones", "safe_contact/code_word", "safe_contact/value")]
    assert [one["unsafe"] for one in ran["safe_contact"]] == ["expired", None]
    assert ran["safe_contact"][0]["safe_contact"]["channel"] == "phone"
    revealed = done(shell.run("officer", "show", ref, "--reveal-expired", "--json")).json
    assert (revealed["hidden"], revealed["referral"]) == ([], body)
    assert revealed["safe_contact"][0]["unsafe"] == "expired"
    acknowledged = done(shell.run("officer", "ack", ref, "--json"))
    assert acknowledged.json["hidden"] == ran["hidden"]
    assert PHONE not in acknowledged.out


def careless() -> dict[str, Any]:
    """A child's case sent as routine, and a way to her that is a suspect's own number."""
    victim = REFERRAL["victims"][0] | {"safe_contact": {"channel": "phone", "value": SUSPECT}}
    return REFERRAL | {"urgency": "routine", "victims": [victim], "suspects": REFERRAL["suspects"]}


@pytest.mark.parametrize(
    ("lang", "words"),
    [
        (
            "es",
            (
                "Atiéndala como EMERGENCIA",
                "Posible víctima V1 · Contacto seguro",
                "NO LO USE",
                "LLEVA A UNA PERSONA SOSPECHOSA",
            ),
        ),
        ("en", ("Treat it as EMERGENCY", "Possible victim V1 · Safe contact", "DO NOT USE IT", "LEADS TO A SUSPECT")),
    ],
)
def test_every_warning_says_what_to_do_and_stands_on_the_screen_of_the_acknowledgement_too(
    shell: Shell, lang: str, words: tuple[str, ...]
) -> None:
    """R-87; rules R8 and R10 of the field."""
    ref = smuggled(shell, careless())
    for verb in ("show", "ack"):
        ran = done(shell.run("officer", verb, ref, "--lang", lang))
        assert [one for one in words if one not in ran.out] == []
        first = ran.out.index(words[0])
        assert first < ran.out.index("NO HACER" if lang == "es" else "DO NOT\n")
        assert HOTLINE_PHONE in ran.out
        # The number is the suspect's own, and stands there as such; as a way to the victim it is hidden.
        assert ran.out.count(SUSPECT) == (1 if verb == "show" else 0)
    told = done(shell.run("officer", "show", ref, "--json")).json
    assert told["warning"] == "floor-not-met"
    assert [one["code"] for one in told["warnings"]] == ["floor-not-met", "consent-gate"]
    assert told["warnings"][0]["least"] == "emergency"
    assert {"where": "/victims/0/safe_contact", "reason": "suspect-contact"} in told["warnings"][1]["findings"]
    assert told["hidden"] == ["/victims/0/safe_contact/value"]


def test_what_must_not_be_done_is_read_before_an_acknowledgement_is_signed(shell: Shell) -> None:
    """Rule R10 of the field."""
    ref = send(shell, REFERRAL)
    out = done(shell.run("officer", "ack", ref, "--lang", "en")).out
    order = ("DO NOT", "No migration enforcement", "SAFE CONTACT", "accepts these handling codes", "✔ acknowledgement")
    places = [out.index(part) for part in order]
    assert places == sorted(places)


def test_a_copy_informs_a_further_unit_and_names_nobody(shell: Shell) -> None:
    """Rule R9 of the field."""
    ref = send(shell, REFERRAL)
    summary = "Posible explotación en un local nocturno."
    ran = done(shell.run("operator", "copy", ref, "-u", OTHER_UNIT, "--summary", "-", "--json", given=summary))
    assert (ran.json["copy_of"], ran.json["act"], ran.json["outcome"]) == (ref, "submit", "accepted")
    shown = done(shell.run("stranger", "show", ran.json["ref"], "--json"))
    assert shown.json["referral"]["situation"]["summary"] == summary
    assert shown.json["warnings"] == []
    assert "Inventado" not in shown.out
    again = shell.run("operator", "copy", ref, "-u", UNIT, "--json")
    assert (again.exit, again.json["error"]["code"]) == (7, "target-not-allowed")
    assert again.json["error"]["facts"]["reason"] == "addressed"
    foreign = shell.run("colleague", "copy", ref, "-u", OTHER_UNIT, "--json")
    assert (foreign.exit, foreign.json["error"]["code"]) == (6, "not-found")


@pytest.mark.parametrize(
    ("lang", "words"), [("es", "Falta la segunda persona"), ("en", "The second person who agrees")]
)
def test_who_shares_against_a_refusal_alone_is_told_so_before_anything_is_sealed(
    shell: Shell, lang: str, words: str
) -> None:
    """Rule R6 of the field."""
    body = REFERRAL | {
        "involves_minor": "no",
        "victims": [{"ref": "V1", "age_group": "adult", "names": {"first": "Nombre-Inventado"}}],
        "consent": {
            "subject": "V1",
            "state": "refused",
            "basis": "vital_interest",
            "identity_level": "identified",
            "override": {"by": "op-2", "reason": "imminent_danger", "second_person": f"{HOTLINE}.nadie1"},
        },
    }
    (shell.folder / "sola.json").write_text(json.dumps(body), encoding="utf-8")
    ran = shell.run("operator", "send", "sola.json", "--unit", UNIT, "--lang", lang)
    assert ran.exit == 7
    assert words in ran.err
    assert "/consent/override/second_person" in ran.err
    assert "Nombre-Inventado" not in ran.err
    told = shell.run("operator", "send", "sola.json", "--unit", UNIT, "--json").json["error"]
    assert told["facts"]["findings"] == [["/consent/override/second_person", "second-person"]]
