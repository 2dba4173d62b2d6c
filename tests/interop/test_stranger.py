"""A client that somebody wrote from the documents alone plays a referral's whole life with the exchange.

tests/interop/stranger/ was made from docs/protocol.md, schemas/ and openapi.yaml by somebody who had not seen the code:
enrolment, tokens, keys log, sealing, receipts with proofs, the unit's acts, and refusals of whatever was altered. If a
change of the exchange breaks it, the change breaks the protocol.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.shell import free_port

pytestmark = pytest.mark.interop
STRANGER = Path(__file__).resolve().parent / "stranger"
VECTORS = Path(__file__).resolve().parents[2] / "schemas" / "vectors"
REFUSALS = 25


def run_script(node: str, script: str, **environment: str) -> str:
    done = subprocess.run(
        [node, script],
        cwd=STRANGER,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    return done.stdout


def test_a_strangers_client_lives_a_referrals_whole_life(node: str, tmp_path: Path) -> None:
    """R-06 to R-94 as far as the main job goes; then the command line on either side of it."""
    command = Path(sys.executable).with_name("referral")
    told = run_script(node, "life.mjs", REFERRAL_CLI=str(command), RUN=str(tmp_path), PORT=str(free_port()))
    assert re.search(r"^done: seven steps, (\d+) refusals$", told, re.MULTILINE), told
    assert told.count("   refused:") == REFUSALS


def test_a_strangers_client_reads_every_vector_as_the_vectors_say(node: str) -> None:
    """R-01 to R-37, R-90 to R-94: all that is published, but for what witnesses sign."""
    told = run_script(node, "vectors.mjs")
    counted = re.fullmatch(r"(\d+) vectors as expected, 0 otherwise, (\d+) about witnesses not tried\n", told)
    assert counted is not None, told
    published = [json.loads(path.read_text()) for path in VECTORS.glob("*.json")]
    assert sum(map(int, counted.groups())) == sum(map(len, published))
    assert int(counted[2]) == sum(bool(one["input"].get("witnesses")) for file in published for one in file)
