"""What is said of one's own keys: renewed, revoked, put on paper, put back, given anew. Key → (Spanish, English).

Must never: hold a key, or make a revocation sound as if it could be undone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

KEYS: Final[Mapping[str, tuple[str, str]]] = {
    "help.keys.rotate": (
        "Renovar las claves que tocan y destruir las vencidas.",
        "Renew the keys that are due, and destroy those past their time.",
    ),
    "help.keys.revoke": (
        "Revocar una clave, o todas las de una credencial. Vale al instante y no se deshace.",
        "Revoke a key, or all keys of a credential. It holds at once and cannot be undone.",
    ),
    "help.keys.backup": (
        "Hacer la clave de respaldo de la entidad: un archivo sellado, o 24 palabras para el papel.",
        "Make the party's backup key: a sealed file, or 24 words for paper.",
    ),
    "help.keys.recover": (
        "Poner la clave de respaldo en este equipo: un archivo, o las palabras que se le piden.",
        "Put the backup key on this workstation: a file, or the words that you are asked for.",
    ),
    "help.admin.revoke": (
        "Revocar como servidor una clave o credencial, con el servidor detenido.",
        "Revoke a key or credential as the exchange, while it is stopped.",
    ),
    "option.seal": ("Las claves con que se firma.", "The keys that sign."),
    "option.before_time": ("Aunque todavía no toque.", "Though it is not due yet."),
    "option.what": ("Huella de una clave, o credencial.", "A key's thumbprint, or a credential."),
    "option.words": ("Mostrar 24 palabras para escribirlas.", "Show 24 words to write down."),
    "option.words_file": ("Archivo con las 24 palabras; «-» es la entrada.", "File with the 24 words; “-” is stdin."),
    "option.secret_file": (
        "Archivo con la frase del archivo de respaldo.",
        "File with the passphrase of the backup file.",
    ),
    "option.recover": (
        "Entidad que ha perdido a sus custodios de claves.",
        "Party that has lost its keyholders.",
    ),
    "rotate.nothing": ("Ninguna clave toca todavía.", "No key is due yet."),
    "rotate.done": ("Claves nuevas, ya registradas: {count}.", "New keys, on the log now: {count}."),
    "rotate.proposed": (
        "La clave nueva está hecha y guardada. Falta que un custodio la apruebe; hasta entonces valen las de antes.",
        "The new key is made and kept. A keyholder has yet to approve it; until then the old ones hold.",
    ),
    "rotate.destroyed": (
        "Destruida, con acuse del servidor: la mitad privada de {kid}.",
        "Destroyed, and receipted by the exchange: the private half of {kid}.",
    ),
    "rotate.removed": (
        "Quitada de este equipo: la clave de respaldo {kid}, que terminó o fue revocada.",
        "Taken off this machine: the backup key {kid}, which has ended or was revoked.",
    ),
    "rotate.needed": (
        "Vencida, pero se conserva: algo pendiente puede necesitar {kid}. Atienda la bandeja.",
        "Past its time, but kept: something pending may need {kid}. See to the inbox.",
    ),
    "rotate.due": ("La próxima renovación toca el {at}.", "The next renewal is due on {at}."),
    "upkeep.renewed": (
        "Se renovó la clave de este equipo, como cada 30 días.",
        "This workstation's key was renewed, as every 30 days.",
    ),
    "upkeep.proposed": (
        "Se hizo una clave nueva para este equipo; falta que un custodio la apruebe: referral keys rotate",
        "A new key was made for this workstation; a keyholder has yet to approve it: referral keys rotate",
    ),
    "upkeep.failed": (
        "No se pudo renovar la clave de este equipo ({code}). Lo pedido sí se hizo. Intente: referral keys rotate",
        "This workstation's key could not be renewed ({code}). What you asked for is done. Try: referral keys rotate",
    ),
    "ask.revoke": (
        "¿Revocar {what} ({count} claves)? Vale al instante para todos y no se puede deshacer.",
        "Revoke {what} ({count} keys)? It holds for everybody at once and cannot be undone.",
    ),
    "revoke.done": ("Revocada: {kid}", "Revoked: {kid}"),
    "revoke.next": (
        "Nadie le sella ni acepta nada más de ella. Lo registrado antes se mantiene.",
        "Nobody seals to it or takes anything of it any more. What was logged before stands.",
    ),
    "backup.file": (
        "Clave de respaldo escrita en {path}, sellada con su frase. No queda en este equipo.",
        "Backup key written to {path}, sealed with its passphrase. It does not stay on this machine.",
    ),
    "backup.words": (
        "Escriba estas 24 palabras en papel, en orden. No se muestran otra vez ni quedan en este equipo:",
        "Write these 24 words on paper, in order. They are not shown again and do not stay on this machine:",
    ),
    "backup.unlisted": (
        "Estas palabras o este archivo no valen nada. Si referral keys show muestra {kid}: referral keys revoke {kid}",
        "These words or this file are worth nothing. If referral keys show lists {kid}: referral keys revoke {kid}",
    ),
    "ask.word": ("Ya escritas, teclee la palabra n.º {at}:", "Once they are written down, type word no. {at}:"),
    "ask.word_again": (
        "Esa no es. Mire el papel; la palabra n.º {at}:",
        "That is not it. Look at the paper; word no. {at}:",
    ),
    "fault.word-differs.what": ("La palabra no es la que se mostró.", "The word is not the one that was shown."),
    "fault.word-differs.why": (
        "Un respaldo mal escrito no abre nada; por eso no se registró.",
        "A backup that is written down wrongly opens nothing; so it was not listed.",
    ),
    "fault.word-differs.do": (
        "Destruya el papel y empiece de nuevo: referral keys backup --words",
        "Destroy the paper and begin anew: referral keys backup --words",
    ),
    "backup.place": (
        "Guárdela bajo llave, lejos de los equipos: quien la tenga lee lo que se le selle a su entidad durante un año.",
        "Keep it locked away from the machines: whoever has it reads what is sealed to your party for a year.",
    ),
    "ask.new_backup_passphrase": (
        "Frase para el archivo de respaldo (12 caracteres o más):",
        "Passphrase for the backup file (12 characters or more):",
    ),
    "ask.backup_passphrase": ("Frase del archivo de respaldo:", "Passphrase of the backup file:"),
    "ask.words": ("Las 24 palabras:", "The 24 words:"),
    "recover.done": (
        "La clave de respaldo está en este equipo. Lo pendiente que se selló con ella se abre aquí.",
        "The backup key is on this workstation. What is pending and was sealed to it opens here.",
    ),
    "recover.next": (
        "Haga una nueva (referral keys backup) y pida revocar la que se usó, cuando nada pendiente la necesite.",
        "Make a new one (referral keys backup) and have the used one revoked, once nothing pending needs it.",
    ),
    "turn.second_registrar": (
        "Le toca a otra persona registradora; si es una recuperación, pasadas 24 horas: la entidad puede objetar.",
        "Now it is another registrar person's turn; for a recovery after 24 hours, in which the party may object.",
    ),
    "whose.second_registrar": ("segunda persona registradora", "second registrar person"),
    "approve.recovery": (
        "ATENCIÓN: es una recuperación. Pierden sus derechos en {party}: {dropped}. Llame antes a la entidad.",
        "CAREFUL: this is a recovery. Of {party} these lose their rights: {dropped}. Telephone the party first.",
    ),
    "admin.revoked": ("Revocada por el servidor: {kid}", "Revoked by the exchange: {kid}"),
    "fault.revoke-own.what": (
        "Nadie revoca así su propia credencial.",
        "Nobody revokes their own credential like this.",
    ),
    "fault.revoke-own.why": (
        "Con la primera de sus claves revocada no podría revocar las demás.",
        "With the first of its keys revoked it could not revoke the others.",
    ),
    "fault.revoke-own.do": (
        "Pídalo a otro custodio, o a la entidad registradora; de noche, al servidor: referral admin revoke",
        "Ask another keyholder of your party, or the registrar; at night the exchange: referral admin revoke",
    ),
    "fault.backup-how.what": ("Falta decir de qué forma.", "It is not said in which form."),
    "fault.backup-how.why": ("Es un archivo o son palabras, una de las dos.", "It is a file or words, one of the two."),
    "fault.backup-how.do": (
        "Elija: --out ARCHIVO, o --words; para recuperar, el archivo o las palabras.",
        "Choose: --out FILE, or --words; to recover, the file or the words.",
    ),
    "fault.words-not-typed.what": ("No se teclearon las palabras.", "The words were not typed."),
    "fault.words-not-typed.why": ("No hay un terminal donde pedirlas.", "There is no terminal to ask for them."),
    "fault.words-not-typed.do": ("Déles un archivo: --words-file ARCHIVO", "Give them in a file: --words-file FILE"),
    "fault.words-wrong.what": ("Las palabras no son las de un respaldo.", "The words are not those of a backup."),
    "fault.words-wrong.why": (
        "Son 24 de una lista fija y se comprueban solas; alguna se leyó o escribió mal ({reason}).",
        "They are 24 of a fixed list and check themselves; one was read or written wrongly ({reason}).",
    ),
    "fault.words-wrong.do": (
        "Compare cada palabra con el papel, en orden, y vuelva a intentarlo. No se cambió nada.",
        "Compare each word with the paper, in order, and try again. Nothing was changed.",
    ),
    "fault.objection-window.what": (
        "Todavía no: corre el plazo para objetar.",
        "Not yet: there is still time to object.",
    ),
    "fault.objection-window.why": (
        "Una recuperación vale recién 24 horas después de firmada, para que la entidad pueda detenerla.",
        "A recovery holds no sooner than 24 hours after it was signed, so that the party can stop it.",
    ),
    "fault.objection-window.do": (
        "Repita la orden pasado ese plazo. Llame entretanto a la entidad por un número de fuera del sistema.",
        "Repeat the command after that. Meanwhile telephone the party by a number from outside the system.",
    ),
}
