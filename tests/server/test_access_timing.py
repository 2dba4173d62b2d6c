"""Nobody learns from the token endpoint who exists: same words, same headers, same time (`python -m bench.access`)."""

from __future__ import annotations

from pathlib import Path
from statistics import median

import pytest

from bench import access
from tests.world import World

ROUNDS, TRIES = 300, 4
APART = 0.05
"""How far apart two kinds' medians may be, as a part of one: with the noise of a machine that does other things."""


@pytest.mark.parametrize("locked", [False, True], ids=["failing for the first time", "failing too often"])
def test_an_unknown_name_and_a_wrong_key_get_one_answer_in_one_time(
    sqlite_world: World, tmp_path: Path, locked: bool
) -> None:
    keymap, ended = sqlite_world.server.runtime.exchange.keymap, sqlite_world.officer.keys
    service = access.service_of(keymap.issuer, keymap, ended, tmp_path)
    kinds = dict(access.askings(sqlite_world.colleague.keys, ended))
    if locked:
        # Who names the right key is looked at all the same, and knows already that it is one.
        del kinds[access.OTHER_KEY_RIGHT_KID], kinds[access.UNUSABLE]
    apart = 1.0
    for _ in range(TRIES):
        took, told = access.times_us(service, keymap.issuer, kinds, ROUNDS, locked=locked)
        answers = set[str]().union(*told.values())
        assert len(answers) == 1
        assert answers.pop().startswith("429" if locked else "401")
        middle = {name: median(times) for name, times in took.items()}
        apart = max(abs(one - middle[access.UNKNOWN]) for one in middle.values()) / middle[access.UNKNOWN]
        if apart < APART:
            break
    assert apart < APART


def test_what_the_answers_have_in_common_is_not_that_nothing_is_looked_at(sqlite_world: World, tmp_path: Path) -> None:
    """A signature that holds takes another way: the comparison above can tell ways apart."""
    keymap, ended = sqlite_world.server.runtime.exchange.keymap, sqlite_world.officer.keys
    service, own = access.service_of(keymap.issuer, keymap, ended, tmp_path), sqlite_world.colleague.keys
    key = own.access.signing_key()
    kinds = {access.UNKNOWN: access.askings(own, ended)[access.UNKNOWN]}
    kinds["its own key"] = access.Asking(own.credential, key, key.kid)
    _, told = access.times_us(service, keymap.issuer, kinds, 1)
    assert {name: answers.pop()[:3] for name, answers in told.items()} == {access.UNKNOWN: "401", "its own key": "200"}
