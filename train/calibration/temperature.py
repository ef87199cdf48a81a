"""The temperature of a trained model.

It is fitted on validation data at the level of the unit: windows for words, pooled evidence for
utterances.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from daemon.base.audio import RATE
from daemon.decide import evidence_weights, log_floored
from daemon.model.classifier import Classifier
from daemon.windowing import high_passed
from train.augment import Audio
from train.data.clips import Clip
from train.examples.words import middle_window
from train.recipe import Recipe
from train.simulation.offline import CachedScores, SimulationSettings, score_recordings, softmax
from train.simulation.tracks import with_noise
from train.training.finetune import words_of


def temperature_of(
    classifier: Classifier,
    recipe: Recipe,
    settings: SimulationSettings,
    clips: Sequence[Clip],
    noises: Sequence[Audio],
) -> float:
    """The temperature that fits the model best on `clips`.

    At the level of the recipe's unit.
    """
    labels = settings.labels
    if recipe.model.unit == "word":
        windows, references = _calibration_windows(recipe, list(clips), labels, noises)
        return fit_temperature(classifier.logits(windows), references)
    scored = score_recordings([clip.audio for clip in clips], settings, classifier.logits)
    references = np.array([labels.index(clip.label) for clip in clips], np.int64)
    return fit_pooled_temperature(scored, references, settings)


def _calibration_windows(
    recipe: Recipe, clips: list[Clip], labels: tuple[str, ...], noises: Sequence[Audio]
) -> tuple[list[Audio], np.ndarray[Any, np.dtype[np.int64]]]:
    """One window a clip, without noise, and the labels' numbers.

    At the levels of the validation streams in turn.
    """
    length = round(recipe.model.window * RATE)
    noise = np.concatenate(list(noises)) if noises else None
    levels = [None, *recipe.calibrate.snr_db] if noise is not None else [None]
    windows, references = [], []
    for number, clip in enumerate(words_of(clips)):
        window, level = middle_window(clip.audio, length), levels[number % len(levels)]
        if level is not None and noise is not None:
            window = with_noise(window, noise, level, number)
        windows.append(high_passed(window))
        references.append(labels.index(clip.label))
    return windows, np.array(references, np.int64)


def fit_temperature(logits: NDArray[np.floating[Any]], references: NDArray[np.int64]) -> float:
    """The maximum-likelihood temperature (Guo et al. 2017), 0.05 to 20.

    `logits` (n, labels), `references` (n,); 1 for no data.
    """
    if not len(references):
        return 1.0

    def loss(log_temperature: float) -> float:
        scaled = logits / np.exp(log_temperature)
        top = scaled.max(axis=-1, keepdims=True)
        norm = np.log(np.exp(scaled - top).sum(axis=-1)) + top[:, 0]
        return float(np.mean(norm - scaled[np.arange(len(references)), references]))

    found = minimize_scalar(loss, bounds=(np.log(0.05), np.log(20.0)), method="bounded")
    return float(np.exp(found.x))


def fit_pooled_temperature(
    scored: Sequence[CachedScores], references: NDArray[np.int64], settings: SimulationSettings
) -> float:
    """The windows' temperature that fits pooled posteriors of utterances best.

    `references` (n,): label numbers of the recordings; those without speech are left out.
    """
    known = [
        (cached.logits, int(label))
        for cached, label in zip(scored, references, strict=True)
        if len(cached.logits)
    ]
    if not known:
        return 1.0

    def loss(log_temperature: float) -> float:
        total = 0.0
        for logits, label in known:
            logs = log_floored(softmax(logits / np.exp(log_temperature)))
            weights = evidence_weights(len(logs), settings.rolling.forgetting, settings.overlap)
            evidence = weights @ logs
            total += float(np.logaddexp.reduce(evidence) - evidence[label])
        return total / len(known)

    found = minimize_scalar(loss, bounds=(np.log(0.05), np.log(20.0)), method="bounded")
    return float(np.exp(found.x))
