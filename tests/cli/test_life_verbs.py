"""The life of a referral by command: passed on, taken back, asked about, added to, closed and taken up again."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.cli.shell import Ran, Shell
from tests.world import NATIONAL, OTHER_UNIT, UNIT


def done(ran: Ran, code: int = 0) -> Any:
    """The JSON of a command that ended as it should."""
    assert ran.exit == code, ran
    return ran.json


def send(shell: Shell, *more: str) -> str:
    return str(done(shell.run("operator", "send", "emergencia.json", "--unit", UNIT, *more, "--json"))["ref"])


def acknowledged(shell: Shell, *more: str) -> str:
    ref = send(shell, *more)
    assert shell.run("officer", "ack", ref).exit == 0
    return ref


def delivery(shell: Shell, name: str, ref: str, unit: str = UNIT) -> Any:
    """One delivery as `timeline` tells it, and what it hints."""
    told = done(shell.run(name, "timeline", ref, "--json"), code=0)
    (one,) = [one for one in told["deliveries"] if one["unit"] == unit]
    return one | {"next": told["next"]}


def test_a_unit_declines_with_a_suggestion_and_the_hotline_sends_it_there(shell: Shell) -> None:
    """R-110: the hint names the suggested unit; the successor says what it replaces; the first one leads to it."""
    ref = acknowledged(shell)
    done(shell.run("officer", "decline", ref, "--reason", "out_of_jurisdiction", "--suggest", OTHER_UNIT, "--json"))
    assert delivery(shell, "operator", ref)["next"] == [
        f"referral readdress {ref} --unit {OTHER_UNIT}",
        f"referral phone {ref} --at HORA --unit {UNIT}",
    ]
    shown = shell.run("operator", "timeline", ref).out
    assert f"Fuera de la jurisdicción de la unidad → {OTHER_UNIT}" in shown
    ran = shell.run("operator", "readdress", ref, "--unit", OTHER_UNIT, "--json")
    renewed = done(ran)["ref"]
    assert ran.json["next"][0] == f"referral phone {renewed} --at HORA --unit {OTHER_UNIT}"
    told = done(shell.run("operator", "timeline", renewed, "--json"))
    assert told["relates_to"] == {"type": "replaces", "ref": ref}
    first = done(shell.run("operator", "timeline", ref, "--json"))
    assert (first["later"], first["next"]) == ([renewed], [f"referral close {ref} --outcome CÓDIGO --unit {UNIT}"])
    done(shell.run("operator", "close", ref, "--outcome", "passed_abroad", "--unit", UNIT, "--json"))
    assert done(shell.run("stranger", "show", renewed, "--json"))["verified"] is True
    done(shell.run("operator", "phone", renewed, "--at", "00:00", "--by", "op-2", "--unit", OTHER_UNIT, "--json"))


def test_a_reason_that_needs_words_is_refused_without_them_before_anything_is_sent(shell: Shell) -> None:
    ref = acknowledged(shell)
    before = len(done(shell.run("officer", "outbox", "list", "--json"))["entries"])
    ran = shell.run("officer", "decline", ref, "--reason", "other", "--json")
    assert (ran.exit, ran.json["error"]["code"]) == (2, "note-required")
    ran = shell.run("officer", "decline", ref, "--reason", "nonsense", "--lang", "en")
    assert ran.exit == 2
    assert "conflict_of_interest: Conflict of interest" in ran.err
    assert len(done(shell.run("officer", "outbox", "list", "--json"))["entries"]) == before
    done(shell.run("officer", "decline", ref, "--reason", "other", "--note", "-", "--json", given="No es aquí."))


def test_a_duplicate_names_what_it_is_a_duplicate_of(shell: Shell) -> None:
    first = send(shell)
    ref = acknowledged(shell, "--relates", f"duplicate_of:{first}")
    done(shell.run("officer", "decline", ref, "--reason", "duplicate_of", "--duplicate-of", first, "--json"))
    shown = shell.run("officer", "timeline", ref).out
    assert f"Relación: Duplicado de otra derivación · {first}" in shown
    assert f"Duplicado de otra derivación → {first}" in shown
    for wrong in ("nonsense:x", "replaces:x", f"nonsense:{first}"):
        assert shell.run("operator", "send", "emergencia.json", "--unit", UNIT, "--relates", wrong).exit == 2
    nobody = "01900000-0000-7000-8000-000000000000"
    ran = shell.run("operator", "send", "emergencia.json", "--unit", UNIT, "--relates", f"replaces:{nobody}")
    assert ran.exit == 6


def test_a_transfer_is_proposed_refused_proposed_again_and_approved(shell: Shell) -> None:
    """R-73: each side is told what it can do; the new unit opens what the hotline signed."""
    ref = acknowledged(shell)
    ran = shell.run("officer", "transfer", ref, "--to", OTHER_UNIT, "--reason", "jurisdiction")
    assert ran.exit == 0
    assert f"Propuesto: {OTHER_UNIT}" in ran.out
    asked = delivery(shell, "operator", ref)
    assert [one["act"] for one in asked["open"]] == ["transfer"]
    assert asked["next"] == [
        f"referral approve {ref} --unit {UNIT}", f"referral refuse-transfer {ref} --reason CÓDIGO --unit {UNIT}",
    ]  # fmt: skip
    again = shell.run("officer", "transfer", ref, "--to", OTHER_UNIT, "--reason", "jurisdiction", "--json")
    assert (again.exit, again.json["error"]["code"]) == (7, "illegal-transition")
    done(shell.run("operator", "refuse-transfer", ref, "--reason", "no_capacity", "--json"))
    done(shell.run("officer", "transfer", ref, "--to", OTHER_UNIT, "--reason", "jurisdiction", "--json"))
    ran = shell.run("operator", "approve", ref, "--json")
    assert {one["unit"]: one["state"] for one in done(ran)["states"]} == {UNIT: "transferred", OTHER_UNIT: "submitted"}
    assert done(shell.run("stranger", "show", ref, "--json"))["from"] == "linea-1818"
    # The unit that passed it on has nothing more to decide, and the hotline nothing to approve.
    assert shell.run("officer", "accept", ref).exit == 7
    assert shell.run("operator", "approve", ref).exit == 7


@pytest.mark.parametrize(("to", "code"), [(UNIT, "target-not-allowed"), ("nadie-aqui", "target-not-allowed")])
def test_a_transfer_to_nobody_is_refused_before_it_is_sealed(shell: Shell, to: str, code: str) -> None:
    ref = acknowledged(shell)
    ran = shell.run("officer", "transfer", ref, "--to", to, "--reason", "jurisdiction", "--json")
    assert (ran.exit, ran.json["error"]["code"]) == (7, code)


def test_a_transfer_to_who_has_it_says_so_and_what_to_do_instead(shell: Shell) -> None:
    """R-64, R-73: a unit cannot pass it to its own parent, for whom it is held; its decline can suggest it."""
    ref = acknowledged(shell, "--inform", OTHER_UNIT)
    ran = shell.run("officer", "transfer", ref, "--to", NATIONAL, "--reason", "jurisdiction", "--lang", "en")
    assert ran.exit == 7
    assert f"referral decline {ref} --reason CODE --suggest {NATIONAL}" in ran.err
    ran = shell.run("officer", "transfer", ref, "--to", OTHER_UNIT, "--reason", "jurisdiction")
    assert ran.exit == 7
    assert f"{OTHER_UNIT} ya tiene esta derivación." in ran.err
    done(shell.run("officer", "decline", ref, "--reason", "no_capacity", "--suggest", NATIONAL, "--json"))
    done(shell.run("operator", "readdress", ref, "--unit", NATIONAL, "--json"))


def test_a_reason_to_decline_that_rests_on_something_is_refused_without_it(shell: Shell) -> None:
    ref = acknowledged(shell)
    ran = shell.run("officer", "decline", ref, "--reason", "insufficient_information")
    assert ran.exit == 7
    assert f"referral ask {ref} --topic CÓDIGO" in ran.err
    ran = shell.run("officer", "decline", ref, "--reason", "duplicate_of", "--lang", "en")
    assert ran.exit == 2
    assert f"referral decline {ref} --reason duplicate_of --duplicate-of REFERRAL" in ran.err
    done(shell.run("officer", "ask", ref, "--topic", "location_detail", "--json"))
    done(shell.run("officer", "decline", ref, "--reason", "insufficient_information", "--json"))


def test_a_consent_that_is_withdrawn_reaches_successors_and_is_answered(shell: Shell) -> None:
    """Rule R7 of the field, by command: one call, all that are told are listed, and each unit answers."""
    ref = acknowledged(shell)
    done(shell.run("officer", "decline", ref, "--reason", "no_capacity", "--json"))
    renewed = done(shell.run("operator", "readdress", ref, "--unit", OTHER_UNIT, "--json"))["ref"]
    assert shell.run("stranger", "ack", renewed).exit == 0
    ran = shell.run("operator", "consent-withdrawn", ref, "--json")
    assert (done(ran)["told"], ran.json["left"]) == (2, 0)
    assert {one["ref"] for one in ran.json["referrals"]} == {ref, renewed}
    shown = shell.run("operator", "consent-withdrawn", renewed)
    assert "Avisadas ahora: 0. Faltan: 0." in shown.out
    (command,) = delivery(shell, "stranger", renewed, OTHER_UNIT)["next"][:1]
    assert command == f"referral answer-notice {renewed} --reply CÓDIGO"
    done(shell.run("stranger", "answer-notice", renewed, "--reply", "stopped_and_destroyed", "--json"))
    ran = shell.run("stranger", "answer-notice", renewed, "--reply", "stopped_and_destroyed", "--json")
    assert (ran.exit, ran.json["error"]["code"]) == (7, "illegal-transition")


def test_with_the_exchange_away_a_withdrawn_consent_is_said_to_be_left(shell: Shell) -> None:
    ref = send(shell)
    ran = shell.run("operator", "consent-withdrawn", ref, "--json", REFERRAL_SERVER="http://127.0.0.1:9")
    assert ran.exit == 3
    assert done(shell.run("operator", "consent-withdrawn", ref, "--json"))["told"] == 1


def test_questions_are_found_by_themselves_and_listed_where_there_are_several(shell: Shell) -> None:
    ref = acknowledged(shell)
    done(shell.run("officer", "ask", ref, "--topic", "timing", "--topic", "evidence", "--json"))
    (line,) = [one for one in shell.run("operator", "timeline", ref).out.splitlines() if "Sin responder" in one]
    assert "Fechas y horarios, Elementos de prueba" in line
    done(shell.run("officer", "ask", ref, "--topic", "interpreter", "--note", "-", "--json", given="¿Shipibo?"))
    ran = shell.run("operator", "answer", ref, "--reply", "not_known", "--json")
    assert (ran.exit, ran.json["error"]["code"]) == (2, "which-question")
    digests = [one["digest"] for one in delivery(shell, "operator", ref)["open"]]
    assert all(digest in ran.json["error"]["detail"] for digest in digests)
    no_note = shell.run("operator", "answer", ref, "--answers", digests[0], "--reply", "provided", "--json")
    assert (no_note.exit, no_note.json["error"]["code"]) == (2, "note-required")
    words = ["--reply", "provided", "--note", "-", "--json"]
    done(shell.run("operator", "answer", ref, f"--answers={digests[0]}", *words, given="Desde el viernes."))
    done(shell.run("operator", "answer", ref, "--reply", "not_known", "--json"))
    (note,) = done(shell.run("officer", "show", ref, "--json"))["notes"]
    assert (note["what"], note["text"]) == ("answer", "Desde el viernes.")
    assert shell.run("operator", "answer", ref, "--reply", "not_known").exit == 7


def test_a_hotline_asks_the_unit_that_it_names_and_is_told_where_it_names_none(shell: Shell) -> None:
    ref = acknowledged(shell, "--inform", OTHER_UNIT)
    assert shell.run("stranger", "show", ref).exit == 0
    ran = shell.run("operator", "ask", ref, "--topic", "timing", "--json")
    assert (ran.exit, ran.json["error"]["code"]) == (2, "which-unit")
    done(shell.run("operator", "ask", ref, "--topic", "timing", "--unit", UNIT, "--json"))
    assert shell.run("operator", "ask", ref, "--topic", "timing", "--unit", "nadie").exit == 6
    assert delivery(shell, "officer", ref)["next"][0] == f"referral answer {ref} --reply CÓDIGO"
    done(shell.run("officer", "answer", ref, "--reply", "not_known", "--json"))


def test_a_supplement_is_read_with_its_own_blocks_first(shell: Shell) -> None:
    """R8, R11 of the field: what came later may say otherwise how somebody is reached."""
    ref = acknowledged(shell)
    more = json.loads((shell.folder / "emergencia.json").read_text()) | {"sender_reference": "LP-MAS"}
    (shell.folder / "mas.json").write_text(json.dumps(more))
    ran = shell.run("operator", "supplement", ref, "mas.json", "--json")
    assert [one["act"] for one in done(ran)["acts"]] == ["supplement"] * 2
    shown = shell.run("officer", "show", ref)
    assert shown.exit == 0
    places = [shown.out.index(part) for part in ("HAY 1 AMPLIACIÓN", "NO HACER", "AMPLIACIÓN 1 ·", "LP-MAS")]
    assert places == sorted(places)
    assert shown.out.rindex("CONTACTO SEGURO") < shown.out.index("LP-MAS")
    told = done(shell.run("officer", "show", ref, "--json"))
    assert told["supplements"][0]["referral"]["sender_reference"] == "LP-MAS"
    assert told["notes"] == []


def test_closed_by_either_side_taken_up_again_and_refused_in_words(shell: Shell) -> None:
    ref = acknowledged(shell)
    assert shell.run("officer", "accept", ref, "--case-number", "RETA 2026-12").exit == 0
    done(shell.run("officer", "close", ref, "--outcome", "not_located", "--json"))
    ran = shell.run("officer", "accept", ref)
    assert ran.exit == 7
    assert f"Así está la derivación: {UNIT}: cerrada" in ran.err
    assert f"referral reopen {ref} --reason CÓDIGO" in ran.err
    facts = shell.run("officer", "accept", ref, "--json").json["error"]["facts"]
    assert (facts["ref"], facts["act"], facts["state"]) == (ref, "accept", "closed")
    assert f"referral reopen {ref} --reason CÓDIGO" in facts["commands"]
    assert shell.run("officer", "reopen", ref, "--reason", "other").exit == 2
    done(shell.run("operator", "reopen", ref, "--reason", "new_information", "--json"))
    done(shell.run("operator", "close", ref, "--outcome", "cannot_disclose", "--json"))


def test_a_withdrawal_with_a_note_tells_each_unit_in_an_act_of_its_own(shell: Shell) -> None:
    """R-62: one envelope for several would name them to each other."""
    ref = acknowledged(shell, "--inform", OTHER_UNIT)
    ran = shell.run("operator", "withdraw", ref, "--reason", "safety_risk", "--note", "-", "--json", given="Riesgo.")
    assert {one["states"][0]["unit"] for one in done(ran)["acts"]} == {UNIT, OTHER_UNIT, NATIONAL}
    (note,) = done(shell.run("officer", "timeline", ref, "--json"))["notes"]
    assert note["text"] == "Riesgo."
    # A unit reads that it was taken back, not from which of several; its sender reads that.
    shown = shell.run("officer", "show", ref)
    assert shown.out.startswith("✖ LA LÍNEA RETIRÓ ESTA DERIVACIÓN el "), shown
    (told,) = done(shell.run("officer", "show", ref, "--json"))["standing"]["withdrawn"]
    assert told["unit"] is None


def test_a_withdrawal_for_consent_says_who_else_was_told_and_ends_what_would_spread_it(shell: Shell) -> None:
    """Rule R7 of the field, by command: the verb with this reason does what `consent-withdrawn` does."""
    ref = acknowledged(shell)
    done(shell.run("officer", "decline", ref, "--reason", "no_capacity", "--json"))
    renewed = done(shell.run("operator", "readdress", ref, "--unit", OTHER_UNIT, "--json"))["ref"]
    assert shell.run("stranger", "ack", renewed).exit == 0
    told = done(shell.run("operator", "withdraw", renewed, "--reason", "consent_withdrawn", "--json"))
    assert (told["act"], told["told"], told["left"]) == ("withdraw", 2, 0)
    assert {one["ref"]: one["outcome"] for one in told["referrals"]} == {ref: "told", renewed: "told"}
    shown = shell.run("operator", "withdraw", ref, "--reason", "consent_withdrawn").out
    assert "Avisadas ahora: 1. Faltan: 0." in shown
    for words in (
        ("copy", renewed, "--unit", NATIONAL),
        ("supplement", renewed, "emergencia.json", "--unit", OTHER_UNIT),
        ("readdress", ref, "--unit", OTHER_UNIT),
    ):
        ran = shell.run("operator", *words, "--lang", "en")
        assert ran.exit == 7
        assert "The person withdrew consent: nothing more is sent." in ran.err


def test_a_transfer_despite_a_withdrawn_consent_must_be_meant_and_is_told_on(shell: Shell) -> None:
    """Rule R7 of the field: refused with what to do instead; if it is meant, the new unit has its notice."""
    ref = acknowledged(shell)
    done(shell.run("officer", "transfer", ref, "--to", OTHER_UNIT, "--reason", "jurisdiction", "--json"))
    done(shell.run("operator", "consent-withdrawn", ref, "--json"))
    ran = shell.run("operator", "approve", ref)
    assert ran.exit == 7
    assert f"referral refuse-transfer {ref} --reason CÓDIGO" in ran.err
    assert "--despite-withdrawal" in ran.err
    told = done(shell.run("operator", "approve", ref, "--despite-withdrawal", "--json"))
    assert [one["act"] for one in told["acts"]] == ["approve", "consent_withdrawn"]
    assert told["acts"][1]["states"][0]["unit"] == OTHER_UNIT


def test_a_call_has_its_time_or_was_not_made(shell: Shell) -> None:
    ref = send(shell)
    for wrong in (["--at", "00:00", "--not-made"], [], ["--at", "mañana"]):
        assert shell.run("operator", "phone", ref, "--unit", UNIT, *wrong).exit == 2
    done(shell.run("operator", "phone", ref, "--unit", UNIT, "--not-made", "--json"))
    done(shell.run("operator", "phone", ref, "--unit", NATIONAL, "--at", "2026-11-23T02:11-05:00", "--json"))


def test_what_may_be_done_next_stands_in_the_timeline_with_its_deadline(shell: Shell) -> None:
    """R-54: what is owed, by when, and the command of each act that is possible."""
    ref = acknowledged(shell)
    own = delivery(shell, "officer", ref)
    assert own["due"]["clock"] == "decision"
    assert f"referral transfer {ref} --to UNIDAD --reason CÓDIGO" in own["commands"]
    shown = shell.run("officer", "timeline", ref, "--lang", "en").out
    assert f"  Possible: referral accept {ref}" in shown
    assert "  Due: " in shown


def test_a_call_that_is_still_to_come_is_not_stated(shell: Shell) -> None:
    """A record of a call that nobody has made yet would let a sleeping unit lie."""
    ref = send(shell)
    for words in (
        ("phone", ref, "--unit", UNIT, "--at", "2099-01-01T02:11-05:00"),
        ("readdress", ref, "--unit", OTHER_UNIT, "--phoned", "2099-01-01T02:11-05:00"),
    ):
        ran = shell.run("operator", *words, "--json")
        assert (ran.exit, ran.json["error"]["code"]) == (2, "time-to-come"), ran
    told = done(shell.run("operator", "timeline", ref, "--json"))
    assert "phone_alert" not in [one["what"] for one in told["events"]]


def test_a_status_that_was_wrong_is_put_right_by_naming_it(shell: Shell) -> None:
    ref = acknowledged(shell)
    done(shell.run("officer", "accept", ref, "--json"))
    wrong = done(shell.run("officer", "status", ref, "--to", "victim_safe", "--json"))["digest"]
    ran = shell.run("officer", "status", ref, "--to", "registered", "--corrects", "A" * 43, "--lang", "en")
    assert ran.exit == 2
    assert "Victim safe · " in ran.err
    assert wrong in ran.err
    right = ("status", ref, "--to", "preliminary_enquiries", f"--corrects={wrong}", "--json")
    done(shell.run("officer", *right))
    assert delivery(shell, "operator", ref)["investigation"] == ["preliminary_enquiries"]
    events = done(shell.run("operator", "timeline", ref, "--json"))["events"]
    first, second = [one for one in events if one["what"] == "status"]
    assert (first["corrected"], second["corrected"]) == (True, False)
    assert second["corrects"] == {"year": first["year"], "index": first["index"]}
    shown = shell.run("operator", "timeline", ref, "--lang", "en").out
    assert "corrected later" in shown
    assert f"corrects {first['year']}/{first['index']}" in shown
    # A second unit's referral has none of them.
    other = acknowledged(shell)
    done(shell.run("officer", "accept", other, "--json"))
    ran = shell.run("officer", "status", other, "--to", "registered", f"--corrects={wrong}", "--json")
    assert (ran.exit, ran.json["error"]["code"]) == (2, "no-such-status")
