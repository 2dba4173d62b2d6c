"""The exchange goes over from one of its own keys to the next (R-37)."""

from __future__ import annotations

from typing import Any

import pytest

from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import Act, Digest, KeyUse
from referral_api.formats.key_entry import build_key_entry
from referral_api.formats.keys import Alg, SigningKey
from referral_api.formats.receipt import build_receipt, verify_exchange_receipt
from referral_api.formats.statements import KeyMap
from referral_api.formats.strict_json import b64u
from tests.formats.parties_world import (
    DAY,
    EXCHANGE_ACT,
    EXCHANGE_CREDENTIAL,
    ISSUER,
    NOW,
    Log,
    act,
    approval,
    genesis_body,
    key,
    key_entry,
    person,
    statement_body,
)

REGISTRAR = person("registro", "r001", keyholder=True)
FROM, UNTIL = NOW + DAY, NOW + 2 * DAY
USES = ("token", "receipt", "act", "log")


def first_key(use: str) -> SigningKey:
    return EXCHANGE_ACT if use == "act" else key(f"exchange/{use}")


def entry(log: Log, use: str, own: SigningKey, **changes: Any) -> bytes:
    given: dict[str, Any] = {
        "party": "exchange", "use": KeyUse(use), "jwk": own.public.jwk, "nonce": b64u(log.keymap.root), "iat": NOW,
        "possession": None, "signers": [own],
    }  # fmt: skip
    return build_key_entry(**given | changes)


def rekey(use: str, new: SigningKey, **changes: Any) -> bytes:
    signers = changes.pop("signers", [EXCHANGE_ACT])
    options = {name: changes.pop(name) for name in ("iat", "iss") if name in changes}
    body = {"use": use, "kid": new.kid, "replaces": first_key(use).kid, "from": FROM, "until": UNTIL} | changes
    return act(Act.REKEY, options.pop("iss", EXCHANGE_CREDENTIAL), body, signers, **options)


def announced(use: str, **changes: Any) -> tuple[Log, SigningKey]:
    """A log on which the next key of a use is announced."""
    log, new = Log(), key("next")
    log.registrar(REGISTRAR)
    log.put(entry(log, use, new), rekey(use, new, **changes))
    return log, new


def refusal(log: Log, leaf: bytes) -> tuple[ErrorCode, Any]:
    before = (log.keymap.size, log.keymap.clock, [log.keymap.tenures(KeyUse(use)) for use in USES])
    with pytest.raises(ReferralError) as caught:
        log.keymap.extend(leaf)
    assert (log.keymap.size, log.keymap.clock, [log.keymap.tenures(KeyUse(use)) for use in USES]) == before
    facts = caught.value.facts
    return caught.value.code, facts.get("reason", facts.get("needs"))


@pytest.mark.parametrize("use", USES)
def test_a_key_is_announced_then_used_beside_the_old_one_and_then_alone(use: str) -> None:
    log, new = announced(use)
    old, asked = first_key(use), KeyUse(use)

    def in_use(at: int) -> list[str]:
        return [record.kid for record in log.keymap.keys_in_use(asked, at)]

    assert [record.kid for record in log.keymap.exchange_keys(asked)] == [old.kid, new.kid]
    assert in_use(FROM - 1) == [old.kid]
    assert in_use(FROM) == in_use(UNTIL - 1) == [new.kid, old.kid]
    assert in_use(UNTIL) == [new.kid]


def receipt_of(signer: SigningKey, time: int) -> bytes:
    return build_receipt(
        iss=ISSUER, act=Digest("A" * 43), act_id="00000000-0000-4000-8000-000000000000", sub="linea.ana1", carrier=None,
        ref=None, unit=None, time=time, code=None, states=[], origin="exchange.example/v1/log/audit/2026", index=1,
        signer=signer,
    )  # fmt: skip


def test_a_receipt_verifies_for_ever_by_the_key_of_its_time_and_by_no_other() -> None:
    log, new = announced("receipt")
    old = first_key("receipt")
    log.put(entry(log, "receipt", key("third")))
    change = {"from": UNTIL + DAY, "until": UNTIL + 2 * DAY}
    log.put(rekey("receipt", key("third"), replaces=new.kid, iat=UNTIL, **change))
    for signer, time in ((old, NOW), (old, UNTIL - 1), (new, FROM), (new, UNTIL + DAY), (key("third"), UNTIL + DAY)):
        assert verify_exchange_receipt(receipt_of(signer, time), log.keymap).payload.time == time
    for signer, time, reason in ((old, UNTIL, "ended"), (new, FROM - 61, "not-yet"), (new, UNTIL + 2 * DAY, "ended")):
        with pytest.raises(ReferralError) as caught:
            verify_exchange_receipt(receipt_of(signer, time), log.keymap)
        assert (caught.value.code, caught.value.facts["reason"]) == (ErrorCode.KEY_NOT_VALID, reason)
    with pytest.raises(ReferralError) as caught:
        verify_exchange_receipt(receipt_of(first_key("log"), NOW), log.keymap)
    assert caught.value.code is ErrorCode.SIGNATURE_INVALID


