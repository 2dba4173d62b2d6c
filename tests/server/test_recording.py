"""R-98: what the exchange writes down about itself, once or counted, and what nobody can make it write."""

from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import httpx2

from referral_api.auditlog.records import (
    ClockJump,
    Configuration,
    RecordRead,
    Refusals,
    Refused,
    ServerRecord,
    Tokens,
    parse_record,
)
from referral_api.domain.errors import ErrorCode
from referral_api.domain.words import Act
from referral_api.formats.strict_json import canonical, sha256_b64u
from referral_api.server.service import recording
from referral_api.server.service.batch import Done
from referral_api.server.service.recording import SINGLES, Recording, Refusal
from tests.faults.submissions import parcel
from tests.signing import sign
from tests.world import UNIT, World
from tests.world_check import Rows

R = TypeVar("R")
HOUR = 3600


def records(world: World, kind: type[R]) -> list[R]:
    """The exchange's own records of one kind, in log order."""
    rows = sorted(Rows(world)["record"], key=lambda row: row["pos"])
    every: list[ServerRecord] = [parse_record(row["body"].encode()) for row in rows]
    return [one for one in every if isinstance(one, kind)]


def end_hour(world: World) -> None:
    """An hour later; what was counted is recorded, at the latest when the exchange stops."""
    world.clock.ahead_s += HOUR
    world.restart()


def leaves(world: World) -> int:
    """How many audit leaves there are."""
    return sum(len(found) for log, found in Rows(world).logs.items() if log != "keys")


def test_a_refusal_about_a_referral_is_on_the_record_before_its_answer_and_then_counted(world: World) -> None:
    ref = str(world.submit().outgoing.ref)
    stranger = world.caller("stranger")
    credential = world.stranger.keys.credential
    for _ in range(5):
        assert stranger.call("GET", f"/v1/referrals/{ref}/bundle").status == 404
        assert len(records(world, Refused)) == 1
    (one,) = records(world, Refused)
    assert (one.credential, one.code, one.ref) == (credential, ErrorCode.NOT_FOUND, ref)
    stranger.call("GET", f"/v1/referrals/{ref}")
    assert len(records(world, Refused)) == 2, "another call about it is another refusal"
    end_hour(world)
    (counted,) = [one for one in records(world, Refusals) if one.credential == credential]
    assert (counted.code, counted.count) == (ErrorCode.NOT_FOUND, 4)
    assert counted.since % HOUR == 0
    assert counted.until == counted.since + HOUR


def test_a_referral_that_is_not_ones_own_and_one_that_is_none_leave_the_same_record(world: World) -> None:
    """R-51: the log's growth tells a stranger nothing either."""
    ref, nothing = str(world.submit().outgoing.ref), "01890a5d-ac96-774b-bcce-b302099a8057"
    for one in (ref, nothing):
        before = leaves(world)
        assert world.caller("stranger").call("GET", f"/v1/referrals/{one}").status == 404
        assert leaves(world) == before + 1
    assert [one.ref for one in records(world, Refused)] == [ref, nothing]


def test_a_credential_that_tries_one_referral_after_the_other_cannot_fill_the_log(world: World) -> None:
    stranger = world.caller("stranger")
    for number in range(SINGLES + 15):
        ref = f"01890a5d-ac96-774b-bcce-b3020{number:07d}"
        assert stranger.call("GET", f"/v1/referrals/{ref}").status == 404
    assert len(records(world, Refused)) == SINGLES
    end_hour(world)
    assert [one.count for one in records(world, Refusals) if one.credential is not None] == [15]


def test_strangers_leave_one_record_a_code_and_hour_whatever_they_send(world: World) -> None:
    before = leaves(world)
    with httpx2.Client(base_url=world.server.url) as nobody:
        for number in range(40):
            ref = f"01890a5d-ac96-774b-bcce-b3020{number:07d}"
            assert nobody.get(f"/v1/referrals/{ref}", headers={"authorization": f"DPoP x{number}"}).status_code == 401
            assert nobody.get(f"/nothing/{number}").status_code == 404
            assert nobody.post("/oauth/token", content=b"x" * number).status_code in (400, 401)
    assert leaves(world) == before, "a stranger wrote into the log"
    end_hour(world)
    unknown = {one.code: one.count for one in records(world, Refusals) if one.party is None}
    assert all(one.credential is None for one in records(world, Refusals) if one.party is None)
    assert unknown.pop(ErrorCode.INVALID_TOKEN) >= 40
    assert unknown.pop(ErrorCode.NOT_FOUND) >= 40
    assert sum(unknown.values()) >= 40, unknown


def test_a_final_refusal_has_its_leaf_and_is_not_recorded_again(world: World) -> None:
    ref = str(world.submit().outgoing.ref)
    submit = world.operator.referral(ref).submit().act.digest
    act_id, act = sign(world.officer, Act.ACCEPT, {}, ref, unit=UNIT, prev=submit)
    answer = world.caller("officer").call("PUT", f"/v1/referrals/{ref}/acts/{act_id}", {"act": act})
    assert answer.code == "illegal-transition"
    assert records(world, Refused) == []
    other = sign(world.officer, Act.ACCEPT, {}, ref, unit=UNIT, prev=submit)
    answer = world.caller("officer").call("PUT", f"/v1/referrals/{ref}/acts/{act_id}", {"act": other[1]})
    assert answer.code == "path-mismatch"
    (one,) = records(world, Refused)
    assert (one.code, one.ref) == (ErrorCode.PATH_MISMATCH, ref)
    assert one.act is not None, "the act that was refused is named by its digest"


