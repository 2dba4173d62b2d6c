"""Forgetting on workstations: what was purged at the exchange is left in no outbox, and no key to it (R-107)."""

from __future__ import annotations

from referral_api.client.outbox import Progress
from referral_api.client.sdk import Client
from referral_api.domain.errors import ErrorCode
from referral_api.domain.words import Act
from referral_api.formats.bodies import sealed_of
from tests.auditlog.refusals import refused
from tests.cli.shell import Shell
from tests.story.test_forgetting import closed, kept_texts, pass_days, secret
from tests.story.test_next_term import audit_of, newest_note, run_new_origin
from tests.story.test_recovery import back_up, lose_disk
from tests.traces import files_under, left_of
from tests.world import OTHER_UNIT, UNIT, World

LONG_AFTER = 22
"""Days after which a short referral that was closed just now is purged, its notes having put it off."""


def opened_everywhere(world: World) -> str:
    """A closed referral of which both sides have opened everything that is theirs to read."""
    ref = closed(world, talk=True)
    for client in (world.operator, world.officer):
        seen = client.referral(ref)
        for shown in seen.acts:
            if shown.act.act is Act.NOTE and shown.act.party != client.profile.party:
                client.open_note(seen, shown)
    world.officer.open(ref)
    return ref


def content_keys(client: Client) -> set[str]:
    """The envelopes whose content keys a profile keeps."""
    return {path.name for path in files_under(client.directory.opened)} if client.directory.opened.exists() else set()


def kept_beside(client: Client, ref: str) -> set[Act]:
    """The acts on a referral beside which an outbox still holds what was sealed."""
    return {one.outgoing.act for one in client.outbox.entries() if one.outgoing.ref == ref and one.outgoing.beside}


def envelopes(client: Client, ref: str) -> set[str]:
    """The digests of everything sealed in a referral, as far as this party sees it."""
    return {named.sha256 for one in client.referral(ref).acts if (named := sealed_of(one.act.body)) is not None}


def test_nothing_of_what_was_purged_is_left_in_any_file_of_a_workstation_that_looks(sqlite_world: World) -> None:
    """Bundle, notes both ways and supplement; acts and receipts stay, and the list still shows them."""
    world = sqlite_world
    ref, other = opened_everywhere(world), str(world.submit().outgoing.ref)
    world.officer.open(other)
    texts, control, digests = kept_texts(world, ref), kept_texts(world, other), envelopes(world.officer, ref)
    hotline, unit = world.operator.directory, world.officer.directory
    assert left_of(secret(texts), hotline.path), "the search finds what is there"
    assert left_of(secret(texts), unit.path), "the unit's own notes"
    assert content_keys(world.officer) & digests
    pass_days(world, LONG_AFTER)
    assert kept_texts(world, ref) == []
    before = [(one.outgoing.id, one.outgoing.jws, one.receipt) for one in world.operator.outbox.entries()]

    for client in (world.operator, world.officer):
        client.referral(ref)
        assert left_of(secret(texts), client.directory.path) == []
        assert not content_keys(client) & digests
    assert [(one.outgoing.id, one.outgoing.jws, one.receipt) for one in world.operator.outbox.entries()] == before
    assert left_of(secret(control), hotline.path), "only its own"
    assert world.open("officer", other).body.situation.summary
    assert (hotline.path / "outbox.sqlite3-wal").stat().st_size == 0, "nor as it was, in the journal"
    listed = Shell(world.folder, world.server.url).run("operator", "outbox", "list")
    assert (listed.exit, ref in listed.out) == (0, True), listed


def test_an_inbox_watch_that_comes_to_the_purge_forgets_without_being_asked(sqlite_world: World) -> None:
    """By `watch` of the SDK, and page by page as the command does it."""
    world = sqlite_world
    ref = opened_everywhere(world)
    texts, digests = kept_texts(world, ref), envelopes(world.officer, ref)
    pass_days(world, LONG_AFTER)
    for _ in world.operator.watch(wait_s=0):
        if not left_of(secret(texts), world.operator.directory.path):
            break
    assert content_keys(world.officer) & digests, "who has not looked keeps it"
    while (page := world.officer.next_page()).entries:
        world.officer.keep(page)
    assert left_of(secret(texts), world.officer.directory.path) == []
    assert not content_keys(world.officer) & digests


