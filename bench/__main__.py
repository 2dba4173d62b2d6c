"""`python -m bench`: rounds of ours, bare and naive, interleaved; medians and ratios within each round.

Options: `--rounds N`, `--requests N`, `--connections N`, `--sizes 20kB,200kB`, `--sync-delay MS`. The last line is
`submit ratio X.XX`: submissions of 20 kB through the door against the bare durable insert of the same bytes.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
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


def main() -> int:
    """Measure, print, and fail if anything measured was wrong."""
    options = _options()
    folder = Path(tempfile.mkdtemp(prefix="referral-bench-", dir=options.dir))
    try:
        print_machine(folder, delay_ms=options.sync_delay)
        slowed = slow_sync.surroundings(folder, options.sync_delay) if options.sync_delay else {}
        print("making the exchange and the requests …", flush=True)
        template = world.make(folder / "template")
        ratio = 0.0
        for size in options.sizes.split(","):
            share = 1 if size == "20kB" else 5
            count = max(options.requests // share, 4 * WARM)
            requests = corpus.shots(template, count, corpus.SIZES[size])
            rounds = [_round(template, folder, requests, options, at, slowed) for at in range(options.rounds)]
            ratio = max(ratio, 0.0) if size != "20kB" else _report(size, requests, rounds)
            if size != "20kB":
                _report(size, requests, rounds)
    finally:
        shutil.rmtree(folder)
    print(f"submit ratio {ratio:.2f}")
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--requests", type=int, default=6000)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--sizes", default="20kB,200kB")
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument(
        "--sync-delay", type=float, default=0, metavar="MS", help="let every sync of the measured servers take longer"
    )
    parser.add_argument("--dir", default=None, help="where the databases go; not a tmpfs")
    return parser.parse_args()


def _round(
    template: world.Template,
    folder: Path,
    requests: Sequence[corpus.Shot],
    options: argparse.Namespace,
    at: int,
    slowed: Mapping[str, str],
) -> dict[str, Measure]:
    """Each server once, on a fresh copy, in an order that rotates."""
    kinds = options.kinds.split(",")
    order = [kinds[(at + n) % len(kinds)] for n in range(len(kinds))]
    return {
        kind: _measure(template, folder / f"{kind}-{at}", kind, requests, options.connections, slowed) for kind in order
    }


def _measure(
    template: world.Template,
    folder: Path,
    kind: str,
    requests: Sequence[corpus.Shot],
    connections: int,
    slowed: Mapping[str, str],
) -> Measure:
    folder.mkdir()
    template.copy(folder)
    shots = requests if kind != "naive" else requests[: max(len(requests) // 5, 2 * WARM)]
    # Token, nonce and proofs are the exchange's own; the others are given what it issued, within the same minute.
    access_rights: tuple[str, bytes, str] | None = None
    if kind != "ours":
        with process.running("ours", folder, template.port):
            access_rights = process.token(template)
    with process.running(kind, folder, template.port, surroundings=slowed) as server:
        heads = corpus.heads(template, shots, *(access_rights or process.token(template)))
        before = process.cpu_s(server)
        result = load.fire(template.port, heads, [shot.body for shot in shots], connections=connections, warm=WARM)
        cpu_us = (process.cpu_s(server) - before) / len(shots) * 1e6
    bad = {status: n for status, n in result.statuses.items() if status != 201}
    if bad:
        body = next(iter(result.kept.values()))
        raise SystemExit(f"{kind}: answers other than 201: {bad}; {body[:300]!r}")
    if kind == "ours":
        _check(template, folder, len(shots), result)
    shutil.rmtree(folder)
    return Measure(result.rate, result.percentile(0.5), result.percentile(0.99), cpu_us)


def _check(template: world.Template, folder: Path, count: int, result: load.Result) -> None:
    """What was measured was right: acts = leaves = answers, and kept receipts verify with their proofs."""
    with Database.open(world.settings_of(folder, template.port).database) as database, database.read() as conn:
        rows = conn.one("SELECT count(*) FROM act WHERE act = 'submit'")
        sealed = conn.one("SELECT count(*) FROM sealed")
        log = next(name for name in logbook.names(conn) if name.startswith("audit/"))
        leaves = logbook.size(conn, log)
    if rows != (count,) or sealed != (count,):
        raise SystemExit(f"{count} answers but {rows} acts and {sealed} bundles")
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


def _report(size: str, requests: Sequence[corpus.Shot], rounds: Sequence[dict[str, Measure]]) -> float:
    wire = statistics.median(len(shot.body) for shot in requests)
    print(f"\nsubmit {size}: {wire / 1000:.0f} kB on the wire, {len(rounds)} rounds, median [min-max]")
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
