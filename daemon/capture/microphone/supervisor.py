"""Decides when a microphone counts as lost and when to reopen it.

Pure: fed with times.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

_STALL = 0.3


class State(Enum):
    OPENING = "opening"
    """No block has come since it was opened, or reopened."""
    RUNNING = "running"
    LOST = "lost"


class Action(Enum):
    NOTHING = "nothing"
    OPEN = "open"
    """Try to open the device; answer with `opened` or `failed`."""
    CLOSE = "close"
    """It was just lost: close it. `reason` says why."""
    RUNNING = "running"
    """The first block has come since it was opened."""


@dataclass(frozen=True, slots=True)
class Observation:
    """The state of a stream; times in seconds of one monotonic clock."""

    now: float
    last_block: float | None
    """When the last block came since the stream was opened; None if none has come."""
    active: bool
    """PortAudio says that it runs, and has not said that it finished."""
    moved_to: str | None = None
    """The source that is recorded instead of the right one."""


class Supervisor:
    """Decides; whoever owns the device acts.

    A device is lost when PortAudio says that its stream ended, when no block has come for
    `patience` seconds (`opening_patience` after opening), or when the stream was moved. Attempts
    to reopen come at once, then after `first_wait`, twice that, and so on up to `longest_wait`.
    """

    def __init__(
        self,
        patience: float = 0.5,
        opening_patience: float = 2.5,
        first_wait: float = 0.05,
        longest_wait: float = 0.25,
    ) -> None:
        self.state = State.OPENING
        self.reason = ""
        self.attempts = 0
        """Attempts that failed since the last block."""
        self._patience = patience
        self._opening_patience = opening_patience
        self._first_wait = first_wait
        self._longest_wait = longest_wait
        self._open = False
        self._opened_at = 0.0
        self._next_try = float("-inf")
        self._last_tick: float | None = None
        self._grace_until = float("-inf")

    def tick(self, seen: Observation) -> Action:
        """The next action; to be called ten times a second or more often."""
        now = seen.now
        if self._last_tick is not None and now - self._last_tick > _STALL:
            # The whole process stood still; waiting blocks may come first.
            self._grace_until = now + _STALL
        self._last_tick = now
        if not self._open:
            return Action.OPEN if now >= self._next_try else Action.NOTHING
        reason = self._complaint(seen)
        if reason is not None:
            self.reason = reason
            self._back_off(now)
            return Action.CLOSE
        if seen.last_block is not None and self.state is not State.RUNNING:
            self.state = State.RUNNING
            self.attempts = 0
            return Action.RUNNING
        return Action.NOTHING

    def opened(self, now: float) -> None:
        """The attempt succeeded."""
        self._open = True
        self._opened_at = now

    def failed(self, now: float) -> None:
        """The attempt failed."""
        self._back_off(now)

    def _back_off(self, now: float) -> None:
        self._open = False
        if self.state is State.RUNNING:
            self.state = State.LOST
            self._next_try = now
            return
        wait = min(self._longest_wait, self._first_wait * 2.0 ** min(self.attempts, 20))
        self.attempts += 1
        self._next_try = now + wait

    def _complaint(self, seen: Observation) -> str | None:
        if not seen.active:
            return "its stream ended"
        if seen.moved_to is not None:
            return f"the sound server went over to {seen.moved_to}"
        if seen.now < self._grace_until:
            return None
        if seen.last_block is None:
            silent = seen.now - self._opened_at > self._opening_patience
        else:
            silent = seen.now - seen.last_block > self._patience
        return "nothing comes from it any more" if silent else None
