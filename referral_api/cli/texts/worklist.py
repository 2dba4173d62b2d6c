"""What is said of a party's worklists (`referral list`). Key → (Spanish, English).

Must never: call a list complete that lacks something.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

WORKLIST: Final[Mapping[str, tuple[str, str]]] = {
    "help.list": (
        """Todas las derivaciones de su entidad, comprobadas: primero lo que espera por usted, con plazo y antigüedad.

        Una unidad las halla por su bandeja. Una línea, por su bandeja, por lo que envió este equipo y por lo
        relacionado: lo que envió OTRO equipo de la línea falta hasta que una unidad lo descarga o el servidor avisa de
        ello (a más tardar, su primer plazo vencido). Lo que el servidor calla en la bandeja no se puede ver aquí.""",
        """Every referral of your party, verified: first what waits for you, with what is due and its age.

        A unit finds them by its inbox. A hotline by its inbox, by what this workstation sent, and by what is related:
        what ANOTHER workstation of the hotline sent is missing until a unit fetches it or the exchange speaks of it
        (its first missed deadline at the latest). What the exchange leaves out of an inbox cannot be seen here.""",
    ),
    "option.every": ("También lo terminado y lo borrado.", "What is over and what was purged, too."),
    "option.only": ("Sólo esta lista, también lo terminado.", "This list only, what has ended too."),
    "busy.referrals": ("Comprobando derivaciones", "Verifying referrals"),
    "list.asking": ("ESPERAN POR USTED: {count}", "WAIT FOR YOU: {count}"),
    "list.others": ("ABIERTAS, SIN NADA QUE HACER AHORA: {count}", "OPEN, WITH NOTHING TO DO NOW: {count}"),
    "list.over": (
        "TERMINADAS, O EN RESERVA DE ALGO YA LEÍDO: {count}",
        "OVER, OR STANDING BY FOR WHAT HAS BEEN READ: {count}",
    ),
    "list.entry": ("{urgency} · {lists} · {unit} · {state}", "{urgency} · {lists} · {unit} · {state}"),
    "list.ref": ("  {ref}", "  {ref}"),
    "list.age": ("  Enviada hace {age}, el {at}", "  Sent {age} ago, on {at}"),
    "list.due": ("  {what}: faltan {span}, hasta el {at}", "  {what}: {span} left, by {at}"),
    "list.overdue": ("  ✖ VENCIDO hace {span}: {what}, {at}", "  ✖ OVERDUE by {span}: {what}, {at}"),
    "list.may": ("  Se puede: {acts}", "  Possible: {acts}"),
    "list.next": ("  → {command}", "  → {command}"),
    "list.none": ("No hay nada en sus listas.", "There is nothing on your lists."),
    "list.hidden": (
        "No se muestran (--all): {ended} terminadas o en reserva de algo ya leído, {forgotten} borradas.",
        "Not shown (--all): {ended} over or standing by for what has been read, {forgotten} purged.",
    ),
    "list.elsewhere": ("En otras listas: {count}.", "On other lists: {count}."),
    "list.problem": ("✖ {ref}: NO SE PUDO COMPROBAR. {what}", "✖ {ref}: COULD NOT BE VERIFIED. {what}"),
    "list.unverified": (
        "✖ Relacionada que no se pudo comprobar, {ref}: no cuenta como que la reemplaza. {what}",
        "✖ Related and could not be verified, {ref}: it does not count as replacing this one. {what}",
    ),
    "list.unseen": ("✖ Sin mirar: {count} más. {what}", "✖ Not looked at: {count} more. {what}"),
    "list.unsent": (
        "⚠ {count} acto(s) de este equipo esperan en la bandeja de salida: la otra parte todavía no los tiene.",
        "⚠ {count} act(s) of this workstation wait in the outbox: the other side does not have them yet.",
    ),
    "list.on.telephone": ("LLAME POR TELÉFONO", "TELEPHONE"),
    "list.on.tell": ("FALTA DECÍRSELO", "STILL TO BE TOLD"),
    "list.on.read": ("por leer", "to read"),
    "list.on.answer": ("por responder", "to answer"),
    "list.on.decide": ("por decidir", "to decide"),
    "list.on.report": ("por informar", "to report on"),
    "list.on.readdress": ("buscar otra unidad", "find another unit"),
    "list.on.close": ("por cerrar: la reemplaza otra", "to close: another replaces it"),
    "list.on.waiting": ("le toca a la otra parte", "the other side's turn"),
    "list.on.standing_by": ("en reserva", "standing by"),
    "list.on.ended": ("terminada", "ended"),
    "list.on.forgotten": ("borrada", "purged"),
    "remark.lacks": (
        "  ✖ {unit} NO HA RECIBIDO lo que se dijo sólo a {units} ({what}): hágaselo llegar.",
        "  ✖ {unit} HAS NOT GOT what was said to {units} alone ({what}): send it on.",
    ),
    "remark.has_it_now": (
        "  ⚠ Ahora la tiene {now}; lo que se responda a {unit} no lo lee: dígaselo también con una nota.",
        "  ⚠ {now} has it now, and does not read what {unit} is answered: say it there too, by a note.",
    ),
    "remark.only_read_by": (
        "✖ Esto lo lee SÓLO {unit}, que ya trasladó la derivación. Ahora la tiene {now}: dígaselo también.",
        "✖ ONLY {unit} reads this, and it has passed the referral on. {now} has it now: say it there too.",
    ),
    "remark.untold": (
        "  ✖ A {unit} NO SE LE HA DICHO que la persona retiró su consentimiento.",
        "  ✖ {unit} HAS NOT BEEN TOLD that the person withdrew consent.",
    ),
    "remark.proposed": (
        "  ⚠ Su propuesta de pasarla a {unit} espera a {line}: no puede retirarla ni hacer otra. Llame a {phone}.",
        "  ⚠ Your proposal of {unit} waits for {line}: you can neither take it back nor make another. Call {phone}.",
    ),
    "fault.no-deliveries.what": (
        "Su entidad no envía ni recibe derivaciones: no tiene listas.",
        "Your party neither sends nor receives referrals: it has no lists.",
    ),
    "fault.no-deliveries.why": (
        "Las tienen sólo las líneas de ayuda y las unidades policiales.",
        "Only hotlines and police units have them.",
    ),
    "fault.no-deliveries.do": (
        "Auditoría: referral audit records. Entidad registradora: referral enrolments.",
        "An auditing body: referral audit records. The registrar: referral enrolments.",
    ),
}
