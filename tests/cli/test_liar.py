"""Every command that talks to the exchange, in front of a liar: the right exit code, the right words, and no good news.

One lie of each family that matters to a command, the first of them in both languages; every lie against every call is
tests/story/test_liar.py.
"""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from referral_api.cli.main import build
from referral_api.cli.output import EXIT_OF, Exit
from referral_api.cli.texts import say
from referral_api.domain.catalogue import Language, text_of
from referral_api.domain.errors import ErrorCode
from referral_api.domain.words import Act
from tests.cli.shell import EXAMPLES, Ran, Shell
from tests.liar import Liar, Lie
from tests.liar_scene import NEWCOMER, Scene, held
from tests.lies import LIES
from tests.world import UNIT, Founded, World, composition

LANGS: tuple[Language, ...] = ("es", "en")
GOOD = (
    "receipt.verified",
    "timeline.verified",
    "audit.green",
    "done.ack",
    "done.accept",
    "done.submit",
    "approve.done",
)
LOG = ("no answer", "keys log")
ACT = ("no answer", "view", "receipt")
REPLAYED = "receipt: of another act"
QUORUM = ("cosignatures: forged", "cosignatures: fewer")
LONG = ("long log: partial bundle at a full path", "long log: full tile swapped", "long log: another hash above")
ONE_RECORD = "records: one changed"
"""Of this family: each record that is false leaves its own evidence on the disk."""


@dataclass(frozen=True)
class Row:
    """A command line: whose, its words, families of lies or single ones, and what must have become of the referral."""

    seat: str
    words: tuple[str, ...]
    families: tuple[str, ...]
    before: str = "submitted"
    also: tuple[int, ...] = ()

    @property
    def judges(self) -> bool:
        """An auditor's verb: what is false is what it was asked to find, and ends it with 1 (decision 0021)."""
        return self.seat == "auditor"

    def exits(self, lie: Lie) -> set[int]:
        """The exit codes of having noticed."""
        found = {int(Exit.UNEXPECTED) if self.judges and one in _FALSE else one for one in lie.exits}
        return {*found, *self.also}


