"""Scores to intents: the rolling opinion and events. No threads, no clocks."""

from daemon.decide.events import EventDetector, EventSettings
from daemon.decide.rolling import RollingSettings, UtteranceRolling, WordRolling

__all__ = ["EventDetector", "EventSettings", "RollingSettings", "UtteranceRolling", "WordRolling"]
