"""Finds the samples of files whose header has a wrong length.

These are CAF, AIFF, AU and WAV files.

A recorder that died, or that writes to a pipe, leaves 0, -1 or a first guess there, and libsndfile
refuses such a file or reads none or little of it. Formats: Apple Core Audio Format 1.0; Apple AIFF
1.3 and AIFF-C; the header of Sun's au(5); "Multiple Channel Audio Data and WAVE Files".
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from daemon.capture.recording.content import Content

_LEAST_REST = 64
"""Bytes behind the samples too few to say that the length is wrong."""


@dataclass(frozen=True, slots=True)
class Repair:
    """Replacement bytes for a header, by offset, and the length's fault."""

    replaced: dict[int, bytes]
    missing: int = 0
    """Bytes that the header tells of and the file lacks."""
    beyond: bool = False
    """The file has samples behind those that the header tells of."""


@dataclass(frozen=True, slots=True)
class _Layout:
    first: int
    """Offset of the first chunk."""
    header: str
    """A chunk's header: name and size."""
    samples: bytes
    """Name of the chunk with the samples."""
    least: int
    """Bytes in that chunk ahead of the samples."""
    even: bool


_LAYOUTS = {
    "caf": _Layout(8, ">4sq", b"data", 4, False),
    "aiff": _Layout(12, ">4sI", b"SSND", 8, True),
    "wav": _Layout(12, "<4sI", b"data", 0, True),
}


def unknown_length(size: int) -> bool:
    """Whether a chunk's 32-bit size means that its recorder did not know it."""
    return size == 0 or 0x7FFFF000 <= size <= 0x80000000 or size >= 0xFFFFF000


def is_chunk_name(name: bytes) -> bool:
    """Whether four bytes are a chunk's name or begin a tag; samples otherwise."""
    printable = all(0x20 <= byte < 0x7F for byte in name)
    return len(name) == 4 and ((printable and name[:1].isalnum()) or name[:3] in (b"TAG", b"ID3"))


def repair(content: Content, container: str) -> Repair | None:
    """The repair of the samples' length; None if it is right or unknown.

    container: "caf", "aiff", "au" or "wav". Raises: OSError.
    """
    if container == "au":
        return _repair_au(content)
    layout = _LAYOUTS.get(container)
    if layout is None:
        return None
    size_of = struct.calcsize(layout.header)
    at = layout.first
    for _ in range(1000):
        head = content.read_at(at, size_of)
        if len(head) < size_of:
            return None
        name, size = struct.unpack(layout.header, head)
        if name == layout.samples:
            return _repair_chunk(content, layout, at, size_of, size)
        if size < 0:
            return None
        at += size_of + size + (size & 1 if layout.even else 0)
    return None


def _repair_chunk(
    content: Content, layout: _Layout, at: int, size_of: int, size: int
) -> Repair | None:
    body = at + size_of
    rest = content.size - body
    unknown = size < 0 if layout.header.endswith("q") else unknown_length(size)
    beyond = False
    if size == 0 or not (unknown or size > rest):
        end = body + size + (size & 1 if layout.even else 0)
        following = content.read_at(end - 1, _LEAST_REST)
        names = any(is_chunk_name(following[shift : shift + 4]) for shift in range(3))
        if len(following) < _LEAST_REST or not any(following) or names:
            return None
        beyond = size > layout.least
        unknown = True
    code = layout.header[0] + layout.header[-1]
    width = struct.calcsize(code)
    declared = struct.pack(code, rest if width == 8 else min(rest, 0xFFFFFFFF))
    return Repair({body - width: declared}, 0 if unknown else size - rest, beyond)


def _repair_au(content: Content) -> Repair | None:
    head = content.read_at(0, 12)
    if len(head) < 12:
        return None
    offset, size = struct.unpack_from(">II", head, 4)
    rest = content.size - offset
    if size in (rest, 0xFFFFFFFF) or rest <= 0 or offset < 24:
        return None
    if size > rest and not unknown_length(size):
        return Repair({8: struct.pack(">I", rest & 0xFFFFFFFF)}, size - rest)
    if size < rest and not unknown_length(size):
        following = content.read_at(offset + size, _LEAST_REST)
        if len(following) < _LEAST_REST or not any(following):
            return None
    return Repair({8: struct.pack(">I", 0xFFFFFFFF)}, beyond=not unknown_length(size))
