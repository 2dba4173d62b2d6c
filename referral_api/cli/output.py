"""The only printer: what a command found goes to stdout, talk to stderr, and every failure has one shape and one code.

With `--json` stdout carries one JSON object a result (`"schema": "referral.cli/1"`) and nothing else, and the exit code
is the same as without. A failure says what failed, why, what to do, the code and the exchange's request id.

Must never: print a traceback without `-v`, let a text from elsewhere steer the terminal, or decide an exit code by the
way of printing.
"""

from __future__ import annotations

import os
import sys
import traceback
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import IntEnum
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from referral_api.cli.texts import say
from referral_api.domain.catalogue import Language, text_of
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.formats.strict_json import canonical

SCHEMA = "referral.cli/1"
_WIDE = 200
"""Columns where nobody looks at a terminal: what a script reads must not be folded."""
_REFRESH_PER_S = 4
_SEVERAL = 2
"""Of a single thing there is no progress to show."""


class Exit(IntEnum):
    """The exit codes: stable, and the same with and without `--json`."""

    OK = 0
    UNEXPECTED = 1
    USAGE = 2
    UNREACHABLE = 3
    NOT_ENROLLED = 4
    VERIFICATION_FAILED = 5
    NOT_FOUND = 6
    CONFLICT = 7
    PARTLY = 8
    NOTHING_NEW = 9
    PROBLEMS = 10
    INTERRUPTED = 130


_E = ErrorCode
_CODES: Mapping[Exit, frozenset[ErrorCode]] = {
    Exit.UNEXPECTED: frozenset({_E.INTERNAL, _E.METHOD_NOT_ALLOWED, _E.PATH_MISMATCH, _E.RANGE_NOT_SATISFIABLE}),
    Exit.USAGE: frozenset(
        {
            *(_E.MALFORMED, _E.TOO_LARGE, _E.HEADERS_TOO_LARGE, _E.LENGTH_REQUIRED, _E.MEDIA_TYPE),
            *(_E.ENCODING_NOT_ALLOWED, _E.WRONG_TYPE, _E.ACT_SCHEMA, _E.FLOOR_NOT_MET, _E.CLASSICAL_RECIPIENT),
        }
    ),
    Exit.UNREACHABLE: frozenset(
        {
            *(_E.UNREACHABLE, _E.UNAVAILABLE, _E.RATE_LIMITED, _E.QUEUE_FULL, _E.OUTCOME_UNKNOWN),
            *(_E.CHECKPOINT_PENDING, _E.REPLAY_STORE_UNAVAILABLE, _E.WRITES_CLOSED, _E.PART_PENDING),
        }
    ),
    Exit.NOT_ENROLLED: frozenset(
        {
            *(_E.NOT_ENROLLED, _E.LOCKED, _E.KEYSTORE_CORRUPT, _E.INVALID_TOKEN, _E.INVALID_DPOP_PROOF),
            *(_E.USE_DPOP_NONCE, _E.INSUFFICIENT_SCOPE, _E.ISSUER_MISMATCH, _E.WRONG_AUDIENCE, _E.CLOCK_SKEW),
            *(_E.INVITE_UNKNOWN, _E.INVITE_EXPIRED, _E.INVITE_USED),
        }
    ),
    Exit.VERIFICATION_FAILED: frozenset(
        {
            *(_E.SIGNATURE_INVALID, _E.DECRYPT_FAILED, _E.NOT_INCLUDED, _E.INCONSISTENT, _E.WRONG_ORIGIN),
            *(_E.WRONG_ROOT, _E.NOT_WITNESSED, _E.RECEIPT_MISMATCH, _E.TAMPERED, _E.DIGEST_MISMATCH),
            *(_E.RECIPIENT_MISMATCH, _E.BUNDLE_MALFORMED, _E.ACT_SIGNATURE_INVALID, _E.KEY_NOT_VALID),
            *(_E.KEY_UNSUITABLE, _E.KEY_REUSED, _E.POSSESSION_NOT_PROVED, _E.CODE_MISMATCH, _E.SELF_TEST_FAILED),
        }
    ),
    Exit.NOT_FOUND: frozenset({_E.NOT_FOUND, _E.CURSOR_GONE, _E.CURSOR_INVALID}),
    Exit.CONFLICT: frozenset(
        {
            *(_E.STALE_HEAD, _E.ILLEGAL_TRANSITION, _E.NOT_PERMITTED, _E.CONSENT_GATE, _E.TARGET_NOT_ALLOWED),
            *(_E.ACT_ID_REUSED, _E.CODE_VOID, _E.STATEMENT_OUT_OF_SEQUENCE, _E.RECIPIENT_KEY_STALE),
            *(_E.NO_USABLE_KEY, _E.NEEDS_RESEALING),
        }
    ),
}
EXIT_OF: Mapping[ErrorCode, Exit] = {code: status for status, codes in _CODES.items() for code in codes}


