"""What the commands on evidence packs say: the steps of a verification, and what no pack can show.

Must never: say less in one language than in the other.
"""

from __future__ import annotations

EVIDENCE = {
    "pack.ok": ("✔ ÍNTEGRO — todo estaba y todo concuerda", "✔ INTACT — everything was there and everything holds"),
    "pack.failed": (
        "✖ ALTERADO — este paquete no prueba nada; guárdelo y avise",
        "✖ ALTERED — this pack proves nothing; keep it and tell the others",
    ),
    "pack.incomplete": (
        "? INCOMPLETO — nada está alterado, pero falta algo para darlo por bueno",
        "? INCOMPLETE — nothing is altered, but something is missing to call it good",
    ),
    "pack.about": ("Derivación {ref} en {issuer}", "Referral {ref} at {issuer}"),
    "pack.root": ("Raíz {root} ({source})", "Root {root} ({source})"),
    "pack.root_option": ("indicada por usted", "given by you"),
    "pack.root_profile": ("fijada en este equipo", "pinned on this machine"),
    "pack.root_pack": ("tomada del propio paquete: nadie responde por ella", "taken from the pack: nobody vouches"),
    "pack.fault": (
        "  {mark} {step}, {file}: {words} [{code}] {facts}",
        "  {mark} {step}, {file}: {words} [{code}] {facts}",
    ),
    "pack.whole": ("el paquete entero", "the pack as a whole"),
    "pack.delivery": ("  {unit}: {state}", "  {unit}: {state}"),
    "pack.unchecked": ("No se ha comprobado:", "Not checked:"),
    "pack.written": ("Guardado en {path} (SHA-256 {sha256})", "Kept in {path} (SHA-256 {sha256})"),
    "pack.not_written": ("No se ha guardado nada.", "Nothing was kept."),
    "step.archive": ("Archivo: una sola lectura posible", "Archive: only one way to read it"),
    "step.manifest": ("Manifiesto: todos los archivos y sus huellas", "Manifest: every file and its digest"),
    "step.keys-log": ("Registro de llaves, desde su raíz", "Keys log, from its root"),
    "step.checkpoints": ("Puntos de control, firmados por el registro", "Checkpoints, signed by the log"),
    "step.witnesses": ("Testigos, según su política", "Witnesses, as their policy asks"),
    "step.inclusion": ("Cada hoja, en su lugar del registro", "Each leaf, in its place of the log"),
    "step.signatures": ("Actos: todas sus firmas", "Acts: all their signatures"),
    "step.records": ("Anotaciones del servidor", "Records of the exchange"),
    "step.receipts": ("Recibos: de este acto y de este lugar", "Receipts: of this act and this place"),
    "step.states": ("Estados, recalculados", "States, computed again"),
    "unchecked.root": (
        "que la raíz sea la verdadera: compárela con la que conoce por otra vía, o indíquela con --root",
        "that the root is the true one: compare it with the one you know from elsewhere, or give it with --root",
    ),
    "unchecked.witnesses": (
        "que otros vean el mismo registro: ninguna política nombra testigos",
        "that others see the same log: no policy names witnesses",
    ),
    "unchecked.omission": (
        "que no falte nada sobre lo que nada se apoya, al final o en medio: sólo el registro entero (audit verify)",
        "that nothing is missing on which nothing builds, at the end or in between: only the whole log (audit verify)",
    ),
    "unchecked.sealed": (
        "lo sellado: el contenido, las notas y los adjuntos no van en el paquete",
        "what is sealed: the bundle, notes and attachments are not in the pack",
    ),
    "unchecked.order": (
        "el orden en los registros entre un acto y el fin de su llave: se juzga por sus horas",
        "the order in the logs of an act and its key's end: it is judged by their times",
    ),
    "unchecked.view": (
        "lo que pasó con otras unidades: el paquete es de una sola",
        "what happened with other units: the pack is of one alone",
    ),
    "unchecked.pages": (
        "las páginas del paquete: alguna no es la de este programa",
        "the pages of the pack: one is not that of this program",
    ),
}
"""Spanish and English by key."""
