"""Three turns that a referral may take, played by the demo: nobody reads it, another unit gets it, it is taken back.

The demo's exchange is impatient: an emergency is late after a minute (`RULES`), so that its clocks can be seen to run.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from examples.stage import Person, Story, demand

HURRY_S = 60
"""After how many seconds an emergency of the demo is late; the shortest that rules allow."""


def hurried(rules: dict[str, Any]) -> dict[str, Any]:
    """The rules in force, with the ladder of an emergency in a minute instead of a quarter of an hour."""
    rungs = ("remind_unit", "telephone_now", "release_parent", "release_national")
    ladder = [{"after_s": HURRY_S, "rung": rung} for rung in rungs[:3]]
    ladder += [{"after_s": 10 * HURRY_S, "rung": rungs[3]}, {"after_s": 3600, "rung": "expire"}]
    clocks = [
        one | ({"ack_s": HURRY_S, "ladder": ladder} if one["urgency"] == "emergency" else {}) for one in rules["clocks"]
    ]
    return rules | {"clocks": clocks}


def leave_unread(story: Story, example: Path, unit: str) -> str:
    """Send an emergency to a unit at which nobody looks; its id."""
    with story.step("Sale otra emergencia, y en la unidad nadie mira"):
        sent = story.person("operadora").run("send", example, "--unit", unit, "--operator", "op-1")
        demand(sent["outcome"] == "accepted", "el recibo no dice aceptado")
    return str(sent["ref"])


def pass_on(story: Story, example: Path, unit: str, other: str) -> None:
    """A unit passes a referral on; the hotline agrees; the other unit opens what the hotline sealed, and takes it."""
    operator, first, far = (story.person(name) for name in ("operadora", "oficial-piura-1", "oficial-lima-1"))
    with story.step("Una unidad propone pasar su derivación a otra, sellada ya para ella"):
        ref = str(operator.run("send", example, "--unit", unit, "--operator", "op-2")["ref"])
        first.run("ack", ref)
        first.run("--yes", "transfer", ref, "--to", other, "--reason", "specialisation")
        demand(not _waits(far, ref), "la otra unidad supo de ella antes de tiempo")
    with story.step("La línea lo aprueba; la otra unidad abre lo que la línea selló, y la toma"):
        operator.run("--yes", "approve", ref)
        shown = far.run("show", ref)
        demand(shown["verified"] and shown["from"] == "linea-1818", "no se comprobó lo que la línea selló")
        far.run("ack", ref)
        far.run("accept", ref)
        demand(_states(operator, ref) >= {(unit, "transferred"), (other, "accepted")}, "no quedó en la otra unidad")


def take_back(story: Story, example: Path, unit: str) -> None:
    """The hotline takes back what was read: a notice that the unit must answer."""
    operator, first = story.person("operadora"), story.person("oficial-piura-1")
    with story.step("La línea retira una derivación ya leída: es un aviso que la unidad debe responder"):
        ref = str(operator.run("send", example, "--unit", unit, "--operator", "op-1")["ref"])
        first.run("ack", ref)
        operator.run("--yes", "withdraw", ref, "--reason", "victim_safe_no_action")
        demand(_waits(first, ref) == ["withdraw"], "el aviso no espera en la bandeja de la unidad")
        first.run("--yes", "answer-notice", ref, "--reply", "stopped_and_destroyed")
        demand((unit, "withdrawn") in _states(operator, ref), "no quedó retirada")


def escalate(story: Story, ref: str, unit: str, national: str) -> None:
    """Nobody acknowledged in time: the hotline telephones, the parent unit gets it, and whoever takes it has it."""
    operator, guard, first = (story.person(name) for name in ("operadora", "guardia-nacional", "oficial-piura-1"))
    with story.step("Pasó el plazo sin acuse: la mesa nacional la recibe y a la línea se le pide llamar ya"):
        entry = guard.run("inbox", "watch", "--once")["entry"]
        demand((entry["kind"], entry["ref"]) == ("released", ref), "no llegó a la mesa nacional")
        demand("telephone_now" in _waits(operator, ref), "no se pidió llamar")
    with story.step("La línea deja dicho que llamó; la mesa nacional abre, acusa recibo y la toma"):
        operator.run("phone", ref, "--unit", unit, "--not-made")
        guard.run("ack", ref)
        guard.run("accept", ref)
        demand(_states(operator, ref) >= {(unit, "submitted"), (national, "accepted")}, "no la tomó la mesa nacional")
        seen = [one["kind"] for one in first.run("inbox", "list")["entries"] if one["ref"] == ref]
        demand("taken" in seen and "overdue" in seen, f"la unidad solo supo de {seen}")


def _waits(person: Person, ref: str) -> list[str]:
    """What of a referral waits for an answer in somebody's inbox."""
    return [one["kind"] for one in person.run("inbox", "list", "--pending")["entries"] if one["ref"] == ref]


def _states(person: Person, ref: str) -> set[tuple[str, str]]:
    return {(one["unit"], one["state"]) for one in person.run("timeline", ref)["deliveries"]}
