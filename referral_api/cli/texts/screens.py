"""What the screens say: results, questions, turns, titles of columns. Key → (Spanish, English).

Must never: name a person, promise what the program does not do, or differ in places between the two languages.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from referral_api.cli.texts.witness import WITNESS_SCREENS

_RESULTS: Final[Mapping[str, tuple[str, str]]] = {
    "next": ("→ Siguiente: {command}", "→ Next: {command}"),
    "place.code": ("CÓDIGO", "CODE"),
    "place.file": ("ARCHIVO", "FILE"),
    "place.folder": ("CARPETA", "FOLDER"),
    "place.unit": ("UNIDAD", "UNIT"),
    "yes": ("sí", "yes"),
    "no": ("no", "no"),
    "witnesses.none": (
        "Sin testigos: nadie fuera del servidor de intercambio refrenda el registro.",
        "No witnesses: nobody outside the exchange cosigns the log.",
    ),
    "witnesses.some": ("Con testigos según la política del acto fundacional.", "Witnessed under the founding policy."),
    "witnesses.stale": (
        "AVISO: los testigos vieron por última vez las llaves con que se sella el {at}; avise al auditor si dura.",
        "WARNING: the witnesses last saw the keys that are sealed by on {at}; tell the auditor if it lasts.",
    ),
    "invite.done": (
        "Invitación para {party} escrita en {path}. Vale una sola vez, hasta {until}.",
        "Invitation for {party} written to {path}. Good once, until {until}.",
    ),
    "enrol.service_key": (
        "Llave del servicio escrita en {path}: guárdela como se guarda una llave.",
        "Service key written to {path}: keep it as you keep a key.",
    ),
    "enrol.done": (
        "Claves de {party} hechas en este equipo y guardadas en {path}. Ninguna salió de aquí.",
        "Keys of {party} made on this machine and kept in {path}. None has left it.",
    ),
    "enrol.code": ("Léalo por teléfono cuando le llamen:", "Read this out when you are telephoned:"),
    "enrol.in_effect": ("La inscripción en {party} está vigente.", "The enrolment in {party} is in effect."),
    "enrolments.none": ("Ninguna inscripción espera por usted.", "No enrolment waits for you."),
    "approve.who": ("Inscripción en {party}: {asks}", "Enrolment in {party}: {asks}"),
    "approve.entry": (
        "Se describe como {name}; guardia {phone}; ámbito {area}; depende de {parent}; escala a {escalation}.",
        "Describes itself as {name}; duty phone {phone}; area {area}; parent {parent}; escalates to {escalation}.",
    ),
    "approve.compare": (
        "Compárelo con la invitación: los dígitos prueban quién lo escribió, no que sea lo acordado.",
        "Compare it with the invitation: the digits prove who wrote it, not that it is what was agreed.",
    ),
    "approve.done": (
        "Los dígitos coinciden. {party}: firmado y registrado en {log}, posición {index}.",
        "The digits match. {party}: signed and logged in {log}, index {index}.",
    ),
    "admin.approved": (
        "Los dígitos coinciden. {party} es la entidad registradora (registro de claves, posición {index}).",
        "The digits match. {party} is the registrar (keys log, index {index}).",
    ),
    "turn.invitee": (
        "Ahora le toca a quien fue invitado: inscribirse en su propio equipo.",
        "Now it is the invitee's turn: to enrol on their own machine.",
    ),
    "turn.exchange": (
        "Ahora le toca a quien administra el servidor de intercambio: detenerlo, llamarle y teclear los dígitos.",
        "Now it is the turn of whoever runs the exchange: to stop it, telephone you and type the digits.",
    ),
    "turn.registrar": (
        "Ahora le toca a la entidad registradora; espere su llamada.",
        "Now it is the registrar's turn; wait for the call.",
    ),
    "turn.keyholder": (
        "Ahora le toca a un custodio de claves de su entidad; espere su llamada.",
        "Now it is the turn of a keyholder of your party; wait for the call.",
    ),
    "turn.second_keyholder": (
        "Ahora le toca a un segundo custodio de claves de la entidad; espere su llamada.",
        "Now it is the turn of a second keyholder of the party; wait for the call.",
    ),
    "whose.registrar": ("entidad registradora", "registrar"),
    "whose.keyholder": ("custodio de claves", "keyholder"),
    "whose.second_keyholder": ("segundo custodio", "second keyholder"),
    "turn.done": ("No le toca a nadie: la inscripción está vigente.", "Nobody's turn: the enrolment is in effect."),
    "turn.void": (
        "La inscripción quedó sin efecto. Le toca a quien invitó: dar una invitación nueva.",
        "The enrolment is void. It is the inviter's turn: to hand over a new invitation.",
    ),
    "turn.expired": (
        "La inscripción venció. Le toca a quien invitó: dar una invitación nueva.",
        "The enrolment has expired. It is the inviter's turn: to hand over a new invitation.",
    ),
    "whoami.who": ("{credential}, de {party} ({role})", "{credential}, of {party} ({role})"),
    "whoami.where": (
        "Servidor de intercambio {issuer} · entorno {environment} · versión {version}",
        "Exchange {issuer} · environment {environment} · version {version}",
    ),
    "whoami.root": ("Raíz fijada: {root}", "Pinned root: {root}"),
    "whoami.log_key": ("Clave del registro: {kid}", "Log key: {kid}"),
    "whoami.time": ("Hora del servidor: {at} · diferencia {skew} s", "Time there: {at} · difference {skew} s"),
    "quoted": ("«{words}»", "“{words}”"),
    "units.kept": (
        "⚠ El servidor no responde. Esto es lo que esta máquina tiene del directorio ({size} actos).",
        "⚠ The exchange does not answer. This is what this machine has of the directory ({size} acts).",
    ),
    "units.none": ("No hay unidades en el directorio.", "There are no units in the directory."),
    "unit.reachable": ("✔ Se le puede sellar: tiene claves vigentes.", "✔ Can be sealed to: it has valid keys."),
    "unit.unreachable": (
        "✖ Inalcanzable: no tiene clave vigente. Llame por teléfono.",
        "✖ Unreachable: it has no valid key. Telephone.",
    ),
    "unit.phone": ("Teléfono de guardia: {phone}", "Duty telephone: {phone}"),
    "unit.area": ("Ámbito (ubigeo): {area}", "Area (ubigeo): {area}"),
    "unit.hours": ("Horario: {hours}", "Hours: {hours}"),
    "unit.escalation": ("Escala a: {parties}", "Escalates to: {parties}"),
    "unit.persons": ("Personas: {persons} · claves de cifrado: {keys}", "Persons: {persons} · encryption keys: {keys}"),
    "unit.statement": (
        "Declaración n.º {seq}, registro de claves, posición {index}",
        "Statement no. {seq}, keys log, index {index}",
    ),
    "send.sealing": ("Comprobando, sellando y firmando para {unit}…", "Checking, sealing and signing for {unit}…"),
    "entry.waits": (
        "{what} · {ref}: firmado y guardado en la bandeja de salida; todavía sin recibo.",
        "{what} · {ref}: signed and kept in the outbox; no receipt yet.",
    ),
    "entry.why": ("Por qué espera: {words}", "Why it waits: {words}"),
    "entry.receipt": (
        "✔ Recibo comprobado en este equipo: {at} · {log}, posición {index}",
        "✔ Receipt verified on this machine: {at} · {log}, index {index}",
    ),
    "entry.state": ("  {unit}: {state}", "  {unit}: {state}"),
    "outbox.refused": ("✖ NO SE ACEPTÓ: {what} · {ref}. {words}", "✖ NOT ACCEPTED: {what} · {ref}. {words}"),
    "outbox.empty": ("Nada espera en la bandeja de salida.", "Nothing waits in the outbox."),
    "timeline.verified": (
        "✔ {acts} actos: firmas, recibos y estados comprobados en este equipo.",
        "✔ {acts} acts: signatures, receipts and states verified on this machine.",
    ),
    "inbox.empty": ("No hay nada en la bandeja.", "The inbox is empty."),
    "watch.begins": (
        "Vigilando la bandeja de {party}. Ctrl+C para terminar.",
        "Watching the inbox of {party}. Ctrl+C ends it.",
    ),
    "show.verified": (
        "✔ Íntegro y firmado por {party} ({issuer}), {at}",
        "✔ Intact and signed by {party} ({issuer}), {at}",
    ),
    "show.ref": ("Derivación {ref} · {urgency}", "Referral {ref} · {urgency}"),
    "show.do_not": ("NO HACER", "DO NOT"),
    "show.do_not_none": ("(ninguna indicación)", "(nothing stated)"),
    "show.safe_contact": ("CONTACTO SEGURO", "SAFE CONTACT"),
    "show.no_safe_contact": (
        "sin indicación: no contacte; pregunte a la línea.",
        "nothing stated: do not make contact; ask the hotline.",
    ),
    "show.attachments": ("Adjuntos (número, nombre, bytes)", "Attachments (number, name, bytes)"),
    "note.title": ("NOTAS SELLADAS PARA USTED", "NOTES SEALED FOR YOU"),
    "note.head": ("  {at} · {what} · {by}", "  {at} · {what} · {by}"),
    "note.closed": ("    ✖ No se abrió: {words} [{code}]", "    ✖ It did not open: {words} [{code}]"),
    "note.unread": (
        "Primero se abre la derivación: referral show",
        "The referral is opened first: referral show",
    ),
    "note.case_number": ("    Número de la unidad: {number}", "    The unit's own number: {number}"),
    "note.contact": ("    Contacto: {contact}", "    Contact: {contact}"),
    "busy.leaves": ("Hojas de {log}", "Leaves of {log}"),
    "busy.records": ("Registros de {log}", "Records of {log}"),
    "busy.verified": ("Comprobados de {log}", "Verified of {log}"),
    "busy.acts": ("Enviando la bandeja de salida", "Sending the outbox"),
    "mirror.log": ("{log}: {size} hojas copiadas", "{log}: {size} leaves copied"),
    "receipt.written": ("Evidencia escrita en {path}", "Evidence written to {path}"),
    "receipt.verified": (
        "✔ RECIBO VÁLIDO — comprobado en este equipo, sin conexión",
        "✔ VALID RECEIPT — verified on this machine, offline",
    ),
    "receipt.act": ("Acto {id} de {sub}, {at}", "Act {id} of {sub}, {at}"),
    "receipt.outcome": ("Resultado: {outcome} ({code})", "Outcome: {outcome} ({code})"),
    "receipt.cosigned": ("Testigo {witness}: firmó también el {at}", "Witness {witness} cosigned it at {at}"),
    "receipt.place": ("{log}, posición {index} de {size}", "{log}, index {index} of {size}"),
    "audit.green": ("✔ ÍNTEGRO — todo estaba y todo concuerda", "✔ INTACT — everything was there and everything holds"),
    "audit.red": (
        "✖ ALTERADO O INCOMPLETO — no cierre esta pantalla; guarde copia y avise",
        "✖ ALTERED OR INCOMPLETE — do not close this screen; keep a copy and tell the others",
    ),
    "audit.fault": ("  ✖ {log}, {place}: {words} [{code}] {facts}", "  ✖ {log}, {place}: {words} [{code}] {facts}"),
    "audit.log": ("el registro entero", "the log as a whole"),
    "audit.leaf": ("posición {index}", "index {index}"),
    "audit.head": ("  {log}: {size} hojas", "  {log}: {size} leaves"),
    "audit.db_green": (
        "✔ La base de datos concuerda con sus registros, fila por fila, en ambos sentidos",
        "✔ The database agrees with its logs, row by row and in both directions",
    ),
    "audit.db_red": (
        "✖ LA BASE DE DATOS NO CONCUERDA: {count} diferencias — no la repare; guarde copia y avise",
        "✖ THE DATABASE DISAGREES: {count} differences — do not repair it; keep a copy and tell the others",
    ),
    "audit.db_fault": ("  ✖ {table} {key}, {column}: {what} {reason}", "  ✖ {table} {key}, {column}: {what} {reason}"),
    "audit.db_row": ("la fila entera", "the whole row"),
    "audit.db_table": ("  {table}: {rows} filas comparadas", "  {table}: {rows} rows compared"),
    "audit.db_log": (
        "  {log}: {size} hojas, {signed} bajo un punto de control guardado",
        "  {log}: {size} leaves, {signed} under a stored checkpoint",
    ),
    "audit.db_loose": ("No son evidencia y no se comparan: {columns}", "No evidence, and not compared: {columns}"),
    "audit.db_root": (
        "Raíz {root}, según la propia base de datos: compárela con la de su perfil (--root)",
        "Root {root}, by the database's own word: compare it with your profile's (--root)",
    ),
    "audit.db_pinned": ("Raíz {root}: es la indicada", "Root {root}: the one that was given"),
    "audit.here": ("Comprobado en este equipo, no por el servidor.", "Verified on this machine, not by the server."),
    "serve.begins": (
        "Servidor de intercambio {issuer}; escucha en {host}:{port}. Ctrl+C para detenerlo.",
        "Exchange {issuer}; listening on {host}:{port}. Ctrl+C stops it.",
    ),
    "serve.ended": ("Servidor detenido.", "Exchange stopped."),
    "migrate.done": ("La base de datos tiene el esquema de esta versión.", "The database has this version's schema."),
    "init.done": (
        "Servidor de intercambio {issuer} fundado ({environment}).",
        "Exchange {issuer} founded ({environment}).",
    ),
    "init.root": (
        "Raíz: {root}. Anótela: es lo que todos los equipos fijan.",
        "Root: {root}. Write it down: it is what every machine pins.",
    ),
    "init.files": (
        "Configuración {config} · claves {keys} (guarde copia) · firmante {signer} (a otro disco; nunca una copia).",
        "Settings {config} · keys {keys} (keep a copy) · signer {signer} (move to another disk; never a copy).",
    ),
    "init.invitation": (
        "Invitación de {party}: {path}, con su ficha {entry}",
        "Invitation of {party}: {path}, with its entry {entry}",
    ),
    "init.production": (
        "Producción: nadie más entra hasta que la entidad registradora tenga dos personas.",
        "Production: nobody else gets in until the registrar has two persons.",
    ),
    "init.log": ("Clave de registro, para los testigos: {vkey}", "Log key, for witnesses: {vkey}"),
    "init.sandbox": (
        "PRUEBAS: este servidor no es para casos reales; basta una persona registradora.",
        "SANDBOX: not for real cases; one registrar person is enough.",
    ),
}

_QUESTIONS: Final[Mapping[str, tuple[str, str]]] = {
    "ask.passphrase": ("Frase de contraseña:", "Passphrase:"),
    "ask.new_passphrase": (
        "Elija una frase de contraseña (al menos {minimum} caracteres):",
        "Choose a passphrase (at least {minimum} characters):",
    ),
    "ask.again": ("Otra vez:", "Again:"),
    "ask.code": (
        "Llame a un número obtenido fuera del sistema y teclee los 30 dígitos que le lean:",
        "Telephone a number obtained outside the system and type the 30 digits read out to you:",
    ),
    "ask.code_again": (
        "No coinciden. Pida que se los lean otra vez y teclee los 30 dígitos (intentos que quedan: {left}):",
        "They differ. Have them read out again and type the 30 digits (attempts left: {left}):",
    ),
    "ask.decline": ("¿Declinar {ref}? No se puede deshacer. [s/N]", "Decline {ref}? It cannot be undone. [y/N]"),
    "ask.withdraw": ("¿Retirar {ref}? No se puede deshacer. [s/N]", "Withdraw {ref}? It cannot be undone. [y/N]"),
    "ask.issuer": (
        "Dirección pública (https://…) con la que todos conocerán este servidor:",
        "Public URL (https://…) by which everybody will know this exchange:",
    ),
    "ask.init": (
        "¿Fundar {issuer} ({environment}) en {folder}? [s/N]",
        "Found {issuer} ({environment}) in {folder}? [y/N]",
    ),
}

_COLUMNS: Final[Mapping[str, tuple[str, str]]] = {
    "col.act": ("Acto", "Act"),
    "col.area": ("Ámbito", "Area"),
    "col.asks": ("Pide", "Asks for"),
    "col.code": ("Código", "Code"),
    "col.credential": ("Credencial", "Credential"),
    "col.detail": ("Detalle", "Detail"),
    "col.duty_phone": ("Guardia", "Duty phone"),
    "col.enrolment": ("Inscripción", "Enrolment"),
    "col.from": ("De", "From"),
    "col.index": ("Registro", "Log"),
    "col.investigation": ("Investigación", "Investigation"),
    "col.key": ("Clave", "Key"),
    "col.keyholder": ("Custodio", "Keyholder"),
    "col.kind": ("Clase", "Kind"),
    "col.name": ("Nombre", "Name"),
    "col.party": ("Entidad", "Party"),
    "col.progress": ("Avance", "Progress"),
    "col.queued": ("Guardado", "Queued"),
    "col.reachable": ("Alcanzable", "Reachable"),
    "col.ref": ("Derivación", "Referral"),
    "col.role": ("Papel", "Role"),
    "col.state": ("Estado", "State"),
    "col.station": ("Equipo", "Workstation"),
    "col.turn": ("Turno", "Turn"),
    "col.unit": ("Unidad", "Unit"),
    "col.until": ("Hasta", "Until"),
    "col.urgency": ("Urgencia", "Urgency"),
    "col.use": ("Uso", "Use"),
    "col.waits": ("Pendiente", "Pending"),
    "col.what": ("Qué", "What"),
    "col.when": ("Cuándo", "When"),
    "col.who": ("Quién", "Who"),
}

SCREENS: Final[Mapping[str, tuple[str, str]]] = {**_RESULTS, **_QUESTIONS, **_COLUMNS, **WITNESS_SCREENS}
