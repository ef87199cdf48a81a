"""One stream's way from captured chunks to messages: pure, without threads, clocks or devices.

    feed(chunk) -> GateBank.run(gates()) -> due() -> resolve(window, scores, now) -> take()

The same object runs live, in replay, in evaluation and in tests. The owner batches the gates and
the due windows of many streams. After a gap everything starts anew in a new segment; the old one
is drained first, so messages keep their order.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from daemon.decide.events import EventDetector, EventSettings
from daemon.decide.rolling import Rolling, RollingSettings, UtteranceRolling, WordRolling
from daemon.decide.verdict import UtteranceVerdict, WordVerdict
from daemon.ledger import Ledger
from daemon.messages import (
    Event,
    Gap,
    Level,
    Message,
    Prediction,
    Scores,
    StreamInfo,
    Summary,
    Verdict,
)
from daemon.quantiles import Latencies
from daemon.windowing.gate import RATE, Gate, GateSettings, SpeechModel
from daemon.windowing.gate import Verdict as GateVerdict
from daemon.windowing.resample import Resampler
from daemon.windowing.windows import Windower

Mono = NDArray[np.float32]
Unit = Literal["word", "utterance"]

LEVEL_SECONDS = 0.05


class Sound(Protocol):
    """Captured samples without a gap inside (see `daemon.capture.ring.Chunk`)."""

    @property
    def samples(self) -> NDArray[np.float32]: ...
    @property
    def start(self) -> int: ...
    @property
    def block_ends(self) -> NDArray[np.int64]: ...
    @property
    def block_arrivals(self) -> NDArray[np.float64]: ...
    @property
    def lost(self) -> int: ...
    @property
    def reason(self) -> str: ...
    @property
    def shed(self) -> int: ...
    @property
    def never_arrived(self) -> int: ...


@dataclass(frozen=True, slots=True)
class StreamSettings:
    """What a stream needs to know of model and configuration."""

    labels: tuple[str, ...]
    non_intents: frozenset[str]
    unit: Unit = "word"
    window: float = 1.0
    """Seconds."""
    hop: float = 0.24
    """Seconds."""
    channel: Literal["mix"] | int = "mix"
    """The mean of the channels, or the number of one, counted from 1."""
    gate: GateSettings = field(default_factory=GateSettings)
    rolling: RollingSettings = field(default_factory=RollingSettings)
    events: EventSettings = field(default_factory=EventSettings)

    @property
    def window_samples(self) -> int:
        return round(self.window * RATE)

    @property
    def hop_samples(self) -> int:
        return round(self.hop * RATE)


@dataclass(frozen=True, slots=True, eq=False)
class DueWindow:
    """A window with speech in it that waits for its scores."""

    samples: Mono
    """Shape (window,), a view: valid until the stream is fed again."""
    segment: _Segment
    index: int
    arrival: float
    """When the block that completes it arrived, monotonic seconds."""


class Stream:
    """The pure path of one stream. `model` is the speech model of its gate, None for no gate.

    `levels` asks for `Level` messages, one every 50 ms of audio.
    """

    def __init__(
        self,
        info: StreamInfo,
        settings: StreamSettings,
        model: SpeechModel | None,
        *,
        levels: bool = False,
    ) -> None:
        self.info = info
        self.settings = settings
        self.ledger = Ledger()
        self._model = model
        self._levels = levels
        self._segments: deque[_Segment | Gap] = deque()
        self._ready: deque[Message] = deque()
        self._position = 0
        self._latencies = Latencies()
        self._meter = _Meter(round(LEVEL_SECONDS * info.rate))
        self._windows = self._gated = self._events = 0
        self._verdict: WordVerdict | UtteranceVerdict = (
            WordVerdict(settings.labels, settings.non_intents)
            if settings.unit == "word"
            else UtteranceVerdict(len(settings.labels), settings.hop / settings.window)
        )

    # ---- in -----------------------------------------------------------------------------------

    def feed(self, chunk: Sound) -> None:
        """Take the next chunk; a loss before it ends the segment."""
        if chunk.lost:
            arrival = float(chunk.block_arrivals[0]) if len(chunk.block_arrivals) else None
            self._break(chunk.start - chunk.lost, chunk.start, chunk.reason, arrival)
        self.ledger.captured += len(chunk.samples) + chunk.shed - self.ledger.shed
        self.ledger.shed = chunk.shed
        self.ledger.never_arrived = chunk.never_arrived
        self._position = chunk.start + len(chunk.samples)
        if not len(chunk.samples):
            return
        mono = _mono(chunk.samples, self.settings.channel)
        self._segment(chunk.start).feed(mono, chunk.block_ends, chunk.block_arrivals)
        if self._levels:
            self._meter.feed(mono, self._position / self.info.rate)
            speech = self._segment(chunk.start).gate.speaking
            self._ready.extend(self._meter.take(self.info.name, speech))

    def finish(self) -> None:
        """Nothing more will come: the tail is padded and becomes due."""
        last = self._segments[-1] if self._segments else None
        if isinstance(last, _Segment):
            last.end(None)

    # ---- the gate -----------------------------------------------------------------------------

    def gates(self) -> list[Gate]:
        """Gates with chunks to be heard, for `GateBank.run`."""
        return [s.gate for s in self._segments if isinstance(s, _Segment) and s.gate.pending]

    # ---- windows ------------------------------------------------------------------------------

    def due(self) -> list[DueWindow]:
        """Windows with speech that are complete and were not handed out before, in order."""
        found: list[DueWindow] = []
        for segment in self._segments:
            if isinstance(segment, _Segment):
                found.extend(segment.due())
        self._advance()
        return found

    def resolve(self, window: DueWindow, scores: Scores, now: float) -> None:
        """The scores of a due window, shape (labels,); in the order in which they were handed out.

        `now`, monotonic seconds, is the moment of publication.
        """
        window.segment.scored.append((window.index, scores, 1000 * max(0.0, now - window.arrival)))
        self._advance()

    def abandon(self) -> None:
        """Give up every window that has no scores yet, since the user can't wait: the samples that
        no outcome has booked count as shed, and are told of as a gap. Nothing may be fed after it.
        """
        self._advance()
        while self._segments:
            head = self._segments.popleft()
            if isinstance(head, Gap):
                self._ready.append(head)
                continue
            if not head.opened:
                self.ledger.open_segment(head.origin)
            end = head.origin + head.length
            start = self.ledger.shed_segment(end)
            if end > start:
                rate = self.info.rate
                self._ready.append(
                    Gap(self.info.name, start / rate, end / rate, end - start, "stopped")
                )

    # ---- out ----------------------------------------------------------------------------------

    def take(self) -> list[Message]:
        """The messages that are ready, in order."""
        messages = list(self._ready)
        self._ready.clear()
        return messages

    @property
    def drained(self) -> bool:
        """Whether every window of every ended segment has been told of."""
        return not self._segments

    def summary(self) -> Summary:
        """The last message. Raises AccountingError if samples are unaccounted for."""
        self.ledger.check()
        scores = self._verdict.scores()
        order = np.argsort(-scores, kind="stable")
        return Summary(
            stream=self.info.name,
            seconds=self._position / self.info.rate,
            windows=self._windows,
            gated=self._gated,
            events=self._events,
            top=tuple(Verdict(self.settings.labels[i], float(scores[i])) for i in order),
            samples_captured=self.ledger.captured,
            samples_classified=self.ledger.classified,
            samples_gated=self.ledger.gated,
            samples_lost=self.ledger.lost,
            latency_p50_ms=self._latencies.percentile(50),
            latency_p99_ms=self._latencies.percentile(99),
        )

    # ---- inner --------------------------------------------------------------------------------

    def _segment(self, position: int) -> _Segment:
        last = self._segments[-1] if self._segments else None
        if isinstance(last, _Segment) and not last.ended:
            return last
        segment = _Segment(position, self.info.rate, self.settings, self._model)
        self._segments.append(segment)
        return segment

    def _break(self, start: int, end: int, reason: str, arrival: float | None) -> None:
        last = self._segments[-1] if self._segments else None
        if isinstance(last, _Segment):
            last.end(arrival)
        rate = self.info.rate
        self._segments.append(Gap(self.info.name, start / rate, end / rate, end - start, reason))
        self._advance()

    def _advance(self) -> None:
        """Tell of everything that can be told, in order."""
        while self._segments:
            head = self._segments[0]
            if isinstance(head, Gap):
                self._ready.append(head)
                self._segments.popleft()
                continue
            if not head.opened:
                head.opened = True
                self.ledger.open_segment(head.origin)
            for outcome in head.outcomes():
                self._tell(head, outcome)
            if not head.drained:
                return
            self.ledger.close_segment(head.origin + head.length)
            self._segments.popleft()

    def _tell(self, segment: _Segment, outcome: _Outcome) -> None:
        first, last = segment.source_span(outcome.index)
        start = segment.seconds(outcome.index * self.settings.hop_samples)
        end = start + self.settings.window_samples / RATE
        speech = segment.speech(outcome.index)
        rolling = segment.rolling.update(outcome.scores, segment.utterance(outcome.index))
        self._verdict.update(outcome.scores, rolling)
        self._windows += 1
        if outcome.scores is None:
            self._gated += 1
        else:
            self.ledger.classify(first, last)
            self._latencies.add(outcome.latency_ms or 0.0)
        self._ready.append(
            Prediction(
                self.info.name,
                start,
                end,
                outcome.scores is None,
                outcome.scores,
                rolling,
                outcome.latency_ms,
            )
        )
        for firing in segment.events.update((start, end), outcome.scores, rolling, speech):
            self._events += 1
            self._ready.append(
                Event(
                    self.info.name,
                    self.settings.labels[firing.label],
                    firing.start,
                    firing.end,
                    firing.score,
                    firing.at,
                )
            )
        segment.release(outcome.index + 1)


@dataclass(frozen=True, slots=True, eq=False)
class _Outcome:
    index: int
    scores: Scores | None
    latency_ms: float | None


class _Segment:
    """A stretch of sound without a gap, from absolute source sample `origin`."""

    def __init__(
        self, origin: int, rate: int, settings: StreamSettings, model: SpeechModel | None
    ) -> None:
        self.origin = origin
        self.length = 0
        self.ended = False
        self.opened = False  # the ledger's business
        self.rate = rate
        self.resampler = Resampler(rate, RATE)
        self.windows = Windower(settings.window_samples, settings.hop_samples)
        self.gate = Gate(settings.gate, model)
        labels = len(settings.labels)
        self.rolling: Rolling = (
            WordRolling(labels, settings.rolling)
            if settings.unit == "word"
            else UtteranceRolling(labels, settings.rolling, settings.window, settings.hop)
        )
        self.events = EventDetector(settings.labels, settings.non_intents, settings.events)
        self.scored: deque[tuple[int, Scores, float]] = deque()
        self._judged: deque[bool] = deque()  # of windows from _told on: has speech
        self._told = 0
        self._blocks: deque[tuple[int, float]] = deque()  # end position, arrival
        self._end_arrival: float | None = None

    def feed(self, mono: Mono, ends: NDArray[np.int64], arrivals: NDArray[np.float64]) -> None:
        self.length += len(mono)
        self._push(self.resampler.feed(mono))
        for end, arrival in zip(ends.tolist(), arrivals.tolist(), strict=True):
            if not self._blocks or end > self._blocks[-1][0]:
                self._blocks.append((end, arrival))

    def end(self, arrival: float | None) -> None:
        if self.ended:
            return
        self.ended = True
        self._end_arrival = arrival
        self._push(self.resampler.flush())
        self.gate.end()
        self.windows.pad()

    def _push(self, samples: Mono) -> None:
        if len(samples):
            self.windows.push(samples)
            self.gate.feed(samples)

    def due(self) -> list[DueWindow]:
        found = []
        while (index := self._told + len(self._judged)) < self.windows.ready:
            verdict = self.gate.judge(*self._span(index))
            if verdict is GateVerdict.UNDECIDED:
                break
            speech = verdict is GateVerdict.SPEECH
            self._judged.append(speech)
            if speech:
                view = self.windows.view(index)
                found.append(DueWindow(view, self, index, self._arrival(index)))
        return found

    def outcomes(self) -> list[_Outcome]:
        """Outcomes that are next in order: gated windows, and those whose scores have come."""
        found = []
        while self._judged:
            if not self._judged[0]:
                found.append(_Outcome(self._told, None, None))
            elif self.scored and self.scored[0][0] == self._told:
                index, scores, latency = self.scored.popleft()
                found.append(_Outcome(index, scores, latency))
            else:
                break
            self._judged.popleft()
            self._told += 1
        return found

    @property
    def drained(self) -> bool:
        return self.ended and self._told >= self.windows.ready

    def release(self, index: int) -> None:
        """Windows below `index` have been told of."""
        self.windows.release(index)
        self.gate.forget(index * self.windows.hop)

    def seconds(self, sample: int) -> float:
        """Stream time of a 16 kHz sample of this segment."""
        return self.origin / self.rate + sample / RATE

    def source_span(self, index: int) -> tuple[int, int]:
        """Absolute source samples that window `index` covers, padding left out."""
        first, last = index * self.windows.hop, index * self.windows.hop + self.windows.window
        start = min(self.length, round(first * self.rate / RATE))
        end = (
            self.length
            if last >= self.windows.samples and self.ended
            else min(self.length, round(last * self.rate / RATE))
        )
        return self.origin + start, self.origin + end

    def speech(self, index: int) -> tuple[float, float] | None:
        found = self.gate.speech(*self._span(index))
        return None if found is None else (self.seconds(found[0]), self.seconds(found[1]))

    def utterance(self, index: int) -> int:
        return self.gate.utterance(*self._span(index))

    def _span(self, index: int) -> tuple[int, int]:
        first = index * self.windows.hop
        return first, first + self.windows.window

    def _arrival(self, index: int) -> float:
        """When the block arrived that holds the window's last sample."""
        last = self.source_span(index)[1] - 1
        if (
            self.ended
            and self._end_arrival is not None
            and ((index * self.windows.hop + self.windows.window) > self.windows.samples)
        ):
            return self._end_arrival
        while len(self._blocks) > 1 and self._blocks[0][0] <= last:
            self._blocks.popleft()
        return self._blocks[0][1]


class _Meter:
    """Loudness of every 50 ms."""

    def __init__(self, step: int) -> None:
        self._step = max(1, step)
        self._count = 0
        self._power = 0.0
        self._peak = 0.0
        self._at = 0.0
        self._due = False

    def feed(self, mono: Mono, at: float) -> None:
        if len(mono) == 0:
            return
        self._power += float(np.dot(mono, mono))
        self._peak = max(self._peak, float(np.abs(mono).max()))
        self._count += len(mono)
        self._at = at
        self._due = self._count >= self._step

    def take(self, stream: str, speech: bool) -> list[Message]:
        if not self._due:
            return []
        level = Level(
            stream,
            10 * float(np.log10(self._power / self._count + 1e-12)),
            20 * float(np.log10(self._peak + 1e-6)),
            speech,
            self._at,
        )
        self._count, self._power, self._peak, self._due = 0, 0.0, 0.0, False
        return [level]


def _mono(samples: NDArray[np.float32], channel: Literal["mix"] | int) -> Mono:
    if samples.shape[1] == 1:
        return samples[:, 0]
    if channel == "mix":
        mixed: Mono = samples.mean(axis=1, dtype=np.float32)
        return mixed
    return np.ascontiguousarray(samples[:, channel - 1])
