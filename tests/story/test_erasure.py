"""Lawful erasure: records go, the log stays, and an auditor tells it from records that merely vanished (R-99)."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from referral_api.auditlog.verification import Check, RawRecord, Report, Verdict
from referral_api.client.audit import inspection, verifying
from referral_api.client.audit.kept import Kept
from referral_api.client.audit.sources import HttpSource, MirrorSource
from referral_api.client.sdk import Client
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.terms import Term
from referral_api.domain.words import Act, KeyUse
from referral_api.formats.act import build_act, parse_act
from referral_api.formats.keys import SigningKey
from referral_api.formats.strict_json import canonical
from referral_api.server.service import ledger
from referral_api.server.service.batch import Batch, Done
from referral_api.server.service.erasure import Erasure
from referral_api.server.storage import erasures
from tests.auditlog.refusals import refused
from tests.cli.shell import Shell
from tests.wire import Answer
from tests.world import UNIT, World
from tests.world_check import Rows


def places(world: World, ref: str) -> tuple[Term, list[int]]:
    """Term and indices of every leaf about a referral that may be erased."""
    rows = Rows(world)
    found = [row["pos"] for table in ("act", "record") for row in rows[table] if row["ref"] == ref]
    return Term(found[0] >> 40), sorted(pos & ((1 << 40) - 1) for pos in found)


def erase(world: World, ref: str, indices: list[int] | None = None) -> tuple[Term, list[int]]:
    """Erase a referral's records, all of them if none are named."""
    term, every = places(world, ref)
    exchange, wanted = world.server.runtime.exchange, every if indices is None else indices
    done = world.server.runtime.writer.run(Erasure(exchange, ref, term, wanted, "retention_ended"))
    assert done.proof is not None
    return term, wanted


def lived(world: World) -> str:
    """A referral that was sent, fetched, acknowledged and accepted."""
    ref = str(world.submit().outgoing.ref)
    world.acknowledge("officer", ref)
    world.act("officer", ref, Act.ACCEPT, {})
    world.act("officer", ref, Act.STATUS, {"code": "registered"})
    return ref


def reasons(report: Report, check: Check = Check.RECORDS) -> list[Any]:
    """Why a check did not hold."""
    return [fault.error.facts.get("reason") for fault in report.faults if fault.check is check]


def test_after_an_erasure_everything_else_verifies_and_the_states_stand(world: World, tmp_path: Path) -> None:
    gone, kept = lived(world), lived(world)
    sent = [entry for entry in world.operator.outbox.entries() if entry.outgoing.ref == gone]
    assert world.auditor.audit().complete, "the head before is pinned"
    world.auditor.mirror(tmp_path / "before")
    _, indices = erase(world, gone)
    world.check()
    assert world.auditor.audit(tmp_path / "before").complete, "what was copied before verifies as it did"

    report = world.auditor.audit()
    assert report.complete, report.faults
    assert report.erased == len(indices)
    state = next(one for one in report.final_states[gone] if one.unit == UNIT)
    assert (state.state, state.investigation) == ("accepted", "registered")
    assert report.chronicles[kept].deliveries[UNIT].state == "accepted"
    world.auditor.mirror(tmp_path / "after")
    assert world.auditor.audit(tmp_path / "after").complete

    # A receipt and its proof that were given out before are worth what they were, against every later head.
    for entry in sent:
        assert entry.receipt is not None
        assert entry.proof is not None
        world.operator.verify_receipt(entry.outgoing.jws, entry.receipt, entry.proof)

    # Nothing of it is left with the exchange.
    rows = Rows(world)
    for table in ("record", "sealed", "feed", "delivery", "referral"):
        assert not any(gone in str(row) for row in rows[table]), table
    assert [row["act"] for row in rows["act"] if row["ref"] == gone] == ["erase"]
    assert world.caller("officer").call("GET", f"/v1/referrals/{gone}").status == 404
    assert world.operator.referral(kept).chronicle.deliveries


