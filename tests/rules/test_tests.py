"""The tests themselves: each can fail, none replaces our own code by something else."""

from __future__ import annotations

import ast

from tests.rules.tree import functions, python

PROVING_CALLS = {"raises", "fail", "warns"}
"""Beside these, whatever is called `verify…` raises when it does not hold: so do our functions and the library's."""
PATCHES = {"patch", "MagicMock", "Mock", "AsyncMock"}


def _calls(function: ast.AST) -> set[str]:
    found = set()
    for node in ast.walk(function):
        if isinstance(node, ast.Call):
            target = node.func
            found.add(target.attr if isinstance(target, ast.Attribute) else getattr(target, "id", ""))
    return found


def _proves(function: ast.AST) -> bool:
    if any(name in PROVING_CALLS or name.startswith("verify") for name in _calls(function)):
        return True
    return any(isinstance(node, ast.Assert) and not _is_constant(node.test) for node in ast.walk(function))


def _is_constant(test: ast.expr) -> bool:
    return isinstance(test, ast.Constant) or (isinstance(test, ast.Tuple) and bool(test.elts))


def _proving_names() -> set[str]:
    """Functions of the tests that assert something, or call one of the tests' functions that does."""
    bodies = {function.name: function for _, _, tree in python("tests") for function in functions(tree)}
    proving = {name for name, function in bodies.items() if _proves(function)}
    while more := {name for name, function in bodies.items() if name not in proving and _calls(function) & proving}:
        proving |= more
    return proving


def test_every_test_can_fail() -> None:
    proving = _proving_names()
    wrong = [
        f"{path}:{function.lineno} {function.name}"
        for path, _, tree in python("tests")
        if path.name.startswith("test_")
        for function in functions(tree)
        if function.name.startswith("test_") and not _proves(function) and not _calls(function) & proving
    ]
    assert not wrong, wrong


def test_test_names_are_sentences() -> None:
    wrong = [
        f"{path}:{function.lineno} {function.name}"
        for path, _, tree in python("tests")
        if path.name.startswith("test_")
        for function in functions(tree)
        if function.name.startswith("test_") and function.name.count("_") < 3
    ]
    assert not wrong, wrong


def test_every_test_function_is_in_a_file_that_pytest_collects() -> None:
    wrong = [
        f"{path}:{function.lineno} {function.name}"
        for path, _, tree in python("tests")
        if not path.name.startswith("test_")
        for function in functions(tree)
        if function.name.startswith("test_")
    ]
    assert not wrong, wrong


def test_our_own_code_is_never_mocked() -> None:
    wrong = []
    for path, _, tree in python("tests"):
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module in {"unittest.mock", "unittest", "mock"}:
                wrong.append(f"{path}:{node.lineno}")
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in PATCHES:
                wrong.append(f"{path}:{node.lineno}")
    wrong = [place for place in wrong if not place.startswith("tests/rules/")]
    assert not wrong, wrong
