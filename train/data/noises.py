"""Recordings of noise to mix with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from daemon.base.audio import RATE
from daemon.base.errors import UserError
from train.data.clips import SILENCE
from train.data.decoding import decode


def load_noises(folder: Path, exclude: tuple[str, ...]) -> list[NDArray[np.float32]]:
    """Noise recordings of a folder as mono 16 kHz float32, by file name order."""
    if not folder.is_dir():
        raise UserError(f"The noise folder {folder} does not exist; set augment.noise.")
    paths = sorted(p for p in folder.iterdir() if not p.is_dir() and p.name[0] != ".")
    noises = [load_noise(path) for path in paths if path.name not in exclude and not _is_text(path)]
    if not noises:
        raise UserError(f"The noise folder {folder} holds no recordings.")
    return noises


def _is_text(path: Path) -> bool:
    """Whether a file is a note or a licence beside the recordings."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        start = file.read(4096)
    try:
        text = start[:-3].decode()  # the last character may be cut
    except UnicodeDecodeError:
        return False
    return bool(text) and "\0" not in text


def load_noise(path: Path) -> NDArray[np.float32]:
    """One noise recording, mono 16 kHz float32.

    Raises: UserError if it cannot be used.
    """
    try:
        samples = decode(str(path))
    except ValueError as error:
        raise UserError(f"The noise {path} {error}; leave it out or give another.") from error
    if len(samples) < RATE or not np.isfinite(samples).all() or np.abs(samples).max() < SILENCE:
        raise UserError(f"The noise {path} is shorter than a second, silent, or not finite.")
    return samples
