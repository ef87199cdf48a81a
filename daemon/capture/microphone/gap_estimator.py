"""How much a live stream has lost, by the clock."""

from __future__ import annotations

_WINDOW = 1.0
_MAX_DRIFT = 1e-3


class HoleClock:
    """Compares the samples that came with the time that went by. Pure: fed with times.

    A block is late for many reasons (a busy interpreter, a server that delivers in bursts) and
    never early; what is lost stays late. So a stream's lateness is the least seen within a
    second; when that has risen by more than `tolerance` seconds, samples are missing. Clocks of
    sound cards and computers drift apart by less than one in a thousand, which is followed.

    An overflow that the driver reports is believed at once: the jump of the driver's own
    timestamps says how long it was, at least one block.
    """

    def __init__(self, rate: int, block: int, tolerance: float | None = None) -> None:
        self._rate = rate
        self._block = block
        self._tolerance = max(0.06, 2 * block / rate) if tolerance is None else tolerance
        self._origin: float | None = None
        self._samples = 0  # heard and counted as lost, since the origin
        self._base = 0.0  # usual lateness
        self._floor = float("inf")  # least lateness in this window
        self._window_end = 0.0
        self._driver_end: float | None = None

    def arrived(self, now: float, frames: int, driver: float = 0.0, overflow: bool = False) -> int:
        """Samples that are found missing before a block of `frames`, which arrived at `now`.

        driver: when its first sample was recorded, by the driver's clock, in seconds.
        """
        jump = 0.0 if self._driver_end is None else driver - self._driver_end
        self._driver_end = driver + frames / self._rate
        if self._origin is None:
            self._origin = now - frames / self._rate
            self._start_window(now)
        missing = max(self._block, round(jump * self._rate)) if overflow else 0
        missing = min(missing, max(self._block, self._behind(now, frames)))
        self._samples += missing
        late = now - self._origin - (self._samples + frames) / self._rate
        if now >= self._window_end:
            missing += self._close_window(late)
            late = now - self._origin - (self._samples + frames) / self._rate
            self._start_window(now)
        self._floor = min(self._floor, late)
        self._samples += frames
        return missing

    def resumed(self, now: float, frames: int, driver: float = 0.0) -> int:
        """Samples missing before the first block after an outage, by the clock alone."""
        if self._origin is None:
            self.arrived(now, frames, driver)
            return 0
        missing = self._behind(now, frames)
        self._samples += missing + frames
        self._driver_end = driver + frames / self._rate
        self._start_window(now)
        return missing

    def _behind(self, now: float, frames: int) -> int:
        """Samples that the clock says should have come before this block, and have not."""
        if self._origin is None:
            return 0
        due = (now - self._origin - self._base) * self._rate
        return max(0, round(due) - self._samples - frames)

    def _start_window(self, now: float) -> None:
        self._window_end = now + _WINDOW
        self._floor = float("inf")

    def _close_window(self, late: float) -> int:
        rise = self._floor - self._base
        if self._floor == float("inf"):
            return 0
        if rise > self._tolerance:
            missing = round(rise * self._rate)
            self._samples += missing
            return missing
        self._base += min(rise, _MAX_DRIFT * _WINDOW)
        return 0
