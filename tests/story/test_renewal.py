"""Keys that end and keys that are lost: renewed monthly, destroyed after 75 days, put back from paper, given anew."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from referral_api.client import admission, backup, enrolment, exchange, keystore, sdk
from referral_api.client.compartment import InsecureKdfForTests
from referral_api.client.delivery import private_keys
from referral_api.client.enrolment import _ALPHABET, Joined, Joining
from referral_api.client.keystore import Keystore
from referral_api.client.outbox import Progress
from referral_api.client.profile import ProfileDir
from referral_api.client.renewal import DESTROY_AFTER_S, ROTATE_AFTER_S, may_be_named
from referral_api.client.sdk import Client
from referral_api.client.session import Session
from referral_api.domain.errors import ErrorCode
from referral_api.domain.words import Act, CredentialKind, KeyUse, Kid
from referral_api.formats.directory_bodies import CredentialEntry
from referral_api.formats.enrolment import Completion, parse_invitation
from referral_api.formats.key_entry import build_key_entry
from tests.auditlog.refusals import refused
from tests.conftest import on_both_engines
from tests.wire import Wire
from tests.world import ENTRIES, PASSPHRASE, UNIT, World

DAY_S = 24 * 3600
CHEAP = InsecureKdfForTests()
PERSON = CredentialKind.PERSON


@pytest.fixture
def world(story_world: World) -> World:
    """On both engines: one renewal and one recovery."""
    return story_world


def own_kids(client: Client) -> set[Kid]:
    return set(private_keys(client.keys))


def on_disk(world: World, name: str) -> set[Kid]:
    """The encryption keys that the keystore file holds."""
    directory = ProfileDir(world.folder / "profiles" / world.seats[name].folder)
    return set(private_keys(Keystore.open(directory).unlock_person(PASSPHRASE)))


def sealed_to(world: World, party: str) -> set[Kid]:
    world.operator.sync_keys()
    return {key.kid for key in world.operator.session.keymap.sealable(party, int(world.clock()))}


def later(world: World, days: float) -> None:
    """Time passes at an exchange where something happens: after thirty days without a leaf it would doubt its clock."""
    while days > 0:
        world.close_clients()
        world.server.stop()
        world.clock.ahead_s += min(days, 20) * DAY_S
        days -= min(days, 20)
        world.server.start()
        world.registrar.invite(ENTRIES[UNIT], [PERSON])


@pytest.fixture
def opened() -> Iterator[list[Client]]:
    clients: list[Client] = []
    yield clients
    for client in clients:
        client.close()


# Every month.


@pytest.mark.parametrize("who", ["officer", "second_officer"])
def test_a_workstations_key_is_renewed_every_month_by_its_own_person(world: World, who: str) -> None:
    """R-32 d: keyholder or not, at once, without anybody's telephone call."""
    later(world, 29)
    client = world.client(who)
    client.sync_keys()
    assert client.identity.due() == []
    assert client.identity.rotate(PASSPHRASE, kdf=CHEAP) is None
    later(world, 1)
    client = world.client(who)
    before = own_kids(client) & sealed_to(world, UNIT)
    assert len(client.identity.due()) == 1
    renewed = client.identity.rotate(PASSPHRASE, kdf=CHEAP)
    world.check()
    assert renewed is not None
    assert renewed.turn == "done"
    assert set(renewed.kids) == sealed_to(world, UNIT) & own_kids(client)
    assert before & sealed_to(world, UNIT) == set()
    assert client.identity.due() == []
    ref = str(world.submit().outgoing.ref)
    world.acknowledge(who, ref)


@on_both_engines
def test_what_was_sealed_to_the_older_key_still_opens(world: World) -> None:
    later(world, 30)
    ref = str(world.submit().outgoing.ref)
    world.after(world.officer.identity.rotate(PASSPHRASE, kdf=CHEAP))
    world.acknowledge("officer", ref)


