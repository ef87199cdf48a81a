"""Decodes recordings for training as a replay does, mono 16 kHz float32."""

from __future__ import annotations

import os
from collections.abc import Callable

import numpy as np
import soxr
from numpy.typing import NDArray

from daemon.base.audio import RATE
from daemon.capture.recording.content import FileContent, MemoryContent
from daemon.capture.recording.reader import open_regular, read_whole


def decode(audio: bytes | str, on_uneven: Callable[[], None] = lambda: None) -> NDArray[np.float32]:
    """Mono float32 at 16 kHz, shape (n,), from a path or the bytes of a file.

    `on_uneven` is called if a channel is silent, or much louder than the others.

    Raises: ValueError with the reason, which completes "NAME …", if it cannot be used or only
    part of it.
    """
    if isinstance(audio, bytes):
        samples, rate, uneven = read_whole(MemoryContent(audio))
    else:
        descriptor = open_regular(audio)
        try:
            samples, rate, uneven = read_whole(FileContent(descriptor))
        finally:
            os.close(descriptor)
    if uneven:
        on_uneven()
    if rate == RATE:
        return samples
    return np.asarray(soxr.resample(samples, rate, RATE), np.float32)
