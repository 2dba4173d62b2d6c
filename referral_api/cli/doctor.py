"""`referral doctor`: what is wrong with this machine, its keys and its way to the exchange, and what to do about each.

Exit code 0: nothing to do; 10: somebody has to do something; 5: something that was shown does not verify, which is told
to somebody and never tried again. The examination is client/doctor; here it gets its words, by code.

Must never: show a secret, a path, or a text that somebody else wrote.

Implements: design §12; R-30, R-94, R-101.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Final

import typer

from referral_api.cli.invocation import Invocation, invocation
from referral_api.cli.output import EXIT_OF, Exit, Screen, Shown
from referral_api.cli.texts import find
from referral_api.client.doctor import Means, examine
from referral_api.domain.catalogue import text_of
from referral_api.domain.findings import Finding, Level, Seen

_MARKS: Final = {Level.OK: "✔", Level.NOTE: "·", Level.UNKNOWN: "?", Level.WARNING: "⚠", Level.PROBLEM: "✖"}
_UNITS: Final = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))
_SHOWN_UNITS: Final = 2
_MOST_NEXT: Final = 5
_FACTS: Final = ("reason", "why", "use")
"""What words may say of an error, which may lack it."""


def register(app: typer.Typer) -> None:
    """Add this verb."""
    app.command("doctor")(doctor)


def doctor(
    ctx: typer.Context,
    person: Annotated[bool, typer.Option("--person")] = False,  # noqa: FBT002 - an option of the command line
) -> None:
    """Examine this machine and its way to the exchange; with `--person` its keys too."""
    call = invocation(ctx)
    options = {"server": call.server, "answer_s": call.timeout_s}
    passphrase = call.passphrase if person else None
    means = Means(call.profile_dir, call.service_key_path(), passphrase, options=options)
    show_findings(call, examine(means))


def show_findings(call: Invocation, findings: Iterable[Finding], ours: str = "referral ") -> None:
    """Print findings with their words, and end the call with the exit code that the worst of them asks for.

    Commands that begin like `ours` are what whoever asks can do himself: they are named as what is next.
    """
    screen, all_found = call.screen, list(findings)
    asking = [one for one in all_found if one.asks]
    counts = {level.value: sum(one.level is level for one in all_found) for level in Level}
    lines = [line for one in all_found for line in _lines(screen, one)]
    lines.append(screen.say("doctor.sick" if asking else "doctor.healthy", **counts))
    commands = dict.fromkeys(one.command for one in asking if one.command.startswith(ours))
    data = {"healthy": not asking, "counts": counts, "findings": [_data(screen, one) for one in all_found]}
    call.show(Shown(data, lines, list(commands)[:_MOST_NEXT], _status(asking)))


def _status(asking: Sequence[Finding]) -> Exit:
    """As the command would end that meets it: what does not verify is no fault of this machine's."""
    if any(one.error is not None and EXIT_OF[one.error] is Exit.VERIFICATION_FAILED for one in asking):
        return Exit.VERIFICATION_FAILED
    return Exit.PROBLEMS if asking else Exit.OK


def _lines(screen: Screen, one: Finding) -> list[str]:
    lines = [f"{_MARKS[one.level]} {words_of(screen, one)}"]
    remedy = remedy_of(screen, one)
    if remedy or one.command:
        between = "" if not one.command else ": " if remedy and remedy[-1] not in ".?" else " "
        lines.append(screen.say("doctor.do", words=f"{remedy}{between}{one.command}".strip()))
    return lines


def words_of(screen: Screen, one: Finding) -> str:
    """What was seen, in words and figures; of a check that failed, why. What is well may have shorter words."""
    if one.error is not None:
        return screen.say(
            f"doctor.{one.code}.failed", **_values(screen, one), title=text_of(one.error, screen.lang).title
        )
    well = f"doctor.{one.code}.ok"
    is_well = one.level is Level.OK and find(screen.lang, well) is not None
    return screen.say(well if is_well else f"doctor.{one.code}", **_values(screen, one))


def remedy_of(screen: Screen, one: Finding) -> str:
    """What to do about it; empty where nothing need be done."""
    if one.level in (Level.OK, Level.NOTE):
        return ""
    if find(screen.lang, f"doctor.{one.code}.do") is not None:
        return screen.say(f"doctor.{one.code}.do", **_values(screen, one)).rstrip(":")
    return "" if one.error is None else text_of(one.error, screen.lang).hint


def _values(screen: Screen, one: Finding) -> dict[str, str]:
    unsaid = {} if one.error is None else dict.fromkeys(_FACTS, "—")
    return unsaid | {name: text for fact, seen in one.seen.items() for name, text in _told(screen, fact, seen)}


def _told(screen: Screen, fact: str, seen: Seen) -> Iterable[tuple[str, str]]:
    """A fact as people read it; what has a unit in its name is shown without that name's end too."""
    name, _, unit = fact.rpartition("_")
    if isinstance(seen, bool):
        yield fact, screen.say("yes" if seen else "no")
    elif isinstance(seen, (list, tuple)):
        yield fact, ", ".join(seen) or "—"
    else:
        yield fact, "—" if seen is None else str(seen)
    if isinstance(seen, int) and unit == "at":
        yield name, screen.at(seen)
    elif isinstance(seen, int) and unit == "bytes":
        yield name, f"{seen / (1 << 30):.1f} GiB"
    elif isinstance(seen, int) and unit == "s":
        yield name, duration(seen)


def duration(seconds: int) -> str:
    """A length of time in its two largest units: `2 d 3 h`."""
    left, parts = abs(seconds), []
    for unit, size in _UNITS:
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count} {unit}")
    return ("−" if seconds < 0 else "") + (" ".join(parts[:_SHOWN_UNITS]) or "0 s")


def _data(screen: Screen, one: Finding) -> dict[str, Any]:
    return {
        "code": one.code,
        "level": one.level.value,
        "seen": {name: list(seen) if isinstance(seen, (list, tuple)) else seen for name, seen in one.seen.items()},
        "error": None if one.error is None else one.error.value,
        "says": words_of(screen, one),
        "remedy": remedy_of(screen, one),
        "command": one.command,
    }
