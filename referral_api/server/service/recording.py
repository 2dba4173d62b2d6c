"""What the exchange writes down about itself: refusals, tokens, its configuration (R-98).

A refusal of a known caller about a referral or an act is one record, before its answer leaves; repetitions, strangers'
refusals and tokens are counted by credential, code and hour. Counts wait in memory for half a minute, then in a table
until their hour is over; a kill loses that half minute, which a journal synced at every call would not be worth.

Must never: wait for a disk on a call's way, record a final refusal (its act has a leaf already), a secret or a value of
a setting, or grow with what strangers send: at most SINGLES records an hour and credential, and one for each count.

Implements: R-98; design §9 ("Recorded one by one …").
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from referral_api.auditlog.records import (
    Configuration,
    Refusals,
    Refused,
    ServerRecord,
    Tokens,
    encode_salt,
)
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.formats.strict_json import sha256_b64u
from referral_api.server.service.batch import Batch, Committed, Done
from referral_api.server.service.exchange import Exchange
from referral_api.server.service.writer import Writer
from referral_api.server.storage import tallies
from referral_api.server.storage.tallies import Tally

HOUR_S = 3600
SINGLES = 20
"""How many different refusals of one credential in one hour get a record each; more are counted."""
_RECORDS_A_JOB = 64
"""Counts that become records in one job of the writer, so that the end of an hour holds nobody up."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A call that was refused: whose (None: nobody's credential stood behind it), why, and about what."""

    party: str | None
    credential: str | None
    code: ErrorCode
    ref: str | None = None
    act: str | None = None
    about: str | None = None
    """What tells it from others of the same caller and code: the path. None where it is about no referral or act."""


class Recording:
    """One a process. Counting is a line in memory under a lock; everything else is the writer's."""

    def __init__(self, exchange: Exchange, writer: Writer) -> None:
        self._exchange = exchange
        self._writer = writer
        self._lock = threading.Lock()
        self._counts: Counter[Tally] = Counter()
        self._singles: dict[str, set[tuple[str, str]]] = {}
        self._hour = 0
        self._oldest: int | None = 0
        """The oldest hour with counts in the table; 0 while that is not known."""

    def count_token(self, credential: str, now: int) -> None:
        """Count a token that a credential was given."""
        self._count(Tally(_hour(now), credential.partition(".")[0], credential, ""))

    def count_refusal(self, refusal: Refusal, now: int) -> None:
        """Count a refusal."""
        self._count(Tally(_hour(now), refusal.party or "", refusal.credential or "", refusal.code.value))

    def is_single(self, refusal: Refusal, now: int) -> bool:
        """Whether a refusal gets a record of its own: a known caller's about something, for the first time this hour.

        Any other is counted here and now.
        """
        if refusal.credential is not None and refusal.about is not None:
            with self._lock:
                if self._hour != _hour(now):
                    self._hour, self._singles = _hour(now), {}
                seen = self._singles.setdefault(refusal.credential, set())
                one = (refusal.code.value, refusal.about)
                if one not in seen and len(seen) < SINGLES:
                    seen.add(one)
                    return True
        self.count_refusal(refusal, now)
        return False

    def refused(self, refusal: Refusal, batch: Batch) -> Done[None]:
        """The record of one refusal (a job of the writer)."""
        record = Refused(
            t=batch.now,
            salt=self._salt(),
            party=refusal.party,
            credential=refusal.credential,
            code=refusal.code,
            ref=refusal.ref,
            act=refusal.act,
        )
        batch.record(record)
        return Done(None)

    # Counts, on their way into the log.

    def turn(self, now: int, *, force: bool = False) -> None:
        """Now and then: let the writer take the counts along, and record those whose hour is over; with `force` a batch
        begins even where there are none.
        """
        with self._lock:
            due = force or bool(self._counts) or (self._oldest is not None and self._oldest + HOUR_S <= now)
        if due:
            self._submit()

    def finish(self) -> None:
        """At an orderly end: leave nothing in memory. Blocks until it is kept, and what is over is in the log.

        The hour under way stays in the table: records of a last moment would be leaves that nobody else has seen, which
        recovery could bring back from nowhere if the disk were lost.
        """
        more = True
        while more:
            job = _Keep(self)
            try:
                more = self._writer.run(job).result
            except ReferralError:
                job.failed()
                return

    def _submit(self) -> None:
        job = _Keep(self)

        def answered(outcome: Committed[bool] | ReferralError) -> None:
            if isinstance(outcome, ReferralError):
                job.failed()
            elif outcome.result:
                self._submit()

        # A full queue is being emptied; the counts wait for the next turn.
        with suppress(ReferralError):
            self._writer.submit(job, answered)

    def _count(self, tally: Tally) -> None:
        with self._lock:
            self._counts[tally] += 1

    def take(self) -> Counter[Tally]:
        """What has been counted; the caller's from now on."""
        with self._lock:
            taken, self._counts = self._counts, Counter()
        return taken

    def give_back(self, counts: Counter[Tally]) -> None:
        """Count again what could not be kept."""
        with self._lock:
            self._counts.update(counts)

    def kept_from(self, oldest: int | None) -> None:
        """The oldest hour with counts in the table."""
        with self._lock:
            self._oldest = oldest

    def record_of(self, tally: Tally, count: int, now: int) -> ServerRecord:
        """The record that a count becomes."""
        until = tally.hour + HOUR_S
        if tally.code == "":
            return Tokens(
                t=now,
                salt=self._salt(),
                party=tally.party,
                credential=tally.credential,
                since=tally.hour,
                until=until,
                count=count,
            )
        return Refusals(
            t=now,
            salt=self._salt(),
            party=tally.party or None,
            credential=tally.credential or None,
            code=ErrorCode(tally.code),
            since=tally.hour,
            until=until,
            count=count,
        )

    def _salt(self) -> str:
        return encode_salt(self._exchange.token_bytes(16))


