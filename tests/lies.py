"""Every way in which tests/liar.py lies, in one table: what it does, and which step must notice.

A lie is a function of the liar, the call and the true answer; None where this answer gives it nothing to lie about.
What no single step can notice stands in `UNNOTICED`, with the reason and who does notice it, and when.

Must never: sign with a key that the exchange does not have.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from typing import Any

from referral_api.auditlog.note import parse_note
from referral_api.cli.output import Exit
from referral_api.formats.receipt import parse_receipt
from referral_api.formats.strict_json import canonical
from tests.forgery import (
    answered,
    before_it_was_there,
    body,
    bundle_of,
    changed,
    checkpoint,
    flipped,
    forged_receipt,
    forked,
    in_a_fork,
    log_of,
    one_leaf_changed,
    one_leaf_less,
    other_bundle,
    other_key,
    other_log,
    payload_of,
    proof,
    receipt_with,
    replayed,
    shortened,
    signed_act,
    whatever,
    with_forged_statement,
)
from tests.liar import Kind, Liar, Lie, Tell

K = Kind
KEYS = frozenset({K.KEYS_CHECKPOINT, K.KEYS_ENTRIES})
AUDIT = frozenset({K.AUDIT_CHECKPOINT, K.AUDIT_ENTRIES, K.AUDIT_TILES, K.RECORDS})
ANSWERED = frozenset({K.PUT, K.RECEIPT})
EVERY = frozenset(K) - {K.TOKEN}


# Referrals.


def view(change: Callable[[Liar, dict[str, Any]], object]) -> Tell:
    """A referral as it is shown, changed."""
    return changed(lambda liar, shown: change(liar, shown) if "deliveries" in shown else False)


def without(kind: str) -> Tell:
    """A view that lost the acts of a kind."""

    def omit(_liar: Liar, shown: dict[str, Any]) -> object:
        kept = [one for one in shown["acts"] if payload_of(one["act"])["act"] != kind]
        if len(kept) == len(shown["acts"]):
            return False
        shown["acts"] = kept
        return None

    return view(omit)


def last_act(change: Callable[[Liar, dict[str, Any]], object]) -> Tell:
    """A view whose last act of a party is changed."""

    def only(liar: Liar, shown: dict[str, Any]) -> object:
        found = [one for one in shown["acts"] if one["receipt"] is not None]
        return change(liar, found[-1]) if found else False

    return view(only)


def _alter_act(_liar: Liar, one: dict[str, Any]) -> None:
    document = json.loads(one["act"])
    document["payload"] = flipped(document["payload"].encode(), 40).decode()
    one["act"] = canonical(document).decode()


def _by_unlogged_key(liar: Liar, one: dict[str, Any]) -> None:
    one["act"] = signed_act(payload_of(one["act"]), liar.signers.act).decode()


def _elsewhere(liar: Liar, shown: dict[str, Any]) -> None:
    for one in shown["acts"]:
        index = one["index"] = one["index"] + 1
        if one["receipt"] is not None:
            one["receipt"] = forged_receipt(one["receipt"], liar.signers.receipt, index=index)


def _other_state(liar: Liar, one: dict[str, Any]) -> object:
    said = parse_receipt(one["receipt"].encode()).payload
    if not said.states:
        return False
    states = [(state.unit, "closed", state.head) for state in said.states]
    one["receipt"] = forged_receipt(one["receipt"], liar.signers.receipt, states=states)
    return None


def _other_receipt(_liar: Liar, shown: dict[str, Any]) -> object:
    found = [one for one in shown["acts"] if one["receipt"] is not None]
    if len(found) == 1:
        return False
    found[-1]["receipt"] = found[0]["receipt"]
    return None


def _claim(member: str, value: str) -> Tell:
    def claim(_liar: Liar, shown: dict[str, Any]) -> None:
        shown["deliveries"][0][member] = value

    return view(claim)


def _stranger(liar: Liar, shown: dict[str, Any]) -> object:
    ours = {one["act"] for one in shown["acts"]}
    strange = [one for one in liar.kept["other"]["acts"] if one["act"] not in ours]
    shown["acts"] += strange
    return None if strange else False


def kept_bytes(name: str) -> Tell:
    """What was sealed for the same reader, beside something else."""
    return lambda liar, _asked, answer: body(answer, liar.kept[name]) if answer.status == 200 else None


def sealed_with(change: Callable[[bytes], bytes]) -> Tell:
    """A sealed text with other bytes."""
    return lambda _liar, _asked, answer: body(answer, change(answer.body)) if answer.status == 200 else None


# Inboxes, enrolments, and who one is.


def _each(member: str, change: Callable[[Any], object]) -> Tell:
    def only(_liar: Liar, document: dict[str, Any]) -> object:
        return change(document[member]) if document.get(member) else False

    return changed(only)


def _swap_keys(waiting: list[dict[str, Any]]) -> None:
    waiting[0]["keys"] = waiting[0]["keys"][::-1][:-1]


def _swap_key(waiting: list[dict[str, Any]]) -> None:
    waiting[0]["keys"] = [*waiting[0]["keys"][:-1], waiting[0]["keys"][0]]


def _alter_key(waiting: list[dict[str, Any]]) -> None:
    document = json.loads(waiting[0]["keys"][0])
    document["payload"] = flipped(document["payload"].encode(), 40).decode()
    waiting[0]["keys"][0] = canonical(document).decode()


def _lies() -> Iterator[Lie]:
    yield from _of_logs()
    yield from _of_receipts()
    yield from _of_referrals()
    yield from _of_the_rest()
    yield from _no_answers()


def _of_logs() -> Iterator[Lie]:
    pinned = "the pin: the log must contain what was seen of it"
    name = "the log's key and origin, from the pinned root"
    tree = "the leaves must hash to the signed root"
    for word, about in (("keys", KEYS), ("audit", AUDIT)):
        first, entries = frozenset({K(f"{word}-checkpoint")}), frozenset({K(f"{word}-entries")})
        unread = "none" if word == "keys" else "new"

        def lie(
            what: str, says: str, noticed: str, kinds: frozenset[Kind], tell: Tell, memory: str, word: str = word
        ) -> Lie:
            return Lie(f"{word} log: {what}", says, noticed, kinds, tell, memory, family=f"{word} log")

        yield lie("rollback", "a true checkpoint of the past", pinned, about - {K.RECORDS}, log_of(shortened), "new")
        yield lie("fork", "another leaf at the same size, signed, consistent", pinned, about, log_of(forked), "new")
        yield lie(
            "checkpoint of the other log", "signed, but for the other origin", name, first,
            checkpoint(lambda liar, asked: liar.tree("keys" if asked.log != "keys" else liar.kept["audit"]).checkpoint),
            "new",
        )  # fmt: skip
        yield lie(
            "checkpoint of another exchange", "the same tree under another host's origin", name, first,
            checkpoint(lambda liar, asked: liar.tree(asked.log).signed(origin=f"other.example/v1/log/{asked.log}")),
            "new",
        )  # fmt: skip
        yield lie(
            "checkpoint by another key", "signed with the receipt key", name, first,
            checkpoint(lambda liar, asked: liar.tree(asked.log).signed(key=liar.signers.receipt)), "new",
        )  # fmt: skip
        yield lie(
            "checkpoint with another root", "the text changed after signing", name, first,
            checkpoint(lambda liar, asked: _other_root(liar.tree(asked.log).checkpoint)), "new",
        )  # fmt: skip
        yield lie(
            "checkpoint without signature", "its text alone", name, first,
            checkpoint(lambda liar, asked: liar.tree(asked.log).checkpoint.partition(b"\n\n")[0] + b"\n"), "new",
        )  # fmt: skip
        yield lie("bundle swapped", "other leaves at its path", tree, entries, bundle_of(other_bundle), unread)
        yield lie("leaf changed", "one byte of one leaf", tree, entries, bundle_of(one_leaf_changed), unread)
        yield lie("partial bundle at a fuller path", "a leaf less", tree, entries, bundle_of(one_leaf_less), unread)
        yield lie(
            "bundle with trailing bytes", "one byte more", tree, entries, bundle_of(lambda _l, _a, raw: raw + b"\0"),
            unread,
        )  # fmt: skip
    yield Lie(
        "keys log: unlogged statement", "a unit's next statement, signed by the exchange", "the unit's keyholders",
        KEYS, log_of(with_forged_statement), "old", family="keys log",
    )  # fmt: skip
    tiles = frozenset({K.AUDIT_TILES})
    yield Lie(
        "audit log: tile swapped", "a tile of other hashes", "the tile above it, or the root", tiles,
        bundle_of(lambda _l, _a, raw: raw[32:] + raw[:32] if len(raw) > 32 else bytes(len(raw))), family="tiles",
    )  # fmt: skip
    yield Lie(
        "audit log: partial tile at a fuller path", "a hash less", "its width", tiles,
        bundle_of(lambda _l, _a, raw: raw[:-32]), family="tiles",
    )  # fmt: skip
    yield Lie(
        "audit log: tile with trailing bytes", "one byte more", "its width", tiles,
        bundle_of(lambda _l, _a, raw: raw + b"\0"), family="tiles",
    )  # fmt: skip
    yield from _of_records()


def _other_root(raw: bytes) -> bytes:
    lines = parse_note(raw).text.split("\n")
    return raw.replace(lines[2].encode(), base64.b64encode(bytes(32)), 1)


def _of_records() -> Iterator[Lie]:
    leaf = "each leaf is the digest of its record"

    def lie(what: str, says: str, change: Callable[[list[dict[str, Any]]], object]) -> Lie:
        tell = _each("records", change)
        return Lie(f"records: {what}", says, leaf, frozenset({K.RECORDS}), tell, family="records")

    yield lie("one left out", "one is missing", lambda found: found.remove(_some(found)))
    yield lie("none", "an empty list", lambda found: found.clear())
    yield lie("one changed", "one byte of one record", lambda found: _alter_record(_some(found)))
    yield lie("shifted by one", "each under its neighbour's index", _shift)
    yield lie("one without its receipt", "an act's receipt is withheld", _drop_receipt)
    yield lie("one with another's receipt", "an act's, beside another", _other_record_receipt)
    yield lie(
        "one that nobody asked for", "the first, from elsewhere", lambda found: found.insert(0, _before(found[0]))
    )
    yield lie("one twice", "the last again, under its own index", lambda found: found.append(found[-1]))


def _some(found: list[dict[str, Any]]) -> dict[str, Any]:
    """One of those that every checkpoint covers: the last of all is often the record of this very reading."""
    return found[min(3, len(found) - 1)]


def _alter_record(one: dict[str, Any]) -> None:
    one["record"] = flipped(one["record"].encode()).decode()


def _other_record_receipt(found: list[dict[str, Any]]) -> object:
    receipted = [one for one in found if "receipt" in one]
    if len(receipted) < 2:
        return False
    receipted[-1]["receipt"] = receipted[0]["receipt"]
    return None


def _before(one: dict[str, Any]) -> dict[str, Any]:
    return one | {"index": one["index"] - (1 << 20)}


def _shift(found: list[dict[str, Any]]) -> None:
    for one in found:
        one["index"] += 1


def _drop_receipt(found: list[dict[str, Any]]) -> None:
    for one in found:
        one.pop("receipt", None)


def _of_receipts() -> Iterator[Lie]:
    act, leaf = "the receipt names the act by its digest", "the leaf proved must be the act's, where the receipt says"

    def lie(what: str, says: str, noticed: str, tell: Tell) -> Lie:
        return Lie(f"receipt: {what}", says, noticed, ANSWERED, tell, family="receipt")

    yield lie("of another act", "a true receipt and proof, replayed", act, replayed("receipt"))
    yield lie("of the same words by another id", "of an act that said the same", act, replayed("twin"))
    yield lie("by another key", "signed with the log key", "the receipt key", receipt_with(lambda _l, _s: {}, "log"))
    yield lie(
        "with another index", "the place beside", leaf, receipt_with(lambda _l, said: {"index": said.log.index + 1})
    )
    yield lie(
        "of another log", "a year that is not", leaf,
        receipt_with(lambda liar, _said: {"origin": f"{liar.host}/v1/log/audit/1999"}),
    )  # fmt: skip
    yield lie("withheld", "no receipt at all", "there is none", answered(lambda _l, d: d.update(receipt=None)))
    yield lie("proof withheld", "no proof at all", "there is none", answered(lambda _l, d: d.update(proof=None)))
    yield lie("proof truncated", "a hash less", "the path to the root", proof(lambda hashes: hashes[:-1]))
    yield lie("proof too long", "a hash more", "the path to the root", proof(lambda hashes: [*hashes, bytes(32)]))
    yield lie("proof of another log", "under the keys log's checkpoint", "the origin", answered(other_log))
    yield lie("proof by another key", "its checkpoint by the receipt key", "the log's key", answered(other_key))
    yield lie("proof of before", "under a checkpoint that is too short", "the index", answered(before_it_was_there))
    yield lie("in a fork", "right, in a log that nobody else sees", "the pin", answered(in_a_fork))
    growth = frozenset({K.CONSISTENCY})
    for what, change in (
        ("wrong", lambda found: [base64.b64encode(bytes(32)).decode() for _ in found]),
        ("short", lambda found: found[:-1]),
        ("too long", lambda found: [*found, base64.b64encode(bytes(32)).decode()]),
        ("no hashes", lambda found: ["x" for _ in found]),
    ):
        yield Lie(f"consistency: {what}", "another proof of growth", "the pin", growth, _grown(change), family="growth")
    sizes = changed(lambda _l, told: told.update(to=told["to"] + 1))
    yield Lie("consistency: other sizes", "of another growth", "the pin", growth, sizes, family="growth")
    lost = changed(_follow)
    yield Lie(
        "consistency: a term that is not", "as if leaves had been lost", "its proved beginning", growth, lost,
        exits=frozenset({int(Exit.VERIFICATION_FAILED), int(Exit.NOT_FOUND)}), family="growth",
    )  # fmt: skip


def _follow(liar: Liar, told: dict[str, Any]) -> object:
    """Where somebody asks what follows: there, from a size to itself."""
    if told["from"] != told["to"]:
        return False
    told["following"] = f"{liar.kept['audit'][-4:]}.2"
    return None


def _grown(change: Callable[[list[str]], list[str]]) -> Tell:
    """Another proof, where there is one: from a size to itself nothing grows, and it only tells what follows."""

    def only(_liar: Liar, told: dict[str, Any]) -> object:
        if told["from"] == told["to"]:
            return False
        told["proof"] = change(told["proof"])
        return None

    return changed(only)


def _of_referrals() -> Iterator[Lie]:
    fold, signer = "the fold of the acts gives other states", "the signer's keys in the keys log"
    place = "the receipt names the act and its place"
    rows: tuple[tuple[str, str, str, Tell], ...] = (
        ("acknowledgement left out", "an act is missing", fold, without("ack")),
        ("submit left out", "the first act is missing", fold, without("submit")),
        ("delivery left out", "a unit is missing", fold, view(lambda _l, shown: shown["deliveries"].clear())),
        ("another state claimed", "closed", fold, _claim("state", "closed")),
        ("another head claimed", "a digest of nothing", fold, _claim("head", "A" * 43)),
        ("act altered", "one byte of an act", signer, last_act(_alter_act)),
        ("act by an unlogged key", "signed by the exchange", signer, last_act(_by_unlogged_key)),
        ("act of another referral", "added to this one's", "its reference", view(_stranger)),
        (
            "another referral",
            "its reference alone",
            "its reference",
            view(lambda _l, shown: shown.update(ref="0" * 36)),
        ),
        ("another referral whole", "in place of this", "its reference", view(_whole)),
        ("receipt of another act", "of the first for the last", place, view(_other_receipt)),
        ("receipts with other indices", "signed anew, in order", "the receipts that one holds", view(_elsewhere)),
        ("receipt with another state", "signed anew", fold, last_act(_other_state)),
        ("receipt withheld", "an act without", place, last_act(lambda _l, one: one.update(receipt=None))),
        ("no form", "members of other types", "the form", view(lambda _l, shown: shown.update(acts=[1]))),
    )
    for what, says, noticed, tell in rows:
        yield Lie(f"view: {what}", says, noticed, frozenset({K.VIEW}), tell, family="view")
    yield Lie(
        "hint: a referral that is none",
        "named as related to this one",
        "whom nothing is named, and the sender, who finds nothing there",
        frozenset({K.VIEW}),
        view(lambda _l, shown: shown.update(related=["018f0000-0000-7000-8000-000000000000"])),
        family="hint",
    )
    digest = "the act names it by its digest"
    for kind, word in ((K.BUNDLE, "bundle"), (K.SEALED, "note")):
        about = frozenset({kind})
        other = kept_bytes("bundle" if kind is K.BUNDLE else "note")
        yield Lie(f"{word}: swapped", "another that was sealed for us", digest, about, other, family=word)
        yield Lie(
            f"{word}: cut", "its end is missing", "its form", about, sealed_with(lambda raw: raw[:-40]), family=word
        )
        yield Lie(
            f"{word}: one byte", "another ciphertext", "its digest or seal", about, sealed_with(flipped), family=word
        )


def _whole(liar: Liar, shown: dict[str, Any]) -> None:
    shown.clear()
    shown |= liar.kept["other"]


def _of_the_rest() -> Iterator[Lie]:
    def row(kind: Kind, family: str, what: str, says: str, noticed: str, tell: Tell) -> Lie:
        return Lie(f"{family}: {what}", says, noticed, frozenset({kind}), tell, family=family)

    def inbox(what: str, says: str, change: Callable[[Liar, dict[str, Any]], object]) -> Lie:
        return Lie(f"inbox: {what}", says, "the form", frozenset({K.INBOX}), changed(change), family="inbox")

    yield inbox("no lines", "no list where lines belong", lambda _l, page: page.update(entries={}))
    yield inbox(
        "a line of another form", "a kind that is none", lambda _l, page: page.update(entries=[{"kind": "\x1b["}])
    )
    yield inbox("no cursor", "a place that is none", lambda _l, page: page.update(cursor=7))
    yield inbox("no end", "more, for ever, from the same place", _endless)
    digits = "the keys' own proofs, or the thirty digits"
    for what, change in (("key missing", _swap_keys), ("key swapped", _swap_key), ("key altered", _alter_key)):
        tell = _each("enrolments", change)
        yield Lie(
            f"enrolments: {what}",
            "in an applicant's proposal",
            digits,
            frozenset({K.ENROLMENTS}),
            tell,
            family="enrolments",
        )
    no_turn = _each("enrolments", lambda waiting: waiting[0].update(turn="nobody"))
    yield Lie(
        "enrolments: no turn",
        "a turn that is none",
        "the form",
        frozenset({K.ENROLMENTS}),
        no_turn,
        family="enrolments",
    )
    turn = changed(lambda _l, told: told.update(turn="nobody") if "turn" in told else False)
    yield Lie(
        "enrolment: no turn", "a turn that is none", "the form", frozenset({K.ENROLMENT}), turn, family="enrolment"
    )
    mistaken = changed(lambda _l, told: told.update(credential="linea-100.pxxxxxxx", party="linea-100"))
    yield Lie(
        "ping: somebody else", "takes us for another", "the profile", frozenset({K.PING}), mistaken, family="ping"
    )
    unformed = changed(lambda _l, told: told.pop("server_time"))
    yield row(K.PING, "ping", "no form", "a member is missing", "the form", unformed)

    filled = changed(lambda _l, told: told["tables"]["declines"]["cells"].update(no_capacity=12))
    yield row(K.STATISTICS, "statistics", "a cell", "a figure where a blank belongs", "the log, counted again", filled)
    emptied = changed(lambda _l, told: told["tables"].pop("declines"))
    yield row(K.STATISTICS, "statistics", "a table less", "a table is left out", "the form", emptied)
    called = changed(lambda _l, told: told["calls"].update(total=8500, months=17))
    yield row(K.STATISTICS, "statistics", "calls", "of which no hotline told", "the hotlines' acts", called)
    for what, says, spoil in (
        ("no list", "no list where parties belong", lambda _l, told: told.update(parties={})),
        ("no mark", "words where a yes or no belongs", lambda _l, told: told["parties"][-1].update(live="yes")),
        ("no time", "a time that is none", lambda _l, told: told["parties"][-1].update(live_at=-1)),
    ):
        yield row(K.PARTIES, "presence", what, says, "the form", changed(spoil))

    packs, cut, none = frozenset({K.EVIDENCE}), sealed_with(lambda raw: raw[:-40]), sealed_with(lambda _raw: b"")
    for what, tell in (("cut", cut), ("one byte", sealed_with(flipped)), ("empty", none)):
        yield Lie(f"pack: {what}", "another file", "its manifest", packs, tell, family="pack")


def _endless(_liar: Liar, page: dict[str, Any]) -> None:
    page |= {"more": True, "entries": [], "cursor": "always-here"}


def _no_answers() -> Iterator[Lie]:
    away = frozenset({int(Exit.UNREACHABLE)})
    unread = frozenset({int(Exit.UNREACHABLE), int(Exit.VERIFICATION_FAILED)})
    token = frozenset({K.TOKEN})

    def lie(what: str, tell: Tell, about: frozenset[Kind], exits: frozenset[int], *, slow: bool = False) -> Lie:
        memory = "anew" if about == token else "new"
        family = "token" if about == token else "no answer"
        return Lie(what, "no answer of the protocol", "the form of answers", about, tell, memory, exits, family, slow)

    portal = whatever(200, "text/html", b"<html>Portal</html>")
    yield lie("no answer: a portal's page", portal, EVERY, away)
    moved = whatever(302, "text/plain", b"", location="/elsewhere")
    yield lie("no answer: a redirect", moved, EVERY, away)
    yield lie("no answer: nonsense", lambda _l, _a, answer: body(answer, b'{"a":1,"a":'), EVERY, unread)
    yield lie("no answer: endless", lambda _l, _a, answer: body(answer, b" " * (9 << 20)), EVERY, away)
    yield lie("no answer: a trickle", lambda _l, _a, answer: body(answer, answer.body or b"{}"), EVERY, away, slow=True)
    refused = frozenset({int(Exit.UNREACHABLE), int(Exit.NOT_ENROLLED)})
    yield lie("token: a portal's page", portal, token, refused)
    yield lie("token: a redirect", moved, token, refused)
    yield lie("token: nonsense", whatever(200, "application/json", b'{"access_token":5}'), token, refused)
    bearer = whatever(200, "application/json", b'{"access_token":"x","token_type":"Bearer","expires_in":300}')
    yield lie("token: a bearer token", bearer, token, refused)


LIES: dict[str, Lie] = {lie.name: lie for lie in _lies()}
