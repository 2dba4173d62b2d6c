"""What of the keys log is told to a workstation, and why: its own doing never, everything else until it is answered."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from referral_api.client.changes import MAX_OPEN, Cause, Change, bounded, encode_change, parse_change
from referral_api.client.freshness import FRESH_S
from referral_api.client.sdk import Client
from referral_api.client.watching import LOOK_S, REMIND_S, RETRY_S, KeysReport, Trouble, Watch
from referral_api.domain.errors import ErrorCode
from referral_api.domain.words import Act, CredentialId, CredentialKind, Digest, Kid
from tests.client.clients import Clients, refused
from tests.client.world import OFFICER, REGISTRAR, SimulatedExchange, cosign, enc_key, keys_of, witnessed
from tests.formats import parties_world as pw
from tests.formats.parties_world import NOW, Someone
from tests.formats.test_rekeying import entry, rekey

UNIT = OFFICER.party
ROSA = pw.person(UNIT, "rosa1", keyholder=True)
ROGUE = pw.person(UNIT, "rogue1")
MINE, HERS = str(enc_key("piura").kid), pw.enc_kid("rosa")


@pytest.fixture
def exchange() -> SimulatedExchange:
    """Rosa holds keys of the unit too, and a workstation of her own; the officer has looked since."""
    return SimulatedExchange()


def joined(exchange: SimulatedExchange) -> None:
    log = exchange.log
    log.put(*ROSA.entries(), pw.enc_entry(UNIT, "rosa", ROSA.seals))
    log.put(
        OFFICER.sign(
            Act.STATEMENT, body(exchange, OFFICER, ROSA, enc=[listed(exchange, MINE), pw.enc_listed("rosa", "st2")])
        )
    )


@pytest.fixture
def officer(exchange: SimulatedExchange, clients: Clients) -> Client:
    """At the officer's own workstation, where Rosa was taken in."""
    exchange.found()
    client = clients.unit()
    client.identity.watch().look()
    joined(exchange)
    client.directory.note_made(pw.digest(exchange.log.leaves[-1]))
    assert look(client) == []
    return client


def body(exchange: SimulatedExchange, *people: Someone | dict[str, Any], **options: Any) -> dict[str, Any]:
    return exchange.log.next_body(UNIT, people, **options)


def listed(exchange: SimulatedExchange, kid: str) -> dict[str, Any]:
    party = exchange.log.keymap.find_party(UNIT)
    assert party is not None
    return next(one.wire() for one in party.body.enc if one.kid == kid)


def look(client: Client) -> list[tuple[Act, Cause]]:
    return [(one.act, one.cause) for one in client.identity.watch().look().open]


def only(client: Client) -> Change:
    (found,) = client.identity.watch().look().open
    return found


# Who did it.


def test_what_was_before_this_workstation_came_is_not_told(exchange: SimulatedExchange, clients: Clients) -> None:
    """Nor what is of others, however much of it there is."""
    joined(exchange)
    exchange.log.put(REGISTRAR.sign(Act.REVOKE, {"kid": enc_key("linea").kid, "reason": "lost", "at": NOW}))
    exchange.found()
    rosa = clients.of(keys_of(ROSA), "rosa")
    assert look(rosa) == []
    exchange.log.put(ROSA.sign(Act.REVOKE, {"kid": HERS, "reason": "lost", "at": NOW}))
    assert look(rosa) == [(Act.REVOKE, Cause.NOT_HERE)]


def test_whoever_is_not_admitted_yet_is_told_nothing_and_remembers_nothing(
    exchange: SimulatedExchange, clients: Clients
) -> None:
    exchange.found()
    newcomer = clients.of(keys_of(pw.person(UNIT, "zoe11")), "zoe")
    assert look(newcomer) == []
    assert not newcomer.directory.keys_watch.exists()


