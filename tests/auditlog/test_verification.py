"""R-95 and R-92 check by check: each lie about a log is found by the check that is there for it, and named."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from typing import Any

import pytest

from referral_api.auditlog.checkpoint import sign_checkpoint
from referral_api.auditlog.leaf import LeafKind, encode_leaf, leaf_of, parse_leaf
from referral_api.auditlog.merkle import Frontier, leaf_hash
from referral_api.auditlog.records import LogClosed, encode_record, encode_salt, leaf_of_record
from referral_api.auditlog.report import MAX_FAULTS_TOLD
from referral_api.auditlog.tiles import ENTRIES, TILE_WIDTH, TileName
from referral_api.auditlog.trail import AHEAD_S
from referral_api.auditlog.verification import Check, Fault, Head, RawRecord, Report, Verdict, verify_full
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.terms import Term
from referral_api.domain.words import Act, State
from referral_api.formats.act import build_act, parse_act
from referral_api.formats.strict_json import canonical
from tests.client.world import AUDIT, CALLS, HOST, OFFICER, OPERATOR, STRANGER, YEAR, SimulatedExchange
from tests.formats import parties_world as pw
from tests.formats.parties_world import NOW

REF = "01a207f7-a580-793c-a293-a6b97bf4ccae"


def act(
    who: pw.Someone, kind: Act, body: Any, number: int, prev: str | None = None, unit: str | None = None, **other: Any
) -> bytes:
    return build_act(
        act_id=f"{number:08d}-1111-4111-8111-111111111111",
        iss=who.id,
        aud=other.get("aud", pw.ISSUER),
        iat=other.get("iat", NOW),
        act=kind,
        ref=other.get("ref", REF),
        unit=unit,
        prev=prev,
        body=body,
        signers=who.seals,
    )


def submit() -> bytes:
    body = {
        "bundle": {"sha256": pw.digest(pw.genesis()), "size": 100},
        "to": [{"unit": OFFICER.party, "role": "action"}],
        "urgency": "routine",
        "basis": "consent",
        "identity_level": "identified",
        "retention_class": "standard",
        "created_at": NOW,
    }
    return act(OPERATOR, Act.SUBMIT, body, 1)


def exchange() -> SimulatedExchange:
    """An exchange with one referral: submitted, retrieved, acknowledged, accepted."""
    made = SimulatedExchange()
    made.found()
    raw = submit()
    digest = pw.digest(raw)
    made.accept(raw)
    made.hand_out(REF, OFFICER.party)
    ack = {"bundle": pw.digest(pw.genesis()), "submit": digest, "decrypted": True}
    raw_ack = act(OFFICER, Act.ACK, ack, 2, digest, OFFICER.party)
    made.accept(raw_ack)
    made.accept(act(OFFICER, Act.ACCEPT, {}, 3, pw.digest(raw_ack), OFFICER.party))
    return made


@dataclass
class Served:
    """A source that serves a simulated exchange's logs, with whatever a test changed about it."""

    exchange: SimulatedExchange = field(default_factory=exchange)
    checkpoints: dict[str, bytes] = field(default_factory=dict)
    missing: set[str] = field(default_factory=set)

    def checkpoint(self, log: str) -> bytes:
        if log in self.missing:
            raise ReferralError(ErrorCode.NOT_FOUND)
        return self.checkpoints.get(log) or self.exchange.checkpoint(log)

    def cosigned(self, log: str) -> bytes:
        raise ReferralError(ErrorCode.NOT_FOUND, log=log)

    def tile(self, log: str, name: TileName) -> bytes:
        answer: bytes = self.exchange.log_answer(f"{log}/{name.path()}", {})[1]
        return answer

    def records(self, term: Term, start: int, count: int) -> list[RawRecord]:
        assert term == Term(YEAR)
        stored = self.exchange.records[start : start + count]
        return [RawRecord(start + at, record, receipt) for at, (record, receipt) in enumerate(stored)]

    def verify(self, **pins: Head) -> Report:
        root = pw.Log().keymap.root
        return verify_full(self, root, [Term(YEAR)], {head.origin: head for head in pins.values()}, issuer=pw.ISSUER)


