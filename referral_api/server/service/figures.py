"""The annual tables of the exchange: counted from a closed year's log, kept as first published, read on the record.

Counting goes through the year's rows by the page, each page a read of its own, and holds up neither the writer nor the
lane. A closed log does not grow, so the pages tell of one moment all the same; an erasure in between begins it anew.

Must never: count a year that is not over, publish a year twice with different figures, or let the tables out before
that they were read is on the record.

Implements: R-103; design §7 (`GET /v1/statistics`), §9.
"""

from __future__ import annotations

from collections.abc import Container, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from referral_api.auditlog.accounts import calls_of
from referral_api.auditlog.counting import Counting, kinds_of
from referral_api.auditlog.figures import Figures, publish
from referral_api.auditlog.records import Retrieved, StatisticsRead, encode_salt, parse_record
from referral_api.auditlog.trail import role_of
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.terms import LAST_YEAR, Term
from referral_api.domain.words import Act
from referral_api.formats.act import RawAct, parse_act
from referral_api.formats.strict_json import canonical, sha256_b64u
from referral_api.server.service.batch import Batch, Done
from referral_api.server.service.callers import Caller
from referral_api.server.service.exchange import Exchange
from referral_api.server.service.recorded import RecordedRead, Shown
from referral_api.server.service.rulebook import load_rules
from referral_api.server.storage import erasures, figures, logbook, queries
from referral_api.server.storage.database import Connection
from referral_api.server.storage.logbook import KEYS
from referral_api.server.storage.queries import Sought

PAGE = 256
"""Rows that are read at a time."""


def check_over(year: int, now: int) -> None:
    """Raise NOT_FOUND (`reason` `year-not-over`) for a year of which a day is still to come.

    Two readings of a year under way could be subtracted, and what is left is single referrals.
    """
    if not year < min(datetime.fromtimestamp(now, UTC).year, LAST_YEAR):
        raise ReferralError(ErrorCode.NOT_FOUND, what="statistics", reason="year-not-over")


def is_closed(conn: Connection, year: int) -> bool:
    """Whether a later year's log has begun, so that this year's grows no more."""
    newest = logbook.newest_audit(conn)
    return newest is not None and Term.of_log(newest[0]).year > year


def published(exchange: Exchange, year: int) -> str:
    """The tables of a closed year as canonical JSON: as first published, else counted now."""
    with exchange.database.read() as conn:
        kept = figures.find_figures(conn, year)
    return kept or canonical(publish(year, count_year(exchange, year))).decode("ascii")


def calls(exchange: Exchange, year: int, referrals: int | None) -> dict[str, int | None]:
    """What hotlines have told of their calls in that year, so far."""
    with exchange.database.read() as conn:
        told = [_parse(one) for one in queries.acts_about_nothing(conn, Act.CALL_TOTAL) if _taken(one)]
    return calls_of(year, told, referrals)


def count_year(exchange: Exchange, year: int) -> Figures:
    """The exact figures of a closed year. Raises TAMPERED where its acts do not fold."""
    span = logbook.position(Term(year), 0), logbook.position(Term(year + 1), 0) - 1
    while True:
        with exchange.database.read(snapshot=True) as conn:
            erasing = erasures.erasing_acts(conn, *span)
            gone = [_gone(conn, digest) for digest in sorted(erasing)]
            kinds = kinds_of(logbook.leaves(conn, KEYS, 0, logbook.size(conn, KEYS)))
            # What was changed since the year's end was not in force when anything of it was submitted.
            book = load_rules(conn).book
        counting = Counting(kinds, book, year)
        for one in gone:
            if one.year == year:
                counting.erased(one.ref)
        fault = None
        try:
            for stored in _submits(exchange, span[0] - 1):
                counting.earlier(_parse(stored))
            _count(exchange, counting, span, frozenset(one.ref for one in gone))
        except ReferralError as error:
            fault = error
        with exchange.database.read() as conn:
            if erasures.erasing_acts(conn, *span) != erasing:
                continue
        if fault is not None:
            raise fault
        return counting.figures()


