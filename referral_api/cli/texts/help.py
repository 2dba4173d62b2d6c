"""What help says: every command by its path (`help.inbox.list`) and every option by its name; and the words for codes
of the glossary that no code list holds. Key → (Spanish, English).

Must never: describe an option that does not exist (a test compares them with the command).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from referral_api.cli.texts.admin_doctor import DOCTOR_HELP
from referral_api.cli.texts.witness import WITNESS_HELP

_COMMANDS: Final[Mapping[str, tuple[str, str]]] = {
    "help": (
        """Derivaciones selladas, firmadas y comprobables entre una línea de ayuda y la policía.

        Códigos de salida: 0 bien, 1 defecto, 2 uso, 3 sin conexión, 4 sin inscripción o bloqueado, 5 comprobación
        fallida, 6 no existe, 7 conflicto, 8 a medias (algo espera en la bandeja de salida, o no se pudo
        abrir o mirar), 9 nada nuevo, 10 hay algo que hacer (doctor, keys watch), 130 interrumpido.""",
        """Sealed, signed and provable referrals between a hotline and the police.

        Exit codes: 0 ok, 1 defect, 2 usage, 3 unreachable, 4 not enrolled or locked, 5 verification failed,
        6 not found, 7 conflict, 8 partly done (something waits in the outbox, stayed closed or could not be seen),
        9 nothing new, 10 something to do (doctor, keys watch), 130 interrupted.""",
    ),
    "help.invite": ("Invitar a una entidad, o a alguien de la propia.", "Invite a party, or somebody into one's own."),
    "help.enrol": (
        "Inscribir este equipo; sin invitación, decir a quién le toca.",
        "Enrol this machine; without an invitation, say whose turn it is.",
    ),
    "help.enrolments": ("Ver qué inscripciones esperan por usted.", "See which enrolments wait for you."),
    "help.approve": (
        "Aprobar una inscripción tecleando los 30 dígitos que le leen; o un traslado o un borrado pedido.",
        "Approve an enrolment by typing the 30 digits read out to you; or a transfer, or a purge that was asked for.",
    ),
    "help.whoami": ("Quién soy, ante qué servidor y con qué hora.", "Who I am, to which exchange, at what time."),
    "help.units": ("El directorio de unidades.", "The directory of units."),
    "help.units.list": (
        "Ver las unidades y si se les puede sellar.",
        "List the units and whether they can be sealed to.",
    ),
    "help.units.show": ("Ver una unidad.", "Show one unit."),
    "help.keys": ("Las claves de la propia entidad.", "The keys of one's own party."),
    "help.keys.show": ("Ver credenciales y claves.", "Show credentials and keys."),
    "help.send": ("Comprobar, sellar, firmar y enviar una derivación.", "Check, seal, sign and send a referral."),
    "help.timeline": (
        "Ver todo lo ocurrido con una derivación, comprobado, y las notas selladas para usted.",
        "Show all that became of a referral, verified, and the notes sealed for you.",
    ),
    "help.withdraw": ("Retirar una derivación.", "Withdraw a referral."),
    "help.outbox": ("Lo firmado en este equipo y su recibo.", "What was signed on this machine, and its receipt."),
    "help.outbox.list": ("Ver la bandeja de salida.", "List the outbox."),
    "help.outbox.flush": ("Enviar lo que espera.", "Send what waits."),
    "help.outbox.reseal": ("Sellar de nuevo con las claves de hoy.", "Seal again with today's keys."),
    "help.outbox.resend": (
        "Enviar otra vez, sin cambios, lo que se perdió en el servidor de intercambio.",
        "Send again, unchanged, what the exchange has lost.",
    ),
    "help.inbox": ("La bandeja de entrada.", "The inbox."),
    "help.inbox.list": ("Ver la bandeja.", "List the inbox."),
    "help.show": (
        "Abrir y leer una derivación y sus notas; primero lo que no se debe hacer y el contacto seguro.",
        "Open and read a referral and its notes; what must not be done and safe contact come first.",
    ),
    "help.ack": ("Abrir, comprobar y firmar el acuse de recibo.", "Open, verify and sign the acknowledgement."),
    "help.accept": ("Tomar la derivación.", "Take the referral."),
    "help.decline": ("Declinar la derivación, con motivo.", "Decline the referral, with a reason."),
    "help.status": ("Informar del estado de la investigación.", "Report the status of the investigation."),
    "help.receipt-failed": ("Avisar que no se pudo abrir o no es íntegra.", "Report that it did not open or verify."),
    "help.note": (
        "Enviar una nota sellada a la otra parte; una línea dice a qué unidad.",
        "Send a sealed note to the other side; a hotline says to which unit.",
    ),
    "help.close": ("Cerrar la derivación con su resultado.", "Close the referral with its outcome."),
    "help.audit": ("Comprobar los registros en este equipo.", "Verify the logs on this machine."),
    "help.audit.verify": (
        "Comprobarlo todo, o lo nuevo. Salida: 0 íntegro, 1 algo es falso (deja evidencia), 3 incompleto.",
        "Verify everything, or what is new. Exit: 0 intact, 1 something is false (evidence is kept), 3 incomplete.",
    ),
    "help.audit.mirror": (
        "Copiar los registros a una carpeta, o poner al día la copia.",
        "Copy the logs to a folder, or bring the copy up to date.",
    ),
    "help.audit.witnesses": (
        "Qué vieron los testigos, y si es lo que se ve aquí.",
        "What the witnesses saw, and whether it is what is seen here.",
    ),
    "help.audit.referral": (
        "Todo sobre una derivación, con sus pruebas.",
        "Everything about one referral, with its proofs.",
    ),
    "help.audit.keys": (
        "El registro de claves, entrada por entrada, y qué cambió.",
        "The keys log, entry by entry, and what has changed.",
    ),
    "help.audit.records": (
        "Los registros de un año, comprobados uno por uno.",
        "The records of a year, verified one by one.",
    ),
    "help.audit.explain": (
        "Decir en palabras llanas qué encontró una comprobación.",
        "Say in plain words what a verification found.",
    ),
    "help.audit.db": (
        "Comparar la base de datos con sus registros, junto al servidor.",
        "Compare the database with its logs, beside the server.",
    ),
    "help.audit.pack": (
        "Guardar las evidencias de una derivación, comprobadas.",
        "Keep the evidence pack of a referral, verified.",
    ),
    "help.audit.verify-pack": (
        "Comprobar un paquete de evidencias, sin conexión.",
        "Verify an evidence pack, offline.",
    ),
    "help.loss": (
        "Qué perdió el servidor para siempre; aceptarlo y enviar otra vez lo propio.",
        "What the exchange has lost for good; accept it, and send one's own again.",
    ),
    "help.receipt": ("Recibos, que se comprueban sin conexión.", "Receipts, which verify offline."),
    "help.receipt.show": ("Sacar acto, recibo y prueba a un archivo.", "Write act, receipt and proof to a file."),
    "help.receipt.upgrade": ("Pedir la prueba que firmaron los testigos.", "Fetch the proof that witnesses cosigned."),
    "help.receipt.verify": ("Comprobar ese archivo sin conexión.", "Verify such a file offline."),
    "help.admin": ("Fundar y hacer funcionar el servidor de intercambio.", "Found and run the exchange."),
    "help.admin.init": ("Fundar un servidor de intercambio.", "Found an exchange."),
    "help.admin.serve": ("Hacer funcionar el servidor hasta que se detenga.", "Run the exchange until it is stopped."),
    "help.admin.migrate": (
        "Llevar la base de datos al esquema de esta versión.",
        "Bring the database to this version's schema.",
    ),
    "help.admin.approve": (
        "Aprobar a la entidad registradora (con el servidor detenido).",
        "Approve the registrar (with the exchange stopped).",
    ),
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
    "help.admin.clock": (
        "Ver el reloj y la hora de la última hoja, o decir que el reloj está bien (con el servidor detenido).",
        "Show the clock and the newest leaf's time, or say that the clock is right (with the exchange stopped).",
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
}

_OPTIONS: Final[Mapping[str, tuple[str, str]]] = {
    "panel.arguments": ("Argumentos", "Arguments"),
    "panel.options": ("Opciones", "Options"),
    "panel.commands": ("Órdenes", "Commands"),
    "option.help": ("Mostrar esta ayuda.", "Show this help."),
    "option.profile": ("Carpeta del perfil.", "Folder of the profile."),
    "option.server": ("Otra dirección del mismo servidor de intercambio.", "Another address of the same exchange."),
    "option.timeout": ("Segundos que se espera una respuesta.", "Seconds to wait for an answer."),
    "option.passphrase_file": ("Archivo con la frase de contraseña.", "File with the passphrase."),
    "option.service_key": ("Archivo con la llave del servicio.", "File with the service's key."),
    "option.lang": ("Idioma: es o en.", "Language: es or en."),
    "option.as_json": ("Resultado en JSON.", "Result as JSON."),
    "option.quiet": ("Sólo el resultado.", "The result alone."),
    "option.verbose": ("Con la traza de un fallo.", "With the traceback of a failure."),
    "option.no_color": ("Sin colores.", "No colours."),
    "option.yes": ("Responder sí a las preguntas.", "Answer yes to questions."),
    "option.version": ("Mostrar la versión.", "Show the version."),
    "option.target": ("Carpeta nueva para la copia.", "New folder for the backup."),
    "option.with_keys": ("Con las claves privadas del servidor.", "With the exchange's private keys."),
    "option.source": ("Carpeta de la copia.", "Folder of the backup."),
    "option.is_right": (
        "El reloj está bien, aunque el registro diga otra cosa; vale un día.",
        "The clock is right, whatever the log says; good for a day.",
    ),
    "option.verify": ("Sólo comprobar que la copia está completa.", "Only prove that the backup is whole."),
    "option.scratch": (
        "Base de datos PostgreSQL vacía donde comprobar.",
        "Empty PostgreSQL database to prove it in.",
    ),
    "option.mirrored": (
        "Carpeta que escribió: referral audit mirror",
        "Folder written by: referral audit mirror",
    ),
    "option.receipts": (
        "Archivo que escribió: referral receipt show (se repite).",
        "File written by: referral receipt show (repeatable).",
    ),
    "option.new_origin": (
        "Dar por perdido lo que nadie tiene y continuar en otro período.",
        "Give up what nobody has, and go on in another term.",
    ),
    "option.accept": (
        "Continuar sin lo perdido y enviar otra vez los actos propios.",
        "Go on without what was lost, and send one's own acts again.",
    ),
    "option.state": (
        "Estado del firmante anterior (se repite por registro).",
        "The former signer's state (one a log).",
    ),
    "option.checkpoint": (
        "Punto de control firmado por el quórum de testigos (uno por registro).",
        "Checkpoint cosigned by the witnesses' quorum (one a log).",
    ),
    "option.out": ("Archivo que se escribe; no se sobrescribe.", "File to write; never overwritten."),
    "option.entry": (
        "Ficha de la entidad (JSON o YAML), si es nueva.",
        "The party's entry (JSON or YAML), if it is new.",
    ),
    "option.kind": ("Clase de credencial que se admite.", "Kind of credential that is admitted."),
    "option.invitation": ("Archivo de invitación.", "Invitation file."),
    "option.station": ("Código corto de este equipo.", "Short code of this workstation."),
    "option.operator": ("Código de la operadora, nunca su nombre.", "The operator's code, never a name."),
    "option.keyholder": ("Pedir ser custodio de claves.", "Ask to be a keyholder."),
    "option.no_service": ("Sin credencial de servicio.", "No service credential."),
    "option.resume": (
        "Repetir el último paso, si se perdió la respuesta.",
        "Repeat the last step, if its answer was lost.",
    ),
    "option.qr": (
        "Mostrar también el código QR aunque no haya terminal.",
        "Show the QR code as well where there is no terminal.",
    ),
    "option.enrolment": (
        "Inscripción, o su entidad si hay una sola; o una derivación.",
        "Enrolment, or its party if there is only one; or a referral.",
    ),
    "option.code_file": ("Archivo con los dígitos; «-» es la entrada.", "File with the digits; “-” is standard input."),
    "option.file": ("Archivo; «-» es la entrada.", "File; “-” is standard input."),
    "option.unit": ("Unidad.", "Unit."),
    "option.inform": ("Otra unidad, para su información (repetible).", "Another unit, for information (repeatable)."),
    "option.exclude": ("Unidad que nunca debe recibirla (repetible).", "Unit that must never get it (repeatable)."),
    "option.as_kind": ("Quién firma: person o service.", "Who signs: person or service."),
    "option.retention": ("Clase de conservación.", "Retention class."),
    "option.agreement": ("Convenio bajo el que se comparte.", "Agreement under which it is shared."),
    "option.ref": ("Derivación.", "Referral."),
    "option.act": ("Identificador del acto.", "Id of the act."),
    "option.reason": ("Motivo (código; sin él se listan).", "Reason (code; without one they are listed)."),
    "option.outcome": ("Resultado (código; sin él se listan).", "Outcome (code; without one they are listed)."),
    "option.to": ("Estado de la investigación (código).", "Status of the investigation (code)."),
    "option.note": ("Archivo con una nota, que viaja sellada.", "File with a note, which travels sealed."),
    "option.case_number": ("Número de la unidad, que viaja sellado.", "The unit's own number, which travels sealed."),
    "option.pending": ("Sólo lo que espera respuesta.", "Only what waits for an answer."),
    "option.exit_code": ("Salir con 9 si no hay nada.", "Exit with 9 if there is nothing."),
    "option.count": ("Terminar tras tantas entradas.", "End after so many entries."),
    "option.once": ("Terminar tras la primera entrada.", "End after the first entry."),
    "option.wait": ("Segundos de cada espera.", "Seconds of each wait."),
    "option.full": ("Todo, desde la primera hoja (por omisión).", "Everything, from the first leaf (the default)."),
    "option.since": (
        "Lo nuevo desde la última vez, sobre la copia guardada.",
        "What is new since the last time, on top of the kept copy.",
    ),
    "option.policy": (
        "Archivo con la política de testigos propia.",
        "File with one's own witness policy.",
    ),
    "option.year": (
        "Año del registro, o su período (2026.2); si falta, el último.",
        "Year of the log, or its term (2026.2); without one, the last.",
    ),
    "option.first": ("Primera posición.", "First index."),
    "option.limit": ("Cuántos como mucho.", "How many at most."),
    "option.party": ("Sólo de esta entidad.", "Of this party only."),
    "option.of_kind": ("Sólo de esta clase.", "Of this kind only."),
    "option.after": ("Desde este día (UTC).", "From this day on (UTC)."),
    "option.before": ("Hasta este día (UTC).", "Up to this day (UTC)."),
    "option.trust_first": (
        "La primera vez: aceptar la historia que hay como punto de partida.",
        "The first time: take the history that there is as the starting point.",
    ),
    "option.evidence": (
        "Carpeta para la evidencia, si algo es falso.",
        "Folder for the evidence, if anything is false.",
    ),
    "option.report": (
        "Informe de verify --json; si falta, el último de este perfil.",
        "Report of verify --json; without one, the last of this profile.",
    ),
    "option.root": ("Raíz del servidor, conocida por otra vía.", "The exchange's root, known from elsewhere."),
    "option.mirror": ("Comprobar una copia en vez del servidor.", "Verify a mirror instead of the exchange."),
    "option.path": ("Carpeta.", "Folder."),
    "option.named": ("Acto o derivación.", "Act or referral."),
    "option.witness_policy": (
        "Testigos del registro y sus direcciones (archivo de política).",
        "The log's witnesses and their addresses (policy file).",
    ),
    "option.config": ("Archivo de configuración.", "Settings file."),
    "option.folder": ("Carpeta del servidor.", "Folder of the exchange."),
    "option.issuer": ("Dirección pública, parte de todo lo firmado.", "Public URL, part of everything signed."),
    "option.port": ("Puerto en que escucha.", "Port to listen on."),
    "option.database_url": ("Vacío: SQLite. Si no, postgresql://…", "Empty: SQLite. Else postgresql://…"),
    "option.registrar": ("Identificador de la entidad registradora.", "Party id of the registrar."),
    "option.registrar_name": ("Nombre de la entidad registradora.", "Name of the registrar."),
    "option.sandbox": ("De pruebas: una sola persona registradora.", "For tests: a single registrar person."),
    "option.defaults": ("No preguntar nada.", "Ask nothing."),
}

_STATES: Final[Mapping[str, tuple[str, str]]] = {
    "state.held": ("retenida", "held"),
    "state.submitted": ("enviada", "submitted"),
    "state.retrieved": ("descargada", "retrieved"),
    "state.acknowledged": ("con acuse", "acknowledged"),
    "state.receipt_failed": ("no se pudo abrir", "could not be opened"),
    "state.accepted": ("tomada", "accepted"),
    "state.declined": ("declinada", "declined"),
    "state.transferred": ("trasladada", "transferred"),
    "state.withdrawn": ("retirada", "withdrawn"),
    "state.withdrawal_notified": ("retiro notificado", "withdrawal notified"),
    "state.expired": ("vencida", "expired"),
    "state.closed": ("cerrada", "closed"),
    "state.purged": ("borrada", "purged"),
    "progress.queued": ("en cola", "queued"),
    "progress.sending": ("enviándose", "sending"),
    "progress.received": ("recibido por el servidor", "received by the exchange"),
    "progress.retrieved": ("descargado por la unidad", "retrieved by the unit"),
    "progress.acknowledged": ("acuse firmado", "acknowledged"),
    "progress.needs_resealing": ("hay que sellarlo de nuevo", "needs resealing"),
    "progress.refused": ("rechazado", "refused"),
    "progress.purged": ("borrado: no se envía otra vez", "purged: it is not sent again"),
    "outcome.accepted": ("aceptado", "accepted"),
    "outcome.refused": ("rechazado", "refused"),
    "check.keys-log": ("Registro de claves, desde su raíz fijada", "Keys log, from its pinned root"),
    "check.checkpoint": ("Firma y origen de los puntos de control", "Signature and origin of checkpoints"),
    "check.growth": ("El registro sólo ha crecido", "The log has only grown"),
    "check.witnesses": ("Los testigos vieron la misma historia", "The witnesses have seen the same history"),
    "check.leaves": ("Las hojas dan la raíz firmada", "The leaves hash to the signed root"),
    "check.records": ("Cada registro es el de su hoja", "Every record is its leaf's"),
    "check.signatures": ("Firmas de los actos", "Signatures of the acts"),
    "check.receipts": ("Recibos", "Receipts"),
    "check.states": ("Los actos dan los estados declarados", "The acts fold to the states claimed"),
    "check.both-logs": ("Los actos del directorio, en ambos registros", "Directory acts, in both logs"),
    "verdict.ok": ("concuerda", "holds"),
    "verdict.failed": ("NO CONCUERDA", "DOES NOT HOLD"),
    "verdict.incomplete": ("INCOMPLETO", "INCOMPLETE"),
    "verdict.not-reached": ("no se llegó a comprobar", "not reached"),
}

_ACTS: Final[Mapping[str, tuple[str, str]]] = {
    "submit": ("derivación", "referral"),
    "route": ("exclusiones", "exclusions"),
    "phone_alert": ("aviso telefónico", "telephone alert"),
    "supplement": ("ampliación", "supplement"),
    "withdraw": ("retiro", "withdrawal"),
    "consent_withdrawn": ("consentimiento retirado", "consent withdrawn"),
    "ack": ("acuse de recibo", "acknowledgement"),
    "receipt_failed": ("recepción fallida", "failed receipt"),
    "accept": ("toma de la derivación", "acceptance"),
    "decline": ("declinación", "decline"),
    "transfer": ("propuesta de traslado", "proposed transfer"),
    "status": ("estado de la investigación", "investigation status"),
    "withdrawal_answer": ("respuesta al retiro", "answer to the withdrawal"),
    "note": ("nota", "note"),
    "ask": ("pregunta", "question"),
    "answer": ("respuesta", "answer"),
    "approve": ("aprobación", "approval"),
    "close": ("cierre", "closing"),
    "reopen": ("reapertura", "reopening"),
    "rewrap": ("nuevo sobre", "new envelope"),
    "hold": ("retención legal", "legal hold"),
    "purge_request": ("petición de borrado", "request to purge"),
    "overdue": ("plazo vencido", "overdue"),
    "escalated": ("escalamiento", "escalation"),
    "released": ("liberación", "release"),
    "taken": ("tomada por otra unidad", "taken by another unit"),
    "telephone_now": ("llame ahora", "telephone now"),
    "expired": ("vencimiento", "expiry"),
    "unit_offline": ("unidad sin conexión", "unit offline"),
    "purged": ("borrado", "purge"),
    "erase": ("supresión", "erasure"),
    "genesis": ("acto fundacional", "genesis"),
    "invite": ("invitación", "invitation"),
    "statement": ("declaración de claves", "key statement"),
    "approve_statement": ("aprobación de claves", "approval of keys"),
    "revoke": ("revocación", "revocation"),
    "object": ("objeción", "objection"),
    "retrieved": ("descarga del sobre", "bundle handed out"),
    "sealed": ("descarga de una nota", "note handed out"),
    "viewed": ("consulta", "view"),
}
_KINDS: Final[Mapping[str, tuple[str, str]]] = {
    **{f"act.{name}": words for name, words in _ACTS.items()},
    **{f"done.{name}": (f"✔ {es}: {{ref}}", f"✔ {en}: {{ref}}") for name, (es, en) in _ACTS.items()},
}

_ELSEWHERE: Final = {**WITNESS_HELP, **DOCTOR_HELP}
HELP: Final[Mapping[str, tuple[str, str]]] = {**_COMMANDS, **_OPTIONS, **_STATES, **_KINDS, **_ELSEWHERE}
