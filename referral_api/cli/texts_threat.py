"""What is said where somebody may be deceiving: digits that differ, and an exchange that shows false keys.

Key → (Spanish, English). Each says what happened and what to do now, and whom to telephone.

Must never: soften that keys may have been exchanged, or send anybody to a number that the exchange shows.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

THREAT: Final[Mapping[str, tuple[str, str]]] = {
    "ask.code_digits": (
        "No son 30 dígitos; esto no cuenta. Teclee los 30 dígitos (intentos que quedan: {left}):",
        "These are not 30 digits; that does not count. Type the 30 digits (attempts left: {left}):",
    ),
    "fault.code-tries.what": (
        "TRES VECES LOS DÍGITOS NO COINCIDIERON: la inscripción de {party} quedó anulada.",
        "THREE TIMES THE DIGITS DIFFERED: the enrolment of {party} is void.",
    ),
    "fault.code-tries.why": (
        "Las claves que muestra el servidor no son las que le leyeron: alguien pudo haberlas cambiado.",
        "The keys that the exchange shows are not those that were read out: somebody may have exchanged them.",
    ),
    "fault.code-tries.do": (
        "No acepte otra lectura. Llame usted a {party}, a un número que ya conocía; después, una invitación nueva.",
        "Accept no other reading. Telephone {party} yourself, at a number that you knew before; then invite them anew.",
    ),
}
