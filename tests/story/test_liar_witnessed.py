"""A liar in front of an exchange that has witnesses and a long log: what nobody has cosigned passes for cosigned with
no client and no command, and a full tile is believed no more than a partial one.

The lies are tests/lies_witnessed.py. What degrades instead of failing does so as docs/decisions/0020 says: who seals
goes on by what a quorum was last seen to have cosigned.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

import pytest
import stamina

from referral_api.client.sdk import Client
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import Act
from tests.cli.liar_table import WITNESSED as ROWS
from tests.cli.shell import EXAMPLES
from tests.cli.test_liar import Telling
from tests.forgery import body, forked, log_of
from tests.liar import Kind, Lie
from tests.liar_scene import Scene
from tests.liar_witnessed import WitnessedScene, witnessed_scene
from tests.lies import KEYS, LIES
from tests.lies_witnessed import LONG, SHOWN, WITNESSED, cosigned, shown_as_of
from tests.trials import UNDONE, WAITS, Call, Trials, flushed, packed, stale
from tests.world import composition


def upgraded(client: Client, _scene: Scene, entry: Any) -> None:
    """What `referral receipt upgrade` does."""
    client.cosign_receipt(entry, wait_s=2)


def receipted(client: Client, scene: Scene) -> Any:
    """An act of ours that has its receipt: the scene's, where this profile knows of it."""
    assert isinstance(scene, WitnessedScene)
    known = [one for one in client.outbox.entries() if one.outgoing.id == scene.act]
    return known[0] if known else client.submit(composition())


CALLS: dict[str, Call] = {
    # Auditors' calls meet all of these through their commands (tests/cli/liar_table.py).
    "evidence_pack": Call("officer", packed),
    "cosign_receipt": Call("operator", upgraded, receipted),
    "sync_keys": Call("operator", lambda c, s, r: c.sync_keys()),
    "submit": Call("operator", lambda c, s, r: c.submit(composition()), again=flushed, also=WAITS),
    "queue": Call("operator", lambda c, s, r: c.queue(composition()), again=flushed),
    "reseal": Call("operator", lambda c, s, r: c.reseal(r.outgoing.id), stale, flushed),
    "act": Call("officer", lambda c, s, r: c.act(s.ref, Act.NOTE, {}, note="x"), again=flushed, also=WAITS),
}
LONG_CALLS: dict[str, Call] = {
    "audit_since": Call("auditor", lambda c, s, r: c.audit_since(trust_first=True), also=UNDONE),
    "sync_keys": Call("operator", lambda c, s, r: c.sync_keys()),
}
_DELAY = "an older quorum, or none yet, is a delay: sealing goes on by what is pinned"
_TIME = "asks what a quorum has seen, not when; `standing` does, and a receipt shows every time to who reads it"
UNNOTICED: dict[tuple[str, str], str] = {
    **{("cosigned", name): _DELAY for name in CALLS},
    **{(f"{of}: of the future", name): _TIME for of in ("cosignatures", "audit cosignatures") for name in CALLS},
}
"""What a call cannot notice, by lie or family of lies: why, and who does."""


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WitnessedScene]:
    """An exchange with a past and witnesses, and a liar in front of it."""
    with witnessed_scene(tmp_path_factory.mktemp("liar-witnessed")) as made:
        shutil.copy(EXAMPLES / "emergencia-piura.json", made.world.folder / "emergencia.json")
        yield made


@pytest.fixture(autouse=True)
def _no_pauses() -> Iterator[None]:
    with stamina.set_testing(True, attempts=1):
        yield


@pytest.mark.parametrize("name", LONG_CALLS)
def test_a_lie_about_a_long_log_is_noticed_in_whichever_tile_it_stands(name: str, scene: WitnessedScene) -> None:
    """R-90, R-94, R-95: full tiles, the levels over them, and bundles of the right width in another place."""
    Trials(scene, LONG_CALLS).verify(name, LONG.values())


@pytest.mark.parametrize("name", CALLS)
def test_what_no_quorum_has_cosigned_passes_for_cosigned_with_no_call(name: str, scene: WitnessedScene) -> None:
    """R-94, R-101: nothing false is believed, pinned or kept, and honesty heals."""
    receipts = [lie for lie in LIES.values() if lie.family == "receipt" and name == "cosign_receipt"]
    Trials(scene, CALLS, UNNOTICED).verify(name, [*WITNESSED.values(), *receipts])


@pytest.mark.parametrize("name", ROWS)
def test_a_command_says_what_is_false_and_claims_no_quorum_that_there_is_not(name: str, scene: WitnessedScene) -> None:
    """R-94, R-101 on the screen: an exit code of the right kind, why, and not a word that all is well."""
    row = ROWS[name]
    telling = Telling(scene, row, {"ACT": scene.act, "REF": scene.quiet if name == "audit pack" else scene.ref})
    telling.verify(row.lies(WITNESSED, LONG, LIES))


# What no single step can notice.


def lying(scene: WitnessedScene, seat: str, memory: str, lie: Lie) -> Client:
    """A client of its own profile, in front of this lie."""
    scene.liar.begin(lie)
    return scene.client(scene.folder(seat, memory), lied_to=True)


def test_nobody_seals_to_a_unit_that_the_quorum_had_not_seen(scene: WitnessedScene) -> None:
    """R-101: a cosigned checkpoint of long ago is true, and admits nobody who came later."""
    early = cosigned(lambda liar, log, _note: shown_as_of(liar, log, 2, int(scene.world.clock()) - 60))
    lie = Lie("before the units came", "cosigned, of the founding", "who seals", SHOWN, early)
    with lying(scene, "operator", "none", lie) as client:
        with pytest.raises(ReferralError) as caught:
            client.submit(composition())
        assert client.outbox.entries() == []
        assert scene.liar.told
    scene.liar.begin(None)
    assert caught.value.code is ErrorCode.NOT_WITNESSED


def test_an_older_quorum_moves_nothing_back(scene: WitnessedScene) -> None:
    """Decision 0020: what is pinned as cosigned stays, and by that is sealed."""
    with lying(scene, "operator", "new", WITNESSED["cosigned: long ago"]) as client:
        before = client.session.sealing_keymap.size
        client.sync_keys()
        assert scene.liar.told
        assert client.session.sealing_keymap.size == before == client.session.keymap.size
    scene.liar.begin(None)


def test_a_fork_after_what_was_cosigned_is_noticed_with_the_next_that_is(scene: WitnessedScene) -> None:
    """R-94: until then nobody seals by it; then the quorum's root is not that of the leaves at hand."""
    past = WITNESSED["cosigned: long ago"]

    def both(liar: Any, asked: Any, answer: Any) -> Any:
        if asked.kind in SHOWN:
            return body(answer, liar.kept["old cosigned"][asked.log])
        return log_of(forked)(liar, asked, answer)

    apart = Lie("forked above", "another end than the cosigned", "the next quorum", KEYS | past.about, both)
    with lying(scene, "operator", "old", apart) as client:
        client.sync_keys()
        assert scene.liar.told
        assert client.session.sealing_keymap.size == scene.liar.kept["old"]["keys"]
        scene.liar.begin(
            Lie("forked still", "the same", "the quorum", frozenset({Kind.KEYS_CHECKPOINT}), log_of(forked))
        )
        with pytest.raises(ReferralError) as caught:
            client.sync_keys()
    scene.liar.begin(None)
    assert (caught.value.code, caught.value.facts["reason"]) == (ErrorCode.INCONSISTENT, "forked")
