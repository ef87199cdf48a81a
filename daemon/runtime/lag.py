"""Lag behind live sound, and load of the model. Pure: fed with times."""

from __future__ import annotations

import math

from daemon.messages import Status

REPEAT_SECONDS = 10.0
"""Seconds after which the same warning is repeated while its cause lasts."""
LOAD_SECONDS = 10.0
"""Time constant over which the load is averaged."""
RESUME_SECONDS = 5.0
"""Seconds after a stop of the process in which sound that waited is worked off."""
CHECK_GAP = 1.0
"""Seconds between two checks from which on the process may have been stopped in between."""
ARRIVAL_SECONDS = 2.0
"""Seconds for which a short lag does not mean that all that waited has been classified."""


class LagMonitor:
    """Warns when the worker lags behind live sound and when it caught up."""

    def __init__(self, limit: float) -> None:
        self._limit = limit
        self._warned_at: float | None = None

    def update(self, lag: float, now: float) -> Status | None:
        """The status to publish, if any.

        `lag`: seconds from the arrival of sound to `now`, for the oldest that is not processed.
        """
        if lag >= self._limit:
            if self._warned_at is None or now - self._warned_at >= REPEAT_SECONDS:
                self._warned_at = now
                return Status(
                    None,
                    f"the model is too slow for the sound, {lag:.1f} s behind: use a smaller "
                    "model, a longer window.hop, or another model.backend",
                    "warning",
                )
        elif self._warned_at is not None and lag < self._limit / 2:
            self._warned_at = None
            return Status(None, "the model has caught up with the sound")
        return None


class Load:
    """Seconds of work for a second of sound, exponentially averaged.

    Over LOAD_SECONDS.
    """

    def __init__(self) -> None:
        self._work = 0.0
        self._sound = 0.0
        self._at: float | None = None

    def add(self, work: float, sound: float, now: float) -> None:
        """Add `work` seconds that were spent on `sound` seconds, up to `now`."""
        if self._at is not None:
            fade = math.exp(-max(0.0, now - self._at) / LOAD_SECONDS)
            self._work *= fade
            self._sound *= fade
        self._at = now
        self._work += work
        self._sound += sound

    @property
    def value(self) -> float | None:
        """None before a quarter of a second of sound."""
        return self._work / self._sound if self._sound >= 0.25 else None


class ProcessStop:
    """Excuses lag for a while after the process was stopped and continued."""

    def __init__(self) -> None:
        self._ended: float | None = None
        self._checked = 0.0
        self._doubted = False

    def end(self, now: float) -> None:
        """Note that the process goes on."""
        self._ended = now

    def excuses(self, lag: float, warning: float, now: float) -> bool:
        """Whether what waits may have waited for the process, not for the model."""
        # After a stop the worker may get here before the thread that handles SIGCONT. Never twice
        # in a row, or a model whose batches take as long would always be excused.
        self._doubted = now - self._checked > CHECK_GAP and not self._doubted
        self._checked = now
        if self._ended is None:
            return self._doubted
        since = now - self._ended
        # What waited at the sound server arrives a moment after the process goes on.
        if since > RESUME_SECONDS or (since > ARRIVAL_SECONDS and lag < warning / 2):
            self._ended = None
        return self._ended is not None
