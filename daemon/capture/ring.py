"""Ring between the thread that captures sound and the worker.

One writer, one reader, and no lock between them. Both sides count in *stored* samples (those
that were written, without gaps); a record of each written block maps them to absolute
positions (gaps included) and arrival times. Consistency is kept as in a
seqlock: the writer first raises the floor (the oldest stored sample that it will leave alone),
then overwrites, then publishes the block. The reader first copies and then looks at the floor:
whatever lies below it may have been overwritten meanwhile, and is discarded and counted
as shed. So the writer never waits, and the reader never sees a torn sample.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from daemon.capture.wake import Wake

SHED = "shed"
"""The reason of a gap made by the ring itself."""

_FRAMES_PER_RECORD = 16
_MIN_RECORDS = 1024


class Settable(Protocol):
    """Flag that the writer sets after a block.

    A `Wake` or `threading.Event`.
    """

    def set(self) -> None: ...


@dataclass(frozen=True, slots=True, eq=False)
class Chunk:
    """Samples without a gap inside, and what was lost directly before them."""

    samples: NDArray[np.float32]
    """Shape (n, channels), the reader's own copy. n is 0 only if sound was lost at the very end."""
    start: int
    """Absolute position of the first sample in source samples, gaps included."""
    block_ends: NDArray[np.int64]
    """Absolute end positions of the written blocks that this chunk touches, ascending; the last
    may lie behind the chunk's end."""
    block_arrivals: NDArray[np.float64]
    """When those blocks arrived, in seconds of the monotonic clock."""
    lost: int
    """Samples lost directly before `start`: shed and never arrived."""
    reason: str
    """Why they were lost; empty if `lost` is 0."""
    captured: int
    """Samples written from the beginning up to this chunk's end, those since shed included."""
    shed: int
    """Samples shed from the beginning up to this chunk's start."""
    never_arrived: int
    """Samples that never arrived, from the beginning up to this chunk's start.
    `captured + never_arrived == end` in each chunk."""

    @property
    def end(self) -> int:
        """Absolute position behind the last sample."""
        return self.start + len(self.samples)

    @property
    def mono(self) -> NDArray[np.float32]:
        """The channels' mean, shape (n,)."""
        if self.samples.shape[1] == 1:
            return self.samples[:, 0]
        mixed: NDArray[np.float32] = self.samples.mean(axis=1, dtype=np.float32)
        return mixed

    def arrival(self, position: int) -> float:
        """Arrival of the block with the sample at an absolute position.

        IndexError if no block of this chunk holds it.
        """
        if position < self.start:
            raise IndexError(f"position {position} lies before the chunk's start {self.start}")
        return float(self.block_arrivals[np.searchsorted(self.block_ends, position, side="right")])


