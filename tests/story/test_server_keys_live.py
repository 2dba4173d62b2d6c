"""Nobody waits and nobody fails while the exchange goes over to other keys: with one process, and with two (R-37)."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from referral_api.client.outbox import Progress
from referral_api.client.sdk import Client
from referral_api.domain.words import KeyUse
from referral_api.server.service.rekeying import Asked
from referral_api.server.storage.keyfiles import USES, create_next, load_signers
from tests.story.test_rolled_back import client_at
from tests.story.test_second_host import Host, eventually, hosts
from tests.story.test_server_keys import go_to, keymap_of, rotate
from tests.world import World, composition

__all__ = ["hosts"]


@contextmanager
def sending(openers: list[Callable[[], Client]], between: threading.Lock | None = None) -> Iterator[Callable[[], int]]:
    """Each of them submits one referral after the other all the time; afterwards every one has its verified receipt.

    Who holds `between` finds none on its way.
    """
    states: list[Progress] = []
    failed: list[BaseException] = []
    ends = threading.Event()

    def send(opened: Callable[[], Client]) -> None:
        own = between or threading.Lock()
        try:
            with opened() as client:
                while not ends.is_set():
                    with own:
                        states.append(client.submit(composition()).state)
        except BaseException as fault:
            failed.append(fault)
            raise

    threads = [threading.Thread(target=send, args=(opened,)) for opened in openers]
    for thread in threads:
        thread.start()
    try:
        yield lambda: len(states)
    finally:
        ends.set()
        for thread in threads:
            thread.join(60)
    assert not failed
    assert set(states) == {Progress.RECEIVED}


def some_more(count: Callable[[], int]) -> None:
    before = count()
    eventually(lambda: count() >= before + 3, 60)


def test_a_client_that_never_stops_sending_sees_nothing_of_any_change(world: World) -> None:
    between = threading.Lock()
    with sending([lambda: client_at(world, world.server.url, "operator")], between) as count:
        some_more(count)
        changes = [rotate(world, use) for use in USES]
        for moment in sorted({at for _, begins, ends in changes for at in (begins - 1, begins, ends + 1)}):
            # No submission is on its way while a day passes: that is the calendar's jump, not the exchange's.
            with between:
                go_to(world, moment)
            some_more(count)
    kids = [kid for kid, _, _ in changes]
    now = int(world.clock())
    assert [keymap_of(world).keys_in_use(use, now)[0].kid for use in USES] == kids
    world.check()


@pytest.mark.postgres
def test_two_processes_go_over_to_another_token_key_at_once(hosts: tuple[Host, Host]) -> None:
    world = hosts[0].world
    first = load_signers(world.settings.keys_dir).token.kid
    openers = [
        lambda: client_at(world, hosts[0].url, "operator"),
        lambda: client_at(world, hosts[1].url, "colleague"),
    ]
    with sending(openers) as count:
        some_more(count)
        key = create_next(world.settings.keys_dir, KeyUse.TOKEN)
        asked = Asked(KeyUse.TOKEN, key.kid, 0, 0)
        asked.ask(world.settings.keys_dir)
        eventually(lambda: not asked.path(world.settings.keys_dir).exists(), 60)
        some_more(count)
        some_more(count)
    for host in hosts:
        shown = host.caller("operator").call("GET", "/.well-known/jwks.json", signed=False).json
        assert {one["kid"] for one in shown["keys"]} & {first, key.kid} == {key.kid}
