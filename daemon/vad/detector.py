"""The interface of detectors: probabilities of speech."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

CHUNK: Final = 512
"""Samples at 16 kHz that get one probability of speech."""


class Detector(Protocol):
    """Probability of speech, chunk by chunk, for many streams at once."""

    def new_state(self) -> object:
        """The state of a stream that begins."""
        ...

    def probabilities(
        self, chunks: NDArray[np.float32], states: Sequence[object]
    ) -> NDArray[np.float32]:
        """Speech probabilities, shape (n,), of chunks, shape (n, 512).

        Each is the next one of the stream whose state stands at the same place; the states are
        changed. A stream may have several chunks, in their order.
        """
        ...
