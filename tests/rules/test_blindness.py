"""The exchange cannot read what it carries: not by its source, and not by what is loaded when it runs.

Sealing needs a recipient's public half, opening needs the private one; no file but its owners may name the latter.
"""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator

from tests.rules.tree import TOP, python

OPENERS = {f"referral_api/client/{name}.py" for name in ("sealing", "keystore", "compartment", "self_test")}
OPENING_CALLS = {"decapsulate", "decrypt", "decryptor", "unwrap"}
OPENING_CLASSES = {
    "AESCCM", "AESGCM", "AESGCMSIV", "AESOCB3", "AESSIV", "ChaCha20Poly1305", "Cipher", "Fernet", "MLKEM768PrivateKey",
    "MLKEM1024PrivateKey", "X25519PrivateKey", "X448PrivateKey",
}  # fmt: skip
OPENING_MODULES = ("cryptography.fernet", "cryptography.cobblestone", "cryptography.hazmat.primitives.ciphers")
NEVER_IN_A_SERVER = ("referral_api.client", "referral_api.cli")


def _openings(tree: ast.Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in OPENING_CLASSES:
            yield node.lineno, node.attr
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            if node.func.attr in OPENING_CALLS:
                yield node.lineno, f".{node.func.attr}("
        elif isinstance(node, ast.ImportFrom):
            names = {alias.name for alias in node.names}
            if names & OPENING_CLASSES or (node.module or "").startswith(OPENING_MODULES):
                yield node.lineno, f"from {node.module} import {', '.join(sorted(names))}"
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.startswith(OPENING_MODULES):
                    yield node.lineno, f"import {alias.name}"


def test_only_the_owner_files_can_open_anything() -> None:
    wrong = [
        f"{path}:{line} {what}"
        for path, _, tree in python("referral_api")
        if path.as_posix() not in OPENERS
        for line, what in _openings(tree)
    ]
    assert not wrong, wrong


def test_the_search_finds_every_way_to_open() -> None:
    samples = [
        "key.decrypt(a, b)",
        "key.decapsulate(c)",
        "from cryptography.hazmat.primitives.ciphers.aead import AESGCM",
        "import cryptography.fernet",
        "from cryptography.hazmat.primitives.asymmetric import mlkem; mlkem.MLKEM768PrivateKey",
        "from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey",
    ]
    missed = [sample for sample in samples if not list(_openings(ast.parse(sample)))]
    assert not missed, missed


def test_a_running_server_has_loaded_nothing_of_the_client() -> None:
    program = (
        "import json, sys, referral_api.server.app\n"
        "print(json.dumps(sorted(name for name in sys.modules if name.startswith('referral_api.'))))\n"
    )
    run = subprocess.run([sys.executable, "-c", program], cwd=TOP, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    loaded: list[str] = json.loads(run.stdout.splitlines()[-1])
    assert "referral_api.server.service.acts" in loaded
    wrong = [name for name in loaded if name.startswith(NEVER_IN_A_SERVER)]
    assert not wrong, wrong


def test_a_workstation_loads_no_server_library() -> None:
    program = (
        "import json, sys, referral_api.cli.main, referral_api.client.sdk\n"
        "print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))\n"
    )
    run = subprocess.run([sys.executable, "-c", program], cwd=TOP, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    heavy = {
        "sqlalchemy",
        "sqlmodel",
        "alembic",
        "fastapi",
        "starlette",
        "uvicorn",
        "obstore",
        "psycopg",
        "authlib",
        "joserfc",
    }
    assert not heavy & set(json.loads(run.stdout.splitlines()[-1]))
