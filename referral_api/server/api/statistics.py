"""The call for the annual tables, `GET /v1/statistics?year=` (docs/protocol.md R-103), as JSON or CSV.

Must never: answer any other question than the fixed tables of one year that is over.
"""

from __future__ import annotations

import asyncio
from typing import Any

from referral_api.auditlog.figures import csv_of
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.policy import Read, Relation, demand
from referral_api.formats.strict_json import parse
from referral_api.server.api.call import Call, Reply, json_reply
from referral_api.server.api.site import Site
from referral_api.server.service import figures
from referral_api.server.service.batch import Done
from referral_api.server.service.callers import Caller

CSV = "text/csv; charset=utf-8"
FIRST_YEAR = 2000
_MAX_BYTES = 1 << 20
_NO_STORE = ((b"cache-control", b"no-store"), (b"vary", b"accept"))
_ONE_AT_A_TIME = asyncio.Semaphore(1)


async def get_statistics(site: Site, call: Call) -> Reply:
    """The fixed national tables of one year that is over, cells below 11 blank; `Accept: text/csv` gives CSV."""

    def work(caller: Caller) -> tuple[Caller, int]:
        demand(Read.STATISTICS, caller.role, caller.kind, Relation.STRANGER)
        year = _year(call)
        figures.check_over(year, call.now)
        return caller, year

    caller, year = await site.read(call, work)
    await _close(site, year)
    async with _ONE_AT_A_TIME:
        text = await asyncio.to_thread(figures.published, site.exchange, year)
    committed = await site.record(caller, figures.StatisticsReading(site.exchange, year, text, caller))
    document = await _with_calls(site, year, committed.result)
    if _prefers_csv(call):
        return Reply(200, csv_of(document).encode("utf-8"), CSV, _NO_STORE)
    return json_reply(document, headers=(_NO_STORE[1],))


async def _with_calls(site: Site, year: int, text: str) -> dict[str, Any]:
    """The tables with the calls that hotlines have told of, which may come late."""
    document: Any = parse(text.encode("ascii"), max_bytes=_MAX_BYTES)
    referrals = document["tables"]["urgency"]["total"]
    return {**document, "calls": await site.work(lambda: figures.calls(site.exchange, year, referrals))}


async def _close(site: Site, year: int) -> None:
    """Let the year's log be closed, if nobody has written anything since: a batch begins the new one (R-92)."""

    def closed() -> bool:
        with site.exchange.database.read() as conn:
            return figures.is_closed(conn, year)

    if not await site.work(closed):
        await site.run(lambda _: Done(None))


def _year(call: Call) -> int:
    text = call.parameters("year").get("year", "")
    if not text.isascii() or not text.isdecimal() or len(text) != len(str(FIRST_YEAR)) or int(text) < FIRST_YEAR:
        raise ReferralError(ErrorCode.MALFORMED, reason="parameter", param="year")
    return int(text)


def _prefers_csv(call: Call) -> bool:
    """Whether CSV stands before JSON among what the caller accepts."""
    accepted = [one.partition(";")[0].strip().lower() for one in (call.header(b"accept") or "").split(",")]
    known = [one for one in accepted if one in ("text/csv", "application/json")]
    return known[:1] == ["text/csv"]
