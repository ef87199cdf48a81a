"""Event detection on smoothed posteriors: thresholds, hysteresis.

And a refractory time.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from daemon.base.audio import RATE
from daemon.config.settings import EventSettings
from daemon.decide.verification import Ask, Verification
from daemon.messages import Scores, Unit


@dataclass(frozen=True, slots=True)
class Fired:
    """An event, in samples at 16 kHz from the segment's start."""

    label: int
    score: float
    """The rolling value."""
    at: int
    """End of the window that made it fire."""
    start: int
    """Start of the first window that supports it."""
    end: int
    """End of the last one so far."""
    core: tuple[int, int] | None
    """What all windows that support it have in common; None if nothing."""
    verified: float | None = None
    """The verified score; None without a verifier."""
    confirmed: bool = True
    """False: the verifier rejected it, and it is no event."""


@dataclass(slots=True)
class _Asked:
    """What the verifier has said of a label since it became active."""

    times: int = 0
    best: float = 0.0


@dataclass(slots=True)
class _Support:
    """Consecutive windows whose own posterior reaches a label's release value."""

    start: int
    first_end: int
    last_start: int
    end: int
    open: bool = True

    @property
    def core(self) -> tuple[int, int] | None:
        return (self.last_start, self.first_end) if self.last_start < self.first_end else None


