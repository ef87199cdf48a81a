"""Unix socket that reports the daemon's health and lets clients watch."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Final

from daemon.base.errors import UserError, os_reason
from daemon.base.loop_thread import LoopThread
from daemon.health.places import SUFFIX, own_folder, sockets
from daemon.health.watch import Watch
from daemon.health.watcher import Watcher

log = logging.getLogger(__name__)

ANSWER_SECONDS: Final = 1.0
"""What a client gets to take its answer, and to ask for more."""
WATCH: Final = b"watch\n"
"""What a client sends to get all that follows."""
MOST_CLIENTS: Final = 64
"""Who comes when so many are there is turned away."""
_LONGEST_REQUEST: Final = 64


class HealthServer:
    """One socket, `PID.sock`, served by its own thread.

    answer: gives the bytes, ending in a line break, that each client gets first; called in that
        thread, and must only look.
    watch: what those get who ask for more.
    """

    def __init__(self, answer: Callable[[], bytes], watch: Watch | None = None) -> None:
        self._answer = answer
        self._loop = LoopThread("health")
        self._watch = watch
        self._socket: socket.socket | None = None
        self._clients: set[asyncio.Task[None]] = set()
        self.path: Path | None = None
        """Where it listens; None while it does not."""

    def start(self) -> None:
        """Listen, after removing sockets that nobody listens at any more.

        Raises: UserError if there is no place for the socket.
        """
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
        self._loop.start()
        self._loop.run(self._serve(listener))

    def stop(self) -> None:
        """Stop listening and remove the socket; may be called twice."""
        listener, self._socket = self._socket, None
        if listener is None:
            return
        self._loop.stop()
        listener.close()
        if self.path is not None:
            with contextlib.suppress(OSError):
                self.path.unlink()
            self.path = None

    async def _serve(self, listener: socket.socket) -> None:
        await asyncio.start_unix_server(self._attend, sock=listener, limit=_LONGEST_REQUEST)

    async def _attend(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        if len(self._clients) >= MOST_CLIENTS:
            writer.transport.abort()
            return
        self._clients.add(task)
        try:
            if await self._answered(reader, writer) == WATCH and self._watch is not None:
                await Watcher(reader, writer, self._loop).run(self._watch)
        except OSError:  # TimeoutError is one
            writer.transport.abort()
        except asyncio.CancelledError:
            pass  # the daemon ends
        except Exception:
            log.exception("a client of the status socket could not be answered")
        finally:
            self._clients.discard(task)
            writer.close()

    async def _answered(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        """What the client asks once it has got its answer; empty if nothing."""
        writer.write(self._answer())
        async with asyncio.timeout(ANSWER_SECONDS):
            await writer.drain()
            try:
                return await reader.readline()
            except ValueError:  # too long to be a request
                return b""


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
