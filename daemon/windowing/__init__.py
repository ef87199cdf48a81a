"""Samples to windows: resampling, windows, and the speech gate. No threads, no clocks."""

from daemon.windowing.gate import CHUNK, Coverage, Gate, GateBank, GateSettings, speech_model
from daemon.windowing.resample import RATE, Resampler
from daemon.windowing.windows import (
    WindowBuffer,
    Windower,
    all_windows,
    samples_of,
    window_count,
)

__all__ = [
    "CHUNK",
    "RATE",
    "Coverage",
    "Gate",
    "GateBank",
    "GateSettings",
    "Resampler",
    "WindowBuffer",
    "Windower",
    "all_windows",
    "samples_of",
    "speech_model",
    "window_count",
]
