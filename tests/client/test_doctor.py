"""What the doctor says of a party by its keys log alone: backup keys, proposals, objections, keys that are not ours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from referral_api.client.doctor import standing
from referral_api.client.keystore import CredentialKeys
from referral_api.client.profile import Profile
from referral_api.client.trust import Replica
from referral_api.domain.findings import Finding, Level
from referral_api.domain.words import Act, CredentialId, KeyUse, PartyId
from referral_api.formats.key_entry import build_key_entry
from referral_api.formats.strict_json import sha256_b64u
from tests.client.world import OFFICER, OPERATOR, REGISTRAR, admit, directory, enc_key, keys_of
from tests.formats import parties_world as pw
from tests.formats.parties_world import DAY, NONCE, NOW, Log, Someone

UNIT = OFFICER.party
OWN = keys_of(OFFICER, "piura")


def profile_of(log: Log, someone: Someone) -> Profile:
    root = sha256_b64u(log.leaves[0])
    return Profile(pw.ISSUER, pw.ISSUER, root, "sandbox", PartyId(someone.party), person=CredentialId(someone.id))


def replica_of(log: Log, someone: Someone = OFFICER) -> Replica:
    replica = Replica(profile_of(log, someone), log.leaves[0])
    replica.extend(log.leaves[1:])
    return replica


def found(log: Log, now: int = NOW, someone: Someone = OFFICER, keys: CredentialKeys = OWN) -> dict[str, Finding]:
    replica, profile = replica_of(log, someone), profile_of(log, someone)
    findings = [
        *standing.look_at_party(profile, replica, now),
        *standing.look_at_own_keys(keys, replica.keymap, profile, now),
        *standing.look_at_others(replica.keymap, replica.keymap, profile, now),
    ]
    return {one.code: one for one in findings}


def enc_entry(name: str, use: KeyUse = KeyUse.ENC) -> bytes:
    return build_key_entry(
        party=UNIT, use=use, jwk=enc_key(name).public.jwk, nonce=NONCE, iat=NOW, possession=NONCE, signers=OFFICER.seals
    )  # fmt: skip


def listed(name: str, use: str = "enc", *, at: int = NOW, days: int = 45, **more: Any) -> dict[str, Any]:
    return {"kid": enc_key(name).kid, "use": use, "from": at, "until": at + days * DAY} | more


def restate(log: Log, *enc: dict[str, Any], people: tuple[Someone, ...] = (OFFICER,), by: Someone = OFFICER) -> bytes:
    """The next statement of the unit; its bytes."""
    before = log.keymap.find_party(UNIT)
    assert before is not None
    body = pw.statement_body(
        UNIT, "police_unit", list(people), seq=before.seq + 1, prev=before.statement, enc=enc,
        parent="pnp-nacional", duty_phone="+51730000199",
    )  # fmt: skip
    statement = by.sign(Act.STATEMENT, body)
    log.put(statement)
    return statement


def test_a_single_workstation_without_a_backup_key_is_warned() -> None:
    log = directory()
    backup = found(log)["backup.none"]
    assert (backup.level, backup.seen) == (Level.WARNING, {"workstations": 1})


@pytest.mark.parametrize(("left", "level"), [(31, Level.OK), (29, Level.WARNING)])
def test_a_backup_key_is_told_of_before_its_end(left: int, level: Level) -> None:
    log = directory()
    log.put(enc_entry("papel", KeyUse.BACKUP))
    restate(log, listed("piura", station="st1"), listed("papel", "backup", days=365))
    told = found(log, NOW + (365 - left) * DAY)
    assert (told["backup"].level, told["backup"].seen["days"]) == (level, left)
    assert "backup.none" not in told
    # One that has ended is none.
    assert found(log, NOW + 366 * DAY)["backup.none"].level is Level.WARNING


def test_a_second_key_at_our_workstation_that_is_not_ours_is_a_problem() -> None:
    log = directory()
    assert (found(log)["keys.own"].level, found(log)["keys.open"].seen) == (Level.OK, {"usable": 1, "others": 0})
    log.put(enc_entry("intruso"))
    restate(log, listed("piura", station="st1"), listed("intruso", at=NOW + 1, station="st1"))
    told = found(log)["keys.own"]
    assert (told.level, told.seen, told.command) == (Level.PROBLEM, {"strange": 1}, "referral keys watch")


def test_a_key_at_another_workstation_is_nobody_s_fault() -> None:
    log = directory()
    log.put(enc_entry("vecina"))
    restate(log, listed("piura", station="st1"), listed("vecina", at=NOW + 1, station="st2"))
    told = found(log)
    assert (told["keys.own"].level, told["keys.open"].seen) == (Level.OK, {"usable": 1, "others": 1})
    assert (told["keys.age"].seen["workstations"], told["backup.none"].level) == (2, Level.NOTE)


def test_a_credential_whose_keys_are_not_those_here_is_a_problem() -> None:
    stranger = keys_of(OPERATOR, "piura")
    mixed = CredentialKeys(OWN.credential, stranger.access, OWN.seal, OWN.enc, OWN.storage)
    assert found(directory(), keys=mixed)["keys.own"].seen == {"strange": 1}


def test_a_workstation_whose_key_is_not_listed_opens_nothing() -> None:
    told = found(directory(), keys=keys_of(OFFICER, "perdida"))["keys.open"]
    assert (told.level, told.seen) == (Level.PROBLEM, {"usable": 0, "others": 1})


def test_a_proposal_for_one_s_own_party_and_an_objection_to_it_are_told() -> None:
    """Whoever is asked to approve, or has objected, is told by every other keyholder's doctor too."""
    second = pw.person(UNIT, "of9zzz", algs=OFFICER.algs, keyholder=True)
    log = directory()
    log.put(*second.entries())
    restate(log, listed("piura", station="st1"), people=(OFFICER, second))
    third = pw.person(UNIT, "of8yyy", algs=OFFICER.algs)
    log.put(*third.entries())
    statement = restate(log, listed("piura", station="st1"), people=(OFFICER, second, third), by=second)
    told = found(log)
    assert (told["party.pending"].level, told["party.pending"].seen["waits_for"]) == (Level.WARNING, "keyholder")
    assert "party.objected" not in told
    log.put(OFFICER.sign(Act.OBJECT, {"statement": pw.digest(statement), "reason": "not_ours"}))
    told = found(log)
    assert (told["party.objected"].seen, "party.pending" in told) == ({"count": 1}, False)
    assert "party.objected" not in found(log, NOW + 31 * DAY)


