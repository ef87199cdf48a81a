"""Messages from worker to outputs: frozen, times in stream seconds.

Stream time is counted in source samples divided by the source's rate, gaps included; it never
comes from a clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float32]
"""Probabilities, shape (labels,), in the order of the model's labels."""

Unit = Literal["word", "utterance"]
"""What carries an intent: a word that fits in a window, or all windows of an utterance."""


@dataclass(frozen=True, slots=True)
class StreamInfo:
    """One source of sound as the outputs know it."""

    name: str
    """The path as typed, or the device's name; the `stream` of every JSON line."""
    rate: int
    """Samples a second at the source."""
    channels: int
    live: bool
    seconds: float | None = None
    """Length of a recording, where its header tells."""
    client: bool = False
    """Sent by a client, which may stop at any time, and waits while the model is busy."""


@dataclass(frozen=True, slots=True)
class RunInfo:
    """Constants of a run, given to each output when it opens."""

    streams: tuple[StreamInfo, ...]
    labels: tuple[str, ...]
    non_intents: frozenset[str]
    thresholds: tuple[float, ...]
    """The rolling value at which an event of each label may begin, in the labels' order."""
    model: str
    backend: str
    window: float
    hop: float
    verified: bool = False
    """A verifier confirms or rejects what is about to be an event."""
    at: str | None = None
    """Live only: the moment from which stream time counts, to a second, in ISO 8601, UTC."""
    serves: bool = False
    """Clients may add streams at any time; each begins with a `Start`."""


@dataclass(frozen=True, slots=True)
class Start:
    """Start of a live stream, maybe in a file that an earlier run has begun."""

    stream: str
    at: str
    """The moment from which stream time counts, to a second, in ISO 8601, UTC."""
    version: str
    model: str
    labels: tuple[str, ...]
    window: float
    hop: float
    info: StreamInfo


@dataclass(frozen=True, slots=True)
class Prediction:
    """The outcome of one window; every window writes one, in order."""

    stream: str
    start: float
    end: float
    gated: bool
    scores: Scores | None
    """The window's own probabilities; None where the gate found no speech."""
    rolling: Scores
    """The smoothed posterior after this window; may sum to less than one after silence."""
    latency_ms: float | None
    """Arrival of the block that completes the window to publication; None if gated."""


@dataclass(frozen=True, slots=True)
class Event:
    """An intent was spoken. Written once, when it fires."""

    stream: str
    intent: str
    start: float
    end: float
    """start to end: the speech within the windows that support the event, so far."""
    score: float
    """The rolling value at the moment of firing."""
    at_stream: float
    """Stream time of firing: the end of the window that made it fire."""
    at: str | None = None
    """Live only: the same moment in ISO 8601, UTC."""
    verified: float | None = None
    """The verified score, which reached the label's threshold; None without a verifier."""


@dataclass(frozen=True, slots=True)
class Rejection:
    """A candidate for an event that the verifier rejected."""

    stream: str
    intent: str
    start: float
    end: float
    """start to end: as those of an event."""
    score: float
    """The rolling value when the verifier was asked last, or when it had fallen."""
    verified: float
    """The highest verified score, which stayed below the label's threshold."""
    at_stream: float


@dataclass(frozen=True, slots=True)
class Gap:
    """Sound that was lost between `start` and `end`. No window spans it."""

    stream: str
    start: float
    end: float
    samples_lost: int
    reason: str
    """"overflow", "hole", "device lost", "paused", "shed" or "stopped"; see docs/output.md."""


@dataclass(frozen=True, slots=True)
class Level:
    """Loudness of the latest sound, for meters; several a second.

    Live and at speed 1.
    """

    stream: str
    rms_dbfs: float
    peak_dbfs: float
    speech: bool
    at_stream: float


@dataclass(frozen=True, slots=True)
class Status:
    """News of a stream or the program for the user; one sentence."""

    stream: str | None
    text: str
    level: str = "info"
    """"info", "warning" or "error"."""


@dataclass(frozen=True, slots=True)
class Verdict:
    intent: str
    score: float


@dataclass(frozen=True, slots=True)
class Summary:
    """The last message of a stream."""

    stream: str
    seconds: float
    windows: int
    gated: int
    events: int
    top: tuple[Verdict, ...]
    """The verdict on the whole recording, best first."""
    samples_captured: int
    samples_classified: int
    samples_gated: int
    samples_lost: int
    latency_p50_ms: float | None
    latency_p99_ms: float | None
    samples_shed: int = 0
    """Of those captured, dropped since the model was too slow, or the run was stopped."""
    samples_never_arrived: int = 0
    """Of those lost, estimated by the clock."""
    rejected: int | None = None
    """Candidates for events that the verifier rejected; None without a verifier."""


Message = Start | Prediction | Event | Rejection | Gap | Level | Status | Summary


@dataclass(frozen=True, slots=True)
class MessageKind:
    """Treatment of one type of message by outputs."""

    name: str
    """The `type` of its JSON line, and its name in the setting output.types."""
    message: type[Message]
    worth: int
    """A full queue drops what is worth least first; 0: dropping it is not counted as a loss."""
    json_line: bool = True
    """There is a JSON line for it."""
    by_default: bool = True
    """Its JSON lines are written unless output.types says otherwise."""


MESSAGE_KINDS: Final = (
    MessageKind("start", Start, worth=5, by_default=False),
    MessageKind("prediction", Prediction, worth=1),
    MessageKind("event", Event, worth=4),
    MessageKind("rejection", Rejection, worth=2, by_default=False),
    MessageKind("gap", Gap, worth=3),
    MessageKind("level", Level, worth=0, json_line=False),
    MessageKind("status", Status, worth=2, json_line=False),
    MessageKind("summary", Summary, worth=5),
)
"""Every type of message, each once."""

LINE_TYPES: Final = tuple(kind.name for kind in MESSAGE_KINDS if kind.json_line)
"""The `type` of every JSON line there is."""
