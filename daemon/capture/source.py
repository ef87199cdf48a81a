"""What the engine asks of anything that brings sound."""

from __future__ import annotations

from typing import Protocol

from daemon.capture.ring import Ring
from daemon.messages import StreamInfo


class Source(Protocol):
    """One stream of sound: a recording or a microphone.

    Channels are chosen before the ring, and mixed after it where that is left to the reader:
    `Chunk.mono` is right for every source.
    """

    @property
    def info(self) -> StreamInfo:
        """Known once the source is built."""
        ...

    @property
    def ring(self) -> Ring:
        """Written by the source's thread, read by the worker."""
        ...

    @property
    def error(self) -> str | None:
        """One sentence once something went wrong; the rest of the stream may still come."""
        ...

    def start(self) -> None:
        """Begin to fill the ring. UserError if nothing can be started."""
        ...

    def stop(self) -> None:
        """Stop filling and finish the ring; may be called twice, and from any thread."""
        ...