def test_a_key_that_was_kept_but_never_sent_is_used_the_next_time(world: World) -> None:
    """Whoever is interrupted after the keystore was written has lost nothing, and makes no second key."""
    later(world, 30)
    client = world.officer
    world.server.stop()
    refused(ErrorCode.UNREACHABLE, lambda: client.identity.rotate(PASSPHRASE, kdf=CHEAP))
    held = on_disk(world, "officer")
    world.server.start()
    world.after(client.identity.rotate(PASSPHRASE, kdf=CHEAP))
    assert len(on_disk(world, "officer") - held) <= 1
    assert on_disk(world, "officer") == own_kids(client)


def test_a_workstation_that_was_off_for_months_is_renewed_by_its_own_person(world: World) -> None:
    """Whatever the keyholder has signed meanwhile: R-32 d needs the workstation listed."""
    later(world, 60)
    officer, absent = world.officer, world.second_officer
    for station in ("st1", "st1"):
        world.after(officer.identity.rotate(PASSPHRASE, stations=[station], kdf=CHEAP))
        world.clock.ahead_s += 5
    made = officer.identity.new_backup()
    world.after(officer.identity.list_backup(made))
    absent.sync_keys()
    assert absent.identity.due() == ["st2"]
    assert own_kids(absent) & sealed_to(world, UNIT) == set()
    what = officer.identity.review([one.name for one in officer.identity.roster().lines], [])
    world.after(officer.identity.sign(what))
    assert what.stations_left == ("st1",)
    renewed = world.after(absent.identity.rotate(PASSPHRASE, kdf=CHEAP))
    assert renewed is not None
    assert renewed.turn == "done"
    assert set(renewed.kids) == own_kids(absent) & sealed_to(world, UNIT)
    world.acknowledge("second_officer", str(world.submit().outgoing.ref))


def test_nobody_renews_a_workstation_that_another_keystore_holds(world: World) -> None:
    refused(ErrorCode.NOT_PERMITTED, lambda: world.officer.identity.rotate(PASSPHRASE, stations=["st2"], kdf=CHEAP))
    refused(ErrorCode.LOCKED, lambda: world.officer.identity.rotate("otra frase de paso", kdf=CHEAP))


# After 75 days.


def test_a_private_half_is_destroyed_after_75_days_and_there_is_a_receipt(world: World) -> None:
    first = own_kids(world.officer)
    for _ in range(2):
        later(world, ROTATE_AFTER_S / DAY_S)
        world.after(world.officer.identity.rotate(PASSPHRASE, kdf=CHEAP))
        assert world.after(world.officer.identity.destroy(PASSPHRASE, kdf=CHEAP)).destroyed == ()
    later(world, (DESTROY_AFTER_S - 2 * ROTATE_AFTER_S) / DAY_S)
    spent = world.after(world.officer.identity.destroy(PASSPHRASE, kdf=CHEAP))
    assert set(spent.destroyed) == first
    assert first & on_disk(world, "officer") == set()
    assert spent.keys.destroyed == ()
    world.auditor.sync_keys()
    assert all(world.auditor.session.keymap.get_key(kid).revoked for kid in first), "everybody can see that it is gone"
    assert world.auditor.audit().complete
    assert world.after(world.officer.identity.destroy(PASSPHRASE, kdf=CHEAP)).destroyed == ()


def test_a_key_is_not_destroyed_while_something_pending_may_name_it(world: World) -> None:
    ref = str(world.submit().outgoing.ref)
    first = own_kids(world.officer)
    for _ in range(2):
        later(world, ROTATE_AFTER_S / DAY_S)
        world.officer.identity.rotate(PASSPHRASE, kdf=CHEAP)
    later(world, 16)
    spent = world.after(world.officer.identity.destroy(PASSPHRASE, kdf=CHEAP))
    assert (set(spent.needed), spent.destroyed) == (first, ())
    world.acknowledge("officer", ref)
    world.act("officer", ref, Act.ACCEPT)
    spent = world.after(world.officer.identity.destroy(PASSPHRASE, kdf=CHEAP))
    assert set(spent.destroyed) == first


