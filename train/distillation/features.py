"""Frames of Whisper's encoder for recordings, computed once and kept on disk."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from train.data.clips import Clip
from train.distillation import whisper as teacher

CLIP = 5.0
"""Standardised features are held within so many deviations: a few outliers must not lead."""


@dataclass(frozen=True, slots=True)
class TeacherFrames:
    """Recordings and the teacher's frames for them."""

    recordings: tuple[NDArray[np.int16], ...]
    frames: NDArray[np.float16]
    """Of all recordings, one behind the other, shape (frames, width)."""
    starts: tuple[int, ...]
    """First frame of each recording in `frames`, and one past the last."""
    mean: NDArray[np.float32]
    deviation: NDArray[np.float32]

    def features(self, number: int, first: int, count: int) -> NDArray[np.float32]:
        """Standardised frames `first` to `first` + `count` of a recording."""
        start = self.starts[number] + first
        raw = self.frames[start : start + count].astype(np.float32)
        features: NDArray[np.float32] = np.clip((raw - self.mean) / self.deviation, -CLIP, CLIP)
        return features

    def length(self, number: int) -> int:
        """Frames of a recording."""
        return self.starts[number + 1] - self.starts[number]


def frame_centres(config: Any, samples: int) -> NDArray[np.float64]:
    """The samples that a Wav2Vec2's frames of a window of `samples` are centred on."""
    stride, field, frames = 1, 1, samples
    for width, step in zip(config.conv_kernel, config.conv_stride, strict=True):
        field += (width - 1) * stride
        stride *= step
        frames = (frames - width) // step + 1
    centres: NDArray[np.float64] = np.arange(frames, dtype=np.float64) * stride + field / 2
    return centres


def teacher_frames(
    clips: Sequence[Clip], name: str, folder: Path, threads: int, console: Console
) -> TeacherFrames:
    """The teacher's frames for all clips, kept in `folder` for a run that goes on.

    Raises UserError if the teacher is missing.
    """
    places = teacher.lay_out([len(clip.samples) for clip in clips])
    counts = [-(-place.length // teacher.FRAME) for place in places]
    starts = np.concatenate([[0], np.cumsum(counts)])
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "frames.npy"
    # Of several processes that train together one computes, the others wait for its frames.
    with FileLock(folder / "lock"):
        if not _holds(file, int(starts[-1])):
            _compute(
                clips, places, starts, teacher.open_teacher(name, folder, threads), file, console
            )
    frames = np.load(file, mmap_mode="r")
    own = np.flatnonzero([clip.part == "train" for clip in clips])
    some = own[:: max(1, len(own) // 3000)]
    sample = np.concatenate(
        [np.asarray(frames[starts[n] : starts[n + 1]], np.float32) for n in some]
    )
    return TeacherFrames(
        tuple(clip.samples for clip in clips),
        frames,
        tuple(int(s) for s in starts),
        sample.mean(0, dtype=np.float32),
        sample.std(0, dtype=np.float32) + np.float32(1e-3),
    )


def _holds(file: Path, count: int) -> bool:
    """Whether a file holds `count` frames; one that is damaged holds none."""
    try:
        return len(np.load(file, mmap_mode="r")) == count
    except (OSError, ValueError, EOFError):
        return False


def _compute(
    clips: Sequence[Clip],
    places: Sequence[teacher.Place],
    starts: NDArray[np.int64],
    whisper: teacher.Whisper,
    file: Path,
    console: Console,
) -> None:
    """Write the frames of all clips to `file`, which appears when it is whole."""
    half = file.with_suffix(".half.npy")
    frames: Any = None
    at = 0
    sound = teacher.pieces([clip.audio for clip in clips], places)
    whole = places[-1].piece + 1
    for number, piece in enumerate(track(sound, "teacher frames", total=whole, console=console)):
        found = whisper.frames(piece)
        if frames is None:
            shape = (int(starts[-1]), found.shape[1])
            frames = np.lib.format.open_memmap(half, mode="w+", dtype=np.float16, shape=shape)
            _reserve(half)
        while at < len(places) and places[at].piece == number:
            first = places[at].start // teacher.FRAME
            count = int(starts[at + 1] - starts[at])
            frames[starts[at] : starts[at + 1]] = found[first : first + count]
            at += 1
    frames.flush()
    half.replace(file)


def _reserve(file: Path) -> None:
    """Give a sparse file its space on the disk, since writing to a memory map on a full disk ends
    the process.

    Raises:
        OSError: there is no space; the file is removed.
    """
    if not hasattr(os, "posix_fallocate"):  # macOS, Windows
        return
    try:
        with file.open("rb+") as content:
            os.posix_fallocate(content.fileno(), 0, file.stat().st_size)
    except OSError:
        file.unlink()
        raise
