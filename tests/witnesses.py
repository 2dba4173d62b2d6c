"""Real witnesses in processes of their own: started by command, stopped, killed, rolled back, doubled.

    with witnessing(tmp_path, 3, logs=[keys_log.vkey], families=[audit_log.vkey]) as witnesses:
        witnesses[0].url, witnesses[0].keys
        witnesses[1].kill()

A witness that was rolled back is `witness.restore(snapshot)` with what `witness.snapshot()` gave; one that lies is a
`twin`: the same keys over a memory of its own, on another port.

Must never: share anything with the test's own process but the file of the witness.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from referral_api.auditlog.note import VerifierKey
from referral_api.auditlog.policy import Group, Policy, Witness
from referral_api.witness.file import create_file
from referral_api.witness.keys import Seeds, cosigning_keys
from referral_api.witness.memory import Memory, parse_log

START_S = 30.0
_LISTENING = re.compile(r"http://127\.0\.0\.1:(\d+)")


@dataclass(slots=True)
class WitnessProcess:
    """One witness. `keys` are what others pin of it; the file is only to be touched while it is stopped."""

    name: str
    file: Path
    keys: tuple[VerifierKey, ...]
    port: int = 0
    _child: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def url(self) -> str:
        """Its submission prefix, and its monitoring prefix."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> Path:
        """What it writes to standard error."""
        return self.file.with_suffix(".log")

    @property
    def policy_lines(self) -> tuple[Witness, ...]:
        """Its lines of a policy file, one a key."""
        return tuple(Witness(f"{self.name}#{at}", key, self.url) for at, key in enumerate(self.keys, 1))

    def launch(self) -> None:
        """Begin to start; `wait` returns when it can be reached. A port once taken is kept."""
        command = [str(Path(sys.executable).with_name("referral")), "--lang", "en", "witness", "serve"]
        with self.log.open("wb") as lines:
            self._child = subprocess.Popen(
                [*command, "--file", str(self.file), "--port", str(self.port)], stdout=lines, stderr=lines
            )

    def wait(self) -> None:
        """Return when it can be reached."""
        until = time.monotonic() + START_S
        while (found := _LISTENING.search(self.log.read_text())) is None:
            if self._child is None or self._child.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"the witness did not start: {self.log.read_text()[-2000:]}")
            time.sleep(0.02)
        self.port = int(found[1])

    def start(self) -> None:
        """Start it, and return when it can be reached."""
        self.launch()
        self.wait()

    def stop(self) -> None:
        """End it as an operator would."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it as a power cut would."""
        self._end(signal.SIGKILL)

    def snapshot(self) -> bytes:
        """What a backup of its file holds now."""
        return self.file.read_bytes()

    def restore(self, snapshot: bytes) -> None:
        """Do what an operator must not: bring a backup back, and go on with the same keys."""
        self.stop()
        self.file.write_bytes(snapshot)
        self.start()

    def twin(self, snapshot: bytes | None = None) -> WitnessProcess:
        """A second process with the same keys over a copy of the file, or of a snapshot; it is the caller's to stop."""
        copy = self.file.with_name(f"twin-of-{self.file.name}")
        shutil.copy(self.file, copy)
        if snapshot is not None:
            copy.write_bytes(snapshot)
        twin = WitnessProcess(self.name, copy, self.keys)
        twin.start()
        return twin

    def memory(self) -> Memory:
        """Its file, opened beside it; the caller closes it."""
        return Memory.open(self.file)

    def introduce(self, logs: Sequence[str], families: Sequence[str] = ()) -> None:
        """What its operator does, while it is stopped, with the verifier keys that `admin init` shows."""
        memory = self.memory()
        with memory.changing() as changes:
            for yearly, vkeys in ((False, logs), (True, families)):
                for vkey in vkeys:
                    changes.trust(parse_log(vkey, yearly=yearly))
        memory.close()

    def _end(self, how: signal.Signals) -> None:
        if self._child is not None:
            self._child.send_signal(how)
            try:
                self._child.wait(timeout=15)
            except subprocess.TimeoutExpired:
                self._child.kill()
                raise
            self._child = None


def make_witness(
    folder: Path, name: str, *, logs: Sequence[str] = (), families: Sequence[str] = (), seeds: Seeds | None = None
) -> WitnessProcess:
    """A new witness, not started, that trusts these logs: verifier keys, as `referral witness init` takes them.

    Who hands in its `seeds` can sign as this witness does: a test in which it conspires.
    """
    seeds = seeds or new_seeds()
    file = folder / f"{name.replace('/', '-')}.db"
    create_file(file, name, seeds, int(time.time()))
    made = WitnessProcess(name, file, tuple(key.verifier for key in cosigning_keys(name, seeds)))
    made.introduce(logs, families)
    return made


def new_seeds() -> Seeds:
    """What a new witness is made of."""
    return Seeds(os.urandom(16), os.urandom(32), os.urandom(32))


@contextmanager
def witnessing(
    folder: Path, count: int, *, logs: Sequence[str] = (), families: Sequence[str] = ()
) -> Iterator[list[WitnessProcess]]:
    """So many witnesses that serve for the length of the block: `testigo.example/1` and following."""
    made = [make_witness(folder, f"testigo.example/{at}", logs=logs, families=families) for at in range(1, count + 1)]
    try:
        for witness in made:
            witness.launch()
        for witness in made:
            witness.wait()
        yield made
    finally:
        for witness in made:
            witness.stop()


def policy_of_witnesses(witnesses: Sequence[WitnessProcess], quorum: int) -> Policy:
    """The policy file that asks for so many of these witnesses, with their URLs."""
    groups = [Group(one.name, 1, tuple(line.name for line in one.policy_lines)) for one in witnesses]
    top = Group("quorum", quorum, tuple(group.name for group in groups))
    lines = tuple(line for one in witnesses for line in one.policy_lines)
    return Policy(witnesses=lines, groups=(*groups, top), quorum=top.name)
