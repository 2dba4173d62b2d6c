"""`referral admin doctor`: what is wrong with an exchange, its machine and its books, and what to do about each.

It runs beside the exchange and changes nothing. Exit codes as `referral doctor`: 0 nothing to do, 10 something, 5 what
was shown does not verify. The examination is server/service/doctor; the words are found by code.

Must never: open anything for writing, or show a password of a database's address.

Implements: design §9; R-93, R-97.
"""

from __future__ import annotations

import time
from pathlib import Path

import typer

from referral_api.auditlog.policy import Policy, parse_policy
from referral_api.cli.admin.settings import SETTINGS, ConfigFile, load_settings
from referral_api.cli.doctor import show_findings
from referral_api.cli.invocation import invocation
from referral_api.cli.output import Fault
from referral_api.domain.errors import ReferralError
from referral_api.domain.findings import Finding, Level, failed, found
from referral_api.server.service.doctor import Premises, examine
from referral_api.server.settings import Settings
from referral_api.server.storage.notice_file import load_plan

_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "[::1]", "": "127.0.0.1"}  # noqa: S104 - where a call goes, not a server
_SQLITE = "sqlite:///"
_OURS = "referral admin "
"""What the operator does himself; the other commands that findings name are other people's."""


def doctor(ctx: typer.Context, config: ConfigFile = Path(SETTINGS)) -> None:
    """Examine the exchange of these settings, whether it runs or not."""
    call = invocation(ctx)
    try:
        settings = load_settings(config)
        policy = None if settings.witness_policy is None else parse_policy(settings.read_witness_policy())
    except Fault as fault:
        reason = str(fault.values.get("name", fault.name))
        show_findings(call, [found("settings.unusable", Level.PROBLEM, reason=reason)], _OURS)
    except ReferralError as error:
        show_findings(call, [failed("settings.policy", error)], _OURS)
    else:
        show_findings(
            call,
            [*_file(config, settings), *_notices(settings), *examine(_premises(settings, policy, config), time.time())],
            _OURS,
        )


def _premises(settings: Settings, policy: Policy | None, config: Path) -> Premises:
    database = settings.database
    host = _EVERYWHERE.get(settings.host, f"[{settings.host}]" if ":" in settings.host else settings.host)
    return Premises(
        issuer=settings.issuer,
        environment=settings.environment,
        database=database,
        database_file=Path(database.removeprefix(_SQLITE)) if database.startswith(_SQLITE) else None,
        data_dir=settings.data_dir,
        keys_dir=settings.keys_dir,
        signer_dir=settings.signer_dir,
        listens=f"http://{host}:{settings.port}",
        several_hosts=settings.several_hosts,
        policy=policy,
        config=str(config),
    )


def _file(config: Path, settings: Settings) -> list[Finding]:
    """The settings file itself: who could change it could change everything, and it may hold a database's password."""
    mode = config.stat().st_mode & 0o777
    forbidden = 0o077 if "@" in settings.database_url else 0o022
    return [
        found(
            "settings.file", Level.PROBLEM if mode & forbidden else Level.OK, f"chmod 600 {config}", mode=f"{mode:04o}"
        )
    ]


def _notices(settings: Settings) -> list[Finding]:
    """The file of notices, where there is one: it is a secret, and without it the exchange does not start."""
    if settings.notices is None:
        return []
    try:
        plan = load_plan(settings.notices)
    except ReferralError as error:
        return [failed("settings.notices", error)]
    return [found("settings.notices", Level.OK, "", channels=sum(map(len, (plan.admin, *plan.parties.values()))))]
