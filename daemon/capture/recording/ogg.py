"""Ogg pages (RFC 3533): where joined streams begin, whether one was cut.

libsndfile reads the first of several streams and takes a file that was cut for whole: there is no
length in its header that could be missed.
"""

from __future__ import annotations

from collections.abc import Iterator

from daemon.capture.recording.content import Content, find

_HEADER = 27
_LONGEST_PAGE = _HEADER + 255 + 255 * 255
_TAIL = 2 * _LONGEST_PAGE
"""Bytes from the end that are looked at: the longest page, and tags of other formats behind it."""
_CAPTURE_PATTERN = b"OggS\0"
_FIRST_PAGE = b"OggS\0\x02"
_END_OF_STREAM = 4


def ogg_links(content: Content) -> Iterator[int]:
    """Offsets at which streams begin, parallel ones counted once.

    Raises: OSError.
    """
    at = find(content, _FIRST_PAGE)
    following = -1
    while at >= 0:
        if at != following:
            yield at
        header = content.read_at(at, _HEADER + 255)
        segments = header[_HEADER : _HEADER + header[26]] if len(header) > _HEADER else b""
        following = at + _HEADER + len(segments) + sum(segments)
        at = find(content, _FIRST_PAGE, at + 1)


def ogg_was_cut(content: Content) -> bool:
    """Whether the file ends within a page or without an end of its stream.

    Of streams that are chained or side by side, each of which has an end, that is the last one's.
    False if there is no page near the end. Raises: OSError.
    """
    tail = content.read_at(max(0, content.size - _TAIL), _TAIL)
    start = tail.rfind(_CAPTURE_PATTERN)
    if start < 0:
        return False
    page = tail[start:]
    if len(page) < _HEADER:
        return True
    segments = page[_HEADER : _HEADER + page[26]]
    whole = len(segments) == page[26] and len(page) >= _HEADER + len(segments) + sum(segments)
    return not (whole and page[5] & _END_OF_STREAM)
