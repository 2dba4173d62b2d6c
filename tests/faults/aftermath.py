"""What an exchange's files say when nobody runs it: the bytes that it would serve, and both audits over them."""

from __future__ import annotations

from dataclasses import dataclass

from referral_api.auditlog.tiles import ENTRIES, TileName, encode_entries
from referral_api.auditlog.verification import RawRecord, Report, verify_full
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.terms import Term
from referral_api.server.app import open_log_signers
from referral_api.server.service.reckoning import Findings, reckon
from referral_api.server.settings import Settings
from referral_api.server.storage import inventory, logbook
from referral_api.server.storage.database import Connection, Database
from referral_api.server.storage.keyfiles import load_signers
from tests.world import ISSUER


@dataclass(frozen=True, slots=True)
class Serving:
    """The bytes that the exchange would serve from a database."""

    conn: Connection
    notes: dict[str, bytes]

    def checkpoint(self, log: str) -> bytes:
        """What the signer signed last."""
        return self.notes[log]

    def cosigned(self, log: str) -> bytes:
        """No exchange that is looked at like this has witnesses."""
        raise ReferralError(ErrorCode.NOT_FOUND, log=log)

    def tile(self, log: str, name: TileName) -> bytes:
        """As server/service/evidence.py does."""
        if name.level == ENTRIES:
            return encode_entries(logbook.entries(self.conn, log, name.index, name.width))
        return logbook.tile(self.conn, log, name.level, name.index, name.width)

    def records(self, term: Term, start: int, count: int) -> list[RawRecord]:
        """The rows behind the leaves."""
        first = logbook.position(term, start)
        found = [
            RawRecord(row["pos"] - first + start, as_stored(row["jws"]), as_stored(row["receipt"]))
            for row in inventory.between(self.conn, "act", first, first + count - 1)
        ]
        rows = inventory.between(self.conn, "record", first, first + count - 1)
        return found + [RawRecord(row["pos"] - first + start, as_stored(row["body"]), None) for row in rows]


def as_stored(text: str) -> bytes:
    """The bytes of a text column, whatever they are."""
    return text.encode("utf-8", "surrogateescape")


def notes_of(settings: Settings) -> dict[str, bytes]:
    """What the signer has signed last, by log."""
    signers = open_log_signers(settings, load_signers(settings.keys_dir))
    try:
        return {log: note for log in signers.names() if (note := signers(log)._load().note) is not None}
    finally:
        signers.close()


def terms_of(notes: dict[str, bytes]) -> list[Term]:
    """The terms that have a log."""
    return sorted(Term.of_log(log) for log in notes if log != "keys")


def verify_outside(conn: Connection, notes: dict[str, bytes], root: bytes) -> Report:
    """What any auditor runs."""
    return verify_full(Serving(conn, notes), root, terms_of(notes), {}, issuer=ISSUER)


def verify_both(settings: Settings, root: bytes) -> Findings:
    """Both audits hold, or AssertionError."""
    with Database.look(settings.database) as database, database.read(snapshot=True) as conn:
        report = verify_outside(conn, notes_of(settings), root)
        findings = reckon(conn, root=root, issuer=ISSUER)
    assert report.complete, report.faults
    assert findings.complete, findings.differences
    return findings
