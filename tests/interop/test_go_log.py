"""The Go toolchain carries other people's transparency log: it must read our checkpoints, tiles and proofs as is."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import pytest

from referral_api.auditlog.checkpoint import log_key, sign_checkpoint
from referral_api.auditlog.merkle import Frontier, append, leaf_hash
from referral_api.auditlog.note import encode_base64
from referral_api.auditlog.tiles import TileName, TileReader, extend_tiles, parse_entries, tiles_of
from referral_api.client.audit.sources import MirrorSource
from referral_api.client.trust import entry_bundles, issuer_origin
from referral_api.domain.words import KeyUse
from referral_api.formats.keys import Alg, signing_key
from tests.interop.go import build
from tests.world import ISSUER, Founded, World

pytestmark = pytest.mark.interop

ORIGIN = "exchange.example/v1/log/audit/2026"
SIZES = (1, 2, 3, 7, 8, 255, 256, 257, 511, 512, 513, 1000, 65_535, 65_536, 65_537, 66_000)
Check = Callable[[Path], subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def check(tmp_path_factory: pytest.TempPathFactory) -> Check:
    """The checker, built from the toolchain's own sources without any network."""
    source = (Path(__file__).parent / "log_check/main.go").read_text()
    program = build(tmp_path_factory, "log_check", source)

    def run(folder: Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run([program, folder], capture_output=True, text=True, timeout=120, check=False)

    return run


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log of 66,000 leaves as a mirror keeps it, with proofs between all sizes above."""
    folder = tmp_path_factory.mktemp("exported")
    leaves = [sha256(b"%d" % index).digest() for index in range(SIZES[-1])]
    stored: dict[tuple[int, int], bytes] = {}

    def read_tile(level: int, index: int, width: int) -> bytes:
        return stored[level, index][: 32 * width]

    frontier, roots = Frontier(), dict[int, bytes]()
    for size in SIZES:
        growth = append(frontier, leaves[frontier.size : size])
        stored |= {(tile.level, tile.index): tile.hashes for tile in extend_tiles(growth.runs, read_tile)}
        frontier, roots[size] = growth.frontier, growth.root
    for name in tiles_of(frontier.size):
        path = folder / name.path()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(read_tile(name.level, name.index, name.width))
    inclusions, consistencies = [], []
    for size in SIZES:
        reader = TileReader(size, read_tile)
        inclusions += [
            {
                "Index": index,
                "Size": size,
                "Leaf": encode_base64(leaves[index]),
                "Root": encode_base64(roots[size]),
                "Hashes": [encode_base64(one) for one in reader.inclusion_proof(index)],
            }
            for index in sorted({0, 1, size // 3, size // 2, size - 2, size - 1} & set(range(size)))
        ]
        consistencies += [
            {
                "Old": old,
                "New": size,
                "OldRoot": encode_base64(roots[old]),
                "NewRoot": encode_base64(roots[size]),
                "Hashes": [encode_base64(one) for one in reader.consistency_proof(old)],
            }
            for old in SIZES
            if old <= size
        ]
    signer = signing_key(Alg.ED25519, b"\1" * 32)
    document = {
        "Origin": ORIGIN,
        "Vkey": log_key(ORIGIN, signer.public).vkey,
        "Inclusion": inclusions,
        "Consistency": consistencies,
        "Entries": False,
    }
    (folder / "proofs.json").write_text(json.dumps(document))
    (folder / "checkpoint").write_bytes(sign_checkpoint(ORIGIN, frontier.size, frontier.root(), signer))
    return folder


def test_the_go_toolchain_reads_our_log_and_computes_the_same_proofs(check: Check, exported: Path) -> None:
    result = check(exported)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == "84 inclusions, 136 consistencies, size 66000\n"


@pytest.mark.parametrize("name", ["checkpoint", "tile/0/000", "tile/0/257.p/208", "tile/1/000", "tile/2/000.p/1"])
def test_the_go_toolchain_sees_one_changed_byte(check: Check, exported: Path, tmp_path: Path, name: str) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(exported, copy)
    raw = bytearray((copy / name).read_bytes())
    raw[len(raw) // 2] ^= 1
    (copy / name).write_bytes(raw)
    assert check(copy).returncode == 1


@pytest.fixture(scope="module")
def mirrored(founded: Founded, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `referral audit mirror` copies from a living exchange, as it stands, and proofs that the exchange gave."""
    folder = tmp_path_factory.mktemp("mirrored")
    with World(founded, folder / "world") as world:
        ref = str(world.submit().outgoing.ref)
        world.acknowledge("officer", ref)
        reader, year = world.caller("auditor"), datetime.fromtimestamp(world.clock(), UTC).year
        for _ in range(300):  # Each is on the record, so that there is a whole tile.
            assert reader.call("GET", f"/v1/records/{year}?from=0&limit=1").status == 200
        sizes = world.auditor.mirror(folder / "mirror")
        for log, size in sizes.items():
            write_proofs(world, log, size, folder / "mirror" / log)
    return folder / "mirror"


def write_proofs(world: World, log: str, size: int, folder: Path) -> None:
    """Beside a mirrored log, the exchange's own answers about its growth, and its own proofs of inclusion."""
    source = MirrorSource(folder.parents[log.count("/")])
    trees = {0: Frontier()}
    leaves = [leaf for name in entry_bundles(0, size) for leaf in parse_entries(source.tile(log, name), name.width)]
    for index, leaf in enumerate(leaves):
        trees[index + 1] = trees[index].extend([leaf_hash(leaf)])
    consistencies = []
    for old in (1, 2, size // 2, size - 1):
        answer = world.caller("auditor").call("GET", f"/v1/log/{log}/consistency?from={old}&to={size}")
        assert answer.status == 200, answer.body
        roots = {"OldRoot": encode_base64(trees[old].root()), "NewRoot": encode_base64(trees[size].root())}
        consistencies.append({"Old": old, "New": size, **roots, "Hashes": answer.json["proof"]})
    reader = TileReader(size, lambda level, at, width: source.tile(log, TileName(level, at, width)))
    inclusions = [
        {
            "Index": index,
            "Size": size,
            "Leaf": encode_base64(leaf_hash(leaves[index])),
            "Root": encode_base64(trees[size].root()),
            "Hashes": [encode_base64(one) for one in reader.inclusion_proof(index)],
        }
        for index in range(size)
    ]
    origin, key = issuer_origin(ISSUER, log), world.auditor.session.keymap.exchange_keys(KeyUse.LOG)[0].public
    document = {
        "Origin": origin,
        "Vkey": log_key(origin, key).vkey,
        "Inclusion": inclusions,
        "Consistency": consistencies,
        "Entries": True,
    }
    (folder / "proofs.json").write_text(json.dumps(document))


def test_the_go_toolchain_reads_what_the_mirror_command_copies_unchanged(check: Check, mirrored: Path) -> None:
    logs = [mirrored / "keys", *(mirrored / "audit").iterdir()]
    assert len(logs) == 2
    for folder in logs:
        result = check(folder)
        assert (result.returncode, result.stderr) == (0, "")
    assert (folder / "tile/0/000").exists(), "a whole tile is among what was read"


@pytest.mark.parametrize("name", ["tile/entries/000", "tile/0/000", "checkpoint"])
def test_the_go_toolchain_sees_one_changed_byte_of_a_mirror(
    check: Check, mirrored: Path, tmp_path: Path, name: str
) -> None:
    shutil.copytree(next((mirrored / "audit").iterdir()), tmp_path / "copy")
    raw = bytearray((tmp_path / "copy" / name).read_bytes())
    raw[len(raw) // 2] ^= 1
    (tmp_path / "copy" / name).write_bytes(raw)
    assert check(tmp_path / "copy").returncode == 1
