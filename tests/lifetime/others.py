"""What the machine does beside people at work: whoever speaks in the exchange's place, and units that fall silent.

Must never: tell the exchange anything but by acts, reads, and units that poll or do not.
"""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import Final

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from referral_api.domain.errors import FINAL_REFUSALS, ErrorCode, ReferralError
from referral_api.domain.words import EXCHANGE_ACTS, WITHOUT_REFERRAL, Act, State
from referral_api.formats.act import parse_act
from referral_api.server.storage import feeds
from tests.formats.parties_world import Someone
from tests.lifetime.house import REGISTRY
from tests.lifetime.machine import AUDIT, DICE, HOTLINES, POLICE, UNITS, LifeMachine, kind_of
from tests.lifetime.model import HOUR, MINUTE, UNREAD, Case
from tests.lifetime.moves import as_the_exchange
from tests.lifetime.views import Said

OFFLINE_S: Final = 3 * MINUTE
"""Who has not looked for longer is silent (R-84)."""
SILENCES: Final = (2 * MINUTE, OFFLINE_S, OFFLINE_S + 1, 5 * MINUTE, 14 * MINUTE, HOUR)
AT_A_TIME: Final = 5
EXCHANGE: Final = "exchange.main"


def _sleeps(case: Case) -> bool:
    """Whether a unit has not read what is still held for another."""
    states = {one.state for one in case.sheets.values() if one.role != "information"}
    return State.HELD in states and bool(states & UNREAD)


