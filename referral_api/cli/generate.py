"""What the repository holds in a second form, made from the code: `make generate` writes it, `--check` compares.

docs/lifecycle.md and docs/permissions.md are the tables of the domain for readers, tests/rules/permissions.txt is the
golden matrix, in which a changed right shows as a changed line; schemas/ comes whole from formats/schemas.py. One
function a document, listed in `build`.

Must never: be imported by a command of users, or write anything that differs between two machines.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import timedelta
from pathlib import Path

import yaml

from referral_api import __version__
from referral_api.domain import lifecycle, policy, rules
from referral_api.formats import schemas

_NOTICE = "<!-- Generated from the code by `make generate`: change the table, not this page. -->\n"


def build() -> dict[str, bytes]:
    """Every generated file: its path from the top of the repository, and its exact bytes."""
    pages: Mapping[str, Callable[[], str]] = {
        "docs/lifecycle.md": _lifecycle_page,
        "docs/permissions.md": _permissions_page,
        "openapi.yaml": _openapi,
        "tests/rules/permissions.txt": policy.matrix,
    }
    files = {path: page().encode() for path, page in pages.items()}
    return files | {f"schemas/{path}": content for path, content in schemas.build().items()}


def find_stale(top: Path) -> Iterator[str]:
    """Paths below `top` of generated files that are missing, differ from what `build` makes, or are left over."""
    made = build()
    for path, content in made.items():
        file = top / path
        if not file.is_file() or file.read_bytes() != content:
            yield path
    yield from _leftovers(top, made)


def _leftovers(top: Path, made: Mapping[str, bytes]) -> Iterator[str]:
    """Files in wholly generated folders that nothing makes any more; vectors and the readme are made elsewhere."""
    for file in sorted((top / "schemas").rglob("*")):
        path = file.relative_to(top).as_posix()
        if (
            file.is_file()
            and path not in made
            and path != "schemas/README.md"
            and not path.startswith("schemas/vectors/")
        ):
            yield path


def _openapi() -> str:
    """The HTTP interface as FastAPI documents it, from the operations table."""
    from referral_api.server.api.cold import cold_app  # noqa: PLC0415  # the server's extras

    document = cold_app(None, version=__version__).openapi()
    notice = "# Generated from the code by `make generate`: change server/api/operations.py, not this file.\n"
    return notice + yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=120)


def _lifecycle_page() -> str:
    reached = ", ".join(f"`{state}`" for state in sorted(lifecycle.REACHED))
    answer = _span(rules.DEFAULT.withdrawal_answer)
    return f"""# The lifecycle of a delivery
{_NOTICE}
A delivery is one referral for one unit. The acts below move it. The investigation's status is the other axis: `status`
acts append to it and never move the delivery (docs/protocol.md, R-70 and following).

```mermaid
{lifecycle.mermaid().rstrip()}
```

## Moves

*Reached* stands for every state in which the unit knows of the delivery: {reached}. Of the rows that fit an act's kind,
its signer's role and the delivery's state, the first one counts whose *code* the act's body has as its `code` (empty:
any), and of whose *answers* a question is open that the signer may answer, and that its body's `answers` names, if it
names one (R-68; `phone_alert` needs none). Where no row is left the act is `illegal-transition`. *Answered by*: until
one of these comes, the act waits for the other side.

{"".join(_move_rows())}
## Clocks

{"".join(_clock_rows())}
Acknowledgement, decision and ladder count from the act that brought the delivery: its submit, its release, the approval
of a transfer, or from when it was given back (R-80, R-106). A notice is answered within {answer}.

## Other rules

These are the defaults of what an exchange may set beside the clocks (R-105). Ciphertext is kept so long (R-107):

{"".join(_retention_rows())}
`transfers`: `{rules.DEFAULT.transfers}` approves.
"""


def _move_rows() -> Iterator[str]:
    yield "| act | by | from | code | to | kind | answers | answered by | clause |\n"
    yield "|---|---|---|---|---|---|---|---|---|\n"
    for move in lifecycle.MOVES:
        to = f"`{move.to}`" if move.to else "unchanged"
        source = "*reached*" if move.source == lifecycle.REACHED else _codes(move.source)
        yield (
            f"| `{move.act}` | {_codes(move.by)} | {source} | {_codes(move.codes)} | {to} | {move.nature} "
            f"| {_codes(move.answers)} | {_codes(move.answered_by)} | {move.clause} |\n"
        )


def _clock_rows() -> Iterator[str]:
    yield "| urgency | `ack` | decision | first status | next status | ladder |\n|---|---|---|---|---|---|\n"
    for urgency, terms in rules.DEFAULT.clocks.items():
        spans = (terms.ack, terms.decision, terms.first_status, terms.next_status)
        ladder = ", ".join(f"{_span(after)} `{rung}`" for after, rung in terms.ladder)
        yield f"| `{urgency}` | {' | '.join(map(_span, spans))} | {ladder} |\n"


def _retention_rows() -> Iterator[str]:
    yield "| class | after the end of the delivery | after its acknowledgement |\n|---|---|---|\n"
    for kept, retention in rules.DEFAULT.retention.items():
        yield f"| `{kept}` | {_span(retention.after_end)} | {_span(retention.after_ack)} |\n"


def _permissions_page() -> str:
    return f"""# Who may do what, and who may see what
{_NOTICE}
Columns are role and kind of credential: `p` a person, `s` a service. The relation is what the caller's party is to the
object. What stands in no row is refused (docs/protocol.md, R-60).

```text
{policy.matrix().rstrip()}
```
"""


def _codes(values: Iterable[str]) -> str:
    return ", ".join(f"`{value}`" for value in sorted(values))


def _span(span: timedelta) -> str:
    for unit, name in ((timedelta(days=1), "d"), (timedelta(hours=1), "h")):
        if span % unit == timedelta(0):
            return f"{span // unit} {name}"
    return f"{span // timedelta(minutes=1)} min"


def main(arguments: list[str]) -> int:
    """Write every generated file below the current folder, or with `--check` name the stale ones. Returns 0 or 1."""
    top = Path.cwd()
    if arguments == ["--check"]:
        stale = list(find_stale(top))
        sys.stderr.writelines(f"stale: {path} (run `make generate`)\n" for path in stale)
        return 1 if stale else 0
    if arguments:
        sys.stderr.write("usage: python -m referral_api.cli.generate [--check]\n")
        return 2
    made = build()
    for path, content in made.items():
        file = top / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    for path in _leftovers(top, made):
        (top / path).unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
