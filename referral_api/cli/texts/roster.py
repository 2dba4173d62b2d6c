"""What is said of a unit's workstations and officers as they come, go and are looked through. Key → (Spanish, English).

Must never: let an end sound smaller than it is, or hold a person's name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_HELP: Final[Mapping[str, tuple[str, str]]] = {
    "help.keys.rewrap": (
        "Sellar otra vez lo abierto para los equipos nuevos de la unidad.",
        "Seal what is open again for the unit's new workstations.",
    ),
    "help.keys.remove": (
        "Dar de baja un equipo, o a una persona con sus equipos. Vale al instante.",
        "Take away a workstation, or a person with their workstations. It acts at once.",
    ),
    "help.keys.review": (
        "Revisar personas y equipos: quién sigue aquí, un año más; quién no, de baja.",
        "Look through persons and workstations: who is still here stays a year, who is not is dropped.",
    ),
    "option.refs": ("Derivaciones; sin ninguna, todas las abiertas.", "Referrals; without any, all that are open."),
    "option.credential": ("Persona o servicio (se repite).", "Person or service (repeatable)."),
    "option.sign": ("Preguntar por cada línea y firmar.", "Ask about every line, and sign."),
    "option.here": ("Sigue aquí (se repite).", "Is still here (repeatable)."),
    "option.gone": ("Ya no está (se repite).", "Is gone (repeatable)."),
    "option.digest": (
        "Confirmar, como segundo custodio, la revisión de este resumen.",
        "Confirm, as second keyholder, the review of this digest.",
    ),
    "option.no_station": (
        "Persona sin clave de cifrado propia: firma, y no abre nada en este equipo.",
        "A person without an encryption key: signs, and opens nothing on this machine.",
    ),
}

_SCREENS: Final[Mapping[str, tuple[str, str]]] = {
    "busy.deliveries": ("Derivaciones revisadas", "Referrals looked at"),
    "col.age": ("Edad", "Age"),
    "col.vouched": ("Avalado por", "Vouched for by"),
    "col.keeper": ("A cargo de", "Kept by"),
    "keys.kind.person": ("persona", "person"),
    "keys.kind.service": ("servicio", "service"),
    "keys.kind.station": ("equipo", "workstation"),
    "keys.kind.backup": ("respaldo", "backup"),
    "keys.days": ("{days} días", "{days} days"),
    "keys.kept_by": ("a cargo de {keeper}", "kept by {keeper}"),
    "keys.over": ("TERMINADO", "ENDED"),
    "keys.soon": ("TERMINA EN MENOS DE 60 DÍAS", "ENDS WITHIN 60 DAYS"),
    "keys.holder": ("custodio", "keyholder"),
    "keys.own": ("de este equipo", "this machine's"),
    "keys.line": ("{words}", "{words}"),
    "keys.ends": ("Termina: {words}", "Ends: {words}"),
    "keys.prolongs": ("Sigue: {name}, hasta {at}", "Stays: {name}, until {at}"),
    "keys.left": (
        "Quedan: equipos {stations}; custodios {keyholders}",
        "What is left: workstations {stations}; keyholders {keyholders}",
    ),
    "keys.rewrap_first": (
        "Lo que sólo se selló para esas claves ya no lo abrirá nadie más: antes, en otro equipo, referral keys rewrap",
        "What was sealed to those keys alone nobody else will open: before this, elsewhere, referral keys rewrap",
    ),
    "keys.no_station": (
        "NO QUEDA NINGÚN EQUIPO: nadie podrá sellar para la unidad, y lo suyo irá a quien la releva.",
        "NO WORKSTATION IS LEFT: nobody can seal to the unit, and what is meant for it goes to those who step in.",
    ),
    "keys.overtakes": (
        "Lo que {by} firmó y espera a un segundo custodio queda sin efecto: habrá que firmarlo otra vez.",
        "What {by} has signed and waits for a second keyholder falls: it has to be signed again.",
    ),
    "keys.signed": ("Firmado y registrado: {log}, hoja {index}", "Signed and logged: {log}, leaf {index}"),
    "keys.in_effect": ("Está vigente desde ahora.", "It is in effect from now on."),
    "keys.waits": (
        "Falta un segundo custodio: que mire «referral keys review» y la confirme.",
        "A second keyholder is wanted: to look at “referral keys review” and confirm it.",
    ),
    "keys.pending": (
        "Espera a un segundo custodio lo que firmó {by}.",
        "What {by} has signed waits for a second keyholder.",
    ),
    "keys.rewrap.none": ("No hay nada abierto.", "Nothing is open."),
    "keys.rewrap.wrapped": ("sellada otra vez", "sealed again"),
    "keys.rewrap.held": ("ya la tienen todos", "everybody has it"),
    "keys.rewrap.waits": ("espera en la bandeja de salida", "waits in the outbox"),
    "keys.rewrap.closed": ("no está abierta", "not open"),
    "keys.rewrap.locked": ("NO SE ABRE EN ESTE EQUIPO", "DOES NOT OPEN ON THIS MACHINE"),
    "keys.rewrap.refused": ("RECHAZADA", "REFUSED"),
    "keys.rewrap.unwitnessed": (
        "Los testigos aún no vieron: {stations}. Repítalo en unos minutos.",
        "The witnesses have not seen yet: {stations}. Repeat this in some minutes.",
    ),
    "keys.rewrap.elsewhere": (
        "Lo que no se abre aquí, que lo selle otro equipo de la unidad: referral keys rewrap",
        "What does not open here another workstation of the unit must seal: referral keys rewrap",
    ),
    "keys.rewrap.ended": (
        "Se detuvo antes del final: {words} Lo hecho vale; repita la orden y sigue donde quedó.",
        "It stopped before the end: {words} What is done stands; repeat it, and it goes on from there.",
    ),
    "ask.remove": (
        "¿Dar de baja {ends}? No vuelve: habría que inscribir de nuevo. [s/N]",
        "Take away {ends}? It never returns: it would have to be enrolled anew. [y/N]",
    ),
    "ask.review": (
        "¿Firmar: {here} siguen, {ends} terminan? [s/N]",
        "Sign: {here} stay, {ends} end? [y/N]",
    ),
    "ask.still_here": ("¿{name} sigue aquí? [s/N]", "Is {name} still here? [y/N]"),
}


def _fault(name: str, es: tuple[str, str, str], en: tuple[str, str, str]) -> dict[str, tuple[str, str]]:
    """The three texts of a failure that these verbs say better than the catalogue."""
    return {f"fault.{name}.{part}": (es[at], en[at]) for at, part in enumerate(("what", "why", "do"))}


_FAULTS: Final[Mapping[str, tuple[str, str]]] = {
    **_fault(
        "too-many-keys",
        (
            "LA ENTIDAD YA TIENE OCHO EQUIPOS.",
            "Se sella como mucho para ocho equipos y el respaldo. Nada cambió; la invitación sigue valiendo.",
            "Que un custodio dé de baja uno (referral keys remove --station), o inscríbase con --no-station",
        ),
        (
            "THE PARTY HAS EIGHT WORKSTATIONS ALREADY.",
            "Bundles are sealed to eight of them and the backup at most. Nothing changed; the invitation stays good.",
            "Let a keyholder take one away (referral keys remove --station), or enrol with --no-station",
        ),
    ),
    **_fault(
        "station-taken",
        (
            "YA HAY UN EQUIPO CON ESE CÓDIGO.",
            "Está a cargo de otra persona; con el mismo código uno dejaría mudo al otro.",
            "Elija otro código con --station, o que un custodio dé de baja el viejo: referral keys remove --station",
        ),
        (
            "THERE IS A WORKSTATION WITH THIS CODE ALREADY.",
            "Somebody else keeps it; under one code the one would silence the other.",
            "Choose another with --station, or let a keyholder take the old one away: referral keys remove --station",
        ),
    ),
    **_fault(
        "too-many-recipients",
        (
            "SON DEMASIADOS DESTINATARIOS: {found} CLAVES.",
            "Un sobre se sella como mucho para {limit} claves: las de cada equipo de cada unidad. Nada se envió.",
            "Informe a menos unidades ahora (--inform), y a las demás con otra derivación.",
        ),
        (
            "THERE ARE TOO MANY RECIPIENTS: {found} KEYS.",
            "An envelope is sealed to {limit} keys at most, those of every workstation of each unit. Nothing was sent.",
            "Inform fewer units now (--inform), and the others with another referral.",
        ),
    ),
    **_fault(
        "last-keyholder",
        (
            "NO QUEDARÍA NINGÚN CUSTODIO.",
            "Sin custodio la entidad no podría cambiar nada más de sus claves.",
            "Inscriba antes a otro custodio: referral invite --out ARCHIVO; en su equipo, referral enrol --keyholder",
        ),
        (
            "NO KEYHOLDER WOULD BE LEFT.",
            "Without one the party could change nothing about its keys any more.",
            "First enrol another keyholder: referral invite --out FILE; on their machine, referral enrol --keyholder",
        ),
    ),
    **_fault(
        "oneself",
        (
            "ESO LO FIRMA OTRO CUSTODIO.",
            "Nadie se da de baja ni se confirma a sí mismo: no podría comprobar qué resultó.",
            "Pídalo a otro custodio de la entidad.",
        ),
        (
            "ANOTHER KEYHOLDER SIGNS THAT.",
            "Nobody takes away or confirms oneself: one could not verify what came of it.",
            "Ask another keyholder of the party.",
        ),
    ),
    **_fault(
        "unanswered",
        (
            "FALTAN RESPUESTAS.",
            "Nada se prolonga sin que alguien lo diga: {names}",
            "Añada --here o --gone para cada uno, o responda en una terminal con --sign",
        ),
        (
            "ANSWERS ARE MISSING.",
            "Nothing is prolonged unless somebody says so: {names}",
            "Add --here or --gone for each, or answer at a terminal with --sign",
        ),
    ),
    **_fault(
        "answered-twice",
        (
            "HAY RESPUESTAS QUE SE CONTRADICEN.",
            "Se dijo que siguen, y terminan (un equipo se va con quien lo tiene a cargo): {names}",
            "Quite --here de los que terminan.",
        ),
        (
            "ANSWERS CONTRADICT EACH OTHER.",
            "Said to be here, and ending (a workstation goes with its keeper): {names}",
            "Leave out --here for those that end.",
        ),
    ),
    **_fault(
        "not-a-review",
        (
            "LO QUE ESPERA NO ES SÓLO UNA REVISIÓN.",
            "Añade claves o derechos, y eso se confirma con los 30 dígitos.",
            "Vea quién se inscribe y llámele: referral enrolments",
        ),
        (
            "WHAT WAITS IS MORE THAN A REVIEW.",
            "It adds keys or rights, and those are confirmed with the 30 digits.",
            "See who enrols, and telephone: referral enrolments",
        ),
    ),
}

ROSTER: Final[Mapping[str, tuple[str, str]]] = {**_HELP, **_SCREENS, **_FAULTS}
