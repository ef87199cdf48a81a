"""A recording, decoded block by block: a file of any kind that libsndfile reads, or WAV from a
pipe."""

from __future__ import annotations

import os
import re
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import numpy as np
import soundfile
from numpy.typing import NDArray

from daemon.base.errors import UserError
from daemon.capture.channels import Channel, check_channel, sanitised, select
from daemon.capture.recording.ogg import ogg_was_cut
from daemon.capture.recording.pipe import InterruptedReadError, PipeReader
from daemon.capture.recording.wav_stream import NotWavError, WavStream, unknown_length
from daemon.capture.ring import Ring
from daemon.messages import StreamInfo

MIN_RATE, MAX_RATE = 8000, 192000
_SAMPLES_AT_ONCE = 1 << 20
"""Decoded samples of all channels together held at once; bounds memory for 1024 channels."""
_MPEG_SLACK = 2 * 1152
"""An MPEG stream's length is told in frames of 1152 samples, less the encoder's padding."""
_DAMAGE_LIMIT = 50
"""Decoding errors after which a recording is given up."""


def printable(path: str) -> str:
    """A path for a sentence: no line breaks, terminal escapes or undecodable bytes."""
    if path == "-":
        return "standard input"
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in path)


class _Decoder(Protocol):
    """Decodes forwards. `read` may raise `_DamagedError`, and be called again after it."""

    rate: int
    channels: int
    frames: int | None

    def read(self, frames: int) -> NDArray[np.float32]: ...
    def verdict(self, got: int) -> str | None: ...


class _DamagedError(Exception):
    def __init__(self, cause: str, before: NDArray[np.float32]) -> None:
        super().__init__(cause)
        self.before = before
        """What was decoded ahead of the damage, shape (n, channels)."""


