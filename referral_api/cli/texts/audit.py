"""The auditor's words: what a verification checked and found, what it means, and what to do about it.

Must never: call anything certain that a verification does not show.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

AUDIT: Final[Mapping[str, tuple[str, str]]] = {
    "audit.relied": (
        "  {log}: las firmas de las primeras {size} hojas se comprobaron la vez anterior; su contenido, ahora",
        "  {log}: the signatures of the first {size} leaves were verified the time before; their contents, now",
    ),
    "audit.witnessed": (
        "  {log}: refrendado por los testigos hasta la hoja {size}",
        "  {log}: cosigned by the witnesses up to leaf {size}",
    ),
    "audit.erased": (
        "  Borrado conforme a ley, y así consta: {count} hojas; el último estado, según el acto que las borró:",
        "  Lawfully erased, and on the record as such: {count} leaves; the last state, as the erasing act says:",
    ),
    "audit.unlogged": (
        "  Con las escrituras cerradas se leyó {count} veces algo que no está en ningún registro (unlogged_read)",
        "  While writes were closed, something that is on no log was read {count} times (unlogged_read)",
    ),
    "audit.final": ("    {ref}  {unit}: {state}", "    {ref}  {unit}: {state}"),
    "audit.evidence": ("Evidencia guardada en {path}", "Evidence kept in {path}"),
    "record.retrieved": ("paquete entregado", "bundle handed out"),
    "record.part_read": ("parte de un adjunto entregada", "attachment part handed out"),
    "record.viewed": ("derivación consultada", "referral viewed"),
    "record.record_read": ("registros leídos", "records read"),
    "record.proof_read": ("recibo y prueba leídos", "receipt and proof read"),
    "record.pack_read": ("legajo entregado", "evidence pack handed out"),
    "record.unlogged_read": (
        "con las escrituras cerradas se leyó algo que no está en ningún registro",
        "while writes were closed, something on no log was read",
    ),
    "record.statistics_read": ("estadísticas leídas", "statistics read"),
    "record.audit_session": ("registro leído por un auditor", "log read by an auditor"),
    "record.tokens": ("accesos en una hora", "accesses in one hour"),
    "record.refused": ("llamada rechazada", "call refused"),
    "record.refusals": ("rechazos repetidos", "repeated refusals"),
    "record.log.genesis": ("comienza el registro", "the log begins"),
    "record.log.closed": ("se cierra el registro", "the log is closed"),
    "record.configuration": ("cambió la configuración", "the configuration changed"),
    "record.clock_jump": ("saltó el reloj", "the clock jumped"),
    "record.signer_adopted": ("otro firmante tomó el registro", "another signer took the log"),
    "record.writes_closed": ("se cerraron las escrituras", "writes were closed"),
    "record.reconciled": ("recuperación", "recovery"),
    "keys.key": ("clave nueva", "new key"),
    "keys.genesis": ("acto fundacional", "founding act"),
    "keys.statement": ("declaración de claves", "key statement"),
    "keys.approve_statement": ("aprobación", "approval"),
    "keys.revoke": ("revocación", "revocation"),
    "keys.object": ("objeción", "objection"),
    "keys.invite": ("invitación", "invitation"),
    "keys.good": ("vigente", "good"),
    "keys.revoked": ("REVOCADA", "REVOKED"),
    "keys.first": (
        "Primera vez en este equipo: {count} entradas, comprobadas una por una.",
        "The first time on this machine: {count} entries, verified one by one.",
    ),
    "keys.since": (
        "Nuevo desde la última vez (entonces había {seen}): {count}",
        "New since the last time (there were {seen} then): {count}",
    ),
    "inspect.referral": ("DERIVACIÓN {ref}", "REFERRAL {ref}"),
    "inspect.gap": ("+{minutes} min", "+{minutes} min"),
    "inspect.state": (
        "  {unit}: {state} — recalculado de los actos; el servidor dice lo mismo",
        "  {unit}: {state} — computed from the acts; the exchange says the same",
    ),
    "inspect.ticks": (
        "✔ firmado: firma comprobada · ✔ recibo: del servidor, comprobado · ✔ registro: inclusión comprobada",
        "✔ signed: signature verified · ✔ receipt: the exchange's, verified · ✔ log: inclusion verified",
    ),
    "inspect.none": ("Nada que mostrar.", "Nothing to show."),
    "inspect.searched": (
        "Cada uno comprobado contra su hoja. Que no falte ninguno sólo lo dice: referral audit verify",
        "Each verified against its leaf. That none is missing is only told by: referral audit verify",
    ),
    "inspect.mirrored": (
        "Cada uno comprobado contra su hoja, en la copia.",
        "Each verified against its leaf, in the mirror.",
    ),
    "seen.log": (
        "{mark} {log}: {size} hojas; con testigos hasta {cosigned}",
        "{mark} {log}: {size} leaves; witnessed up to {cosigned}",
    ),
    "seen.quorum": (
        "  Testigos que cuentan: {cosigned} de {quorum} necesarios; en la última hora: {fresh}",
        "  Witnesses that count: {cosigned}, {quorum} needed; within the last hour: {fresh}",
    ),
    "seen.witness": ("  · {name}: {words} ({age}) {code}", "  · {name}: {words} ({age}) {code}"),
    "seen.age": ("hace {minutes} min", "{minutes} min ago"),
    "seen.never": ("nunca", "never"),
    "seen.fresh": ("firmó hace poco", "has cosigned lately"),
    "seen.stale": ("AVISO: su firma tiene más de una hora", "WARNING: its cosignature is more than an hour old"),
    "seen.ahead": ("AVISO: su firma lleva una fecha futura", "WARNING: its cosignature is dated in the future"),
    "seen.future": ("dentro de {minutes} min", "{minutes} min from now"),
    "seen.absent": ("no ha firmado esto", "has not cosigned this"),
    "seen.unreachable": ("no se le pudo preguntar", "could not be asked"),
    "seen.false": (
        "✖ VIO OTRO REGISTRO, o su firma es falsa",
        "✖ SAW ANOTHER LOG, or its signature is false",
    ),
    "col.gap": ("Pasó", "Gap"),
    "col.signed": ("Firmado", "Signed"),
    "col.receipt": ("Recibo", "Receipt"),
    "col.place": ("Registro", "Log"),
    "explain.title": (
        "INFORME DE COMPROBACIÓN — {issuer}, {at}",
        "REPORT OF A VERIFICATION — {issuer}, {at}",
    ),
    "explain.result.intact": (
        "Resultado: íntegro. Nada se añadió, quitó, cambió ni ocultó en lo que se comprobó.",
        "Result: intact. Nothing was added, removed, changed or hidden in what was verified.",
    ),
    "explain.result.false": (
        "Resultado: hay algo falso. No se fíe del servidor hasta que se aclare.",
        "Result: something is false. Do not rely on the exchange until it is explained.",
    ),
    "explain.result.incomplete": (
        "Resultado: incompleto. Nada resultó falso, pero no se pudo ver todo; esto no es «comprobado».",
        "Result: incomplete. Nothing was false, but not everything could be seen; this is not “verified”.",
    ),
    "explain.checked": ("Qué se comprobó, en este equipo:", "What was checked, on this machine:"),
    "explain.check.keys-log": (
        "Quién es quién: cada clave y cada autorización, desde el acto fundacional",
        "Who is who: every key and every approval, from the founding act on",
    ),
    "explain.check.checkpoint": (
        "El servidor firmó cuánto hay en cada registro",
        "The exchange signed how much there is in each log",
    ),
    "explain.check.growth": (
        "Cada registro sólo creció desde la última vez",
        "Each log has only grown since the last time",
    ),
    "explain.check.witnesses": (
        "Los testigos vieron la misma historia en la última hora, y todo lo que no es de esa hora",
        "The witnesses have seen the same history, within the last hour, and all of it but for that hour",
    ),
    "explain.check.leaves": (
        "Cada hoja está en el árbol que se firmó, en orden y con su hora",
        "Every leaf is in the tree that was signed, in order and with its time",
    ),
    "explain.check.records": (
        "Detrás de cada hoja está exactamente lo que la hoja compromete",
        "Behind every leaf stands exactly what the leaf commits to",
    ),
    "explain.check.signatures": (
        "Cada acto lo firmó quien podía, con una clave válida entonces",
        "Every act was signed by who might, with a key that was good then",
    ),
    "explain.check.receipts": (
        "Cada recibo dice lo que ocurrió, dónde y cuándo",
        "Every receipt says what happened, where and when",
    ),
    "explain.check.states": (
        "Los estados que dio el servidor son los que resultan de los actos",
        "The states that the exchange gave are those that follow from the acts",
    ),
    "explain.check.both-logs": (
        "Cada cambio de claves está en los dos registros",
        "Every change of keys is in both logs",
    ),
    "explain.covered": (
        "  Derivaciones vueltas a calcular acto por acto: {referrals}",
        "  Referrals computed anew, act by act: {referrals}",
    ),
    "explain.found": ("Qué se encontró y qué significa:", "What was found, and what it means:"),
    "explain.kind": ("  {words} (veces: {count})", "  {words} (times: {count})"),
    "explain.nothing": ("  Nada que no concuerde.", "  Nothing that does not hold."),
    "explain.means.kept": (
        "La copia guardada en este equipo ya no es la que se comprobó: cambió aquí, no en el servidor",
        "The copy kept on this machine is not the one that was verified: it changed here, not at the exchange",
    ),
    "explain.means.stale": (
        "Ningún quórum refrendó en la última hora lo que se muestra: puede ser una vista vieja, o de otra historia",
        "No quorum has cosigned within the hour what is shown: it may be an old view, or of another history",
    ),
    "explain.means.missing": (
        "Falta algo que debía estar; puede ser una avería o una ocultación",
        "Something that must be there is missing; it can be a failure or a concealment",
    ),
    "explain.means.shrunk": (
        "El registro es más corto de lo que el servidor ya había firmado: se borró historia",
        "The log is shorter than what the exchange had signed before: history was removed",
    ),
    "explain.means.forked": (
        "El servidor muestra otra historia que la que mostró antes: hay dos, y firmó las dos",
        "The exchange shows another history than before: there are two, and it signed both",
    ),
    "explain.means.keys_log": (
        "El registro de claves no se sostiene: no se sabe con certeza quién es quién",
        "The keys log does not hold: who is who is not certain",
    ),
    "explain.means.checkpoint": (
        "Lo que el servidor dice haber registrado no lleva su firma, o es de otro registro",
        "What the exchange says that it has logged does not carry its signature, or is of another log",
    ),
    "explain.means.witnesses": (
        "El refrendo que el servidor muestra de los testigos es falso, o es de otra historia",
        "What the exchange shows as cosigned by the witnesses is false, or of another history",
    ),
    "explain.means.leaves": (
        "Las hojas entregadas no son las que el servidor firmó: alguna cambió",
        "The leaves handed out are not those that the exchange signed: one was changed",
    ),
    "explain.means.genesis": (
        "Un registro anual no empieza como debe, o no continúa el del año anterior",
        "A year's log does not begin as it must, or does not continue the one before",
    ),
    "explain.means.clock": (
        "Una hora no puede ser: va hacia atrás, es de otro año o anterior a la firma",
        "A time cannot be: it runs backwards, is of another year, or before the signature",
    ),
    "explain.means.record": (
        "Un contenido cambió después de registrado: no es el que su hoja compromete",
        "A record was changed after it was logged: it is not the one that its leaf commits to",
    ),
    "explain.means.twice": (
        "Un mismo acto está registrado dos veces",
        "One act stands in the log twice",
    ),
    "explain.means.signature": (
        "Un acto no lo firmó quien dice, o su clave no valía entonces",
        "An act was not signed by whom it names, or the key was not good then",
    ),
    "explain.means.receipt": (
        "Un recibo es falso, o es de otro acto, otro lugar u otra hora",
        "A receipt is false, or belongs to another act, place or time",
    ),
    "explain.means.state": (
        "El servidor dio por cierto un estado que no resulta de los actos, o aceptó o rechazó lo que no debía",
        "The exchange claimed a state that does not follow from the acts, or took or refused what it must not",
    ),
    "explain.means.gate": (
        "El servidor dejó pasar un acto que debía rechazar (consentimiento, segunda persona o unidad excluida)",
        "The exchange let an act through that it had to refuse (consent, second person, or an excluded unit)",
    ),
    "explain.means.both_logs": (
        "Un cambio de claves está en un registro y no en el otro",
        "A change of keys is in one log and not in the other",
    ),
    "explain.next": ("Qué hacer ahora:", "What to do now:"),
    "explain.do.intact": (
        "Guarde este informe. Vuelva a comprobar cada semana: referral audit verify --since",
        "Keep this report. Verify again every week: referral audit verify --since",
    ),
    "explain.do.kept": (
        "Averigüe quién tocó este equipo; luego, en otro, compruebe de nuevo: referral audit verify --full",
        "Find out who touched this machine; then verify again on another one: referral audit verify --full",
    ),
    "explain.do.stale": (
        "Revise la hora de este equipo; pregunte a cada testigo qué refrendó (referral audit witnesses)",
        "Check this machine's clock; ask each witness what it cosigned (referral audit witnesses)",
    ),
    "explain.do.missing": (
        "Repita en una hora. Si sigue faltando, pida por escrito al operador qué falta y por qué",
        "Repeat in an hour. If it is still missing, ask the operator in writing what is missing and why",
    ),
    "explain.do.shrunk": (
        "No borre nada. Lleve la evidencia a los testigos y a los demás auditores: alguno tiene lo que falta",
        "Delete nothing. Take the evidence to the witnesses and the other auditors: one of them has what is missing",
    ),
    "explain.do.forked": (
        "No borre nada. Los dos textos firmados prueban el hecho ante cualquiera: entréguelos al órgano de control",
        "Delete nothing. The two signed texts prove it to anybody: hand them to the supervising body",
    ),
    "explain.do.keys_log": (
        "Que nadie selle ni envíe nada hasta que se aclare; llame a cada entidad y compare sus claves de palabra",
        "Let nobody seal or send until this is explained; call each party and compare its keys by voice",
    ),
    "explain.do.checkpoint": (
        "Compruebe que la dirección del servidor es la correcta; si lo es, entregue la evidencia al órgano de control",
        "Check that the exchange's address is the right one; if it is, hand the evidence to the supervising body",
    ),
    "explain.do.witnesses": (
        "Pregunte a cada testigo qué refrendó (referral audit witnesses) y entregue la evidencia al órgano de control",
        "Ask each witness what it cosigned (referral audit witnesses); hand the evidence to the supervising body",
    ),
    "explain.do.leaves": (
        "Entregue la evidencia al órgano de control y pida a otro auditor que compare su copia",
        "Hand the evidence to the supervising body, and ask another auditor to compare his copy",
    ),
    "explain.do.genesis": (
        "Pida al operador el último texto firmado del año anterior y compárelo con el de los testigos",
        "Ask the operator for the last signed text of the year before, and compare it with the witnesses'",
    ),
    "explain.do.clock": (
        "Pida al operador el parte de su reloj de ese día; hasta entonces esas horas no prueban nada",
        "Ask the operator for that day's record of his clock; until then those times prove nothing",
    ),
    "explain.do.record": (
        "Pida a la entidad que firmó ese acto su propia copia: coincide con la hoja, y la del servidor no",
        "Ask the party that signed that act for its own copy: it fits the leaf, and the exchange's does not",
    ),
    "explain.do.twice": (
        "Pida a la entidad que lo firmó que confirme si ocurrió una vez o dos",
        "Ask the party that signed it whether it happened once or twice",
    ),
    "explain.do.signature": (
        "Llame a la entidad que figura como firmante: puede que nunca hiciera ese acto",
        "Call the party that is named as the signer: it may never have made that act",
    ),
    "explain.do.receipt": (
        "Pida a la entidad su recibo y compárelo: recibió otro, o ninguno",
        "Ask the party for its receipt and compare: it was given another one, or none",
    ),
    "explain.do.state": (
        "Llame a la línea y a la unidad de esa derivación: una de las dos cree algo que no ocurrió",
        "Call the hotline and the unit of that referral: one of them believes what did not happen",
    ),
    "explain.do.gate": (
        "Llame a la línea que envió esa derivación: una persona puede estar en riesgo",
        "Call the hotline that sent that referral: a person may be at risk",
    ),
    "explain.do.both_logs": (
        "Que nadie use la clave de ese cambio hasta que su entidad lo confirme por teléfono",
        "Let nobody use the key of that change until its party has confirmed it by telephone",
    ),
    "explain.call": (
        "A quién llamar: si algo es falso, antes que al operador, a quienes confían en el servidor:",
        "Whom to call: if anything is false, before the operator, those who rely on the exchange:",
    ),
    "explain.not_checked": (
        "No se comprobó: lo que dicen las derivaciones (van selladas), ni lo que nunca llegó al servidor.",
        "Not checked: what the referrals say (they are sealed), nor what never reached the exchange.",
    ),
    "fault.record-absent.what": (
        "Falta un registro: no se entregó lo que está detrás de una hoja.",
        "A record is missing: what stands behind a leaf was not handed out.",
    ),
    "fault.record-absent.why": (
        "La hoja {index} de {log} existe y ninguna orden de borrado nombra su registro.",
        "Leaf {index} of {log} is there, and no act of erasure names its record.",
    ),
    "fault.record-absent.do": (
        "Pida el registro al operador; si no lo tiene, es una supresión ilícita: referral audit verify --full",
        "Ask the operator for the record; if there is none, it was deleted unlawfully: referral audit verify --full",
    ),
    "fault.log-absent.what": (
        "Falta una parte de un registro de auditoría o de claves.",
        "A part of an audit log or of the keys log is missing.",
    ),
    "fault.log-absent.why": (
        "Se pidió algo de {log} ({what}) que debe existir, y no se entregó.",
        "Something of {log} was asked for ({what}) that must be there, and was not handed out.",
    ),
    "fault.log-absent.do": (
        "Pídalo al operador; lo que usted guardó antes sigue valiendo: referral audit verify --mirror CARPETA",
        "Ask the operator for it; what you have kept before still counts: referral audit verify --mirror FOLDER",
    ),
    "fault.receipt-absent.what": (
        "Falta un acuse: el intercambio mostró un acto sin el acuse que le dio.",
        "A receipt is missing: the exchange showed an act without the receipt that it gave for it.",
    ),
    "fault.receipt-absent.why": (
        "Todo acto de una parte tiene su acuse firmado; sin él no se ve en qué lugar del registro está ni qué cambió.",
        "Every act of a party has its signed receipt; without it nobody sees where in the log it is or what changed.",
    ),
    "fault.receipt-absent.do": (
        "Pida el acuse al operador o a quien firmó el acto, que guarda el suyo: referral receipt show",
        "Ask the operator for the receipt, or whoever signed the act and keeps his own: referral receipt show",
    ),
}
