"""Decodes WAV forwards, from a file or a pipe.

Recorders that write to a pipe cannot know the length: ffmpeg, sox and arecord leave 0, 0x7FFFFxxx
or 0xFFFFFFFF in the header; one that died leaves 0 or a first guess. Formats: "Multiple Channel
Audio Data and WAVE Files" (Microsoft, 2007) for WAVE_FORMAT_EXTENSIBLE, EBU Tech 3306 for RF64/BW64
and `ds64`, ITU-T G.711 for mu-law and A-law. Samples are scaled as libsndfile does it: integers by
2^(bits - 1).
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from daemon.capture.recording.chunks import is_chunk_name, unknown_length
from daemon.capture.recording.containers import WAV_MAGICS

_PCM, _FLOAT, _ALAW, _MULAW, _EXTENSIBLE = 0x0001, 0x0003, 0x0006, 0x0007, 0xFFFE
_HEADER_LIMIT = 16 << 20
"""Bytes before the samples after which a stream is no WAV that anybody means."""
_SEARCHED = 4096
"""Bytes in which the next chunk is looked for behind one of a wrong size."""
_LEAST_REST = 64
"""Bytes behind the samples too few to be samples of their own."""
_COMMON_CHUNKS = (b"fmt ", b"data", b"LIST", b"fact", b"bext", b"JUNK", b"junk", b"PEAK", b"id3 ")


class NotWavError(ValueError):
    """The stream is no WAV that can be read; the message completes "NAME …"."""


@dataclass(frozen=True, slots=True)
class WavFormat:
    """A WAV header; `data_bytes` is None if the writer did not know it."""

    code: int
    channels: int
    rate: int
    bits: int
    data_bytes: int | None
    order: str = "<"

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


def decode(raw: bytes, form: WavFormat) -> NDArray[np.float32]:
    """Whole frames of raw samples, float32 (frames, channels), full scale 1."""
    flat: NDArray[np.float32]
    if form.code in _TABLES:
        flat = _TABLES[form.code][np.frombuffer(raw, np.uint8)]
    elif form.code == _FLOAT:
        with np.errstate(over="ignore", invalid="ignore"):
            flat = np.frombuffer(raw, f"{form.order}f{form.bits // 8}").astype(np.float32)
    elif form.bits == 8:
        flat = (np.frombuffer(raw, np.uint8).astype(np.float32) - 128) / np.float32(128)
    elif form.bits == 24:
        wide = np.zeros((len(raw) // 3, 4), np.uint8)
        place = slice(1, 4) if form.order == "<" else slice(0, 3)
        wide[:, place] = np.frombuffer(raw, np.uint8).reshape(-1, 3)
        flat = (wide.reshape(-1).view(f"{form.order}i4") / 2.0**31).astype(np.float32)
    else:
        integers = np.frombuffer(raw, f"{form.order}i{form.bits // 8}")
        flat = (integers / 2.0 ** (form.bits - 1)).astype(np.float32)
    return flat.reshape(-1, form.channels)


class WavStream:
    """Reads WAV through `read_some(n)`, which returns 1 to n bytes.

    It returns none at the end.

    The header is read at once. WAV files joined in one stream are read one after the other.
    Raises: NotWavError.
    """

    def __init__(self, read_some: Callable[[int], bytes]) -> None:
        self._read_some = read_some
        self._pending = b""
        self._ended = False
        self._taken = 0
        """Bytes consumed since the stream's RIFF header began."""
        self.truncated = False
        """The stream ended before the length that its header gives."""
        self.beyond = False
        """Samples lay behind those of which the header knows, and were read."""
        self.other: WavFormat | None = None
        """What the stream goes on with, if that has another rate or number of channels."""
        self.format = self._header()
        self._left = self.format.data_bytes

    def read(self, frames: int) -> NDArray[np.float32]:
        """Read 1 to `frames` frames, shape (n, channels); n = 0 at the end.

        Returns as soon as one is there.
        """
        size = self.format.frame_bytes
        while True:
            want = frames * size if self._left is None else min(frames * size, self._left)
            want -= want % size
            if want == 0:
                if not self._continues():
                    return np.zeros((0, self.format.channels), np.float32)
                size = self.format.frame_bytes
                continue
            while len(self._pending) < size and self._fill(want - len(self._pending)):
                pass
            whole = min(len(self._pending), want) // size * size
            if not whole:
                self.truncated |= self._left is not None or len(self._pending) > 0
                return np.zeros((0, self.format.channels), np.float32)
            raw = self._take(whole)
            if self._left is not None:
                self._left -= whole
            return decode(raw, self.format)

    # ---- bytes --------------------------------------------------------------------------------

    def _fill(self, n: int) -> bool:
        """Read up to `n` more bytes; False at the end."""
        more = b"" if self._ended else self._read_some(n)
        self._ended = not more
        self._pending += more
        return bool(more)

    def _peek(self, n: int) -> bytes:
        """The next `n` bytes without consuming them, fewer at the end."""
        while len(self._pending) < n and self._fill(n - len(self._pending)):
            pass
        return self._pending[:n]

    def _take(self, n: int) -> bytes:
        raw, self._pending = self._pending[:n], self._pending[n:]
        self._taken += len(raw)
        return raw

    def _discard(self, n: int) -> None:
        while n > 0 and (self._pending or self._fill(min(n, 1 << 16))):
            n -= len(self._take(n))

    def _exactly(self, n: int) -> bytes:
        if self._taken + n > _HEADER_LIMIT:
            raise NotWavError("has no sound in its first 16 MiB")
        if len(self._peek(n)) < n:
            raise NotWavError("ends before any sound" if self._taken >= 12 else "is no WAV")
        return self._take(n)

    # ---- chunks -------------------------------------------------------------------------------

    def _skip_padding(self, size: int) -> None:
        """Skip the padding byte of a chunk of odd size, which many leave out."""
        if size & 1:
            ahead = self._peek(5)
            if ahead[:4] not in _COMMON_CHUNKS or ahead[1:5] in _COMMON_CHUNKS:
                self._take(1)

    def _find_chunk(self) -> None:
        """Search the next chunk if none is here, where a chunk's size was wrong."""
        if is_chunk_name(self._peek(4)) or len(self._pending) < 4:
            return
        ahead = self._peek(_SEARCHED)
        places = [at for name in (b"fmt ", b"data") if (at := ahead.find(name)) >= 0]
        if not places:
            raise NotWavError("has a damaged header")
        self._take(min(places))

    def _unfinished(self, magic: bytes, order: str) -> bool:
        """Whether a data chunk of size 0 is the last: a header never completed."""
        (whole,) = struct.unpack_from(order + "I", magic, 4)
        return unknown_length(whole) or whole + 8 <= self._taken

    def _header(self) -> WavFormat:
        self._taken = 0
        magic = self._exactly(12)
        if magic[:4] not in WAV_MAGICS or magic[8:] != b"WAVE":
            raise NotWavError("is no WAV")
        order = ">" if magic[:4] == b"RIFX" else "<"
        long_size: int | None = None
        known: tuple[int, int, int, int] | None = None
        while True:
            self._find_chunk()
            kind, size = struct.unpack(order + "4sI", self._exactly(8))
            if kind == b"data":
                if known is None:
                    raise NotWavError("has samples before it says their format")
                if magic[:4] in (b"RF64", b"BW64") and size == 0xFFFFFFFF and long_size:
                    return WavFormat(*known, long_size, order)
                unknown = unknown_length(size) and (size > 0 or self._unfinished(magic, order))
                return WavFormat(*known, None if unknown else size, order)
            body = self._exactly(size)
            self._skip_padding(size)
            if kind == b"ds64" and size >= 16:
                (long_size,) = struct.unpack_from("<Q", body, 8)
            elif kind == b"fmt ":
                known = _format(body, order)

    def _continues(self) -> bool:
        """Whether samples follow the header's length, behind any other chunks."""
        if self._left is None or self.other is not None:
            return False
        self._discard(self._left)
        self._skip_padding(self.format.data_bytes or 0)
        self._left = 0
        while len(ahead := self._peek(12)) >= 8:
            if ahead[:4] in WAV_MAGICS and ahead[8:] == b"WAVE":
                return self._begin_joined()
            if not is_chunk_name(ahead[:4]):
                rest = self._peek(_LEAST_REST)
                self.beyond = len(rest) == _LEAST_REST and any(rest)
                self._left = None
                return self.beyond
            (size,) = struct.unpack_from(self.format.order + "I", ahead, 4)
            self._discard(8 + size)
            self._skip_padding(size)
        return False

    def _begin_joined(self) -> bool:
        try:
            form = self._header()
        except NotWavError:
            return False
        if (form.rate, form.channels) != (self.format.rate, self.format.channels):
            self.other = form
            return False
        self.format, self._left = form, form.data_bytes
        return True


def _format(body: bytes, order: str) -> tuple[int, int, int, int]:
    """(code, channels, rate, bits) of a fmt chunk; bits as they are stored."""
    if len(body) < 16:
        raise NotWavError("has a damaged header")
    code, channels, rate, _, align, bits = struct.unpack_from(order + "HHIIHH", body)
    if code == _EXTENSIBLE:
        if len(body) < 40:
            raise NotWavError("has a damaged header")
        (code,) = struct.unpack_from(order + "H", body, 24)
    if not 1 <= channels <= 1024:
        raise NotWavError("has a damaged header")
    if code in (_PCM, _FLOAT):
        bits = -(-bits // 8) * 8
        if bits == 24 and align == 4 * channels:  # 24 bits in 32, at the upper end
            bits = 32
    if (code, bits) not in _KNOWN:
        raise NotWavError(f"holds samples of a kind unknown here (format {code}, {bits} bits)")
    return code, channels, rate, bits
