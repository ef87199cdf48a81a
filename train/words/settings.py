"""Settings of heads and thresholds of own words."""

from __future__ import annotations

from dataclasses import dataclass

from daemon.config.settings import HOP_SECONDS
from daemon.messages import Unit

UNKNOWN, BACKGROUND = "unknown", "background"
"""Labels that every model of own words has beside the words."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of heads and thresholds; defaults as tools/own_words.py chose."""

    base: str = "words"
    """As model.base in a recipe."""
    unit: Unit = "word"
    window: float | None = None
    """Seconds; None: by the length of the takes, 1 for utterances."""
    hop: float = HOP_SECONDS
    copies: int = 24
    """Of each take."""
    part_copies: int = 4
    """Windows with less than half of the word, of each take."""
    voice_copies: int = 4
    """Of each word in another voice."""
    near_copies: int = 12
    sentence_copies: int = 6
    """Of each sentence, with unit = "utterance"."""
    noise_windows: int = 100
    """Windows without speech, with unit = "utterance"."""
    own_crops: int = 4
    """Windows a second of own talk and of the room."""
    penalty: float = 1e-3
    verifier: str = "auto"
    """"auto": with the verifier's network that comes with intentd; "off"; or an ONNX file."""
    verifier_steps: int = 60
    """Of L-BFGS, for the head on the verifier's vectors."""
    candidate: float = 0.05
    """Smoothed posterior from which on the verifier is asked."""
    smoothed_weight: float = 0.5
    verifier_weight: float = 0.5
    """Of the log odds of model and verifier in the verified score."""
    unknown_weight: float = 2.0
    """Of all that is no word, beside 1 for each word."""
    part_weight: float = 0.3
    """Of the windows with parts of words, beside `unknown_weight` for the rest."""
    voice_weight: float = 0.3
    """Of a word in other voices, beside 1 for the takes: enough to help with other people,
    too little to outweigh the user."""
    rolling_windows: tuple[int, ...] = (1, 2, 3)
    alarms_per_hour: float = 0.5
    """Of all words together, in other people's talk."""
    raise_by: float = 0.5
    """Where takes leave room above that threshold, the share of it by which it is raised."""
    threads: int = 0
    seed: int = 0
