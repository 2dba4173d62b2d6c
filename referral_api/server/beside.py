"""What settings say of whom an exchange has beside it: its witnesses, and its own other processes.

Must never: hold a rule of the protocol, or let an exchange start with other witnesses than its genesis act states.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from referral_api.auditlog.policy import Policy, parse_policy, short_form, states_the_same
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.terms import Term
from referral_api.server.service.exchange import Exchange, year_of
from referral_api.server.service.promises import promised
from referral_api.server.service.timers import Alone, Leader
from referral_api.server.service.witnesses import Witnessing
from referral_api.server.service.writer import Writer
from referral_api.server.settings import Settings
from referral_api.server.storage.gate import NOTHING, Promises
from referral_api.server.storage.logbook import KEYS
from referral_api.server.storage.signer import LogSigners

if TYPE_CHECKING:
    from referral_api.server.storage.notices import Notices


def witnesses_of(settings: Settings, stated: Policy) -> Policy | None:
    """The settings' policy file, which says where the witnesses are; None where the genesis act declares that there are
    none. Raises WRITES_CLOSED where the two do not state the same.
    """
    given = None if settings.witness_policy is None else parse_policy(settings.read_witness_policy())
    if given is None and stated.rule() is None:
        return None
    if given is None or stated.rule() is None or not states_the_same(given, stated):
        raise ReferralError(ErrorCode.WRITES_CLOSED, reason="witness-policy-differs-from-genesis")
    return given


def chosen_witnesses(settings: Settings) -> Policy | None:
    """The witnesses that a genesis act shall name. Raises MALFORMED: what it cannot state, or who cannot be asked."""
    if settings.witness_policy is None:
        return None
    policy = parse_policy(settings.read_witness_policy())
    short_form(policy)
    if any(witness.url is None for witness in policy.witnesses):
        raise ReferralError(ErrorCode.MALFORMED, reason="witness-url")
    return policy


def ask_witnesses(settings: Settings, log_signers: LogSigners, clock: Callable[[], float]) -> Promises:
    """What the witnesses say they have cosigned of the logs that this host knows, and of this year's."""
    if settings.witness_policy is None:
        return NOTHING
    names = {KEYS, Term(year_of(int(clock()))).log, *log_signers.names()}
    return promised(parse_policy(settings.read_witness_policy()), {name: log_signers.trust(name) for name in names})


def witnessing(settings: Settings, exchange: Exchange, writer: Writer, witnesses: Policy) -> Witnessing:
    """The line to the witnesses. What one of them holds against us is kept beside the signer's state."""
    folder = settings.signer_dir / "witness-evidence"

    def keep_evidence(name: str, said: bytes) -> None:
        folder.mkdir(mode=0o700, exist_ok=True)
        (folder / name).write_bytes(said)

    return Witnessing(exchange, writer, witnesses, clock=time.monotonic, keep_evidence=keep_evidence)


def notices(settings: Settings, exchange: Exchange) -> Notices | None:
    """The line to the exchange's other processes; None where there can be none."""
    if exchange.database.dialect == "sqlite":
        return None
    from referral_api.server.storage.notices import Notices  # noqa: PLC0415  # psycopg is an extra

    return Notices(settings.database, exchange.token_bytes(8).hex())


def leader(settings: Settings, exchange: Exchange) -> Leader:
    """Who of the exchange's processes runs its clocks."""
    if exchange.database.dialect == "sqlite":
        return Alone()
    from referral_api.server.storage.leader import Claim  # noqa: PLC0415  # psycopg is an extra

    return Claim(settings.database)
