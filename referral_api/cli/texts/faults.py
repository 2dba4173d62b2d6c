"""What is said when a call itself is wrong: what failed, why, what to do. Key → (Spanish, English).

Failures that have an error code of the protocol have their words in domain/catalogue.py.

Must never: repeat a secret or a text of the case, or leave somebody without a next step.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from referral_api.cli.texts.witness import WITNESS_FAULTS

_FAILURES: Final[Mapping[str, tuple[str, str]]] = {
    "error.why": ("  Por qué: {words}", "  Why: {words}"),
    "error.do": ("  Qué hacer: {words}", "  What to do: {words}"),
    "error.code": ("  Código: {code} · salida {exit}  {facts}", "  Code: {code} · exit {exit}  {facts}"),
}


def _fault(name: str, es: tuple[str, str, str], en: tuple[str, str, str]) -> dict[str, tuple[str, str]]:
    """The three texts of a fault of the call: what failed, why, what to do."""
    return {f"fault.{name}.{part}": (es[at], en[at]) for at, part in enumerate(("what", "why", "do"))}


_FAULTS: Final[Mapping[str, tuple[str, str]]] = {
    **_fault(
        "defect",
        ("Falló el programa.", "Ocurrió algo no previsto ({kind}).", "Repita con -v, guarde la salida y avise."),
        (
            "The program failed.",
            "Something unforeseen happened ({kind}).",
            "Repeat with -v, keep the output, report it.",
        ),
    ),
    **_fault(
        "interrupted",
        ("Interrumpido.", "Alguien detuvo la orden.", "Lo firmado sigue en la bandeja de salida: referral outbox list"),
        ("Interrupted.", "Somebody stopped the command.", "What was signed is in the outbox: referral outbox list"),
    ),
    **_fault(
        "usage",
        ("La orden no se entiende.", "Sobra o falta algo en ella.", "Vea la ayuda: {path} --help"),
        ("The command cannot be understood.", "Something in it is missing or too much.", "See the help: {path} --help"),
    ),
    **_fault(
        "no-such-option",
        ("No existe la opción {what}.", "Esta orden no la admite.", "Vea la ayuda: {path} --help"),
        ("There is no option {what}.", "This command does not take it.", "See the help: {path} --help"),
    ),
    **_fault(
        "missing-parameter",
        ("Falta {what}.", "La orden lo necesita.", "Vea la ayuda: {path} --help"),
        ("{what} is missing.", "The command needs it.", "See the help: {path} --help"),
    ),
    **_fault(
        "case-number-of-unit",
        (
            "El número de caso es de la unidad.",
            "Quien lo lee lo tomaría por el suyo. No se envió nada.",
            "Envíe la nota sin --case-number; si hace falta un número de la línea, escríbalo en la nota.",
        ),
        (
            "The case number is the unit's.",
            "Whoever reads it would take it for their own. Nothing was sent.",
            "Send the note without --case-number; write a number of the hotline's in the note itself.",
        ),
    ),
    **_fault(
        "missing-code",
        ("Falta {what}.", "La orden necesita un código.", "Use uno de estos:\n    {codes}"),
        ("{what} is missing.", "The command needs a code.", "Use one of these:\n    {codes}"),
    ),
    **_fault(
        "no-such-code-of",
        ("El valor de {what} no sirve.", "No está en su lista de códigos.", "Use uno de estos:\n    {codes}"),
        ("The value of {what} is not usable.", "It is not in its list of codes.", "Use one of these:\n    {codes}"),
    ),
    **_fault(
        "bad-value",
        ("El valor de {what} no sirve.", "No es de los que esta orden admite.", "Vea la ayuda: {path} --help"),
        ("The value of {what} is not usable.", "It is none that this command takes.", "See the help: {path} --help"),
    ),
    **_fault(
        "language",
        ("Idioma desconocido: {lang}.", "Las pantallas están en español e inglés.", "Use --lang es o --lang en"),
        ("Unknown language: {lang}.", "Screens are in Spanish and English.", "Use --lang es or --lang en"),
    ),
    **_fault(
        "file-unreadable",
        ("No se puede leer {path}.", "No existe, no es suyo o no es texto.", "Revise la ruta y los permisos."),
        ("Cannot read {path}.", "It is missing, not yours, or no text.", "Check the path and the permissions."),
    ),
    **_fault(
        "file-unwritable",
        ("No se puede escribir {path}.", "La carpeta no existe o no es suya.", "Elija otra ruta."),
        ("Cannot write {path}.", "The folder is missing or not yours.", "Choose another path."),
    ),
    **_fault(
        "file-exists",
        ("{path} ya existe.", "No se sobrescribe nada.", "Elija otro nombre, o mueva ese archivo."),
        ("{path} exists already.", "Nothing is overwritten.", "Choose another name, or move that file."),
    ),
    **_fault(
        "service-key-missing",
        (
            "No está la llave del servicio: {path}",
            "Sin ella no se abre el compartimento del servicio.",
            "Indíquela con --service-key o REFERRAL_SERVICE_KEY_FILE.",
        ),
        (
            "The service's key is not there: {path}",
            "Without it the service's compartment does not open.",
            "Name it with --service-key or REFERRAL_SERVICE_KEY_FILE.",
        ),
    ),
    **_fault(
        "passphrase-not-asked",
        (
            "Hace falta la frase de contraseña.",
            "No hay nadie en una terminal a quien pedírsela.",
            "Indique su archivo con --passphrase-file o REFERRAL_PASSPHRASE_FILE.",
        ),
        (
            "A passphrase is needed.",
            "Nobody sits at a terminal to be asked.",
            "Name its file with --passphrase-file or REFERRAL_PASSPHRASE_FILE.",
        ),
    ),
    **_fault(
        "passphrases-differ",
        ("Las dos frases no coinciden.", "Se escribieron distintas.", "Repita la orden."),
        ("The two passphrases differ.", "They were typed differently.", "Repeat the command."),
    ),
    **_fault(
        "not-confirmed",
        ("No se hizo nada.", "No se confirmó.", "Repita la orden y responda «s», o use --yes."),
        ("Nothing was done.", "It was not confirmed.", "Repeat the command and answer “y”, or use --yes."),
    ),
    **_fault(
        "code-not-typed",
        (
            "Faltan los 30 dígitos.",
            "No hay nadie en una terminal que los teclee.",
            "Escríbalos en un archivo: --code-file ARCHIVO, o --code-file - por la entrada.",
        ),
        (
            "The 30 digits are missing.",
            "Nobody sits at a terminal to type them.",
            "Write them to a file: --code-file FILE, or --code-file - for standard input.",
        ),
    ),
    **_fault(
        "several-enrolments",
        (
            "{party} tiene varias inscripciones.",
            "El nombre solo no basta.",
            "Use el identificador: referral enrolments",
        ),
        ("{party} has several enrolments.", "The name alone is not enough.", "Use the id: referral enrolments"),
    ),
    **_fault(
        "enrolled-already",
        (
            "Este perfil ya tiene claves: {path}",
            "No se sobrescriben.",
            "referral enrol --resume, o elija otro perfil (-p).",
        ),
        (
            "This profile has keys already: {path}",
            "They are not overwritten.",
            "referral enrol --resume, or another -p.",
        ),
    ),
    **_fault(
        "not-evidence",
        (
            "{path} no es evidencia.",
            "Le falta el acto, el recibo o la prueba.",
            "Hágalo con: referral receipt show REF -o ARCHIVO",
        ),
        (
            "{path} is no evidence.",
            "Act, receipt or proof is missing.",
            "Make it with: referral receipt show REF -o FILE",
        ),
    ),
    **_fault(
        "not-installed",
        (
            "Esa parte no está instalada en este equipo.",
            "Falta el paquete {module}.",
            "Instale «referral-api[{extra}]» donde vaya a funcionar.",
        ),
        (
            "That part is not installed on this machine.",
            "The package {module} is missing.",
            "Install “referral-api[{extra}]” where it shall run.",
        ),
    ),
    **_fault(
        "issuer-missing",
        (
            "Falta la dirección pública.",
            "No hay nadie en una terminal a quien pedírsela.",
            "Use --issuer, o --defaults.",
        ),
        ("The public URL is missing.", "Nobody sits at a terminal to be asked.", "Use --issuer, or --defaults."),
    ),
    **_fault(
        "exchange-exists",
        ("Aquí ya hay un servidor: {path}", "No se sobrescribe nada.", "Elija otra carpeta con --dir."),
        ("There is an exchange already: {path}", "Nothing is overwritten.", "Choose another folder with --dir."),
    ),
    **_fault(
        "exchange-running",
        (
            "El servidor está en marcha.",
            "Con SQLite, un solo proceso usa la base de datos.",
            "Deténgalo, repita esta orden y vuelva a iniciarlo.",
        ),
        (
            "The exchange is running.",
            "With SQLite one process alone uses the database.",
            "Stop it, repeat this command and start it again.",
        ),
    ),
    **_fault(
        "config-missing",
        (
            "No está la configuración: {path}",
            "«serve» no crea lo que falta.",
            "Indíquela con --config, o: referral admin init",
        ),
        (
            "The settings are not there: {path}",
            "“serve” makes nothing.",
            "Name them with --config, or: referral admin init",
        ),
    ),
    **_fault(
        "config-unreadable",
        ("La configuración no se puede leer: {path}", "No es TOML.", "Corrija el archivo."),
        ("The settings cannot be read: {path}", "They are no TOML.", "Correct the file."),
    ),
    **_fault(
        "setting",
        ("La configuración no sirve: {name}", "{reason}", "Corrija ese valor."),
        ("The settings are not usable: {name}", "{reason}", "Correct that value."),
    ),
    **_fault(
        "full-or-since",
        ("O todo o lo nuevo: --full y --since no van juntos.", "Piden cosas distintas.", "Quite una de las dos."),
        ("Everything or what is new: not both --full and --since.", "They ask for two things.", "Leave one out."),
    ),
    **_fault(
        "first-trust",
        (
            "En este equipo no se ha comprobado nada todavía.",
            "Sin una primera vez no hay con qué comparar lo nuevo.",
            "Decida que la historia de hoy es el punto de partida: referral audit verify --since --trust-first",
        ),
        (
            "Nothing has been verified on this machine yet.",
            "Without a first time there is nothing to hold what is new against.",
            "Decide that today's history is the starting point: referral audit verify --since --trust-first",
        ),
    ),
    **_fault(
        "not-a-folder",
        (
            "No es una carpeta de esta máquina: {address}",
            "Una copia se comprueba desde su carpeta o su dirección file://.",
            "Haga una copia primero: referral audit mirror CARPETA",
        ),
        (
            "This is no folder of this machine: {address}",
            "A mirror is verified from its folder or its file:// address.",
            "Make a copy first: referral audit mirror FOLDER",
        ),
    ),
    **_fault(
        "no-report",
        ("Este perfil no tiene ningún informe.", "Todavía no se comprobó nada.", "Primero: referral audit verify"),
        ("This profile has no report.", "Nothing has been verified yet.", "First: referral audit verify"),
    ),
    **_fault(
        "not-a-report",
        ("No es un informe de comprobación: {path}", "Le falta algo, o no es nuestro.", "referral audit verify --json"),
        (
            "This is no report of a verification: {path}",
            "A part is missing, or it is not ours.",
            "referral audit verify --json",
        ),
    ),
    **_fault(
        "no-authority",
        (
            "No se dijo con qué autoridad.",
            "Un firmante se traslada con su estado o con el quórum de los testigos.",
            "Indique --state o --checkpoint por cada registro: docs/runbooks.md",
        ),
        (
            "Nothing was given that allows it.",
            "A signer is moved by its state or by the witnesses' quorum.",
            "Give --state or --checkpoint for each log: docs/runbooks.md",
        ),
    ),
    **_fault(
        "scratch-missing",
        (
            "No se dijo dónde comprobar.",
            "Una copia de PostgreSQL se comprueba en una base de datos vacía.",
            "Cree una, repita con --scratch postgresql://… y bórrela después.",
        ),
        (
            "No place was given to prove it in.",
            "A PostgreSQL backup is proved in an empty database.",
            "Create one, repeat with --scratch postgresql://… and drop it afterwards.",
        ),
    ),
    **_fault(
        "new-origin",
        (
            "No se empezó otro período.",
            "«--new-origin» y «--checkpoint ARCHIVO» van juntos: el archivo dice qué se firmó por última vez.",
            "Pida a un testigo su último texto cofirmado del registro; sin testigos, el último que guardó alguien",
        ),
        (
            "No other term was begun.",
            "`--new-origin` and `--checkpoint FILE` go together: the file says what was signed last.",
            "Ask a witness for its last cosigned checkpoint of the log; without witnesses, the last that anybody kept",
        ),
    ),
    **_fault(
        "new-origin-other",
        (
            "No se empezó otro período.",
            "Lo que falta es de {log}, y el texto firmado es de otro registro.",
            "Traiga el texto firmado de {log}; si faltan hojas de «keys», solo sirve recuperarlas: docs/runbooks.md",
        ),
        (
            "No other term was begun.",
            "What is missing is of {log}, and the checkpoint is another log's.",
            "Bring the checkpoint of {log}; leaves of `keys` can only be brought back: docs/runbooks.md",
        ),
    ),
    **_fault(
        "nothing-lost",
        (
            "No se empezó otro período.",
            "De {log} no falta nada que no se pueda recuperar.",
            "Recupérelo: referral admin reconcile, sin --new-origin",
        ),
        (
            "No other term was begun.",
            "Nothing of {log} is missing that cannot be brought back.",
            "Bring it back: referral admin reconcile, without --new-origin",
        ),
    ),
}

_ON_DEMAND: Final[Mapping[str, tuple[str, str]]] = {
    key: words for name, (es, en) in WITNESS_FAULTS.items() for key, words in _fault(name, es, en).items()
}

FAULTS: Final[Mapping[str, tuple[str, str]]] = {**_FAILURES, **_FAULTS, **_ON_DEMAND}
