"""`python -m bench`: rounds of ours, bare and naive, interleaved; medians and ratios within each round.

Options: `--rounds N`, `--requests N`, `--connections N`, `--work 20kB,200kB,Ed25519,ack`, `--sync-delay MS`. The last
line is `submit ratio X.XX`: submissions of 20 kB through the door against the bare durable insert of the same bytes.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import corpus, load, process, slow_sync, world
from bench.machine import print_machine
from referral_api.auditlog.checkpoint import TrustPolicy, log_key
from referral_api.auditlog.proof import parse_proof, verify_proof
from referral_api.domain.words import KeyUse
from referral_api.formats.receipt import verify_receipt
from referral_api.formats.strict_json import parse
from referral_api.server.storage import logbook
from referral_api.server.storage.database import Database

KINDS = ("bare", "ours", "naive")
WARM = 200


@dataclass(frozen=True, slots=True)
class Measure:
    """One server in one round."""

    rate: float
    p50_ms: float
    p99_ms: float
    cpu_us: float


@dataclass(frozen=True, slots=True)
class Work:
    """What is sent: by whom, as which act, and what must be there before (sent to ours alone, and not measured)."""

    caller: str
    act: str
    shots: Sequence[corpus.Shot]
    before: Sequence[corpus.Shot] = ()
    kinds: frozenset[str] = frozenset(KINDS)


def _submits(size: str, hotline: str = world.HOTLINE) -> Callable[[world.Template, int], Work]:
    return lambda template, count: Work(
        hotline, "submit", corpus.shots(template, count, corpus.SIZES[size], hotline=hotline)
    )


def _acks(template: world.Template, count: int) -> Work:
    hotline, unit = world.SIMPLE_HOTLINE, world.SIMPLE_UNIT
    submits = corpus.shots(template, count, corpus.SIZES["20kB"], hotline=hotline, units=[unit])
    # The naive twin knows submissions only.
    return Work(unit, "ack", corpus.acks(template, submits, unit), submits, frozenset({"bare", "ours"}))


WORK: Mapping[str, tuple[str, int, Callable[[world.Template, int], Work]]] = {
    "20kB": ("submit 20 kB, Ed25519 and ML-DSA-65", 1, _submits("20kB")),
    "200kB": ("submit 200 kB, Ed25519 and ML-DSA-65", 5, _submits("200kB")),
    "Ed25519": ("submit 20 kB, Ed25519 alone", 1, _submits("20kB", world.SIMPLE_HOTLINE)),
    "ack": ("acknowledge, Ed25519 alone", 1, _acks),
}
"""Title, how many times fewer of them are sent, and what makes them."""


def main() -> int:
    """Measure, print, and fail if anything measured was wrong."""
    options = _options()
    folder = Path(tempfile.mkdtemp(prefix="referral-bench-", dir=options.dir))
    ratio: float | None = None
    try:
        print_machine(folder, delay_ms=options.sync_delay)
        slowed = slow_sync.surroundings(folder, options.sync_delay) if options.sync_delay else {}
        print("making the exchange and the requests …", flush=True)
        template = world.make(folder / "template")
        for name in options.work.split(","):
            title, share, make = WORK[name]
            work = make(template, max(options.requests // share, 4 * WARM))
            kinds = [kind for kind in options.kinds.split(",") if kind in work.kinds]
            rounds = [_round(template, folder, work, kinds, options, slowed, at) for at in range(options.rounds)]
            found = _report(title, work, rounds)
            ratio = found if name == "20kB" else ratio
    finally:
        shutil.rmtree(folder)
    if ratio is not None:
        print(f"submit ratio {ratio:.2f}")
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--requests", type=int, default=6000)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--work", default=",".join(WORK), help="what is sent, in which order")
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument(
        "--sync-delay", type=float, default=0, metavar="MS", help="let every sync of the measured servers take longer"
    )
    parser.add_argument("--dir", default=None, help="where the databases go; not a tmpfs")
    return parser.parse_args()


def _round(
    template: world.Template,
    folder: Path,
    work: Work,
    kinds: Sequence[str],
    options: argparse.Namespace,
    slowed: Mapping[str, str],
    at: int,
) -> dict[str, Measure]:
    """Each server once, on a fresh copy, in an order that rotates."""
    order = [kinds[(at + n) % len(kinds)] for n in range(len(kinds))]
    return {
        kind: _measure(template, folder / f"{kind}-{at}", kind, work, options.connections, slowed) for kind in order
    }


def _measure(
    template: world.Template, folder: Path, kind: str, work: Work, connections: int, slowed: Mapping[str, str]
) -> Measure:
    folder.mkdir()
    template.copy(folder)
    shots = work.shots if kind != "naive" else work.shots[: max(len(work.shots) // 5, 2 * WARM)]
    # Token, nonce and proofs are the exchange's own; the others are given what it issued, within the same minute.
    access_rights: tuple[str, bytes, str] | None = None
    if kind != "ours":
        with process.running("ours", folder, template.port):
            access_rights = process.token(template, work.caller)
    with process.running(kind, folder, template.port, surroundings=slowed) as server:
        if kind == "ours" and work.before:
            _fire(template, work.before, process.token(template, world.SIMPLE_HOTLINE), connections)
        rights = access_rights or process.token(template, work.caller)
        heads = corpus.heads(template, shots, *rights)
        before = process.cpu_s(server)
        result = load.fire(template.port, heads, [shot.body for shot in shots], connections=connections, warm=WARM)
        cpu_us = (process.cpu_s(server) - before) / len(shots) * 1e6
    _check_answers(kind, result)
    if kind == "ours":
        _check(template, folder, work, result)
    shutil.rmtree(folder)
    return Measure(result.rate, result.percentile(0.5), result.percentile(0.99), cpu_us)


def _fire(
    template: world.Template, shots: Sequence[corpus.Shot], rights: tuple[str, bytes, str], connections: int
) -> None:
    heads = corpus.heads(template, shots, *rights)
    result = load.fire(template.port, heads, [shot.body for shot in shots], connections=connections, warm=WARM)
    _check_answers("ours", result)


def _check_answers(kind: str, result: load.Result) -> None:
    bad = {status: n for status, n in result.statuses.items() if status != 201}
    if bad:
        body = next(iter(result.kept.values()))
        raise SystemExit(f"{kind}: answers other than 201: {bad}; {body[:300]!r}")


def _check(template: world.Template, folder: Path, work: Work, result: load.Result) -> None:
    """What was measured was right: acts = leaves = answers, and kept receipts verify with their proofs."""
    submits = work.before or work.shots
    with Database.open(world.settings_of(folder, template.port).database) as database, database.read() as conn:
        rows = conn.one("SELECT count(*) FROM act WHERE act = ?", (work.act,))
        sealed = conn.one("SELECT count(*) FROM sealed")
        log = next(name for name in logbook.names(conn) if name.startswith("audit/"))
        leaves = logbook.size(conn, log)
    if rows != (len(work.shots),) or sealed != (len(submits),):
        raise SystemExit(f"{len(work.shots)} answers but {rows} acts and {sealed} bundles")
    keys = [record.public for record in template.keymap.exchange_keys(KeyUse.RECEIPT)]
    origin = f"{template.issuer.partition('://')[2]}/v1/log/{log}"
    policy = TrustPolicy(log_key(origin, template.keymap.exchange_keys(KeyUse.LOG)[0].public))
    for body in result.kept.values():
        answer = parse(body, max_bytes=65536)
        receipt = verify_receipt(answer["receipt"].encode(), keys, issuer=template.issuer)
        raw_proof = answer["proof"].encode()
        leaf = parse_proof(raw_proof).extra
        included = verify_proof(raw_proof, leaf or b"", policy)
        if included.index != receipt.payload.log.index or included.index >= leaves:
            raise SystemExit("a receipt points elsewhere than its proof")


def _report(title: str, work: Work, rounds: Sequence[dict[str, Measure]]) -> float:
    wire = statistics.median(len(shot.body) for shot in work.shots)
    print(f"\n{title}: {wire / 1000:.1f} kB on the wire, {len(rounds)} rounds, median [min-max]")
    print(f"{'':8}{'a second':>22}{'p50 ms':>9}{'p99 ms':>9}{'CPU us':>9}{'of bare':>9}")
    for kind in rounds[0]:
        rates = [one[kind].rate for one in rounds]
        of_bare = statistics.median(one[kind].rate / one["bare"].rate for one in rounds) if "bare" in rounds[0] else 0
        spread = f"{statistics.median(rates):.0f} [{min(rates):.0f}-{max(rates):.0f}]"
        p50, p99, cpu = (
            statistics.median(getattr(one[kind], name) for one in rounds) for name in ("p50_ms", "p99_ms", "cpu_us")
        )
        print(f"{kind:8}{spread:>22}{p50:>9.1f}{p99:>9.1f}{cpu:>9.0f}{of_bare:>9.2f}")
    if "naive" in rounds[0]:
        over = statistics.median(one["ours"].rate / one["naive"].rate for one in rounds)
        print(f"ours against naive: {over:.1f}x the rate")
    return statistics.median(one["ours"].rate / one["bare"].rate for one in rounds) if "bare" in rounds[0] else 0.0


if __name__ == "__main__":
    sys.exit(main())
