"""Samples to windows: resampling and windows. No threads, no clocks."""

from daemon.windowing.high_pass import HighPass, high_passed
from daemon.windowing.resample import Resampler
from daemon.windowing.windows import (
    WindowBuffer,
    all_windows,
    samples_of,
    window_count,
)

__all__ = [
    "HighPass",
    "Resampler",
    "WindowBuffer",
    "all_windows",
    "high_passed",
    "samples_of",
    "window_count",
]
