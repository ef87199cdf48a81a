"""Redirection of standard error.

PortAudio, ALSA, JACK and libmpg123 write to file descriptor 2 itself, past Python, over a
full-screen dashboard and between plain lines: so the descriptor is what is turned away.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import platformdirs

from daemon.base.descriptor import point_to_null

LARGEST = 1_000_000
"""Bytes of a log from which it is put aside as .1 before a new one is begun."""


def log_path() -> Path:
    """The default path of the log, in the user's log folder."""
    return Path(platformdirs.user_log_dir("intentd", appauthor=False)) / "intentd.log"


class StderrToLog:
    """Redirects descriptor 2 to a file while entered, if it is a terminal.

    A file or pipe that the user chose is left alone. Afterwards it names the log on the terminal if
    anything was written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._terminal: int | None = None
        self._size = 0

    @property
    def active(self) -> bool:
        """Whether standard error leads to the log now."""
        return self._terminal is not None

    def check(self) -> None:
        """Raise OSError if the log will be needed and can't be written."""
        if _is_terminal(2):
            os.close(self._open())

    def __enter__(self) -> Self:
        if not _is_terminal(2):
            return self
        try:
            target = self._open()
        except OSError:
            # Rather lost than written over the dashboard, which repeats warnings afterwards.
            target = os.open(os.devnull, os.O_WRONLY)
        self._terminal = os.dup(2)
        _flush()
        os.dup2(target, 2)
        self._size = os.fstat(target).st_size
        os.close(target)
        return self

    def __exit__(self, *_: object) -> None:
        terminal, self._terminal = self._terminal, None
        if terminal is None:
            return
        _flush()
        grown = os.fstat(2).st_size > self._size
        os.dup2(terminal, 2)
        os.close(terminal)
        if grown:
            with contextlib.suppress(OSError):
                os.write(2, f"intentd: messages were logged to {self._path}\n".encode())

    def _open(self) -> int:
        with contextlib.suppress(FileExistsError):  # a file; opening says what is wrong with that
            self._path.parent.mkdir(parents=True, exist_ok=True)
        if self._path.exists() and self._path.stat().st_size > LARGEST:
            self._path.replace(self._path.with_suffix(".log.1"))
        return os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)


@contextmanager
def discard_native_stderr() -> Iterator[None]:
    """Discard what native libraries write to descriptor 2.

    `sys.stderr` goes on writing where it did before.

    sounddevice points descriptor 2 at the null device while PortAudio initialises, which may take
    seconds when a sound server is gone; what `sys.stderr` says in that time would be lost without
    this. Enter it before threads start: descriptors belong to the whole process. Where there is no
    descriptor 2, nothing is changed.
    """
    try:
        sys.stderr.flush()
        kept = os.dup(2)
    except (OSError, AttributeError, ValueError):
        yield
        return
    before = sys.stderr
    own = _descriptor(before) == 2
    point_to_null(2)
    if own:
        sys.stderr = open(  # noqa: SIM115 - a descriptor has no path; closed below
            kept,
            "w",
            buffering=1,
            encoding=before.encoding,
            errors=before.errors,
            closefd=False,
        )
    try:
        yield
    finally:
        with contextlib.suppress(OSError, ValueError):  # its terminal may have gone
            sys.stderr.flush()
        sys.stderr = before
        os.dup2(kept, 2)
        os.close(kept)


def _descriptor(stream: object) -> int | None:
    try:
        return int(stream.fileno())  # type: ignore[attr-defined]
    except (OSError, AttributeError, ValueError):
        return None


def _is_terminal(fd: int) -> bool:
    try:
        return os.isatty(fd)
    except OSError:
        return False


def _flush() -> None:
    if sys.stderr is not None:
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.flush()
