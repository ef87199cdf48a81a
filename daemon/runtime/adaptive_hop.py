"""Widens the hop while the model is too slow, and narrows it again.

Pure: fed with times.
"""

from __future__ import annotations

from typing import Final

GROWTH: Final = 1.5
"""Factor by which the hop widens at least."""
SETTLE: Final = 3.0
"""Seconds that a change is given to take effect."""
QUIET: Final = 10.0
"""Seconds without lag before the hop narrows."""
ROOM: Final = 0.6
"""The share of its time that the model may need at the narrow hop."""
FULL: Final = 0.8
"""The share that it may need at a wider one."""


class AdaptiveHop:
    """Hop that the model can keep up with, between `hop` and `widest` seconds.

    With `widest` 0 it stays as it is.
    """

    def __init__(self, hop: float, widest: float) -> None:
        self._narrow = hop
        self._widest = widest
        self.hop = hop
        """Seconds, at present."""
        self._cost: float | None = None
        self._changed_at = float("-inf")
        self._no_lag_since: float | None = None

    def add(self, seconds: float, windows: int) -> None:
        """Add a batch: `windows` took the model `seconds`."""
        each = seconds / windows
        self._cost = each if self._cost is None else 0.8 * self._cost + 0.2 * each

    def update(self, lag: float, limit: float, streams: int, now: float) -> float | None:
        """The new hop, if it has to change.

        `lag` and its `limit` in seconds; `streams`: how many share the model.
        """
        if self._widest <= self._narrow or self._cost is None:
            return None
        need = self._cost * streams  # seconds of the model for each hop
        if lag >= limit:
            self._no_lag_since = None
            if self.hop < self._widest and now - self._changed_at >= SETTLE:
                return self._change(max(GROWTH * self.hop, need / FULL), now)
            return None
        if self._no_lag_since is None:
            self._no_lag_since = now
        settled = now - max(self._no_lag_since, self._changed_at) >= QUIET
        if self.hop > self._narrow and settled and need <= ROOM * self._narrow:
            return self._change(self._narrow, now)
        return None

    def _change(self, hop: float, now: float) -> float:
        # To the millisecond, as people read it.
        self.hop = round(min(self._widest, max(self._narrow, hop)), 3)
        self._changed_at = now
        return self.hop
