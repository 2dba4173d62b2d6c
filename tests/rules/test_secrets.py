"""The repository holds no private key, no machine's path and no host that packages come from."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.rules.tree import TOP, files, texts

THROWAWAY_KEYS = Path("schemas/vectors")
"""Vectors need both halves of keys that were made for them and never trusted by anybody."""
KEY_TEXT = re.compile(
    r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY|AGE-SECRET-KEY-1[0-9A-Z]{20}|PRIVATE\+KEY\+[^ ]+\+[0-9a-f]{8}\+"
)
KEY_FILES = {".pem", ".key", ".p8", ".p12", ".pfx", ".jks", ".keystore", ".kdbx", ".sqlite", ".sqlite3", ".db"}
PRIVATE_MEMBERS = {"d", "p", "q", "dp", "dq", "qi", "priv", "k"}
A_PRIVATE_JWK = re.compile(
    r"""["']kty["'][^{}]{0,4000}["'](?:d|priv)["']\s*:\s*["']|["'](?:d|priv)["']\s*:\s*["'][^{}]{0,9000}["']kty["']"""
)
OF_SOMEBODYS_MACHINE = re.compile(r"(?<![\w.\-*])/(?:home|root|Users|work|mnt|srv/build)/[\w.-]+")
PACKAGE_HOSTS = re.compile(
    r"\b(?:(?:test\.)?pypi\.(?:org|io)|files\.python"
    r"hosted\.org|(?:registry\.)?npmjs\.(?:org|com)|registry\.yarnpkg)\b"
)
NETWORK_OPTIONS = re.compile(r"--(?:extra-)?index-url|--find-links|--trusted-host|_authToken", re.IGNORECASE)


def test_no_file_is_a_key_or_a_database() -> None:
    wrong = [str(path) for path in files() if path.suffix.lower() in KEY_FILES]
    assert not wrong, wrong


def test_no_text_holds_a_private_key() -> None:
    wrong = [str(path) for path, text in texts() if KEY_TEXT.search(text) and path.parts[:2] != ("tests", "rules")]
    assert not wrong, wrong


def test_no_json_document_holds_a_private_key() -> None:
    wrong = []
    for path, text in texts():
        if path.suffix not in {".json", ".jsonl", ".jwk", ".jws"} or path.is_relative_to(THROWAWAY_KEYS):
            continue
        documents = text.splitlines() if path.suffix == ".jsonl" else [text]
        for document in documents:
            try:
                value = json.loads(document)
            except ValueError:
                continue
            wrong += [f"{path}: {sorted(member)}" for member in _private_jwks(value)]
    assert not wrong, wrong


def _private_jwks(value: Any) -> Iterator[set[str]]:
    if isinstance(value, dict):
        if "kty" in value and value.keys() & PRIVATE_MEMBERS:
            yield value.keys() & PRIVATE_MEMBERS
        for inner in value.values():
            yield from _private_jwks(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _private_jwks(inner)


def test_no_other_text_holds_a_private_jwk() -> None:
    wrong = [
        str(path)
        for path, text in texts()
        if path.suffix in {".py", ".md", ".js", ".mjs", ".yaml", ".yml", ".txt", ".html"}
        and path.parts[:2] != ("tests", "rules")
        and A_PRIVATE_JWK.search(text)
    ]
    assert not wrong, wrong


def test_the_search_for_private_keys_finds_one() -> None:
    private = {"kty": "OKP", "crv": "Ed25519", "x": "A" * 43, "d": "B" * 43}
    assert list(_private_jwks({"keys": [private]})) == [{"d"}]
    assert A_PRIVATE_JWK.search(json.dumps(private))
    assert A_PRIVATE_JWK.search(json.dumps(dict(reversed(private.items()))))
    assert not A_PRIVATE_JWK.search(json.dumps({"d": "C" * 43, "k": "act", "t": 1, "v": 1}))
    assert KEY_TEXT.search("-----BEGIN " + "ENCRYPTED PRIVATE KEY-----")


def test_no_text_names_a_path_of_somebodys_machine() -> None:
    wrong = [f"{path}: {found.group()}" for path, text in texts() if (found := OF_SOMEBODYS_MACHINE.search(text))]
    assert not wrong, wrong


def test_no_text_names_where_packages_come_from() -> None:
    wrong = []
    for path, text in texts():
        if path.parts[:2] == ("tests", "rules"):
            continue
        wrong += [
            f"{path}: {found.group()}" for found in (PACKAGE_HOSTS.search(text), NETWORK_OPTIONS.search(text)) if found
        ]
    wrong = [place for place in wrong if not place.startswith("Makefile: ")] + _makefile_hosts()
    assert not wrong, wrong


def _makefile_hosts() -> list[str]:
    """The Makefile may say that no index is emitted into a lock; it may not name one."""
    text = (TOP / "Makefile").read_text().replace("--no-emit-index-url", "").replace("--no-emit-find-links", "")
    return [
        f"Makefile: {found.group()}" for found in (PACKAGE_HOSTS.search(text), NETWORK_OPTIONS.search(text)) if found
    ]
