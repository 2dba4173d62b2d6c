"""Remove what must not be removed, one thing at a time, and see that a test notices: `make mutate`.

tests/mutations.toml is the list. Each entry is applied to a copy of the repository, its tests run, and they must fail;
before that they must pass, so that a failure means something. tests/rules/test_mutations.py keeps the list fitting.

Must never: touch the repository itself.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path

TOP = Path(__file__).resolve().parents[1]
ALL_PASSED, SOME_FAILED = 0, 1


@dataclass(frozen=True, slots=True)
class Mutation:
    """In `file`, `old` (standing there once) becomes `new`; one of `tests` must notice. `step`: of the door, or 0."""

    name: str
    file: str
    old: str
    new: str
    tests: str
    step: int = 0

    def applied(self, source: str) -> str:
        """The mutated source; ValueError where `old` does not stand there exactly once."""
        if source.count(self.old) != 1:
            raise ValueError(f"{self.name}: `old` stands {source.count(self.old)} times in {self.file}")
        return source.replace(self.old, self.new)


def mutations() -> list[Mutation]:
    """The list, in order."""
    rows = tomllib.loads((TOP / "tests" / "mutations.toml").read_text())["mutation"]
    return [Mutation(**row) for row in rows]


def run_tests(top: Path, tests: str) -> int:
    """Pytest's exit code over the copy."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "--no-header", *tests.split()]
    return subprocess.run(command, cwd=top, capture_output=True, check=False).returncode


def survivors(chosen: list[Mutation]) -> list[str]:
    """Names of the mutations that no test noticed, or whose tests do not even pass without it."""
    lost: list[str] = []
    with tempfile.TemporaryDirectory(prefix="mutate-") as name:
        top = Path(name)
        for part in ("referral_api", "tests", "schemas", "examples"):
            ignored = shutil.ignore_patterns("__pycache__", "node_modules")
            shutil.copytree(TOP / part, top / part, ignore=ignored)
        shutil.copy(TOP / "pyproject.toml", top)
        healthy = {tests: run_tests(top, tests) == ALL_PASSED for tests in {mutation.tests for mutation in chosen}}
        for mutation in chosen:
            file = top / mutation.file
            source = file.read_text()
            file.write_text(mutation.applied(source))
            noticed = healthy[mutation.tests] and run_tests(top, mutation.tests) == SOME_FAILED
            file.write_text(source)
            print(f"{'noticed ' if noticed else 'SURVIVED'}  {mutation.name}", flush=True)
            if not noticed:
                lost.append(mutation.name)
    return lost


def main(words: list[str]) -> int:
    """Run all mutations, or those whose name holds one of `words`. Returns 1 if any survived."""
    chosen = [m for m in mutations() if not words or any(word in m.name for word in words)]
    lost = survivors(chosen)
    print(f"mutate: {len(chosen) - len(lost)} of {len(chosen)} noticed")
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
