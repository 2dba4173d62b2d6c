"""What `referral admin doctor` says of each finding, by code. Key → (Spanish, English). As doctor.py.

Must never: call unknown what is well, or well what is unknown.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

DOCTOR_HELP: Final[Mapping[str, tuple[str, str]]] = {
    "help.doctor": (
        "Revisar este equipo, sus claves y el camino al servidor. Salida: 0 nada que hacer, 10 hay algo que hacer.",
        "Examine this machine, its keys and the way to the exchange. Exit: 0 nothing to do, 10 something to do.",
    ),
    "help.admin.doctor": (
        "Revisar el servidor, en marcha o parado, sin estorbarlo. Salida: 0 nada que hacer, 10 hay algo que hacer.",
        "Examine the exchange, running or stopped, without disturbing it. Exit: 0 nothing to do, 10 something to do.",
    ),
    "option.person": (
        "Abrir también las claves de la persona (pide la frase de paso).",
        "Open the person's keys too (asks for the passphrase).",
    ),
}

_HOUSE: Final[Mapping[str, tuple[str, str]]] = {
    "doctor.settings": (
        "La configuración es la del acto fundacional ({environment}).",
        "Settings and genesis agree ({environment}).",
    ),
    "doctor.settings.differ": (
        "LA CONFIGURACIÓN NO ES LA DEL ACTO FUNDACIONAL: {differs}.",
        "THE SETTINGS ARE NOT THOSE OF THE GENESIS ACT: {differs}.",
    ),
    "doctor.settings.differ.do": (
        "Corríjala; así no arranca. Siga docs/runbooks.md, «settings-differ-from-genesis».",
        "Correct them; it does not start like this. Follow docs/runbooks.md, “settings-differ-from-genesis”.",
    ),
    "doctor.settings.file": ("Archivo de configuración: permisos {mode}.", "Settings file: mode {mode}."),
    "doctor.settings.file.do": (
        "Otros pueden cambiarlo o leer una contraseña:",
        "Others may change it or read a password:",
    ),
    "doctor.settings.unusable": ("La configuración no sirve: {reason}.", "The settings cannot be used: {reason}."),
    "doctor.settings.unusable.do": (
        "Indique el archivo con --config, o corríjalo.",
        "Name the file with --config, or correct it.",
    ),
    "doctor.settings.policy.failed": (
        "La política de testigos no se puede leer: {title}",
        "The witness policy: {title}",
    ),
    "doctor.settings.policy.do": (
        "Ponga el archivo correcto. Siga docs/runbooks.md, «witness-policy».",
        "Put the right file back. Follow docs/runbooks.md, “witness-policy”.",
    ),
    "doctor.host.versions": (
        "Programas: referral {referral}, Python {python}, {openssl}; {libraries}.",
        "Programs: referral {referral}, Python {python}, {openssl}; {libraries}.",
    ),
    "doctor.host.folder": ("{folder}: permisos {mode}.", "{folder}: mode {mode}."),
    "doctor.host.folder.do": (
        "Otros pueden entrar. chmod 700; si es la de las claves, alguien puede tenerlas.",
        "Others may enter it. chmod 700; if it is the keys', somebody may have them.",
    ),
    "doctor.host.folder-missing": ("{folder} no está (errno {errno}).", "{folder} is not there (errno {errno})."),
    "doctor.host.folder-missing.do": (
        "¿Falta montar un disco? No cree la carpeta vacía. Siga docs/runbooks.md.",
        "Is a disk not mounted? Do not make an empty folder. Follow docs/runbooks.md.",
    ),
    "doctor.host.disk": ("{folder}: {free} libres.", "{folder}: {free} free."),
    "doctor.host.disk.do": (
        "Haga sitio: cuando se llena, se deja de escribir.",
        "Make room: when it is full, nothing is written any more.",
    ),
    "doctor.host.one-disk": (
        "El estado del firmante está en el disco de la base de datos: se perderían juntos.",
        "The signer's state is on the database's disk: they would be lost together.",
    ),
    "doctor.host.keys": (
        "Las cuatro claves se abren y son las del registro.",
        "The four keys open and are those of the log.",
    ),
    "doctor.host.keys.failed": (
        "La clave «{use}» no se puede usar: {reason}.",
        "The key “{use}” cannot be used: {reason}.",
    ),
    "doctor.host.keys.do": ("Siga docs/runbooks.md, «{reason}».", "Follow docs/runbooks.md, “{reason}”."),
    "doctor.host.keys-differ": (
        "AQUÍ FALTAN CLAVES QUE EL REGISTRO NOMBRA: {uses}.",
        "KEYS THAT THE LOG NAMES ARE NOT HERE: {uses}.",
    ),
    "doctor.host.keys-differ.do": (
        "Traiga los archivos del servidor que los hizo (referral admin keys show); con otras claves nadie le cree.",
        "Bring the files from the host that made them (referral admin keys show); with other keys nobody believes it.",
    ),
    "doctor.host.spools": (
        "Lecturas sin registrar: {count} archivos ({size_bytes} bytes, desde hace {oldest}).",
        "Reads that are not logged yet: {count} files ({size_bytes} bytes, for {oldest}).",
    ),
    "doctor.host.spools.ok": ("No hay lecturas sin registrar.", "No reads wait to be logged."),
    "doctor.host.spools.do": (
        "No los borre: el próximo arranque abierto los registra.",
        "Do not delete them: the next open start logs them.",
    ),
    "doctor.host.clock": ("La hoja más nueva es de hace {apart}.", "The newest leaf is {apart} old."),
    "doctor.host.clock.do": ("Aún no hay hojas con que compararlo.", "There are no leaves yet to compare it with."),
    "doctor.host.clock-wrong": (
        "EL RELOJ NO PUEDE ESTAR BIEN ({reason}): {apart} desde la hoja más nueva.",
        "THE CLOCK CANNOT BE RIGHT ({reason}): {apart} since the newest leaf.",
    ),
    "doctor.host.clock-wrong.do": (
        "Compare con un teléfono. Siga docs/runbooks.md, «{reason}»:",
        "Compare with a telephone. Follow docs/runbooks.md, “{reason}”:",
    ),
    "doctor.backups": (
        "Dónde están las copias, y de cuándo, este servidor no lo sabe.",
        "Where the backups are, and of when, this exchange does not know.",
    ),
    "doctor.backups.do": ("Una al día, comprobada con «restore --verify»:", "One a day, proved by “restore --verify”:"),
}

_BOOKS: Final[Mapping[str, tuple[str, str]]] = {
    "doctor.database.failed": (
        "La base de datos no se puede abrir: {reason}.",
        "The database cannot be opened: {reason}.",
    ),
    "doctor.database.do": ("Siga docs/runbooks.md, «{reason}»:", "Follow docs/runbooks.md, “{reason}”:"),
    "doctor.database.content.failed": (
        "LA BASE DE DATOS NO ES COHERENTE: {title}",
        "THE DATABASE DOES NOT FIT: {title}",
    ),
    "doctor.database.content.do": (
        "No la repare a mano. Compárela con sus registros:",
        "Mend nothing by hand. Compare it:",
    ),
    "doctor.database.file": (
        "Archivo de la base de datos: permisos {mode}, registro previo (WAL): {wal}.",
        "Database file: mode {mode}, write-ahead log (WAL): {wal}.",
    ),
    "doctor.database.file.do": (
        "Ciérrelo a otros (chmod 600); sin WAL, párelo y arránquelo: el servidor lo pone.",
        "Close it to others (chmod 600); without WAL, stop and start the exchange: it sets it.",
    ),
    "doctor.database.engine": ("{engine} {version}: {settings}.", "{engine} {version}: {settings}."),
    "doctor.database.engine.do": (
        "Un corte de luz perdería lo prometido. Ponga fsync, synchronous_commit y full_page_writes en on.",
        "A power cut would lose what was promised. Set fsync, synchronous_commit and full_page_writes on.",
    ),
    "doctor.signer": ("{log}: {size} hojas, firmadas aquí {signed}.", "{log}: {size} leaves, {signed} signed here."),
    "doctor.signer.closed": (
        "{log}: ESTE EQUIPO NO PUEDE FIRMAR ({reason}): {size} hojas, firmadas {signed}.",
        "{log}: THIS HOST CANNOT SIGN ({reason}): {size} leaves, {signed} signed.",
    ),
    "doctor.signer.closed.do": (
        "No copie ni borre nada. Siga docs/runbooks.md, «{reason}».",
        "Copy and delete nothing. Follow docs/runbooks.md, “{reason}”.",
    ),
    "doctor.signer.elsewhere": ("{count} registros los firma otro equipo.", "{count} logs are signed by another host."),
    "doctor.quorum": (
        "{log}: los testigos dieron fe hace {since}; faltan {behind} hojas.",
        "{log}: a quorum has cosigned {since} ago; {behind} leaves wait.",
    ),
    "doctor.quorum.do": (
        "Las claves nuevas esperan por los testigos. Llame a quienes los tienen.",
        "New keys wait for the witnesses. Call those who run them.",
    ),
    "doctor.quorum.never": ("{log}: los testigos nunca dieron fe.", "{log}: no quorum has ever cosigned it."),
    "doctor.quorum.never.do": (
        "¿Conocen los testigos este registro? Déles su línea (admin init la mostró).",
        "Do the witnesses know this log? Give them its line (admin init has shown it).",
    ),
    "doctor.registrars": (
        "Personas del registro: {persons} (hacen falta {required}).",
        "Registrar persons: {persons} ({required} required).",
    ),
    "doctor.registrars.do": ("Invite a otra persona del registro:", "Invite another registrar person:"),
    "doctor.registrars.ending": (
        "Personas del registro que siguen autorizadas dentro de {days} días: {lasting} (hacen falta {required}).",
        "Registrar persons who still count in {days} days: {lasting} ({required} required).",
    ),
    "doctor.registrars.ending.do": (
        "Si todas acaban, nadie podrá admitir ni recuperar a nadie nunca más. Que hagan hoy la revisión anual:",
        "Once all have ended nobody can admit or recover anybody ever again. Have them do the yearly review today:",
    ),
    "doctor.keyholders.none": (
        "Entidades SIN nadie con llave: {count}: {parties}.",
        "Parties with NO keyholder: {count}: {parties}.",
    ),
    "doctor.keyholders.none.ok": ("Cada entidad tiene a alguien con llave.", "Every party has a keyholder."),
    "doctor.keyholders.none.do": (
        "Nadie puede cambiar sus claves. Dos personas del registro las recuperan, una así:",
        "Nobody can change their keys. Two registrar persons recover them, one like this:",
    ),
    "doctor.keyholders.one": (
        "Entidades con una sola persona con llave: {count} de {total}: {parties}.",
        "Parties with a single keyholder: {count} of {total}: {parties}.",
    ),
    "doctor.keyholders.one.ok": (
        "Ninguna entidad depende de una sola persona.",
        "No party hangs on a single keyholder.",
    ),
    "doctor.keyholders.one.do": (
        "Si la pierden, hay que recuperarlas. Pídales que inscriban a otra:",
        "If it is lost, they must be recovered. Ask them to enrol another:",
    ),
    "doctor.credentials.ending": (
        "Entidades con credenciales que acaban en {days} días: {count}: {parties}.",
        "Parties with credentials that end within {days} days: {count}: {parties}.",
    ),
    "doctor.credentials.ending.ok": (
        "Ninguna credencial acaba en {days} días.",
        "No credential ends within {days} days.",
    ),
    "doctor.credentials.ending.do": (
        "Llámelas; cada una hace su revisión anual:",
        "Call them; each does its yearly review:",
    ),
    "doctor.statements.waiting": (
        "Declaraciones que esperan al registro: {count}: {parties}.",
        "Statements that wait for the registrar: {count}: {parties}.",
    ),
    "doctor.statements.waiting.ok": (
        "Ninguna declaración espera al registro.",
        "No statement waits for the registrar.",
    ),
    "doctor.statements.waiting.do": ("El registro las aprueba, o las objeta:", "The registrar approves or objects:"),
    "doctor.enrolments.old": (
        "Inscripciones que esperan más de {hours} h: {count}: {parties}.",
        "Enrolments that wait for more than {hours} h: {count}: {parties}.",
    ),
    "doctor.enrolments.old.ok": (
        "Ninguna inscripción espera más de {hours} h.",
        "No enrolment waits for over {hours} h.",
    ),
    "doctor.enrolments.old.do": (
        "Llame a quien se inscribe, y apruebe o invite de nuevo:",
        "Telephone the newcomer, and approve or invite anew:",
    ),
}

_STREET: Final[Mapping[str, tuple[str, str]]] = {
    "doctor.process": (
        "El servidor en marcha está listo; firma: {signs}.",
        "The running exchange is ready; it signs: {signs}.",
    ),
    "doctor.process.away": (
        "El servidor en marcha NO está listo: {away}.",
        "The running exchange is NOT ready: {away}.",
    ),
    "doctor.process.away.do": ("Vea su salida de errores y el disco.", "See its standard error, and the disk."),
    "doctor.process.none": ("Aquí no hay ningún servidor en marcha.", "No exchange runs here."),
    "doctor.process.none.do": ("Nadie puede enviar ni leer. Arránquelo:", "Nobody can send or read. Start it:"),
    "doctor.process.closed": (
        "EL SERVIDOR ESTÁ CERRADO PARA ESCRIBIR: {reason}.",
        "IT IS CLOSED FOR WRITING: {reason}.",
    ),
    "doctor.process.closed.do": ("Siga docs/runbooks.md, «{reason}».", "Follow docs/runbooks.md, “{reason}”."),
    "doctor.process.version": (
        "Versión en marcha: {runs}; instalada: {installed}.",
        "It runs {runs}; installed is {installed}.",
    ),
    "doctor.process.version.do": ("Reinícielo para que corra la instalada.", "Restart it to run what is installed."),
    "doctor.process.version.failed": ("No dice su versión: {title}", "It does not tell its version: {title}"),
    "doctor.process.witnesses": (
        "Testigos, según el servidor en marcha: tarde: {late}; {standing}.",
        "Witnesses, as the running exchange sees them: late: {late}; {standing}.",
    ),
    "doctor.process.witnesses.ok": ("El servidor en marcha alcanza a sus testigos.", "It reaches its witnesses."),
    "doctor.process.witnesses.do": (
        "«ahead» o «forked» es una alarma: docs/runbooks.md, «witness-ahead» y «witness-differs».",
        "“ahead” or “forked” is an alarm: docs/runbooks.md, “witness-ahead” and “witness-differs”.",
    ),
    "doctor.issuer": ("La dirección pública lleva a este servidor.", "The public address leads to this exchange."),
    "doctor.issuer.failed": (
        "La dirección pública no lleva aquí: {why}.",
        "The public address does not lead here: {why}.",
    ),
    "doctor.issuer.do": ("Revise DNS, cortafuegos y el proxy que termina TLS.", "See DNS, firewall and the TLS proxy."),
    "doctor.issuer.other": (
        "EN LA DIRECCIÓN PÚBLICA CONTESTA OTRO SERVIDOR.",
        "ANOTHER EXCHANGE ANSWERS AT THE PUBLIC ADDRESS.",
    ),
    "doctor.issuer.other.do": (
        "Todas las partes lo notan y dejan de enviar. Revise a dónde lleva el proxy.",
        "Every party notices and stops sending. See where the proxy leads.",
    ),
    "doctor.issuer.certificate": (
        "{tls}; al certificado público le quedan {days} días (hasta {ends}).",
        "{tls}; the public certificate has {days} days left (until {ends}).",
    ),
    "doctor.issuer.certificate.do": (
        "Renuévelo ya; después nadie conecta.",
        "Renew it now; after that nobody connects.",
    ),
    "doctor.issuer.plain": ("La dirección pública no usa TLS.", "The public address does not use TLS."),
    "doctor.issuer.plain.ok": ("Sin TLS, dentro de este equipo.", "Without TLS, within this machine."),
    "doctor.issuer.plain.do": ("Ponga un proxy con TLS delante.", "Put a proxy with TLS before it."),
    "doctor.witnesses.away": (
        "Testigos que no se alcanzan: {count} de {total}: {witnesses}.",
        "Witnesses that cannot be reached: {count} of {total}: {witnesses}.",
    ),
    "doctor.witnesses.away.ok": ("Se alcanzan los {total} testigos.", "All {total} witnesses can be reached."),
    "doctor.witnesses.away.do": ("Llame a quienes los tienen.", "Call those who run them."),
}

ADMIN_DOCTOR: Final[Mapping[str, tuple[str, str]]] = {**_HOUSE, **_BOOKS, **_STREET}
