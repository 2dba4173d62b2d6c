"""Every import contract is broken on a copy of the package, and must say so by its name (docs/decisions/0001).

The copy is made once a worker; a violation is a handful of lines written into it and taken out again.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.rules.tree import PACKAGE, TOP, project


@dataclass(frozen=True, slots=True)
class Violation:
    """`importer` gets a line that imports `imported`; either module is created where it does not exist yet."""

    contract: str
    importer: str
    imported: str = ""
    back: bool = False
    """The imported module imports its importer too."""

    def __str__(self) -> str:
        return f"{self.contract}: {self.importer} imports {self.imported or 'nothing, but stands nowhere'}"


VIOLATIONS = (
    Violation("floors", "domain.words", "referral_api.formats.keys"),
    Violation("floors", "formats.keys", "referral_api.auditlog.merkle"),
    Violation("floors", "auditlog.merkle", "referral_api.client.exchange"),
    Violation("floors", "client.sdk", "referral_api.server.service.acts"),
    Violation("floors", "server.service.acts", "referral_api.client.sealing"),
    Violation("floors", "client.sdk", "referral_api.cli.output"),
    Violation("floors", "witness.memory", "referral_api.server.storage.queries"),
    Violation("floors", "witness.memory", "referral_api.client.session"),
    Violation("floors", "utils"),
    Violation("server-floors", "server.service.acts", "referral_api.server.api.problems"),
    Violation("server-floors", "server.storage.queries", "referral_api.server.service.acts"),
    Violation("server-floors", "server.observe", "referral_api.server.storage.queries"),
    Violation("server-floors", "server.observe", "referral_api.server.settings"),
    Violation("server-floors", "server.api.problems", "referral_api.server.app"),
    Violation("server-floors", "server.helpers"),
    Violation("client-floors", "client.keystore", "referral_api.client.sealing"),
    Violation("client-floors", "client.exchange", "referral_api.client.outbox"),
    Violation("client-floors", "client.outbox", "referral_api.client.sdk"),
    Violation("client-floors", "client.sdk", "referral_api.client.desk"),
    Violation("client-floors", "client.sdk", "referral_api.client.doctor"),
    Violation("client-floors", "client.helpers"),
    Violation("audit-floors", "client.audit.sources", "referral_api.client.audit.kept"),
    Violation("audit-floors", "client.audit.mirroring", "referral_api.client.audit.verifying"),
    Violation("audit-floors", "client.audit.helpers"),
    Violation("domain-pure", "domain.words", "pydantic"),
    Violation("domain-pure", "domain.words", "cryptography.hazmat.primitives.hashes"),
    Violation("bytes-without-io", "formats.keys", "httpx2"),
    Violation("bytes-without-io", "formats.keys", "joserfc"),
    Violation("bytes-without-io", "auditlog.merkle", "sqlite3"),
    Violation("bytes-without-io", "auditlog.merkle", "sqlalchemy"),
    Violation("service-plain", "server.service.acts", "fastapi"),
    Violation("service-plain", "server.service.acts", "sqlalchemy.orm"),
    Violation("light-workstation", "client.sdk", "sqlmodel"),
    Violation("light-workstation", "client.exchange", "starlette.requests"),
    Violation("small-witness", "witness.memory", "sqlalchemy"),
    Violation("small-witness", "witness.app", "fastapi"),
    Violation("witness-on-demand", "cli.main", "referral_api.witness.app"),
    Violation("rows-stay", "server.service.acts", "referral_api.server.storage.tables"),
    Violation("rows-stay", "server.app", "referral_api.server.storage.tables"),
    Violation("settings-at-the-top", "server.service.acts", "referral_api.server.settings"),
    Violation("settings-at-the-top", "cli.hotline", "referral_api.server.settings"),
    Violation("server-on-demand", "cli.hotline", "referral_api.server.service.acts"),
    Violation("server-on-demand", "cli.main", "referral_api.server.app"),
    Violation("no-cycles", "formats.keys", "referral_api.formats.probe", back=True),
    Violation("no-cycles", "server.storage.queries", "referral_api.server.storage.probe", back=True),
)


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    top = tmp_path_factory.mktemp("contracts")
    shutil.copytree(PACKAGE, top / "referral_api", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(TOP / "pyproject.toml", top)
    return top


def judge(top: Path, *contracts: str) -> tuple[int, str]:
    """Exit code and text of import-linter over the copy, for some contracts or all."""
    program = Path(sys.executable).with_name("lint-imports")
    chosen = [word for contract in contracts for word in ("--contract", contract)]
    command = [str(program), "--no-logo", "--cache-dir", str(top / "cache"), *chosen]
    wide = {**os.environ, "COLUMNS": "200"}  # A contract's name must stay on one line.
    run = subprocess.run(command, cwd=top, env=wide, capture_output=True, text=True, check=False)
    return run.returncode, run.stdout + run.stderr


@contextmanager
def broken(top: Path, violation: Violation) -> Iterator[None]:
    """The copy with one violation in it."""
    importer = f"referral_api.{violation.importer}"
    changes = {importer: f"import {violation.imported}\n" if violation.imported else ""}
    if violation.imported.startswith("referral_api."):
        changes[violation.imported] = f"import {importer}\n" if violation.back else ""
    before: dict[Path, str | None] = {}
    for module, line in changes.items():
        file = _file_of(top, module)
        before[file] = file.read_text() if file.exists() else None
        file.write_text((before[file] or "") + "\n" + line)
    try:
        yield
    finally:
        for file, text in before.items():
            if text is None:
                file.unlink()
            else:
                file.write_text(text)


def _file_of(top: Path, module: str) -> Path:
    path = top.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def test_the_package_as_it_is_keeps_every_contract(copy: Path) -> None:
    code, text = judge(copy)
    assert code == 0, text


@pytest.mark.parametrize("violation", VIOLATIONS, ids=str)
def test_a_broken_contract_is_named(copy: Path, violation: Violation) -> None:
    (name,) = (c["name"] for c in project()["tool"]["importlinter"]["contracts"] if c["id"] == violation.contract)
    with broken(copy, violation):
        code, text = judge(copy, violation.contract)
    assert code == 1, text
    assert f"{name} BROKEN" in text


def test_every_contract_is_seen_to_break() -> None:
    contracts = {contract["id"] for contract in project()["tool"]["importlinter"]["contracts"]}
    assert contracts == {violation.contract for violation in VIOLATIONS}
