"""Draws the dashboard on a terminal and reads its keys, in one thread.

Any thread may change the state.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, Protocol

from rich.console import Console

from daemon.output.base import OutputHealth
from daemon.output.dashboard.keys import Keyboard, NoKeyboard, keyboard
from daemon.output.dashboard.screen import Screen
from daemon.output.dashboard.state import FLASH, DashboardState
from daemon.output.dashboard.theme import Theme, theme_for
from daemon.output.dashboard.view import frame

TICK = 0.1
"""Seconds between two looks at what has changed: the most often that is painted."""
IDLE = 1.0
"""Seconds after which is painted though no message came: clocks go on."""
PAGE = 10


class DisplayControls(Protocol):
    """What a display may ask or change of the run (see `RunControls`)."""

    @property
    def load(self) -> float | None: ...

    @property
    def paused(self) -> bool: ...

    @property
    def outputs(self) -> tuple[OutputHealth, ...]: ...

    def pause(self, paused: bool) -> None: ...

    def quit(self) -> None: ...


class Display:
    """A full-screen view of `state`.

    The main thread calls `run_until` if Ctrl-Z is to work.
    """

    def __init__(
        self,
        controls: DisplayControls,
        *,
        read_only: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`read_only`: there is no key to pause."""
        self.state: DashboardState | None = None
        self._controls = controls
        self._read_only = read_only
        self._clock = clock
        self._lock = threading.Lock()
        self._changed = True
        self._suspended = False

    @contextlib.contextmanager
    def changing(self) -> Iterator[None]:
        """Held while the state is changed, which is then painted."""
        with self._lock:
            self._changed = True
            yield

    def run_until(self, stop: threading.Event, tick: Callable[[], None] = lambda: None) -> None:
        """Draw until `stop` is set, and call `tick` about ten times a second.

        The terminal is restored in any case. An exception is logged with its traceback and raised
        again.

        Raises:
            RuntimeError: there is no state yet.
        """
        self._state()
        console = Console(file=sys.stdout, markup=False, highlight=False, emoji=False)
        theme = theme_for(console)
        with self._suspendable():
            while not stop.is_set():
                self._suspended = False
                with self._terminal_taken():
                    try:
                        with keyboard() as keys, Screen(console, sys.stdout.fileno()) as screen:
                            self._show(screen, keys, theme, stop, tick)
                    except Exception:
                        traceback.print_exc()
                        raise
                if self._suspended:
                    _stop_process()

    def _terminal_taken(self) -> contextlib.AbstractContextManager[None]:
        """Entered while the picture is up."""
        return contextlib.nullcontext()

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
        controls = self._controls
        load, paused, outputs = controls.load, controls.paused, controls.outputs
        with self._lock:
            state = self._state()
            self._changed = False
            state.load = load
            state.outputs = tuple(each for each in outputs if each.state)
            if paused != state.paused:  # by a key, or another output
                state.pause(paused, now)
            state.tick(now)
            return frame(state, *size, now, theme, pausable=not self._read_only)

    def _wants_paint(self, now: float, painted: float) -> bool:
        if self._changed or now - painted >= IDLE:
            return True
        # Flashes end and peaks fall without a message.
        feed = self._state().feed
        return bool(feed) and now - feed[0].at < FLASH + TICK and now - painted >= 2 * TICK

    def _obey(self, key: str) -> None:
        if key == "q":
            self._controls.quit()
            return
        steps = {"up": -1, "down": 1, "page up": -PAGE, "page down": PAGE}
        if key in steps:
            with self.changing():
                self._state().select(steps[key])
            return
        if not self._read_only:
            self._controls.pause(not self._controls.paused)
            self._changed = True

    def _state(self) -> DashboardState:
        if self.state is None:
            raise RuntimeError("there is nothing to draw yet")
        return self.state

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
