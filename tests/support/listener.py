"""A process that listens to one microphone and prints JSON objects.

Started by the live tests, since the sound server must be known before PortAudio initialises.
Arguments: the keyword arguments of Microphone as JSON; "wait": true waits for the device first.
Lines on standard input: `block SECONDS` (read nothing), `pause`, `resume`, `stop`.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

from daemon.base.errors import UserError
from daemon.base.stderr import discard_native_stderr
from daemon.capture.microphone.devices import list_inputs
from daemon.capture.microphone.microphone import Microphone
from daemon.capture.microphone.waiting import wait_for_microphone
from daemon.capture.wake import Wake


def tell(what: str, **fields: Any) -> None:
    print(json.dumps({"what": what, "t": time.monotonic(), **fields}), flush=True)


def pitch(samples: np.ndarray, rate: int) -> float:
    """The strongest frequency in Hz."""
    windowed = samples * np.hanning(len(samples))
    spectrum = np.abs(np.fft.rfft(windowed, 1 << 17))
    return float(np.argmax(spectrum) * rate / (1 << 17))


def resident_kib() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))


def main() -> None:  # noqa: PLR0915 - one loop, told from top to bottom
    wishes = json.loads(sys.argv[1])
    wait = wishes.pop("wait", False)
    wake = Wake()

    def build() -> Microphone:
        return Microphone(wake=wake, **wishes)

    if wait:
        mic = wait_for_microphone(build, lambda: False, lambda text: tell("waiting", text=text))
        assert mic is not None
    else:
        tell("inputs", inputs=[[d.name, d.source, d.is_default] for d in list_inputs()])
        mic = build()
    mic.start()
    tell("open", name=mic.info.name, rate=mic.info.rate, channels=mic.info.channels)
    commands: list[str] = []

    def obey() -> None:
        for line in sys.stdin:
            commands.append(line.strip())
            wake.set()
        commands.append("stop")
        wake.set()

    threading.Thread(target=obey, daemon=True).start()
    ring, rate = mic.ring, mic.info.rate
    held: list[np.ndarray] = []
    read = lost = 0
    age = 0.0
    while not ring.finished:
        while commands:
            command, *arguments = commands.pop(0).split()
            if command == "block":
                time.sleep(float(arguments[0]))
            elif command == "stop":
                since = time.monotonic()
                mic.stop()
                tell("stopped", took=time.monotonic() - since)
            else:
                getattr(mic, command)()
            tell("done", command=command)
        while (chunk := ring.read(rate // 10)) is not None:
            read += len(chunk.samples)
            lost += chunk.lost
            assert read + lost == chunk.end
            if chunk.lost:
                held.clear()
                tell("gap", lost=chunk.lost, reason=chunk.reason, start=chunk.start)
            held.append(chunk.mono)
            if sum(map(len, held)) >= rate // 5:
                heard = np.concatenate(held)
                held.clear()
                level = float(np.sqrt(np.mean(heard**2)))
                tell("heard", end=chunk.end, rms=level, pitch=pitch(heard, rate))
        for report in mic.reports.take():
            tell(report.kind, text=report.text, rss=resident_kib())
        age = max(age, mic.last_callback_age() or 0.0)
        wake.wait(0.1)
    tell(
        "end",
        captured=ring.captured,
        read=read,
        shed=ring.shed,
        never_arrived=ring.never_arrived,
        lost=lost,
        position=ring.position,
        oldest_callback=age,
        error=mic.error,
        threads=threading.active_count(),
        descriptors=len(list(Path("/proc/self/fd").iterdir())),
    )


if __name__ == "__main__":
    with discard_native_stderr():
        try:
            main()
        except UserError as error:
            tell("refused", text=str(error))
            sys.exit(error.status)