def test_our_own_doing_is_not_told(exchange: SimulatedExchange, officer: Client) -> None:
    renewed = pw.enc_listed("renewed", "st1") | {"from": NOW + 1}
    exchange.log.put(pw.enc_entry(UNIT, "renewed", OFFICER.seals))
    statement = OFFICER.sign(Act.STATEMENT, body(exchange, OFFICER, ROSA, enc=[renewed, listed(exchange, HERS)]))
    officer.directory.note_made(pw.digest(statement))
    exchange.log.put(statement)
    assert look(officer) == []
    # And it is ours from then on: a colleague who lists it changes nothing of ours.
    exchange.log.put(ROSA.sign(Act.STATEMENT, body(exchange, OFFICER, ROSA, enc=[renewed])))
    assert look(officer) == [(Act.STATEMENT, Cause.COLLEAGUE)]


def test_what_a_colleague_did_is_a_notice(exchange: SimulatedExchange, officer: Client) -> None:
    exchange.log.put(ROSA.sign(Act.STATEMENT, body(exchange, OFFICER, ROSA, duty_phone="+51999999999")))
    exchange.log.put(ROSA.sign(Act.REVOKE, {"kid": HERS, "reason": "lost", "at": NOW}))
    report = officer.identity.watch().look()
    assert [(one.act, one.cause) for one in report.open] == [
        (Act.STATEMENT, Cause.COLLEAGUE),
        (Act.REVOKE, Cause.COLLEAGUE),
    ]
    assert report.open[1].revoked == (HERS,)
    assert not report.alarm


def test_what_a_stolen_key_of_a_colleague_did_looks_like_a_colleague_and_is_told_whole(
    exchange: SimulatedExchange, officer: Client
) -> None:
    """Nobody can tell the two apart but the colleague: the notice says which keys, and asks to ask."""
    exchange.log.put(*ROGUE.entries(), pw.enc_entry(UNIT, "rogue", ROSA.seals))
    enc = [listed(exchange, MINE), listed(exchange, HERS), pw.enc_listed("rogue", "st3")]
    exchange.log.put(ROSA.sign(Act.STATEMENT, body(exchange, OFFICER, ROSA, ROGUE, enc=enc)))
    change = only(officer)
    assert (change.cause, change.by) == (Cause.COLLEAGUE, ROSA.id)
    assert set(change.added) == {ROGUE.access.kid, ROGUE.seals[0].kid, pw.enc_kid("rogue")}
    assert (change.dropped, change.index) == ((), len(exchange.log.leaves) - 1)


def test_what_our_own_stolen_key_did_is_an_alarm(exchange: SimulatedExchange, officer: Client) -> None:
    exchange.log.put(*ROGUE.entries())
    exchange.log.put(OFFICER.sign(Act.STATEMENT, body(exchange, OFFICER, ROSA, ROGUE)))
    change = only(officer)
    assert (change.cause, change.by, change.alarm) == (Cause.NOT_HERE, OFFICER.id, True)
    # The colleague who approves what she takes for ours does not make it so.
    exchange.log.put(ROSA.sign(Act.APPROVE_STATEMENT, pw.approval(UNIT, exchange.log.leaves[-1])))
    assert look(officer) == [(Act.STATEMENT, Cause.NOT_HERE), (Act.APPROVE_STATEMENT, Cause.NOT_HERE)]


def test_a_recovery_that_a_registrar_person_began_is_an_alarm_before_it_is_in_effect(
    exchange: SimulatedExchange, officer: Client
) -> None:
    exchange.log.put(*ROGUE.entries())
    statement = REGISTRAR.sign(Act.STATEMENT, body(exchange, OFFICER, ROSA, ROGUE))
    exchange.log.put(statement)
    change = only(officer)
    assert (change.cause, change.by, change.statement) == (Cause.OUTSIDER, REGISTRAR.id, pw.digest(statement))
    exchange.log.put(ROSA.sign(Act.OBJECT, {"statement": pw.digest(statement), "reason": "not_ours"}))
    assert look(officer) == [(Act.STATEMENT, Cause.OUTSIDER), (Act.OBJECT, Cause.COLLEAGUE)]


