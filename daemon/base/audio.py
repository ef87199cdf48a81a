"""The sample rate of everything behind the resampler."""

from __future__ import annotations

from typing import Final

RATE: Final = 16_000
"""Samples a second that Wav2Vec2 and its like are trained at."""
