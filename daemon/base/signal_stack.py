"""The alternate signal stack of a thread, which native libraries exchange.

Python's handlers run on it wherever there is one. With AMX a signal's frame has 12 kB, so that two
signals at once (systemd sends SIGCONT after SIGTERM) overflow a stack of the common size, and the
kernel ends the process with SIGSEGV. On the thread's own stack there is room for all of them.
"""

from __future__ import annotations

import contextlib
import ctypes
import sys
from collections.abc import Iterator


class _Stack(ctypes.Structure):
    """Linux's stack_t."""

    _fields_ = (("sp", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t))


@contextlib.contextmanager
def kept_signal_stack() -> Iterator[None]:
    """Restore this thread's alternate signal stack, or none, at the end."""
    if not sys.platform.startswith("linux"):
        yield
        return
    exchange = ctypes.CDLL(None).sigaltstack
    before = _Stack()
    known = exchange(None, ctypes.byref(before)) == 0
    try:
        yield
    finally:
        if known:
            exchange(ctypes.byref(before), None)
