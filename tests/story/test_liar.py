"""Every call of the client against every lie about what it reads: it fails closed, keeps nothing false, and goes on.

The lies are tests/lies.py; what a call reads is seen by letting it run in front of a liar that tells the truth.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import pytest
import stamina

from referral_api.client.choosing import fetch_presence
from referral_api.client.sdk import Client
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import Act, CredentialKind, PartyId
from tests.forgery import changed, log_of, receipt_with, shortened
from tests.liar import Kind, Liar, Lie
from tests.liar_scene import NEWCOMER, Scene
from tests.lies import LIES
from tests.story.test_liar_witnessed import CALLS as WITNESSED
from tests.trials import UNDONE, WAITS, Call, Trials, flushed, packed, stale
from tests.world import ENTRIES, UNIT, Founded, World, composition


def fresh(client: Client, scene: Scene) -> Any:
    """A referral that the unit has not acknowledged, opened: the same until an acknowledgement has arrived."""
    if scene.unread is not None:
        shown = client.referral(scene.unread)
        if shown.chronicle.deliveries[PartyId(UNIT)].acknowledged_at is None:
            return client.open_referral(shown)
    with scene.client(scene.folder("operator", "new"), lied_to=False) as operator:
        scene.unread = str(operator.submit(composition()).outgoing.ref)
    return client.open(scene.unread)


def watched(client: Client, _scene: Scene, _ready: Any) -> None:
    """Until nothing more arrives."""
    for one in client.watch(wait_s=0):
        if one is None:
            return


def listed(client: Client, _scene: Scene, _ready: Any) -> None:
    """The worklists, whole: what is false of one referral is told beside the others."""
    agenda = client.worklist()
    for one in agenda.problems:
        raise one.error


def taken(client: Client, _scene: Scene, _ready: Any) -> None:
    """One page, dealt with."""
    client.keep(client.next_page())


def approving(client: Client, scene: Scene, _ready: Any) -> None:
    """What `referral approve` does."""
    waiting = next(one for one in client.applicants() if one.party == NEWCOMER)
    with pytest.raises(ReferralError) as caught:
        client.approve(waiting, "00000 " * 5 + "00000")
    assert caught.value.code is ErrorCode.CODE_MISMATCH
    del scene


def last_note(client: Client, scene: Scene) -> Any:
    """A referral with a note beside one of its acts."""
    referral = client.referral(scene.ref)
    return referral, [one for one in referral.acts if one.act.act is Act.NOTE][-1]


def inviting(client: Client, _scene: Scene, _ready: Any) -> object:
    """An invitation of a new party."""
    return client.invite(ENTRIES[UNIT] | {"id": "nueva-unidad"}, [CredentialKind.PERSON])


CALLS: dict[str, Call] = {
    # Auditors first: what they read grows with every trial of the others.
    "audit_since": Call("auditor", lambda c, s, r: c.audit_since(trust_first=True), also=UNDONE),
    "evidence_pack": Call("officer", packed, also=UNDONE),
    "ping": Call("operator", lambda c, s, r: c.ping()),
    "sync_keys": Call("operator", lambda c, s, r: c.sync_keys()),
    "parties": Call("operator", lambda c, s, r: c.parties()),
    "choosing.presence": Call("operator", lambda c, s, r: fetch_presence(c.session)),
    "joining": Call(NEWCOMER, lambda c, s, r: c.joining()),
    "resume_joining": Call(NEWCOMER, lambda c, s, r: c.resume_joining()),
    "submit": Call("operator", lambda c, s, r: c.submit(composition()), again=flushed, also=WAITS),
    "queue": Call("operator", lambda c, s, r: c.queue(composition()), again=flushed),
    "flush": Call("operator", lambda c, s, r: c.flush(), lambda c, s: c.queue(composition()), flushed, WAITS),
    "reseal": Call("operator", lambda c, s, r: c.reseal(r.outgoing.id), stale, flushed),
    "resend": Call("operator", lambda c, s, r: c.resend(r.outgoing.ref), lambda c, s: c.submit(composition())),
    "inbox": Call("officer", lambda c, s, r: list(c.inbox())),
    "worklist": Call("officer", listed),
    "watch": Call("officer", watched),
    "next_page": Call("officer", taken),
    "referral": Call("officer", lambda c, s, r: c.referral(s.ref)),
    "open": Call("officer", lambda c, s, r: c.open(s.ref)),
    "open_referral": Call("officer", lambda c, s, r: c.open_referral(r), lambda c, s: c.referral(s.ref)),
    "open_note": Call("officer", lambda c, s, r: c.open_note(*r), last_note),
    "act": Call("officer", lambda c, s, r: c.act(s.ref, Act.NOTE, {}, note="x"), again=flushed, also=WAITS),
    "acknowledge": Call("officer", lambda c, s, r: c.acknowledge(r), fresh, flushed, WAITS),
    "invite": Call("registrar", inviting),
    "applicants": Call("registrar", lambda c, s, r: c.applicants()),
    "approve": Call("registrar", approving),
    "losses": Call("operator", lambda c, s, r: c.losses()),
    "identity.rewrap": Call("officer", lambda c, s, r: c.identity.rewrap([s.ref])),
    "identity.roster": Call("officer", lambda c, s, r: c.identity.roster()),
    "identity.removal": Call("officer", lambda c, s, r: c.identity.removal(["station/st2"])),
}
ELSEWHERE = {
    "person": "opens a keystore", "service": "opens a keystore", "close": "closes",
    "keep": "writes the cursor; in `next_page` here",
    "verify_receipt": "judges documents that are at hand; `parties` has the one call that it may need",
    "revoke": "sends its act as `invite` does",
    "audit": "as a command, with every lie: tests/cli/test_liar.py", "mirror": "as `audit`",
    "audited": "names what `audit` and `audit_since` read",
    "report": "signs a status over the same view as `act`",
    "accept_loss": "after a loss alone: tests/story/test_next_term.py",
}  # fmt: skip
"""Public methods of `Client` without a row, and why."""
UNNOTICED: dict[tuple[str, str], str] = {
    ("no answer", "queue"): "keys that were good stay good until they end; nothing is sent yet, and `flush` notices",
    ("token", "queue"): "as above",
    ("view: receipts with other indices", "acknowledge"): "who has done nothing yet holds no receipt; auditors notice",
}
"""What a call cannot notice, by lie or family of lies: why, and who does."""


@pytest.fixture(scope="module")
def scene(founded: Founded, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """An exchange with a past, and a liar in front of it."""
    with World(founded, tmp_path_factory.mktemp("liar") / "world") as world, Liar(world) as liar:
        world.check()
        made = Scene(world, liar)
        made.live()
        yield made
        world.check()


@pytest.fixture(autouse=True)
def _no_pauses() -> Iterator[None]:
    with stamina.set_testing(True, attempts=1):
        yield


@pytest.mark.parametrize("name", CALLS)
def test_a_call_notices_every_lie_about_what_it_reads(name: str, scene: Scene) -> None:
    """R-94, R-95, R-54, R-16: nothing false is believed, kept or shown, and honesty heals."""
    Trials(scene, CALLS, UNNOTICED).verify(name, LIES.values())


def test_every_public_method_has_a_row_or_a_reason() -> None:
    public = {
        name
        for name, member in inspect.getmembers_static(Client)
        if not name.startswith("_") and not isinstance(member, property)
    }
    assert public == {name for name in CALLS if "." not in name} | ELSEWHERE.keys() | (WITNESSED.keys() & public)


def lying(scene: Scene, seat: str, memory: str, lie: Lie) -> Client:
    """A client of its own profile, in front of this lie."""
    scene.liar.begin(lie)
    return scene.client(scene.folder(seat, memory), lied_to=True)


def test_a_fork_shown_to_a_newcomer_is_noticed_at_the_first_honest_answer(scene: Scene) -> None:
    """R-94: nobody can tell a fork at first contact and without witnesses; what was pinned of it convicts."""
    with lying(scene, "operator", "none", LIES["keys log: fork"]) as client:
        client.sync_keys()
        assert scene.liar.told
        scene.liar.begin(None)
        with pytest.raises(ReferralError) as caught:
            client.sync_keys()
    assert caught.value.code in (ErrorCode.INCONSISTENT, ErrorCode.TAMPERED)


def test_a_receipt_that_claims_another_state_is_noticed_when_the_referral_is_next_looked_at(scene: Scene) -> None:
    """R-16: the act has two receipts then, both signed by the exchange."""
    false = receipt_with(lambda _liar, said: {"states": [(one.unit, "closed", one.head) for one in said.states]})
    lie = Lie("another state", "signed anew", "the view", frozenset({Kind.PUT}), false)
    with lying(scene, "operator", "new", lie) as client:
        entry = client.submit(composition())
        assert scene.liar.told
        scene.liar.begin(None)
        with pytest.raises(ReferralError) as caught:
            client.referral(str(entry.outgoing.ref))
    assert caught.value.code is ErrorCode.RECEIPT_MISMATCH


def test_a_line_left_out_of_an_inbox_is_nothing_that_an_inbox_can_tell(scene: Scene) -> None:
    """R-55: it is a hint; that nobody acknowledged is seen by the sender, in the acts, and by the clocks."""
    omitted = changed(lambda _liar, page: page["entries"].pop(0) if page["entries"] else False)
    lie = Lie("a line left out", "the first", "the sender", frozenset({Kind.INBOX}), omitted)
    with lying(scene, "officer", "new", lie) as client:
        told = list(client.inbox())
        assert scene.liar.told
        scene.liar.begin(None)
        assert len(list(client.inbox())) > len(told)


def test_a_revocation_that_is_kept_off_the_keys_log_is_noticed_by_who_revoked(scene: Scene) -> None:
    """R-30: a frozen keys log passes for a quiet one, but not with who has just changed it."""
    lie = Lie("frozen", "as it was", "who changes it", frozenset({Kind.KEYS_CHECKPOINT}), log_of(shortened), "old")
    with lying(scene, "operator", "old", lie) as client:
        kid = client.session.keymap.sealable(client.profile.party, client.session.now())[0].kid
        with pytest.raises(ReferralError) as caught:
            client.revoke(kid, "lost", client.session.now())
    scene.liar.begin(None)
    assert (caught.value.code, caught.value.facts["reason"]) == (ErrorCode.NOT_INCLUDED, "keys-log")
