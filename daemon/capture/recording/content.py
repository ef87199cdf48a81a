"""Bytes of a recording: a file, memory, or parts of them as a file."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from typing import Protocol

_CHUNK = 1 << 20
_TAG_BYTES = 128


class Content(Protocol):
    """Random access to bytes."""

    size: int

    def read_at(self, offset: int, count: int) -> bytes:
        """`count` bytes from `offset`, fewer at the end. Raises: OSError."""
        ...


class FileContent:
    """A regular file, by its descriptor, which stays the caller's."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.size = os.fstat(descriptor).st_size

    def read_at(self, offset: int, count: int) -> bytes:
        if not 0 <= offset < self.size:
            return b""
        os.lseek(self._descriptor, offset, os.SEEK_SET)
        data = os.read(self._descriptor, count)
        while len(data) < count and (more := os.read(self._descriptor, count - len(data))):
            data += more
        return data


class MemoryContent:
    """Bytes in memory: out of a table, or all that came through a pipe."""

    def __init__(self, data: bytes | bytearray) -> None:
        self._data = memoryview(data)
        self.size = len(data)

    def read_at(self, offset: int, count: int) -> bytes:
        return bytes(self._data[offset : offset + count]) if offset >= 0 else b""


def find(content: Content, pattern: bytes, start: int = 0, end: int | None = None) -> int:
    """Offset of the first `pattern` at or after `start`, or -1.

    Raises: OSError.
    """
    end = content.size if end is None else min(end, content.size)
    overlap = len(pattern) - 1
    while start < end:
        block = content.read_at(start, min(_CHUNK, end - start) + overlap)
        at = block.find(pattern)
        if at >= 0 and start + at < end:
            return start + at
        start += _CHUNK
    return -1


class View(io.RawIOBase):
    """The bytes [start, end) of `content` as a seekable file.

    replaced: bytes put over those of the content, by their offset in it.
    claim: the size that it pretends to have, if that is more. What it lacks then reads as the end,
    but for 128 zeros at the pretended end, where a tag is looked for.
    An error of the system is kept in `error` and reads as the end, since C code calls this.
    """

    def __init__(
        self,
        content: Content,
        start: int = 0,
        end: int | None = None,
        *,
        replaced: Mapping[int, bytes] | None = None,
        claim: int = 0,
    ) -> None:
        self._content = content
        self._start = start
        self._replaced = dict(replaced or {})
        self._there = (content.size if end is None else end) - start
        self._size = max(self._there, claim)
        self._position = 0
        self.error: OSError | None = None

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        self._position = max(0, base + offset)
        return self._position

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        count = max(0, min(len(buffer), self._there - self._position))
        data = self._original(self._start + self._position, count) if count else b""
        if self._there < self._size - _TAG_BYTES <= self._position < self._size:
            data = bytes(min(len(buffer), self._size - self._position))
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)

    def _original(self, offset: int, count: int) -> bytes:
        try:
            data = self._content.read_at(offset, count)
        except OSError as error:
            self.error = error
            return b""
        for at, new in self._replaced.items():
            first, last = max(at, offset), min(at + len(new), offset + len(data))
            if first < last:
                piece = new[first - at : last - at]
                data = data[: first - offset] + piece + data[last - offset :]
        return data
