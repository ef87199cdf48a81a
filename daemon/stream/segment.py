"""The sound between two gaps: its windows, gate, model and events.

A gap ends it; the next segment begins with everything new.
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from daemon.base.audio import RATE
from daemon.decide import (
    EventDetector,
    EventSettings,
    Fired,
    VerdictKeeper,
    make_rolling,
)
from daemon.decide.verification import Ask
from daemon.messages import Event, Message, Prediction, Rejection, Scores, StreamInfo
from daemon.stream.ledger import SegmentCount
from daemon.stream.settings import StreamSettings
from daemon.vad import Coverage, Gate
from daemon.windowing import HighPass, Resampler, WindowBuffer, samples_of

HISTORY: Final = 30.0
"""Seconds of speech before a window that events may still refer to."""
VERIFIED: Final = 3 * RATE // 2
"""Samples that a verifier takes, 1.5 s at 16 kHz."""

Verify = Callable[[NDArray[np.float32], int], Scores]
"""The verifier: the sound before a window's end, shape (VERIFIED,), and the window's index in its
segment, to the posterior of each label, shape (labels,)."""


class _Fate(enum.Enum):
    WAITS = enum.auto()
    GATED = enum.auto()
    DUE = enum.auto()
    OUT = enum.auto()
    SCORED = enum.auto()


@dataclass(slots=True)
class _Record:
    """A window that has no message yet."""

    index: int
    arrival: float
    fate: _Fate = _Fate.WAITS
    waited: bool = False
    """It was complete before the gate had enough sound."""
    scores: Scores | None = None
    latency_ms: float | None = None


class DueWindow:
    """A window with speech that waits for its scores."""

    __slots__ = ("_record", "_segment")

    def __init__(self, segment: Segment, record: _Record) -> None:
        self._segment = segment
        self._record = record

    @property
    def samples(self) -> NDArray[np.float32]:
        """Samples, shape (window,) at 16 kHz.

        A read-only view, valid until the stream is fed again.
        """
        return self._segment.windows.view(self._record.index)

    @property
    def index(self) -> int:
        """Number of the window in its segment."""
        return self._record.index

    @property
    def start(self) -> float:
        """Seconds of stream time."""
        return self._segment.time(self._record.index * self._segment.windows.hop)

    @property
    def end(self) -> float:
        return self._segment.time(
            self._record.index * self._segment.windows.hop + self._segment.windows.window
        )

    @property
    def arrival(self) -> float:
        """Arrival of the block that made the window due, in the chunks' clock.

        That is the one that completes it, or, if the gate only let it in because speech began
        within the pre-roll after it, the one with that speech.
        """
        return self._record.arrival

    def resolve(self, scores: Scores, now: float) -> float:
        """Its probabilities, shape (labels,), at time `now`; its latency in ms.

        ValueError if it has got them before, or they are not one a label.
        """
        labels = len(self._segment.labels)
        if self._record.fate is not _Fate.OUT:
            raise ValueError(f"window {self.index} waits for no scores")
        if scores.shape != (labels,):
            raise ValueError(f"scores of shape {scores.shape} for {labels} labels")
        self._record.scores = np.array(scores, dtype=np.float32)
        self._record.latency_ms = max(0.0, 1000.0 * (now - self._record.arrival))
        self._record.fate = _Fate.SCORED
        return self._record.latency_ms


class Segment:
    """One segment from its first sample to its last message."""

    def __init__(
        self,
        info: StreamInfo,
        settings: StreamSettings,
        origin: int,
        gate: Gate,
        count: SegmentCount,
        verdict: VerdictKeeper,
        verify: Verify | None = None,
    ) -> None:
        """A segment whose first source sample is at `origin` in the stream.

        `verify` is needed where the settings have a verification.
        """
        self.labels = settings.labels
        self._info = info
        self.gate = gate
        self.closed = False
        self.windows = WindowBuffer(
            samples_of(settings.window), samples_of(settings.hop), 0 if verify is None else VERIFIED
        )
        self._origin = origin
        self._count = count
        self._verdict = verdict
        self._resampler = Resampler(info.rate)
        self._high_pass = HighPass()
        self._rolling = make_rolling(
            settings.unit, len(settings.labels), settings.window, settings.hop, settings.rolling
        )
        self._events = EventDetector(
            settings.labels,
            settings.non_intents,
            settings.unit,
            settings.events,
            settings.verification,
        )
        self._verify = verify
        self._records: deque[_Record] = deque()
        self._made = 0  # windows that have got a record
        self._faded = False  # the last window reported was gated, and no evidence is left
        self._last_arrival = 0.0
        self._fed: tuple[int, Callable[[int], float]] = (0, lambda _: 0.0)

    def time(self, position: int) -> float:
        """Stream time in seconds of a sample at 16 kHz of this segment."""
        return self._origin / self._info.rate + position / RATE

    def adopt(self, events: EventSettings) -> None:
        """Other settings of events from the next reported window on."""
        self._events.adopt(events)

    # ---- sound in -------------------------------------------------------------------------------

    def feed(self, mono: NDArray[np.float32], arrival: Callable[[int], float]) -> None:
        """Add source samples, shape (n,), n > 0.

        `arrival` of an absolute position among them.
        """
        first = self._origin + self._count.received
        self._count.received += len(mono)
        last = first + len(mono) - 1
        self._last_arrival = arrival(last)
        self._fed = first, arrival
        self._take(self._resampler.feed(mono))
        while self._made < self.windows.complete:
            end = self._made * self.windows.hop + self.windows.window
            self._note(self._arrival(end))

    @property
    def missing(self) -> int:
        """Source samples without which no other window is complete."""
        return self._in_source(self.windows.missing)

    @property
    def missing_for_speech(self) -> int:
        """Source samples that the gate needs to let in a window.

        Those windows that the gate has not decided on need another of its chunks.
        """
        if not any(record.fate is _Fate.WAITS for record in self._records):
            return self.missing
        return self._in_source(min(self.gate.missing, self.windows.missing))

    @property
    def at_rest(self) -> bool:
        """Whether nothing but speech that begins could raise an event.

        Nobody speaks, no window waits for scores, and no label has a value.
        """
        waiting = all(record.fate is _Fate.WAITS for record in self._records)
        return self._faded and waiting and not self.gate.speaking

    def _in_source(self, samples: int) -> int:
        """Source samples that give `samples` more at 16 kHz; at least 1.

        The resampler may hold some already.
        """
        held = self._count.received * RATE // self._info.rate - self.windows.end
        return max(1, (samples - held) * self._info.rate // RATE)

    def close(self, known: float | None = None) -> None:
        """End the segment and pad its tail.

        `known`: when the sound behind a gap arrived, which is when the windows that are padded
        became due; None at the end, or where sound goes on.
        """
        if known is not None:
            self._last_arrival = max(self._last_arrival, known)
        self._take(self._resampler.flush())
        self.windows.flush()
        self.gate.finish()
        while self._made < self.windows.complete:
            self._note(self._last_arrival)
        self.closed = True

    def _arrival(self, end: int) -> float:
        """Arrival of the source sample that completes position `end` at 16 kHz.

        Of what was fed last, the sample next to it.
        """
        first, arrival = self._fed
        last = self._origin + self._count.received - 1
        completed_by = self._origin + -(-end * self._info.rate // RATE) - 1
        return arrival(min(max(completed_by, first), last))

    def _take(self, samples: NDArray[np.float32]) -> None:
        samples = self._high_pass.feed(samples)
        self.windows.push(samples)
        self.gate.feed(samples)

    def _note(self, arrival: float) -> None:
        self._records.append(_Record(self._made, arrival))
        self._made += 1

    # ---- windows out, scores in -----------------------------------------------------------------

    def due(self) -> list[DueWindow]:
        """Windows that are now known to have speech, in order, each once."""
        self._decide()
        found = []
        for record in self._records:
            if record.fate is _Fate.DUE:
                record.fate = _Fate.OUT
                found.append(DueWindow(self, record))
        return found

    def _decide(self) -> None:
        """Ask the gate of windows in order; it decides them in order."""
        for record in self._records:
            if record.fate is not _Fate.WAITS:
                continue
            start = record.index * self.windows.hop
            match self.gate.covers(start, start + self.windows.window):
                case Coverage.SPEECH:
                    record.fate = _Fate.DUE
                    if record.waited:
                        opened = self._arrival(self.gate.opened)
                        record.arrival = self._last_arrival if self.closed else opened
                case Coverage.GATED:
                    record.fate = _Fate.GATED
                case Coverage.UNDECIDED:
                    break
        for record in self._records:
            record.waited = True

    # ---- messages -------------------------------------------------------------------------------

    def take(self) -> list[Message]:
        """Messages that are ready: predictions in the windows' order, and events."""
        self._decide()
        messages: list[Message] = []
        while self._records and self._records[0].fate in {_Fate.GATED, _Fate.SCORED}:
            messages += self._tell(self._records.popleft())
        return messages

    @property
    def drained(self) -> bool:
        """The segment has ended, and all its windows are reported."""
        return self.closed and not self._records

    def finish(self) -> None:
        """Once drained: count what no classified window covered."""
        self._count.close()

    def abandon(self) -> int:
        """Give up unreported windows; return their source samples, now shed."""
        at = self._records[0].index * self.windows.hop if self._records else None
        self._records.clear()
        return self._count.abandon(at)

    @property
    def end(self) -> int:
        """Position in the stream behind the last source sample so far."""
        return self._origin + self._count.received

    def _tell(self, record: _Record) -> list[Message]:
        start = record.index * self.windows.hop
        end = start + self.windows.window
        if record.scores is not None:
            self._count.classify(start, end)
        rolling = self._rolling.update(record.scores, self.gate.utterance(start, end))
        self._faded = record.scores is None and not rolling.any()
        self._verdict.update(record.scores, rolling)
        messages: list[Message] = [
            Prediction(
                stream=self._info.name,
                start=self.time(start),
                end=self.time(end),
                gated=record.scores is None,
                scores=record.scores,
                rolling=rolling,
                latency_ms=record.latency_ms,
            )
        ]
        fired = self._events.update(
            start,
            end,
            record.scores,
            rolling,
            self._rolling.utterance,
            self._ask(record.index),
        )
        messages += [self._event(event) for event in fired]
        self.windows.release(record.index + 1)
        following = start + self.windows.hop
        self.gate.forget(following, following - samples_of(HISTORY))
        return messages

    def _ask(self, index: int) -> Ask | None:
        """The verifier with the sound before the end of a window."""
        verify = self._verify
        if verify is None:
            return None
        return lambda: verify(self.windows.before(index, VERIFIED), index)

    def _event(self, fired: Fired) -> Event | Rejection:
        speech = self.gate.speech_within(fired.start, fired.end, fired.core)
        start, end = speech or (fired.start, fired.end)

        def inside(position: int) -> float:  # padding is not in the stream
            at, end = self.time(position), self.end / self._info.rate
            return end if end < at - 1e-6 else at  # not where they are the same but for rounding

        if not fired.confirmed:
            return Rejection(
                stream=self._info.name,
                intent=self.labels[fired.label],
                start=inside(start),
                end=inside(end),
                score=fired.score,
                verified=fired.verified or 0.0,
                at_stream=inside(fired.at),
            )
        return Event(
            stream=self._info.name,
            intent=self.labels[fired.label],
            start=inside(start),
            end=inside(end),
            score=fired.score,
            at_stream=inside(fired.at),
            verified=fired.verified,
        )
