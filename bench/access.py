"""`python -m bench.access`: whether the token endpoint tells by its time who exists, and what its limits cost a call.

Options: `--rounds N` (3000), `--dir`. Token requests that fail are answered by the real service over the directory of
an exchange with nine parties: in the name of nobody, in a name that exists by a key that is another, by such a key
under the right `kid`, and by the right key at a credential whose key may not be used. In each round all are asked
once, in turn and in another order; processor time of the thread. Printed are medians, and how far each is from that of
the unknown name, with the interval in which nineteen of twenty such differences of halves of the rounds lie.
"""

from __future__ import annotations

import argparse
import random
import secrets
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from time import thread_time_ns, time

from bench import world
from bench.machine import print_machine
from referral_api.client import access
from referral_api.client.keystore import CredentialKeys
from referral_api.domain.words import CredentialId
from referral_api.formats.keys import Alg, SigningKey, signing_key
from referral_api.formats.statements import KeyMap
from referral_api.formats.strict_json import b64u
from referral_api.server.service.callers import Directory
from referral_api.server.service.limits import FAILURES_A_MINUTE, MINUTE_S, Limits, MemoryCounts
from referral_api.server.service.oauth import TOKEN_PATH
from referral_api.server.service.replay import MemoryReplayStore
from referral_api.server.service.tokens import TokenAnswer, TokenService

ROUNDS = 3000
A_CENTURY_S = 100 * 365 * 86_400
UNKNOWN, OTHER_KEY, OTHER_KEY_RIGHT_KID, UNUSABLE = (
    "an unknown name", "a known name, another key", "a known name, another key under its kid", "a key that has ended",
)  # fmt: skip
NOW = 1_800_000_000
_FORM = (b"content-type", b"application/x-www-form-urlencoded")


@dataclass(frozen=True, slots=True)
class Asking:
    """One kind of token request: in whose name, signed by what, under which kid."""

    name: str
    signer: SigningKey
    kid: str

    def request(self, issuer: str, proving: SigningKey, now: int) -> tuple[bytes, list[tuple[bytes, bytes]]]:
        """Body and headers of one such request, never the same twice."""
        jti = b64u(secrets.token_bytes(16))
        claims = {"aud": issuer, "exp": now + 60, "iat": now, "iss": self.name, "jti": jti, "sub": self.name}
        assertion = access.sign_compact({"kid": self.kid, "typ": "JWT"}, claims, self.signer)
        proof = access.build_proof(proving, "POST", issuer + TOKEN_PATH, jti=b64u(secrets.token_bytes(16)), now=now)
        return access.token_form(assertion), [_FORM, (b"dpop", proof.encode("ascii"))]


@dataclass(frozen=True, slots=True)
class Ended:
    """The directory as it is, but one credential's key may not be used any more: its statement has run out."""

    keymap: KeyMap
    name: str

    def find_credential(self, credential_id: CredentialId, /) -> object:
        """As the directory says."""
        return self.keymap.find_credential(credential_id)

    def find_key(self, kid: str, /) -> object | None:
        """As the directory says."""
        return self.keymap.find_key(kid)

    def access_key(self, credential_id: CredentialId, now: int, /) -> object:
        """As the directory says; of that one, as it will say in a hundred years."""
        return self.keymap.access_key(credential_id, now + (A_CENTURY_S if credential_id == self.name else 0))


def askings(known: CredentialKeys, ended: CredentialKeys) -> Mapping[str, Asking]:
    """The kinds that must not be told apart."""
    thief = signing_key(Alg.ED25519, secrets.token_bytes(32))
    own = known.access.signing_key()
    return {
        UNKNOWN: Asking("linea.p0000000", thief, thief.kid),
        OTHER_KEY: Asking(known.credential, thief, thief.kid),
        OTHER_KEY_RIGHT_KID: Asking(known.credential, thief, own.kid),
        UNUSABLE: Asking(ended.credential, ended.access.signing_key(), ended.access.signing_key().kid),
    }


