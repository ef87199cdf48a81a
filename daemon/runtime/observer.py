"""Interface of a run's observers: systemd's notifier, the health socket."""

from __future__ import annotations


class Observer:
    """Called by the main thread, in this order; no method may wait or raise."""

    def started(self) -> None:
        """All threads run."""

    def tick(self, now: float) -> None:
        """Several times a second; `now` of the monotonic clock."""

    def reloading(self) -> None:
        """The settings are about to be read again."""

    def reloaded(self) -> None:
        """They were read, or refused."""

    def stopping(self) -> None:
        """The end has begun, or the start has failed; may be called twice."""
