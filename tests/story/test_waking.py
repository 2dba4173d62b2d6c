"""Who has something new is told so outside of the exchange: the same bytes whatever it is, and no word of what it is.

Real addresses of a real service on this machine, reached by Apprise as in life (R-109).
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx2
import pytest

from referral_api.client.outbox import Entry
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import Act
from referral_api.server import app
from referral_api.server.service import waking
from referral_api.server.service.waking import TEXT, TITLE, URGENT_TEXT
from referral_api.server.storage.operator_token import read_operator_token
from tests.processes import serving
from tests.receiving import CANARY, ENOUGH_S, Receiver, mail_server, with_plan, write_plan
from tests.story.test_rolled_back import client_at
from tests.world import HOTLINE, REFERRAL, UNIT, World, composition
from tests.world_check import Rows

ORDINARY = {
    "urgency": "urgent",
    "urgency_reason": "child_at_risk",
    "victims": [{**victim, "present_danger": []} for victim in REFERRAL["victims"]],
}
LONGER = ORDINARY | {"situation": REFERRAL["situation"] | {"summary": "Una llamada larga. " * 60}}


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as made:
        yield made


def ref_of(entry: Entry) -> str:
    assert entry.outgoing.ref is not None
    return entry.outgoing.ref


def plan_for(world: World, receiver: Receiver, **members: Any) -> Path:
    parties = {UNIT: [receiver.address("unit1")], HOTLINE: [receiver.address("line1")]}
    return write_plan(world.folder / "notices.toml", parties, admin=[receiver.address("admin")], **members)


def test_a_notice_is_the_same_bytes_whatever_has_come(world: World, receiver: Receiver) -> None:
    with_plan(world, plan_for(world, receiver, delay_s=[0, 0], digest_s=0))
    ref = ref_of(world.submit())
    receiver.wait("unit1", 1)
    # Whatever a referral's life puts into inboxes: retrieved, acknowledged, accepted, asked, answered, withdrawn.
    world.acknowledge("officer", ref)
    world.act("officer", ref, Act.ACCEPT)
    asked = world.act("officer", ref, Act.ASK, {"topics": ["timing"]}, note="¿Desde cuándo?").outgoing.digest
    receiver.wait("line1", 1)
    world.act("operator", ref, Act.ANSWER, {"answers": asked, "code": "provided"}, unit=UNIT, note="Ayer.")
    world.act("operator", ref, Act.WITHDRAW, {"reason": "duplicate"})
    other = ref_of(world.submit(body=LONGER))
    receiver.wait("unit1", 3)
    assert ref != other
    for name in ("unit1", "line1"):
        assert len({one.raw for one in receiver.of(name)}) == 1, name
    # Of one length for all parties too, and nothing of ours in it but the constant words.
    (first, *_), (other_first, *_) = receiver.of("unit1"), receiver.of("line1")
    assert first.raw == other_first.raw
    assert TITLE.encode() in first.raw
    assert TEXT.encode() in first.raw
    for word in (ref, UNIT, HOTLINE, "emergency", "referral", "urgente"):
        assert word.encode() not in first.raw, word
    assert len(TEXT.encode()) == len(URGENT_TEXT.encode())


def test_an_emergency_is_told_at_once_and_the_rest_within_the_bounds(sqlite_world: World, receiver: Receiver) -> None:
    world = sqlite_world
    with_plan(world, plan_for(world, receiver, delay_s=[8, 9], digest_s=0))
    begun = time.monotonic()
    world.submit()
    (first,) = receiver.wait("unit1", 1)
    assert first.at - begun < 8
    begun = time.monotonic()
    world.submit(body=ORDINARY)
    _, second = receiver.wait("unit1", 2, 2 * ENOUGH_S)
    assert second.at - begun >= 8
    # What a courier takes to start comes on top, on a machine that is busy with tests.
    assert second.at - begun < 9 + ENOUGH_S
    assert second.raw == first.raw


def test_ten_lines_make_one_notice(sqlite_world: World, receiver: Receiver) -> None:
    world = sqlite_world
    with_plan(world, plan_for(world, receiver, delay_s=[1, 1], digest_s=600))
    for _ in range(10):
        world.operator.submit(composition(body=ORDINARY))
    receiver.wait("unit1", 1)
    world.operator.submit(composition(body=ORDINARY))
    time.sleep(2.5)
    assert len(receiver.of("unit1")) == 1
    # An emergency does not wait for the digest.
    world.submit()
    receiver.wait("unit1", 2)


def test_who_polls_needs_no_notice_unless_it_is_an_emergency(sqlite_world: World, receiver: Receiver) -> None:
    world = sqlite_world
    with_plan(world, plan_for(world, receiver, delay_s=[3, 3], digest_s=0))
    world.operator.submit(composition(body=ORDINARY))
    time.sleep(1.1)
    assert len(list(world.officer.inbox())) == 1
    ends = time.monotonic() + ENOUGH_S
    while outcomes(world)["seen"] == 0 and time.monotonic() < ends:
        time.sleep(0.05)
    assert outcomes(world)["seen"] == 1
    assert receiver.of("unit1") == []
    world.submit()
    list(world.officer.inbox())
    receiver.wait("unit1", 1)


def test_an_emergency_whose_channel_failed_is_told_all_the_same_to_who_has_polled(
    sqlite_world: World, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R-109: the workstation that polls each minute may sound its alarm in an empty room. What comes after it, and is
    none, waits with it and does not take its place.
    """
    world = sqlite_world
    monkeypatch.setattr(waking, "RETRY_S", (3,) * 5)
    receiver.status = 503
    with_plan(world, plan_for(world, receiver, delay_s=[0, 0], digest_s=0, hint_urgency=True))
    world.submit()
    receiver.wait("unit1", 1)
    world.operator.submit(composition(body=ORDINARY))
    receiver.wait("unit1", 2)
    time.sleep(1.1)
    assert len(list(world.desk.inbox())) == 2, "it polls, and nobody is there"
    receiver.status = 200
    last = receiver.wait("unit1", 3)[-1]
    assert URGENT_TEXT.encode() in last.raw
    wait_until_kept(world, UNIT)