def test_a_copy_that_is_brought_up_to_date_forgets_what_was_erased_and_verifies(world: World, tmp_path: Path) -> None:
    gone, mirror = lived(world), tmp_path / "mirror"
    kept = Kept(world.auditor.directory).copy
    assert world.auditor.audit_since(trust_first=True).complete
    world.auditor.mirror(mirror)
    text = next(row["jws"] for row in Rows(world)["act"] if row["ref"] == gone and row["act"] == "ack")
    assert all(holds(path, text) for path in (mirror, kept))
    _, indices = erase(world, gone)
    lived(world)

    report = world.auditor.audit_since()
    assert report.complete, report.faults
    assert report.erased == len(indices)
    world.auditor.mirror(mirror)
    assert not any(holds(path, text) for path in (mirror, kept))
    for path in (kept, mirror):  # The older one first: nothing may be behind what is pinned.
        report = world.auditor.audit(path)
        assert report.complete, report.faults
        assert report.erased == len(indices)
    for _ in range(2):  # On top of a copy with what was erased missing from its midst.
        lived(world)
        report = world.auditor.audit_since()
        assert report.complete, report.faults


def test_who_lists_records_sees_what_is_withheld_and_not_what_was_erased(world: World) -> None:
    gone = lived(world)
    term, indices = erase(world, gone)
    lived(world)
    session = world.auditor.session
    shown = [item.index for item in inspection.search(session, term, 0, {})]
    assert sorted({*shown, *indices}) == list(range(len(shown) + len(indices)))
    withheld = shown[-3]

    def withhold(answer: Answer) -> Answer:
        if answer.status != 200:
            return answer
        kept = [one for one in answer.json["records"] if one["index"] != withheld]
        return answer.with_json(answer.json | {"records": kept})

    world.wires["auditor"].lies["/v1/records/"] = withhold
    with pytest.raises(ReferralError) as caught:
        list(inspection.search(session, term, 0, {}))
    assert caught.value.code is ErrorCode.NOT_FOUND
    assert (caught.value.facts["what"], caught.value.facts["index"]) == ("record", withheld)
    listed = Shell(world.folder, world.server.url).run("auditor", "audit", "records", "--limit", "1000")
    assert listed.exit == 0, "the exchange itself withholds nothing"


def test_the_auditors_commands_say_what_was_erased_and_how_it_ended(world: World) -> None:
    gone = lived(world)
    _, indices = erase(world, gone)
    shell = Shell(world.folder, world.server.url)
    for words in (("verify",), ("explain",), ("explain", "--full")):
        told = shell.run("auditor", "audit", *words)
        assert told.exit == 0, told
        assert f"{len(indices)} hojas" in told.out
        assert f"{gone}  {UNIT}: tomada" in told.out
    found = shell.run("auditor", "audit", "verify", "--json").json
    state = next(one for one in found["final_states"][gone] if one["unit"] == UNIT)
    assert (found["erased"], state["investigation"]) == (len(indices), "registered")
    # The report is a file, and may be anybody's: what was written into it is not put on a screen.
    path = world.folder / "informe.json"
    forged = found | {"final_states": {"\x1b[2J": found["final_states"][gone]}}
    for document, exit_code in ((found, 0), (forged, 2)):
        path.write_bytes(canonical(document))
        assert shell.run("auditor", "audit", "explain", str(path)).exit == exit_code


def test_a_copy_in_which_a_record_merely_vanished_is_not_built_on(world: World) -> None:
    lived(world)
    assert world.auditor.audit_since(trust_first=True).complete
    (block,) = (Kept(world.auditor.directory).copy / "audit").glob("*/records/*")
    records = json.loads(block.read_bytes())
    block.write_bytes(canonical([one for one in records if one["index"] != 4]))
    (fault,) = world.auditor.audit_since().faults
    assert (fault.index, fault.error.code, fault.error.facts["what"]) == (4, ErrorCode.TAMPERED, "kept-copy")


