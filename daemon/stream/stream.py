"""A stream's pure path from chunks of sound to messages; its ledger.

No threads, clocks or devices: the worker feeds chunks, lets all streams' gates hear together,
classifies all streams' due windows together, and publishes what `take` gives. In each turn:

    stream.feed(chunk)                          # or stream.finish(), once there is no more
    bank.run(stream.gates())
    for window in stream.due():                 # any number of streams' in one batch
        stream.resolve(window, classify(window.samples), now)
    for message in stream.take(): ...
    if stream.drained: publish(stream.summary())

What is said, latency apart, depends neither on the sizes of the chunks nor on which windows share
a batch. Memory does not grow with the stream's length.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, replace
from typing import Final

from daemon.base.audio import RATE
from daemon.capture.ring import Chunk
from daemon.decide import EventSettings, VerdictKeeper
from daemon.messages import (
    Event,
    Gap,
    Level,
    Message,
    Prediction,
    Rejection,
    Scores,
    Status,
    StreamInfo,
    Summary,
)
from daemon.stream.latency import Latencies
from daemon.stream.ledger import Counts, Ledger, SegmentCount
from daemon.stream.levels import LevelMeter, NoiseFloor
from daemon.stream.segment import DueWindow, Segment, Verify
from daemon.stream.settings import StreamSettings
from daemon.stream.sound_monitor import SoundMonitor
from daemon.vad import Gate, GateBank

LEVEL_SECONDS: Final = 0.05
"""How often a `Level` is published."""
REST_SECONDS: Final = 0.75
"""Seconds of a quiet room that are processed at once, at most, where that is several windows."""
STOPPED: Final = "stopped"
"""The reason of the gap that an abandoned stream ends with."""

__all__ = ["DueWindow", "Stream", "StreamSettings"]


@dataclass(frozen=True, slots=True)
class Progress:
    """A stream's counts so far, in source samples and stream seconds."""

    seconds: float
    windows: int
    gated: int
    events: int
    rejected: int | None
    samples_classified: int
    samples_gated: int
    samples_lost: int
    latency_p50_ms: float | None
    latency_p99_ms: float | None
    level_dbfs: float | None
    """RMS of the last whole second of sound; None before there is one."""


@dataclass(frozen=True, slots=True)
class Missing:
    """Sound that a stream lacks to say something, in source samples from 1 up."""

    samples: int
    """Samples that the next window still lacks; in a quiet room, that some windows do."""
    samples_if_loud: int
    """Samples the gate still needs before it can admit a window that is already complete; only
    sound that may be speech lets it."""
    loud: float
    """Amplitude, 0 to 1, above which sound may be speech."""


