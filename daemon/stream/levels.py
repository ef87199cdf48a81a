"""Loudness for meters, and the noise floor."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

QUIETEST: Final = -120.0
"""dBFS that digital silence is shown as."""
HALF_LIFE: Final = 1.0
"""Seconds in which a peak counts half as much."""
FAINTEST: Final = 1e-3
"""-60 dBFS: speech below that is hardly any."""

QUIET: Final = 1e-2
"""-40 dBFS: peaks of a room in which speech is at least 10 dB louder."""


class LevelMeter:
    """RMS and peak of consecutive blocks of `period` samples.

    Whatever chunks these come in.
    """

    def __init__(self, period: int) -> None:
        self._period = max(1, period)
        self._squares = 0.0
        self._peak = 0.0
        self._filled = 0

    def feed(self, mono: NDArray[np.float32]) -> Iterator[tuple[int, float, float]]:
        """Levels of each block that is complete: (end, RMS dBFS, peak dBFS).

        `mono`: samples, shape (n,); the end is counted in samples.
        """
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


class NoiseFloor:
    """Peak level while nobody speaks, so that louder sound is noticed at once.

    It decides only when sound is processed, never the result: it may be wrong.
    """

    def __init__(self, rate: int) -> None:
        """`rate` in samples a second."""
        self._rate = rate
        self._peak = 0.0
        self._last: tuple[float, int] | None = None  # peak and length, if it was quiet till then

    def feed(self, mono: NDArray[np.float32], speaking: bool) -> None:
        """Add samples, shape (n,), n > 0.

        `speaking`: whether there was speech at the end of those before, which only now is known.
        """
        if self._last is not None and not speaking:
            peak, length = self._last
            self._peak = max(peak, self._peak * 0.5 ** (length / (HALF_LIFE * self._rate)))
        peak = max(float(mono.max()), -float(mono.min()))
        self._last = None if speaking else (peak, len(mono))

    @property
    def loud(self) -> float:
        """Amplitude, 0 to 1, above which a sample counts as loud.

        3 dB above the peaks of the last seconds.
        """
        return max(FAINTEST, 1.4 * self._peak)

    @property
    def quiet(self) -> bool:
        """Whether the last seconds were quiet, so that speech would stand out."""
        return self._last is not None and max(self._last[0], self._peak) < QUIET


def _db(amplitude: float) -> float:
    return max(QUIETEST, 20.0 * math.log10(amplitude)) if amplitude > 0 else QUIETEST
