"""The exchange goes over from each of its own keys to the next while everybody works, and nothing is lost (R-37)."""

from __future__ import annotations

import json
import time
from base64 import b64decode
from collections.abc import Callable
from typing import Any

import pytest

from referral_api.auditlog.checkpoint import sign_checkpoint
from referral_api.auditlog.keyslog import log_keys
from referral_api.auditlog.note import parse_note
from referral_api.client.outbox import Entry
from referral_api.client.sdk import Client
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import Act, KeyUse
from referral_api.formats.act import parse_act
from referral_api.formats.receipt import parse_receipt
from referral_api.formats.strict_json import unb64u
from referral_api.server.service.rekeying import Asked, spent
from referral_api.server.storage.keyfiles import USES, create_next, delete_key, load_signers
from tests.faults.submissions import parcel
from tests.story.test_erasure import audited, erase
from tests.story.test_rolled_back import put
from tests.world import World
from tests.world_check import Rows

DAY_S = 24 * 3600
ASK_S = DAY_S + 120
"""A little more than a day, for the clock stands still while a change is asked for."""


def eventually(holds: Callable[[], Any], seconds: float = 20.0) -> None:
    ends = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < ends, "it did not come about"
        time.sleep(0.05)


def keymap_of(world: World) -> Any:
    return world.server.runtime.exchange.keymap


def rotate(world: World, use: KeyUse) -> tuple[str, int, int]:
    """Ask the running exchange for the next key; its thumbprint, when it begins and when the one before ends."""
    key = create_next(world.settings.keys_dir, use)
    Asked(use, key.kid, ASK_S, DAY_S).ask(world.settings.keys_dir)
    eventually(lambda: key.kid in {one.kid for one in keymap_of(world).exchange_keys(use)})
    eventually(lambda: not list(world.settings.keys_dir.glob("*.asked")))
    older, newer = keymap_of(world).tenures(use)[-2:]
    assert (newer.key.kid, newer.replaces) == (key.kid, older.key.kid)
    return key.kid, newer.begins_at, older.ends_at


def go_to(world: World, moment: int) -> None:
    world.clock.ahead_s += moment - world.clock()


def receipt_kid(entry: Entry) -> str:
    assert entry.receipt is not None
    (kid,) = parse_receipt(entry.receipt).kids
    return kid


def offline(client: Client, entry: Entry) -> None:
    """Believe what was kept of an act, by what the client knows and without a call."""
    assert entry.receipt is not None
    assert entry.proof is not None
    client.verify_receipt(entry.outgoing.jws, entry.receipt, entry.proof)


def published(world: World) -> set[str]:
    answer = world.caller("operator").call("GET", "/.well-known/jwks.json", signed=False)
    return {one["kid"] for one in json.loads(answer.body)["keys"]}


def test_receipts_of_before_and_after_a_change_verify_for_ever(world: World) -> None:
    old = world.server.runtime.exchange.keyring.signer(KeyUse.RECEIPT, int(world.clock())).kid
    before = world.submit()
    kid, begins, ends = rotate(world, KeyUse.RECEIPT)
    assert {old, kid} <= published(world)
    announced = world.submit()
    go_to(world, begins)
    during = world.submit()
    go_to(world, ends + 1)
    after = world.submit()
    assert [receipt_kid(one) for one in (before, announced, during, after)] == [old, old, kid, kid]
    # Who was away all the time learns of it with the first answer that it cannot read else.
    world.acknowledge("officer", str(after.outgoing.ref))
    for one in (before, announced, during, after):
        offline(world.officer, one)
    world.restart()
    world.close_clients()
    for one in (before, after):
        offline(world.client("operator"), one)
    assert {old, kid} <= published(world)
    world.check()


def token_kid(world: World) -> str:
    """By which key the token is signed that the operator uses."""
    header = world.operator.session._token().value.partition(".")[0]
    return str(json.loads(unb64u(header))["kid"])


