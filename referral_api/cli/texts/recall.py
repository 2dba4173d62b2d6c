"""What is said of taking back, calling in and sending anew: withdrawals, copies, a lost consent, who stands by.

Key → (Spanish, English).

Must never: call taken back, or told, what is not.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

RECALL: Final[Mapping[str, tuple[str, str]]] = {
    "recall.told": ("avisada ahora", "told now"),
    "recall.knew": ("ya estaba avisada", "was told before"),
    "recall.beyond": ("YA NO SE PUEDE AVISAR POR AQUÍ: LLAME", "CANNOT BE TOLD HERE ANY MORE: TELEPHONE"),
    "recall.phone": (
        "✖ {unit} tiene copia propia de {ref} y nadie se lo dijo; aquí ya se borró. LLAME: {phone}",
        "✖ {unit} has its own copy of {ref} and nobody told it; here it is purged. TELEPHONE: {phone}",
    ),
    "recall.waits": ("firmado; espera en la bandeja de salida", "signed; waits in the outbox"),
    "recall.failed": ("FALTA AVISAR", "NOT TOLD"),
    "recall.apart": ("otro caso relacionado: decida usted", "another case that is related: for you to decide"),
    "recall.gone": ("se borró del todo hace tiempo: comprobado aquí", "was purged everywhere before: verified here"),
    "recall.count": (
        "Avisadas ahora: {told}. Faltan: {left}.",
        "Told now: {told}. Left: {left}.",
    ),
    "help.escalate": (
        "Entregar ya la derivación a una unidad de respaldo, sin esperar al reloj.",
        "Give the referral to a unit that stands by at once, without waiting for the clock.",
    ),
    "ask.escalate": (
        "¿Entregar {ref} ya a {unit}? Podrá leerla, y eso no se deshace. [s/N]",
        "Give {ref} to {unit} now? It will be able to read it, and that cannot be undone. [y/N]",
    ),
    "escalate.phone": (
        "{unit} puede leerla desde ahora, y no lo sabe hasta que mire: LLAME al {phone}.",
        "{unit} can read it from now on, and does not know before it looks: TELEPHONE {phone}.",
    ),
    "escalate.left": ("Siguen de respaldo: {units}.", "Still standing by: {units}."),
    "fault.nothing-held.what": (
        "Aquí no hay nada guardado para esa unidad: {unit}.",
        "Nothing is held here for that unit: {unit}.",
    ),
    "fault.nothing-held.why": (
        "De respaldo quedan: {units}. No se firmó nada.",
        "Still standing by: {units}. Nothing was signed.",
    ),
    "fault.nothing-held.do": (
        "Vea quién la tiene: referral timeline {ref}\n    A otra unidad: referral readdress {ref} --unit UNIDAD",
        "See who has it: referral timeline {ref}\n    To another unit: referral readdress {ref} --unit UNIT",
    ),
    "fault.nobody-stands-by.what": (
        "No queda ninguna unidad de respaldo.",
        "No unit stands by any more.",
    ),
    "fault.nobody-stands-by.why": (
        (
            "Las que había ya pueden leerla, o se les retiró o borró; una derivación de rutina no tiene ninguna. "
            "No se firmó nada."
        ),
        (
            "Those there were can read it already, or it was taken back from them or purged; a routine referral has "
            "none. Nothing was signed."
        ),
    ),
    "fault.nobody-stands-by.do": (
        "Vea quién la tiene: referral timeline {ref}\n    A otra unidad: referral readdress {ref} --unit UNIDAD",
        "See who has it: referral timeline {ref}\n    To another unit: referral readdress {ref} --unit UNIT",
    ),
    "fault.call-in-despite-withdrawal.what": (
        "La persona retiró su consentimiento: {unit} no recibe la derivación sin más.",
        "The person withdrew consent: {unit} does not get the referral without more ado.",
    ),
    "fault.call-in-despite-withdrawal.why": (
        "Una unidad de respaldo la leería ahora por primera vez. No se firmó ni se envió nada.",
        "A unit that stands by would read it now for the first time. Nothing was signed or sent.",
    ),
    "fault.call-in-despite-withdrawal.do": (
        "Si debe seguir (acción penal pública, menor de edad), repita con --despite-withdrawal.",
        "Where it must go on (public prosecution, a child), repeat with --despite-withdrawal.",
    ),
    "withdraw.reaches": (
        "Se avisa también a todos los demás que tienen {ref} o una copia: la persona retiró su consentimiento.",
        "Everybody else who has {ref} or a copy of it is told too: the person withdrew consent.",
    ),
    "withdraw.delivery": ("  {unit}: {words}", "  {unit}: {words}"),
    "withdraw.unread": ("retirada; nadie la había leído", "withdrawn; nobody had read it"),
    "withdraw.answered": ("retirada; la unidad la tuvo y ya respondió", "withdrawn; the unit had it and has answered"),
    "withdraw.notified": (
        "LA TUVO: se le avisó y debe responder qué hizo con ella",
        "HAD IT: it has been told, and must answer what it did with it",
    ),
    "withdraw.copy": ("  Copia {ref}: {words}", "  Copy {ref}: {words}"),
    "withdraw.copy.told": ("retirada también", "withdrawn too"),
    "withdraw.copy.knew": ("no queda nada que retirar", "nothing is left to withdraw"),
    "withdraw.copy.waits": (
        "firmado; espera en la bandeja de salida.",
        "signed; waits in the outbox.",
    ),
    "withdraw.copy.failed": ("SIGUE VIGENTE: NO SE RETIRÓ.", "STILL STANDS: NOT WITHDRAWN."),
    "readdress.done": (
        "Reemplaza a {ref}: ahora para {unit}. Nunca la recibirán: {excluded}",
        "Replaces {ref}: now for {unit}. Never to get it: {excluded}",
    ),
    "readdress.silent": (
        "⚠ Consta que NO se llamó a {unit}. Llame ahora y déjelo escrito.",
        "⚠ It says that {unit} was NOT telephoned. Call now, and state it.",
    ),
    "readdress.close": (
        "Para la reemplazada, {ref}, ya no se busca a nadie más: ciérrela con la orden de abajo.",
        "For the replaced one, {ref}, nobody else is looked for: close it by the command below.",
    ),
    "readdress.supplements": (
        "⚠ De las ampliaciones van las indicaciones y los contactos al día; lo demás NO: envíelo también a {unit}.",
        (
            "⚠ Of the supplements, handling codes and contacts came along as they are now; the rest did NOT: "
            "send it too to {unit}."
        ),
    ),
}
