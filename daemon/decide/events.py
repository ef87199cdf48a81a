"""From a rolling opinion to "this intent was spoken", once.

A label's event begins when its rolling value reaches its threshold while it is the top label, and
fires when it has held on for `min_duration`. It holds on as long as the value stays at or above
the release value (hysteresis). The same label cannot fire again within `refractory` seconds of
audio; what begins in that time is taken for the same word.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float32]
Span = tuple[float, float]


@dataclass(frozen=True, slots=True)
class EventSettings:
    threshold: float = 0.7
    """Rolling value at which an event begins, for labels without one of their own."""
    release: float = 0.6
    """Fraction of the threshold below which it is over."""
    min_duration: float = 0.0
    """Seconds that the opinion must hold before the event fires."""
    refractory: float = 1.0
    """Seconds after an event in which its label fires no other."""
    thresholds: dict[str, float] = field(default_factory=dict)
    """Thresholds of single labels."""

    def of(self, label: str) -> float:
        return self.thresholds.get(label, self.threshold)


@dataclass(frozen=True, slots=True)
class Firing:
    """An event as the detector sees it; times in seconds of its segment."""

    label: int
    start: float
    end: float
    score: float
    at: float


@dataclass(slots=True)
class _Label:
    threshold: float
    release: float
    begun: float | None = None
    """End of the window with which the opinion reached the threshold."""
    done: bool = False
    """This run has fired, or belongs to an event that has."""
    support: Span | None = None
    last_fired: float = -np.inf


class EventDetector:
    """Hysteresis, minimum duration and refractory time for each label of one segment."""

    def __init__(
        self, labels: tuple[str, ...], non_intents: frozenset[str], settings: EventSettings
    ) -> None:
        self._settings = settings
        self._labels = {
            number: _Label(settings.of(label), settings.of(label) * settings.release)
            for number, label in enumerate(labels)
            if label not in non_intents
        }

    def update(
        self, span: Span, scores: Scores | None, rolling: Scores, speech: Span | None
    ) -> list[Firing]:
        """The events that the next window makes fire.

        `span` is the window's start and end, `speech` the speech within it, `scores` its own
        posteriors (None if gated), `rolling` the opinion after it.
        """
        fired = []
        top = int(rolling.argmax())
        for number, label in self._labels.items():
            value = float(rolling[number])
            if label.begun is not None and value < label.release:
                label.begun, label.done = None, False
            supports = scores is not None and float(scores[number]) >= label.release
            if supports:
                first, last = speech or span
                label.support = (min(label.support[0], first) if label.support else first, last)
            elif label.begun is None:
                label.support = None
            if label.begun is None and number == top and value >= label.threshold:
                label.begun = span[1]
                label.done = span[1] < label.last_fired + self._settings.refractory
            if (
                label.begun is not None
                and not label.done
                and span[1] - label.begun >= self._settings.min_duration - 1e-9
            ):
                label.done = True
                label.last_fired = span[1]
                start, end = label.support or speech or span
                fired.append(Firing(number, start, end, value, span[1]))
        return fired
