"""`audit db`: what the operator runs beside the database, to see that it still is what its logs say.

It needs the server's packages, which a workstation does not have: they are loaded when it is called, with
admin/reckoning.py.

Must never: need them for any other verb.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer

from referral_api.cli.invocation import invocation
from referral_api.cli.output import Fault

SETTINGS = "exchange.toml"


def audit_db(
    ctx: typer.Context,
    config: Annotated[Path, typer.Option("--config", "-c", envvar="REFERRAL_CONFIG")] = Path(SETTINGS),
    root: Annotated[str | None, typer.Option()] = None,
) -> None:
    """Compare every table with the logs, and the logs with every table; exit 0 only if all of it agrees."""
    call = invocation(ctx)
    try:
        show = import_module("referral_api.cli.admin.reckoning").show_audit
    except ModuleNotFoundError as error:
        raise Fault("not-installed", extra="server", module=error.name) from error
    show(call, config, root)
