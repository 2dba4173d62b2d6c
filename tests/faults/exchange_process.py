"""A real exchange in a process of its own that can be killed anywhere, and started again within milliseconds.

`python -m tests.faults.exchange_process` imports everything once and then forks one life after another, each on the
same listening socket, as told on standard input. In a life that is to die, the exchange kills itself with SIGKILL at
the named step of the writer, from the moment the file FAULT_FLAG exists. `Nursery` is the other end of the pipe.

Must never: be imported by the program; do anything in a life that `serve` would not, but for dying.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import IO, Any

from referral_api.server import app
from referral_api.server.settings import Settings

TOP = Path(__file__).resolve().parents[2]
STEPS = ("begin", "before-append", "before-commit", "after-commit", "after-sign", "answered")


def live(listener: socket.socket, step: str, flag: Path) -> None:
    """One life of an exchange, from opening its database to its end."""

    def on_step(name: str) -> None:
        if name == step and flag.exists():
            os.kill(os.getpid(), signal.SIGKILL)

    settings = Settings()
    runtime = app.open_runtime(settings, on_step=on_step)
    app.http_server(app.create_app(runtime), settings).run(sockets=[listener])


def main() -> None:
    """Fork a life for each line of standard input, and say how each ended."""
    listener = socket.socket(fileno=int(os.environ.pop("FAULT_LISTENER")))
    flag = Path(os.environ.pop("FAULT_FLAG"))
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            with contextlib.suppress(KeyboardInterrupt):
                live(listener, json.loads(line)["step"], flag)
            os._exit(0)
        print(json.dumps({"pid": child}), flush=True)
        _, status = os.waitpid(child, 0)
        print(json.dumps({"ended": os.waitstatus_to_exitcode(status)}), flush=True)


class Nursery:
    """Lives of one exchange, one after the other."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self.flag = folder / "fault.armed"
        self.log = folder / "exchange.log"
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port = self._listener.getsockname()[1]
        names = ("issuer", "environment", "data_dir", "keys_dir", "signer_dir", "database_url")
        environment = {f"REFERRAL_{name.upper()}": str(getattr(settings, name)) for name in names}
        environment |= {"FAULT_LISTENER": str(self._listener.fileno()), "FAULT_FLAG": str(self.flag)}
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.faults.exchange_process"],
                cwd=TOP,
                env=os.environ | environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                pass_fds=[self._listener.fileno()],
            )
        self._pid = 0

    @property
    def url(self) -> str:
        """Where every life listens."""
        return f"http://127.0.0.1:{self.port}"

    def begin(self, step: str = "") -> None:
        """Start a life; with a step, one that dies there once it is armed."""
        self.disarm()
        self._pipe(self._process.stdin).write(json.dumps({"step": step}).encode() + b"\n")
        self._pipe(self._process.stdin).flush()
        self._pid = self._told()["pid"]

    def arm(self) -> None:
        """From now on this life dies when it reaches its step."""
        self.flag.touch()

    def disarm(self) -> None:
        """It lives on."""
        self.flag.unlink(missing_ok=True)

    def ended(self) -> int:
        """Wait until this life is over: 0, or minus the signal that killed it."""
        code = self._told()["ended"]
        self._pid = 0
        return int(code)

    def kill(self) -> int:
        """End this life now, as a power cut would."""
        os.kill(self._pid, signal.SIGKILL)
        return self.ended()

    def end(self) -> int:
        """Ask this life to end, as an operator would."""
        os.kill(self._pid, signal.SIGTERM)
        return self.ended()

    def close(self) -> None:
        """End everything."""
        if self._pid:
            self.end()
        self._pipe(self._process.stdin).close()
        self._process.wait(timeout=30)
        self._pipe(self._process.stdout).close()
        self._listener.close()

    def _told(self) -> dict[str, Any]:
        line = self._pipe(self._process.stdout).readline()
        if not line:
            raise RuntimeError(f"the exchange's process is gone: {self.log.read_text()[-2000:]}")
        told: dict[str, Any] = json.loads(line)
        return told

    @staticmethod
    def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
        if pipe is None:
            raise RuntimeError("the process was started with pipes")
        return pipe


if __name__ == "__main__":
    main()
