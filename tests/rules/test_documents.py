"""The documents say what the code does: clauses are cited, links resolve, codes are explained, pages are fresh."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from referral_api.cli import generate
from referral_api.domain.errors import ErrorCode
from tests.rules.tree import TOP, files, python

DEFINED = re.compile(r"\*\*R-(\d{2,3})\*\*")
CITED = re.compile(r"\bR-(\d{2,3})\b(?:\s*(?:to|–|-)\s*R-(\d{2,3})\b)?")
LINK = re.compile(r"(?<!!)\[[^\]\n]+\]\(([^)\s]+)\)")
DECISION_SECTIONS = ["Context", "Decision", "Consequences", "Rejected", "Enforced by"]


@cache
def clauses() -> list[int]:
    return [int(number) for number in DEFINED.findall((TOP / "docs/protocol.md").read_text())]


def cited(text: str, *, ranges: bool) -> Iterator[int]:
    """Clauses that a text cites; `R-70 to R-79` counts as all of them only if `ranges`."""
    for found in CITED.finditer(text):
        first, last = int(found[1]), int(found[2] or found[1])
        yield from range(first, last + 1) if ranges else {first, last}


def test_every_clause_is_written_once() -> None:
    twice = {number for number in clauses() if clauses().count(number) > 1}
    assert clauses()
    assert not twice, sorted(twice)


def test_every_clause_is_cited_in_the_code() -> None:
    found = {number for _, source, _ in python("referral_api") for number in cited(source, ranges=True)}
    assert not set(clauses()) - found, [f"R-{number:02}" for number in sorted(set(clauses()) - found)]


def test_every_clause_is_cited_by_name_in_a_test() -> None:
    found = {
        number
        for path, source, _ in python("tests")
        if path.parts[1] != "rules"
        for number in cited(source, ranges=False)
    }
    assert not set(clauses()) - found, [f"R-{number:02}" for number in sorted(set(clauses()) - found)]


def test_no_citation_names_a_clause_that_does_not_exist() -> None:
    wrong = [
        f"{path}: R-{number:02}"
        for folder in ("referral_api", "tests")
        for path, source, _ in python(folder)
        if path.parts[:2] != ("tests", "rules")
        for number in cited(source, ranges=False)
        if number not in clauses()
    ]
    assert not wrong, wrong


def test_every_link_of_every_document_resolves() -> None:
    wrong = []
    for path in _pages():
        for target in LINK.findall((TOP / path).read_text()):
            if target.startswith(("https://", "mailto:")):
                continue
            file, _, anchor = target.partition("#")
            goal = (TOP / path).parent / file if file else TOP / path
            if not goal.exists() or (anchor and anchor not in _anchors(goal)):
                wrong.append(f"{path}: {target}")
    assert not wrong, wrong


def _anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+\s+(.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def _pages() -> list[Path]:
    return [path for path in files() if path.suffix == ".md"]


def test_every_page_of_docs_can_be_reached_from_the_readme() -> None:
    reached: set[Path] = set()
    waiting = [TOP / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in reached or page.suffix != ".md" or not page.is_file():
            continue
        reached.add(page)
        waiting += [(page.parent / link.partition("#")[0]).resolve() for link in LINK.findall(page.read_text())]
    lost = [
        str(path)
        for path in _pages()
        if path.parts[0] == "docs" and path.parts[1] != "decisions" and TOP / path not in reached
    ]
    assert not lost, lost


def test_every_error_code_is_explained_in_docs_http() -> None:
    text = (TOP / "docs/http.md").read_text()
    missing = [code.value for code in ErrorCode if f"`{code.value}`" not in text]
    assert not missing, missing


def test_every_error_code_is_used_by_the_code() -> None:
    source = "\n".join(text for path, text, _ in python("referral_api") if path.name != "errors.py")
    unused = [code.name for code in ErrorCode if not re.search(rf"\b{code.name}\b|\"{code.value}\"", source)]
    assert not unused, unused


@pytest.mark.parametrize("path", sorted((TOP / "docs/decisions").glob("*.md")), ids=lambda path: path.stem)
def test_a_decision_page_has_its_sections_in_order_and_fits_on_a_page(path: Path) -> None:
    text = path.read_text()
    assert re.match(rf"# {path.stem[:4]}: \S", text), "the title repeats the number"
    assert re.search(r"^Date: \d{4}-\d\d-\d\d · Status: \w", text, re.MULTILINE)
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == DECISION_SECTIONS
    assert text.count("\n") <= 60


def test_decision_pages_are_numbered_without_a_hole() -> None:
    numbers = sorted(int(path.stem[:4]) for path in (TOP / "docs/decisions").glob("*.md"))
    assert numbers == list(range(len(numbers)))


def test_the_readme_fits_in_120_lines() -> None:
    assert (TOP / "README.md").read_text().count("\n") <= 120


def test_every_target_that_a_document_names_is_in_the_makefile() -> None:
    targets = set(re.findall(r"^([a-z]+):", (TOP / "Makefile").read_text(), re.MULTILINE))
    wrong = [
        f"{path}: make {word}"
        for path in _pages()
        for words in re.findall(r"(?:`|^    )make ((?:[a-z]+ ?)+)", (TOP / path).read_text(), re.MULTILINE)
        for word in words.split()
        if word not in targets
    ]
    assert not wrong, wrong


def test_every_generated_file_is_fresh() -> None:
    assert list(generate.find_stale(TOP)) == []


def test_every_rule_of_the_field_has_its_clauses_and_a_test_that_names_it() -> None:
    """docs/protocol.md §11: all eighteen, each by clauses that exist, each named by a test of its own."""
    rows = dict(re.findall(r"^\| (R\d+) \|[^|]*\|([^|]*)\|$", (TOP / "docs/protocol.md").read_text(), re.MULTILINE))
    assert set(rows) == {f"R{number}" for number in range(1, 19)}
    for named in rows.values():
        assert {int(number) for number in re.findall(r"R-(\d+)", named)} <= set(clauses())
    told = [source for path, source, _ in python("tests") if path.parts[1] != "rules"]
    phrases = [
        phrase for source in told for phrase in re.findall(r"[Rr]ules? (R\d+[R\d, and]*?) of the\s+field", source)
    ]
    rules = {rule for phrase in phrases for rule in re.findall(r"R\d+", phrase)}
    assert rules == set(rows), sorted(set(rows) ^ rules)


def test_the_demo_speaks_the_language_of_the_screens_to_its_end() -> None:
    """Rule R17 of the field: a referral is one word on every screen, and in what the demo says of it."""
    demo = "\n".join((TOP / "examples" / name).read_text() for name in ("demo.py", "turns.py", "stage.py"))
    assert "derivación" in demo
    assert not re.search(r"remisi[oó]n", demo)
    said = [re.sub(r"\{[^}]*\}", "", line) for line in re.findall(r'^ *print\(f?"(.*)"', demo, re.MULTILINE)]
    assert said
    assert not [line for line in said if re.search(r"\b(all|steps|held|the|of)\b", line)], said
