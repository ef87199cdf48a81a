"""A gate by loudness: speech is what stands out from the tracked noise floor.

The floor follows the chunk's level quickly down and slowly up (minimum statistics after Martin
2001, in its simplest form). The margin over the floor becomes a pseudo-probability by a logistic
curve: 9 dB over it is 0.5, so that the same two thresholds serve every gate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

QUIET_DB = -60.0
"""RMS level below which nothing is speech, dBFS."""
MARGIN_DB = 9.0
SLOPE_DB = 1.5
RISE_DB = 0.05
"""How fast the floor follows upwards, decibels a chunk (about 1.6 dB a second)."""
FALL = 0.3
"""Share of the way down to a quieter chunk that the floor goes at once."""


@dataclass(slots=True)
class EnergyState:
    floor: float = QUIET_DB


class Energy:
    """Pseudo-probabilities of speech from chunk levels; costs next to nothing."""

    def new_state(self) -> EnergyState:
        return EnergyState()

    def run(self, states: Sequence[object], chunks: NDArray[np.float32]) -> NDArray[np.float32]:
        """Pseudo-probabilities, shape (n,), of chunks of n streams, shape (n, 512)."""
        power = np.mean(np.square(chunks, dtype=np.float64), axis=1)
        levels = 10 * np.log10(power + 1e-12)
        result = np.zeros(len(chunks), np.float32)
        for row, (state, level) in enumerate(zip(states, levels, strict=True)):
            assert isinstance(state, EnergyState)
            if level > QUIET_DB:
                excess = (level - state.floor - MARGIN_DB) / SLOPE_DB
                result[row] = 1 / (1 + np.exp(-np.clip(excess, -30, 30)))
            if level < state.floor:
                state.floor += FALL * (level - state.floor)
            else:
                state.floor += min(RISE_DB, level - state.floor)
            state.floor = max(state.floor, QUIET_DB - 20)
        return result