@pytest.fixture
def served() -> Served:
    return Served()


def told(report: Report) -> list[tuple[Check, str, int | None, ErrorCode]]:
    return [(fault.check, fault.log, fault.index, fault.error.code) for fault in report.faults]


@cache
def size() -> int:
    return len(exchange().audit)


def test_an_honest_log_verifies_completely_and_gives_states_and_heads(served: Served) -> None:
    report = served.verify()
    assert told(report) == []
    assert report.complete
    verdicts = {check: report.verdict(check) for check in Check}
    assert verdicts == dict.fromkeys(Check, Verdict.OK) | {Check.WITNESSES: Verdict.NOT_REACHED}, "it names none"
    assert report.chronicles[REF].deliveries[OFFICER.party].state is State.ACCEPTED
    head = report.heads[f"{HOST}/v1/log/{AUDIT}"]
    assert (head.size, head.root) == (size(), root_of(served.exchange.audit))
    assert served.verify(audit=head).complete


def test_progress_never_goes_back_and_ends_with_everything(served: Served) -> None:
    heard: dict[str, list[tuple[int, int]]] = {}

    def hear(what: str, done: int, total: int) -> None:
        heard.setdefault(what, []).append((done, total))

    verify_full(served, pw.Log().keymap.root, [Term(YEAR)], {}, progress=hear)
    assert set(heard) == {"leaves keys", *(f"{kind} {AUDIT}" for kind in ("leaves", "verified"))}
    for what, steps in heard.items():
        done, totals = [step[0] for step in steps], {step[1] for step in steps}
        assert done == sorted(done), what
        assert totals == {done[-1]}, what
    assert heard[f"verified {AUDIT}"][-1][0] == size()


def root_of(leaves: list[bytes]) -> bytes:
    return Frontier().extend([leaf_hash(leaf) for leaf in leaves]).root()


def test_a_source_that_gives_other_leaves_the_second_time_is_found(served: Served) -> None:
    """The tree is read before the records: what is walked must be what was hashed."""
    honest, asked = served.tile, list[TileName]()

    def lying(log: str, name: TileName) -> bytes:
        raw = honest(log, name)
        if log != AUDIT or name.level != ENTRIES:
            return raw
        asked.append(name)
        return raw if len(asked) == 1 else raw.replace(b'"k":"access"', b'"k":"server"', 1)

    served.tile = lying  # type: ignore[method-assign]
    faults = served.verify().faults
    assert (Check.LEAVES, AUDIT, None, "read-twice") in [
        (one.check, one.log, one.index, one.error.facts.get("reason")) for one in faults
    ]


def test_another_root_ends_everything_at_the_first_leaf(served: Served) -> None:
    report = verify_full(served, b"x" * 32, [Term(YEAR)], {})
    assert told(report) == [(Check.KEYS_LOG, "keys", 0, ErrorCode.WRONG_ROOT)]
    assert report.verdict(Check.RECORDS) is Verdict.NOT_REACHED
    assert not report.complete
    report = verify_full(served, pw.Log().keymap.root, [Term(YEAR)], {}, issuer="https://other.example")
    assert told(report) == [(Check.KEYS_LOG, "keys", 0, ErrorCode.WRONG_ROOT)]


def test_a_checkpoint_of_another_log_or_key_is_no_checkpoint(served: Served) -> None:
    served.checkpoints[AUDIT] = served.exchange.checkpoint("keys")
    assert told(served.verify()) == [
        (Check.CHECKPOINT, AUDIT, None, ErrorCode.WRONG_ORIGIN),
        *((Check.BOTH_LOGS, "keys", index, ErrorCode.NOT_INCLUDED) for index in directory_acts(served)),
    ]


