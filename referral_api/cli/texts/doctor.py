"""What `referral doctor` says of each finding, by code. Key → (Spanish, English).

`doctor.<code>` is what was seen, the same words whether it is well or not; `….failed` stands where the check ended in
an error; `….do` is what to do about it.

Must never: call unknown what is well, or well what is unknown.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_MACHINE: Final[Mapping[str, tuple[str, str]]] = {
    "doctor.do": ("    Qué hacer: {words}", "    What to do: {words}"),
    "doctor.healthy": (
        "✔ Nada que hacer. Sin ver: {unknown}.",
        "✔ Nothing to do. Not seen: {unknown}.",
    ),
    "doctor.sick": (
        "✖ Problemas: {problem}. Advertencias: {warning}. Sin ver: {unknown}.",
        "✖ Problems: {problem}. Warnings: {warning}. Not seen: {unknown}.",
    ),
    "doctor.versions": (
        "Programas: referral {referral}, Python {python} de {bits} bits, cryptography {cryptography}, {openssl}.",
        "Programs: referral {referral}, Python {python} of {bits} bits, cryptography {cryptography}, {openssl}.",
    ),
    "doctor.versions.do": ("Use un sistema de 64 bits.", "Use a 64-bit system."),
    "doctor.self-test": (
        "La criptografía de este equipo da los resultados conocidos.",
        "The cryptography of this machine gives the known answers.",
    ),
    "doctor.self-test.failed": ("La criptografía de este equipo falla: {title}", "Its cryptography fails: {title}"),
    "doctor.folder": ("Carpeta del perfil: permisos {mode}.", "Profile folder: mode {mode}."),
    "doctor.folder.do": (
        "Otros pueden entrar en ella. Ciérrela, y cambie las claves si alguien pudo copiarlas:",
        "Others may enter it. Close it, and replace the keys if somebody may have copied them:",
    ),
    "doctor.folder.missing": ("No hay carpeta de perfil.", "There is no profile folder."),
    "doctor.folder.missing.do": ("Indique otra con -p, o inscríbase:", "Name another with -p, or enrol:"),
    "doctor.files": ("Archivos que otros pueden leer: {exposed}.", "Files that others may read: {exposed}."),
    "doctor.files.ok": ("Nadie más lee los archivos.", "Nobody else can read the files."),
    "doctor.files.do": (
        "Ciérrelos, y cambie las claves si alguien pudo copiarlas:",
        "Close them, and replace the keys if somebody may have copied them:",
    ),
    "doctor.disk": ("Espacio libre para el perfil: {free}.", "Free space for the profile: {free}."),
    "doctor.disk.do": ("Haga sitio en el disco:", "Make room on the disk:"),
    "doctor.durable": (
        "Lo que se guarda queda en el disco en {milliseconds} ms.",
        "What is written is on the disk within {milliseconds} ms.",
    ),
    "doctor.durable.do": ("El disco es muy lento; revíselo:", "The disk is very slow; look at it:"),
    "doctor.unwritable": (
        "No se puede escribir en la carpeta del perfil (errno {errno}).",
        "The profile folder cannot be written to (errno {errno}).",
    ),
    "doctor.unwritable.do": (
        "Nada se puede enviar así. Haga sitio, o monte el disco para escribir:",
        "Nothing can be sent like this. Make room, or mount the disk for writing:",
    ),
    "doctor.keystore": ("Llavero íntegro, con: {compartments}.", "The keystore is whole and holds: {compartments}."),
    "doctor.keystore.do": (
        "Inscríbase con una invitación; si lo estaba, este llavero está dañado: recupere las claves.",
        "Enrol with an invitation; if this machine was enrolled, the keystore is damaged: recover the keys.",
    ),
    "doctor.keystore.failed": ("No hay llavero que pueda usarse: {title}", "There is no keystore to be used: {title}"),
    "doctor.keystore.unreadable": (
        "El llavero no se puede leer (errno {errno}).",
        "The keystore cannot be read (errno {errno}).",
    ),
    "doctor.keystore.unreadable.do": ("Revise de quién es el archivo:", "See whose file it is:"),
    "doctor.kdf": (
        "La frase de paso cuesta {memory_kib} KiB y {passes} pasadas (mínimo {least_memory_kib} y {least_passes}).",
        "The passphrase costs {memory_kib} KiB and {passes} passes (least {least_memory_kib} and {least_passes}).",
    ),
    "doctor.kdf.do": (
        "Un llavero robado se adivina más rápido. Séllelo de nuevo, al cambiar la firma:",
        "A stolen keystore is guessed sooner. Seal it anew, by replacing the keys that sign:",
    ),
    "doctor.service-key": ("La clave del servicio abre su parte.", "The service's key opens its compartment."),
    "doctor.service-key.failed": ("La clave del servicio no sirve: {title}", "The service's key is no use: {title}"),
    "doctor.service-key.do": (
        "Sin ella este equipo no avisa solo. Ciérrela a otros, o ponga la que se hizo al inscribirlo:",
        "Without it this machine sounds no alarm alone. Close it to others, or put back the one made at enrolment:",
    ),
    "doctor.service-key.missing": ("Falta la clave del servicio.", "The service's key file is missing."),
    "doctor.service-key.missing.do": (
        "Indíquela con --service-key, o póngala en la carpeta del perfil (service.key).",
        "Name it with --service-key, or put it into the profile folder (service.key).",
    ),
    "doctor.passphrase": ("Las claves de la persona están cerradas.", "The person's keys are shut."),
    "doctor.passphrase.ok": ("La frase de paso abre las claves.", "The passphrase opens the keys."),
    "doctor.passphrase.do": (
        "Sin ella no se ve si estas claves son las del directorio:",
        "Without it nobody sees whether these keys are the directory's:",
    ),
    "doctor.passphrase.failed": ("Las claves de la persona no se abren: {title}", "They do not open: {title}"),
    "doctor.pins": ("Recuerda lo visto de {count} registros.", "It remembers what was seen of {count} logs."),
    "doctor.pins.failed": (
        "No se puede leer lo recordado de los registros: {title}",
        "What was seen of the logs cannot be read: {title}",
    ),
    "doctor.pins.do": (
        "No lo borre: es la memoria de lo que se prometió a este equipo. Llame a una auditora.",
        "Do not delete it: it is the memory of what this machine was promised. Call an auditor.",
    ),
    "doctor.outbox": (
        "En la bandeja de salida esperan {waiting}; el más viejo, {oldest}.",
        "In the outbox {waiting} wait; the oldest for {oldest}.",
    ),
    "doctor.outbox.ok": ("Nada espera en la bandeja de salida.", "Nothing waits in the outbox."),
    "doctor.outbox.do": (
        "NADIE LOS HA RECIBIDO. Llame por teléfono si urge, y envíelos:",
        "NOBODY HAS RECEIVED THEM. Telephone what is urgent, and send them:",
    ),
    "doctor.outbox.failed": ("La bandeja de salida no se puede leer: {title}", "The outbox cannot be read: {title}"),
    "doctor.outbox.unreadable": (
        "La bandeja de salida no se puede abrir (errno {errno}).",
        "The outbox cannot be opened (errno {errno}).",
    ),
    "doctor.outbox.unreadable.do": ("Revise el disco:", "Look at the disk:"),
    "doctor.outbox.reseal": ("{count} hay que sellar de nuevo.", "{count} must be sealed again."),
    "doctor.outbox.reseal.do": (
        "Una clave cambió; nadie los recibirá así:",
        "A key changed; nobody gets them like this:",
    ),
    "doctor.outbox.refused": ("El servidor rechazó {count}.", "The exchange has refused {count}."),
    "doctor.outbox.refused.do": ("Vea por qué, y decida:", "See why, and decide:"),
}

_WAY: Final[Mapping[str, tuple[str, str]]] = {
    "doctor.way.name.failed": (
        "El nombre del servidor no se encuentra en la red.",
        "The exchange's name is not known to the network.",
    ),
    "doctor.way.name.do": (
        "Compruebe la conexión a Internet y la dirección; llame al operador.",
        "Check the network and the address; call the operator.",
    ),
    "doctor.way.connection": (
        "Conecta con el servidor en {milliseconds} ms ({addresses} direcciones).",
        "Connects to the exchange in {milliseconds} ms ({addresses} addresses).",
    ),
    "doctor.way.connection.failed": (
        "Nadie contesta en la dirección del servidor.",
        "Nobody answers at the exchange's address.",
    ),
    "doctor.way.connection.do": (
        "Pruebe otra red; si sigue, llame al operador. Lo urgente, por teléfono.",
        "Try another network; else call the operator. Telephone what is urgent.",
    ),
    "doctor.way.tls.failed": (
        "El servidor no habla TLS con este equipo.",
        "It does not agree on TLS with this machine.",
    ),
    "doctor.way.tls.do": (
        "Algo en la red se interpone, o el servidor está mal puesto: llame al operador.",
        "Something stands between, or the exchange is set up wrongly: call the operator.",
    ),
    "doctor.way.certificate": (
        "{tls}; al certificado del servidor le quedan {days} días (hasta {ends}).",
        "{tls}; the exchange's certificate has {days} days left (until {ends}).",
    ),
    "doctor.way.certificate.failed": (
        "El certificado del servidor no vale aquí: {why}.",
        "The exchange's certificate is not valid here: {why}.",
    ),
    "doctor.way.certificate.do": (
        "Avise al operador; si dice que vale, mire antes el reloj de este equipo:",
        "Tell the operator; if it is said to be valid, look at this machine's clock first:",
    ),
    "doctor.way.plain": (
        "Sin TLS; dentro de este equipo: {loopback}.",
        "Without TLS; within this machine: {loopback}.",
    ),
    "doctor.way.plain.do": (
        "Cualquiera en el camino ve quién escribe a quién. Use la dirección https del servidor.",
        "Anybody on the way sees who writes to whom. Use the exchange's https address.",
    ),
    "doctor.way.answer.failed": (
        "Lo que contesta no es el servidor: {title}",
        "What answers is not the exchange: {title}",
    ),
    "doctor.way.answer.do": (
        "Quizá un portal de la red; pruebe otra red o llame al operador.",
        "Perhaps the network's portal; try another network or call the operator.",
    ),
    "doctor.way.exchange": (
        "Contesta el servidor de la inscripción ({environment}), raíz {root}.",
        "The exchange of the enrolment answers ({environment}), root {root}.",
    ),
    "doctor.way.exchange.failed": (
        "CONTESTA OTRO SERVIDOR: no coincide {differs}.",
        "ANOTHER EXCHANGE ANSWERS: {differs} differ.",
    ),
    "doctor.way.exchange.do": (
        "No envíe nada. Quite --server si lo puso; si no, llame a quien le invitó.",
        "Send nothing. Leave out --server if you gave it; else call whoever invited you.",
    ),
    "doctor.way.profile": (
        "Protocolo del servidor: {profile} (aquí {expected}); versión {exchange} (aquí {here}).",
        "The exchange's protocol: {profile} (here {expected}); version {exchange} (here {here}).",
    ),
    "doctor.way.profile.do": ("Actualice el programa más viejo de los dos:", "Update the older of the two programs:"),
    "doctor.clock": (
        "Reloj: {skew_s} s de diferencia con el servidor (límite {limit_s} s).",
        "Clock: {skew_s} s apart from the exchange's (limit {limit_s} s).",
    ),
    "doctor.clock.do": (
        "Compare con un teléfono y ponga en hora este equipo:",
        "Compare with a telephone and set this machine's clock:",
    ),
    "doctor.clock.not-told": ("El servidor no dijo la hora.", "The exchange did not tell its time."),
    "doctor.clock.not-told.do": ("Compare con un teléfono:", "Compare with a telephone:"),
    "doctor.clock.kept": ("La red pone en hora este reloj: {kept}.", "The network sets this clock: {kept}."),
    "doctor.clock.kept.do": ("Que la red lo ponga en hora:", "Let the network set it:"),
    "doctor.clock.unseen": (
        "No se sabe si la red pone en hora este reloj.",
        "Whether the network sets this clock is not known.",
    ),
    "doctor.clock.unseen.do": ("Véalo en el sistema:", "See the system's own word:"),
    "doctor.clock.sources": (
        "El servidor y lo que está delante de él se llevan {apart_s} s (límite {limit_s} s).",
        "The exchange and what stands before it are {apart_s} s apart (limit {limit_s} s).",
    ),
    "doctor.clock.sources.ok": ("Quienes dan la hora coinciden.", "Those who tell the time agree."),
    "doctor.clock.sources.do": (
        "Quizá el reloj equivocado es el del servidor: dígaselo al operador.",
        "Perhaps the wrong clock is the exchange's: tell the operator.",
    ),
    "doctor.access": ("El servidor le reconoce como {credential}.", "The exchange knows you as {credential}."),
    "doctor.access.failed": ("El servidor no le deja entrar: {title}", "The exchange does not let you in: {title}"),
    "doctor.access.unseen": (
        "Sin abrir claves no se ve si el servidor deja entrar.",
        "With no keys open nobody sees whether the exchange lets you in.",
    ),
    "doctor.access.unseen.do": ("Ábralas:", "Open them:"),
    "doctor.losses": (
        "El servidor perdió {leaves} hojas vistas aquí, sin aceptar ({open} registros; aceptados {agreed}).",
        "The exchange has lost {leaves} leaves seen here, not accepted ({open} logs; accepted {agreed}).",
    ),
    "doctor.losses.ok": (
        "El servidor no perdió nada que falte aceptar.",
        "The exchange has lost nothing that waits for consent.",
    ),
    "doctor.losses.do": ("Vea qué se perdió antes de aceptarlo:", "See what is lost before you accept it:"),
    "doctor.losses.failed": ("No se sabe si el servidor perdió algo: {title}", "Whether anything is lost: {title}"),
}

_STANDING: Final[Mapping[str, tuple[str, str]]] = {
    "doctor.keys-log": (
        "Registro de claves comprobado en este equipo: {size} hojas.",
        "The keys log verifies on this machine: {size} leaves.",
    ),
    "doctor.keys-log.failed": ("El registro de claves de este equipo no vale: {title}", "The keys log here: {title}"),
    "doctor.keys-log.none": ("Aún no hay registro de claves aquí.", "There is no keys log here yet."),
    "doctor.keys-log.none.do": ("Tráigalo:", "Fetch it:"),
    "doctor.keys-log.missing": ("Falta el archivo del registro de claves.", "The file of the keys log is missing."),
    "doctor.keys-log.missing.do": ("Tráigalo; se comparará con lo recordado:", "Fetch it; it is held against the pin:"),
    "doctor.keys-log.growth": (
        "El registro de claves del servidor continúa el de aquí: {size} hojas.",
        "The exchange's keys log continues the one here: {size} leaves.",
    ),
    "doctor.keys-log.growth.failed": (
        "El registro de claves del servidor NO continúa el de aquí: {title}",
        "The exchange's keys log does NOT continue the one here: {title}",
    ),
    "doctor.witnesses": (
        "{quorum} de {witnesses} testigos dan fe del directorio.",
        "{quorum} of {witnesses} witnesses vouch for the directory.",
    ),
    "doctor.witnesses.failed": ("Los testigos no dan fe del directorio: {title}", "No witnesses' word: {title}"),
    "doctor.witnesses.none": (
        "SIN TESTIGOS, por decisión declarada del servidor.",
        "NO WITNESSES, by the exchange's declared choice.",
    ),
    "doctor.witnesses.stale": (
        "{quorum} testigos dieron fe del directorio por última vez el {since}.",
        "{quorum} witnesses last vouched for the directory at {since}.",
    ),
    "doctor.witnesses.stale.do": (
        "Puede faltar una clave o una revocación. Tráigalo otra vez; si sigue, llame al operador:",
        "A key or a revocation may be missing. Fetch it again; if it stays, call the operator:",
    ),
    "doctor.party": (
        "{party} está en el directorio (declaración {seq}).",
        "{party} is in the directory (statement {seq}).",
    ),
    "doctor.party.unlisted": ("{party} aún no está en el directorio.", "{party} is not in the directory yet."),
    "doctor.party.unlisted.do": ("Vea a quién le toca:", "See whose turn it is:"),
    "doctor.party.pending": (
        "Una declaración de la propia entidad espera a: {waits_for}.",
        "A statement of one's own party waits for: {waits_for}.",
    ),
    "doctor.party.pending.do": (
        "Si nadie de aquí la firmó, objétela ahora. Vea qué cambia:",
        "If nobody here has signed it, object now. See what it changes:",
    ),
    "doctor.party.objected": (
        "Alguien objetó {count} declaraciones propias en 30 días.",
        "Somebody has objected to {count} statements of one's own party within 30 days.",
    ),
    "doctor.party.objected.do": ("Averigüe quién y por qué:", "Find out who and why:"),
    "doctor.credential.until": (
        "{credential} vale {days} días más (hasta {ends}).",
        "{credential} holds for {days} more days (until {ends}).",
    ),
    "doctor.credential.until.do": (
        "Antes, inscríbase de nuevo con una invitación de quien tiene llave en su entidad, que la hace así:",
        "Before that, enrol anew with an invitation of your party's keyholder, who makes it like this:",
    ),
    "doctor.credential.unlisted": ("{credential} no está en el directorio.", "{credential} is not in the directory."),
    "doctor.credential.unlisted.do": (
        "Si nadie aprobó aún, espere; si estaba, inscríbase de nuevo; la clave de respaldo abre lo que espera:",
        "If nobody has approved yet, wait; if it was there, enrol anew; the backup key opens what waits:",
    ),
    "doctor.credential.revoked": ("{credential} está REVOCADA.", "{credential} is REVOKED."),
    "doctor.credential.revoked.do": (
        "Si no fue usted, dé la alarma. Inscríbase de nuevo; la clave de respaldo abre lo que espera:",
        "If it was not you, sound the alarm. Enrol anew; the backup key opens what waits:",
    ),
    "doctor.keys.age": (
        "Claves de {workstations} equipos: la más vieja, {days} días (cambio {rotate_days}, fin {sealable_days}).",
        "Keys of {workstations} workstations: the oldest {days} days (replace {rotate_days}, end {sealable_days}).",
    ),
    "doctor.keys.age.do": (
        "Pasado el fin nadie puede sellar para ese equipo. Cámbielas allí:",
        "After their end nobody can seal to that workstation. Replace them there:",
    ),
    "doctor.backup": (
        "La clave de respaldo vale {days} días más (hasta {ends}).",
        "The backup key holds for {days} more days (until {ends}).",
    ),
    "doctor.backup.do": ("Haga la del año que viene:", "Make the next year's:"),
    "doctor.backup.none": (
        "No hay clave de respaldo; equipos que abren: {workstations}.",
        "There is no backup key; workstations that open: {workstations}.",
    ),
    "doctor.backup.none.do": (
        "Si se pierde el único equipo, nadie abre lo que espera. Haga una y guárdela en papel o USB:",
        "If the only workstation is lost, nobody opens what waits. Make one and keep it on paper or USB:",
    ),
    "doctor.keys.own": (
        "Claves del directorio que están en el lugar de las de aquí: {strange}.",
        "Keys of the directory that stand in the place of those here: {strange}.",
    ),
    "doctor.keys.own.ok": ("Las claves del directorio son las de aquí.", "The directory's keys are those here."),
    "doctor.keys.own.do": (
        "Si nadie de aquí las cambió, otra persona puede abrir lo suyo: revoque y llame. Vea cuáles:",
        "If nobody here replaced them, somebody else can open what is for you: revoke and call. See which:",
    ),
    "doctor.keys.open": (
        "De las claves a las que hoy se sella, {usable} están aquí y {others} en otros equipos.",
        "Of the keys that are sealed to today, {usable} are here and {others} on other workstations.",
    ),
    "doctor.keys.open.do": ("Este equipo no abre nada de lo nuevo:", "This machine opens nothing new:"),
    "doctor.keys.destroy": (
        "Claves privadas de más de {limit_days} días sin destruir: {count} ({days} días).",
        "Private keys older than {limit_days} days, not destroyed: {count} ({days} days).",
    ),
    "doctor.keys.destroy.ok": ("No queda ninguna clave privada vieja.", "No old private key is left."),
    "doctor.keys.destroy.do": ("Se destruyen al cambiar las claves:", "They are destroyed when keys are replaced:"),
    "doctor.parties.unreachable": (
        "Entidades a las que no se puede sellar: {count} de {total}: {parties}.",
        "Parties that cannot be sealed to: {count} of {total}: {parties}.",
    ),
    "doctor.parties.unreachable.ok": (
        "Se puede sellar para las {total} entidades.",
        "All {total} parties can be sealed to.",
    ),
    "doctor.parties.unreachable.do": (
        "Sus claves se acabaron o fueron revocadas. Llámelas por teléfono; los suplentes reciben por ellas:",
        "Their keys have ended or were revoked. Telephone them; their escalation parties are sealed to instead:",
    ),
    "doctor.parties.waiting": (
        "Entidades cuya declaración espera aprobación: {count}: {parties}.",
        "Parties whose statement waits for approval: {count}: {parties}.",
    ),
    "doctor.parties.waiting.ok": ("Ninguna declaración espera.", "No statement waits."),
    "doctor.parties.waiting.do": ("Vea cuáles esperan por usted:", "See which wait for you:"),
    "doctor.parties.escalation": (
        "Entidades que nombran suplentes que no existen: {count}: {parties}.",
        "Parties that name escalation parties that do not exist: {count}: {parties}.",
    ),
    "doctor.parties.escalation.ok": (
        "Los suplentes que se nombran existen.",
        "The escalation parties that are named exist.",
    ),
    "doctor.parties.escalation.do": (
        "Si no contestan, nadie más recibe. Pídales que lo corrijan:",
        "If they do not answer, nobody else receives. Ask them to correct it:",
    ),
}

DOCTOR: Final[Mapping[str, tuple[str, str]]] = {**_MACHINE, **_WAY, **_STANDING}
