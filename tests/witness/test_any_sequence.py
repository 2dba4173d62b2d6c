"""Whatever is sent in whatever order: never two roots of one size, a smaller size or an earlier time (R-96)."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from referral_api.auditlog.checkpoint import Checkpoint
from referral_api.auditlog.merkle import Proof
from referral_api.auditlog.witnessing import verify_answer
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.witness.cosigner import Cosigner
from referral_api.witness.file import create_file
from referral_api.witness.memory import Memory, parse_log
from tests.witness.conftest import BORN, NAME, SEEDS
from tests.witness.histories import ORIGIN, History

LARGEST = 12
HISTORIES = (
    History(),
    History(branch=b" a", honest=4),
    History(branch=b" b", honest=7),
    History(branch=b" c", honest=0),
)
SIZES = st.integers(0, LARGEST)
REQUEST = st.tuples(
    st.sampled_from(HISTORIES),
    SIZES,
    SIZES,
    st.sampled_from(["right", "empty", "short", "another"]),
    st.integers(-10, 10),
    st.booleans(),
)


def proof_of(history: History, old: int, new: int, kind: str) -> Proof:
    right = history.proof(old, new) if old <= new else ()
    return {"right": right, "empty": (), "short": right[:-1], "another": HISTORIES[0].proof(min(old, new), new)}[kind]


class Model:
    """A witness and what must be true of it, whatever it is sent."""

    def __init__(self, path: Path) -> None:
        self.path = path
        create_file(path, NAME, SEEDS, BORN)
        self.memory = Memory.open(path)
        with self.memory.changing() as changes:
            changes.trust(parse_log(HISTORIES[0].verifier.vkey, yearly=False))
        self.size, self.root, self.newest_s = 0, HISTORIES[0].root(0), 0
        self.roots: dict[int, bytes] = {}

    def restart(self) -> None:
        self.memory.close()
        self.memory = Memory.open(self.path)

    def send(self, history: History, old: int, new: int, kind: str, now: int) -> None:
        cosigner = Cosigner(self.memory)
        proof = proof_of(history, old, new, kind)
        fits = old == self.size <= new and proof == history.proof(old, new) and history.root(self.size) == self.root
        raw = history.request(old, new, proof)
        if not fits:
            with pytest.raises(ReferralError) as caught:
                cosigner.add_checkpoint(raw, now)
            assert caught.value.code in {ErrorCode.MALFORMED, ErrorCode.STALE_HEAD, ErrorCode.INCONSISTENT}
            return
        self.newest_s = max(self.newest_s, now)
        found = verify_answer(
            cosigner.add_checkpoint(raw, now), Checkpoint(ORIGIN, new, history.root(new)), cosigner.verifier_keys
        )
        assert {one.cosignature.cosigned_s for one in found} == {self.newest_s}
        assert self.roots.setdefault(new, history.root(new)) == history.root(new)
        self.size, self.root = new, history.root(new)

    def check(self) -> None:
        held = self.memory.held(ORIGIN)
        assert (held.size, held.root) == (self.size, self.root)


@settings(max_examples=150, deadline=None)
@given(st.lists(REQUEST, max_size=25))
def test_no_sequence_of_requests_gets_two_histories_cosigned(
    requests: list[tuple[History, int, int, str, int, bool]],
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        model = Model(Path(folder) / "w.db")
        for history, old, new, kind, late, restart in requests:
            if restart:
                model.restart()
            # Most requests follow what is held, or hardly any would get past the first comparison.
            model.send(history, model.size if late % 3 else old, new, kind, BORN + late)
            model.check()
        model.memory.close()
