"""Automatic gain ahead of a detector: lifts quiet speech, not noise."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

MOST: Final = 30.0
"""dB; the gain lies between 0 and this."""
PEAK: Final = -15.0
"""dBFS that the peaks of the last seconds are lifted to, at most."""
NOISE: Final = -65.0
"""dBFS that the noise floor (RMS) is lifted to, at most."""
RISE: Final = 5.0
"""dB a second by which the noise floor follows louder sound; quieter sound it follows at once."""
FADE: Final = 6.0
"""dB a second by which a peak is forgotten."""
FIRST_FLOOR: Final = -70.0
"""dBFS; the noise floor at first, so that a stream that begins with speech is lifted too."""
_SILENT: Final = 1e-6
"""-120 dBFS."""


class AutomaticGain:
    """The gain of one stream, chunk by chunk, from the chunks so far alone.

    gain = min(PEAK - peak, NOISE - floor), within 0 and MOST dB, where peak is the largest peak,
    which fades, and floor the quietest level, which rises (in the manner of minimum statistics,
    R. Martin, 2001).
    """

    __slots__ = ("_floor", "_peak")

    def __init__(self) -> None:
        self._floor = FIRST_FLOOR
        self._peak = -math.inf

    def update(self, level: float, peak: float, seconds: float) -> float:
        """Gain factor of the next chunk, from its RMS and peak in dBFS.

        seconds: the chunk's length.
        """
        self._floor = min(level, self._floor + RISE * seconds)
        self._peak = max(peak, self._peak - FADE * seconds)
        gain = min(PEAK - self._peak, NOISE - self._floor, MOST)
        return float(10 ** (max(0.0, gain) / 20))


def levels(chunks: NDArray[np.float32]) -> tuple[list[float], list[float]]:
    """RMS and peak in dBFS of each chunk, shape (n, samples)."""
    power = np.einsum("ij,ij->i", chunks, chunks) / chunks.shape[1]
    peaks = np.maximum(chunks.max(axis=1), -chunks.min(axis=1))
    decibels = 10 * np.log10(np.maximum(power, _SILENT**2))
    return decibels.tolist(), (20 * np.log10(np.maximum(peaks, _SILENT))).tolist()
