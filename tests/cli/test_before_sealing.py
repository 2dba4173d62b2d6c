"""What `send` refuses before anything is sealed, what `show` warns of and hides where it was sealed all the same, and
which units count as telephoned (R-81, R-83, R-84, R-87). Rules R6, R8 and R11 of the field.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from referral_api.client.sdk import Client
from tests.cli.shell import Shell
from tests.cli.test_care import done, send, smuggled
from tests.formats.test_referral_findings import EVERYTHING
from tests.smuggling import supplement_unchecked
from tests.world import NATIONAL, OTHER_UNIT, PASSPHRASE, REFERRAL, UNIT

PHONE, OTHER, SUSPECT = "+51999000111", "+51999000222", "+51900000000"
CONTACT = {"channel": "phone", "value": PHONE}
QUIET = {name: value for name, value in REFERRAL.items() if name not in ("urgency_reason", "phone_alert")}
GIVEN = {"subject": "V1", "state": "given", "basis": "consent", "identity_level": "identified", "scope": EVERYTHING}
REFUSED = {"subject": "V1", "state": "refused", "basis": "legal_obligation", "identity_level": "anonymous"}
CALLER = {"relationship": "victim", "anonymous": False, "phone": PHONE, "safe_contact": CONTACT}
V1 = {"ref": "V1", "age_group": "adult"}
V2 = {"ref": "V2", "age_group": "adult", "names": {"first": "Otra"}, "phones": [PHONE], "safe_contact": CONTACT}
GUARDIAN = {"relationship": "mother", "is_suspect": "unknown", "phones": [SUSPECT]}


def grown(**changes: Any) -> dict[str, Any]:
    """A routine referral of adults who agreed."""
    base = {"urgency": "routine", "involves_minor": "no", "victims": [V1], "consent": GIVEN}
    return QUIET | base | {"reporter": {"relationship": "family", "anonymous": True}} | changes


def child(**members: Any) -> dict[str, Any]:
    return REFERRAL | {"victims": [REFERRAL["victims"][0] | members, REFERRAL["victims"][1]]}


WRONG: dict[str, tuple[dict[str, Any], str, str]] = {
    "who refused called herself": (grown(consent=REFUSED, reporter=CALLER), "/reporter/phone", "identity-level"),
    "no contact was agreed to": (
        grown(consent=GIVEN | {"scope": EVERYTHING[:2]}, reporter=CALLER), "/reporter/phone", "scope-without-contact",
    ),
    "an anonymous reporter's number": (
        grown(reporter={"relationship": "witness", "anonymous": True, "safe_contact": CONTACT}),
        "/reporter/safe_contact", "anonymous-reporter",
    ),
    "another adult": (grown(victims=[V1, V2]), "/victims/1/names", "not-asked"),
    "a number beside none": (
        grown(victims=[V1 | {"phones": [PHONE], "safe_contact": {"channel": "none"}}]),
        "/victims/0/phones", "only-by-hotline",
    ),
    "a guardian at a suspect's number": (
        child(guardian=GUARDIAN, safe_contact={"channel": "in_person"}),
        "/victims/0/guardian/phones", "suspect-contact",
    ),
    "a guardian's number and no safe contact": (
        child(guardian=GUARDIAN | {"phones": [PHONE]}), "/victims/0/guardian/phones", "only-by-hotline",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_what_may_not_be_told_of_a_person_is_refused_before_it_is_sealed(shell: Shell, name: str) -> None:
    body, where, reason = WRONG[name]
    (shell.folder / "mala.json").write_text(json.dumps(body), encoding="utf-8")
    ran = shell.run("operator", "send", "mala.json", "--unit", UNIT, "--json")
    assert (ran.exit, ran.json["error"]["code"]) == (7, "consent-gate"), ran
    assert [where, reason] in ran.json["error"]["facts"]["findings"]
    assert done(shell.run("operator", "outbox", "list", "--json")).json["entries"] == []
    assert PHONE not in ran.out + ran.err


def test_a_birthdate_of_a_child_is_no_adult_s(shell: Shell) -> None:
    """Rule R8 of the field: refused by the sender, and a child's floor for the reader of software that let it pass."""
    body = grown(victims=[V1 | {"birthdate": "2012-05-01"}])
    (shell.folder / "mala.json").write_text(json.dumps(body), encoding="utf-8")
    ran = shell.run("operator", "send", "mala.json", "--unit", UNIT, "--json")
    assert (ran.exit, ran.json["error"]["code"]) == (2, "floor-not-met"), ran
    ref = smuggled(shell, body)
    told = done(shell.run("officer", "show", ref, "--json")).json["warnings"]
    assert (told[0]["code"], told[0]["least"]) == ("floor-not-met", "urgent")
    assert told[1]["findings"] == [{"where": "/victims/0/birthdate", "reason": "age-differs"}]
    assert "trátela como menor" in shell.run("officer", "show", ref).out


