"""What is said of changes to one's own keys that nobody here made, and of keys too new to seal to. Key → (Spanish,
English).

Must never: sound calm about an alarm, send anybody to a number that an attacker may have written, or say what to do
without saying whose turn it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

WATCH: Final[Mapping[str, tuple[str, str]]] = {
    "help.inbox.watch": (
        "Esperar lo que llegue y dar la alarma. Sin servidor sigue; con --once, --count o --exit-code sale con 3.",
        "Wait for what arrives, and sound the alarm. No exchange ends only --once, --count and --exit-code, with 3.",
    ),
    "watch.silence": (
        "⚠ {unit} no acusó recibo de {ref} hasta el {at} y el servidor calla: sus relojes no andan. Llame: {phone}.",
        "⚠ {unit} did not acknowledge {ref} by {at}, and the exchange is silent: its clocks stand. Telephone: {phone}.",
    ),
    "watch.away": (
        "⚠ SIN SERVIDOR desde el {at}: no llega nada, ni emergencias. Revise la red; se sigue intentando. ({words})",
        "⚠ NO EXCHANGE since {at}: nothing arrives, no emergencies either. See to the network; it goes on. ({words})",
    ),
    "watch.back": (
        "✔ El servidor responde otra vez; faltó desde el {at}. Sigue lo que llegó mientras tanto.",
        "✔ The exchange answers again; it was away since {at}. What arrived meanwhile follows.",
    ),
    "inbox.telephone": (
        "☎ LLAME AHORA a {unit}, guardia: {phone}.",
        "☎ TELEPHONE NOW: {unit}, duty phone: {phone}.",
    ),
    "inbox.escalated": (
        "venció un plazo: quién la tiene lo dice timeline",
        "a deadline has passed: timeline says who has it",
    ),
    "inbox.telephone_why": ("Motivo: {words}.", "Reason: {words}."),
    "help.keys.watch": (
        "Vigilar las claves de la propia entidad; con --once, mirar una vez: sale con 10 si hay una alarma.",
        "Watch the keys of one's own party; with --once, look once: ends with 10 where there is an alarm.",
    ),
    "help.keys.object": (
        "Objetar una declaración de claves que todavía espera: no entrará en vigor.",
        "Object to a key statement that still waits: it will not take effect.",
    ),
    "option.seen": (
        "Constancia (digest) de un cambio que usted ya averiguó; se puede repetir.",
        "Digest of a change that you have looked into; may be repeated.",
    ),
    "option.statement": ("Constancia (digest) de la declaración.", "Digest of the statement."),
    "ask.object": (
        "¿Objetar esta declaración de {party} ({reason})? No se puede deshacer. [s/N]",
        "Object to this statement of {party} ({reason})? It cannot be undone. [y/N]",
    ),
    "keys.own_begins": (
        "Vigilando las claves de {party}. Ctrl+C para terminar.",
        "Watching the keys of {party}. Ctrl+C ends it.",
    ),
    "keys.own_quiet": (
        "Nada cambió en las claves de esta entidad que no se haya hecho o averiguado aquí.",
        "Nothing has changed in this party's keys that was not done or looked into here.",
    ),
    "keys.own_alarm": (
        "✖ ALARMA: las claves de {party} cambian y no se hizo aquí. {what}, por {by}, {at}, hoja {index}.",
        "✖ ALARM: the keys of {party} change, and it was not done here. {what}, by {by}, {at}, leaf {index}.",
    ),
    "keys.own_notice": (
        "• Cambio en las claves de {party}, hecho en otro puesto: {what}, por {by}, {at}, hoja {index}.",
        "• A change to the keys of {party}, made elsewhere: {what}, by {by}, {at}, leaf {index}.",
    ),
    "keys.own_line": ("  {line}", "  {line}"),
    "keys.own_outsider": (
        "Lo firmó alguien que no es de esta entidad.",
        "It was signed by somebody who is not of this party.",
    ),
    "keys.own_not_here": (
        "Lo firmaron las claves de este puesto ({by}), pero no este puesto: alguien más las tiene.",
        "It was signed with the keys of this workstation ({by}), and not on it: somebody else has them.",
    ),
    "keys.own_own_keys": (
        "Quita claves, tiempo o derechos a este mismo puesto, o le da claves que no están aquí.",
        "It takes keys, time or rights from this very workstation, or gives it keys that are not here.",
    ),
    "keys.own_colleague": ("Lo firmó otra persona de esta entidad.", "It was signed by somebody else of this party."),
    "keys.own_exchange": ("Son las claves del propio servidor.", "They are the exchange's own keys."),
    "keys.own_added": ("Claves nuevas: {kids}", "New keys: {kids}"),
    "keys.own_dropped": ("Claves retiradas: {kids}", "Keys dropped: {kids}"),
    "keys.own_revoked": ("Clave revocada: {kids}", "Key revoked: {kids}"),
    "keys.own_in_effect": ("Ya está en vigor.", "It is in effect already."),
    "keys.own_ended": (
        "Ya no espera: otra declaración la reemplazó, o fue anulada.",
        "It waits no more: another statement has taken its place, or it was voided.",
    ),
    "keys.own_voided": ("La declaración quedó anulada.", "The statement is void."),
    "keys.own_waits_second_registrar": (
        "TODAVÍA NO VALE. Le toca a USTED: objete antes de {at}; desde entonces basta otra persona del registro.",
        "NOT IN EFFECT YET. It is YOUR turn: object before {at}; from then on another registrar person suffices.",
    ),
    "keys.own_waits_keyholder": (
        "Todavía no vale: le toca a otro custodio de la entidad, que la apruebe o la objete.",
        "Not in effect yet: it is another keyholder's turn, to approve it or to object.",
    ),
    "keys.own_waits_registrar": (
        "Todavía no vale: le toca al registro.",
        "Not in effect yet: it is the registrar's turn.",
    ),
    "keys.own_waits_exchange": (
        "Todavía no vale: le toca al operador del servidor.",
        "Not in effect yet: it is the exchange operator's turn.",
    ),
    "keys.own_call_outsider": (
        "Llame a los demás de su entidad y al registro (figura {phone}; use un número que conozca de otra fuente).",
        "Telephone your colleagues and the registrar ({phone} is listed; use a number you know from elsewhere).",
    ),
    "keys.own_call_not_here": (
        "Llame ya a otro custodio de su entidad, que haga «referral keys revoke {by}», y al registro (figura {phone}).",
        "Telephone another keyholder now, to run “referral keys revoke {by}”, and the registrar ({phone} is listed).",
    ),
    "keys.own_call_own_keys": (
        "Pregunte a {by} en persona o por teléfono si fue así; si no, llame al registro (figura {phone}).",
        "Ask {by} in person or by telephone whether it was so; if not, telephone the registrar ({phone} is listed).",
    ),
    "keys.own_call_colleague": (
        "Pregunte a {by} en persona o por teléfono si fue así; si no, llame al registro (figura {phone}).",
        "Ask {by} in person or by telephone whether it was so; if not, telephone the registrar ({phone} is listed).",
    ),
    "keys.own_call_exchange": (
        "Pregunte al operador del servidor por teléfono si lo anunció.",
        "Ask the operator of the exchange by telephone whether it was announced.",
    ),
    "keys.own_digest": (
        "Constancia: {digest}. Qué hacer, paso a paso: docs/runbooks.md, «Keys changed and we did not do it».",
        "Digest: {digest}. Step by step: docs/runbooks.md, “Keys changed and we did not do it”.",
    ),
    "keys.own_stale": (
        "✖ ALARMA: los testigos vieron por última vez el registro de claves el {at}. Alguien podría ocultar cambios.",
        "✖ ALARM: the witnesses last saw the keys log at {at}. Somebody may be hiding changes.",
    ),
    "keys.own_uncosigned": (
        "✖ ALARMA: desde el {at} ningún testigo da fe del final del registro de claves que se nos muestra.",
        "✖ ALARM: since {at} no witnesses have vouched for the end of the keys log that we are shown.",
    ),
    "keys.own_unread": (
        "✖ ALARMA: no se puede leer el registro de claves desde el {at}. Nadie vigila las claves de esta entidad.",
        "✖ ALARM: the keys log could not be read since {at}. Nobody watches this party's keys.",
    ),
    "keys.own_begun_anew": (
        "✖ ALARMA: {path} estaba dañado: queda aparte ({path}.damaged) y se vuelve a decir todo lo registrado.",
        "✖ ALARM: {path} was damaged. It is set aside ({path}.damaged), and all that the keys log holds is told again.",
    ),
    "keys.own_not_watched": (
        "✖ ALARMA: no se leen archivos de este perfil (junto a {path}). Nadie vigila las claves de esta entidad.",
        "✖ ALARM: files of this profile cannot be read (beside {path}). Nobody watches this party's keys.",
    ),
    "keys.own_more": (
        "Y {count} actos más, firmados después por {by} por la misma causa.",
        "And {count} more acts, signed later by {by}, told for the same cause.",
    ),
    "keys.own_statement": (
        "Declaración de claves de {party}, firmada por {by}, {at}, hoja {index}.",
        "Key statement of {party}, signed by {by}, {at}, leaf {index}.",
    ),
    "keys.own_objected": (
        "✔ Objetada la declaración de {party}: no entrará en vigor. Registro {log}, hoja {index}.",
        "✔ Objected to the statement of {party}: it will not take effect. Log {log}, leaf {index}.",
    ),
    "keys.own_answered": ("✔ Averiguado: {digest}", "✔ Looked into: {digest}"),
    "fault.keys-changed.what": (
        "No se sella para {unit}: sus claves son más nuevas que lo último que se vio confirmado.",
        "Nothing is sealed to {unit}: its keys are newer than what was last seen confirmed.",
    ),
    "fault.keys-changed.why": (
        "Hace más de una hora que los testigos no ven el registro de claves; las claves nuevas podrían ser de otro.",
        "The witnesses have not seen the keys log for over an hour; the new keys may be somebody else's.",
    ),
    "fault.keys-changed.do": (
        "Llame a la guardia de la unidad (se conocía: {phone}). Repita cuando «referral units list» no avise más.",
        "Telephone the unit's duty phone ({phone} was known). Repeat once “referral units list” warns no more.",
    ),
}
