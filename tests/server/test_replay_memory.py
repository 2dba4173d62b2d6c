"""The one-process replay store: nothing works twice, not after a restart, a torn journal or a clock set back (R-44)."""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.server.service import replay
from referral_api.server.service.proofs import FUTURE_S, NONCE_S, PAST_S, PROCESS_SKEW_S
from referral_api.server.service.replay import MemoryReplayStore, TimedClaims
from tests.server.access import ISSUER, START, AccessWorld

INBOX = f"{ISSUER}/v1/inbox"


def name(number: int) -> bytes:
    return hashlib.sha256(str(number).encode()).digest()


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return tmp_path / "replay.journal"


@pytest.fixture
def store(journal: Path) -> MemoryReplayStore:
    return MemoryReplayStore.open(journal, START - 3600)


def use(world: AccessWorld, proof: bytes, judged_at: int, claimed_at: int) -> None:
    """Verify a proof by one clock and claim it by another."""
    verified = world.service._proofs.verify_proof(proof, "GET", "/v1/inbox", judged_at, ath=None)
    world.replay.claim_proof(verified.use, verified.use_from, verified.use_until, verified.epoch, claimed_at)


def refusal(error: pytest.ExceptionInfo[ReferralError]) -> tuple[ErrorCode, object]:
    return error.value.code, error.value.facts.get("reason")


@given(
    drift=st.integers(-PAST_S, FUTURE_S),
    delays=st.lists(st.integers(0, PAST_S + FUTURE_S + PROCESS_SKEW_S + 40), min_size=1, max_size=8),
    behind=st.integers(0, PROCESS_SKEW_S),
)
def test_a_proof_is_remembered_as_long_as_any_process_could_take_it(
    tmp_path_factory: pytest.TempPathFactory, drift: int, delays: list[int], behind: int
) -> None:
    world = AccessWorld(tmp_path_factory.mktemp("replay"))
    proof = world.hotline.proof("GET", INBOX, iat=START + drift)
    use(world, proof, START, START)
    for delay in sorted(delays):
        # The store has seen the time of the fastest process; a slower one, `behind` it, judges the replayed proof.
        world.replay.epoch(START + delay)
        with pytest.raises(ReferralError) as error:
            use(world, proof, START + delay - behind, START + delay)
        assert error.value.code in {ErrorCode.INVALID_DPOP_PROOF, ErrorCode.USE_DPOP_NONCE}


@given(age=st.integers(0, NONCE_S), delay=st.integers(0, NONCE_S + 60), iat=st.integers(0, 2 * START))
def test_a_proof_with_a_nonce_is_remembered_as_long_as_its_nonce_serves(
    tmp_path_factory: pytest.TempPathFactory, age: int, delay: int, iat: int
) -> None:
    world = AccessWorld(tmp_path_factory.mktemp("replay"))
    nonce = world.service._proofs.ask_for_nonce(0, START - age).facts["nonce"]
    proof = world.hotline.proof("GET", INBOX, iat=iat, nonce=nonce)
    use(world, proof, START, START)
    with pytest.raises(ReferralError) as error:
        use(world, proof, START + delay, START + delay)
    assert error.value.code in {ErrorCode.INVALID_DPOP_PROOF, ErrorCode.USE_DPOP_NONCE}


def test_a_proof_is_kept_for_lifetime_and_both_skews(tmp_path: Path) -> None:
    world = AccessWorld(tmp_path)
    proof = world.hotline.proof("GET", INBOX, iat=START + FUTURE_S)
    verified = world.service._proofs.verify_proof(proof, "GET", "/v1/inbox", START, ath=None)
    assert verified.use_until - START == PAST_S + FUTURE_S + PROCESS_SKEW_S


