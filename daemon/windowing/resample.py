"""Continuous resampling to the model's rate, equal to resampling the whole recording at once."""

from __future__ import annotations

import numpy as np
import soxr
from numpy.typing import NDArray

Mono = NDArray[np.float32]


class Resampler:
    """A stream of mono float32 samples at `rate_in` to one at `rate_out`, both in hertz.

    soxr's HQ quality: passband to 0.91 of the lower Nyquist frequency, everything above it down by
    more than 120 dB. What comes out lags what went in by the filter's delay (some milliseconds)
    until `flush`; sample i of the output lies at i / rate_out seconds of the input. At equal rates
    samples pass through without a copy.
    """

    def __init__(self, rate_in: int, rate_out: int, quality: str = "HQ") -> None:
        self._stream = (
            None
            if rate_in == rate_out
            else soxr.ResampleStream(rate_in, rate_out, 1, dtype="float32", quality=quality)
        )

    def feed(self, samples: Mono) -> Mono:
        """What can be said so far, shape (m,), for the next `samples`, shape (n,)."""
        if self._stream is None:
            return samples
        out: Mono = self._stream.resample_chunk(np.ascontiguousarray(samples))
        return out

    def flush(self) -> Mono:
        """The rest, after the last samples. The resampler is spent then."""
        if self._stream is None:
            return np.zeros(0, np.float32)
        out: Mono = self._stream.resample_chunk(np.zeros(0, np.float32), last=True)
        self._stream = None
        return out
