"""The Spanish texts of the error catalogue: (title, detail, hint) by code, with *usted*, as Peru's institutions write.

They say the same as `catalogue_en.py`; neither is a translation that may lag behind (a test wants both for every code).

Must never: hold a placeholder, or anything that is not true of every case of its code.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from referral_api.domain.errors import ErrorCode as E

SPANISH: Final[Mapping[E, tuple[str, str, str]]] = {
    E.MALFORMED: (
        "La solicitud no se puede leer.",
        "Lo recibido no es el documento estricto ni los parámetros que esta llamada admite.",
        "Corrija el programa que lo generó. Enviar de nuevo los mismos datos dará la misma respuesta.",
    ),
    E.TOO_LARGE: (
        "Excede el tamaño permitido.",
        "Lo recibido supera el límite que corresponde a su tipo.",
        "Redúzcalo por debajo del límite indicado. Un archivo grande va como adjunto, no dentro del sobre.",
    ),
    E.HEADERS_TOO_LARGE: (
        "Las cabeceras de la solicitud son demasiado grandes.",
        "El bloque de cabeceras supera lo que el servidor de intercambio lee.",
        "Retire las cabeceras que agregan el programa o un proxy. El contenido no llegó a leerse.",
    ),
    E.LENGTH_REQUIRED: (
        "Falta la longitud.",
        "El contenido llegó sin indicar cuánto mide.",
        "Envíe Content-Length. El contenido no llegó a leerse.",
    ),
    E.MEDIA_TYPE: (
        "Tipo de contenido incorrecto.",
        "Esta llamada admite únicamente JSON.",
        "Indique application/json en Content-Type.",
    ),
    E.ENCODING_NOT_ALLOWED: (
        "No se admite contenido comprimido.",
        "El contenido llegó con Content-Encoding. Lo firmado y lo sellado viajan como bytes exactos.",
        "Desactive la compresión de las solicitudes en el programa y en todo proxy intermedio.",
    ),
    E.WRONG_TYPE: (
        "Es un documento de otra clase.",
        "El documento declara ser algo distinto de lo que corresponde en este lugar.",
        "Envíe la clase de documento que aquí se admite. Una firma hecha para una clase no vale para otra.",
    ),
    E.ACT_SCHEMA: (
        "El contenido del acto no cumple su esquema.",
        "Un campo del acto falta, es desconocido, está fuera de su lista o contradice a otro.",
        "Corrija el campo indicado y firme de nuevo. El identificador del acto no quedó consumido.",
    ),
    E.BUNDLE_MALFORMED: (
        "El sobre sellado no tiene la forma debida.",
        "El sobre se aparta del perfil en sus campos, en sus cabeceras o en el número de destinatarios.",
        "Selle de nuevo con un programa de este perfil. Si está dañado, se verá en su resumen criptográfico.",
    ),
    E.CLASSICAL_RECIPIENT: (
        "Una clave de destino sin protección poscuántica.",
        "El sobre está sellado con un algoritmo que aquí no se permite. No existe retroceso a otros más débiles.",
        "Tome las claves vigentes de la unidad del registro de claves y selle de nuevo.",
    ),
    E.RECIPIENT_MISMATCH: (
        "Los destinatarios no concuerdan.",
        "Las unidades nombradas en el acto, en el sobre y entre los destinatarios reales no son las mismas.",
        "No lo abra ni lo reenvíe. Selle de nuevo; si se repite, avise al responsable de su programa.",
    ),
    E.DIGEST_MISMATCH: (
        "Un resumen criptográfico no coincide.",
        "Los bytes recibidos no son aquellos cuyo resumen nombra el acto.",
        "Envíe exactamente lo que se selló. Si lo descargó, descárguelo otra vez y compare los resúmenes.",
    ),
    E.PATH_MISMATCH: (
        "La dirección y el acto no concuerdan.",
        "Los identificadores de la dirección no son los firmados, o se juntaron actos que no van juntos.",
        "Use en la dirección los identificadores del acto firmado.",
    ),
    E.INVALID_TOKEN: (
        "El token de acceso no es válido.",
        "Falta, venció o fue alterado, o su credencial ya no puede usar el servidor de intercambio.",
        "Pida un token nuevo y repita la llamada. Si también se rechaza, llame al custodio de claves de su entidad.",
    ),
    E.INVALID_DPOP_PROOF: (
        "La prueba de posesión no es válida.",
        "La prueba DPoP falta, ya se usó, o no corresponde a esta llamada, a esta clave o a este token.",
        "Haga una prueba nueva por cada llamada, con la dirección exactamente como el servidor la publica.",
    ),
    E.USE_DPOP_NONCE: (
        "Use el número único de esta respuesta.",
        "La hora de la prueba no es aceptable: los relojes difieren o el servidor acaba de iniciarse.",
        "Repita la llamada con una prueba nueva que lleve ese número. Si la diferencia es grande, ajuste el reloj.",
    ),
    E.INSUFFICIENT_SCOPE: (
        "El token no alcanza para esta llamada.",
        "El token se emitió para menos de lo que se pide.",
        "Pida un token nuevo sin restringir su alcance.",
    ),
    E.ISSUER_MISMATCH: (
        "El acto está firmado por otra entidad.",
        "Un acto se recibe de quien lo firma o de una credencial de su misma entidad que lo transporta.",
        "Envíelo con una credencial de la entidad que lo firmó.",
    ),
    E.WRONG_AUDIENCE: (
        "El acto está dirigido a otro servidor de intercambio.",
        "Su destinatario no es la dirección de este servidor.",
        "Verifique a qué servidor y a qué entorno apunta este perfil. Un acto de prueba nunca vale en otro entorno.",
    ),
    E.ACT_SIGNATURE_INVALID: (
        "La firma del acto no es válida.",
        "Una firma es incorrecta, o falta una que la declaración del firmante exige.",
        "Firme de nuevo con las claves vigentes. Si vuelve a fallar, desconfíe de este equipo y avise por teléfono.",
    ),
    E.KEY_NOT_VALID: (
        "La clave de firma no está vigente.",
        "La clave o su credencial es desconocida, aún no rige, terminó o fue revocada.",
        "Use la clave vigente. Si venció o fue revocada, el custodio de claves de su entidad inscribe una nueva.",
    ),
    E.KEY_UNSUITABLE: (
        "La clave no es admisible.",
        "Su algoritmo, su forma o su uso no son de los permitidos.",
        "Genere una clave nueva con un programa de este perfil. Una clave tiene un solo uso durante toda su vida.",
    ),
    E.KEY_REUSED: (
        "La clave ya fue usada.",
        "Esta clave ya consta en el registro de claves. Cada clave se inscribe una sola vez.",
        "Genere claves nuevas y comience otra vez la inscripción.",
    ),
    E.POSSESSION_NOT_PROVED: (
        "No está probado que usted posee la clave.",
        "La prueba de posesión falta, es incorrecta o corresponde a otra clave.",
        "Termine la inscripción en el mismo equipo en que se generaron las claves.",
    ),
    E.CLOCK_SKEW: (
        "Los relojes difieren demasiado.",
        "La hora firmada está demasiado lejos de la hora del servidor de intercambio.",
        "Ajuste el reloj de este equipo según la diferencia indicada y firme de nuevo.",
    ),
    E.RECIPIENT_KEY_STALE: (
        "La clave de un destinatario está desactualizada.",
        "El sobre está sellado con una clave con la que ya no se puede enviar a su unidad.",
        "Actualice el registro de claves y selle de nuevo. En una emergencia, llame ahora a la unidad.",
    ),
    E.STALE_HEAD: (
        "Ocurrió algo que usted aún no ha visto.",
        "La decisión no parte del último acto de esta entrega.",
        "Revise la derivación como está ahora y decida de nuevo. Para este acto, el rechazo es definitivo.",
    ),
    E.ILLEGAL_TRANSITION: (
        "Esto no corresponde en este momento.",
        "El estado de la entrega, o lo que en ella sigue pendiente, no permite este acto.",
        "Vea qué actos son posibles ahora y elija uno de ellos. Para este acto, el rechazo es definitivo.",
    ),
    E.NOT_PERMITTED: (
        "Usted no está facultado para esto.",
        "Su función, su clase de credencial o su papel en esta derivación no le dan este derecho.",
        "Pídalo a una persona de su entidad que esté facultada. Para este acto, el rechazo es definitivo.",
    ),
    E.CONSENT_GATE: (
        "El consentimiento no cubre este envío.",
        "Lo que dijo la persona, la base legal y la identidad revelada no concuerdan entre sí.",
        "Envíela sin identidad o registre la base que corresponde. Una excepción exige segunda persona y motivo.",
    ),
    E.TARGET_NOT_ALLOWED: (
        "Una unidad a la que no se puede dirigir.",
        "Está excluida, repetida, fuera del país sin convenio, no es unidad de aquí, o no actúa exactamente una.",
        "Elija otra unidad y envíe con un identificador nuevo.",
    ),
    E.ACT_ID_REUSED: (
        "Este identificador pertenece a otro acto.",
        "Ya existe un acto con este identificador y dice otra cosa. No se modificó nada.",
        "Revise el acuse del primer acto. Para un acto distinto, elija un identificador nuevo.",
    ),
    E.NOT_FOUND: (
        "Aquí no hay nada para usted.",
        "No existe o no le corresponde verlo. El servidor no dice cuál de las dos cosas.",
        "Verifique la referencia y la credencial en uso.",
    ),
    E.METHOD_NOT_ALLOWED: (
        "Esta dirección no admite ese método.",
        "La dirección existe, con otros métodos.",
        "Consulte la lista de llamadas del protocolo.",
    ),
    E.CURSOR_INVALID: (
        "El cursor no es válido.",
        "Fue alterado o se emitió a otra entidad.",
        "Empiece desde el inicio o pida lo pendiente. Con ello no se pierde nada.",
    ),
    E.CURSOR_GONE: (
        "El cursor es demasiado antiguo.",
        "Aquello a lo que apuntaba ya no se conserva.",
        "Empiece desde el inicio. Lo que aún espera respuesta está en la lista de pendientes.",
    ),
    E.PART_PENDING: (
        "Una parte todavía no llega.",
        "El remitente anunció esta parte de un adjunto y la sigue enviando.",
        "Lea lo que ya está y vuelva a pedirla en breve. Si no llega, llame al remitente.",
    ),
    E.RANGE_NOT_SATISFIABLE: (
        "El intervalo pedido no existe.",
        "Comienza más allá del final o no está escrito como un solo intervalo de bytes.",
        "Pida primero el tamaño y luego un intervalo dentro de él.",
    ),
    E.INVITE_UNKNOWN: (
        "La invitación es desconocida.",
        "En este servidor no hay ninguna invitación abierta con ese secreto.",
        "Verifique que copió el archivo completo. Si es así, pida al registrador una invitación nueva.",
    ),
    E.INVITE_EXPIRED: (
        "La invitación venció.",
        "No se usó dentro de su plazo.",
        "Pida una nueva a quien le invitó.",
    ),
    E.INVITE_USED: (
        "La invitación ya fue usada.",
        "Una invitación sirve una sola vez.",
        "Si no la usó usted, llame de inmediato al registrador. En otro caso, pida una nueva.",
    ),
    E.CODE_MISMATCH: (
        "Los treinta dígitos no coinciden.",
        "Lo escrito no es el código de las claves que esperan aprobación.",
        "Pida que se los lean otra vez. Si aún difieren, no apruebe: alguien pudo haber cambiado las claves.",
    ),
    E.CODE_VOID: (
        "Esta inscripción ya no se puede aprobar.",
        "Venció, fue objetada o ya está completa.",
        "Revise el estado de la inscripción. Si caducó, comience con una invitación nueva.",
    ),
    E.STATEMENT_OUT_OF_SEQUENCE: (
        "La declaración no sigue a la última.",
        "La descripción de la entidad cambió desde que se escribió esta declaración.",
        "Actualice el registro de claves, redacte la declaración a partir de la vigente y firme de nuevo.",
    ),
    E.RATE_LIMITED: (
        "Demasiadas solicitudes.",
        "Esta credencial ha pedido más veces de lo permitido.",
        "Espere lo que indica la respuesta. Conserve el token hasta que venza en vez de pedir uno por llamada.",
    ),
    E.QUEUE_FULL: (
        "El servidor de intercambio está saturado.",
        "Esperan más actos de los que se pueden recibir. De este no se guardó nada.",
        "Envíe los mismos bytes otra vez en un momento. En una emergencia, llame además por teléfono.",
    ),
    E.OUTCOME_UNKNOWN: (
        "No se sabe si quedó guardado.",
        "La base de datos no confirmó si el acto se guardó.",
        "Envíe los mismos bytes otra vez: recibirá el primer acuse o se registrará ahora. No puede quedar dos veces.",
    ),
    E.CHECKPOINT_PENDING: (
        "Guardado, pero aún sin prueba.",
        "El acto está guardado. El punto de control que lo prueba no está firmado, y sin él no sale ningún acuse.",
        "Envíe los mismos bytes otra vez en un momento. No firme un acto nuevo.",
    ),
    E.REPLAY_STORE_UNAVAILABLE: (
        "Ahora no se puede comprobar el acceso.",
        "El servidor no puede saber si esta prueba ya se usó, y no deja pasar nada sin comprobar.",
        "Intente con una prueba nueva. Si persiste, el responsable del servidor debe revisar su base de datos.",
    ),
    E.WRITES_CLOSED: (
        "Por ahora el servidor de intercambio no recibe nada nuevo.",
        "Su registro, su base de datos y su firmante no concuerdan, y cerró la escritura. Lo sellado se entrega.",
        "Lo urgente, por teléfono. El responsable sigue la guía de recuperación; su bandeja de salida enviará después.",
    ),
    E.UNAVAILABLE: (
        "El servidor de intercambio no puede responder ahora.",
        "Le falta en este momento algo que necesita. Hasta donde sabe, no se guardó nada.",
        "Envíe los mismos bytes otra vez en un momento. En una emergencia, llame además por teléfono.",
    ),
    E.INTERNAL: (
        "Un error del servidor de intercambio.",
        "El servidor encontró algo que sus autores no previeron.",
        "Envíe los mismos bytes otra vez. Si persiste, dé el número de la solicitud al responsable del servidor.",
    ),
    E.SIGNATURE_INVALID: (
        "Una firma no es válida.",
        "Un documento fue alterado o está firmado con una clave que no corresponde.",
        "No actúe con base en él. Conserve el archivo tal como está y avise por teléfono al auditor y a la otra parte.",
    ),
    E.DECRYPT_FAILED: (
        "El sobre no se puede abrir.",
        "Está dañado, fue alterado o no está sellado para una clave de este equipo.",
        "Pruebe en otro equipo de la unidad e informe que la recepción falló. En una emergencia, llame al remitente.",
    ),
    E.NOT_INCLUDED: (
        "No consta en el registro.",
        "La prueba no demuestra que esto forme parte del registro cuyo punto de control se entregó.",
        "Pida una vez una prueba nueva. Si también falla, conserve ambas y avise al auditor.",
    ),
    E.INCONSISTENT: (
        "El registro no continúa lo visto antes.",
        "El servidor muestra un registro más corto o distinto del que este equipo ya verificó.",
        "No confíe por ahora en el servidor. Conserve los archivos de este equipo, que son prueba, y llame al auditor.",
    ),
    E.WRONG_ORIGIN: (
        "Un punto de control de otro registro.",
        "El punto de control o el acuse nombra un registro que no es el esperado.",
        "Verifique de qué servidor y de qué año se trata. Si son correctos, avise al auditor.",
    ),
    E.WRONG_ROOT: (
        "No es el servidor en el que usted se inscribió.",
        "Su registro de claves comienza de otro modo que la raíz fijada en este equipo.",
        "No envíe nada. Verifique la dirección; si es correcta, llame al registrador a un número que ya conozca.",
    ),
    E.NOT_WITNESSED: (
        "Han firmado muy pocos testigos.",
        "Al punto de control le faltan firmas que la política de este equipo exige.",
        "Intente en breve. Si persiste, avise al auditor: el servidor o sus testigos pueden estar incomunicados.",
    ),
    E.RECEIPT_MISMATCH: (
        "El acuse se refiere a otra cosa.",
        "El acuse del servidor no concuerda con el acto enviado.",
        "No lo dé por recibido. Envíe los mismos bytes otra vez; si la respuesta sigue mal, llame al auditor.",
    ),
    E.TAMPERED: (
        "El registro fue alterado.",
        "Lo guardado no concuerda con lo que se firmó y se registró.",
        "No modifique nada. Guarde copia de todo, anote la hora e informe al auditor y a las partes afectadas.",
    ),
    E.UNREACHABLE: (
        "No hay conexión con el servidor de intercambio.",
        "No hubo respuesta por la red.",
        "Lo que ya está en la bandeja de salida saldrá solo; repita lo demás. Si es urgente, llame ahora a la unidad.",
    ),
    E.NOT_ENROLLED: (
        "Este equipo no está inscrito.",
        "En el perfil en uso no hay claves de esta clase.",
        "Elija el perfil correcto o inscriba este equipo con una invitación.",
    ),
    E.LOCKED: (
        "Las claves no se pueden desbloquear.",
        "La frase de contraseña o el archivo de desbloqueo no es el correcto o no cumple las reglas.",
        "Intente otra vez. Nadie puede recuperar una frase olvidada: un custodio hará inscribir de nuevo el equipo.",
    ),
    E.KEYSTORE_CORRUPT: (
        "El archivo de claves está dañado.",
        "No se puede leer como este programa lo escribió.",
        "Recupérelo de su copia de respaldo. Si no la tiene, inscríbase otra vez y haga revocar las claves anteriores.",
    ),
    E.NO_USABLE_KEY: (
        "No se puede enviar un sobre sellado a la unidad.",
        "No se le conoce ninguna clave vigente, por lo que nada se le puede sellar.",
        "Llame a la unidad por teléfono y envíe a la unidad que la reemplaza.",
    ),
    E.NEEDS_RESEALING: (
        "Debe sellarse de nuevo antes de enviarse.",
        "La clave de un destinatario cambió desde que se selló esta derivación.",
        "Séllela otra vez desde el borrador de la bandeja de salida. Todavía no se ha enviado.",
    ),
    E.FLOOR_NOT_MET: (
        "La urgencia es demasiado baja.",
        "Una persona menor de edad, una edad desconocida o un peligro actual exige mayor urgencia.",
        "Elévela al menos hasta la indicada. No admite excepción.",
    ),
    E.SELF_TEST_FAILED: (
        "La criptografía no funciona en este equipo.",
        "La comprobación de inicio dio un resultado incorrecto, por lo que nada se sella, se abre ni se firma.",
        "No use esta instalación. Instale de nuevo las versiones fijadas o use otro equipo.",
    ),
}
