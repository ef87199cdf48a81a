"""Finds the frames of an MPEG audio stream (MP3), also of joined ones.

So its true length is known.

libsndfile believes the Xing header, or guesses the length by the first frame, and cuts what is
behind that. Frame headers: ISO/IEC 11172-3 section 2.4.2.3, 13818-3, and the unofficial MPEG 2.5.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from daemon.capture.recording.containers import apev2_length, id3_length
from daemon.capture.recording.content import Content

_BLOCK = 1 << 20
_MOST_FRAME = 5761 * 2
_BITRATES = {  # kbit/s by (version 1, layer)
    (True, 1): (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448, 0),
    (True, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 0),
    (True, 3): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 0),
    (False, 1): (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256, 0),
    (False, 2): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160, 0),
    (False, 3): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160, 0),
}
_RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}


@dataclass(slots=True)
class MpegLink:
    """One of the streams that a file consists of; mostly the only one."""

    start: int
    end: int
    frames: int
    """Frames that are there, the one that holds the Xing header aside."""
    header: bytes
    """Four bytes of the first frame."""
    info_end: int = 0
    """Where the frame with a Xing, Info or VBRI header ends; 0 without one."""
    declared: int | None = None
    """Frames by that header."""

    @property
    def trusted(self) -> bool:
        """Whether the stream's own header is right, or the file was cut.

        Cut: the header tells of more than is there.
        """
        return self.declared is not None and self.declared >= self.frames

    @property
    def samples(self) -> int:
        """Samples of each channel."""
        layer, half = 4 - (self.header[1] >> 1 & 3), self.header[1] & 0x08 == 0
        return self.frames * (384 if layer == 1 else 576 if layer == 3 and half else 1152)

    @property
    def claim(self) -> int:
        """Size to pretend, so that a guess by the first frame is long enough."""
        return 2 * frame_length(self.header) * (self.frames + 2) + self.end - self.start


def _lengths(second: int) -> tuple[int, ...]:
    """Frame lengths in bytes by the header's third byte, 0 for no frame."""
    version, layer = second >> 3 & 3, 4 - (second >> 1 & 3)
    if second & 0xE0 != 0xE0 or version == 1 or layer == 4:
        return (0,) * 256
    found = []
    for third in range(256):
        rate_index, padding = third >> 2 & 3, third >> 1 & 1
        bits = 1000 * _BITRATES[version == 3, layer][third >> 4]
        if rate_index == 3 or not bits:
            found.append(0)
            continue
        rate = _RATES[version][rate_index]
        if layer == 1:
            found.append((12 * bits // rate + padding) * 4)
        else:
            found.append((72 if layer == 3 and version != 3 else 144) * bits // rate + padding)
    return tuple(found)


_LENGTHS = tuple(_lengths(second) for second in range(256))


def _same_stream(a: bytes, b: bytes) -> bool:
    """Whether two frame headers agree in version, layer, rate and channels."""
    return (
        a[0] == b[0]
        and (a[1] ^ b[1]) & 0xFE == 0
        and (a[2] ^ b[2]) & 0x0C == 0
        and (a[3] >> 6 == 3) == (b[3] >> 6 == 3)
    )


def frame_length(header: bytes) -> int:
    """Bytes of the frame with this header, 0 if it is none."""
    return _LENGTHS[header[1]][header[2]] if len(header) >= 4 and header[0] == 0xFF else 0


def first_frame(data: bytes, run: int = 4) -> int:
    """Offset of the first of `run` consecutive frames, -1 without such."""
    at = data.find(b"\xff")
    while at >= 0:
        place, count = at, 0
        while count < run:
            header = data[place : place + 4]
            length = frame_length(header)
            if not length or not _same_stream(header, data[at : at + 4]):
                break
            place += length
            count += 1
        if count == run or (count > 1 and place == len(data)):
            return at
        at = data.find(b"\xff", at + 1)
    return -1


def _info_offset(header: bytes) -> int:
    """Offset of a Xing header in a frame: behind layer III's side information."""
    mono = header[3] >> 6 == 3
    if header[1] & 0x08:
        return 4 + (17 if mono else 32)
    return 4 + (9 if mono else 17)


def _declared_frames(frame: bytes) -> int | None:
    """Number of frames by a Xing, Info or VBRI header in this frame.

    -1 if it does not say, None without such a header.
    """
    if frame[1] & 0x06 != 0x02:
        return None  # not layer III
    at = _info_offset(frame)
    if frame[at : at + 4] in (b"Xing", b"Info") and len(frame) >= at + 12:
        flags, frames = struct.unpack_from(">II", frame, at + 4)
        return frames if flags & 1 else -1
    if frame[36:40] == b"VBRI" and len(frame) >= 54:
        return int(struct.unpack_from(">I", frame, 36 + 14)[0])
    return None


def mpeg_links(content: Content, start: int = 0) -> Iterator[MpegLink]:
    """The streams of a file, from the first frame at `start`. Raises: OSError.

    A new one begins with a Xing header or with frames of another kind; tags and damaged bytes
    between frames are passed over.
    """
    link: MpegLink | None = None
    block, base = b"", start
    position = start
    while True:
        if position - base + _MOST_FRAME > len(block) and base + len(block) < content.size:
            base, block = position, content.read_at(position, _BLOCK)
        at = position - base
        header = block[at : at + 4]
        length = frame_length(header)
        if not length or (link is not None and not _resumes(link, header, block, at, length)):
            skipped = _skip(block, at, content.size - position)
            if skipped is None:
                break
            position += skipped
            continue
        if position + length > content.size:
            break  # the frame was cut off
        declared = _declared_frames(block[at : at + length])
        if link is None or declared is not None or not _same_stream(header, link.header):
            if link is not None and link.frames:
                yield link
            link = MpegLink(position, position, 0, header)
        if declared is not None:
            link.info_end = position + length
            link.declared = declared if declared > 0 else None
            position += length
        else:
            position += _run(link, block, at)
        link.end = position
    if link is not None and link.frames:
        yield link


def _run(link: MpegLink, block: bytes, at: int) -> int:
    """Count the stream's whole frames from `at` on; return their bytes.

    The first is one. Stops ahead of a Xing header, and where the next block has to be read.
    """
    second, rate, mono = link.header[1] | 1, link.header[2] & 0x0C, link.header[3] >> 6 == 3
    lengths = _LENGTHS[second]
    info = _info_offset(link.header)
    place, limit = at, len(block) - 4
    while place <= limit:
        third = block[place + 2]
        if (
            block[place] != 0xFF
            or block[place + 1] | 1 != second
            or third & 0x0C != rate
            or (block[place + 3] >> 6 == 3) != mono
        ):
            break
        length = lengths[third]
        if not length or place + length > len(block):
            break
        if place > at and block.startswith((b"Xing", b"Info"), place + info):
            break
        place += length
        link.frames += 1
    return place - at


def _resumes(link: MpegLink, header: bytes, block: bytes, at: int, length: int) -> bool:
    """Whether a frame continues the stream or begins another that goes on."""
    if _same_stream(header, link.header):
        return True
    following = block[at + length : at + length + 4]
    return len(following) == 4 and bool(frame_length(following)) and _same_stream(header, following)


def _skip(block: bytes, at: int, left: int) -> int | None:
    """Bytes to skip up to the next frame or tag; None at the file's end."""
    head = block[at : at + 32]
    tag = id3_length(head) or apev2_length(head) or (128 if head[:3] == b"TAG" else 0)
    if tag:
        return tag if tag < left else None
    if left <= 4:
        return None
    found = first_frame(block[at + 1 : at + 1 + (1 << 16)], run=3)
    tags = [t for name in (b"ID3", b"APETAGEX") if (t := block.find(name, at + 1)) >= 0]
    if found >= 0:
        return 1 + found
    step = min([t - at for t in tags] + [1 << 16])
    return step if step < left else None