class Stream:
    """The path of one stream."""

    def __init__(
        self,
        info: StreamInfo,
        settings: StreamSettings,
        gates: GateBank,
        *,
        verify: Verify | None = None,
        levels: bool = False,
        monitor: bool = False,
    ) -> None:
        """A stream from its first sample on.

        Args:
            verify: the verifier, where `settings.verification` is set; `take` calls it.
            gates: makes the stream's gates; was made with `settings.gate`.
            levels: give `Level` messages, every 50 ms of sound.
            monitor: give `Status` messages on faults of the sound (see `SoundMonitor`).

        Raises:
            ValueError: unless 0 < hop <= window.
        """
        _check_hop(settings.hop, settings.window)
        self.info = info
        self._settings = settings
        self._gates = gates
        self._verify = verify
        self._verdict = VerdictKeeper(
            settings.labels,
            settings.non_intents,
            settings.unit,
            settings.hop / settings.window,
        )
        self._ledger = Ledger()
        self._queue: deque[Segment | Gap] = deque()
        self._open: Segment | None = None
        self._meter: LevelMeter | None = None
        self.show_levels(levels)
        self._second = LevelMeter(info.rate)
        self._level: float | None = None
        self._noise_floor = NoiseFloor(info.rate)
        self._monitor = SoundMonitor(info.rate, live=info.live) if monitor else None
        self._levels: list[Level] = []
        self._said: list[Message] = []  # by `abandon`, for `take` to give
        self._latency = Latencies()
        self._windows = 0
        self._gated = 0
        self._events = 0
        self._rejected = 0
        self._finished = False

    def adopt(self, *, hop: float, events: EventSettings | None = None) -> None:
        """Apply other settings from the next sample on; `hop` in seconds.

        Call it between two turns only.

        Another hop begins a new segment, since windows of one segment lie on one grid; the sound
        goes on without a gap. ValueError unless 0 < hop <= window.
        """
        _check_hop(hop, self._settings.window)
        if hop != self._settings.hop:
            self._end_segment()
        if events is not None:
            for item in self._queue:
                if isinstance(item, Segment):
                    item.adopt(events)
            self._settings = replace(self._settings, events=events)
        self._settings = replace(self._settings, hop=hop)

    def show_levels(self, wanted: bool) -> None:
        """Turn `Level` messages on or off from the next sample on.

        Call it between two turns only.
        """
        if wanted != (self._meter is not None):
            self._meter = LevelMeter(round(LEVEL_SECONDS * self.info.rate)) if wanted else None

    def progress(self) -> Progress:
        """Counts so far; any thread may ask, and gets what may be a moment apart."""
        ledger = self._ledger
        return Progress(
            seconds=ledger.position / self.info.rate,
            windows=self._windows,
            gated=self._gated,
            events=self._events,
            rejected=None if self._settings.verification is None else self._rejected,
            samples_classified=ledger.classified,
            samples_gated=ledger.gated,
            samples_lost=ledger.lost,
            latency_p50_ms=self._latency.percentile(50),
            latency_p99_ms=self._latency.percentile(99),
            level_dbfs=self._level,
        )

    # ---- sound in -------------------------------------------------------------------------------

    def feed(self, chunk: Chunk) -> None:
        """The next chunk. What was lost before it ends the segment.

        AccountingError if it does not join on to the one before; RuntimeError after `finish`.
        """
        if self._finished:
            raise RuntimeError("the stream was finished")
        mono = chunk.mono
        self._ledger.receive(
            chunk.start,
            len(mono),
            chunk.lost,
            chunk.captured,
            chunk.shed,
            chunk.never_arrived,
        )
        if chunk.lost:
            # Nobody could know before that no more would come: an outage is no latency.
            self._end_segment(chunk.arrival(chunk.start) if len(mono) else None)
            self._queue.append(self._gap(chunk.start, chunk.lost, chunk.reason))
        if not len(mono):
            return
        if self._open is None:
            self._open = self._begin_segment(chunk.start)
        self._noise_floor.feed(mono, self._open.gate.speaking)
        for _, level, _ in self._second.feed(mono):
            self._level = level
        if self._monitor is not None:
            self._monitor.feed(mono)
        self._open.feed(mono, chunk.arrival)
        if self._meter is not None:
            for offset, rms, peak in self._meter.feed(mono):
                at = (chunk.start + offset) / self.info.rate
                speech = self._open.gate.speaking
                self._levels.append(Level(self.info.name, rms, peak, speech, at))

    def ignore_level(self) -> None:
        """Report no low level from now on; its cause is reported already."""
        if self._monitor is not None:
            self._monitor.ignore_level()

    @property
    def missing(self) -> Missing:
        """Samples that are missing for the next message."""
        if self._open is None or self._meter is not None:
            return Missing(1, 1, math.inf)
        samples = self._open.missing
        if self._open.at_rest and self._noise_floor.quiet:
            hops = int(REST_SECONDS / self._settings.hop + 1e-9)
            samples += round(max(0, hops - 1) * self._settings.hop * self.info.rate)
        return Missing(samples, self._open.missing_for_speech, self._noise_floor.loud)

    def finish(self) -> None:
        """No more chunks will come: the tail is padded. May be called twice."""
        self._finished = True
        self._end_segment()

    def abandon(self) -> None:
        """Give up unreported windows; their samples count as shed, with a gap."""
        self.finish()
        self._said += self.take()
        kept: deque[Segment | Gap] = deque()
        for item in self._queue:
            if isinstance(item, Gap):
                kept.append(item)
                continue
            undone = item.abandon()
            if undone:
                kept.append(self._gap(item.end, undone, STOPPED))
        self._queue = kept

    # ---- gates and windows ----------------------------------------------------------------------

    def gates(self) -> list[Gate]:
        """The gates that may have something to hear, for `GateBank.run`."""
        return [item.gate for item in self._queue if isinstance(item, Segment)]

    def due(self) -> list[DueWindow]:
        """Windows with speech that want scores, in order, each once; all complete."""
        found = [
            window for item in self._queue if isinstance(item, Segment) for window in item.due()
        ]
        if self._monitor is not None:
            for window in found:
                self._monitor.speech(window.samples)
        return found

    def resolve(self, window: DueWindow, scores: Scores, now: float) -> None:
        """Record a window's scores, shape (labels,), at `now`.

        now: of the clock of the chunks' arrivals.

        ValueError if it was resolved before, or there is not one score a label.
        """
        self._latency.add(window.resolve(scores, now))

    # ---- messages out ---------------------------------------------------------------------------

    def take(self) -> list[Message]:
        """All messages that are ready now, in the stream's order."""
        messages, self._said = [*self._said, *self._levels], []
        self._levels.clear()
        while self._queue:
            item = self._queue[0]
            if isinstance(item, Gap):
                messages.append(item)
            else:
                messages += self._counted(item.take())
                if not item.drained:
                    break
                item.finish()
            self._queue.popleft()
        if self._monitor is not None:
            if self._finished and not self._queue:
                self._monitor.finish()
            messages += [Status(self.info.name, text, "warning") for text in self._monitor.take()]
        return messages

    @property
    def drained(self) -> bool:
        """Whether all messages were taken after `finish`: time for the summary."""
        return self._finished and not (self._queue or self._levels or self._said)

    def summary(self, counts: Counts | None = None) -> Summary:
        """The stream's last message.

        `counts`: the ring's, to check the stream's own against.

        AccountingError if a sample is unaccounted for; RuntimeError before `drained`.
        """
        if not self.drained:
            raise RuntimeError("the stream has not come to its end")
        ledger = self._ledger
        ledger.close(counts)
        return Summary(
            stream=self.info.name,
            seconds=ledger.position / self.info.rate,
            windows=self._windows,
            gated=self._gated,
            events=self._events,
            top=self._verdict.top(),
            samples_captured=ledger.captured,
            samples_classified=ledger.classified,
            samples_gated=ledger.gated,
            samples_lost=ledger.lost,
            latency_p50_ms=self._latency.percentile(50),
            latency_p99_ms=self._latency.percentile(99),
            samples_shed=ledger.shed + ledger.undone,
            samples_never_arrived=ledger.never_arrived,
            rejected=None if self._settings.verification is None else self._rejected,
        )

    # ---- inner ----------------------------------------------------------------------------------

    def _begin_segment(self, origin: int) -> Segment:
        count = SegmentCount(self._ledger, self.info.rate, RATE)
        gate = self._gates.new_gate()
        segment = Segment(
            self.info, self._settings, origin, gate, count, self._verdict, self._verify
        )
        self._queue.append(segment)
        return segment

    def _end_segment(self, known: float | None = None) -> None:
        if self._open is not None:
            self._open.close(known)
            self._open = None
        if self._meter is not None:
            self._meter.reset()

    def _gap(self, end: int, samples: int, reason: str) -> Gap:
        rate = self.info.rate
        return Gap(self.info.name, (end - samples) / rate, end / rate, samples, reason)

    def _counted(self, messages: list[Message]) -> list[Message]:
        for message in messages:
            if isinstance(message, Prediction):
                self._windows += 1
                self._gated += message.gated
            elif isinstance(message, Event):
                self._events += 1
            elif isinstance(message, Rejection):
                self._rejected += 1
        return messages


def _check_hop(hop: float, window: float) -> None:
    if not 0 < hop <= window:
        raise ValueError(f"a hop of {hop} s does not fit a window of {window} s")