@pytest.mark.parametrize(
    ("pending", "age", "named"),
    [
        ((), 76, False),
        ((-1,), 76, False),  # What waits since before the key was made was sealed to another.
        ((0,), 76, True),
        ((74,), 76, True),  # Held for an approval: in the inbox long after it was sealed.
        ((76,), 80, False),
        ((-30, 80), 90, False),
        ((-30, 40, 80), 90, True),
        ((40,), 150, True),
        ((40,), 151, False),
    ],
)
def test_only_what_can_have_been_sealed_to_a_key_keeps_it_and_never_beyond_150_days(
    pending: tuple[int, ...], age: int, named: bool
) -> None:
    made_at = 1_800_000_000
    assert may_be_named(made_at, [made_at + day * DAY_S for day in pending], made_at + age * DAY_S) is named


def test_a_forgotten_delivery_keeps_no_key_that_was_made_after_it(world: World) -> None:
    world.submit()
    later(world, 30)
    world.officer.identity.rotate(PASSPHRASE, kdf=CHEAP)
    later(world, 30)
    second = own_kids(world.officer) & sealed_to(world, UNIT)
    world.officer.identity.rotate(PASSPHRASE, kdf=CHEAP)
    later(world, 30)
    world.officer.identity.rotate(PASSPHRASE, kdf=CHEAP)
    later(world, 16)
    spent = world.after(world.officer.identity.destroy(PASSPHRASE, kdf=CHEAP))
    assert set(spent.destroyed) == second
    assert len(spent.needed) == 1


def test_a_key_that_was_kept_long_before_it_was_sent_lives_from_when_it_was_sent(world: World) -> None:
    """By its age in the keystore it would be destroyed while what was sealed to it still waits."""
    later(world, 30)
    client = world.officer
    world.server.stop()
    refused(ErrorCode.UNREACHABLE, lambda: client.identity.rotate(PASSPHRASE, kdf=CHEAP))
    world.server.start()
    later(world, 10)
    renewed = world.after(world.officer.identity.rotate(PASSPHRASE, kdf=CHEAP))
    assert renewed is not None
    ages = [world.clock() - one.created_at for one in renewed.keys.enc]
    assert min(ages) < DAY_S
    assert len({one.secret for one in renewed.keys.enc}) == len(renewed.keys.enc)


def test_what_was_opened_here_stays_readable_after_its_key_is_destroyed_and_nowhere_else(world: World) -> None:
    """Design §5: an investigation takes longer than a key lives."""
    ref = str(world.submit().outgoing.ref)
    world.acknowledge("officer", ref)
    read = world.open("officer", ref).body
    world.act("officer", ref, Act.ACCEPT)
    for days in (30, 30):
        later(world, days)
        world.officer.identity.rotate(PASSPHRASE, kdf=CHEAP)
    later(world, 16)
    assert len(world.after(world.officer.identity.destroy(PASSPHRASE, kdf=CHEAP)).destroyed) == 1
    assert world.open("officer", ref).body == read
    kept = list((world.folder / "profiles" / "officer" / "opened").iterdir())
    assert len(kept) == 1
    kept[0].write_bytes(kept[0].read_bytes()[:-1] + b"x")
    refused(ErrorCode.NO_USABLE_KEY, world.officer.open, ref)
    world.check()


# The keys that sign.


def test_a_keyholders_new_seal_keys_wait_for_the_other_keyholder_where_there_are_two(world: World) -> None:
    """The registrar party has two keyholders at most by invitation; the unit's only one renews alone."""
    client = world.officer
    old = client.keys.signers()[0].kid
    renewed = client.identity.rotate_seal(PASSPHRASE, kdf=CHEAP)
    world.check()
    assert renewed.turn == "done"
    assert client.keys.signers()[0].kid == renewed.kids[0] != old
    ref = str(world.submit().outgoing.ref)
    world.acknowledge("officer", ref)
    assert world.auditor.audit().complete


