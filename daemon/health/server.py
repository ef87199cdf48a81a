"""Answers everybody who connects to a Unix socket of ours with one line of JSON."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path

from daemon.base.errors import UserError, os_reason
from daemon.health.places import SUFFIX, own_folder, sockets

log = logging.getLogger(__name__)

ANSWER_SECONDS = 1.0
"""What a client gets to take its answer."""


class HealthServer:
    """One socket, `PID.sock`, in its own thread. `answer()` gives the bytes, ending in a line
    break; it is called in that thread, and must only look."""

    def __init__(self, answer: Callable[[], bytes]) -> None:
        self._answer = answer
        self._socket: socket.socket | None = None
        self._closing = False
        self.path: Path | None = None
        """Where it listens; None while it does not."""
        self._thread = threading.Thread(target=self._serve, name="health", daemon=True)

    def start(self) -> None:
        """Listen. Sockets that nobody listens to any more are removed first. UserError if there is
        no place for the socket."""
        if not hasattr(socket, "AF_UNIX"):
            raise UserError("this system has no Unix sockets, so intentd status can't ask")
        place = own_folder()
        for other in sockets():
            if is_dead(other):
                with contextlib.suppress(OSError):
                    other.unlink()
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self.path = _bind(listener, place)
            listener.listen(16)
        except OSError as error:
            listener.close()
            raise UserError(
                f"no socket can be made in {place} ({os_reason(error)}); set "
                "XDG_RUNTIME_DIR to a folder with a shorter name that can be written"
            ) from None
        self._socket = listener
        log.info("health is served on %s", self.path)
        self._thread.start()

    def stop(self) -> None:
        """Stop listening and remove the socket; may be called twice."""
        self._closing = True
        listener, self._socket = self._socket, None
        if listener is None:
            return
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that waits in accept
        listener.close()
        if self.path is not None:
            with contextlib.suppress(OSError):
                self.path.unlink()
            self.path = None

    def _serve(self) -> None:
        listener = self._socket
        while listener is not None and not self._closing:
            try:
                client, _ = listener.accept()
            except OSError as error:
                # Out of descriptors is no reason to fall silent for ever.
                if self._closing or error.errno not in {errno.EMFILE, errno.ENFILE}:
                    return
                threading.Event().wait(0.5)
                continue
            with client, contextlib.suppress(OSError):
                client.settimeout(ANSWER_SECONDS)
                client.sendall(self._answer())


def _bind(listener: socket.socket, place: Path) -> Path:
    # A process id may be taken twice where containers share a folder.
    for number in range(100):
        path = place / (f"{os.getpid()}{f'-{number}' if number else ''}{SUFFIX}")
        before = os.umask(0o177)
        try:
            listener.bind(str(path))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            continue
        finally:
            os.umask(before)
        return path
    raise OSError(errno.EADDRINUSE, "all names are taken")


def is_dead(path: Path) -> bool:
    """Nobody listens there, and nobody will: connecting is refused."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(ANSWER_SECONDS)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            return True
        except OSError:
            return False
    return False
