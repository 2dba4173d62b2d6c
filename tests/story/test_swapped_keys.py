"""A dishonest exchange lies about whose keys are whose, in the five ways there are: the client fails closed on each.

It swaps a unit's key, hides a newer statement, replays an old one, answers with another exchange's keys: whoever reads
the keys log notices. It shows two parties different keys logs: nobody can tell alone, and comparing does, by the signed
bundle, by the witnesses and by the receipts. The same on the screen, with the words: tests/cli/test_swapped_keys.py.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from referral_api.auditlog.policy import format_policy
from referral_api.cli.output import EXIT_OF, Exit
from referral_api.client import sdk
from referral_api.client.compartment import InsecureKdfForTests
from referral_api.client.enrolment import Joining
from referral_api.client.sdk import Client
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import Act, CredentialKind
from referral_api.formats.enrolment import parse_invitation
from tests.forgery import forked, log_of
from tests.liar import Asked, Kind, Liar, Lie, Tree
from tests.liar_scene import Scene, held
from tests.lies import KEYS, LIES
from tests.lies_of_keys import ITS_RECEIPT, OF_APPLICANTS, OF_KEYS, REFUSED_FOR
from tests.lying_witness import LyingWitness, policy_at
from tests.world import ENTRIES, PASSPHRASE, UNIT, WITNESSES, Founded, World, composition

CALLS: dict[str, tuple[str, Callable[[Client, Scene], object]]] = {
    "sync_keys": ("operator", lambda c, _s: c.sync_keys()),
    "submit": ("operator", lambda c, _s: c.submit(composition())),
    "act": ("officer", lambda c, s: c.act(s.ref, Act.NOTE, {}, note="sigue ahí")),
    "approve": ("registrar", lambda c, s: c.approve(c.applicants()[0], s.code)),
}
"""What people do that rests on whose keys are whose: seal, write beside an act, admit."""


@pytest.fixture(scope="module")
def scene(founded: Founded, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """An exchange with a past, and a liar in front of it."""
    with World(founded, tmp_path_factory.mktemp("swapped") / "world") as world, Liar(world) as liar:
        world.check()
        made = Scene(world, liar)
        made.live()
        yield made
        liar.begin(None)
        world.check()


def alarmed(call: Callable[[], object], *codes: ErrorCode) -> ReferralError:
    """The alarm that a call ends with: one of these codes, or any; its exit code is always 5."""
    with pytest.raises(ReferralError) as caught:
        call()
    assert not codes or caught.value.code in codes
    assert EXIT_OF[caught.value.code] == Exit.VERIFICATION_FAILED, caught.value
    return caught.value


# What every reader of the keys log notices.


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("name", OF_KEYS)
def test_no_call_goes_on_by_a_false_keys_log(name: str, call: str, scene: Scene) -> None:
    """R-30, R-94: nothing is pinned, sealed, signed or sent, and an honest answer heals."""
    (seat, run), lie = CALLS[call], OF_KEYS[name]
    folder = scene.folder(seat, lie.memory)
    before = held(folder)
    scene.liar.begin(lie)
    with scene.client(folder, lied_to=True) as client:
        alarm = alarmed(lambda: run(client, scene))
    assert scene.liar.told
    assert alarm.facts.get("shown", "keys-log") == "keys-log"
    sent = [one for one in scene.liar.asked if one.kind is Kind.PUT]
    scene.liar.begin(None)
    assert not sent, "something was sent on the strength of false keys"
    scene.verify_pins(folder)
    assert held(folder) == before
    if call == "sync_keys":
        with scene.client(folder, lied_to=True) as client:
            client.sync_keys()


def test_an_officer_is_told_which_lie_it_was(scene: Scene) -> None:
    """Each lie has the code of the check that failed, and says that it was about the keys log."""
    found = {}
    for name, lie in OF_KEYS.items():
        scene.liar.begin(lie)
        with scene.client(scene.folder("operator", lie.memory), lied_to=True) as client:
            found[name] = alarmed(client.sync_keys).code
    scene.liar.begin(None)
    code = ErrorCode
    assert found == {
        "swapped key: in place": code.POSSESSION_NOT_PROVED,
        "swapped key: in place, seen before": code.TAMPERED,
        "swapped key: vouched for by the exchange": code.POSSESSION_NOT_PROVED,
        "swapped key: by an invented keyholder": code.KEY_NOT_VALID,
        "swapped key: by the exchange": code.TAMPERED,
        "hidden statement: a newer one": code.INCONSISTENT,
        "replayed: a statement": code.TAMPERED,
        "replayed: an approval": code.TAMPERED,
        "replayed: a revoked key's entry": code.KEY_REUSED,
        "other log: its order": code.TAMPERED,
        "another exchange: whole": code.WRONG_ROOT,
        "another exchange: its checkpoint": code.SIGNATURE_INVALID,
    }


def test_another_exchanges_receipt_is_no_receipt(scene: Scene) -> None:
    """R-16: the receipt keys are those of the pinned genesis."""
    folder = scene.folder("operator", "new")
    scene.liar.begin(ITS_RECEIPT)
    with scene.client(folder, lied_to=True) as client:
        alarmed(lambda: client.submit(composition()), ErrorCode.SIGNATURE_INVALID)
        assert all(one.receipt is None for one in client.outbox.due(1 << 40))
    scene.liar.begin(None)


@pytest.mark.parametrize("name", OF_APPLICANTS)
def test_an_approver_is_shown_no_applicant_whose_key_is_none(name: str, scene: Scene) -> None:
    """R-07: keys under which anything verifies, whose secret is known, or that are somebody else's already."""
    scene.liar.begin(OF_APPLICANTS[name])
    with scene.client(scene.folder("registrar", "new"), lied_to=True) as client:
        alarm = alarmed(client.applicants)
    assert scene.liar.told
    scene.liar.begin(None)
    assert (alarm.code.value, alarm.facts.get("reason")) == REFUSED_FOR[name]
    assert alarm.facts["shown"] == "enrolment"


