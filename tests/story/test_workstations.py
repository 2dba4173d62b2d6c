"""A unit's workstations and officers come and go (docs/runbooks.md: "A new workstation", "An officer leaves").

Two officers, two workstations; a third joins at night and has yesterday's emergency to open.
"""

from __future__ import annotations

from collections.abc import Callable

import httpx2
import pytest

from referral_api.client import rewrapping, talking
from referral_api.client.outbox import Progress
from referral_api.client.rewrapping import Outcome
from referral_api.client.sdk import Client
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import Act, Digest, State
from tests.auditlog.refusals import refused
from tests.conftest import on_both_engines
from tests.story.newcomers import Unit
from tests.wire import Answer
from tests.world import CANARY, NATIONAL, REFERRAL, UNIT, World, composition

DAY_S = 24 * 3600


@pytest.fixture
def world(story_world: World) -> World:
    """On both engines: a workstation that is added and sealed to again, and one that is removed."""
    return story_world


def cut_off(_: Answer) -> Answer:
    """The exchange has answered, and nobody hears it."""
    raise httpx2.ReadError("the line was cut")


def cut_after_one() -> Callable[[Answer], Answer]:
    """One answer comes through, and no further one."""
    seen: list[str] = []

    def lie(answer: Answer) -> Answer:
        seen.append("answer")
        return answer if len(seen) == 1 else cut_off(answer)

    return lie


def short(client: Client) -> str:
    return str(client.profile.person).partition(".")[2]


@on_both_engines
def test_a_workstation_that_joins_at_night_opens_yesterday_s_emergency(world: World, unit: Unit) -> None:
    """R-28: sealed again by whoever could open it, proved by the hotline's own signature, acknowledged as any other."""
    ref = str(world.submit().outgoing.ref)
    world.clock.ahead_s += 12 * 3600
    _, night = unit.join("noche")
    refused(ErrorCode.NO_USABLE_KEY, night.open, ref)

    report = world.after(world.second_officer.identity.rewrap())
    assert [(one.ref, one.outcome, one.stations) for one in report.done] == [(ref, Outcome.WRAPPED, ("noche",))]
    assert report.complete

    opened = world.after(night.open(ref))
    assert CANARY in opened.body.situation.summary
    assert opened.bundle.referral.contents.issuer.startswith("linea-1818.")
    assert opened.bundle.document.contents.issuer == world.second_officer.keys.credential
    assert world.after(night.acknowledge(opened)).state is Progress.RECEIVED
    assert world.after(night.act(ref, Act.ACCEPT, {})).state is Progress.RECEIVED

    # The hotline sees that it was taken, and nothing of how the unit's workstations came by it; so does the auditor.
    shown = world.operator.referral(ref)
    assert shown.chronicle.deliveries[UNIT].state is State.ACCEPTED
    assert Act.REWRAP not in {one.act.act for one in shown.acts}
    report_ = world.after(world.auditor.audit())
    assert report_.complete, report_.faults


@on_both_engines
def test_what_the_hotline_added_before_a_workstation_came_opens_on_it_too(world: World, unit: Unit) -> None:
    """R-28: a corrected contact that only the older workstations could read would be acted upon as it was before."""
    ref = str(world.submit().outgoing.ref)
    world.open("officer", ref)
    operator = world.operator
    for reference in ("first", "second"):
        more = REFERRAL | {"sender_reference": reference}
        world.after(talking.supplement(operator.pen, operator.referral(ref), more, UNIT))
    _, night = unit.join("noche")

    def added(client: Client) -> list[str | ErrorCode | None]:
        read = world.after(talking.read_supplements(client.session, client.keys, client.referral(ref)))
        return [one.code if one.body is None else one.body.sender_reference for one in read]

    world.wires["officer"].lies["/acts/"] = cut_after_one()
    report = world.officer.identity.rewrap()
    world.wires["officer"].lies.clear()
    assert [(one.outcome, one.stations) for one in report.done] == [(Outcome.WAITS, ("noche",))]
    world.after(night.open(ref))
    again = world.after(world.officer.identity.rewrap())
    assert [one.outcome for one in again.done] == [Outcome.HELD]
    assert again.complete
    assert added(night) == ["first", "second"]
    # It holds the hotline's own signature, and goes on from hand to hand as the bundle does.
    _, late = unit.join("tarde")
    assert [one.outcome for one in world.after(night.identity.rewrap()).done] == [Outcome.WRAPPED]
    late.open(ref)
    assert added(late) == ["first", "second"]
    assert world.after(world.auditor.audit()).complete


