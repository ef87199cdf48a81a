"""Odd recordings: wrong lengths, joined streams, bytes around them."""

from __future__ import annotations

import random
import struct
from collections.abc import Mapping

import numpy as np

from daemon.capture.recording.content import MemoryContent
from daemon.capture.recording.mpeg import mpeg_links

_LENGTHS = (0, 1, 3, 4, 8, 1000, 0x7FFFFFFF, 0x80000000, 0xFFFFF000, 0xFFFFFFFF)
_LONG_LENGTHS = (-1, 0, 1, 4, 1000, 1 << 31, 1 << 40, 1 << 62, -(1 << 63))
_FOREIGN = (
    b"\0\0\0\x20ftypM4A \0\0\0\0",
    b"\x1a\x45\xdf\xa3",
    b"\x30\x26\xb2\x75\x8e\x66\xcf\x11",
    b"#!AMR\n",
    b"\xff\xf1\x50\x80",
    b"version https://git-lfs.github.com/spec/v1\n",
    b"\xff\xfea\0",
)
_TAILS = (b"TAG" + bytes(125), b"APETAGEX" + bytes(60), bytes(700), b"\xff" * 300, b"OggS", b"fLaC")


def odd_recording(rng: random.Random, kinds: Mapping[str, bytes]) -> bytes:
    """One file.

    kinds: whole recordings by container ("MP3", "FLAC", "OGG", "CAF", …).
    """
    data = _wrong_length(rng, kinds) if rng.random() < 0.6 else rng.choice(list(kinds.values()))
    for _ in range(rng.choice((0, 0, 1, 2))):  # joined with others, mostly of its kind
        data += data if rng.random() < 0.5 else rng.choice(list(kinds.values()))
    if rng.random() < 0.3:
        data = _ahead(rng) + data
    if rng.random() < 0.3:
        data += rng.choice((*_TAILS, rng.randbytes(rng.choice((1, 50, 3000)))))
    return data


def _ahead(rng: random.Random) -> bytes:
    match rng.randrange(5):
        case 0:
            size = rng.choice((0, 10, 2000, 1 << 20))
            there = rng.choice((size, size // 2)) if size < 1 << 16 else 100
            sizes = bytes((size >> shift) & 0x7F for shift in (21, 14, 7, 0))
            return b"ID3\x04\0" + bytes([rng.choice((0, 0x10, 0xFF))]) + sizes + bytes(there)
        case 1:
            return rng.randbytes(rng.choice((1, 3, 100, 5000, 70_000)))
        case 2:
            return bytes(rng.choice((1, 4, 3000)))
        case 3:
            return b"\xff" * rng.choice((1, 2, 500))
        case _:
            return rng.choice(_FOREIGN)


def _wrong_length(rng: random.Random, kinds: Mapping[str, bytes]) -> bytes:
    kind = rng.choice(("MP3", "MP3", "FLAC", "CAF", "AIFF", "AU", "WAV", "scale"))
    if kind == "scale":
        return _in_another_scale(rng)
    data = bytearray(kinds[kind])
    length = struct.pack(">I", rng.choice(_LENGTHS))
    match kind:
        case "MP3":
            links = list(mpeg_links(MemoryContent(bytes(data))))
            if rng.random() < 0.5:
                del data[: links[0].info_end]
            else:
                at = max(data.find(b"Xing"), data.find(b"Info")) + 8
                data[at : at + 4] = length
        case "FLAC":
            data[21] = data[21] & 0xF0 | rng.randrange(16)
            data[22:26] = length
        case "CAF":
            at = data.find(b"data") + 4
            data[at : at + 8] = struct.pack(">q", rng.choice(_LONG_LENGTHS))
        case "AIFF":
            for at in (4, data.find(b"COMM") + 10, data.find(b"SSND") + 4):
                if rng.random() < 0.7:
                    data[at : at + 4] = length
        case "AU":
            data[8:12] = length
        case _:
            data[4:8] = rng.choice((length[::-1], data[4:8]))
            data[40:44] = length[::-1]
    return bytes(data)


def _in_another_scale(rng: random.Random) -> bytes:
    """A WAV of floats far beyond full scale, after a while or from the start."""
    generator = np.random.default_rng(rng.getrandbits(32))
    sound = 0.3 * generator.standard_normal(8000).astype("<f4")
    sound[rng.choice((0, 100, 7999)) :] *= rng.choice((10, 100, 2**15, 2**23, 2**31, 1e30))
    raw = sound.astype("<f4").tobytes()
    fmt = struct.pack("<HHIIHH", 3, 1, 16000, 64000, 4, 32)
    body = b"WAVEfmt " + struct.pack("<I", 16) + fmt + b"data" + struct.pack("<I", len(raw)) + raw
    return b"RIFF" + struct.pack("<I", len(body)) + body
