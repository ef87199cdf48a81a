"""Decodes recordings for training: mono float32 at 16 kHz."""

from __future__ import annotations

import io
import os
import stat

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

RATE = 16_000


def decode(audio: bytes | str) -> NDArray[np.float32]:
    """Mono float32 at 16 kHz, shape (n,), from a path or the bytes of a file.

    Raises: ValueError with the reason, which completes "NAME …", if it cannot be used.
    """
    if isinstance(audio, str):
        audio = _content(audio)
    try:
        samples, rate = soundfile.read(io.BytesIO(audio), dtype="float32", always_2d=True)
    except (soundfile.SoundFileError, OSError) as error:
        raise ValueError(f"cannot be decoded ({error})") from error
    mono: NDArray[np.float32] = samples.mean(axis=1, dtype=np.float32)
    if rate == RATE:
        return mono
    return np.asarray(soxr.resample(mono, rate, RATE), np.float32)


def _content(path: str) -> bytes:
    """The bytes of a regular file. Raises: ValueError; a pipe or a device is never waited for."""
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise ValueError(f"cannot be opened: {reason.lower()}") from error
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ValueError("is no regular file but a pipe, a socket or a device")
        return file.read()
