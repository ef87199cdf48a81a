"""A watcher on the status socket: gets each line, dropped if too slow."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

from daemon.base.loop_thread import LoopThread
from daemon.health.watch import Watch

UNREAD_BYTES: Final = 1 << 20
"""Lines that may be left unread, half a minute of 20 streams; then the watcher is dropped, and may
come again for a fresh start."""
HISTORY_SECONDS: Final = 5.0
"""What it gets to take what has been before it came."""


class Watcher:
    """A connection in the loop of a thread, to which lines come in any thread."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, loop: LoopThread
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._loop = loop
        self._lines: deque[bytes] = deque()
        self._called = False
        self._ready = False

    async def run(self, watch: Watch) -> None:
        """Send everything until the other side goes.

        Raises: TimeoutError, ConnectionError.
        """
        history = watch.subscribe(self._take)
        try:
            self._writer.write(b"".join(history))
            async with asyncio.timeout(HISTORY_SECONDS):
                await self._writer.drain()
            self._ready = True
            self._send()
            while await self._reader.read(64):
                pass
        finally:
            watch.unsubscribe(self._take)

    def _take(self, line: bytes) -> None:
        self._lines.append(line)
        if not self._called:
            self._called = True
            self._loop.call(self._send)

    def _send(self) -> None:
        self._called = False
        if not self._ready:
            return
        lines = []
        while self._lines:
            lines.append(self._lines.popleft())
        transport = self._writer.transport
        if lines and not transport.is_closing():
            transport.write(b"".join(lines))
            if transport.get_write_buffer_size() > UNREAD_BYTES:
                transport.abort()
