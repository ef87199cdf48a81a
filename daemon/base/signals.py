"""Signals as an orderly end, with a second one for those who can't wait."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Self


class AtOnce(BaseException):
    """A second signal: the user wants the program gone. Raised in the main thread."""


class Signals:
    """While entered, SIGINT and SIGTERM are remembered instead of obeyed, and `notify` is called;
    a second of either raises `AtOnce` in the main thread.

    SIGHUP sets `hangup` where there is no terminal, and is SIGTERM where the terminal has just
    closed; `attend` is called for what can wait for the next look. Windows has neither SIGHUP nor
    a real SIGTERM: Ctrl-C and Ctrl-Break stand in for them. Does nothing outside the main thread,
    where Python allows no handlers.
    """

    def __init__(self, notify: Callable[[], None], attend: Callable[[], None]) -> None:
        self.ending: int | None = None
        """The first signal that asked for an end."""
        self.status = False
        """A status line is wanted; whoever gives it sets this back."""
        self.hangup = False
        """Settings are to be read and files to be opened again; whoever does it sets this back."""
        self._notify = notify
        self._attend = attend
        self._before: dict[int, Any] = {}
        # Asked now, since a terminal that has gone is no terminal any more.
        self._terminal = _has_terminal()

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for name, handler in (
                ("SIGINT", self._end),
                ("SIGTERM", self._end),
                ("SIGBREAK", self._end),
                ("SIGHUP", self._hang_up),
                ("SIGUSR1", self._tell),
            ):
                number = getattr(signal, name, None)
                if number is not None:
                    self._before[number] = signal.signal(number, handler)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()

    def _end(self, number: int, _frame: FrameType | None) -> None:
        if self.ending is not None:
            raise AtOnce
        self.ending = number
        self._notify()

    def _hang_up(self, number: int, frame: FrameType | None) -> None:
        if self._terminal:
            self._end(int(signal.SIGTERM), frame)
        else:
            self.hangup = True
            self._attend()

    def _tell(self, _number: int, _frame: FrameType | None) -> None:
        self.status = True
        self._attend()


def not_yet() -> None:
    """Before a run has begun, what only a run can answer must not end the process: SIGUSR1, and
    SIGHUP where there is no terminal, are passed over."""
    if threading.current_thread() is not threading.main_thread():
        return
    for name, passed_over in (("SIGUSR1", True), ("SIGHUP", not _has_terminal())):
        number = getattr(signal, name, None)
        if number is not None and passed_over and signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, signal.SIG_IGN)


def _has_terminal() -> bool:
    for descriptor in (0, 1, 2):
        try:
            if os.isatty(descriptor):
                return True
        except OSError:
            continue
    return False
