"""`intentd live` with the bundled model on a virtual microphone.

It keeps the moments at which lines were written.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Self

import numpy as np
import soundfile

from support.virtual_mic import VirtualMic

ROOT = Path(__file__).resolve().parents[2]
BUNDLED = Path(str(files("daemon"))) / "bundled"
Line = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Told:
    """A line of JSON, or of stderr as `{"said": …}`, with its time.

    The time is the monotonic clock's.
    """

    at: float
    line: Line


@dataclass(frozen=True, slots=True)
class Footprint:
    """What a process holds: bytes of memory, threads, descriptors."""

    resident: int
    threads: int
    descriptors: int

    @classmethod
    def of(cls, pid: int) -> Footprint:
        place = Path(f"/proc/{pid}")
        pages = int((place / "statm").read_text().split()[1])
        return cls(
            pages * os.sysconf("SC_PAGE_SIZE"),
            len(os.listdir(place / "task")),  # noqa: PTH208 - names are enough
            len(os.listdir(place / "fd")),  # noqa: PTH208
        )

    def __str__(self) -> str:
        return (
            f"{self.resident / (1 << 20):.1f} MB, {self.threads} threads, "
            f"{self.descriptors} descriptors"
        )


def write_word(path: Path, intent: str, *, before: float = 0.4, after: float = 0.8) -> Path:
    """One word of the demo recording, with silence around it."""
    samples, rate = soundfile.read(BUNDLED / "demo.flac", dtype="float32")
    words = json.loads((BUNDLED / "demo.json").read_text())
    word = next(each for each in words if each["intent"] == intent)
    piece = samples[round((word["start"] - 0.05) * rate) : round((word["end"] + 0.05) * rate)]
    quiet = [np.zeros(round(seconds * rate), np.float32) for seconds in (before, after)]
    soundfile.write(path, np.concatenate([quiet[0], piece, quiet[1]]), rate)
    return path


class Hearing:
    """The daemon as a process without a terminal."""

    def __init__(self, mic: VirtualMic, folder: Path, *more: str) -> None:
        self._out = folder / "out.jsonl"
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "daemon", "live", "--headless", "--jsonl", str(self._out)),
                *more,
            ],
            cwd=folder,
            env=mic.env
            | {
                "PYTHONPATH": str(ROOT),
                "XDG_RUNTIME_DIR": str(folder),
                "XDG_CONFIG_HOME": str(folder),
                "INTENTD_MODEL__THREADS": "1",
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.told: list[Told] = []
        self._news = threading.Condition()
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=t, daemon=True) for t in (self._read, self._tail)]
        for thread in self._threads:
            thread.start()

    def _tell(self, line: Line) -> None:
        with self._news:
            self.told.append(Told(time.monotonic(), line))
            self._news.notify_all()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self._tell({"type": "", "said": line.rstrip("\n")})

    def _tail(self) -> None:
        while not self._out.exists() and not self._ended.is_set():
            time.sleep(0.02)
        if self._ended.is_set():
            return
        rest = b""
        with self._out.open("rb") as file:
            while True:
                last = self._ended.is_set()
                *lines, rest = (rest + file.read()).split(b"\n")
                for line in lines:
                    self._tell(json.loads(line))
                if last:
                    return
                time.sleep(0.01)

    def mark(self) -> int:
        """Where we are in what was told."""
        return len(self.told)

    def wait_for(
        self, what: str, fits: Callable[[Line], bool], timeout: float = 10.0, after: int = 0
    ) -> Told:
        """The first fitting line told after a mark."""
        deadline = time.monotonic() + timeout
        with self._news:
            while True:
                for told in self.told[after:]:
                    if fits(told.line):
                        return told
                left = deadline - time.monotonic()
                assert left > 0, (
                    f"no {what} within {timeout:g} s; status {self.process.poll()}; last told:\n"
                    f"{self.lately()}"
                )
                self._news.wait(left)

    def wait_to_say(self, part: str, timeout: float = 10.0, after: int = 0) -> Told:
        """The first line on stderr that holds `part`."""
        return self.wait_for(repr(part), lambda line: part in line.get("said", ""), timeout, after)

    def footprint(self) -> Footprint:
        return Footprint.of(self.process.pid)

    def end(self) -> list[Line]:
        """End by SIGTERM; all lines of JSON, every sample accounted for."""
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(20)
        self._ended.set()
        for thread in self._threads:
            thread.join(10)
        assert status == 0, self.said()
        lines = [told.line for told in self.told if told.line["type"]]
        summary = lines[-1]
        assert summary["type"] == "summary"
        lost = sum(line["samples_lost"] for line in lines if line["type"] == "gap")
        assert summary["samples_lost"] == lost
        assert summary["samples_captured"] <= (
            summary["samples_classified"] + summary["samples_gated"] + lost
        )
        for kind, count in (("prediction", "windows"), ("event", "events")):
            assert summary[count] == sum(line["type"] == kind for line in lines)
        return lines

    def lately(self, seconds: float = 30.0) -> str:
        """What was told, predictions counted."""
        now, shown, quiet = time.monotonic(), [], 0
        for told in self.told:
            if now - told.at > seconds:
                continue
            if told.line["type"] == "prediction":
                quiet += 1
                continue
            shown.append(f"({quiet} predictions) {told.at - now:.2f} s: {told.line}"[:400])
            quiet = 0
        return "\n".join([*shown, f"({quiet} predictions)"])

    def said(self) -> list[str]:
        return [told.line["said"] for told in self.told if "said" in told.line]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self.process.kill()
        self.process.wait()
