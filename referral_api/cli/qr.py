"""A text as a QR code on a terminal.

Must never: draw what a reader cannot read back.
"""

from __future__ import annotations

import segno
from rich.text import Text

_QUIET_ZONE = 4
"""Light modules around a QR code, without which readers do not find it (ISO/IEC 18004)."""
_HALVES = {(0, 0): " ", (1, 0): "▀", (0, 1): "▄", (1, 1): "█"}


def qr_code(text: str) -> Text:
    """A text as a QR code of half blocks: two rows a line, black on white whatever the terminal's colours."""
    rows = [tuple(row) for row in segno.make_qr(text, error="m").matrix_iter(border=_QUIET_ZONE)]
    rows += [(0,) * len(rows[0])] * (len(rows) % 2)
    halves = zip(rows[::2], rows[1::2], strict=True)
    lines = ["".join(_HALVES[pair] for pair in zip(above, below, strict=True)) for above, below in halves]
    return Text("\n".join(lines), style="#000000 on #ffffff")
