"""Scores of takes and of talk, by heads that did not learn from them.

A recording's score for a label is the highest threshold at which its event would fire.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from train.simulation.offline import SimulationSettings, softmax
from train.words.head import CrossFitted
from train.words.take_streams import Floats, ScoredTake, highest, peaks


@dataclass(frozen=True, slots=True)
class Recording:
    """A recording to be judged."""

    stream: ScoredTake
    fold: int = -1
    """The heads without this fold did not learn from it; -1: no head did."""


@dataclass(frozen=True, slots=True)
class Judged:
    """Scores of recordings, shape (recordings, labels)."""

    takes: Mapping[float | None, Floats]
    """By level in decibels over the noise."""
    own: Floats
    """Of what else the user recorded: talk without the words, words that sound alike."""
    talk: Floats
    """Of other people's talk, as the tail of its scores is estimated from."""
    fires: Floats
    """The same, 0 where no event would begin."""


@dataclass(frozen=True, slots=True)
class Judge:
    """Heads, and the settings that the daemon would run them with."""

    model: CrossFitted
    settings: SimulationSettings
    """With the labels of the heads."""

    def judge(
        self,
        takes: Mapping[float | None, Sequence[Recording]],
        own: Sequence[Recording],
        talk: Sequence[Recording],
    ) -> Judged:
        """All scores."""
        smoothed = [self._smoothed(each) for each in talk]
        return Judged(
            {level: self.scores(found) for level, found in takes.items()},
            self.scores(own),
            self._table([highest(each) for each in smoothed]),
            self._table([peaks(each) for each in smoothed]),
        )

    def scores(self, recordings: Sequence[Recording]) -> Floats:
        """The highest thresholds at which events fire, shape (recordings, labels)."""
        return self._table([peaks(self._smoothed(each)) for each in recordings])

    def _table(self, rows: Sequence[Floats]) -> Floats:
        return np.array(rows, np.float32).reshape(-1, len(self.settings.labels))

    def _smoothed(self, each: Recording) -> Floats:
        """Smoothed posteriors, shape (windows, labels)."""
        logits = self.model.of(each.fold).logits(each.stream.embeddings)
        if self.settings.unit == "utterance":
            return each.stream.pooled(logits, self.model.temperature, self.settings)
        probabilities = softmax(logits / self.model.temperature)
        return each.stream.rolling(probabilities, self.settings.rolling.windows)
