"""Verification of what is new (R-94, R-95): sound only on a copy that is what was verified, and only ever forwards."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from referral_api.auditlog.checkpoint import sign_checkpoint
from referral_api.auditlog.leaf import LeafKind, encode_leaf, leaf_of
from referral_api.auditlog.merkle import Frontier, leaf_hash
from referral_api.auditlog.report import Check, Report, Verdict
from referral_api.auditlog.tiles import TILE_WIDTH
from referral_api.client.audit.kept import Kept
from referral_api.client.sdk import Client
from referral_api.domain.errors import ErrorCode
from referral_api.domain.words import Act, State
from referral_api.formats.act import build_act, parse_act
from tests.client.clients import Clients, refused, sent
from tests.client.test_audit import story
from tests.client.world import AUDIT, HOST, OFFICER, SimulatedExchange
from tests.formats import parties_world as pw
from tests.formats.parties_world import NOW, key

ORIGIN = f"{HOST}/v1/log/{AUDIT}"


def told(report: Report) -> list[tuple[Check, int | None, ErrorCode, Any]]:
    return [
        (one.check, one.index, one.error.code, one.error.facts.get("reason") or one.error.facts.get("what"))
        for one in report.faults
    ]


@pytest.fixture
def auditor(clients: Clients) -> Client:
    """An auditor who has verified a whole story once, and trusted it."""
    story(clients)
    auditor = clients.auditor()
    assert auditor.audit_since(trust_first=True).complete
    return auditor


def kept_head(auditor: Client) -> int:
    return Kept(auditor.directory).heads()[ORIGIN].size


def test_the_first_time_is_refused_unless_it_is_said_that_it_is_the_first(clients: Clients) -> None:
    story(clients)
    auditor = clients.auditor()
    with refused(ErrorCode.NOT_FOUND, "audit-state"):
        auditor.audit_since()
    assert not Kept(auditor.directory).heads()


def test_what_was_verified_is_not_asked_for_again_and_what_is_new_is_verified(
    clients: Clients, exchange: SimulatedExchange, auditor: Client
) -> None:
    before = len(exchange.audit)
    assert kept_head(auditor) == before
    ref = story(clients)
    queries: list[str] = []
    honest = exchange.answer

    def listen(request: Any, path: str) -> tuple[int, Any]:
        queries.append(f"{path}?{request.url.query.decode()}")
        return honest(request, path)

    exchange.answer = listen  # type: ignore[method-assign]
    report = auditor.audit_since()
    assert told(report) == []
    assert report.complete
    assert report.relied == {"keys": len(exchange.log.leaves), AUDIT: before}
    assert report.chronicles[ref].deliveries[OFFICER.party].state is State.ACCEPTED
    assert len(report.chronicles) == 2
    asked = [one for one in queries if one.startswith("/v1/records/2026?")]
    assert asked == [f"/v1/records/2026?from={before}&limit={len(exchange.audit) - before}"]
    assert kept_head(auditor) == len(exchange.audit)
    assert auditor.audit(Kept(auditor.directory).copy).complete


def test_it_goes_on_when_nothing_is_new(auditor: Client) -> None:
    size = kept_head(auditor)
    assert auditor.audit_since().complete
    assert kept_head(auditor) == size


def test_a_tile_that_was_changed_in_the_kept_copy_is_told_of_this_machine_alone(
    auditor: Client,
) -> None:
    tile = next(one for one in (Kept(auditor.directory).copy / AUDIT / "tile" / "0").rglob("*") if one.is_file())
    tile.write_bytes(bytes([tile.read_bytes()[0] ^ 1]) + tile.read_bytes()[1:])
    assert told(auditor.audit_since()) == [(Check.GROWTH, None, ErrorCode.TAMPERED, "kept-copy")]


def test_a_new_act_with_a_false_signature_is_found_and_nothing_advances(
    clients: Clients, exchange: SimulatedExchange, auditor: Client
) -> None:
    size = kept_head(auditor)
    ref = sent(clients)
    raw = build_act(
        act_id="11111111-1111-4111-8111-111111111111", iss=OFFICER.id, aud=pw.ISSUER, iat=NOW, act=Act.STATUS, ref=ref,
        unit=OFFICER.party, prev=exchange.acts[ref][0][0].digest, body={"code": "registered"},
        signers=pw.person("pnp-otra", "xx1aaa").seals,
    )  # fmt: skip
    exchange.append(raw, None, encode_leaf(leaf_of(raw, LeafKind.ACT, NOW)))
    report = auditor.audit_since()
    assert report.verdict(Check.SIGNATURES) is Verdict.FAILED
    assert kept_head(auditor) == size
    assert not (auditor.directory.audit / "incoming").exists()


def test_an_old_signature_is_not_verified_again_but_everything_else_about_it_is(
    clients: Clients, exchange: SimulatedExchange, auditor: Client
) -> None:
    """The receipt is in no leaf: one that is swapped in the kept copy is found by its own signature."""
    assert auditor.audit_since().complete
    (block,) = (Kept(auditor.directory).copy / AUDIT / "records").iterdir()
    text = block.read_text()
    at = text.rindex('\\"signature\\":\\"', 0, text.rindex('"receipt"') + 4000) + len('\\"signature\\":\\"')
    changed = text[:at] + ("A" if text[at] != "A" else "B") + text[at + 1 :]
    block.write_text(changed)
    report = auditor.audit_since()
    assert not report.complete
    assert report.failed


@pytest.mark.parametrize("what", ["record", "entries", "checkpoint", "gone"])
def test_a_copy_that_was_changed_here_is_told_from_an_exchange_that_lies(auditor: Client, what: str) -> None:
    copy = Kept(auditor.directory).copy / AUDIT
    size = kept_head(auditor)
    if what == "gone":
        shutil.rmtree(copy)
    elif what == "checkpoint":
        (copy / "checkpoint").write_bytes(b"x")
    else:
        folder = copy / ("records" if what == "record" else "tile/entries")
        target = next(path for path in folder.rglob("*") if path.is_file())
        raw = bytearray(target.read_bytes())
        place = raw.index(b"kid") + 12 if what == "record" else len(raw) // 2
        raw[place] = ord("A") if raw[place] != ord("A") else ord("B")
        target.write_bytes(bytes(raw))
    report = auditor.audit_since()
    assert [(code, facts) for _, _, code, facts in told(report)] == [(ErrorCode.TAMPERED, "kept-copy")]
    assert kept_head(auditor) == size


def test_a_state_moved_forward_by_somebody_else_covers_leaves_that_are_not_in_the_copy(auditor: Client) -> None:
    path = auditor.directory.audit / "verified.json"
    path.write_text(path.read_text().replace(f'"size":{kept_head(auditor)}', f'"size":{kept_head(auditor) + 1}'))
    assert told(auditor.audit_since()) == [(Check.GROWTH, None, ErrorCode.TAMPERED, "kept-copy")]


def test_a_state_that_is_no_state_is_not_started_over_in_silence(auditor: Client) -> None:
    (auditor.directory.audit / "verified.json").write_text("{}")
    with refused(ErrorCode.KEYSTORE_CORRUPT, "contents"):
        auditor.audit_since(trust_first=True)


def roll_back(exchange: SimulatedExchange) -> None:
    exchange.audit, exchange.records = exchange.audit[:-1], exchange.records[:-1]


def fork(exchange: SimulatedExchange) -> None:
    leaf = exchange.audit[-1]
    exchange.audit[-1] = leaf.replace(b'"v":1', b'"v":1').replace(b'"t":1', b'"t":2')
    exchange.append(b"{}", None, encode_leaf(leaf_of(b"{}", LeafKind.SYSTEM, exchange.now)))


def sign_two(exchange: SimulatedExchange) -> None:
    exchange.audit[-1] = exchange.audit[-1].replace(b'"t":1', b'"t":2')


@pytest.mark.parametrize(("lie", "reason"), [(roll_back, "shrunk"), (fork, "forked"), (sign_two, "forked")])
def test_another_history_is_called_by_its_name_and_shown_with_both_checkpoints(
    exchange: SimulatedExchange, auditor: Client, lie: Callable[[SimulatedExchange], None], reason: str
) -> None:
    size = kept_head(auditor)
    lie(exchange)
    report = auditor.audit_since(trust_first=True)
    assert told(report) == [(Check.GROWTH, None, ErrorCode.INCONSISTENT, reason)]
    assert report.faults[0].exhibits["checkpoint"] == exchange.checkpoint(AUDIT)
    assert kept_head(auditor) == size
    earlier = Kept(auditor.directory).find_checkpoint(AUDIT)
    assert earlier is not None
    assert f"\n{size}\n".encode() in earlier


def test_many_leaves_over_several_bundles_advance_step_by_step(
    clients: Clients, exchange: SimulatedExchange, auditor: Client
) -> None:
    ref = story(clients)
    submit = exchange.acts[ref][0][0].digest
    for step in range(2):
        for number in range(150):
            exchange.accept(
                build_act(
                    act_id=f"{step:04d}{number:04d}-1111-4111-8111-111111111111", iss=OFFICER.id, aud=pw.ISSUER,
                    iat=NOW, act=Act.STATUS, ref=ref, unit=OFFICER.party, prev=submit, body={"code": "registered"},
                    signers=OFFICER.seals,
                )
            )  # fmt: skip
        before = kept_head(auditor)
        report = auditor.audit_since()
        assert told(report) == []
        assert report.relied[AUDIT] == before
        assert kept_head(auditor) == len(exchange.audit)
    assert len(exchange.audit) > TILE_WIDTH
    assert auditor.audit(Kept(auditor.directory).copy).complete


def test_two_heads_of_one_size_never_replace_each_other(auditor: Client) -> None:
    kept = Kept(auditor.directory)
    head = kept.heads()[ORIGIN]
    with pytest.raises(RuntimeError, match="only advances"):
        kept.advance({ORIGIN: type(head)(ORIGIN, head.size - 1, head.root)})
    with pytest.raises(RuntimeError, match="only advances"):
        kept.advance({ORIGIN: type(head)(ORIGIN, head.size, b"x" * 32)})


def mirrored(path: Path) -> set[str]:
    return {str(one.relative_to(path)) for one in path.rglob("*") if one.is_file()}


def test_a_mirror_grows_twice_in_a_row_and_drops_the_partial_tiles_of_before(
    clients: Clients, exchange: SimulatedExchange, tmp_path: Path
) -> None:
    story(clients)
    auditor = clients.auditor()
    auditor.mirror(tmp_path / "m")
    small = mirrored(tmp_path / "m")
    for number in range(300):
        record = b"%d" % number
        exchange.append(record, None, encode_leaf(leaf_of(record, LeafKind.SYSTEM, NOW)))
    sizes = auditor.mirror(tmp_path / "m")
    grown = mirrored(tmp_path / "m")
    fresh = tmp_path / "fresh"
    auditor.mirror(fresh)
    assert grown == mirrored(fresh) != small
    assert all((tmp_path / "m" / one).read_bytes() == (fresh / one).read_bytes() for one in grown)
    assert sizes[AUDIT] == len(exchange.audit)


def test_a_mirror_that_was_interrupted_is_the_older_one_and_is_brought_up_to_date(
    clients: Clients, exchange: SimulatedExchange, tmp_path: Path
) -> None:
    story(clients)
    auditor = clients.auditor()
    auditor.mirror(tmp_path)
    before = (tmp_path / AUDIT / "checkpoint").read_bytes()
    story(clients)
    exchange.refusals["/v1/records/"] = (503, {"code": "unavailable", "retry": "same"})
    with refused(ErrorCode.UNAVAILABLE):
        auditor.mirror(tmp_path)
    exchange.refusals.clear()
    assert (tmp_path / AUDIT / "checkpoint").read_bytes() == before
    assert auditor.audit(tmp_path).complete
    auditor.mirror(tmp_path)
    assert auditor.audit(tmp_path).complete
    assert (tmp_path / AUDIT / "checkpoint").read_bytes() == exchange.checkpoint(AUDIT)


@pytest.mark.parametrize(("lie", "reason"), [(roll_back, "shrunk"), (fork, "forked|hash|root"), (sign_two, "forked")])
def test_a_mirror_never_goes_back_and_never_forks(
    clients: Clients,
    exchange: SimulatedExchange,
    tmp_path: Path,
    lie: Callable[[SimulatedExchange], None],
    reason: str,
) -> None:
    story(clients)
    auditor = clients.auditor()
    auditor.mirror(tmp_path)
    before = {name: (tmp_path / name).read_bytes() for name in mirrored(tmp_path)}
    lie(exchange)
    with refused(ErrorCode.INCONSISTENT, reason):
        auditor.mirror(tmp_path)
    assert {name: (tmp_path / name).read_bytes() for name in mirrored(tmp_path)} == before


@pytest.mark.parametrize("part", ["tile/0/", "tile/entries/", "/v1/records/"])
def test_a_mirror_keeps_no_byte_that_does_not_belong_to_the_signed_tree(
    clients: Clients, exchange: SimulatedExchange, tmp_path: Path, part: str
) -> None:
    story(clients)
    auditor = clients.auditor()
    auditor.sync_keys()

    def lie(status: int, answer: Any) -> tuple[int, Any]:
        if isinstance(answer, dict):
            records = [one | {"record": one["record"] + " "} for one in answer["records"]]
            return status, {"records": records}
        media, raw = answer
        return status, (media, raw[:-1] + bytes([raw[-1] ^ 1]))

    exchange.lies[part] = lie
    with refused(ErrorCode.TAMPERED):
        auditor.mirror(tmp_path)
    written = {name for name in mirrored(tmp_path) if part.strip("/").rsplit("v1/")[-1] in name}
    assert not written


def test_a_full_tile_is_kept_only_where_the_one_above_it_has_its_root(
    clients: Clients, exchange: SimulatedExchange, tmp_path: Path
) -> None:
    story(clients)
    for number in range(TILE_WIDTH):
        record = b"%d" % number
        exchange.append(record, None, encode_leaf(leaf_of(record, LeafKind.SYSTEM, NOW)))
    auditor, full = clients.auditor(), f"{AUDIT}/tile/0/000"
    auditor.sync_keys()
    exchange.lies[f"/{full}"] = lambda status, answer: (status, (answer[0], bytes([answer[1][0] ^ 1]) + answer[1][1:]))
    with refused(ErrorCode.TAMPERED, "tile"):
        auditor.mirror(tmp_path)
    assert full not in mirrored(tmp_path)
    exchange.lies.clear()
    auditor.mirror(tmp_path)
    assert full in mirrored(tmp_path)


def test_a_second_signed_checkpoint_of_one_size_is_evidence(exchange: SimulatedExchange, auditor: Client) -> None:
    root = Frontier().extend([leaf_hash(b"x")] * len(exchange.audit)).root()
    forged = sign_checkpoint(ORIGIN, len(exchange.audit), root, key("exchange/log"))
    exchange.lies[f"/{AUDIT}/checkpoint"] = lambda status, answer: (status, (answer[0], forged))
    report = auditor.audit_since()
    assert told(report) == [(Check.GROWTH, None, ErrorCode.INCONSISTENT, "forked")]
    assert parse_act(exchange.records[1][0]).act is Act.GENESIS


@pytest.mark.parametrize("size", [2**40, 2**52 + 1])
def test_a_mirror_of_a_size_that_was_only_signed_ends_at_its_first_tile(
    exchange: SimulatedExchange, auditor: Client, tmp_path: Path, size: int
) -> None:
    forged = sign_checkpoint(ORIGIN, size, bytes(32), key("exchange/log"))
    exchange.lies[f"/{AUDIT}/checkpoint"] = lambda status, answer: (status, (answer[0], forged))
    with refused(ErrorCode.TAMPERED, "root"):
        auditor.mirror(tmp_path)
    assert not any(name.startswith(AUDIT) for name in mirrored(tmp_path))


@pytest.mark.parametrize(
    ("status", "code", "retry"),
    [
        (429, "rate-limited", "after"),
        (503, "writes-closed", "after"),
        (500, "internal", "same"),
        (401, "invalid-token", "never"),
    ],
)
@pytest.mark.parametrize("part", ["/v1/records/", f"{AUDIT}/tile/entries", f"{AUDIT}/tile/0"])
def test_an_exchange_that_refuses_is_not_convicted_by_it(
    clients: Clients, exchange: SimulatedExchange, auditor: Client, part: str, status: int, code: str, retry: str
) -> None:
    """R-95: what is not to be had is incomplete; only what is had can be false."""
    story(clients)
    auditor.sync_keys()
    exchange.refusals[part] = (status, {"code": code, "retry": retry})
    report = auditor.audit()
    assert (report.complete, report.failed) == (False, False), report.faults
