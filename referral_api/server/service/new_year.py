"""The turn of the year: one audit log ends, the next begins, in one transaction (R-92).

The old log's last leaf is a `log.closed` record that names the log which continues it, dated with the last second of
its year; the new one's first is a `log.genesis` that names the old one's head with that leaf in it. The old log is the
last one that there is: a whole year without a leaf has no log, and the chain goes past it. Who holds the keys log's
lock holds every audit log, so that two processes whose clocks differ turn the year once, and the one behind goes on in
the new.

Must never: close a log that is not followed in the same transaction, or write behind a closing leaf.

Implements: R-92; design §9 ("Audit origins are `…/audit/<year>` and linked").
"""

from __future__ import annotations

from datetime import UTC, datetime

from referral_api.auditlog.leaf import encode_leaf
from referral_api.auditlog.merkle import leaf_hash
from referral_api.auditlog.records import LogClosed, LogGenesis, TreeHead, encode_record, encode_salt, leaf_of_record
from referral_api.domain.terms import Term
from referral_api.domain.words import KeyUse
from referral_api.formats.strict_json import b64u
from referral_api.server.service.batch import Batch
from referral_api.server.service.exchange import Exchange
from referral_api.server.storage import logbook, queries
from referral_api.server.storage.queries import Sought, StoredRecord


def begin_term(exchange: Exchange, batch: Batch) -> None:
    """Where the batch's audit log is still empty, write its first leaf, after closing the one before it, if any.

    The batch holds the locks of both (writer.py) and may sign both (opening.py).
    """
    log = batch.term.log
    if batch.next_index(log):
        return
    older = [name for name in batch.heads if name.startswith("audit/") and name < log and batch.next_index(name)]
    previous = _close(exchange, batch, max(older), log) if older else None
    key = exchange.keymap.keys_in_use(KeyUse.LOG, batch.now)[0]
    salt = encode_salt(exchange.token_bytes(16))
    batch.record(LogGenesis(t=batch.now, salt=salt, origin=exchange.origin(log), kid=key.kid, previous=previous))


def last_second(year: int) -> int:
    """The last second of a calendar year (UTC), in unix seconds."""
    return int(datetime(year + 1, 1, 1, tzinfo=UTC).timestamp()) - 1


def _close(exchange: Exchange, batch: Batch, old: str, new: str) -> TreeHead:
    """Write the closing leaf of the old log; its head with that leaf in it."""
    if not _is_closed(batch, old):
        record = LogClosed(
            t=last_second(Term.of_log(old).year),
            salt=encode_salt(exchange.token_bytes(16)),
            origin=exchange.origin(old),
            following=exchange.origin(new),
        )
        raw = encode_record(record)
        place = batch.append_leaf(old, encode_leaf(leaf_of_record(record, raw)))
        queries.insert_record(batch.tx, StoredRecord(place.pos, record.kind, None, None, raw.decode("ascii")))
    edge = batch.heads[old].frontier.extend([leaf_hash(leaf) for leaf in batch.leaves.get(old, ())])
    return TreeHead(origin=exchange.origin(old), size=edge.size, root=b64u(edge.root()))


def _is_closed(batch: Batch, log: str) -> bool:
    """Whether a log has its closing leaf: recovery may have brought it back, and not the log that follows."""
    batch.tx.flush()
    last = logbook.position(Term.of_log(log), batch.next_index(log) - 1)
    return bool(queries.records_sought(batch.tx, Sought(last, last, 1, kind="log.closed")))