def test_a_supplement_that_does_not_open_here_is_told_and_keeps_the_bundle_from_nobody(
    world: World, unit: Unit
) -> None:
    ref = str(world.submit().outgoing.ref)
    world.open("officer", ref)
    world.after(talking.supplement(world.operator.pen, world.operator.referral(ref), REFERRAL, UNIT))
    _, night = unit.join("noche")
    # The bundle comes through; then the machine is never seen again.
    officer = world.officer
    officer.sync_keys()
    work = rewrapping._Work(officer.session, officer.keys, officer.outbox)
    referral = officer.referral(ref)
    assert world.after(work._text(referral, referral.brought(UNIT), None)).outcome is Outcome.WRAPPED
    _, late = unit.join("tarde")
    report = world.after(night.identity.rewrap())
    assert [(one.outcome, one.stations, one.code) for one in report.done] == [
        (Outcome.LOCKED, ("tarde",), ErrorCode.NO_USABLE_KEY)
    ]
    assert not report.complete
    late.open(ref)
    (closed,) = talking.read_supplements(late.session, late.keys, late.referral(ref))
    assert closed.code is ErrorCode.NO_USABLE_KEY
    # Another one of the unit does it.
    assert [one.outcome for one in world.after(world.second_officer.identity.rewrap()).done] == [Outcome.WRAPPED]
    (more,) = talking.read_supplements(late.session, late.keys, late.referral(ref))
    assert more.body is not None


def test_what_was_sealed_again_is_not_sealed_again(world: World, unit: Unit) -> None:
    """A call that was interrupted goes on: every envelope says whom it is for, and who came later still is served."""
    refs = [str(world.submit().outgoing.ref) for _ in range(3)]
    unit.join("noche")
    first = world.after(world.officer.identity.rewrap(refs[:1]))
    assert [one.outcome for one in first.done] == [Outcome.WRAPPED]
    told: list[tuple[str, int, int]] = []
    report = world.officer.identity.rewrap(progress=lambda *step: told.append(step))
    assert {one.ref: one.outcome for one in report.done} == {
        refs[0]: Outcome.HELD, refs[1]: Outcome.WRAPPED, refs[2]: Outcome.WRAPPED,
    }  # fmt: skip
    assert told == [("deliveries", at, 3) for at in range(4)]
    world.check()
    _, late = unit.join("tarde")
    # A workstation to which it was sealed again serves the next one likewise: the original travels on verbatim.
    night = unit.opened[0]
    report = world.after(night.identity.rewrap(refs[:1]))
    assert [(one.outcome, one.stations) for one in report.done] == [(Outcome.WRAPPED, ("tarde",))]
    assert CANARY in world.after(late.open(refs[0])).body.situation.summary
    refused(ErrorCode.NO_USABLE_KEY, late.open, refs[1])
    report = world.after(late.identity.rewrap(refs[1:2]))
    assert [(one.outcome, one.code) for one in report.done] == [(Outcome.LOCKED, ErrorCode.NO_USABLE_KEY)]


def test_only_open_deliveries_are_sealed_again_unasked(world: World, unit: Unit) -> None:
    declined, withdrawn, running = (str(world.submit().outgoing.ref) for _ in range(3))
    world.acknowledge("officer", declined)
    world.act("officer", declined, Act.DECLINE, {"reason": "no_capacity"})
    world.act("operator", withdrawn, Act.WITHDRAW, {"reason": "duplicate"})
    unit.join("noche")
    report = world.after(world.officer.identity.rewrap())
    assert {one.ref: one.outcome for one in report.done} == {
        declined: Outcome.CLOSED, withdrawn: Outcome.CLOSED, running: Outcome.WRAPPED,
    }  # fmt: skip
    named = world.after(world.officer.identity.rewrap([declined, withdrawn]))
    assert [one.outcome for one in named.done] == [Outcome.WRAPPED, Outcome.CLOSED]


