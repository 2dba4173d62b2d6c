"""Rights and visibility: the golden matrix, and what the clauses say of it in words (R-60 to R-63)."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest

from referral_api.domain import lifecycle, policy
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.policy import Read, Relation, Viewer, demand, may, may_see, relation_of
from referral_api.domain.words import (
    ACCOUNTS,
    DIRECTORY_ACTS,
    EXCHANGE_ACTS,
    Act,
    CredentialKind,
    DeliveryRole,
    Nature,
    Role,
    State,
)

H, U, A, R, X = Role.HOTLINE, Role.POLICE_UNIT, Role.AUDITOR, Role.REGISTRAR, Role.EXCHANGE
PERSON, SERVICE = CredentialKind.PERSON, CredentialKind.SERVICE
EVERYTHING = (*Act, *Read)
ALL = list(product(EVERYTHING, Role, CredentialKind, Relation))
GOLDEN = Path(__file__).parent.parent / "rules" / "permissions.txt"


def granted(role: Role, kind: CredentialKind) -> set[str]:
    return {action.value for action, r, k, rel in ALL if (r, k) == (role, kind) and may(action, r, k, rel)}


def test_the_golden_matrix_is_what_the_table_grants() -> None:
    """R-60: a changed right is a changed line of a file that somebody reviews."""
    assert policy.matrix() == GOLDEN.read_text()


def test_the_matrix_says_for_every_combination_what_the_table_says() -> None:
    """Read back cell by cell, so that a fault of the printing cannot hide a right."""
    head, *lines = policy.matrix().split("\n\n")[0].splitlines()
    columns = head.split()[2:]
    assert columns == [f"{role.value[:9]}/{kind.value[:1]}" for role in Role for kind in CredentialKind]
    told = set()
    for line in lines:
        name, relation, *marks = line.split()
        for (role, kind), mark in zip(product(Role, CredentialKind), marks, strict=True):
            if mark == "✔":
                told.add((name, role, kind, Relation(relation)))
    assert told == {(action.value, role, kind, rel) for action, role, kind, rel in ALL if may(action, role, kind, rel)}


def test_what_stands_in_no_row_is_refused() -> None:
    """R-60: there is no wildcard and no inheritance; `may` is exactly the rows."""
    rows = {(right.action, right.role, kind, right.relation) for right in policy.RIGHTS for kind in right.kinds}
    for action, role, kind, relation in ALL:
        assert may(action, role, kind, relation) == ((action, role, kind, relation) in rows)
    assert len(rows) < len(ALL) / 10


def test_every_act_has_a_row_and_the_exchange_s_own_have_no_other() -> None:
    for act in Act:
        roles = {role for role, kind, rel in product(Role, CredentialKind, Relation) if may(act, role, kind, rel)}
        assert roles, act
        if act is Act.RELEASED:
            assert roles == {X, H}, "what is held its sender may release too"
        elif act in EXCHANGE_ACTS | {Act.GENESIS}:
            assert roles == {X}, act


def test_every_read_has_a_row() -> None:
    readable = {right.action for right in policy.RIGHTS}
    assert set(Read) <= readable


def test_whoever_may_do_an_act_is_whom_the_lifecycle_expects() -> None:
    """R-70: a right without a move could never be used, a move without a right never made."""
    for act in lifecycle.ACTS_ON_DELIVERIES:
        by = {role for move in lifecycle.MOVES if move.act is act for role in move.by}
        assert by == {right.role for right in policy.RIGHTS if right.action is act}, act


def test_a_service_sends_and_fetches_and_never_decides() -> None:
    """R-61: a hotline's service may submit; nothing else that a service does binds anybody."""
    acts = {act.value for act in Act}
    assert granted(H, SERVICE) & acts == {"submit", "route"}
    for role in (U, A, R):
        assert not granted(role, SERVICE) & acts, role
    for act, nature in lifecycle.NATURE.items():
        if nature is Nature.DECISION:
            assert not any(may(act, role, SERVICE, rel) for role in (H, U, A, R) for rel in Relation), act
    for act in DIRECTORY_ACTS | ACCOUNTS:
        assert not any(may(act, role, SERVICE, rel) for role in (H, U, A, R) for rel in Relation), act


def test_everything_that_a_service_may_do_is_in_this_list() -> None:
    """Design §5, word for word: it polls, retrieves and downloads, and for a hotline it submits."""
    polls = {"ping", "directory", "keys_log", "inbox", "receipt", "consistency"}
    reads = {"referral", "bundle", "sealed", "part_get", "evidence"}
    assert granted(H, SERVICE) == polls | reads | {"part_put", "submit", "route"}
    assert granted(U, SERVICE) == polls | reads
    assert granted(A, SERVICE) == granted(R, SERVICE) == polls


def test_whatever_takes_a_person_takes_one_in_every_role() -> None:
    """Design §5; rule R15 of the field: acknowledging, deciding, approving, and every change of the directory."""
    person_only = {Act.ACK, Act.ACCEPT, Act.DECLINE, Act.CLOSE, Act.APPROVE, Act.REWRAP, *DIRECTORY_ACTS, *ACCOUNTS}
    for act, role, relation in product(person_only, (H, U, A, R), Relation):
        assert not may(act, role, SERVICE, relation), (act, role)
    assert all(
        any(may(act, role, PERSON, rel) for role in Role for rel in Relation) or act in (Act.GENESIS, Act.REKEY)
        for act in person_only
    )


