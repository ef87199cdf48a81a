"""Combines a verifier's posterior of a candidate with the smoothed one."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from daemon.messages import Scores

LOG_ODDS_LIMIT: Final = 9.2
"""Largest log odds, in size, that a posterior counts with: p = 0.9999."""

Ask = Callable[[], Scores]
"""The verifier's posterior, shape (labels,), of the sound that ends with the present window."""


@dataclass(frozen=True, slots=True)
class Verification:
    """When the verifier is asked, and how its posterior is combined.

    The score is a logistic regression on both log odds, sigmoid(smoothed_weight · logit(smoothed)
    + verifier_weight · logit(verifier) + bias), so that it is a probability again.
    """

    candidate: float = 0.1
    """The smoothed posterior from which on the verifier is asked."""
    smoothed_weight: float = 1.0
    verifier_weight: float = 1.0
    bias: float = 0.0
    asks: int = 4
    """Consecutive windows on which it is asked about a label before the label has to wait for the
    refractory time."""

    def score(self, smoothed: float, verifier: float) -> float:
        """The verified score, 0 to 1, from two posteriors of one label."""
        return sigmoid(
            self.smoothed_weight * log_odds(smoothed)
            + self.verifier_weight * log_odds(verifier)
            + self.bias
        )


def log_odds(probability: float) -> float:
    """Natural logarithm of p / (1 - p), within ± `LOG_ODDS_LIMIT`."""
    edge = sigmoid(-LOG_ODDS_LIMIT)
    clipped = min(max(probability, edge), 1 - edge)
    return math.log(clipped / (1 - clipped))


def sigmoid(value: float) -> float:
    """1 / (1 + exp(-value)) without overflow."""
    if value < 0:
        return math.exp(value) / (1 + math.exp(value))
    return 1 / (1 + math.exp(-value))