def test_an_act_of_the_exchange_is_by_the_act_key_of_its_time() -> None:
    log, new = announced("act")
    old = first_key("act")

    def stands(signer: SigningKey, at: int) -> str | None:
        try:
            seal = log.keymap.seal_keys(EXCHANGE_CREDENTIAL, at, at, kids=[signer.kid])
        except ReferralError as error:
            return str(error.facts["reason"])
        assert list(seal.keys) == [signer.kid]
        return None

    assert [stands(old, at) for at in (NOW, UNTIL - 1, UNTIL)] == [None, None, "ended"]
    assert [stands(new, at) for at in (FROM - 61, FROM, UNTIL + 999 * DAY)] == ["not-yet", None, None]
    third = key("third")
    leaf = entry(log, "token", third)
    log.put(leaf)
    change = {"from": UNTIL + DAY, "until": UNTIL + 2 * DAY, "iat": UNTIL}
    assert refusal(log, rekey("token", third, signers=[old], **change)) == (ErrorCode.KEY_NOT_VALID, "ended")
    log.put(rekey("token", third, signers=[new], **change))


def test_an_act_that_the_new_act_key_signs_before_its_time_is_refused() -> None:
    log, new = announced("act")
    third = key("third")
    log.put(entry(log, "log", third))
    assert refusal(log, rekey("log", third, signers=[new])) == (ErrorCode.KEY_NOT_VALID, "not-yet")
    assert refusal(log, rekey("log", third, signers=[key("thief")])) == (
        ErrorCode.ACT_SIGNATURE_INVALID, "unknown-key",
    )  # fmt: skip


OUT = (ErrorCode.ACT_SCHEMA, "out-of-range")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"from": FROM - 1}, OUT),
        ({"from": NOW + 90 * DAY + 1, "until": NOW + 95 * DAY}, OUT),
        ({"until": UNTIL - 1}, OUT),
        ({"until": FROM + 90 * DAY + 1}, OUT),
        ({"replaces": first_key("log").kid}, (ErrorCode.STATEMENT_OUT_OF_SEQUENCE, "sequence")),
        ({"kid": key("absent").kid}, (ErrorCode.KEY_NOT_VALID, "no-entry")),
        ({"kid": first_key("log").kid}, (ErrorCode.KEY_NOT_VALID, "no-entry")),
        ({"signers": [key("next")]}, (ErrorCode.ACT_SIGNATURE_INVALID, "unknown-key")),
        ({"iss": REGISTRAR.id, "signers": REGISTRAR.seals}, (ErrorCode.NOT_PERMITTED, "exchange")),
    ],
)
def test_a_change_that_is_not_the_exchange_s_or_out_of_time_is_refused(
    changes: dict[str, Any], expected: tuple[ErrorCode, str]
) -> None:
    log, new = Log(), key("next")
    log.registrar(REGISTRAR)
    log.put(entry(log, "receipt", new))
    assert refusal(log, rekey("receipt", new, **changes)) == expected
    log.put(rekey("receipt", new))


def test_the_fold_s_own_time_counts_and_not_what_the_act_says() -> None:
    log, new = Log(), key("next")
    log.registrar(REGISTRAR)
    log.put(entry(log, "log", new))
    later = statement_body("linea", "hotline", [ana := person("linea", "ana1", keyholder=True)])
    statement = ana.sign(Act.STATEMENT, later, iat=NOW + 60)
    log.put(*ana.entries(), statement)
    assert refusal(log, rekey("log", new)) == OUT


def test_a_token_key_that_leaked_is_replaced_at_once() -> None:
    log, new = announced("token", **{"from": NOW, "until": NOW})
    assert [record.kid for record in log.keymap.keys_in_use(KeyUse.TOKEN, NOW)] == [new.kid]