class Recording:
    """One recording as a stream: the ring of a `Source`, filled by a `Feeder`.

    `path`: a file, a FIFO, or `-` for standard input; pipes must carry WAV. Channels are chosen
    (`channel`: "mix" or a number from 1) before the ring, which is mono and holds
    `buffer_seconds`. Samples that are no numbers become 0, and everything is kept in [-1, 1].
    Opening a FIFO waits for its writer until `cancelled` says True.

    Raises UserError with one sentence if nothing can be read. What goes wrong later is kept in
    `error`, is what the ring is finished with, and does not undo what was read before.
    """

    def __init__(
        self,
        path: str,
        *,
        channel: Channel = "mix",
        buffer_seconds: float = 2.0,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> None:
        self.path = path
        self.name = printable(path)
        self.error: str | None = None
        self.notices: list[str] = []
        """What the user should know although nothing failed; sentences."""
        self._channel = channel
        self._stopped = False
        self._cancelled = cancelled
        self._broken = 0
        self._damages = 0
        self._fd, self.blocking = self._open_descriptor()
        try:
            self._decoder = self._open_decoder()
            check_channel(channel, self._decoder.channels, self.name)
        except BaseException:
            self.close()
            raise
        rate, frames = self._decoder.rate, self._decoder.frames
        self.info = StreamInfo(
            name=path,
            rate=rate,
            channels=self._decoder.channels,
            live=False,
            seconds=None if frames is None else frames / rate,
        )
        self.ring = Ring(max(1, round(buffer_seconds * rate)), 1, rate, shed=False)
        self._got = 0

    # ---- reading ------------------------------------------------------------------------------

    def read(self, frames: int) -> NDArray[np.float32] | None:
        """The next 1 to `frames` samples, shape (n, 1); None at the end.

        Never raises for what a recording holds; see `error`.
        """
        at_once = max(1, min(frames, _SAMPLES_AT_ONCE // self._decoder.channels))
        while True:
            try:
                block = self._decoder.read(at_once)
            except _DamagedError as damaged:
                self._damages += 1
                block = damaged.before
                self._fail(f"{self.name} is damaged at {self._at(len(block))}: {damaged}")
                if not len(block) and self._damages <= _DAMAGE_LIMIT:
                    continue
            except (InterruptedReadError, OSError) as error:
                if isinstance(error, OSError):
                    self._fail(f"{self.name} cannot be read on at {self._at()}: {_cause(error)}")
                return None
            if not len(block):
                self._conclude()
                return None
            self._got += len(block)
            heard, broken = sanitised(select(block, self._channel))
            self._broken += broken
            return heard

    def close(self) -> None:
        """Give the file back, once the thread that reads it has ended."""
        self._stopped = True
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def interrupt(self) -> None:
        """Make a read that waits for a pipe end within 0.2 s; from any thread."""
        self._stopped = True

    def _fail(self, sentence: str) -> None:
        if self.error is None:
            self.error = sentence

    def _at(self, more: int = 0) -> str:
        return f"{(self._got + more) / self._decoder.rate:.1f} s"

    def _conclude(self) -> None:
        if self._broken:
            self.notices.append(
                f"{self.name} held {self._broken} samples that are no numbers; "
                "they were heard as silence"
            )
        shortfall = self._decoder.verdict(self._got)
        if shortfall is not None:
            self._fail(f"{self.name} {shortfall}")

    # ---- opening ------------------------------------------------------------------------------

    def _open_descriptor(self) -> tuple[int, bool]:
        """A descriptor of our own, and whether it may keep a reader waiting."""
        if not self.path:
            raise UserError("the name of a recording is empty; name one, or - for standard input")
        try:
            if self.path == "-":
                fd = os.dup(sys.__stdin__.fileno() if sys.__stdin__ is not None else 0)
            else:
                if Path(self.path).is_dir():
                    raise UserError(f"{self.name} is a directory, not a recording")
                flags = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)
                fd = os.open(self.path, flags)
        except (OSError, ValueError) as error:
            raise UserError(f"{self.name} cannot be opened: {_cause(error)}") from error
        mode = os.fstat(fd).st_mode
        if stat.S_ISDIR(mode):
            os.close(fd)
            raise UserError(f"{self.name} is a directory, not a recording")
        if os.isatty(fd):
            os.close(fd)
            raise UserError(f"{self.name} is a terminal: pipe a WAV recording into it")
        if stat.S_ISREG(mode) and os.fstat(fd).st_size == 0:
            os.close(fd)
            raise UserError(f"{self.name} is empty")
        return fd, not stat.S_ISREG(mode)

    def _open_decoder(self) -> _Decoder:
        decoder: _Decoder
        if self.blocking:
            decoder = self._open_stream()
        else:
            try:
                decoder = _FileDecoder(self._fd)
            except (soundfile.LibsndfileError, OSError, TypeError, ValueError) as error:
                raise UserError(
                    f"{self.name} is not a recording that can be read: {_cause(error)}"
                ) from error
            if decoder.frames == 0:  # a WAV whose recorder died before it wrote the length?
                try:
                    os.lseek(self._fd, 0, os.SEEK_SET)
                    decoder = self._open_stream()
                    rest = os.fstat(self._fd).st_size - os.lseek(self._fd, 0, os.SEEK_CUR)
                except UserError:
                    rest = 0
                if decoder.frames == 0 or not rest:
                    raise UserError(f"{self.name} holds no sound")
        if not MIN_RATE <= decoder.rate <= MAX_RATE:
            raise UserError(
                f"{self.name} has a rate of {decoder.rate} Hz; "
                f"rates from {MIN_RATE} to {MAX_RATE} Hz can be read"
            )
        return decoder

    def _open_stream(self) -> _Decoder:
        reader = PipeReader(self._fd, lambda: self._stopped or self._cancelled())
        try:
            return _StreamDecoder(WavStream(reader.read))
        except NotWavError as error:
            raise UserError(f"{self.name} {error}; only WAV can be read from a pipe") from error
        except InterruptedReadError as error:
            raise UserError(f"{self.name} sent nothing", status=130) from error
        except OSError as error:
            raise UserError(f"{self.name} cannot be read: {_cause(error)}") from error


class _Forward(soundfile.SoundFile):  # type: ignore[misc]
    """soundfile seeks to where it is after each read of a seekable file, and libsndfile's MP3 and
    Opus decoders start anew there: block by block they gave other samples than the whole."""

    def seekable(self) -> bool:
        return False


class _FileDecoder:
    """A seekable file through libsndfile."""

    def __init__(self, fd: int) -> None:
        # Through the descriptor, since a name may be undecodable or suggest another format.
        self._file = _Forward(fd, closefd=False)
        self.rate: int = self._file.samplerate
        self.channels: int = self._file.channels
        self.frames: int | None = max(0, int(self._file.frames))
        self._buffer = np.zeros((0, self.channels), np.float32)
        self._position = 0
        self._missing = _missing_bytes(self._file.extra_info)
        self._cut = self._file.format == "OGG" and ogg_was_cut(fd)

    def read(self, frames: int) -> NDArray[np.float32]:
        if len(self._buffer) < frames:
            self._buffer = np.zeros((frames, self.channels), np.float32)
        try:
            block: NDArray[np.float32] = self._file.read(out=self._buffer[:frames])
        except soundfile.LibsndfileError as error:
            # What was decoded ahead of the damage is in the buffer.
            done = min(frames, max(0, self._tell() - self._position))
            self._position += done
            raise _DamagedError(_cause(error), self._buffer[:done].copy()) from error
        self._position += len(block)
        return block.copy()

    def _tell(self) -> int:
        try:
            return int(self._file.tell())
        except soundfile.LibsndfileError:  # GSM 6.10 and others cannot even say where they are
            return 0

    def verdict(self, got: int) -> str | None:
        if self._missing:
            return f"ends before its time, {self._missing} bytes short of what its header tells"
        if self._cut:
            return f"ends before its time, at {got / self.rate:.1f} s"
        assert self.frames is not None
        slack = _MPEG_SLACK if self._file.format == "MP3" else 0
        if got + slack < self.frames:
            return (
                f"is damaged: {got / self.rate:.1f} s of {self.frames / self.rate:.1f} s "
                "could be read"
            )
        return None


class _StreamDecoder:
    """WAV from a pipe."""

    def __init__(self, stream: WavStream) -> None:
        self._stream = stream
        self.rate = stream.format.rate
        self.channels = stream.format.channels
        self.frames = stream.format.frames

    def read(self, frames: int) -> NDArray[np.float32]:
        return self._stream.read(frames)

    def verdict(self, got: int) -> str | None:
        if self._stream.truncated:
            return f"ends before its time, at {got / self.rate:.1f} s"
        return "holds no sound" if got == 0 else None


_SHOULD_BE = re.compile(r"^\s*(\w[\w ]*?)\s*: (\d{1,18}) \(should be (\d{1,18})\)", re.MULTILINE)
_CHUNKS_OF_SAMPLES = {"data", "SSND", "BODY", "Data Size"}
_WHOLE_FILES = {"riff", "Riff size"}
_WHOLE_FILE_SLACK = 1024


def _missing_bytes(log: str) -> int:
    """Bytes that libsndfile missed at a file's end, by its log of the header, where it writes
    "data : 96000 (should be 49956)"; it says nothing else of a file cut short. W64 and RF64 are
    told by the whole file's size, which careless writers get slightly wrong."""
    missing = 0
    for name, told, there in _SHOULD_BE.findall(log):
        short = int(told) - int(there)
        if (name in _CHUNKS_OF_SAMPLES and not unknown_length(int(told))) or (
            name in _WHOLE_FILES and short > _WHOLE_FILE_SLACK
        ):
            missing = max(missing, short)
    return missing


def _cause(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    if isinstance(error, soundfile.LibsndfileError):
        text = str(error.error_string)
        return text.removeprefix("Error : ").strip().rstrip(".").lower()
    return str(error).splitlines()[0] if str(error) else type(error).__name__