def test_what_shows_nothing_new_is_not_recorded(world: World) -> None:
    world.submit()
    operator, auditor = world.caller("operator"), world.caller("auditor")
    for caller in (operator, auditor):
        assert caller.call("GET", "/v1/ping").status == 200
    before = leaves(world)
    assert operator.call("GET", "/v1/inbox").status == 200
    assert operator.call("GET", "/v1/log/keys/checkpoint").status == 200
    assert auditor.call("GET", "/v1/log/keys/tile/entries/000.p/1").status == 200
    assert leaves(world) == before
    year = next(iter(log for log in Rows(world).logs if log != "keys")).partition("/")[2]
    for _ in range(3):
        assert auditor.call("GET", f"/v1/log/audit/{year}/tile/entries/000.p/1").status == 200
    assert leaves(world) == before + 1, "one session, however many tiles"


def test_tokens_are_counted_by_credential_and_hour_and_a_kill_keeps_what_was_saved(world: World) -> None:
    runtime = world.server.runtime
    now = int(world.clock())
    first = Recording(runtime.exchange, runtime.writer)
    for credential, count in (("pnp-a.x001", 3), ("pnp-b.y002", 1)):
        for _ in range(count):
            first.count_token(credential, now)
    first.turn(now)
    runtime.writer.run(lambda _: Done(None))
    assert [one for one in records(world, Tokens) if one.party.startswith("pnp-a")] == []

    # This one is killed; another process goes on, in this hour and in the next one.
    second = Recording(runtime.exchange, runtime.writer)
    second.count_token("pnp-a.x001", now)
    second.turn(now)
    world.clock.ahead_s += HOUR
    second.turn(now + HOUR)
    runtime.writer.run(lambda _: Done(None))
    told = {(one.party, one.credential): one for one in records(world, Tokens) if one.party in ("pnp-a", "pnp-b")}
    assert {name: one.count for name, one in told.items()} == {("pnp-a", "pnp-a.x001"): 4, ("pnp-b", "pnp-b.y002"): 1}
    assert all((one.since, one.until) == (now - now % HOUR, now - now % HOUR + HOUR) for one in told.values())
    second.turn(now + 2 * HOUR)
    runtime.writer.run(lambda _: Done(None))
    assert len([one for one in records(world, Tokens) if one.party in ("pnp-a", "pnp-b")]) == 2
    assert Rows(world)["tally"] == []


def test_the_end_of_an_hour_is_recorded_in_pieces_and_whole(world: World, monkeypatch: Any) -> None:
    monkeypatch.setattr(recording, "_RECORDS_A_JOB", 8)
    runtime, now = world.server.runtime, int(world.clock())
    many = Recording(runtime.exchange, runtime.writer)
    for number in range(50):
        many.count_refusal(Refusal("pnp-a", f"pnp-a.x{number:03d}", ErrorCode.MALFORMED), now)
    many.finish()
    assert not [one for one in records(world, Refusals) if one.party == "pnp-a"], "its hour is not over"
    world.clock.ahead_s += HOUR
    many.finish()
    counts = [one for one in records(world, Refusals) if one.party == "pnp-a"]
    assert Counter(one.credential for one in counts) == Counter(f"pnp-a.x{number:03d}" for number in range(50))


def test_a_change_of_configuration_is_recorded_by_its_name_and_never_its_value(world: World) -> None:
    before = records(world, Configuration)
    assert before[0].changed == [], "the first one follows none"
    first = before[-1]
    world.restart()
    assert records(world, Configuration) == before
    world.server.settings = world.server.settings.model_copy(update={"contact": "mailto:guardia@ejemplo.pe"})
    world.restart()
    (second,) = records(world, Configuration)[len(before) :]
    assert second.changed == ["contact", "published"]
    assert second.digest != first.digest
    assert not any("guardia" in row["body"] for row in Rows(world)["record"])
    published = world.caller("operator").call("GET", "/.well-known/referral-configuration", signed=False).json
    del published["server_time"]
    assert second.digest == sha256_b64u(canonical(published))


def test_a_clock_that_jumps_by_minutes_is_recorded_once_and_does_no_harm(world: World) -> None:
    for minutes in (4, -4):
        before = records(world, ClockJump)
        world.clock.wrong_s += minutes * 60
        for _ in range(3):
            world.server.runtime.writer.run(lambda _: Done(None))
        (jump,) = records(world, ClockJump)[len(before) :]
        assert abs(jump.observed - jump.expected - minutes * 60) <= 2
        assert world.submit().receipt is not None
    world.check()


def test_a_clock_that_stands_before_the_newest_leaf_at_start_is_recorded(world: World) -> None:
    world.clock.ahead_s += 600
    world.submit()
    world.server.stop()
    world.clock.ahead_s -= 600
    before = records(world, ClockJump)
    world.server.start()
    (jump,) = records(world, ClockJump)[len(before) :]
    assert abs(jump.expected - jump.observed - 600) <= 3
    world.check()


def test_hundreds_of_reads_at_once_have_one_record_each(world: World) -> None:
    """R-52: reads are committed in batches, and none of them is lost or doubled."""
    sent = parcel(world)
    assert sent.send(world) is not None
    auditor = world.caller("auditor")
    assert auditor.call("GET", "/v1/ping").status == 200
    year = next(iter(log for log in Rows(world).logs if log != "keys")).partition("/")[2]
    before = len(records(world, RecordRead))
    gate = threading.Barrier(16)

    def read(worker: int) -> list[int]:
        gate.wait()
        return [auditor.call("GET", f"/v1/records/{year}/{worker}").status for _ in range(20)]

    with ThreadPoolExecutor(16) as pool:
        answers = [status for statuses in pool.map(read, range(16)) for status in statuses]
    assert answers == [200] * 320
    mine = records(world, RecordRead)[before:]
    assert Counter(one.start for one in mine) == Counter(dict.fromkeys(range(16), 20))
    assert all(one.count == 1 for one in mine)