class Fault(Exception):  # noqa: N818 - a fault of the call, told like any other failure
    """Something wrong with the call itself, before the exchange comes into it: `texts` has its words.

    `name` is the code told; `values` fill the texts and are what the caller gave, never a secret.
    """

    def __init__(self, name: str, status: Exit = Exit.USAGE, /, **values: Any) -> None:
        super().__init__(name)
        self.name = name
        self.status = status
        self.values = values


@dataclass(frozen=True, slots=True)
class Shown:
    """What a command found. `data` is its JSON; `lines` are for people; `next` the commands that follow.

    `status` tells of a result that is not whole: some things wait, or nothing is new.
    """

    data: Mapping[str, Any]
    lines: Sequence[str | Text | Table] = ()
    next: Sequence[str] = ()
    status: Exit = Exit.OK


@dataclass(slots=True)
class Screen:
    """One invocation's way of speaking."""

    lang: Language = "es"
    as_json: bool = False
    quiet: bool = False
    verbose: bool = False
    color: bool = True
    _out: Console = field(init=False, repr=False)
    _err: Console = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._out = self._console(stderr=False)
        self._err = self._console(stderr=True)

    def say(self, key: str, /, **values: Any) -> str:
        """The words of a key in this language, with what varies made harmless."""
        return say(self.lang, key, **{name: harmless(str(value)) for name, value in values.items()})

    def show(self, shown: Shown) -> Exit:
        """Print a result and its next commands; the exit code that goes with it."""
        if self.as_json:
            self._plain({"schema": SCHEMA, "next": list(shown.next), **shown.data})
        else:
            for line in shown.lines:
                self._write(self._out, line)
            for command in shown.next:
                self.talk("next", command=command)
        return shown.status

    def talk(self, key: str, /, **values: Any) -> None:
        """Say something beside the result: on stderr, for people only, and not with `--quiet`."""
        if not (self.quiet or self.as_json):
            self._write(self._err, self.say(key, **values))

    @contextmanager
    def progress(self) -> Iterator[Callable[[str, int, int], None]]:
        """Bars on stderr for as long as something long takes, where somebody looks at a terminal; gone afterwards."""
        if not sys.stderr.isatty() or self.quiet or self.as_json:
            yield lambda _what, _done, _total: None
            return
        tasks: dict[str, TaskID] = {}
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=self._err, transient=True, refresh_per_second=_REFRESH_PER_S) as bars:

            def tell(what: str, done: int, total: int) -> None:
                kind, _, log = what.partition(" ")
                if total < _SEVERAL:
                    return
                if what not in tasks:
                    tasks[what] = bars.add_task(self.say(f"busy.{kind}", log=log), total=total)
                bars.update(tasks[what], completed=done, total=total)

            yield tell

    def ask(self, key: str, /, **values: Any) -> None:
        """Print a question to whoever sits at the terminal, without the end of the line."""
        self._err.print(Text(self.say(key, **values)), end=" ", soft_wrap=True)

    def bell(self) -> None:
        """Sound the terminal's bell, where there is a terminal to hear it."""
        if sys.stderr.isatty() and not self.as_json:
            self._err.bell()

    @property
    def is_looked_at(self) -> bool:
        """Whether results go to a terminal, for people."""
        return sys.stdout.isatty() and not self.as_json

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
        """A table whose column titles are keys of the texts."""
        made = Table(box=None, pad_edge=False, show_edge=False, header_style="bold")
        for column in columns:
            made.add_column(Text(self.say(column)), overflow="fold")
        for row in rows:
            made.add_row(*(Text(harmless(cell)) for cell in row))
        return made

    def fail(self, error: BaseException, status: Exit | None = None) -> Exit:
        """Print a failure; the exit code of its kind, or the one that a verb has for it."""
        told = self._told(error)
        if status is not None:
            told = replace(told, status=status)
        if self.as_json:
            members = {"code": told.code, "title": told.what, "detail": told.why, "hint": told.do}
            self._plain({"schema": SCHEMA, "error": members | {"facts": told.facts, "exit": int(told.status)}})
        else:
            facts = [
                f"{name}={harmless(str(value))}" for name, value in sorted(told.facts.items()) if name not in _SPOKEN
            ]
            self._err.print(Text(f"✖ {told.what}", style="bold red"), soft_wrap=True)
            for key, words in (("error.why", told.why), ("error.do", told.do)):
                self._write(self._err, self.say(key, words=words))
            code = self.say("error.code", code=told.code, facts="  ".join(facts), exit=int(told.status))
            self._write(self._err, code.rstrip())
        if self.verbose:
            self._err.print(Text("".join(traceback.format_exception(error))), soft_wrap=True)
        return told.status

    def words_of(self, error: ReferralError) -> tuple[str, str, str]:
        """What happened, why, and what to do about it, where a failure is one line among others."""
        told = self._told(error)
        return told.what, told.why, told.do

    def at(self, unix_s: int) -> str:
        """A time as people read it: local, and UTC in brackets."""
        utc = datetime.fromtimestamp(unix_s, UTC)
        return f"{utc.astimezone():%d/%m/%Y %H:%M:%S} ({utc:%H:%M:%S} UTC)"

    def _told(self, error: BaseException) -> _Told:
        if isinstance(error, ReferralError):
            words = text_of(error.code, self.lang)
            facts = {name: _listed(value) for name, value in error.facts.items() if _is_plain(value)}
            own = _own_words(error.code, facts)
            if own is not None:
                spoken = facts | {name: "\n    ".join(facts[name]) for name in _SPOKEN & facts.keys()}
                spoken |= {"purged": self.at(facts["purged_at"])} if own == "purged" else {}
                what, why, do = (self.say(f"fault.{own}.{part}", **spoken) for part in ("what", "why", "do"))
                return _Told(error.code.value, what, why, do, facts, EXIT_OF[error.code])
            return _Told(error.code.value, words.title, words.detail, words.hint, facts, EXIT_OF[error.code])
        if isinstance(error, Fault):
            what, why, do = (self.say(f"fault.{error.name}.{part}", **error.values) for part in ("what", "why", "do"))
            return _Told(error.name, what, why, do, {}, error.status)
        if isinstance(error, KeyboardInterrupt):
            return self._told(Fault("interrupted", Exit.INTERRUPTED))
        # The exception's own text can hold anything; its kind is all that is told without -v.
        return self._told(Fault("defect", Exit.UNEXPECTED, kind=type(error).__name__))

    def _plain(self, document: Mapping[str, Any]) -> None:
        self._out.file.write(canonical(dict(document)).decode("ascii") + "\n")
        self._out.file.flush()

    def _console(self, *, stderr: bool) -> Console:
        stream = sys.stderr if stderr else sys.stdout
        plain = not self.color or "NO_COLOR" in os.environ
        width = None if stream.isatty() else _WIDE
        return Console(file=stream, no_color=plain, highlight=False, markup=False, emoji=False, width=width)

    @staticmethod
    def _write(console: Console, line: str | Text | Table) -> None:
        if isinstance(line, Table):
            console.print(line)
        else:
            console.print(Text(line) if isinstance(line, str) else line, soft_wrap=True)