# What nobody notices alone: two parties are shown different keys logs.


def lying(scene: Scene, seat: str, memory: str, lie: Lie) -> Client:
    """A client of its own profile, in front of this lie."""
    scene.liar.begin(lie)
    return scene.client(scene.folder(seat, memory), lied_to=True)


FORK = LIES["keys log: fork"]


def test_by_the_senders_signed_view_whoever_opens_the_bundle_notices(scene: Scene) -> None:
    """R-26, R-30: the hotline was shown another log, at first contact; its bundle says so, signed."""
    with lying(scene, "operator", "none", FORK) as client:
        ref = str(client.submit(composition()).outgoing.ref)
        assert scene.liar.told
    scene.liar.begin(None)
    with scene.client(scene.folder("officer", "new"), lied_to=False) as officer:
        alarm = alarmed(lambda: officer.open(ref), ErrorCode.INCONSISTENT)
    assert (alarm.facts["reason"], alarm.facts["shown"]) == ("forked", "view")


def test_by_the_senders_signed_view_a_unit_that_is_shown_another_log_notices_too(scene: Scene) -> None:
    """The other way round: the hotline sees the truth, and the unit does not."""
    with scene.client(scene.folder("operator", "new"), lied_to=False) as operator:
        ref = str(operator.submit(composition()).outgoing.ref)
    with lying(scene, "officer", "none", FORK) as officer:
        officer.sync_keys()
        alarm = alarmed(lambda: officer.open(ref), ErrorCode.INCONSISTENT)
    scene.liar.begin(None)
    assert (alarm.facts["reason"], alarm.facts["shown"]) == ("forked", "view")


def test_a_view_of_more_than_the_exchange_has_to_show_is_an_alarm(scene: Scene) -> None:
    """R-26: a unit from which a newer statement is hidden learns from the bundle that there is one."""
    with scene.client(scene.folder("operator", "new"), lied_to=False) as operator:
        ref = str(operator.submit(composition()).outgoing.ref)
    hidden = replace(OF_KEYS["hidden statement: a newer one"], memory="old")
    with lying(scene, "officer", "old", hidden) as officer:
        officer.sync_keys()
        alarm = alarmed(lambda: officer.open(ref), ErrorCode.INCONSISTENT)
    scene.liar.begin(None)
    assert (alarm.facts["reason"], alarm.facts["shown"]) == ("shrunk", "view")


