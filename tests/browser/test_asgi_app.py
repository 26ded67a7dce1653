"""The web app in a real Chromium, as its users have it."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from shell import SECONDS
from web_app import WebApp, web_app

from jidocode.testing import eventually

CHROMIUM, DRIVER = map(shutil.which, ("chromium", "chromedriver"))
pytestmark = pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="Chromium is not installed")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.fixture
def app(tmp_path: Path) -> Iterator[WebApp]:
    """The app, served."""
    with web_app(tmp_path / "kept") as app:
        yield app


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Chrome]:
    """A browser with a profile of its own."""
    options = ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for flag in (*FLAGS, f"--user-data-dir={tmp_path / 'profile'}"):
        options.add_argument(flag)
    browser = Chrome(options, Service(DRIVER))
    browser.set_page_load_timeout(SECONDS)
    try:
        yield browser
    finally:
        browser.quit()


class Tab:
    """What somebody sees and does in the tab that is in front."""

    def __init__(self, browser: Chrome) -> None:
        self._browser = browser

    def text(self, name: str) -> str:
        """Return what is to be read in an element."""
        return str(self._browser.find_element(By.ID, name).text)

    def await_text(self, name: str, pattern: str) -> re.Match[str]:
        """Return a match of *pattern*, once it is to be read in an element."""
        found = None

        def look() -> re.Match[str] | None:
            nonlocal found
            found = self.text(name)
            return re.search(pattern, found)

        try:
            return eventually(look, f"{pattern!r} in #{name}", timeout=SECONDS)
        except AssertionError as error:
            raise AssertionError(f"{error}; it has {found!r}") from None

    def enter(self, text: str, button: str) -> None:
        """Type *text*, and click a button."""
        field = self._browser.find_element(By.ID, "text")
        field.send_keys(text)
        self.click(button)
        eventually(lambda: not field.get_attribute("value"), "the taking of it", timeout=SECONDS)

    def click(self, button: str) -> None:
        """Click a button."""
        self._browser.find_element(By.ID, button).click()


def test_a_page_says_runs_kills_and_is_loaded_again(app: WebApp, browser: Chrome) -> None:
    """All of it in two tabs, with a restart of the server at the end."""
    tab = Tab(browser)
    browser.get(f"http://127.0.0.1:{app.port}/")
    session = tab.await_text("session", r"^[0-9a-f]{8}$").group()
    processes = tab.await_text(
        "processes", r"session +healthy\n.*manager[^\n]*\n.*state  pid (\d+)"
    )

    tab.enter("<b>hello</b>", "say")
    tab.await_text("conversation", r"<b>hello</b>")
    command = "echo first; until [ -e go ]; do sleep 0.1; done; echo second; exit 3"
    tab.enter(command, "run")
    tab.await_text("conversation", r"\$ echo first;[^\n]*\nfirst$")  # it runs on

    tab.click("kill")
    killed = processes.group(1)
    state = tab.await_text(
        "processes", r"session +healthy\n(?:.*\n)*.*state  pid (\d+), healthy, restarts 1"
    )
    assert state.group(1) != killed
    tab.enter("touch go", "run")
    tab.await_text("conversation", r"first\nsecond\nexit code 3")
    tab.await_text("conversation", r"\$ touch go\nexit code 0")

    seen = tab.text("conversation")
    browser.refresh()
    assert tab.await_text("session", r"^[0-9a-f]{8}$").group() == session
    tab.await_text("conversation", re.escape(seen))

    first_tab = browser.current_window_handle
    browser.switch_to.new_window("tab")
    browser.get(f"http://127.0.0.1:{app.port}/")
    assert tab.await_text("session", r"^[0-9a-f]{8}$").group() != session
    assert tab.text("conversation") == ""
    tab.enter("alone", "say")
    tab.await_text("conversation", r"^alone$")
    browser.switch_to.window(first_tab)

    log = app.stop()  # while two tabs follow
    assert "Application shutdown complete" in log
    assert "Traceback" not in log
    tab.await_text("trouble", "connecting again")
    app.start()
    tab.enter("back again", "say")
    tab.await_text("conversation", rf"{re.escape(seen)}\nback again$")
    assert app.stop().count("Traceback") == 0
