"""Combines a verifier's posterior of a candidate with the smoothed one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from daemon.messages import Scores

LOG_ODDS_LIMIT: Final = 9.2
"""Largest log odds, in size, that a posterior counts with: p = 0.9999."""

Ask = Callable[[], Scores]
"""The verifier's posterior, shape (labels,), of the sound that ends with the present window."""
Values = float | NDArray[np.floating[Any]]
"""One number, or an array of them."""


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

    def score(self, smoothed: Values, verifier: Values) -> NDArray[np.float64]:
        """The verified score, 0 to 1, from two posteriors of one label.

        Of each pair in arrays of one shape.
        """
        return sigmoid(
            self.smoothed_weight * log_odds(smoothed)
            + self.verifier_weight * log_odds(verifier)
            + self.bias
        )


def log_odds(probability: Values, limit: float = LOG_ODDS_LIMIT) -> NDArray[np.float64]:
    """Natural logarithm of p / (1 - p), within ± `limit`, element by element."""
    edge = sigmoid(-limit)
    clipped = np.clip(np.asarray(probability, np.float64), edge, 1 - edge)
    return np.asarray(np.log(clipped / (1 - clipped)), np.float64)


def sigmoid(value: Values) -> NDArray[np.float64]:
    """1 / (1 + exp(-value)) without overflow, element by element."""
    return np.asarray(np.exp(-np.logaddexp(0, -np.asarray(value, np.float64))), np.float64)
