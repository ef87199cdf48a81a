"""A process that records a microphone, and what it reports."""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, Self

import pytest

from support.virtual_mic import VirtualMic

TONE = 440.0
"""Hz of the tone that `heard_tone` waits for."""
Line = dict[str, Any]


class Listener:
    """The process of listener.py, and what it has told."""

    def __init__(self, mic: VirtualMic, **wishes: Any) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("listener.py")), json.dumps(wishes)],
            env=mic.env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._lines: queue.Queue[Line | None] = queue.Queue()
        self.told: list[Line] = []
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(json.loads(line))
        self._lines.put(None)

    def wait_for(self, what: str, timeout: float = 10.0, **at_least: float) -> Line:
        """The next line of that kind whose fields are at least so much."""
        deadline = time.monotonic() + timeout
        while True:
            try:
                line = self._lines.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"no {what} within {timeout} s: {self.told[-5:]}") from None
            if line is None:
                assert self._process.stderr is not None
                raise AssertionError(f"ended: {self.told[-3:]} {self._process.stderr.read()}")
            self.told.append(line)
            if line["what"] == what and all(line[k] >= v for k, v in at_least.items()):
                return line

    def tell(self, command: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(command + "\n")
        self._process.stdin.flush()

    def stop(self) -> Line:
        """Stop it; its last lines, every sample accounted for."""
        self.tell("stop")
        end = self.wait_for("end")
        assert self._process.wait(10) == 0
        assert self._process.stderr is not None
        assert self._process.stderr.read() == "", "PortAudio's noise must not reach the terminal"
        assert end["captured"] == end["read"] + end["shed"]
        assert end["lost"] == end["shed"] + end["never_arrived"]
        assert end["position"] == end["read"] + end["lost"]
        return end

    def status(self) -> int:
        return self._process.wait(20)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()


def heard_tone(listener: Listener, timeout: float = 10.0) -> Line:
    line = listener.wait_for("heard", timeout, rms=0.2)
    assert line["pitch"] == pytest.approx(TONE, abs=3.0)
    return line
