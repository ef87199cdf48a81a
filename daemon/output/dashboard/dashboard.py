"""Dashboard output: messages from any thread, the terminal in one."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import ClassVar

from rich.console import Console

from daemon.base.stderr import StderrToLog, log_path
from daemon.messages import (
    Event,
    Gap,
    Level,
    Message,
    Prediction,
    Rejection,
    RunInfo,
    Start,
    Status,
    Summary,
)
from daemon.output.base import OutputClosed, RunControls
from daemon.output.dashboard.display import Display
from daemon.output.dashboard.state import DashboardState
from daemon.output.dashboard.theme import theme_for
from daemon.output.dashboard.view import frame
from daemon.output.plain import Plain

REPEATED = 10
"""How many of the last errors and warnings are repeated after the dashboard."""


class Dashboard(Display):
    """A full-screen picture of the run, as an output.

    `publish` only takes a message in. One thread, the main one if Ctrl-Z is to work, calls
    `run_until`. Statuses and gaps also go to standard error, which is a log file while the
    picture is up. Once the terminal is itself again, summaries are printed, and the errors and
    warnings that went to the log alone are repeated.
    """

    name = "dashboard"
    takes: ClassVar[frozenset[type]] = frozenset(
        {Start, Prediction, Event, Rejection, Gap, Level, Status, Summary}
    )

    def __init__(
        self,
        controls: RunControls,
        *,
        log: Path | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`log`: where standard error goes, by default the user's log folder."""
        super().__init__(controls, clock=clock)
        self._log = log if log is not None else log_path()
        self._shown = False
        self._summaries: list[Summary] = []
        self._said = Plain(None, sys.stderr)
        self._telling = threading.Lock()
        """Held while standard error is turned, and while something is said there."""
        self._stderr = StderrToLog(self._log)
        self._missed: deque[Status] = deque(maxlen=REPEATED)
        self._missed_before = 0

    def open(self, run: RunInfo) -> None:
        self.state = DashboardState(run, self._clock(), datetime.now())
        self._said.open(run)

    def publish(self, message: Message) -> None:
        if self.state is None:
            return
        with self.changing():
            self.state.apply(message, self._clock())
            if isinstance(message, Summary) and not self._is_client(message.stream):
                self._summaries.append(message)
        with self._telling:
            self._said.publish(message)
            if (
                self._stderr.active
                and isinstance(message, Status)
                and message.level in {"warning", "error"}
            ):
                self._missed_before += len(self._missed) == REPEATED
                self._missed.append(message)

    def _is_client(self, name: str) -> bool:
        stream = self.state.streams.get(name) if self.state is not None else None
        return stream is not None and stream.info.client

    def reopen(self) -> None:
        """Nothing to open."""

    def close(self) -> None:
        """End the output; summaries are printed once `run_until` has returned."""
        self._said.close()
        with self._lock:
            if self.state is not None and self.state.ended is None:
                self.state.ended = self._clock()
            shown = self._shown
        if not shown:
            self._print_summaries()

    def run_until(self, stop: threading.Event, tick: Callable[[], None] = lambda: None) -> None:
        """See `Display.run_until`. Raises RuntimeError before `open`."""
        if self.state is None:
            raise RuntimeError("run_until before open")
        with self._up():
            super().run_until(stop, tick)

    def _terminal_taken(self) -> contextlib.AbstractContextManager[None]:
        return self._stderr_logged()

    @contextlib.contextmanager
    def _up(self) -> Iterator[None]:
        with self._lock:
            self._shown = True
        try:
            yield
        finally:
            with self._lock:
                self._shown = False
            self._print_summaries()

    @contextlib.contextmanager
    def _stderr_logged(self) -> Iterator[None]:
        with contextlib.ExitStack() as turned:
            with self._telling:
                turned.enter_context(self._stderr)
            try:
                yield
            finally:
                with self._telling:
                    turned.close()
                    self._repeat_missed()

    def _repeat_missed(self) -> None:
        said = Plain(None, sys.stderr)
        if self._missed_before:
            text = f"{self._missed_before} earlier warnings and errors are not repeated"
            said.publish(Status(None, text, "info"))
        for status in self._missed:
            said.publish(status)
        said.close()
        self._missed.clear()
        self._missed_before = 0

    def _print_summaries(self) -> None:
        with self._lock:
            summaries, self._summaries = self._summaries, []
        plain = Plain(sys.stdout, sys.stderr)
        with contextlib.suppress(OSError, OutputClosed):
            for summary in summaries:
                plain.publish(summary)


def dashboard_possible() -> bool:
    """True if standard output is a terminal that can be drawn on."""
    try:
        if not sys.stdout.isatty():
            return False
    except (AttributeError, ValueError):
        return False
    if sys.platform == "win32":
        os.system("")  # Starting any command makes the console understand escape sequences.
    console = Console(file=sys.stdout)
    return not console.is_dumb_terminal and not console.legacy_windows


def export_svg(
    state: DashboardState, path: Path, width: int, height: int, now: float | None = None
) -> None:
    """Write the dashboard as SVG, as it looks at `now` of the state's clock."""
    console = Console(
        record=True,
        file=io.StringIO(),
        force_terminal=True,
        width=width,
        height=height,
        color_system="truecolor",
        legacy_windows=False,
        _environ={},
    )
    moment = time.monotonic() if now is None else now
    theme = theme_for(console)
    console.print(frame(state, width, height, moment, theme))
    console.save_svg(str(path), title="intentd")
