"""Takes as streams, in quiet and in noise, scored as the daemon does.

Each alone, through the daemon's own stream.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from daemon.base.audio import RATE
from train.augment import Audio, rms, white
from train.simulation.offline import CachedScores, EventReplay, SimulationSettings, replay
from train.simulation.tracks import with_noise

LEVELS: tuple[float | None, ...] = (None, 20.0, 10.0)
"""Decibels over the noise; None: none is mixed in."""
LEAD = 1.2
"""Seconds before and after."""
QUIET_DBFS = -70.0

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class ScoredTake:
    """Embeddings of a recording's windows with speech, and their numbers."""

    embeddings: Floats
    """Of the windows with speech, shape (n, hidden size)."""
    open: NDArray[np.bool_]
    """Which of all windows those are, shape (windows,)."""
    samples: int
    speech_probabilities: Floats
    """The gate's, as in `CachedScores`."""

    @classmethod
    def of(cls, cached: CachedScores, settings: SimulationSettings) -> ScoredTake:
        flags = [not prediction.gated for prediction in replay(cached, settings).predictions]
        open_ = np.array(flags, bool)
        return cls(cached.logits, open_, cached.samples, cached.speech_probabilities)

    def rolling(self, probabilities: Floats, windows: int) -> Floats:
        """Smoothed posteriors after each window, shape (windows, labels).

        From probabilities of the windows with speech, shape (n, labels); as `WordRolling` computes
        them.
        """
        spread = np.zeros((len(self.open), probabilities.shape[1]), np.float64)
        spread[self.open] = probabilities
        sums = np.cumsum(spread, axis=0)
        sums[windows:] -= sums[:-windows].copy()
        counts = np.minimum(np.arange(1, len(spread) + 1), windows)
        return np.asarray(sums / counts[:, None], np.float32)

    def pooled(self, logits: Floats, temperature: float, settings: SimulationSettings) -> Floats:
        """Posteriors of the utterance after each window, shape (windows, labels).

        From logits of the windows with speech, shape (n, labels); zeros where there is none.
        """
        cached = CachedScores(self.samples, self.speech_probabilities, logits)
        smoothed = EventReplay(cached, settings, temperature).smoothed(settings)
        rows = [values for _, _, _, values, _ in smoothed]
        return np.array(rows, np.float32).reshape(-1, logits.shape[1])


def peaks(rolling: Floats) -> Floats:
    """Greatest value of each label while it is the top, shape (labels,).

    That is the highest threshold at which its event would begin; 0 where it never is.
    """
    found = np.zeros(rolling.shape[1], np.float32)
    if len(rolling):
        top = rolling.argmax(axis=1)
        np.maximum.at(found, top, rolling[np.arange(len(rolling)), top])
    return found


def highest(rolling: Floats) -> Floats:
    """The greatest value of each label, shape (labels,); 0 without a window."""
    if not len(rolling):
        return np.zeros(rolling.shape[1], np.float32)
    return np.asarray(rolling.max(axis=0), np.float32)


def in_quiet(samples: Audio, seed: int) -> Audio:
    """A recording with quiet before and after, over a white floor."""
    lead = np.zeros(round(LEAD * RATE), np.float32)
    whole = np.concatenate([lead, samples, lead])
    return whole + white(QUIET_DBFS, len(whole), np.random.default_rng(seed))


def in_noise(samples: Audio, noise: Audio, level: float, number: int) -> Audio:
    """A recording in noise that begins before it and ends after it.

    `level` in decibels, of the recording's RMS over the noise's.
    """
    whole = in_quiet(samples, number)
    return with_noise(whole, noise, level + 20 * np.log10(rms(whole) / rms(samples)), number)


def placed(samples: Audio, noise: Audio, level: float | None, number: int) -> Audio:
    """Take `number` at a level of LEVELS."""
    if level is None:
        return in_quiet(samples, number)
    return in_noise(samples, noise, level, number)