class WholeMachine(LifeMachine):
    """The life of an exchange, with these too."""

    @precondition(lambda self: self.cases)
    @rule(dice=DICE)
    def somebody_speaks_as_the_exchange(self, dice: Random) -> None:
        """What only the exchange may say is taken from nobody, under his own name or the exchange's: of who may know of
        the referral it is on the record that he was refused, and nothing else is (R-60, R-15, R-17).
        """
        case = self._case(dice)
        party = dice.choice([*dict.fromkeys((case.sender, *case.sheets)), *HOTLINES, *UNITS, AUDIT, REGISTRY])
        who = self._person(dice, party) if party in UNITS else self._somebody(dice, party, 0.5)
        every = list(as_the_exchange(case, dice.choice(sorted(case.sheets)), self.house.now))
        assert {act for act, _, _ in every} == EXCHANGE_ACTS
        for act, unit, body in dice.sample(every, AT_A_TIME):
            ref = None if act in WITHOUT_REFERRAL else case.ref
            false_name = dice.random() < 0.2
            raw = self.house.sign(who, act, body, ref=ref, unit=unit, iss=EXCHANGE if false_name else None)
            code, known = self._code(who, raw), party == case.sender or case.knows(party)
            wanted = ErrorCode.NOT_PERMITTED if known and ref is not None else ErrorCode.NOT_FOUND
            # A release is a hotline's to say too, with a reason of its own, and building on what it has seen.
            its_own = act is Act.RELEASED and party == case.sender and kind_of(who) == "hotline person"
            wanted = ErrorCode.STALE_HEAD if its_own else wanted
            wanted = ErrorCode.ISSUER_MISMATCH if false_name else wanted
            assert code is wanted, self._told(f"{who.id} says {act.value}", code, wanted)
            if code in FINAL_REFUSALS:
                digest = parse_act(raw).digest
                self.stories[case.ref].said.append(Said(digest, act, unit, party, taken=False))
            self.reached["as the exchange", act] += known and not false_name
            self.reached["as the exchange", "in its name" if false_name else "as itself"] += 1
            self.reached["as the exchange", kind_of(who)] += 1
        self.story.append(f"{who.id} speaks as the exchange")

    def outsider_tries(self, dice: Random) -> None:
        """Either this, or what is another party's to say."""
        if dice.random() < 0.3:
            self.somebody_speaks_as_the_exchange(dice)
        else:
            super().outsider_tries(dice)

    def _code(self, who: Someone, raw: bytes) -> ErrorCode | None:
        """Why it was refused, with a receipt or without."""
        try:
            code: ErrorCode | None = self.house.send(who, raw).result.code
        except ReferralError as refused:
            return refused.code
        return code

    @precondition(lambda self: any(_sleeps(case) for case in self.cases))
    @rule(dice=DICE)
    def the_taker_declines(self, dice: Random) -> None:
        """A unit sleeps; the next that is sent it takes it, and thinks better of it: it is the first one's again."""
        case = dice.choice([case for case in self.cases if _sleeps(case)])
        while _sleeps(case) and case.alarm is not None:
            self.time_passes(max(0, case.alarm - self.house.now), looks=True)
        stood_by = [one for one in case.sheets.values() if one.role == "escalation" and one.state in UNREAD]
        if not stood_by:
            return
        taker = dice.choice(stood_by).unit
        for act in (Act.ACK, Act.ACCEPT, Act.DECLINE):
            possible = self._possible(dice, case, taker, {POLICE: {act}})
            self._try_one(dice, case, possible)

    @precondition(lambda self: any(_sleeps(case) for case in self.cases))
    @rule(dice=DICE, declines=st.booleans())
    def nobody_takes_it_on(self, dice: Random, declines: bool) -> None:
        """A unit reads it and declines, or says nothing more; time passes until nobody stands by any more."""
        case = dice.choice([case for case in self.cases if _sleeps(case)])
        reader = dice.choice([one for one in case.sheets.values() if one.state in UNREAD and one.role != "information"])
        for act in (Act.ACK, Act.DECLINE) if declines else (Act.ACK,):
            self._try_one(dice, case, self._possible(dice, case, reader.unit, {POLICE: {act}}))
        for _ in range(6):
            if case.alarm is not None and any(one.state is State.HELD for one in case.sheets.values()):
                self.time_passes(max(0, case.alarm - self.house.now), looks=True)

    @rule(dice=DICE, span=st.sampled_from(SILENCES))
    def units_fall_silent(self, dice: Random, span: int) -> None:
        """Some units stop polling: that is on the record once for each silence, and where they have something pressing
        that nobody read the hotline telephones, if it was never told to (R-84, R-106).
        """
        if not any(case.pending(unit) for case in self.cases for unit in UNITS):
            self.submit(dice)
        self.turn()  # Everybody has just been there.
        since, told = self.house.now, self._offline()
        waits = [unit for unit in UNITS if any(case.pending(unit) for case in self.cases)]
        silent = {*dice.sample(waits, dice.randint(0, len(waits))), dice.choice(UNITS)}
        noticed: set[str] = set()
        for more in (span, MINUTE):  # A silence that goes on is told of once.
            self.house.clock.ahead_s += more
            self.story.append(f"{sorted(silent)} are silent for {self.house.now - since} s")
            self.house.keep_alive(silent)
            self.house.turn()
            self._look()
            if self.house.now - since <= OFFLINE_S:
                self.reached["silence", "short"] += 1
                continue
            noticed |= {unit for unit in silent if self._has_unread(unit)}
            rung = [case.silent(unit, self.house.now) for unit in sorted(silent) for case in self.cases]
            self.reached["silence", "telephoned"] += sum(rung)
            self.reached["silence", "of who has nothing to read"] += len(silent - noticed)
        self.reached["silence", "noticed"] += len(noticed)
        wanted = told + Counter(noticed)
        assert self._offline() == wanted, self._told("silences on the record", self._offline(), wanted)

    def _has_unread(self, unit: str) -> bool:
        """Of any referral, also of those that are followed no more."""
        with self.house.runtime.exchange.database.read() as conn:
            return bool(feeds.feed_after(conn, unit, 0, 1, pending=True))

    def _offline(self) -> Counter[str]:
        """How often the exchange has said of each unit that it is silent."""
        with self.house.runtime.exchange.database.read() as conn:
            rows = conn.all("SELECT unit, count(*) FROM act WHERE act = 'unit_offline' GROUP BY unit")
        return Counter({str(unit): int(count) for unit, count in rows})
