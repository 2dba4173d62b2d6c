"""The locks: complete, hashed, of one mind, and silent about where packages come from."""

from __future__ import annotations

import json
import re
from functools import cache
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.rules.tree import TOP, files, project

LOCKS = ("build", "runtime", "client", "test", "check", "lock")
BESIDE_THE_BASE = ("server", "postgres", "s3", "notices", "witness")


@cache
def pinned(lock: str) -> dict[str, Requirement]:
    """Name to pin of a lock; every line is a pin, a hash or a continuation, else AssertionError."""
    pins: dict[str, Requirement] = {}
    text = (TOP / "locks" / f"{lock}.txt").read_text().replace("\\\n", " ")
    for line in text.splitlines():
        statement, *hashes = re.split(r"\s--hash=", line.strip())
        assert hashes, f"{lock}: no hash in {line[:60]!r}"
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}\s*", digest) for digest in hashes), line[:60]
        pin = Requirement(statement)
        assert re.fullmatch(r"==[^,*]+", str(pin.specifier)), f"{lock}: {statement} is no pin"
        name = canonicalize_name(pin.name)
        assert name not in pins, f"{lock}: {name} twice"
        pins[name] = pin
    return pins


def inputs(lock: str) -> list[Requirement]:
    """What people wrote into `locks/<lock>.in`."""
    lines = (TOP / "locks" / f"{lock}.in").read_text().splitlines()
    return [Requirement(line) for line in lines if line.strip() and not line.startswith("#")]


@pytest.mark.parametrize("lock", LOCKS)
def test_every_line_of_a_lock_is_a_hashed_pin(lock: str) -> None:
    assert pinned(lock)


def test_no_lock_names_a_host_or_an_option() -> None:
    forbidden = re.compile(r"https?:|://|index-url|find-links|trusted-host| @ |^-", re.MULTILINE)
    wrong = [f"{f.name}: {m.group()}" for f in (TOP / "locks").iterdir() if (m := forbidden.search(f.read_text()))]
    assert not wrong, wrong


def test_there_is_no_lock_that_nothing_checks() -> None:
    found = {path.stem for path in files() if path.parts[0] == "locks" and path.suffix == ".txt"}
    assert found == set(LOCKS)


@pytest.mark.parametrize(("smaller", "larger"), [("client", "runtime"), ("runtime", "test"), ("test", "check")])
def test_each_lock_holds_the_one_before_it_with_the_same_versions(smaller: str, larger: str) -> None:
    larger_pins = pinned(larger)
    missing = [
        f"{name}{pin.specifier}"
        for name, pin in pinned(smaller).items()
        if name not in larger_pins or larger_pins[name].specifier != pin.specifier
    ]
    assert not missing, missing


def test_every_requirement_is_pinned_within_its_range() -> None:
    metadata = project()["project"]
    base = [Requirement(text) for text in metadata["dependencies"]]
    extras = [Requirement(t) for extra in BESIDE_THE_BASE for t in metadata["optional-dependencies"][extra]]
    build = [Requirement(text) for text in project()["build-system"]["requires"]]
    wanted = {
        "client": base,
        "runtime": base + extras,
        "build": build + inputs("build"),
        "test": inputs("test"),
        "check": inputs("check"),
        "lock": inputs("lock"),
    }
    wrong = [
        f"{lock}: {requirement}, locked {pin}"
        for lock, requirements in wanted.items()
        for requirement in requirements
        if not _satisfies(pin := pinned(lock).get(canonicalize_name(requirement.name)), requirement)
    ]
    assert not wrong, f"run `make lock`: {wrong}"


def _satisfies(pin: Requirement | None, requirement: Requirement) -> bool:
    if pin is None:
        return False
    (version,) = (specifier.version for specifier in pin.specifier)
    return requirement.specifier.contains(version, prereleases=True)


def test_every_extra_is_in_a_lock() -> None:
    assert set(project()["project"]["optional-dependencies"]) == set(BESIDE_THE_BASE)


def test_a_workstation_installs_no_sql_no_web_framework_and_no_blob_store() -> None:
    heavy = {"sqlalchemy", "sqlmodel", "alembic", "fastapi", "starlette", "uvicorn", "obstore", "psycopg", "authlib"}
    assert not heavy & pinned("client").keys()


def test_node_locks_name_no_host_either() -> None:
    wrong = []
    for path in files():
        if path.name == "package-lock.json":
            packages: dict[str, dict[str, Any]] = json.loads((TOP / path).read_text())["packages"]
            wrong += [f"{path}: {name}" for name, entry in packages.items() if "resolved" in entry]
            wrong += [
                f"{path}: {name} without hash"
                for name, entry in packages.items()
                if name and not entry.get("integrity")
            ]
    assert not wrong, f"set omit-lockfile-registry-resolved=true in .npmrc: {wrong}"
