"""Transcripts: what people type and what they see, played against an exchange in a process of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.shell import EXAMPLES, Shell, parse_transcript, served
from tests.world import Founded

TRANSCRIPTS = sorted((Path(__file__).parent / "transcripts").glob("*.txt"))
FILES = {
    "mala.yaml": "urgency: &a [*a]\n",
    "mala-frase": "otra frase cualquiera\n",
    "ficha.yaml": (
        "id: comisaria-nueva\nrole: police_unit\nname: Comisaría nueva\narea: ['20']\n"
        "escalation: [pnp-nacional]\nduty_phone: '+5173000000'\n"
    ),
    "rutina.yaml": (EXAMPLES / "minima-lima.yaml").read_text().replace("urgency: urgent\n", "urgency: routine\n"),
}


def play(founded: Founded, folder: Path, transcript: Path) -> int:
    with served(founded, folder) as shell:
        for name, content in FILES.items():
            (shell.folder / name).write_text(content, encoding="utf-8")
        return shell.play(transcript.read_text(encoding="utf-8"))


@pytest.mark.parametrize("transcript", TRANSCRIPTS, ids=lambda path: path.stem)
def test_a_transcript_plays_as_it_is_written(founded: Founded, tmp_path: Path, transcript: Path) -> None:
    commands = len(list(parse_transcript(transcript.read_text(encoding="utf-8"))))
    assert play(founded, tmp_path / "served", transcript) == commands > 0


def test_a_transcript_that_differs_is_noticed(shell: Shell) -> None:
    right = "nobody$ referral --version\nreferral …\n[exit 0]\n"
    assert shell.play(right) == 1
    for wrong in (right.replace("[exit 0]", "[exit 1]"), right.replace("referral …", "referal …"), right + right[:-9]):
        with pytest.raises((AssertionError, ValueError)):
            shell.play(wrong)
