"""Whether an Ogg file was cut short, told by its last page (RFC 3533).

libsndfile takes such a file for whole: there is no length in its header that could be missed.
"""

from __future__ import annotations

import os

_HEADER = 27
_TAIL = 2 * (_HEADER + 255 + 255 * 255)
"""Bytes from the end that are looked at: the longest page, and tags of other formats behind it."""
_CAPTURE_PATTERN = b"OggS\0"
_END_OF_STREAM = 4


def ogg_was_cut(fd: int) -> bool:
    """Whether the file ends within a page, or its last page is not the end of its stream. Of
    streams that are chained or side by side, each of which has an end, that is the last one's.

    The descriptor's position stays. False if there is no page near the end. Raises OSError.
    """
    position = os.lseek(fd, 0, os.SEEK_CUR)
    try:
        os.lseek(fd, -min(_TAIL, os.fstat(fd).st_size), os.SEEK_END)
        tail = b""
        while block := os.read(fd, _TAIL):
            tail += block
    finally:
        os.lseek(fd, position, os.SEEK_SET)
    start = tail.rfind(_CAPTURE_PATTERN)
    if start < 0:
        return False
    page = tail[start:]
    if len(page) < _HEADER:
        return True
    segments = page[_HEADER : _HEADER + page[26]]
    whole = len(segments) == page[26] and len(page) >= _HEADER + len(segments) + sum(segments)
    return not (whole and page[5] & _END_OF_STREAM)
