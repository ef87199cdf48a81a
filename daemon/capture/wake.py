"""A wake-up signal whose sender never blocks."""

from __future__ import annotations

import threading


class Wake:
    """A binary semaphore: any thread may `set` it, one thread waits for it.

    `threading.Event.set` takes a lock that the waiting thread holds for a while; a PortAudio
    callback must not wait for that. Here `set` only releases a lock, which never blocks. `wait`
    consumes the signal, so there is nothing to clear and nothing can be lost between a clear and
    a wait. Signals that come while one is pending count as one.
    """

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()

    def set(self) -> None:
        """Wake the waiting thread, or let its next `wait` return at once."""
        try:  # noqa: SIM105 - contextlib.suppress costs more than the call itself
            self._lock.release()
        except RuntimeError:  # already set
            pass

    def wait(self, timeout: float | None = None) -> bool:
        """Wait up to `timeout` seconds for a signal; False if none came.

        None: for ever.
        """
        return self._lock.acquire(timeout=-1.0 if timeout is None else max(0.0, timeout))
