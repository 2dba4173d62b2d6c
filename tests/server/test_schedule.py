"""When notices are due: never more often than the digest allows, never too late, and nothing that was told is lost."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from referral_api.server.service.schedule import URGENT_GAP_S, Schedule

PARTIES = ("a", "b")
LINES = st.lists(
    st.tuples(st.sampled_from(PARTIES), st.booleans(), st.floats(0, 200), st.floats(0, 0.999)), min_size=1, max_size=40
)


def run(
    lines: list[tuple[str, bool, float, float]], delay_s: tuple[int, int], digest_s: int
) -> tuple[list[tuple[str, bool, float]], list[tuple[str, bool, float]]]:
    """Every line told (party, urgent, when), and every notice that went out, as a clock in whole tenths goes on."""
    chances = iter([chance for *_, chance in lines])
    schedule = Schedule(delay_s=delay_s, digest_s=digest_s, chance=lambda: next(chances, 0.5))
    told, sent, now = [], [], 0.0

    def let_go(until: float) -> None:
        while (due := schedule.next_due()) is not None and due <= until:
            for party, owed in schedule.take(due):
                schedule.sent(party, urgent=owed.urgent, now=due)
                sent.append((party, owed.urgent, due))

    for party, urgent, pause, _ in lines:
        now += pause
        let_go(now)
        schedule.tell(party, urgent=urgent, at=int(now), now=now)
        told.append((party, urgent, now))
    let_go(now + 100_000)
    assert schedule.next_due() is None
    return told, sent


@given(LINES, st.tuples(st.integers(0, 60), st.integers(60, 120)), st.integers(0, 600))
def test_every_line_is_told_of_in_time(
    lines: list[tuple[str, bool, float, float]], delay_s: tuple[int, int], digest_s: int
) -> None:
    """R-109: an emergency at once, or within half a minute of the notice of one; the rest within delay and digest."""
    told, sent = run(lines, delay_s, digest_s)
    for party, urgent, at in told:
        after = [(was_urgent, due) for to, was_urgent, due in sent if to == party and due >= at]
        assert after, (party, at)
        within = min(URGENT_GAP_S, digest_s) if urgent else max(delay_s[1], digest_s)
        assert min(due for was_urgent, due in after if was_urgent or not urgent) <= at + within + 1e-6


@given(LINES, st.tuples(st.integers(0, 60), st.integers(60, 120)), st.integers(0, 600))
def test_no_party_gets_more_than_one_notice_in_a_digests_time_but_for_emergencies(
    lines: list[tuple[str, bool, float, float]], delay_s: tuple[int, int], digest_s: int
) -> None:
    _, sent = run(lines, delay_s, digest_s)
    for party in PARTIES:
        times = [(urgent, due) for to, urgent, due in sent if to == party]
        for (_, before), (urgent, after) in pairwise(times):
            if not urgent:
                assert after - before >= digest_s - 1e-6
        urgent_times = [due for urgent, due in times if urgent]
        for before, after in pairwise(urgent_times):
            assert after - before >= min(URGENT_GAP_S, digest_s) - 1e-6


@given(st.integers(1, 30), st.floats(0, 0.999))
def test_when_a_notice_goes_out_does_not_tell_how_many_lines_there_are(count: int, chance: float) -> None:
    """R-109: of lines that come together the first one's delay stands; the shortest of ten would tell of ten."""
    schedule = Schedule(delay_s=(0, 90), digest_s=300, chance=iter([chance, *[0.0] * 30]).__next__)
    for _ in range(count):
        schedule.tell("a", urgent=False, at=1, now=10.0)
    assert schedule.next_due() == 10.0 + 90 * chance
