"""Recordings run offline through the daemon's own `Stream`.

What costs time, the gate's probabilities and the model's logits, is computed once and kept in
`CachedScores`; what depends on settings (temperature, smoothing, thresholds) is computed from those
by the same `Stream`, in a fraction of a second for minutes of audio.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daemon.base.audio import RATE
from daemon.capture.ring import Chunk
from daemon.decide import (
    EventDetector,
    Fired,
    make_rolling,
)
from daemon.decide.verification import Ask
from daemon.messages import Event, Message, Prediction, Scores, StreamInfo, Summary
from daemon.stream.segment import Verify
from daemon.stream.settings import StreamSettings
from daemon.stream.stream import DueWindow, Stream
from daemon.vad import GateBank, GateSettings
from daemon.vad.detector import Detector
from daemon.vad.load import load_detector
from train.augment import Audio
from train.data.clips import Clip

Logits = NDArray[np.float32]
Scorer = Callable[[Sequence[NDArray[np.float32]]], Logits]
"""Windows, (samples,) each, to logits (n, labels)."""
SmoothedWindow = tuple[int, int, Scores | None, Scores, int]
"""A window's first sample and the one behind its last, its scores (None if gated), the smoothed
posterior after it, and the utterance's number: the arguments of `EventDetector.update`."""

TURN = 30 * RATE
"""Samples a stream is fed at a time: bounds memory, and fills batches."""
STREAMS_AT_ONCE = 64
"""Recordings that are scored side by side."""


@dataclass(frozen=True, slots=True)
class SimulationSettings(StreamSettings):
    """The daemon's settings for a model, as the simulation takes them."""

    @property
    def window_samples(self) -> int:
        return round(self.window * RATE)

    @property
    def hop_samples(self) -> int:
        return round(self.hop * RATE)

    @property
    def overlap(self) -> float:
        """Hop over window, as in `daemon.decide.evidence_weights`."""
        return self.hop / self.window

    def with_thresholds(self, thresholds: dict[str, float]) -> SimulationSettings:
        return replace(self, events=self.events.model_copy(update={"thresholds": thresholds}))

    def stream(self, number: int, gates: GateBank, verify: Verify | None = None) -> Stream:
        info = StreamInfo(f"track {number}", RATE, 1, live=False)
        return Stream(info, self, gates, verify=verify)


@dataclass(frozen=True, slots=True)
class CachedScores:
    """Outputs of gate and model for a recording, independent of settings.

    No setting is applied to them yet.
    """

    samples: int
    speech_probabilities: NDArray[np.float32]
    """The gate's, one a chunk of 512 samples; empty without a gate."""
    logits: Logits
    """Of the windows with speech, in order, (windows, labels)."""
    verifier_posteriors: Mapping[int, Scores] = field(default_factory=dict)
    """The verifier's posterior of each window that may be a candidate, by the window's number; see
    `train.simulation.verified`."""

    def ask(self, index: int) -> Ask:
        """The verifier's posterior of a window, for `EventDetector.update`."""
        return lambda: self.verifier_posteriors[index]


@dataclass(frozen=True, slots=True)
class Outcome:
    """The daemon's messages for one recording."""

    predictions: tuple[Prediction, ...]
    events: tuple[Event, ...]
    summary: Summary


def score_recordings(
    recordings: Sequence[Audio],
    settings: SimulationSettings,
    score: Scorer,
    advance: Callable[[float], None] | None = None,
) -> list[CachedScores]:
    """Run gate and model over `recordings` (16 kHz mono), in batches.

    Many side by side.

    `advance` is called with the seconds of audio that were done since its last call.
    """
    found: list[CachedScores] = []
    loaded = _CachingDetector.load(settings.gate)
    for first in range(0, len(recordings), STREAMS_AT_ONCE):
        found += _score_together(
            recordings[first : first + STREAMS_AT_ONCE], settings, score, loaded, advance
        )
    return found


