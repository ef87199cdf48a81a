"""Notifies a service manager through NOTIFY_SOCKET, by datagrams.

The protocol is sd_notify(3); without the variable everything here does nothing. A watchdog ping
is sent only if sound was processed since the one before, so that a daemon that has gone deaf is
restarted, however alive its threads are. The one exception is a microphone that is away, while it
is demonstrably being looked for and the worker has nothing left to do: a restart would not bring it
back, and would lose the counts and summaries of the run.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import time
from collections.abc import Callable, Mapping

from daemon.runtime.observer import Observer

log = logging.getLogger(__name__)

PINGS = 4
"""Pings within the time that the service manager allows; it advises two or more."""
_MORE_TIME = "EXTEND_TIMEOUT_USEC=60000000"
_MORE_EVERY = 10.0


class Notifier:
    """Sends states to the service manager of `environ`."""

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        environ = os.environ if environ is None else environ
        self._address = environ.get("NOTIFY_SOCKET", "")
        if self._address.startswith("@"):
            self._address = "\0" + self._address[1:]  # Linux's abstract namespace
        self.watchdog = _watchdog(environ)
        """Seconds within which the manager wants a ping; None if it wants none."""

    @property
    def wanted(self) -> bool:
        """There is a service manager that listens."""
        return bool(self._address) and hasattr(socket, "AF_UNIX")

    def send(self, *assignments: str) -> None:
        """Send `NAME=value` strings in one datagram; an absent reader is no error."""
        if not self.wanted:
            return
        log.debug("to the service manager: %s", assignments)
        with (
            contextlib.suppress(OSError),
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender,
        ):
            sender.settimeout(
                0.2
            )  # the manager's queue may be full; the main thread has more to do
            sender.sendto("\n".join(assignments).encode(errors="replace"), self._address)


class SystemdNotifier(Observer):
    """Notifies a service manager of a run, from the main thread.

    processed: source samples of all streams processed so far.
    searching: a microphone is away and looked for, and nothing else is wrong.
    status: one line for `systemctl status`.
    waits_for_sound: the service has started once sound was processed; else, where only clients
        send any, at once.
    """

    def __init__(
        self,
        notifier: Notifier,
        processed: Callable[[], int],
        searching: Callable[[], bool],
        status: Callable[[], str],
        status_every: float = 10.0,
        *,
        waits_for_sound: bool = True,
    ) -> None:
        self._notifier = notifier
        self._processed = processed
        self._searching = searching
        self._status = status
        self._status_every = status_every
        self._waits_for_sound = waits_for_sound
        self._next_status = 0.0
        self._next_ping = 0.0
        self._next_extension = 0.0
        self._last_processed = 0
        self._ready = False
        self._was_searching = False

    def tick(self, now: float) -> None:
        """Called several times a second of the monotonic clock."""
        if not self._notifier.wanted:
            return
        searching = self._searching()
        if not self._ready:
            self._get_ready(now, searching)
        self._ping(now, searching)
        if now >= self._next_status or searching != self._was_searching:
            self._next_status = now + self._status_every
            self._was_searching = searching
            away = "waiting for the microphone, " if searching and self._waits_for_sound else ""
            self._notifier.send(f"STATUS={away}{self._status()}")

    def _get_ready(self, now: float, searching: bool) -> None:
        """Report readiness once sound was processed.

        Until then the service may take its time.
        """
        if self._processed() > 0 or not self._waits_for_sound:
            self._ready = True
            self._notifier.send("READY=1", "STATUS=listening")
        elif searching and now >= self._next_extension:
            self._next_extension = now + _MORE_EVERY
            self._notifier.send(_MORE_TIME)

    def _ping(self, now: float, searching: bool) -> None:
        watchdog = self._notifier.watchdog
        if watchdog is None or now < self._next_ping:
            return
        processed = self._processed()
        if processed > self._last_processed or searching:
            self._last_processed = processed
            self._next_ping = now + watchdog / PINGS
            self._notifier.send("WATCHDOG=1")

    def reloading(self) -> None:
        """The settings are read again; `reloaded` follows."""
        if self._ready:
            # Type=notify-reload wants the clock with it (sd_notify(3)).
            self._notifier.send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def reloaded(self) -> None:
        if self._ready:
            self._notifier.send("READY=1")

    def stopping(self) -> None:
        """The end has begun."""
        self._notifier.send("STOPPING=1", "STATUS=processing the last sound")


class StartupExtender:
    """Extends the start-up time while the daemon waits for its microphone."""

    def __init__(self, notifier: Notifier, clock: Callable[[], float] = time.monotonic) -> None:
        self._notifier = notifier
        self._clock = clock
        self._next = 0.0

    def cancelled(self) -> bool:
        """Always False; extends the time as `wait_for_microphone` polls it.

        To be called more often than every ten seconds.
        """
        now = self._clock()
        if now >= self._next:
            self._next = now + _MORE_EVERY
            self._notifier.send(_MORE_TIME, "STATUS=waiting for the microphone")
        return False


def _watchdog(environ: Mapping[str, str]) -> float | None:
    try:
        microseconds = int(environ.get("WATCHDOG_USEC", ""))
        pid = int(environ.get("WATCHDOG_PID", os.getpid()))
    except ValueError:
        return None
    return microseconds / 1e6 if microseconds > 0 and pid == os.getpid() else None
