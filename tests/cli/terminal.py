"""A person at a real terminal: `referral` in a process of its own behind a pseudo-terminal, typed at as people type."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import sys
import termios
import time
from pathlib import Path
from typing import Self

_ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_PATIENCE_S = 30.0


class Terminal:
    """One call of `referral` at a terminal. Use as a context manager; `screen` is everything that it showed."""

    def __init__(self, *words: str, folder: Path, **environment: str) -> None:
        self.raw = b""
        self._seen = 0
        self._fd, theirs = pty.openpty()
        termios.tcsetwinsize(theirs, (60, 120))
        # The terminal has its own size, whatever the test runner was told about its.
        foreign = ("REFERRAL_", "COLUMNS", "LINES")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
        # A session of its own, so that the terminal is its controlling one, which asking for a passphrase opens.
        command = ["setsid", "--ctty", str(Path(sys.executable).with_name("referral")), *words]
        given = kept | {"TERM": "xterm"} | environment
        self._process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, cwd=folder, env=given)
        os.close(theirs)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._fd)

    @property
    def screen(self) -> str:
        """What stands on it, without colours and movements of the cursor."""
        return _ANSI.sub("", self.raw.decode(errors="replace")).replace("\r\n", "\n")

    @property
    def echoes(self) -> bool:
        """Whether what is typed now shows on the screen."""
        return bool(termios.tcgetattr(self._fd)[3] & termios.ECHO)

    def wait(self, words: str, *, hidden: bool = False) -> None:
        """Read until these words are shown (after those of the last wait); `hidden`: and until typing does not show."""
        seen, ends = self._seen, time.monotonic() + _PATIENCE_S
        while words not in self.screen[seen:] or (hidden and self.echoes):
            assert self._read(0.1), f"ended before {words!r}:\n{self.screen}"
            assert time.monotonic() < ends, f"waited for {words!r}:\n{self.screen}"
        self._seen = self.screen.index(words, seen) + len(words)

    def type(self, text: str) -> None:
        """Type a line."""
        os.write(self._fd, text.encode() + b"\n")

    def end(self) -> int:
        """Read to the end; the exit code."""
        ends = time.monotonic() + _PATIENCE_S
        while self._read(0.1):
            assert time.monotonic() < ends, self.screen
        return self._process.wait(timeout=_PATIENCE_S)

    def _read(self, patience_s: float) -> bool:
        """Take what is there; False once the other side has closed."""
        if not select.select([self._fd], [], [], patience_s)[0]:
            return True
        try:
            more = os.read(self._fd, 65536)
        except OSError:  # Linux tells the end of a terminal's other side so.
            return False
        self.raw += more
        return bool(more)
