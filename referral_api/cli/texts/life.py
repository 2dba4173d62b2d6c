"""What is said of a referral's life after it was sent: passing on, taking back, asking. Key → (Spanish, English).

Must never: call done what is only proposed, or tell a unit that the person can be reached when she said no.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_HELP: Final[Mapping[str, tuple[str, str]]] = {
    "help.transfer": (
        "Proponer otra unidad, con la derivación ya sellada para ella.",
        "Propose another unit, with the referral sealed to it already.",
    ),
    "help.refuse-transfer": (
        "No aprobar un traslado: la unidad conserva la derivación.",
        "Do not approve a transfer: the unit keeps the referral.",
    ),
    "help.readdress": (
        "Enviar la misma derivación a otra unidad, si la anterior la declinó, venció o no se pudo abrir.",
        "Send the same referral to another unit, after a decline, an expiry or a failed receipt.",
    ),
    "help.consent-withdrawn": (
        "Avisar a todos los que la tienen, copias y sucesoras incluidas, que la persona retiró su consentimiento.",
        "Tell everybody who has it, copies and successors included, that the person withdrew consent.",
    ),
    "help.answer-notice": (
        "Responder a un retiro o a un consentimiento retirado: qué se detuvo y qué continúa.",
        "Answer a withdrawal, or a consent that was withdrawn: what was stopped, and what goes on.",
    ),
    "help.ask": ("Preguntar a la otra parte, por temas.", "Ask the other side, by topics."),
    "help.answer": ("Responder una pregunta de la otra parte.", "Answer a question of the other side."),
    "help.supplement": (
        "Ampliar una derivación ya enviada, en un sobre por unidad.",
        "Send more about a referral already sent, in an envelope for each unit.",
    ),
    "help.reopen": ("Retomar una derivación cerrada, con motivo.", "Take up a closed referral again, with a reason."),
    "help.phone": (
        "Dejar constancia de que se llamó a una unidad, o de que no se pudo.",
        "State that a unit was telephoned, or that it could not be.",
    ),
    "option.to_unit": ("Unidad que se propone.", "Unit that is proposed."),
    "option.suggest": ("Unidad a la que le corresponde.", "Unit whose it is."),
    "option.duplicate_of": ("Derivación de la que es duplicado.", "Referral that this is a duplicate of."),
    "option.answers": (
        "Qué se responde, por su identificador, si hay varios.",
        "What is answered, by its digest, where there are several.",
    ),
    "option.reply": ("Respuesta (código; sin él se listan).", "Answer (code; without one they are listed)."),
    "option.topic": (
        "Tema (código; repetible; sin él se listan).",
        "Topic (code; repeatable; without one they are listed).",
    ),
    "option.relates": (
        "Qué es de una anterior: TIPO:DERIVACIÓN (replaces, supplements, duplicate_of, related_to).",
        "What it is to an earlier one: TYPE:REFERRAL (replaces, supplements, duplicate_of, related_to).",
    ),
    "option.exclude_declined": (
        "Que ninguna unidad que la declinó vuelva a recibirla.",
        "No unit that declined it ever gets it again.",
    ),
    "option.phoned": (
        "Cuándo se llamó a la nueva unidad (HH:MM o fecha y hora).",
        "When the new unit was telephoned (HH:MM, or date and time).",
    ),
    "option.second_person": (
        "Credencial de quien vuelve a dar el segundo acuerdo.",
        "Credential of whoever agrees once more as the second person.",
    ),
    "option.again": (
        "Avisar también a quien ya fue avisado (otra persona lo retiró).",
        "Tell those too who were told before (another person withdrew).",
    ),
    "option.despite_withdrawal": (
        "Aunque la persona retiró su consentimiento: que otra unidad la reciba; se le avisa de ese retiro.",
        "Although the person withdrew consent: let another unit have it, which is told of that.",
    ),
    "option.at": ("Cuándo se llamó (HH:MM o fecha y hora).", "When the call was made (HH:MM, or date and time)."),
    "option.corrects": (
        "Informe propio anterior que este corrige, por su identificador.",
        "Earlier status of one's own that this one puts right, by its digest.",
    ),
    "option.not_made": ("No se pudo llamar.", "The call could not be made."),
    "option.by": ("Código de quien llamó.", "Code of who called."),
    "option.joint": (
        "Por qué se toma junto a otra unidad que ya la tomó (código).",
        "Why beside a unit that took it already (code).",
    ),
}

_SCREENS: Final[Mapping[str, tuple[str, str]]] = {
    "place.time": ("HORA", "TIME"),
    "place.date": ("FECHA", "DATE"),
    "life.delivery": ("{unit}:", "{unit}:"),
    "life.due": ("  Plazo: {what}, hasta el {at}", "  Due: {what}, by {at}"),
    "life.open": ("  Sin responder: {words}", "  Open: {words}"),
    "life.may": ("  Puede: {command}", "  Possible: {command}"),
    "life.question": (
        "{what} · {unit} · de {by}, {at} · {digest}",
        "{what} · {unit} · from {by}, {at} · {digest}",
    ),
    "life.called": ("se llamó {at}", "called {at}"),
    "life.not_called": ("NO se llamó", "NOT called"),
    "life.released_to_nobody": (
        "NO HABÍA A QUIÉN ENTREGARLA: llame a la unidad o busque otra",
        "THERE WAS NOBODY TO RELEASE IT TO: telephone the unit, or find another",
    ),
    "life.corrects": ("corrige {place}", "corrects {place}"),
    "life.corrected": ("corregido después", "corrected later"),
    "life.relates_to": ("Relación: {words} · {ref}", "Relation: {words} · {ref}"),
    "life.later": ("Posterior relacionada: {ref}", "Later, related: {ref}"),
    "transfer.next": (
        (
            "Propuesto: {unit} la recibe si la línea, o el servidor por sus reglas, lo aprueba. Hasta entonces es "
            "suya.\nMientras la línea no responda no puede retirar la propuesta ni hacer otra: llame a {phone}."
        ),
        (
            "Proposed: {unit} gets it once the hotline, or the exchange by its rules, approves. Until then it is "
            "yours.\nUntil the hotline has answered you can neither take that back nor propose another: call {phone}."
        ),
    ),
    "option.beside": (
        "Enviarla aunque otra unidad la tenga en mano: acuérdelo antes con ella.",
        "Send it although another unit has it in hand: agree on that with it first.",
    ),
    "option.despite_closed": (
        "Seguir aunque una ampliación no se abra; entonces no va ningún contacto.",
        "Go on although a supplement does not open; then no contact goes along.",
    ),
    "send.call_elsewhere": (
        "⚠ La llamada que consta fue a otra unidad ({called}), no a {unit}: ésta cuenta como NO avisada.",
        "⚠ The call on record was to another unit ({called}), not to {unit}: this one counts as NOT told.",
    ),
    "supplement.first": (
        "⚠ HAY {count} AMPLIACIÓN(ES) DESPUÉS DE LA DERIVACIÓN: lea también su contacto seguro antes de actuar.",
        "⚠ {count} SUPPLEMENT(S) BELOW THE REFERRAL: read their safe contact too before you act.",
    ),
    "supplement.head": ("AMPLIACIÓN {number} · {at} · {by}", "SUPPLEMENT {number} · {at} · {by}"),
    "supplement.closed": (
        "✖ {unit}: sin clave vigente; no se le envió.",
        "✖ {unit}: no valid key; it was not sent there.",
    ),
    "ask.transfer": (
        "¿Proponer que {ref} pase a {unit}? Si se aprueba, deja de ser suya. [s/N]",
        "Propose that {ref} goes to {unit}? Once approved it is yours no more. [y/N]",
    ),
    "ask.approve_transfer": (
        "¿Aprobar que {ref} pase de {unit} a {target}? No se puede deshacer. [s/N]",
        "Approve that {ref} goes from {unit} to {target}? It cannot be undone. [y/N]",
    ),
    "ask.approve_purge": (
        "¿Aprobar que {ref} se borre antes de tiempo? No se puede deshacer. [s/N]",
        "Approve that {ref} is purged before its time? It cannot be undone. [y/N]",
    ),
    "ask.readdress": (
        "¿Enviar de nuevo {ref}, ahora a {unit}? Nunca la recibirán: {excluded}. [s/N]",
        "Send {ref} anew, now to {unit}? Never to get it: {excluded}. [y/N]",
    ),
    "ask.consent_withdrawn": (
        "¿Avisar a todos los que tienen {ref} o una copia que la persona retiró su consentimiento? [s/N]",
        "Tell everybody who has {ref} or a copy of it that the person withdrew consent? [y/N]",
    ),
    "ask.answer_notice": (
        "¿Firmar esta respuesta sobre {ref}? Se le dirá a la persona. [s/N]",
        "Sign this answer about {ref}? The person will be told. [y/N]",
    ),
}

_FAULTS: Final[Mapping[str, tuple[str, str]]] = {
    "fault.not-now.what": ("Esto no corresponde en este momento.", "This cannot be done now."),
    "fault.not-now.why": ("Así está la derivación: {states}", "How the referral stands: {states}"),
    "fault.not-now.do": ("Ahora se puede:\n    {commands}", "What can be done now:\n    {commands}"),
    "fault.in-hand.what": (
        "Otra unidad tiene esta derivación en mano: {units}.",
        "Another unit has this referral in hand: {units}.",
    ),
    "fault.in-hand.why": (
        "Dos unidades actuarían sin saber una de la otra. No se selló ni se envió nada.",
        "Two units would act, neither knowing of the other. Nothing was sealed or sent.",
    ),
    "fault.in-hand.do": (
        "Llame a {units} y acuérdelo. Si debe ir a otra más, repita con --beside; si no: referral timeline {ref}",
        (
            "Telephone {units} and agree on it. If one more must have it, repeat with --beside; if not: "
            "referral timeline {ref}"
        ),
    ),
    "fault.supplement-closed.what": (
        "Hay ampliaciones que no se abren aquí: {count}.",
        "There are supplements that do not open here: {count}.",
    ),
    "fault.supplement-closed.why": (
        "Pueden haber retirado un contacto o añadido una prohibición ({code}). No se selló ni se envió nada.",
        "They may have withdrawn a contact, or added something not to do ({code}). Nothing was sealed or sent.",
    ),
    "fault.supplement-closed.do": (
        "Hágalo desde el equipo que las envió; o repita con --despite-closed, que no lleva contactos, y amplíela.",
        (
            "Do it on the workstation that sent them; or repeat with --despite-closed, which carries no contact, and "
            "supplement it."
        ),
    ),
    "fault.consent-withdrawn.what": (
        "La persona retiró su consentimiento: no se envía nada más.",
        "The person withdrew consent: nothing more is sent.",
    ),
    "fault.consent-withdrawn.why": (
        "Consta en {ref}, y vale para copias, ampliaciones y otras unidades. No se selló nada.",
        "It stands in {ref}, and counts for copies, supplements and further units. Nothing was sealed.",
    ),
    "fault.consent-withdrawn.do": (
        (
            "Avise a quien falte: referral consent-withdrawn {ref}\n"
            "    Si la ley pide seguir (menor de edad, peligro), envíe otra que diga su base:\n"
            "    referral send ARCHIVO --unit UNIDAD --relates supplements:{ref}"
        ),
        (
            "Tell whoever is left: referral consent-withdrawn {ref}\n"
            "    Where the law wants it to go on (a child, danger), send another one that says its basis:\n"
            "    referral send FILE --unit UNIT --relates supplements:{ref}"
        ),
    ),
    "fault.transfer-despite-withdrawal.what": (
        "La persona retiró su consentimiento: {unit} no recibe la derivación sin más.",
        "The person withdrew consent: {unit} does not get the referral without more ado.",
    ),
    "fault.transfer-despite-withdrawal.why": (
        "Una unidad nueva la leería ahora por primera vez. No se firmó ni se envió nada.",
        "A new unit would read it now for the first time. Nothing was signed or sent.",
    ),
    "fault.transfer-despite-withdrawal.do": (
        (
            "No lo apruebe: referral refuse-transfer {ref} --reason CÓDIGO\n"
            "    Si debe seguir (acción penal pública, menor de edad), repita con --despite-withdrawal: {unit} recibe "
            "el aviso en el acto."
        ),
        (
            "Do not approve: referral refuse-transfer {ref} --reason CODE\n"
            "    Where it must go on (public prosecution, a child), repeat with --despite-withdrawal: {unit} "
            "is told at once."
        ),
    ),
    "fault.has-it.what": ("{unit} ya tiene esta derivación.", "{unit} has this referral already."),
    "fault.has-it.why": (
        "Se le envió, o pasó por ella; no se traslada a quien ya la tiene. No se selló ni se envió nada.",
        "It was sent there, or came by it; nothing is transferred to who has it. Nothing was sealed or sent.",
    ),
    "fault.has-it.do": (
        (
            "Llame a {unit} ({phone}) y acuerden quién actúa; si hay duda, pregunte a la línea ({line}):\n"
            "    referral ask {ref} --topic CÓDIGO"
        ),
        (
            "Telephone {unit} ({phone}) and agree on who acts; in doubt ask the hotline ({line}):\n"
            "    referral ask {ref} --topic CODE"
        ),
    ),
    "fault.held-for-it.what": (
        "A {unit} se le envió ya esta derivación, retenida para ella.",
        "This referral was sent to {unit} already, and is held for it.",
    ),
    "fault.held-for-it.why": (
        "La recibe si nadie acusa recibo a tiempo, o antes si la línea lo decide. No se traslada. No se envió nada.",
        "It gets it if nobody acknowledges in time, or sooner by the hotline. It is not transferred. Nothing was sent.",
    ),
    "fault.held-for-it.do": (
        (
            "Llame ya a {unit} ({phone}) y a la línea ({line}). Si no puede actuar, la línea se la envía:\n"
            "    referral decline {ref} --reason CÓDIGO --suggest {unit}"
        ),
        (
            "Telephone {unit} ({phone}) and the hotline ({line}) now. If you cannot act, the hotline sends it there:\n"
            "    referral decline {ref} --reason CODE --suggest {unit}"
        ),
    ),
    "fault.not-asked.what": (
        "Todavía no se preguntó nada sobre esta derivación.",
        "Nothing has been asked about this referral yet.",
    ),
    "fault.not-asked.why": (
        "Por falta de información se declina sólo después de haberla pedido. No se firmó nada.",
        "For too little information one declines only after asking for it. Nothing was signed.",
    ),
    "fault.not-asked.do": (
        "Pregunte primero, y decida con la respuesta: referral ask {ref} --topic CÓDIGO --note ARCHIVO",
        "Ask first, and decide on the answer: referral ask {ref} --topic CODE --note FILE",
    ),
    "fault.duplicate-unnamed.what": (
        "No se dice de cuál derivación es duplicado.",
        "It does not say of which referral this is a duplicate.",
    ),
    "fault.duplicate-unnamed.why": (
        "La línea tiene que saber dónde se atiende el caso. No se firmó nada.",
        "The hotline has to know where the case is dealt with. Nothing was signed.",
    ),
    "fault.duplicate-unnamed.do": (
        (
            "Nombre la otra: referral decline {ref} --reason duplicate_of --duplicate-of DERIVACIÓN\n"
            "    Si el caso le llegó por otra vía: --reason already_under_investigation"
        ),
        (
            "Name the other one: referral decline {ref} --reason duplicate_of --duplicate-of REFERRAL\n"
            "    If the case came to you by another way: --reason already_under_investigation"
        ),
    ),
    "fault.no-such-code.what": ("«{given}» no está en la lista.", "“{given}” is not on the list."),
    "fault.no-such-code.why": (
        "Se dice con uno de estos códigos:\n    {codes}",
        "One of these codes says it:\n    {codes}",
    ),
    "fault.no-such-code.do": ("Repita la orden con uno de ellos.", "Repeat the command with one of them."),
    "fault.note-required.what": ("Este motivo necesita una nota.", "This reason needs a note."),
    "fault.note-required.why": (
        "«{words}» ({code}) no dice bastante por sí solo. No se firmó ni se envió nada.",
        "“{words}” ({code}) does not say enough by itself. Nothing was signed or sent.",
    ),
    "fault.note-required.do": (
        "Escríbala en un archivo, viaja sellada: --note ARCHIVO",
        "Write it to a file, it travels sealed: --note FILE",
    ),
    "fault.case-number-unreadable.what": (
        "El número del caso no se puede enviar así.",
        "The case number cannot be sent like this.",
    ),
    "fault.case-number-unreadable.why": (
        "Tiene de 1 a 64 caracteres, en una línea y sin tabulaciones. No se firmó ni se envió nada.",
        "It has 1 to 64 characters, on one line and without tabs. Nothing was signed or sent.",
    ),
    "fault.case-number-unreadable.do": (
        "Repita la orden con el número solo; lo demás, en la nota: --note ARCHIVO",
        "Repeat the command with the number alone; the rest goes into the note: --note FILE",
    ),
    "fault.note-empty.what": ("La nota está en blanco.", "The note is blank."),
    "fault.note-empty.why": (
        "Quien la reciba no tendría nada que leer. No se firmó ni se envió nada.",
        "Whoever gets it would have nothing to read. Nothing was signed or sent.",
    ),
    "fault.note-empty.do": (
        "Escriba unas palabras y repita la orden; si no hacen falta, quite la nota.",
        "Write some words and repeat the command; where none are needed, leave the note out.",
    ),
    "fault.which-unit.what": ("Hay varias entregas posibles.", "There are several deliveries that this could be."),
    "fault.which-unit.why": ("Podría ser: {units}", "It could be: {units}"),
    "fault.which-unit.do": ("Diga cuál: --unit UNIDAD", "Say which: --unit UNIT"),
    "fault.no-such-delivery.what": ("{unit} no tiene esta derivación.", "{unit} does not have this referral."),
    "fault.no-such-delivery.why": ("La tienen: {units}", "Who has it: {units}"),
    "fault.no-such-delivery.do": ("Diga una de ellas: --unit UNIDAD", "Say one of them: --unit UNIT"),
    "fault.which-question.what": ("Hay varias cosas sin responder.", "There are several things to answer."),
    "fault.which-question.why": ("Esperan respuesta:\n    {questions}", "What waits for an answer:\n    {questions}"),
    "fault.which-question.do": (
        "Diga cuál, por lo último de su línea: --answers IDENTIFICADOR",
        "Say which, by the last of its line: --answers DIGEST",
    ),
    "fault.time-unreadable.what": ("«{given}» no es una hora.", "“{given}” is no time."),
    "fault.time-unreadable.why": ("Una llamada tiene su hora, o no se hizo.", "A call has its time, or was not made."),
    "fault.time-unreadable.do": (
        "Escríbala como 02:11, o como 2026-11-30T02:11-05:00",
        "Write it as 02:11, or as 2026-11-30T02:11-05:00",
    ),
    "fault.time-to-come.what": ("«{given}» todavía no ha llegado.", "“{given}” is still to come."),
    "fault.time-to-come.why": (
        "Se deja constancia de una llamada que ya se hizo. No se firmó ni se envió nada.",
        "What is stated is a call that was made. Nothing was signed or sent.",
    ),
    "fault.time-to-come.do": (
        "Llame, y escriba la hora en que llamó; si no se pudo, diga --not-made.",
        "Telephone, and give the time at which you did; if it could not be made, say --not-made.",
    ),
    "fault.no-such-status.what": (
        "«{given}» no es un informe de su unidad sobre esta derivación.",
        "“{given}” is no status of your unit on this referral.",
    ),
    "fault.no-such-status.why": ("Los que hay:\n    {statuses}", "Those that there are:\n    {statuses}"),
    "fault.no-such-status.do": (
        "Repita la orden con lo último de una de esas líneas: --corrects IDENTIFICADOR",
        "Repeat the command with the last of one of these lines: --corrects DIGEST",
    ),
    "fault.phone-at-or-not.what": ("Falta decir si se llamó.", "It does not say whether the call was made."),
    "fault.phone-at-or-not.why": (
        "Una llamada que se hizo tiene su hora; la que no se pudo hacer, se dice.",
        "A call that was made has its time; one that could not be made is stated.",
    ),
    "fault.phone-at-or-not.do": ("Use --at HORA, o --not-made", "Use --at TIME, or --not-made"),
    "fault.relation-unreadable.what": ("«{given}» no es una relación.", "“{given}” is no relation."),
    "fault.relation-unreadable.why": (
        "Es el tipo, dos puntos y la derivación anterior.",
        "It is the type, a colon, and the earlier referral.",
    ),
    "fault.relation-unreadable.do": (
        "Por ejemplo: --relates supplements:0193…",
        "For example: --relates supplements:0193…",
    ),
}

LIFE: Final[Mapping[str, tuple[str, str]]] = {**_HELP, **_SCREENS, **_FAULTS}
