"""The words of `referral witness`: results, failures of the call, help. Key → (Spanish, English).

Must never: promise that a witness sees more than sizes and hashes, or make a restored file sound harmless.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

WITNESS_SCREENS: Final[Mapping[str, tuple[str, str]]] = {
    "witness.made": (
        "Testigo {name} creado: claves y memoria en {path}, sólo para su dueño.",
        "Witness {name} made: keys and memory in {path}, for its owner alone.",
    ),
    "witness.one_file": (
        "Si se restaura una copia anterior, retire las claves y cree otro testigo. Anote la identidad {identity}.",
        "If an older copy is restored, retire the keys and make another witness. Write down the identity {identity}.",
    ),
    "witness.of": (
        "Testigo {name} · archivo {path} · identidad {identity}",
        "Witness {name} · file {path} · identity {identity}",
    ),
    "witness.counts": ("Refrendos: {count}; el último: {at}", "Cosigned: {count} times; last: {at}"),
    "witness.never": ("nunca", "never"),
    "witness.keys": (
        "Las claves, como líneas del archivo de política en que otros las fijan (las dos cuentan como un testigo):",
        "The keys, as lines of the policy file in which others pin them (the two count as one witness):",
    ),
    "witness.years": ("{origin} y el año", "{origin} and the year"),
    "witness.no_logs": (
        "No refrenda ningún registro todavía: referral witness add-log CLAVE",
        "It cosigns no log yet: referral witness add-log KEY",
    ),
    "witness.trusted": ("{origin}: se refrenda desde ahora.", "{origin}: cosigned from now on."),
    "witness.distrusted": (
        "{origin}: no se refrenda más. Lo que se recuerda de él se conserva.",
        "{origin}: cosigned no more. What is remembered of it stays.",
    ),
    "witness.fork": (
        "✖ PRUEBA DE BIFURCACIÓN: {origin} firmó dos raíces del tamaño {size} ({at})",
        "✖ PROOF OF A FORK: {origin} signed two roots of size {size} ({at})",
    ),
    "witness.proof": (
        "✖ Rechazado: {origin} firmó el tamaño {size}, que no se pudo enlazar con lo refrendado ({at})",
        "✖ Refused: {origin} signed size {size}, which could not be linked to what was cosigned ({at})",
    ),
    "witness.evidence": (
        "Las peticiones rechazadas, completas: referral witness show --json. Guarde copia y avise a los demás.",
        "The refused requests, whole: referral witness show --json. Keep a copy and tell the others.",
    ),
    "witness.begins": (
        "Testigo: escucha en {url}. Ctrl+C para detenerlo.",
        "Witness: listening on {url}. Ctrl+C stops it.",
    ),
    "witness.ended": ("Testigo detenido.", "Witness stopped."),
    "place.vkey": ("CLAVE", "KEY"),
    "col.log": ("Registro", "Log"),
    "col.size": ("Tamaño", "Size"),
    "col.cosigned": ("Refrendado", "Cosigned"),
}

WITNESS_FAULTS: Final[Mapping[str, tuple[tuple[str, str, str], tuple[str, str, str]]]] = {
    "witness-exists": (
        ("Aquí ya hay un testigo: {path}", "No se sobrescribe nada.", "Elija otro archivo con --file."),
        ("There is a witness already: {path}", "Nothing is overwritten.", "Choose another file with --file."),
    ),
    "witness-missing": (
        (
            "No está el archivo del testigo: {path}",
            "Sin él no hay claves ni memoria.",
            "Indíquelo con --file o REFERRAL_WITNESS. Nunca restaure una copia anterior: cree otro testigo.",
        ),
        (
            "The witness's file is not there: {path}",
            "Without it there are neither keys nor memory.",
            "Name it with --file or REFERRAL_WITNESS. Never restore an older copy: make another witness.",
        ),
    ),
    "witness-exposed": (
        (
            "Otros pueden leer o cambiar {path}",
            "Contiene claves privadas y debe ser sólo de quien lo usa.",
            "Si alguien pudo leerlo, retire las claves. Si no: chmod 600, y que sea suyo.",
        ),
        (
            "Others may read or change {path}",
            "It holds private keys and must belong to its user alone.",
            "If anybody may have read it, retire the keys. Otherwise: chmod 600, and make it yours.",
        ),
    ),
    "witness-unreadable": (
        (
            "{path} no se puede usar.",
            "No es el archivo de un testigo, o está dañado.",
            "No lo repare ni restaure una copia anterior: cree otro testigo y retire las claves de éste.",
        ),
        (
            "{path} is not usable.",
            "It is no witness's file, or it is damaged.",
            "Do not repair it or restore an older copy: make another witness and retire this one's keys.",
        ),
    ),
    "witness-busy": (
        ("{path} está ocupado.", "Otro proceso lo tiene tomado.", "Repita la orden en un momento."),
        ("{path} is busy.", "Another process holds it.", "Repeat the command in a moment."),
    ),
    "witness-name": (
        (
            "El nombre {name} no sirve.",
            "Va sin espacios ni «+», como una dirección.",
            "Elija otro nombre.",
        ),
        (
            "The name {name} is not usable.",
            "It has no spaces or “+”, like an address.",
            "Choose another.",
        ),
    ),
    "log-key": (
        (
            "No es la clave de un registro: {key}",
            "Se espera NOMBRE+IDENTIFICADOR+CLAVE de un registro; en una familia, el nombre termina en / o / y un año.",
            "Cópiela entera, obtenida fuera del sistema.",
        ),
        (
            "This is no log's key: {key}",
            "NAME+ID+KEY of a log is expected; in a family the name ends in / or / and a year.",
            "Copy it whole, obtained outside the system.",
        ),
    ),
    "log-key-differs": (
        (
            "{origin} ya tiene otra clave.",
            "Un registro puede pasar a otra clave; quien lo opera lo anuncia antes.",
            "Pregúntele fuera del sistema; si es así, agréguela junto a la otra: --also",
        ),
        (
            "{origin} has another key already.",
            "A log may go over to another key; whoever runs it announces that before.",
            "Ask outside the system; if it is so, add it beside the other: --also",
        ),
    ),
    "log-unknown": (
        ("{origin} no se refrenda.", "No está entre los registros de este testigo.", "Véalos: referral witness show"),
        ("{origin} is not cosigned.", "It is none of this witness's logs.", "See them: referral witness show"),
    ),
    "cannot-listen": (
        ("No se puede escuchar en {host}:{port}.", "Está ocupado o no se permite.", "Elija otro: --host, --port"),
        ("Cannot listen on {host}:{port}.", "It is taken or not allowed.", "Choose another: --host, --port"),
    ),
}

WITNESS_HELP: Final[Mapping[str, tuple[str, str]]] = {
    "help.witness": (
        "Ser testigo: refrendar que un registro sólo crece, viendo tamaños y resúmenes.",
        "Be a witness: cosign that a log only grows, seeing sizes and hashes alone.",
    ),
    "help.witness.init": ("Crear un testigo: sus claves y su memoria.", "Make a witness: its keys and its memory."),
    "help.witness.serve": ("Hacer funcionar el testigo hasta que se detenga.", "Run the witness until it is stopped."),
    "help.witness.show": (
        "Mostrar claves, registros, tamaños y pruebas guardadas.",
        "Show keys, logs, sizes and kept evidence.",
    ),
    "help.witness.add-log": ("Refrendar otro registro.", "Cosign another log."),
    "help.witness.remove-log": ("No refrendar más un registro.", "Cosign a log no more."),
    "option.witness_file": ("Archivo del testigo.", "The witness's file."),
    "option.witness_name": (
        "Nombre del testigo, como una dirección sin https://.",
        "The witness's name, like an address without https://.",
    ),
    "option.logs": ("Clave de un registro (repetible).", "Key of a log (repeatable)."),
    "option.families": (
        "Clave de un registro anual cualquiera: se refrendan todos sus años (repetible).",
        "Key of any one of a yearly log's years: all its years are cosigned (repeatable).",
    ),
    "option.log_vkey": ("Clave del registro.", "The log's key."),
    "option.yearly": ("La clave vale para todos los años del registro.", "The key is good for all years of the log."),
    "option.also": (
        "La clave es otra más de un registro que ya se refrenda.",
        "The key is a further one of a log that is cosigned already.",
    ),
    "option.origin": ("Nombre del registro.", "Name of the log."),
    "option.host": ("Dirección en que escucha.", "Address to listen on."),
    "option.url": ("Dirección con que otros lo alcanzan.", "URL by which others reach it."),
}
