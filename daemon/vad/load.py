"""The detectors by their kind, each imported when it is chosen."""

from __future__ import annotations

from daemon.vad.detector import Detector


def load_detector(kind: str) -> Detector | None:
    """The detector of a kind of gate; None for "off".

    Raises UserError if it can't run here.
    """
    if kind == "silero":
        from daemon.vad.silero import SileroDetector

        return SileroDetector()
    if kind == "energy":
        from daemon.vad.energy import EnergyDetector

        return EnergyDetector()
    return None