def directory_acts(served: Served) -> list[int]:
    """The indices of acts in the keys log."""
    return [index for index, leaf in enumerate(served.exchange.log.leaves) if is_act(leaf)]


def is_act(leaf: bytes) -> bool:
    try:
        parse_act(leaf)
    except ReferralError:
        return False
    return True


def test_a_log_that_is_not_there_is_incomplete(served: Served) -> None:
    served.missing.add(AUDIT)
    report = served.verify()
    assert report.verdict(Check.CHECKPOINT) is Verdict.INCOMPLETE
    assert not report.complete


def test_a_log_shorter_than_what_was_pinned_has_shrunk_and_one_with_another_past_has_forked(served: Served) -> None:
    origin = f"{HOST}/v1/log/{AUDIT}"
    longer = Head(origin, size() + 1, b"r" * 32)
    report = served.verify(audit=longer)
    assert [(f.check, f.error.facts["reason"]) for f in report.faults] == [(Check.GROWTH, "shrunk")]
    report = served.verify(audit=Head(origin, 3, b"r" * 32))
    assert [(f.check, f.error.facts["reason"]) for f in report.faults] == [(Check.GROWTH, "forked")]
    assert origin not in report.heads


def test_a_changed_leaf_is_found_and_named_where_the_tiles_can_tell(served: Served) -> None:
    true_hashes = b"".join(leaf_hash(leaf) for leaf in served.exchange.audit)
    served.checkpoints[AUDIT] = served.exchange.checkpoint(AUDIT)
    honest = served.tile
    served.tile = lambda log, name: (  # type: ignore[method-assign]
        true_hashes if (log, name.level) == (AUDIT, 0) else honest(log, name)
    )
    leaf = json.loads(served.exchange.audit[4])
    served.exchange.audit[4] = canonical(leaf | {"t": leaf["t"] + 1})
    report = served.verify()
    (fault,) = [one for one in report.faults if one.check is Check.LEAVES and one.index is None]
    assert (fault.error.code, fault.error.facts["index"]) == (ErrorCode.TAMPERED, 4)
    assert report.verdict(Check.LEAVES) is Verdict.FAILED


Change = Callable[[Served], None]


def change_record(served: Served) -> None:
    record, receipt = served.exchange.records[-1]
    served.exchange.records[-1] = (record + b" ", receipt)


def change_server_record(served: Served) -> None:
    at = next(at for at, (record, _) in enumerate(served.exchange.records) if b'"retrieved"' in record)
    raw = served.exchange.records[at][0].replace(f'"t":{NOW}'.encode(), f'"t":{NOW + 1}'.encode())
    served.exchange.records[at] = (raw, None)
    # The leaf is made to fit the record, but not its time.
    served.exchange.audit[at] = encode_leaf(leaf_of(raw, LeafKind.ACCESS, NOW))


def strip_signature(served: Served) -> None:
    record, receipt = served.exchange.records[-1]
    document = json.loads(record)
    document["signatures"] = document["signatures"][:1]
    raw = canonical(document)
    served.exchange.records[-1] = (raw, receipt)
    served.exchange.audit[-1] = encode_leaf(leaf_of(raw, LeafKind.ACT, NOW))


def drop_receipt(served: Served) -> None:
    served.exchange.records[-1] = (served.exchange.records[-1][0], None)


def swap_receipts(served: Served) -> None:
    records = served.exchange.records
    records[-1], records[-2] = (records[-1][0], records[-2][1]), (records[-2][0], records[-1][1])


def forbid(served: Served) -> None:
    served.exchange.chronicles.clear()
    raw = act(OFFICER, Act.ACCEPT, {}, 9, pw.digest(submit()), OFFICER.party)
    served.exchange.append(raw, None, encode_leaf(leaf_of(raw, LeafKind.ACT, NOW)))


def status(number: int, **other: Any) -> bytes:
    return act(OFFICER, Act.STATUS, {"code": "registered"}, number, pw.digest(submit()), OFFICER.party, **other)


