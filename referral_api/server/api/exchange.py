"""The hot calls: referrals, acts, bundles, inboxes (docs/protocol.md §8). Each handler: read, one service call, render.

Must never: decide anything, or touch storage.
"""

from __future__ import annotations

from typing import Any

from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.policy import Read, Relation, demand
from referral_api.formats.strict_json import canonical, sha256_b64u
from referral_api.server.api.call import Call, Reply, json_reply
from referral_api.server.api.site import Site
from referral_api.server.service import feed
from referral_api.server.service.acts import Submission
from referral_api.server.service.batch import Committed
from referral_api.server.service.callers import Caller, check_access
from referral_api.server.service.decision import Accepted
from referral_api.server.service.reading import BundleRead, SealedRead, ViewRead, build_view

SEALED_TYPE = "application/jose+json"


class RefusedError(Exception):
    """A final refusal on its way out: the error, and the signed receipt and proof that go with it (R-17)."""

    def __init__(self, error: ReferralError, committed: Committed[Accepted]) -> None:
        super().__init__(error.code.value)
        self.error = error
        self.committed = committed


async def put_referral(site: Site, call: Call) -> Reply:
    """Submit a referral: its act, its bundle, and the route act where units are excluded."""

    def submission() -> Submission:
        document = call.json(required=frozenset({"act", "bundle"}), optional=frozenset({"route"}))
        texts = {name: text_of_member(value) for name, value in document.items()}
        return Submission(texts["act"], ref=call.params["ref"], sealed=texts["bundle"], route=texts.get("route"))

    return answered(await site.enter(call, submission))


async def put_act(site: Site, call: Call) -> Reply:
    """Any later act, with what is sealed beside it."""

    def submission() -> Submission:
        document = call.json(required=frozenset({"act"}), optional=frozenset({"sealed"}))
        texts = {name: text_of_member(value) for name, value in document.items()}
        return Submission(texts["act"], act_id=call.params["id"], ref=call.params["ref"], sealed=texts.get("sealed"))

    return answered(await site.enter(call, submission))


async def get_referral(site: Site, call: Call) -> Reply:
    """The acts this party may see, states and what it may do next; nothing new is nothing recorded."""
    ref = call.params["ref"]
    known = call.header(b"if-none-match")
    if known is None:
        caller = (await site.recorded(call, lambda caller: ViewRead(site.exchange, ref, caller))).result
    else:
        caller, shown = await site.read(call, lambda caller: (caller, _build(site, ref, caller)))
        if known == _etag(shown):
            return Reply(304, b"", headers=((b"etag", known.encode("latin-1")),))
        await site.record(caller, ViewRead(site.exchange, ref, caller))
    # Built after its record is durable and outside the writer, whom a referral with a thousand acts would hold up.
    return _view(await site.work(lambda: _build(site, ref, caller)))


async def get_bundle(site: Site, call: Call) -> Reply:
    """The exact bundle; the record of it is durable before the first byte leaves."""
    ref = call.params["ref"]
    committed = await site.recorded(call, lambda caller: BundleRead(site.exchange, ref, caller))
    return _sealed(committed.result)


async def get_sealed(site: Site, call: Call) -> Reply:
    """What went sealed beside an act."""
    ref, digest = call.params["ref"], call.params["digest"]
    committed = await site.recorded(call, lambda caller: SealedRead(site.exchange, ref, digest, caller))
    return _sealed(committed.result)


async def get_inbox(site: Site, call: Call) -> Reply:
    """One page of the caller's inbox, waiting for it to grow if asked to."""

    def first(caller: Caller) -> tuple[Caller, feed.InboxQuery, int, dict[str, Any]]:
        demand(Read.INBOX, caller.role, caller.kind, Relation.OWN)
        query = feed.parse_query(call.parameters(*feed.QUERY), caller.party, site.cursors)
        seen = site.waiters.generation(caller.party)  # Before the read: what commits after it is not missed.
        return caller, query, seen, _page(site, caller, query, call.now)

    caller, query, seen, page = await site.read(call, first)
    # By the time that its silence is counted in, which goes on where the clock is set back.
    site.polled[caller.party] = int(site.timers.clock())
    if query.wait_s and not page["entries"]:
        page = await _page_waited_for(site, caller, query, seen, page)
    return json_reply(page)


async def _page_waited_for(
    site: Site, caller: Caller, query: feed.InboxQuery, seen: int, empty: dict[str, Any]
) -> dict[str, Any]:
    """What came during a wait; the empty page where nothing did.

    Where thousands are woken at once the lane has no room for all of them: who is told nothing new asks again.
    """
    if await site.waiters.wait(caller.party, caller.credential, query.wait_s, seen=seen):
        try:
            return await site.work(lambda: _page_after_waiting(site, caller, query, int(site.clock())))
        except ReferralError as error:
            if error.code is not ErrorCode.QUEUE_FULL:
                raise
    said_at = int(site.clock())
    check_access(site.exchange.keymap, caller, said_at)
    return empty | {"server_time": said_at}


def _page(site: Site, caller: Caller, query: feed.InboxQuery, now: int) -> dict[str, Any]:
    with site.exchange.database.read() as conn:
        return feed.page(conn, caller.party, query, site.cursors, now)


def _page_after_waiting(site: Site, caller: Caller, query: feed.InboxQuery, now: int) -> dict[str, Any]:
    check_access(site.exchange.keymap, caller, now)
    return _page(site, caller, query, now)


def _build(site: Site, ref: str, caller: Caller) -> dict[str, Any]:
    with site.exchange.database.read(snapshot=True) as conn:
        return build_view(conn, ref, caller, site.exchange.ruling)


def _view(shown: dict[str, Any]) -> Reply:
    return json_reply(shown, headers=((b"etag", _etag(shown).encode("ascii")),))


def _etag(shown: dict[str, Any]) -> str:
    return f'"{sha256_b64u(canonical(shown))}"'


def _sealed(text: bytes) -> Reply:
    digest = sha256_b64u(text)
    return Reply(200, text, SEALED_TYPE, ((b"cache-control", b"no-store"), (b"etag", f'"{digest}"'.encode("ascii"))))


def text_of_member(value: object) -> bytes:
    """A member that holds a document's exact text; signed and sealed documents are ASCII. Raises MALFORMED."""
    if not isinstance(value, str):
        raise ReferralError(ErrorCode.MALFORMED, reason="members")
    try:
        return value.encode("ascii")
    except UnicodeEncodeError:
        raise ReferralError(ErrorCode.MALFORMED, reason="character") from None


def answer_document(committed: Committed[Accepted]) -> dict[str, Any]:
    """Receipt and proof as they travel, with those of the route act beside a submit."""
    document: dict[str, Any] = {"receipt": committed.result.receipt, "proof": committed.proof}
    if committed.result.beside is not None:
        document["route"] = {"receipt": committed.result.beside, "proof": committed.beside_proof}
    return document


def answered(committed: Committed[Accepted]) -> Reply:
    """201 for an act that was new, 200 for the same again; raises RefusedError for a final refusal."""
    if committed.result.code is not None:
        raise RefusedError(ReferralError(committed.result.code, **committed.result.facts), committed)
    return json_reply(answer_document(committed), status=201 if committed.result.fresh else 200)
