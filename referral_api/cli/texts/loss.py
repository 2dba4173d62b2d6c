"""What is said of leaves that an exchange has lost for good. Key → (Spanish, English).

Must never: make a loss sound smaller than it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

LOSS: Final[Mapping[str, tuple[str, str]]] = {
    "loss.none": ("No se perdió nada de lo que se vio aquí.", "Nothing that was seen here is lost."),
    "loss.log": (
        "{log}: el servidor conserva {kept} hojas y PERDIÓ {lost}. Continúa en {following}.",
        "{log}: the exchange holds {kept} leaves and has LOST {lost}. It goes on in {following}.",
    ),
    "loss.by.witnesses": (
        "  Los testigos dan fe de que existieron hasta la hoja {size}.",
        "  The witnesses vouch that there were leaves up to {size}.",
    ),
    "loss.by.log": (
        "  Nadie más que la clave del registro da fe de ellas, hasta la hoja {size} (sin testigos).",
        "  Nobody but the log's own key vouches for them, up to leaf {size} (no witnesses).",
    ),
    "loss.own": ("  Se perdió lo nuestro: {act}  {ref}", "  Of ours is lost: {act}  {ref}"),
    "loss.agreed": ("  Alguien ya lo aceptó aquí.", "  Somebody has accepted it here."),
    "loss.open": (
        "  NADIE LO HA ACEPTADO AQUÍ. Llame al operador y a los auditores antes de aceptarlo.",
        "  NOBODY HAS ACCEPTED IT HERE. Call the operator and the auditors before you do.",
    ),
    "loss.accepted": (
        "Aceptado. {count} actos se envían otra vez; sus recibos perdidos quedan en {path}.",
        "Accepted. {count} acts are sent again; their lost receipts stay in {path}.",
    ),
    "loss.purged": (
        "{count} actos no se envían otra vez: lo sellado que llevaban, o la derivación misma, ya se borró.",
        "{count} acts are not sent again: what was sealed beside them, or the referral itself, was purged.",
    ),
    "ask.loss": (
        "¿Continuar sin {lost} hojas de {log}, {own} de ellas actos nuestros? No se puede deshacer.",
        "Go on without {lost} leaves of {log}, {own} of them acts of ours? This cannot be undone.",
    ),
    "record.log.lost": ("hojas perdidas", "leaves lost"),
    "audit.lost": (
        "SE PERDIERON {lost} hojas de {log}. Da fe de ellas el texto firmado de tamaño {size}, cofirmado por {who}.",
        "{lost} leaves of {log} were lost; the checkpoint at {size} cosigned by {who} vouches that they were.",
    ),
    "audit.found": (
        "{log}: el servidor dice haber perdido {lost} hojas, y AQUÍ ESTÁN: referral admin reconcile --mirror",
        "{log}: the exchange says that {lost} leaves are lost, and HERE THEY ARE: referral admin reconcile --mirror",
    ),
    "explain.means.lost": (
        "El servidor perdió hojas del registro y lo dice él mismo, firmado",
        "The exchange has lost leaves of the log, and says so itself, signed",
    ),
    "explain.do.lost": (
        "Pregunte al operador por el disco y a los testigos por su último texto cofirmado; busque espejos y recibos",
        "Ask the operator about the disk and the witnesses for their last cosigned text; look for mirrors and receipts",
    ),
    "fault.log-lost.what": (
        "EL SERVIDOR PERDIÓ HOJAS QUE AQUÍ SE VIERON.",
        "THE EXCHANGE HAS LOST LEAVES THAT WERE SEEN HERE.",
    ),
    "fault.log-lost.why": (
        "De {log} conserva {kept} hojas; aquí se vieron {pinned}. Nada sigue sin que una persona lo acepte.",
        "Of {log} it holds {kept} leaves; {pinned} were seen here. Nothing goes on until a person accepts that.",
    ),
    "fault.log-lost.do": (
        "Vea qué se perdió con «referral loss» y pregunte a los auditores; después: referral loss --accept",
        "See what was lost with “referral loss” and ask the auditors; then: referral loss --accept",
    ),
}
