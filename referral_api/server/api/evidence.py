"""Calls by which parties and auditors check the exchange: receipts, logs, consistency, records, evidence packs
(docs/protocol.md §8, §10).

Must never: hand an auditor a record before that reading is itself recorded.
"""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Callable
from typing import Any, TypeVar

from referral_api.auditlog.records import KINDS
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.policy import Read
from referral_api.domain.terms import Term
from referral_api.domain.words import PARTY_ID, UUID7, Act
from referral_api.server.api.call import Call, Reply, json_reply
from referral_api.server.api.site import Site
from referral_api.server.service import evidence, packs
from referral_api.server.service.callers import Caller
from referral_api.server.service.witnesses import Witnessing
from referral_api.server.storage.database import Connection

T = TypeVar("T")
TEXT = "text/plain; charset=utf-8"
BYTES = "application/octet-stream"
ARCHIVE = "application/zip"
_IMMUTABLE = ((b"cache-control", b"private, max-age=31536000, immutable"),)
_SECONDS = ((b"cache-control", b"no-store"),)
DEFAULT_RECORDS = 100
SOUGHT: dict[str, Callable[[str], object]] = {
    "party": re.compile(PARTY_ID).fullmatch,
    "ref": re.compile(UUID7).fullmatch,
    "kind": (KINDS | set(Act)).__contains__,
}
"""What records may be looked for by, and what its value must be."""
MAX_WAIT_S = 25
ANY_LOG = "log"
"""Under which name those wait who wait for a quorum, of whichever log: cosignatures come for all logs at once."""
MAX_SIZE_DIGITS = 10
"""Of indices, sizes and unix seconds: a term's log has room for 2^36 leaves, and what is looked through after them."""


async def get_receipt(site: Site, call: Call) -> Reply:
    """The stored receipt of an act, and a fresh proof; `Prefer: wait` lets a quorum cosign it first (R-101)."""
    digest = call.params["digest"]
    if site.witnessing is None or not (seconds := _preferred_wait(call)):
        committed = await site.recorded(call, lambda caller: evidence.ReceiptRead(site.exchange, digest, caller))
    else:
        caller = await _wait_for_quorum(site, site.witnessing, call, digest, seconds)
        committed = await site.record(caller, evidence.ReceiptRead(site.exchange, digest, caller))
    return json_reply(committed.result)


async def get_checkpoint(site: Site, call: Call) -> Reply:
    """The newest signed checkpoint of a log. An auditor's reading of the audit log is one record a session."""
    log = _log(call)

    def work(caller: Caller) -> tuple[Caller, tuple[int, bytes]]:
        cosigned = _wants_cosigned(call)
        name = evidence.log_of(log, caller)
        found = _reading(site, lambda conn: evidence.checkpoint(conn, site.exchange, name, cosigned=cosigned))
        return caller, found

    caller, (size, note) = await site.read(call, work)
    if log != "keys":
        await _record_session(site, call, caller, size)
    return Reply(200, note, TEXT, _SECONDS)


async def get_tile(site: Site, call: Call) -> Reply:
    """A tile or entry bundle at its C2SP path. Of the audit log, that its caller reads it is on the record before."""
    log, path = _log(call), "tile/" + call.params["path"]

    def work(caller: Caller) -> tuple[Caller, evidence.TileRead]:
        name = evidence.log_of(log, caller)
        return caller, _reading(site, lambda conn: evidence.tile(conn, site.exchange, name, path))

    caller, found = await site.read(call, work)
    if log != "keys":
        await _demand_session(site, call, caller, found)
    return Reply(200, found.body, BYTES, _IMMUTABLE)


async def get_consistency(site: Site, call: Call) -> Reply:
    """Proof that a log only grew, for every party (R-94)."""

    def work(caller: Caller) -> dict[str, Any]:
        log = evidence.log_of(_log(call), caller, read=Read.CONSISTENCY)
        given = call.parameters("from", "to")
        old, new = _size(given.get("from")), None if "to" not in given else _size(given["to"])
        return _reading(site, lambda conn: evidence.consistency(conn, site.exchange, log, old, new))

    return json_reply(await site.read(call, work))


async def get_beginning(site: Site, call: Call) -> Reply:
    """The first records of an audit log with their proofs, for every party."""
    term = Term.parse(call.params["term"])

    def work(caller: Caller) -> dict[str, Any]:
        evidence.log_of(term.log, caller, read=Read.CONSISTENCY)
        call.parameters()
        return _reading(site, lambda conn: evidence.beginning(conn, site.exchange, term))

    return json_reply(await site.read(call, work))


async def get_records(site: Site, call: Call) -> Reply:
    """The records behind a range of leaves, all of them or those of a party, referral, kind or time."""
    return json_reply(await _records(site, call, lambda: _wanted(call)))


async def get_record(site: Site, call: Call) -> Reply:
    """The record behind one leaf."""

    def wanted() -> evidence.Wanted:
        call.parameters()
        return evidence.Wanted(int(call.params["index"]), 1)

    document = await _records(site, call, wanted)
    if not document["records"]:
        raise ReferralError(ErrorCode.NOT_FOUND)
    return json_reply({name: value for name, value in document.items() if name != "next"})


