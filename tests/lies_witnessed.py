"""What the liar says of witnesses, and of logs of more than one bundle: two more tables of lies (tests/lies.py).

Cosignatures that are not there are forged, borrowed from elsewhere or counted twice; where two witnesses conspire, they
sign whatever they like, but for themselves alone.

Must never: sign with the key of a party.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from hashlib import sha256
from typing import Any

from referral_api.auditlog.checkpoint import Checkpoint, cosign_checkpoint, parse_checkpoint
from referral_api.auditlog.container import read_archive
from referral_api.auditlog.note import NoteSignature, SignedNote, VerifierKey, parse_note
from referral_api.auditlog.pack import MANIFEST, read_manifest, seal_pack
from referral_api.auditlog.proof import format_proof, parse_proof
from referral_api.auditlog.tiles import ENTRIES, TILE_WIDTH, TileName
from tests.forgery import body, bundle_of, changed, flipped, forked, log_of, one_leaf_less
from tests.liar import Asked, Kind, Liar, Lie, Tell
from tests.lies import KEYS
from tests.lying_witness import LyingWitness
from tests.wire import Answer

K = Kind
SHOWN = frozenset({K.KEYS_COSIGNED, K.AUDIT_COSIGNED})
COSIGNED = SHOWN | {K.RECEIPT}
FAR_S = 75 * 365 * 86_400
"""So far ahead are the clocks of witnesses who conspire."""
Lines = Callable[[Liar, str, SignedNote], Sequence[NoteSignature] | None]
"""The cosignature lines that a log's checkpoint is shown with instead of its own; None: as it is."""


# Cosignatures.


def cosigned(change: Callable[[Liar, str, SignedNote], bytes | None]) -> Tell:
    """Another checkpoint where one with cosignatures is asked for, or the same within a receipt's proof."""

    def tell(liar: Liar, asked: Asked, answer: Answer) -> Answer | None:
        if answer.status != 200:
            return None
        if asked.kind is not K.RECEIPT:
            told = change(liar, asked.log, parse_note(answer.body))
            return None if told is None else body(answer, told)
        document = answer.json
        found = parse_proof(document["proof"].encode())
        told = change(liar, liar.kept["audit"], parse_note(found.raw_checkpoint))
        if told is None:
            return None
        document["proof"] = format_proof(found.index, found.hashes, told, found.extra).decode()
        return answer.with_json(document)

    return tell


def with_lines(lines: Lines) -> Tell:
    """The true checkpoint, as the log signed it, under other cosignatures."""

    def change(liar: Liar, log: str, note: SignedNote) -> bytes | None:
        found = lines(liar, log, note)
        return None if found is None else SignedNote(note.text, (*_own(note), *found)).to_bytes()

    return cosigned(change)


def _own(note: SignedNote) -> list[NoteSignature]:
    return [one for one in note.signatures if one.name == note.text.partition("\n")[0]]


def _others(note: SignedNote) -> list[NoteSignature]:
    return [one for one in note.signatures if one.name != note.text.partition("\n")[0]]


def _of_one(note: SignedNote) -> list[NoteSignature]:
    """All lines of one witness: with both its keys."""
    lines = _others(note)
    return [one for one in lines if one.name == lines[0].name]


def _forged(_liar: Liar, _log: str, note: SignedNote) -> list[NoteSignature]:
    *kept, last = _others(note)
    return [*kept, replace(last, raw_signature=flipped(last.raw_signature, 20))]


def _strangers(_liar: Liar, _log: str, note: SignedNote) -> list[NoteSignature]:
    checkpoint = parse_checkpoint(note.text)
    return [LyingWitness(f"nadie.example/{at}").line(checkpoint) for at in (1, 2)]


def _in_their_names(_liar: Liar, _log: str, note: SignedNote) -> list[NoteSignature]:
    """Valid signatures by other keys; their ids say so."""
    found = []
    for name in {one.name for one in _others(note)}:
        stranger = LyingWitness(f"{name}/otra")
        key = VerifierKey(name, stranger.key.type, stranger.key.public)
        found.append(cosign_checkpoint(parse_checkpoint(note.text), key, stranger.secret.sign, int(time.time())))
    return found


def _under_their_keys(_liar: Liar, _log: str, note: SignedNote) -> list[NoteSignature]:
    """The same, with the ids of the witnesses' own keys."""
    stranger = LyingWitness("nadie.example/3").line(parse_checkpoint(note.text))
    return [replace(one, raw_signature=stranger.raw_signature) for one in _others(note)]