def test_a_proof_that_may_have_been_used_before_the_start_is_asked_for_a_nonce(tmp_path: Path) -> None:
    world = AccessWorld(tmp_path)
    hotline, token = world.hotline, world.hotline.token()
    used = hotline.proof("GET", INBOX, token=token, iat=START + FUTURE_S)
    hotline.call(token, proof=used)
    world.now = START + 1
    world.restart()
    for iat in (START - 10, START + 1, START + FUTURE_S, START + 1 + FUTURE_S - 1):
        with pytest.raises(ReferralError) as error:
            hotline.call(token, proof=hotline.proof("GET", INBOX, token=token, iat=iat))
        assert error.value.code is ErrorCode.USE_DPOP_NONCE
    with pytest.raises(ReferralError) as error:
        hotline.call(token, proof=used)
    assert (error.value.code, error.value.facts["skew_s"]) == (ErrorCode.USE_DPOP_NONCE, FUTURE_S - 1)
    fresh = hotline.proof("GET", INBOX, token=token, nonce=error.value.facts["nonce"])
    assert hotline.call(token, proof=fresh).credential == hotline.id
    world.now = START + 1 + FUTURE_S
    assert hotline.call(token).credential == hotline.id


def test_a_nonce_from_before_the_start_no_longer_serves(tmp_path: Path) -> None:
    world = AccessWorld(tmp_path)
    hotline, token = world.hotline, world.hotline.token()
    nonce = world.service._proofs.ask_for_nonce(0, START).facts["nonce"]
    used = hotline.proof("GET", INBOX, token=token, nonce=nonce)
    hotline.call(token, proof=used)
    world.restart()
    with pytest.raises(ReferralError) as error:
        hotline.call(token, proof=used)
    assert error.value.code is ErrorCode.USE_DPOP_NONCE


def test_a_clock_set_back_begins_an_epoch_in_which_nonces_still_serve(tmp_path: Path) -> None:
    world = AccessWorld(tmp_path)
    hotline, token = world.hotline, world.hotline.token()
    used = hotline.proof("GET", INBOX, token=token)
    hotline.call(token, proof=used)
    world.replay.epoch(START + 7200)
    assert len(world.replay._proofs) == 0  # type: ignore[attr-defined]
    with pytest.raises(ReferralError) as error:
        hotline.call(token, proof=used)
    assert error.value.code is ErrorCode.USE_DPOP_NONCE
    fresh = hotline.proof("GET", INBOX, token=token, nonce=error.value.facts["nonce"])
    assert hotline.call(token, proof=fresh).credential == hotline.id


def test_a_clock_that_steps_back_a_little_changes_nothing(store: MemoryReplayStore) -> None:
    before = store.epoch(START)
    assert store.epoch(START - 20) == before
    assert store.epoch(START - 21) == before + 1


