"""A headless Chromium for the tests of the page, driven with selenium."""

from __future__ import annotations

import base64
import json
import os
import shutil
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import pytest
from program import LIMIT
from selenium.webdriver import ActionChains, Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.command import Command
from selenium.webdriver.support.ui import WebDriverWait

CHROMIUM: Final = shutil.which("chromium") or shutil.which("chromium-browser")
DRIVER: Final = shutil.which("chromedriver")
#: What DOM calls a key, and what WebDriver does.
KEYS: Final = {
    "ArrowDown": Keys.ARROW_DOWN, "ArrowLeft": Keys.ARROW_LEFT, "ArrowRight": Keys.ARROW_RIGHT,
    "ArrowUp": Keys.ARROW_UP, "End": Keys.END, "Enter": Keys.ENTER, "Escape": Keys.ESCAPE,
    "Home": Keys.HOME, "Tab": Keys.TAB,
}  # fmt: skip
_ARGUMENTS: Final = (
    "--headless", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip


def missing() -> str | None:
    """What this machine lacks for a browser test, None if nothing."""
    lacking = [
        name for name, path in (("chromium", CHROMIUM), ("chromedriver", DRIVER)) if path is None
    ]
    return f"no {' and no '.join(lacking)} here (make browser installs it)" if lacking else None


class Browser:
    """One browser with a profile of its own in *profile*, until the context ends."""

    def __init__(self, profile: Path) -> None:
        options = ChromeOptions()
        options.binary_location = CHROMIUM or ""
        for argument in (*_ARGUMENTS, f"--user-data-dir={profile}"):
            options.add_argument(argument)
        if os.geteuid() == 0:
            options.add_argument("--no-sandbox")
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        self._options = options

    def __enter__(self) -> Browser:
        self._driver = Chrome(options=self._options, service=Service(DRIVER))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._driver.quit()

    def open(self, url: str) -> None:
        """Load a page; what the logs held before is forgotten."""
        self.log("browser")
        self.log("performance")
        self._driver.get(url)

    def run(self, script: str, *arguments: object) -> Any:
        """The value of a function body in the page; ``arguments`` holds *arguments*."""
        return self._driver.execute_script(script, *arguments)

    def wait(self, script: str) -> None:
        """Until the function body is true in the page."""
        WebDriverWait(self._driver, LIMIT, 0.02).until(lambda driver: driver.execute_script(script))

    def complaints(self) -> list[str]:
        """What axe-core finds to be in somebody's way, each with the first element."""
        self.run(files("selenium_axe_python").joinpath("axe-core/axe.min.js").read_text("utf-8"))
        found = self.run("return axe.run(document, {resultTypes: ['violations']})")
        return [f"{each['id']}: {each['nodes'][0]['html']}" for each in found["violations"]]

    def printed_pages(self) -> int:
        """How many sheets the page would take."""
        return base64.b64decode(self._driver.print_page()).count(b"/Type /Page\n")

    def text(self, selector: str) -> str:
        """The text of the first element that *selector* matches, as it is shown."""
        return str(self.run("return document.querySelector(arguments[0]).innerText", selector))

    def click(self, selector: str) -> None:
        """A click of the mouse on the first match, which must be where it can be hit."""
        self._driver.find_element(By.CSS_SELECTOR, selector).click()

    def focus(self, selector: str) -> None:
        """Give the keyboard to the first match."""
        self.run("document.querySelector(arguments[0]).focus()", selector)

    def press(self, *names: str) -> None:
        """Press keys one after the other."""
        keyboard = ActionChains(self._driver, duration=0)
        for name in names:
            keyboard.send_keys(KEYS.get(name, name))
        keyboard.perform()

    def resize(self, width: int, height: int) -> None:
        """The size of the page in CSS pixels, also below what a window can be."""
        self.devtools(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=False,
        )  # fmt: skip

    def scheme(self, name: str) -> None:
        """What prefers-color-scheme says: "light" or "dark"."""
        features = [{"name": "prefers-color-scheme", "value": name}]
        self.devtools("Emulation.setEmulatedMedia", features=features)

    def devtools(self, command: str, **parameters: object) -> Any:
        """One command of the DevTools protocol."""
        return self._driver.execute_cdp_cmd(command, parameters)

    def log(self, kind: str) -> list[dict[str, Any]]:
        """What came since the last look: "browser" (the console) or "performance" (events)."""
        entries: list[dict[str, Any]] = self._driver.execute(Command.GET_LOG, {"type": kind})[
            "value"
        ]
        return entries

    def requests(self) -> list[str]:
        """The addresses that the page asked for since the last look."""
        events = [json.loads(entry["message"])["message"] for entry in self.log("performance")]
        asked = [e["params"] for e in events if e["method"] == "Network.requestWillBeSent"]
        # The first page of a browser is its own, and asks for pictures.
        return [e["request"]["url"] for e in asked if not e["documentURL"].startswith("chrome:")]


@pytest.fixture(scope="module", name="browser")
def one_browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """One browser for the tests of a file, which imports this."""
    with Browser(tmp_path_factory.mktemp("profile")) as started:
        yield started
