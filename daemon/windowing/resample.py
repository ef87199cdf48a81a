"""Continuous resampling to the model's rate."""

from __future__ import annotations

from typing import Final

import numpy as np
import soxr
from numpy.typing import NDArray

RATE: Final = 16000
"""Samples a second of everything after the ring."""


class Resampler:
    """A mono stream at `rate_in` Hz to one at `rate_out` Hz, block by block.

    The blocks' output, put together, is what resampling the whole recording at once gives,
    whatever their sizes. Sample i of the output lies at i / rate_out seconds: the filter's delay
    is taken out, so output comes somewhat later than its input (20 ms and less from 44.1 kHz on).
    Tested from 8 to 192 kHz: in the passband (up to 7 kHz where the source has it) at least
    100 dB signal-to-noise and the gain within 1 dB, aliases below -90 dB from 8.6 kHz on.
    Any positive rates are taken; what is absurd is for capture to refuse.
    With equal rates samples pass through as they are, uncopied.
    """

    def __init__(self, rate_in: int, rate_out: int = RATE, quality: str = "HQ") -> None:
        """`quality`: one of soxr's, "QQ" (worst), "LQ", "MQ", "HQ", "VHQ". ValueError if a rate
        is not positive."""
        if rate_in <= 0 or rate_out <= 0:
            raise ValueError("rates must be positive")
        self._soxr = (
            None
            if rate_in == rate_out
            else soxr.ResampleStream(rate_in, rate_out, 1, dtype="float32", quality=quality)
        )

    def feed(self, mono: NDArray[np.float32]) -> NDArray[np.float32]:
        """Shape (n,) at `rate_in` to shape (m,) at `rate_out`: what is ready, maybe nothing."""
        if self._soxr is None:
            return mono
        out: NDArray[np.float32] = self._soxr.resample_chunk(np.ascontiguousarray(mono))
        return out

    def flush(self) -> NDArray[np.float32]:
        """What the filter still holds, shape (m,). Nothing may be fed afterwards."""
        empty = np.zeros(0, dtype=np.float32)
        if self._soxr is None:
            return empty
        out: NDArray[np.float32] = self._soxr.resample_chunk(empty, last=True)
        return out
