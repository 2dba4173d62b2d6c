"""What an auditor asks of every submission once more: to what it relates, and whom a copy informs (R-86, R-95)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from referral_api.auditlog.evidence import Chronicle
from referral_api.auditlog.relations import check_relation
from referral_api.auditlog.verification import Check, RawRecord, Report, Verdict
from referral_api.domain.errors import ErrorCode
from referral_api.domain.terms import Term
from referral_api.domain.words import Act
from referral_api.formats.act import parse_act
from tests.auditlog.refusals import refused
from tests.auditlog.test_verification import REF, Served, act, submit
from tests.client.world import OFFICER, OPERATOR, STRANGER
from tests.formats import parties_world as pw
from tests.formats.parties_world import NOW

COPY = "01a207f7-a580-793c-a293-a6b97bf4cccc"
ABSENT = "01a207f7-a580-793c-a293-a6b97bf4cddd"


def submitted(served: Served, relation: str, ref: str, *to: tuple[str, str], number: int = 21, own: str = COPY) -> None:
    """The simulated exchange takes a submission that relates so."""
    body: dict[str, Any] = {
        "bundle": {"sha256": pw.digest(pw.genesis()), "size": 100},
        "to": [{"unit": unit, "role": role} for unit, role in to],
        "urgency": "routine",
        "basis": "consent",
        "identity_level": "anonymous",
        "retention_class": "standard",
        "relation": {"type": relation, "ref": ref},
        "created_at": NOW,
    }
    served.exchange.accept(act(OPERATOR, Act.SUBMIT, body, number, ref=own))


def reasons(report: Report) -> list[str]:
    assert {fault.check for fault in report.faults} <= {Check.STATES}, report.faults
    assert {fault.error.code for fault in report.faults} <= {ErrorCode.TAMPERED}
    return [str(fault.error.facts["reason"]) for fault in report.faults]


INFORMED = (STRANGER.party, "information")


@pytest.fixture
def served() -> Served:
    return Served()


def test_a_copy_of_an_earlier_referral_of_the_same_hotline_is_as_it_should_be(served: Served) -> None:
    submitted(served, "copy_of", REF, INFORMED)
    report = served.verify()
    assert report.complete, report.faults
    assert {unit: one.role.value for unit, one in report.chronicles[COPY].deliveries.items()} == dict([INFORMED])


@pytest.mark.parametrize("relation", ["copy_of", "replaces", "related_to"])
@pytest.mark.parametrize("ref", [ABSENT, COPY], ids=["none", "itself"])
def test_a_submission_that_relates_to_nothing_should_have_been_refused(served: Served, relation: str, ref: str) -> None:
    to = INFORMED if relation == "copy_of" else (OFFICER.party, "action")
    submitted(served, relation, ref, to)
    assert reasons(served.verify()) == ["relation"]


def test_a_copy_to_a_unit_that_its_original_excludes_should_have_been_refused(served: Served) -> None:
    served.exchange.accept(act(OPERATOR, Act.ROUTE, {"excluded": [STRANGER.party]}, 31))
    submitted(served, "copy_of", REF, INFORMED)
    report = served.verify()
    assert reasons(report) == ["excluded"]
    assert report.verdict(Check.STATES) is Verdict.FAILED


def test_a_copy_of_a_copy_to_a_unit_that_the_first_one_excludes_should_have_been_refused(served: Served) -> None:
    served.exchange.accept(act(OPERATOR, Act.ROUTE, {"excluded": [STRANGER.party]}, 31))
    submitted(served, "copy_of", REF, (OFFICER.party, "information"))
    submitted(served, "copy_of", COPY, INFORMED, number=22, own=ABSENT)
    assert reasons(served.verify()) == ["excluded"]


@dataclass
class Withholding(Served):
    """One whose source does not have the record of the first submission."""

    def records(self, term: Term, start: int, count: int) -> list[RawRecord]:
        return [one for one in super().records(term, start, count) if not _is_first_submit(one)]


def test_of_what_was_not_shown_nobody_is_accused(served: Served) -> None:
    """A record that is missing may be the referral that a submission relates to."""
    submitted(served, "copy_of", REF, INFORMED)
    report = Withholding(served.exchange).verify()
    assert not report.complete
    assert ErrorCode.NOT_FOUND in [fault.error.code for fault in report.faults if fault.missing]
    assert "relation" not in [fault.error.facts.get("reason") for fault in report.faults]


def _is_first_submit(one: RawRecord) -> bool:
    return one.receipt is not None and (found := parse_act(one.record)).act is Act.SUBMIT and found.ref == REF


@pytest.mark.parametrize(
    ("sender", "reason"), [(OPERATOR.party, None), ("linea-ajena", "relation"), (None, "relation")]
)
def test_what_another_hotline_submitted_is_nobody_else_s_to_relate_to(sender: str | None, reason: str | None) -> None:
    body = {"type": "related_to", "ref": REF}
    one = parse_act(act(OPERATOR, Act.SUBMIT, parse_act(submit()).body.wire() | {"relation": body}, 41, ref=COPY))
    known = {REF: Chronicle(sender=sender)}
    if reason is None:
        check_relation(one, known, {}, (), gaps=False)
        return
    assert refused(ErrorCode.TAMPERED, lambda: check_relation(one, known, {}, (), gaps=False)) == reason
    check_relation(one, known, {}, (REF,), gaps=False)
