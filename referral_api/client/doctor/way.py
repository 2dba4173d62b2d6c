"""The way to the exchange, step by step: name, connection, TLS, an answer, whose it is, and what time it is there.

What the exchange publishes of itself is signed by nobody: that it names the pinned root says that the line leads to the
right place, not that anything else it tells is true.

Must never: send a credential, or go on to a step that the one before it has closed.

Implements: design §7 (configuration), R-43 (clocks); design §12.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime
from typing import Any, Final
from urllib.parse import urlsplit

from referral_api import __version__
from referral_api.client import exchange
from referral_api.client.exchange import Request, Response
from referral_api.client.session import MAX_CORRECTION_S, Session
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.findings import Finding, Level, at_least, at_most, failed, found
from referral_api.domain.words import PROFILE
from referral_api.outside import LOOPBACK, dial, is_clock_kept

DAY_S: Final = 24 * 3600
CERTIFICATE_WARNING_S: Final = 21 * DAY_S
CERTIFICATE_PROBLEM_S: Final = 3 * DAY_S
SKEW_LIMIT_S: Final = 60
"""By how much a proof's time may differ (R-41); beyond it calls need the exchange's nonce, and acts its time."""
SKEW_WARNING_S: Final = 20
_BLAMES: Final = {
    "name": "way.name",
    "connection": "way.connection",
    "tls": "way.tls",
    "certificate": "way.certificate",
}
_PUBLISHED: Final = ("issuer", "root", "environment")
_PLAIN: Final = re.compile(r"[A-Za-z0-9_.:+-]{1,64}")


@dataclass(slots=True)
class Way:
    """What was learnt on the way. `answers`: the pinned exchange is at its end; its clock is `skew_s` behind ours."""

    answers: bool = False
    skew_s: int | None = None


def look_at_way(session: Session, way: Way, answer_s: float) -> Iterator[Finding]:
    """Go the way as far as it leads, and fill in what was learnt."""
    server = session.profile.server
    parts = urlsplit(server)
    try:
        dialled = dial(server, answer_s=answer_s)
    except ReferralError as error:
        reason = str(error.facts.get("reason"))
        yield failed(_BLAMES[reason], error, "date -u" if error.facts.get("why") in ("ended", "not-yet") else "")
        return
    yield found("way.connection", Level.OK, addresses=dialled.addresses, milliseconds=dialled.milliseconds)
    if parts.scheme == "https":
        left = DAY_S if dialled.ends_at is None else dialled.ends_at - session.ambient.now()
        level = at_least(left, warning=CERTIFICATE_WARNING_S, problem=CERTIFICATE_PROBLEM_S)
        yield found("way.certificate", level, tls=dialled.tls, ends_at=dialled.ends_at, days=left // DAY_S)
    else:
        level = Level.OK if parts.hostname in LOOPBACK else Level.PROBLEM
        yield found("way.plain", level, loopback=parts.hostname in LOOPBACK)
    yield from _ask(session, way)


def _ask(session: Session, way: Way) -> Iterator[Finding]:
    before = session.ambient.now()
    try:
        told, headers = session.call(replace(exchange.configuration(), repeatable=False), _judge)
    except ReferralError as error:
        yield failed("way.answer", error)
        return
    now = (before + session.ambient.now()) // 2
    wrong = [name for name in _PUBLISHED if told.get(name) != getattr(session.profile, name)]
    if wrong:
        yield Finding("way.exchange", Level.PROBLEM, {"differs": wrong}, "", ErrorCode.WRONG_ROOT)
        return
    way.answers = True
    yield found("way.exchange", Level.OK, environment=session.profile.environment, root=session.profile.root)
    yield _same_profile(told)
    yield from _clocks(session, way, told, headers, now)


def _judge(request: Request, response: Response) -> tuple[dict[str, Any], Mapping[str, str]]:
    return exchange.judge_json(request, response), response.headers


def _same_profile(told: Mapping[str, Any]) -> Finding:
    """Whether both sides speak the same protocol; versions of one profile may differ."""
    theirs, profile = _plain(told.get("version")), _plain(told.get("profile"))
    seen = {"exchange": theirs, "here": __version__, "profile": profile, "expected": PROFILE}
    if profile is None:
        return found("way.profile", Level.UNKNOWN, **seen)
    return found("way.profile", Level.OK if profile == PROFILE else Level.PROBLEM, "referral --version", **seen)


def _plain(told: object) -> str | None:
    return told if isinstance(told, str) and _PLAIN.fullmatch(told) else None


def _clocks(
    session: Session, way: Way, told: Mapping[str, Any], headers: Mapping[str, str], now: int
) -> Iterator[Finding]:
    """How far the clock here is from the exchange's, and whether who else tells the time agrees."""
    theirs, kept = told.get("server_time"), is_clock_kept()
    if type(theirs) is not int:
        yield found("clock.not-told", Level.UNKNOWN, "date -u")
        return
    skew = way.skew_s = now - theirs
    if abs(skew) <= MAX_CORRECTION_S:
        session.skew_s = skew
    level = at_most(abs(skew), warning=SKEW_WARNING_S, problem=SKEW_LIMIT_S)
    yield found("clock", level, "date -u", skew_s=skew, limit_s=SKEW_LIMIT_S)
    if kept is None:
        yield found("clock.unseen", Level.UNKNOWN, "timedatectl")
    else:
        yield found("clock.kept", Level.OK if kept else Level.WARNING, "timedatectl set-ntp true", kept=kept)
    date = None
    with suppress(ValueError, KeyError):
        date = int(parsedate_to_datetime(headers["date"]).timestamp())
    if date is not None:
        apart = abs(date - theirs)
        # A clock that the network sets and an exchange that says otherwise: then it is not ours that is wrong.
        doubtful = apart > SKEW_LIMIT_S or (kept is True and abs(skew) > SKEW_LIMIT_S)
        yield found("clock.sources", Level.WARNING if doubtful else Level.OK, apart_s=apart, limit_s=SKEW_LIMIT_S)
