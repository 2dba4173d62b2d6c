"""What the recovery commands say, in both languages. Key → (Spanish, English).

Must never: call anything recovered that is not, or leave out what is lost.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

RECOVERY: Final[Mapping[str, tuple[str, str]]] = {
    "backup.done": ("Copia hecha: {path}", "Backup made: {path}"),
    "backup.no_keys": (
        "Sin las claves privadas ({path}): guárdelas aparte; sin ellas la copia no se puede poner en marcha.",
        "Without the private keys ({path}): keep them elsewhere; no backup runs without them.",
    ),
    "recovery.log": ("  {log}: {size} hojas, raíz {root}", "  {log}: {size} leaves, root {root}"),
    "restore.done": (
        "Copia restaurada: {path}. Si falta algo que ya se firmó, el servidor arranca cerrado para escribir.",
        "Backup restored: {path}. If it lacks what was signed, the exchange starts closed for writing.",
    ),
    "restore.no_keys": (
        "Faltan las claves: póngalas en {path} antes de iniciar el servidor.",
        "The keys are missing: put them into {path} before you start the exchange.",
    ),
    "restore.whole": (
        "La copia está completa: cada registro se recalculó desde sus hojas. {path}",
        "The backup is whole: every log was recomputed from its leaves. {path}",
    ),
    "restore.broken": ("LA COPIA NO SIRVE: {path}", "THE BACKUP IS NOT WHOLE: {path}"),
    "reconcile.log": ("{log}: {count} hojas recuperadas.", "{log}: {count} leaves brought back."),
    "reconcile.nothing": (
        "No falta nada de lo firmado que se conoce.",
        "Nothing is missing of what is known to be signed.",
    ),
    "reconcile.lost": (
        "SE PERDIERON {count} textos sellados. Quien los envió puede enviar los mismos bytes otra vez:",
        "{count} SEALED TEXTS ARE LOST. Whoever sent them can send the same bytes again:",
    ),
    "reconcile.invited": (
        "Inscripciones empezadas que no se pueden recuperar: quien tenga la invitación empieza de nuevo: {parties}",
        "Enrolments that had begun cannot be brought back: whoever holds these invitations begins again: {parties}",
    ),
    "reconcile.closed": (
        "Todavía cerrado para escribir: {reason}. Siga docs/runbooks.md.",
        "Still closed for writing: {reason}. Follow docs/runbooks.md.",
    ),
    "reconcile.opened": (
        "{log} queda cerrado para siempre con {kept} hojas. Lo continúa {following}.",
        "{log} is closed for ever with {kept} leaves. {following} continues it.",
    ),
    "reconcile.gone": (
        "SE PERDIERON {lost} hojas de {log}. Da fe de ellas el texto firmado de tamaño {size}, cofirmado por: {who}.",
        "{lost} LEAVES OF {log} ARE LOST. The checkpoint at {size} vouches that they were, cosigned by: {who}.",
    ),
    "reconcile.nobody": (
        "nadie (sin testigos; solo la clave del registro)",
        "nobody (no witnesses; the log's key alone)",
    ),
    "reconcile.resend": (
        "Avise a todas las partes: cada una revisa con «referral loss» y envía otra vez lo que se perdió.",
        "Tell every party: each looks with “referral loss” and sends again what was lost.",
    ),
    "ask.new_origin": (
        "¿Cerrar {log} para siempre, con lo que falta, y continuar en el período {following}? No se puede deshacer.",
        "Close {log} for ever, without what is missing, and go on in term {following}? This cannot be undone.",
    ),
    "signer.log": (
        "{log}: {size} hojas, firmadas {signed}, turno {fence}, en este equipo: {here}  {path}",
        "{log}: {size} leaves, {signed} signed, fence {fence}, on this host: {here}  {path}",
    ),
    "signer.adopted": (
        "{log}: este equipo firma desde ahora (turno {fence}, {size} hojas, por: {by}).",
        "{log}: this host signs from now on (fence {fence}, {size} leaves, by: {by}).",
    ),
    "clock.shown": (
        "El reloj marca {clock}; la última hoja del registro es de {newest_leaf}.",
        "The clock shows {clock}; the newest leaf of the log is of {newest_leaf}.",
    ),
    "clock.good": ("Con este reloj se puede escribir.", "With this clock, writes may open."),
    "clock.doubtful": (
        "Así no se escribe nada ({reason}). Compare con otro reloj y corríjalo; si está bien: --is-right",
        "Like this nothing is written ({reason}). Compare with another clock and set it; if it is right: --is-right",
    ),
    "ask.clock": (
        "¿Son ahora de verdad las {clock} (UTC)? Con una hora equivocada todo lo que siga queda mal fechado.",
        "Is it truly {clock} (UTC) now? Under a wrong time everything that follows is misdated.",
    ),
    "ask.adopt": (
        "¿Firmar aquí desde ahora {logs}? El equipo anterior ya no podrá.",
        "Sign {logs} here from now on? The former host will not be able to.",
    ),
    "fault.host-refused.what": (
        "Este equipo no pudo hacerlo: {reason}.",
        "This host could not do it: {reason}.",
    ),
    "fault.host-refused.why": (
        "Le falta un archivo, un programa o una base de datos que pueda usarse; no se cambió nada.",
        "It lacks a file, a program or a database that can be used; nothing was changed.",
    ),
    "fault.host-refused.do": (
        "Busque «{reason}» en docs/runbooks.md, al final.",
        "Look for “{reason}” in docs/runbooks.md, at its end.",
    ),
}
