"""The words of `referral admin keys`. Key → (Spanish, English).

Must never: make a key sound spent of which anything still counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

SERVER_KEYS: Final[Mapping[str, tuple[str, str]]] = {
    "ask.rekey": (
        "¿Crear la siguiente clave «{use}» del servidor y anunciarla? Un anuncio no se retira.",
        "Make the exchange's next {use} key and announce it? An announcement is not taken back.",
    ),
    "ask.prune": (
        "¿Borrar {count} claves privadas que ya no sirven? No se pueden recuperar.",
        "Delete {count} private keys that serve no more? They cannot be had back.",
    ),
    "act.rekey": ("cambio de clave del servidor", "change of the exchange's key"),
    "done.rekey": ("✔ cambio de clave del servidor: {ref}", "✔ change of the exchange's key: {ref}"),
    "keys.rekey": ("cambio de clave", "change of key"),
    "rekey.announced": (
        "Clave «{use}» {kid} anunciada: se usa desde {begins}; la anterior vale hasta {ends}.",
        "The {use} key {kid} is announced: used from {begins}; the one before counts until {ends}.",
    ),
    "rekey.file": (
        "Está en {path}. Inclúyala en las copias; si hay otros equipos, llévela a ellos antes de esa hora.",
        "It is in {path}. Take it into your backups; where there are other hosts, bring it to them before then.",
    ),
    "rekey.pinned": (
        "Quien fijó la clave de los registros (testigos, otros programas) debe agregar éstas antes de que acabe:",
        "Whoever pinned the logs' key (witnesses, other programs) must add these before the other one ends:",
    ),
    "rekey.waits": (
        "La clave «{use}» {kid} está pedida y NO anunciada: el servidor lo hará en cuanto funcione.",
        "The {use} key {kid} is asked for and NOT announced: the exchange does it as soon as it runs.",
    ),
    "rekey.counts": ("vale", "counts"),
    "rekey.coming": ("anunciada", "announced"),
    "rekey.ended": ("terminó", "ended"),
    "rekey.here": ("está aquí", "is here"),
    "rekey.not_here": ("NO está aquí", "is NOT here"),
    "rekey.deleted": (
        "Borrada la clave privada «{use}» {kid} ({file}). Lo que firmó sigue valiendo.",
        "Deleted the private {use} key {kid} ({file}). What it signed stands.",
    ),
    "rekey.none_spent": ("No hay claves que borrar.", "There are no keys to delete."),
    "help.admin.keys": ("Las claves del propio servidor.", "The exchange's own keys."),
    "help.admin.keys.rotate": (
        "Pasar a otra clave de un uso, con el servidor en marcha.",
        "Go over to another key of one use, while the exchange runs.",
    ),
    "help.admin.keys.show": (
        "Ver qué clave se usa cuándo, y cuál está aquí.",
        "Show which key is used when, and which is here.",
    ),
    "help.admin.keys.prune": (
        "Borrar las claves privadas cuya firma ya no vale.",
        "Delete the private keys whose signatures count no more.",
    ),
    "option.use": ("Uso de la clave: token, receipt, act o log.", "The key's use: token, receipt, act or log."),
    "option.notice_hours": (
        "Horas desde el anuncio hasta el uso (24 como mínimo).",
        "Hours from the announcement to the use (24 at least).",
    ),
    "option.overlap_hours": (
        "Horas que vale todavía la anterior (24 como mínimo; log: 720).",
        "Hours that the one before still counts (24 at least; log: 720).",
    ),
    "option.at_once": (
        "Cambiar ya, porque otro tiene la clave (sólo token).",
        "Change now, because somebody else has the key (token alone).",
    ),
    "fault.server-key-use.what": (
        "No se puede cambiar así esa clave del servidor.",
        "That key of the exchange cannot be changed like this.",
    ),
    "fault.server-key-use.why": (
        "El servidor tiene claves token, receipt, act y log ({use} no, o no sin aviso: sólo token).",
        "The exchange has token, receipt, act and log keys ({use} is none, or not without notice: token alone).",
    ),
    "fault.server-key-use.do": ("Elija una de ellas: --use", "Choose one of them: --use"),
}
"""Results, questions, help, and how a call can be wrong."""
