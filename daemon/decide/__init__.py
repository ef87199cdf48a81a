"""Scores to intents: the rolling opinion and events. No threads, no clocks."""

from daemon.decide.events import EventDetector, EventSettings, Fired, thresholds_of
from daemon.decide.rolling import (
    Rolling,
    RollingSettings,
    Unit,
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
    "Unit",
    "UtteranceRolling",
    "VerdictKeeper",
    "WordRolling",
    "evidence_weights",
    "log_floored",
    "make_rolling",
    "pool",
    "thresholds_of",
]
