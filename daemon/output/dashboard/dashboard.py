"""Dashboard output: messages from any thread, the terminal in one."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from types import FrameType
from typing import Any, ClassVar

from rich.console import Console

from daemon.base.stderr import StderrToLog, log_path
from daemon.messages import Message, RunInfo, Status, Summary
from daemon.output.base import OutputClosed, RunControls
from daemon.output.dashboard.keys import Keyboard, NoKeyboard, keyboard
from daemon.output.dashboard.screen import Screen
from daemon.output.dashboard.state import FLASH, DashboardState
from daemon.output.dashboard.theme import Theme, theme_for
from daemon.output.dashboard.view import frame
from daemon.output.plain import Plain

TICK = 0.1
"""Seconds between two looks at what has changed: the most often that is painted."""
IDLE = 1.0
"""Seconds after which is painted though no message came: clocks go on."""
PAGE = 10
REPEATED = 10
"""The last so many errors and warnings are told once more when the picture is gone."""


class Dashboard:
    """A full-screen picture of the run.

    `publish` only takes a message in. One thread, the main one if Ctrl-Z is to work, calls
    `run_until`. Statuses and gaps also go to standard error, which is a log file while the
    picture is up. Once the terminal is itself again, summaries are printed, and the errors and
    warnings that went to the log alone are repeated.
    """

    name = "dashboard"
    ignores: ClassVar[frozenset[type]] = frozenset()

    def __init__(
        self,
        controls: RunControls,
        *,
        log: Path | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`log`: where standard error goes, by default the user's log folder."""
        self.state: DashboardState | None = None
        self._controls = controls
        self._log = log if log is not None else log_path()
        self._clock = clock
        self._lock = threading.Lock()
        self._changed = True
        self._shown = False
        self._summaries: list[Summary] = []
        self._said = Plain(None, sys.stderr)
        self._suspended = False
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
        with self._lock:
            self.state.apply(message, self._clock())
            self._changed = True
            if isinstance(message, Summary):
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
        """Draw until `stop` is set, and call `tick` about ten times a second.

        The terminal is restored in any case. An exception is logged with its traceback and raised
        again.

        Raises:
            RuntimeError: called before `open`.
        """
        if self.state is None:
            raise RuntimeError("run_until before open")
        console = Console(file=sys.stdout, markup=False, highlight=False, emoji=False)
        theme = theme_for(console)
        with self._up(), self._suspendable():
            while not stop.is_set():
                self._suspended = False
                with self._stderr_logged():
                    try:
                        with keyboard() as keys, Screen(console, sys.stdout.fileno()) as screen:
                            self._show(screen, keys, theme, stop, tick)
                    except Exception:
                        traceback.print_exc()
                        raise
                if self._suspended:
                    _stop_process()

    def _show(
        self,
        screen: Screen,
        keys: Keyboard,
        theme: Theme,
        stop: threading.Event,
        tick: Callable[[], None],
    ) -> None:
        gone = False
        painted = -IDLE
        size = (0, 0)
        due = self._clock()
        while not stop.is_set() and not self._suspended:
            tick()
            now = self._clock()
            if not gone and (self._wants_paint(now, painted) or screen.size() != size):
                size = screen.size()
                picture = self._picture(size, now, theme)
                painted = now
                try:
                    screen.paint(picture)
                except OSError:
                    gone = True
                    self._controls.quit()
            due = max(due + TICK, now)
            try:
                for key in keys.wait(due - now):
                    self._obey(key)
            except EOFError:
                gone = True
                keys = NoKeyboard()
                self._controls.quit()

    def _picture(self, size: tuple[int, int], now: float, theme: Theme) -> Any:
        state = self._state()
        load, paused, outputs = (
            self._controls.load,
            self._controls.paused,
            self._controls.outputs,
        )
        with self._lock:
            self._changed = False
            state.load = load
            state.outputs = tuple(each for each in outputs if each.state)
            if paused != state.paused:  # by another output
                state.pause(paused, now)
            state.tick(now)
            return frame(state, *size, now, theme)

    def _wants_paint(self, now: float, painted: float) -> bool:
        if self._changed or now - painted >= IDLE:
            return True
        # Flashes end and peaks fall without a message.
        feed = self._state().feed
        return bool(feed) and now - feed[0].at < FLASH + TICK and now - painted >= 2 * TICK

    def _obey(self, key: str) -> None:
        state = self._state()
        if key == "q":
            self._controls.quit()
            return
        with self._lock:
            self._changed = True
            steps = {"up": -1, "down": 1, "page up": -PAGE, "page down": PAGE}
            if key in steps:
                state.select(steps[key])
                return
        self._controls.pause(not self._controls.paused)

    def _state(self) -> DashboardState:
        assert self.state is not None
        return self.state

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

    @contextlib.contextmanager
    def _suspendable(self) -> Iterator[None]:
        """Ctrl-Z gives the terminal back before the process stops."""
        number = getattr(signal, "SIGTSTP", None)
        if number is None or threading.current_thread() is not threading.main_thread():
            yield
            return
        before = signal.signal(number, self._suspend)
        try:
            yield
        finally:
            signal.signal(number, before)

    def _suspend(self, _number: int, _frame: FrameType | None) -> None:
        self._suspended = True


def _stop_process() -> None:
    """Suspend the process as Ctrl-Z does, until SIGCONT."""
    number = signal.Signals["SIGTSTP"]
    handler = signal.signal(number, signal.SIG_DFL)
    try:
        os.kill(os.getpid(), number)
    finally:
        signal.signal(number, handler)


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
