"""What is said while a unit is chosen, and before anything is sealed to it. Key → (Spanish, English).

Must never: say that a unit is live without saying who says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

CHOOSING: Final[Mapping[str, tuple[str, str]]] = {
    "help.units.suggest": (
        "Ver qué unidades convienen a un lugar, por orden y con sus motivos.",
        "See which units suit a place, in order and with the reasons.",
    ),
    "option.ubigeo": (
        "Lugar: departamento (2 cifras), provincia (4) o distrito (6) del INEI.",
        "Place: INEI's department (2 digits), province (4) or district (6).",
    ),
    "option.speciality": ("Especialidad deseada (código, repetible).", "Speciality wanted (code, repeatable)."),
    "option.abroad": ("Mostrar también unidades de otro país.", "Show units of other countries too."),
    "col.live": ("En línea, según el servidor", "Live, says the exchange"),
    "area.country": ("todo el país", "whole country"),
    "unit.instead": (
        "  Se sellará en su lugar a quien escala y sí es alcanzable: {parties}",
        "  Instead, those it escalates to that can be reached: {parties}",
    ),
    "unit.languages": ("Idiomas: {languages}", "Languages: {languages}"),
    "unit.specialities": ("Especialidades: {specialities}", "Specialities: {specialities}"),
    "unit.parent": ("Depende de: {parent}", "Parent: {parent}"),
    "unit.country": ("De otro país: {country}", "Of another country: {country}"),
    "mark.live": (
        "● En línea, según el servidor: consultó su bandeja el {at}.",
        "● Live, says the exchange: it asked for its inbox on {at}.",
    ),
    "mark.offline": (
        "✖ FUERA DE LÍNEA, según el servidor: no consulta su bandeja desde el {at}.",
        "✖ OFFLINE, says the exchange: it has not asked for its inbox since {at}.",
    ),
    "mark.never": (
        "✖ FUERA DE LÍNEA, según el servidor: nunca ha consultado su bandeja.",
        "✖ OFFLINE, says the exchange: it has never asked for its inbox.",
    ),
    "mark.unknown": (
        "? No se sabe si está en línea: el servidor no lo dice.",
        "? Nobody can tell whether it is live: the exchange does not say.",
    ),
    "suggest.place": ("Unidades para {ubigeo} ({region}):", "Units for {ubigeo} ({region}):"),
    "suggest.none": (
        "Ninguna unidad del directorio conviene a este lugar ({region}).",
        "No unit of the directory suits this place ({region}).",
    ),
    "suggest.why": ("Motivo: {reasons}", "Why: {reasons}"),
    "why.covers": ("cubre el lugar", "covers the place"),
    "why.same_department": ("trabaja en el mismo departamento", "works in the same department"),
    "why.parent": ("de ella dependen unidades de la zona", "units of the area answer to it"),
    "why.national": ("cubre todo el país", "covers the whole country"),
    "why.abroad": ("es de otro país, y usted lo pidió", "is of another country, which you asked for"),
    "why.speciality": ("tiene la especialidad pedida", "has the speciality asked for"),
    "send.unit": ("Unidad {unit}: «{name}». Guardia: {phone}", "Unit {unit}: “{name}”. Duty phone: {phone}"),
    "send.mark": ("{mark}", "{mark}"),
    "send.abroad": (
        "{unit} es de OTRO PAÍS ({country}): exige un convenio y el consentimiento para compartir fuera del país.",
        "{unit} is of ANOTHER COUNTRY ({country}): it takes an agreement and consent to share across the border.",
    ),
    "send.telephone": (
        "EMERGENCIA, y nadie asegura que la unidad esté mirando: LLAME PRIMERO al {phone}.",
        "EMERGENCY, and nobody vouches that the unit is looking: TELEPHONE FIRST, {phone}.",
    ),
    "send.no_phone": (
        "⚠ {unit} NO TIENE TELÉFONO DE GUARDIA en el directorio: {phone}",
        "⚠ {unit} HAS NO DUTY TELEPHONE in the directory: {phone}",
    ),
    "dial.instead": ("sin número propio; llame a {phones}", "no number of its own; call {phones}"),
    "dial.nobody": (
        "sin número en el directorio, ni suyo ni de su unidad superior: búsquelo por otra vía",
        "no number in the directory, neither its own nor its parent's: find one elsewhere",
    ),
    "ask.offline": (
        "La unidad {unit} está fuera de línea. ¿Enviar de todos modos? [s/N]",
        "Unit {unit} is offline. Send all the same? [y/N]",
    ),
    "send.no_successor": (
        "⚠ SIN RELEVO: si {unit} no responde, NADIE MÁS la recibe ({why}).",
        "⚠ NOBODY STANDS BY: if {unit} does not answer, NOBODY ELSE gets it ({why}).",
    ),
    "successor.none": ("su ficha no nombra a nadie", "its entry names nobody"),
    "successor.excluded": ("excluida", "excluded"),
    "successor.addressed": ("ya la recibe directamente", "gets it directly already"),
    "successor.abroad": ("de otro país, sin convenio", "of another country, without an agreement"),
    "successor.no_key": ("sin clave vigente", "no valid key"),
    "ask.no_successor": (
        "Nadie relevará a {unit}. ¿Enviar de todos modos? [s/N]",
        "Nobody will step in for {unit}. Send all the same? [y/N]",
    ),
    "approve.country": (
        "Es de OTRO PAÍS ({country}): a ella no se deriva nada sin convenio. Nunca podrá cambiarlo.",
        "It is of ANOTHER COUNTRY ({country}): nothing goes to it without an agreement. It can never change that.",
    ),
    "fault.agreement-missing.what": ("La unidad es de otro país.", "The unit is of another country."),
    "fault.agreement-missing.why": (
        "Nada cruza la frontera sin un convenio con nombre, y a {unit} se la dirigió sin él. No se envió nada.",
        "Nothing crosses the border without a named agreement, and {unit} was addressed without one. Nothing was sent.",
    ),
    "fault.agreement-missing.do": (
        "Elija una unidad del país, o indique el convenio (--agreement) si el consentimiento lo cubre.",
        "Choose a unit of this country, or name the agreement (--agreement) if consent covers it.",
    ),
    "fault.cross-border.what": (
        "No se puede pasar la derivación a otro país.",
        "The referral cannot be passed on to another country.",
    ),
    "fault.cross-border.why": (
        "{unit} es de otro país, y solo la línea sabe qué se convino y qué se consintió.",
        "{unit} is of another country, and only the hotline knows what was agreed and consented to.",
    ),
    "fault.cross-border.do": (
        "Decline e indíquelo a la línea: ella puede dirigirla allí, con un convenio.",
        "Decline and tell the hotline: it can address that unit itself, with an agreement.",
    ),
    "fault.no-such-region.what": ("Ese lugar no existe.", "There is no such place."),
    "fault.no-such-region.why": (
        "Ningún departamento tiene el ubigeo {region}: son del 01 al 25 (Callao es 07).",
        "No department has ubigeo {region}: they are 01 to 25 (Callao is 07).",
    ),
    "fault.no-such-region.do": ("Revise las dos primeras cifras del ubigeo.", "Check the ubigeo's first two digits."),
    "fault.bad-ubigeo.what": ("Ese ubigeo no sirve.", "That ubigeo is not usable."),
    "fault.bad-ubigeo.why": (
        "Se escribe con 2 cifras (departamento), 4 (provincia) o 6 (distrito), sin letras.",
        "It is written in 2 digits (department), 4 (province) or 6 (district), without letters.",
    ),
    "fault.bad-ubigeo.do": (
        "Por ejemplo, --ubigeo 20 para Piura o --ubigeo 200101 para su distrito capital.",
        "For instance, --ubigeo 20 for Piura or --ubigeo 200101 for its capital's district.",
    ),
    "fault.bad-speciality.what": ("Esa especialidad no existe.", "There is no such speciality."),
    "fault.bad-speciality.why": ("No está en la lista de códigos.", "It is not in the list of codes."),
    "fault.bad-speciality.do": ("Use una de estas: {codes}", "Use one of these: {codes}"),
    "fault.phone-alert-required.what": (
        "A una emergencia le falta decir si se llamó por teléfono.",
        "An emergency has to say whether the unit was telephoned.",
    ),
    "fault.phone-alert-required.why": (
        "El miembro phone_alert no está en el archivo. No se envió nada.",
        "The member phone_alert is not in the file. Nothing was sent.",
    ),
    "fault.phone-alert-required.do": (
        'Llame y escriba "phone_alert": {{"made": true, "at": …, "to_unit": …}}; si no pudo, "made": false.',
        'Telephone, and write "phone_alert": {{"made": true, "at": …, "to_unit": …}}; if you cannot, "made": false.',
    ),
    "fault.member-missing.what": ("Al documento le falta un dato.", "Something is missing in the document."),
    "fault.member-missing.why": ("No está: {where}.", "Not there: {where}."),
    "fault.member-missing.do": (
        "Complételo en el archivo y repita la orden.",
        "Complete it in the file and repeat the command.",
    ),
    "fault.duty-phone.what": (
        "La ficha de {unit} no tiene teléfono de guardia.",
        "The entry of {unit} has no duty telephone.",
    ),
    "fault.duty-phone.why": (
        "Cuando una emergencia no se lee, la línea llama a ese número: una unidad policial no se inscribe sin él.",
        "When an emergency is not read, the hotline calls that number: no police unit is enrolled without one.",
    ),
    "fault.duty-phone.do": (
        "Añada duty_phone a la ficha, con su prefijo (+51…), y repita la orden.",
        "Add duty_phone to the entry, with its prefix (+51…), and repeat the command.",
    ),
    "fault.entry-not-there.what": ("No está claro qué ficha se quiere.", "It is not clear which entry is meant."),
    "fault.entry-not-there.why": (
        "En {path} hay {count} fichas; se pidió: {unit}.",
        "There are {count} entries in {path}; asked for: {unit}.",
    ),
    "fault.entry-not-there.do": ("Nombre una con --unit ID.", "Name one with --unit ID."),
}