def test_a_registrar_persons_approval_objection_and_revocation_are_alarms(
    exchange: SimulatedExchange, officer: Client
) -> None:
    log = exchange.log
    log.put(*ROGUE.entries())
    recovery = REGISTRAR.sign(Act.STATEMENT, body(exchange, OFFICER, ROSA, ROGUE))
    log.put(recovery, REGISTRAR.sign(Act.APPROVE_STATEMENT, pw.approval(UNIT, recovery), iat=NOW + pw.DAY))
    ours = OFFICER.sign(
        Act.STATEMENT, body(exchange, OFFICER, ROSA, ROGUE.listed(until=NOW + 2 * pw.YEAR)), iat=NOW + pw.DAY
    )
    officer.directory.note_made(pw.digest(ours))
    log.put(ours, REGISTRAR.sign(Act.OBJECT, {"statement": pw.digest(ours), "reason": "not_ours"}, iat=NOW + pw.DAY))
    log.put(REGISTRAR.sign(Act.REVOKE, {"kid": HERS, "reason": "lost", "at": NOW}, iat=NOW + pw.DAY))
    assert look(officer) == [
        (Act.STATEMENT, Cause.OUTSIDER),
        (Act.APPROVE_STATEMENT, Cause.OUTSIDER),
        (Act.OBJECT, Cause.OUTSIDER),
        (Act.REVOKE, Cause.OUTSIDER),
    ]


def test_a_colleague_approves_what_was_made_here_and_nothing_is_told(
    exchange: SimulatedExchange, officer: Client
) -> None:
    exchange.log.put(*ROGUE.entries())
    ours = OFFICER.sign(Act.STATEMENT, body(exchange, OFFICER, ROSA, ROGUE))
    officer.directory.note_made(pw.digest(ours))
    exchange.log.put(ours, ROSA.sign(Act.APPROVE_STATEMENT, pw.approval(UNIT, ours)))
    assert look(officer) == []


def test_whoever_approves_here_has_answered(exchange: SimulatedExchange, officer: Client) -> None:
    exchange.log.put(*ROGUE.entries())
    hers = ROSA.sign(Act.STATEMENT, body(exchange, OFFICER, ROSA, ROGUE))
    exchange.log.put(hers)
    assert look(officer) == [(Act.STATEMENT, Cause.COLLEAGUE)]
    approval = OFFICER.sign(Act.APPROVE_STATEMENT, pw.approval(UNIT, hers))
    officer.directory.note_made(pw.digest(approval))
    exchange.log.put(approval)
    assert look(officer) == []


def test_a_spent_key_that_a_colleague_says_is_destroyed_is_nothing_to_ask_about(
    exchange: SimulatedExchange, officer: Client
) -> None:
    revoked = {"kid": HERS, "reason": "destroyed", "at": NOW + 75 * pw.DAY}
    exchange.log.put(ROSA.sign(Act.REVOKE, revoked, iat=NOW + 75 * pw.DAY))
    assert look(officer) == []
    exchange.log.put(ROSA.sign(Act.REVOKE, revoked | {"kid": MINE}, iat=NOW + 75 * pw.DAY))
    assert only(officer).cause is Cause.OWN_KEYS, "ours is for us to destroy"


def test_another_key_of_the_exchanges_own_is_a_notice_to_everybody(
    exchange: SimulatedExchange, officer: Client
) -> None:
    """R-37: announced a day before it is used."""
    new = pw.key("next")
    exchange.log.put(entry(exchange.log, "receipt", new), rekey("receipt", new))
    change = only(officer)
    assert (change.act, change.cause, change.added) == (Act.REKEY, Cause.EXCHANGE, (new.kid,))
    assert not officer.identity.watch().look().alarm
    assert officer.identity.answer(change.digest) == (change,)


# What becomes of this workstation's own keys.