def test_a_person_who_is_no_keyholder_proposes_new_seal_keys_and_signs_with_the_old_until_they_are_approved(
    world: World,
) -> None:
    """R-32 d."""
    client = world.second_officer
    renewed = client.identity.rotate_seal(PASSPHRASE, kdf=CHEAP)
    world.check()
    assert renewed.turn == "second_keyholder"
    old = client.keys.signers()[0].kid
    assert old != renewed.kids[0]
    ref = str(world.submit().outgoing.ref)
    world.acknowledge("second_officer", ref)
    applicant = world.officer.applicants()[0]
    world.after(world.officer.approve(applicant, renewed.code))
    client.sync_keys()
    assert client.keys.signers()[0].kid == renewed.kids[0]
    world.act("second_officer", ref, Act.ACCEPT)
    again = Client.person(client.directory.path, PASSPHRASE, server=world.server.url, clock=world.clock)
    assert again.keys.signers()[0].kid == renewed.kids[0], "the next process too, before the file was written anew"
    again.close()


def test_whichever_of_two_proposals_is_approved_the_keys_for_it_are_there(world: World) -> None:
    """A person who asks twice has two sets of keys that are to come, and loses neither before one is in effect."""
    client = world.second_officer
    first = client.identity.rotate_seal(PASSPHRASE, kdf=CHEAP)
    second = client.identity.rotate_seal(PASSPHRASE, kdf=CHEAP)
    world.check()
    assert set(first.kids) & set(second.kids) == set()
    waiting = {one.code.replace(" ", ""): one for one in world.officer.applicants()}
    world.after(world.officer.approve(waiting[second.code.replace(" ", "")], second.code))
    client.sync_keys()
    assert {one.kid for one in client.keys.signers()} == set(second.kids)
    assert client.keys.coming == ()
    world.acknowledge("second_officer", str(world.submit().outgoing.ref))


@pytest.mark.parametrize("again", [False, True], ids=["the same process", "the next process"])
def test_the_next_act_after_the_approval_is_signed_with_the_new_keys(
    world: World, opened: list[Client], again: bool
) -> None:
    """Nobody follows the keys log in between: what is refused for keys that have ended would stay refused."""
    client = world.second_officer
    ref = str(world.submit().outgoing.ref)
    world.acknowledge("second_officer", ref)
    renewed = client.identity.rotate_seal(PASSPHRASE, kdf=CHEAP)
    assert client.keys.signers()[0].kid != renewed.kids[0]
    world.after(world.officer.approve(world.officer.applicants()[0], renewed.code))
    if again:
        wire = Wire(world.tape)
        client = Client.person(
            client.directory.path, PASSPHRASE, server=world.server.url, transport=wire, clock=world.clock
        )
        opened.append(client)
    entry = world.after(client.act(ref, Act.ACCEPT, {}))
    assert (entry.state, entry.code) == (Progress.RECEIVED, None)
    assert client.keys.signers()[0].kid == renewed.kids[0]


def test_keys_that_are_to_come_stop_nobody_who_is_offline(world: World) -> None:
    client = world.second_officer
    client.identity.rotate_seal(PASSPHRASE, kdf=CHEAP)
    world.close_clients()
    world.server.stop()
    client = world.second_officer
    assert len(client.keys.coming) == len(client.keys.seal), "what is known of the keys log serves"
    world.server.start()


# Somebody else's place.


def impostor(world: World, victim: CredentialEntry) -> Joined:
    """A newcomer who takes a credential's name: the dice of an invited machine fall as its owner likes."""
    true = sdk.ambient(world.clock)
    drawn = bytes(_ALPHABET.index(letter) for letter in victim.id[1:])
    around = replace(true, random=lambda size: drawn if size == len(drawn) else true.random(size))
    directory = ProfileDir(world.folder / "profiles" / "impostor")
    invitation = parse_invitation(world.after(world.officer.invite(ENTRIES[UNIT], [PERSON])))
    what = Joining(invitation, PASSPHRASE, kdf=CHEAP, keyholder=True, server=world.server.url, station="st8")
    session = Session(directory, enrolment.profile_of(what), None, around, Wire(world.tape))
    try:
        return world.after(enrolment.join(around, directory, what, session))
    finally:
        session.close()


