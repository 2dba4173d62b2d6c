"""Every ban of ruff's TID251 catches each spelling of a use and says where to go; owners use only what they own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.rules.tree import TOP, project

CLOCK = {"datetime.datetime.now", "time.time"}
RANDOMNESS = {"secrets", "os.urandom"}
IDS = {"uuid.uuid4", "uuid_utils"}
OPENING = {"cryptography.hazmat.primitives.hpke", "cryptography.hazmat.primitives.ciphers", "cryptography.cobblestone"}
OWNERS: dict[str, set[str]] = {
    "referral_api/cli/admin/founding.py": CLOCK | RANDOMNESS,
    "referral_api/cli/admin/clock.py": {"time.time"},
    "referral_api/cli/admin/doctor.py": {"time.time"},
    "referral_api/cli/admin/keys.py": {"time.time"},
    "referral_api/cli/admin/recovery.py": {"time.time"},
    "referral_api/cli/admin/retention.py": {"time.time"},
    "referral_api/cli/admin/revoke.py": {"time.time"},
    "referral_api/cli/witness.py": CLOCK | RANDOMNESS,
    "referral_api/client/compartment.py": CLOCK | RANDOMNESS | {"cryptography.hazmat.primitives.ciphers"},
    "referral_api/client/keystore.py": CLOCK | RANDOMNESS | {"cryptography.hazmat.primitives.ciphers"},
    "referral_api/client/sdk.py": CLOCK | RANDOMNESS | IDS,
    "referral_api/client/sealing.py": CLOCK | RANDOMNESS | OPENING,
    "referral_api/client/self_test.py": {"cryptography.cobblestone"},
    "referral_api/formats/possession.py": {"cryptography.hazmat.primitives.hpke"},
    "referral_api/formats/strict_json.py": {"json.loads"},
    "referral_api/server/app.py": CLOCK | RANDOMNESS,
    "referral_api/server/service/courier.py": {"apprise"},
    "referral_api/server/service/oauth.py": {"joserfc.jws"},
    "referral_api/witness/app.py": {"time.time"},
}
"""What each owner file may use of what is banned elsewhere. The list may grow only with a reason in its commit."""


def banned() -> dict[str, str]:
    api: dict[str, dict[str, str]] = project()["tool"]["ruff"]["lint"]["flake8-tidy-imports"]["banned-api"]
    return {name: entry["msg"] for name, entry in api.items()}


def owner_globs() -> dict[str, list[str]]:
    ignores: dict[str, list[str]] = project()["tool"]["ruff"]["lint"]["per-file-ignores"]
    return ignores


def findings(*arguments: str, source: str | None = None, cwd: Path = TOP) -> list[dict[str, Any]]:
    """What ruff's TID251 finds, as its JSON rows."""
    command = [sys.executable, "-m", "ruff", "check", "--select", "TID251", "--no-cache", "--output-format", "json"]
    run = subprocess.run([*command, *arguments], input=source, cwd=cwd, capture_output=True, text=True, check=False)
    assert run.returncode in {0, 1}, run.stderr
    rows: list[dict[str, Any]] = json.loads(run.stdout)
    return rows


@pytest.mark.parametrize(
    "folder",
    [
        "cli",
        "server",
        "server/service",
        "server/storage",
        "server/api",
        "client",
        "witness",
        "auditlog",
        "formats",
        "domain",
    ],
)
def test_every_ban_catches_each_spelling_and_says_where_to_go(folder: str) -> None:
    lines: list[tuple[str, str]] = []
    for name in banned():
        module, _, attribute = name.rpartition(".")
        lines.append((name, f"import {name}" if not attribute or not module else f"from {module} import {attribute}"))
        if name.startswith("datetime.datetime."):
            lines[-1] = (name, f"import datetime as clock; clock.datetime.{attribute}()")
            lines.append((name, f"from datetime import datetime as moment; moment.{attribute}()"))
        elif name == "datetime.date.today":
            lines[-1] = (name, "from datetime import date as day; day.today()")
        elif module in {"time", "os", "json", "uuid"}:
            lines.append((name, f"import {module} as other_{module}; other_{module}.{attribute}"))
    rows = findings(
        *("--stdin-filename", f"referral_api/{folder}/probe.py", "-"),
        source="\n".join(line for _, line in lines) + "\n",
    )
    caught: dict[int, str] = {}
    for row in rows:
        caught[row["location"]["row"]] = caught.get(row["location"]["row"], "") + row["message"]
    wrong = [
        line
        for number, (name, line) in enumerate(lines, 1)
        if f"`{name}` is banned: {banned()[name]}" not in caught.get(number, "")
    ]
    assert not wrong, wrong


def test_only_the_owner_files_are_exempt() -> None:
    exempt = {path for path, rules in owner_globs().items() if "TID251" in rules and path.startswith("referral_api/")}
    assert exempt == set(OWNERS)


def test_an_owner_uses_only_what_it_owns() -> None:
    rows = findings("--config", "lint.per-file-ignores = {}", "--ignore-noqa", "referral_api")
    wrong = []
    for row in rows:
        path = Path(row["filename"]).relative_to(TOP).as_posix()
        name = row["message"].split("`")[1]
        if name not in OWNERS.get(path, set()):
            wrong.append(f"{path}:{row['location']['row']} {name}")
    assert not wrong, wrong


def test_nothing_in_the_package_is_exempt_from_a_ban_by_a_comment() -> None:
    wrong = [
        f"{path.relative_to(TOP)}:{number}"
        for path in (TOP / "referral_api").rglob("*.py")
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if "noqa: TID251" in line or line.rstrip().endswith("# noqa")
    ]
    assert not wrong, wrong