class _Keep:
    """A job that takes the counts along, and makes records of those whose hour is over; true if there are more.

    What it takes is nobody else's, so that two of them never keep the same; if it fails, it is given back.
    """

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self._taken: Counter[Tally] = Counter()

    def __call__(self, batch: Batch) -> Done[bool]:
        """Keep, and record. Run again after a batch that failed, it keeps what it took the first time."""
        self._taken.update(self._recording.take())
        if self._taken:
            tallies.add_tallies(batch.tx, self._taken)
        ended = tallies.oldest_tallies(batch.tx, _hour(batch.now), _RECORDS_A_JOB)
        for tally, count in ended:
            batch.record(self._recording.record_of(tally, count, batch.now))
        tallies.delete_tallies(batch.tx, [tally for tally, _ in ended])
        self._recording.kept_from(tallies.oldest_hour(batch.tx))
        return Done(len(ended) == _RECORDS_A_JOB)

    def failed(self) -> None:
        """Nothing was kept."""
        self._recording.give_back(self._taken)
        self._recording.kept_from(0)


class Configured:
    """A job at every start: where the exchange runs with another configuration than the last time, that is recorded.

    `published` is the document at /.well-known/referral-configuration without its time, which the record's digest is
    of; `settings` are the operator's own by name. Of both, the record tells which changed; no value leaves.
    """

    def __init__(self, exchange: Exchange, version: str, published: bytes, settings: Mapping[str, bytes]) -> None:
        self._exchange = exchange
        self._version = version
        self._digest = sha256_b64u(published)
        self._digests = {name: sha256_b64u(value) for name, value in settings.items()} | {"published": self._digest}

    def __call__(self, batch: Batch) -> Done[None]:
        """Compare with what was kept, and record a difference."""
        before = tallies.find_settings(batch.tx)
        if before == self._digests:
            return Done(None)
        known = before or {}
        names = sorted(known.keys() | self._digests.keys())
        changed = [name for name in names if before is not None and known.get(name) != self._digests.get(name)]
        salt = encode_salt(self._exchange.token_bytes(16))
        batch.record(Configuration(t=batch.now, salt=salt, version=self._version, digest=self._digest, changed=changed))
        tallies.save_settings(batch.tx, self._digests)
        return Done(None)


def _hour(now: int) -> int:
    return now - now % HOUR_S
