"""Words about keeping, purging and erasing, of parties and of the operator, and about the exchange's rules.

Must never: call gone what is only out of sight, or make an erasure sound as if it could be undone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_HELP: Final[Mapping[str, tuple[str, str]]] = {
    "help.hold": (
        "Retener una derivación para que no se borre (--on), con base legal y día de revisión, o soltarla (--off).",
        "Keep a referral from being purged (--on), with a basis and a day of review, or let it go (--off).",
    ),
    "help.purge": (
        "Pedir que el texto cifrado se borre antes de tiempo; otra persona tiene que aprobarlo.",
        "Ask that the ciphertext be purged before its time; another person must agree.",
    ),
    "help.admin.retention": (
        "Qué texto cifrado se borra y cuándo; salida 10 si algo no se borrará nunca porque nadie acusó recibo.",
        "Which ciphertext goes when; exit 10 where something never will because nobody has acknowledged it.",
    ),
    "help.admin.retention.erase": (
        "Suprimir con actos firmados los registros de derivaciones ya borradas y anteriores a un día.",
        "Erase, by signed acts, the records of referrals that are purged and older than a day.",
    ),
    "help.admin.hold": (
        "Todas las retenciones legales vigentes; salida 10 si alguna debía revisarse ya.",
        "Every legal hold that stands; exit 10 where one should have been reviewed by now.",
    ),
    "help.admin.rules": (
        "Mostrar las reglas vigentes del servidor, o cambiarlas por las de un archivo.",
        "Show the exchange's rules in force, or change them to those of a file.",
    ),
    "help.admin.rules.show": (
        "Mostrar las reglas vigentes; con --json, tal como el archivo que las cambia.",
        "Show the rules in force; with --json, as the file that changes them.",
    ),
    "option.on": ("Retener, o soltar.", "Keep it, or let it go."),
    "option.hold_basis": ("Base legal de la retención (código).", "Basis of the hold (code)."),
    "option.review_at": ("Día en que se revisa (UTC).", "Day on which it is reviewed (UTC)."),
    "option.within": ("Lo que se borra en tantos días.", "What goes within so many days."),
    "option.erase_basis": ("Base legal de la supresión (código).", "Legal basis of the erasure (code)."),
}
_ACTS: Final[Mapping[str, tuple[str, str]]] = {
    "act.purge_due": ("aviso de borrado", "notice of a purge"),
    "done.purge_due": ("✔ aviso de borrado: {ref}", "✔ notice of a purge: {ref}"),
    "act.rules": ("cambio de reglas", "change of rules"),
    "done.rules": ("✔ cambio de reglas: {ref}", "✔ change of rules: {ref}"),
}
_SCREENS: Final[Mapping[str, tuple[str, str]]] = {
    "kept.until": ("{unit}: el texto cifrado se borra el {at}", "{unit}: the ciphertext goes at {at}"),
    "kept.held_past": (
        "{unit}: el texto cifrado se borraría el {at}, pero está retenido:",
        "{unit}: the ciphertext would go at {at}, but it is held:",
    ),
    "kept.gone": (
        "{unit}: el texto cifrado SE BORRÓ el {at}; quedan los actos y recibos",
        "{unit}: the ciphertext IS GONE since {at}; acts and receipts stay",
    ),
    "kept.held": (
        "{unit}: retenido por {by} ({basis}); se revisa el {at}",
        "{unit}: held by {by} ({basis}); reviewed at {at}",
    ),
    "note.purged": ("se borró en su fecha", "it was purged when its time had come"),
    "purge.agree": (
        "Nada se borra todavía: otra persona, de cualquiera de las dos partes, tiene que aprobarlo con esta orden.",
        "Nothing is purged yet: another person, of either side, must agree with this command.",
    ),
    "ask.purge": (
        "¿Pedir que se borre el texto cifrado de {ref} en {unit}? Aprobado, no se puede deshacer.",
        "Ask that the ciphertext of {ref} at {unit} be purged? Once agreed to, it cannot be undone.",
    ),
    "col.purge": ("Se borra", "Goes"),
    "retention.kept": (
        "Entregas con texto cifrado: {count}. Se borran en {days} días: {going}.",
        "Deliveries with ciphertext: {count}. Going within {days} days: {going}.",
    ),
    "retention.never": (
        "✖ ALARMA: {count} no se borran nunca por sí solas, porque nadie acusó recibo a tiempo. Llame a la línea:",
        "✖ ALARM: {count} never go by themselves, because nobody acknowledged them in time. Telephone the hotline:",
    ),
    "retention.none_never": ("Ninguna quedó sin acuse.", "None was left without an acknowledgement."),
    "holds.count": (
        "Retenciones vigentes: {count}. Con la revisión vencida: {overdue}.",
        "Holds that stand: {count}. Overdue for review: {overdue}.",
    ),
    "holds.line": (
        "  {ref}  {unit}: {by} ({basis}), se revisa el {at}",
        "  {ref}  {unit}: {by} ({basis}), reviewed at {at}",
    ),
    "holds.overdue": (
        "✖ {ref}  {unit}: {by} ({basis}), debía revisarse el {at}",
        "✖ {ref}  {unit}: {by} ({basis}), should have been reviewed at {at}",
    ),
    "erase.plan": (
        "Derivaciones que se suprimirían: {count} ({leaves} hojas), todas borradas y anteriores al {before}.",
        "Referrals that would be erased: {count} ({leaves} leaves), all purged and older than {before}.",
    ),
    "erase.left_held": ("Quedan {count} por una retención legal.", "{count} stay, for they are held."),
    "erase.left_not_purged": (
        "Quedan {count} porque algo de ellas no está borrado todavía.",
        "{count} stay, for something of them is not purged yet.",
    ),
    "erase.left_younger": ("Quedan {count} por ser más recientes.", "{count} stay, for they are younger."),
    "erase.done": ("{ref}: {leaves} hojas en {acts} actos", "{ref}: {leaves} leaves in {acts} acts"),
    "erase.none": ("Nada que suprimir.", "Nothing to erase."),
    "ask.erase": (
        "¿Suprimir los registros de {count} derivaciones anteriores al {before}? No se puede deshacer.",
        "Erase the records of {count} referrals older than {before}? This cannot be undone.",
    ),
    "rules.default": ("Reglas de fábrica: nadie las cambió.", "The default rules: nobody has changed them."),
    "rules.since": ("Reglas vigentes desde el {at}:", "Rules in force since {at}:"),
    "rules.differs": ("{where}: {old} → {new}", "{where}: {old} → {new}"),
    "rules.line": ("  {line}", "  {line}"),
    "rules.same": ("El archivo dice lo que ya rige.", "The file says what is in force already."),
    "rules.changed": (
        "Reglas cambiadas por el acto {digest}. Cada derivación conserva las de cuando se envió.",
        "Rules changed by act {digest}. Every referral keeps those of when it was submitted.",
    ),
    "ask.rules": (
        "¿Cambiar {count} reglas para lo que se envíe desde ahora? Queda en el registro para siempre.",
        "Change {count} rules for what is submitted from now on? It stands on the log for ever.",
    ),
    "doctor.database.slack": (
        "El archivo ({size_bytes} bytes) es demasiado grande y no se reescribió tras un borrado: puede guardar restos.",
        "The file ({size_bytes} bytes) is too large and was not rewritten since a purge: it may keep pieces of it.",
    ),
    "doctor.database.slack.do": (
        "Detenga el servidor, y reescriba el archivo (necesita otro tanto de disco libre):",
        "Stop the exchange, and write the file anew (it needs as much free disk again):",
    ),
    "doctor.backups.kept": (
        "Copias que ya debían borrarse, de {count} conocidas: {paths}.",
        "Backups that should be deleted by now, of {count} known: {paths}.",
    ),
    "doctor.backups.kept.ok": (
        "De {count} copias conocidas, ninguna pasa de su plazo.",
        "Of {count} known backups none is kept beyond its time.",
    ),
    "doctor.backups.kept.do": (
        "Guardan lo que aquí ya se borró. Bórrelas, y las que haya de ellas en otra parte.",
        "They keep what is purged here. Delete them, and whatever copies there are of them elsewhere.",
    ),
    "backup.until": (
        "Bórrela a más tardar el {at}: desde entonces guardaría lo que aquí ya se borró.",
        "Delete it by {at}: from then on it would keep what is purged here.",
    ),
}


def _fault(name: str, es: tuple[str, str, str], en: tuple[str, str, str]) -> dict[str, tuple[str, str]]:
    """The three texts of a fault of the call: what failed, why, what to do."""
    return {f"fault.{name}.{part}": (es[at], en[at]) for at, part in enumerate(("what", "why", "do"))}


_FAULTS: Final[Mapping[str, tuple[str, str]]] = {
    **_fault(
        "purged",
        (
            "YA NO ESTÁ: el texto cifrado se borró el {purged}.",
            "Cada derivación se borra en su plazo, o antes si dos personas lo acuerdan. Quedan los actos y recibos.",
            "Vea qué pasó con ella: referral timeline. Si hace falta el contenido, pídalo a la línea o a la unidad.",
        ),
        (
            "IT IS GONE: the ciphertext was purged at {purged}.",
            "Every referral goes when its time has come, or before where two persons agree. Acts and receipts stay.",
            "See what became of it: referral timeline. Where its contents are needed, ask the hotline or the unit.",
        ),
    ),
    **_fault(
        "purged-here",
        (
            "YA NO ESTÁ: de lo sellado de esta derivación no queda nada en este equipo.",
            "Se borró en el servidor en su fecha, y aquí al ver que se había borrado. Quedan los actos y recibos.",
            "Nada hay que enviar otra vez. Vea qué pasó con ella: referral timeline",
        ),
        (
            "IT IS GONE: of what was sealed in this referral nothing is left on this machine.",
            "It was purged at the exchange when its time had come, and here once that was seen. Acts, receipts stay.",
            "There is nothing to send again. See what became of it: referral timeline",
        ),
    ),
    **_fault(
        "held",
        (
            "Está retenida: no se borra.",
            "Una de las partes la retiene por una base legal.",
            "Vea quién y hasta cuándo: referral timeline. Quien la retiene la suelta con: referral hold REF --off",
        ),
        (
            "It is held: it is not purged.",
            "One of its parties keeps it, on a legal basis.",
            "See who, and until when: referral timeline. Whoever holds it lets it go with: referral hold REF --off",
        ),
    ),
    **_fault(
        "unread",
        (
            "Nadie la ha leído: no se borra.",
            "Venció sin acuse de recibo, y lo que nadie leyó no se pierde.",
            "Telefonee a la unidad; si otra la atiende, ciérrela con: referral close REF",
        ),
        (
            "Nobody has read it: it is not purged.",
            "It expired without an acknowledgement, and what nobody has read is not lost.",
            "Telephone the unit; where another sees to it, close it with: referral close REF",
        ),
    ),
    **_fault(
        "never-accepted",
        (
            "La unidad no la aceptó: no hay nada que retomar.",
            "Se cerró sin que nadie la tomara, o la unidad la declinó después.",
            "Envíela de nuevo a esa u otra unidad: referral readdress REF --unit UNIDAD",
        ),
        (
            "The unit had not accepted it: there is nothing to take up again.",
            "It was closed without anybody taking it, or the unit declined it afterwards.",
            "Send it anew, to that unit or another: referral readdress REF --unit UNIT",
        ),
    ),
    **_fault(
        "acknowledged",
        (
            "Ya se acusó recibo.",
            "El acuse vale una sola vez, y queda con la hora del primero.",
            "No hace falta nada más; vea desde cuándo: referral timeline",
        ),
        (
            "It has been acknowledged already.",
            "An acknowledgement counts once, with the time of the first.",
            "Nothing more is needed; see since when: referral timeline",
        ),
    ),
    **_fault(
        "no-hold",
        (
            "Su entidad no la retiene.",
            "Solo quien retiene puede soltar.",
            "Vea quién la retiene: referral timeline",
        ),
        ("Your party does not hold it.", "Only whoever holds can let go.", "See who holds it: referral timeline"),
    ),
    **_fault(
        "hold-incomplete",
        (
            "Falta por qué se retiene, o hasta cuándo.",
            "Una retención tiene base legal y un día en que se revisa.",
            "Añada --basis CÓDIGO y --review-at AAAA-MM-DD",
        ),
        (
            "It is not said why it is held, or until when.",
            "A hold has a basis and a day on which it is reviewed.",
            "Add --basis CODE and --review-at YYYY-MM-DD",
        ),
    ),
    **_fault(
        "purge-which",
        (
            "¿De qué entrega? {units}",
            "El borrado anticipado se pide para cada unidad.",
            "Añada --unit con una de ellas.",
        ),
        ("Of which delivery? {units}", "An early purge is asked for one unit.", "Add --unit with one of them."),
    ),
    **_fault(
        "day-past",
        ("El día {day} ya pasó.", "Una revisión es para más adelante.", "Ponga un día por venir."),
        ("The day {day} is over.", "A review is still to come.", "Give a day to come."),
    ),
    **_fault(
        "day-too-far",
        (
            "El día {day} queda demasiado lejos.",
            "Una retención se revisa a más tardar en {days} días, para que nada se guarde por olvido.",
            "Ponga un día más cercano; al revisarla se puede prolongar.",
        ),
        (
            "The day {day} is too far ahead.",
            "A hold is reviewed within {days} days at the latest, so that nothing is kept because it was forgotten.",
            "Give an earlier day; when it is reviewed it can be prolonged.",
        ),
    ),
    **_fault(
        "day-to-come",
        ("El día {day} está por venir.", "Solo se suprime lo pasado.", "Ponga un día que ya pasó."),
        ("The day {day} is still to come.", "Only what is past is erased.", "Give a day that is over."),
    ),
    **_fault(
        "rules-wrong",
        (
            "Las reglas de {path} no sirven: {where}.",
            "Ahí hay algo que no se admite: {reason}.",
            "Parta de las vigentes: referral admin rules show --json; corrija {where} y repita.",
        ),
        (
            "The rules in {path} cannot be: {where}.",
            "What stands there is not allowed: {reason}.",
            "Start from those in force: referral admin rules show --json; mend {where} and repeat.",
        ),
    ),
}
FORGETTING: Final[Mapping[str, tuple[str, str]]] = {**_HELP, **_ACTS, **_SCREENS, **_FAULTS}
