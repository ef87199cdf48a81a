"""Speech by level over the noise floor; needs hardly any computation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from daemon.base.audio import RATE
from daemon.vad.detector import CHUNK

EMPHASIS: Final = 0.97
"""Share of the sample before that is taken off each sample: rumble counts less than speech."""
QUIET: Final = -65.0
"""dBFS after emphasis below which nothing is speech."""
FIRST_FLOOR: Final = -50.0
"""dBFS; the noise floor at first, so that a stream that begins with speech is detected."""
MARGIN: Final = 9.0
"""dB over the floor at which speech is as likely as not."""
SLOPE: Final = 2.0
"""dB over which the odds change by a factor of e."""
RISE: Final = 5.0 * CHUNK / RATE
"""dB a chunk by which the floor rises: 5 dB a second."""
FALL: Final = 0.3
"""Share of the way that the floor falls towards a quieter chunk."""


class _State:
    """One stream's noise floor, and the last sample for the emphasis."""

    __slots__ = ("before", "floor")

    def __init__(self) -> None:
        self.before = np.float32(0)
        self.floor = FIRST_FLOOR


class EnergyDetector:
    """A pseudo-probability by a chunk's level over a tracked noise floor.

    The floor follows quieter chunks fast and louder ones slowly, as in minimum statistics
    (R. Martin, 2001), of which it is the simplest form. Deterministic.
    """

    def new_state(self) -> _State:
        """The state of a stream that begins."""
        return _State()

    def probabilities(
        self, chunks: NDArray[np.float32], states: Sequence[object]
    ) -> NDArray[np.float32]:
        """Shape (n,), 0 to 1, of chunks (n, 512); see `Detector`."""
        found = np.empty(len(chunks), dtype=np.float32)
        for i, (chunk, state) in enumerate(zip(chunks, states, strict=True)):
            assert isinstance(state, _State)
            found[i] = _probability(chunk, state)
        return found


def _probability(chunk: NDArray[np.float32], state: _State) -> float:
    flat = chunk.copy()
    flat[1:] -= np.float32(EMPHASIS) * chunk[:-1]
    flat[0] -= np.float32(EMPHASIS) * state.before
    state.before = chunk[-1]
    level = 10.0 * np.log10(float(np.dot(flat, flat)) / CHUNK + 1e-12)
    over = level - state.floor
    state.floor += FALL * over if over < 0 else min(over, RISE)
    if level < QUIET:
        return 0.0
    return float(1.0 / (1.0 + np.exp(-(over - MARGIN) / SLOPE)))
