"""Decodes recordings for training: the samples of a replay, mono float32 at 16 kHz."""

from __future__ import annotations

import os

import numpy as np
import soxr
from numpy.typing import NDArray

from daemon.base.audio import RATE
from daemon.capture.recording.content import FileContent, MemoryContent
from daemon.capture.recording.reader import open_regular, read_whole


def decode(audio: bytes | str) -> NDArray[np.float32]:
    """Mono float32 at 16 kHz, shape (n,), from a path or the bytes of a file.

    Raises: ValueError with the reason, which completes "NAME …", if it cannot be used or only
    part of it.
    """
    if isinstance(audio, bytes):
        samples, rate = read_whole(MemoryContent(audio))
    else:
        descriptor = open_regular(audio)
        try:
            samples, rate = read_whole(FileContent(descriptor))
        finally:
            os.close(descriptor)
    if rate == RATE:
        return samples
    return np.asarray(soxr.resample(samples, rate, RATE), np.float32)
