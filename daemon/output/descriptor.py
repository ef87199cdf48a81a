"""Whole writes to a file descriptor."""

from __future__ import annotations

import os
import select
import stat


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
