"""The stateful machine: two hotlines, four units, an auditor and a registrar do anything at any time, and after every
step the exchange must be what the model says (tests/lifetime/model.py).

Must never: tell the exchange anything but by acts, reads and the passing of time.
"""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any, Final, TypeAlias

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from referral_api.domain.clocks import Terms
from referral_api.domain.errors import FINAL_REFUSALS, ErrorCode, ReferralError
from referral_api.domain.rules import DEFAULT, Rules
from referral_api.domain.words import Act, CredentialKind, Role, State
from referral_api.formats.act import parse_act
from referral_api.formats.receipt import parse_receipt
from referral_api.formats.strict_json import sha256_b64u
from referral_api.server.service.batch import Done
from referral_api.server.service.reckoning import reckon
from referral_api.server.service.rulebook import ChangeRules
from referral_api.server.storage import feeds, logbook
from referral_api.server.storage.database import Connection
from tests.formats.parties_world import Someone
from tests.lifetime.house import REGISTRY, House, NoPowerError
from tests.lifetime.model import DAY, HOUR, MINUTE, OF_HOTLINES, OF_UNITS, OPEN, UNREAD, Case
from tests.lifetime.moves import UNKNOWN, attempts, write
from tests.lifetime.parcels import Parcel, Wanted, submission
from tests.lifetime.sheets import Move
from tests.lifetime.views import Said, Seen, Story, difference, expected_view, shown_view
from tests.world import ISSUER, Clock
from tests.world_check import check

HOTLINES: Final = ("linea-100", "linea-1818")
LOCAL, PARENT, NATIONAL, OTHER = UNITS = ("pnp-local", "pnp-parent", "pnp-nacional", "pnp-otra")
AUDIT: Final = "defensoria"
PARTIES: Final = {
    **dict.fromkeys(HOTLINES, Role.HOTLINE),
    **dict.fromkeys(UNITS, Role.POLICE_UNIT),
    AUDIT: Role.AUDITOR,
}
AT_ONCE: Final = 4
"""How many referrals are followed at a time; the newest ones."""
DICE: Final = st.randoms(use_true_random=True)
"""Hypothesis chooses what happens, these by whom and to what: its own choices among many come back to a few of them."""
ROLES: Final = ("action", "escalation", "escalation", "information")
STEPS: Final = ("begin", "before-append", "before-commit", "after-commit", "after-sign", "answered")
SPANS: Final = (
    *(MINUTE, 9 * MINUTE, 11 * MINUTE, 16 * MINUTE, 31 * MINUTE, HOUR, 2 * HOUR, 7 * HOUR, DAY, 3 * DAY),
    *(7 * DAY, 13 * DAY, 15 * DAY, 31 * DAY, 92 * DAY),
)
HOTLINE, POLICE = Role.HOTLINE, Role.POLICE_UNIT
WAYS: Final = (
    (
        *((POLICE, Act.ACK), (POLICE, Act.TRANSFER), (HOTLINE, Act.APPROVE), (POLICE, Act.ACK), (POLICE, Act.ACCEPT)),
        *((POLICE, Act.STATUS), (POLICE, Act.CLOSE), (POLICE, Act.REOPEN)),
    ),
    ((POLICE, Act.ACK), (POLICE, Act.ACCEPT), (POLICE, Act.TRANSFER), (HOTLINE, Act.APPROVE), (POLICE, Act.ACK)),
    ((POLICE, Act.ACK), (POLICE, Act.TRANSFER), (HOTLINE, Act.DECLINE), (POLICE, Act.DECLINE), (HOTLINE, Act.CLOSE)),
    ((POLICE, Act.ACK), (POLICE, Act.ACCEPT), (HOTLINE, Act.CLOSE), (HOTLINE, Act.REOPEN), (POLICE, Act.STATUS)),
    ((HOTLINE, Act.ASK), (POLICE, Act.ANSWER), (POLICE, Act.ASK), (HOTLINE, Act.ANSWER), (POLICE, Act.REWRAP)),
    ((POLICE, Act.ACK), (HOTLINE, Act.WITHDRAW), (POLICE, Act.WITHDRAWAL_ANSWER), (POLICE, Act.STATUS)),
)
"""How deliveries mostly go; by chance alone few come so far."""
HOUR_WRONG: Final = (-HOUR - MINUTE, -HOUR, HOUR)
"""Jumps of the clock: beyond what is forgiven, as much as is forgiven, and far ahead."""