def _conspired(checkpoint: Checkpoint, liar: Liar, at: int) -> list[NoteSignature]:
    """What two witnesses sign if they are asked to: a time, with both keys."""
    keys = [key for pair in liar.kept["witnesses"] for key in pair]
    return [cosign_checkpoint(checkpoint, key.verifier, key.sign, at) for key in keys]


def _at(time_s: Callable[[], int]) -> Lines:
    return lambda liar, _log, note: _conspired(parse_checkpoint(note.text), liar, time_s())


def _of_the_past(liar: Liar, log: str, note: SignedNote) -> list[NoteSignature] | None:
    old = parse_note(liar.kept["old cosigned"][log])
    return None if old.text == note.text else _others(old)


def _of_the_other_log(liar: Liar, log: str, _note: SignedNote) -> list[NoteSignature]:
    return _others(parse_note(liar.kept["cosigned"]["keys" if log != "keys" else liar.kept["audit"]]))


def _fork(liar: Liar, log: str, note: SignedNote) -> bytes:
    """Another tree of the same size, which the log's key has signed, under the lines of the true one."""
    size = parse_checkpoint(note.text).size
    leaves = liar.leaves(log)[:size]
    leaves[0], leaves[1] = leaves[1], leaves[0]
    false = parse_note(liar.tree(log, leaves).checkpoint)
    return SignedNote(false.text, (*_own(false), *_others(note))).to_bytes()


def shown_as_of(liar: Liar, log: str, size: int, at: int) -> bytes:
    """A log's checkpoint when it had so many leaves, truly signed, and cosigned by two witnesses at that time."""
    raw = liar.tree(log, liar.leaves(log)[:size]).checkpoint
    lines = _conspired(parse_checkpoint(parse_note(raw).text), liar, at)
    return raw + "".join(one.line() for one in lines).encode()


def _withheld(_liar: Liar, _asked: Asked, answer: Answer) -> Answer:
    problem = b'{"code":"not-found","hint":"","retry":"never","status":404,"title":"","type":"about:blank"}'
    return Answer(404, {**answer.headers, "content-type": "application/problem+json"}, problem)


def _forgeries() -> Iterator[tuple[str, str, str, Tell]]:
    own, count = "the witness's key", "the quorum counts witnesses"
    yield from (
        ("forged", "one byte of one of them", own, with_lines(_forged)),
        ("strangers'", "of witnesses that no policy names", count, with_lines(_strangers)),
        ("in their names", "by other keys of the same names", count, with_lines(_in_their_names)),
        ("under their keys", "by another key under the ids of theirs", own, with_lines(_under_their_keys)),
        ("of the past", "of an earlier checkpoint, replayed", own, with_lines(_of_the_past)),
        ("of the other log", "true, of another tree", own, with_lines(_of_the_other_log)),
        ("of another tree", "under a fork of the same size", own, cosigned(_fork)),
        ("fewer", "one witness, called a quorum", count, with_lines(lambda _l, _log, note: _others(note)[:1])),
        ("none", "the log's own signature, called a quorum", count, with_lines(lambda _l, _log, _note: [])),
        ("one twice", "both keys of one witness", count, with_lines(lambda _l, _log, note: _of_one(note))),
        ("one line twice", "the same again", count, with_lines(lambda _l, _log, note: _others(note)[:1] * 2)),
        ("without time", "two who state nothing: time 0", count, with_lines(_at(lambda: 0))),
        ("of the future", "two whose clocks are ahead", "the clock", with_lines(_at(lambda: int(time.time()) + FAR_S))),
    )


def _of_witnesses() -> Iterator[Lie]:
    root = "the leaves at hand, and the pin"
    for what, says, noticed, tell in _forgeries():
        yield Lie(f"cosignatures: {what}", says, noticed, COSIGNED, tell, family="cosignatures")
        # Whoever reads both logs notices it in the keys log, and then nobody has looked at the other.
        name, about = f"audit cosignatures: {what}", frozenset({K.AUDIT_COSIGNED})
        yield Lie(name, says, noticed, about, tell, family="audit cosignatures")
    past = cosigned(lambda liar, log, _note: liar.kept["old cosigned"][log])
    yield Lie("cosigned: long ago", "what was newest once", "nobody", SHOWN, past, family="cosigned")
    yield Lie("cosigned: withheld", "there is none yet", "nobody", SHOWN, _withheld, family="cosigned")
    yield Lie(
        "keys log: fork of what is cosigned", "to a newcomer, who has no pin", root, KEYS, log_of(forked), "none",
        family="keys log",
    )  # fmt: skip


