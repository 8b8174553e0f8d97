"""Chromium without a window, by its DevTools protocol: pages as a person meets them, and their errors."""

from __future__ import annotations

import asyncio
import base64
import os
import shutil
import subprocess
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import Any

import aiohttp

_SECONDS = 60.0
_NAMES = ("chromium", "chromium-browser", "google-chrome")


def chromium() -> str:
    """The program: what the environment names, or what Debian's package or a vendor's installs."""
    names = [name for name in (os.environ.get("CHROMIUM"), *_NAMES) if name]
    found = next((path for path in map(shutil.which, names) if path), None)
    assert found, "Chromium is missing; run: sudo apt-get install chromium"
    return found


class Browser:
    """One page of a browser with a profile of its own.

    :param width: of the page, in pixels.
    :param dark: whether the person prefers dark pages.
    """

    def __init__(self, *, width: int = 1280, height: int = 900, dark: bool = False) -> None:
        self._size = width, height
        self._dark = dark
        self._count = 0
        #: What a person would see in the console in red, and failed requests of the page.
        self.errors: list[str] = []

    async def __aenter__(self) -> Browser:
        self._folder = tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True)
        port_file = Path(self._folder.name) / "DevToolsActivePort"
        self._process = subprocess.Popen(
            [
                chromium(),
                "--headless=new",
                "--no-sandbox",  # a container's root has none
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--hide-scrollbars",
                "--no-first-run",
                "--no-proxy-server",
                "--remote-debugging-port=0",
                f"--user-data-dir={self._folder.name}",
                "about:blank",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = monotonic() + _SECONDS
        while not (port_file.exists() and port_file.read_text().count("\n")):
            assert self._process.poll() is None, "Chromium has ended on its own"
            assert monotonic() < deadline, "Chromium has not started"
            await asyncio.sleep(0.1)
        port = port_file.read_text().split("\n")[0]
        self._session = aiohttp.ClientSession()
        async with self._session.get(f"http://127.0.0.1:{port}/json/list") as response:
            [target, *_] = [each for each in await response.json() if each["type"] == "page"]
        self._socket = await self._session.ws_connect(target["webSocketDebuggerUrl"], max_msg_size=0)
        for domain in ("Page", "Runtime", "Log", "Network"):
            await self.call(f"{domain}.enable")
        width, height = self._size
        await self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if self._dark else "light"}
        await self.call("Emulation.setEmulatedMedia", features=[scheme])
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._socket.close()
        await self._session.close()
        self._process.kill()
        self._process.wait()
        self._folder.cleanup()

    async def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command; return its result."""
        self._count += 1
        number = self._count
        await self._socket.send_json({"id": number, "method": method, "params": parameters})
        while True:
            message = await asyncio.wait_for(self._socket.receive_json(), _SECONDS)
            if message.get("id") == number:
                assert "error" not in message, message
                result: dict[str, Any] = message["result"]
                return result
            self._note(message)

    async def open(self, url: str) -> None:
        """Open a page."""
        result = await self.call("Page.navigate", url=url)
        assert "errorText" not in result, result
        await self.wait("document.readyState === 'complete'")

    async def evaluate(self, expression: str) -> Any:
        """The value of an expression in the page."""
        result = await self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    async def wait(self, expression: str) -> Any:
        """Wait until an expression is true."""
        return await self.until(lambda: self.evaluate(expression), expression)

    async def until(self, find: Callable[[], Awaitable[Any]], what: str) -> Any:
        """Wait until `find` returns something."""
        deadline = monotonic() + _SECONDS
        while not (found := await find()):
            assert monotonic() < deadline, f"waited in vain: {what}"
            await asyncio.sleep(0.2)
        return found

    async def screenshot(self, path: Path, height: int | None = None) -> None:
        """Save what is to see, or the page's first `height` pixels."""
        clip = {}
        if height is not None:
            clip = {"clip": {"x": 0, "y": 0, "width": self._size[0], "height": height, "scale": 1}}
        picture = await self.call("Page.captureScreenshot", captureBeyondViewport=height is not None, **clip)
        path.write_bytes(base64.b64decode(picture["data"]))

    def _note(self, message: dict[str, Any]) -> None:
        method, parameters = message.get("method"), message.get("params", {})
        if method == "Runtime.exceptionThrown":
            self.errors.append(str(parameters["exceptionDetails"]))
        elif method == "Runtime.consoleAPICalled" and parameters["type"] == "error":
            self.errors.append(str(parameters["args"]))
        elif method == "Log.entryAdded" and parameters["entry"]["level"] == "error":
            self.errors.append(str(parameters["entry"]))
