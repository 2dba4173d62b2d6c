"""The judge of the simulation can fail: of a real history, any alarm that is missing, late, early or said twice is seen
(R-80, R-106, R-107)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from referral_api.domain.words import Act, Role
from referral_api.formats.strict_json import sha256_b64u
from tests.lifetime.house import DAY, House, open_house
from tests.lifetime.parcels import Parcel, Wanted, parcel, submission
from tests.lifetime.unowned import CALL
from tests.simulation.judge import CLOCKS, RUNGS, TICK_S, Heard, Judge, Mark, stored
from tests.world_check import Rows

LINE, LOCAL, REGION, NATIONAL = "linea-1818", "pnp-local", "pnp-region", "pnp-nacional"
PARTIES: Final = {LINE: Role.HOTLINE, **dict.fromkeys((LOCAL, REGION, NATIONAL), Role.POLICE_UNIT)}
TO_ALL: Final = ((LOCAL, "action"), (REGION, "escalation"), (NATIONAL, "escalation"))
PURGES: Final = ("purge_14", "purge_3", "purge")
HOUR: Final = 3600


@dataclass
class Life:
    """People of one house, who do one thing after the other."""

    house: House

    def submit(self, urgency: str, to: tuple[tuple[str, str], ...] = ((LOCAL, "action"),)) -> Parcel:
        made = submission(self.house, self.house.desks[LINE].people[0], Wanted(to, urgency))
        self.house.send(made.by, made.raw, **made.beside)
        return made

    def say(self, party: str, act: Act, of: Parcel, **body: Any) -> None:
        """On the local unit's delivery, by a person of this party."""
        who = self.house.desks[party].people[0]
        shown = self.house.view(who, of.ref)["deliveries"][0]
        made = parcel(self.house, who, act, body, ref=of.ref, unit=LOCAL, prev=shown["head"])
        self.house.send(who, made.raw, **made.beside)

    def acknowledge(self, of: Parcel) -> None:
        self.house.fetch(self.house.desks[LOCAL].people[0], of.ref)
        bundle = sha256_b64u(of.beside["sealed"])
        self.say(LOCAL, Act.ACK, of, bundle=bundle, submit=of.digest, decrypted=True)

    def wait(self, span: int) -> None:
        """Until then the exchange looks whenever something is due."""
        until = self.house.clock.ahead_s + span
        while (due := self._due()) is not None and due - self.house.clock.runs_on() + self.house.clock.ahead_s <= until:
            self.house.clock.ahead_s += max(0.0, due - self.house.clock.runs_on())
            self.house.keep_alive()
            self.house.turn()
        self.house.clock.ahead_s = until

    def _due(self) -> int | None:
        with self.house.runtime.exchange.database.read() as conn:
            row = conn.one("SELECT min(at) FROM alarm")
        return None if row is None else row[0]


def live(house: House) -> None:
    """Everything comes due once, by itself."""
    life = Life(house)
    life.submit("urgent", TO_ALL)
    undecided, unopened = life.submit("emergency"), life.submit("routine")
    life.acknowledge(undecided)
    life.say(LOCAL, Act.RECEIPT_FAILED, unopened, reason="cannot_decrypt")
    silent = life.submit("urgent")
    life.acknowledge(silent)
    life.say(LOCAL, Act.ACCEPT, silent)
    withdrawn = life.submit("routine")
    life.acknowledge(withdrawn)
    life.say(LINE, Act.CONSENT_WITHDRAWN, withdrawn)
    kept = life.submit("routine")
    life.say(LINE, Act.HOLD, kept, on=True, basis="prosecutor_order", review_at=house.now + 10 * DAY)
    life.wait(30 * HOUR)
    life.say(LOCAL, Act.STATUS, silent, code="registered")
    life.wait(120 * DAY)


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Heard]]:
    """The stored acts of a life in which everything came due."""
    with open_house(tmp_path_factory.mktemp("judged"), PARTIES) as house:
        live(house)
        yield stored(Rows(house))


def judge(history: list[Heard], marks: tuple[Mark, ...] = (), after_s: int = 0) -> Judge:
    """What a judge has heard of this, who was there until so long after the last act."""
    heard = Judge()
    heard.listen(history, marks, history[-1].at + after_s)
    return heard


SAYS: Final[Mapping[str, tuple[Act, str]]] = {
    **{clock: (Act.OVERDUE, clock) for clock in CLOCKS},
    **{rung: (Act.ESCALATED, rung) for rung in RUNGS.values()},
    "expire": (Act.EXPIRED, ""),
    CALL: (Act.TELEPHONE_NOW, ""),
    "purge_14": (Act.PURGE_DUE, "14"),
    "purge_3": (Act.PURGE_DUE, "3"),
    "purge": (Act.PURGED, ""),
}
WHAT: Final = [*CLOCKS, *RUNGS.values(), CALL, *PURGES]


