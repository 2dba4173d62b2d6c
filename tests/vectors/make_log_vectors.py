"""Writes schemas/vectors/log-*.json: what every reader of the log must accept and refuse, in any language.

Run by `python -m tests.vectors.make_log_vectors`. Nothing that is tested with them made them: trees come from the naive
recursion of RFC 6962, signatures from the cryptography library, texts are put together by hand. ML-DSA signatures are
randomised by the library, so an existing one is kept as long as it verifies.
"""

from __future__ import annotations

import base64
import json
from hashlib import sha256
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ed25519, mldsa

from referral_api.formats import strict_json
from tests.auditlog import naive

FOLDER = Path(__file__).resolve().parents[2] / "schemas" / "vectors"
ORIGIN = "exchange.example/v1/log/audit/2026"
DASH = "\N{EM DASH}"
LOG = ed25519.Ed25519PrivateKey.from_private_bytes(sha256(b"vector log key").digest())
STRANGER = ed25519.Ed25519PrivateKey.from_private_bytes(sha256(b"vector stranger key").digest())
WITNESS_1 = ed25519.Ed25519PrivateKey.from_private_bytes(sha256(b"vector witness key 1").digest())
WITNESS_2 = mldsa.MLDSA44PrivateKey.from_seed_bytes(sha256(b"vector witness key 2").digest())
NAME_1, NAME_2 = "witness.example/w1", "witness.example/w2"
COSIGNED_S = 1_790_000_000
OTHER = sha256(b"some other hash").digest()

Case = dict[str, Any]


