"""Any history of keys gives one key map: at the exchange's door, at a client that follows, and in plain words.

The door tries every leaf on a copy of its map, signatures and all, and is restarted now and then from the leaves that
it stored. The client follows in strides, and now and then starts anew from its file. The third is a model that reads
no leaf (tests/formats/naive_directory.py): it says which leaf counts, who is in effect, and which keys are good when.

A default run tries a few histories; REFERRAL_HISTORIES=10000 (make histories) tries as many as that.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from referral_api.client import trust
from referral_api.client.profile import Pin, Profile
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import PartyId
from referral_api.formats.parties import GRACE_S, SKEW_S
from referral_api.formats.roster import Roster
from referral_api.formats.statements import KeyMap
from referral_api.formats.strict_json import sha256_b64u
from tests.formats import parties_world as pw
from tests.formats.histories import FLAWS, LATER, PARTIES, PEOPLE, WHAT, Author, Step, Written
from tests.formats.naive_directory import DAY, Directory, Entered
from tests.formats.parties_world import NOW

MANY = int(os.environ.get("REFERRAL_HISTORIES", "80"))
STEPS = st.lists(
    st.tuples(
        st.sampled_from(WHAT),
        st.integers(0, len(PEOPLE) - 1),
        st.integers(0, 5),
        st.integers(0, 47),
        st.sampled_from(LATER),
        st.sampled_from(FLAWS),
    ),
    min_size=4,
    max_size=40,
)
FOUNDING: tuple[Step, ...] = (
    ("state", 0, 0, 2, 0, ""),
    ("approve", 0, 0, 0, 0, ""),
    ("state", 2, 0, 10, 0, ""),
    ("approve", 0, 1, 1, 0, ""),
    ("state", 2, 1, 5, 0, ""),
    ("state", 6, 0, 2, 0, ""),
    ("approve", 1, 2, 1, 0, ""),
)
"""A registrar of two persons, a unit of two keyholders, a hotline: without them most histories come to nothing."""


def state_of(keymap: KeyMap) -> dict[str, Any]:
    """Everything that a key map holds; what it must not share with another is copied."""
    held = {name: getattr(keymap, name) for name in Roster.__slots__}
    return {name: dict(value) if isinstance(value, dict) else value for name, value in held.items()}


class Trial:
    """One history, and everybody who follows it."""

    def __init__(self, needed: int) -> None:
        genesis = pw.genesis(registrars_required=needed)
        self.profile = Profile(pw.ISSUER, pw.ISSUER, sha256_b64u(genesis), "sandbox", PartyId("divtrata"))
        self.leaves = [genesis]
        self.door = KeyMap.start(genesis)
        self.client = trust.Replica(self.profile, genesis)
        self.naive = Directory(pw.EXCHANGE_CREDENTIAL, (pw.EXCHANGE_ACT.kid,), needed, NOW)
        self.author = Author(self.naive)
        self.seen: Counter[str] = Counter()
        self.moments = {NOW}

    def live(self, steps: Sequence[Step]) -> None:
        """Take each step, and see at the end that all of them know the same."""
        for step in steps:
            if step[0] == "sync":
                self.sync()
            elif step[0] == "client":
                self.restart_client()
            elif step[0] == "exchange":
                self.restart_exchange()
            else:
                for leaf in self.author.write(step):
                    self.propose(leaf)
        self.sync()
        self.restart_client()
        self.restart_exchange()
        self.verify_naive()

    def propose(self, written: Written) -> None:
        """What the door does with a leaf: tried on a copy, kept only if it is taken."""
        leaf, said = written
        before, grown = state_of(self.door), self.door.copy()
        refusal: ErrorCode | None = None
        try:
            grown.extend(leaf)
        except ReferralError as error:
            refusal = error.code
        assert state_of(self.door) == before, "trying changes nothing"
        waits = "" if isinstance(said, Entered) else self._waits(said.body)
        taken = self.naive.took(said)
        assert taken is (refusal is None), (said, refusal)
        self.seen[f"{'key' if isinstance(said, Entered) else said.kind}{waits} {'taken' if taken else 'refused'}"] += 1
        if refusal is not None:
            self.refused_alike(leaf, refusal)
            return
        self.leaves.append(leaf)
        self.door = grown
        self.moments |= set() if isinstance(said, Entered) else {said.iat}

    def _waits(self, body: dict[str, Any]) -> str:
        waiting = self.naive.waiting.get(body.get("party", ""))
        return "" if waiting is None else f" of {waiting['waits']}"

    def refused_alike(self, leaf: bytes, refusal: ErrorCode) -> None:
        """A client that is as far refuses the same leaf for the same reason, and stays as it was."""
        if self.client.size != len(self.leaves):
            return
        before = state_of(self.client.keymap)
        with pytest.raises(ReferralError) as caught:
            self.client.keymap.extend(leaf)
        assert caught.value.code is refusal
        assert state_of(self.client.keymap) == before

    def sync(self) -> None:
        """The client follows to the end, verifying everything."""
        self.client.extend(self.leaves[self.client.size :])
        assert state_of(self.client.keymap) == state_of(self.door)

    def restart_client(self) -> None:
        """The client starts anew from its file, in which nothing is verified again but that it is what was pinned."""
        pin = Pin(self.client.size, self.client.frontier.root())
        again = trust.load_replica(self.profile, self.client.encode(), pin)
        assert state_of(again.keymap) == state_of(self.client.keymap)
        self.client = again

    def restart_exchange(self) -> None:
        """The exchange starts anew from the leaves that it has stored."""
        again = KeyMap.start(self.leaves[0])
        for leaf in self.leaves[1:]:
            again.extend(leaf, verify=False)
        assert state_of(again) == state_of(self.door)
        self.door = again

    # In plain words.

    def verify_naive(self) -> None:
        """The naive directory knows the same parties, statements that wait, and keys, each good at the same times."""
        naive, door = self.naive, self.door
        assert {str(one.id): str(one.statement) for one in door.parties()} == {
            party: one["digest"] for party, one in naive.parties.items()
        }
        assert {one.party: (one.digest, one.waits_for.value, one.opens_at) for one in door.pending()} == {
            party: (one["digest"], one["waits"], one["opens"]) for party, one in naive.waiting.items()
        }
        for kid, key in naive.keys.items():
            found = door.get_key(kid)
            assert (found.party, found.use.value, found.revoked) == (key["party"], key["use"], key["revoked"])
        for party in PARTIES:
            self._verify_people(party)
            listed = naive.parties[party]["body"]["enc"] if party in naive.parties else []
            for now in self._times(*listed[:2]):
                assert {one.kid for one in door.usable_enc(party, now)} == naive.usable(party, now)
                assert {one.kid for one in door.sealable(party, now)} == naive.sealable(party, now)

    def _verify_people(self, party: str) -> None:
        found = self.door.find_party(party)
        listed = {} if found is None else {one.id.partition(".")[2]: one for one in found.credentials}
        wanted = self.naive.parties.get(party, {"people": {}})["people"]
        assert {
            short: (one.kind.value, one.keyholder, one.access, list(one.seal), one.valid_from, one.valid_until)
            for short, one in listed.items()
        } == {
            short: (one["kind"], one["keyholder"], one["access"], one["seal"], one["from"], one["until"])
            for short, one in wanted.items()
        }

    def _times(self, *spans: dict[str, Any]) -> list[int]:
        """When to ask: about now, at the newest act, and where what is asked about begins and ends."""
        times = {self.naive.clock, self.naive.clock + DAY, *sorted(self.moments)[-1:]}
        for one in spans:
            times |= {one["from"] - SKEW_S - 1, one["from"] - SKEW_S, one["until"] - 1, one["until"]}
        return sorted(times)

    def verify_credentials(self) -> None:
        """For every credential there ever was: which keys authenticate, and which sign, when."""
        for one in PEOPLE:
            listed, sets = self.naive.person(one.id), self.naive.seals.get(one.id, [])
            for now in self._times(*(() if listed is None else (listed,))):
                assert answer(lambda: self.door.access_key(one.id, now).kid) == self.naive.access(one.id, now)  # noqa: B023
            for now in self._times(*sets[-1:]):
                for iat in (now, now - DAY, now - GRACE_S):
                    found = answer(lambda: tuple(self.door.seal_keys(one.id, iat, now).keys))  # noqa: B023
                    assert found == self.naive.seal(one.id, iat, now), (one.id, iat, now)


def answer(call: Any) -> Any:
    """What a question is answered; None where it is refused for want of a valid key."""
    try:
        return call()
    except ReferralError as error:
        return None if error.code is ErrorCode.KEY_NOT_VALID else error


@settings(max_examples=MANY)
@given(st.integers(1, 2), STEPS)
def test_any_history_of_keys_gives_one_key_map(needed: int, steps: list[Step]) -> None:
    """R-30, R-32, R-33: whoever folds the leaves, at whatever strides, knows the same of everybody's keys."""
    trial = Trial(needed)
    trial.live([*FOUNDING, *steps])
    trial.verify_credentials()


def test_the_histories_hold_everything_that_can_happen() -> None:
    """What is drawn is not always refused, nor always taken: every kind of act meets both ends."""
    rng, seen = random.Random(7), Counter[str]()  # noqa: S311 - nothing secret is drawn
    for number in range(24):
        trial = Trial(1 + number % 2)
        trial.live(FOUNDING)
        trial.live(
            [
                (
                    rng.choice(WHAT),
                    rng.randrange(len(PEOPLE)),
                    rng.randrange(6),
                    rng.randrange(48),
                    rng.choice(LATER),
                    rng.choice(FLAWS),
                )
                for _ in range(60)
            ]
        )
        trial.verify_credentials()
        seen += trial.seen
    every = {f"{one} {end}" for one in ("key", "statement", "object", "revoke") for end in ("taken", "refused")}
    every |= {f"approve_statement of {one} taken" for one in ("registrar", "exchange", "keyholder", "second_registrar")}
    assert every <= seen.keys(), seen
