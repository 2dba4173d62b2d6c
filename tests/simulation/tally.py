"""What the years left: counted from the stored acts alone, not from what the simulation thinks that it did.

Must never: ask the running exchange anything.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from referral_api.domain.words import Act
from referral_api.formats.act import parse_act
from tests.lifetime.model import TERMS
from tests.simulation import charts
from tests.simulation.judge import Judge
from tests.world_check import Row, Rows

Where = tuple[str, str]
"""A delivery: referral and unit."""
URGENCIES: Final = ("emergency", "urgent", "routine")
RUNGS: Final = ("remind_unit", "telephone_now", "release_parent", "release_national", "expire")
ENDS: Final = {Act.CLOSE: "closed", Act.DECLINE: "declined", Act.WITHDRAW: "withdrawn", Act.EXPIRED: "expired"}


@dataclass
class Tally:
    """The numbers of a run. Times are seconds."""

    referrals: Counter[str] = field(default_factory=Counter)
    months: dict[str, Counter[str]] = field(default_factory=dict)
    acts: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    ends: dict[str, Counter[str]] = field(default_factory=lambda: {one: Counter() for one in URGENCIES})
    outcomes: Counter[str] = field(default_factory=Counter)
    rungs: dict[str, Counter[str]] = field(default_factory=lambda: {one: Counter() for one in URGENCIES})
    late: Counter[str] = field(default_factory=Counter)
    telephone: Counter[str] = field(default_factory=Counter)
    sent_after: list[int] = field(default_factory=list)
    acked_after: dict[str, list[int]] = field(default_factory=lambda: {one: [] for one in URGENCIES})
    told_after: dict[str, list[int]] = field(default_factory=lambda: {one: [] for one in URGENCIES})
    """From the acceptance to the first status."""
    never_acked: Counter[str] = field(default_factory=Counter)
    moments: int = 0
    """At how many moments everything that was owed was held against what was said."""
    said: Counter[str] = field(default_factory=Counter)
    """What was late or due, and said in its own second, or as soon as the exchange stood no more."""
    met: Counter[str] = field(default_factory=Counter)
    stood: Counter[str] = field(default_factory=Counter)


def count(rows: Rows, judge: Judge) -> Tally:
    """Everything; what a judge without faults has heard too."""
    counting = _Counting(Tally(moments=judge.moments, said=judge.said, met=judge.met, stood=judge.stood))
    for row in sorted(rows["act"], key=lambda row: int(row["pos"])):
        if row["ref"] is not None:
            counting.take(row)
    counting.finish()
    return counting.tally


@dataclass
class _Counting:
    """The stored acts, one after the other."""

    tally: Tally = field(default_factory=Tally)
    urgency: dict[str, str] = field(default_factory=dict)
    proposed: dict[str, str] = field(default_factory=dict)
    begun: dict[Where, int] = field(default_factory=dict)
    acked: dict[Where, int] = field(default_factory=dict)
    accepted: dict[Where, int] = field(default_factory=dict)
    told: set[Where] = field(default_factory=set)

    def take(self, row: Row) -> None:
        """One act about a referral."""
        if row["outcome"] != "accepted":
            self.tally.refused[row["code"]] += 1
            return
        act, at, where = parse_act(row["jws"].encode()), int(row["received_at"]), (row["ref"], row["unit"] or "")
        body: Any = act.body
        if act.act is Act.SUBMIT:
            self._submitted(row["ref"], at, body)
        kind, tally = self.urgency[row["ref"]], self.tally
        tally.acts[act.act.value] += 1
        self._begins(act.act, act.digest, where, at, body)
        self._goes_on(act.act, where, at, kind)
        if act.act in (Act.ESCALATED, Act.EXPIRED):
            tally.rungs[kind][body.rung if act.act is Act.ESCALATED else "expire"] += 1
        if act.act is Act.OVERDUE:
            tally.late[body.clock] += 1
        if act.act is Act.TELEPHONE_NOW:
            tally.telephone[body.reason] += 1
        if act.act is Act.CLOSE:
            tally.outcomes[body.outcome] += 1
        if act.act in ENDS:
            tally.ends[kind][ENDS[act.act]] += 1

    def _submitted(self, ref: str, at: int, body: Any) -> None:
        urgency, tally = body.urgency.value, self.tally
        self.urgency[ref] = urgency
        tally.referrals[urgency] += 1
        tally.months.setdefault(datetime.fromtimestamp(at, UTC).strftime("%Y-%m"), Counter())[urgency] += 1
        tally.sent_after.append(at - int(body.created_at.timestamp()))
        self.begun |= {(ref, to.unit): at for to in body.to if to.role.value != "escalation"}

    def _begins(self, act: Act, digest: str, where: Where, at: int, body: Any) -> None:
        """What brings a delivery to a unit."""
        if act is Act.RELEASED and where not in self.acked:  # Given back to who has read it, it is not read again.
            self.begun[where] = at
        elif act is Act.TRANSFER:
            self.proposed[digest] = body.to
        elif act is Act.APPROVE and body.answers in self.proposed:
            self.begun[where[0], self.proposed[body.answers]] = at

    def _goes_on(self, act: Act, where: Where, at: int, kind: str) -> None:
        if act is Act.ACK:
            self.acked.setdefault(where, at)
        elif act is Act.ACCEPT:
            self.accepted[where] = at
        elif act is Act.STATUS and where in self.accepted and where not in self.told:
            self.told.add(where)
            self.tally.told_after[kind].append(at - self.accepted[where])

    def finish(self) -> None:
        """How long each acknowledgement took."""
        for where, since in self.begun.items():
            kind = self.urgency[where[0]]
            if where in self.acked:
                assert since <= self.acked[where], "acknowledged before it was there"
                self.tally.acked_after[kind].append(self.acked[where] - since)
            else:
                self.tally.never_acked[kind] += 1


def part(values: Sequence[int], share: float) -> int | None:
    """The value that so large a share does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else None