_FALSE = (Exit.VERIFICATION_FAILED, Exit.USAGE)
ROWS: dict[str, Row] = {
    # Auditors first: what they read grows with every command of the others.
    "audit verify": Row(
        "auditor", ("audit", "verify"), ("no answer", "keys log", "audit log", ONE_RECORD), also=(1, 3)
    ),
    "audit explain": Row(
        "auditor", ("audit", "explain", "--full"), ("no answer", "keys log", "audit log", ONE_RECORD), also=(1, 3)
    ),
    "audit referral": Row("auditor", ("audit", "referral", "REF"), ("no answer", "audit log", "records", "view")),
    "audit records": Row(
        "auditor", ("audit", "records", "--limit", "1000"), ("no answer", "audit log", "records"), also=(3,)
    ),
    "audit keys": Row("auditor", ("audit", "keys"), LOG),
    "audit pack": Row("operator", ("audit", "pack", "REF", "--out", "OUT"), ("no answer", "pack"), also=(1,)),
    "audit mirror": Row("auditor", ("audit", "mirror", "OUT"), ("no answer", "audit log")),
    "send": Row(
        "operator", ("send", "emergencia.json", "--unit", UNIT), ("keys log", "no answer", "receipt"), also=(8,)
    ),
    "timeline": Row("operator", ("timeline", "REF"), ("no answer", "view")),
    "withdraw": Row("operator", ("withdraw", "REF", "--reason", "consent_withdrawn"), ACT),
    "outbox flush": Row("operator", ("outbox", "flush"), ("no answer", "receipt", "growth"), "queued", (8,)),
    "outbox reseal": Row("operator", ("outbox", "reseal", "ACT"), ("no answer", "keys log", "receipt"), "stale", (8,)),
    "outbox resend": Row("operator", ("outbox", "resend", "REF"), ("no answer", "receipt")),
    "inbox list": Row("officer", ("inbox", "list"), ("no answer", "inbox")),
    "inbox watch": Row("officer", ("inbox", "watch", "--once", "--wait", "0"), ("no answer", "inbox")),
    "show": Row("officer", ("show", "REF"), ("no answer", "view", "bundle")),
    "ack": Row("officer", ("ack", "REF"), ("no answer", "view", "bundle", "receipt")),
    "accept": Row("officer", ("accept", "REF"), ACT, "acknowledged"),
    "decline": Row("officer", ("decline", "REF", "--reason", "conflict_of_interest"), ACT, "acknowledged"),
    "status": Row("officer", ("status", "REF", "--to", "registered"), ACT, "accepted"),
    "receipt-failed": Row("officer", ("receipt-failed", "REF", "--reason", "cannot_decrypt"), ACT),
    "note": Row("officer", ("note", "REF", "passphrase"), ACT, "accepted"),
    "close": Row("officer", ("close", "REF", "--outcome", "not_located"), ACT, "accepted"),
    "loss": Row("operator", ("loss",), ("no answer",)),
    "whoami": Row("operator", ("whoami",), ("no answer", "ping")),
    "units list": Row("operator", ("units", "list"), LOG),
    "units show": Row("operator", ("units", "show", UNIT), LOG),
    "keys show": Row("operator", ("keys", "show"), LOG),
    "invite": Row("registrar", ("invite", "--entry", "entidad.json", "--out", "OUT"), ("no answer", "receipt")),
    "enrol": Row(NEWCOMER, ("enrol",), ("no answer", "enrolment")),
    "enrolments": Row("registrar", ("enrolments",), ("no answer", "enrolments")),
    "approve": Row("registrar", ("approve", NEWCOMER, "--code-file", "digits"), ("no answer", "enrolments", "receipt")),
}
WITNESSED: dict[str, Row] = {
    "receipt upgrade": Row("operator", ("receipt", "upgrade", "ACT", "--wait", "1"), ("cosignatures", REPLAYED)),
    "audit witnesses": Row("auditor", ("audit", "witnesses"), ("cosignatures",), also=(3,)),
    "audit keys": Row("auditor", ("audit", "keys"), QUORUM),
    "audit records": Row("auditor", ("audit", "records", "--limit", "1000"), LONG, also=(1,)),
    "send": Row("operator", ("send", "emergencia.json", "--unit", UNIT), QUORUM),
    "note": Row("officer", ("note", "REF", "passphrase"), QUORUM),
    "units list": Row("operator", ("units", "list"), QUORUM),
}
"""In front of an exchange with witnesses and a long log: run by tests/story/test_liar_witnessed.py, with every lie of
these families (tests/lies_witnessed.py) in one language or the other.
"""
SILENT = {
    "outbox list": "reads the outbox", "receipt show": "reads the outbox", "receipt verify": "judges a file",
    "audit verify-pack": "judges a file", "audit db": "reads the operator's own database",
}  # fmt: skip
"""Commands that make no call here, and why; all of `admin` and `witness` are the operators' own."""
FIRST = {
    "audit log": "audit log: checkpoint by another key",
    "view": "view: another state claimed",
    "records": "records: shifted by one",
}
"""Which lie stands for its family, where it is not the first of it: a search cannot tell what it was not told, says so,
and leaves that to `audit verify`.
"""


def commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[str]:
    """Every command there is, by its words."""
    below = getattr(command, "commands", None)
    if below is None:
        yield " ".join(path)
        return
    for name, child in below.items():
        yield from commands(child, (*path, name))


def test_every_command_has_a_row_or_a_reason() -> None:
    every = {one for one in commands(build("es", loaded=())) if one.partition(" ")[0] not in ("admin", "witness")}
    assert every == ROWS.keys() | WITNESSED.keys() | SILENT.keys()


