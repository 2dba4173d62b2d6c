"""The programs in JavaScript beside this file, run with exactly the locked packages, or not at all and loudly so."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).resolve().parent
LOCK = HERE / "package-lock.json"
INSTALLED = HERE / "node_modules" / ".package-lock.json"
PACKAGES = ("jose", "hpke", "oauth4webapi", "@panva/hpke-noble", "@noble/curves", "@noble/post-quantum")


def installed() -> bool:
    """Whether node_modules holds exactly the locked versions."""
    if not INSTALLED.exists():
        return False
    locked, present = (json.JSONDecoder().decode(path.read_text())["packages"] for path in (LOCK, INSTALLED))
    return all(
        present.get(f"node_modules/{name}", {}).get("version") == locked[f"node_modules/{name}"]["version"]
        for name in PACKAGES
    )


def get_node() -> str:
    """The node program, with the locked packages installed beside the scripts; skips the test where that cannot be."""
    program, npm = shutil.which("node"), shutil.which("npm")
    if program is None or npm is None:
        pytest.skip("INTEROP NOT RUN: node and npm are not installed")
    if not installed():
        done = subprocess.run([npm, "ci"], cwd=HERE, capture_output=True, text=True, timeout=180, check=False)
        if done.returncode:
            pytest.skip(f"INTEROP NOT RUN: npm ci failed: {done.stderr.strip()[-300:]}")
    return program


def run(node: str, script: str, argument: str, job: Any = None) -> Any:
    """What a script answers to a job, both JSON."""
    done = subprocess.run(
        [node, script, argument],
        cwd=HERE,
        input=json.dumps(job),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.JSONDecoder().decode(done.stdout)