def test_what_cannot_be_sent_waits_in_the_outbox_and_is_not_made_twice(world: World, unit: Unit) -> None:
    ref = str(world.submit().outgoing.ref)
    _, night = unit.join("noche")
    lies = world.wires["officer"].lies
    lies["/acts/"] = cut_off
    report = world.officer.identity.rewrap()
    assert [(one.ref, one.outcome) for one in report.done] == [(ref, Outcome.WAITS)]
    assert not report.complete
    lies.clear()
    again = world.after(world.officer.identity.rewrap())
    assert [one.outcome for one in again.done] == [Outcome.HELD]
    assert [one.state for one in world.officer.outbox.entries() if one.outgoing.act is Act.REWRAP] == [
        Progress.RECEIVED
    ]
    assert CANARY in world.after(night.open(ref)).body.situation.summary


@on_both_engines
def test_an_officer_leaves_and_the_workstation_with_the_officer(world: World, unit: Unit) -> None:
    """R-32 b: one keyholder suffices, it acts at once, and senders seal to the workstation no more."""
    ref = str(world.submit().outgoing.ref)
    gone = world.second_officer
    assert unit.stations(world.operator) == {"st1", "st2"}
    what = world.officer.identity.removal([short(gone)])
    assert [(line.name, line.kind) for line in what.ends] == [(short(gone), "person"), ("station/st2", "station")]
    assert what.stations_left == ("st1",)
    world.after(world.officer.identity.sign(what))
    assert unit.stations(world.operator) == {"st1"}
    with pytest.raises(ReferralError) as caught:
        gone.open(ref)
    assert caught.value.code in (ErrorCode.INVALID_TOKEN, ErrorCode.KEY_NOT_VALID), caught.value
    assert CANARY in world.open("officer", ref).body.situation.summary
    # Whoever comes back enrols anew; the old credential never returns.
    _, back = unit.join("st3")
    assert short(back) != short(gone)
    assert [one.outcome for one in world.after(world.officer.identity.rewrap()).done] == [Outcome.WRAPPED]
    assert CANARY in world.after(back.open(ref)).body.situation.summary


def test_a_workstation_is_removed_and_its_officer_stays(world: World, unit: Unit) -> None:
    ref = str(world.submit().outgoing.ref)
    world.acknowledge("second_officer", ref)
    world.after(world.officer.identity.sign(world.officer.identity.removal(["station/st2"])))
    assert unit.stations(world.operator) == {"st1"}
    # What was sealed to it before opens there as ever, and its officer goes on signing.
    assert CANARY in world.open("second_officer", ref).body.situation.summary
    assert world.act("second_officer", ref, Act.ACCEPT).state is Progress.RECEIVED


def test_nobody_signs_away_the_last_keyholder_or_oneself(world: World, unit: Unit) -> None:
    officer = world.officer.identity
    assert refused(ErrorCode.NOT_PERMITTED, officer.removal, [short(world.officer)]) == "last-keyholder"
    with pytest.raises(ReferralError) as caught:
        world.second_officer.identity.removal(["station/st1"])
    assert caught.value.facts["needs"] == "keyholder"
    refused(ErrorCode.NOT_FOUND, officer.removal, ["station/nowhere"])
    # With another keyholder there is somebody to sign it: the other one.
    _, second = unit.join("st3", keyholder=True)
    assert refused(ErrorCode.NOT_PERMITTED, officer.removal, [short(world.officer)]) == "oneself"
    what = second.identity.removal([short(world.officer)])
    assert what.keyholders_left == (second.keys.credential,)
    world.after(second.identity.sign(what))
    assert unit.stations(world.operator) == {"st2", "st3"}


