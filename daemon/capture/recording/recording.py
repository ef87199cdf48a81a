"""A recording as a stream: any file of libsndfile's, or a pipe."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from daemon.base.errors import UserError
from daemon.base.text import escaped
from daemon.capture.channels import Channel, check_channel
from daemon.capture.recording.content import FileContent
from daemon.capture.recording.decoder import Decoder, UnreadableError, open_content, open_pipe
from daemon.capture.recording.libsndfile import cause
from daemon.capture.recording.pipe import InterruptedReadError, PipeReader
from daemon.capture.recording.reader import Reader
from daemon.capture.ring import Ring
from daemon.messages import StreamInfo


def printable(path: str) -> str:
    """A path for a sentence: no line breaks, escapes or undecodable bytes."""
    if path == "-":
        return "standard input"
    return escaped(path)


class Recording:
    """One recording as a stream: the ring of a `Source`, filled by a `Feeder`.

    path: a file, a FIFO, or `-` for standard input.
    channel: "mix" or a number from 1; chosen before the ring, which is mono and holds
    `buffer_seconds`. Samples that are no numbers become 0, and everything is kept in [-1, 1].
    Opening a FIFO waits for its writer until `cancelled` says True; of what is no WAV, until the
    writer has ended.

    Raises: UserError with one sentence if nothing can be read. What goes wrong later is kept in
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
        self._stopped = False
        self._cancelled = cancelled
        self._fd, self.blocking = self._open_descriptor()
        try:
            decoder = self._open_decoder()
            check_channel(channel, decoder.channels, self.name)
        except BaseException:
            self.close()
            raise
        rate, frames = decoder.rate, decoder.frames
        self.info = StreamInfo(
            name=path,
            rate=rate,
            channels=decoder.channels,
            live=False,
            seconds=None if frames is None else frames / rate,
        )
        self.ring = Ring(max(1, round(buffer_seconds * rate)), 1, rate, shed=False)
        self._reader = Reader(decoder, channel)
        self._failure: str | None = None

    # ---- reading ------------------------------------------------------------------------------

    def read(self, frames: int) -> NDArray[np.float32] | None:
        """The next 1 to `frames` samples, shape (n, 1); None at the end.

        Never raises for what a recording holds; see `error`.
        """
        try:
            block = self._reader.read(frames)
        except InterruptedReadError:
            return None
        self.ring.channels_cancel = self._reader.cancelled
        return block

    @property
    def error(self) -> str | None:
        """The error as a sentence; None while there is none."""
        if self._failure is not None:
            return self._failure
        return None if self._reader.error is None else f"{self.name} {self._reader.error}"

    def fail(self, sentence: str) -> None:
        """Note what else went wrong, unless something did before."""
        if self.error is None:
            self._failure = sentence

    @property
    def notices(self) -> list[str]:
        """Warnings about a recording that can be read, as sentences."""
        return [f"{self.name} {notice}" for notice in self._reader.notices]

    def close(self) -> None:
        """Close the file, once the thread that reads it has ended."""
        self._stopped = True
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def interrupt(self) -> None:
        """Make a read that waits for a pipe end within 0.2 s; from any thread."""
        self._stopped = True

    # ---- opening ------------------------------------------------------------------------------

    def _open_descriptor(self) -> tuple[int, bool]:
        """A duplicate descriptor, and whether it is a pipe.

        A pipe may keep a reader waiting.
        """
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
            raise UserError(f"{self.name} cannot be opened: {cause(error)}") from error
        mode = os.fstat(fd).st_mode
        if stat.S_ISDIR(mode):
            os.close(fd)
            raise UserError(f"{self.name} is a directory, not a recording")
        if os.isatty(fd):
            os.close(fd)
            raise UserError(f"{self.name} is a terminal: pipe a recording into it")
        return fd, not stat.S_ISREG(mode)

    def _open_decoder(self) -> Decoder:
        try:
            if not self.blocking:
                return open_content(FileContent(self._fd))
            reader = PipeReader(self._fd, lambda: self._stopped or self._cancelled())
            return open_pipe(reader.read)
        except UnreadableError as error:
            raise UserError(f"{self.name} {error}") from error
        except InterruptedReadError as error:
            raise UserError(f"{self.name} sent nothing that can be read", status=130) from error
        except OSError as error:
            raise UserError(f"{self.name} cannot be read: {cause(error)}") from error
