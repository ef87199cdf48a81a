"""Reports of a microphone's thread to whoever watches it."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

log = logging.getLogger(__name__)

Kind = Literal["lost", "returned", "channels"]


@dataclass(frozen=True, slots=True)
class DeviceReport:
    """Loss or return of a device, or a fault of its channels, as a sentence."""

    kind: Kind
    text: str
    at: float
    """Monotonic time."""


class Reports:
    """A queue of reports: one thread adds, another one takes."""

    def __init__(self) -> None:
        self.on_report: Callable[[], None] | None = None
        """Called when `take` has something to give."""
        self._waiting: deque[DeviceReport] = deque(maxlen=1000)

    def add(self, kind: Kind, text: str) -> None:
        """Queue a report, and log it."""
        log.info("%s", text)
        self._waiting.append(DeviceReport(kind, text, time.monotonic()))
        if self.on_report is not None:
            self.on_report()

    def take(self) -> list[DeviceReport]:
        """The reports since the last call."""
        taken = []
        while self._waiting:
            taken.append(self._waiting.popleft())
        return taken
