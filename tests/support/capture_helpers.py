"""Sound for the tests of this room."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from daemon.capture.recording.recording import Recording


def noise(frames: int, channels: int = 1, seed: int = 0) -> NDArray[np.float32]:
    """Smooth noise, shape (frames, channels), within ±0.5."""
    rng = np.random.default_rng(seed)
    raw = rng.standard_normal((frames + 31, channels))
    smooth = np.stack(
        [np.convolve(raw[:, c], np.ones(32) / 32, mode="valid") for c in range(channels)], axis=1
    )
    scaled: NDArray[np.float32] = (smooth / np.abs(smooth).max() * 0.5).astype(np.float32)
    return scaled[:frames]


def write(
    path: Path,
    samples: NDArray[np.float32],
    rate: int = 16000,
    subtype: str | None = None,
    kind: str | None = None,
) -> Path:
    soundfile.write(path, samples, rate, subtype=subtype, format=kind)
    return path


def read_all(recording: Recording, frames: int = 1000) -> NDArray[np.float32]:
    """Everything that a recording holds, mono, without a feeder."""
    blocks = [np.zeros((0, 1), np.float32)]
    while (block := recording.read(frames)) is not None:
        blocks.append(block)
    recording.close()
    return np.concatenate(blocks)[:, 0]