@pytest.fixture(scope="module")
def scene(founded: Founded, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """An exchange with a past, and a liar in front of it."""
    with World(founded, tmp_path_factory.mktemp("liar-cli") / "world") as world, Liar(world) as liar:
        world.check()
        made = Scene(world, liar)
        made.live()
        shutil.copy(EXAMPLES / "emergencia-piura.json", world.folder / "emergencia.json")
        (world.folder / "digits").write_text(made.code)
        (world.folder / "entidad.json").write_text(
            '{"id":"otra-mas","role":"police_unit","name":"Otra","area":[],"escalation":[],"duty_phone":"+51731234569"}'
        )
        yield made


def prepare(scene: Scene, row: Row) -> dict[str, str]:
    """A referral in the state that the command needs, as everybody's kept profiles know it."""
    named: dict[str, str] = {"OUT": f"out-{next(_OUT)}"}
    words = {word for word in row.words if word in ("REF", "ACT")}
    if not words and row.before == "submitted":
        return named
    with scene.client(scene.world.folder / "new" / "operator", lied_to=False) as operator:
        if row.before in ("queued", "stale"):
            entry = operator.queue(composition())
            if row.before == "stale":
                operator.outbox.sending(entry.outgoing.id, operator.session.ambient.now())
                operator.outbox.needs_resealing(entry.outgoing.id, ErrorCode.RECIPIENT_KEY_STALE)
            return named | {"ACT": entry.outgoing.id}
        ref = str(operator.submit(composition()).outgoing.ref)
    if row.before != "submitted":
        with scene.client(scene.world.folder / "new" / "officer", lied_to=False) as officer:
            officer.acknowledge(officer.open(ref))
            if row.before == "accepted":
                officer.act(ref, Act.ACCEPT, {})
    return named | {"REF": ref}


_OUT = itertools.count(1)


def lies_of(row: Row) -> Iterator[tuple[Language, Lie]]:
    """One lie of each family, in the one language or the other; the first in both."""
    for at, family in enumerate(row.families):
        named = LIES.get(FIRST.get(family, family))
        lie = named or next(one for one in LIES.values() if one.family == family)
        for lang in LANGS if at == 0 else LANGS[at % 2 :][:1]:
            yield lang, lie


@pytest.mark.parametrize("name", ROWS)
def test_a_command_fails_closed_and_says_why(name: str, scene: Scene) -> None:
    """R-94, R-95, R-54, R-16 on the screen: an exit code of the right kind, and not a word that all is well."""
    row = ROWS[name]
    named = prepare(scene, row)
    words = [named.get(word, word) for word in row.words]
    for lang, lie in lies_of(row):
        folder = scene.folder(row.seat, lie.memory)
        before = held(folder)
        scene.liar.begin(lie)
        shell = Shell(scene.world.folder, scene.liar.url)
        ran = shell.run(row.seat, *words, "--lang", lang, REFERRAL_PROFILE=str(folder))
        scene.liar.lie = None
        assert scene.liar.told, f"{lie.name} was never told: {ran}"
        verify_told(lang, lie, ran, row.exits(lie))
        if row.judges and ran.exit == Exit.UNEXPECTED:
            verify_evidence(folder)
        scene.verify_pins(folder)
        assert held(folder) == before, lie.name
        assert not (scene.world.folder / named["OUT"] / "audit").exists(), lie.name
        assert not (scene.world.folder / named["OUT"]).is_file(), lie.name


def verify_told(lang: Language, lie: Lie, ran: Ran, exits: set[int]) -> None:
    """What a person sees: why, in this language, and nothing that reads like success."""
    assert ran.exit in exits, (lie.name, ran)
    shown = ran.out + ran.err
    assert "Traceback" not in shown, ran
    for key in GOOD:
        start = say(lang, key, **dict.fromkeys(("ref", "acts", "party", "log", "index"), "¤")).partition("¤")[0]
        assert len(start) < 6 or start not in shown, (lie.name, key, ran)
    kinds = {ran.exit, *(_FALSE if ran.exit == Exit.UNEXPECTED else ())}
    kinds |= {Exit.NOT_FOUND} if ran.exit == Exit.UNREACHABLE else set()  # Of what was missing, an auditor's verb.
    titles = [text_of(code, lang).title for code in ErrorCode if EXIT_OF[code] in kinds or ran.exit == Exit.PARTLY]
    reds = [say(lang, key)[:9] for key in ("audit.red", "pack.failed")]
    reds += [say(lang, f"explain.result.{result}") for result in ("false", "incomplete")]
    reds += ["? keys:", "? audit/", "✖ keys:", "✖ audit/"]
    assert any(title in shown for title in (*titles, *reds)), (lie.name, ran)


def verify_evidence(folder: Path) -> None:
    """Whoever finds the exchange lying has it in writing: the files of the newest folder are those of its manifest."""
    newest = max((folder / "audit" / "evidence").iterdir(), key=lambda one: one.stat().st_mtime_ns)
    listed = json.loads((newest / "manifest.json").read_bytes())["files"]
    there = {str(one.relative_to(newest)) for one in newest.rglob("*") if one.is_file()}
    assert there == {*listed, "manifest.json"}
    assert any(one.endswith("fault.json") for one in listed)
    for name, digest in listed.items():
        assert sha256((newest / name).read_bytes()).hexdigest() == digest
