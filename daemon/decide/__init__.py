"""Scores to intents: smoothed posteriors, events, verdicts.

No threads or clocks.
"""

from daemon.config.settings import EventSettings, RollingSettings
from daemon.decide.events import EventDetector, Fired, thresholds_of
from daemon.decide.rolling import (
    Rolling,
    UtteranceRolling,
    WordRolling,
    evidence_weights,
    log_floored,
    make_rolling,
    pool,
)
from daemon.decide.verdict import VerdictKeeper

__all__ = [
    "EventDetector",
    "EventSettings",
    "Fired",
    "Rolling",
    "RollingSettings",
    "UtteranceRolling",
    "VerdictKeeper",
    "WordRolling",
    "evidence_weights",
    "log_floored",
    "make_rolling",
    "pool",
    "thresholds_of",
]
