"""What the exchange publishes about itself at `/.well-known/referral-configuration`: limits, clocks, logs, problems.

Must never: hold anything that differs from one caller to another.
"""

from __future__ import annotations

from typing import Any

from referral_api import __version__
from referral_api.domain import choosing
from referral_api.domain.words import PROFILE
from referral_api.formats.exchange_bodies import rules_wire
from referral_api.formats.strict_json import b64u
from referral_api.server.api import problems
from referral_api.server.api.call import MAX_BODY_BYTES, MAX_HEADER_BYTES, MAX_PUT_BYTES
from referral_api.server.service import feed
from referral_api.server.service.exchange import Exchange
from referral_api.server.service.limits import FAILED_CALLS_A_MINUTE, FAILURES_A_MINUTE, TOKENS_A_MINUTE


def configuration(exchange: Exchange, contact: str, calls_a_minute: int) -> dict[str, Any]:
    """What `/.well-known/referral-configuration` says as of now, but for the time."""
    return {
        "issuer": exchange.issuer,
        "environment": exchange.environment,
        "contact": contact or None,
        "root": b64u(exchange.keymap.root),
        "endpoints": {"token": "/oauth/token", "api": "/v1"},
        "limits": {
            "headers_bytes": MAX_HEADER_BYTES,
            "put_bytes": MAX_PUT_BYTES,
            "body_bytes": MAX_BODY_BYTES,
            "list": feed.MAX_LIMIT,
            "wait_s": feed.MAX_WAIT_S,
            "calls_a_minute": calls_a_minute,
            "tokens_a_minute": TOKENS_A_MINUTE,
            "failed_calls_a_minute": FAILED_CALLS_A_MINUTE,
            "failed_tokens_a_minute": FAILURES_A_MINUTE,
        },
        **published_rules(exchange),
        "polling": {"interval_s": choosing.POLL_INTERVAL_S, "offline_after_s": choosing.OFFLINE_AFTER_S},
        "log_origins": {"audit": exchange.origin("audit"), "keys": exchange.origin("keys")},
        "witnesses": "none" if exchange.keymap.witness_policy is None else "policy",
        "profile": PROFILE,
        "problems": sorted(code.value for code in problems.TABLE),
        "version": __version__,
    }


def published_rules(exchange: Exchange) -> dict[str, Any]:
    """The members that follow the rules in force, which may change while the exchange runs (R-105)."""
    rules = rules_wire(exchange.ruling.book.current)
    terms = {one["urgency"]: {name: one[name] for name in one if name != "urgency"} for one in rules["clocks"]}
    return {"clocks": terms, "rules": rules}
