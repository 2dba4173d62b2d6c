"""What comes back beside the leaves: nothing that was erased, and of enrolments all that the keys log tells."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from referral_api.client import sdk
from referral_api.client.compartment import InsecureKdfForTests
from referral_api.client.enrolment import Joined, Joining
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import Act
from referral_api.formats.act import parse_act
from referral_api.formats.enrolment import Invitation, parse_invitation
from tests.auditlog.refusals import refused
from tests.story.test_erasure import erase, holds, lived
from tests.story.test_recovery import back_up, lose_disk, receipt_file, run_reconcile
from tests.world import ENTRIES, PASSPHRASE, PERSON, UNIT, Office, World, check_database
from tests.world_check import Rows


def recovered(world: World, mirror: Path | None, receipts: list[Path]) -> Any:
    """The disk is lost; reconciled and served again, and everything holds."""
    outcome = run_reconcile(world, mirror, receipts)
    assert outcome.closed is None
    world.server.start()
    world.check()
    check_database(world)
    return outcome


@pytest.mark.parametrize("backed_up", ["before its life", "within its life", "after its life"])
def test_what_was_erased_stays_erased_whoever_still_has_it(sqlite_world: World, tmp_path: Path, backed_up: str) -> None:
    world = sqlite_world
    folder = back_up(world) if backed_up == "before its life" else None
    gone = str(world.submit().outgoing.ref)
    folder = folder or (back_up(world) if backed_up == "within its life" else None)
    world.acknowledge("officer", gone)
    folder = folder or back_up(world)
    kept = lived(world)
    sent = [entry for entry in world.operator.outbox.entries() if entry.outgoing.ref == gone]
    receipts = [receipt_file(entry, tmp_path / f"{at}.json") for at, entry in enumerate(sent)]
    _, indices = erase(world, gone)
    mirror = tmp_path / "mirror"
    world.auditor.mirror(mirror)
    text = sent[0].outgoing.jws.decode()
    assert not holds(mirror, text)
    erased = Rows(world)["erasure"]
    lose_disk(world, folder)
    recovered(world, mirror, receipts)
    rows = Rows(world)
    assert sorted(map(str, rows["erasure"])) == sorted(map(str, erased))
    assert len(erased) == len(indices)
    for table in ("record", "sealed", "feed", "delivery", "referral"):
        assert not any(gone in str(row) for row in rows[table]), table
    assert [row["act"] for row in rows["act"] if row["ref"] == gone] == ["erase"]
    report = world.auditor.audit()
    assert report.complete, report.faults
    assert report.erased == len(indices)
    assert world.operator.referral(kept).chronicle.deliveries[UNIT].state == "accepted"


def test_of_a_referral_that_was_erased_in_part_the_act_says_how_it_ended(sqlite_world: World, tmp_path: Path) -> None:
    world = sqlite_world
    folder = back_up(world)
    ref = lived(world)
    rows = Rows(world)
    last = max(row["pos"] for row in rows["act"] if row["ref"] == ref)
    erase(world, ref, [last & (1 << 36) - 1])
    before = next(row for row in Rows(world)["delivery"] if row["ref"] == ref and row["unit"] == UNIT)
    mirror = tmp_path / "mirror"
    world.auditor.mirror(mirror)
    lose_disk(world, folder)
    recovered(world, mirror, [])
    after = next(row for row in Rows(world)["delivery"] if row["ref"] == ref and row["unit"] == UNIT)
    assert (after["state"], after["investigation"]) == (before["state"], before["investigation"])


def test_a_record_that_no_act_has_taken_is_still_demanded(sqlite_world: World, tmp_path: Path) -> None:
    world = sqlite_world
    folder = back_up(world)
    gone = lived(world)
    _, indices = erase(world, gone)
    mirror = tmp_path / "mirror"
    world.auditor.mirror(mirror)
    (block,) = (mirror / "audit").glob("*/records/*")
    whole = block.read_bytes()
    lose_disk(world, folder)
    # Without the act's own record nothing says that the others may be gone.
    records = json.loads(whole)
    block.write_text(json.dumps([one for one in records if not is_erase(one["record"])]))
    with pytest.raises(ReferralError) as caught:
        run_reconcile(world, mirror, [])
    assert (caught.value.facts["reason"], caught.value.facts["missing"]) == ("database-shorter", 1 + len(indices))
    block.write_bytes(whole)
    recovered(world, mirror, [])


def is_erase(record: str) -> bool:
    """Whether a record is an `erase` act."""
    try:
        return parse_act(record.encode()).act is Act.ERASE
    except ReferralError:
        return False


def test_enrolments_come_back_from_the_keys_log_and_their_invitations_stay_used(
    sqlite_world: World, tmp_path: Path
) -> None:
    world = sqlite_world
    folder = back_up(world)
    office = Office(world.folder, world.server)
    keyholder = office.client("officer")
    first = parse_invitation(keyholder.invite(ENTRIES[UNIT], [PERSON]))
    office.approve(keyholder, UNIT, join(world, first, "st3"))
    spent = parse_invitation(keyholder.invite(ENTRIES[UNIT], [PERSON]))
    waiting = join(world, spent, "st4")
    keyholder.invite(ENTRIES[UNIT], [PERSON])
    office.approve(keyholder, UNIT, waiting)
    office.close()
    before = Rows(world)
    mirror = tmp_path / "mirror"
    world.auditor.mirror(mirror)
    lose_disk(world, folder)
    outcome = recovered(world, mirror, [])
    assert outcome.invited == [UNIT]
    after = Rows(world)
    assert enrolled(after) == enrolled(before)
    assert len(enrolled(after)) > len(after["invitation"]) - 2
    # Whoever still has the file cannot begin again with other keys.
    refused(ErrorCode.INVITE_USED, join, world, spent, "st5")


def join(world: World, invitation: Invitation, station: str) -> Joined:
    """A further person of the unit, on a workstation of its own."""
    what = Joining(invitation, PASSPHRASE, kdf=InsecureKdfForTests(), server=world.server.url, station=station)
    return sdk.join(world.folder / "profiles" / station, what, clock=world.clock)


def enrolled(rows: Rows) -> list[tuple[Any, ...]]:
    """Every enrolment but for its number and its times, which no log knows."""
    used = {row["enrolment"]: row["nonce"] for row in rows["invitation"]}
    return sorted(
        (row["nonce"], used[row["id"]], row["party"], row["state"], row["challenges"], row["body"])
        for row in rows["enrolment"]
    )
