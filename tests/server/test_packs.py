"""`GET /v1/evidence/{ref}` over HTTP: what is in a pack, for whom, and that it is on the record first (R-89, R-52)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from referral_api.auditlog.container import read_archive
from referral_api.auditlog.pack import bundles_of, read_manifest
from referral_api.auditlog.pack_verification import Step, verify_pack
from referral_api.auditlog.records import PackRead, Retrieved, parse_record
from referral_api.auditlog.report import Verdict
from referral_api.domain.words import Act
from referral_api.formats.strict_json import sha256_b64u, unb64u
from tests.signing import sign
from tests.world import NATIONAL, UNIT, World


@pytest.fixture(scope="module")
def story(served: World) -> Iterator[tuple[World, str]]:
    ref = str(served.submit().outgoing.ref)
    opened = served.open("officer", ref)
    served.after(served.officer.acknowledge(opened))
    served.act("officer", ref, Act.ACCEPT)
    served.act("operator", ref, Act.NOTE, unit=UNIT, note="Una nota.")
    yield served, ref
    served.check()


def pack_of(world: World, who: str, ref: str) -> bytes:
    answer = world.caller(who).call("GET", f"/v1/evidence/{ref}")
    assert answer.status == 200, answer.body
    assert answer.headers["content-type"] == "application/zip"
    assert answer.headers["cache-control"] == "no-store"
    return answer.body


def test_every_reader_gets_a_pack_that_verifies_under_the_root(story: tuple[World, str]) -> None:
    world, ref = story
    root = unb64u(world.operator.profile.root)
    for who, relation in (
        ("auditor", "auditor"),
        ("operator", "sender"),
        ("calls", "sender"),
        ("officer", "recipient"),
    ):
        raw = pack_of(world, who, ref)
        report = verify_pack(raw, root)
        assert report.verdict is Verdict.OK, (who, report.faults)
        manifest = read_manifest(read_archive(raw)["manifest.json"])
        assert (manifest.ref, manifest.relation, manifest.unit) == (ref, relation, UNIT if who == "officer" else None)
        assert report.outcome(Step.STATES) is Verdict.OK


def test_a_pack_shows_exactly_the_acts_that_the_referral_itself_shows(story: tuple[World, str]) -> None:
    world, ref = story
    for who in ("auditor", "operator", "officer"):
        viewed = world.caller(who).call("GET", f"/v1/referrals/{ref}").json
        packed = [one.act for one in bundles_of(read_archive(pack_of(world, who, ref))) if one.act is not None]
        assert packed == [one["act"].encode() for one in viewed["acts"]], who


def test_a_unit_is_told_of_its_own_retrieval_alone_and_an_auditor_of_every_read(story: tuple[World, str]) -> None:
    world, ref = story
    pack_of(world, "auditor", ref)  # What was read before stands in the next pack.
    records = {
        who: [parse_record(one.record) for one in bundles_of(read_archive(pack_of(world, who, ref))) if one.record]
        for who in ("auditor", "operator", "officer")
    }
    for who in ("operator", "officer"):
        assert {type(one) for one in records[who]} == {Retrieved}
        assert all(isinstance(one, Retrieved) and (one.unit, one.sealed) == (UNIT, "bundle") for one in records[who])
    assert len({type(one) for one in records["auditor"]}) >= 3
    raw = pack_of(world, "officer", ref)
    assert NATIONAL.encode() not in b"".join(one.record or b"" for one in bundles_of(read_archive(raw)))


def test_that_a_pack_was_handed_out_is_on_the_record_with_its_digest(story: tuple[World, str]) -> None:
    world, ref = story
    given = pack_of(world, "operator", ref)
    later = bundles_of(read_archive(pack_of(world, "auditor", ref)))
    records = [parse_record(one.record) for one in later if one.record is not None]
    found = [one for one in records if isinstance(one, PackRead) and one.digest == sha256_b64u(given)]
    assert [(one.ref, one.party) for one in found] == [(ref, world.operator.profile.party)]


def test_a_referral_that_is_not_yours_is_none(story: tuple[World, str]) -> None:
    world, ref = story
    for who in ("stranger", "national", "colleague", "inspector", "registrar"):
        assert world.caller(who).call("GET", f"/v1/evidence/{ref}").status == 404, who
    nobody = ref[:-4] + "0000"
    assert world.caller("auditor").call("GET", f"/v1/evidence/{nobody}").status == 404


def test_a_refused_act_is_in_the_pack_of_who_sent_it_and_of_auditors(story: tuple[World, str]) -> None:
    world, ref = story
    head = world.officer.referral(ref).chronicle.deliveries[UNIT].head
    act_id, text = sign(world.officer, Act.ACCEPT, {}, ref, unit=UNIT, prev=head)
    assert world.caller("officer").call("PUT", f"/v1/referrals/{ref}/acts/{act_id}", {"act": text}).status == 409
    for who, shown in (("officer", True), ("auditor", True), ("operator", False)):
        raw = pack_of(world, who, ref)
        assert (text.encode() in [one.act for one in bundles_of(read_archive(raw))]) is shown, who
        assert verify_pack(raw, unb64u(world.operator.profile.root)).verdict is Verdict.OK, who