def _score_together(
    recordings: Sequence[Audio],
    settings: SimulationSettings,
    score: Scorer,
    detector: _CachingDetector,
    advance: Callable[[float], None] | None,
) -> list[CachedScores]:
    bank = detector.bank
    streams = [settings.stream(number, bank) for number in range(len(recordings))]
    detector.clear()
    logits: list[list[Logits]] = [[] for _ in recordings]
    longest = max((len(audio) for audio in recordings), default=0)
    for start in range(0, longest + 1, TURN):
        waiting: list[tuple[int, DueWindow]] = []
        for stream, audio in zip(streams, recordings, strict=True):
            _feed(stream, audio, start)
        bank.run([gate for stream in streams for gate in stream.gates()])
        for number, stream in enumerate(streams):
            waiting += [(number, window) for window in stream.due()]
        if waiting:
            rows = score([window.samples for _, window in waiting])
            for (number, window), row in zip(waiting, rows, strict=True):
                logits[number].append(row)
                # The result does not matter here; the window may be released.
                streams[number].resolve(window, row, 0.0)
        for stream in streams:
            stream.take()
        if advance is not None:
            advance(sum(len(audio[start : start + TURN]) for audio in recordings) / RATE)
    states = iter(detector.states)
    return [
        CachedScores(
            len(audio),
            np.array(
                next(states).probabilities if len(audio) and detector.states else [], np.float32
            ),
            np.stack(rows) if rows else np.zeros((0, len(settings.labels)), np.float32),
        )
        for audio, rows in zip(recordings, logits, strict=True)
    ]


def replay(cached: CachedScores, settings: SimulationSettings, temperature: float = 1.0) -> Outcome:
    """The daemon's messages with these settings and this temperature."""
    off = settings.gate.kind == "off"
    bank = GateBank(settings.gate, None if off else _ReplayingDetector(cached.speech_probabilities))
    stream = settings.stream(0, bank, lambda _, index: cached.verifier_posteriors[index])
    scores = softmax(cached.logits / temperature)
    silence = np.zeros(cached.samples, np.float32)
    taken, messages = 0, list[Message]()
    for start in range(0, cached.samples + 1, TURN):
        _feed(stream, silence, start)
        bank.run(stream.gates())
        for window in stream.due():
            stream.resolve(window, scores[taken], 0.0)
            taken += 1
        messages += stream.take()
    return Outcome(
        tuple(m for m in messages if isinstance(m, Prediction)),
        tuple(m for m in messages if isinstance(m, Event)),
        stream.summary(),
    )


class EventReplay:
    """Smoothing and event detection of a recording, for many settings.

    The gate runs once. `events` gives those of `replay`, to the sample.
    """

    def __init__(
        self, cached: CachedScores, settings: SimulationSettings, temperature: float
    ) -> None:
        self._cached = cached
        self._length = cached.samples / RATE
        scores = iter(softmax(cached.logits / temperature))
        outcome = replay(cached, settings, temperature)
        self._scores = [None if p.gated else next(scores) for p in outcome.predictions]
        off = settings.gate.kind == "off"
        self._gate = GateBank(
            settings.gate, None if off else _ReplayingDetector(cached.speech_probabilities)
        ).new_gate()
        for probability in cached.speech_probabilities.tolist():
            self._gate.update(probability)
        hop, window = settings.hop_samples, settings.window_samples
        self._utterances = [
            self._gate.utterance(n * hop, n * hop + window) for n in range(len(self._scores))
        ]

    def smoothed(self, settings: SimulationSettings) -> list[SmoothedWindow]:
        """Smoothed posterior after each window, with the detector's arguments."""
        rolling = make_rolling(
            settings.unit, len(settings.labels), settings.window, settings.hop, settings.rolling
        )
        found = []
        pairs = zip(self._scores, self._utterances, strict=True)
        for number, (scores, utterance) in enumerate(pairs):
            start = number * settings.hop_samples
            value = rolling.update(scores, utterance)
            found.append((start, start + settings.window_samples, scores, value, rolling.utterance))
        return found

    def events(
        self, settings: SimulationSettings, smoothed: Sequence[SmoothedWindow]
    ) -> list[Event]:
        """The events that the daemon's detector raises for `smoothed`."""
        detector = EventDetector(
            settings.labels,
            settings.non_intents,
            settings.unit,
            settings.events,
            settings.verification,
        )
        return [
            self._event(fired, settings)
            for index in _decisive(smoothed, settings)
            for fired in detector.update(*smoothed[index], self._cached.ask(index))
            if fired.confirmed
        ]

    def _event(self, fired: Fired, settings: SimulationSettings) -> Event:
        speech = self._gate.speech_within(fired.start, fired.end, fired.core)
        start, end = speech or (fired.start, fired.end)
        return Event(
            "",
            settings.labels[fired.label],
            min(start / RATE, self._length),
            min(end / RATE, self._length),
            fired.score,
            min(fired.at / RATE, self._length),
            verified=fired.verified,
        )


