"""Sounds to try a model on: speech and noise, quiet and loud."""

from __future__ import annotations

from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

from daemon.base.audio import RATE


def probe_windows(window: int, count: int) -> NDArray[np.float32]:
    """Windows to compare backends on, shape (count, window) at 16 kHz.

    Most are cut from the demo recording, evenly; the last three are silence, soft noise and a loud
    tone.
    """
    speech = _demo()
    if len(speech) < window:
        speech = np.resize(speech, window)
    found = np.zeros((count, window), np.float32)
    rng = np.random.default_rng(0)
    others = min(3, count - 1)
    for row, start in enumerate(np.linspace(0, len(speech) - window, count - others).astype(int)):
        found[row] = speech[start : start + window]
    if others >= 2:
        found[-2] = 0.003 * rng.standard_normal(window)
    if others >= 1:
        found[-1] = np.sin(0.2 * np.arange(window))
    return found


def following_windows(window: int, hop: int, count: int) -> NDArray[np.float32]:
    """Overlapping windows of the demo recording, shape (count, window).

    `hop` samples apart.

    A view. The recording is repeated where it is too short.
    """
    length = window + (count - 1) * hop
    speech = _demo()
    if len(speech) < length:
        speech = np.resize(speech, length)
    found: NDArray[np.float32] = np.lib.stride_tricks.sliding_window_view(speech, window)
    return found[::hop][:count]


def _demo() -> NDArray[np.float32]:
    """The demo recording, shape (n,); noise in an installation without it."""
    import soundfile

    try:
        with (files("daemon") / "bundled" / "demo.flac").open("rb") as file:
            samples: NDArray[np.float32] = soundfile.read(file, dtype="float32")[0]
    except (OSError, soundfile.SoundFileError):
        return (0.05 * np.random.default_rng(1).standard_normal(8 * RATE)).astype(np.float32)
    return samples
