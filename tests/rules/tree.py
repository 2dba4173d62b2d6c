"""The repository as the rules see it: its files, its Python code, its documents."""

from __future__ import annotations

import ast
import subprocess
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

TOP = Path(__file__).resolve().parents[2]
PACKAGE = TOP / "referral_api"


@cache
def files() -> tuple[Path, ...]:
    """Every file that is in git or would be added to it, relative to the top."""
    listing = subprocess.run(
        ["git", "-c", f"safe.directory={TOP}", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=TOP,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    return tuple(Path(name) for name in sorted(set(listing.split("\0"))) if name and (TOP / name).is_file())


def texts() -> Iterator[tuple[Path, str]]:
    """Every file that is text, with its text."""
    for path in files():
        content = (TOP / path).read_bytes()
        if b"\0" not in content:
            yield path, content.decode("utf-8", errors="replace")


@cache
def python(folder: str) -> tuple[tuple[Path, str, ast.Module], ...]:
    """The Python files below a folder of the top: path, source, syntax tree."""
    found = []
    for path in files():
        if path.suffix == ".py" and path.parts[0] == folder:
            source = (TOP / path).read_text()
            found.append((path, source, ast.parse(source)))
    assert found, f"there is no Python below {folder}/: the rule would hold of nothing"
    return tuple(found)


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Every function and method of a module, nested ones too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def body_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function's body, without its signature and its docstring."""
    body = function.body[1:] if ast.get_docstring(function, clean=False) is not None else function.body
    if not body:
        return 0
    return (body[-1].end_lineno or body[-1].lineno) - body[0].lineno + 1


@cache
def project() -> dict[str, Any]:
    """pyproject.toml."""
    return tomllib.loads((TOP / "pyproject.toml").read_text())