async def _records(site: Site, call: Call, wanted: Callable[[], evidence.Wanted]) -> dict[str, Any]:
    """Records; that they are handed out is on the record before they are."""
    term = Term.parse(call.params["term"])
    committed = await site.recorded(call, lambda caller: evidence.RecordsRead(site.exchange, term, wanted(), caller))
    return committed.result


async def get_evidence(site: Site, call: Call) -> Reply:
    """Everything about one referral that its caller may see, with all that proves it (R-89)."""
    ref = call.params["ref"]
    caller, pack = await site.read(call, lambda caller: (caller, packs.build(site.exchange, ref, caller)))
    committed = await site.record(caller, packs.PackHandedOut(site.exchange, ref, pack, caller))
    return Reply(200, committed.result, ARCHIVE, _SECONDS)


def _log(call: Call) -> str:
    return Term.parse(call.params["term"]).log if "term" in call.params else "keys"


async def _demand_session(site: Site, call: Call, caller: Caller, found: evidence.TileRead) -> None:
    """That what a tile shows belongs to a session which is on the record (R-98)."""
    session = site.sessions.of(caller.credential, _log(call))
    if not session.covers(found.reach, call.now):
        async with session.turn:
            if not session.covers(found.reach, call.now):
                await _record_session(site, call, caller, found.size)


async def _record_session(site: Site, call: Call, caller: Caller, size: int) -> None:
    """Record that an auditor reads an audit log up to a size that the exchange itself knows."""
    term = Term.parse(call.params["term"])
    session = site.sessions.of(caller.credential, term.log)
    read = evidence.SessionRead(site.exchange, term, min(session.size, size), size, caller)
    await site.record(caller, read)
    session.note(size, call.now)


def _wants_cosigned(call: Call) -> bool:
    """Whether the newest checkpoint that a quorum has cosigned is asked for."""
    given = call.parameters("cosigned")
    if given.get("cosigned", "1") != "1":
        raise ReferralError(ErrorCode.MALFORMED, reason="parameter", param="cosigned")
    return "cosigned" in given


def _preferred_wait(call: Call) -> int:
    """Seconds of the preference `wait` (RFC 7240 §4.3), at most MAX_WAIT_S; 0 where it is not given, or not understood.

    A preference that cannot be kept is passed over, never refused (RFC 7240 §2).
    """
    wanted = [one.strip().partition("=") for one in (call.header(b"prefer") or "").split(",")]
    seconds = next((value.strip().strip('"') for name, _, value in wanted if name.strip().lower() == "wait"), "")
    return min(int(seconds[:6]), MAX_WAIT_S) if seconds.isascii() and seconds.isdecimal() else 0


async def _wait_for_quorum(site: Site, witnessing: Witnessing, call: Call, digest: str, seconds: int) -> Caller:
    """The caller, once a quorum has cosigned what covers the act, or after so many seconds.

    Whoever may not see the act is told so at once, and again when the receipt is read.
    """

    def look(caller: Caller) -> tuple[Caller, str | None, int]:
        seen = site.quorums.generation(ANY_LOG)
        with site.exchange.database.read() as conn:
            evidence.receipt(conn, site.exchange, digest, caller)
            return caller, evidence.waits_for(conn, site.exchange, digest), seen

    caller, log, seen = await site.read(call, look)
    ends = asyncio.get_running_loop().time() + seconds
    while log is not None and (left := math.ceil(ends - asyncio.get_running_loop().time())) > 0:
        witnessing.hurry()
        if not await site.quorums.wait(ANY_LOG, caller.credential, left, seen=seen):
            break
        seen = site.quorums.generation(ANY_LOG)
        log = await site.work(lambda: _reading(site, lambda conn: evidence.waits_for(conn, site.exchange, digest)))
    return caller


def _wanted(call: Call) -> evidence.Wanted:
    given = call.parameters("from", "limit", "since", "until", *SOUGHT)
    first, limit = _size(given.get("from", "0")), _size(given.get("limit", str(DEFAULT_RECORDS)))
    if not 1 <= limit <= evidence.MAX_RECORDS:
        raise ReferralError(ErrorCode.MALFORMED, reason="parameter", param="limit", least=1, most=evidence.MAX_RECORDS)
    for name in SOUGHT.keys() & given.keys():
        if not SOUGHT[name](given[name]):
            raise ReferralError(ErrorCode.MALFORMED, reason="parameter", param=name)
    since, until = (_size(given[name]) if name in given else None for name in ("since", "until"))
    return evidence.Wanted(first, limit, given.get("party"), given.get("ref"), given.get("kind"), since, until)


def _size(text: str | None) -> int:
    if text is None or not text.isascii() or not text.isdecimal() or len(text) > MAX_SIZE_DIGITS:
        raise ReferralError(ErrorCode.MALFORMED, reason="parameter")
    return int(text)


def _reading(site: Site, work: Callable[[Connection], T]) -> T:
    with site.exchange.database.read() as conn:
        return work(conn)
