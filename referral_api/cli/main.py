"""The command `referral`: its global options, its groups of verbs, and the one place where every failure ends.

Global options may stand anywhere in the line. Help is in the language of the screen: commands name no words, texts/
has them by the path of the command. The groups of ON_DEMAND need packages of their own and are loaded only when they
are called, so that a workstation without those has every other verb.

Must never: let an exception out, or load what a call does not need.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import stamina
import typer
from typer.core import TyperGroup

from referral_api import __version__
from referral_api.cli import (
    auditor,
    calls,
    copying,
    directory,
    doctor,
    hotline,
    joining,
    keeping,
    keys,
    listing,
    loss,
    passing,
    police,
    talking,
    units,
)
from referral_api.cli.codehelp import listed as codes_listed
from referral_api.cli.invocation import Invocation
from referral_api.cli.output import Exit, Fault, Screen, Shown
from referral_api.cli.start import loading
from referral_api.cli.texts import find, say
from referral_api.client.profile import Language, ProfileDir, read_private
from referral_api.client.session import ANSWER_S
from referral_api.domain.errors import ReferralError
from referral_api.formats.strict_json import parse

FLAGS = frozenset({"--json", "--quiet", "-q", "-v", "--no-color", "--yes"})
VALUED = frozenset({"--profile", "-p", "--server", "--lang", "--timeout", "--passphrase-file", "--service-key"})
ON_DEMAND: Mapping[str, str] = {"admin": "server", "witness": "witness"}
"""Groups that are loaded when they are called, and the extra of the distribution that brings what they need."""
_PREFIX = "REFERRAL_"
_NAME = re.compile("-[A-Za-z0-9_-]+")
_OPTION = re.compile("--[a-z][a-z-]*")
_NAME_CHARACTERS = frozenset({22, 43})
"""Of 16 and of 32 bytes in base64url."""


def main() -> None:
    """Run this process's command line and leave with its exit code."""
    sys.exit(run(sys.argv[1:], os.environ))


