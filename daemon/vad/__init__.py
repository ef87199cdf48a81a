"""Voice activity detection: speech intervals of a stream. No threads, no clocks."""

from daemon.config.settings import GateSettings
from daemon.vad.gate import CHUNK, Coverage, Gate, GateBank, speech_model

__all__ = ["CHUNK", "Coverage", "Gate", "GateBank", "GateSettings", "speech_model"]
