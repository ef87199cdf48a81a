"""Tracks through the daemon's own `Stream`: what intentd would say of them, exactly.

The dear parts, the gate's probabilities and the model's logits, are computed once and kept in a
`Hearing`; what depends on settings (temperature, rolling, thresholds) is played again from those
through the same `Stream`, in a fraction of a second for minutes of audio.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
from daemon.messages import Event, Message, Prediction, Scores, StreamInfo, Summary
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
Opinion = tuple[int, int, Scores | None, Scores, int]
"""A window's first sample and the one behind its last, its scores (None if gated), the rolling
opinion after it, and the utterance's number: what `EventDetector.update` takes."""

TURN = 30 * RATE
"""Samples a stream is fed at a time: bounds memory, and fills batches."""
ABREAST = 64
"""Recordings that are heard side by side."""


@dataclass(frozen=True, slots=True)
class Setup(StreamSettings):
    """What the daemon would run a model with."""

    @property
    def window_samples(self) -> int:
        return round(self.window * RATE)

    @property
    def hop_samples(self) -> int:
        return round(self.hop * RATE)

    @property
    def overlap(self) -> float:
        """What `daemon.decide.evidence_weights` calls so."""
        return self.hop / self.window

    def with_thresholds(self, thresholds: dict[str, float]) -> Setup:
        return replace(self, events=self.events.model_copy(update={"thresholds": thresholds}))

    def stream(self, number: int, gates: GateBank) -> Stream:
        info = StreamInfo(f"track {number}", RATE, 1, live=False)
        return Stream(info, self, gates)


@dataclass(frozen=True, slots=True)
class Hearing:
    """What a model and a gate make of one recording, before any setting is applied."""

    samples: int
    chances: NDArray[np.float32]
    """The gate's speech probabilities, one a chunk of 512 samples; empty without a gate."""
    logits: Logits
    """Of the windows with speech, in order, (windows, labels)."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What intentd says of one recording."""

    predictions: tuple[Prediction, ...]
    events: tuple[Event, ...]
    summary: Summary


def hear(
    recordings: Sequence[Audio],
    setup: Setup,
    score: Scorer,
    advance: Callable[[float], None] | None = None,
) -> list[Hearing]:
    """Run gate and model over `recordings` (16 kHz mono), many side by side in batches.

    `advance` is told of the seconds of audio done.
    """
    found: list[Hearing] = []
    loaded = _Tap.load(setup.gate)
    for first in range(0, len(recordings), ABREAST):
        found += _hear_together(recordings[first : first + ABREAST], setup, score, loaded, advance)
    return found


def _hear_together(
    recordings: Sequence[Audio],
    setup: Setup,
    score: Scorer,
    tap: _Tap,
    advance: Callable[[float], None] | None,
) -> list[Hearing]:
    bank = tap.bank
    streams = [setup.stream(number, bank) for number in range(len(recordings))]
    tap.forget()
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
                # What is said of it does not matter here; the window may be forgotten.
                streams[number].resolve(window, row, 0.0)
        for stream in streams:
            stream.take()
        if advance is not None:
            advance(sum(len(audio[start : start + TURN]) for audio in recordings) / RATE)
    heard = iter(tap.states)
    return [
        Hearing(
            len(audio),
            np.array(next(heard).said if len(audio) and tap.states else [], np.float32),
            np.stack(rows) if rows else np.zeros((0, len(setup.labels)), np.float32),
        )
        for audio, rows in zip(recordings, logits, strict=True)
    ]


def replay(hearing: Hearing, setup: Setup, temperature: float = 1.0) -> Outcome:
    """What intentd says with this setup and this temperature."""
    off = setup.gate.kind == "off"
    bank = GateBank(setup.gate, None if off else _Recorded(hearing.chances))
    stream = setup.stream(0, bank)
    scores = softmax(hearing.logits / temperature)
    silence = np.zeros(hearing.samples, np.float32)
    taken, messages = 0, list[Message]()
    for start in range(0, hearing.samples + 1, TURN):
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