class Lying(HttpSource):
    """An exchange that hands out a record that it says it has erased."""

    def __init__(self, client: Client, still: RawRecord) -> None:
        super().__init__(client.session)
        self._still = still

    def records(self, term: Term, start: int, count: int) -> list[RawRecord]:
        found = super().records(term, start, count)
        return [self._still, *found] if start <= self._still.index < start + count else found


def test_an_exchange_that_still_hands_out_what_it_erased_is_found_by_what_is_new(world: World) -> None:
    ref, auditor = lived(world), world.auditor
    assert auditor.audit_since(trust_first=True).complete
    term, (first, *_) = places(world, ref)
    (still,) = MirrorSource(Kept(auditor.directory).copy).records(term, first, 1)
    erase(world, ref)
    report = verifying.verify_since(auditor.session, Lying(auditor, still), [term], trust_first=False)
    assert [(fault.log, fault.index) for fault in report.faults] == [(term.log, first)]
    assert reasons(report) == ["present"]
    assert auditor.audit_since().complete


def holds(mirror: Path, text: str) -> bool:
    """Whether a mirror has this record anywhere."""
    blocks = [json.loads(path.read_bytes()) for path in mirror.glob("audit/*/records/*")]
    return any(one["record"] == text for block in blocks for one in block)


def test_a_part_of_a_referral_can_go_and_the_rest_is_not_called_wrong(world: World) -> None:
    ref = lived(world)
    _, every = places(world, ref)
    erase(world, ref, every[2:4])
    world.check()
    assert world.auditor.audit().complete


def test_what_is_gone_and_what_is_no_referrals_cannot_be_erased(world: World) -> None:
    ref, other = lived(world), lived(world)
    _, every = places(world, ref)
    _, others = places(world, other)
    refused(ErrorCode.NOT_FOUND, lambda: erase(world, ref, [*every, others[0]]))
    refused(ErrorCode.NOT_FOUND, lambda: erase(world, ref, [0]))
    refused(ErrorCode.NOT_FOUND, lambda: erase(world, ref, [every[-1] + 10_000]))
    assert Rows(world)["erasure"] == [], "a refused erasure took something"
    erase(world, ref, every[3:4])
    assert refused(ErrorCode.ILLEGAL_TRANSITION, lambda: erase(world, ref, every[3:4])) == "erased"
    act = next(row for row in Rows(world)["act"] if row["act"] == "erase")
    assert refused(ErrorCode.TAMPERED, lambda: erase(world, ref, [act["pos"] & ((1 << 40) - 1)])) == "not-erasable"
    world.check()


def delete(world: World, pos: int) -> None:
    """What somebody with the database's file in hand does: no trigger stops its owner."""
    world.server.stop()
    with closing(sqlite3.connect(world.settings.data_dir / "exchange.sqlite")) as connection:
        triggers = connection.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'").fetchall()
        for name, _ in triggers:
            connection.execute(f"DROP TRIGGER {name}")
        connection.execute("DELETE FROM record WHERE pos = ?", (pos,))
        for _, sql in triggers:
            connection.execute(sql)
        connection.commit()
    world.server.start()


def audited(world: World) -> Report:
    """What an auditor finds."""
    world.auditor.sync_keys()
    return world.auditor.audit()


@pytest.fixture
def spoilt(founded: Any, tmp_path: Path) -> Any:
    """An exchange whose operator is not honest: nobody checks it at the end."""
    with World(founded, tmp_path / "world") as world:
        yield world


def test_a_record_that_merely_vanished_is_incomplete_and_told_from_an_erased_one(spoilt: World) -> None:
    gone, other = lived(spoilt), lived(spoilt)
    _, indices = erase(spoilt, gone)
    victim = next(row["pos"] for row in Rows(spoilt)["record"] if row["ref"] == other)
    delete(spoilt, victim)
    report = audited(spoilt)
    assert not report.complete
    assert report.verdict(Check.RECORDS) is Verdict.INCOMPLETE
    missing = [fault.index for fault in report.faults if fault.check is Check.RECORDS]
    assert missing == [victim & ((1 << 40) - 1)]
    assert report.erased == len(indices)


