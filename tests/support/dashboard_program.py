"""A program with a dashboard, for tests on a pseudo terminal.

Arguments: the mode ("levels", "defect", "noise", "trouble", "hangup ignored"), a file for what it
was asked to do, and the dashboard's log. PYTHONPATH names the repository and tests/.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path
from typing import TextIO

from daemon.health.snapshot import Health
from daemon.messages import Level, Status, Summary, Verdict
from daemon.output.base import OutputHealth
from daemon.output.dashboard import Dashboard
from support.pictures import run_info


class Program:
    """The controls of the dashboard, and what it shows."""

    def __init__(self, mode: str, log: TextIO, dashboard_log: Path) -> None:
        self._mode, self._log = mode, log
        self._stop = threading.Event()
        self._ticks = 0
        self.paused = False
        self.outputs: tuple[OutputHealth, ...] = ()
        self._dashboard = Dashboard(self, log=dashboard_log)

    @property
    def load(self) -> float:
        if self._mode == "defect" and self._ticks > 5:
            raise ZeroDivisionError("a defect in the picture")
        return 0.04

    def health(self) -> Health:
        raise NotImplementedError

    def warn(self, sentence: str) -> None:
        self._say(sentence)

    def pause(self, paused: bool) -> None:
        self.paused = paused
        self._say("paused" if paused else "listening")

    def quit(self) -> None:
        self._say("quit")
        self._stop.set()

    def run(self) -> None:
        dashboard = self._dashboard
        dashboard.open(run_info("mic"))
        dashboard.run_until(self._stop, self._tick)
        dashboard.publish(Summary("mic", 9, 5, 4, 1, (Verdict("up", 0.9),), 9, 5, 4, 0, 1.0, 2.0))
        dashboard.close()
        if self._mode == "hangup ignored":
            self._say("over")

    def _tick(self) -> None:
        self._ticks += 1
        if self._mode == "noise" and self._ticks == 5:
            os.write(2, b"ALSA lib: straight to descriptor 2\n")
            self._dashboard.publish(Status("mic", "the microphone is gone", "warning"))
        if self._mode == "trouble" and self._ticks == 5:
            for number in range(30):
                self._dashboard.publish(Status("mic", f"trouble {number}", "error"))
        level = -20.0 - self._ticks % 3
        self._dashboard.publish(Level("mic", level, -9.0, True, self._ticks / 10))

    def _say(self, word: str) -> None:
        print(word, file=self._log, flush=True)


def main() -> None:
    mode, log, dashboard_log = sys.argv[1:]
    if mode == "hangup ignored":
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with Path(log).open("a") as file:
        Program(mode, file, Path(dashboard_log)).run()


if __name__ == "__main__":
    main()
