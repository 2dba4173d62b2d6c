"""Calls about parties, keys, enrolment and the exchange itself (docs/protocol.md §6 to §8).

Must never: log or echo an invitation's secret, or answer "who are you" without having checked.
"""

from __future__ import annotations

from typing import Any

from referral_api.domain import choosing
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.policy import Read, Relation, demand
from referral_api.domain.words import KeyUse
from referral_api.formats.enrolment import Begin, Completion
from referral_api.formats.key_entry import MAX_KEY_ENTRY_BYTES
from referral_api.formats.parties import Party
from referral_api.formats.strict_json import canonical
from referral_api.server.api.call import Call, Reply, json_reply
from referral_api.server.api.configuration import published_rules
from referral_api.server.api.exchange import answered, text_of_member
from referral_api.server.api.problems import REFUSALS
from referral_api.server.api.site import Site
from referral_api.server.service import enrolment, oauth
from referral_api.server.service.acts import Submission
from referral_api.server.service.batch import Batch, Done
from referral_api.server.service.callers import Caller
from referral_api.server.service.recording import Refusal
from referral_api.server.storage import feeds

INVITATION = b"referral-invitation"
_SECRET_CHARS = 22


async def get_metadata(site: Site, _call: Call) -> Reply:
    """RFC 8414 authorization server metadata."""
    return json_reply(oauth.server_metadata(site.exchange.issuer))


async def get_jwks(site: Site, call: Call) -> Reply:
    """The exchange's public keys for tokens, receipts and log checkpoints: from the announcement of each until nothing
    counts any more that it signed, which for receipts and checkpoints is never (R-37).
    """
    keymap = site.exchange.keymap
    tokens = [one.key.public for one in keymap.tenures(KeyUse.TOKEN) if call.now < one.ends_at]
    lasting = [record.public for use in (KeyUse.RECEIPT, KeyUse.LOG) for record in keymap.exchange_keys(use)]
    return json_reply(oauth.key_set([*tokens, *lasting]))


async def get_configuration(site: Site, call: Call) -> Reply:
    """Endpoints, limits, clocks, log origins, and how this exchange is witnessed."""
    return json_reply(site.configuration | published_rules(site.exchange) | {"server_time": call.now})


async def post_token(site: Site, call: Call) -> Reply:
    """The token endpoint (R-40)."""
    answer = site.tokens.turn_away(call.body, call.headers, call.now)
    if answer is None:
        answer = await site.issue(lambda: site.tokens.issue(call.body, call.headers, call.now))
    if answer.status == 200 and answer.credential is not None:
        site.recording.count_token(answer.credential, call.now)
    elif answer.refusal in REFUSALS:
        party = None if answer.credential is None else answer.credential.partition(".")[0]
        site.recording.count_refusal(Refusal(party, answer.credential, answer.refusal), call.now)
        site.refused.note(site.clock(), code=answer.refusal.value, reason="token-request")
    # Its own headers forbid keeping it already (RFC 6749 §5.1).
    return Reply(answer.status, canonical(answer.document), headers=answer.headers)


async def get_ping(site: Site, call: Call) -> Reply:
    """Who am I, what time is it, which exchange is this."""
    caller = await site.read(call, lambda caller: caller)
    return json_reply(
        {
            "credential": caller.credential,
            "party": caller.party,
            "role": caller.role.value,
            "kind": caller.kind.value,
            "environment": site.exchange.environment,
            "version": site.version,
            "server_time": call.now,
        }
    )


async def get_parties(site: Site, call: Call) -> Reply:
    """The directory, as the keys log has it, with when each party last polled and whether that is live (R-84)."""

    def work(caller: Caller) -> list[dict[str, Any]]:
        demand(Read.DIRECTORY, caller.role, caller.kind, Relation.OWN)
        with site.exchange.database.read() as conn:
            polled = feeds.polls(conn) | site.polled
        now = int(site.timers.clock())
        return [_party(party, polled, now) for party in site.exchange.keymap.parties()]

    return json_reply({"parties": await site.read(call, work), "server_time": call.now})


async def get_party(site: Site, call: Call) -> Reply:
    """One party of the directory."""

    def work(caller: Caller) -> dict[str, Any]:
        demand(Read.DIRECTORY, caller.role, caller.kind, Relation.OWN)
        party = site.exchange.keymap.find_party(call.params["party"])
        if party is None:
            raise ReferralError(ErrorCode.NOT_FOUND)
        with site.exchange.database.read() as conn:
            return _party(party, feeds.polls(conn) | site.polled, int(site.timers.clock()))

    return json_reply(await site.read(call, work))


