"""Evidence packs: made in one way, verified in ten steps, and no byte of one may change without notice (R-89)."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from referral_api.auditlog.checkpoint import parse_checkpoint, sign_checkpoint
from referral_api.auditlog.container import read_archive, write_archive
from referral_api.auditlog.keyslog import encode_leaves, parse_leaves
from referral_api.auditlog.leaf import LeafKind, encode_leaf, leaf_of
from referral_api.auditlog.note import SignatureType, VerifierKey, parse_note
from referral_api.auditlog.pack import MANIFEST, PAGES, build_pack, read_manifest
from referral_api.auditlog.pack_verification import PackReport, Step, Unchecked, verify_pack
from referral_api.auditlog.policy import Policy, policy_of
from referral_api.auditlog.report import Verdict
from referral_api.domain.errors import ErrorCode
from referral_api.domain.words import Act, State
from referral_api.formats.act import build_act, parse_act
from referral_api.formats.receipt import build_receipt
from referral_api.formats.strict_json import canonical, parse
from tests.auditlog.packs import OFFICER, evidence_of, spoiled, told, witness, witnessed
from tests.client.world import HOST, STRANGER, YEAR
from tests.formats import parties_world as pw
from tests.formats.parties_world import key

LOG = f"audit-{YEAR}"
Contents = dict[str, bytes]


@pytest.fixture(scope="module")
def good() -> bytes:
    return told().pack()


def verified(raw: bytes, root: bytes | None = None) -> PackReport:
    return verify_pack(raw, told().root if root is None else root)


def failed(report: PackReport) -> set[Step]:
    assert report.verdict is Verdict.FAILED
    return {step for step in Step if report.outcome(step) is Verdict.FAILED}


def names(contents: Contents, ending: str) -> list[str]:
    return sorted(name for name in contents if name.endswith(ending))


def test_a_pack_is_made_in_one_way(good: bytes) -> None:
    story = told()
    evidence = evidence_of(story.exchange, story.ref, "auditor", None)
    shuffled = replace(evidence, pieces=tuple(reversed(evidence.pieces)))
    assert build_pack(shuffled, story.exchange.log.keymap) == good
    assert set(PAGES) < read_archive(good).keys()


def test_a_pack_verifies_with_nothing_but_its_bytes_and_a_root(good: bytes) -> None:
    report = verified(good)
    assert report.verdict is Verdict.OK
    assert report.faults == []
    assert {step for step in Step if report.outcome(step) is not Verdict.OK} == {Step.WITNESSES}
    assert report.chronicle.deliveries[OFFICER.party].state is State.ACCEPTED
    assert report.unchecked == [Unchecked.OMISSION, Unchecked.SEALED, Unchecked.ORDER, Unchecked.WITNESSES]
    assert report.counts[Step.SIGNATURES] == 4
    assert report.counts[Step.RECORDS] == 1


def test_a_root_that_comes_from_the_pack_vouches_for_nothing(good: bytes) -> None:
    report = verify_pack(good)
    assert report.faults == []
    assert report.verdict is Verdict.INCOMPLETE
    assert report.unchecked[0] is Unchecked.ROOT
    assert failed(verified(good, bytes(32))) == {Step.KEYS_LOG}


def test_a_units_pack_shows_its_own_delivery_and_says_so() -> None:
    report = verified(told().pack("recipient", OFFICER.party))
    assert report.verdict is Verdict.OK
    assert Unchecked.VIEW in report.unchecked
    assert report.chronicle.deliveries.keys() == {OFFICER.party}
    assert verified(told().pack("recipient", STRANGER.party)).verdict is not Verdict.OK


def test_every_changed_byte_of_every_file_is_found_in_the_pack_as_it_was_handed_over(good: bytes) -> None:
    """Exhaustive over files and their headers, sampled over bytes; nothing but the archive's one spelling is needed."""
    chance = random.Random(89)  # noqa: S311 - places to look at
    places = {at for at in range(len(good)) if good.startswith(b"PK", at)}
    places |= {good.index(raw) + chance.randrange(len(raw)) for raw in read_archive(good).values() if raw}
    places |= set(chance.sample(range(len(good)), 1500))
    for at in sorted(places):
        changed = bytearray(good)
        changed[at] ^= 1 << chance.randrange(8)
        assert verified(bytes(changed)).verdict is Verdict.FAILED, at


