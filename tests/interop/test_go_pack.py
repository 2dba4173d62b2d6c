"""The Go program that a pack's how-to page prints: built as it stands there, it accepts a pack's proofs (R-89)."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.auditlog.test_pack_pages import blocks, extracted

pytestmark = pytest.mark.interop

Check = Callable[[Path], subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def check(tmp_path_factory: pytest.TempPathFactory) -> Check:
    """The program, built without any network from the sources that the toolchain carries."""
    go = shutil.which("go")
    if go is None:
        pytest.skip("no Go toolchain: the page's program is not built")
    asked = subprocess.run([go, "env", "GOROOT", "GOVERSION"], capture_output=True, text=True, check=True)
    root, version = asked.stdout.split()[:2]
    packages = Path(root) / "src/cmd/vendor/golang.org/x/mod/sumdb"
    if not packages.is_dir():
        pytest.skip("this Go toolchain carries no transparency log sources: the page's program is not built")
    module = tmp_path_factory.mktemp("pack_check")
    for name in ("note", "tlog"):
        shutil.copytree(packages / name, module / name)
    # Debian's package has them under their own name; here they are part of the module.
    (module / "check.go").write_text(blocks("LEAME.html")["go"].replace("golang.org/x/mod/sumdb/", "pack_check/"))
    (module / "go.mod").write_text(f"module pack_check\n\ngo {'.'.join(version.removeprefix('go').split('.')[:2])}\n")
    environment = os.environ | {"GOPROXY": "off", "GOTOOLCHAIN": "local", "GOFLAGS": "-mod=mod", "GOWORK": "off"}
    environment.setdefault("GOCACHE", str(tmp_path_factory.mktemp("go_cache")))
    subprocess.run([go, "build", "-o", "check", "."], cwd=module, env=environment, check=True)

    def run(folder: Path) -> subprocess.CompletedProcess[str]:
        proofs = sorted(str(one.relative_to(folder)) for one in folder.glob("audit-*/*.tlog-proof"))
        command = [str(module / "check"), "audit-2026/policy", *proofs]
        return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)

    return run


def test_every_proof_of_a_pack_holds_for_gos_own_packages(check: Check, tmp_path: Path) -> None:
    result = check(extracted(tmp_path))
    assert result.returncode == 0, result.stderr
    assert [line.split()[:2] for line in result.stdout.splitlines()] == [
        ["OK", "exchange.example/v1/log/audit/2026"]
    ] * 5


@pytest.mark.parametrize("ending", ["tlog-proof", "policy"])
def test_one_changed_character_is_seen(check: Check, tmp_path: Path, ending: str) -> None:
    folder = extracted(tmp_path)
    file = min(folder.glob(f"audit-*/*{ending}"))
    raw = bytearray(file.read_bytes())
    at = len(raw) // 2
    raw[at] = ord("A") if raw[at] != ord("A") else ord("B")
    file.write_bytes(raw)
    assert check(folder).returncode != 0
