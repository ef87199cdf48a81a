"""Samples to windows: resampling and windows. No threads, no clocks."""

from daemon.windowing.resample import RATE, Resampler
from daemon.windowing.windows import (
    WindowBuffer,
    Windower,
    all_windows,
    samples_of,
    window_count,
)

__all__ = [
    "RATE",
    "Resampler",
    "WindowBuffer",
    "Windower",
    "all_windows",
    "samples_of",
    "window_count",
]
