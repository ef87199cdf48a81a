"""Training draws of synthetic words."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from support.train_helpers import RATE, word
from train.data.clips import Clip
from train.examples.words import WordDraws
from train.recipe import AugmentSection

Audio = NDArray[np.float32]
SILENT_FLOOR = (-200.0, -200.0)
LABELS = ("rise", "fall")


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def noise_like(seconds: float = 4.0, seed: int = 1) -> Audio:
    return 0.1 * generator(seed).standard_normal(round(seconds * RATE)).astype(np.float32)


def spectrum(samples: Audio) -> tuple[NDArray[Any], NDArray[Any]]:
    """Frequencies and power in decibels, smoothed over 20 Hz."""
    power = np.abs(np.fft.rfft(samples)) ** 2
    width = max(1, round(20 * len(samples) / RATE))
    power = np.convolve(power, np.full(width, 1 / width), "same")
    return np.fft.rfftfreq(len(samples), 1 / RATE), 10 * np.log10(power + 1e-20)


def draws_of(
    settings: AugmentSection, *, seed: int = 0, length: int = RATE, placing: str = "word"
) -> WordDraws:
    clips = [
        Clip((word(label, n) * 32767).astype(np.int16), label, "k", "p", 0, "train", placing)
        for label in LABELS
        for n in range(2)
    ]
    return WordDraws(clips, LABELS, (), (1.0,), settings, [], length, 400, seed)
