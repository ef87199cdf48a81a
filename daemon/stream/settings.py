"""Settings of streams, by the model and the configuration."""

from __future__ import annotations

from dataclasses import dataclass, field

from daemon.config.settings import (
    HOP_SECONDS,
    WINDOW_SECONDS,
    EventSettings,
    GateSettings,
    RollingSettings,
)
from daemon.decide.verification import Verification
from daemon.messages import Unit


@dataclass(frozen=True, slots=True)
class StreamSettings:
    """Settings of a stream, the same for all streams of a run."""

    labels: tuple[str, ...]
    non_intents: frozenset[str]
    unit: Unit = "word"
    window: float = WINDOW_SECONDS
    """Seconds."""
    hop: float = HOP_SECONDS
    """Seconds."""
    gate: GateSettings = field(default_factory=GateSettings)
    rolling: RollingSettings = field(default_factory=RollingSettings)
    events: EventSettings = field(default_factory=EventSettings)
    verification: Verification | None = None
    """How events are verified; None: they are not."""