def span(seconds: int | None) -> str:
    """A time as people say it."""
    if seconds is None:
        return "–"
    for size, name in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {name}"
    return f"{seconds} s"


def _times(name: str, lists: Iterable[tuple[str, Sequence[int]]]) -> str:
    rows = [[kind, len(values), span(part(values, 0.5)), span(part(values, 0.95))] for kind, values in lists]
    return charts.table([name, "count", "p50", "p95"], rows)


def _owed(tally: Tally) -> str:
    """What was asserted: nothing that came due stayed unsaid, at any moment."""
    names = sorted(tally.said | tally.met)
    rows = [[one, tally.said[one] + tally.met[one], tally.met[one], tally.said[one], tally.stood[one]] for one in names]
    header = [
        f"owed ({tally.moments} moments)",
        "in all",
        "done before",
        "said when due",
        "of these after a standstill",
    ]
    return charts.table(header, rows)


def report(tally: Tally, told: Counter[str], heading: str) -> str:
    """The tables, in Markdown, each below its chart."""
    in_time = [
        [kind, f"{100 * sum(one <= TERMS[kind][0] for one in values) / len(values):.0f} %" if values else "–",
         tally.never_acked[kind]]
        for kind, values in tally.acked_after.items()
    ]  # fmt: skip
    sections = [
        f"# {heading}",
        "![Referrals by month](referrals.svg)",
        charts.table(["urgency", "referrals"], [[one, tally.referrals[one]] for one in URGENCIES]),
        "![From sending to acknowledgement](acknowledged.svg)",
        _times("sent to acknowledged", tally.acked_after.items()),
        charts.table(["urgency", "acknowledged in time", "never"], in_time),
        _times("created to sent", [("all", tally.sent_after)]),
        _times("accepted to first status", tally.told_after.items()),
        "![Escalations by rung](escalations.svg)",
        charts.table(["rung", *URGENCIES], [[rung, *(tally.rungs[one][rung] for one in URGENCIES)] for rung in RUNGS]),
        charts.table(["late", "count"], tally.late.most_common()),
        _owed(tally),
        charts.table(["telephone now, because", "count"], tally.telephone.most_common()),
        "![How deliveries ended](ends.svg)",
        charts.table(
            ["end", *URGENCIES], [[end, *(tally.ends[one][end] for one in URGENCIES)] for end in ENDS.values()]
        ),
        charts.table(["outcome", "count"], tally.outcomes.most_common()),
        charts.table(["act", "accepted"], tally.acts.most_common()),
        charts.table(["refused for", "count"], tally.refused.most_common()),
        charts.table(["on the way", "count"], sorted(told.items())),
    ]
    return "\n\n".join(sections) + "\n"


def write(folder: Path, tally: Tally, told: Counter[str], heading: str) -> None:
    """The report, its charts and its numbers, into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    months = sorted(tally.months)
    drawn = {
        "referrals": charts.bars(
            "Referrals by month", months, {one: [tally.months[month][one] for month in months] for one in URGENCIES}
        ),
        "acknowledged": charts.shares(
            "Acknowledged within", "hours", {one: [at / 3600 for at in tally.acked_after[one]] for one in URGENCIES}, 24
        ),
        "escalations": charts.bars(
            "Escalations by rung", RUNGS, {one: [tally.rungs[one][rung] for rung in RUNGS] for one in URGENCIES}
        ),
        "ends": charts.bars(
            "How deliveries ended", list(ENDS.values()),
            {one: [tally.ends[one][end] for end in ENDS.values()] for one in URGENCIES},
        ),
    }  # fmt: skip
    for name, text in drawn.items():
        (folder / f"{name}.svg").write_text(text, encoding="utf-8")
    (folder / "report.md").write_text(report(tally, told, heading), encoding="utf-8")
    (folder / "numbers.json").write_text(json.dumps(vars(tally) | {"told": told}, indent=1, sort_keys=True) + "\n")
