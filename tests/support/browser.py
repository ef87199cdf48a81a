"""A headless Chromium whose microphone plays a recording.

It is driven over its DevTools protocol.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from websockets.sync.client import ClientConnection, connect

from support.web_packages import BROWSER

PATIENCE = 120.0


class Browser:
    """`with Browser(folder, recording) as browser:`.

    The recording begins when a page listens.
    """

    def __init__(self, folder: Path, recording: Path) -> None:
        assert BROWSER is not None
        self._profile = folder / "profile"
        self._open = contextlib.ExitStack()
        self.process = subprocess.Popen(
            [
                BROWSER,
                *("--headless=new", "--disable-gpu", "--no-first-run", "--mute-audio"),
                *(["--no-sandbox"] if os.getuid() == 0 else []),
                "--disable-dev-shm-usage",
                "--use-fake-ui-for-media-stream",
                "--use-fake-device-for-media-stream",
                f"--use-file-for-fake-audio-capture={recording}%noloop",
                "--autoplay-policy=no-user-gesture-required",
                "--remote-debugging-port=0",
                f"--user-data-dir={self._profile}",
                "about:blank",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            process_group=0,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._open.close()
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def open(self, address: str) -> Page:
        """A new page."""
        file = self._profile / "DevToolsActivePort"
        deadline = time.monotonic() + PATIENCE
        while not (file.exists() and len(lines := file.read_text().split()) == 2):
            assert self.process.poll() is None and time.monotonic() < deadline
            time.sleep(0.1)
        tools = connect(
            f"ws://127.0.0.1:{lines[0]}{lines[1]}", max_size=None, open_timeout=PATIENCE
        )
        return Page(self._open.enter_context(tools), address)


class Page:
    """A page of a browser, which `tools` drive."""

    def __init__(self, tools: ClientConnection, address: str) -> None:
        self._numbers = itertools.count(1)
        self._tools = tools
        self._session: str | None = None
        target = self._ask("Target.createTarget", url=address)["targetId"]
        attached = self._ask("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]

    def _ask(self, method: str, **parameters: Any) -> Any:
        number = next(self._numbers)
        request: dict[str, Any] = {"id": number, "method": method, "params": parameters}
        if self._session is not None:
            request["sessionId"] = self._session
        self._tools.send(json.dumps(request))
        while True:
            answer = json.loads(self._tools.recv(PATIENCE))
            if answer.get("id") == number:
                assert "error" not in answer, answer
                return answer["result"]

    def run(self, script: str) -> Any:
        """The value of a JavaScript expression."""
        answer = self._ask(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def wait_for(self, script: str, seconds: float = PATIENCE) -> Any:
        """The first value of an expression that is true."""
        deadline = time.monotonic() + seconds
        while not (value := self.run(script)):
            assert time.monotonic() < deadline, (script, self.run("document.body?.innerText"))
            time.sleep(0.1)
        return value

    def picture(self, path: Path) -> None:
        """Save what it looks like, as PNG."""
        import base64

        data = self._ask("Page.captureScreenshot", format="png")["data"]
        path.write_bytes(base64.b64decode(data))
