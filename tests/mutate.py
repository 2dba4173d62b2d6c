"""Remove what must not be removed, one thing at a time, and see that a test notices: `make mutate`.

tests/mutations.toml is the list. Each entry is applied to a copy of the repository, its tests run, and they must fail;
before that they must pass, so that a failure means something. tests/rules/test_mutations.py keeps the list fitting.
Each has its line as it ends. `python tests/mutate.py signer witness` tries those with such a word in their names.

Must never: touch the repository itself.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

TOP = Path(__file__).resolve().parents[1]
ALL_PASSED, SOME_FAILED = 0, 1
# The longest of them takes three minutes alone on two slow cores. Tests that hang have noticed nothing.
PATIENCE_S = 1200
ENDLESS = -1


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


def run_tests(top: Path, tests: str) -> tuple[int, str]:
    """Pytest's exit code over the copy, ENDLESS if it had to be ended, and what it printed."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "--no-header", *tests.split()]
    # The servers and programs that tests start are the copy's too, wherever they are started.
    environment = {**os.environ, "PYTHONPATH": str(top)}
    with subprocess.Popen(
        command,
        cwd=top,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            said, _ = process.communicate(timeout=PATIENCE_S)
            code = process.returncode
        except subprocess.TimeoutExpired as error:
            code, said = ENDLESS, (error.output or b"").decode(errors="replace")
        finally:
            # Also where this program is interrupted; and whatever the tests have left running.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    return code, said


class Trial:
    """One copy of the repository, in which mutations are tried one after another."""

    def __init__(self, top: Path) -> None:
        self._top = top
        self._healthy: dict[str, bool] = {}
        for part in ("referral_api", "tests", "schemas", "examples"):
            ignored = shutil.ignore_patterns("__pycache__", "node_modules")
            shutil.copytree(TOP / part, top / part, ignore=ignored)
        shutil.copy(TOP / "pyproject.toml", top)

    def verdict(self, mutation: Mutation) -> str:
        """What became of it: `noticed`, `SURVIVED`, `ENDLESS`, or `UNHEALTHY` where its tests fail without it."""
        if not self._passes_without(mutation.tests):
            return "UNHEALTHY"
        file = self._top / mutation.file
        source = file.read_text()
        file.write_text(mutation.applied(source))
        try:
            code, _said = run_tests(self._top, mutation.tests)
        finally:
            file.write_text(source)
        return {SOME_FAILED: "noticed", ENDLESS: "ENDLESS"}.get(code, "SURVIVED")

    def _passes_without(self, tests: str) -> bool:
        """Whether the tests pass over the repository as it is; asked once for each set of tests."""
        if tests not in self._healthy:
            code, said = run_tests(self._top, tests)
            self._healthy[tests] = code == ALL_PASSED
            if code != ALL_PASSED:
                print(said, flush=True)
        return self._healthy[tests]


def survivors(chosen: list[Mutation]) -> list[str]:
    """Names of the mutations that no test noticed, or whose tests do not even pass without it."""
    lost: list[str] = []
    with tempfile.TemporaryDirectory(prefix="mutate-") as name:
        trial = Trial(Path(name))
        for number, mutation in enumerate(chosen, 1):
            began = time.monotonic()
            verdict = trial.verdict(mutation)
            took = time.monotonic() - began
            print(f"{number:3d} of {len(chosen)}  {verdict:9}  {took:5.0f} s  {mutation.name}", flush=True)
            if verdict != "noticed":
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
