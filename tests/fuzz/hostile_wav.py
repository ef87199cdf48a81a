"""WAV files that lie: every field of the header from a list of bad ideas."""

from __future__ import annotations

import random
import struct

import numpy as np

RATES = (
    0,
    1,
    7,
    999,
    1000,
    8000,
    16000,
    44100,
    48000,
    192000,
    384001,
    10_000_000,
    2**31,
    2**32 - 1,
)
CHANNELS = (0, 1, 1, 1, 2, 2, 3, 8, 255, 1024, 65535)
BITS = (0, 1, 4, 8, 12, 16, 16, 16, 24, 32, 64, 65535)
FORMATS = (0, 1, 1, 1, 2, 3, 3, 6, 7, 17, 49, 85, 0xFFFE, 0xFFFF)
SIZES = (0, 1, 3, 2**31 - 1, 2**31, 2**32 - 1)


def hostile_wav(rng: random.Random) -> bytes:
    """One file; most fields are right, so that the wrong ones are reached."""

    def often(right: int, wrong: tuple[int, ...], chance: float = 0.1) -> int:
        return rng.choice(wrong) if rng.random() < chance else right

    rate = often(16000, RATES)
    channels = often(1, CHANNELS)
    kind = often(1, FORMATS)
    bits = often(32 if kind == 3 else 8 if kind in (6, 7) else 16, BITS)
    align = often(max(1, channels * bits // 8) & 0xFFFF, (0, 1, 65535))
    frames = rng.choice((0, 1, 100, 1600, 4000, 9000))
    sound = _payload(rng, kind, frames * min(channels, 8))
    fmt = struct.pack(
        "<HHIIHH", kind, channels, rate, often(rate * align & 0xFFFFFFFF, SIZES), align, bits
    )
    if kind == 0xFFFE or rng.random() < 0.1:
        subformat = (
            struct.pack("<H", rng.choice(FORMATS)) + b"\0\0\0\0\x10\0\x80\0\0\xaa\0\x38\x9b\x71"
        )
        fmt += struct.pack("<HHI", often(22, (0, 65535)), bits & 0xFFFF, rng.getrandbits(32))
        fmt += subformat
    elif rng.random() < 0.08:
        fmt = fmt[: rng.randrange(len(fmt) + 1)]
    chunks = [_chunk(rng, b"fmt ", fmt), _chunk(rng, b"data", sound)]
    for _ in range(rng.choice((0, 0, 0, 1, 2, 5))):
        name = rng.choice(
            (b"LIST", b"fact", b"bext", b"JUNK", b"fmt ", b"data", b"\0\0\0\0", b"id3 ")
        )
        body = rng.randbytes(rng.choice((0, 1, 7, 26, 602, 5000)))
        chunks.insert(rng.randrange(len(chunks) + 1), _chunk(rng, name, body))
    if rng.random() < 0.05:
        rng.shuffle(chunks)
    body = b"WAVE" + b"".join(chunks)
    magic = rng.choice((b"RIFF",) * 12 + (b"RIFX", b"RF64", b"FORM", b"RIF\0"))
    return magic + struct.pack("<I", often(len(body), SIZES)) + body


def _chunk(rng: random.Random, name: bytes, body: bytes) -> bytes:
    size = rng.choice(SIZES) if rng.random() < 0.06 else len(body)
    pad = b"\0" if len(body) % 2 and rng.random() < 0.8 else b""
    return name + struct.pack("<I", size & 0xFFFFFFFF) + body + pad


def _payload(rng: random.Random, kind: int, samples: int) -> bytes:
    generator = np.random.default_rng(rng.getrandbits(32))
    sound = 0.3 * generator.standard_normal(samples)
    if kind != 3:
        return (sound * 32767).clip(-32768, 32767).astype("<i2").tobytes()
    floats = sound.astype("<f4")
    if samples and rng.random() < 0.6:
        bad = np.array([np.nan, np.inf, -np.inf, 3e38, 1e-45, -0.0], "<f4")
        where = generator.integers(0, samples, max(1, samples // 20))
        floats[where] = generator.choice(bad, len(where))
    return floats.tobytes()