def test_every_changed_byte_of_every_file_is_found_under_a_manifest_that_fits(good: bytes) -> None:
    """A forger makes the archive and its manifest anew; what they cannot make anew are signatures and hashes."""
    chance = random.Random(90)  # noqa: S311 - as above
    for name in sorted(read_archive(good).keys() - {MANIFEST, *PAGES}):
        raw = read_archive(good)[name]
        for at in sorted(chance.sample(range(len(raw)), min(len(raw), 8))):

            def flip(contents: Contents, name: str = name, at: int = at) -> None:
                changed = bytearray(contents[name])
                changed[at] ^= 1 << chance.randrange(8)
                contents[name] = bytes(changed)

            assert verified(spoiled(good, flip)).verdict is not Verdict.OK, (name, at)


def test_every_missing_file_is_found(good: bytes) -> None:
    for name in sorted(read_archive(good)):
        contents = read_archive(good)
        del contents[name]
        assert verified(write_archive(contents)).verdict is not Verdict.OK, name
        if name != MANIFEST:
            assert verified(spoiled(good, partial(_leave_out, name))).verdict is not Verdict.OK, name


def test_what_the_manifest_does_not_say_of_a_file_is_found_by_the_manifest_alone(good: bytes) -> None:
    """Whole archives, in which nothing else would tell: a page's bytes, a file too many, one listed and not there."""
    page, proof = PAGES[0], names(read_archive(good), ".tlog-proof")[0]
    changed = read_archive(good)
    changed[page] = changed[page][:-1] + b" "
    added = read_archive(good)
    added[proof.replace("/0", "/9")] = added[proof]
    strange = read_archive(spoiled(good, lambda contents: contents.update({"more.html": b"<!doctype html>"})))
    for contents, reason in ((changed, None), (added, "unlisted"), (strange, "archive-name")):
        report = verified(write_archive(contents))
        assert Step.MANIFEST in failed(report)
        (fault,) = (one for one in report.faults if one.step is Step.MANIFEST)
        assert fault.error.facts.get("reason") == reason
        assert fault.error.code is (ErrorCode.DIGEST_MISMATCH if reason is None else ErrorCode.MALFORMED)


def test_a_page_that_is_not_ours_is_told_and_condemns_nothing(good: bytes) -> None:
    def other(contents: Contents) -> None:
        contents["verificador.html"] = b"<!doctype html>"

    report = verified(spoiled(good, other))
    assert report.verdict is Verdict.OK
    assert Unchecked.PAGES in report.unchecked


SPOILS: dict[str, tuple[Callable[[Contents], Any], set[Step]]] = {}


def spoils(*steps: Step) -> Callable[[Callable[[Contents], Any]], Callable[[Contents], Any]]:
    def keep(spoil: Callable[[Contents], Any]) -> Callable[[Contents], Any]:
        SPOILS[spoil.__name__] = (spoil, set(steps))
        return spoil

    return keep


@spoils(Step.MANIFEST)
def a_file_more(contents: Contents) -> None:
    contents["audit-2026/notes.txt"] = b"more"


@spoils(Step.MANIFEST)
def a_file_of_a_term_that_cannot_be(contents: Contents) -> None:
    contents["audit-9999/checkpoint"] = b"more"


@spoils(Step.MANIFEST)
def a_manifest_with_another_member(contents: Contents) -> dict[str, Any]:
    return {"also": 1}


@spoils(Step.MANIFEST)
def a_manifest_for_nobody(contents: Contents) -> dict[str, Any]:
    return {"relation": "judge"}


@spoils(Step.MANIFEST)
def a_manifest_of_a_recipient_without_a_unit(contents: Contents) -> dict[str, Any]:
    return {"relation": "recipient"}


@spoils(Step.KEYS_LOG)
def a_manifest_of_another_root(contents: Contents) -> dict[str, Any]:
    return {"root": "A" * 43}


@spoils(Step.SIGNATURES, Step.RECORDS)
def a_manifest_about_another_referral(contents: Contents) -> dict[str, Any]:
    return {"ref": told().other}


@spoils(Step.INCLUSION)
def proofs_exchanged(contents: Contents) -> None:
    one, other = names(contents, ".tlog-proof")[:2]
    contents[one], contents[other] = contents[other], contents[one]


@spoils(Step.RECEIPTS)
def receipts_exchanged(contents: Contents) -> None:
    one, other = names(contents, ".receipt.json")[:2]
    contents[one], contents[other] = contents[other], contents[one]


