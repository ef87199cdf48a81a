"""JSON lines for other programs: one object a line, written whole.

Keys, their order and their meaning are a contract (see docs/output.md). Levels and statuses
are not part of it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import sys
from collections.abc import Sequence
from pathlib import Path

from daemon.base.descriptor import as_departure, write_whole
from daemon.base.errors import UserError, os_reason
from daemon.base.text import screen_text
from daemon.messages import (
    LINE_TYPES,
    MESSAGE_KINDS,
    Message,
    RunInfo,
    Start,
    Summary,
)
from daemon.output.base import OutputClosed, OutputContext
from daemon.output.line_format import LineFormat


class JsonLines:
    """Writes lines of `types` to a file, or standard output for "-".

    A replay, which can be repeated, overwrites the file; a live run, which a service manager may
    restart, appends to it. Each line is one write, taken back if only part of it found
    room, so that a file holds whole lines even after a full disk or SIGKILL.
    """

    def __init__(self, target: str, types: Sequence[str] = LINE_TYPES) -> None:
        self._written = frozenset(
            kind.message for kind in MESSAGE_KINDS if kind.json_line and kind.name in types
        )
        # The end of a stream is the end of keeping its start.
        self.takes = self._written | ({Summary} if Start in self._written else set())
        self._target = target
        self._standard = target == "-"
        self._terminal = False
        self._fd: int | None = None
        self._format = LineFormat(())
        self._starts: dict[str, bytes] = {}

    @property
    def name(self) -> str:
        if self._standard:
            return "JSON lines to standard output"
        return f"JSON lines to {screen_text(self._target)}"

    def open(self, run: RunInfo) -> None:
        """Open the file.

        Raises: UserError if it cannot be written, or holds what must not be overwritten.
        """
        self._format = LineFormat(run.labels)
        if self._standard:
            self._fd = sys.stdout.fileno()
            self._terminal = os.isatty(self._fd)
            return
        live = any(stream.live for stream in run.streams)
        try:
            self._refuse_what_would_be_lost(run)
            self._fd = _open(Path(self._target), overwrite=not live)
        except OSError as error:
            raise UserError(
                f"{self.name}: {_open_reason(error)}; name a file that can be written with --jsonl."
            ) from error

    def publish(self, message: Message) -> None:
        """Write one line.

        Raises: OSError, nothing being written then; OutputClosed if the reader of standard output
        went away.
        """
        if self._fd is None:
            raise OSError(errno.EBADF, "the file is not open")
        if type(message) not in self._written:
            self._forget(message)
            return
        line = self._format.line(message)
        try:
            write_whole(self._fd, line)
        except BrokenPipeError:
            if not self._standard:
                raise
            raise OutputClosed from None
        except OSError as error:
            raise (as_departure(error) if self._terminal else error) from None
        if isinstance(message, Start):
            self._starts[message.stream] = line
        self._forget(message)

    def _forget(self, message: Message) -> None:
        if isinstance(message, Summary):
            self._starts.pop(message.stream, None)

    def reopen(self) -> None:
        """Reopen the file by its name, to append; standard output stays open.

        A file that is new begins as the one before did.
        """
        if self._standard:
            return
        self._release()
        self._fd = _open(Path(self._target), overwrite=False)
        status = os.fstat(self._fd)
        if stat.S_ISREG(status.st_mode) and status.st_size == 0 and self._starts:
            write_whole(self._fd, b"".join(self._starts.values()))

    def close(self) -> None:
        if self._standard:
            self._fd = None
        else:
            self._release()

    def _refuse_what_would_be_lost(self, run: RunInfo) -> None:
        """Refuse to overwrite a recording by a slip on the command line.

        Raises: UserError before anything is touched.
        """
        path = Path(self._target)
        if not path.exists():
            return
        for stream in run.streams:
            if not stream.live and _same_file(path, stream.name):
                raise UserError(
                    f"{self.name}: that is the recording that is replayed; name another file "
                    "with --jsonl."
                )
        if not _may_hold_lines(path):
            raise UserError(
                f"{self.name}: the file is there and holds something else; name another file "
                "with --jsonl, or remove this one."
            )

    def _release(self) -> None:
        fd, self._fd = self._fd, None
        if fd is not None:
            os.close(fd)


def make(context: OutputContext) -> JsonLines | None:
    """The JSON lines that the settings ask for."""
    output = context.settings.output
    if not output.jsonl:
        return None
    target = os.path.expanduser(output.jsonl)  # noqa: PTH111 - "-" is no path
    return JsonLines(target, output.types)


def _open(path: Path, *, overwrite: bool) -> int:
    """Descriptor to append to; a pipe without reader is an error (ENXIO).

    It does not wait for a reader.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_CLOEXEC", 0)
    flags |= getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    fd = os.open(path, flags, 0o644)
    try:
        if stat.S_ISREG(os.fstat(fd).st_mode):
            if overwrite:
                os.ftruncate(fd, 0)
            else:
                _end_torn_line(path, fd)
    except OSError:
        os.close(fd)
        raise
    return fd


def _end_torn_line(path: Path, fd: int) -> None:
    """Another program's unfinished last line must not swallow our first."""
    size = os.fstat(fd).st_size
    if size == 0:
        return
    with contextlib.suppress(PermissionError), path.open("rb") as file:
        file.seek(size - 1)
        if file.read(1) != b"\n":
            os.write(fd, b"\n")


def _same_file(path: Path, recording: str) -> bool:
    """Whether `recording`, a path or - for stdin, is the file at `path`."""
    try:
        there = os.fstat(0) if recording == "-" else os.stat(recording)  # noqa: PTH116
        return os.path.samestat(path.stat(), there)
    except (OSError, ValueError):  # gone, or a name that no file can have: it isn't this one
        return False


def _may_hold_lines(path: Path) -> bool:
    """False for a file whose beginning shows that it holds no JSON lines."""
    if not path.is_file():
        return True
    with contextlib.suppress(PermissionError), path.open("rb") as file:
        return file.read(1) in (b"", b"{")
    return True


def _open_reason(error: OSError) -> str:
    return "nobody reads that pipe" if error.errno == errno.ENXIO else os_reason(error)