_SPOKEN = frozenset({"commands", "states"})
"""Facts that are told in words, a line each: lists of texts."""


def _own_words(code: ErrorCode, facts: Mapping[str, Any]) -> str | None:
    """The fault that says it better than the catalogue, whose words are for whoever asked the exchange."""
    if code is ErrorCode.INCONSISTENT and facts.get("reason") == "lost":
        return "log-lost"
    if code is ErrorCode.CODE_MISMATCH and facts.get("left") == 0:
        return "code-tries"
    if code is ErrorCode.NOT_FOUND and facts.get("what") == "record" and {"log", "index"} <= facts.keys():
        return "record-absent"
    if code is ErrorCode.UNAVAILABLE and isinstance(facts.get("reason"), str) and "status" not in facts:
        return "host-refused"
    if code is ErrorCode.NOT_FOUND and facts.get("what") in ("checkpoint", "tile") and "log" in facts:
        return "log-absent"
    if code is ErrorCode.NO_USABLE_KEY and facts.get("reason") == "changed" and {"unit", "phone"} <= facts.keys():
        return "keys-changed"
    if code is ErrorCode.NOT_FOUND and isinstance(facts.get("purged_at"), int):
        return "purged"
    if code is ErrorCode.RECEIPT_MISMATCH and facts.get("member") == "absent":
        return "receipt-absent"
    if code is ErrorCode.STATEMENT_OUT_OF_SEQUENCE and facts.get("reason") == "objection-window":
        return "objection-window"
    # Whoever has to ask or telephone first, or meant somebody else, is told that, and not all that can be done.
    is_told = facts.get("reason") in ("not-asked", "in-hand", "nothing-held", "nobody-stands-by")
    if code is ErrorCode.ILLEGAL_TRANSITION and {"commands", "states"} <= facts.keys() and not is_told:
        return "not-now"
    if code is ErrorCode.MALFORMED and facts.get("reason") in ("words", "word", "checksum"):
        return "words-wrong"
    return (
        _BY_REASON.get((code, str(facts.get("reason"))))
        or _FALSE.get(str(facts.get("shown")))
        or _of_input(code, facts)
    )


