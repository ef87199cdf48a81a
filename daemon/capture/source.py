"""What the engine asks of anything that brings sound."""

from __future__ import annotations

from typing import Protocol

from daemon.capture.ring import Ring
from daemon.messages import StreamInfo


class Source(Protocol):
    """One stream of sound: a `Recording` or a `Microphone`.

    Channels are chosen before the ring, and mixed after it where that is left to the reader:
    `Chunk.mono` is right for every source.
    """

    @property
    def info(self) -> StreamInfo:
        """Known once the source is built."""
        ...

    @property
    def ring(self) -> Ring:
        """Written by the driver's thread, read by the worker."""
        ...

    @property
    def error(self) -> str | None:
        """One sentence once something went wrong; what was heard before counts."""
        ...


class Driver(Protocol):
    """What fills the rings of sources: a `Feeder` for recordings, a `Microphone` for itself."""

    def start(self) -> None:
        """Begin to fill. UserError if nothing can be started."""
        ...

    def stop(self) -> None:
        """Stop filling and finish the rings; may be called twice, and from any thread."""
        ...