# Evidence packs whose manifests are made again, as whoever forges one would.


def repacked(change: Callable[[Liar, dict[str, bytes]], object]) -> Tell:
    """A pack with other files, and a manifest that lists them."""

    def tell(liar: Liar, _asked: Asked, answer: Answer) -> Answer | None:
        if answer.status != 200:
            return None
        contents = read_archive(answer.body)
        manifest = read_manifest(contents.pop(MANIFEST)).wire()
        del manifest["files"]
        change(liar, contents)
        return body(answer, seal_pack(manifest, contents))

    return tell


def cosigned_within(lines: Lines) -> Tell:
    """A pack whose checkpoints stand under other cosignatures, within its proofs too."""

    def change(liar: Liar, contents: dict[str, bytes]) -> None:
        for name in [name for name in contents if name.endswith("/checkpoint")]:
            before, part = contents[name], name.partition("/")[0]
            note = parse_note(before)
            found = lines(liar, liar.kept["audit"] if part.startswith("audit") else "keys", note)
            after = SignedNote(note.text, (*_own(note), *(found or ()))).to_bytes()
            for other in [other for other in contents if other.startswith(f"{part}/")]:
                contents[other] = contents[other].replace(before, after)

    return repacked(change)


def _act_altered(_liar: Liar, contents: dict[str, bytes]) -> None:
    """One signature of one act is another; only its leaf and the signature itself can tell."""
    name = next(name for name, raw in contents.items() if raw.startswith(b'{"payload"'))
    contents[name] = flipped(contents[name], contents[name].rindex(b'"signature":"') + 40)


def _of_packs() -> Iterator[Lie]:
    own, count = "the witness's key", "the quorum counts witnesses"
    rows: tuple[tuple[str, str, str, Tell], ...] = (
        ("cosignatures forged", "one byte of one of them", own, cosigned_within(_forged)),
        ("cosignatures under their keys", "by another key under theirs", own, cosigned_within(_under_their_keys)),
        ("cosignatures of the other log", "true, of another tree", own, cosigned_within(_of_the_other_log)),
        ("cosignatures by strangers", "of no policy", count, cosigned_within(_strangers)),
        ("cosignatures in their names", "by other keys", count, cosigned_within(_in_their_names)),
        ("cosignatures of one", "both keys of one witness", count, cosigned_within(lambda _l, _log, n: _of_one(n))),
        ("cosignatures taken away", "the log's own alone", count, cosigned_within(lambda _l, _log, _n: [])),
        ("act altered", "one byte of its signature", "its leaf", repacked(_act_altered)),
    )
    for what, says, noticed, tell in rows:
        yield Lie(f"cosigned pack: {what}", says, noticed, frozenset({K.EVIDENCE}), tell, family="cosigned pack")


# Logs of several bundles.


def _tiles(
    level: int, change: Callable[[Liar, Asked, bytes], bytes | None], *, full: bool = True, keys: bool = False
) -> Tell:
    """Other bytes for the tiles of one level of the audit log, or of the `keys` log; `full`: for the full ones."""

    def only(liar: Liar, asked: Asked, raw: bytes) -> bytes | None:
        fits = asked.tile.level == level and (asked.tile.width == TILE_WIDTH or not full)
        return change(liar, asked, raw) if fits and (asked.log == "keys") is keys else None

    return bundle_of(only)


def _neighbour(liar: Liar, asked: Asked, _raw: bytes) -> bytes:
    """What stands in another full tile or bundle: of the right width, and every hash in it true."""
    beside = asked.tile.index - 1 if asked.tile.index else 1
    return liar.tree(asked.log).tile(TileName(asked.tile.level, beside, TILE_WIDTH))


def _crossed(liar: Liar) -> list[bytes]:
    """The leaves, one of each full bundle in the other's place."""
    return _with_two_crossed(liar.leaves(liar.kept["audit"]))


def _with_two_crossed(leaves: list[bytes]) -> list[bytes]:
    leaves[7], leaves[TILE_WIDTH + 7] = leaves[TILE_WIDTH + 7], leaves[7]
    return leaves