ROLE_OF: Final = PARTIES | {REGISTRY: Role.REGISTRAR}
ASIDE: Final = (Act.NOTE, Act.REWRAP, Act.HOLD, Act.SUPPLEMENT)
"""What moves nothing on."""
SENSIBLE: Final = {Role.HOTLINE: OF_HOTLINES, Role.POLICE_UNIT: OF_UNITS}
Kind: TypeAlias = tuple[Role, Act]
Reached: TypeAlias = Kind | State | tuple[str, str] | tuple[str, Act]
Possible: TypeAlias = dict[Kind, list[tuple[Move, Someone]]]


class LifeMachine(RuleBasedStateMachine):
    """One exchange on files of its own, copied from `template`."""

    template: Path
    database: Callable[[], str] = staticmethod(lambda: "")
    found: House
    reached: Counter[Reached]
    """What was taken, refused and shown, and which states were met, in all lives of a run: what reaches nothing proves
    nothing.
    """

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(dir=self.template.parent))
        shutil.copytree(self.template, self.folder / "exchange")
        self.house = self._move_in(self.database())
        self.cases: list[Case] = []
        self.texts: dict[str, str] = {}
        self.sent: list[tuple[Parcel, str]] = []
        self.stories: dict[str, Story] = {}
        self.compared: dict[str, object] = {}
        """Of each referral what exchange and model were when its views were last compared."""
        self.turns = 0
        """How often views were compared: who looks beside the parties takes turns."""
        self.taken: Counter[Kind] = Counter()
        self.instead: list[str] | None = None
        """What the newest refusal told that could be done."""
        self.cut: str | None = None
        """At which step of the next act's batch the power fails."""
        self.ruling = (1, False)
        """What was last changed of the rules: the pace, and whether the exchange agrees to transfers by itself."""
        self.story: list[str] = []
        """What happened, in a few words each: what a failure tells."""

    def _move_in(self, database_url: str) -> House:
        base, was = self.folder / "exchange", self.found
        paths = {"data_dir": base / "data", "keys_dir": base / "keys", "signer_dir": base / "signer"}
        settings = was.settings.model_copy(update={**paths, "database_url": database_url})
        clock = Clock(ahead_s=was.clock.ahead_s, stopped_at=was.clock.stopped_at)
        desks = {
            party: replace(desk, people=list(desk.people), gone=list(desk.gone)) for party, desk in was.desks.items()
        }
        house = House(settings, clock, desks, drawn=was.drawn)
        house.open()
        return house

    def teardown(self) -> None:
        """At the end the exchange is held against everything that must always hold of it (design §14)."""
        try:
            self.turn()
            check(self.house)
            with self.house.runtime.exchange.database.read(snapshot=True) as conn:
                findings = reckon(conn, issuer=ISSUER)
            assert findings.complete, findings.differences
        finally:
            self.house.close()
            shutil.rmtree(self.folder)

    # What people do.

    @initialize(dice=DICE)
    def begin(self, dice: Random) -> None:
        """Every life has gone a way before chance, which lets many lives do only a few things, takes over."""
        for _ in range(2):
            self.submit(dice)
            self.work_goes_on(dice)

    @rule(dice=DICE)
    def submit(self, dice: Random) -> None:
        """A hotline sends a referral to some units, never to others; sometimes it contradicts itself."""
        self.house.renew_keys()
        roles = dice.sample(ROLES, len(ROLES))
        count = dice.randint(1, 4)
        to = list(zip(UNITS, roles, strict=True))
        to = sorted((one for one in to if one[1] == "action"), key=str) + [one for one in to if one[1] != "action"]
        to, rest = to[:count], [unit for unit, _ in to[count:]]
        excluded = dice.choice([(), (), tuple(rest[:1]), tuple(rest), (to[-1][0],)])
        wanted = Wanted(
            to=to,
            urgency=dice.choice(["emergency", "urgent", "routine"]),
            retention=dice.choice(["standard", "short", "legal_hold_requested"]),
            excluded=excluded,
        )
        by = self._somebody(dice, dice.choice(HOTLINES))
        is_service = by.kind is CredentialKind.SERVICE
        wanted = replace(wanted, operator="op-7" if is_service and dice.random() < 0.7 else None)
        made = submission(self.house, by, wanted)
        outcome = self._send(made)
        if is_service and wanted.operator is None:
            assert outcome == ErrorCode.NOT_PERMITTED, "a program submits for an operator whom it names (R-61)"
            self.reached["service refused", Act.SUBMIT] += 1
            return
        if {unit for unit, _ in to} & set(excluded):
            assert outcome == ErrorCode.TARGET_NOT_ALLOWED
            return
        assert outcome is None
        self.reached["service submits" if is_service else "person submits", Act.SUBMIT] += 1
        self.texts[made.digest] = sha256_b64u(made.beside["sealed"])
        kept = wanted.retention
        self.story.append(f"{made.ref[:13]} {by.id} submits {wanted.urgency} {kept} {to} not {excluded}")
        self.cases.append(
            Case.submitted(made.ref, by.party, wanted.urgency, kept, to, set(excluded), made.digest, self.house.now)
        )
        self.cases[-1].pace, self.cases[-1].agreed = self.ruling
        story = self.stories[made.ref] = Story([Said(made.digest, Act.SUBMIT, None, by.party, taken=True)])
        if "route" in made.beside:
            story.said.append(Said(parse_act(made.beside["route"]).digest, Act.ROUTE, None, by.party, taken=True))
        del self.cases[:-AT_ONCE]

    @precondition(lambda self: self.cases)
    @rule(dice=DICE)
    def fetch(self, dice: Random) -> None:
        """Somebody asks for the bundle."""
        self._fetch(self._case(dice), self._somebody(dice, dice.choice([*UNITS, *HOTLINES, AUDIT, REGISTRY])))

    def _fetch(self, case: Case, who: Someone) -> None:
        unit = who.party
        refused = refusal(lambda: self.house.fetch(who, case.ref))
        wanted = case.may_fetch(unit)
        if unit != case.sender:
            assert (refused is None) == wanted, self._told(f"{unit} fetches {case.ref}", refused, wanted)
        if refused is not None and unit in UNITS and not case.knows(unit):
            assert refused.code is ErrorCode.NOT_FOUND
            assert not refused.facts, "R-63: of what is held nothing is told"
        if refused is not None:
            assert refused.code in (ErrorCode.NOT_FOUND, ErrorCode.NOT_PERMITTED)
        elif unit in case.sheets:
            self.story.append(f"{case.ref[:13]} {unit} fetches")
            case.fetched(unit)
            self.stories[case.ref].fetched[unit] += 1
            self.reached["fetches", who.kind.value] += 1

    @precondition(lambda self: self.cases)
    @rule(dice=DICE, purposeful=st.booleans())
    def act_sensibly(self, dice: Random, purposeful: bool) -> None:
        """Somebody does what the model says that he may."""
        case = self._case(dice)
        unit = dice.choice(sorted(case.sheets))
        possible = self._possible(dice, case, unit, SENSIBLE)
        if purposeful:
            possible = {kind: moves for kind, moves in possible.items() if kind[1] not in ASIDE} or possible
        self._try_one(dice, case, possible)

    @precondition(lambda self: self.cases)
    @rule(dice=DICE)
    def a_day_passes(self, dice: Random) -> None:
        """Everybody does something: lives are made of this above all."""
        for _ in range(dice.randint(3, 8)):
            self.act_sensibly(dice, dice.random() < 0.5)
        if dice.random() < 0.4:
            self.outsider_tries(dice)

    def outsider_tries(self, dice: Random) -> None:
        """Somebody from outside, or a program, does what he must not."""
        desk = self.house.desks[dice.choice([*HOTLINES, *UNITS, AUDIT, REGISTRY])]
        self._try_anything(dice, dice.choice(desk.services or desk.people), whole=False)

    @precondition(lambda self: self.cases)
    @rule(dice=DICE)
    def work_goes_on(self, dice: Random) -> None:
        """A delivery goes the way of most, or nearly, and what a transfer brings goes it further."""
        begun = [(case, unit) for case in self.cases for unit, one in case.sheets.items() if one.begun is not None]
        if not begun:
            return
        case, unit = dice.choice([one for one in begun if _lives(*one)] or begun)
        if case.may_fetch(unit):
            self._fetch(case, self._somebody(dice, unit))
        for kind in dice.choice(WAYS):
            possible = self._possible(dice, case, unit, SENSIBLE)
            if dice.random() < 0.9:
                possible = {one: moves for one, moves in possible.items() if one == kind}
            self._try_one(dice, case, possible)
            following = case.sheets[unit].to
            if case.sheets[unit].state is State.TRANSFERRED and following in case.sheets:
                unit = following

    @precondition(lambda self: self.cases)
    @rule(dice=DICE, whole=st.booleans())
    def act_anyhow(self, dice: Random, whole: bool) -> None:
        """Somebody does something, sensible or not, building on whatever."""
        party = dice.choice([*HOTLINES, *UNITS, AUDIT, REGISTRY])
        self._try_anything(dice, self._somebody(dice, party), whole)

    def _try_anything(self, dice: Random, who: Someone, whole: bool) -> None:
        case, role = self._case(dice), ROLE_OF[who.party]
        unit = None if whole and role is Role.HOTLINE else dice.choice([*UNITS])
        own = role in (Role.HOTLINE, Role.POLICE_UNIT) and dice.random() < 0.7
        by = role if own else dice.choice([HOTLINE, POLICE])
        move = dice.choice(list(attempts(case, by, who, unit, UNITS, self.house.now)))
        heads = [one.head for one in case.sheets.values()]
        earlier = [digest for digest, _, _ in case.acts[-6:]]
        prev = dice.choice([move.prev, *heads, UNKNOWN, None, *earlier])
        self._try(case, replace(move, by=role, prev=prev), who)

    @precondition(lambda self: self.sent)
    @rule(dice=DICE)
    def retry(self, dice: Random) -> None:
        """The same bytes again, however late: the same receipt, byte for byte (R-14)."""
        made, receipt = dice.choice(self.sent[-12:])
        again = self.house.send(made.carrier or made.by, made.raw, **made.beside).result
        assert again.receipt == receipt
        assert not again.fresh

    # What time and machines do.

    @rule(span=st.sampled_from(SPANS), looks=st.booleans())
    def time_passes(self, span: int, looks: bool) -> None:
        self.house.clock.ahead_s += span
        self.story.append(f"{span / HOUR:.2f} h pass")
        if looks:
            self.turn()

    @rule()
    def turn(self) -> None:
        """The clocks say what is due."""
        self.house.keep_alive()
        self.house.turn()
        self._look()

    @rule()
    def two_processes_turn_at_once(self) -> None:
        self.house.keep_alive()
        self.house.turn_twice_at_once()
        self._look()

    @rule(step=st.sampled_from(STEPS))
    def power_fails(self, step: str) -> None:
        self.house.lose_power(step)

    @precondition(lambda self: self.cases)
    @rule(dice=DICE, step=st.sampled_from(STEPS))
    def power_fails_in_the_midst_of_an_act(self, dice: Random, step: str) -> None:
        """Whether it was taken or not, sending it again tells; and it counts once."""
        self.cut = step
        try:
            self.act_sensibly(dice, True)
        finally:
            self.cut = None

    @rule(step=st.sampled_from(STEPS))
    def power_fails_while_the_clocks_speak(self, step: str) -> None:
        """Nothing that was due is lost, and nothing is said twice."""
        self.house.keep_alive()
        self.house.cut_at = step
        # They see that the writer is gone, though their own process would be gone too.
        refused = refusal(self.house.runtime.timers.turn)
        assert refused is None or refused.code is ErrorCode.UNAVAILABLE
        self.house.fall()
        self.turn()

    @rule(wrong_s=st.sampled_from(HOUR_WRONG))
    def clock_jumps(self, wrong_s: int) -> None:
        """By an hour: what cannot be right writes nothing (R-97); what is forgiven is dated with the newest leaf."""
        self.turn()
        before = self._sizes()
        self.house.clock.wrong_s = wrong_s
        self.house.keep_alive()
        refused = refusal(lambda: (self.house.run(lambda _: Done(None)), self.house.turn()))
        self.house.clock.wrong_s = 0
        assert (refused is None) == (wrong_s == -HOUR)
        if refused is not None:
            assert refused.code is ErrorCode.WRITES_CLOSED
            assert refused.facts["reason"] == ("clock-ahead" if wrong_s > 0 else "clock-behind")
            assert self._sizes() == before, "something was written under a wrong clock"
            self.house.close()
            self.house.open()
        self.turn()

    @precondition(lambda self: self.cases)
    @rule(dice=DICE)
    def a_person_is_replaced(self, dice: Random) -> None:
        """A seal key is revoked, by the registrar or the keyholder; nothing that it signs from then on is taken."""
        desk = self.house.desks[dice.choice([*HOTLINES, *UNITS])]
        whom = desk.people[-1]
        by = dice.choice([self.house.desks[REGISTRY].people[0], desk.people[0]])
        self.house.revoke(by, whom)
        case = self._case(dice)
        move = Move(Act.NOTE, desk.role, desk.party, whom.id, unit=next(iter(case.sheets)), prev=case.submit)
        self.house.renew_keys()
        made = write(self.house, case, move, whom, self.texts)
        refused = refusal(lambda: self.house.send(whom, made.raw, **made.beside))
        assert refused is not None, "an act was taken whose key is revoked"
        assert refused.code is ErrorCode.KEY_NOT_VALID
        self.house.take_in(desk.party)

    @rule(pace=st.sampled_from((1, 2)), agrees=st.booleans())
    def rules_are_changed(self, pace: int, agrees: bool) -> None:
        """What is submitted from the next second on keeps them, and nothing else is touched (R-105)."""
        terms = {urgency: _slower(one, pace) for urgency, one in DEFAULT.clocks.items()}
        transfers = Role.EXCHANGE if agrees else Role.HOTLINE
        rules = Rules(clocks=terms, withdrawal_answer=pace * DEFAULT.withdrawal_answer, transfers=transfers)
        self.house.run(ChangeRules(self.house.runtime.exchange, rules))
        self.house.clock.ahead_s += 1
        self.ruling = (pace, agrees)
        self.story.append(f"rules: {pace} times the time, transfers by {transfers.value}")

    # After every step.

    @invariant()
    def exchange_and_model_agree(self) -> None:
        with self.house.runtime.exchange.database.read(snapshot=True) as conn:
            alarms: dict[str, int] = dict(conn.all("SELECT ref, at FROM alarm"))
            inboxes = {one: feeds.feed_after(conn, one, 0, 10_000, pending=True) for one in (*HOTLINES, *UNITS)}
            stored = {case.ref: self._stored(conn, case.ref) for case in self.cases}
        for case in self.cases:
            self.reached.update(one.state for one in case.sheets.values())
            self.reached.update(("unowned", what) for what in case.unowned)
            now = stored[case.ref], repr((case.sheets, self.stories[case.ref]))
            if self.compared.get(case.ref) != now:
                self._compare_views(case)
                self.compared[case.ref] = now
            assert alarms.get(case.ref) == case.alarm, self._told("alarm", alarms.get(case.ref), case.alarm)
            for party, lines in inboxes.items():
                kinds = Counter(line.kind for line in lines if line.ref == case.ref)
                assert kinds == case.pending(party), self._told(f"inbox of {party}", kinds, case.pending(party))

    @staticmethod
    def _stored(conn: Connection, ref: str) -> object:
        """Whatever a view is made of, as it is stored: where that is the same, and the model, the views are too."""
        last = [conn.all(f"SELECT count(*), max(pos) FROM {one} WHERE ref = ?", (ref,)) for one in ("act", "record")]
        return conn.all("SELECT * FROM delivery WHERE ref = ? ORDER BY unit", (ref,)), last

    def _compare_views(self, case: Case) -> None:
        """What a referral that has changed is shown as: to its parties, and to all others by turns."""
        self.turns += 1
        desks = self.house.desks
        parties = [desks[one].people[self.turns % len(desks[one].people)] for one in (case.sender, *UNITS)]
        beside = [*(one for party in (case.sender, *UNITS) for one in desks[party].services)]
        beside += [desks[one].people[0] for one in (AUDIT, REGISTRY, *HOTLINES) if one != case.sender]
        for who in (*parties, beside[self.turns % len(beside)]):
            wanted = expected_view(case, self.stories[case.ref], who, ROLE_OF[who.party])
            found = self._view(who, case.ref)
            what = f"view of {case.ref[:13]} for {who.id}"
            assert found == wanted, self._told(what, difference(found, wanted), "otherwise")
            hidden = "held, hidden from" if who.party in case.sheets else "hidden from"
            self.reached[hidden if wanted is None else "shown to", kind_of(who)] += 1

    def _view(self, who: Someone, ref: str) -> Seen | None:
        answers: list[Seen] = []
        refused = refusal(lambda: answers.append(shown_view(self.house.view(who, ref))))
        if refused is not None:
            assert (refused.code, refused.facts) == (ErrorCode.NOT_FOUND, {}), "R-51: exactly as what does not exist"
        return next(iter(answers), None)

    # How it is done.

    def _case(self, dice: Random) -> Case:
        return dice.choice(self.cases)

    def _person(self, dice: Random, party: str) -> Someone:
        return dice.choice(self.house.desks[party].people)

    def _somebody(self, dice: Random, party: str, often: float = 0.2) -> Someone:
        """A person of the party, or now and then its program."""
        services = self.house.desks[party].services
        return services[0] if services and dice.random() < often else self._person(dice, party)

    def _look(self) -> None:
        self.story.append("the clocks speak")
        for case in self.cases:
            case.look(self.house.now)

    def _told(self, what: str, found: object, wanted: object) -> str:
        return "\n".join([f"{what}: the exchange says {found}, the model {wanted}, after", *self.story[-25:]])

    def _sizes(self) -> dict[str, int]:
        with self.house.runtime.exchange.database.read() as conn:
            return {name: logbook.size(conn, name) for name in logbook.names(conn)}

    def _possible(self, dice: Random, case: Case, unit: str, acts: Mapping[Role, set[Act]]) -> Possible:
        """What somebody at the hotline and somebody at a unit may do there by the model, by kind."""
        possible: Possible = {}
        for by, kinds in acts.items():
            who = self._person(dice, case.sender if by is Role.HOTLINE else unit)
            for move in attempts(case, by, who, unit, UNITS, self.house.now):
                if move.act in kinds and case.takes(move):
                    possible.setdefault((by, move.act), []).append((move, who))
        return possible

    def _try_one(self, dice: Random, case: Case, possible: Possible) -> None:
        """One of these, if there is any. The kind first, or what can be said in many ways would crowd out the rest; and
        often the one that was said least.
        """
        if not possible:
            return
        kinds = dice.sample(sorted(possible), len(possible))
        kind = min(kinds, key=lambda one: self.taken[one]) if dice.random() < 0.5 else kinds[0]
        self._try(case, *dice.choice(possible[kind]))

    def _try(self, case: Case, move: Move, who: Someone) -> None:
        """Send it; the exchange takes it if and only if the model does."""
        self.house.renew_keys()
        made = write(self.house, case, move, who, self.texts)
        services = self.house.desks[who.party].services
        if services and self.house.drawn % 7 == 0:
            made = replace(made, carrier=services[0])  # whoever carries it adds nothing to it and takes nothing.
            self.reached["carried by", "service"] += 1
        move = replace(move, digest=made.digest)
        takes, barred = case.takes(move), case.barred(move)
        outcome = self._send(made)
        self.story.append(f"{case.ref[:13]} {_short(move)}: {outcome or 'taken'}")
        assert (outcome is None) == takes, self._told(_short(move), outcome, "taken" if takes else "refused")
        if outcome is ErrorCode.ILLEGAL_TRANSITION and move.unit in case.sheets and self.instead is not None:
            could = case.may_do(move, case.sheets[move.unit])
            assert sorted(self.instead) == could, self._told(_short(move), self.instead, could)
        # Nobody's envelope is for himself alone, or for who has no key to open it: that is said first.
        no_envelope = move.to == who.party or (move.act is Act.REWRAP and who.party in (AUDIT, REGISTRY))
        if barred is not None and not no_envelope:
            self.reached["barred", kind_of(who)] += 1
            forged = move.service and not who.algs
            assert outcome is (ErrorCode.KEY_NOT_VALID if forged else barred), self._told(_short(move), outcome, barred)
        story = self.stories[case.ref]
        if outcome is None or outcome in FINAL_REFUSALS:
            story.said.append(Said(made.digest, move.act, move.unit, who.party, taken=takes))
        if takes:
            self.taken[move.by, move.act] += 1
            self.reached[move.by, move.act] += 1
            if "sealed" in made.beside:
                self.texts[made.digest] = sha256_b64u(made.beside["sealed"])
            case.take(move, self.house.now)
            following = case.follows(move)
            if following is not None:
                approval = self._approval(case, move)
                case.take(replace(following, digest=approval), self.house.now)
                story.said.append(Said(approval, Act.APPROVE, move.unit, "exchange", taken=True))

    def _approval(self, case: Case, transfer: Move) -> str:
        """The act by which the exchange has agreed to a transfer."""
        with self.house.runtime.exchange.database.read() as conn:
            said = conn.all(
                "SELECT digest FROM act WHERE ref = ? AND unit = ? AND act = 'approve' AND party = 'exchange'"
                " ORDER BY pos DESC LIMIT 1",
                (case.ref, transfer.unit),
            )
        assert said, self._told(_short(transfer), "not agreed to", "agreed to")
        return str(said[0][0])

    def _send(self, made: Parcel) -> ErrorCode | None:
        """None for what was taken, else why not. Where the power fails it is sent again."""
        answers: list[Any] = []
        refused = refusal(lambda: answers.append(self._knock(made)))
        if refused is not None:
            assert refused.code not in FINAL_REFUSALS, "a final refusal has a receipt"
            self.story.append(f"refused: {refused.code.value} {refused.facts}")
            return refused.code
        (answer,) = answers
        receipt = parse_receipt(answer.receipt.encode())
        assert receipt.payload.act == made.digest
        if answer.fresh:
            assert receipt.payload.time == self.house.now
        self.sent.append((made, answer.receipt))
        self.instead = None
        if answer.code is ErrorCode.ILLEGAL_TRANSITION and answer.fresh:
            assert answer.facts.keys() & {"allowed", "reason"}, answer.facts
            self.instead = answer.facts.get("allowed")
            if answer.facts.get("reason") not in ("decision-names-no-unit", "release-names-no-unit"):
                assert self.instead is not None, answer.facts
        return receipt.refusal

    def _knock(self, made: Parcel) -> Any:
        if self.cut is None:
            return self.house.send(made.carrier or made.by, made.raw, **made.beside).result
        self.house.cut_at = self.cut
        try:
            answer = self.house.send(made.carrier or made.by, made.raw, **made.beside).result
        except NoPowerError:
            self.house.start_again()
            return self.house.send(made.carrier or made.by, made.raw, **made.beside).result
        except ReferralError as refused:
            self.house.fall()
            if refused.facts.get("reason") != "writer":
                raise
            # The batch before was not at its last step yet, and the power failed there.
            return self.house.send(made.carrier or made.by, made.raw, **made.beside).result
        self.house.fall()
        return answer


def refusal(call: Callable[[], object]) -> ReferralError | None:
    """Why not; None if it went through."""
    try:
        call()
    except ReferralError as error:
        return error
    return None


def kind_of(who: Someone) -> str:
    return f"{ROLE_OF[who.party].value} {who.kind.value}"


def _lives(case: Case, unit: str) -> bool:
    """Whether there is still something to be done there."""
    return case.sheets[unit].state in UNREAD | OPEN


def _slower(terms: Terms, pace: int) -> Terms:
    ladder = tuple((pace * after, rung) for after, rung in terms.ladder)
    return Terms(pace * terms.ack, pace * terms.decision, pace * terms.first_status, pace * terms.next_status, ladder)


def _short(move: Move) -> str:
    marks = (move.code, move.to, "joint" if move.joint else None, "whole" if move.unit is None else move.unit)
    return " ".join([move.signer, move.act.value, *(mark for mark in marks if mark)])
