"""Every command that talks to the exchange, in front of a liar: the right exit code, the right words, and no good news.

Which command meets which lies, and how it ends, is tests/cli/liar_table.py.
"""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import stamina

from referral_api.cli.main import build
from referral_api.cli.output import EXIT_OF, Exit
from referral_api.cli.texts import say
from referral_api.domain.catalogue import Language, text_of
from referral_api.domain.errors import ErrorCode
from referral_api.domain.words import Act
from tests.cli.liar_table import AUDITOR, FALSE, ROWS, SILENT, WITHHELD, WITNESSED, Row, dealt
from tests.cli.shell import EXAMPLES, Ran, Shell
from tests.liar import Liar, Lie
from tests.liar_scene import Scene, held
from tests.lies import LIES
from tests.world import NATIONAL, Founded, World, composition

LANGS: tuple[Language, ...] = ("es", "en")
GOOD = (
    "receipt.verified",
    "timeline.verified",
    "audit.green",
    "pack.ok",
    "done.ack",
    "done.accept",
    "done.submit",
    "approve.done",
)
_OUT = itertools.count(1)


def commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[str]:
    """Every command there is, by its words."""
    below = getattr(command, "commands", None)
    if below is None:
        yield " ".join(path)
        return
    for name, child in below.items():
        yield from commands(child, (*path, name))


def test_every_command_has_a_row_or_a_reason() -> None:
    every = {one for one in commands(build("es")) if one.partition(" ")[0] not in ("admin", "witness")}
    assert every == AUDITOR.keys() | ROWS.keys() | WITNESSED.keys() | SILENT.keys()


def test_every_lie_that_a_command_may_meet_is_told_to_one() -> None:
    families = {family for row in ROWS.values() for family in row.families}
    told = {lie.name for name in ROWS for lie in dealt(name, LIES)}
    every = {lie.name for lie in LIES.values() if lie.family in families and not lie.slow}
    assert every - told <= {lie.name for row in AUDITOR.values() for lie in row.lies(LIES)}


@pytest.fixture(autouse=True)
def _no_pauses() -> Iterator[None]:
    with stamina.set_testing(True, attempts=1):
        yield


