"""The exchange's settings as the admin commands read them: what is wrong with them is said in the caller's words.

Must never: make settings that nobody wrote, or touch the database of a running exchange.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

from referral_api.cli.output import Fault
from referral_api.domain.errors import ReferralError
from referral_api.server import app as server
from referral_api.server.settings import Settings

SETTINGS = "exchange.toml"
ConfigFile = Annotated[Path, typer.Option("--config", "-c", envvar="REFERRAL_CONFIG")]


def load_settings(config: Path) -> Settings:
    """The settings in a file. Raises Fault."""
    if not config.is_file():
        raise Fault("config-missing", path=config)
    try:
        return Settings.load(config)
    except ValidationError as error:
        raise setting_fault(error) from None
    except ValueError:
        raise Fault("config-unreadable", path=config) from None


def open_alone(settings: Settings, *, recovering: bool = False) -> server.Runtime:
    """The exchange's parts, its database to ourselves; `recovering` without its gate. Raises Fault where it runs."""
    try:
        return server.open_runtime(settings, recovering=recovering)
    except ReferralError as error:
        if error.facts.get("reason") == "database-in-use":
            raise Fault("exchange-running") from None
        raise


def setting_fault(error: ValidationError) -> Fault:
    """The fault that names the first setting that does not do."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    return Fault("setting", name=".".join(str(step) for step in first["loc"]), reason=first["msg"])
