"""One opinion a stream, from the scores of single windows.

Both kinds are updated with each window in order: its posteriors, or None where the gate found no
speech. Neither knows of time but through the windows' number.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float32]

TINY = 1e-7
"""Posteriors are floored here before their logarithm is taken."""


@dataclass(frozen=True, slots=True)
class RollingSettings:
    windows: int = 3
    """Words: windows whose mean is the opinion."""
    forgetting: float = 1.0
    """Utterances: what older evidence keeps with each hop, above 0 to 1."""
    max_seconds: float = 15.0
    """Utterances: the longest, in seconds; what follows is another one."""


class Rolling(Protocol):
    """The opinion after each window, shape (labels,); it may sum to less than 1 after silence."""

    def update(self, scores: Scores | None, utterance: int) -> Scores:
        """Take the next window's posteriors, shape (labels,), or None for a gated one.

        `utterance` is the gate's number of the utterance it belongs to, 0 for none.
        """
        ...


class WordRolling:
    """The mean of the last windows' posteriors.

    A gated window counts as all zeros, evidence for nothing, so that opinion fades in silence. At
    the beginning of a segment the mean is that of the windows so far.
    """

    def __init__(self, labels: int, settings: RollingSettings) -> None:
        self._nothing = np.zeros(labels, np.float32)
        self._last: deque[Scores] = deque(maxlen=settings.windows)

    def update(self, scores: Scores | None, utterance: int) -> Scores:
        self._last.append(self._nothing if scores is None else scores)
        mean: Scores = np.mean(self._last, axis=0, dtype=np.float32)
        return mean


class UtteranceRolling:
    """The pooled evidence of an utterance's windows so far (see `pool`).

    An utterance is what the gate calls one, or what has lasted `max_seconds`; without a gate only
    the latter. Between utterances the opinion is all zeros.
    """

    def __init__(self, labels: int, settings: RollingSettings, window: float, hop: float) -> None:
        self._nothing = np.zeros(labels, np.float32)
        self._weight = hop / window
        self._keep = settings.forgetting
        self._longest = max(1, round(settings.max_seconds / hop))
        self._evidence = np.zeros(labels, np.float64)
        self._utterance = 0
        self._count = 0

    def update(self, scores: Scores | None, utterance: int) -> Scores:
        if scores is None:
            self._utterance = 0
            return self._nothing
        if utterance != self._utterance or self._count >= self._longest:
            self._evidence[:] = 0.0
            self._utterance = utterance
            self._count = 0
        self._count += 1
        self._evidence *= self._keep
        self._evidence += self._weight * np.log(np.maximum(scores, TINY, dtype=np.float64))
        return softmax(self._evidence)


def pool(scores: Scores, weight: float, forgetting: float = 1.0) -> Scores:
    """Posterior of an utterance from its windows' posteriors, shape (n, labels) to (labels,).

    softmax_c( sum_i weight * forgetting^(n-1-i) * log p_i(c) ): windows as independent witnesses
    under a flat prior (a product of experts), each counted `weight` = hop / window times, because
    overlapping windows hear the same sound. Dividing the windows' logits by a temperature divides
    this sum by it: the windows' normalisers are the same for every label.
    """
    keep = forgetting ** np.arange(len(scores) - 1, -1, -1, dtype=np.float64)
    logs = np.log(np.maximum(scores, TINY, dtype=np.float64))
    return softmax((weight * keep) @ logs)


def softmax(evidence: NDArray[np.float64]) -> Scores:
    shifted = np.exp(evidence - evidence.max())
    result: Scores = (shifted / shifted.sum()).astype(np.float32)
    return result
