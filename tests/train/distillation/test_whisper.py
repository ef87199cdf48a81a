"""A teacher's frames: Whisper's pieces, laid out and kept."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from train.distillation import whisper as teacher


def test_recordings_lie_in_pieces_without_overlap_and_on_the_grid() -> None:
    lengths = [16_000, 50_000, 159_999, 400_000, 1_000, 90_000]
    places = teacher.lay_out(lengths)
    assert [p.length for p in places] == [min(n, teacher.PIECE) for n in lengths]
    for place in places:
        assert place.start % teacher.FRAME == 0
        assert place.start + place.length <= teacher.PIECE
    for one, two in itertools.pairwise(places):
        later = two.piece == one.piece + 1 and two.start == 0
        assert later or (two.piece == one.piece and two.start >= one.start + one.length)


def test_the_teacher_is_given_every_recording_at_one_level() -> None:
    rng = np.random.default_rng(0)
    sounds = [
        (level * rng.standard_normal(n)).astype(np.float32)
        for level, n in ((0.01, 40_000), (0.2, 100_000), (0.05, 60_000))
    ]
    places = teacher.lay_out([len(s) for s in sounds])
    laid = list(teacher.pieces(sounds, places))
    assert len(laid) == places[-1].piece + 1
    for place in places:
        piece = laid[place.piece][place.start : place.start + place.length]
        assert np.sqrt(np.mean(piece**2)) == pytest.approx(teacher.LEVEL, rel=0.02)