@spoils(Step.RECEIPTS)
def the_receipt_of_another_referral(contents: Contents) -> None:
    other = read_archive(told().pack(ref=told().other))
    contents[names(contents, ".receipt.json")[0]] = other[names(other, ".receipt.json")[0]]


@spoils(Step.SIGNATURES)
def an_act_of_another_referral_with_all_that_proves_it(contents: Contents) -> None:
    other = read_archive(told().pack(ref=told().other))
    contents |= {name: raw for name, raw in other.items() if name.startswith(LOG)}


@spoils(Step.INCLUSION)
def an_act_and_a_record_in_one_place(contents: Contents) -> None:
    act, record = names(contents, ".act.json")[0], names(contents, ".record.json")[0]
    contents[act.replace(".act", ".record")] = contents[record]


@spoils(Step.STATES)
def an_act_left_out_with_all_that_belongs_to_it(contents: Contents) -> None:
    """The acknowledgement; the acceptance builds on it."""
    place = names(contents, ".act.json")[1].partition(".")[0]
    for name in [name for name in contents if name.startswith(place)]:
        del contents[name]


@spoils(Step.CHECKPOINTS)
def a_checkpoint_by_another_key(contents: Contents) -> None:
    head = parse_checkpoint(parse_note(contents[f"{LOG}/checkpoint"]).text)
    forge_head(contents, sign_checkpoint(head.origin, head.size, head.root, key("somebody/log")))


@spoils(Step.CHECKPOINTS)
def a_keys_log_without_its_last_leaf(contents: Contents) -> None:
    leaves = parse_leaves(contents["keys-log/entries"])
    contents["keys-log/entries"] = encode_leaves(leaves[:-1])


@spoils(Step.KEYS_LOG)
def a_key_that_nobody_admitted(contents: Contents) -> None:
    """The exchange holds the log key, so it could sign for such a log; the fold refuses it all the same."""
    leaves = parse_leaves(contents["keys-log/entries"])
    intruder = pw.person(OFFICER.party, "of9zzz", keyholder=True)
    body = pw.statement_body(OFFICER.party, "police_unit", [intruder]) | {"seq": 2, "prev_statement": "A" * 43}
    contents["keys-log/entries"] = encode_leaves([*leaves, *intruder.entries(), intruder.sign(Act.STATEMENT, body)])


@spoils(Step.CHECKPOINTS)
def a_policy_that_the_genesis_act_does_not_state(contents: Contents) -> None:
    contents[f"{LOG}/policy"] = contents[f"{LOG}/policy"].replace(b"quorum none", b"quorum  none")


def forge_head(contents: Contents, note: bytes) -> None:
    """Put another checkpoint below every proof of the audit log."""
    before = contents[f"{LOG}/checkpoint"]
    for name in (f"{LOG}/checkpoint", *names(contents, ".tlog-proof")):
        contents[name] = contents[name].replace(before, note)


def test_what_nothing_builds_on_can_be_left_out_unseen_and_every_pack_says_so(good: bytes) -> None:
    for ending in (".record.json", ".act.json"):
        last = names(read_archive(good), ending)[-1].partition(".")[0]

        def leave_out(contents: Contents, last: str = last) -> None:
            for name in [name for name in contents if name.startswith(last)]:
                del contents[name]

        report = verified(spoiled(good, leave_out))
        assert report.verdict is Verdict.OK
        assert Unchecked.OMISSION in report.unchecked


@pytest.mark.parametrize("name", SPOILS)
def test_a_forgers_pack_is_found_at_the_step_that_it_cannot_get_past(good: bytes, name: str) -> None:
    spoil, steps = SPOILS[name]
    assert steps <= failed(verified(spoiled(good, spoil)))


def test_a_manifest_that_another_writer_spelled_is_refused(good: bytes) -> None:
    contents = read_archive(good)
    contents[MANIFEST] = contents[MANIFEST].replace(b'"v":1', b'"v": 1')
    assert failed(verified(write_archive(contents))) == {Step.MANIFEST}


