"""Loudness for meters."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

QUIETEST: Final = -120.0
"""dBFS; what digital silence is shown as."""


class LevelMeter:
    """RMS and peak of consecutive blocks of `period` samples, whatever chunks these come in."""

    def __init__(self, period: int) -> None:
        self._period = max(1, period)
        self._squares = 0.0
        self._peak = 0.0
        self._filled = 0

    def feed(self, mono: NDArray[np.float32]) -> Iterator[tuple[int, float, float]]:
        """Samples, shape (n,), to (samples up to the block's end, RMS dBFS, peak dBFS) for each
        block that they fill."""
        at = 0
        while at < len(mono):
            part = mono[at : at + self._period - self._filled]
            at += len(part)
            self._filled += len(part)
            self._squares += float(np.dot(part, part))
            self._peak = max(self._peak, float(np.abs(part).max()))
            if self._filled == self._period:
                yield at, _db(math.sqrt(self._squares / self._period)), _db(self._peak)
                self.reset()

    def reset(self) -> None:
        """Begin a new block."""
        self._squares, self._peak, self._filled = 0.0, 0.0, 0


def _db(amplitude: float) -> float:
    return max(QUIETEST, 20.0 * math.log10(amplitude)) if amplitude > 0 else QUIETEST
