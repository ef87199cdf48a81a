"""Opens recordings by their content and decodes them forwards.

From a file, memory or a pipe.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import Protocol

import numpy as np
import soundfile
from numpy.typing import NDArray

from daemon.capture.recording.chunks import Repair, repair
from daemon.capture.recording.containers import HEAD, container_of, foreign, id3_length
from daemon.capture.recording.content import Content, MemoryContent, View, find
from daemon.capture.recording.libsndfile import LibsndfileDecoder, cause
from daemon.capture.recording.mpeg import MpegLink, first_frame, mpeg_links
from daemon.capture.recording.ogg import ogg_links, ogg_was_cut
from daemon.capture.recording.wav_stream import NotWavError, WavStream

MIN_RATE, MAX_RATE = 8000, 192000
_SEARCHED = 1 << 16
"""Bytes in which the start of a recording is looked for behind others."""
_PIPE_LIMIT = 256 << 20
"""Bytes of a compressed recording that are taken in from a pipe before it is decoded."""
_FLAC_MARKS = (b"fLaC\0\0\0\x22", b"fLaC\x80\0\0\x22")


class UnreadableError(ValueError):
    """The fault of a recording that cannot be opened; completes "NAME …"."""


class Decoder(Protocol):
    """Decodes forwards; `read` may be called again after a `DamagedError`."""

    rate: int
    channels: int
    frames: int | None
    """Length, as far as it is known beforehand."""
    notices: list[str]
    """What the user should know at the end although nothing failed; each completes "NAME …"."""

    def read(self, frames: int) -> NDArray[np.float32]:
        """Up to `frames` frames, shape (n, channels); n = 0 at the end."""
        ...

    def shortfall(self) -> str | None:
        """A sentence on missing sound, once the end was read; completes "NAME …"."""
        ...


def open_content(content: Content) -> Decoder:
    """A decoder for a recording whose bytes are all there.

    Raises: UnreadableError.
    """
    if content.size == 0:
        raise UnreadableError("is empty")
    try:
        decoder = _open(content)
    except OSError as error:
        raise UnreadableError(f"cannot be read: {cause(error)}") from error
    except (soundfile.LibsndfileError, TypeError, ValueError) as error:
        if isinstance(error, UnreadableError):
            raise
        raise UnreadableError(f"is not a recording that can be read: {cause(error)}") from error
    if decoder.frames == 0:
        raise UnreadableError("holds no sound")
    return _checked(decoder)


def open_pipe(read_some: Callable[[int], bytes]) -> Decoder:
    """Decoder of what `read_some(n)` gives: 1 to n bytes, none at the end.

    WAV is decoded as it arrives; of other kinds all is taken in first, since their decoders look
    at the end. Raises: UnreadableError, and what `read_some` does.
    """
    pipe = _Pipe(read_some)
    head = pipe.peek(HEAD)
    if not head:
        raise UnreadableError("is empty")
    if reason := foreign(head):
        raise UnreadableError(reason)
    kind = container_of(head)
    if kind == "wav":
        try:
            decoder = _WavDecoder(WavStream(pipe.read))
        except NotWavError:
            pass  # libsndfile may know it, once all is there
        else:
            pipe.forget()
            return _checked(decoder)
    elif not kind and not id3_length(head) and len(start := pipe.peek(_SEARCHED)) == _SEARCHED:
        open_content(MemoryContent(start))  # refuses what never might become a recording
    content = MemoryContent(pipe.all(_PIPE_LIMIT))
    if content.size >= _PIPE_LIMIT:
        raise UnreadableError(
            f"is longer than {_PIPE_LIMIT >> 20} MiB: only WAV can be read from a pipe without end"
        )
    return open_content(content)


class _Pipe:
    """Reads forwards, and keeps what was read until it may be dropped."""

    def __init__(self, read_some: Callable[[int], bytes]) -> None:
        self._read_some = read_some
        self._kept = bytearray()
        self._position = 0
        self._forgetting = False

    def all(self, n: int) -> bytearray:
        """What was read, once that is `n` bytes, or all there are."""
        while len(self._kept) < n and (more := self._read_some(min(n - len(self._kept), 1 << 16))):
            self._kept += more
        return self._kept

    def peek(self, n: int) -> bytes:
        """The first `n` bytes, fewer at the end."""
        return bytes(self.all(n)[:n])

    def read(self, n: int) -> bytes:
        """The next 1 to `n` bytes from the start on, or none at the end."""
        if self._position < len(self._kept):
            data = bytes(self._kept[self._position : self._position + n])
        else:
            data = self._read_some(n)
            if self._forgetting:
                return data
            self._kept += data
        self._position += len(data)
        return data

    def forget(self) -> None:
        """Keep no more than what `read` has not given yet."""
        del self._kept[: self._position]
        self._position = 0
        self._forgetting = True


def _checked(decoder: Decoder) -> Decoder:
    if not MIN_RATE <= decoder.rate <= MAX_RATE:
        raise UnreadableError(
            f"has a rate of {decoder.rate} Hz; rates from {MIN_RATE} to {MAX_RATE} Hz can be read"
        )
    return decoder


# ---- kinds ------------------------------------------------------------------------------------


def _open(content: Content) -> Decoder:
    tag = id3_length(content.read_at(0, HEAD))
    head = content.read_at(tag, HEAD)
    if reason := foreign(head):
        raise UnreadableError(reason)
    kind = container_of(head)
    decoder = _open_at(content, tag, kind)
    if decoder is not None:
        return decoder
    try:
        if kind == "mpeg":
            raise ValueError("format not recognised")  # by us; two bytes of text may look like it
        return LibsndfileDecoder(View(content))
    except (soundfile.LibsndfileError, ValueError):
        # Something lies ahead of the recording, such as what a server or a player wrote there.
        start, kind = _behind_others(content.read_at(tag, _SEARCHED))
        decoder = _open_at(content, tag + start, kind)
        if decoder is None:
            raise
        return decoder


def _behind_others(data: bytes) -> tuple[int, str]:
    """Offset and container of the first recording in `data`; (0, "") for none."""
    found = [(at, "flac") for mark in _FLAC_MARKS if (at := data.find(mark)) >= 0]
    found += [(at, "ogg") for at in [data.find(b"OggS\0\x02")] if at >= 0]
    at = data.find(b"WAVEfmt ") - 8
    found += [(at, "wav")] if at >= 0 and container_of(data[at : at + 12]) == "wav" else []
    found += [(at, "mpeg") for at in [first_frame(data)] if at >= 0]
    return min(found, default=(0, ""))


def _open_at(content: Content, start: int, kind: str) -> Decoder | None:
    """Decoder of a recording of container `kind` at `start`; None for others."""
    match kind:
        case "wav":
            return _open_wav(content, start)
        case "flac":
            return _Chain([partial(_flac, content, *ends) for ends in _flac_links(content, start)])
        case "ogg":
            starts = list(ogg_links(content))
            cut = [False] * (len(starts) - 1) + [ogg_was_cut(content)]
            ends = [*starts[1:], content.size]
            places = zip(starts, ends, cut, strict=True)
            return _Chain([partial(_ogg, content, *place) for place in places]) if starts else None
        case "mpeg" if first_frame(content.read_at(start, _SEARCHED)) == 0:
            openers = [partial(_mpeg, content, link) for link in mpeg_links(content, start)]
            return _Chain(openers) if openers else None
        case "caf" | "aiff" | "au":
            return _repaired(content, kind)
    return None


def _open_wav(content: Content, start: int) -> Decoder:
    position = start

    def read_some(n: int) -> bytes:
        nonlocal position
        data = content.read_at(position, n)
        position += len(data)
        return data

    try:
        return _WavDecoder(WavStream(read_some), lambda: content.size - position)
    except NotWavError as refusal:
        try:
            return _repaired(content, "wav")
        except soundfile.LibsndfileError:
            sentence = f"is not a recording that can be read: it {refusal}"
            raise UnreadableError(sentence) from refusal


def _repaired(content: Content, kind: str) -> Decoder:
    mend = repair(content, kind) or Repair({})
    view = View(content, replaced=mend.replaced)
    return LibsndfileDecoder(view, missing=mend.missing, beyond=mend.beyond)


def _flac_links(content: Content, start: int) -> list[tuple[int, int]]:
    starts = {start}
    for mark in _FLAC_MARKS:
        at = start
        while (at := find(content, mark, at + 1)) >= 0:
            starts.add(at)
    return list(pairwise([*sorted(starts), content.size]))


def _flac(content: Content, start: int, end: int) -> Decoder:
    """Decoder of FLAC that ignores the header's number of samples.

    It may be 0 or wrong, and libsndfile stops there (RFC 9639 section 8.2).
    """
    info = content.read_at(start + 21, 5)
    declared = int.from_bytes(info, "big") & 0xFFFFFFFFF
    replaced = {start + 21: bytes((info[0] & 0xF0, 0, 0, 0, 0))} if len(info) == 5 else {}
    return LibsndfileDecoder(View(content, start, end, replaced=replaced), frames=declared or None)


def _ogg(content: Content, start: int, end: int, cut: bool) -> Decoder:
    return LibsndfileDecoder(View(content, start, end), cut=cut)


def _mpeg(content: Content, link: MpegLink) -> Decoder:
    if link.trusted:
        return LibsndfileDecoder(View(content, link.start, link.end))
    start = max(link.start, link.info_end)
    view = View(content, start, link.end, claim=link.claim)
    return LibsndfileDecoder(view, frames=link.samples)


class _WavDecoder:
    def __init__(self, stream: WavStream, left: Callable[[], int] | None = None) -> None:
        """left: bytes of the file behind the header."""
        self._stream = stream
        self.rate = stream.format.rate
        self.channels = stream.format.channels
        self.frames = stream.format.frames
        if self.frames is None and left is not None:
            self.frames = left() // stream.format.frame_bytes
        self.notices: list[str] = []
        self._position = 0

    def read(self, frames: int) -> NDArray[np.float32]:
        block = self._stream.read(frames)
        self._position += len(block)
        return block

    def shortfall(self) -> str | None:
        at = f"{self._position / self.rate:.1f} s"
        if self._stream.beyond:
            self.notices.append("is longer than its header says; it was read to its end")
        if self._stream.other is not None:
            return _goes_on(at, self._stream.other)
        if self._stream.truncated:
            return f"ends before its time, at {at}"
        return None if self._position else "holds no sound"


class _Kind(Protocol):
    @property
    def rate(self) -> int: ...
    @property
    def channels(self) -> int: ...


def _goes_on(at: str, other: _Kind) -> str:
    return (
        f"goes on at {at} with a recording of {other.rate} Hz and {other.channels} "
        "channels, which cannot be joined to the one before; split it"
    )


class _Chain:
    """Recordings joined in one file, decoded one after the other.

    Mostly there is but one.
    """

    def __init__(self, openers: Sequence[Callable[[], Decoder]]) -> None:
        self._openers = list(openers[1:])
        self._current = openers[0]()
        self.rate, self.channels = self._current.rate, self._current.channels
        self.frames = self._current.frames if len(openers) == 1 else None
        self._position = 0
        self._fault: str | None = None
        self.notices: list[str] = []

    def read(self, frames: int) -> NDArray[np.float32]:
        while True:
            block = self._current.read(frames)
            self._position += len(block)
            if len(block) or not self._openers:
                return block
            self._end_current()
            stop = self._advance()
            if stop is not None:
                self._fault = self._fault or stop
                self._openers.clear()

    def _advance(self) -> str | None:
        """Go on to the next recording. Returns why not, if that cannot be."""
        at = f"{self._position / self.rate:.1f} s"
        try:
            following = self._openers.pop(0)()
        except (soundfile.LibsndfileError, ValueError) as error:
            return f"is damaged at {at}: {cause(error)}"
        if (following.rate, following.channels) != (self.rate, self.channels):
            return _goes_on(at, following)
        self._current = following
        return None

    def _end_current(self) -> None:
        self._fault = self._fault or self._current.shortfall()
        self.notices += self._current.notices

    def shortfall(self) -> str | None:
        if not self._openers:
            self._end_current()
        return self._fault
