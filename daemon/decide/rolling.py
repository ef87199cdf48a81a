"""Posterior smoothing: from single windows to a stream.

Both kinds take the windows of one segment in order, gated ones as None. Training pools with
`evidence_weights`, so that it optimises what runs.
"""

from __future__ import annotations

from collections import deque
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from daemon.config.settings import HOP_SECONDS, WINDOW_SECONDS, RollingSettings
from daemon.messages import Scores, Unit

PROBABILITY_FLOOR: Final = 1e-4
"""Lower bound of a probability in log space, so that no single window rules a label out."""


class Rolling(Protocol):
    """Posterior smoothing over one segment."""

    @property
    def utterance(self) -> int:
        """Number of the present or next utterance, from 0; it stays 0 for words."""
        ...

    def update(self, scores: Scores | None, utterance: int = 1) -> Scores:
        """Add the next window; return the smoothed posterior, shape (labels,).

        `scores`: the window's posterior, shape (labels,), or None if it was gated. `utterance`:
        the gate's number of the speech in it.
        """
        ...

    def reset(self) -> None:
        """Forget all windows."""
        ...


class WordRolling:
    """Mean posterior of the last `windows` windows, or of all so far if fewer.

    A gated window counts as zeros, so the mean fades in silence and may sum to less than 1.
    """

    def __init__(self, labels: int, windows: int) -> None:
        """ValueError unless both are at least 1."""
        if labels < 1 or windows < 1:
            raise ValueError("labels and windows must be at least 1")
        self._zeros = np.zeros(labels, dtype=np.float32)
        self._last: deque[Scores] = deque(maxlen=windows)

    @property
    def utterance(self) -> int:
        return 0

    def update(self, scores: Scores | None, utterance: int = 1) -> Scores:
        self._last.append(self._zeros if scores is None else scores)
        total = self._last[0].astype(np.float64)
        for index in range(1, len(self._last)):
            total += self._last[index]
        return (total / len(self._last)).astype(np.float32)

    def reset(self) -> None:
        self._last.clear()


def evidence_weights(
    windows: int, forgetting: float = 1.0, overlap: float = 1.0
) -> NDArray[np.float64]:
    """Weights of the windows' log posteriors, shape (windows,), newest last.

    With a_i = forgetting^(n - i) and A = Σ a_i, weight i is a_i / A · (1 + (A - 1) · overlap): the
    mean, times the number of windows' worth of sound. `overlap` is hop / window: only that share
    of each window after the first is new sound, and sound seen twice is not evidence twice. One
    window alone has weight 1.

    The posterior is softmax(Σ weight_i · log p_i), a product of experts with a uniform prior.
    In torch: `log_softmax(torch.as_tensor(evidence_weights(n, f, o)) @ log_p, -1)` with
    `log_p = log_softmax(logits, -1).clamp(min=log(PROBABILITY_FLOOR))`, shape (n, labels).
    """
    kept = forgetting ** np.arange(windows - 1, -1, -1, dtype=np.float64)
    total = kept.sum()
    return kept * _scale(float(total), overlap)


def _scale(total: float, overlap: float) -> float:
    return (1.0 + (total - 1.0) * overlap) / total


def log_floored(probabilities: NDArray[np.floating]) -> NDArray[np.float64]:
    """Natural log of probabilities floored at `PROBABILITY_FLOOR`, same shape."""
    floored: NDArray[np.float64] = np.log(
        np.maximum(probabilities.astype(np.float64), PROBABILITY_FLOOR)
    )
    return floored


def softmax(logits: NDArray[np.float64]) -> Scores:
    """Softmax of logits, shape (labels,)."""
    powers = np.exp(logits - logits.max())
    shares: Scores = (powers / powers.sum()).astype(np.float32)
    return shares


def pool(log_probs: NDArray[np.floating], forgetting: float = 1.0, overlap: float = 1.0) -> Scores:
    """Posterior of an utterance from all its windows at once, shape (labels,).

    `log_probs`: shape (n, labels), n at least 1, floored as by `log_floored`. See
    `evidence_weights`; `UtteranceRolling` gives the same window by window.
    """
    weights = evidence_weights(len(log_probs), forgetting, overlap)
    return softmax(weights @ log_probs.astype(np.float64))


class Evidence:
    """Incremental `pool`: the posterior after each window, in constant memory."""

    def __init__(self, labels: int, forgetting: float = 1.0, overlap: float = 1.0) -> None:
        self._forgetting = forgetting
        self._overlap = overlap
        self._sum = np.zeros(labels, dtype=np.float64)
        self._total = 0.0
        self.windows = 0

    def add(self, scores: Scores) -> None:
        """Add a window's posterior, shape (labels,)."""
        self._sum = self._forgetting * self._sum + log_floored(scores)
        self._total = self._forgetting * self._total + 1.0
        self.windows += 1

    def posterior(self) -> Scores:
        """Pooled posterior, shape (labels,). ValueError before the first window."""
        if not self.windows:
            raise ValueError("no window has been added")
        return softmax(self._sum * _scale(self._total, self._overlap))

    def clear(self) -> None:
        self._sum[:] = 0.0
        self._total = 0.0
        self.windows = 0


class UtteranceRolling:
    """Pooled posterior of an utterance's windows so far.

    The gate begins and ends an utterance: a window belongs to the latest speech in it, and a
    gated window gives zeros. An utterance also ends when it would last longer than
    `max_seconds`, which is what ends it when the gate is off.
    """

    def __init__(
        self,
        labels: int,
        forgetting: float = 1.0,
        window: float = WINDOW_SECONDS,
        hop: float = HOP_SECONDS,
        max_seconds: float = 15.0,
    ) -> None:
        """Smoothing for `labels`; `window`, `hop`, `max_seconds` in seconds.

        Raises: ValueError unless 0 < forgetting <= 1 and 0 < hop <= window.
        """
        if not 0.0 < forgetting <= 1.0:
            raise ValueError("forgetting must lie above 0 and not above 1")
        if not 0.0 < hop <= window:
            raise ValueError("the hop must lie above 0 and not above the window")
        self._evidence = Evidence(labels, forgetting, hop / window)
        self._zeros = np.zeros(labels, dtype=np.float32)
        self._longest = max(1, int((max_seconds - window) / hop + 1e-9) + 1)
        self._utterance = 0
        self._speech = 0  # the gate's number

    @property
    def utterance(self) -> int:
        return self._utterance

    def update(self, scores: Scores | None, utterance: int = 1) -> Scores:
        if scores is None or utterance != self._speech or self._evidence.windows >= self._longest:
            self._end()
        self._speech = utterance
        if scores is None:
            return self._zeros.copy()
        self._evidence.add(scores)
        return self._evidence.posterior()

    def reset(self) -> None:
        self._end()

    def _end(self) -> None:
        if self._evidence.windows:
            self._evidence.clear()
            self._utterance += 1


def make_rolling(
    unit: Unit, labels: int, window: float, hop: float, settings: RollingSettings
) -> Rolling:
    """Posterior smoothing for the model's unit; `window` and `hop` in seconds."""
    if unit == "word":
        return WordRolling(labels, settings.windows)
    return UtteranceRolling(labels, settings.forgetting, window, hop, settings.max_seconds)