def repeat_act(served: Served) -> None:
    raw = status(20)
    served.exchange.accept(raw)
    served.exchange.answers.clear()
    served.exchange.accept(raw)


def reuse_act_id(served: Served) -> None:
    served.exchange.accept(status(20))
    served.exchange.accept(status(20, iat=NOW - 1))


def turn_back_the_clock(served: Served) -> None:
    served.exchange.now -= 1
    served.exchange.accept(status(20))


def log_another_year(served: Served) -> None:
    served.exchange.now += 40 * pw.DAY
    served.exchange.accept(status(20))


def log_a_time_beyond_all_calendars(served: Served) -> None:
    served.exchange.now = 2**53 - 1
    served.exchange.append(b"{}", None, encode_leaf(leaf_of(b"{}", LeafKind.SYSTEM, served.exchange.now)))


def log_before_signing(served: Served) -> None:
    served.exchange.accept(status(20, iat=NOW + 3600))


def log_for_another_exchange(served: Served) -> None:
    served.exchange.accept(status(20, aud="https://other.example"))


def date_the_receipt_otherwise(served: Served) -> None:
    served.exchange.accept(status(20))
    served.exchange.audit[-1] = encode_leaf(leaf_of(served.exchange.records[-1][0], LeafKind.ACT, NOW + 1))


def call_it_an_erasure(served: Served) -> None:
    served.exchange.accept(status(20))
    served.exchange.audit[-1] = encode_leaf(leaf_of(served.exchange.records[-1][0], LeafKind.ERASE, NOW))


def revocation() -> bytes:
    return OFFICER.sign(Act.REVOKE, {"kid": OFFICER.seals[0].kid, "reason": "lost", "at": NOW})


def suppress_a_revocation(served: Served) -> None:
    served.exchange.accept(revocation())


def revoke_and_deny_it(served: Served) -> None:
    raw = revocation()
    served.exchange.log.put(raw)
    served.exchange.accept(raw, code=ErrorCode.NOT_PERMITTED)


def revoke_in_another_order(served: Served) -> None:
    others = OPERATOR.sign(Act.REVOKE, {"kid": OPERATOR.seals[0].kid, "reason": "lost", "at": NOW})
    served.exchange.log.put(revocation(), others)
    served.exchange.accept(others)
    served.exchange.accept(revocation())


def refuse_without_cause(served: Served) -> None:
    served.exchange.accept(status(20), code=ErrorCode.ILLEGAL_TRANSITION)


def speak_for_another_unit(served: Served) -> None:
    raw = act(STRANGER, Act.STATUS, {"code": "registered"}, 9, pw.digest(submit()), OFFICER.party)
    served.exchange.append(raw, None, encode_leaf(leaf_of(raw, LeafKind.ACT, NOW)))


def hand_out_something_else(served: Served) -> None:
    at = next(at for at, (record, _) in enumerate(served.exchange.records) if b'"retrieved"' in record)
    record = json.loads(served.exchange.records[at][0])
    raw = canonical(record | {"digest": record["act"]})
    served.exchange.records[at] = (raw, None)
    served.exchange.audit[at] = encode_leaf(leaf_of(raw, LeafKind.ACCESS, NOW))


def submitted(served: Served, who: pw.Someone, **changes: Any) -> None:
    body = parse_act(submit()).body.wire() | changes
    ref = REF.replace("01a2", "01a3")
    served.exchange.accept(act(who, Act.SUBMIT, body, 30, ref=ref))


def share_against_a_refusal(served: Served) -> None:
    submitted(served, OPERATOR, basis="vital_interest")


def agree_with_oneself(served: Served) -> None:
    override = {"reason": "imminent_danger", "second_person": OPERATOR.id}
    submitted(served, OPERATOR, basis="vital_interest", override=override)


def submit_for_nobody(served: Served) -> None:
    submitted(served, CALLS)


