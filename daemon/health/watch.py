"""A run's messages for watchers in other processes (`intentd top`).

It is an output like others, so that its lane keeps it from slowing the worker down. It remembers
enough for who comes later to see the last minute, and levels are measured only while somebody
watches.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Final

from daemon import __version__
from daemon.health.wire import encode, encode_message, encode_run
from daemon.messages import (
    Event,
    Gap,
    Level,
    Message,
    Prediction,
    Rejection,
    RunInfo,
    Start,
    Status,
    StreamInfo,
    Summary,
)

RECENT_SECONDS: Final = 60.0
"""Of predictions and levels that are remembered, as far back as the dashboard shows them."""
RECENT: Final = 8192
LASTING: Final = 200
"""Events, gaps and statuses that are remembered."""
_BRIEF = (Level, Prediction)


@dataclass(slots=True)
class _Tally:
    """Counts of one stream since it began, whose messages may be forgotten.

    Not all of them are remembered.
    """

    info: StreamInfo
    windows: int = 0
    gated: int = 0
    events: int = 0
    samples_lost: int = 0
    fired: dict[str, int] = field(default_factory=dict)

    def add(self, message: Message) -> None:
        if isinstance(message, Prediction):
            self.windows += 1
            self.gated += message.gated
        elif isinstance(message, Event):
            self.events += 1
            self.fired[message.intent] = self.fired.get(message.intent, 0) + 1
        elif isinstance(message, Gap):
            self.samples_lost += message.samples_lost


class Watch:
    """Lines for watchers.

    on_watched: called when the first watcher comes and when the last one goes, with whether there
        is one.
    """

    name = "watchers"
    takes: ClassVar[frozenset[type]] = frozenset(
        {Start, Prediction, Event, Rejection, Gap, Level, Status, Summary}
    )

    def __init__(
        self,
        on_watched: Callable[[bool], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._on_watched = on_watched
        self._clock = clock
        self._begun = clock()
        self._run: RunInfo | None = None
        self._lock = threading.Lock()
        self._watchers: list[Callable[[bytes], None]] = []
        self._recent: deque[tuple[float, Message]] = deque(maxlen=RECENT)
        self._lasting: deque[tuple[float, Message]] = deque(maxlen=LASTING)
        self._tallies: dict[str, _Tally] = {}
        self._gone = _Tally(StreamInfo("", 1, 1, live=True))
        self._seconds_lost = 0.0

    # ---- watchers, in any thread -----------------------------------------------------------------

    def subscribe(self, take: Callable[[bytes], None]) -> list[bytes]:
        """Lines so far; `take` gets each later one until it is unsubscribed.

        `take` must not wait.
        """
        with self._lock:
            lines = self._history()
            self._watchers.append(take)
            first = len(self._watchers) == 1
        if first:
            self._on_watched(True)
        return lines

    def unsubscribe(self, take: Callable[[bytes], None]) -> None:
        """May be called twice."""
        with self._lock:
            if take not in self._watchers:
                return
            self._watchers.remove(take)
            last = not self._watchers
        if last:
            self._on_watched(False)

    def send_vitals(self, **values: Any) -> None:
        """Send watchers figures that no message has; without watchers do nothing."""
        with self._lock:
            if self._watchers:
                line = encode("vitals", at=self._now(), **values)
                for take in self._watchers:
                    take(line)

    # ---- as an output, in the thread of its lane -------------------------------------------------

    def open(self, run: RunInfo) -> None:
        self._run = run
        self._begun = self._clock()
        self._tallies = {info.name: _Tally(info) for info in run.streams}

    def publish(self, message: Message) -> None:
        at = self._now()
        with self._lock:
            self._remember(message, at)
            if self._watchers:
                line = encode_message(message, at)
                for take in self._watchers:
                    take(line)

    def reopen(self) -> None:
        """Nothing to open."""

    def close(self) -> None:
        """Nothing to close."""

    # ---- inner -----------------------------------------------------------------------------------

    def _now(self) -> float:
        return self._clock() - self._begun

    def _remember(self, message: Message, at: float) -> None:
        if isinstance(message, _BRIEF):
            self._recent.append((at, message))
            while self._recent[0][0] < at - RECENT_SECONDS:
                self._recent.popleft()
        elif isinstance(message, Start):
            if message.info.client:
                self._tallies[message.stream] = _Tally(message.info)
        elif not isinstance(message, Summary):
            self._lasting.append((at, message))
        if isinstance(message, Status):
            return
        tally = self._tallies.get(message.stream)
        if tally is None:
            return
        tally.add(message)
        if isinstance(message, Summary) and tally.info.client:
            self._forget(message.stream)

    def _forget(self, name: str) -> None:
        gone, tally = self._gone, self._tallies.pop(name)
        gone.windows += tally.windows
        gone.gated += tally.gated
        gone.samples_lost += tally.samples_lost
        self._seconds_lost += tally.samples_lost / max(1, tally.info.rate)

    def _history(self) -> list[bytes]:
        """The run and its active streams, remembered messages, and the counts."""
        assert self._run is not None
        streams = tuple(tally.info for tally in self._tallies.values())
        run = replace(self._run, streams=streams)
        lines = [encode_run(run, at=self._now(), version=__version__)]
        merged = sorted([*self._recent, *self._lasting], key=lambda each: each[0])
        lines += [encode_message(message, at) for at, message in merged]
        counts = {
            name: {
                "windows": tally.windows,
                "gated": tally.gated,
                "events": tally.events,
                "samples_lost": tally.samples_lost,
                "fired": tally.fired,
            }
            for name, tally in self._tallies.items()
        }
        gone = {
            "windows": self._gone.windows,
            "gated": self._gone.gated,
            "samples_lost": self._gone.samples_lost,
            "seconds_lost": self._seconds_lost,
        }
        return [*lines, encode("counts", streams=counts, gone=gone)]