def test_tokens_of_the_key_before_end_with_it_and_nobody_notices(world: World) -> None:
    first = token_kid(world)
    world.submit()
    caller = world.caller("officer")
    cursor = caller.call("GET", "/v1/inbox").json["cursor"]
    kid, begins, ends = rotate(world, KeyUse.TOKEN)
    assert {first, kid} <= published(world)
    go_to(world, begins - 1)
    world.submit()
    assert token_kid(world) == first
    go_to(world, begins + 1)
    # The token of the old key serves for as long as it lasts.
    assert world.caller("operator").call("GET", "/v1/ping").status == 200
    assert token_kid(world) == first
    go_to(world, begins + 600)
    world.submit()
    assert token_kid(world) == kid
    go_to(world, ends + 1)
    assert published(world) & {first, kid} == {kid}
    world.submit()
    # What was handed out of the inbox before can still be read on from.
    assert caller.call("GET", f"/v1/inbox?after={cursor}").status == 200
    world.check()


def test_a_token_key_that_leaked_ends_at_once_and_with_it_every_token(world: World) -> None:
    caller = world.caller("operator")
    assert caller.call("GET", "/v1/ping").status == 200
    old = token_kid(world)
    new = create_next(world.settings.keys_dir, KeyUse.TOKEN)
    Asked(KeyUse.TOKEN, new.kid, 0, 0).ask(world.settings.keys_dir)
    eventually(lambda: caller.call("GET", "/v1/ping").status == 401)
    assert token_kid(world) == old
    world.submit()
    assert token_kid(world) == new.kid


def test_the_exchange_s_own_acts_are_by_the_act_key_of_their_time(world: World) -> None:
    ref = str(world.submit().outgoing.ref)
    other = str(world.submit().outgoing.ref)
    erase(world, ref)
    kid, _, ends = rotate(world, KeyUse.ACT)
    go_to(world, ends + 1)
    erase(world, other)
    rows = [row for row in Rows(world)["act"] if row["act"] == Act.ERASE.value]
    signers = [parse_act(row["jws"].encode()).jws.signatures[0].kid for row in rows]
    assert len(set(signers)) == 2
    assert signers[1] == kid
    world.check()
    report = audited(world)
    assert report.complete, report.faults


def log_signers(world: World, raw: bytes, log: str) -> list[int]:
    """Which of the log's keys, in the order of their announcement, have signed a checkpoint."""
    note = parse_note(raw)
    return [at for at, key in enumerate(log_keys(keymap_of(world), log)) if note.signed_by(key)]


def test_checkpoints_are_signed_by_both_log_keys_while_one_is_replaced(world: World) -> None:
    def newest() -> list[int]:
        world.submit()
        log = next(row["log"] for row in Rows(world)["log_checkpoint"] if row["log"] != "keys")
        return log_signers(world, world.caller("auditor").call("GET", f"/v1/log/{log}/checkpoint").body, log)

    assert newest() == [0]
    _, begins, ends = rotate(world, KeyUse.LOG)
    assert newest() == [0]
    go_to(world, begins)
    assert newest() == [0, 1]
    go_to(world, ends)
    assert newest() == [1]
    # The keys log has not grown since the old key alone signed it, and is believed for that; and grown, by the new one.
    world.officer.sync_keys()
    _, begins, ends = rotate(world, KeyUse.RECEIPT)
    world.close_clients()
    world.officer.sync_keys()
    assert log_signers(world, world.caller("officer").call("GET", "/v1/log/keys/checkpoint").body, "keys") == [1]
    world.restart()
    # This one's replica is from before any change; the keys log is now signed by a key that it has never heard of.
    world.submit("colleague")
    world.check()
    report = audited(world)
    assert report.complete, report.faults