def own_key_changes(exchange: SimulatedExchange) -> dict[str, bytes]:
    """What a colleague may sign that is no mere notice."""
    other = pw.Someone(UNIT, OFFICER.short, algs=OFFICER.algs, keyholder=True, generation=2)
    exchange.log.put(*other.entries(), pw.enc_entry(UNIT, "foreign", OFFICER.seals))
    mine, hers = listed(exchange, MINE), listed(exchange, HERS)
    enc = [mine, hers, pw.enc_listed("foreign", "st1") | {"from": NOW + 1}]
    return {
        "dropped": ROSA.sign(Act.STATEMENT, body(exchange, ROSA, enc=[hers])),
        "re-keyed": ROSA.sign(Act.STATEMENT, body(exchange, other, ROSA)),
        "another key for the workstation": ROSA.sign(Act.STATEMENT, body(exchange, OFFICER, ROSA, enc=enc)),
        "the workstation's key dropped": ROSA.sign(Act.STATEMENT, body(exchange, OFFICER, ROSA, enc=[hers])),
        "revoked": ROSA.sign(Act.REVOKE, {"kid": MINE, "reason": "lost", "at": NOW}),
        "sealed to no longer": ROSA.sign(
            Act.STATEMENT, body(exchange, OFFICER, ROSA, enc=[mine | {"until": mine["until"] - pw.DAY}, hers])
        ),
        "ended": ROSA.sign(Act.STATEMENT, body(exchange, OFFICER.listed(until=OFFICER.until - 1), ROSA)),
        "put off": ROSA.sign(Act.STATEMENT, body(exchange, OFFICER.listed(**{"from": NOW + pw.YEAR // 2}), ROSA)),
        "no keyholder": ROSA.sign(Act.STATEMENT, body(exchange, replace(OFFICER, keyholder=False), ROSA)),
    }  # fmt: skip


@pytest.mark.parametrize(
    "what",
    [
        "dropped", "re-keyed", "another key for the workstation", "the workstation's key dropped", "revoked",
        "sealed to no longer", "ended", "put off", "no keyholder",
    ],
)  # fmt: skip
def test_a_colleague_who_touches_the_keys_of_this_workstation_is_an_alarm(
    exchange: SimulatedExchange, officer: Client, what: str
) -> None:
    exchange.log.put(own_key_changes(exchange)[what])
    assert only(officer).cause is Cause.OWN_KEYS


def test_keys_that_are_held_here_may_be_listed_by_a_colleague(
    exchange: SimulatedExchange, officer: Client, clients: Clients
) -> None:
    """A person who is no keyholder gets new keys so: made here, listed by somebody else (R-32 d)."""
    other = pw.Someone(UNIT, OFFICER.short, algs=OFFICER.algs, keyholder=True, generation=2)
    statements = own_key_changes(exchange)
    officer.directory.note_made(other.access.kid, *(one.kid for one in other.seals))
    exchange.log.put(statements["re-keyed"])
    assert look(officer) == [(Act.STATEMENT, Cause.COLLEAGUE)]


def test_keys_that_are_unlocked_here_are_held_here(exchange: SimulatedExchange, officer: Client) -> None:
    other = pw.Someone(UNIT, OFFICER.short, algs=OFFICER.algs, keyholder=True, generation=2)
    exchange.log.put(own_key_changes(exchange)["re-keyed"])
    watch = Watch(officer.session, keys_of(other))
    assert [one.cause for one in watch.look().open] == [Cause.COLLEAGUE]


def test_a_key_that_has_ended_or_was_followed_here_may_be_dropped(exchange: SimulatedExchange, officer: Client) -> None:
    exchange.log.put(
        ROSA.sign(Act.STATEMENT, body(exchange, OFFICER, ROSA, enc=[listed(exchange, HERS)]), iat=NOW + 45 * pw.DAY)
    )
    assert only(officer).cause is Cause.COLLEAGUE


# What is remembered.


def test_what_is_open_stays_open_over_a_restart_until_a_person_answers(
    exchange: SimulatedExchange, officer: Client, clients: Clients
) -> None:
    exchange.log.put(REGISTRAR.sign(Act.REVOKE, {"kid": HERS, "reason": "lost", "at": NOW}))
    change = only(officer)
    again = clients.unit()
    assert look(again) == [(Act.REVOKE, Cause.OUTSIDER)]
    assert again.identity.answer("A" * 43) == ()
    assert again.identity.answer(change.digest) == (change,)
    assert look(officer) == look(again) == []


def test_a_service_answers_for_nobody(exchange: SimulatedExchange, clients: Clients) -> None:
    exchange.found()
    client = clients.unit()
    client.session.profile = client.session.profile.enrolled(CredentialKind.PERSON, CredentialId(f"{UNIT}.other1"))
    with refused(ErrorCode.NOT_PERMITTED, "person"):
        client.identity.answer("A" * 43)


@pytest.mark.parametrize("damage", [b"{}", b"nonsense", b'{"v":1,"size":1,"root":"zz","held":[],"open":[]}'])
def test_a_damaged_memory_is_told_and_not_begun_anew(officer: Client, damage: bytes) -> None:
    officer.directory.keys_watch.write_bytes(damage)
    with refused(ErrorCode.KEYSTORE_CORRUPT, "contents"):
        look(officer)


def test_a_damaged_note_of_what_was_made_here_is_told(officer: Client) -> None:
    (officer.directory.path / "made-here.json").write_bytes(b"{}")
    with refused(ErrorCode.KEYSTORE_CORRUPT, "contents"):
        look(officer)


def test_a_lost_memory_tells_everything_again(exchange: SimulatedExchange, officer: Client) -> None:
    exchange.log.put(ROSA.sign(Act.STATEMENT, body(exchange, OFFICER, ROSA, duty_phone="+51999999999")))
    before = look(officer)
    officer.directory.keys_watch.unlink()
    assert look(officer) == before != []


def test_another_keys_log_than_was_looked_at_is_an_alarm_even_where_the_pins_are_lost(
    exchange: SimulatedExchange, officer: Client, clients: Clients
) -> None:
    (officer.directory.path / "pins.json").unlink()
    officer.directory.keys_log.unlink()
    del exchange.log.leaves[-1]
    exchange.log.put(ROGUE.entries()[0])
    with refused(ErrorCode.INCONSISTENT, "forked"):
        look(clients.unit())


def test_two_processes_of_one_profile_tell_the_same_and_lose_nothing(
    exchange: SimulatedExchange, officer: Client, clients: Clients
) -> None:
    one, other = officer.identity.watch(), clients.unit().identity.watch()
    one.look(), other.look()
    exchange.log.put(ROSA.sign(Act.STATEMENT, body(exchange, OFFICER, ROSA, duty_phone="+51999999999")))
    first = one.look().open
    exchange.log.put(REGISTRAR.sign(Act.REVOKE, {"kid": HERS, "reason": "lost", "at": NOW}))
    assert other.look().open[:1] == first
    assert one.look().open == other.look().open
    assert len(one.look().open) == 2


# The loop.


def told(report: KeysReport | None) -> list[Act] | None:
    return None if report is None else [one.act for one in report.told]


def test_news_are_told_once_and_an_alarm_every_hour_until_it_is_answered(
    exchange: SimulatedExchange, officer: Client
) -> None:
    watch = officer.identity.watch()
    assert told(watch.news()) is None
    exchange.log.put(ROSA.sign(Act.STATEMENT, body(exchange, OFFICER, ROSA, duty_phone="+51999999999")))
    exchange.log.put(REGISTRAR.sign(Act.REVOKE, {"kid": HERS, "reason": "lost", "at": NOW}))
    assert told(watch.news()) is None, "it is not time yet"
    exchange.now += LOOK_S
    assert told(watch.news()) == [Act.STATEMENT, Act.REVOKE]
    exchange.now += LOOK_S
    assert told(watch.news()) is None
    exchange.now += REMIND_S
    assert told(watch.news()) == [Act.REVOKE]
    # Another process tells all that is open when it begins.
    assert told(officer.identity.watch().news()) == [Act.STATEMENT, Act.REVOKE]


def test_a_keys_log_that_cannot_be_had_is_told_after_an_hour_and_holds_nobody_up(
    exchange: SimulatedExchange, officer: Client
) -> None:
    exchange.refusals["/v1/log/keys"] = (503, {"code": "unavailable", "retry": "after"})
    watch, began = officer.identity.watch(), exchange.now
    assert watch.news() is None
    exchange.now += RETRY_S
    assert watch.news() is None
    exchange.now = began + FRESH_S + 1
    report = watch.news()
    assert report is not None
    assert (report.unread_since, report.alarm) == (began, True)
    exchange.refusals.clear()
    exchange.now += RETRY_S
    assert watch.news() is None


def test_a_keys_log_that_is_not_what_was_pinned_ends_the_watch(exchange: SimulatedExchange, officer: Client) -> None:
    del exchange.log.leaves[-1]
    with refused(ErrorCode.INCONSISTENT, "shrunk"):
        officer.identity.watch().news()


@pytest.mark.parametrize("damage", [b"{}", b"nonsense", b" " * ((1 << 22) + 1)])
def test_a_damaged_memory_is_set_aside_by_who_goes_on_watching_and_all_is_told_again(
    exchange: SimulatedExchange, officer: Client, damage: bytes
) -> None:
    exchange.log.put(REGISTRAR.sign(Act.REVOKE, {"kid": HERS, "reason": "lost", "at": NOW}))
    watch = officer.identity.watch()
    assert told(watch.news()) == [Act.REVOKE]
    path = officer.directory.keys_watch
    path.write_bytes(damage)
    exchange.now += LOOK_S
    report = watch.news()
    assert report is not None
    assert (report.trouble, report.alarm) == (Trouble.BEGUN_ANEW, True)
    assert Act.REVOKE in [one.act for one in report.told]
    assert path.with_name("keys-watch.json.damaged").read_bytes() == damage
    exchange.now += LOOK_S
    assert watch.news() is None, "told once"
    assert (Act.REVOKE, Cause.OUTSIDER) in look(officer)


def test_other_files_that_cannot_be_read_are_told_and_end_no_watch(
    exchange: SimulatedExchange, officer: Client
) -> None:
    made = officer.directory.path / "made-here.json"
    whole = made.read_bytes()
    made.write_bytes(b"{}")
    watch = officer.identity.watch()
    report = watch.news()
    assert report is not None
    assert (report.trouble, report.alarm, report.told) == (Trouble.NOT_WATCHED, True, ())
    exchange.now += RETRY_S
    assert watch.news() is None, "told once an hour"
    exchange.now += REMIND_S
    assert watch.news() is not None
    made.write_bytes(whole)
    exchange.now += RETRY_S
    assert watch.news() is None
    exchange.log.put(REGISTRAR.sign(Act.REVOKE, {"kid": HERS, "reason": "lost", "at": NOW}))
    exchange.now += LOOK_S
    assert told(watch.news()) == [Act.REVOKE]


def test_a_folder_in_the_place_of_the_memory_ends_no_watch(officer: Client) -> None:
    officer.directory.keys_watch.unlink()
    officer.directory.keys_watch.mkdir()
    report = officer.identity.watch().news()
    assert report is not None
    assert report.trouble is Trouble.NOT_WATCHED


def test_the_newest_notices_are_remembered_and_of_many_alarms_the_first_of_each_signer_for_the_rest() -> None:
    def change(at: int, cause: Cause, by: str = ROSA.id) -> Change:
        return Change(Digest(f"{at:043}"), Act.REVOKE, CredentialId(by), NOW, at, cause, revoked=(Kid(f"{at:043}"),))

    notices = [change(at, Cause.COLLEAGUE) for at in range(300)]
    assert bounded(notices) == tuple(notices[-MAX_OPEN:])
    alarms = [change(at, Cause.OUTSIDER, f"registro.r{at % 2}") for at in range(MAX_OPEN + 10)]
    open_ = bounded([*alarms, *(replace(one, index=one.index + 1000) for one in notices)])
    kept = [one for one in open_ if one.alarm]
    assert [(one.index, one.more) for one in kept[:2]] == [(0, 4), (1, 4)]
    assert kept[2:] == alarms[10:]
    assert sum(1 + one.more for one in kept) == len(alarms)
    again = bounded([*open_, *(change(at, Cause.OUTSIDER, "registro.r0") for at in range(5000, 5004))])
    assert [one.more for one in again if one.alarm][:2] == [4 + 2, 4 + 2], "whatever comes, none is dropped"
    assert parse_change(json.loads(json.dumps(encode_change(again[0])))) == again[0]


def test_the_watch_of_an_inbox_tells_between_what_arrives(exchange: SimulatedExchange, officer: Client) -> None:
    exchange.log.put(REGISTRAR.sign(Act.REVOKE, {"kid": HERS, "reason": "lost", "at": NOW}))
    exchange.refusals["/v1/inbox"] = (200, {"entries": [], "cursor": "c", "more": False, "poll_after_s": 0})
    arrives = officer.watch(wait_s=0)
    report = next(arrives)
    assert isinstance(report, KeysReport)
    assert told(report) == [Act.REVOKE]
    assert next(arrives) is None
    assert next(arrives) is None
    exchange.now += LOOK_S + REMIND_S
    assert isinstance(next(arrives), KeysReport)


# The log itself.


def test_an_old_quorum_and_an_end_that_nobody_cosigns_are_alarms(clients: Clients) -> None:
    clients.exchange = exchange = witnessed()
    officer = clients.unit()
    watch = officer.identity.watch()
    assert watch.look().alarm is False
    honest, size = exchange.log_answer, len(exchange.log.leaves)
    cosigned_at = [NOW]

    def behind(path: str, query: Any) -> Any:
        if path == "keys/checkpoint" and "cosigned" in query:
            leaves, exchange.log.leaves = exchange.log.leaves, exchange.log.leaves[:size]
            raw = exchange.checkpoint("keys")
            exchange.log.leaves = leaves
            return "text/plain", cosign(raw, *exchange.witnesses[:2], at=cosigned_at[0])
        return honest(path, query)

    exchange.log_answer = behind  # type: ignore[method-assign]
    exchange.log.put(*pw.person("pnp-nacional", "nuevo1").entries())
    assert watch.look().alarm is False, "a new end takes a moment"
    exchange.now = cosigned_at[0] = NOW + FRESH_S + 1
    report = watch.look()
    assert (report.stale_since, report.uncosigned_since, report.alarm) == (None, NOW, True)
    exchange.now += FRESH_S + 1
    assert watch.look().stale_since == NOW + FRESH_S + 1
    size = len(exchange.log.leaves)
    cosigned_at[0] = exchange.now
    report = watch.look()
    assert (report.stale_since, report.uncosigned_since, report.alarm) == (None, None, False)


# Objecting.


def test_an_objection_that_the_keys_log_does_not_show_is_an_alarm(exchange: SimulatedExchange, officer: Client) -> None:
    """The simulated exchange gives a receipt, and keeps its keys log as it was."""
    exchange.log.put(*ROGUE.entries())
    statement = REGISTRAR.sign(Act.STATEMENT, body(exchange, OFFICER, ROSA, ROGUE))
    exchange.log.put(statement)
    with refused(ErrorCode.NOT_INCLUDED, "keys-log"):
        officer.identity.object_to(pw.digest(statement), "not_ours")
    assert look(officer) == [(Act.STATEMENT, Cause.OUTSIDER)]