def test_an_emergency_that_a_process_forgot_is_told_by_the_next_one_though_somebody_polled(
    sqlite_world: World, receiver: Receiver
) -> None:
    """R-109: the process ended while its channel was down; only a notice, or an answer, says that somebody knows."""
    world = sqlite_world
    receiver.status = 503
    with_plan(world, plan_for(world, receiver, delay_s=[0, 0], digest_s=0))
    world.submit()
    receiver.wait("unit1", 1)
    time.sleep(1.1)
    assert len(list(world.desk.inbox())) == 1
    receiver.status = 200
    with_plan(world, plan_for(world, receiver, delay_s=[0, 0], digest_s=0))
    receiver.wait("unit1", 2)


def test_what_a_process_forgot_is_found_by_the_next_one_and_told_once(world: World, receiver: Receiver) -> None:
    with_plan(world, plan_for(world, receiver, delay_s=[3000, 3000], digest_s=0))
    world.operator.submit(composition(body=ORDINARY))
    assert receiver.of("unit1") == []
    with_plan(world, plan_for(world, receiver, delay_s=[0, 0], digest_s=0))
    receiver.wait("unit1", 1)
    wait_until_kept(world, UNIT)
    with_plan(world, plan_for(world, receiver, delay_s=[0, 0], digest_s=0))
    time.sleep(1.5)
    assert len(receiver.of("unit1")) == 1


