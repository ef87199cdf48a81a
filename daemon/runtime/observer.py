"""Who looks on while an engine runs: a service manager's messenger, the health socket."""

from __future__ import annotations


class Watcher:
    """Told of a run by the main thread, in this order; none of it may wait or raise."""

    def started(self) -> None:
        """Everything runs."""

    def tick(self, now: float) -> None:
        """Several times a second; `now` of the monotonic clock."""

    def reloading(self) -> None:
        """The settings are about to be read again."""

    def reloaded(self) -> None:
        """They were, or were refused."""

    def stopping(self) -> None:
        """The end has begun, or the start has failed; may be called twice."""
