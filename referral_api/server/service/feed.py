"""Inboxes: one feed shape for every party, an opaque cursor, and waiting without holding anything (R-55).

Waiters are woken in the same tick in which a batch's answers are delivered, before them; a wheel ends their wait, and
where nothing can have come meanwhile they are answered without another look. No database connection is held while
waiting. Across processes (PostgreSQL) one notice a batch wakes the others' waiters; the look at the end of the wait is
the net beneath that.

Must never: hold a connection across a wait, tell a party of another's feed, or put a position into the clear of a
cursor that another party could use.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.formats.strict_json import b64u, unb64u
from referral_api.server.storage import feeds, logbook
from referral_api.server.storage.database import Connection

QUERY = ("after", "limit", "wait", "pending")
MAX_LIMIT = 200
DEFAULT_LIMIT = 50
MAX_WAIT_S = 25
POLL_AFTER_S = 5
_TAG_BYTES = 16
_POSITION_BYTES = 8


@dataclass(frozen=True, slots=True)
class InboxQuery:
    """A validated inbox request. `after` is a log position; 0 is the beginning."""

    after: int
    limit: int
    wait_s: int
    pending: bool


class Cursors:
    """Cursors: a position, and a MAC that binds it to one party (R-55)."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def encode(self, party: str, pos: int) -> str:
        """The cursor that stands after `pos` in `party`'s inbox."""
        raw = pos.to_bytes(_POSITION_BYTES, "big")
        return b64u(raw + self._tag(party, raw))

    def decode(self, party: str, text: str) -> int:
        """The position of a cursor; raises CURSOR_INVALID for a garbled one and for another party's."""
        try:
            raw = unb64u(text, exact=_POSITION_BYTES + _TAG_BYTES)
        except ReferralError:
            raise ReferralError(ErrorCode.CURSOR_INVALID) from None
        if not hmac.compare_digest(raw[_POSITION_BYTES:], self._tag(party, raw[:_POSITION_BYTES])):
            raise ReferralError(ErrorCode.CURSOR_INVALID)
        return int.from_bytes(raw[:_POSITION_BYTES], "big")

    def _tag(self, party: str, raw: bytes) -> bytes:
        message = b"referral-1/cursor\x00" + party.encode("ascii") + b"\x00" + raw
        return hmac.new(self._secret, message, hashlib.sha256).digest()[:_TAG_BYTES]


def parse_query(given: Mapping[str, str], party: str, cursors: Cursors) -> InboxQuery:
    """Read `QUERY`; raises MALFORMED with `param`, CURSOR_INVALID."""
    after = cursors.decode(party, given["after"]) if given.get("after") else 0
    return InboxQuery(
        after=after,
        limit=_number(given, "limit", DEFAULT_LIMIT, 1, MAX_LIMIT),
        wait_s=_number(given, "wait", 0, 0, MAX_WAIT_S),
        pending=_flag(given, "pending"),
    )


def page(conn: Connection, party: str, query: InboxQuery, cursors: Cursors, now: int) -> dict[str, Any]:
    """One page of a party's inbox, in log order."""
    lines = feeds.feed_after(conn, party, query.after, query.limit + 1, pending=query.pending)
    more = len(lines) > query.limit
    shown = lines[: query.limit]
    last = shown[-1].pos if shown else query.after
    return {
        "entries": [_entry(line) for line in shown],
        "cursor": cursors.encode(party, last),
        "more": more,
        "poll_after_s": 0 if more else POLL_AFTER_S,
        "server_time": now,
    }


def _entry(line: feeds.FeedEntry) -> dict[str, Any]:
    term, index = logbook.term_index(line.pos)
    return {
        **term.members(),
        "index": index,
        "kind": line.kind,
        "id": line.act_id,
        "act": line.act_digest,
        "ref": line.ref,
        "unit": line.unit,
        "from": line.sender,
        "urgency": line.urgency,
        "time": line.at,
        "pending": line.pending,
        "answered_by": sorted(line.answered_by),
    }


def _number(given: Mapping[str, str], name: str, default: int, least: int, most: int) -> int:
    text = given.get(name)
    if text is None:
        return default
    if not text.isascii() or not text.isdecimal() or len(text) > 4 or not least <= int(text) <= most:
        raise ReferralError(ErrorCode.MALFORMED, reason="parameter", param=name, least=least, most=most)
    return int(text)


def _flag(given: Mapping[str, str], name: str) -> bool:
    text = given.get(name, "false")
    if text not in ("true", "false"):
        raise ReferralError(ErrorCode.MALFORMED, reason="parameter", param=name)
    return text == "true"
