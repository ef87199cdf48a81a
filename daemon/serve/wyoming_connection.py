"""A client of the Wyoming protocol, served as by a wake word service.

https://github.com/OHF-Voice/wyoming: an event is a line of JSON, then JSON and bytes as long as
the line says. `describe` is answered by `info` with the model's intents as wake words. Sound comes
as `audio-chunk`, mostly between `audio-start` and `audio-stop`; each intent that is spoken gives a
`detection`, and an `audio-stop` without any `not-detected`. `detect` chooses among the intents.
Satellites leave `audio-start` out, and send `detect` again where a new stretch of sound begins.
"""

from __future__ import annotations

import asyncio
import io
import logging
import time
from functools import lru_cache, partial
from typing import Any, Final

from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.error import Error
from wyoming.event import Event as WyomingEvent
from wyoming.event import async_read_event, write_event
from wyoming.info import Attribution, Describe, Info, WakeModel, WakeProgram
from wyoming.ping import Ping, Pong
from wyoming.wake import Detect, Detection, NotDetected

from daemon import __version__
from daemon.base.text import escaped
from daemon.messages import Event, Message, RunInfo
from daemon.serve.client_stream import ClientStream
from daemon.serve.hub import Hub
from daemon.serve.pace import REQUEST, Pace
from daemon.serve.pcm import FormatError, PcmFormat

log = logging.getLogger(__name__)

HEADER_BYTES: Final = 1 << 16
"""Most that a line of JSON may have."""
DATA_BYTES: Final = 1 << 20
"""Most that what follows it may have: half a minute of 16-bit sound at 16 kHz."""
EVENT_SECONDS: Final = 10.0
"""What a client gets to send an event that it has begun."""
STALL_SECONDS: Final = 3.0
"""Without sound for this long a stream ends; the next sound begins another one."""
IDLE_SECONDS: Final = 600.0
"""A client that says nothing at all for this long is disconnected."""
SUMMARY_SECONDS: Final = 30.0
"""How long a stream may take to be processed to its end before the next one begins."""
UNREAD_BYTES: Final = 1 << 16
"""Answers that a client may leave unread before it is disconnected."""
_MALFORMED = (
    AttributeError, EOFError, KeyError, LookupError, RecursionError, TypeError, ValueError,
)  # fmt: skip
"""What the wyoming package raises for what is no event, `asyncio.IncompleteReadError` included."""


class _IdleError(Exception):
    """Nothing has begun to come in the time that it may take."""


class _BoundedReader:
    """Reader for `async_read_event` with limits on length and time.

    No part is longer than allowed, none slower.
    """

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader
        self.idle = IDLE_SECONDS

    async def readline(self) -> bytes:
        """Read a line.

        Raises: ValueError for a line that is too long, `_IdleError`, TimeoutError.
        """
        try:
            async with asyncio.timeout(self.idle):
                first = await self._reader.read(1)
        except TimeoutError:
            raise _IdleError from None
        if first in (b"", b"\n"):
            return first
        async with asyncio.timeout(EVENT_SECONDS):
            return first + await self._reader.readline()

    async def readexactly(self, count: Any) -> bytes:
        """Read `count` bytes.

        Raises: ValueError for a count that is none, or too large, and TimeoutError.
        """
        if type(count) is not int or count > DATA_BYTES:
            raise ValueError("too long")
        async with asyncio.timeout(EVENT_SECONDS):
            return await self._reader.readexactly(count)


