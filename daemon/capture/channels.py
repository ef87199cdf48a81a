"""Choice of a source's channels."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from daemon.base.errors import UserError

Channel = Literal["mix"] | int
"""The mean of all channels, or one of them, counted from 1."""


def check_channel(channel: Channel, channels: int, name: str) -> None:
    """UserError if a source of so many channels has not got that one."""
    if channel != "mix" and not 1 <= channel <= channels:
        there = "1 channel" if channels == 1 else f"channels 1 to {channels}"
        raise UserError(
            f"{name} has {there}, not channel {channel}: set channel to one of them or to mix"
        )


def select(samples: NDArray[np.float32], channel: Channel) -> NDArray[np.float32]:
    """Selected channel of samples (n, channels), shape (n, 1); mostly a view."""
    if channel != "mix":
        return samples[:, channel - 1 : channel]
    if samples.shape[1] == 1:
        return samples
    with np.errstate(invalid="ignore", over="ignore"):  # what comes out is for `sanitised`
        mixed: NDArray[np.float32] = samples.mean(axis=1, keepdims=True, dtype=np.float32)
    return mixed


def sanitised(samples: NDArray[np.float32]) -> tuple[NDArray[np.float32], int]:
    """Samples clipped to [-1, 1], and the number of NaN that became 0.

    Decoders of lossy formats overshoot a little, and float files hold anything. What comes in
    may be returned as it is.
    """
    if not samples.size or np.abs(samples).max() <= 1.0:  # a NaN makes this false
        return samples, 0
    broken = ~np.isfinite(samples)
    clean = np.where(broken, np.float32(0), samples)
    return np.clip(clean, -1.0, 1.0), int(broken.sum())