def run(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run one command line; its exit code. Everything that goes wrong is told here, once."""
    globals_, rest = hoist(arguments)
    screen = screen_of(globals_, environ)
    # What came of the attempts is told here; a line of the library's about each would stand between results on stdout.
    stamina.instrumentation.set_on_retry_hooks(())
    try:
        loaded = frozenset({_verb(rest)} & ON_DEMAND.keys())
        command = build(screen.lang, loaded, as_json=screen.as_json)
        done = command.main([*globals_, *names_last(rest)], prog_name="referral", standalone_mode=False, obj=screen)
        return done if isinstance(done, int) else Exit.OK
    except typer.TyperException as error:
        # A group without a verb has printed its help, which says it all.
        return Exit.USAGE if type(error).__name__ == "NoArgsIsHelpError" else screen.fail(_usage(error, screen.lang))
    except (typer.Abort, EOFError):
        return screen.fail(KeyboardInterrupt())
    except BrokenPipeError:
        # Whoever read us has stopped; a second failure at exit would only be noise.
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115 - replaces a broken stream for good
        return Exit.UNEXPECTED
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - a defect is told like everything else, with exit code 1
        return screen.fail(error)


def hoist(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """The global options of a line, wherever they stand before `--`, and the rest in its order."""
    found: list[str] = []
    rest: list[str] = []
    waiting = list(arguments)
    while waiting:
        word = waiting.pop(0)
        if word == "--":
            return found, [*rest, word, *waiting]
        if word in FLAGS or ("=" in word and word.partition("=")[0] in VALUED):
            found.append(word)
        elif word in VALUED:
            found += [word, *waiting[:1]]
            waiting = waiting[1:]
        else:
            rest.append(word)
    return found, rest


def names_last(words: Sequence[str]) -> list[str]:
    """The same line with digests, thumbprints and invitations' names that begin with a hyphen behind `--`.

    One in 64 does, and is no option. What follows an option is left where it is: it may be that option's value.
    """
    if "--" in words:
        return list(words)
    names: list[str] = []
    rest: list[str] = []
    for before, word in zip(["", *words], words, strict=False):
        stands_alone = _is_name(before) or not before.startswith("-")
        (names if _is_name(word) and stands_alone else rest).append(word)
    return [*rest, "--", *names] if names else rest


def _is_name(word: str) -> bool:
    return _NAME.fullmatch(word) is not None and len(word) in _NAME_CHARACTERS and _OPTION.fullmatch(word) is None


def screen_of(globals_: Sequence[str], environ: Mapping[str, str]) -> Screen:
    """The screen that the global options ask for, before anything else is looked at."""
    return Screen(
        lang=_language(globals_, environ),
        as_json="--json" in globals_,
        quiet="--quiet" in globals_ or "-q" in globals_,
        verbose="-v" in globals_,
        color="--no-color" not in globals_,
    )


@lru_cache(maxsize=16)
def build(lang: Language, loaded: frozenset[str] = frozenset(), *, as_json: bool = False) -> TyperGroup:
    """The whole command, its help in one language; of the groups of ON_DEMAND those in full that are named.

    It takes a tenth of a second, and is kept for a program that runs more than one line.
    """
    app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
    app.callback()(_top)
    for module in (
        *(joining, directory, units, keys, hotline, copying, calls, police, passing, talking),
        *(listing, keeping, loss, doctor, auditor),
    ):
        module.register(app)
    for name, extra in ON_DEMAND.items():
        app.add_typer(_load(name, extra) if name in loaded else _placeholder(), name=name)
    command = typer.main.get_command(app)
    if not isinstance(command, TyperGroup):
        raise TypeError("the command has groups")
    localise(command, lang, ())
    if as_json:
        _withhold_help(command)
    return command


def localise(command: Any, lang: Language, path: tuple[str, ...]) -> None:
    """Give a command, its options and the commands below it their words."""
    command.help = find(lang, ".".join(("help", *path))) or command.help
    command.rich_help_panel = say(lang, "panel.commands")
    for parameter in (*command.params, command.get_help_option(typer.Context(command))):
        parameter.help = find(lang, f"option.{parameter.name}") or parameter.help
        is_option = parameter.param_type_name == "option"
        parameter.rich_help_panel = say(lang, "panel.options" if is_option else "panel.arguments")
    for name, child in getattr(command, "commands", {}).items():
        localise(child, lang, (*path, name))


def _withhold_help(command: Any) -> None:
    """Let a group without a verb end in a fault like any other: its help is for people, and no JSON."""
    command.no_args_is_help = False
    for child in getattr(command, "commands", {}).values():
        _withhold_help(child)


def _version(ctx: typer.Context, asked: bool) -> None:  # noqa: FBT001 - what Typer calls
    if asked:
        screen = Screen(as_json=isinstance(ctx.obj, Screen) and ctx.obj.as_json)
        screen.show(Shown({"version": __version__}, [f"referral {__version__}"]))
        raise typer.Exit


def _top(
    ctx: typer.Context,
    profile: Annotated[Path | None, typer.Option("--profile", "-p", envvar="REFERRAL_PROFILE")] = None,
    server: Annotated[str | None, typer.Option(envvar="REFERRAL_SERVER")] = None,
    timeout: Annotated[float, typer.Option(envvar="REFERRAL_TIMEOUT", min=1, max=600)] = ANSWER_S,
    passphrase_file: Annotated[Path | None, typer.Option(envvar="REFERRAL_PASSPHRASE_FILE")] = None,
    service_key: Annotated[Path | None, typer.Option(envvar="REFERRAL_SERVICE_KEY_FILE")] = None,
    lang: Annotated[str | None, typer.Option(envvar="REFERRAL_LANG")] = None,
    as_json: Annotated[bool, typer.Option("--json")] = False,  # noqa: FBT002 - an option of the command line
    quiet: Annotated[bool, typer.Option("--quiet", "-q")] = False,  # noqa: FBT002 - as above
    verbose: Annotated[bool, typer.Option("-v")] = False,  # noqa: FBT002 - as above
    no_color: Annotated[bool, typer.Option("--no-color")] = False,  # noqa: FBT002 - as above
    yes: Annotated[bool, typer.Option("--yes")] = False,  # noqa: FBT002 - as above
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True)] = False,  # noqa: FBT002 - as above
) -> None:
    del version  # Its callback has answered.
    before = ctx.obj
    if not isinstance(before, Screen):
        raise TypeError("a screen is made before the command")
    if lang is not None and lang not in ("es", "en"):
        raise Fault("language", lang=lang)
    screen = Screen(before.lang, as_json=as_json, quiet=quiet, verbose=verbose, color=not no_color)
    place = profile or Path.home() / ".config" / "referral"
    call = Invocation(screen, place, server, timeout, yes, passphrase_file, service_key)
    ctx.call_on_close(call.close)
    ctx.obj = call


def _load(name: str, extra: str) -> typer.Typer:
    try:
        with loading():
            app = import_module(f"referral_api.cli.{name}").app
    except ModuleNotFoundError as error:
        raise Fault("not-installed", extra=extra, module=error.name) from error
    if not isinstance(app, typer.Typer):
        raise TypeError("a group of commands is a Typer")
    return app


def _placeholder() -> typer.Typer:
    """A group as the overview shows it; any call of it loads the real one."""
    app = typer.Typer()
    app.command("serve")(lambda: None)
    app.callback()(lambda: None)
    return app


def _verb(rest: Sequence[str]) -> str | None:
    return next((word for word in rest if not word.startswith("-")), None)


def _language(globals_: Sequence[str], environ: Mapping[str, str]) -> Language:
    """The language asked for, else that of the profile, else Spanish."""
    asked = _value(globals_, ("--lang",)) or environ.get(f"{_PREFIX}LANG")
    if asked is None:
        place = _value(globals_, ("--profile", "-p")) or environ.get(f"{_PREFIX}PROFILE")
        asked = _enrolled_language(Path(place) if place else Path.home() / ".config" / "referral")
    return "en" if asked == "en" else "es"


def _enrolled_language(profile_dir: Path) -> str | None:
    try:
        return str(parse(read_private(ProfileDir(profile_dir).keystore), max_bytes=1 << 20)["profile"]["lang"])
    except (OSError, ReferralError, LookupError, TypeError):
        return None  # Whatever is wrong with the profile is told by the verb that needs it.


def _value(globals_: Sequence[str], names: Sequence[str]) -> str | None:
    for at, word in enumerate(globals_):
        name, given, value = word.partition("=")
        if name in names:
            return value if given else next(iter(globals_[at + 1 : at + 2]), None)
    return None


def _usage(error: typer.TyperException, lang: Language) -> Fault:
    """A line that cannot be read as a command, in our words: the library's are in one language only."""
    parameter = getattr(error, "param", None)
    named = getattr(parameter, "name", None) or ""
    # An option as it is typed; an argument has a name only.
    spelt = [one for one in getattr(parameter, "opts", ()) if one.startswith("--")]
    what = getattr(error, "option_name", None) or next(iter(spelt), named)
    kind = type(error).__name__
    names = {"NoSuchOption": "no-such-option", "MissingParameter": "missing-parameter", "BadParameter": "bad-value"}
    ctx = getattr(error, "ctx", None)
    listed = codes_listed(lang, str(getattr(ctx, "info_name", "")), named)
    if listed is not None and kind in ("MissingParameter", "BadParameter"):
        return Fault("missing-code" if kind == "MissingParameter" else "no-such-code-of", what=what, codes=listed)
    return Fault(names.get(kind, "usage"), what=what, path=getattr(ctx, "command_path", "referral"))


__all__ = ["build", "hoist", "localise", "main", "run", "say", "screen_of"]
