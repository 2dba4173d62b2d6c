"""A measured server as the driver sees it: started, probed, its CPU and memory read, and a token got from it."""

from __future__ import annotations

import http.client
import os
import resource
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from bench.world import HOTLINE, Template
from referral_api.client import access


@contextmanager
def running(
    kind: str, folder: Path, port: int, *, surroundings: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A server of this kind, from the moment it listens; `surroundings` are added to its environment alone."""
    command = [sys.executable, "-m", "bench.servers", kind, str(folder), str(port)]
    with (folder / f"{kind}.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, **(surroundings or {})})
    try:
        for _ in range(200):
            if process.poll() is not None:
                raise SystemExit(f"{kind} did not start:\n{(folder / f'{kind}.log').read_text()}")
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)


def cpu_s(process: subprocess.Popen[bytes]) -> float:
    """User and system time that it has used so far."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def pss_kb(process: subprocess.Popen[bytes]) -> int:
    """Its proportional set size: what it alone makes the machine hold."""
    lines = Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))


def raise_open_files(needed: int) -> int:
    """Let this process and those that it starts open as many files as the machine allows; how many that is.

    Says so loudly where it is fewer than `needed`.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard != resource.RLIM_INFINITY and hard < needed:
        print(f"!!! only {hard} open files are allowed and {needed} are needed: measuring fewer pollers", flush=True)
    return needed if hard == resource.RLIM_INFINITY else hard


def token(template: Template, party: str = HOTLINE) -> tuple[str, bytes, str]:
    """A token of the party's person, the secret of its proof key, and a nonce for proofs (R-43)."""
    session = template.session(party)
    try:
        secret = secrets.token_bytes(32)
        answer = session._ask_for_token(template.keys(party), secret)  # the bench speaks for the party
        issued = access.parse_token(answer, secret, int(time.time())).value
    finally:
        session.close()
    url = f"{template.issuer}/v1/ping"
    old = int(time.time()) - 3600
    proof = access.build_proof(access.proof_key(secret), "GET", url, jti="x" * 22, now=old, token=issued)
    connection = http.client.HTTPConnection("127.0.0.1", template.port)
    connection.request("GET", "/v1/ping", headers={"Authorization": f"DPoP {issued}", "DPoP": proof})
    nonce = connection.getresponse().getheader("dpop-nonce")
    connection.close()
    if nonce is None:
        raise SystemExit("the exchange gave no nonce for a stale proof")
    return issued, secret, nonce