def second_officers_entry(world: World) -> CredentialEntry:
    party = world.officer.session.keymap.find_party(UNIT)
    assert party is not None
    short = world.second_officer.keys.credential.partition(".")[2]
    return next(one for one in party.body.credentials if one.id == short)


def test_a_newcomer_does_not_take_the_place_of_somebody_who_is_there(world: World) -> None:
    """Design §5: with the right digits too; that person's keys are renewed by nobody but that person."""
    world.officer.sync_keys()
    joined = impostor(world, second_officers_entry(world))
    applicant = world.officer.applicants()[0]
    assert set(admission.replaced(world.officer.session, applicant)) == {second_officers_entry(world).id}
    assert refused(ErrorCode.CODE_MISMATCH, world.officer.approve, applicant, joined.code) == "replaces"
    world.check()
    assert joined.turn == "keyholder"
    ref = str(world.submit().outgoing.ref)
    world.acknowledge("second_officer", ref)


@pytest.mark.parametrize("asks", [False, True], ids=["who asks for nothing", "who asks for new keys of its own"])
def test_who_keeps_the_access_key_and_brings_other_seal_keys_is_refused_too(world: World, asks: bool) -> None:
    """The old seal keys did not sign: it is not that credential that asks, whatever else it asks for meanwhile."""
    if asks:
        world.second_officer.identity.rotate_seal(PASSPHRASE, kdf=CHEAP)
    world.officer.sync_keys()
    victim = second_officers_entry(world)
    invitation = parse_invitation(world.after(world.officer.invite(ENTRIES[UNIT], [PERSON])))
    session = world.operator.session
    enrolled, _ = enrolment.begin(session, invitation.secret, [])
    keys = [keystore.new_signing_secret(one.alg, session.now()).signing_key() for one in world.second_officer.keys.seal]
    entries = [
        build_key_entry(
            party=UNIT,
            use=KeyUse.SEAL,
            jwk=key.public.jwk,
            nonce=invitation.nonce,
            iat=session.now(),
            possession=None,
            signers=[key],
        )
        for key in keys
    ]
    document = {
        "keys": [one.decode() for one in entries],
        "possession": [],
        "proposal": {
            "credentials": [victim.wire() | {"seal": [key.kid for key in keys]}],
            "enc": [],
            "entry": None,
        },
        "statement": None,
    }
    session.read_json(exchange.complete_enrolment(invitation.secret, enrolled, document))
    code = enrolment.code_of(
        world.officer.profile, invitation.secret, Completion.parse(document, code=ErrorCode.ACT_SCHEMA)
    )
    applicant = next(one for one in world.officer.applicants() if one.enrolment == enrolled)
    assert refused(ErrorCode.CODE_MISMATCH, world.officer.approve, applicant, code) == "replaces"
    world.check()


# Paper.


def test_the_words_of_a_backup_open_on_a_new_workstation_what_is_pending(world: World, opened: list[Client]) -> None:
    made = world.officer.identity.new_backup()
    words = backup.words_of(made, "es")
    listed = world.after(world.officer.identity.list_backup(made))
    assert listed.turn == "done"
    assert made.kid not in on_disk(world, "officer"), "it is on the paper only"
    ref = str(world.submit().outgoing.ref)
    # The only workstations burn down; a new officer of the unit sits at a new one.
    invitation = parse_invitation(world.officer.invite(ENTRIES[UNIT], [PERSON]))
    folder = world.folder / "profiles" / "new"
    what = Joining(invitation, PASSPHRASE, kdf=CHEAP, server=world.server.url, station="st9")
    joined = world.after(sdk.join(folder, what, transport=Wire(world.tape), clock=world.clock))
    world.after(world.officer.approve(world.officer.applicants()[0], joined.code))
    client = Client.person(folder, PASSPHRASE, server=world.server.url, transport=Wire(world.tape), clock=world.clock)
    opened.append(client)
    refused(ErrorCode.NO_USABLE_KEY, client.open, ref)
    world.check()
    found = backup.parse_words(" ".join(words).upper().replace("Ó", "o"), int(world.clock()))
    client.identity.restore(found, PASSPHRASE, kdf=CHEAP)
    world.after(client.acknowledge(world.after(client.open(ref))))


