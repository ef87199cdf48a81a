"""Log filterbank energies, the input of EfficientWord-Net's network."""

from __future__ import annotations

import functools
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from daemon.base.audio import RATE

SOUND: Final = 3 * RATE // 2
"""Samples that the network takes, 1.5 s."""
FRAME, HOP, FFT, BANDS = 400, 160, 512, 64
FRAMES: Final = 149
LEVEL: Final = 0.1
"""RMS at which the network is given sound."""
FLOOR: Final = 10 ** (-60 / 20)
"""RMS of the white noise that is added to all sound, 40 dB below it. The network does not mind the
level, but digital silence lies far outside of what it was trained on: -36 in the logarithm where a
quiet room has -8."""


@functools.cache
def mel_filters() -> NDArray[np.float32]:
    """Triangular filters on FFT bins, shape (FFT // 2 + 1, BANDS).

    As python_speech_features has them: corners at whole bins, floor((FFT + 1) f / RATE), evenly
    spaced in mel to 8 kHz.
    """
    top = 2595 * np.log10(1 + RATE / 2 / 700)
    hertz = 700 * (10 ** (np.linspace(0, top, BANDS + 2) / 2595) - 1)
    corners = np.floor((FFT + 1) * hertz / RATE)
    bins = np.arange(FFT // 2 + 1)[:, None]
    low, middle, high = corners[:-2], corners[1:-1], corners[2:]
    with np.errstate(divide="ignore", invalid="ignore"):
        rising = (bins - low) / (middle - low)
        falling = (high - bins) / (high - middle)
    filters = np.where(bins < middle, rising, falling)
    inside = (bins >= low) & (bins < high)
    return np.where(inside, filters, 0).astype(np.float32)


def log_filterbank(windows: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """Log mel energies of windows (n, samples), shape (n, frames, BANDS).

    Frames of 25 ms every 10 ms, no taper, no pre-emphasis; the last one is filled up with zeros.
    The same as python_speech_features' logfbank with nfilt = 64 and preemph = 0.
    """
    frames = 1 + max(0, -(-(windows.shape[1] - FRAME) // HOP))
    padded = np.zeros((len(windows), (frames - 1) * HOP + FRAME), np.float32)
    padded[:, : windows.shape[1]] = windows
    framed = np.lib.stride_tricks.sliding_window_view(padded, FRAME, axis=1)[:, ::HOP]
    spectrum = np.fft.rfft(framed, FFT)
    power = (spectrum.real**2 + spectrum.imag**2).astype(np.float32) / FFT
    energy = power @ mel_filters()
    energy[energy == 0] = np.finfo(np.float64).eps
    logarithms: NDArray[np.float32] = np.log(energy)
    return logarithms


def at_one_level(windows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Windows (n, SOUND) at `LEVEL`, with fixed noise at `FLOOR` added.

    The noise is the same for all.
    """
    power = np.mean(np.square(windows, dtype=np.float64), axis=1, keepdims=True)
    gain = LEVEL / np.sqrt(power + 1e-12)
    return np.asarray(windows * gain + noise_floor(), np.float32)


@functools.cache
def noise_floor() -> NDArray[np.float32]:
    """White noise of RMS `FLOOR`, shape (SOUND,), always the same."""
    # One noise for all: a vector must depend on nothing but the sound.
    noise = np.random.default_rng(0).standard_normal(SOUND, np.float32)
    return np.asarray(noise * np.float32(FLOOR), np.float32)
