"""Submissions as bytes: sealed and signed once, sent as often as a test likes."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

import httpx2

from referral_api.client import submission
from referral_api.client.submission import Ids
from tests.wire import Answer
from tests.world import World, composition
from tests.world_check import Rows


@dataclass(slots=True)
class Parcel:
    """One submission. `receipt` is what the exchange first answered, where an answer came through."""

    by: str
    ref: str
    act_id: str
    document: dict[str, str]
    receipt: str | None = None

    def send(self, world: World) -> Answer | None:
        """PUT the same bytes; None where no answer came."""
        try:
            return world.caller(self.by).call("PUT", f"/v1/referrals/{self.ref}", self.document)
        except httpx2.TransportError:
            return None


def parcel(world: World, by: str = "operator", **changes: Any) -> Parcel:
    """Compose one submission without sending it."""
    client = world.client(by)
    around = client.session.ambient
    ids = Ids(around.referral_id(), around.act_id(), around.act_id())
    made = submission.compose(client.session, client.keys, composition(**changes), ids)
    if made.beside is None:
        raise RuntimeError("a submission has a bundle")
    document = {"act": made.jws.decode(), "bundle": made.beside.decode()}
    if made.route is not None:
        document["route"] = made.route.decode()
    return Parcel(by, ids.ref, ids.submit, document)


def send_at_once(world: World, parcels: list[Parcel]) -> list[Answer | None]:
    """Send all at the same moment, each from a thread and over a connection of its own."""
    answers: list[Answer | None] = [None] * len(parcels)
    gate = threading.Barrier(len(parcels))
    for one in parcels:
        world.caller(one.by).credentials("GET", "/v1/ping")  # With a token at hand, nobody is held up by getting one.

    def send(at: int) -> None:
        gate.wait()
        answers[at] = parcels[at].send(world)

    threads = [threading.Thread(target=send, args=(at,)) for at in range(len(parcels))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def stored(world: World, one: Parcel) -> list[dict[str, Any]]:
    """The rows of this submission's act: none or one."""
    return [row for row in Rows(world)["act"] if row["id"] == one.act_id]
