"""Posteriors from logits."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from daemon.model.description.info import ModelInfo


def probabilities(logits: NDArray[np.float32], info: ModelInfo) -> NDArray[np.float32]:
    """Posteriors from logits, shape (n, labels), at the model's temperature.

    Each row adds up to 1, except for a multi-label model.
    """
    scaled = logits.astype(np.float64) / info.temperature
    if info.activation == "sigmoid":
        return (0.5 * (1.0 + np.tanh(0.5 * scaled))).astype(np.float32)
    scaled -= scaled.max(axis=1, keepdims=True)
    odds = np.exp(scaled)
    shares: NDArray[np.float32] = (odds / odds.sum(axis=1, keepdims=True)).astype(np.float32)
    return shares
