"""False keys on the screen: exit code 5, what happened, what an officer does now, and whom to telephone, in both
languages. What the client itself does in front of each of these lies: tests/story/test_swapped_keys.py.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from referral_api.cli.output import Exit
from referral_api.domain.catalogue import Language
from tests.cli.shell import EXAMPLES, Ran, Shell
from tests.liar import Kind, Liar, Lie
from tests.liar_scene import NEWCOMER, Scene, held
from tests.lies import LIES
from tests.lies_of_keys import ITS_RECEIPT, OF_APPLICANTS, OF_KEYS, REFUSED_FOR
from tests.world import UNIT, Founded, World, composition

LANGS: tuple[Language, ...] = ("es", "en")
COMMANDS: dict[str, tuple[str, tuple[str, ...]]] = {
    "send": ("operator", ("send", "emergencia.json", "--unit", UNIT)),
    "units show": ("operator", ("units", "show", UNIT)),
    "keys show": ("officer", ("keys", "show")),
    "approve": ("registrar", ("approve", NEWCOMER, "--code-file", "digits")),
}
"""Where people rely on whose keys are whose."""
KEYS_FALSE = {
    "es": (
        "✖ EL SERVIDOR MUESTRA UN REGISTRO DE CLAVES FALSO: no se usó ninguna clave de él.",
        "Qué hacer: No envíe nada. Llame a la unidad y al auditor, a números que ya conocía;",
    ),
    "en": (
        "✖ THE EXCHANGE SHOWS A FALSE KEYS LOG: no key of it was used.",
        "What to do: Send nothing. Telephone unit and auditor, at numbers you knew before;",
    ),
}
OTHER_EXCHANGE = {
    "es": (
        "✖ No es el servidor en el que usted se inscribió.",
        "Verifique la dirección; si es correcta, llame al registrador a un número que ya conozca.",
    ),
    "en": ("✖ Not the exchange that you enrolled with.", "call the registrar at a number that you know."),
}
ENROLMENT_FALSE = {
    "es": (
        "✖ EL SERVIDOR MUESTRA UNA INSCRIPCIÓN FALSA: no se aprobó nada.",
        "Qué hacer: No apruebe ninguna inscripción. Llame usted a quien invitó, a un número que ya conocía,",
    ),
    "en": (
        "✖ THE EXCHANGE SHOWS A FALSE ENROLMENT: nothing was approved.",
        "What to do: Approve no enrolment. Telephone whom you invited, at a number that you knew before,",
    ),
}
VIEWS_DIFFER = {
    "es": (
        "✖ EL REMITENTE Y USTED VEN REGISTROS DE CLAVES DISTINTOS: el sobre no se muestra.",
        "Qué hacer: Llame ya al remitente, a un número que ya conocía: que le cuente.",
    ),
    "en": (
        "✖ THE SENDER AND YOU SEE DIFFERENT KEYS LOGS: the bundle is not shown.",
        "What to do: Telephone the sender now, at a number you knew before, about the case.",
    ),
}
REFERRAL_FALSE = {
    "es": ("✖ LO QUE EL SERVIDOR MUESTRA DE ESTA DERIVACIÓN ES FALSO.", "Llame a la otra parte y al auditor,"),
    "en": ("✖ WHAT THE EXCHANGE SHOWS OF THIS REFERRAL IS FALSE.", "Telephone the other side and the auditor,"),
}


@pytest.fixture(scope="module")
def scene(founded: Founded, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """An exchange with a past, and a liar in front of it."""
    with World(founded, tmp_path_factory.mktemp("swapped-cli") / "world") as world, Liar(world) as liar:
        world.check()
        made = Scene(world, liar)
        made.live()
        shutil.copy(EXAMPLES / "emergencia-piura.json", world.folder / "emergencia.json")
        (world.folder / "digits").write_text(made.code)
        yield made
        liar.begin(None)


def run(scene: Scene, folder: Path, lang: Language, *words: str) -> Ran:
    """A command on a copy of somebody's profile, in front of the liar."""
    shell = Shell(scene.world.folder, scene.liar.url)
    return shell.run(folder.name, *words, "--lang", lang, REFERRAL_PROFILE=str(folder))


def lied_to(scene: Scene, lie: Lie, seat: str, lang: Language, *words: str, memory: str | None = None) -> Ran:
    """The same, while this lie is told; nothing of it may be kept."""
    folder = scene.folder(seat, memory or lie.memory)
    before = held(folder)
    scene.liar.begin(lie)
    ran = run(scene, folder, lang, *words)
    told, sent = scene.liar.told, [one for one in scene.liar.asked if one.kind is Kind.PUT]
    scene.liar.begin(None)
    assert told, ran
    assert lie is ITS_RECEIPT or not sent, "something was sent"
    scene.verify_pins(folder)
    assert held(folder) == before
    return ran