class Rehearsal:
    """One hearing prepared for many detectors: the gate is asked once, then only the daemon's
    rolling and events are run. `events` are those of `replay`, to the sample."""

    def __init__(self, hearing: Hearing, setup: Setup, temperature: float) -> None:
        self._length = hearing.samples / RATE
        scores = iter(softmax(hearing.logits / temperature))
        outcome = replay(hearing, setup, temperature)
        self._scores = [None if p.gated else next(scores) for p in outcome.predictions]
        off = setup.gate.kind == "off"
        self._gate = GateBank(setup.gate, None if off else _Recorded(hearing.chances)).new_gate()
        for chance in hearing.chances.tolist():
            self._gate.hear(chance)
        hop, window = setup.hop_samples, setup.window_samples
        self._utterances = [
            self._gate.utterance(n * hop, n * hop + window) for n in range(len(self._scores))
        ]

    def opinions(self, setup: Setup) -> list[Opinion]:
        """The rolling opinion after each window, with what the detector needs beside it."""
        rolling = make_rolling(
            setup.unit, len(setup.labels), setup.window, setup.hop, setup.rolling
        )
        found = []
        pairs = zip(self._scores, self._utterances, strict=True)
        for number, (scores, utterance) in enumerate(pairs):
            start = number * setup.hop_samples
            value = rolling.update(scores, utterance)
            found.append((start, start + setup.window_samples, scores, value, rolling.utterance))
        return found

    def events(self, setup: Setup, opinions: Sequence[Opinion]) -> list[Event]:
        """The events that the daemon's detector makes of `opinions`."""
        detector = EventDetector(setup.labels, setup.non_intents, setup.unit, setup.events)
        return [
            self._event(fired, setup) for opinion in opinions for fired in detector.update(*opinion)
        ]

    def _event(self, fired: Fired, setup: Setup) -> Event:
        speech = self._gate.speech_within(fired.start, fired.end, fired.core)
        start, end = speech or (fired.start, fired.end)
        return Event(
            "",
            setup.labels[fired.label],
            min(start / RATE, self._length),
            min(end / RATE, self._length),
            fired.score,
            min(fired.at / RATE, self._length),
        )


def speech_windows(clips: Sequence[Clip], setup: Setup) -> list[NDArray[np.int64]]:
    """First samples of the windows that the daemon would classify, one array a clip."""
    labels = len(setup.labels)
    hearings = hear(
        [clip.audio for clip in clips],
        setup,
        lambda windows: np.zeros((len(windows), labels), np.float32),
    )
    found = []
    for hearing in hearings:
        flags = [not p.gated for p in replay(hearing, setup).predictions]
        found.append(np.flatnonzero(flags) * setup.hop_samples)
    return found


def softmax(logits: NDArray[Any]) -> NDArray[np.float32]:
    """Over the last axis, float32."""
    shifted = np.exp(logits - logits.max(axis=-1, keepdims=True)) if logits.size else logits
    total = shifted.sum(axis=-1, keepdims=True)
    return np.asarray(shifted / total if logits.size else shifted, np.float32)


@dataclass(slots=True)
class _State:
    inner: object
    said: list[float] = field(default_factory=list)


class _Tap:
    """A gate's detector that keeps what it said; `states` are in the order of the streams that
    were fed anything, since a stream asks for its gate with its first samples."""

    def __init__(self, settings: GateSettings, detector: Detector | None) -> None:
        self._detector = detector
        self.bank = GateBank(settings, None if detector is None else self)
        self.states: list[_State] = []

    @classmethod
    def load(cls, settings: GateSettings) -> _Tap:
        """With the detector that the settings name. Raises UserError if it can't run here."""
        return cls(settings, load_detector(settings.kind))

    def forget(self) -> None:
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
            state.said.append(value)
        return found


class _Recorded:
    """A gate's detector that says again what was said of one recording."""

    def __init__(self, chances: NDArray[np.float32]) -> None:
        self._chances = iter(chances)

    def new_state(self) -> object:
        return None

    def probabilities(
        self, chunks: NDArray[np.float32], states: Sequence[object]
    ) -> NDArray[np.float32]:
        return np.array([next(self._chances) for _ in states], np.float32)


def _feed(stream: Stream, audio: Audio, start: int) -> None:
    """The turn of `audio` that begins at `start`; the last one finishes the stream."""
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
