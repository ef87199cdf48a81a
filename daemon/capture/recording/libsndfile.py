"""Decodes block by block with libsndfile."""

from __future__ import annotations

import re

import numpy as np
import soundfile
from numpy.typing import NDArray

from daemon.base.errors import first_line, os_reason
from daemon.capture.recording.chunks import unknown_length
from daemon.capture.recording.content import View

_MPEG_SLACK = 2 * 1152
"""An MPEG stream's length is given in frames of 1152 samples, less the encoder's padding."""
_UNKNOWN_FRAMES = 1 << 60
"""Frames from which on libsndfile means that it does not know."""


class DamagedError(Exception):
    """Part of a recording cannot be decoded; the message is the cause."""

    def __init__(self, cause: str, before: NDArray[np.float32]) -> None:
        super().__init__(cause)
        self.before = before
        """What was decoded ahead of the damage, shape (n, channels)."""


class _Forward(soundfile.SoundFile):  # type: ignore[misc]
    """A SoundFile that never seeks between reads.

    soundfile seeks to where it is after each read of a seekable file, and libsndfile's MP3 and Opus
    decoders restart there: block by block they gave other samples than the whole.
    """

    def seekable(self) -> bool:
        return False


class LibsndfileDecoder:
    """A `Decoder` for whatever libsndfile recognises.

    frames: the length by the header where libsndfile was kept from seeing it.
    missing: bytes that the header gives and the file lacks; cut: it ends before its time;
    beyond: it has samples behind those that the header gives.
    """

    def __init__(
        self,
        view: View,
        *,
        frames: int | None = None,
        missing: int = 0,
        cut: bool = False,
        beyond: bool = False,
    ) -> None:
        self._view = view
        self._file = _Forward(view)
        self.rate: int = self._file.samplerate
        self.channels: int = self._file.channels
        found = max(0, int(self._file.frames))
        self.frames: int | None = frames or (found if found < _UNKNOWN_FRAMES else None)
        self.notices: list[str] = []
        self._buffer = np.zeros((0, self.channels), np.float32)
        self._position = 0
        self._cut = cut or missing > 0 or _missing_bytes(self._file.extra_info) > 0
        self._beyond = beyond

    def read(self, frames: int) -> NDArray[np.float32]:
        if len(self._buffer) < frames:
            self._buffer = np.zeros((frames, self.channels), np.float32)
        try:
            block: NDArray[np.float32] = self._file.read(out=self._buffer[:frames])
        except soundfile.LibsndfileError as error:
            # What was decoded ahead of the damage is in the buffer.
            done = min(frames, max(0, self._tell() - self._position))
            self._position += done
            if self.frames is not None and self._position >= self.frames:
                return self._buffer[:done].copy()  # what lies behind the sound is no damage
            raise DamagedError(cause(error), self._buffer[:done].copy()) from error
        if self._view.error is not None:
            raise self._view.error
        self._position += len(block)
        return block.copy()

    def _tell(self) -> int:
        try:
            return int(self._file.tell())
        except soundfile.LibsndfileError:  # GSM 6.10 and others cannot even say where they are
            return 0

    def shortfall(self) -> str | None:
        if self._beyond or (self.frames is not None and self._position > self.frames):
            self.notices.append("is longer than its header says; it was read to its end")
        at = f"{self._position / self.rate:.1f} s"
        if self._cut:
            return f"ends before its time, at {at}"
        slack = _MPEG_SLACK if self._file.format == "MP3" else 0
        if self.frames is not None and self._position + slack < self.frames:
            return f"is damaged: {at} of {self.frames / self.rate:.1f} s could be read"
        return None


_SHOULD_BE = re.compile(r"^\s*(\w[\w ]*?)\s*: (\d{1,18}) \(should be (\d{1,18})\)", re.MULTILINE)
_CHUNKS_OF_SAMPLES = {"data", "SSND", "BODY", "Data Size"}
_WHOLE_FILES = {"riff", "Riff size"}
_WHOLE_FILE_SLACK = 1024


def _missing_bytes(log: str) -> int:
    """Bytes that libsndfile missed at a file's end, by its log of the header.

    There it writes "data : 96000 (should be 49956)"; it says nothing else of a file cut short. W64
    gives the whole file's size, which careless writers get slightly wrong.
    """
    missing = 0
    for name, given, there in _SHOULD_BE.findall(log):
        short = int(given) - int(there)
        if (name in _CHUNKS_OF_SAMPLES and not unknown_length(int(given))) or (
            name in _WHOLE_FILES and short > _WHOLE_FILE_SLACK
        ):
            missing = max(missing, short)
    return missing


def cause(error: Exception) -> str:
    """An error's words for a sentence: one line, no capital, no full stop."""
    if isinstance(error, OSError):
        return os_reason(error)
    if isinstance(error, soundfile.LibsndfileError):
        text = str(error.error_string)
        return text.removeprefix("Error : ").strip().rstrip(".").lower()
    return first_line(error)
