"""Estimates from arrival times how many samples a live stream has lost."""

from __future__ import annotations

_WINDOW = 1.0
_SETTLING = 3.0
"""Seconds in which a stream's first delay may turn out to have been too long."""
_MAX_DRIFT = 1e-3


class GapEstimator:
    """Estimates missing samples from the time that passed.

    Pure: fed with times.

    A block's delay is the time that has passed less the stream's length up to the block's end. A
    busy interpreter or a server that delivers in bursts delays single blocks; lost samples delay
    all that follow. So a stream's delay is the least within a second. When it has risen by more
    than `tolerance` seconds, samples are missing. Clocks of sound cards and computers drift apart
    by less than one in a thousand, which is followed.

    A server that begins to deliver later looks the same as lost samples; but only a delay can
    fall again. What it falls by is kept as credit, which later rises use up before anything counts
    as missing. So a delay that goes up and down counts once at most, and not at all if it began by
    falling.

    An overflow that the driver reports counts at once: the jump of the driver's own timestamps is
    its length, at least one block.
    """

    def __init__(self, rate: int, block: int, tolerance: float | None = None) -> None:
        """`rate` in Hz, `block` in samples, `tolerance` in seconds."""
        self._rate = rate
        self._block = block
        self._tolerance = max(0.06, 2 * block / rate) if tolerance is None else tolerance
        self._origin: float | None = None
        self._samples = 0  # arrived and counted as missing, since the origin
        self._delay = 0.0  # the usual one
        self._credit = 0.0  # how much longer it has been
        self._least = float("inf")  # delay in this window
        self._window_end = 0.0
        self._settled = 0.0
        self._driver_end: float | None = None

    def arrived(self, now: float, frames: int, driver: float = 0.0, overflow: bool = False) -> int:
        """Samples missing before a block of `frames` that arrived at `now`.

        driver: when its first sample was recorded, by the driver's clock, in seconds.
        """
        jump = 0.0 if self._driver_end is None else driver - self._driver_end
        self._driver_end = driver + frames / self._rate
        if self._origin is None:
            self._origin = now - frames / self._rate
            self._settled = now + _SETTLING
            self._start_window(now)
        missing = max(self._block, round(jump * self._rate)) if overflow else 0
        missing = min(missing, max(self._block, self.overdue(now) - frames))
        self._samples += missing
        if now >= self._window_end:
            missing += self._close_window(now)
            self._start_window(now)
        delay = now - self._origin - (self._samples + frames) / self._rate
        self._least = min(self._least, delay)
        self._samples += frames
        return missing

    def resumed(self, now: float, frames: int, driver: float = 0.0) -> int:
        """Samples missing before the first block after an outage, by the clock."""
        if self._origin is None:
            self.arrived(now, frames, driver)
            return 0
        missing = max(0, self.overdue(now) - frames)
        self._samples += missing + frames
        self._driver_end = driver + frames / self._rate
        self._delay += self._credit
        self._credit = 0.0
        self._start_window(now)
        return missing

    def overdue(self, now: float) -> int:
        """Samples overdue at `now`; 0 before the first block."""
        if self._origin is None:
            return 0
        due = (now - self._origin - self._delay - self._credit) * self._rate
        return max(0, round(due) - self._samples)

    def _start_window(self, now: float) -> None:
        self._window_end = now + _WINDOW
        self._least = float("inf")

    def _close_window(self, now: float) -> int:
        """Samples that the window's least delay shows to be missing."""
        rise = self._least - self._delay
        if self._least == float("inf"):
            return 0
        drift = _MAX_DRIFT * _WINDOW
        if rise > self._tolerance:
            refunded = min(rise, self._credit)
            self._credit -= refunded
            self._delay += refunded
            rise -= refunded
            if rise > self._tolerance:
                missing = round(rise * self._rate)
                self._samples += missing
                return missing
        if rise > drift:
            self._credit -= min(drift, self._credit)
            rise = drift
        elif rise < -drift and now > self._settled:
            self._credit -= rise + drift
        self._delay += rise
        return 0