def test_a_backup_key_that_was_put_back_leaves_the_keystore_when_it_is_revoked(world: World) -> None:
    """It is on paper, and no machine's: whoever takes it off says nothing of it to anybody."""
    officer = world.officer
    made = officer.identity.new_backup()
    world.after(officer.identity.list_backup(made))
    officer.identity.restore(made, PASSPHRASE, kdf=CHEAP)
    assert world.after(officer.identity.destroy(PASSPHRASE, kdf=CHEAP)).removed == ()
    assert made.kid in on_disk(world, "officer")
    world.after(officer.revoke(made.kid, "lost", int(world.clock())))
    officer.sync_keys()
    assert officer.identity.past() == [made.kid]
    leaves = officer.session.replica.size
    assert world.after(officer.identity.destroy(PASSPHRASE, kdf=CHEAP)).removed == (made.kid,)
    assert made.kid not in on_disk(world, "officer")
    assert officer.session.sync_keys().size == leaves


def test_a_backup_key_that_another_replaced_stays_while_something_pending_may_name_it(world: World) -> None:
    officer = world.officer
    made = [officer.identity.new_backup() for _ in range(3)]
    world.after(officer.identity.list_backup(made[0]))
    officer.identity.restore(made[0], PASSPHRASE, kdf=CHEAP)
    ref = str(world.submit().outgoing.ref)
    for one in made[1:]:
        world.clock.ahead_s += 60
        world.after(officer.identity.list_backup(one))
    assert officer.identity.past() == [], "a day to read with it"
    world.clock.ahead_s += DAY_S
    world.restart()
    spent = world.after(officer.identity.destroy(PASSPHRASE, kdf=CHEAP))
    assert (spent.needed, spent.removed) == ((made[0].kid,), ())
    world.acknowledge("officer", ref)
    world.act("officer", ref, Act.ACCEPT)
    assert world.after(officer.identity.destroy(PASSPHRASE, kdf=CHEAP)).removed == (made[0].kid,)
    assert made[0].kid not in on_disk(world, "officer")


def test_the_file_of_a_backup_does_the_same_and_gives_nothing_without_its_passphrase(world: World) -> None:
    made = world.officer.identity.new_backup()
    raw = backup.build_file(made, world.officer.profile, "una frase para el cajón", CHEAP)
    assert backup.parse_file(raw, world.officer.profile, "una frase para el cajón").secret == made.secret
    refused(ErrorCode.LOCKED, backup.parse_file, raw, world.officer.profile, "otra frase para el cajón")
    assert made.secret.secret.hex().encode() not in raw
    refused(ErrorCode.KEY_NOT_VALID, lambda: world.officer.identity.restore(made, PASSPHRASE, kdf=CHEAP))


def test_a_backup_of_another_party_is_not_put_back(world: World) -> None:
    made = world.officer.identity.new_backup()
    world.after(world.officer.identity.list_backup(made))
    refused(ErrorCode.KEY_NOT_VALID, lambda: world.operator.identity.restore(made, PASSPHRASE, kdf=CHEAP))


# A party that has lost its keyholders.


def recovering(world: World, opened: list[Client]) -> tuple[Client, Joined]:
    """The unit's keyholder is gone; a registrar person has revoked her key and invites the unit anew."""
    world.registrar.sync_keys()
    lost = world.officer.keys
    world.after(world.registrar.revoke(lost.signers()[0].kid, "lost", int(world.clock())))
    invitation = parse_invitation(world.after(world.registrar.invite(ENTRIES[UNIT], [PERSON])))
    folder = world.folder / "profiles" / "heir"
    what = Joining(invitation, PASSPHRASE, kdf=CHEAP, keyholder=True, server=world.server.url, station="st7")
    joined = world.after(sdk.join(folder, what, transport=Wire(world.tape), clock=world.clock))
    client = Client.person(folder, PASSPHRASE, server=world.server.url, transport=Wire(world.tape), clock=world.clock)
    opened.append(client)
    return client, joined


