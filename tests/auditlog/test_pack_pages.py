"""The how-to pages of a pack: what they tell people to run does what they say, with other people's programs (R-89)."""

from __future__ import annotations

import base64
import hashlib
import html
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from referral_api.auditlog.container import read_archive
from referral_api.auditlog.pack import PAGES
from referral_api.formats.strict_json import b64u
from tests.auditlog.packs import told

FOLDER = Path(__file__).parents[2] / "referral_api/auditlog/pages"
BLOCK = re.compile(r'<pre tabindex="0" id="(\w+)">(.*?)</pre>', re.DOTALL)
TOOLS = ("bash", "jq", "openssl", "basenc", "sha256sum")


def blocks(page: str) -> dict[str, str]:
    return {name: html.unescape(text) for name, text in BLOCK.findall((FOLDER / page).read_text())}


def extracted(folder: Path) -> Path:
    for name, raw in read_archive(told().pack()).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(raw)
    return folder


def run(folder: Path, block: str) -> str:
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"not installed here: {', '.join(missing)}")
    command = ["bash", "-uc", blocks("LEAME.html")[block]]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False).stdout


def test_both_languages_give_the_same_commands() -> None:
    assert blocks("LEAME.html") == blocks("README.html")
    assert blocks("LEAME.html").keys() == {"files", "root", "go", "run", "leaves", "signatures"}


@pytest.mark.parametrize("page", PAGES)
def test_a_page_asks_for_nothing_beside_it(page: str) -> None:
    source = (FOLDER / page).read_text()
    assert "default-src 'none'" in source
    assert set(re.findall(r'(?:href|src)="([^"]*)"', source)) <= {*PAGES, "verificador.html?lang=en"}
    style = re.findall(r"<style>(.*?)</style>", source, re.DOTALL)[0]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in source


def test_the_manifest_is_checked_with_sha256sum(tmp_path: Path) -> None:
    assert run(extracted(tmp_path), "files") == "OK\n"
    (tmp_path / "keys-log/checkpoint").write_bytes(b"another")
    assert "OK" not in run(tmp_path, "files").replace("FAILED", "")


def test_the_root_is_computed_with_openssl(tmp_path: Path) -> None:
    root = b64u(told().root)
    assert run(extracted(tmp_path), "root").split() == [root, root]


def test_leaves_are_held_against_acts_and_records(tmp_path: Path) -> None:
    lines = run(extracted(tmp_path), "leaves").splitlines()
    assert len(lines) == 5
    assert all(line.startswith("OK ") for line in lines)
    act = next(tmp_path.glob("audit-*/*.act.json"))
    act.write_bytes(act.read_bytes() + b" ")
    assert [line[:3] for line in run(tmp_path, "leaves").splitlines()].count("NO ") == 1


def test_signatures_are_verified_with_openssl(tmp_path: Path) -> None:
    lines = run(extracted(tmp_path), "signatures").splitlines()
    assert len(lines) == 4
    assert all(line.endswith("Signature Verified Successfully") for line in lines)
    act = next(tmp_path.glob("audit-*/*.act.json"))
    act.write_bytes(act.read_bytes().replace(b'"payload":"ey', b'"payload":"eZ', 1))
    assert sum("Signature Verified Successfully" in line for line in run(tmp_path, "signatures").splitlines()) == 3
