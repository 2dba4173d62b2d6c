"""The exchange as others meet it: the process at its own address, its public address, its witnesses, and the time.

Must never: send anything but a question that anybody may ask, or take a witness's time for a call that it counts.

Implements: design §7 (`/readyz`, `/version`), §9; R-96, R-97.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import urlsplit

from referral_api import __version__
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.findings import Finding, Level, at_least, failed, found
from referral_api.formats.strict_json import parse
from referral_api.outside import LOOPBACK, Outside, dial, is_clock_kept
from referral_api.server.service.doctor.house import Premises

DAY_S: Final = 24 * 3600
ANSWER_S: Final = 5.0
MAX_ANSWER_BYTES: Final = 1 << 16
CERTIFICATE_WARNING_S: Final = 21 * DAY_S
CERTIFICATE_PROBLEM_S: Final = 3 * DAY_S


def look_at_process(premises: Premises) -> Iterator[Finding]:
    """The running exchange: whether there is one, whether it is ready, and which version it is."""
    with Outside(answer_s=ANSWER_S, connect_s=ANSWER_S, max_bytes=MAX_ANSWER_BYTES) as outside:
        try:
            ready = _ask(outside, f"{premises.listens}/readyz", token=premises.token)
        except ReferralError:
            yield found("process.none", Level.WARNING, f"referral admin serve --config {premises.config}")
            return
        yield from _readiness(ready)
        yield from _notices(ready.get("notices"), premises)
        try:
            version = _text(_ask(outside, f"{premises.listens}/version").get("version"))
        except ReferralError as error:
            yield failed("process.version", error)
            return
    level = Level.OK if version == __version__ else Level.WARNING
    yield found("process.version", level, "", runs=version, installed=__version__)


def _readiness(told: dict[str, Any]) -> Iterator[Finding]:
    checks = told.get("checks")
    away = sorted(name for name, well in checks.items() if well is not True) if isinstance(checks, dict) else ["checks"]
    closed = _text(told.get("closed")) if told.get("closed") is not None else None
    if closed is not None:
        yield found("process.closed", Level.PROBLEM, reason=closed)
    level = Level.PROBLEM if away or closed is not None else Level.OK
    yield found("process" if level is Level.OK else "process.away", level, away=away, signs=_text(told.get("signs")))
    witnesses = told.get("witnesses")
    standing = witnesses.get("standing") if isinstance(witnesses, dict) else None
    if isinstance(witnesses, dict) and isinstance(standing, dict):
        bad = sorted(f"{_text(name)}: {_text(how)}" for name, how in standing.items() if how != "ok")
        accused = any(how in ("ahead", "forked") for how in standing.values())
        level = Level.PROBLEM if accused or witnesses.get("late") is True else Level.WARNING if bad else Level.OK
        yield found("process.witnesses", level, late=witnesses.get("late") is True, standing=bad)


def _notices(told: object, premises: Premises) -> Iterator[Finding]:
    """Which channels fail, by party and number (R-109)."""
    failing = told.get("failing") if isinstance(told, dict) else None
    if not isinstance(told, dict) or not isinstance(failing, list):
        return
    which, command = [], ""
    for one in failing:
        if isinstance(one, dict):
            party = "" if one.get("party") is None else _text(one["party"])
            which.append(f"{party or 'admin'} {_number(one.get('channel'))}: {_number(one.get('failing_s')) // 60} min")
            command = command or " ".join(["referral admin notices test", *filter(None, [party])])
    level = Level.WARNING if which else Level.OK
    seen = {"failing": len(which), "channels": _number(told.get("channels"))}
    yield found("process.notices", level, f"{command} --config {premises.config}", **seen, which=which)


def look_at_issuer(premises: Premises, root: str | None, now: int) -> Iterator[Finding]:
    """The public address: name, connection, certificate, and that it leads to this very exchange."""
    parts = urlsplit(premises.issuer)
    try:
        dialled = dial(premises.issuer, answer_s=ANSWER_S)
    except ReferralError as error:
        seen = {"why": str(error.facts.get("why", error.facts.get("reason")))}
        yield failed("issuer", error, **seen)
        return
    if parts.scheme == "https":
        left = 0 if dialled.ends_at is None else dialled.ends_at - now
        level = at_least(left, warning=CERTIFICATE_WARNING_S, problem=CERTIFICATE_PROBLEM_S)
        yield found("issuer.certificate", level, tls=dialled.tls, ends_at=dialled.ends_at, days=left // DAY_S)
    else:
        yield found("issuer.plain", Level.OK if parts.hostname in LOOPBACK else Level.PROBLEM)
    with Outside(answer_s=ANSWER_S, connect_s=ANSWER_S, max_bytes=MAX_ANSWER_BYTES) as outside:
        try:
            told = _ask(outside, f"{premises.issuer}/.well-known/referral-configuration")
        except ReferralError as error:
            yield failed("issuer", error, why="no-answer")
            return
    same = told.get("issuer") == premises.issuer and root in (None, told.get("root"))
    yield found(
        "issuer" if same else "issuer.other", Level.OK if same else Level.PROBLEM, milliseconds=dialled.milliseconds
    )


def look_at_witnesses(premises: Premises) -> Iterator[Finding]:
    """Whether each witness of the policy file can be reached."""
    if premises.policy is None:
        return
    places = {one.url: one.key.name for one in premises.policy.witnesses if one.url is not None}
    away = []
    for url, name in places.items():
        try:
            dial(url, answer_s=ANSWER_S)
        except ReferralError as error:
            away.append(f"{name}: {error.facts.get('reason')}")
    level = Level.WARNING if away else Level.OK
    yield found("witnesses.away", level, count=len(away), total=len(places), witnesses=away)


def look_at_time() -> Finding:
    """Whether the network sets this machine's clock; not knowing is not well."""
    kept = is_clock_kept()
    if kept is None:
        return found("clock.unseen", Level.UNKNOWN, "timedatectl")
    return found("clock.kept", Level.OK if kept else Level.PROBLEM, "timedatectl set-ntp true", kept=kept)


def _ask(outside: Outside, url: str, *, token: str | None = None) -> dict[str, Any]:
    document = parse(outside.call("GET", url, token=token).body, max_bytes=MAX_ANSWER_BYTES, floats=True)
    if not isinstance(document, dict):
        raise ReferralError(ErrorCode.UNAVAILABLE, reason="not-a-problem")
    return document


def _number(told: object) -> int:
    return told if isinstance(told, int) else 0


def _text(told: object) -> str:
    """What somebody else's process says, if it is a short plain word."""
    return told if isinstance(told, str) and len(told) <= 64 and told.isascii() and told.isprintable() else "—"
