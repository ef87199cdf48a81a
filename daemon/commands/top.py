"""`intentd top`: the dashboard of a daemon that runs already."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from daemon.base.errors import UserError
from daemon.health.client import running, watch
from daemon.health.wire import decode
from daemon.output.base import OutputHealth
from daemon.output.dashboard import DashboardState, Display, dashboard_possible

RETRY_SECONDS: Final = 0.5
"""Before a watcher that was dropped comes again."""


def run(*, pid: int | None) -> int:
    """Draw until the user leaves or the daemon ends; return the exit status.

    Raises: UserError if there is no daemon, or more than one.
    """
    if not dashboard_possible():
        raise UserError("intentd top draws on a terminal, and this is none; use intentd status")
    path, number = _choose(pid)
    viewer = Viewer(path)
    viewer.start()
    viewer.display.run_until(viewer.stop)
    if viewer.failure:
        print(f"intentd: process {number}: {viewer.failure}", file=sys.stderr)
        return 1
    if viewer.ended:
        print(f"intentd: process {number} has ended", file=sys.stderr)
    return 0


def _choose(pid: int | None) -> tuple[Path, int]:
    """The socket and the process of the one daemon that is meant."""
    found = []
    for path, report in running():
        number = report.get("pid") if isinstance(report, dict) else None
        if isinstance(number, int) and pid in (None, number):
            found.append((path, number))
    if not found:
        what = "no intentd runs" if pid is None else f"no intentd runs as process {pid}"
        raise UserError(f"{what} for this user; intentd live starts one")
    if len(found) > 1:
        numbers = " and ".join(str(number) for _, number in found)
        raise UserError(f"several run, as processes {numbers}; choose one with --pid")
    return found[0]


class Viewer:
    """Thread that keeps a display's state as a daemon reports it.

    The daemon is not touched.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._thread = threading.Thread(target=self._follow, name="watch", daemon=True)
        self._begun = threading.Event()
        self.stop = threading.Event()
        """Set when there is nothing more to draw."""
        self.ended = False
        """The daemon has ended."""
        self.failure = ""
        """Why it can't be watched."""
        self.load: float | None = None
        self.paused = False
        self.outputs: tuple[OutputHealth, ...] = ()
        self.display = Display(self, read_only=True)

    def start(self) -> None:
        """Start; returns once there is a state to draw.

        Raises: UserError if none comes.
        """
        self._thread.start()
        self._begun.wait()
        if self.display.state is None:
            why = self.failure or "has ended"
            raise UserError(f"the intentd that runs can't be watched: it {why}")

    # ---- what the display may do beside asking (`DisplayControls`) -------------------------------

    def pause(self, _paused: bool) -> None:
        """Only the daemon's own dashboard can."""

    def quit(self) -> None:
        """End this view."""
        self.stop.set()

    # ---- the thread ------------------------------------------------------------------------------

    def _follow(self) -> None:
        try:
            while not self.stop.is_set():
                answered = False
                for line in watch(self._path):
                    answered = True
                    self._take(*decode(line))
                    if self.stop.is_set():
                        return
                if not answered:  # nobody is there any more; who is dropped finds it there again
                    self.ended = True
                    return
                self.stop.wait(RETRY_SECONDS)
        except TimeoutError:
            self.failure = "does not answer"
        except (KeyError, TypeError, ValueError):
            self.failure = "is of another version; update both"
        except Exception as error:
            self.failure = f"could not be followed ({type(error).__name__}: {error})"
        finally:
            self.stop.set()
            self._begun.set()

    def _take(self, kind: str, values: Mapping[str, Any]) -> None:
        now = time.monotonic()
        with self.display.changing():
            state = self.display.state
            if kind == "run":
                began = now - values["at"]
                wall = datetime.now() - timedelta(seconds=values["at"])
                state = DashboardState(values["run"], began, wall)
                state.selected = self.display.state.selected if self.display.state else 0
                self.display.state = state
                self._begun.set()
            elif state is None:
                raise ValueError("the run comes first")
            elif kind == "vitals":
                self.load, self.paused = values["load"], values["paused"]
                self.outputs = tuple(OutputHealth(**each) for each in values["outputs"])
            elif kind == "counts":
                state.take_counts(values["streams"], values["gone"])
            else:
                state.apply(values["message"], state.started + values["at"])