def address_an_excluded_unit(served: Served) -> None:
    served.exchange.accept(act(OPERATOR, Act.ROUTE, {"excluded": [OFFICER.party]}, 31))


def continue_another_log(served: Served) -> None:
    record = json.loads(served.exchange.records[0][0])
    raw = canonical(record | {"previous": {"origin": f"{HOST}/v1/log/audit/2025", "size": 3, "root": record["kid"]}})
    served.exchange.records[0] = (raw, None)
    served.exchange.audit[0] = encode_leaf(leaf_of(raw, LeafKind.SYSTEM, NOW))


def cut_off_the_beginning(served: Served) -> None:
    del served.exchange.records[0], served.exchange.audit[0]


LIES: dict[str, tuple[Change, list[tuple[Check, Verdict]]]] = {
    "a changed record": (change_record, [(Check.RECORDS, Verdict.FAILED)]),
    "a server record at another time than its leaf": (change_server_record, [(Check.RECORDS, Verdict.FAILED)]),
    "a stripped signature": (strip_signature, [(Check.SIGNATURES, Verdict.FAILED)]),
    "an act without its receipt": (drop_receipt, [(Check.RECEIPTS, Verdict.INCOMPLETE)]),
    "receipts of each other's acts": (swap_receipts, [(Check.RECEIPTS, Verdict.FAILED)]),
    "an act that the lifecycle forbids": (forbid, [(Check.STATES, Verdict.FAILED)]),
    "an act that happened twice": (repeat_act, [(Check.RECORDS, Verdict.FAILED)]),
    "two acts of one id": (reuse_act_id, [(Check.RECORDS, Verdict.FAILED)]),
    "a clock that runs backwards": (turn_back_the_clock, [(Check.LEAVES, Verdict.FAILED)]),
    "a leaf of another year": (log_another_year, [(Check.LEAVES, Verdict.FAILED)]),
    "a leaf of no year": (log_a_time_beyond_all_calendars, [(Check.LEAVES, Verdict.FAILED)]),
    "an act taken before it was signed": (log_before_signing, [(Check.SIGNATURES, Verdict.FAILED)]),
    "an act that was meant for another exchange": (log_for_another_exchange, [(Check.SIGNATURES, Verdict.FAILED)]),
    "a receipt of another time than its leaf": (date_the_receipt_otherwise, [(Check.RECEIPTS, Verdict.FAILED)]),
    "an act that is called an erasure": (call_it_an_erasure, [(Check.SIGNATURES, Verdict.FAILED)]),
    "a revocation kept from the keys log": (suppress_a_revocation, [(Check.BOTH_LOGS, Verdict.FAILED)]),
    "a revocation that is in force and was refused": (revoke_and_deny_it, [(Check.BOTH_LOGS, Verdict.FAILED)]),
    "directory acts in another order": (revoke_in_another_order, [(Check.BOTH_LOGS, Verdict.FAILED)]),
    "an act refused without cause": (refuse_without_cause, [(Check.STATES, Verdict.FAILED)]),
    "an act of one unit on the delivery of another": (speak_for_another_unit, [(Check.STATES, Verdict.FAILED)]),
    "a retrieval of something that was never sealed": (hand_out_something_else, [(Check.RECORDS, Verdict.FAILED)]),
    "a sharing that nobody agreed to": (share_against_a_refusal, [(Check.STATES, Verdict.FAILED)]),
    "an override that one person gave alone": (agree_with_oneself, [(Check.STATES, Verdict.FAILED)]),
    "a service that sends for nobody": (submit_for_nobody, [(Check.STATES, Verdict.FAILED)]),
    "a unit that is addressed and excluded": (address_an_excluded_unit, [(Check.STATES, Verdict.FAILED)]),
    "a log that continues another": (continue_another_log, [(Check.GROWTH, Verdict.FAILED)]),
    "a log without its first leaf": (cut_off_the_beginning, [(Check.GROWTH, Verdict.FAILED)]),
}


