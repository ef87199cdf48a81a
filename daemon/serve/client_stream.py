"""A client's sound on its way to the worker, and messages back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

import numpy as np

from daemon.base.loop_thread import LoopThread
from daemon.capture.ring import Ring
from daemon.capture.wake import Wake
from daemon.messages import Message, StreamInfo, Summary
from daemon.serve.pcm import PcmDecoder, PcmFormat

RING_SECONDS: Final = 4.0
"""Sound that a client may send ahead of the worker; then its connection is read no further."""
_PATIENCE = 0.5
"""Seconds after which room in the ring is looked for, should a wake-up get lost."""
PAUSED: Final = "paused"
"""The reason of the gap that a pause of the user makes."""


class _RoomWake(Wake):
    """Wakes a coroutine that waits for room in a ring.

    From the worker's thread.
    """

    __slots__ = ("_loop", "_room")

    def __init__(self, loop: LoopThread, room: asyncio.Event) -> None:
        super().__init__()
        self._loop = loop
        self._room = room

    def set(self) -> None:
        self._loop.call(self._room.set)


class ClientStream:
    """One stream of a client, from first sample to summary.

    Lives in the server's loop.

    take: called in the loop with each message on this stream whose type is among `wants`, in
        order, the summary in any case.
    """

    def __init__(
        self,
        name: str,
        form: PcmFormat,
        take: Callable[[Message], None],
        wants: frozenset[type],
        loop: LoopThread,
        wake: Wake,
    ) -> None:
        self.info = StreamInfo(name, form.rate, form.channels, live=True, client=True)
        self.form = form
        self.wants = wants | {Summary}
        self._room = asyncio.Event()
        self.ring = Ring(
            round(RING_SECONDS * form.rate),
            1,
            form.rate,
            shed=False,
            wake=wake,
            writer_wake=_RoomWake(loop, self._room),
        )
        self._decoder = PcmDecoder(form)
        self._take = take
        self._ended = asyncio.Event()
        self._finished = False

    async def feed(self, payload: bytes, *, paused: bool) -> None:
        """Pass on the next bytes; waits while the worker has enough.

        What comes while `paused` counts as lost.
        """
        block = self._decoder.feed(payload)[:, None]
        if paused and not self._finished:
            self.ring.lose(len(block), PAUSED)
            return
        arrival = time.monotonic()
        while len(block) and not self._finished:
            self._room.clear()
            block = block[self.ring.write(np.ascontiguousarray(block), arrival) :]
            if len(block):
                try:
                    async with asyncio.timeout(_PATIENCE):
                        await self._room.wait()
                except TimeoutError:
                    continue

    def finish(self) -> None:
        """The client sends no more; the summary follows. May be called twice."""
        self._finished = True
        self.ring.finish()

    def publish(self, message: Message) -> None:
        """A message of the worker's on this stream."""
        self._take(message)
        if isinstance(message, Summary):
            self._ended.set()
            # It holds the connection, which holds this: nothing would free the ring for long.
            self._take = lambda _: None

    async def wait_for_summary(self, seconds: float) -> None:
        """Raises TimeoutError if it does not come within `seconds`."""
        async with asyncio.timeout(seconds):
            await self._ended.wait()