@pytest.mark.parametrize(("lang", "words"), [("es", "AL LADO HAY UN NÚMERO"), ("en", "A NUMBER STANDS BESIDE IT")])
def test_a_number_beside_the_word_that_only_the_hotline_reaches_her_is_hidden(
    shell: Shell, lang: str, words: str
) -> None:
    """Rule R11 of the field: as if it had grown old, from the first minute on."""
    through_none = {"phones": [PHONE], "safe_contact": {"channel": "none"}}
    guarded = {"ref": "V2", "age_group": "unknown", "guardian": GUARDIAN | {"phones": [OTHER]}}
    ref = smuggled(shell, REFERRAL | {"victims": [REFERRAL["victims"][0] | through_none, guarded]})
    for verb in ("show", "ack", "timeline"):
        ran = shell.run("officer", verb, ref, "--lang", lang)
        assert ran.exit == 0, ran
        assert ran.out.count(words) == (0 if verb == "timeline" else 2), ran.out
        assert PHONE not in ran.out
        assert OTHER not in ran.out
    ran = shell.run("officer", "show", ref, "--json")
    assert PHONE not in ran.out
    assert [one["unsafe"] for one in ran.json["safe_contact"]] == ["line", "line"]
    assert ran.json["hidden"] == ["/victims/0/phones", "/victims/1/guardian/phones"]
    assert PHONE in shell.run("officer", "show", ref, "--reveal-expired").out


@pytest.mark.parametrize(
    ("lang", "words"), [("es", "Quien lo envió debió corregir"), ("en", "The sender should have put this right")]
)
def test_what_is_wrong_with_a_supplement_stands_above_its_numbers(shell: Shell, lang: str, words: str) -> None:
    """R-87: the unit's software looks at a supplement as it looks at a referral."""
    ref = send(shell, REFERRAL)
    said = REFERRAL["consent"] | {"state": "refused", "basis": "legal_obligation"}
    more = child(safe_contact=CONTACT) | {"urgency": "routine", "consent": said}
    done(shell.run("officer", "show", ref))
    with Client.person(shell.folder / "profiles" / "operator", PASSPHRASE, server=shell.server) as client:
        assert supplement_unchecked(client, ref, more).code is None
    ran = shell.run("officer", "show", ref, "--lang", lang)
    assert ran.exit == 0, ran
    below = ran.out[ran.out.index("AMPLIACIÓN 1" if lang == "es" else "SUPPLEMENT 1") :]
    assert -1 < below.index(words) < below.index(PHONE)
    told = done(shell.run("officer", "show", ref, "--json")).json
    assert told["warnings"] == []
    codes = [one["code"] for one in told["supplements"][0]["warnings"]]
    assert codes == ["act-schema", "act-schema", "floor-not-met", "consent-gate"]


# The unit that was telephoned.


def test_a_call_to_another_unit_is_no_call_to_this_one(shell: Shell) -> None:
    """R-84: the example's call was to Piura; Lima was never told, and the act does not say that it was."""
    ran = shell.run("operator", "send", "emergencia.json", "--unit", OTHER_UNIT)
    assert ran.exit == 0, ran
    assert f"Consta que NO se llamó a {OTHER_UNIT}" in ran.out
    assert f"fue a otra unidad ({UNIT})" in ran.err
    ran = shell.run("operator", "send", "emergencia.json", "--unit", OTHER_UNIT, "--json")
    ref = ran.json["ref"]
    assert ran.json["next"][0] == f"referral phone {ref} --at HORA --unit {OTHER_UNIT}"
    with Client.person(shell.folder / "profiles" / "operator", PASSPHRASE, server=shell.server) as client:
        referral = client.referral(ref)
        submit: Any = referral.submit().act.body
        assert submit.phone_alert.wire() == {"made": False}
        # What the hotline did is still in the text: Piura was told.
        assert client.open_referral(referral).body.wire()["phone_alert"] == REFERRAL["phone_alert"]
    done(shell.run("operator", "phone", ref, "--at", "00:00", "--unit", OTHER_UNIT, "--json"))


def test_of_an_emergency_nobody_was_telephoned_about_that_is_said_too(shell: Shell) -> None:
    (shell.folder / "una.json").write_text(json.dumps(REFERRAL | {"phone_alert": {"made": False}}), encoding="utf-8")
    ran = shell.run("operator", "send", "una.json", "--unit", UNIT, "--lang", "en")
    assert ran.exit == 0, ran
    assert f"It says that {UNIT} was NOT telephoned" in ran.out
    ran = shell.run("operator", "send", "emergencia.json", "--unit", UNIT, "--inform", NATIONAL, "--json")
    assert [one for one in ran.json["next"] if " phone " in one] == []


@pytest.mark.parametrize(("lang", "words"), [("es", "La nota está en blanco"), ("en", "The note is blank")])
def test_a_blank_note_is_no_note(shell: Shell, lang: str, words: str) -> None:
    ref = send(shell, REFERRAL)
    done(shell.run("officer", "ack", ref, "--json"))
    before = len(done(shell.run("officer", "outbox", "list", "--json")).json["entries"])
    given = ("decline", ref, "--reason", "other", "--note", "-")
    ran = shell.run("officer", *given, "--lang", lang, given="   ")
    assert ran.exit == 2
    assert words in ran.err
    told = shell.run("officer", *given, "--json", given=" \n\t").json["error"]
    assert (told["code"], told["facts"]["reason"]) == ("malformed", "note-empty")
    assert len(done(shell.run("officer", "outbox", "list", "--json")).json["entries"]) == before
