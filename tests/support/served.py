"""`intentd serve` as a process, and clients of the Wyoming protocol."""

from __future__ import annotations

import asyncio
import json
import os
import queue
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.client import AsyncClient
from wyoming.event import Event
from wyoming.wake import Detection, NotDetected

from support.hearing import Footprint

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 120.0
STARTING = 240.0
"""Seconds for a start on a machine that has other things to do, too."""
Line = dict[str, Any]


class Served:
    """`intentd COMMAND` in a `with` block; `addresses`: those it printed."""

    def __init__(
        self,
        folder: Path,
        *arguments: str,
        command: str = "serve",
        env: dict[str, str] | None = None,
        count: int = 1,
        backend: str = "torch",
    ) -> None:
        """Start it.

        count: how many addresses it is to say before it is taken for started.
        backend: the fastest may be another one in another process.
        """
        self.lines_file = folder / "out.jsonl"
        self.env = (env or dict(os.environ)) | {
            "PYTHONPATH": str(ROOT),
            "XDG_RUNTIME_DIR": str(folder),
            "XDG_CONFIG_HOME": str(folder),
            "INTENTD_MODEL__THREADS": "1",
        }
        folder.chmod(0o700)
        jsonl = ["--jsonl", str(self.lines_file), "--set", f"model.backend={backend}"]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "daemon", command, *arguments, "--headless", *jsonl],
            cwd=folder,
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            process_group=0,
        )
        self.said: list[str] = []
        self._new: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.addresses: list[str] = []
        while len(self.addresses) < count:
            said = self.wait_for("listening to", STARTING)
            found = re.search(r"listening to clients at (\S+)", said)
            assert found is not None
            self.addresses.append(found[1])

    @property
    def address(self) -> str:
        return self.addresses[0]

    def wait_for(self, text: str, seconds: float = PATIENCE) -> str:
        """The next line on stderr that has `text` in it."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                line = self._new.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"never said {text!r}, but {self.said}") from None
            if text in line:
                return line

    def send_signal(self, number: int) -> None:
        self.process.send_signal(number)

    def end(self, number: int = signal.SIGTERM) -> int:
        """The exit status after a signal."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        """The exit status."""
        status = self.process.wait(PATIENCE)
        self._reader.join(5)
        return status

    def lines(self, kind: str = "", stream: str = "") -> list[Line]:
        """What it has written so far."""
        whole = self.lines_file.read_text().splitlines() if self.lines_file.exists() else []
        found = [json.loads(line) for line in whole]
        return [
            line for line in found if kind in ("", line["type"]) and stream in ("", line["stream"])
        ]

    def wait_for_lines(self, kind: str, count: int, stream: str = "") -> list[Line]:
        deadline = time.monotonic() + PATIENCE
        while len(found := self.lines(kind, stream)) < count:
            assert time.monotonic() < deadline, (kind, found, self.said)
            time.sleep(0.05)
        return found

    def status(self) -> Line:
        """What `intentd status` says."""
        done = subprocess.run(
            [sys.executable, "-m", "daemon", "status", "--json"],
            env=self.env,
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE,
        )
        report: Line = json.loads(done.stdout)
        return report

    @property
    def footprint(self) -> Footprint:
        return Footprint.of(self.process.pid)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.said.append(line.rstrip())
            self._new.put(line.rstrip())


def pcm(samples: NDArray[np.float32], width: int) -> bytes:
    """Samples, (n,) or (n, channels), as integers of `width` bytes.

    The samples are in [-1, 1].
    """
    if width == 1:
        return np.clip(np.round(samples * 128) + 128, 0, 255).astype(np.uint8).tobytes()
    full = 2 ** (8 * width - 1)
    whole = np.clip(np.round(samples.astype(np.float64) * full), -full, full - 1).astype("<i4")
    if width == 3:
        return bytes(whole.reshape(-1, 1).view(np.uint8).reshape(-1, 4)[:, :3].tobytes())
    return bytes(whole.astype(f"<i{width}").tobytes())


def events_of(
    samples: NDArray[np.float32],
    rate: int,
    width: int = 2,
    *,
    start: bool = True,
    block: int = 1024,
) -> list[Event]:
    """A recording as `audio-start`, chunks of `block` frames, `audio-stop`."""
    channels = 1 if samples.ndim == 1 else samples.shape[1]
    form = (rate, width, channels)
    found = [AudioStart(*form, timestamp=0).event()] if start else []
    for at in range(0, len(samples), block):
        audio = pcm(samples[at : at + block], width)
        found.append(AudioChunk(*form, audio, timestamp=1000 * at // rate).event())
    return [*found, AudioStop().event()]


async def send(
    address: str, events: Sequence[Event], *, first: Sequence[Event] = (), pace: float = 0.0
) -> list[Event]:
    """Send events at full speed, or a chunk every `pace` seconds.

    Returns the answers up to the last `audio-stop`'s, or until the server has been silent for a
    while.
    """
    async with AsyncClient.from_uri(address) as client:
        answers: list[Event] = []

        async def read() -> None:
            while (event := await client.read_event()) is not None:
                answers.append(event)

        reader = asyncio.create_task(read())
        begun = time.monotonic()
        for event in first:
            await client.write_event(event)
        for number, event in enumerate(events):
            await client.write_event(event)
            if pace:
                await asyncio.sleep(max(0.0, begun + number * pace - time.monotonic()))
        # Events are answered in order.
        from wyoming.ping import Ping, Pong

        await client.write_event(Ping().event())
        deadline = time.monotonic() + PATIENCE
        while not any(Pong.is_type(answer.type) for answer in answers):
            assert not reader.done() and time.monotonic() < deadline, answers
            await asyncio.sleep(0.02)
        reader.cancel()
        return [answer for answer in answers if not Pong.is_type(answer.type)]


def send_now(address: str, events: Sequence[Event], **rest: Any) -> list[Event]:
    return asyncio.run(send(address, events, **rest))


def detections(answers: Sequence[Event]) -> list[tuple[str | None, int | None]]:
    """(name, timestamp in ms) of each detection."""
    found = [Detection.from_event(each) for each in answers if Detection.is_type(each.type)]
    return [(each.name, each.timestamp) for each in found]


def nothing_detected(answers: Sequence[Event]) -> int:
    return sum(NotDetected.is_type(answer.type) for answer in answers)


def is_closed(connection: socket.socket) -> bool:
    """Waits until the other side has closed."""
    try:
        while connection.recv(1 << 16):
            pass
    except ConnectionError:
        pass
    return True