def verify_told(ran: Ran, words: dict[str, tuple[str, str]], lang: Language) -> None:
    """Exit code 5, and a person is told what happened and what to do."""
    assert ran.exit == Exit.VERIFICATION_FAILED, ran
    shown = ran.out + ran.err
    for told in words[lang]:
        assert told in shown, ran
    assert "Traceback" not in shown


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("name", OF_KEYS)
def test_a_false_keys_log_ends_a_command_with_5_and_says_whom_to_telephone(
    name: str, command: str, scene: Scene
) -> None:
    seat, words = COMMANDS[command]
    lang = LANGS[(list(OF_KEYS).index(name) + list(COMMANDS).index(command)) % 2]
    ran = lied_to(scene, OF_KEYS[name], seat, lang, *words)
    # Who has admitted somebody has known the true log since the founding; there it need not even begin otherwise.
    other = name == "another exchange: whole" and seat == "operator"
    verify_told(ran, OTHER_EXCHANGE if other else KEYS_FALSE, lang)
    assert UNIT not in ran.out, "a unit is shown on the strength of false keys"


@pytest.mark.parametrize("lang", LANGS)
def test_a_script_is_told_the_same(lang: Language, scene: Scene) -> None:
    folder = scene.folder("operator", "new")
    scene.liar.begin(OF_KEYS["swapped key: vouched for by the exchange"])
    ran = run(scene, folder, lang, "send", "emergencia.json", "--unit", UNIT, "--json")
    scene.liar.begin(None)
    error = ran.json["error"]
    assert (ran.exit, error["exit"], error["code"]) == (5, 5, "possession-not-proved")
    assert error["facts"]["shown"] == "keys-log"
    assert f"✖ {error['title']}" == KEYS_FALSE[lang][0]


@pytest.mark.parametrize("lang", LANGS)
def test_another_exchanges_receipt_is_no_receipt(lang: Language, scene: Scene) -> None:
    words = {
        "es": ("✖ Una firma no es válida.", "avise por teléfono al auditor y a la otra parte"),
        "en": ("✖ A signature does not hold.", "tell the auditor and the other party by telephone."),
    }
    ran = lied_to(scene, ITS_RECEIPT, "operator", lang, "send", "emergencia.json", "--unit", UNIT, memory="new")
    verify_told(ran, words, lang)


@pytest.mark.parametrize("command", [("enrolments",), ("approve", NEWCOMER, "--code-file", "digits")], ids=" ".join)
@pytest.mark.parametrize("name", OF_APPLICANTS)
def test_an_applicant_with_a_key_that_is_none_is_no_applicant(
    name: str, command: tuple[str, ...], scene: Scene
) -> None:
    """R-07: with the reason in the facts, and the advice to telephone whom one invited."""
    lang = LANGS[(list(OF_APPLICANTS).index(name) + len(command)) % 2]
    ran = lied_to(scene, OF_APPLICANTS[name], "registrar", lang, *command)
    verify_told(ran, ENROLMENT_FALSE, lang)
    code, reason = REFUSED_FOR[name]
    assert code in ran.err
    assert reason is None or f"reason={reason}" in ran.err
    assert NEWCOMER not in ran.out


@pytest.mark.parametrize("lang", LANGS)
def test_a_bundle_of_who_was_shown_another_keys_log_is_not_shown(lang: Language, scene: Scene) -> None:
    """R-26: only comparing finds it out, and the officer is told to telephone the sender now."""
    folder = scene.folder("operator", "none")
    scene.liar.begin(LIES["keys log: fork"])
    with scene.client(folder, lied_to=True) as client:
        ref = str(client.submit(composition()).outgoing.ref)
    scene.liar.begin(None)
    for words in (("show", ref), ("ack", ref)):
        ran = run(scene, scene.folder("officer", "new"), lang, *words)
        verify_told(ran, VIEWS_DIFFER, lang)
        assert "Piura" not in ran.out


@pytest.mark.parametrize("lang", LANGS)
def test_an_act_that_nobody_of_the_unit_has_signed_is_not_shown(lang: Language, scene: Scene) -> None:
    ran = lied_to(scene, LIES["view: act by an unlogged key"], "operator", lang, "timeline", scene.ref)
    verify_told(ran, REFERRAL_FALSE, lang)
