"""The two audio inputs: recordings with their feeder, and a microphone."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from daemon.capture.microphone.microphone import Microphone
from daemon.capture.recording.feeder import Feeder
from daemon.capture.recording.recording import Recording
from daemon.capture.ring import Ring
from daemon.capture.wake import Wake
from daemon.messages import Status, StreamInfo


class Recordings:
    """Recordings replayed side by side.

    `speed`: 1.0 is their own pace, None as fast as the worker reads.

    `spread`: seconds over which their starts are spread (see `Feeder`).
    `refused`: some recording beside these could not be opened, so that the run has failed.
    """

    def __init__(
        self,
        recordings: Sequence[Recording],
        speed: float | None,
        *,
        block_ms: float,
        spread: float = 0.0,
        refused: bool = False,
    ) -> None:
        self.wake = Wake()
        self._recordings = list(recordings)
        self._feeder = Feeder(self._recordings, speed, self.wake, block_ms=block_ms, spread=spread)
        self._refused = refused
        self._published: set[tuple[int, str]] = set()

    @property
    def streams(self) -> list[tuple[StreamInfo, Ring]]:
        return [(recording.info, recording.ring) for recording in self._recordings]

    def start(self, on_news: Callable[[], None]) -> None:  # what is new can wait for the next tick
        """Begin to feed; the pace counts from here."""
        self._feeder.start()

    def stop(self) -> None:
        """Stop feeding and finish the rings; may be called twice."""
        self._feeder.stop()

    def pause(self) -> None:
        """Hold the recordings where they are."""
        self._feeder.pause()

    def resume(self) -> None:
        """Go on from there."""
        self._feeder.resume()

    def tick(self, _now: float) -> Sequence[Status]:
        """New notices and errors of the recordings.

        Raises: what ended the feeder's thread.
        """
        if self._feeder.failure is not None:
            raise self._feeder.failure
        statuses = []
        for number, recording in enumerate(self._recordings):
            sentences = [(notice, "warning") for notice in tuple(recording.notices)]
            if recording.error is not None:
                sentences.append((recording.error, "error"))
            for sentence, level in sentences:
                if (number, sentence) not in self._published:
                    self._published.add((number, sentence))
                    statuses.append(Status(None, sentence, level))
        return statuses

    def searching(self, _now: float) -> bool:
        """False: recordings do not come back."""
        return False

    @property
    def failed(self) -> bool:
        """Some recording could not be read, or not to its end."""
        return self._refused or any(r.error is not None for r in self._recordings)


class LiveInput:
    """A microphone, which supervises its device itself."""

    def __init__(self, microphone: Microphone, wake: Wake) -> None:
        """`wake` is what the microphone's ring sets."""
        self.wake = wake
        self._microphone = microphone

    @property
    def streams(self) -> list[tuple[StreamInfo, Ring]]:
        return [(self._microphone.info, self._microphone.ring)]

    def start(self, on_news: Callable[[], None]) -> None:
        """Open the device. Raises UserError if it can't be opened."""
        self._microphone.reports.on_report = on_news
        self._microphone.start()

    def stop(self) -> None:
        """Close the device and finish the ring; may be called twice."""
        self._microphone.stop()

    def pause(self) -> None:
        """Stop listening; sound of this time is counted as lost."""
        self._microphone.pause()

    def resume(self) -> None:
        """Listen again."""
        self._microphone.resume()

    def tick(self, _now: float) -> Sequence[Status]:
        """Losses and returns of the device.

        Raises: what ended the microphone's thread.
        """
        if self._microphone.failure is not None:
            raise self._microphone.failure
        return [
            Status(None, report.text, "info" if report.kind == "returned" else "warning")
            for report in self._microphone.reports.take()
        ]

    def searching(self, now: float) -> bool:
        """The microphone is away, and looked for (see `Microphone.searching`)."""
        return self._microphone.searching(now)

    @property
    def failed(self) -> bool:
        return self._microphone.error is not None