def forge(world: World, ref: str, indices: list[int], signer: SigningKey | None = None, **changes: Any) -> None:
    """An erase act such as a dishonest exchange could put into its log; the records go with it only if asked."""
    runtime, take = world.server.runtime, changes.pop("take", True)
    exchange = runtime.exchange
    term, _ = places(world, ref)
    body = {"origin": exchange.audit_origin(term), "indices": indices, "basis": "retention_ended", "states": []}
    raw = build_act(
        act_id=str(world.operator.session.ambient.act_id()), iss=changes.pop("iss", exchange.credential),
        aud=exchange.issuer, iat=int(world.clock()), act=Act.ERASE, ref=ref, unit=None, prev=None,
        body=body | changes, signers=[signer or exchange.keyring.signer(KeyUse.ACT, int(world.clock()))],
    )  # fmt: skip

    def job(batch: Batch) -> Done[None]:
        act = parse_act(raw)
        place, _ = ledger.store(batch, exchange, ledger.Entry(act, None, None, ()))
        if take:
            erasures.erase_behind(batch.tx, [(term.year << 40) + at for at in indices], act.digest, ())
        return Done(None, place)

    runtime.writer.run(job)


def test_an_erase_act_that_the_exchange_did_not_sign_excuses_nothing(spoilt: World) -> None:
    ref = lived(spoilt)
    _, every = places(spoilt, ref)
    seal = next(key for key in spoilt.officer.keys.signers() if key.alg.value == "Ed25519")
    forge(spoilt, ref, every[2:4], signer=seal)
    report = audited(spoilt)
    assert report.verdict(Check.SIGNATURES) is Verdict.FAILED
    assert report.verdict(Check.RECORDS) is Verdict.INCOMPLETE
    assert report.erased == 0


def test_an_erase_act_of_a_party_excuses_nothing(spoilt: World) -> None:
    ref = lived(spoilt)
    _, every = places(spoilt, ref)
    forge(spoilt, ref, every[-1:], iss=str(spoilt.officer.keys.credential), signer=spoilt.officer.keys.signers()[0])
    report = audited(spoilt)
    assert report.verdict(Check.RECORDS) is Verdict.INCOMPLETE
    assert not report.complete
    assert report.erased == 0


def test_acts_that_name_what_they_must_not_are_faults(spoilt: World) -> None:
    ref = lived(spoilt)
    _, every = places(spoilt, ref)
    forge(spoilt, ref, every[2:3], take=False)
    assert reasons(audited(spoilt)) == ["present"]
    forge(spoilt, ref, every[2:3], take=True)
    assert reasons(audited(spoilt)) == ["twice"]
    here = len(Rows(spoilt).logs[f"audit/{places(spoilt, ref)[0]}"])
    forge(spoilt, ref, [here], take=False)
    assert "range" in reasons(audited(spoilt)), "an act names itself"
    forge(spoilt, ref, [2**50], take=False)
    forge(spoilt, ref, every[3:4], take=False, origin="other.example/v1/log/audit/2026")
    found = reasons(audited(spoilt))
    assert found.count("range") == 2
    assert "origin" in found


@pytest.mark.parametrize("index", [0, "erase"], ids=["the genesis record", "another erase act"])
def test_a_leaf_of_the_logs_own_cannot_be_erased(spoilt: World, index: Any) -> None:
    ref = lived(spoilt)
    _, every = places(spoilt, ref)
    erase(spoilt, ref, every[2:3])
    if index == "erase":
        index = next(row["pos"] for row in Rows(spoilt)["act"] if row["act"] == "erase") & ((1 << 40) - 1)
    forge(spoilt, ref, [index])
    assert "not-erasable" in reasons(audited(spoilt))
