"""What is said where somebody may be deceiving: digits that differ, and an exchange that shows false keys.

Key → (Spanish, English). Each says what happened and what to do now, and whom to telephone.

Must never: soften that keys may have been exchanged, or send anybody to a number that the exchange shows.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

THREAT: Final[Mapping[str, tuple[str, str]]] = {
    "approve.credential": ("{credential} valdría hasta el {until}.", "{credential} would hold until {until}."),
    "approve.keyholder": (
        "ATENCIÓN: {credential} pide ser custodio de claves: decidiría quién entra y sale de {party}.",
        "CAREFUL: {credential} asks to be a keyholder: it would decide who joins and leaves {party}.",
    ),
    "approve.replaces": (
        "ATENCIÓN: sustituye las claves de {credential}, que ya existe. Llame a esa persona a un número conocido.",
        "CAREFUL: it replaces the keys of {credential}, which exists already. Telephone that person at a known number.",
    ),
    "fault.replaces.what": (
        "NO SE APROBÓ: la inscripción sustituiría las claves de {credential}, que ya existe.",
        "NOT APPROVED: the enrolment would replace the keys of {credential}, which exists already.",
    ),
    "fault.replaces.why": (
        "Esas claves solo las renueva su titular, firmando con las de antes; otra persona pasaría por esa persona.",
        "Only their own person renews those keys, signing with the old; the newcomer would pass for that person.",
    ),
    "fault.replaces.do": (
        "Llame a esa persona a un número que ya conocía. Un equipo nuevo se inscribe con credencial propia: invítela.",
        "Telephone that person at a number you knew before. A new machine gets a credential of its own: invite them.",
    ),
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
    "fault.keys-false.what": (
        "EL SERVIDOR MUESTRA UN REGISTRO DE CLAVES FALSO: no se usó ninguna clave de él.",
        "THE EXCHANGE SHOWS A FALSE KEYS LOG: no key of it was used.",
    ),
    "fault.keys-false.why": (
        "No continúa lo que este equipo ya verificó, o alguna clave no está firmada por su propia institución.",
        "It does not continue what this machine has verified, or some key is not signed for by its own institution.",
    ),
    "fault.keys-false.do": (
        "No envíe nada. Llame a la unidad y al auditor, a números que ya conocía; guarde este equipo: es prueba.",
        "Send nothing. Telephone unit and auditor, at numbers you knew before; keep this machine: it is evidence.",
    ),
    "fault.enrolment-false.what": (
        "EL SERVIDOR MUESTRA UNA INSCRIPCIÓN FALSA: no se aprobó nada.",
        "THE EXCHANGE SHOWS A FALSE ENROLMENT: nothing was approved.",
    ),
    "fault.enrolment-false.why": (
        "Una clave es inadmisible o ya está en uso, o los documentos no son los que firmó quien se inscribe.",
        "A key is unsuitable or in use already, or the documents are not those that the newcomer signed.",
    ),
    "fault.enrolment-false.do": (
        "No apruebe ninguna inscripción. Llame usted a quien invitó, a un número que ya conocía, y avise al auditor.",
        "Approve no enrolment. Telephone whom you invited, at a number that you knew before, and tell the auditor.",
    ),
    "fault.referral-false.what": (
        "LO QUE EL SERVIDOR MUESTRA DE ESTA DERIVACIÓN ES FALSO.",
        "WHAT THE EXCHANGE SHOWS OF THIS REFERRAL IS FALSE.",
    ),
    "fault.referral-false.why": (
        "Una firma, un acuse o un estado no concuerda con las claves y los actos que este equipo puede verificar.",
        "A signature, a receipt or a state does not agree with the keys and acts that this machine can verify.",
    ),
    "fault.referral-false.do": (
        "No actúe con base en ello. Llame a la otra parte y al auditor, a números que ya conocía; guarde este equipo.",
        "Do not act on it. Telephone the other side and the auditor, at numbers you knew before; keep this machine.",
    ),
    "fault.views-differ.what": (
        "EL REMITENTE Y USTED VEN REGISTROS DE CLAVES DISTINTOS: el sobre no se muestra.",
        "THE SENDER AND YOU SEE DIFFERENT KEYS LOGS: the bundle is not shown.",
    ),
    "fault.views-differ.why": (
        "El sobre firmado dice qué registro vio su remitente, y no es el que el servidor le muestra a usted.",
        "The signed bundle says which log its sender saw, and it is not the one that the exchange shows to you.",
    ),
    "fault.views-differ.do": (
        "Llame ya al remitente, a un número que ya conocía: que le cuente. Avise al auditor; guarde este equipo.",
        "Telephone the sender now, at a number you knew before, about the case. Tell the auditor; keep this machine.",
    ),
}
