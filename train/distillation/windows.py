"""Windows of recordings with a word teacher's vectors."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from daemon.base.audio import RATE
from train.augment import word_bounds
from train.data.clips import Clip
from train.distillation.vector_store import filled, keys_of
from train.distillation.word_embedding import open_teacher
from train.recipe import TeacherSection

INSIDE = RATE // 4
"""A window of running speech is centred so far inside the recording."""
GOLDEN = (5**0.5 - 1) / 2


@dataclass(frozen=True, slots=True)
class TeacherWindows:
    """Windows of recordings and the teacher's vectors of them."""

    recordings: NDArray[np.int32]
    """Which recording each window is of, shape (windows,)."""
    centres: NDArray[np.int64]
    """The sample that it is centred on, shape (windows,)."""
    rows: NDArray[np.int64]
    """Where its vector lies in `vectors`, shape (windows,)."""
    vectors: NDArray[np.float16]
    """Unit vectors, shape (n, width), on disk."""

    def of(self, recordings: Sequence[int]) -> TeacherWindows:
        """The windows of some of the recordings."""
        kept = np.isin(self.recordings, np.asarray(recordings))
        return TeacherWindows(
            self.recordings[kept], self.centres[kept], self.rows[kept], self.vectors
        )


def teacher_windows(
    clips: Sequence[Clip], settings: TeacherSection, threads: int, console: Console
) -> TeacherWindows:
    """The windows of all clips with the teacher's vectors.

    From its store or computed now.

    Raises UserError if the teacher is missing.
    """
    centres = [
        centres_of(clip, settings.windows_per_second, settings.windows_per_clip) for clip in clips
    ]
    recordings = [clip.samples for clip in clips]
    folder = None if settings.cache is None else Path(settings.cache).expanduser()
    store = filled(recordings, centres, open_teacher(settings.teacher, threads), folder, console)
    keys = [
        key
        for samples, places in zip(recordings, centres, strict=True)
        for key in keys_of(samples, places)
    ]
    return TeacherWindows(
        np.repeat(np.arange(len(clips), dtype=np.int32), [len(places) for places in centres]),
        np.concatenate([np.array(places, np.int64) for places in centres]),
        store.rows(keys),
        store.vectors(),
    )


def centres_of(clip: Clip, per_second: float, per_clip: int) -> list[int]:
    """Centres of a clip's windows, in samples.

    There are `per_second` of them, at least `per_clip`.

    A word (placing = "word") lies whole in each window of a second, at another place each time;
    running speech is covered evenly. More windows of a clip include the fewer ones.
    """
    count = max(per_clip, round(per_second * len(clip.samples) / RATE))
    if clip.placing == "word":
        start, end = word_bounds(clip.audio)
        low, high = sorted((end - RATE // 2, start + RATE // 2))
        if end - start > RATE:
            low = high = (start + end) // 2
    else:
        low, high = INSIDE, len(clip.samples) - INSIDE
        if high < low:
            low = high = len(clip.samples) // 2
    # Multiples of the golden ratio, modulo one, are spread evenly however many there are.
    first = int.from_bytes(hashlib.sha1(clip.path.encode()).digest()[:4], "little") / 2**32
    places = (first + GOLDEN * np.arange(count)) % 1
    return sorted({int(low + place * (high - low)) for place in places})