@pytest.mark.parametrize("name", LIES)
def test_each_lie_is_found_by_the_check_that_is_there_for_it(served: Served, name: str) -> None:
    change, expected = LIES[name]
    change(served)
    report = served.verify()
    assert not report.complete
    for check, verdict in expected:
        assert report.verdict(check) is verdict, told(report)
    assert report.verdict(Check.KEYS_LOG) is Verdict.OK


def test_a_directory_act_that_is_in_no_audit_log_is_missed(served: Served) -> None:
    made = SimulatedExchange()
    made.found()
    kept = made.records[:3]
    made.records, made.audit = kept, made.audit[:3]
    report = Served(made).verify()
    assert report.verdict(Check.BOTH_LOGS) is Verdict.FAILED
    assert all(fault.check is Check.BOTH_LOGS for fault in report.faults)


def test_a_signature_is_judged_by_the_keys_as_they_were_at_its_leaf(served: Served) -> None:
    kid = OFFICER.seals[0].kid
    revocation = OFFICER.sign(Act.REVOKE, {"kid": kid, "reason": "lost", "at": NOW})
    served.exchange.log.put(revocation)
    served.exchange.accept(revocation)
    assert told(served.verify()) == []
    late = act(OFFICER, Act.STATUS, {"code": "registered"}, 7, pw.digest(submit()), OFFICER.party)
    served.exchange.accept(late)
    report = served.verify()
    assert told(report) == [(Check.SIGNATURES, AUDIT, len(served.exchange.audit) - 1, ErrorCode.KEY_NOT_VALID)]


def test_many_faults_of_one_kind_hide_none_of_another(served: Served) -> None:
    """Only so many faults are kept, but no check that failed may pass for one that held."""
    for number in range(100, 100 + MAX_FAULTS_TOLD):
        served.exchange.accept(status(number))
        record, receipt = served.exchange.records[-1]
        served.exchange.records[-1] = (record + b" ", receipt)
    served.exchange.accept(status(99))
    drop_receipt(served)
    report = served.verify()
    assert report.verdict(Check.RECORDS) is Verdict.FAILED
    assert report.verdict(Check.RECEIPTS) is Verdict.INCOMPLETE


def test_a_log_of_no_leaves_is_no_log(served: Served) -> None:
    empty = sign_checkpoint(f"{HOST}/v1/log/keys", 0, Frontier().root(), pw.key("exchange/log"))
    served.checkpoints["keys"] = empty
    assert told(served.verify()) == [(Check.KEYS_LOG, "keys", 0, ErrorCode.INCONSISTENT)]
    key = pw.key("exchange/log")
    served.checkpoints = {AUDIT: sign_checkpoint(f"{HOST}/v1/log/{AUDIT}", 0, Frontier().root(), key)}
    assert served.verify().verdict(Check.CHECKPOINT) is Verdict.FAILED


def test_a_log_of_more_than_one_tile_verifies(served: Served) -> None:
    previous = pw.digest(submit())
    for number in range(100, 100 + TILE_WIDTH):
        served.exchange.accept(act(OFFICER, Act.STATUS, {"code": "registered"}, number, previous, OFFICER.party))
    assert len(served.exchange.audit) > TILE_WIDTH
    assert served.verify().complete


def test_an_unreachable_source_is_raised_and_not_reported(served: Served) -> None:
    def unreachable(term: Term, start: int, count: int) -> list[RawRecord]:
        raise ReferralError(ErrorCode.UNREACHABLE, year=term.year, start=start, count=count)

    served.records = unreachable  # type: ignore[method-assign]
    with pytest.raises(ReferralError, match=ErrorCode.UNREACHABLE.value):
        served.verify()


