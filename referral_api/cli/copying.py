"""`copy`: what a hotline tells further units of a referral that it sent, without telling them of whom.

Must never: pass on what referral_copy.py leaves out.

Implements: R-86; rule R9 of the field.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from referral_api.cli import acting
from referral_api.cli.invocation import invocation, read_file
from referral_api.cli.units import announce_each
from referral_api.client.copying import make_copy


def register(app: typer.Typer) -> None:
    """Add the verb to the command."""
    app.command("copy")(copy)


def copy(
    ctx: typer.Context,
    ref: Annotated[str, typer.Argument()],
    units: Annotated[list[str], typer.Option("--unit", "-u")],
    summary: Annotated[Path | None, typer.Option()] = None,
    operator: Annotated[str | None, typer.Option()] = None,
    agreement: Annotated[str | None, typer.Option()] = None,
    despite_closed: Annotated[bool, typer.Option("--despite-closed")] = False,  # noqa: FBT002 - an option
) -> None:
    """Send further units a reduced copy for their information."""
    call = invocation(ctx)
    words = None if summary is None else read_file(summary).decode("utf-8").strip()
    with call.person() as client:
        addressed = announce_each(call, client, units)
        call.screen.talk("copy.sealing", ref=ref, units=", ".join(units))
        entry = make_copy(client, ref, units, words, operator, agreement=agreement, despite_closed=despite_closed)
    acting.show_entry(call, entry, f"referral timeline {entry.outgoing.ref}", {"copy_of": ref, "units": addressed})
