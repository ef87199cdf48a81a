"""The verdict on a whole recording, kept up to date window by window in constant memory."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from daemon.decide.rolling import TINY, softmax

Scores = NDArray[np.float32]


class WordVerdict:
    """Which word was spoken in a recording: the highest opinion that each intent reached.

    The non-intent with the highest mean gets what the best intent leaves (1 - best), so that a
    recording without a command is called that; the other non-intents follow by their mean, which
    never exceeds it.
    """

    def __init__(self, labels: tuple[str, ...], non_intents: frozenset[str]) -> None:
        self._intents = np.array([label not in non_intents for label in labels])
        self._highest = np.zeros(len(labels), np.float64)
        self._sum = np.zeros(len(labels), np.float64)
        self._count = 0

    def update(self, scores: Scores | None, rolling: Scores) -> None:
        np.maximum(self._highest, rolling, out=self._highest)
        if scores is not None:
            self._sum += scores
            self._count += 1

    def scores(self) -> NDArray[np.float64]:
        """One value a label, 0 to 1; they need not sum to 1."""
        result = np.where(self._intents, self._highest, 0.0)
        others = np.flatnonzero(~self._intents)
        if len(others):
            mean = self._sum / max(1, self._count)
            left = 1.0 - (result.max() if self._intents.any() else 0.0)
            result[others] = np.minimum(mean[others], left)
            result[others[mean[others].argmax()]] = left
        return result


class UtteranceVerdict:
    """The posterior of the pooled evidence of all windows of a recording (see `rolling.pool`)."""

    def __init__(self, labels: int, weight: float) -> None:
        self._evidence = np.zeros(labels, np.float64)
        self._weight = weight
        self._count = 0

    def update(self, scores: Scores | None, rolling: Scores) -> None:
        if scores is not None:
            self._evidence += self._weight * np.log(np.maximum(scores, TINY, dtype=np.float64))
            self._count += 1

    def scores(self) -> NDArray[np.float64]:
        """Probabilities, one a label; zeros if no window held speech."""
        if not self._count:
            return np.zeros_like(self._evidence)
        return softmax(self._evidence).astype(np.float64)
