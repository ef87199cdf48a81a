"""Limits how fast a client may send events. Pure: fed with times."""

from __future__ import annotations

from typing import Final

RATE: Final = 1000.0
"""Events of sound a second, in the long run: 64 times real time in a satellite's chunks of 64 ms,
ten times in chunks of 10 ms."""
BURST: Final = 2000.0
"""Events of sound that may come at once."""
REQUEST: Final = 5.0
"""What an event that asks for an answer counts as."""


class Pace:
    """A token bucket.

    Events of one sample each would keep the interpreter busy otherwise.
    """

    def __init__(self, rate: float = RATE, burst: float = BURST) -> None:
        self._rate = rate
        self._burst = burst
        self._left = burst
        self._at: float | None = None

    def take(self, now: float, cost: float = 1.0) -> float:
        """Count an event at `now`; seconds to wait before the next one is read."""
        gone = 0.0 if self._at is None else max(0.0, now - self._at)
        self._at = now
        self._left = min(self._burst, self._left + gone * self._rate) - cost
        return max(0.0, -self._left / self._rate)