def exchange_with(act: Act, signer: pw.Someone, *, receipted: bool = True) -> bytes:
    """A pack in which the exchange, with all its keys, has logged an act that it had to refuse."""
    story = told()
    exchange = replace(story.exchange, audit=list(story.exchange.audit), records=list(story.exchange.records))
    submit = story.exchange.acts[story.ref][0][0]
    raw = build_act(
        act_id="11111111-1111-4111-8111-111111111111", iss=signer.id, aud=pw.ISSUER, iat=pw.NOW, act=act,
        ref=story.ref, unit=OFFICER.party, prev=submit.digest, body={}, signers=signer.seals,
    )  # fmt: skip
    parsed = parse_act(raw)
    receipt = build_receipt(
        iss=pw.ISSUER, act=parsed.digest, act_id=parsed.id, sub=parsed.iss, carrier=None, ref=story.ref,
        unit=OFFICER.party, time=exchange.now, code=None, states=[(OFFICER.party, "accepted", parsed.digest)],
        origin=f"{HOST}/v1/log/audit/{YEAR}", index=len(exchange.audit), signer=key("exchange/receipt"),
    )  # fmt: skip
    leaf = encode_leaf(leaf_of(raw, LeafKind.ACT, exchange.now))
    exchange.append(raw, receipt if receipted else None, leaf)
    return build_pack(evidence_of(exchange, story.ref, "auditor", None), exchange.log.keymap)


def test_an_act_that_the_lifecycle_forbids_is_found_though_the_exchange_signed_for_it() -> None:
    assert failed(verified(exchange_with(Act.ACCEPT, OFFICER))) == {Step.STATES}


def test_an_act_without_its_receipt_is_incomplete() -> None:
    report = verified(exchange_with(Act.ACCEPT, OFFICER, receipted=False))
    assert (report.verdict, report.outcome(Step.RECEIPTS)) == (Verdict.INCOMPLETE, Verdict.INCOMPLETE)


def test_an_act_that_somebody_else_signed_is_found() -> None:
    impostor = replace(OFFICER, generation=2)
    assert failed(verified(exchange_with(Act.ACCEPT, impostor))) == {Step.SIGNATURES}


def test_cosignatures_count_under_the_readers_own_policy(good: bytes) -> None:
    one, other, third = (witness(f"{name}.example") for name in ("one", "other", "third"))
    policy = policy_of(2, [one, other, third])
    for too_few in ((), (one,)):
        report = verify_pack(witnessed(good, *too_few), told().root, policy)
        assert (report.verdict, report.outcome(Step.WITNESSES)) == (Verdict.INCOMPLETE, Verdict.INCOMPLETE)
    report = verify_pack(witnessed(good, one, other), told().root, policy)
    assert (report.verdict, report.outcome(Step.WITNESSES)) == (Verdict.OK, Verdict.OK)
    assert Unchecked.WITNESSES not in report.unchecked
    assert report.heads["keys"].witnesses() == {"one.example", "other.example"}


def test_a_policy_for_another_log_or_with_the_logs_own_key_is_refused(good: bytes) -> None:
    one = witness("one.example")
    elsewhere = VerifierKey("elsewhere.example/log", SignatureType.ED25519, one.public)
    assert failed(verify_pack(good, told().root, policy_of(1, [one], [elsewhere]))) >= {Step.CHECKPOINTS}
    assert verify_pack(good, told().root, Policy()).verdict is Verdict.OK


def test_what_is_no_pack_fails_at_the_first_step() -> None:
    for raw in (b"", b"PK", b"not a zip", write_archive({"a": b"b"})):
        report = verify_pack(raw)
        assert report.verdict is Verdict.FAILED or report.faults[0].error.code is ErrorCode.NOT_FOUND
        assert report.outcome(Step.SIGNATURES) is Verdict.NOT_REACHED


def test_a_manifest_lists_digests_as_other_peoples_tools_print_them(good: bytes) -> None:
    manifest = read_manifest(read_archive(good)[MANIFEST])
    document = parse(read_archive(good)[MANIFEST], max_bytes=1 << 20)
    assert canonical(document) == read_archive(good)[MANIFEST]
    assert manifest.files.keys() == read_archive(good).keys() - {MANIFEST}
    assert (manifest.issuer, manifest.relation, manifest.unit) == (pw.ISSUER, "auditor", None)
    assert HOST in manifest.issuer


def _leave_out(name: str, contents: Contents) -> None:
    del contents[name]


def test_the_quorum_that_the_genesis_act_names_is_asked_for() -> None:
    three = [witness(f"{name}.example") for name in ("one", "other", "third")]
    story = told(*three)
    outcomes = [verified(witnessed(story.pack(), *three[:count]), story.root).verdict for count in range(4)]
    assert outcomes == [Verdict.INCOMPLETE, Verdict.INCOMPLETE, Verdict.OK, Verdict.OK]
    forged = verified(witnessed(story.pack(), *three, forged=True), story.root)
    assert Step.CHECKPOINTS in failed(forged)
