"""The generator writes what it checks, and its check names what is missing, changed or left over."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from referral_api.cli import generate


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