def test_a_log_key_that_has_ended_signs_nothing_new(world: World) -> None:
    world.submit()
    old = world.server.runtime.exchange.keyring.signing()[0]
    _, _, ends = rotate(world, KeyUse.LOG)
    go_to(world, ends)
    entry = world.submit()
    assert entry.proof is not None
    proof = entry.proof.decode()
    head, _, note = proof.partition("\n\n")
    text = note.partition("\n\n")[0].split("\n")
    forged = sign_checkpoint(text[0], int(text[1]), b64decode(text[2]), old)
    assert entry.receipt is not None
    lie = f"{head}\n\n{forged.decode()}".encode()
    with pytest.raises(ReferralError) as caught:
        world.operator.verify_receipt(entry.outgoing.jws, entry.receipt, lie)
    assert (caught.value.code, caught.value.facts["reason"]) == (ErrorCode.SIGNATURE_INVALID, "ended")
    offline(world.operator, entry)


def test_a_log_whose_next_key_is_not_here_is_signed_by_nobody_when_the_old_one_has_ended(sqlite_world: World) -> None:
    world = sqlite_world
    kid, _, ends = rotate(world, KeyUse.LOG)
    (file,) = world.settings.keys_dir.glob(f"log.{kid}.pem")
    kept = file.rename(world.folder / "elsewhere")
    world.restart()
    go_to(world, ends)
    one = parcel(world)
    pending = put(world.caller("operator"), one)
    assert (pending.status, pending.code) == (503, "checkpoint-pending")

    def ready() -> tuple[int, bool, list[str]]:
        answer = world.caller("operator").call("GET", "/readyz", signed=False)
        return answer.status, answer.json["checks"]["signer"], [one["status"] for one in answer.json["keys_missing"]]

    eventually(lambda: ready() == (503, False, ["none-signs"]))
    assert put(world.caller("operator"), one).code == "checkpoint-pending"
    kept.rename(file)
    eventually(lambda: put(world.caller("operator"), one).status == 200)
    eventually(lambda: ready() == (200, True, []))
    world.submit()


def test_all_keys_change_at_once_and_the_old_ones_are_deleted(world: World) -> None:
    before = world.submit()
    ends = max(rotate(world, use)[2] for use in USES)
    old = load_signers(world.settings.keys_dir)
    assert spent(keymap_of(world), old, ends - DAY_S) == []
    go_to(world, ends + 1)
    world.submit()
    gone = spent(keymap_of(world), old, ends + 1)
    assert [use for use, _ in gone] == [KeyUse.RECEIPT, KeyUse.ACT, KeyUse.LOG]
    for use, kid in gone:
        delete_key(world.settings.keys_dir, use, kid)
    world.restart()
    after = world.submit()
    world.close_clients()
    for one in (before, after):
        offline(world.client("operator"), one)
    world.check()
    report = audited(world)
    assert report.complete, report.faults


def test_a_second_change_of_a_use_is_refused_while_one_is_announced(world: World) -> None:
    rotate(world, KeyUse.RECEIPT)
    key = create_next(world.settings.keys_dir, KeyUse.RECEIPT)
    asked = Asked(KeyUse.RECEIPT, key.kid, ASK_S, DAY_S)
    asked.ask(world.settings.keys_dir)
    refusal = asked.refusal(world.settings.keys_dir)
    eventually(refusal.exists)
    assert json.loads(refusal.read_bytes())["facts"]["reason"] == "pending"
    assert not asked.path(world.settings.keys_dir).exists()
    assert key.kid not in {one.kid for one in keymap_of(world).exchange_keys(KeyUse.RECEIPT)}
    world.submit()


@pytest.mark.parametrize("written", [b"", b'{"notice_s":[],"overlap_s":0,"v":1}'], ids=["empty", "of other members"])
def test_a_damaged_request_for_a_key_stops_no_other(world: World, written: bytes) -> None:
    keys_dir = world.settings.keys_dir
    damaged = keys_dir / f"act.{'A' * 43}.asked"
    damaged.write_bytes(written)
    asked = Asked(KeyUse.RECEIPT, create_next(keys_dir, KeyUse.RECEIPT).kid, ASK_S, DAY_S)
    asked.ask(keys_dir)
    eventually(lambda: not asked.path(keys_dir).exists())
    assert asked.kid in {one.kid for one in keymap_of(world).exchange_keys(KeyUse.RECEIPT)}
    assert damaged.read_bytes() == written
    world.submit()