@pytest.fixture(scope="module")
def scene(founded: Founded, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """An exchange with a past, and a liar in front of it."""
    with World(founded, tmp_path_factory.mktemp("liar-cli") / "world") as world, Liar(world) as liar:
        world.check()
        made = Scene(world, liar)
        made.live()
        shutil.copy(EXAMPLES / "emergencia-piura.json", world.folder / "emergencia.json")
        (world.folder / "digits").write_text(made.code)
        (world.folder / "palabras").write_text(" ".join(["abandon"] * 23 + ["art"]))
        (world.folder / "entidad.json").write_text(
            '{"id":"otra-mas","role":"police_unit","name":"Otra","area":[],"escalation":[],"duty_phone":"+51731234569"}'
        )
        yield made


def prepare(scene: Scene, row: Row) -> dict[str, str]:
    """A referral in the state that the command needs, as everybody's kept profiles know it."""
    if row.judges:
        return {"REF": scene.ref, "READER": scene.world.officer.keys.credential}
    if not {"REF", "ACT"} & {*row.words} and row.before == "submitted":
        return {}
    with scene.client(scene.world.folder / "new" / "operator", lied_to=False) as operator:
        if row.before in ("queued", "stale"):
            entry = operator.queue(composition())
            if row.before == "stale":
                operator.outbox.sending(entry.outgoing.id, operator.session.ambient.now())
                operator.outbox.needs_resealing(entry.outgoing.id, ErrorCode.RECIPIENT_KEY_STALE)
            return {"ACT": entry.outgoing.id}
        # What is passed on goes to who has not been sent it already.
        excluded = (NATIONAL,) if "transfer" in row.words else ()
        ref = str(operator.submit(composition(excluded=excluded)).outgoing.ref)
    if row.before != "submitted":
        with scene.client(scene.world.folder / "new" / "officer", lied_to=False) as officer:
            officer.acknowledge(officer.open(ref))
            if row.before == "accepted":
                officer.act(ref, Act.ACCEPT, {})
    return {"REF": ref}


@pytest.mark.parametrize("name", AUDITOR)
def test_an_auditors_verb_tells_what_is_false_from_what_is_withheld(name: str, scene: Scene) -> None:
    """R-94, R-95, decision 0021: every lie has its one exit code, its words, and evidence where it is false."""
    row = AUDITOR[name]
    Telling(scene, row, prepare(scene, row)).verify(lie for lie in row.lies(LIES) if not lie.slow)


@pytest.mark.parametrize("name", ROWS)
def test_a_command_fails_closed_and_says_why(name: str, scene: Scene) -> None:
    """R-94, R-95, R-54, R-16 on the screen: an exit code of the right kind, and not a word that all is well."""
    row = ROWS[name]
    Telling(scene, row, prepare(scene, row)).verify(dealt(name, LIES))


@dataclass(frozen=True)
class Telling:
    """One command in front of one lie after the other; `named` are the words of this telling."""

    scene: Scene
    row: Row
    named: Mapping[str, str]

    def verify(self, lies: Iterator[Lie] | list[Lie]) -> None:
        """Tell each of these lies, in one language or the other. Fails naming every one that went wrong."""
        wrong, healed = {}, set()
        for at, lie in enumerate(lies):
            try:
                self.tell(LANGS[at % 2], lie, heals=self.row.judges and lie.family not in healed)
                healed.add(lie.family)
            except AssertionError as error:
                wrong[lie.name] = str(error)
        assert not wrong, "\n".join(f"{name}: {why}" for name, why in wrong.items())

    def tell(self, lang: Language, lie: Lie, *, heals: bool) -> None:
        """Tell one lie; `heals`: see that the same profile goes on when the liar has gone."""
        scene, out = self.scene, f"out-{next(_OUT)}"
        folder = scene.folder(self.row.seat, lie.memory)
        before, expected = held(folder), self.row.end(lie)
        scene.liar.begin(lie)
        ran = self.run(folder, lang, out)
        told, scene.liar.lie = scene.liar.told, None
        assert told, f"was never told: {ran}"
        assert ran.exit == expected, f"must end with {expected}: {ran}"
        if expected != Exit.OK:
            verify_told(lang, lie, ran)
            assert not [*(scene.world.folder / out).rglob("checkpoint")], "a mirror has its name"
            assert (scene.world.folder / out).is_file() is keeps(self.row, expected), "a file was written, or none"
        if self.row.judges:
            assert (folder / "audit" / "evidence").exists() is (expected == FALSE)
        if self.row.judges and expected == FALSE:
            verify_evidence(folder)
        if self.row.words == ("audit", "verify") and (folder / "audit" / "report.json").exists():
            explained = self.run(folder, lang, out, "audit", "explain")
            assert explained.exit == expected, f"is explained otherwise: {explained}"
            if expected != Exit.OK:
                verify_told(lang, lie, explained)
        scene.verify_pins(folder)
        assert held(folder) == before, "something false is kept"
        if heals:
            again = self.run(folder, lang, f"{out}-again")
            assert again.exit == Exit.OK, f"when the liar has gone: {again}"
        shutil.rmtree(folder)

    def run(self, folder: Path, lang: Language, out: str, *other: str) -> Ran:
        """Run the command, or another, on a profile."""
        shell = Shell(self.scene.world.folder, self.scene.liar.url)
        words = [out if word == "OUT" else self.named.get(word, word) for word in other or self.row.words]
        return shell.run(self.row.seat, *words, "--lang", lang, REFERRAL_PROFILE=str(folder))


def keeps(row: Row, code: int) -> bool:
    """Whether a command leaves a file all the same: of a pack that lacks something, nothing is false."""
    return row.words[:2] == ("audit", "pack") and row.ends != {"pack": FALSE} and code == WITHHELD


def verify_told(lang: Language, lie: Lie, ran: Ran) -> None:
    """What a person sees: why, in this language, and nothing that reads like success."""
    shown = ran.out + ran.err
    assert "Traceback" not in shown, ran
    for key in GOOD:
        start = say(lang, key, **dict.fromkeys(("ref", "acts", "party", "log", "index"), "¤")).partition("¤")[0]
        assert len(start) < 6 or start not in shown, (lie.name, key, ran)
    kinds = {ran.exit, *((Exit.VERIFICATION_FAILED, Exit.USAGE) if ran.exit == FALSE else ())}
    titles = [
        text_of(code, lang).title
        for code in ErrorCode
        if EXIT_OF[code] in kinds or ran.exit in (Exit.PARTLY, Exit.PROBLEMS)
    ]
    titles += [text_of(ErrorCode.NOT_WITNESSED, lang).title] if ran.exit == WITHHELD else []
    titles += [say(lang, f"fault.{one}-absent.what") for one in ("record", "receipt", "log")]
    titles += [say(lang, f"fault.{one}.what") for one in ("keys-false", "enrolment-false", "referral-false")]
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
