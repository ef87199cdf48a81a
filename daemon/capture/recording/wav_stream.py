"""WAV as it comes out of a pipe: read forwards only, as the data arrive.

libsndfile cannot do this through soundfile (its reads need a seekable file), and recorders that
write to a pipe cannot know the length: ffmpeg, sox and arecord leave 0, 0x7FFFFxxx or
0xFFFFFFFF in the header. Formats: "Multiple Channel Audio Data and WAVE Files" (Microsoft, 2007)
for WAVE_FORMAT_EXTENSIBLE, EBU Tech 3306 for RF64/BW64 and `ds64`, ITU-T G.711 for mu-law and
A-law. Samples are scaled as libsndfile does it: integers by 2^(bits - 1).
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_PCM, _FLOAT, _ALAW, _MULAW, _EXTENSIBLE = 0x0001, 0x0003, 0x0006, 0x0007, 0xFFFE
_HEADER_LIMIT = 16 << 20
"""Bytes before the samples after which a stream is no WAV that anybody means."""


class NotWavError(ValueError):
    """The stream is no WAV that can be read; the message completes "NAME …"."""


@dataclass(frozen=True, slots=True)
class WavFormat:
    """What the header tells. `data_bytes` is None if the writer did not know the length."""

    code: int
    channels: int
    rate: int
    bits: int
    data_bytes: int | None

    @property
    def frame_bytes(self) -> int:
        return self.channels * self.bits // 8

    @property
    def frames(self) -> int | None:
        return None if self.data_bytes is None else self.data_bytes // self.frame_bytes


def _mulaw_table() -> NDArray[np.float32]:
    code = ~np.arange(256, dtype=np.int32) & 0xFF
    exponent, mantissa = (code >> 4) & 7, code & 15
    magnitude = (((mantissa << 3) + 0x84) << exponent) - 0x84
    return (np.where(code & 0x80, -magnitude, magnitude) / 32768).astype(np.float32)


def _alaw_table() -> NDArray[np.float32]:
    code = np.arange(256, dtype=np.int32) ^ 0x55
    exponent, mantissa = (code >> 4) & 7, code & 15
    small = (mantissa << 4) + 8
    magnitude = np.where(exponent == 0, small, (small + 0x100) << np.maximum(exponent - 1, 0))
    return (np.where(code & 0x80, magnitude, -magnitude) / 32768).astype(np.float32)


_TABLES = {_MULAW: _mulaw_table(), _ALAW: _alaw_table()}
_KNOWN = {
    *((_PCM, bits) for bits in (8, 16, 24, 32)),
    *((_FLOAT, bits) for bits in (32, 64)),
    (_MULAW, 8),
    (_ALAW, 8),
}


def unknown_length(size: int) -> bool:
    """Whether a data chunk's 32-bit size is what a recorder writes that cannot know it."""
    return size == 0 or 0x7FFFF000 <= size <= 0x80000000 or size >= 0xFFFFF000


def decode(raw: bytes, form: WavFormat) -> NDArray[np.float32]:
    """Whole frames of raw samples as float32, shape (frames, channels), full scale 1."""
    flat: NDArray[np.float32]
    if form.code in _TABLES:
        flat = _TABLES[form.code][np.frombuffer(raw, np.uint8)]
    elif form.code == _FLOAT:
        with np.errstate(over="ignore", invalid="ignore"):
            flat = np.frombuffer(raw, f"<f{form.bits // 8}").astype(np.float32)
    elif form.bits == 8:
        flat = (np.frombuffer(raw, np.uint8).astype(np.float32) - 128) / np.float32(128)
    elif form.bits == 24:
        wide = np.zeros((len(raw) // 3, 4), np.uint8)
        wide[:, 1:] = np.frombuffer(raw, np.uint8).reshape(-1, 3)
        flat = (wide.reshape(-1).view("<i4") / 2.0**31).astype(np.float32)
    else:
        flat = (np.frombuffer(raw, f"<i{form.bits // 8}") / 2.0 ** (form.bits - 1)).astype(
            np.float32
        )
    return flat.reshape(-1, form.channels)


class WavStream:
    """Reads WAV through `read_some(n)`, which returns 1 to n bytes, or none at the end.

    The header is read at once. NotWavError if it is none.
    """

    def __init__(self, read_some: Callable[[int], bytes]) -> None:
        self._read_some = read_some
        self._pending = b""
        self._taken = 0
        self.truncated = False
        """The stream ended before the length that its header tells."""
        self.format = self._header()
        self._left = self.format.data_bytes

    def read(self, frames: int) -> NDArray[np.float32]:
        """1 to `frames` frames as soon as one is there, shape (n, channels); n = 0 at the end."""
        size = self.format.frame_bytes
        want = frames * size if self._left is None else min(frames * size, self._left)
        want -= want % size
        raw = self._pending
        while len(raw) < size <= want:
            more = self._read_some(want - len(raw))
            if not more:
                self.truncated = self._left is not None or len(raw) > 0
                return np.zeros((0, self.format.channels), np.float32)
            raw += more
        whole = min(len(raw), want) // size * size
        self._pending = raw[whole:]
        if self._left is not None:
            self._left -= whole
        return decode(raw[:whole], self.format)

    def _exactly(self, n: int) -> bytes:
        self._taken += n
        if self._taken > _HEADER_LIMIT:
            raise NotWavError("has no sound in its first 16 MiB")
        raw = b""
        while len(raw) < n:
            more = self._read_some(n - len(raw))
            if not more:
                raise NotWavError("ends before any sound" if self._taken > 12 else "is no WAV")
            raw += more
        return raw

    def _unfinished(self, magic: bytes) -> bool:
        """No chunk is told of behind a data chunk of size 0: a header never completed."""
        (whole,) = struct.unpack_from("<I", magic, 4)
        return unknown_length(whole) or whole + 8 <= self._taken

    def _header(self) -> WavFormat:
        magic = self._exactly(12)
        if magic[:4] not in (b"RIFF", b"RF64", b"BW64") or magic[8:] != b"WAVE":
            raise NotWavError("is no WAV")
        long_size: int | None = None
        known: tuple[int, int, int, int] | None = None
        while True:
            kind, size = struct.unpack("<4sI", self._exactly(8))
            if kind == b"data":
                if known is None:
                    raise NotWavError("has samples before it says their format")
                if magic[:4] != b"RIFF" and size == 0xFFFFFFFF and long_size:
                    return WavFormat(*known, data_bytes=long_size)
                unknown = unknown_length(size) and (size > 0 or self._unfinished(magic))
                return WavFormat(*known, data_bytes=None if unknown else size)
            body = self._exactly(size + (size & 1))
            if kind == b"ds64" and size >= 16:
                (long_size,) = struct.unpack_from("<Q", body, 8)
            elif kind == b"fmt ":
                known = _format(body[:size])


def _format(body: bytes) -> tuple[int, int, int, int]:
    """(code, channels, rate, bits) of a fmt chunk."""
    if len(body) < 16:
        raise NotWavError("has a damaged header")
    code, channels, rate, _, align, bits = struct.unpack_from("<HHIIHH", body)
    if code == _EXTENSIBLE:
        if len(body) < 40:
            raise NotWavError("has a damaged header")
        (code,) = struct.unpack_from("<H", body, 24)
    if (code, bits) not in _KNOWN:
        raise NotWavError(f"holds samples of a kind unknown here (format {code}, {bits} bits)")
    if not 1 <= channels <= 1024 or align != channels * bits // 8:
        raise NotWavError("has a damaged header")
    return code, channels, rate, bits
