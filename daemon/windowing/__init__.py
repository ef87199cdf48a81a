"""Samples to windows: resampling, windows, and the speech gate. No threads, no clocks."""

from daemon.windowing.gate import Gate, GateBank, GateSettings, speech_model
from daemon.windowing.resample import Resampler
from daemon.windowing.windows import Windower

__all__ = ["Gate", "GateBank", "GateSettings", "Resampler", "Windower", "speech_model"]
