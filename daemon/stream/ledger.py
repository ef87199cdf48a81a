"""Accounts for every sample: what came in against what became of it.

All counts are source samples. A sample is classified if any classified window covers it, else
gated; what a stop left undone is shed. captured = classified + gated + shed, and lost = shed +
what never arrived.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from daemon.base.errors import AccountingError


class Counts(Protocol):
    """Counts of the ring at the writer's side, from the beginning to now."""

    @property
    def captured(self) -> int: ...
    @property
    def shed(self) -> int: ...
    @property
    def never_arrived(self) -> int: ...


@dataclass(slots=True)
class Ledger:
    """Counts of one stream, each kept by a different part of the path.

    So they check one another.
    """

    received: int = 0
    """Samples that came in chunks."""
    lost_before: int = 0
    """Samples that chunks reported as lost."""
    position: int = 0
    """Where the next chunk has to begin, gaps included."""
    classified: int = 0
    gated: int = 0
    undone: int = 0
    """Received, and neither classified nor gated, because the stream was abandoned."""
    captured: int = 0
    shed: int = 0
    never_arrived: int = 0

    def receive(
        self, start: int, samples: int, lost: int, captured: int, shed: int, never_arrived: int
    ) -> None:
        """Count a chunk, its samples and the loss before it.

        start: where it starts; lost: before it; captured, shed and never_arrived: the ring's
        counts, the first up to the chunk's end, the others up to its start.

        Raises: AccountingError if it does not join on to the one before.
        """
        if start != self.position + lost:
            raise AccountingError(
                f"a chunk begins at sample {start}, where {self.position} + {lost} lost were due"
            )
        self.lost_before += lost
        self.received += samples
        self.position = start + samples
        self.captured, self.shed, self.never_arrived = captured, shed, never_arrived
        self._check("captured", self.captured, self.received + self.shed)
        self._check("lost", self.lost_before, self.shed + self.never_arrived)

    @property
    def lost(self) -> int:
        return self.lost_before + self.undone

    def close(self, counts: Counts | None = None) -> None:
        """Check all counts at a stream's end, and against the ring's if given.

        Raises: AccountingError that names both sides of what does not balance.
        """
        if counts is not None:
            self._check("captured by the ring", counts.captured, self.captured)
            self._check("shed by the ring", counts.shed, self.shed)
            self._check("never arrived by the ring", counts.never_arrived, self.never_arrived)
        self._check("position", self.position, self.captured + self.never_arrived)
        accounted = self.classified + self.gated + self.shed + self.undone
        self._check("captured", self.captured, accounted)

    @staticmethod
    def _check(what: str, one: int, other: int) -> None:
        if one != other:
            raise AccountingError(f"samples {what}: {one} on one side, {other} on the other")


class SegmentCount:
    """Counts a segment's samples as classified or gated, by its windows.

    These come in order.
    """

    def __init__(self, ledger: Ledger, rate: int, window_rate: int) -> None:
        self._ledger = ledger
        self._rate = rate
        self._window_rate = window_rate
        self._done = 0
        self.received = 0
        """Source samples of the segment so far."""

    def classify(self, start: int, end: int) -> None:
        """A classified window [start, end), in samples at the windows' rate."""
        first, last = self._source(start), self._source(end)
        self._ledger.gated += max(0, first - self._done)
        self._ledger.classified += max(0, last - max(first, self._done))
        self._done = max(self._done, last)

    def close(self) -> None:
        """Close the segment; what none of its windows covered was gated."""
        self._ledger.gated += self.received - self._done
        self._done = self.received

    def abandon(self, start: int | None) -> int:
        """Close without the windows from `start` on; return the samples left.

        None: all windows were counted.
        """
        undone = 0
        if start is not None:
            first = max(self._done, self._source(start))
            undone = self.received - first
            self._ledger.gated += first - self._done
            self._ledger.undone += undone
            self._done = self.received
        self.close()
        return undone

    def _source(self, position: int) -> int:
        return min(self.received, position * self._rate // self._window_rate)
