"""A real browser for the tests of `verificador.html`: Debian's Chromium, or one that Playwright installed.

Where there is none the test is skipped and says so; where REFERRAL_REQUIRE_BROWSER is set, as in the gate, it fails.
The browser is offline, and whatever it asks for beside the page itself is noted.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

import pytest
from playwright.sync_api import Browser, Error, Page, sync_playwright

PAGES = Path(__file__).parents[2] / "referral_api/auditlog/pages"
NAMES = ("chromium", "chromium-browser", "google-chrome")


@dataclass
class Verifier:
    """The page, open from disk."""

    page: Page
    folder: Path
    requests: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    checked: int = 0

    def check(self, pack: bytes, root: str = "") -> str:
        """Hand the page a pack; the class of its verdict."""
        # A browser takes a file of the same name for the same file, and would leave the old result standing.
        self.checked += 1
        file = self.folder / f"pack-{self.checked}.zip"
        file.write_bytes(pack)
        self.page.fill("#root", root)
        self.page.set_input_files("#file", str(file))
        self.page.wait_for_selector("#result:not([hidden])")
        return self.page.get_attribute("#verdict", "class") or ""

    def outcomes(self) -> dict[str, str]:
        """What came of each step."""
        steps = self.page.locator("#steps > li").all()
        return {str(one.get_attribute("data-step")): str(one.get_attribute("data-outcome")) for one in steps}

    @property
    def words(self) -> str:
        """Everything that the page says."""
        return self.page.inner_text("body")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser for a file's tests, and no longer: while it is open, nothing else in this process may run a loop."""
    installed = next((found for name in NAMES if (found := shutil.which(name)) is not None), None)
    try:
        with sync_playwright() as playwright:
            options = ["--no-sandbox"] if os.geteuid() == 0 else []
            browser = playwright.chromium.launch(executable_path=installed, args=options)
            yield browser
            browser.close()
    except Error as error:
        _give_up(f"no browser ({', '.join(NAMES)}): {str(error).splitlines()[0]}")


@pytest.fixture
def verifier(browser: Browser, tmp_path: Path) -> Iterator[Verifier]:
    """The page in Spanish, as it opens from disk."""
    yield from open_page(browser, tmp_path, "")


@pytest.fixture
def english(browser: Browser, tmp_path: Path) -> Iterator[Verifier]:
    """The page in English."""
    yield from open_page(browser, tmp_path, "?lang=en")


def open_page(browser: Browser, folder: Path, query: str) -> Iterator[Verifier]:
    """Open it offline; in the end nothing has gone wrong in it, and it has asked for nothing but itself."""
    context = browser.new_context(offline=True)
    verifier = Verifier(context.new_page(), folder)
    verifier.page.on("request", lambda request: verifier.requests.append(request.url))
    verifier.page.on("pageerror", lambda error: verifier.errors.append(str(error)))
    verifier.page.on("console", lambda message: verifier.errors.append(message.text))
    address = f"{(PAGES / 'verificador.html').as_uri()}{query}"
    verifier.page.goto(address)
    yield verifier
    context.close()
    assert verifier.errors == []
    assert verifier.requests == [address]


def _give_up(reason: str) -> NoReturn:
    if os.environ.get("REFERRAL_REQUIRE_BROWSER"):
        pytest.fail(reason)
    pytest.skip(reason)
