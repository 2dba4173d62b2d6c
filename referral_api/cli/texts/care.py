"""What the screens say about handling a referral with care: warnings and what to do about each, contacts that have
expired or lead to a suspect, and copies.

Must never: give an officer a warning without what to do about it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

CARE: Final[Mapping[str, tuple[str, str]]] = {
    "help.copy": (
        "Enviar a otras unidades, para su conocimiento, una copia reducida: sin nombres, números ni relato.",
        "Send further units, for their information, a reduced copy: no names, numbers or account.",
    ),
    "option.units": ("Unidad que se informa (se repite).", "Unit to inform (repeatable)."),
    "option.summary": (
        "Archivo con un relato nuevo para la copia, sin nombres («-»: entrada estándar).",
        "File with new words for the copy, without names (“-”: standard input).",
    ),
    "option.reveal_expired": (
        "Mostrar también los números vencidos, reemplazados o de riesgo, que antes se deben verificar con la línea.",
        "Show expired, replaced or unsafe numbers too; they must be verified with the hotline first.",
    ),
    "copy.sealing": ("Copia reducida de {ref} para {units}.", "Reduced copy of {ref} for {units}."),
    "care.fault": (
        "⚠ Quien lo envió debió corregir esto antes de sellar: {words}",
        "⚠ The sender should have put this right before sealing: {words}",
    ),
    "care.place": ("   {place}: {words}", "   {place}: {words}"),
    "care.ask": (
        "   Actúe ante el peligro; lo demás acláreselo la línea: {phone}",
        "   Act on the danger; have the hotline clear up the rest: {phone}",
    ),
    "care.until": ("Verificado hasta {at}", "Verified until {at}"),
    "care.good_until": (
        "Vale hasta {at}; no consta cuándo lo verificó la línea.",
        "Good until {at}; when the hotline verified it is not said.",
    ),
    "care.replaced": (
        "✖ REEMPLAZADO por una ampliación posterior: no lo use; vale lo que dice la última ({phone}).",
        "✖ REPLACED by a later supplement: do not use it; what the last one says counts ({phone}).",
    ),
    "care.unread": (
        "✖ UNA AMPLIACIÓN POSTERIOR NO SE PUDO ABRIR y puede decir otra cosa: pregunte antes a la línea ({phone}).",
        "✖ A LATER SUPPLEMENT DID NOT OPEN and may say otherwise: ask the hotline first ({phone}).",
    ),
    "care.expired": (
        "✖ VENCIDO el {at}: no lo use sin que la línea lo verifique de nuevo ({phone}).",
        "✖ EXPIRED on {at}: do not use it until the hotline has verified it anew ({phone}).",
    ),
    "care.suspect": (
        "✖ LLEVA A UNA PERSONA SOSPECHOSA: no lo use; pregunte a la línea ({phone}).",
        "✖ LEADS TO A SUSPECT: do not use it; ask the hotline ({phone}).",
    ),
    "care.guardian": (
        "✖ {relationship}: SOSPECHOSO. No le contacte ni le avise.",
        "✖ {relationship}: A SUSPECT. Do not contact or warn them.",
    ),
    "care.hidden": (
        "(oculto; para verlo: referral show {ref} --reveal-expired)",
        "(hidden; to see it: referral show {ref} --reveal-expired)",
    ),
    "care.accepts": (
        "El acuse que firma acepta estas indicaciones.",
        "The acknowledgement that you sign accepts these handling codes.",
    ),
    "why.floor": (
        "la urgencia es menor que la debida ({least}). Atiéndala como {least}.",
        "its urgency is lower than it must be ({least}). Treat it as {least}.",
    ),
    "why.differs-from-body": (
        "lo firmado a la vista no es lo que dice el texto sellado. Valga lo más prudente de los dos.",
        "what was signed in clear differs from the sealed text. Go by the more careful of the two.",
    ),
    "why.override-missing": (
        "se identifica a alguien sin su acuerdo y sin la autorización de dos personas. No use su identidad.",
        "somebody is identified without agreeing and without two persons' override. Do not use the identity.",
    ),
    "why.override-out-of-place": (
        "hay una autorización que no corresponde. Pregunte a la línea en qué se basa.",
        "there is an override where none belongs. Ask the hotline what it rests on.",
    ),
    "why.no-child": (
        "se invoca la protección de un menor y no consta ninguno. Confirme la edad con la línea.",
        "child protection is claimed and no child is recorded. Confirm the age with the hotline.",
    ),
    "why.no-danger": (
        "se invoca un peligro y no consta ninguno. Confírmelo con la línea.",
        "danger is claimed and none is recorded. Confirm it with the hotline.",
    ),
    "why.not-given": (
        "se invoca un consentimiento que no se dio. No contacte a la persona.",
        "consent is claimed and was not given. Do not contact the person.",
    ),
    "why.scope-without-police": (
        "la persona no aceptó que se informe a la policía. No la contacte.",
        "the person did not agree to the police being told. Do not make contact.",
    ),
    "why.scope-without-identity": (
        "la persona no aceptó dar su identidad. No la use ni la copie.",
        "the person did not agree to give her identity. Do not use or copy it.",
    ),
    "why.scope-without-border": (
        "la persona no aceptó que se comparta fuera del país. No la pase a nadie más y pregunte a la línea.",
        "the person did not agree to sharing across the border. Pass it on to nobody, and ask the hotline.",
    ),
    "why.scope-without-contact": (
        "la persona no aceptó que la policía la contacte. No lo haga; pregunte a la línea.",
        "the person did not agree to be contacted by the police. Do not; ask the hotline.",
    ),
    "why.refused": (
        "la persona se negó. No use lo que la identifica ni la contacte.",
        "the person refused. Do not use what identifies her, and do not make contact.",
    ),
    "why.withdrawn": (
        "la persona retiró su consentimiento. No use estos datos; pregunte a la línea.",
        "the person withdrew her consent. Do not use these data; ask the hotline.",
    ),
    "why.tip-by-victim": (
        "figura como aviso de un tercero y llamó la propia víctima. Aclárelo con la línea.",
        "it is called a third party's tip, and the victim herself called. Clear it up with the hotline.",
    ),
    "why.tip-with-consent": (
        "figura como aviso de un tercero y consta consentimiento. Aclárelo con la línea.",
        "it is called a third party's tip, and consent is recorded. Clear it up with the hotline.",
    ),
    "why.basis-in-no-row": (
        "se invoca una obligación legal donde no alcanza: vale sólo sin identidad y sin acuerdo. No use su identidad.",
        "a legal obligation is claimed where it does not reach: anonymous, without agreement. Do not use the identity.",
    ),
    "why.identity-level": (
        "dice más de la persona que lo declarado. No use ni copie este dato.",
        "it tells more of the person than was declared. Do not use or copy this.",
    ),
    "why.suspect-guardian": (
        "consiente por ella quien es sospechoso: no vale. No contacte a esa persona.",
        "who consents for her is a suspect: it is void. Do not contact that person.",
    ),
    "why.suspect-contact": (
        "lleva a una persona sospechosa. NO LO USE.",
        "it leads to a suspect. DO NOT USE IT.",
    ),
    "why.third-party-unnamed": (
        "no se dice quién es la tercera persona y puede ser la sospechosa. No lo use sin preguntar a la línea.",
        "the third party is not named and may be the suspect. Do not use it without asking the hotline.",
    ),
    "why.not-reduced": (
        "una copia informativa trae más de lo que debe. No lo use ni lo copie.",
        "a copy for information holds more than it may. Do not use or copy it.",
    ),
    "fault.second-person.what": (
        "Falta la segunda persona que autoriza",
        "The second person who agrees is missing",
    ),
    "fault.second-person.why": (
        "La autorizan dos personas de la línea; la nombrada no es otra, con credencial vigente: {where}",
        "It takes two persons of the hotline; the one named is no other, with a credential in effect: {where}",
    ),
    "fault.second-person.do": (
        "Ponga la credencial de quien también lo autorizó. Las de su línea: referral keys show",
        "Put in the credential of whoever agreed too. Those of your hotline: referral keys show",
    ),
    "fault.not-reduced.what": ("La copia dice más de lo que debe", "The copy says more than it may"),
    "fault.not-reduced.why": (
        "Una copia no lleva nombres, números, relato ni lugares exactos: {where}",
        "A copy holds no names, numbers, account or exact places: {where}",
    ),
    "fault.not-reduced.do": ("Hágala con: referral copy", "Make it with: referral copy"),
}
