"""What the recovery commands say, in both languages. Key → (Spanish, English).

Must never: call anything recovered that is not, or leave out what is lost.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

RECOVERY: Final[Mapping[str, tuple[str, str]]] = {
    "help.admin.backup": (
        "Copiar la base de datos en marcha, con un manifiesto que la comprueba.",
        "Copy the database while it runs, with a manifest that proves the copy.",
    ),
    "help.admin.restore": (
        "Restaurar una copia donde no hay base de datos, o comprobarla aparte (--verify).",
        "Restore a backup where there is no database, or prove it in a scratch place (--verify).",
    ),
    "help.admin.reconcile": (
        "Recuperar lo perdido desde un espejo y recibos (con el servidor detenido).",
        "Bring back what was lost from a mirror and receipts (with the exchange stopped).",
    ),
    "help.admin.signer": ("El firmante de los registros.", "The signer of the logs."),
    "help.admin.signer.show": (
        "Ver qué firmante puede firmar cada registro (con el servidor detenido).",
        "Show which signer may sign each log (with the exchange stopped).",
    ),
    "help.admin.signer.adopt": (
        "Hacer de este equipo el firmante (con el servidor detenido).",
        "Make this host the signer (with the exchange stopped).",
    ),
    "option.to": ("Carpeta nueva para la copia.", "New folder for the backup."),
    "option.with_keys": ("Con las claves privadas del servidor.", "With the exchange's private keys."),
    "option.source": ("Carpeta de la copia.", "Folder of the backup."),
    "option.verify": ("Sólo comprobar que la copia está completa.", "Only prove that the backup is whole."),
    "option.scratch": (
        "Base de datos PostgreSQL vacía donde comprobar.",
        "Empty PostgreSQL database to prove it in.",
    ),
    "option.mirror": (
        "Carpeta que escribió: referral audit mirror",
        "Folder written by: referral audit mirror",
    ),
    "option.receipts": (
        "Archivo que escribió: referral receipt show (se repite).",
        "File written by: referral receipt show (repeatable).",
    ),
    "option.new_origin": (
        "Empezar otro registro (todavía no es posible).",
        "Begin another log (not possible yet).",
    ),
    "option.state": (
        "Estado del firmante anterior (se repite por registro).",
        "The former signer's state (one a log).",
    ),
    "option.checkpoint": (
        "Punto de control firmado por el quórum de testigos (uno por registro).",
        "Checkpoint cosigned by the witnesses' quorum (one a log).",
    ),
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
    "reconcile.closed": (
        "Todavía cerrado para escribir: {reason}. Siga docs/runbooks.md.",
        "Still closed for writing: {reason}. Follow docs/runbooks.md.",
    ),
    "signer.log": (
        "{log}: {size} hojas, firmadas {signed}, turno {fence}, en este equipo: {here}  {path}",
        "{log}: {size} leaves, {signed} signed, fence {fence}, on this host: {here}  {path}",
    ),
    "signer.adopted": (
        "{log}: este equipo firma desde ahora (turno {fence}, {size} hojas, por: {by}).",
        "{log}: this host signs from now on (fence {fence}, {size} leaves, by: {by}).",
    ),
    "ask.adopt": (
        "¿Firmar aquí desde ahora {logs}? El equipo anterior ya no podrá.",
        "Sign {logs} here from now on? The former host will not be able to.",
    ),
    "fault.no-authority.what": ("No se dijo con qué autoridad.", "Nothing was given that allows it."),
    "fault.no-authority.why": (
        "Un firmante se traslada con su estado o con el quórum de los testigos.",
        "A signer is moved by its state or by the witnesses' quorum.",
    ),
    "fault.no-authority.do": (
        "Indique --state o --checkpoint por cada registro: docs/runbooks.md",
        "Give --state or --checkpoint for each log: docs/runbooks.md",
    ),
    "fault.scratch-missing.what": ("No se dijo dónde comprobar.", "No place was given to prove it in."),
    "fault.scratch-missing.why": (
        "Una copia de PostgreSQL se comprueba en una base de datos vacía.",
        "A PostgreSQL backup is proved in an empty database.",
    ),
    "fault.scratch-missing.do": (
        "Cree una, repita con --scratch postgresql://… y bórrela después.",
        "Create one, repeat with --scratch postgresql://… and drop it afterwards.",
    ),
    "fault.new-origin.what": ("No se empezó otro registro.", "No other log was begun."),
    "fault.new-origin.why": (
        "El origen de un registro es su año (R-90): otro en el mismo año pide rutas y recibos nuevos.",
        "A log's origin is its year (R-90): another in the same year needs new paths and receipts.",
    ),
    "fault.new-origin.do": (
        "Busque más espejos y recibos; si no hay, siga cerrado y lea docs/decisions/0018.",
        "Look for more mirrors and receipts; if there are none, stay closed and read docs/decisions/0018.",
    ),
}
