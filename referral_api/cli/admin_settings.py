"""The exchange's settings as the admin commands read them: what is wrong with them is said in the caller's words.

Must never: make settings that nobody wrote.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

from referral_api.cli.output import Fault
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


def setting_fault(error: ValidationError) -> Fault:
    """The fault that names the first setting that does not do."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    return Fault("setting", name=".".join(str(step) for step in first["loc"]), reason=first["msg"])
