"""Raw PCM of clients as samples. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from daemon.base.text import value_text

RATES: Final = (1000, 384_000)
"""Least and greatest, as for a microphone, Hz."""
MOST_CHANNELS: Final = 64


class FormatError(ValueError):
    """A sentence on a format that intentd does not take."""


@dataclass(frozen=True, slots=True)
class PcmFormat:
    """Interleaved little-endian integers; signed, but for single bytes.

    As in WAV files.
    """

    rate: int
    """Hz."""
    width: int
    """Bytes a sample, 1 to 4."""
    channels: int

    @classmethod
    def checked(cls, rate: Any, width: Any, channels: Any) -> PcmFormat:
        """A format from what a client says. Raises `FormatError`."""
        _check("rate", rate, *RATES)
        _check("width", width, 1, 4)
        _check("channels", channels, 1, MOST_CHANNELS)
        return cls(rate, width, channels)


def _check(name: str, value: Any, least: int, greatest: int) -> None:
    if type(value) is not int or not least <= value <= greatest:
        raise FormatError(
            f"{name} is {value_text(value)}; it must be a whole number from {least} to {greatest}"
        )


class PcmDecoder:
    """Bytes to mono samples; a partial frame is kept for the next call."""

    def __init__(self, form: PcmFormat) -> None:
        self._form = form
        self._rest = b""

    def feed(self, payload: bytes) -> NDArray[np.float32]:
        """The mean of the channels, shape (n,), in [-1, 1]."""
        width, channels = self._form.width, self._form.channels
        data = self._rest + payload if self._rest else payload
        whole = len(data) - len(data) % (width * channels)
        self._rest = data[whole:]
        samples = _samples(data[:whole], width)
        if channels == 1:
            return samples
        mono: NDArray[np.float32] = samples.reshape(-1, channels).mean(axis=1, dtype=np.float32)
        return mono


def _samples(data: bytes, width: int) -> NDArray[np.float32]:
    if width == 1:
        return (np.frombuffer(data, np.uint8).astype(np.float32) - 128) / np.float32(128)
    if width == 3:
        padded = np.zeros((len(data) // 3, 4), np.uint8)
        padded[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
        return padded.view("<i4")[:, 0].astype(np.float32) / np.float32(1 << 31)
    full = np.float32(1 << (8 * width - 1))
    return np.frombuffer(data, f"<i{width}").astype(np.float32) / full
