"""Waiting for what comes through a pipe, such that the wait can be ended."""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Callable

_TICK = 0.2


class InterruptedReadError(Exception):
    """The reader was stopped while it waited."""


class PipeReader:
    """Reads a descriptor that may have nothing to say for a long time.

    `cancelled` is asked five times a second while nothing comes; once it says True,
    InterruptedReadError is raised. A FIFO opened with O_NONBLOCK waits like this for its first
    writer too. On Windows a pipe cannot be waited for: there a read returns with the data.
    """

    def __init__(self, fd: int, cancelled: Callable[[], bool]) -> None:
        self._fd = fd
        self._cancelled = cancelled

    def read(self, n: int) -> bytes:
        """1 to n bytes, or none at the end. OSError as `os.read`."""
        while not self._cancelled():
            if not self._ready():
                continue
            try:
                return os.read(self._fd, n)
            except BlockingIOError:
                continue
        raise InterruptedReadError

    def _ready(self) -> bool:
        if sys.platform == "win32":
            return True
        poller = select.poll()
        poller.register(self._fd, select.POLLIN)
        return bool(poller.poll(_TICK * 1000))
