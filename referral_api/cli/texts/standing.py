"""What is said, before a referral is read or taken, of what has become of it since it was sealed. Key → (Spanish,
English).

Must never: sound as if a consent that was withdrawn still stood.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

STANDING: Final[Mapping[str, tuple[str, str]]] = {
    "standing.line": ("{line}", "{line}"),
    "standing.consent": (
        "✖ CONSENTIMIENTO RETIRADO el {at}: la persona ya no acepta. El consentimiento del texto de abajo NO VALE.",
        "✖ CONSENT WITHDRAWN on {at}: the person no longer agrees. The consent in the text below DOES NOT STAND.",
    ),
    "standing.withdrawn": (
        "✖ LA LÍNEA RETIRÓ ESTA DERIVACIÓN el {at}: {words}.",
        "✖ THE HOTLINE TOOK THIS REFERRAL BACK on {at}: {words}.",
    ),
    "standing.withdrawn_from": (
        "✖ LA LÍNEA RETIRÓ ESTA DERIVACIÓN de {unit} el {at}: {words}.",
        "✖ THE HOTLINE TOOK THIS REFERRAL BACK from {unit} on {at}: {words}.",
    ),
    "standing.taken": (
        "⚠ OTRA UNIDAD LA TOMÓ el {at}: antes de actuar, coordine con la línea.",
        "⚠ ANOTHER UNIT TOOK IT on {at}: coordinate with the hotline before you act.",
    ),
    "standing.given_back": (
        "✖ LA UNIDAD QUE LA HABÍA TOMADO YA NO LA TIENE, desde el {at}: ahora espera que USTEDES la tomen.",
        "✖ THE UNIT THAT HAD TAKEN IT HAS IT NO MORE, since {at}: it now waits for YOU to take it.",
    ),
    "standing.owes": (
        "✖ Debe responder hasta el {until} qué se detuvo y qué continúa: {command}",
        "✖ You owe an answer by {until}, what was stopped and what goes on: {command}",
    ),
    "standing.gone": (
        "El servidor ya no entrega su contenido. No actúe por ella; ante una duda, llame a la línea.",
        "The exchange serves its text no more. Do not act on it; in doubt telephone the hotline.",
    ),
    "ask.accept_without_consent": (
        "La persona RETIRÓ su consentimiento. ¿Tomar {ref} de todos modos? [s/N]",
        "The person has WITHDRAWN consent. Take {ref} all the same? [y/N]",
    ),
    "ask.accept_owing": (
        "Hay un retiro SIN RESPONDER. ¿Tomar {ref} de todos modos? [s/N]",
        "A withdrawal is UNANSWERED. Take {ref} all the same? [y/N]",
    ),
}