def test_of_several_processes_one_tells(postgres_world: World, receiver: Receiver, tmp_path: Path) -> None:
    world = postgres_world
    world.server.stop()
    plan = plan_for(world, receiver, delay_s=[0, 0], digest_s=600)
    settings = world.settings.model_copy(update={"notices": plan})
    with ExitStack() as stack:
        both = [stack.enter_context(serving(settings, tmp_path / f"{at}.log")) for at in range(2)]
        operator = stack.enter_context(client_at(world, both[0].url, "operator"))
        for _ in range(2):
            operator.submit(composition())
            receiver.wait("unit1", 1)
            time.sleep(1.1)
        time.sleep(2)
        # The second emergency came within half a minute of the first: one more notice of it follows then.
        assert len(receiver.of("unit1")) == 1
    # Both start again, and find the second line untold: one of them tells of it.
    with ExitStack() as stack:
        for at in range(2):
            stack.enter_context(serving(settings, tmp_path / f"again-{at}.log"))
        receiver.wait("unit1", 2)
        time.sleep(2)
        assert len(receiver.of("unit1")) == 2
    world.server.start()


def test_a_dead_channel_holds_up_nobody_and_is_seen(sqlite_world: World, receiver: Receiver) -> None:
    world = sqlite_world
    quick = [measured(world) for _ in range(5)]
    with Receiver(status=None) as silent, Receiver() as gone:
        parties = {
            UNIT: [silent.address("deaf1"), gone.address("gone1"), receiver.address("unit1")],
            HOTLINE: [silent.address("deaf2")],
        }
        gone.__exit__()
        with_plan(world, write_plan(world.folder / "notices.toml", parties, delay_s=[0, 0], digest_s=0))
        slow = [measured(world) for _ in range(5)]
        # The channel beside the dead ones is not held up either.
        receiver.wait("unit1", 1)
        silent.wait("deaf1", 1)
        # A call to a silent service lasts four seconds; no submission has waited for it.
        assert max(slow) < 2, (quick, slow)
        ends = time.monotonic() + 15
        while len(failing(world)) < 2 and time.monotonic() < ends:
            time.sleep(0.05)
        assert {(one["party"], one["channel"]) for one in failing(world)} >= {(UNIT, 1), (UNIT, 2)}
        assert (UNIT, 3) not in {(one["party"], one["channel"]) for one in failing(world)}
        assert "referral_notice_channels_failing 2.0" in metrics(world) or len(failing(world)) > 2
        world.check()
    with_plan(world, None)


def test_no_address_is_seen_anywhere(
    sqlite_world: World, receiver: Receiver, capsys: pytest.CaptureFixture[str]
) -> None:
    world = sqlite_world
    with Receiver(status=500) as refusing:
        parties = {UNIT: [receiver.address("unit1"), refusing.address("bad12"), f"json://127.0.0.1:9/{CANARY}"]}
        plan = write_plan(world.folder / "notices.toml", parties, delay_s=[0, 0], digest_s=0)
        with_plan(world, plan)
        world.submit()
        refusing.wait("bad12", 1)
        receiver.wait("unit1", 1)
        ends = time.monotonic() + ENOUGH_S
        while len(failing(world)) < 2 and time.monotonic() < ends:
            time.sleep(0.05)
        told = [
            httpx2.get(f"{world.server.url}{path}", headers=shown(world)).text
            for path in ("/readyz", "/metrics", "/v1/openapi.json")
        ]
        assert UNIT in told[0]
        assert UNIT not in told[1]
        world.server.stop()
        plan.write_text(plan.read_text().replace("json://127.0.0.1:9", "nobody-knows-this://127.0.0.1:9"))
        refused = refusal_of(world, plan)
        assert refused == {"reason": "notices-unknown", "party": UNIT, "channel": 3}
        told += [repr(refused), repr(world.server.runtime.waking._channels), capsys.readouterr().err]
        folders = (world.settings.data_dir, world.settings.keys_dir, world.settings.signer_dir)
        files = [path.read_bytes() for folder in folders for path in folder.rglob("*") if path.is_file()]
        assert [text for text in told if CANARY in text] == []
        assert [raw for raw in files if CANARY.encode() in raw] == []
        assert '"event": "notices_fail"' in told[-1]
    with_plan(world, None)


