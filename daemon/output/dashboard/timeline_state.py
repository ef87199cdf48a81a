"""Last minute of a stream in small bins: kind, loudness, events."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SECONDS = 60.0
BIN = 0.1
"""Seconds a bin; fine enough that rounding to columns shows on no terminal."""
BINS = round(SECONDS / BIN)

NOTHING, SILENCE, SPEECH, GAP, INTENT = 0, 1, 2, 3, 4
"""What a bin holds; INTENT + i is the event of label i. The greater wins."""

QUIET = -90.0
"""dBFS of a bin in which no level was measured."""


@dataclass(frozen=True, slots=True)
class Columns:
    """Columns of a drawn timeline, oldest first."""

    kinds: NDArray[np.int16]
    levels: NDArray[np.float32]
    """dBFS, the loudest in each column."""
    first: int
    """Index of the first column since the stream began."""
    seconds: float
    """Of one column."""

    def column(self, time: float) -> int:
        """Column of a stream time; negative if it is no longer shown."""
        return int((np.floor(time / BIN + 1e-6) + 0.5) * BIN / self.seconds) - self.first


class Timeline:
    """A ring of bins; memory does not grow, however far time goes on."""

    def __init__(self) -> None:
        self._kinds = np.full(BINS, NOTHING, np.int16)
        self._levels = np.full(BINS, QUIET, np.float32)
        self._next = 0
        """The first bin of which nothing is known yet."""

    @property
    def end(self) -> float:
        """Stream time up to which something is known, in seconds."""
        return self._next * BIN

    def mark(self, start: float, end: float, kind: int, level: float | None = None) -> None:
        """Mark [start, end), at least one bin, as `kind`; drop what is too old.

        That is what lies more than a minute back.
        """
        first = max(0, int(start / BIN + 1e-6))
        last = max(first + 1, int(np.ceil(end / BIN - 1e-6)))
        self._advance(last)
        first = max(first, self._next - BINS)
        if first >= last:
            return
        bins = np.arange(first, last) % BINS
        np.maximum.at(self._kinds, bins, np.int16(kind))
        if level is not None:
            np.maximum.at(self._levels, bins, np.float32(level))

    def columns(self, width: int) -> Columns:
        """The last minute in `width` columns.

        A bin always falls into the same column, counted from the start of the stream, so that the
        picture moves by whole columns and does not shimmer.
        """
        seconds = SECONDS / width
        newest = int((max(0, self._next - 1) + 0.5) * BIN / seconds)
        first = newest - width + 1
        kinds = np.full(width, NOTHING, np.int16)
        levels = np.full(width, QUIET, np.float32)
        bins = np.arange(max(0, self._next - BINS), self._next)
        columns = ((bins + 0.5) * BIN / seconds).astype(np.int64) - first
        shown = columns >= 0
        places = bins[shown] % BINS
        np.maximum.at(kinds, columns[shown], self._kinds[places])
        np.maximum.at(levels, columns[shown], self._levels[places])
        return Columns(kinds, levels, first, seconds)

    def _advance(self, end: int) -> None:
        if end <= self._next:
            return
        fresh = np.arange(max(self._next, end - BINS), end) % BINS
        self._kinds[fresh] = NOTHING
        self._levels[fresh] = QUIET
        self._next = end
