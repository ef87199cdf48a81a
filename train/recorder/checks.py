"""Faults of a take, found at once. Pure."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from daemon.base.audio import RATE
from train.augment import rms
from train.recorder.finder import Audio, Found

CLIPPED = 0.985
"""Share of full scale; a few samples in a row beyond it are clipped."""
CLIPPED_SAMPLES = 3
QUIET_DBFS = -45.0
"""RMS of the speech below which it is too quiet."""
SHORTEST, LONGEST = 0.15, 2.5
"""Seconds of speech."""
NOISY_DB = 12.0
"""Least speech over the noise around it."""
GAP = 0.22
"""Seconds between two parts of a take that make them two words."""
UNLIKE = 2.5
"""Deviations from the usual length at which a take is unlike the others."""
ENOUGH_TAKES = 4
STEP = 160
"""Samples between levels, 10 ms."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Something wrong with a take."""

    kind: str
    sentence: str


def faults(
    found: Found, noise_floor: float | None, others: Sequence[Audio] = (), longest: float = LONGEST
) -> list[Fault]:
    """Faults of a take, worst first; none if it is good.

    `noise_floor`: RMS of the sound without speech before it; `others`: good takes of the same word.
    """
    start, end = found.speech
    speech = found.samples[start:end]
    made = []
    if _clipped(found.samples):
        made.append(Fault("clipped", "it is clipped: speak softer, or turn the microphone down"))
    level = decibels(rms(speech))
    if level < QUIET_DBFS:
        made.append(Fault("quiet", "it is too quiet: come nearer, or turn the microphone up"))
    if found.seconds < SHORTEST:
        made.append(Fault("short", f"it is too short ({found.seconds:.1f} s): say the whole word"))
    if found.seconds > longest:
        made.append(Fault("long", f"it is too long ({found.seconds:.1f} s): say the word alone"))
    elif parts(speech) > 1:
        made.append(Fault("two", "there are two words in it: say the word once"))
    if noise_floor is not None and level - decibels(noise_floor) < NOISY_DB:
        made.append(Fault("noise", "there is noise in it: wait until it is quieter"))
    if not made and (odd := unlike(speech, others)):
        made.append(Fault("unlike", odd))
    return made


def decibels(amplitude: float) -> float:
    """Level in dBFS, at least -120."""
    return max(-120.0, 20 * float(np.log10(max(amplitude, 1e-6))))


def parts(speech: Audio) -> int:
    """Number of pieces of sound in a take, parted by pauses, by energy."""
    power = _power(speech)
    if not len(power):
        return 0
    loud = np.flatnonzero(power > max(power.max() / 316, 3 * np.percentile(power, 5)))
    if not len(loud):
        return 0
    pauses = np.flatnonzero(np.diff(loud) * STEP > GAP * RATE)
    edges = [0, *(pauses + 1), len(loud)]
    long = [loud[b - 1] - loud[a] + 1 >= 0.1 * RATE / STEP for a, b in itertools.pairwise(edges)]
    return sum(long)


def unlike(speech: Audio, others: Sequence[Audio]) -> str:
    """How a take differs from the others of its word; "" if it does not.

    By the distance of their spectra aligned in time. Also "" if too few are there to tell.
    """
    if len(others) < ENOUGH_TAKES:
        return ""
    shapes = [_spectrum(other) for other in others]
    between = [aligned_distance(a, b) for n, a in enumerate(shapes) for b in shapes[n + 1 :]]
    mine = float(np.median([aligned_distance(_spectrum(speech), shape) for shape in shapes]))
    usual, spread = float(np.median(between)), float(np.std(between))
    if mine > usual + UNLIKE * max(spread, 0.1 * usual):
        return "it is unlike the other takes of this word: is it the right one?"
    return ""


def aligned_distance(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Mean distance of two spectra, (frames, bands), best aligned.

    By dynamic time warping (Sakoe and Chiba 1978).
    """
    cost = np.sqrt(((one[:, None] - other[None]) ** 2).mean(axis=-1))
    total = np.full((len(one) + 1, len(other) + 1), np.inf)
    total[0, 0] = 0.0
    for i in range(len(one)):
        for j in range(len(other)):
            total[i + 1, j + 1] = cost[i, j] + min(total[i, j], total[i, j + 1], total[i + 1, j])
    return float(total[-1, -1] / (len(one) + len(other)))


def _spectrum(speech: Audio) -> NDArray[np.float64]:
    """Log power in 20 mel bands every 20 ms, shape (frames, 20).

    Bands are even in mel from 100 to 7,000 Hz. Without its mean over time, so that level and
    microphone drop out.
    """
    frame, hop = 512, 320
    padded = np.concatenate([speech, np.zeros(frame, np.float32)])
    starts = range(0, max(1, len(speech) - frame // 2), hop)
    frames = np.stack([padded[s : s + frame] * np.hanning(frame) for s in starts])
    power = np.abs(np.fft.rfft(frames)) ** 2
    low, high = (2595 * np.log10(1 + f / 700) for f in (100.0, 7000.0))
    edges = 700 * (10 ** (np.linspace(low, high, 21) / 2595) - 1)
    bins = np.searchsorted(np.fft.rfftfreq(frame, 1 / RATE), edges)
    bands = np.stack(
        [power[:, a : max(b, a + 1)].sum(axis=1) for a, b in itertools.pairwise(bins)], 1
    )
    logs = np.log(bands + 1e-6)
    return np.asarray(logs - logs.mean(axis=0), np.float64)


def _power(samples: Audio) -> NDArray[np.float64]:
    squares = np.convolve(samples.astype(np.float64) ** 2, np.full(400, 1 / 400), "same")
    return np.asarray(squares[::STEP])


def _clipped(samples: Audio) -> bool:
    at_limit = (np.abs(samples) >= CLIPPED).astype(np.int8)
    runs = np.convolve(at_limit, np.ones(CLIPPED_SAMPLES, np.int8), "valid")
    return bool(len(runs) and runs.max() >= CLIPPED_SAMPLES)