@on_both_engines
def test_two_registrar_persons_give_a_unit_back_its_keyholder_a_day_later(world: World, opened: list[Client]) -> None:
    """R-32 e, R-35: the runbook “a unit has lost its keys”."""
    heir, joined = recovering(world, opened)
    assert joined.turn == "registrar"
    world.after(world.registrar.approve(world.registrar.applicants()[0], joined.code))
    assert heir.joining().turn == "second_registrar"
    applicant = world.second_registrar.applicants()[0]
    early = refused(ErrorCode.STATEMENT_OUT_OF_SEQUENCE, world.second_registrar.approve, applicant, joined.code)
    assert early == "objection-window"
    world.clock.ahead_s += DAY_S + 5
    world.restart()
    world.after(world.second_registrar.approve(applicant, joined.code))
    assert heir.joining().turn == "done"
    ref = str(world.submit().outgoing.ref)
    world.after(heir.acknowledge(world.after(heir.open(ref))))
    party = heir.session.keymap.find_party(UNIT)
    assert party is not None
    assert world.officer.keys.credential not in {one.id for one in party.credentials}
    assert world.second_officer.keys.credential in {one.id for one in party.credentials}


def test_a_recovery_keeps_the_workstation_of_who_has_renewed_the_keys_that_vouched_for_it(
    world: World, opened: list[Client]
) -> None:
    client = world.second_officer
    renewed = client.identity.rotate_seal(PASSPHRASE, kdf=CHEAP)
    world.after(world.officer.approve(world.officer.applicants()[0], renewed.code))
    _, joined = recovering(world, opened)
    world.after(world.registrar.approve(world.registrar.applicants()[0], joined.code))
    pending = world.registrar.session.keymap.find_pending(UNIT)
    assert pending is not None
    assert own_kids(client) <= {one.kid for one in pending.body.enc}


def test_the_units_own_people_stop_a_recovery_that_nobody_asked_for(world: World, opened: list[Client]) -> None:
    """R-32 c: one objection within the day, by anybody who is still there."""
    heir, joined = recovering(world, opened)
    world.after(world.registrar.approve(world.registrar.applicants()[0], joined.code))
    world.second_officer.sync_keys()
    pending = world.second_officer.session.keymap.find_pending(UNIT)
    assert pending is not None
    session = world.second_officer.session
    body = {"statement": pending.digest, "reason": "not_authorised"}
    admission.send_directory_act(session, world.second_officer.keys, Act.OBJECT, body, session.ambient.act_id())
    world.check()
    world.clock.ahead_s += DAY_S + 5
    world.restart()
    assert world.second_registrar.applicants() == []
    assert heir.joining().turn == "void"


def test_whoever_compares_one_newcomers_digits_lets_in_that_one_alone(world: World, opened: list[Client]) -> None:
    """A statement that lists somebody else beside, however it came onto the log, is not what the digits cover."""
    _, joined = recovering(world, opened)
    world.after(world.registrar.approve(world.registrar.applicants()[0], joined.code))
    applicant = world.second_registrar.applicants()[0]
    fewer = applicant.proposal.model_copy(update={"credentials": (), "enc": applicant.proposal.enc})
    party = world.second_registrar.session.keymap.find_party(UNIT)
    pending = world.second_registrar.session.keymap.find_pending(UNIT)
    assert pending is not None
    assert refused(ErrorCode.CODE_MISMATCH, admission._check_nothing_else, party, pending.body, fewer) == "more"
    admission._check_nothing_else(party, pending.body, applicant.proposal)


def test_the_two_registrar_persons_must_be_two(world: World, opened: list[Client]) -> None:
    _, joined = recovering(world, opened)
    world.after(world.registrar.approve(world.registrar.applicants()[0], joined.code))
    world.clock.ahead_s += DAY_S + 5
    world.restart()
    again = world.registrar.applicants()[0]
    refused(ErrorCode.NOT_PERMITTED, world.registrar.approve, again, joined.code)