class WyomingConnection:
    """Reads a client's events until it leaves, misbehaves or is too slow."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, name: str, hub: Hub
    ) -> None:
        self._reader = _BoundedReader(reader)
        self._writer = writer
        self._name = name
        self._hub = hub
        self._stream: ClientStream | None = None
        self._names: frozenset[str] | None = None  # None: every intent
        self._offset = 0  # of the client's timestamps in ms
        self._detected = False
        self._pace = Pace()

    async def run(self) -> None:
        """Answer events until the connection ends."""
        try:
            while (event := await self._next()) is not None:
                await self._answer(event)
                cost = 1.0 if AudioChunk.is_type(event.type) else REQUEST
                wait = self._pace.take(time.monotonic(), cost)
                if wait and not self._writer.transport.is_closing():
                    await asyncio.sleep(wait)
        except FormatError as error:
            self._send(Error(str(error), code="unsupported-format").event())
        except (*_MALFORMED, OSError) as error:  # TimeoutError is an OSError
            log.info("%s is disconnected: %s", self._name, type(error).__name__)
        finally:
            if self._stream is not None:
                self._stream.finish()
                self._stream = None

    async def _next(self) -> WyomingEvent | None:
        """The next event; None at the end, or where what comes is none."""
        while True:
            self._reader.idle = IDLE_SECONDS if self._stream is None else STALL_SECONDS
            try:
                return await async_read_event(self._reader)  # type: ignore[arg-type]
            except _IdleError:
                if self._stream is None:
                    return None
                await self._end_stream()

    async def _answer(self, event: WyomingEvent) -> None:
        kind = event.type
        if AudioChunk.is_type(kind):
            await self._take_sound(AudioChunk.from_event(event))
        elif AudioStart.is_type(kind):
            start = AudioStart.from_event(event)
            await self._end_stream()
            self._begin_stream(_format_of(start), start.timestamp)
        elif AudioStop.is_type(kind):
            await self._stop()
        elif Detect.is_type(kind):
            await self._end_stream()
            self._choose(Detect.from_event(event).names)
        elif Describe.is_type(kind):
            self._send(_info(self._hub.run))
        elif Ping.is_type(kind):
            self._send(Pong(text=Ping.from_event(event).text).event())

    # ---- sound ----------------------------------------------------------------------------------

    async def _take_sound(self, chunk: AudioChunk) -> None:
        form = _format_of(chunk)
        if self._stream is not None and self._stream.form != form:
            await self._end_stream()
        if self._stream is None:
            self._begin_stream(form, chunk.timestamp)
        assert self._stream is not None
        await self._stream.feed(chunk.audio, paused=self._hub.paused)

    def _begin_stream(self, form: PcmFormat, timestamp: Any) -> None:
        self._offset = timestamp if type(timestamp) is int and abs(timestamp) < 1 << 53 else 0
        self._detected = False
        take = partial(self._take, self._names)
        self._stream = self._hub.begin_stream(self._name, form, take, frozenset({Event}))

    async def _end_stream(self) -> None:
        """End the stream, if any, and wait until all of it has been processed."""
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.finish()
            await stream.wait_for_summary(SUMMARY_SECONDS)

    async def _stop(self) -> None:
        await self._end_stream()
        if not self._detected:
            self._send(NotDetected().event())

    # ---- words ----------------------------------------------------------------------------------

    def _choose(self, names: Any) -> None:
        """Detect `names` only; all intents if there are none."""
        if not names:
            self._names = None
            return
        intents = _intents(self._hub.run)
        self._names = frozenset(names).intersection(intents)
        if not self._names:
            asked = ", ".join(escaped(str(name), 80) for name in list(names)[:5])
            text = f"the model has no intent {asked}; it has {', '.join(intents)}"
            self._send(Error(text, code="unknown-wake-word").event())

    def _take(self, names: frozenset[str] | None, message: Message) -> None:
        """A message on this client's sound."""
        if isinstance(message, Event) and (names is None or message.intent in names):
            self._detected = True
            at = self._offset + round(1000 * message.at_stream)
            self._send(Detection(name=message.intent, timestamp=at).event())

    # ---- answers --------------------------------------------------------------------------------

    def _send(self, event: WyomingEvent) -> None:
        """Write an event without waiting; disconnect a client that reads none."""
        line = io.BytesIO()
        write_event(event, line)
        transport = self._writer.transport
        if transport.is_closing():
            return
        transport.write(line.getvalue())
        if transport.get_write_buffer_size() > UNREAD_BYTES:
            log.info("%s is disconnected: it reads nothing", self._name)
            transport.abort()


def describe(run: RunInfo) -> Info:
    """The model's intents as wake words."""
    attribution = Attribution(name="intentd", url="")
    models = [
        WakeModel(
            name=intent,
            attribution=attribution,
            installed=True,
            description=intent.replace("_", " "),
            version=None,
            languages=[],
            phrase=intent.replace("_", " "),
        )
        for intent in _intents(run)
    ]
    program = WakeProgram(
        name="intentd",
        attribution=attribution,
        installed=True,
        description=f"Spoken intents, by the model {run.model}",
        version=__version__,
        models=models,
    )
    return Info(wake=[program])


@lru_cache(maxsize=1)
def _info(run: RunInfo) -> WyomingEvent:
    return describe(run).event()


def _intents(run: RunInfo) -> list[str]:
    return [label for label in run.labels if label not in run.non_intents]


def _format_of(event: AudioStart | AudioChunk) -> PcmFormat:
    return PcmFormat.checked(event.rate, event.width, event.channels)