def place_of(history: list[Heard], what: str) -> int:
    """Where this was first said."""
    act, which = SAYS[what]
    for place, one in enumerate(history):
        named = [getattr(one.body, name, None) for name in ("clock", "rung", "days")]
        called = getattr(one.body, "reason", None) in ("update_timeout", "receipt_failed")
        name = str(next((name for name in named if name is not None), ""))
        if one.act is act and name == which and (what != CALL or called):
            return place
    raise AssertionError(f"nobody said {what}")


def test_a_history_in_which_everything_was_said_in_its_second_has_no_fault(history: list[Heard]) -> None:
    heard = judge(history)
    assert heard.faults == []
    assert set(heard.said) == set(WHAT)
    assert heard.moments > len(history)


@pytest.mark.parametrize("what", WHAT)
def test_an_alarm_that_is_missing_is_missed(history: list[Heard], what: str) -> None:
    place = place_of(history, what)
    silent = [*history[:place], *history[place + 1 :]]
    missed = judge(silent, after_s=1).faults
    assert missed
    assert history[place].ref in missed[0], missed
    # Of a rung the next one, in the same second, tells.
    assert any(f": {what} due at" in one for one in missed) or (what in RUNGS.values() and "not owed" in missed[0])


@pytest.mark.parametrize("what", WHAT)
def test_an_alarm_that_comes_a_second_too_late_or_too_early_or_twice_is_noticed(
    history: list[Heard], what: str
) -> None:
    place = place_of(history, what)
    said = history[place]
    late = said._replace(at=said.at + TICK_S + 1, pos=said.pos)
    after = [one._replace(at=max(one.at, late.at)) for one in history[place + 1 :]]
    # With a decision a call is owed, which is missing too.
    wanted = f"{said.ref} at {said.unit}: {what} due at"
    assert any(fault.startswith(wanted) for fault in judge([*history[:place], late, *after]).faults)
    assert judge([*history[: place + 1], said, *history[place + 1 :]]).faults
    before = [one for one in history[:place] if one.at < said.at]
    if what != CALL and before[-1].at < said.at - 1:
        early = judge([*before, said._replace(at=said.at - 1)]).faults
        assert any("which was not owed" in one for one in early), early


def test_what_a_rung_brings_must_have_come_before_it(history: list[Heard]) -> None:
    """Nobody is called, or nobody released: the rung alone is no help."""
    for rung, act, word in (
        ("telephone_now", Act.TELEPHONE_NOW, "nobody was told to telephone"),
        ("release_parent", Act.RELEASED, "released []"),
        ("release_national", Act.RELEASED, "released []"),
    ):
        place = place_of(history, rung)
        brought = max(at for at in range(place) if history[at].act is act and history[at].ref == history[place].ref)
        faults = judge([*history[:brought], *history[brought + 1 : place + 1]]).faults
        assert any(word in one for one in faults), (rung, faults)


def test_only_while_nobody_can_speak_an_alarm_may_wait(history: list[Heard]) -> None:
    """With the second in which the exchange is there again it is owed, and not one later."""
    place = place_of(history, "decision")
    said = history[place]
    before = [one for one in history[:place] if one.at < said.at]
    down = Mark(before[-1].pos, said.at - 1, sees=False)
    late = [said._replace(at=said.at + 50)]
    up = Mark(before[-1].pos, said.at + 50, sees=True)
    waited = judge([*before, *late], (down, up))
    assert [fault for fault in waited.faults if ": decision due at" in fault] == []
    assert waited.stood["decision"] == 1
    assert judge([*before, *late], (down, up._replace(at=said.at + 49))).faults
    assert judge([*before, *late], (down._replace(at=said.at + 1), up)).faults


def test_what_nobody_might_do_by_the_hand_written_rules_is_a_fault(history: list[Heard]) -> None:
    place = next(at for at, one in enumerate(history) if one.act is Act.ACCEPT)
    without = [one for one in history[: place + 1] if one.act is not Act.ACK]
    assert any("may not accept" in one for one in judge(without).faults)


def test_what_goes_back_to_several_at_once_is_owed_to_each(tmp_path: Path) -> None:
    """The first of them to hear of it has the referral; the others are told in the same breath, as they must be."""
    with open_house(tmp_path, PARTIES) as house:
        life = Life(house)
        shared = life.submit("emergency", TO_ALL)
        life.acknowledge(shared)
        life.wait(2 * HOUR)
        life.say(LOCAL, Act.ACCEPT, shared)
        life.say(LOCAL, Act.DECLINE, shared, reason="no_capacity")
        history = stored(Rows(house))
    heard = judge(history)
    assert (heard.faults, heard.said["given_back"]) == ([], 2)
    last = max(at for at, one in enumerate(history) if one.act is Act.RELEASED)
    assert judge([*history[:last], *history[last + 1 :]], after_s=60).faults, "one of them was not told"