def test_what_another_unit_is_served_stays_with_who_sent_it(sqlite_world: World) -> None:
    """R-107: the bundle is forgotten with the last of its deliveries, a note with its own, each by whom it concerns."""
    world = sqlite_world
    ref = str(world.submit(information=(OTHER_UNIT,)).outgoing.ref)
    for name in ("officer", "stranger"):
        world.acknowledge(name, ref)
    world.act("operator", ref, Act.NOTE, unit=UNIT, note="Un menor.")
    (digest,) = content_keys(world.officer)
    asked = world.act("operator", ref, Act.PURGE_REQUEST, {"reason": "data_subject_request"}, unit=UNIT)
    world.act("officer", ref, Act.APPROVE, {"answers": asked.outgoing.digest})
    for client in (world.operator, world.officer, world.stranger):
        client.referral(ref)
    assert kept_beside(world.operator, ref) == {Act.SUBMIT}
    assert (content_keys(world.officer), content_keys(world.stranger)) == (set(), {digest})
    sent = [one.outgoing.act for one in world.operator.resend(ref)]
    assert sent == [Act.SUBMIT, Act.PURGE_REQUEST], "the note is gone, and the rest goes again as ever"

    asked = world.act("stranger", ref, Act.PURGE_REQUEST, {"reason": "entered_in_error"})
    world.act("operator", ref, Act.APPROVE, {"answers": asked.outgoing.digest}, unit=OTHER_UNIT)
    for client in (world.operator, world.stranger):
        client.referral(ref)
    assert (kept_beside(world.operator, ref), content_keys(world.stranger)) == (set(), set())


def test_what_is_written_after_a_purge_stays_readable_on_both_sides(sqlite_world: World) -> None:
    """R-107: a purge takes what came before it, however often a workstation looks."""
    world = sqlite_world
    ref = str(world.submit().outgoing.ref)
    world.acknowledge("officer", ref)
    world.act("officer", ref, Act.ACCEPT)
    asked = world.act("operator", ref, Act.PURGE_REQUEST, {"reason": "data_subject_request"}, unit=UNIT)
    world.act("officer", ref, Act.APPROVE, {"answers": asked.outgoing.digest})
    late = world.act("operator", ref, Act.NOTE, unit=UNIT, note="Después de la purga.").outgoing.digest
    for _ in range(2):
        for client in (world.operator, world.officer):
            seen = client.referral(ref)
            (shown,) = (one for one in seen.acts if one.act.digest == late)
            named = sealed_of(shown.act.body)
            assert named is not None
            assert client.open_note(seen, shown).sealed.sha256 == named.sha256
    assert kept_beside(world.operator, ref) == {Act.NOTE}


def test_what_was_purged_is_not_sent_again_and_the_command_says_so(sqlite_world: World) -> None:
    """An exchange that came back from a backup is owed nothing that a purge took."""
    world = sqlite_world
    ref = closed(world)
    pass_days(world, LONG_AFTER)
    world.operator.referral(ref)
    assert refused(ErrorCode.NOT_FOUND, world.operator.resend, ref) == "purged"
    shell = Shell(world.folder, world.server.url)
    for lang, words in (("es", "YA NO ESTÁ"), ("en", "IT IS GONE")):
        ran = shell.run("operator", "outbox", "resend", ref, "--lang", lang)
        assert (ran.exit, words in ran.err) == (6, True), ran


def test_a_loss_that_takes_a_purged_referral_is_agreed_to_and_queues_nothing_of_it(sqlite_world: World) -> None:
    """R-94: receipts stay as evidence; an act without its text could only be refused, or wait for ever."""
    world = sqlite_world
    folder, heads = back_up(world), dict(world.heads)
    ref = closed(world)
    pass_days(world, LONG_AFTER)
    for client in (world.operator, world.officer):
        client.referral(ref)
    note = newest_note(world, audit_of(world))
    lose_disk(world, folder)
    world.heads = heads  # What was seen of the log since is lost with it.
    assert run_new_origin(world, note).opened is not None
    world.server.start()
    shell = Shell(world.folder, world.server.url)
    ran = shell.run("operator", "loss", "--accept", "--yes", "--json")
    assert (ran.exit, ran.json["queued"], ran.json["purged"]) == (0, 0, 1), ran
    (loss,) = world.officer.losses()
    states = {one.outgoing.act: one.state for one in world.officer.accept_loss(loss.log)}
    assert states == {Act.ACK: Progress.QUEUED, Act.ACCEPT: Progress.PURGED, Act.CLOSE: Progress.PURGED}
    assert world.operator.losses()[0].own == (), "settled"
    assert all(list((world.client(name).directory.lost).iterdir()) for name in ("operator", "officer"))
    assert ref in shell.run("operator", "outbox", "list").out
