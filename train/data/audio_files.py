"""Writes recordings as files."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

import soundfile

from daemon.base.audio import RATE
from train.augment import Audio


def write_flac(path: Path, samples: Audio) -> None:
    """Write `samples` (n,), 16 kHz, as 16-bit FLAC.

    Raises:
        OSError: the file can't be written (libsndfile would write less and say nothing).
    """
    content = io.BytesIO()
    soundfile.write(content, samples, RATE, format="FLAC", subtype="PCM_16")
    try:
        path.write_bytes(content.getvalue())
    except OSError:
        with contextlib.suppress(OSError):
            path.unlink()
        raise
