"""When the hop widens by itself because the model can't keep up, and when it narrows again. Pure:
fed with times."""

from __future__ import annotations

from typing import Final

GROWTH: Final = 1.5
"""By how much the hop widens at least."""
SETTLE: Final = 3.0
"""Seconds that a change gets to show."""
CALM: Final = 10.0
"""Seconds without lag before the hop narrows."""
ROOM: Final = 0.6
"""The share of its time that the model may need at the narrow hop."""
FULL: Final = 0.8
"""The share that it may need at a wider one."""


class Widening:
    """The hop that the model can keep up with, between `hop` and `widest` seconds; `widest` 0
    leaves it where it is."""

    def __init__(self, hop: float, widest: float) -> None:
        self._narrow = hop
        self._widest = widest
        self.hop = hop
        """The present one."""
        self._cost: float | None = None
        self._changed_at = float("-inf")
        self._calm_since: float | None = None

    def classified(self, seconds: float, windows: int) -> None:
        """So many windows took the model so long."""
        each = seconds / windows
        self._cost = each if self._cost is None else 0.8 * self._cost + 0.2 * each

    def look(self, lag: float, limit: float, streams: int, now: float) -> float | None:
        """The hop to go on with, if it has to change. `lag` and its `limit` in seconds; `streams`
        that share the model."""
        if self._widest <= self._narrow or self._cost is None:
            return None
        need = self._cost * streams  # seconds of the model for each hop
        if lag >= limit:
            self._calm_since = None
            if self.hop < self._widest and now - self._changed_at >= SETTLE:
                return self._change(max(GROWTH * self.hop, need / FULL), now)
            return None
        if self._calm_since is None:
            self._calm_since = now
        calm = now - max(self._calm_since, self._changed_at) >= CALM
        if self.hop > self._narrow and calm and need <= ROOM * self._narrow:
            return self._change(self._narrow, now)
        return None

    def _change(self, hop: float, now: float) -> float:
        # To the millisecond, as people read it.
        self.hop = round(min(self._widest, max(self._narrow, hop)), 3)
        self._changed_at = now
        return self.hop