def _crossed_at(*levels: int) -> Tell:
    """The tiles of these levels as such a log would have them; checkpoint, and all else, the true ones."""

    def told(liar: Liar, asked: Asked, raw: bytes) -> bytes | None:
        if asked.tile.level not in levels or asked.log == "keys":
            return None
        other = liar.tree(asked.log, _crossed(liar)).tile(asked.tile)
        return None if other == raw else other

    return bundle_of(told)


def _a_page_further(found: list[dict[str, Any]]) -> None:
    for one in found:
        one["index"] += TILE_WIDTH


def _of_many_leaves() -> Iterator[Lie]:
    tree, width, leaf = "the leaves must hash to the signed root", "its width", "each leaf is the digest of its record"
    entries, tiles = frozenset({K.AUDIT_ENTRIES}), frozenset({K.AUDIT_TILES})

    def lie(what: str, says: str, noticed: str, about: frozenset[Kind], tell: Tell) -> Lie:
        return Lie(f"long log: {what}", says, noticed, about, tell, family="long log")

    yield lie("partial bundle at a full path", "a leaf less", width, entries, _tiles(ENTRIES, one_leaf_less))
    yield lie("full bundle swapped", "its neighbour, as full", tree, entries, _tiles(ENTRIES, _neighbour))
    yield lie("leaves across bundles", "two have changed places", tree, entries, _crossed_at(ENTRIES))
    yield lie("partial tile at a full path", "a hash less", width, tiles, _tiles(0, lambda _l, _a, raw: raw[:-32]))
    yield lie("full tile swapped", "its neighbour, as full", tree, tiles, _tiles(0, _neighbour))
    yield lie("full tile emptied", "no bytes", width, tiles, _tiles(0, lambda _l, _a, _raw: b""))
    above: tuple[tuple[str, str, Callable[[Liar, Asked, bytes], bytes | None]], ...] = (
        ("another hash above", tree, lambda _l, _a, raw: flipped(raw, 5)),
        ("hashes above changed places", tree, lambda _l, _a, raw: raw[32:] + raw[:32]),
        ("a hash above missing", width, lambda _l, _a, raw: raw[:-32]),
        ("a hash above too many", width, lambda _l, _a, raw: raw + sha256(raw).digest()),
    )
    for what, noticed, change in above:
        yield lie(what, "in the tile of level 1", noticed, tiles, _tiles(1, change, full=False))
    yield lie("tiles of another tree", "two levels that agree with each other", tree, tiles, _crossed_at(0, 1))
    both = entries | tiles
    yield lie(
        "another tree whole", "leaves and tiles, under the true checkpoint", tree, both, _crossed_at(ENTRIES, 0, 1)
    )
    paged = changed(lambda _l, told: _a_page_further(told["records"]))
    yield lie("records of another bundle", "each 256 further", leaf, frozenset({K.RECORDS}), paged)


def _of_many_keys() -> Iterator[Lie]:
    """The same of a keys log of more than one bundle."""
    tree, width = "the leaves must hash to the signed root", "its width"
    entries, tiles = frozenset({K.KEYS_ENTRIES}), frozenset({K.AUDIT_TILES})

    def crossed(liar: Liar, asked: Asked, raw: bytes) -> bytes | None:
        other = liar.tree("keys", _with_two_crossed(liar.leaves("keys"))).tile(asked.tile)
        return None if other == raw else other

    def lie(what: str, says: str, noticed: str, about: frozenset[Kind], level: int, change: Any, memory: str) -> Lie:
        tell = _tiles(level, change, keys=True, full=what != "leaves across bundles")
        return Lie(f"long keys log: {what}", says, noticed, about, tell, memory, family="long keys log")

    yield lie("partial bundle at a full path", "a leaf less", width, entries, ENTRIES, one_leaf_less, "none")
    yield lie("full bundle swapped", "with a leaf of another", tree, entries, ENTRIES, crossed, "none")
    yield lie("leaves across bundles", "two have changed places", tree, entries, ENTRIES, crossed, "none")
    yield lie("partial tile at a full path", "a hash less", width, tiles, 0, lambda _l, _a, raw: raw[:-32], "new")
    yield lie("full tile swapped", "of another tree, as full", tree, tiles, 0, crossed, "new")
    yield lie("full tile emptied", "no bytes", width, tiles, 0, lambda _l, _a, _raw: b"", "new")


WITNESSED: dict[str, Lie] = {lie.name: lie for lie in (*_of_witnesses(), *_of_packs())}
LONG: dict[str, Lie] = {lie.name: lie for lie in (*_of_many_leaves(), *_of_many_keys())}