def test_a_verdict_fails_before_it_is_incomplete_and_is_never_ok_unmade() -> None:
    report = Report()
    assert report.verdict(Check.STATES) is Verdict.NOT_REACHED
    report.counts[Check.STATES] = 2
    assert report.verdict(Check.STATES) is Verdict.OK
    report.faults.append(Fault(Check.STATES, AUDIT, 1, ReferralError(ErrorCode.NOT_FOUND), missing=True))
    assert report.verdict(Check.STATES) is Verdict.INCOMPLETE
    report.faults.append(Fault(Check.STATES, AUDIT, 1, ReferralError(ErrorCode.TAMPERED)))
    assert report.verdict(Check.STATES) is Verdict.FAILED
    assert not report.complete


def test_a_leaf_is_not_dated_after_its_readers_own_time(served: Served) -> None:
    """R-95: what claims to have been written tomorrow is false, whoever signed for it."""
    root, last_s = pw.Log().keymap.root, max(parse_leaf(leaf).logged_s for leaf in served.exchange.audit)

    def reasons(now: int) -> list[str]:
        report = verify_full(served, root, [Term(YEAR)], {}, issuer=pw.ISSUER, now=now)
        assert report.complete is not bool(report.faults)
        return [str(one.error.facts["reason"]) for one in report.faults if one.check is Check.LEAVES]

    assert reasons(last_s) == reasons(last_s - AHEAD_S) == []
    assert reasons(last_s - AHEAD_S - 1) == reasons(0) == ["ahead"]


def close_log(made: SimulatedExchange, following: int = YEAR + 1, t: int | None = None) -> None:
    """The closing leaf, as the turn of the year writes it."""
    new_year = int(datetime(YEAR + 1, 1, 1, tzinfo=UTC).timestamp())
    origin = f"{HOST}/v1/log/audit/"
    closed = LogClosed(
        t=new_year - 1 if t is None else t, salt=encode_salt(bytes(16)),
        origin=f"{origin}{YEAR}", following=f"{origin}{following}",
    )  # fmt: skip
    raw = encode_record(closed)
    made.append(raw, None, encode_leaf(leaf_of_record(closed, raw)))


def growth(report: Report) -> list[tuple[Verdict, Any]]:
    """What was found about how logs continue each other, with its reason."""
    return [
        (Verdict.INCOMPLETE if fault.missing else Verdict.FAILED, fault.error.facts.get("reason"))
        for fault in report.faults
        if fault.check is Check.GROWTH
    ]


def test_a_closing_leaf_whose_successor_is_not_shown_is_incomplete(served: Served) -> None:
    """R-92: the last leaf says that there is more; whoever keeps it from us cannot make the log look whole."""
    close_log(served.exchange)
    assert growth(served.verify()) == [(Verdict.INCOMPLETE, None)]


def test_nothing_may_follow_a_closing_leaf(served: Served) -> None:
    close_log(served.exchange)
    served.exchange.hand_out(REF, OFFICER.party)
    assert (Verdict.FAILED, "followed") in growth(served.verify())


def test_a_log_that_is_continued_ends_with_the_leaf_that_says_so(served: Served) -> None:
    def verify(*years: int) -> list[tuple[Verdict, Any]]:
        served.missing = {f"audit/{year}" for year in years}
        report = verify_full(served, pw.Log().keymap.root, [Term(YEAR), *map(Term, years)], {}, issuer=pw.ISSUER)
        assert not report.complete
        return growth(report)

    assert verify(YEAR + 1) == [(Verdict.FAILED, "absent")]
    close_log(served.exchange)
    assert verify(YEAR + 1) == []
    assert verify(YEAR + 2) == [(Verdict.FAILED, "differs")], "the year between cannot be left out"


def test_a_closing_leaf_has_the_last_second_of_its_year(served: Served) -> None:
    close_log(served.exchange, t=NOW + 100)
    served.missing = {f"audit/{YEAR + 1}"}
    report = verify_full(served, pw.Log().keymap.root, [Term(YEAR), Term(YEAR + 1)], {}, issuer=pw.ISSUER)
    assert growth(report) == [(Verdict.FAILED, "differs")]