class EventDetector:
    """Turns the smoothed posteriors of one segment into events.

    A label becomes active when its value reaches its threshold and is the highest of all labels.
    It fires once it has stayed at or above the release value for `min_duration`, and is active
    until it falls below. Within `refractory` after firing it does not fire again: a value that
    rises in that time belongs to the same word, and must fall below the release value before the
    label can become active again. Unit utterance: an utterance fires at most one event.

    With a verifier a label becomes active at `Verification.candidate`, if no other intent has a
    higher value, and thresholds are those of the verified score. The verifier is asked on each
    window on which the label could fire, until it confirms or has rejected `Verification.asks` of
    them; then the label rests for `refractory`.
    """

    def __init__(
        self,
        labels: Sequence[str],
        non_intents: Collection[str],
        unit: Unit,
        settings: EventSettings,
        verification: Verification | None = None,
    ) -> None:
        """Labels in `thresholds` that the model does not have are ignored."""
        self._labels = tuple(labels)
        self._intents = [i for i, label in enumerate(labels) if label not in non_intents]
        self._unit = unit
        self._verification = verification
        self.adopt(settings)
        self.reset()

    def adopt(self, settings: EventSettings) -> None:
        """Use other settings from the next window on, also for active labels."""
        thresholds = thresholds_of(self._labels, settings)
        # Lists, since single numbers of an array are slow to get at.
        self.thresholds: list[float] = thresholds.tolist()
        if self._verification is not None:
            thresholds = np.full_like(thresholds, self._verification.candidate)
        self._begins: list[float] = thresholds.tolist()
        self._release: list[float] = (thresholds * np.float32(settings.release)).tolist()
        self._min_duration = round(settings.min_duration * RATE)
        self._refractory = round(settings.refractory * RATE)

    def reset(self) -> None:
        """Forget all windows."""
        self._began: dict[int, int] = {}  # active label to the end of its first window
        self._spent: set[int] = set()  # active, and fired or suppressed
        self._fired_at: dict[int, int] = {}
        self._asked: dict[int, _Asked] = {}
        self._rests_until: dict[int, int] = {}
        self._support: dict[int, _Support] = {}
        self._utterance = -1
        self._utterance_start = 0
        self._utterance_fired = False

    def update(
        self,
        start: int,
        end: int,
        scores: Scores | None,
        rolling: Scores,
        utterance: int = 0,
        ask: Ask | None = None,
    ) -> list[Fired]:
        """Add window [start, end) in samples; return events that fire or fail.

        Those that fail the verifier has rejected.

        `scores`: the window's posterior, shape (labels,), None if gated. `rolling`: the smoothed
        posterior after it. `utterance`: `Rolling.utterance`. `ask`: the verifier, called at most
        once; without one nothing fires where a verification was asked for.
        """
        if self._unit == "utterance" and (scores is None or utterance != self._utterance):
            self._utterance, self._utterance_start = utterance, start
            self._utterance_fired = False
            self._began.clear()
            self._spent.clear()
            self._support.clear()
        values: list[float] = rolling.tolist()
        own: list[float] | None = None if scores is None else scores.tolist()
        top = self._top(rolling)
        found = []
        for label in self._intents:
            value = values[label]
            if label in self._began and (value < self._release[label] or value <= 0):
                found += self._rejection(label, value, start, end)
                self._end(label)
            self._note_support(label, start, end, None if own is None else own[label])
            if label == top and value > 0 and value >= self._begins[label]:
                self._begin(label, end)
            if not self._may_fire(label, end):
                continue
            if self._verification is None:
                found.append(self._fire(label, value, start, end))
            elif label == top and scores is not None and ask is not None:
                found += self._verify(self._verification, ask, label, value, start, end)
        return found

    def _top(self, rolling: Scores) -> int:
        """The label that may become active.

        What a verifier is asked about need only be the likeliest intent: it also knows better than
        the model what is none.
        """
        if self._verification is None or not self._intents:
            return int(rolling.argmax())
        return max(self._intents, key=lambda label: rolling[label])

    def _verify(
        self,
        verification: Verification,
        ask: Ask,
        label: int,
        value: float,
        start: int,
        end: int,
    ) -> list[Fired]:
        if end < self._rests_until.get(label, 0):
            return []
        asked = self._asked.setdefault(label, _Asked())
        score = float(verification.score(value, float(ask()[label])))
        if score >= self.thresholds[label]:
            del self._asked[label]
            return [self._fire(label, value, start, end, score)]
        asked.times += 1
        asked.best = max(asked.best, score)
        if asked.times < verification.asks:
            return []
        self._rests_until[label] = end + self._refractory
        return self._rejection(label, value, start, end)

    def _rejection(self, label: int, value: float, start: int, end: int) -> list[Fired]:
        """What became of the questions about a label, if there were any."""
        asked = self._asked.pop(label, None)
        if asked is None:
            return []
        return [self._make(label, value, start, end, asked.best, confirmed=False)]

    def _fire(
        self, label: int, value: float, start: int, end: int, verified: float | None = None
    ) -> Fired:
        self._spent.add(label)
        self._fired_at[label] = end
        self._utterance_fired = True
        return self._make(label, value, start, end, verified)

    def _begin(self, label: int, end: int) -> None:
        if label in self._began:
            return
        self._began[label] = end
        if label in self._fired_at and end - self._fired_at[label] < self._refractory:
            self._spent.add(label)

    def _end(self, label: int) -> None:
        del self._began[label]
        self._spent.discard(label)
        if self._unit == "word":
            self._support.pop(label, None)

    def _may_fire(self, label: int, end: int) -> bool:
        return (
            label in self._began
            and label not in self._spent
            and end - self._began[label] >= self._min_duration
            and not (self._unit == "utterance" and self._utterance_fired)
        )

    def _note_support(self, label: int, start: int, end: int, score: float | None) -> None:
        known = self._support.get(label)
        if score is None or score < self._release[label]:
            if known is not None:
                known.open = False
            return
        goes_on = label in self._began or self._unit == "utterance"
        if known is not None and (known.open or goes_on):
            known.last_start, known.end, known.open = start, end, True
        else:
            self._support[label] = _Support(start, end, start, end)

    def _make(
        self,
        label: int,
        score: float,
        start: int,
        end: int,
        verified: float | None = None,
        *,
        confirmed: bool = True,
    ) -> Fired:
        support = self._support.get(label)
        if support is None:  # no single window reached the release value
            if self._unit == "utterance":
                start = self._utterance_start
            return Fired(label, score, end, start, end, None, verified, confirmed)
        span = support.start, support.end, support.core
        return Fired(label, score, end, *span, verified, confirmed)


def thresholds_of(labels: Sequence[str], settings: EventSettings) -> Scores:
    """The threshold of each label, shape (labels,)."""
    return np.array([settings.of(label) for label in labels], dtype=np.float32)
