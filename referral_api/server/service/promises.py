"""What the witnesses hold of our logs: asked before the start-up gate, which must find all of it in the database.

A database that was rolled back together with the signer's state looks whole to the exchange itself; the witnesses
remember what they have cosigned.

Must never: believe a size that the log's own key has not signed, or wait for a witness that is away.

Implements: R-93, R-97; design §9 (start-up gate).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import chain

import httpx2

from referral_api.auditlog.checkpoint import Checkpoint, TrustPolicy, verify_checkpoint
from referral_api.auditlog.note import VerifierKey
from referral_api.auditlog.policy import Policy
from referral_api.auditlog.witnessing import MAX_ANSWER_BYTES, monitoring_path
from referral_api.domain.errors import ReferralError
from referral_api.server import observe
from referral_api.server.service.witnesses import ANSWER_S, Post, posts_of


def promised(policy: Policy, logs: Mapping[str, VerifierKey]) -> dict[str, list[tuple[int, bytes]]]:
    """What the witnesses that answer have cosigned last of these logs, for the start-up gate: sizes and roots by log.

    Only what the log's own key and the witness's have signed counts: nobody can close an exchange by making up a size.
    A witness that is away, or shows nothing, says nothing.
    """
    posts = posts_of(policy)
    with httpx2.Client(timeout=ANSWER_S, follow_redirects=False) as http, ThreadPoolExecutor(len(posts) or 1) as pool:
        answers = list(pool.map(lambda post: list(_shown_by(http, post, logs)), posts))
    found: dict[str, list[tuple[int, bytes]]] = {}
    for log, checkpoint in chain.from_iterable(answers):
        found.setdefault(log, []).append((checkpoint.size, checkpoint.root))
    return found


def _shown_by(http: httpx2.Client, post: Post, logs: Mapping[str, VerifierKey]) -> Iterator[tuple[str, Checkpoint]]:
    for log, key in logs.items():
        try:
            answer = http.get(f"{post.url.rstrip('/')}/{monitoring_path(key.name)}")
            if answer.status_code == 200 and len(answer.content) <= MAX_ANSWER_BYTES:
                yield log, verify_checkpoint(answer.content, TrustPolicy(key, post.keys, 1))
        except httpx2.HTTPError:
            return
        except ReferralError as error:
            observe.log("witness_shows_nothing", witness=post.name, reason=error.code.value)