def test_only_one_of_many_threads_wins_a_proof(store: MemoryReplayStore) -> None:
    outcomes: list[str] = []
    barrier = threading.Barrier(8)

    def claim() -> None:
        barrier.wait()
        for number in range(200):
            try:
                store.claim_proof(name(number), START, START + 90, None, START)
                outcomes.append("won")
            except ReferralError as error:
                outcomes.append(error.code)

    threads = [threading.Thread(target=claim) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes.count("won") == 200
    assert outcomes.count(ErrorCode.INVALID_DPOP_PROOF) == 1400


def test_a_full_store_refuses_instead_of_forgetting() -> None:
    claims = TimedClaims(3)
    for number in range(3):
        claims.add(name(number), START + 90)
    with pytest.raises(ReferralError) as error:
        claims.add(name(3), START + 90)
    assert refusal(error) == (ErrorCode.REPLAY_STORE_UNAVAILABLE, "full")
    claims.forget(START + 1000)
    claims.add(name(3), START + 2000)
    assert len(claims) == 1


@given(st.lists(st.integers(0, 400), min_size=1, max_size=60), st.integers(0, 500))
def test_forgetting_never_comes_early_and_at_most_sixteen_seconds_late(untils: list[int], now: int) -> None:
    claims = TimedClaims(1000)
    for number, until in enumerate(untils):
        claims.add(name(number), until)
    claims.forget(now)
    for number, until in enumerate(untils):
        assert name(number) in claims or until < now
        assert name(number) not in claims or until >= now - 16


def test_an_assertion_is_claimed_once_across_restarts(journal: Path, store: MemoryReplayStore) -> None:
    store.claim_assertion(name(1), START + 400, START)
    for opened_at in (START + 1, START + 399):
        again = MemoryReplayStore.open(journal, opened_at)
        with pytest.raises(ReferralError) as error:
            again.claim_assertion(name(1), START + 400, opened_at)
        assert refusal(error) == (ErrorCode.INVALID_TOKEN, "replayed")
        again.claim_assertion(name(opened_at), START + 400, opened_at)


def test_every_opening_is_an_epoch_of_its_own(journal: Path) -> None:
    epochs = [MemoryReplayStore.open(journal, START).epoch(START) for _ in range(5)]
    assert epochs == sorted(set(epochs))


def test_the_claim_is_on_disk_before_it_is_granted(journal: Path, store: MemoryReplayStore) -> None:
    store.claim_assertion(name(1), START + 400, START)
    lines = journal.read_text("ascii").splitlines()
    assert lines[0] == "referral-replay 1 1"
    assert [line.partition(" ")[0] for line in lines[1:]] == [str(START + 400)]
    assert journal.stat().st_mode & 0o777 == 0o600


def test_a_line_that_was_cut_off_is_a_claim_that_was_never_granted(journal: Path, store: MemoryReplayStore) -> None:
    store.claim_assertion(name(1), START + 400, START)
    whole = journal.read_bytes()
    store.claim_assertion(name(2), START + 400, START)
    longer = journal.read_bytes()
    for cut in range(len(whole), len(longer)):
        journal.write_bytes(longer[:cut])
        again = MemoryReplayStore.open(journal, START)
        with pytest.raises(ReferralError):
            again.claim_assertion(name(1), START + 400, START)
        again.claim_assertion(name(2), START + 400, START)


@pytest.mark.parametrize(
    "text",
    [
        "x",
        "\n",
        "referral-replay 2 1\n",
        "referral-replay 1 x\n",
        "referral-replay 1 1",
        "referral-replay 1 1\nx y\n",
        "referral-replay 1 1\n5 short\n",
        "referral-replay 1 1\n\n",
        "\u00e9",
    ],
)
def test_a_journal_that_is_none_stops_the_start(journal: Path, text: str) -> None:
    journal.write_text(text, "utf-8")
    with pytest.raises(ReferralError) as error:
        MemoryReplayStore.open(journal, START)
    assert refusal(error) == (ErrorCode.REPLAY_STORE_UNAVAILABLE, "journal")
    assert journal.read_text("utf-8") == text


def test_a_folder_that_cannot_be_written_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(ReferralError) as error:
        MemoryReplayStore.open(tmp_path / "missing" / "replay.journal", START)
    assert refusal(error) == (ErrorCode.REPLAY_STORE_UNAVAILABLE, "journal")


def test_after_a_failed_write_the_store_grants_no_assertion(journal: Path, store: MemoryReplayStore) -> None:
    journal.unlink()
    journal.mkdir()
    for number in (1, 1, 2):
        with pytest.raises(ReferralError) as error:
            store.claim_assertion(name(number), START + 400, START)
        assert refusal(error) == (ErrorCode.REPLAY_STORE_UNAVAILABLE, "journal")
    journal.rmdir()
    with pytest.raises(ReferralError):
        store.claim_assertion(name(3), START + 400, START)


def test_an_assertion_outlives_a_clock_set_back_by_an_hour(journal: Path, store: MemoryReplayStore) -> None:
    store.claim_assertion(name(1), START + 400, START)
    store.claim_assertion(name(2), START + 4300, START + 3900)
    for opened in (store, MemoryReplayStore.open(journal, START + 3900)):
        with pytest.raises(ReferralError) as error:
            opened.claim_assertion(name(1), START + 400, START)
        assert refusal(error) == (ErrorCode.INVALID_TOKEN, "replayed")


def test_the_journal_is_rewritten_before_it_grows_without_end(journal: Path, store: MemoryReplayStore) -> None:
    store.claim_assertion(name(1), START + 400, START)
    store._appended = replay._COMPACT_AFTER
    later = START + 400 + replay._KEPT_LONGER_S + 17
    store.claim_assertion(name(2), later + 400, later)
    assert len(journal.read_text("ascii").splitlines()) == 2
    with pytest.raises(ReferralError):
        MemoryReplayStore.open(journal, later).claim_assertion(name(2), later + 400, later)