class Ring:
    """Ring of `capacity_frames` samples of `channels` channels at `rate` Hz.

    With `shed` the writer never waits: it takes all and overwrites the oldest samples, which are
    counted. Without, it takes what fits, and the writer waits with `writer_wake`.
    `wake` is set after a block, if by then as much waits as the reader asked for (`await_frames`),
    and at the end; `writer_wake` after a read that follows a write which did not take all: write
    again and look at what it takes. Both may be replaced before the first write: one worker reads
    many rings, and one thread may fill several.
    """

    def __init__(
        self,
        capacity_frames: int,
        channels: int,
        rate: int,
        shed: bool,
        *,
        wake: Settable | None = None,
        writer_wake: Wake | None = None,
    ) -> None:
        if capacity_frames < 1 or channels < 1 or rate < 1:
            raise ValueError("capacity, channels and rate must be at least 1")
        self.capacity = capacity_frames
        self.channels = channels
        self.rate = rate
        self.sheds = shed
        self.wake = wake
        self.writer_wake = writer_wake if writer_wake is not None else Wake()
        self._samples = np.zeros((capacity_frames, channels), dtype=np.float32)

        # One record a written block; the ring holds at most this many blocks.
        self._records = max(_MIN_RECORDS, capacity_frames // _FRAMES_PER_RECORD)
        self._end = np.zeros(self._records, dtype=np.int64)  # stored position
        self._time = np.zeros(self._records, dtype=np.float64)
        self._gaps = np.zeros(self._records, dtype=np.int64)  # never arrived so far, cumulative
        self._reasons = [""] * self._records

        # Written by the writer, read by both. The order of assignment is what makes it safe.
        self._oldest = 0  # first record that may still be read
        self._floor = 0  # first stored sample that may still be read
        self._blocks = 0  # records published
        self._head = 0  # stored samples published
        self._never_arrived = 0
        self._pending_reason = ""
        self._pending_largest = 0
        self._last_reason = ""
        self._writer_waits = False  # the last block may not have fitted whole
        self._loud_end = 0  # stored position behind the last block louder than `_loud_level`
        self._done = False
        self._error: str | None = None
        self.channels_cancel = False
        """The writer found that the source's channels cancel each other in their mean."""

        # Written by the reader, read by both.
        self._next = 0  # record that holds the next sample
        self._tail = 0  # next stored sample
        self._skip_to = 0  # stored samples below are to be shed at the reader's wish
        self._gaps_read = 0
        self._shed = 0
        self._wake_at = 0  # stored samples that are worth waking the reader for
        self._wake_at_if_loud = 0  # the same once a block above _loud_level is stored
        self._loud_level = math.inf

    # ---- writer -------------------------------------------------------------------------------

    def write(self, block: NDArray[np.float32], arrival: float) -> int:
        """Write `block`, shape (n, channels), arrived at monotonic time `arrival`.

        Returns the number of frames taken: all of them with `shed`, else as many as fit.
        Never blocks. RuntimeError after `finish`.
        """
        if self._done:
            raise RuntimeError("the ring was finished")
        n = len(block)
        k, head = self._blocks, self._head
        if not self.sheds:
            self._writer_waits = True  # before looking, so that no read in between is missed
            if k - self._next >= self._records:
                return 0
            n = min(n, self.capacity - (head - self._tail))
            self._writer_waits = n < len(block)
        if n <= 0:
            return 0
        slot = k % self._records
        lapped = int(self._end[slot])  # 0 before the first lap
        self._oldest = max(0, k + 1 - self._records)
        self._floor = max(self._floor, lapped, head + n - self.capacity)

        skip = max(0, n - self.capacity)
        at = (head + skip) % self.capacity
        first = min(n - skip, self.capacity - at)
        self._samples[at : at + first] = block[skip : skip + first]
        if first < n - skip:
            self._samples[: n - skip - first] = block[skip + first : n]

        self._end[slot] = head + n
        self._time[slot] = arrival
        self._gaps[slot] = self._never_arrived
        self._reasons[slot] = self._pending_reason
        self._pending_reason = ""
        self._pending_largest = 0
        level = self._loud_level
        if level < math.inf and max(float(block.max()), -float(block.min())) > level:
            self._loud_end = head + n
        self._head = head + n
        self._blocks = k + 1
        if self.wake is not None and self._enough():
            self.wake.set()
        return n

    def lose(self, samples: int, reason: str) -> None:
        """Count `samples` that never arrived before the next write.

        Several losses before one write make one gap, named after the largest.
        """
        if self._done:
            raise RuntimeError("the ring was finished")
        if samples <= 0:
            return
        if samples > self._pending_largest:
            self._pending_largest = samples
            self._pending_reason = reason
            self._last_reason = reason
        self._never_arrived += samples

    def finish(self, error: str | None = None) -> None:
        """End the stream; `error` is a sentence if it ended early."""
        if self._done:
            return
        self._error = error
        self._done = True
        if self.wake is not None:
            self.wake.set()

    # ---- reader -------------------------------------------------------------------------------

    def read(self, max_frames: int) -> Chunk | None:
        """Read up to `max_frames` samples without a gap; None if none are there.

        A chunk without samples, but with `lost`, comes last if sound was lost at the very end.
        """
        if max_frames < 1:
            raise ValueError("max_frames must be at least 1")
        while True:
            done = self._done  # before _blocks: what is published now is then all there is
            blocks = self._blocks
            first = max(self._next, self._oldest)
            tail = max(self._tail, self._floor, self._skip_to)
            # Every record holds at least one frame, so these suffice unless `tail` has jumped.
            count = min(blocks - first, max_frames)
            if count <= 0 or tail >= self._end_of(blocks):
                return self._last_gap() if done and blocks == self._blocks else None
            slots = np.arange(first, first + count) % self._records
            ends, gaps, times = self._end[slots], self._gaps[slots], self._time[slots]
            if self._oldest > first:
                continue  # records were overwritten while they were copied
            k = int(np.searchsorted(ends, tail, side="right"))
            if k == count:
                self._next = first + count
                continue
            gap = int(gaps[k])
            stop = int(np.searchsorted(gaps, gap, side="right"))
            last = min(int(ends[stop - 1]), tail + max_frames)
            samples = self._copy(tail, last)
            reason, gap_record = self._reasons[(first + k) % self._records], first + k

            floor = self._floor
            if floor > tail:  # overwritten while it was copied: the newer part stands
                if floor >= last:
                    continue
                samples = samples[floor - tail :]
                tail = floor
                k = int(np.searchsorted(ends, tail, side="right"))
            if self._oldest > gap_record:
                reason = ""
            stop = k + 1 + int(np.searchsorted(ends[k:stop], last, side="left"))
            chunk = self._account(tail, gap, reason, samples, (ends[k:stop] + gap, times[k:stop]))
            self._next = first + stop - (last < int(ends[stop - 1]))
            self._tail = last
            if self._writer_waits:
                self.writer_wake.set()
            return chunk

    def await_frames(self, frames: int, loud_frames: int = 0, loud_level: float = math.inf) -> None:
        """Wake the reader only once `frames` wait, or the ring is finished.

        `ready` is True if that is so already, and then `wake` may not be set again.

        With `loud_level`, `loud_frames` suffice if a sample among them, written since this level
        was first set, is larger than that in magnitude. Holds until the next call.
        """
        tail = max(self._tail, self._floor, self._skip_to)
        self._loud_level = loud_level
        self._wake_at = tail + min(frames, self.capacity)
        self._wake_at_if_loud = (
            min(self._wake_at, tail + loud_frames) if loud_level < math.inf else self._wake_at
        )

    def shed_to(self, keep: int) -> int:
        """Shed all unread samples but the newest `keep`; return the number shed.

        They are counted in the next chunk. ValueError on a ring that does not shed.
        """
        if not self.sheds:
            raise ValueError("a ring that waits never sheds")
        start = max(self._tail, self._floor, self._skip_to)
        self._skip_to = max(start, self._head - max(0, keep))
        return self._skip_to - start

    @property
    def finished(self) -> bool:
        """The writer has finished, and everything has been read."""
        return self._done and self._tail == self._head and self._gaps_read == self._never_arrived

    @property
    def error(self) -> str | None:
        """Sentence given to `finish`; None before the end, or if all went well."""
        return self._error

    # ---- either -------------------------------------------------------------------------------

    @property
    def captured(self) -> int:
        """Samples written so far."""
        return self._head

    @property
    def shed(self) -> int:
        """Samples shed so far, those that no chunk has counted yet included."""
        return self._shed + max(self._tail, self._floor, self._skip_to) - self._tail

    @property
    def never_arrived(self) -> int:
        """Samples that never arrived so far, by `lose`."""
        return self._never_arrived

    @property
    def ready(self) -> bool:
        """As many samples wait as the reader asked for, or the ring is finished."""
        return self._done or self._enough()

    @property
    def unread(self) -> int:
        """Samples that wait to be read."""
        return max(0, self._head - max(self._tail, self._floor, self._skip_to))

    @property
    def position(self) -> int:
        """Absolute position behind the last sample written or lost."""
        return self._head + self._never_arrived

    # ---- inner --------------------------------------------------------------------------------

    def _enough(self) -> bool:
        loud = self._loud_end > self._tail
        return self._head >= (self._wake_at_if_loud if loud else self._wake_at)

    def _end_of(self, blocks: int) -> int:
        return int(self._end[(blocks - 1) % self._records]) if blocks else 0

    def _copy(self, start: int, stop: int) -> NDArray[np.float32]:
        out = np.empty((stop - start, self.channels), dtype=np.float32)
        at = start % self.capacity
        first = min(len(out), self.capacity - at)
        out[:first] = self._samples[at : at + first]
        out[first:] = self._samples[: len(out) - first]
        return out

    def _account(
        self,
        tail: int,
        gap: int,
        reason: str,
        samples: NDArray[np.float32],
        blocks: tuple[NDArray[np.int64], NDArray[np.float64]],
    ) -> Chunk:
        shed = tail - self._tail
        missing = gap - self._gaps_read
        self._shed += shed
        self._gaps_read = gap
        if shed >= missing:
            reason = SHED if shed else ""
        elif not reason:  # the block that followed the gap was shed itself
            reason = self._last_reason
        return Chunk(
            samples=samples,
            start=tail + gap,
            block_ends=blocks[0],
            block_arrivals=blocks[1],
            lost=shed + missing,
            reason=reason,
            captured=tail + len(samples),
            shed=self._shed,
            never_arrived=gap,
        )

    def _last_gap(self) -> Chunk | None:
        """Samples lost behind the last readable one; None if none were."""
        if self._tail == self._head and self._gaps_read == self._never_arrived:
            return None
        empty = np.zeros((0, self.channels), dtype=np.float32)
        chunk = self._account(
            self._head,
            self._never_arrived,
            self._pending_reason,
            empty,
            (np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.float64)),
        )
        self._tail = self._head
        return chunk