@dataclass(frozen=True, slots=True)
class _Gone:
    """A referral with erased records, and the year it was sent in, as far as that can be told."""

    ref: str
    year: int


def _gone(conn: Connection, digest: str) -> _Gone:
    erasing = queries.find_act_by_digest(conn, digest)
    if erasing is None or erasing.ref is None:
        raise ReferralError(ErrorCode.TAMPERED, what="erasure", digest=digest)
    bodies: list[Any] = [_parse(act).body for act in queries.acts_of_kind(conn, erasing.ref, Act.ERASE)]
    year = min(Term.of_log(body.origin.rpartition("/v1/log/")[2]).year for body in bodies)
    return _Gone(erasing.ref, year)


def _count(exchange: Exchange, counting: Counting, span: tuple[int, int], gone: frozenset[str]) -> None:
    for stored in _rows(exchange, *span):
        if stored.ref in gone:
            continue
        if isinstance(stored, queries.StoredAct):
            if _taken(stored):
                act = _parse(stored)
                counting.act(act, role_of(act, exchange.keymap), stored.received_at)
        else:
            record = parse_record(stored.body.encode("ascii"))
            if isinstance(record, Retrieved):
                counting.read(record)


def _submits(exchange: Exchange, last: int) -> Iterator[queries.StoredAct]:
    """The accepted submits of all years before, up to this position, in log order."""
    at = 0
    while True:
        with exchange.database.read(snapshot=True) as conn:
            rows = queries.acts_sought(conn, Sought(at, last, PAGE, kind=Act.SUBMIT.value))
        yield from (one for one in rows if _taken(one))
        if len(rows) < PAGE:
            return
        at = rows[-1].pos + 1


def _rows(exchange: Exchange, at: int, last: int) -> Iterator[queries.StoredAct | queries.StoredRecord]:
    """Acts and hand-outs in log order."""
    while at <= last:
        with exchange.database.read(snapshot=True) as conn:
            acts = queries.acts_sought(conn, Sought(at, last, PAGE))
            records = queries.records_sought(conn, Sought(at, last, PAGE, kind="retrieved"))
        # What the one has read beyond the end of the other's page comes with the next page.
        stop = min([last, *(rows[-1].pos for rows in (acts, records) if len(rows) == PAGE)])
        rows: list[queries.StoredAct | queries.StoredRecord] = [*acts, *records]
        yield from sorted((one for one in rows if one.pos <= stop), key=lambda one: one.pos)
        at = stop + 1


def _taken(stored: queries.StoredAct) -> bool:
    return stored.outcome == "accepted"


def _parse(stored: queries.StoredAct) -> RawAct:
    return parse_act(stored.jws.encode("ascii"))


class StatisticsReading(RecordedRead[str]):
    """Hand out the tables of a year. The first reading keeps them: whatever is erased later, they stay the same."""

    def __init__(self, exchange: Exchange, year: int, text: str, caller: Caller) -> None:
        self._exchange = exchange
        self._year = year
        self._text = text
        self._caller = caller

    def show(self, conn: Connection, now: int, *, fetched: Container[tuple[str, str]] = ()) -> Shown[str]:  # noqa: ARG002
        """The tables and the record of the reading."""
        text = figures.find_figures(conn, self._year) or self._text
        record = StatisticsRead(
            t=now,
            salt=encode_salt(self._exchange.token_bytes(16)),
            party=self._caller.party,
            credential=self._caller.credential,
            year=self._year,
            digest=sha256_b64u(text.encode("ascii")),
        )
        return Shown(text, record)

    def __call__(self, batch: Batch) -> Done[str]:
        """Keep them, record the reading, and hand them out after the commit."""
        figures.keep_figures(batch.tx, self._year, self._text)
        return RecordedRead.__call__(self, batch)
