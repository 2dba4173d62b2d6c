"""The words of the annual tables, of what a credential was handed, and of a hotline's calls. Key → (Spanish, English).

Must never: call a blank a zero, or what was searched out complete.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_TABLES: Final[Mapping[str, tuple[str, str]]] = {
    "urgency": ("derivaciones por urgencia", "referrals by urgency"),
    "basis": ("derivaciones por base legal", "referrals by basis"),
    "retention": ("derivaciones por conservación", "referrals by retention"),
    "declines": ("rechazos por motivo", "declines by reason"),
    "transfers": ("traslados por motivo", "transfers by reason"),
    "outcomes": ("cierres por resultado", "closings by outcome"),
    "withdrawals": ("retiros por motivo", "withdrawals by reason"),
    "receipt_failures": ("fallos de recepción por motivo", "receipt failures by reason"),
    "overdue": ("plazos vencidos después del acuse", "clocks run out after acknowledgement"),
    "acknowledgement_emergency": ("acuses, emergencia", "acknowledged, emergency"),
    "acknowledgement_urgent": ("acuses, urgente", "acknowledged, urgent"),
    "acknowledgement_routine": ("acuses, rutina", "acknowledged, routine"),
    "timeliness": ("acuses, todas", "acknowledged, all"),
    "readers": ("personas que abrieron un paquete, por entrega", "persons handed a bundle, by delivery"),
    "created_to_sent_s": ("de creada a enviada, segundos", "created to sent, seconds"),
    "sent_to_acknowledged_s": ("de enviada a acusada, segundos", "sent to acknowledged, seconds"),
    "acknowledged_on_time_percent": ("acusadas a tiempo, %", "acknowledged on time, %"),
    "outcomes_known_percent": (
        "resultados conocidos por cada 100 derivaciones",
        "known outcomes for each 100 referrals",
    ),
    "erased": ("borrado conforme a ley", "lawfully erased"),
    "calls": ("llamadas que contaron las líneas", "calls that hotlines told of"),
}
_ROWS: Final[Mapping[str, tuple[str, str]]] = {
    "total": ("total", "total"),
    "all": ("todas", "all"),
    "on_time": ("a tiempo", "on time"),
    "late": ("fuera de plazo o nunca (escaló)", "late or never (escalated)"),
    "not_signed": ("no firmaron nada en ella", "signed nothing on it"),
    "referrals": ("derivaciones", "referrals"),
    "months": ("meses contados", "months told of"),
    "per_referral": ("llamadas por derivación", "calls to one referral"),
}
FIGURES: Final[Mapping[str, tuple[str, str]]] = {
    **{f"figures.table.{name}": words for name, words in _TABLES.items()},
    **{f"figures.row.{name}": words for name, words in _ROWS.items()},
    "col.table": ("Tabla", "Table"),
    "col.row": ("Fila", "Row"),
    "col.figure": ("Cifra", "Figure"),
    "col.second": ("Segunda persona", "Second person"),
    "col.reason": ("Motivo", "Reason"),
    "act.call_total": ("llamadas del mes", "calls of the month"),
    "done.call_total": ("Llamadas del mes contadas.", "Calls of the month told."),
    "figures.year": ("ESTADÍSTICA NACIONAL {year}", "NATIONAL STATISTICS {year}"),
    "figures.blank": (
        "· en blanco: menor que 11, o en blanco para que otra no se pueda calcular. No es un cero.",
        "· blank: below 11, or blank so that another cannot be computed. It is no zero.",
    ),
    "figures.recounted": (
        "✔ Contado de nuevo en este equipo, registro por registro: sale lo mismo.",
        "✔ Counted again on this machine, record by record: it comes out the same.",
    ),
    "figures.erased": (
        "? De ese año se borraron {count} hojas conforme a ley: estas cifras ya no se pueden contar de nuevo aquí.",
        "? Of that year {count} leaves were lawfully erased: these figures can no longer be counted again here.",
    ),
    "figures.written": ("Escrito en {path}", "Written to {path}"),
    "exposure.of": (
        "LO ENTREGADO A {credential} desde {since} hasta {until}",
        "WHAT WAS HANDED TO {credential} from {since} until {until}",
    ),
    "exposure.count": (
        "{handed} entregas de información, sobre {referrals} derivaciones y {units} unidades",
        "{handed} hand-outs, about {referrals} referrals and {units} units",
    ),
    "exposure.before": (
        "Lo que ese equipo guardaba de antes no está en esta lista: amplíe --since para incluirlo.",
        "What that workstation had kept from before is not in this list: set --since earlier to include it.",
    ),
    "exposure.unit": ("  {ref}: {units}", "  {ref}: {units}"),
    "exposure.gone": ("ya borrada", "erased since"),
    "exposure.beside": ("nota o documento sellado entregado", "sealed note or document handed out"),
    "calls.told": (
        "Contado: {total} llamadas en {month}. Recibido el {at}.",
        "Told: {total} calls in {month}. Received at {at}.",
    ),
    "help.audit.statistics": (
        "Las tablas nacionales de un año terminado, contadas de nuevo aquí.",
        "The national tables of a year that is over, counted again here.",
    ),
    "help.audit.exposure": (
        "Todo lo que se entregó a una credencial en un tiempo (aviso de incidente).",
        "Everything that a credential was handed in some time (breach notice).",
    ),
    "help.audit.overrides": (
        "Todo envío contra una negativa: cuándo, quién, segunda persona, motivo.",
        "Every referral sent against a refusal: when, who, second person, reason.",
    ),
    "help.calls": (
        "Contar, con firma, cuántas llamadas hubo en un mes.",
        "Tell, signed, how many calls came in a month.",
    ),
    "option.of_year": ("Año, ya terminado.", "Year that is over."),
    "option.csv_file": ("Escribir también un CSV nuevo.", "Write a new CSV file too."),
    "option.semicolon": ("CSV con punto y coma, para Excel en español.", "CSV with semicolons, for Excel in Spanish."),
    "option.whose": ("Credencial, entidad y código.", "Credential, party and code."),
    "option.month": ("Mes, como 2026-10.", "Month, like 2026-10."),
    "option.total": ("Número de llamadas.", "Number of calls."),
    "fault.year-not-over.what": ("El año {year} no ha terminado.", "The year {year} is not over."),
    "fault.year-not-over.why": (
        "Las cifras de un año en curso, restadas de un día a otro, muestran derivaciones sueltas.",
        "Figures of a year under way, subtracted from one day to the next, show single referrals.",
    ),
    "fault.year-not-over.do": ("Pida un año terminado.", "Ask for a year that is over."),
    "fault.month-to-come.what": ("El mes {month} no ha comenzado.", "The month {month} has not begun."),
    "fault.month-to-come.why": ("Sólo se cuenta lo que ya pasó.", "Only what has happened can be told."),
    "fault.month-to-come.do": ("Revise --month.", "Look at --month."),
}
