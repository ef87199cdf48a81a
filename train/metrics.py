"""Metrics as `evaluate.Metric`s of our own, which work offline.

`evaluate.load` fetches scripts from a hub. `wilson` gives the interval that stands beside every
accuracy.
"""

from __future__ import annotations

import math
from typing import Any

import datasets
import evaluate
import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2


def wilson(hits: int, n: int, z: float = 1.959964) -> tuple[float, float]:
    """95 % interval of a proportion (Wilson 1927); (0, 1) for n = 0."""
    if n == 0:
        return 0.0, 1.0
    p = hits / n
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return max(0.0, middle - half), min(1.0, middle + half)


def poisson_upper(count: int, hours: float) -> float | None:
    """Upper end of a one-sided 95 % interval of a rate an hour.

    `count` events in `hours`. Exact for a Poisson count (Garwood 1936): 3.0 / hours for no events.
    None for no hours.
    """
    if hours <= 0:
        return None
    return float(chi2.ppf(0.95, 2 * (count + 1)) / 2 / hours)


def calibration_error(
    probabilities: NDArray[np.floating[Any]], references: NDArray[np.int64], bins: int = 15
) -> float:
    """Expected calibration error of the top label, in [0, 1]; equal bins.

    Guo et al. 2017.
    """
    if not len(references):
        return 0.0
    return float(
        sum(n * abs(hit - said) for said, hit, n in reliability(probabilities, references, bins))
        / len(references)
    )


def reliability(
    probabilities: NDArray[np.floating[Any]], references: NDArray[np.int64], bins: int = 15
) -> list[tuple[float, float, int]]:
    """(mean confidence, accuracy, count) of each bin that is not empty.

    Bins are of the top label's probability. `probabilities` (n, labels), `references` (n,).
    """
    top = probabilities.max(axis=-1)
    right = probabilities.argmax(axis=-1) == references
    number = np.minimum((top * bins).astype(int), bins - 1)
    return [
        (float(top[number == b].mean()), float(right[number == b].mean()), int((number == b).sum()))
        for b in np.unique(number)
    ]


def confusion(
    predictions: NDArray[np.int64], references: NDArray[np.int64], labels: int
) -> NDArray[np.int64]:
    """Counts, shape (labels, labels): row what was true, column what was said."""
    counts = np.zeros((labels, labels), np.int64)
    np.add.at(counts, (references, predictions), 1)
    return counts


class _LabelMetric(evaluate.Metric):  # type: ignore[misc]
    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=self.__doc__ or "",
            citation="",
            inputs_description="predictions, references: label numbers",
            features=datasets.Features(
                {"predictions": datasets.Value("int64"), "references": datasets.Value("int64")}
            ),
        )


class Accuracy(_LabelMetric):
    """Share of predictions that are right."""

    def _compute(self, predictions: Any, references: Any) -> dict[str, float]:
        return {"accuracy": float(np.mean(np.asarray(predictions) == np.asarray(references)))}


class MacroF1(_LabelMetric):
    """F1 of each label that occurs, averaged over labels."""

    def _compute(self, predictions: Any, references: Any) -> dict[str, float]:
        said, truth = np.asarray(predictions), np.asarray(references)
        scores = []
        for label in np.unique(truth):
            hits = int(np.sum((said == label) & (truth == label)))
            scores.append(2 * hits / (np.sum(said == label) + np.sum(truth == label)))
        return {"macro_f1": float(np.mean(scores))}


def compute(logits: NDArray[np.float32], references: NDArray[np.int64]) -> dict[str, float]:
    """Accuracy and macro-F1 of `logits` (n, labels) against labels (n,).

    Labels are numbers.
    """
    predictions = logits.argmax(axis=-1)
    combined = evaluate.combine([Accuracy(), MacroF1()])
    return dict(combined.compute(predictions=predictions, references=references))


def closed_set_accuracy(
    logits: NDArray[np.float32], references: NDArray[np.int64], allowed: list[int]
) -> tuple[int, int]:
    """Hits and N for references and predictions in `allowed` only."""
    chosen = np.isin(references, allowed)
    said = np.asarray(allowed)[logits[chosen][:, allowed].argmax(axis=-1)]
    return int(np.sum(said == references[chosen])), int(chosen.sum())
