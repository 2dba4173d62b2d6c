"""Charts as SVG, a few lines each, and tables beneath them.

Must never: need anything but text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Final

WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 760, 320, 70, 50, 40
COLOURS: Final = ("#b3261e", "#c77700", "#1f6f8b", "#5b7f3a", "#6b4e8a", "#666666")


def bars(title: str, columns: Sequence[str], series: Mapping[str, Sequence[float]]) -> str:
    """Stacked bars: one column a label, one colour a series."""
    sums = [sum(values[at] for values in series.values()) for at in range(len(columns))]
    top, room = max([*sums, 1]), (WIDTH - LEFT - 20) / max(1, len(columns))
    body = _frame(title, top, list(series))
    for at, name in enumerate(columns):
        x, base = LEFT + at * room, float(HEIGHT - BOTTOM)
        for colour, (kind, values) in zip(COLOURS, series.items(), strict=False):
            height = values[at] / top * (HEIGHT - BOTTOM - TOP)
            base -= height
            body.append(
                f'<rect x="{x + room * 0.1:.1f}" y="{base:.1f}" width="{room * 0.8:.1f}" height="{height:.1f}"'
                f' fill="{colour}"><title>{escape(name)} {escape(kind)}: {values[at]:g}</title></rect>'
            )
        if len(columns) <= 12 or at % (len(columns) // 12 + 1) == 0:
            body.append(_text(x + room / 2, HEIGHT - BOTTOM + 16, name, "middle"))
    return _svg(body)


def shares(title: str, unit: str, series: Mapping[str, Sequence[float]], most: float) -> str:
    """Which share took at most how long: one line a series, up to `most` units."""
    body = _frame(title, 100, list(series), "%")
    for colour, values in zip(COLOURS, series.values(), strict=False):
        ordered = sorted(values)
        points = [f"{LEFT},{HEIGHT - BOTTOM}"]
        for at, value in enumerate(ordered, 1):
            if value <= most:
                x = LEFT + value / most * (WIDTH - LEFT - 20)
                points.append(f"{x:.1f},{HEIGHT - BOTTOM - at / len(ordered) * (HEIGHT - BOTTOM - TOP):.1f}")
        body.append(f'<polyline points="{" ".join(points)}" fill="none" stroke="{colour}" stroke-width="2"/>')
    for part in range(5):
        body.append(
            _text(LEFT + part / 4 * (WIDTH - LEFT - 20), HEIGHT - BOTTOM + 16, f"{most * part / 4:g}", "middle")
        )
    body.append(_text(WIDTH - 20, HEIGHT - 12, unit, "end"))
    return _svg(body)


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table in Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def _frame(title: str, top: float, names: Sequence[str], unit: str = "") -> list[str]:
    body = [_text(LEFT, 20, title, "start", size=15)]
    for part in range(5):
        y = HEIGHT - BOTTOM - part / 4 * (HEIGHT - BOTTOM - TOP)
        body.append(f'<line x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - 20}" y2="{y:.1f}" stroke="#dddddd"/>')
        body.append(_text(LEFT - 8, y + 4, f"{top * part / 4:.3g}{unit}", "end"))
    for at, (colour, name) in enumerate(zip(COLOURS, names, strict=False)):
        x = LEFT + at * 130
        body.append(f'<rect x="{x}" y="{HEIGHT - 22}" width="12" height="12" fill="{colour}"/>')
        body.append(_text(x + 17, HEIGHT - 12, name, "start"))
    return body


def _text(x: float, y: float, text: str, anchor: str, size: int = 11) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}">{escape(text)}</text>'


def _svg(body: Sequence[str]) -> str:
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif">'
    return "\n".join([head, f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>', *body, "</svg>", ""])