def test_neither_side_builds_on_what_the_other_may_not_see() -> None:
    """R-65: of a party's acts on a delivery, only those that both sides see move its head or are anybody's `prev`."""
    hidden = {act for act in lifecycle.ACTS_ON_DELIVERIES if not policy.is_common(act)}
    assert hidden == {Act.REWRAP, Act.ESCALATED, Act.TELEPHONE_NOW}
    assert policy.is_common(Act.SUBMIT)
    assert not policy.is_common(Act.ROUTE)


def test_a_service_s_refusal_says_that_a_person_could() -> None:
    with pytest.raises(ReferralError) as caught:
        demand(Act.ACK, U, SERVICE, Relation.RECIPIENT)
    assert (caught.value.code, caught.value.facts) == (ErrorCode.NOT_PERMITTED, {"act": "ack", "needs": "person"})
    with pytest.raises(ReferralError) as caught:
        demand(Act.ACK, H, SERVICE, Relation.SENDER)
    assert caught.value.facts == {"act": "ack"}, "a person of the hotline could not either"


def test_demand_refuses_exactly_what_no_row_allows() -> None:
    """R-60: `demand` is `may` with a reason."""
    for action, role, kind, relation in ALL:
        try:
            demand(action, role, kind, relation)
            passed = True
        except ReferralError:
            passed = False
        assert passed == may(action, role, kind, relation), (action, role, kind, relation)


def test_a_person_has_every_right_that_a_service_of_the_same_party_has() -> None:
    for action, role, relation in product(EVERYTHING, (H, U, A, R), Relation):
        assert may(action, role, PERSON, relation) or not may(action, role, SERVICE, relation), (action, role)


@pytest.mark.parametrize(("role", "kind"), list(product((H, U, R), CredentialKind)))
@pytest.mark.parametrize("relation", [Relation.STRANGER, Relation.WITHHELD])
def test_for_strangers_and_for_a_held_delivery_s_unit_nothing_exists(
    role: Role, kind: CredentialKind, relation: Relation
) -> None:
    """R-51, R-63: not a refusal but 404, for every act and every read, as if the referral did not exist."""
    for action in EVERYTHING:
        with pytest.raises(ReferralError) as caught:
            demand(action, role, kind, relation)
        assert (caught.value.code, caught.value.facts) == (ErrorCode.NOT_FOUND, {}), action


def test_an_auditor_reads_the_record_and_no_bundle_and_changes_nothing() -> None:
    reads = {"audit_log", "records", "referral", "evidence", "statistics", "receipt"}
    every_party = {"ping", "directory", "keys_log", "inbox", "consistency"}
    own_keys = {"statement", "approve_statement", "invite", "revoke", "object", "enrolments"}
    assert granted(A, PERSON) == reads | every_party | own_keys
    for action in (Read.BUNDLE, Read.SEALED, Read.PART_GET):
        assert not any(
            may(action, role, kind, rel) for role in (A, R, X) for kind in CredentialKind for rel in Relation
        )


def test_a_hotline_never_acts_for_a_unit_nor_a_unit_for_a_hotline() -> None:
    for action, kind in product(EVERYTHING, CredentialKind):
        assert not may(action, H, kind, Relation.RECIPIENT)
        assert not may(action, U, kind, Relation.SENDER)


@pytest.mark.parametrize("state", [None, *State])
def test_a_unit_s_relation_follows_from_its_own_delivery(state: State | None) -> None:
    """R-63: a held delivery is as good as none."""
    found = relation_of("unit-a", U, sender="line", state=state)
    wanted = {None: Relation.STRANGER, State.HELD: Relation.WITHHELD}
    assert found is wanted.get(state, Relation.RECIPIENT)


def test_a_hotline_is_the_sender_of_its_own_referrals_only() -> None:
    assert relation_of("line", H, sender="line", state=None) is Relation.SENDER
    assert relation_of("other", H, sender="line", state=None) is Relation.STRANGER
    assert relation_of("audit", A, sender="line", state=None) is Relation.STRANGER


def test_only_sender_and_auditors_see_what_units_were_passed_over() -> None:
    """R-62, written out: three acts, and the outage of a unit, are no business of any unit."""
    hidden = {act for act, viewers in policy.SEES.items() if Viewer.UNIT not in viewers}
    assert hidden == {Act.ROUTE, Act.ESCALATED, Act.TELEPHONE_NOW, Act.UNIT_OFFLINE, Act.ERASE, Act.RULES}
    assert {act for act, viewers in policy.SEES.items() if Viewer.SENDER not in viewers} == {
        Act.REWRAP,
        Act.UNIT_OFFLINE,
        Act.ERASE,
        Act.RULES,
    }


@pytest.mark.parametrize("act", Act)
def test_a_unit_sees_nothing_of_another_unit_s_delivery(act: Act) -> None:
    """R-62."""
    assert not may_see(act, viewer=Viewer.UNIT, own_delivery=False)
    assert may_see(act, viewer=Viewer.UNIT, own_delivery=True) == (Viewer.UNIT in policy.SEES.get(act, frozenset()))


def test_an_auditor_sees_every_act_of_a_referral() -> None:
    assert set(policy.SEES) == set(Act) - DIRECTORY_ACTS - ACCOUNTS
    for act in policy.SEES:
        assert may_see(act, viewer=Viewer.AUDITOR, own_delivery=False), act


def test_who_is_only_informed_decides_nothing() -> None:
    ruled_out = policy.role_at_delivery(DeliveryRole.INFORMATION)
    assert ruled_out == {Act.ACCEPT, Act.DECLINE, Act.TRANSFER, Act.STATUS, Act.CLOSE, Act.REOPEN}
    assert not policy.role_at_delivery(DeliveryRole.ACTION)
    assert not policy.role_at_delivery(DeliveryRole.ESCALATION), "a released escalation acts like the unit itself"
