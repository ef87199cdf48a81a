"""Turns a signal into an orderly end, and a second one into a fast end."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any, Self


class SecondSignal(BaseException):
    """Raised in the main thread by a second signal: end at once."""


class Signals:
    """Keeps received signals in attributes while entered.

    SIGINT and SIGTERM are kept in `ending`, and `on_ending` is called; a second of either raises
    `SecondSignal` in the main thread.

    SIGHUP sets `hangup` where there is no terminal, and is SIGTERM where the terminal has just
    closed; SIGUSR1 sets `status`. `on_request` is called for these two, `on_continue` for SIGCONT.
    Windows has neither SIGHUP nor a real SIGTERM: Ctrl-C and Ctrl-Break stand in for them. Does
    nothing outside the main thread, where Python allows no handlers.
    """

    def __init__(
        self,
        on_ending: Callable[[], None],
        on_request: Callable[[], None],
        on_continue: Callable[[], None] = lambda: None,
    ) -> None:
        self.ending: int | None = None
        """The first signal that asked for an end."""
        self.status = False
        """A status line is wanted; whoever gives it sets this back."""
        self.hangup = False
        """Settings are to be read and files to be opened again; whoever does it sets this back."""
        self._on_ending = on_ending
        self._on_request = on_request
        self._on_continue = on_continue
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
                ("SIGUSR1", self._want_status),
                ("SIGCONT", self._continue),
            ):
                number = getattr(signal, name, None)
                if number is not None:
                    self._before[number] = signal.signal(number, handler)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()

    def _end(self, number: int, _frame: FrameType | None) -> None:
        if self.ending is not None:
            raise SecondSignal
        self.ending = number
        self._on_ending()

    def _hang_up(self, number: int, frame: FrameType | None) -> None:
        if self._terminal:
            self._end(int(signal.SIGTERM), frame)
        else:
            self.hangup = True
            self._on_request()

    def _continue(self, _number: int, _frame: FrameType | None) -> None:
        self._on_continue()

    def _want_status(self, _number: int, _frame: FrameType | None) -> None:
        self.status = True
        self._on_request()


def ignore_early_signals() -> None:
    """Ignore SIGUSR1, and SIGHUP without a terminal, until a run has begun.

    Only a run can answer them, and they would end the process.
    """
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
