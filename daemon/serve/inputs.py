"""Clients as an audio input, with or without a microphone beside them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from daemon.base.errors import UserError
from daemon.capture.ring import Ring
from daemon.capture.wake import Wake
from daemon.messages import Status, StreamInfo
from daemon.runtime.engine import AudioInput
from daemon.serve.server import ClientServer


class ServedInput:
    """Streams of a server's clients, and of `microphone` if there is one."""

    def __init__(self, server: ClientServer, microphone: AudioInput | None, wake: Wake) -> None:
        """`wake` is what the rings of all set."""
        self.wake = wake
        self._server = server
        self._microphone = microphone

    @property
    def streams(self) -> Sequence[tuple[StreamInfo, Ring]]:
        """Stream of the microphone; clients' go to `ClientServer.on_stream`."""
        return [] if self._microphone is None else self._microphone.streams

    def start(self, on_news: Callable[[], None]) -> None:
        """Listen to both. Raises UserError if one can't be listened to."""
        self._server.start()
        if self._microphone is not None:
            self._microphone.start(on_news)

    def stop(self) -> None:
        """Stop listening and finish the rings; may be called twice."""
        self._server.stop()
        if self._microphone is not None:
            self._microphone.stop()

    def pause(self) -> None:
        """Stop listening; sound of this time is counted as lost."""
        self._server.paused = True
        if self._microphone is not None:
            self._microphone.pause()

    def resume(self) -> None:
        """Listen again."""
        self._server.paused = False
        if self._microphone is not None:
            self._microphone.resume()

    def tick(self, now: float) -> Sequence[Status]:
        """What is new with either. Raises what ended one's thread."""
        if self._server.failed:
            raise UserError("the thread that listens to clients has ended", status=1)
        found = [] if self._microphone is None else self._microphone.tick(now)
        return [*self._server.take_statuses(), *found]

    def searching(self, now: float) -> bool:
        """Whether no sound is due: the microphone is away, or there is none.

        One that is away is looked for.
        """
        return self._microphone is None or self._microphone.searching(now)

    @property
    def failed(self) -> bool:
        return self._microphone is not None and self._microphone.failed
