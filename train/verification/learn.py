"""The verifier's linear layer: windows, their vectors, and the fit."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from daemon.model.verifier.filterbank import SOUND
from daemon.model.verifier.network import WordEmbedding
from train.augment import Audio
from train.data.clips import Clip
from train.examples.words import WordDraws
from train.linear_head import Head, fit_head
from train.recipe import Recipe

BATCH = 32

Vectors = NDArray[np.float32]
"""Unit vectors, shape (windows, width)."""


def vectors_of(
    windows: Sequence[Audio],
    network: WordEmbedding,
    advance: Callable[[int], None] = lambda _: None,
) -> Vectors:
    """Vectors of windows of 1.5 s at 16 kHz, high-passed as the daemon's.

    `advance` is called with how many are done.
    """
    found = np.empty((len(windows), network.width), np.float32)
    for first in range(0, len(windows), BATCH):
        part = slice(first, min(first + BATCH, len(windows)))
        found[part] = network.vectors(np.stack(windows[part]))
        advance(part.stop)
    return found


def draw_vectors(
    recipe: Recipe,
    clips: Sequence[Clip],
    labels: tuple[str, ...],
    noises: Sequence[Audio],
    network: WordEmbedding,
    draws: int,
    advance: Callable[[int], None] = lambda _: None,
) -> tuple[Vectors, NDArray[np.int64]]:
    """Vectors and label numbers of `draws` augmented windows of `clips`.

    Drawn and augmented as the recipe's training does, but 1.5 s long.
    """
    windows = WordDraws(
        clips,
        labels,
        recipe.model.non_intents,
        tuple(section.weight for section in recipe.data),
        recipe.augment,
        noises,
        SOUND,
        draws,
        recipe.train.seed,
    )
    vectors = np.empty((draws, network.width), np.float32)
    targets = np.empty(draws, np.int64)
    for first in range(0, draws, BATCH):
        examples = [windows[n] for n in range(first, min(first + BATCH, draws))]
        last = first + len(examples)
        vectors[first:last] = network.vectors(np.stack([each["window"] for each in examples]))
        targets[first:last] = [each["labels"] for each in examples]
        advance(last)
    return vectors, targets


def fit_verifier(
    vectors: Vectors, targets: NDArray[np.int64], labels: int, penalty: float = 1.0
) -> Head:
    """The linear layer that tells `labels` labels by their vectors.

    `targets` (n,) are label numbers; see `fit_head` for `penalty`.
    """
    weights = np.ones(len(targets), np.float32)
    return fit_head(vectors, targets, weights, labels, penalty)