def test_a_party_that_names_nobody_s_escalation_and_one_that_waits_are_named() -> None:
    log = directory()
    lonely = pw.person("comisaria", "of7xxx", algs=OFFICER.algs, keyholder=True)
    admit(log, "police_unit", [lonely], enc="comisaria", duty_phone="+51730000200", escalation=["nadie"])
    waiting = pw.person("nueva", "of6www", algs=OFFICER.algs, keyholder=True)
    log.put(*waiting.entries())
    log.put(
        waiting.sign(Act.STATEMENT, pw.statement_body("nueva", "police_unit", [waiting], duty_phone="+51730000201"))
    )
    told = found(log)
    assert told["parties.escalation"].seen["parties"] == ["comisaria"]
    assert (told["parties.waiting"].level, told["parties.waiting"].seen["parties"]) == (Level.NOTE, ["nueva"])
    own = found(log, someone=REGISTRAR, keys=keys_of(REGISTRAR))
    assert (own["parties.waiting"].level, own["parties.waiting"].command) == (Level.WARNING, "referral enrolments")
    assert "keys.age" not in own


def test_who_is_not_in_the_directory_is_told_so_and_a_credential_that_is_not() -> None:
    log = directory()
    stranger = pw.person("nueva", "of6www", algs=OFFICER.algs)
    assert found(log, someone=stranger, keys=keys_of(stranger))["party.unlisted"].command == "referral enrol"
    removed = pw.person(UNIT, "of5vvv", algs=OFFICER.algs)
    assert found(log, someone=removed, keys=keys_of(removed))["credential.unlisted"].level is Level.PROBLEM


def test_a_unit_whose_key_was_revoked_cannot_be_sealed_to(tmp_path: Path) -> None:
    log = directory()
    log.put(OFFICER.sign(Act.REVOKE, {"kid": enc_key("piura").kid, "reason": "lost", "at": NOW}))
    told = found(log)
    assert (told["parties.unreachable"].level, told["parties.unreachable"].seen["parties"]) == (Level.WARNING, [UNIT])
    assert (told["keys.age"].level, told["keys.open"].level) == (Level.PROBLEM, Level.PROBLEM)
