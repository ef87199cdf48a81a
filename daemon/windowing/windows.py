"""Overlapping windows of a stream of samples, each one a view."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Mono = NDArray[np.float32]

_GROWTH = 2


class Windower:
    """Windows of `window` samples, one every `hop` samples, from the beginning of a segment.

    Window k covers samples [k * hop, k * hop + window). Samples are kept in one buffer as long as
    a window that has not been released may need them, so windows are views and overlap costs
    nothing. At the end the tail is padded with zeros, and windows go on while they begin before
    the end of the samples: the last sample is seen in as many positions as any other.
    """

    def __init__(self, window: int, hop: int) -> None:
        if not 0 < hop <= window:
            raise ValueError("the hop must be at least one sample and at most the window")
        self.window = window
        self.hop = hop
        self._buffer = np.zeros(_GROWTH * 2 * window, np.float32)
        self._base = 0  # segment position of the buffer's first sample
        self._end = 0  # segment position behind the last sample, padding not counted
        self._padded = 0
        self._next = 0  # the next window to be handed out
        self._released = 0  # windows below are not needed any more

    @property
    def samples(self) -> int:
        """Samples pushed so far, padding not counted."""
        return self._end

    def push(self, samples: Mono) -> None:
        """Add mono samples, shape (n,)."""
        self._append(samples)
        self._end += len(samples)

    def pad(self) -> None:
        """The segment has ended: pad it with zeros until its last sample begins no window."""
        if self._end == 0 or self._padded:
            return
        last = (self._end - 1) // self.hop
        missing = max(0, last * self.hop + self.window - self._end)
        self._append(np.zeros(missing, np.float32))
        self._padded = missing

    @property
    def ready(self) -> int:
        """Number of windows that are complete: window k is, if k < ready."""
        total = self._end + self._padded
        if total < self.window:
            return 0
        complete = (total - self.window) // self.hop + 1
        if self._padded:
            complete = min(complete, (self._end - 1) // self.hop + 1)
        return complete

    def view(self, index: int) -> Mono:
        """The samples of window `index`, shape (window,), valid until the next `push`."""
        start = index * self.hop - self._base
        return self._buffer[start : start + self.window]

    def release(self, index: int) -> None:
        """Windows below `index` are not needed any more."""
        self._released = max(self._released, index)

    def _append(self, samples: Mono) -> None:
        total = self._end + self._padded
        used = total - self._base
        if used + len(samples) > len(self._buffer):
            drop = min(max(0, self._released * self.hop - self._base), used)
            kept = used - drop
            room = len(self._buffer)
            if kept + len(samples) > room:
                room = _GROWTH * (kept + len(samples))
            target = np.empty(room, np.float32) if room > len(self._buffer) else self._buffer
            # numpy copies overlapping slices of one array correctly
            target[:kept] = self._buffer[drop:used]
            self._buffer = target
            self._base += drop
            used = kept
        self._buffer[used : used + len(samples)] = samples
