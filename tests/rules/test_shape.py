"""Sizes, docstrings and names: what keeps every file readable in one sitting."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.rules.tree import body_lines, functions, python

SOURCES = ("referral_api", "tests", "examples")
JUNK_DRAWERS = {"utils", "util", "helpers", "helper", "common", "manager", "managers", "base", "misc", "shared", "core"}
NOT_OUR_WORDS = {"ticket", "tickets", "tenant", "tenants", "tip", "tips"}
VERBS = {"get", "put", "post", "patch", "delete", "head", "options", "route", "api_route"}


@pytest.mark.parametrize("folder", SOURCES)
def test_files_are_at_most_400_lines_and_test_files_600(folder: str) -> None:
    limit = 600 if folder == "tests" else 400
    wrong = [f"{path}: {n}" for path, source, _ in python(folder) if (n := source.count("\n")) > limit]
    assert not wrong, wrong


@pytest.mark.parametrize("folder", SOURCES)
def test_functions_are_at_most_60_lines(folder: str) -> None:
    limit = 80 if folder == "tests" else 60
    wrong = [
        f"{path}:{function.lineno} {function.name}: {n}"
        for path, _, tree in python(folder)
        for function in functions(tree)
        if (n := body_lines(function)) > limit
    ]
    assert not wrong, wrong


def test_routes_are_at_most_15_lines() -> None:
    wrong = [
        f"{path}:{function.lineno} {function.name}: {n}"
        for path, function in _routes()
        if (n := body_lines(function)) > 15
    ]
    assert not wrong, wrong


def _routes() -> Iterator[tuple[Path, ast.FunctionDef | ast.AsyncFunctionDef]]:
    for path, _, tree in python("referral_api"):
        if path.parts[1:3] != ("server", "api"):
            continue
        for function in functions(tree):
            calls = [d.func if isinstance(d, ast.Call) else d for d in function.decorator_list]
            decorated = any(isinstance(call, ast.Attribute) and call.attr in VERBS for call in calls)
            # The dispatcher of the hot calls has no decorators; its handlers are coroutines named by their method.
            dispatched = isinstance(function, ast.AsyncFunctionDef) and function.name.partition("_")[0] in VERBS
            if decorated or dispatched:
                yield path, function


def test_every_module_says_in_12_lines_what_it_is_for_and_must_never_do() -> None:
    wrong = []
    for path, _, tree in python("referral_api"):
        text = ast.get_docstring(tree) or ""
        if not text:
            wrong.append(f"{path}: no docstring")
        elif len(text.splitlines()) > 12:
            wrong.append(f"{path}: docstring of {len(text.splitlines())} lines")
        elif "must never" not in text.lower() and path.name != "__init__.py" and "versions" not in path.parts:
            wrong.append(f"{path}: the docstring does not say what the module must never do")
    assert not wrong, wrong


def test_tests_and_examples_say_what_they_are_for() -> None:
    wrong = [str(p) for folder in ("tests", "examples") for p, _, tree in python(folder) if not ast.get_docstring(tree)]
    assert not wrong, wrong


def test_there_is_no_junk_drawer() -> None:
    wrong = [str(path) for path, _, _ in python("referral_api") if {path.stem, path.parent.name} & JUNK_DRAWERS]
    assert not wrong, wrong


def test_names_use_the_words_of_the_glossary() -> None:
    wrong = []
    for path, _, tree in python("referral_api"):
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                words = re.findall(r"[A-Z]?[a-z]+", node.name)
                if {word.lower() for word in words} & NOT_OUR_WORDS:
                    wrong.append(f"{path}:{node.lineno} {node.name}")
    assert not wrong, wrong


def test_verify_functions_return_what_they_verified_never_a_bool() -> None:
    wrong = [
        f"{path}:{function.lineno} {function.name}"
        for path, _, tree in python("referral_api")
        for function in functions(tree)
        if function.name.startswith(("verify_", "parse_"))
        and isinstance(function.returns, ast.Name)
        and function.returns.id == "bool"
    ]
    assert not wrong, wrong


def test_now_is_always_the_last_positional_argument() -> None:
    wrong = []
    for path, _, tree in python("referral_api"):
        for function in functions(tree):
            plain = [argument.arg for argument in (*function.args.posonlyargs, *function.args.args)]
            if "now" in plain and plain[-1] != "now":
                wrong.append(f"{path}:{function.lineno} {function.name}")
    assert not wrong, wrong


def test_there_is_no_banner_comment_and_no_licence_header() -> None:
    banner = re.compile(r"^\s*#\s*([-=*#~]{3,}|copyright\b|spdx-)", re.IGNORECASE)
    wrong = [
        f"{path}:{number}"
        for folder in SOURCES
        for path, source, _ in python(folder)
        for number, line in enumerate(source.splitlines(), 1)
        if banner.match(line)
    ]
    assert not wrong, wrong


def test_the_domain_imports_the_standard_library_and_itself_only() -> None:
    wrong = [
        f"{path}: {name}"
        for path, _, tree in python("referral_api")
        if path.parts[1] == "domain"
        for name in _imports(tree)
        if name.partition(".")[0] not in sys.stdlib_module_names and not name.startswith("referral_api.domain")
    ]
    assert not wrong, wrong


def _imports(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""
