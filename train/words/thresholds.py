"""Thresholds for rare false alarms, by the tail of talk's scores.

The tail is extrapolated.

An hour of talk shows which scores occur once an hour, but no rarer ones. Log odds of the
greatest scores fall off nearly exponentially, so the mean by which they exceed one of them says
where rarer ones lie (Pickands 1975, with the shape 0; the estimate is Hill's, 1975, in log odds).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from daemon.decide import verification

TAIL = 40
"""Recordings whose scores tell how fast scores fall off."""
LIMIT = 12.0
"""Greatest log odds that are told apart."""

Floats = NDArray[np.float64]


def log_odds(values: NDArray[np.floating]) -> Floats:
    """Natural logarithm of p / (1 - p), within ± `LIMIT`."""
    return verification.log_odds(values, LIMIT)


def probability(value: float) -> float:
    """The inverse of `log_odds`."""
    return 1 / (1 + math.exp(-value))


def exceeded(scores: Floats, hours: float, per_hour: float, tail: int = TAIL) -> float:
    """The score that talk exceeds `per_hour` times an hour.

    `scores`: the greatest log odds of each recording of `hours` of talk. `tail`: of how many the
    fall is taken.
    """
    ordered = np.sort(scores)[::-1]
    count = min(tail, len(ordered) - 1)
    if count < 2 or hours <= 0:
        return 0.0
    base = ordered[count]
    fall = max(float(np.mean(ordered[:count] - base)), 0.05)
    return float(base + fall * math.log(count / (per_hour * hours)))


def expected(scores: Floats, hours: float, threshold: float, tail: int = TAIL) -> float:
    """Expected rate an hour at which talk exceeds `threshold`.

    By the same fall.
    """
    ordered = np.sort(scores)[::-1]
    count = min(tail, len(ordered) - 1)
    if count < 2 or hours <= 0:
        return 0.0
    base = ordered[count]
    if threshold <= base:
        return float((ordered >= threshold).sum() / hours)
    fall = max(float(np.mean(ordered[:count] - base)), 0.05)
    return count / hours * math.exp(-(threshold - base) / fall)
