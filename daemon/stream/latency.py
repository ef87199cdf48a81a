"""Percentiles of latencies in constant memory."""

from __future__ import annotations

import math

import numpy as np

_LOWEST_MS = 0.01
_GROWTH = 1.02
_BUCKETS = 1000
"""Up to 0.01 ms * 1.02^1000, about an hour."""


class Latencies:
    """A histogram with buckets 2 % apart: percentiles are right to 1 %."""

    def __init__(self) -> None:
        self._counts = np.zeros(_BUCKETS, np.int64)

    def add(self, milliseconds: float) -> None:
        ratio = max(milliseconds, _LOWEST_MS) / _LOWEST_MS
        bucket = int(math.log(ratio) / math.log(_GROWTH))
        self._counts[min(bucket, _BUCKETS - 1)] += 1

    def percentile(self, percent: float) -> float | None:
        """Percentile of the latencies in ms; None if there are none.

        The value below or at which `percent` of all lie.
        """
        total = int(self._counts.sum())
        if not total:
            return None
        rank = max(1, math.ceil(total * percent / 100))
        bucket = int(np.searchsorted(np.cumsum(self._counts), rank))
        return float(_LOWEST_MS * _GROWTH ** (bucket + 0.5))
