"""Trials: one call of a client in front of one lie. It fails closed, keeps nothing false, and goes on with an honest
exchange.

Must never: let a call meet a lie on a profile that an earlier trial has used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from referral_api.auditlog.report import Report
from referral_api.cli.output import EXIT_OF, Exit
from referral_api.client.outbox import Entry, Progress
from referral_api.client.sdk import Client
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import ReferralId
from tests.liar import Kind, Lie
from tests.liar_scene import Scene, held
from tests.world import composition


@dataclass(frozen=True)
class Call:
    """One thing that a client does: whose, what is ready before the liar comes, the call, and what must work after."""

    seat: str
    run: Callable[[Client, Scene, Any], object]
    ready: Callable[[Client, Scene], Any] = lambda _client, _scene: None
    again: Callable[[Client, Scene, Any], object] | None = None
    also: frozenset[int] = frozenset()
    """Exit codes beside a lie's own."""


UNDONE, WAITS = frozenset({5}), frozenset({8})
"""An audit that cannot be done is not passed; what got no answer waits."""


def flushed(client: Client, _scene: Scene, _ready: Any) -> None:
    """Everything that waited has arrived."""
    client.flush(impatient=True)
    waiting = [one for one in client.outbox.entries() if one.state in (Progress.QUEUED, Progress.SENDING)]
    assert not waiting, waiting


def stale(client: Client, _scene: Scene) -> Any:
    """A submission that has to be sealed anew."""
    entry = client.queue(composition())
    client.outbox.sending(entry.outgoing.id, client.session.ambient.now())
    return client.outbox.needs_resealing(entry.outgoing.id, ErrorCode.RECIPIENT_KEY_STALE)


def packed(client: Client, scene: Scene, _ready: Any) -> None:
    """A pack that may be kept."""
    _raw, report = client.evidence_pack(ReferralId(scene.quiet))
    if report.faults:
        raise ReferralError(ErrorCode.TAMPERED, what="pack") from report.faults[0].error


@dataclass(frozen=True)
class Trials:
    """The calls of one scene. `unnoticed` names what a call cannot notice, by lie or family of lies, and why."""

    scene: Scene
    calls: Mapping[str, Call]
    unnoticed: Mapping[tuple[str, str], str] = field(default_factory=dict)

    def verify(self, name: str, lies: Iterable[Lie]) -> None:
        """Tell one call every one of these lies that is about what it reads. Fails naming each that went unnoticed."""
        kinds = self.reads(name)
        wrong, told = {}, 0
        families: set[str] = set()
        for lie in lies:
            if lie.about & kinds:
                found = self.trial(name, lie, heals=lie.family not in families)
                families |= {lie.family} if found is None else set()
                told += found is None
                if found:
                    wrong[lie.name] = found
        assert not wrong, wrong
        assert told >= 3, "hardly any lie was told to this call"

    def trial(self, name: str, lie: Lie, *, heals: bool) -> str | None:
        """Tell one lie to one call: None where it noticed, "" where it was not told, else what is wrong.

        `heals`: see too that the same profile goes on when the liar has gone.
        """
        scene, call = self.scene, self.calls[name]
        folder = scene.folder(call.seat, lie.memory)
        with scene.client(folder, lied_to=False) as client:
            ready = call.ready(client, scene)
        before = held(folder)
        scene.liar.begin(lie)
        with scene.client(folder, lied_to=True, answer_s=0.5 if lie.slow else 30.0) as client:
            code = self.attempt(call.run, client, ready)
        scene.liar.lie = None
        if not scene.liar.told:
            return "" if code == Exit.OK else f"exit {code} without any lie"
        unnoticed = code == Exit.OK and bool({(lie.family, name), (lie.name, name)} & self.unnoticed.keys())
        if not unnoticed and code not in lie.exits | call.also:
            return f"exit {code}"
        scene.verify_pins(folder)
        if not unnoticed and held(folder) != before:
            return "something false is kept"
        if not heals or unnoticed:
            return None
        with scene.client(folder, lied_to=False) as client:
            code = self.attempt(call.again or call.run, client, ready)
        return None if code == Exit.OK else f"exit {code} when the liar has gone"

    def attempt(self, run: Callable[[Client, Scene, Any], object], client: Client, ready: Any) -> int:
        """The exit code that a call would end with."""
        try:
            result = run(client, self.scene, ready)
        except ReferralError as error:
            return int(EXIT_OF[error.code])
        if isinstance(result, Report):
            return int(Exit.OK if result.complete else Exit.VERIFICATION_FAILED)
        sent = [one for one in (result if isinstance(result, list) else [result]) if isinstance(one, Entry)]
        return int(Exit.PARTLY if any(one.state is Progress.SENDING for one in sent) else Exit.OK)

    def reads(self, name: str) -> set[Kind]:
        """What a call reads at its first contact, and when it knows everything already."""
        scene, call = self.scene, self.calls[name]
        kinds: set[Kind] = set()
        for memory in ("none", "anew"):
            folder = scene.folder(call.seat, memory)
            with scene.client(folder, lied_to=False) as client:
                ready = call.ready(client, scene)
            scene.liar.begin(None)
            with scene.client(folder, lied_to=True) as client:
                assert self.attempt(call.run, client, ready) == Exit.OK, name
            kinds |= {asked.kind for asked in scene.liar.asked}
        return kinds