def _of_input(code: ErrorCode, facts: Mapping[str, Any]) -> str | None:
    """The same of what an option was given, or of what a file lacks."""
    if code is not ErrorCode.MALFORMED:
        return None
    lacks = facts.get("reason") == "missing" and isinstance(facts.get("where"), str)
    return "member-missing" if lacks else _OF_PARAM.get((str(facts.get("param")), str(facts.get("reason"))))


_OF_PARAM: Mapping[tuple[str, str], str] = {
    ("ubigeo", "bad-format"): "bad-ubigeo",
    ("speciality", "not-in-list"): "bad-speciality",
}
"""The same, by parameter and reason."""
_BY_REASON: Mapping[tuple[ErrorCode, str], str] = {
    (_E.ILLEGAL_TRANSITION, "in-hand"): "in-hand",
    (_E.TARGET_NOT_ALLOWED, "supplement-closed"): "supplement-closed",
    (_E.ACT_SCHEMA, "too-many-keys"): "too-many-keys",
    (_E.ACT_SCHEMA, "station-taken"): "station-taken",
    (_E.CODE_MISMATCH, "replaces"): "replaces",
    (_E.NOT_FOUND, "purged"): "purged-here",
    (_E.ACT_SCHEMA, "no-keyholder"): "last-keyholder",
    (_E.NOT_PERMITTED, "last-keyholder"): "last-keyholder",
    (_E.NOT_PERMITTED, "oneself"): "oneself",
    (_E.NOT_PERMITTED, "not-a-review"): "not-a-review",
    (_E.TARGET_NOT_ALLOWED, "too-many-recipients"): "too-many-recipients",
    (_E.CONSENT_GATE, "second-person"): "second-person",
    (_E.CONSENT_GATE, "not-reduced"): "not-reduced",
    (_E.TARGET_NOT_ALLOWED, "has-it"): "has-it",
    (_E.TARGET_NOT_ALLOWED, "held-for-it"): "held-for-it",
    (_E.ACT_SCHEMA, "duplicate-unnamed"): "duplicate-unnamed",
    (_E.ILLEGAL_TRANSITION, "not-asked"): "not-asked",
    (_E.CONSENT_GATE, "consent-withdrawn"): "consent-withdrawn",
    (_E.CONSENT_GATE, "transfer-despite-withdrawal"): "transfer-despite-withdrawal",
    (_E.CONSENT_GATE, "call-in-despite-withdrawal"): "call-in-despite-withdrawal",
    (_E.ILLEGAL_TRANSITION, "nothing-held"): "nothing-held",
    (_E.ILLEGAL_TRANSITION, "nobody-stands-by"): "nobody-stands-by",
    (_E.TARGET_NOT_ALLOWED, "agreement-missing"): "agreement-missing",
    (_E.TARGET_NOT_ALLOWED, "cross-border"): "cross-border",
    (_E.MALFORMED, "no-such-region"): "no-such-region",
    (_E.MALFORMED, "note-empty"): "note-empty",
    (_E.MALFORMED, "phone-alert-required"): "phone-alert-required",
    (_E.MALFORMED, "duty-phone"): "duty-phone",
    (_E.MALFORMED, "unanswered"): "unanswered",
    (_E.MALFORMED, "answered-twice"): "answered-twice",
    (_E.ILLEGAL_TRANSITION, "held"): "held",
    (_E.ILLEGAL_TRANSITION, "unread"): "unread",
    (_E.ILLEGAL_TRANSITION, "no-hold"): "no-hold",
    (_E.ILLEGAL_TRANSITION, "never-accepted"): "never-accepted",
    (_E.ILLEGAL_TRANSITION, "acknowledged"): "acknowledged",
    (_E.NOT_PERMITTED, "no-deliveries"): "no-deliveries",
}
"""The same, by code and reason."""
_FALSE: Mapping[str, str] = {
    "keys-log": "keys-false",
    "enrolment": "enrolment-false",
    "referral": "referral-false",
    "view": "views-differ",
}
"""What the exchange shows falsely (client/alarms.py): what happened, and what an officer does about it."""


@dataclass(frozen=True, slots=True)
class _Told:
    code: str
    what: str
    why: str
    do: str
    facts: Mapping[str, Any]
    status: Exit


def harmless(text: str) -> str:
    """A text in which nothing steers a terminal or turns its direction: control and format characters are replaced.

    Line feed and tab stay. What a stranger wrote about a case must not be able to redraw the screen that shows it.
    """
    return "".join(
        "\N{REPLACEMENT CHARACTER}" if unicodedata.category(one) in ("Cc", "Cf", "Cs") and one not in "\n\t" else one
        for one in text
    )


def _is_plain(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return all(_is_plain(one) for one in value)
    return value is None or isinstance(value, (str, int, bool))


def _listed(value: Any) -> Any:
    """The same with lists alone: JSON knows no tuples."""
    return [_listed(one) for one in value] if isinstance(value, (list, tuple)) else value
