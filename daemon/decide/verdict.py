"""Verdict on a whole recording, the summary's `top`."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from daemon.decide.rolling import Evidence
from daemon.messages import Scores, Unit, Verdict


class VerdictKeeper:
    """Running verdict on a stream, in constant memory; gaps do not reset it.

    Unit word: an intent's score is the highest smoothed posterior it reached; the non-intent with
    the highest mean posterior gets the rest of the best intent's, and other non-intents follow by
    their mean, capped by that. Unit utterance: the pooled posterior of all windows. A stream
    without a classified window has no verdict.
    """

    def __init__(
        self, labels: Sequence[str], non_intents: Collection[str], unit: Unit, overlap: float
    ) -> None:
        """`overlap`: hop / window, as in `evidence_weights`."""
        self._labels = tuple(labels)
        self._others = [i for i, label in enumerate(labels) if label in non_intents]
        self._intents = [i for i, label in enumerate(labels) if label not in non_intents]
        self._unit = unit
        self._highest = np.zeros(len(labels), dtype=np.float32)
        self._sum = np.zeros(len(labels), dtype=np.float64)
        self._windows = 0
        self._evidence = Evidence(len(labels), 1.0, overlap)

    def update(self, scores: Scores | None, rolling: Scores) -> None:
        """Add a window's posterior (None if gated) and the smoothed one.

        Shape (labels,) each.
        """
        np.maximum(self._highest, rolling, out=self._highest)
        if scores is None:
            return
        self._windows += 1
        self._sum += scores
        self._evidence.add(scores)

    def top(self) -> tuple[Verdict, ...]:
        """Labels with their scores, 0 to 1, best first; ties in the labels' order."""
        if not self._windows:
            return ()
        shares = self._evidence.posterior() if self._unit == "utterance" else self._of_words()
        order = np.argsort(-shares, kind="stable")
        return tuple(Verdict(self._labels[i], float(shares[i])) for i in order)

    def _of_words(self) -> Scores:
        shares = self._highest.copy()
        best = max((float(shares[i]) for i in self._intents), default=0.0)
        left = max(0.0, 1.0 - best)
        mean = self._sum / self._windows
        ranked = sorted(self._others, key=lambda i: -mean[i])
        for place, i in enumerate(ranked):
            shares[i] = left if place == 0 else min(left, float(mean[i]))
        return shares