def _decisive(smoothed: Sequence[SmoothedWindow], settings: SimulationSettings) -> Sequence[int]:
    """Numbers of the windows that can change what an `EventDetector` does.

    A window in which nothing reaches the lowest release value ends all labels; more of them after
    it change nothing. An utterance may begin in any window.
    """
    if settings.unit != "word" or not smoothed:
        return range(len(smoothed))
    labels = settings.labels
    intents = [n for n, label in enumerate(labels) if label not in settings.non_intents]
    least = min((settings.events.of(labels[n]) for n in intents), default=1.0)
    if settings.verification is not None:
        least = settings.verification.candidate
    nothing = np.zeros(len(labels), np.float32)
    own = np.stack([nothing if window[2] is None else window[2] for window in smoothed])
    rolling = np.stack([window[3] for window in smoothed])
    highest = np.maximum(own, rolling)[:, intents].max(axis=1, initial=0)
    active = highest >= np.float32(least) * np.float32(settings.events.release)
    active[1:] |= active[:-1].copy()
    return np.flatnonzero(active).tolist()


def speech_windows(clips: Sequence[Clip], settings: SimulationSettings) -> list[NDArray[np.int64]]:
    """Starts of the windows that the daemon would classify, an array a clip.

    In samples.
    """
    labels = len(settings.labels)
    cached = score_recordings(
        [clip.audio for clip in clips],
        settings,
        lambda windows: np.zeros((len(windows), labels), np.float32),
    )
    found = []
    for each in cached:
        flags = [not p.gated for p in replay(each, settings).predictions]
        found.append(np.flatnonzero(flags) * settings.hop_samples)
    return found


def softmax(logits: NDArray[Any]) -> NDArray[np.float32]:
    """Over the last axis, float32."""
    shifted = np.exp(logits - logits.max(axis=-1, keepdims=True)) if logits.size else logits
    total = shifted.sum(axis=-1, keepdims=True)
    return np.asarray(shifted / total if logits.size else shifted, np.float32)


@dataclass(slots=True)
class _State:
    inner: object
    probabilities: list[float] = field(default_factory=list)


class _CachingDetector:
    """A gate's detector that keeps the probabilities it gives.

    `states` are in the order of the streams that were fed anything, since a stream asks for its
    gate with its first samples.
    """

    def __init__(self, settings: GateSettings, detector: Detector | None) -> None:
        self._detector = detector
        self.bank = GateBank(settings, None if detector is None else self)
        self.states: list[_State] = []

    @classmethod
    def load(cls, settings: GateSettings) -> _CachingDetector:
        """Build it with the detector that the settings name.

        Raises: UserError if it can't run here.
        """
        return cls(settings, load_detector(settings.kind))

    def clear(self) -> None:
        self.states = []

    def new_state(self) -> object:
        assert self._detector is not None
        self.states.append(_State(self._detector.new_state()))
        return self.states[-1]

    def probabilities(
        self, chunks: NDArray[np.float32], states: Sequence[object]
    ) -> NDArray[np.float32]:
        assert self._detector is not None
        mine = [state for state in states if isinstance(state, _State)]
        found = self._detector.probabilities(chunks, [state.inner for state in mine])
        for state, value in zip(mine, found.tolist(), strict=True):
            state.probabilities.append(value)
        return found


class _ReplayingDetector:
    """A gate's detector that repeats the probabilities of one recording."""

    def __init__(self, probabilities: NDArray[np.float32]) -> None:
        self._probabilities = iter(probabilities)

    def new_state(self) -> object:
        return None

    def probabilities(
        self, chunks: NDArray[np.float32], states: Sequence[object]
    ) -> NDArray[np.float32]:
        return np.array([next(self._probabilities) for _ in states], np.float32)


def _feed(stream: Stream, audio: Audio, start: int) -> None:
    """Feed the turn of `audio` that begins at `start`; the last one finishes.

    It finishes the stream.
    """
    piece = audio[start : start + TURN]
    if len(piece):
        end = start + len(piece)
        stream.feed(
            Chunk(
                samples=piece[:, None],
                start=start,
                block_ends=np.array([end], np.int64),
                block_arrivals=np.zeros(1),
                lost=0,
                reason="",
                captured=end,
                shed=0,
                never_arrived=0,
            )
        )
    if start <= len(audio) < start + TURN:
        stream.finish()
