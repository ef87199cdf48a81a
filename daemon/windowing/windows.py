"""Overlapping windows of a stream, whatever blocks it comes in.

Window k covers samples [k * hop, k * hop + window). At the end zeros are added, and windows go on
while they start before the end, so that n samples have ceil(n / hop) windows.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from daemon.base.audio import RATE

Samples = NDArray[np.float32]


def samples_of(seconds: float, rate: int = RATE) -> int:
    """Seconds as a number of samples, rounded, as windows and hops are."""
    return round(seconds * rate)


def window_count(samples: int, hop: int) -> int:
    """Number of windows in so many samples."""
    return -(-samples // hop)


class WindowBuffer:
    """Samples from the oldest window still needed on, in one block of memory.

    Nothing is copied for a window: `view` slices. Memory is bounded by the windows that were not
    released, plus the largest block.
    """

    def __init__(self, window: int, hop: int, history: int = 0) -> None:
        """A buffer for windows of `window` samples every `hop` samples.

        `history`: how far before the end of a window `before` looks back, at most, in samples.

        Raises: ValueError unless 1 <= hop <= window.
        """
        if not 1 <= hop <= window:
            raise ValueError(f"a hop of {hop} samples does not fit a window of {window}")
        self.window = window
        self.hop = hop
        self._extra = max(0, history - window)
        self._data = np.zeros(4 * window, dtype=np.float32)
        self._base = 0  # the stream's position of _data[0]
        self._filled = 0  # samples in _data that count
        self._released = 0  # windows below are not needed any more
        self._padded = 0  # zeros that `flush` added
        self._flushed = False

    @property
    def end(self) -> int:
        """Samples pushed so far."""
        return self._base + self._filled - self._padded

    @property
    def complete(self) -> int:
        """Number of complete windows: 0 to `complete` - 1 may be viewed."""
        if self._flushed:
            return window_count(self.end, self.hop)
        return max(0, (self.end - self.window) // self.hop + 1)

    @property
    def missing(self) -> int:
        """Samples that the next window lacks."""
        return self.complete * self.hop + self.window - self.end

    def push(self, samples: Samples) -> None:
        """Add samples, shape (n,); earlier views may change.

        Raises: RuntimeError after `flush`.
        """
        if self._flushed:
            raise RuntimeError("the windows were flushed")
        self._append(samples)

    def flush(self) -> None:
        """End the stream: pad the last windows with zeros.

        Call it once only.
        """
        if self._flushed:
            raise RuntimeError("the windows were flushed")
        count = window_count(self.end, self.hop)
        missing = (count - 1) * self.hop + self.window - self.end if count else 0
        if missing > 0:
            self._append(np.zeros(missing, dtype=np.float32))
            self._padded = missing
        self._flushed = True

    def view(self, index: int) -> Samples:
        """Window `index`, shape (window,), read-only.

        Valid until the next push or flush.

        IndexError if it was released or is not complete.
        """
        if not self._released <= index < self.complete:
            raise IndexError(f"window {index} is not held")
        at = index * self.hop - self._base
        view = self._data[at : at + self.window]
        view.flags.writeable = False
        return view

    def before(self, index: int, length: int) -> Samples:
        """The `length` samples that end with window `index`, shape (length,).

        At most `history`.

        Zeros stand where the stream had not begun. Also for the window that was released last.
        """
        end = index * self.hop + self.window - self._base
        found = np.zeros(length, np.float32)
        first = max(0, end - length)
        found[length - (end - first) :] = self._data[first:end]
        return found

    def release(self, below: int) -> None:
        """Windows below this index are not needed any more."""
        self._released = max(self._released, below)

    def _append(self, samples: Samples) -> None:
        need = self._filled + len(samples)
        if need > len(self._data):
            unused = self._released * self.hop - self._extra - self._base
            drop = min(max(0, unused), self._filled)
            kept = self._filled - drop
            need = kept + len(samples)
            target = self._data
            if need > len(target):
                target = np.zeros(max(need, 2 * len(target)), dtype=np.float32)
            target[:kept] = self._data[drop : self._filled]
            self._data = target
            self._base += drop
            self._filled = kept
        self._data[self._filled : need] = samples
        self._filled = need


def all_windows(samples: Samples, window: int, hop: int) -> Samples:
    """All windows of a recording, shape (ceil(n / hop), window).

    As a stream has them.
    """
    buffer = WindowBuffer(window, hop)
    buffer.push(samples)
    buffer.flush()
    windows = np.zeros((buffer.complete, window), dtype=np.float32)
    for index, row in enumerate(windows):
        row[:] = buffer.view(index)
    return windows
