"""The words of the command line: complete in both languages, and used."""

from __future__ import annotations

import inspect
import re
import string
import typing
from pathlib import Path
from typing import Any

import pytest

from referral_api.auditlog.pack_verification import Step, Unchecked
from referral_api.auditlog.verification import Check, Verdict
from referral_api.cli import output, texts
from referral_api.cli.main import ON_DEMAND, build
from referral_api.client.outbox import Progress
from referral_api.client.recalling import Outcome
from referral_api.domain.catalogue import Language
from referral_api.domain.choosing import Why
from referral_api.domain.consent import ConsentFault
from referral_api.domain.words import Act, State
from referral_api.domain.worklists import Worklist
from referral_api.formats.fields import Document
from referral_api.formats.referral_body import ReferralBody
from referral_api.formats.referral_findings import REASONS
from referral_api.server.service.channels import Outcome as Came
from referral_api.server.service.enrolment import Turn

TEXTS = Path(texts.__file__).parent
LANGUAGES: tuple[Language, ...] = ("es", "en")


def verbs() -> list[Path]:
    """The modules of the command line that hold no words."""
    return [path for path in TEXTS.parent.rglob("*.py") if path.parent != TEXTS]


def places(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}


@pytest.mark.parametrize("key", sorted(texts.TEXTS))
def test_a_text_has_both_languages_with_the_same_places(key: str) -> None:
    spanish, english = texts.TEXTS[key]
    assert spanish.strip()
    assert english.strip()
    assert places(spanish) == places(english)
    assert "" not in places(spanish)


def test_no_key_stands_in_two_files() -> None:
    assert sum(map(len, texts.PARTS)) == len(texts.TEXTS)


def test_every_key_that_the_code_names_has_its_text_and_every_text_is_named() -> None:
    source = "\n".join(path.read_text() for path in verbs())
    named = set(re.findall(r"[\"']([a-z_]+(?:\.[a-z_-]+)*)[\"']", source))
    families = (
        "act.",
        "figures.",
        "done.",
        "state.",
        "progress.",
        "outcome.",
        "check.",
        "verdict.",
        "turn.",
        "field.",
        "fault.",
        "help",
        "option.",
        "whose.",
        "busy.",
        "explain.",
        "loss.by.",
        "doctor.",
        "keys.",
        "record.",
        "rekey.",
        "recall.",
        "withdraw.copy.",
        "seen.",
        "step.",
        "unchecked.",
        "successor.",
        "why.",
        "pack.root_",
        "pack.ok",
        "pack.failed",
        "pack.incomplete",
        "care.expired",
        "care.suspect",
        "care.replaced",
        "care.unread",
        "care.line",
        "place.date",
        "notices.",
        "list.on.",
        "why.",
    )
    unused = {key for key in texts.TEXTS if key not in named and not key.startswith(families)}
    assert not unused
    wanted = {
        key for key in named if key.partition(".")[0] in {"ask", "audit", "col", "enrol", "entry", "error", "show"}
    }
    assert {key for key in wanted if "." in key} <= texts.TEXTS.keys()


def test_every_fault_that_the_code_raises_has_three_texts() -> None:
    source = "\n".join(path.read_text() for path in verbs())
    raised = set(re.findall(r'Fault\(\s*"([a-z-]+)"', source))
    raised |= {"usage", "no-such-option", "missing-parameter", "bad-value", "missing-code", "no-such-code-of"}
    raised |= {"passphrase-not-asked", "code-not-typed", "words-not-typed", "issuer-missing"}
    raised |= {*re.findall(r'return "([a-z-]+)"', inspect.getsource(output._own_words)), *output._BY_REASON.values()}
    raised |= {*output._OF_PARAM.values(), "member-missing"}
    raised |= {*output._FALSE.values()}
    texted = {key.split(".")[1] for key in texts.TEXTS if key.startswith("fault.")}
    assert raised == texted


@pytest.mark.parametrize(
    ("family", "values"),
    [
        ("act", [*Act, "retrieved"]),
        ("done", list(Act)),
        ("state", list(State)),
        ("progress", list(Progress)),
        ("recall", list(Outcome)),
        ("outcome", ["accepted", "refused"]),
        ("check", list(Check)),
        ("verdict", list(Verdict)),
        ("turn", list(Turn)),
        ("step", list(Step)),
        ("unchecked", list(Unchecked)),
        ("notices", list(Came)),
        ("care", ["expired", "suspect", "line"]),
        ("list.on", list(Worklist)),
        ("why", [*ConsentFault, *REASONS, *Why]),
    ],
)
def test_every_value_that_a_screen_can_show_has_its_words(family: str, values: list[Any]) -> None:
    assert {f"{family}.{value}" for value in values} <= texts.TEXTS.keys()


def test_every_kind_of_progress_that_the_floors_below_tell_has_its_words() -> None:
    below = [path for floor in ("client", "auditlog") for path in (TEXTS.parents[1] / floor).rglob("*.py")]
    told = {kind for path in below for kind in re.findall(r'progress\(f?"([a-z]+)', path.read_text())}
    assert {f"busy.{kind}" for kind in told} == {key for key in texts.TEXTS if key.startswith("busy.")}


def members(model: type[Document], seen: set[type]) -> typing.Iterator[str]:
    seen.add(model)
    for name, field in model.model_fields.items():
        yield field.alias or name
        for inner in inside(field.annotation):
            if inner not in seen:
                yield from members(inner, seen)


def inside(annotation: Any) -> typing.Iterator[type[Document]]:
    if isinstance(annotation, type) and issubclass(annotation, Document):
        yield annotation
    for argument in typing.get_args(annotation):
        yield from inside(argument)


def test_every_member_of_a_referral_has_a_name_on_screen_and_no_other_has() -> None:
    assert {f"field.{name}" for name in members(ReferralBody, set())} == set(texts.FIELDS)


def commands(command: Any, path: tuple[str, ...] = ()) -> typing.Iterator[tuple[tuple[str, ...], Any]]:
    yield path, command
    for name, child in getattr(command, "commands", {}).items():
        yield from commands(child, (*path, name))


@pytest.mark.parametrize("lang", LANGUAGES)
def test_every_command_and_option_has_its_help_in_the_language_of_the_screen(lang: Language) -> None:
    paths, options = set(), set()
    for path, command in commands(build(lang, frozenset(ON_DEMAND))):
        key = ".".join(("help", *path))
        assert command.help == texts.find(lang, key), path
        paths.add(key)
        for parameter in command.params:
            assert parameter.help == texts.find(lang, f"option.{parameter.name}"), (path, parameter.name)
            options.add(f"option.{parameter.name}")
    assert paths == {key for key in texts.TEXTS if key.startswith("help")}
    assert options | {"option.help"} == {key for key in texts.TEXTS if key.startswith("option.")}


def test_verbs_hold_no_prose_of_their_own() -> None:
    wrong = []
    for path in verbs():
        if path.name == "generate.py":
            continue
        for number, line in enumerate(path.read_text().splitlines(), 1):
            if re.search(r'(?:say|talk|ask|confirm|prompt)\(\s*f?"[^"{]* ', line):
                wrong.append(f"{path.name}:{number}")
    assert not wrong
