"""Threads that fill the rings of recordings, at a pace or at full speed."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from daemon.capture.recording.recording import Recording
from daemon.capture.ring import Settable
from daemon.capture.wake import Wake

_PATIENCE = 1.0
"""Seconds a thread waits at most before it looks around, should a wake-up call get lost."""
_READ_AHEAD = 1.0
"""Seconds of a file that are decoded at once: a small read costs nearly as much, and each lets go
of the interpreter, which a busy worker then keeps for its whole turn (5 ms)."""


class Feeder:
    """Fills the rings of `recordings`, and closes them at the end.

    All regular files share one thread; a pipe gets its own, so that it cannot hold up others.

    speed: 1.0 keeps the recordings' own pace, 2.5 is two and a half times as fast, None goes as
    fast as the rings are read. Pace is kept by deadlines: a block is due when its last sample
    would have been heard, counted from its recording's start, so that nothing adds up. Its arrival
    time is when it was due; at speed None, and for a pipe that is late, when it was written.
    spread: seconds over which the files' starts are spread, in steps of a block, so that the
    windows of many files don't come due all at once.
    block: frames a block (tests, or a sound card's); by default `block_ms` of each recording, and
    without a pace as much of a file as is decoded at once.
    wake: set after each block, for the worker that reads the rings.
    """

    def __init__(
        self,
        recordings: Sequence[Recording],
        speed: float | None,
        wake: Settable | None = None,
        *,
        block_ms: float = 40.0,
        block: int | None = None,
        spread: float = 0.0,
    ) -> None:
        if speed is not None and not speed > 0:
            raise ValueError("speed must be above 0")
        if block is not None and block < 1:
            raise ValueError("a block must have at least 1 frame")
        self.failure: BaseException | None = None
        """An error of ours in a thread; all rings are finished then."""
        self._clock = _Clock(speed)
        self._wake = wake
        self._stopping = False
        self._crews: list[_Crew] = []
        files = [r for r in recordings if not r.blocking]
        crews = ([files] if files else []) + [[r] for r in recordings if r.blocking]
        for crew in crews:
            writer_wake = Wake()
            feeds = []
            for number, recording in enumerate(crew):
                recording.ring.wake = wake
                recording.ring.writer_wake = writer_wake
                rate = recording.info.rate
                ahead = 0 if recording.blocking else round(_READ_AHEAD * rate)
                frames = block or max(1, round(block_ms * rate / 1000))
                if block is None and speed is None:
                    frames = max(frames, ahead)
                starts = max(1, round(spread * rate / frames))
                feeds.append(_Feed(recording, frames, ahead, number % starts * frames / rate))
            self._crews.append(_Crew(feeds, writer_wake))
        self._threads = [
            threading.Thread(target=self._run, args=(crew,), name=f"feeder-{i}", daemon=True)
            for i, crew in enumerate(self._crews)
        ]

    def start(self) -> None:
        """Begin; the pace counts from here."""
        self._clock.start()
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Stop feeding, finish the rings, close the recordings, join the threads."""
        self._stopping = True
        for crew in self._crews:
            for feed in crew.feeds:
                feed.recording.interrupt()
            crew.wake.set()
        for thread in self._threads:
            if thread.ident is not None and thread is not threading.current_thread():
                thread.join()
        for crew in self._crews:
            crew.end()

    def pause(self) -> None:
        """Hold the recordings where they are. Nothing is lost."""
        self._clock.pause()

    def resume(self) -> None:
        """Go on, as if no time had passed."""
        self._clock.resume()
        for crew in self._crews:
            crew.wake.set()

    def _run(self, crew: _Crew) -> None:
        try:
            while not self._stopping and crew.feeds:
                wait = crew.step(self._clock)
                if wait > 0:
                    crew.wake.wait(wait)
        except BaseException as error:
            self.failure = error
            for feed in crew.feeds:
                feed.recording.fail(f"{feed.recording.name}: {type(error).__name__}: {error}")
        finally:
            crew.end()
            if self._wake is not None:
                self._wake.set()


class _Clock:
    """Converts a recording's time into deadlines; stops during a pause."""

    def __init__(self, speed: float | None) -> None:
        self.speed = speed
        self._start = 0.0
        self._paused_at: float | None = None

    def start(self) -> None:
        self._start = time.monotonic()

    def pause(self) -> None:
        if self._paused_at is None:
            self._paused_at = time.monotonic()

    def resume(self) -> None:
        if self._paused_at is not None:
            self._start += time.monotonic() - self._paused_at
            self._paused_at = None

    @property
    def paused(self) -> bool:
        return self._paused_at is not None

    def due(self, seconds: float) -> float | None:
        """Monotonic time at which `seconds` have run; None at full speed."""
        return None if self.speed is None else self._start + seconds / self.speed


class _Feed:
    """One recording and the block that waits to be written."""

    def __init__(self, recording: Recording, frames: int, ahead: int, start: float) -> None:
        """Feeds blocks of `frames`, starting at `start` seconds of the clock.

        At least `ahead` frames are decoded at once (0: what is there). The clock is that of speed
        1.
        """
        self.recording = recording
        self._start = start
        self._frames = frames
        self._ahead = -(-ahead // frames) * frames
        self._decoded: NDArray[np.float32] | None = None
        self._block: NDArray[np.float32] | None = None
        self._position = 0
        self._arrival: float | None = None

    def step(self, clock: _Clock) -> float | None:
        """Write one block, or part of it, and return the seconds to wait.

        0 for not at all; None if the recording has ended.
        """
        if self._block is None:
            self._block = self._next_block()
            if self._block is None:
                return None
            self._position += len(self._block)
            self._arrival = None
        now = time.monotonic()
        if self._arrival is None:
            due = clock.due(self._start + self._position / self.recording.info.rate)
            if due is not None and due > now:
                return due - now
            self._arrival = now if due is None or self.recording.blocking else due
        taken = self.recording.ring.write(self._block, self._arrival)
        if taken == len(self._block):
            self._block = None
            return 0.0
        self._block = self._block[taken:]
        return 0.0 if taken else _PATIENCE

    def _next_block(self) -> NDArray[np.float32] | None:
        """A block from a file, whole but at its end; what is there from a pipe."""
        if self._decoded is None or not len(self._decoded):
            self._decoded = self.recording.read(self._ahead or self._frames)
            if self._decoded is None:
                return None
        block = self._decoded[: self._frames]
        self._decoded = self._decoded[len(block) :]
        return block


class _Crew:
    """The recordings of one thread."""

    def __init__(self, feeds: list[_Feed], wake: Wake) -> None:
        self.feeds = feeds
        self.wake = wake

    def step(self, clock: _Clock) -> float:
        """A turn for each recording; returns how long to wait before the next."""
        if clock.paused:
            return _PATIENCE
        wait = _PATIENCE
        for feed in tuple(self.feeds):
            pause = feed.step(clock)
            if pause is None:
                self._end(feed)
                pause = 0.0
            wait = min(wait, pause)
        return wait

    def end(self) -> None:
        for feed in tuple(self.feeds):
            self._end(feed)

    def _end(self, feed: _Feed) -> None:
        feed.recording.ring.finish(feed.recording.error)
        feed.recording.close()
        self.feeds.remove(feed)