def service_of(issuer: str, keymap: KeyMap, ended: CredentialKeys, folder: Path) -> TokenService:
    """The token service of an exchange, as `serve` makes it, over its directory in which one key has ended."""
    directory: Directory = Ended(keymap, ended.credential)  # type: ignore[assignment]
    return TokenService(
        issuer=issuer,
        token_key=signing_key(Alg.ED25519, secrets.token_bytes(32)),
        directory=lambda: directory,
        replay=MemoryReplayStore.open(folder / "replay.journal", int(time()) - 3600),
        limits=Limits(MemoryCounts()),
    )


def times_us(
    service: TokenService, issuer: str, kinds: Mapping[str, Asking], rounds: int, *, locked: bool = False
) -> tuple[Mapping[str, list[float]], Mapping[str, set[str]]]:
    """By kind: how long each answer took, and every answer that was given, without its time.

    Each round has a minute of its own, in which nobody has failed before; with `locked` every name has, too often.
    """
    proving = signing_key(Alg.ES256, secrets.token_bytes(32))
    took: dict[str, list[float]] = {name: [] for name in kinds}
    told: dict[str, set[str]] = {name: set() for name in kinds}
    order = list(kinds)
    first = int(time()) // MINUTE_S * MINUTE_S
    for at in range(1, rounds + 1):
        now = first + at * MINUTE_S
        for name in [kind.name for kind in kinds.values()] * (FAILURES_A_MINUTE if locked else 0):
            service.limits.failed(name, now)
        random.shuffle(order)
        for name in order:
            body, headers = kinds[name].request(issuer, proving, now)
            begun = thread_time_ns()
            answer = service.turn_away(body, headers, now) or service.issue(body, headers, now)
            took[name].append((thread_time_ns() - begun) / 1000)
            told[name].add(_without_time(answer))
    return took, told


def apart_us(times: list[float], others: list[float]) -> tuple[float, float, float]:
    """How much longer the median of `times` is, with the interval of that difference over random halves."""
    pairs = list(zip(times, others, strict=True))
    found = []
    for _ in range(200):
        half = random.sample(pairs, len(pairs) // 2)
        found.append(median(one for one, _ in half) - median(other for _, other in half))
    found.sort()
    return median(times) - median(others), found[5], found[194]


def main(words: list[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.access")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="how often each kind is asked")
    parser.add_argument("--dir", default=None, help="where the exchange goes")
    options = parser.parse_args(words)
    folder = Path(tempfile.mkdtemp(prefix="referral-bench-", dir=options.dir))
    try:
        print_machine(folder)
        template = world.make(folder / "template")
        known, ended = template.keys(), template.keys(world.UNITS[0])
        service, kinds = service_of(template.issuer, template.keymap, ended, folder), askings(known, ended)
        for locked in (False, True):
            took, told = times_us(service, template.issuer, kinds, options.rounds, locked=locked)
            _print_times(took, told, "after too many failures" if locked else "a failed token request")
        _print_costs()
    finally:
        shutil.rmtree(folder)
    return 0


def _print_times(took: Mapping[str, list[float]], told: Mapping[str, set[str]], what: str) -> None:
    print(f"{what}: {len(set().union(*told.values()))} different answers in all")
    for name, times in took.items():
        apart, low, high = apart_us(times, took[UNKNOWN])
        print(f"  {name:42} {median(times):7.1f} us, {apart:+6.1f} us ({low:+.1f} to {high:+.1f})", flush=True)


def _print_costs() -> None:
    limits = Limits(MemoryCounts(), 10**9)
    costs: dict[str, Callable[[], object]] = {
        "a call's limit, checked and counted": partial(_count_a_call, limits),
        "whether anybody is to be turned away": partial(limits.is_failing, NOW),
    }
    for what, call in costs.items():
        print(f"{what}: {_cost_us(call):.2f} us", flush=True)


def _count_a_call(limits: Limits) -> None:
    limits.calls.check("linea.p1234567", NOW)
    limits.calls.take("linea.p1234567", NOW)


def _cost_us(call: Callable[[], object], times: int = 20_000) -> float:
    rounds = []
    for _ in range(9):
        begun = thread_time_ns()
        for _ in range(times):
            call()
        rounds.append((thread_time_ns() - begun) / times / 1000)
    return median(rounds)


def _without_time(answer: TokenAnswer) -> str:
    document = {name: value for name, value in answer.document.items() if name != "server_time"}
    return f"{answer.status} {answer.headers} {document}"


if __name__ == "__main__":
    sys.exit(main())
