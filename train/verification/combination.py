"""How the posteriors of model and verifier are combined to one score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from daemon.base.audio import RATE
from daemon.decide.verification import Verification, log_odds
from train.calibration.thresholds import ScoredTrack
from train.evaluation.scoring import WIDEN
from train.simulation.offline import EventReplay, SimulationSettings
from train.simulation.tracks import ReferenceEvent

PENALTY = 1e-3
"""Times half the squared weights, added to the mean loss."""


def candidates_of(
    tracks: Sequence[ScoredTrack], settings: SimulationSettings
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Log odds of both posteriors of candidates, and whether they are true.

    Of the smoothed posterior and of the verifier's, shape (candidates, 2); true if the label is
    said there, shape (candidates,).
    """
    rows: list[tuple[float, float]] = []
    right: list[bool] = []
    intents = [n for n, label in enumerate(settings.labels) if label not in settings.non_intents]
    for each in tracks:
        smoothed = EventReplay(each.cached, settings, each.temperature).smoothed(settings)
        for index, posterior in each.cached.verifier_posteriors.items():
            start, end, _, rolling, _ = smoothed[index]
            label = max(intents, key=lambda n, values=rolling: values[n])  # type: ignore[misc]
            rows.append((float(rolling[label]), float(posterior[label])))
            right.append(_is_said(settings.labels[label], start / RATE, end / RATE, each.truth))
    return log_odds(np.array(rows, np.float64).reshape(-1, 2)), np.array(right, np.bool_)


def _is_said(label: str, start: float, end: float, truth: Sequence[ReferenceEvent]) -> bool:
    """Whether an event of these seconds would be a hit (see `score`)."""
    return any(
        said.label == label and start < said.end + WIDEN and end > said.start - WIDEN
        for said in truth
    )


def fit_combination(
    verification: Verification, tracks: Sequence[ScoredTrack], settings: SimulationSettings
) -> Verification:
    """Fit weights and bias by logistic regression on candidates of `tracks`.

    Returns `verification` with them; the weights are at least 0.
    """
    rows, right = candidates_of(tracks, settings)
    if not right.any() or right.all():
        return verification
    sign = np.where(right, 1.0, -1.0)

    def loss(found: NDArray[np.float64]) -> float:
        margins = sign * (rows @ found[:2] + found[2])
        penalty = 0.5 * PENALTY * float(np.sum(found[:2] ** 2))
        return float(np.mean(np.logaddexp(0.0, -margins))) + penalty

    bounds = [(0.0, 20.0), (0.0, 20.0), (-50.0, 50.0)]
    found = minimize(loss, np.array([0.5, 0.5, 0.0]), method="L-BFGS-B", bounds=bounds).x
    smoothed, verifier, bias = (round(float(value), 4) for value in found)
    return replace(verification, smoothed_weight=smoothed, verifier_weight=verifier, bias=bias)