def test_by_its_own_receipt_whoever_changes_the_directory_notices(scene: Scene) -> None:
    """R-30: what was accepted must stand on the keys log that one is shown, and it does not stand on a frozen fork."""
    size = len(scene.liar.leaves("keys"))

    def frozen(liar: Liar, asked: Asked) -> Tree:
        return liar.tree(asked.log, forked(liar, asked).leaves[:size])

    lie = Lie("a frozen fork", "to a newcomer", "who changes it", KEYS, log_of(frozen), "none")
    with lying(scene, "operator", "none", lie) as client:
        client.sync_keys()
        session = client.session
        kid = session.keymap.sealable(client.profile.party, session.now())[0].kid
        alarm = alarmed(lambda: client.revoke(kid, "lost", session.now()), ErrorCode.NOT_INCLUDED)
    scene.liar.begin(None)
    assert alarm.facts["reason"] == "keys-log"


def test_by_a_receipted_act_whoever_is_not_shown_its_signer_notices(sqlite_world: World) -> None:
    """R-54: the hotline is kept from a statement that admits an officer; then the officer acts, and gets a receipt."""
    world = sqlite_world
    ref = str(world.submit().outgoing.ref)
    world.acknowledge("officer", ref)
    world.operator.sync_keys()
    with Liar(world) as liar:
        before = liar.leaves("keys")
        invitation = parse_invitation(world.officer.invite(ENTRIES[UNIT], [CredentialKind.PERSON]))
        what = Joining(invitation, PASSPHRASE, kdf=InsecureKdfForTests(), server=world.server.url, station="st9")
        profiles = world.folder / "profiles"
        joined = sdk.join(profiles / "third_officer", what, clock=world.clock)
        world.officer.approve(world.officer.applicants()[0], joined.code)
        with Client.person(profiles / "third_officer", PASSPHRASE, server=world.server.url, clock=world.clock) as third:
            third.act(ref, Act.ACCEPT, {})
        frozen = log_of(lambda liar, asked: liar.tree(asked.log, before))
        liar.begin(Lie("frozen", "as it was", "who reads acts", KEYS, frozen))
        with Client.person(profiles / "operator", PASSPHRASE, server=liar.url, clock=world.clock) as hotline:
            alarm = alarmed(lambda: hotline.referral(ref), ErrorCode.KEY_NOT_VALID)
            assert liar.told
            liar.begin(None)
            assert alarm.facts["shown"] == "referral"
            hotline.referral(ref)


def _cosigned(world: World, liar: Liar) -> None:
    """Wait until a quorum has cosigned all of the keys log."""
    line, ends = world.server.runtime.witnessing, time.monotonic() + 30
    assert line is not None
    while True:
        with world.server.runtime.exchange.database.read() as conn:
            newest = world.server.runtime.exchange.newest_witnessed(conn, "keys")
        if newest is not None and newest[0] == len(liar.leaves("keys")):
            return
        assert time.monotonic() < ends, "no quorum has cosigned it"
        line.hurry()
        time.sleep(0.05)


def test_by_the_witnesses_whoever_is_shown_another_log_than_they_notices(
    witnessed: Founded, three: list[LyingWitness], tmp_path: Path
) -> None:
    """R-101: a quorum has cosigned another tree than the leaves at hand, at the very first contact."""
    world = World(witnessed, tmp_path / "world")
    (world.folder / WITNESSES).write_bytes(format_policy(policy_at(three)))
    with world, Liar(world) as liar:
        world.check()
        scene = Scene(world, liar)
        scene.keep("none")
        scene.revoke_two()
        _cosigned(world, liar)
        liar.begin(replace(FORK, about=frozenset({Kind.KEYS_CHECKPOINT, Kind.KEYS_ENTRIES})))
        with scene.client(scene.folder("operator", "none"), lied_to=True) as client:
            alarm = alarmed(client.sync_keys, ErrorCode.INCONSISTENT)
            assert alarm.facts["shown"] == "keys-log"
            alarmed(lambda: client.submit(composition()))
            assert client.outbox.entries() == []
        liar.begin(None)
        with scene.client(scene.folder("operator", "none"), lied_to=True) as client:
            client.sync_keys()