def test_what_waits_for_a_second_keyholder_falls_with_a_removal_and_that_is_said(world: World, unit: Unit) -> None:
    """R-32 b: a newer statement takes the place of one that waits; who takes somebody away must know of whom else."""
    _, second = unit.join("st3", keyholder=True)
    joined, newcomer = unit.join("st4")  # One keyholder has signed; the second has not.
    refused(ErrorCode.STATEMENT_OUT_OF_SEQUENCE, world.officer.identity.confirm_review, Digest("A" * 43))
    what = world.officer.identity.removal(["station/st2"])
    assert what.overtakes is not None
    assert what.overtakes.signer == world.officer.keys.credential
    world.after(world.officer.identity.sign(what))
    assert unit.stations(world.operator) == {"st1", "st3"}
    assert newcomer.joining().turn == "void"
    assert joined.turn == "keyholder"
    # Nothing waits any more, and the next removal says so.
    assert second.identity.removal(["station/st1"]).overtakes is None


def test_a_review_confirms_nothing_that_adds_keys(world: World, unit: Unit) -> None:
    """What is new is compared by thirty digits; a review prolongs and drops, and only that is confirmed without."""
    _, second = unit.join("st3", keyholder=True)
    joined, _ = unit.join("st4")
    pending = second.identity.roster().pending
    assert pending is not None
    assert refused(ErrorCode.NOT_PERMITTED, second.identity.confirm_review, pending.digest) == "not-a-review"
    assert refused(ErrorCode.NOT_PERMITTED, world.officer.identity.confirm_review, pending.digest) == "oneself"
    (applicant,) = second.applicants()
    world.after(second.approve(applicant, joined.code))
    assert unit.stations(world.operator) == {"st1", "st2", "st3", "st4"}


def test_a_review_prolongs_who_is_here_and_ends_who_is_not(world: World, unit: Unit) -> None:
    """One keyholder alone: it acts at once. Workstations keep their own ends; who left takes theirs along."""
    world.clock.ahead_s += 200 * DAY_S
    world.close_clients()
    before = {line.name: line for line in world.officer.identity.roster().lines}
    leaver = short(world.second_officer)
    assert before[leaver].until - int(world.clock()) < 170 * DAY_S
    assert before[leaver].vouched_by == (world.officer.keys.credential,)
    assert before[short(world.officer)].vouched_by[1].startswith("registro.")
    here = [name for name, line in before.items() if leaver not in (name, line.keeper)]
    what = world.officer.identity.review(here, [leaver])
    assert [line.name for line in what.ends] == [leaver, "station/st2"]
    world.after(world.officer.identity.sign(what))
    after = {line.name: line for line in world.officer.identity.roster().lines}
    assert after.keys() == before.keys() - {leaver, "station/st2"}
    station = after.pop("station/st1")
    assert station.until < world.clock(), "listed, so that it can be renewed, and sealed to by nobody"
    assert what.stations_left == ()
    assert all(after[name].until - before[name].until >= 199 * DAY_S for name in after)
    assert all(after[name].since == before[name].since for name in after)


def test_a_key_that_was_revoked_ends_with_the_next_statement_whatever_that_says(world: World, unit: Unit) -> None:
    _, night = unit.join("noche")
    world.officer.sync_keys()
    credential = world.officer.session.keymap.get_credential(night.keys.credential)
    world.after(world.officer.revoke(credential.access, "lost", int(world.clock())))
    lines = {line.name: line for line in world.officer.identity.roster().lines}
    assert lines[short(night)].revoked
    what = world.officer.identity.removal(["station/st2"])
    assert {line.name for line in what.ends} == {"station/st2", short(night), "station/noche"}
    world.after(world.officer.identity.sign(what))
    assert unit.stations(world.operator) == {"st1"}


def test_a_unit_without_a_workstation_is_passed_over_loudly(world: World) -> None:
    """Design §5: nobody seals to it; senders are told who can be reached instead."""
    what = world.officer.identity.removal(["station/st1", "station/st2"])
    assert (what.stations_left, len(what.keyholders_left)) == ((), 1)
    world.after(world.officer.identity.sign(what))
    with pytest.raises(ReferralError) as caught:
        world.operator.submit(composition())
    assert (caught.value.code, caught.value.facts["instead"]) == (ErrorCode.NO_USABLE_KEY, [NATIONAL])
