"""The generator writes what it checks, and its check names what is missing, changed or left over."""

from __future__ import annotations

import itertools
import subprocess
import sys
from functools import cache
from pathlib import Path

from referral_api.cli import generate
from referral_api.domain import lifecycle
from referral_api.domain.words import Act, Role, State


def run(top: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "referral_api.cli.generate", *words]
    return subprocess.run(command, cwd=top, capture_output=True, text=True, check=False)


def test_what_was_generated_is_fresh(tmp_path: Path) -> None:
    assert run(tmp_path).returncode == 0
    assert list(generate.find_stale(tmp_path)) == []
    assert run(tmp_path, "--check").returncode == 0


def test_two_processes_generate_the_same_bytes(tmp_path: Path) -> None:
    assert run(tmp_path).returncode == 0
    assert {path: (tmp_path / path).read_bytes() for path in generate.build()} == generate.build()


def test_the_check_names_what_is_missing_changed_and_left_over(tmp_path: Path) -> None:
    assert run(tmp_path).returncode == 0
    (tmp_path / "docs/lifecycle.md").unlink()
    (tmp_path / "docs/permissions.md").write_text("changed")
    (tmp_path / "schemas/acts/forgotten.json").write_text("{}")
    (tmp_path / "schemas/vectors").mkdir()
    (tmp_path / "schemas/vectors/kept.json").write_text("[]")
    answer = run(tmp_path, "--check")
    assert answer.returncode == 1
    named = [line.split()[1] for line in answer.stderr.splitlines()]
    assert named == ["docs/lifecycle.md", "docs/permissions.md", "schemas/acts/forgotten.json"]
    assert run(tmp_path).returncode == 0
    assert run(tmp_path, "--check").returncode == 0
    assert (tmp_path / "schemas/vectors/kept.json").exists()


def test_an_unknown_word_is_a_usage_error_and_writes_nothing(tmp_path: Path) -> None:
    assert run(tmp_path, "--chekc").returncode == 2
    assert list(tmp_path.iterdir()) == []


@cache
def rows() -> list[list[str]]:
    """The rows of the table of moves in docs/lifecycle.md, as a stranger reads them."""
    page = generate.build()["docs/lifecycle.md"].decode()
    lines = [line for line in page.partition("## Moves")[2].partition("## Clocks")[0].splitlines() if line[:1] == "|"]
    assert lines[0] == "| act | by | from | code | to | kind | answers | answered by | clause |"
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def named(cell: str) -> set[str]:
    return set() if cell == "*reached*" else {word.strip("` ") for word in cell.split(",") if word.strip()}


def step_by_the_page(act: str, by: str, state: str, asked: set[str], code: str | None) -> str | None:
    """The state after an act by the page alone; None where it is refused."""
    for kind, roles, source, codes, to, _, answers, _, _ in rows():
        reached = source == "*reached*" and state not in ("held", "purged")
        fits = kind == f"`{act}`" and by in named(roles) and (reached or state in named(source))
        fits = fits and (not named(codes) or code in named(codes))
        if fits and (act == "phone_alert" or not named(answers) or named(answers) & asked):
            return state if to == "unchanged" else to.strip("`")
    return None


def test_whoever_folds_by_the_page_alone_comes_to_the_same_states() -> None:
    """R-70: the answer to a withdrawal leads to two states, by its code."""
    codes = [None, *sorted(code for move in lifecycle.MOVES for code in move.codes)]
    for act in sorted(lifecycle.ACTS_ON_DELIVERIES):
        asked_of = [set(), *({one} for one in sorted({kind for m in lifecycle.MOVES for kind in m.answers}))]
        for by, state, asked in itertools.product(Role, State, asked_of):
            for code in codes if act is Act.WITHDRAWAL_ANSWER else [None]:
                move = lifecycle.find_move(act, by, state, open_questions=frozenset(asked), code=code)
                expected = None if move is None else (move.to or state).value
                assert step_by_the_page(act.value, by.value, state.value, set(asked), code) == expected, (
                    act,
                    by,
                    state,
                )


def test_the_page_has_the_defaults_of_all_rules() -> None:
    """R-105: what an exchange has not set is what stands there."""
    page = generate.build()["docs/lifecycle.md"].decode()
    assert "| `short` | 7 d | 90 d |" in page
    assert "`transfers`: `hotline`" in page
    assert "counts from submission" not in page
