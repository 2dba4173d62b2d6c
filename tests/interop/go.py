"""Programs in Go, built without a network from the log packages that each toolchain carries, or loudly not."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest


def build(factory: pytest.TempPathFactory, name: str, source: str) -> Path:
    """The program of this source, which imports `<name>/note` and `<name>/tlog`; skips where there is no Go."""
    go = shutil.which("go")
    if go is None:
        pytest.skip("INTEROP NOT RUN: no Go toolchain")
    asked = subprocess.run([go, "env", "GOROOT", "GOVERSION"], capture_output=True, text=True, check=True)
    root, version = asked.stdout.split()[:2]
    packages = Path(root) / "src/cmd/vendor/golang.org/x/mod/sumdb"
    if not packages.is_dir():
        pytest.skip("INTEROP NOT RUN: this Go toolchain carries no transparency log sources")
    module = factory.mktemp(name)
    for package in ("note", "tlog"):
        shutil.copytree(packages / package, module / package)
    (module / "main.go").write_text(source)
    language = ".".join(version.removeprefix("go").split(".")[:2])
    (module / "go.mod").write_text(f"module {name}\n\ngo {language}\n")
    environment = os.environ | {"GOPROXY": "off", "GOTOOLCHAIN": "local", "GOFLAGS": "-mod=mod", "GOWORK": "off"}
    environment.setdefault("GOCACHE", str(factory.mktemp("go_cache")))
    subprocess.run([go, "build", "-o", "program", "."], cwd=module, env=environment, check=True)
    return module / "program"
