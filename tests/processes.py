"""Further processes of a world's exchange, over the same PostgreSQL: real ones, which can be killed.

Run as a program it is such a process: it reads its settings from standard input, serves, and prints its port. Its clock
is the machine's, or ahead of it by the seconds that a file says at the time (`set_ahead`); a second file says by how
much it is wrong.

Must never: share anything with the test's own process but the database and the folders of the settings.
"""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from referral_api.server import app
from referral_api.server.settings import Settings


@dataclass(slots=True)
class Process:
    """One server process."""

    child: subprocess.Popen[str]
    port: int
    log: Path

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    def kill(self) -> None:
        """End it as a power cut would."""
        self.child.send_signal(signal.SIGKILL)
        self.child.wait()


def set_ahead(ahead: Path, seconds: float) -> None:
    """Let the processes whose clock this file moves be so far ahead of the machine's."""
    draft = ahead.with_name(ahead.name + ".new")
    draft.write_text(str(seconds))
    draft.replace(ahead)


@contextmanager
def serving(settings: Settings, log: Path, ahead: Path | None = None, wrong: Path | None = None) -> Iterator[Process]:
    """A process that serves for the length of the block; its log lines go to `log`, `ahead` moves its clock, `wrong`
    (only with `ahead`) makes it wrong.
    """
    command = [sys.executable, "-m", "tests.processes", *(str(one) for one in (ahead, wrong) if one is not None)]
    with (
        log.open("w") as lines,
        subprocess.Popen(
            command,
            cwd=Path(__file__).parents[1],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=lines,
            text=True,
        ) as child,
    ):
        try:
            if child.stdin is None or child.stdout is None:
                raise RuntimeError("the process has no pipes")
            child.stdin.write(settings.model_dump_json())
            child.stdin.close()
            told = child.stdout.readline()
            if not told:
                raise RuntimeError(f"the process did not start: {log.read_text()[-2000:]}")
            yield Process(child, int(told), log)
        finally:
            child.terminate()
            try:
                child.wait(timeout=10)
            except subprocess.TimeoutExpired:
                child.kill()
                raise


def main() -> None:
    """Serve as `serve` does, on a port of the kernel's choice."""
    settings = Settings.model_validate_json(sys.stdin.read())
    if len(sys.argv) == 1:
        runtime = app.open_runtime(settings)
    else:
        ahead = Path(sys.argv[1])

        def runs_on() -> float:
            return time.time() + float(ahead.read_text())

        def clock() -> float:
            return runs_on() + (float(Path(sys.argv[2]).read_text()) if len(sys.argv) > 2 else 0.0)

        runtime = app.open_runtime(settings, clock=clock, runs_on=runs_on)
    with socket.create_server(("127.0.0.1", 0), backlog=256) as listener:
        server = app.http_server(app.create_app(runtime), settings)
        print(listener.getsockname()[1], flush=True)
        server.run(sockets=[listener])


if __name__ == "__main__":
    main()
