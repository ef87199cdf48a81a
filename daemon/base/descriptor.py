"""Whole writes to a file descriptor."""

from __future__ import annotations

import errno
import os
import select
import stat


def as_departure(error: OSError) -> OSError:
    """The error of a write, as BrokenPipeError where a terminal has closed.

    A terminal that has closed gives EIO.
    """
    if error.errno != errno.EIO:
        return error
    return OSError(errno.ENXIO, "the terminal has closed")


def point_to_null(fd: int) -> None:
    """Point `fd` at the null device, so that flushing its stream can't fail."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, fd)
    os.close(null)


def write_whole(fd: int, data: bytes) -> None:
    """Write all of `data`, in one write where the system lets us.

    Waits for room where the descriptor itself would not wait. If only a part found room in a
    regular file, the file is cut back to where it was before the OSError is raised.
    """
    written = 0
    try:
        while written < len(data):
            try:
                written += os.write(fd, data[written:] if written else data)
            except BlockingIOError:
                select.select([], [fd], [])
    except OSError:
        if written:
            status = os.fstat(fd)
            if stat.S_ISREG(status.st_mode):
                os.ftruncate(fd, status.st_size - written)
        raise
