"""What the witnesses hold of our logs: asked before the start-up gate, which must find all of it in the database.

A database that was rolled back together with the signer's state looks whole to the exchange itself; the witnesses
remember what they have cosigned.

Must never: believe a size that the log's own key has not signed, or wait for a witness that is away or slow.

Implements: R-93, R-97; design §9 (start-up gate).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from time import monotonic

from referral_api.auditlog.checkpoint import Checkpoint, TrustPolicy, verify_checkpoint
from referral_api.auditlog.policy import Policy
from referral_api.auditlog.witnessing import monitoring_path
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.outside import Outside
from referral_api.server import observe
from referral_api.server.service.posts import NOT_HEARD, Post, line_to_witnesses, posts_of

ALL_S = 10.0
"""How long the start waits for all witnesses together."""


def promised(policy: Policy, logs: Mapping[str, TrustPolicy]) -> dict[str, list[tuple[int, bytes]]]:
    """What the witnesses that answer have cosigned last of these logs, for the start-up gate: sizes and roots by log.

    Only what a key of the log and the witness's have signed counts: nobody can close an exchange by making up a size.
    A witness that is away, or shows nothing, or not in time, says nothing. Returns after ALL_S seconds at the latest.
    """
    heard: list[tuple[str, Checkpoint]] = []

    def hear(log: str, checkpoint: Checkpoint) -> None:
        heard.append((log, checkpoint))

    with line_to_witnesses() as outside:
        # Daemons: one that still looks up a name when the time is over must not hold up the end of the process either.
        asking = [
            threading.Thread(target=_ask, args=(outside, post, logs, hear), name=f"promises {post.name}", daemon=True)
            for post in posts_of(policy)
        ]
        for thread in asking:
            thread.start()
        ends = monotonic() + ALL_S
        for thread in asking:
            thread.join(max(0.0, ends - monotonic()))
    found: dict[str, list[tuple[int, bytes]]] = {}
    for log, checkpoint in tuple(heard):
        found.setdefault(log, []).append((checkpoint.size, checkpoint.root))
    return found


def _ask(
    outside: Outside, post: Post, logs: Mapping[str, TrustPolicy], hear: Callable[[str, Checkpoint], None]
) -> None:
    for log, trust in logs.items():
        try:
            answer = outside.call("GET", f"{post.url.rstrip('/')}/{monitoring_path(trust.log.name)}")
            if answer.status == 200:
                hear(log, verify_checkpoint(answer.body, replace(trust, known_witnesses=post.keys, quorum=1)))
        except ReferralError as error:
            if error.code is ErrorCode.UNREACHABLE:
                return
            reason = "no-end" if error.code in NOT_HEARD else error.code.value
            observe.log("witness_shows_nothing", witness=post.name, reason=reason)