def b64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def b64u(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def case(name: str, clause: str, given: Case, expect: str) -> Case:
    return {"name": name, "clause": clause, "input": given, "expect": expect}


def key_id(name: str, kind: int, public: bytes) -> bytes:
    return sha256(name.encode() + b"\n" + bytes([kind]) + public).digest()[:4]


def vkey(name: str, kind: int, public: bytes) -> str:
    return f"{name}+{key_id(name, kind, public).hex()}+{b64(bytes([kind]) + public)}"


def public(key: ed25519.Ed25519PrivateKey | mldsa.MLDSA44PrivateKey) -> bytes:
    return key.public_key().public_bytes_raw()


def line(name: str, kind: int, raw_public: bytes, signature: bytes) -> str:
    return f"{DASH} {name} {b64(key_id(name, kind, raw_public) + signature)}\n"


def body(size: int, root: bytes, origin: str = ORIGIN) -> str:
    return f"{origin}\n{size}\n{b64(root)}\n"


def log_line(text: str, key: ed25519.Ed25519PrivateKey = LOG, name: str = ORIGIN) -> str:
    return line(name, 1, public(key), key.sign(text.encode()))


def witness_line_1(text: str, cosigned_s: int = COSIGNED_S, name: str = NAME_1) -> str:
    signature = WITNESS_1.sign(f"cosignature/v1\ntime {cosigned_s}\n{text}".encode())
    return line(name, 4, public(WITNESS_1), cosigned_s.to_bytes(8, "big") + signature)


def witness_line_2(size: int, root: bytes, kept: str | None) -> str:
    message = b"subtree/v1\n\0" + bytes([len(NAME_2)]) + NAME_2.encode() + COSIGNED_S.to_bytes(8, "big")
    message += bytes([len(ORIGIN)]) + ORIGIN.encode() + bytes(8) + size.to_bytes(8, "big") + root
    if kept is not None:
        try:
            WITNESS_2.public_key().verify(base64.b64decode(kept.split(" ")[2])[12:], message)
        except InvalidSignature:
            pass
        else:
            return kept
    return line(NAME_2, 6, public(WITNESS_2), COSIGNED_S.to_bytes(8, "big") + WITNESS_2.sign(message))


def corrupted(proof: list[bytes]) -> list[tuple[str, list[bytes]]]:
    return [
        ("one hash missing at the end", proof[:-1]),
        ("one hash missing at the start", proof[1:]),
        ("one hash too many", [*proof, OTHER]),
        ("two hashes exchanged", [proof[1], proof[0], *proof[2:]]),
        ("one bit flipped", [bytes([proof[0][0] ^ 1]) + proof[0][1:], *proof[1:]]),
        ("two hashes joined", [proof[0] + proof[1], *proof[2:]]),
        ("one hash cut short", [proof[0][:-1], *proof[1:]]),
        ("another hash", [*proof[:-1], OTHER]),
        ("no hashes at all", []),
    ]


def inclusion() -> list[Case]:
    clause = "R-90; RFC 9162 §2.1.3"

    def given(index: int, size: int, proof: list[bytes], leaf: bytes, root: bytes) -> Case:
        hashes = [b64u(one) for one in proof]
        return {"index": index, "size": size, "leaf_hash": b64u(leaf), "proof": hashes, "root": b64u(root)}

    def leaf_hash(index: int) -> bytes:
        return naive.subtree(0, index)

    cases = [
        case(
            f"leaf {index} of {size}",
            clause,
            given(index, size, naive.path(index, 0, size), leaf_hash(index), naive.root(size)),
            "ok",
        )
        for index, size in ((0, 1), (0, 2), (1, 2), (2, 3), (5, 7), (6, 7), (7, 8), (0, 256), (256, 257), (700, 1025))
    ]
    index, size = 5, 13
    proof, leaf, root = naive.path(index, 0, size), leaf_hash(index), naive.root(size)
    cases += [
        case(name, clause, given(index, size, wrong, leaf, root), "not-included") for name, wrong in corrupted(proof)
    ]
    wrong_inputs = {
        "index of the left neighbour": given(4, size, proof, leaf, root),
        "index equal to the size": given(size, size, proof, leaf, root),
        "a smaller size, whose path is shorter": given(index, 8, proof, leaf, root),
        "a larger size, whose path is longer": given(index, 17, proof, leaf, root),
        "empty tree": given(0, 0, [], leaf, sha256(b"").digest()),
        "another leaf": given(index, size, proof, leaf_hash(6), root),
        "another root": given(index, size, proof, leaf, OTHER),
        "the root of a smaller tree": given(index, size, proof, leaf, naive.root(12)),
        "a node taken for a leaf": given(2, 4, naive.path(2, 0, 4)[1:], naive.subtree(1, 1), naive.root(4)),
    }
    return cases + [case(name, clause, wrong, "not-included") for name, wrong in wrong_inputs.items()]


def consistency() -> list[Case]:
    clause = "R-94; RFC 9162 §2.1.4"

    def given(old: int, new: int, proof: list[bytes], old_root: bytes, new_root: bytes) -> Case:
        roots = {"old_root": b64u(old_root), "new_root": b64u(new_root)}
        return {"old_size": old, "new_size": new, **roots, "proof": [b64u(one) for one in proof]}

    pairs = ((1, 2), (1, 1), (2, 3), (3, 7), (4, 8), (6, 8), (7, 7), (8, 9), (128, 257), (255, 1025), (256, 512))
    cases = [
        case(f"{old} to {new}", clause, given(old, new, naive.proof(old, new), naive.root(old), naive.root(new)), "ok")
        for old, new in pairs
    ]
    empty = sha256(b"").digest()
    cases.append(case("0 to 5", clause, given(0, 5, [], empty, naive.root(5)), "ok"))
    cases.append(case("0 to 0", clause, given(0, 0, [], empty, empty), "ok"))
    old, new = 6, 13
    proof, old_root, new_root = naive.proof(old, new), naive.root(old), naive.root(new)
    cases += [
        case(name, clause, given(old, new, wrong, old_root, new_root), "inconsistent")
        for name, wrong in corrupted(proof)
    ]
    wrong_inputs = {
        "a shrunk tree": given(new, old, proof, new_root, old_root),
        "the old tree one smaller": given(old - 1, new, proof, old_root, new_root),
        "the new tree smaller, whose proof is shorter": given(old, 8, proof, old_root, new_root),
        "another old root": given(old, new, proof, OTHER, new_root),
        "another new root": given(old, new, proof, old_root, OTHER),
        "the roots exchanged": given(old, new, proof, new_root, old_root),
        "equal sizes, other root": given(7, 7, [], naive.root(7), OTHER),
        "equal sizes with a hash": given(7, 7, [OTHER], naive.root(7), naive.root(7)),
        "from nothing with a hash": given(0, 5, [OTHER], empty, naive.root(5)),
        "from nothing, but not the empty root": given(0, 5, [], OTHER, naive.root(5)),
        "a power of two with its own root as first hash": given(
            4, 7, [naive.root(4), *naive.proof(4, 7)], naive.root(4), naive.root(7)
        ),
    }
    return cases + [case(name, clause, wrong, "inconsistent") for name, wrong in wrong_inputs.items()]


SIZE, ROOT = 13, naive.root(13)
TEXT = body(SIZE, ROOT)
SIGNED = TEXT + "\n" + log_line(TEXT)
PINNED = vkey(ORIGIN, 1, public(LOG))
WITNESSES = [vkey(NAME_1, 4, public(WITNESS_1)), vkey(NAME_2, 6, public(WITNESS_2))]


def given_note(note: str, quorum: int = 0) -> Case:
    return {"note": note, "log": PINNED, "witnesses": WITNESSES, "quorum": quorum}


def resigned(text: str) -> str:
    return text + "\n" + log_line(text)


def checkpoints(kept: str | None) -> list[Case]:
    clause = "R-90; C2SP signed-note, tlog-checkpoint, tlog-cosignature"
    two = witness_line_2(SIZE, ROOT, kept)
    cases = [case(name, clause, wanted, "ok") for name, wanted in good_notes(two).items()]
    cases += [case(name, clause, wrong, "malformed") for name, wrong in malformed_notes().items()]
    return cases + [case(name, clause, wrong, code) for name, (wrong, code) in unbelieved_notes(two).items()]


def good_notes(two: str) -> dict[str, Case]:
    strangers = "".join(line(f"w.example/{n}", 4, bytes(32), bytes([n]) * 72) for n in range(16))
    one = witness_line_1(TEXT)
    zero, largest = body(0, sha256(b"").digest()), body(2**53 - 1, ROOT)
    return {
        "signed by the log": given_note(SIGNED),
        "the empty log": given_note(resigned(zero)),
        "a large size": given_note(resigned(largest)),
        "16 lines of unknown keys before the log's": given_note(TEXT + "\n" + strangers + log_line(TEXT)),
        "a line with the log's name and another id": given_note(SIGNED + line(ORIGIN, 4, public(LOG), bytes(72))),
        "cosigned by one of one": given_note(SIGNED + one, 1),
        "cosigned with ML-DSA-44": given_note(SIGNED + two, 1),
        "cosigned by two of two, in any order": given_note(TEXT + "\n" + two + log_line(TEXT) + one, 2),
    }


def malformed_notes() -> dict[str, Case]:
    return {
        "no signature": given_note(TEXT + "\n"),
        "no empty line": given_note(TEXT + log_line(TEXT)),
        "carriage returns": given_note(SIGNED.replace("\n", "\r\n")),
        "hyphen instead of em dash": given_note(SIGNED.replace(DASH, "-")),
        "en dash instead of em dash": given_note(SIGNED.replace(DASH, "\N{EN DASH}")),
        "two spaces": given_note(SIGNED.replace(f"{DASH} ", f"{DASH}  ")),
        "no newline at the end": given_note(SIGNED[:-1]),
        "a trailing space": given_note(SIGNED[:-1] + " \n"),
        "a tab": given_note(SIGNED.replace("13\n", "13\t\n", 1)),
        "an extension line": given_note(resigned(TEXT + "extension\n")),
        "two lines": given_note(resigned(f"{ORIGIN}\n{SIZE}\n")),
        "a leading zero": given_note(resigned(TEXT.replace("\n13\n", "\n013\n"))),
        "a plus sign": given_note(resigned(TEXT.replace("\n13\n", "\n+13\n"))),
        "a size beyond 63 bits": given_note(resigned(TEXT.replace("\n13\n", "\n9223372036854775808\n"))),
        "a root of 31 bytes": given_note(resigned(body(SIZE, ROOT[1:]))),
        "a root in base64url": given_note(resigned(f"{ORIGIN}\n13\n{b64u(bytes([255]) * 32)}\n")),
        "a root with spare bits": given_note(resigned(f"{ORIGIN}\n13\n{b64(bytes(32))[:-2]}B=\n")),
        "the empty size with another root": given_note(resigned(body(0, ROOT))),
        "a signature of no bytes": given_note(TEXT + "\n" + line(ORIGIN, 1, public(LOG), b"")),
    }


def unbelieved_notes(two: str) -> dict[str, tuple[Case, str]]:
    one = witness_line_1(TEXT)
    raw_two = base64.b64decode(two.split(" ")[2])
    flipped = f"{DASH} {NAME_2} {b64(raw_two[:-1] + bytes([raw_two[-1] ^ 1]))}\n"
    swapped_time = COSIGNED_S.to_bytes(8, "little") + base64.b64decode(one.split(" ")[2])[12:]
    return {
        "another origin": (given_note(resigned(body(SIZE, ROOT, ORIGIN + "/x"))), "wrong-origin"),
        "another origin under its own key": (
            given_note(body(SIZE, ROOT, "x") + "\n" + log_line(body(SIZE, ROOT, "x"), STRANGER, "x")),
            "wrong-origin",
        ),
        "the origin under another key": (given_note(TEXT + "\n" + log_line(TEXT, STRANGER)), "signature-invalid"),
        "another size": (given_note(SIGNED.replace("\n13\n", "\n14\n")), "signature-invalid"),
        "a signature over the text without its last newline": (
            given_note(TEXT + "\n" + line(ORIGIN, 1, public(LOG), LOG.sign(TEXT[:-1].encode()))),
            "signature-invalid",
        ),
        "a valid and a forged line of the log": (
            given_note(SIGNED + line(ORIGIN, 1, public(LOG), bytes(64))),
            "signature-invalid",
        ),
        "a forged cosignature": (
            given_note(SIGNED + line(NAME_1, 4, public(WITNESS_1), bytes(72))),
            "signature-invalid",
        ),
        "a forged ML-DSA-44 cosignature": (given_note(SIGNED + flipped, 1), "signature-invalid"),
        "a cosignature of another size": (
            given_note(SIGNED + witness_line_1(TEXT.replace("\n13\n", "\n12\n"))),
            "signature-invalid",
        ),
        "a little-endian time": (
            given_note(SIGNED + line(NAME_1, 4, public(WITNESS_1), swapped_time)),
            "signature-invalid",
        ),
        "only witnesses, not the log": (given_note(TEXT + "\n" + one + two, 2), "signature-invalid"),
        "one witness of two": (given_note(SIGNED + one, 2), "not-witnessed"),
        "the same witness twice": (given_note(SIGNED + one + witness_line_1(TEXT, COSIGNED_S + 1), 2), "not-witnessed"),
        "a witness under another name": (
            given_note(SIGNED + witness_line_1(TEXT, name="w.example/x"), 1),
            "not-witnessed",
        ),
    }


def proofs() -> list[Case]:
    clause = "R-18; C2SP tlog-proof"
    index, size = 5, 13
    leaf, text = naive.leaf(index), body(size, naive.root(size))
    note = text + "\n" + log_line(text)
    hashes = [b64(one) for one in naive.path(index, 0, size)]
    pinned = vkey(ORIGIN, 1, public(LOG))
    head = f"c2sp.org/tlog-proof@v1\nindex {index}\n"
    rest = "".join(f"{one}\n" for one in hashes) + "\n" + note
    extra = f"c2sp.org/tlog-proof@v1\nextra {b64(leaf)}\nindex {index}\n"

    def given(proof: str, about: bytes = leaf) -> Case:
        return {"proof": proof, "leaf": b64u(about), "log": pinned}

    only = body(1, naive.root(1))
    accepted = {
        "without extra line": given(head + rest),
        "with the leaf in the extra line": given(extra + rest),
        "with anything in the extra line": given(extra.replace(b64(leaf), b64(b"anything")) + rest),
        "the only leaf": given(f"c2sp.org/tlog-proof@v1\nindex 0\n\n{only}\n{log_line(only)}", naive.leaf(0)),
    }
    swapped = "".join(f"{one}\n" for one in [hashes[1], hashes[0], *hashes[2:]]) + "\n" + note
    other = body(size, naive.root(size), ORIGIN + "/x")
    refused = {
        "another leaf": (given(head + rest, naive.leaf(6)), "not-included"),
        "another index": (given(head.replace("index 5", "index 4") + rest), "not-included"),
        "an index outside the tree": (given(head.replace("index 5", "index 13") + rest), "not-included"),
        "two hashes exchanged": (given(head + swapped), "not-included"),
        "a hash missing": (given(head + rest.replace(hashes[0] + "\n", "")), "not-included"),
        "a hash too many": (given(head + hashes[0] + "\n" + rest), "not-included"),
        "another version": (given((head + rest).replace("@v1", "@v2")), "malformed"),
        "a leading zero in the index": (given(head.replace("index 5", "index 05") + rest), "malformed"),
        "no index": (given("c2sp.org/tlog-proof@v1\n" + rest), "malformed"),
        "extra after index": (given(head + f"extra {b64(leaf)}\n" + rest), "malformed"),
        "a hash of 31 bytes": (given(head + b64(bytes(31)) + "\n" + rest), "malformed"),
        "carriage returns": (given((head + rest).replace("\n", "\r\n")), "malformed"),
        "no checkpoint": (given(head + "".join(f"{one}\n" for one in hashes) + "\n"), "malformed"),
        "another origin": (given(head + rest.replace(note, other + "\n" + log_line(other))), "wrong-origin"),
        "another key": (given(head + rest.replace(note, text + "\n" + log_line(text, STRANGER))), "signature-invalid"),
        "another root": (
            given(head + rest.replace(text, body(size, OTHER))),
            "signature-invalid",
        ),
    }
    cases = [case(name, clause, wanted, "ok") for name, wanted in accepted.items()]
    return cases + [case(name, clause, wrong, code) for name, (wrong, code) in refused.items()]


def leaves() -> list[Case]:
    clause = "R-91"
    digest = b64u(sha256(b"").digest())
    right = f'{{"d":"{digest}","k":"act","t":1790000000,"v":1}}'
    accepted = {kind: right.replace("act", kind) for kind in ("act", "server", "access", "system", "erase")}
    accepted["at the epoch"] = right.replace("1790000000", "0")
    accepted["at the last safe second"] = right.replace("1790000000", str(2**53 - 1))
    refused = {
        "a trailing newline": right + "\n",
        "a space": right.replace(":", ": ", 1),
        "members in another order": f'{{"k":"act","d":"{digest}","t":1790000000,"v":1}}',
        "a member missing": right.replace(',"v":1', ""),
        "a member too many": right.replace('"v":1', '"v":1,"x":1'),
        "a member twice": right.replace('"v":1', '"v":1,"v":1'),
        "an unknown kind": right.replace("act", "note"),
        "an escaped letter": right.replace('"act"', '"\\u0061ct"'),
        "another version": right.replace('"v":1', '"v":2'),
        "a float": right.replace("1790000000", "1790000000.0"),
        "an exponent": right.replace("1790000000", "179e7"),
        "a leading zero": right.replace("1790000000", "01790000000"),
        "before the epoch": right.replace("1790000000", "-1"),
        "an unsafe integer": right.replace("1790000000", str(2**53)),
        "a digest with padding": right.replace(digest, digest + "="),
        "a digest with spare bits": right.replace(digest, digest[:-1] + "V"),
        "a digest in standard base64": right.replace("-_", "+/"),
    }
    cases = [case(name, clause, {"leaf": text}, "ok") for name, text in accepted.items()]
    return cases + [case(name, clause, {"leaf": text}, "malformed") for name, text in refused.items()]


def tile_paths() -> list[Case]:
    clause = "R-90; C2SP tlog-tiles"
    size = 70_000
    served = (
        "tile/0/000",
        "tile/0/272",
        "tile/0/273.p/112",
        "tile/0/273.p/1",
        "tile/0/000.p/255",
        "tile/1/000",
        "tile/1/001.p/17",
        "tile/2/000.p/1",
        "tile/entries/000",
        "tile/entries/273.p/112",
    )
    absent = (
        "tile/0/273",
        "tile/0/273.p/113",
        "tile/0/274.p/1",
        "tile/1/001",
        "tile/2/000",
        "tile/2/000.p/2",
        "tile/3/000.p/1",
        "tile/entries/273",
        "tile/0/000.p/0",
        "tile/0/000.p/256",
        "tile/0/000.p/01",
        "tile/0/0",
        "tile/0/0000",
        "tile/0/x000/000",
        "tile/00/000",
        "tile/64/000",
        "tile/8/0/000",
        "tile/data/000",
    )
    cases = [case(path, clause, {"path": path, "size": size}, "ok") for path in served]
    return cases + [case(path, clause, {"path": path, "size": size}, "not-found") for path in absent]


def _kept_line() -> str | None:
    """The ML-DSA-44 line of the vectors as they stand."""
    path = FOLDER / "log-checkpoint.json"
    if not path.exists():
        return None
    for one in strict_json.parse(path.read_bytes(), max_bytes=1 << 20):
        if one["name"] == "cosigned with ML-DSA-44":
            last: str = one["input"]["note"].splitlines(keepends=True)[-1]
            return last
    return None


def files() -> dict[str, str]:
    """File name to exact content."""
    vectors = {
        "log-inclusion.json": inclusion(),
        "log-consistency.json": consistency(),
        "log-checkpoint.json": checkpoints(_kept_line()),
        "log-proof.json": proofs(),
        "log-leaf.json": leaves(),
        "log-tile-path.json": tile_paths(),
    }
    return {name: json.dumps(cases, indent=1, ensure_ascii=True) + "\n" for name, cases in vectors.items()}


if __name__ == "__main__":
    for name, content in files().items():
        (FOLDER / name).write_text(content, encoding="ascii")
