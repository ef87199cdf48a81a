"""A stream with its ring: what waits, how late it is, when to wake."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import UTC, datetime

from daemon.capture.ring import Ring
from daemon.stream.stream import DueWindow, Stream

log = logging.getLogger(__name__)

KEEP_SECONDS = 1.0
"""Seconds of sound that a live ring keeps when it is shed."""
ON_TIME_SECONDS = 0.25
"""Sound of a client that may wait without being late: a hop."""
SETTLE_SECONDS = 1.0
"""How long a client may be late before it counts as lag: a network delivers in bursts."""


def time_of_day() -> str:
    """This moment in ISO 8601, UTC, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@dataclass(slots=True)
class StreamFeed:
    """One stream with the ring that feeds it."""

    stream: Stream
    ring: Ring
    read_all: bool = False
    """The ring has given everything it will ever give."""
    ended: bool = False
    """The summary has been published."""
    last_arrival: float | None = None
    """When the newest sound arrived that was processed, in the worker's clock."""
    next_read: int = 0
    """Frames that its next turn reads, at most."""
    begun: float = 0.0
    """When the worker took it on, in its clock."""
    on_time_at: float = 0.0
    """When a client's sound was last processed as fast as it is spoken, in the worker's clock."""

    @property
    def live(self) -> bool:
        return self.stream.info.live

    @property
    def waiting(self) -> float:
        """Seconds of sound in the ring; 0 if less than was asked to wait for."""
        return self.ring.unread / self.ring.rate if self.ring.ready else 0.0

    def lag(self, now: float) -> float:
        """Seconds that the worker is behind live sound.

        A client may send faster than it is spoken, and pause when it likes, so that sound which
        waits proves nothing: its lag is for how long less was processed than was spoken and sent.
        """
        if not self.stream.info.client:
            return self.waiting
        behind = 0.0 if self._on_time(now) else now - self.on_time_at
        return behind if behind >= SETTLE_SECONDS else 0.0

    def check_time(self, now: float) -> None:
        """Note whether a client's sound is processed as fast as it is spoken."""
        if self.stream.info.client and self._on_time(now):
            self.on_time_at = now

    def _on_time(self, now: float) -> bool:
        processed = (self.ring.position - self.ring.unread) / self.ring.rate
        return min(now - self.begun - processed, self.waiting) < ON_TIME_SECONDS

    def await_sound(self, frames: int, *, all_of_it: bool) -> None:
        """Have the ring wake the worker once a message's worth of sound is there.

        The next turn reads at most `frames` of it; with `all_of_it`, once they all are there.
        """
        self.next_read = min(frames, self.ring.capacity)
        if all_of_it:
            self.ring.await_frames(self.next_read)
            return
        missing = self.stream.missing
        self.ring.await_frames(missing.samples, missing.samples_if_loud, missing.loud)

    def shed(self, limit: float) -> None:
        """Shed all but the newest live sound if more than `limit` seconds wait."""
        rate = self.ring.rate
        if self.ring.sheds and self.ring.unread > limit * rate:
            log.info("shed %s: %.2f s wait", self.stream.info.name, self.ring.unread / rate)
            self.ring.shed_to(round(KEEP_SECONDS * rate))

    def abandon(self) -> None:
        """End the stream with what the ring holds, unclassified."""
        while not self.read_all:
            chunk = self.ring.read(self.ring.capacity)
            if chunk is None:
                self.read_all = True
            else:
                self.stream.feed(chunk)
        self.stream.finish()
        self.stream.abandon()


Due = tuple[StreamFeed, DueWindow]
"""A window that waits for its scores, and its stream."""
