"""One piece of work of an exchange in a process that dies at a chosen place: a statement, COMMIT, signing.

`python -m tests.faults.statement_process` imports everything once and forks a life for each line of standard input. The
places are counted, not listed: every statement passes the driver's `native`, BEGIN and COMMIT are the driver's own, and
the signer's writes are the system's. `Mortal` is the other end of the pipe.

Must never: be imported by the program; do anything in a life but the one piece of work.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from referral_api.domain.errors import ReferralError
from referral_api.server import app
from referral_api.server.service.acts import Door, Submission
from referral_api.server.service.callers import Caller
from referral_api.server.service.reading import BundleRead
from referral_api.server.settings import Settings

TOP = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Work:
    """What is done: an act handed in, or a bundle read, by a credential."""

    credential: str
    ref: str
    act: str | None = None
    sealed: str | None = None


@dataclass(slots=True)
class Steps:
    """The places that the work has passed, once it has begun; at number `last` the process dies."""

    last: int | None
    names: list[str] = field(default_factory=list)
    counting: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, name: str) -> None:
        """A place is reached."""
        if not self.counting:
            return
        with self._lock:
            if len(self.names) == self.last:
                os.kill(os.getpid(), signal.SIGKILL)
            self.names.append(name)


class DyingDriver:
    """A driver that counts what passes it, and is otherwise the one that it was given."""

    def __init__(self, driver: Any, steps: Steps) -> None:
        self._driver = driver
        self._steps = steps

    def __getattr__(self, name: str) -> Any:
        return getattr(self._driver, name)

    def native(self, sql: str) -> str:
        """Every statement, before it is run."""
        self._steps(sql[:60])
        return str(self._driver.native(sql))

    def commit(self, session: Any) -> None:
        """COMMIT, before and after."""
        self._steps("COMMIT")
        self._driver.commit(session)
        self._steps("committed")


def counted(steps: Steps, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
    """A call of the operating system that is a place before and after it."""

    def counting(*arguments: Any) -> Any:
        steps(f"before {name}")
        result = call(*arguments)
        steps(f"after {name}")
        return result

    return counting


def run(runtime: app.Runtime, work: Work) -> str:
    """Do it; what it is answered with: the receipt, `read`, or an error's code."""
    exchange = runtime.exchange
    who = exchange.keymap.get_credential(work.credential)
    caller = Caller(who.id, who.party, who.role, who.kind, keyholder=who.keyholder)
    if work.act is None:
        runtime.writer.run(BundleRead(exchange, work.ref, caller))
        return "read"
    sealed = None if work.sealed is None else work.sealed.encode()
    box: SimpleQueue[Any] = SimpleQueue()
    submission = Submission(work.act.encode(), ref=work.ref, sealed=sealed)
    committed = Door(exchange, runtime.writer).accept(submission, caller, box.put, int(time.time()))
    outcome = box.get() if committed is None else committed
    return outcome.code.value if isinstance(outcome, ReferralError) else str(outcome.result.receipt)


def live(settings: Settings, work: Work, last: int | None) -> list[str]:
    """Open the exchange and do the work, dying at a place; the places passed, where it lives."""
    steps = Steps(last)
    runtime = app.open_runtime(settings)
    runtime.writer.start()
    database: Any = runtime.exchange.database
    database._driver = DyingDriver(database._driver, steps)
    for name in ("pwrite", "fdatasync"):
        setattr(os, name, counted(steps, name, getattr(os, name)))
    steps.counting = True
    run(runtime, work)
    steps.counting = False
    runtime.close()
    return steps.names


def main() -> None:
    """A life for each line; how it ended, and what it passed."""
    for line in sys.stdin:
        told = json.loads(line)
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                names = live(Settings(**told["settings"]), Work(**told["work"]), told["last"])
                os.write(write, json.dumps(names).encode())
            finally:
                os._exit(0)
        os.close(write)
        _, status = os.waitpid(child, 0)
        with os.fdopen(read, "rb") as pipe:
            names = json.loads(pipe.read() or b"[]")
        print(json.dumps({"ended": os.waitstatus_to_exitcode(status), "names": names}), flush=True)


class Mortal:
    """Lives of one piece of work, each on files of its own."""

    def __init__(self, log: Path) -> None:
        with log.open("ab") as lines:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.faults.statement_process"],
                cwd=TOP,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=lines,
            )
        self._log = log

    def live(self, settings: Settings, work: Work, last: int | None) -> tuple[int, list[str]]:
        """One life: 0 or minus the signal that ended it, and the places passed if it lived."""
        stdin, stdout = self._process.stdin, self._process.stdout
        if stdin is None or stdout is None:
            raise RuntimeError("the process was started with pipes")
        names = ("issuer", "environment", "data_dir", "keys_dir", "signer_dir", "database_url")
        told = {name: str(getattr(settings, name)) for name in names}
        stdin.write(json.dumps({"settings": told, "work": asdict(work), "last": last}).encode() + b"\n")
        stdin.flush()
        line = stdout.readline()
        if not line:
            raise RuntimeError(self._log.read_text()[-2000:])
        answer = json.loads(line)
        return answer["ended"], answer["names"]

    def close(self) -> None:
        """End the process."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        self._process.wait(timeout=30)


if __name__ == "__main__":
    main()
