"""What `--json` says: one object a result, its members by verb, the exit code the same as without."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.shell import Shell
from tests.world import UNIT

ENTRY = {"id", "act", "ref", "digest", "progress", "queued_at", "attempts", "code"}
RECEIPTED = ENTRY | {"outcome", "time", "states", "log"}
HANDLING = {"safe_contact", "do_not", "hidden"}
INBOX = {"year", "index", "kind", "act", "ref", "unit", "from", "urgency", "time", "pending", "answered_by"}
EVENT = {
    *("at", "what", "by", "detail", "to", "refused", "corrects", "corrected", "unit", "year", "index"),
    *("made", "called_at", "topics", "released"),
}
LISTED = {
    *("party", "at", "deliveries", "hidden", "problems", "unseen", "ended_by", "gone", "unsent", "complete"),
}
DELIVERY = {
    *(
        "ref",
        "unit",
        "role",
        "state",
        "urgency",
        "lists",
        "asks",
        "over",
        "untold",
        "replaced",
        "due",
        "dues",
        "begun_at",
        "since",
        "age_s",
    ),
    *("duty_phone", "allowed", "possible", "commands", "next"),
}
PARTY = {
    *("id", "role", "name", "area", "duty_phone", "hours", "parent", "escalation", "reachable", "statement"),
    *("credentials", "enc", "country", "languages", "specialities"),
}
UNITS = PARTY | {"live", "live_at", "abroad", "instead"}


@pytest.fixture(scope="module")
def ref(shell: Shell) -> str:
    return str(shell.run("operator", "send", "emergencia.json", "--unit", UNIT, "--json").json["ref"])


def members(ran: Any) -> set[str]:
    assert ran.exit == 0, ran
    return set(ran.json) - {"schema", "next"}


def test_a_submission_and_every_later_act_have_one_shape(shell: Shell, ref: str) -> None:
    sent = shell.run("operator", "send", "emergencia.json", "--unit", UNIT, "--json")
    assert members(sent) == RECEIPTED | {"unit"}
    assert set(sent.json["unit"]) == {"id", "name", "duty_phone", "live", "live_at"}
    assert sent.json["next"] == [f"referral timeline {sent.json['ref']}"]
    for words in (
        ["ack", ref],
        ["accept", ref],
        ["status", ref, "--to", "registered"],
        ["close", ref, "--outcome", "not_located"],
    ):
        ran = shell.run("officer", *words, "--json")
        shown = HANDLING | {"warnings", "standing", "supplements"} if words[0] == "ack" else set()
        assert members(ran) == RECEIPTED | shown
        assert (ran.json["outcome"], ran.json["act"]) == ("accepted", words[0])
        assert ran.err == ""


def test_a_decline_has_the_shape_of_every_act(shell: Shell, ref: str) -> None:
    sent = shell.run("operator", "send", "emergencia.json", "--unit", UNIT, "--json").json["ref"]
    assert shell.run("officer", "ack", sent).exit == 0
    ran = shell.run("officer", "decline", sent, "--reason", "conflict_of_interest", "--json")
    assert members(ran) == RECEIPTED
    assert (ran.json["outcome"], ran.json["act"], ran.err) == ("accepted", "decline", "")
    assert ran.json["states"] == [{"unit": UNIT, "state": "declined"}]
    assert ran.json["next"] == ["referral inbox list --pending"]


def test_enrolling_says_digits_and_whose_turn_it_is_and_again_when_asked(shell: Shell) -> None:
    invited = shell.run("officer", "invite", "--kind", "person", "--out", "colega.json", "--json")
    assert members(invited) == {"party", "file", "expires_at", "turn"}
    ran = shell.run("rookie", "enrol", "colega.json", "--no-service", "--json")
    assert members(ran) == {"party", "enrolment", "code", "turn", "person", "service"}
    assert (ran.json["party"], ran.json["turn"], ran.json["service"]) == (UNIT, "keyholder", None)
    assert ran.json["next"] == ["referral enrol"]
    assert len(ran.json["code"].replace(" ", "")) == 30
    again = shell.run("rookie", "enrol", "--json")
    assert (again.exit, again.out, again.err) == (0, ran.out, "")


def test_inbox_outbox_and_timeline_list_what_they_show(shell: Shell, ref: str) -> None:
    inbox = shell.run("officer", "inbox", "list", "--json")
    assert members(inbox) == {"entries"}
    assert {frozenset(one) for one in inbox.json["entries"]} == {frozenset(INBOX)}
    outbox = shell.run("operator", "outbox", "list", "--json")
    assert {frozenset(one) for one in outbox.json["entries"]} == {frozenset(RECEIPTED)}
    assert shell.run("auditor", "timeline", ref, "--json").json["ref"] == ref
    told = shell.run("operator", "timeline", ref, "--json")
    assert members(told) == {"ref", "relation", "relates_to", "later", "deliveries", "events", "notes", "unsaid"} | {
        *("replaced", "unverified"),
    }
    assert {frozenset(one) for one in told.json["events"]} == {frozenset(EVENT)}
    assert all(
        set(one)
        == {
            *("unit", "role", "state", "investigation", "allowed", "due", "purge_at", "purged_at", "holds", "open"),
            "commands",
        }
        for one in told.json["deliveries"]
    )


def test_worklists_are_told_whole(shell: Shell, ref: str) -> None:
    for name in ("operator", "officer"):
        ran = shell.run(name, "list", "--all", "--json")
        assert members(ran) == LISTED
        assert {frozenset(one) for one in ran.json["deliveries"]} == {frozenset(DELIVERY)}
        assert ref in {one["ref"] for one in ran.json["deliveries"]}
        assert ran.json["hidden"] == {"ended": 0, "forgotten": 0, "elsewhere": 0}
        assert (ran.json["problems"], ran.json["complete"], ran.err) == ([], True, "")


def test_watching_prints_one_object_an_entry(shell: Shell, ref: str) -> None:
    ran = shell.run("second_officer", "inbox", "watch", "--count", "2", "--wait", "0", "--json")
    lines = [json.loads(line) for line in ran.out.splitlines()]
    assert [set(line) for line in lines] == [{"schema", "next", "entry"}] * 2
    assert lines[0]["entry"]["ref"] == ref
    assert ran.err == ""


def test_watching_with_nothing_new_says_so_in_json(shell: Shell) -> None:
    ran = shell.run("stranger", "inbox", "watch", "--wait", "0", "--exit-code", "--json")
    assert ran.exit == 9
    assert (ran.json["entry"], ran.json["next"]) == (None, ["referral inbox watch"])


def test_a_bare_inbox_or_outbox_lists_what_there_is(shell: Shell, ref: str) -> None:
    for name, group in (("officer", "inbox"), ("operator", "outbox")):
        bare = shell.run(name, group, "--json")
        assert (bare.exit, bare.out) == (0, shell.run(name, group, "list", "--json").out)


def test_a_referral_is_shown_with_what_comes_first_beside_it(shell: Shell, ref: str) -> None:
    shown = shell.run("officer", "show", ref, "--json")
    assert members(shown) == {
        *("ref", "verified", "from", "issuer", "warning", "warnings", "safe_contact", "do_not", "hidden"),
        *("notes", "supplements", "referral", "standing", "unsaid"),
    }
    assert (shown.json["warnings"], shown.json["hidden"]) == ([], [])
    assert shown.json["notes"] == []
    assert [one["who"] for one in shown.json["safe_contact"]] == ["V1", "V2"]
    assert shown.json["referral"] == json.loads((shell.folder / "emergencia.json").read_text())


def test_on_screen_no_number_stands_before_safe_contact_and_what_not_to_do(shell: Shell, ref: str) -> None:
    out = shell.run("officer", "show", ref).out
    first = min(out.index(number) for number in ("+51730000199", "+51900000000", "+51800000000"))
    assert out.index("NO HACER") < out.index("CONTACTO SEGURO") < first
    assert out.index("Ninguno: solo a través de la línea") < first


def test_the_directory_is_told_whole(shell: Shell) -> None:
    units = shell.run("operator", "units", "list", "--json")
    assert members(units) == {"units"}
    assert {frozenset(one) for one in units.json["units"]} == {frozenset(UNITS)}
    shown = shell.run("operator", "units", "show", UNIT, "--json")
    assert members(shown) == {"unit"}
    assert set(shown.json["unit"]) == UNITS
    suggested = shell.run("operator", "units", "suggest", "--ubigeo", "200101", "--json")
    assert members(suggested) == {"ubigeo", "region", "suggestions"}
    assert {frozenset(one) for one in suggested.json["suggestions"]} == {
        frozenset(UNITS | {"why", "matched_area", "matched_specialities"})
    }
    assert members(shell.run("officer", "keys", "show", "--json")) == {"party", "mine"}
    assert members(shell.run("officer", "whoami", "--json")) == {
        *("credential", "party", "role", "kind", "environment", "issuer", "root", "person", "service"),
        *("log_key", "server_time", "skew_s", "witnesses"),
    }


def test_an_audit_says_of_each_check_how_often_it_was_made(shell: Shell, ref: str) -> None:
    report = shell.run("auditor", "audit", "verify", "--full", "--json")
    assert members(report) == {
        *("complete", "result", "checks", "faults", "heads", "referrals", "witnesses"),
        *("issuer", "at", "mode", "relied", "evidence", "erased", "unlogged", "final_states", "witnessed", "lost"),
    }
    assert report.json["result"] == "intact"
    assert all(set(one) == {"verdict", "count"} for one in report.json["checks"].values())
    assert report.json["complete"] is True
    assert report.json["referrals"] >= 1
    mirrored = shell.run("auditor", "audit", "mirror", "mirrored", "--json")
    assert members(mirrored) == {"mirror", "sizes"}


def test_evidence_verifies_for_somebody_else_and_fails_when_one_byte_changes(shell: Shell, ref: str) -> None:
    shown = shell.run("operator", "receipt", "show", ref, "--json", "--out", "evidence.json")
    assert set(shown.json["evidence"]) == {"v", "act", "receipt", "proof"}
    assert members(shell.run("officer", "receipt", "verify", "evidence.json", "--json")) == {
        "receipt", "checkpoint_size", "cosignatures", "verified",
    }  # fmt: skip
    evidence = json.loads((shell.folder / "evidence.json").read_text())
    at = evidence["receipt"].index('"payload":"') + 40
    changed = "A" if evidence["receipt"][at] != "A" else "B"
    evidence["receipt"] = evidence["receipt"][:at] + changed + evidence["receipt"][at + 1 :]
    Path(shell.folder / "altered.json").write_text(json.dumps(evidence))
    ran = shell.run("officer", "receipt", "verify", "altered.json", "--json")
    assert ran.exit == ran.json["error"]["exit"] == 5
    assert shell.run("officer", "receipt", "verify", "altered.json").exit == 5


def test_an_evidence_file_and_a_key_file_are_for_their_owner_alone(shell: Shell, ref: str) -> None:
    assert shell.run("operator", "receipt", "show", ref, "--out", "mine.json").exit == 0
    assert (shell.folder / "mine.json").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("extra", [[], ["--json"]])
@pytest.mark.parametrize(
    ("name", "words", "code"),
    [
        ("nobody", ["whoami"], 4),
        ("officer", ["show", "no-such"], 6),
        ("officer", ["send", "emergencia.json", "--unit", UNIT], 7),
        ("stranger", ["inbox", "list", "--exit-code"], 9),
        ("operator", ["inbox", "list", "--server", "http://127.0.0.1:9"], 3),
        ("operator", ["send", "missing.json", "--unit", UNIT], 2),
    ],
)
def test_an_exit_code_does_not_depend_on_json(
    shell: Shell, name: str, words: list[str], code: int, extra: list[str]
) -> None:
    ran = shell.run(name, *words, *extra)
    assert ran.exit == code
    assert "Traceback" not in ran.out + ran.err
    if extra:
        assert ran.err == ""
        assert ran.json["schema"] == "referral.cli/1"