async def post_enrolment(site: Site, call: Call) -> Reply:
    """Begin an enrolment: a challenge for every encryption key (R-35)."""
    secret = await _known_secret(site, call)
    request = Begin.parse(call.json(required=frozenset({"enc"})), code=ErrorCode.MALFORMED)

    def job(batch: Batch) -> Done[dict[str, Any]]:
        keymap = batch.keymap or site.exchange.keymap
        return Done(enrolment.begin(batch.tx, keymap, secret, request, site.exchange.token_bytes, batch.now).wire())

    return json_reply((await site.run(job)).result, status=201)


async def put_enrolment(site: Site, call: Call) -> Reply:
    """Complete an enrolment: keys, proofs of possession, proposal, a new party's statement (R-35)."""
    secret, wanted = await _known_secret(site, call), call.params["enrolment"]
    document = call.json(required=frozenset({"keys", "possession", "proposal", "statement"}))
    completion = _completion(document)

    def job(batch: Batch) -> Done[dict[str, Any]]:
        keymap = batch.keymap or site.exchange.keymap
        return Done(enrolment.complete(batch.tx, keymap, secret, wanted, completion, batch.now))

    return json_reply((await site.run(job)).result)


async def get_enrolment(site: Site, call: Call) -> Reply:
    """Whose turn an enrolment is, for whoever holds its invitation."""
    secret, wanted = _secret(call), call.params["enrolment"]

    def work() -> dict[str, Any]:
        with site.exchange.database.read() as conn:
            return enrolment.status(conn, site.exchange.keymap, secret, wanted, call.now)

    return json_reply(await site.work(work))


async def get_enrolments(site: Site, call: Call) -> Reply:
    """The enrolments that wait for this person's approval."""

    def work(caller: Caller) -> list[dict[str, Any]]:
        with site.exchange.database.read() as conn:
            return enrolment.pending_for(conn, site.exchange.keymap, caller.credential, call.now)

    return json_reply({"enrolments": await site.read(call, work)})


async def put_directory_act(site: Site, call: Call) -> Reply:
    """Invite, approve, revoke, object: acts about parties and keys, through the same door."""

    def submission() -> Submission:
        document = call.json(required=frozenset({"act"}), optional=frozenset({"enrolment"}))
        taken = document.get("enrolment")
        if taken is not None and not isinstance(taken, str):
            raise ReferralError(ErrorCode.MALFORMED, reason="members")
        return Submission(text_of_member(document["act"]), act_id=call.params["id"], enrolment=taken)

    return answered(await site.enter(call, submission))


def _completion(document: dict[str, Any]) -> Completion:
    """The body of a completion; a key entry beyond its limit is told as what it is (R-05)."""
    try:
        return Completion.parse(document, code=ErrorCode.MALFORMED)
    except ReferralError as fault:
        if fault.facts["reason"] == "too-long" and str(fault.facts["where"]).startswith("/keys/"):
            raise ReferralError(ErrorCode.TOO_LARGE, limit=MAX_KEY_ENTRY_BYTES) from None
        raise


def _party(party: Party, polled: dict[str, int], now: int) -> dict[str, Any]:
    live_at = polled.get(party.id)
    return {
        "id": party.id,
        "role": party.role.value,
        "entry": party.entry.wire(),
        "statement": {"digest": party.statement, "seq": party.seq, "index": party.index},
        "live_at": live_at,
        "live": choosing.is_live(live_at, now),
    }


async def _known_secret(site: Site, call: Call) -> str:
    """The secret of an invitation that exists. Nobody else, having no credential, gets as far as parser and writer."""
    secret = _secret(call)

    def work() -> None:
        with site.exchange.database.read() as conn:
            enrolment.check_secret(conn, secret)

    await site.work(work)
    return secret


def _secret(call: Call) -> str:
    secret = call.header(INVITATION)
    if secret is None:
        raise ReferralError(ErrorCode.MALFORMED, reason="header", param="Referral-Invitation")
    if len(secret) != _SECRET_CHARS:
        raise ReferralError(ErrorCode.INVITE_UNKNOWN)
    return secret
