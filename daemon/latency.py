"""Percentiles of latencies in constant memory."""

from __future__ import annotations

import math
from typing import Final

import numpy as np

LOWEST: Final = 0.01
"""Milliseconds below which latencies are not told apart."""
HIGHEST: Final = 1e7
STEP: Final = 1.01
"""Ratio of one bin's upper to its lower bound: percentiles are right to half a percent."""
_BINS: Final = math.ceil(math.log(HIGHEST / LOWEST) / math.log(STEP)) + 1


class LatencyHistogram:
    """Counts latencies in logarithmic bins (as HdrHistogram does), 17 kB however many."""

    def __init__(self) -> None:
        self._counts = np.zeros(_BINS, dtype=np.int64)

    def add(self, milliseconds: float) -> None:
        """One latency; values outside 0.01 ms to 10,000 s count as the nearest of these."""
        clipped = min(max(milliseconds, LOWEST), HIGHEST)
        self._counts[int(math.log(clipped / LOWEST) / math.log(STEP))] += 1

    @property
    def count(self) -> int:
        return int(self._counts.sum())

    def percentile(self, share: float) -> float | None:
        """The latency in ms that a `share` (0 to 1) of all do not exceed (nearest rank); None if
        there are none."""
        total = self.count
        if not total:
            return None
        rank = max(1, math.ceil(share * total))
        place = int(np.searchsorted(np.cumsum(self._counts), rank))
        return float(LOWEST * STEP ** (place + 0.5))