def test_mail_is_as_long_whatever_has_come(sqlite_world: World) -> None:
    world = sqlite_world
    with mail_server() as (port, messages):
        address = f"mailto://127.0.0.1:{port}?from=aviso@intercambio.example&to=guardia@unidad.example"
        with_plan(world, write_plan(world.folder / "notices.toml", {UNIT: [address]}, delay_s=[0, 0], digest_s=0))
        world.operator.submit(composition(body=ORDINARY))
        ends = time.monotonic() + ENOUGH_S
        while not messages and time.monotonic() < ends:
            time.sleep(0.02)
        ref = ref_of(world.submit(body=LONGER))
        while len(messages) < 2 and time.monotonic() < ends + ENOUGH_S:
            time.sleep(0.02)
        first, second = map(without_time, messages)
        assert first == second
        assert ref.encode() not in second
        assert b"Subject: " in second
        with_plan(world, None)


def test_a_file_that_others_can_read_or_that_is_none_is_refused(sqlite_world: World, receiver: Receiver) -> None:
    world = sqlite_world
    plan = plan_for(world, receiver)
    world.server.stop()
    for mode in (0o644, 0o640, 0o604, 0o620):
        plan.chmod(mode)
        assert refusal_of(world, plan) == {"reason": "notices-exposed"}
    assert refusal_of(world, world.folder / "nowhere.toml") == {"reason": "notices-missing"}
    assert refusal_of(world, world.folder) == {"reason": "notices-missing"}
    plan.chmod(0o600)
    assert refusal_of(world, plan) is None
    world.server.start()


def refusal_of(world: World, plan: Path) -> Mapping[str, Any] | None:
    """Why the exchange does not start with this file of notices."""
    settings = world.settings.model_copy(update={"notices": plan})
    runtime = app.open_runtime(settings, clock=world.clock, runs_on=world.clock.runs_on)
    try:
        app.create_app(runtime)
    except ReferralError as error:
        return error.facts if error.code is ErrorCode.UNAVAILABLE else {"code": error.code}
    finally:
        runtime.close()
    return None


def test_urgency_is_hinted_at_only_where_the_file_says_so(sqlite_world: World, receiver: Receiver) -> None:
    world = sqlite_world
    with_plan(world, plan_for(world, receiver, delay_s=[0, 0], digest_s=0, hint_urgency=True))
    world.submit(body=ORDINARY)
    receiver.wait("unit1", 1)
    world.submit()
    plain, urgent = receiver.wait("unit1", 2)
    assert TEXT.encode() in plain.raw
    assert URGENT_TEXT.encode() in urgent.raw
    assert len(plain.raw) == len(urgent.raw)


def outcomes(world: World) -> Counter[str]:
    return world.server.runtime.waking.outcomes


def failing(world: World) -> list[dict[str, Any]]:
    told = httpx2.get(f"{world.server.url}/readyz").json()["notices"]["failing"]
    found: list[dict[str, Any]] = httpx2.get(f"{world.server.url}/readyz", headers=shown(world)).json()["notices"][
        "failing"
    ]
    assert isinstance(told, int), "which channels fail is told to the operator alone"
    return found


def metrics(world: World) -> str:
    assert httpx2.get(f"{world.server.url}/metrics").status_code == 401
    return httpx2.get(f"{world.server.url}/metrics", headers=shown(world)).text


def shown(world: World) -> dict[str, str]:
    """What the operator shows to his own process."""
    return {"Authorization": f"Bearer {read_operator_token(world.settings.data_dir)}"}


def measured(world: World) -> float:
    """How long a hotline waits for its receipt, in seconds."""
    begun = time.monotonic()
    assert world.operator.submit(composition()).receipt is not None
    return time.monotonic() - begun


def wait_until_kept(world: World, party: str) -> None:
    """Until the exchange has written down that it told this party."""
    ends = time.monotonic() + ENOUGH_S
    while time.monotonic() < ends:
        if any(row["party"] == party and row["told_at"] for row in Rows(world)["wake_up"]):
            return
        time.sleep(0.05)
    raise AssertionError("not kept")


def without_time(message: bytes) -> bytes:
    """A message without what differs from one to the next: when it was sent, and the number that it was given."""
    return re.sub(rb"(?m)^(Date|Message-ID): .*$|={5,}\d+==", b"", message)