def test_one_change_of_a_use_at_a_time_and_of_a_key_that_is_there() -> None:
    log, new = announced("log")
    third = key("third")
    log.put(entry(log, "log", third), entry(log, "receipt", key("receipt 2")))
    pending = (ErrorCode.STATEMENT_OUT_OF_SEQUENCE, "pending")
    assert refusal(log, rekey("log", third, replaces=new.kid)) == pending
    assert refusal(log, rekey("log", third)) == pending
    # Another use is another matter.
    log.put(rekey("receipt", key("receipt 2")))
    after = {"iat": FROM, "from": FROM + DAY, "until": FROM + 2 * DAY}
    assert refusal(log, rekey("log", third, **after)) == (ErrorCode.STATEMENT_OUT_OF_SEQUENCE, "sequence")
    assert refusal(log, rekey("log", new, replaces=third.kid, **after)) == (ErrorCode.KEY_REUSED, None)
    log.put(rekey("log", third, replaces=new.kid, **after))


def test_a_key_of_the_exchange_proves_that_it_is_held_for_this_exchange() -> None:
    log, new = Log(), key("next")
    foreign = entry(log, "log", new, nonce="A" * 43)
    assert refusal(log, foreign) == (ErrorCode.POSSESSION_NOT_PROVED, "foreign")
    with pytest.raises(ReferralError) as caught:
        entry(log, "log", new, signers=[key("another")])
    assert caught.value.code is ErrorCode.POSSESSION_NOT_PROVED
    ours, theirs = entry(log, "log", new), entry(log, "token", new)
    forged = ours[: ours.index(b'"signatures"')] + theirs[theirs.index(b'"signatures"') :]
    for verify in (True, False):
        with pytest.raises(ReferralError) as caught:
            log.keymap.extend(forged, verify=verify)
        assert (caught.value.code, caught.value.facts["reason"]) == (ErrorCode.POSSESSION_NOT_PROVED, "forged")
    log.put(ours)
    assert refusal(log, ours) == (ErrorCode.KEY_REUSED, None)


def test_a_change_is_verified_even_where_a_log_is_trusted() -> None:
    log, new = Log(), key("next")
    log.put(entry(log, "log", new))
    with pytest.raises(ReferralError) as caught:
        log.keymap.extend(rekey("log", new, signers=[key("thief")]), verify=False)
    assert caught.value.code is ErrorCode.ACT_SIGNATURE_INVALID


def test_no_party_brings_a_key_of_the_exchange_and_the_exchange_none_of_a_party() -> None:
    log = Log()
    assert refusal(log, entry(log, "log", key("next"), party="linea")) == (ErrorCode.NOT_PERMITTED, "exchange")
    assert refusal(log, key_entry("exchange", KeyUse.SEAL, key("next"))) == (ErrorCode.NOT_PERMITTED, "party")


def test_a_key_of_another_algorithm_follows_none() -> None:
    log, new = Log(), key("next", Alg.ES256)
    log.put(entry(log, "act", new))
    assert refusal(log, rekey("act", new)) == (ErrorCode.KEY_UNSUITABLE, "algorithm")


def test_keys_that_were_founded_together_are_replaced_one_by_one() -> None:
    second = key("exchange/log/2")
    body = genesis_body()
    body["keys"].append({"kid": second.kid, "jwk": second.public.jwk, "use": "log"})
    log, new = Log(keys=body["keys"]), key("next")
    log.put(entry(log, "log", new), rekey("log", new, replaces=second.kid))
    kept = [record.kid for record in log.keymap.keys_in_use(KeyUse.LOG, UNTIL)]
    assert sorted(kept) == sorted([new.kid, first_key("log").kid])


def test_a_copy_of_the_map_does_not_learn_what_the_first_one_does() -> None:
    log, new = Log(), key("next")
    log.put(entry(log, "log", new))
    twin: KeyMap = log.keymap.copy()
    log.put(rekey("log", new))
    assert [len(one.exchange_keys(KeyUse.LOG)) for one in (twin, log.keymap)] == [1, 2]


def test_the_exchange_approves_by_its_next_act_key_in_its_time() -> None:
    log, new = Log(), key("next")
    log.put(entry(log, "act", new), rekey("act", new))
    statement = REGISTRAR.sign(Act.STATEMENT, statement_body("registro", "registrar", [REGISTRAR]), iat=UNTIL)
    log.put(*REGISTRAR.entries(), statement)
    say_yes = approval("registro", statement)
    old = act(Act.APPROVE_STATEMENT, EXCHANGE_CREDENTIAL, say_yes, [EXCHANGE_ACT], iat=UNTIL)
    assert refusal(log, old) == (ErrorCode.KEY_NOT_VALID, "ended")
    log.put(act(Act.APPROVE_STATEMENT, EXCHANGE_CREDENTIAL, say_yes, [new], iat=UNTIL))
