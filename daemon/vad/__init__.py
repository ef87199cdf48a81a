"""Voice activity detection: speech intervals of a stream.

No threads, no clocks.
"""

from daemon.config.settings import GateSettings
from daemon.vad.detector import CHUNK, Detector
from daemon.vad.gate import Coverage, Gate, GateBank
from daemon.vad.load import load_detector

__all__ = ["CHUNK", "Coverage", "Detector", "Gate", "GateBank", "GateSettings", "load_detector"]
