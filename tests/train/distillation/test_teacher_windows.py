"""The windows for the teacher: words whole, talk evenly.

More of them moves none.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from support.train_helpers import RATE, word

from train.augment import word_bounds
from train.data.clips import Clip
from train.distillation.windows import INSIDE, centres_of, teacher_windows
from train.distillation.word_embedding import open_teacher, windows_around
from train.recipe import DistilSection

WHOLE = RATE // 2
"""Half of the student's shortest window."""


def clip(samples: np.ndarray, placing: str, path: str = "a.wav") -> Clip:
    pcm = np.rint(samples * 32767).astype(np.int16)
    return Clip(pcm, "speech", path, path, 0, "train", placing)


@pytest.mark.parametrize("seconds", [0.2, 0.5, 0.7])
def test_a_word_lies_whole_in_a_second_around_each_centre(seconds: float) -> None:
    samples = word("rise", 1, seconds)
    start, end = word_bounds(samples)
    centres = centres_of(clip(samples, "word"), 1.3, 6)
    assert len(centres) == 6
    for centre in centres:
        assert centre - WHOLE <= start and end <= centre + WHOLE + 1
    # They are spread over all places that there are.
    room = RATE - (end - start)
    assert max(centres) - min(centres) > 0.5 * room


def test_a_word_longer_than_a_second_is_centred() -> None:
    samples = word("rise", 1, 1.6)
    start, end = word_bounds(samples)
    assert centres_of(clip(samples, "word"), 1.3, 3) == [(start + end) // 2]


def test_talk_is_covered_evenly_and_more_windows_include_fewer() -> None:
    talk = clip(0.1 * np.random.default_rng(0).standard_normal(20 * RATE), "crop")
    some, more = centres_of(talk, 1.3, 3), centres_of(talk, 2.6, 3)
    assert len(some) == 26 and len(more) == 52
    assert set(some) <= set(more)
    assert min(some) >= INSIDE and max(some) <= 20 * RATE - INSIDE
    gaps = np.diff([INSIDE, *some, 20 * RATE - INSIDE])
    assert gaps.max() < 2.7 * RATE / 1.3
    # Another recording is not cut at the same places.
    other = clip(talk.samples / 32767, "crop", "b.wav")
    assert centres_of(other, 1.3, 3) != some


def test_a_short_recording_has_a_window_of_its_middle() -> None:
    assert centres_of(clip(0.1 * np.ones(RATE // 5), "crop"), 1.3, 3) == [RATE // 10]


def test_each_window_has_the_vector_of_its_place(word_teacher: Path, tmp_path: Path) -> None:
    clips = [clip(word("rise", n), "word", f"{n}.wav") for n in range(3)]
    settings = DistilSection(teacher=str(word_teacher), cache=str(tmp_path), windows_per_clip=2)
    windows = teacher_windows(clips, settings, 1, Console(file=io.StringIO()))
    assert windows.recordings.tolist() == [0, 0, 1, 1, 2, 2]
    teacher = open_teacher(str(word_teacher), 1)
    for number, centre, row in zip(windows.recordings, windows.centres, windows.rows, strict=True):
        (expected,) = teacher.vectors(windows_around(clips[number].audio, [int(centre)]))
        np.testing.assert_allclose(windows.vectors[row], expected, atol=2e-3)
    of_last = windows.of([2])
    assert of_last.recordings.tolist() == [2, 2]
    assert of_last.centres.tolist() == windows.centres[4:].tolist()
