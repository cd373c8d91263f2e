"""A headless Chromium behind chromedriver, driven by the few W3C WebDriver commands that it takes.

Spoken with the standard library: a client from PyPI would bring a dozen packages for these.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Final
from urllib.error import HTTPError
from urllib.request import Request, urlopen

CHROMIUM: Final = shutil.which("chromium") or shutil.which("chromium-browser")
DRIVER: Final = shutil.which("chromedriver")
_ELEMENT: Final = "element-6066-11e4-a52e-4f735466cecf"
#: What the keyboard's special keys are in WebDriver.
KEYS: Final = {
    "ArrowDown": "\ue015", "ArrowLeft": "\ue012", "ArrowRight": "\ue014", "ArrowUp": "\ue013",
    "End": "\ue010", "Enter": "\ue007", "Escape": "\ue00c", "Home": "\ue011", "Tab": "\ue004",
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
        self._profile = profile
        self._session = ""

    def __enter__(self) -> Browser:
        assert DRIVER is not None
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self._base = f"http://127.0.0.1:{port}"
        self._driver = subprocess.Popen(
            [DRIVER, f"--port={port}", "--log-level=OFF"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            self._await_driver()
            self._session = (
                "/session/" + self._send("POST", "/session", self._wishes())["sessionId"]
            )
        except BaseException:
            self._stop_driver()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self._send("DELETE", "")
        finally:
            self._stop_driver()

    def _stop_driver(self) -> None:
        self._driver.terminate()
        self._driver.wait(timeout=10)

    def _await_driver(self) -> None:
        for _ in range(200):
            try:
                with urlopen(self._base + "/status", timeout=5):
                    return
            except OSError:
                time.sleep(0.05)
        raise TimeoutError("chromedriver does not answer")

    def _wishes(self) -> dict[str, Any]:
        arguments = [*_ARGUMENTS, f"--user-data-dir={self._profile}"]
        if os.geteuid() == 0:
            arguments.append("--no-sandbox")
        options = {
            "goog:chromeOptions": {"binary": CHROMIUM, "args": arguments},
            "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
        }
        return {"capabilities": {"alwaysMatch": options}}

    def _send(self, method: str, path: str, body: object = None) -> Any:
        data = None if method in ("GET", "DELETE") else json.dumps(body or {}).encode()
        request = Request(
            self._base + self._session + path,
            data, {"Content-Type": "application/json"}, method=method,
        )  # fmt: skip
        try:
            with urlopen(request, timeout=60) as answer:
                return json.load(answer)["value"]
        except HTTPError as error:
            raise AssertionError(json.load(error)["value"]["message"]) from None

    # --- what a test does ----------------------------------------------------------------------

    def open(self, url: str) -> None:
        """Load a page; what the logs held before is forgotten."""
        self.log("browser")
        self.log("performance")
        self._send("POST", "/url", {"url": url})

    def run(self, script: str, *arguments: object) -> Any:
        """The value of a function body in the page; ``arguments`` holds *arguments*."""
        return self._send("POST", "/execute/sync", {"script": script, "args": list(arguments)})

    def text(self, selector: str) -> str:
        """The text of the first element that *selector* matches, as it is shown."""
        return str(self.run("return document.querySelector(arguments[0]).innerText", selector))

    def click(self, selector: str) -> None:
        """A click of the mouse on the first match, which must be where it can be hit."""
        found = self._send("POST", "/element", {"using": "css selector", "value": selector})
        self._send("POST", f"/element/{found[_ELEMENT]}/click")

    def focus(self, selector: str) -> None:
        """Give the keyboard to the first match."""
        self.run("document.querySelector(arguments[0]).focus()", selector)

    def press(self, *names: str) -> None:
        """Press keys one after the other."""
        strokes = [
            {"type": kind, "value": KEYS.get(name, name)}
            for name in names
            for kind in ("keyDown", "keyUp")
        ]
        keyboard = {"type": "key", "id": "keyboard", "actions": strokes}
        self._send("POST", "/actions", {"actions": [keyboard]})

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
        body = {"cmd": command, "params": parameters}
        return self._send("POST", "/goog/cdp/execute", body)

    def log(self, kind: str) -> list[dict[str, Any]]:
        """What came since the last look: "browser" (the console) or "performance" (events)."""
        entries: list[dict[str, Any]] = self._send("POST", "/se/log", {"type": kind})
        return entries

    def requests(self) -> list[str]:
        """The addresses that the page asked for since the last look."""
        events = [json.loads(entry["message"])["message"] for entry in self.log("performance")]
        return [
            event["params"]["request"]["url"]
            for event in events
            if event["method"] == "Network.requestWillBeSent"
        ]

    def screenshot(self, path: Path) -> None:
        """What is to be seen, as a PNG file."""
        path.write_bytes(base64.b64decode(self._send("GET", "/screenshot")))
