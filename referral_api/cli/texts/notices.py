"""The words of notices: `referral admin notices`, and what the doctor says of them. Key → (Spanish, English).

Must never: show an address, or call a notice arrived that was only taken.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

NOTICES: Final[Mapping[str, tuple[str, str]]] = {
    "help.admin.notices": (
        "Avisos sin contenido a quien tiene novedades.",
        "Contentless notices to whoever has something new.",
    ),
    "help.admin.notices.test": (
        "Enviar un aviso a una parte por cada uno de sus canales, y decir qué pasó.",
        "Send one notice to a party over each of its channels, and say what came of it.",
    ),
    "notices.own": ("(el propio servidor)", "(the exchange itself)"),
    "notices.trying": (
        "Probando {count} canales; puede tardar un minuto.",
        "Trying {count} channels; a minute at most.",
    ),
    "notices.taken": (
        "✔ Canal {channel}: el servicio lo aceptó. Pregunte por teléfono si llegó.",
        "✔ Channel {channel}: the service took it. Ask by telephone whether it arrived.",
    ),
    "notices.not-taken": (
        "✖ Canal {channel}: nadie contestó, o el servicio lo rechazó.",
        "✖ Channel {channel}: nobody answered, or the service refused it.",
    ),
    "notices.too-slow": (
        "✖ Canal {channel}: el servicio no contestó a tiempo.",
        "✖ Channel {channel}: the service did not answer in time.",
    ),
    "notices.broken": (
        "✖ Canal {channel}: el envío falló en este equipo.",
        "✖ Channel {channel}: sending failed on this machine.",
    ),
    "fault.no-notices.what": ("Este servidor no envía avisos.", "This exchange sends no notices."),
    "fault.no-notices.why": (
        "La configuración {path} no nombra ningún archivo de avisos (notices).",
        "The settings in {path} name no file of notices (notices).",
    ),
    "fault.no-notices.do": (
        "Escriba el archivo: docs/runbooks.md, «Avisos»",
        "Write the file: docs/runbooks.md, “Notices”",
    ),
    "fault.no-channels.what": ("{party} no tiene canales de aviso.", "{party} has no channels for notices."),
    "fault.no-channels.why": (
        "El archivo de avisos no tiene ninguno con ese nombre.",
        "The file of notices has none by that name.",
    ),
    "fault.no-channels.do": (
        "Agréguelos y reinicie: docs/runbooks.md, «Avisos»",
        "Add them and restart: docs/runbooks.md, “Notices”",
    ),
    "doctor.settings.notices": ("Archivo de avisos: {channels} canales.", "Notices file: {channels} channels."),
    "doctor.settings.notices.failed": (
        "El archivo de avisos no sirve ({reason}); así no arranca: {title}",
        "The notices file will not do ({reason}); it does not start like this: {title}",
    ),
    "doctor.settings.notices.do": (
        "Corríjalo. Siga docs/runbooks.md, «{reason}».",
        "Correct it. Follow docs/runbooks.md, “{reason}”.",
    ),
    "doctor.process.notices": (
        "Canales de aviso que fallan: {failing} de {channels}: {which}.",
        "Channels for notices that fail: {failing} of {channels}: {which}.",
    ),
    "doctor.process.notices.ok": (
        "Ninguno de los {channels} canales de aviso falla.",
        "None of the {channels} channels for notices fails.",
    ),
    "doctor.process.notices.do": (
        "A quien no avisa ningún canal, llámelo. Luego siga docs/runbooks.md, «Avisos».",
        "Telephone those whom no channel wakes. Then follow docs/runbooks.md, “Notices”.",
    ),
}
