"""What connections need of the server that they belong to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from daemon.messages import Message, RunInfo
from daemon.serve.client_stream import ClientStream
from daemon.serve.pcm import PcmFormat


class Hub(Protocol):
    """Begins streams of the run for clients."""

    @property
    def run(self) -> RunInfo: ...

    @property
    def paused(self) -> bool: ...

    def begin_stream(
        self, name: str, form: PcmFormat, take: Callable[[Message], None], wants: frozenset[type]
    ) -> ClientStream:
        """Begin a stream whose messages of types `wants` go to `take`.

        Its summary does in any case.

        Raises: ConnectionAbortedError once the server ends.
        """
        ...
