"""Batches of windows with vectors: contents and repetition."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from support.train_helpers import RATE

from daemon.windowing import high_passed
from train.codecs import CodedRecordings
from train.distillation.windows import TeacherWindows
from train.examples.word_windows import WindowBatches
from train.recipe import AugmentSection
from train.training.small_encoder import small_extractor

QUIET = AugmentSection(noise_probability=0.0, floor_db=(-140.0, -139.0), mask_time_prob=0.0)
SOUNDS = [
    (3_000 * np.random.default_rng(n).standard_normal(3 * RATE)).astype(np.int16) for n in range(3)
]
LENGTHS = (RATE, RATE * 3 // 2, 2 * RATE)


def batches(settings: AugmentSection = QUIET, **changes: Any) -> WindowBatches:
    """Three recordings of three seconds; vectors say which window."""
    centres = np.array([8_000, 24_000, 47_000] * 3)
    vectors = np.eye(9, dtype=np.float16)
    windows = TeacherWindows(
        np.repeat(np.arange(3, dtype=np.int32), 3), centres, np.arange(9)[::-1].copy(), vectors
    )
    given: dict[str, Any] = {
        "weights": np.ones(9),
        "noises": [],
        "babble": [],
        "extractor": small_extractor(),
        "lengths": LENGTHS,
        "batch": 6,
        "batches": 12,
        "seed": 0,
    }
    return WindowBatches(
        CodedRecordings(SOUNDS, 0.0, 0), windows, settings=settings, **(given | changes)
    )


def test_a_window_is_of_the_place_that_its_vector_is_of() -> None:
    lengths, seen = set(), set()
    drawn = batches()
    for index in range(12):
        batch = drawn[index]
        length = batch["input_values"].shape[1]
        lengths.add(length)
        assert batch["labels"].dtype == torch.float32
        for window, vector in zip(batch["input_values"], batch["labels"], strict=True):
            number = 8 - int(vector.argmax())
            seen.add(number)
            recording, centre = number // 3, (8_000, 24_000, 47_000)[number % 3]
            places = np.arange(centre - length // 2, centre - length // 2 + length)
            inside = (places >= 0) & (places < 3 * RATE)
            sound = SOUNDS[recording][np.clip(places, 0, 3 * RATE - 1)] / np.float32(32768)
            expected = high_passed(np.where(inside, sound, 0).astype(np.float32))
            np.testing.assert_allclose(window.numpy(), expected, atol=1e-4)
    assert lengths == set(LENGTHS) and seen == set(range(9))


def test_draws_repeat_and_differ_from_epoch_to_epoch() -> None:
    settings = AugmentSection(gain_db=(-12.0, 6.0), equalize_db=6.0)
    one, two = batches(settings), batches(settings)
    assert torch.equal(one[3]["input_values"], two[3]["input_values"])
    two.set_epoch(1)
    assert not torch.equal(one[3]["labels"], two[3]["labels"])
    assert not torch.equal(one[3]["labels"], one[4]["labels"])


def test_a_fixed_set_is_the_same_in_every_epoch_and_half_of_it_is_clean() -> None:
    noisy = AugmentSection(floor_db=(-30.0, -29.0), mask_time_prob=0.0)
    held, clean = batches(noisy, fixed=True), batches(QUIET, fixed=True)
    before = [held[n]["input_values"] for n in range(4)]
    held.set_epoch(5)
    assert all(torch.equal(held[n]["input_values"], before[n]) for n in range(4))
    assert [b.shape[1] for b in before] == [*LENGTHS, RATE]
    # Windows that are soiled draw more from the generator, but the first one is not soiled.
    assert torch.equal(before[0][0], clean[0]["input_values"][0])
    assert (before[0][1] - clean[0]["input_values"][1]).abs().max() > 0.01


def test_windows_are_drawn_by_their_weights() -> None:
    weights = np.array([0, 0, 0, 3, 0, 0, 0, 1, 0], np.float64)
    counts = np.zeros(9)
    for batch in (batches(weights=weights, batch=200)[n] for n in range(4)):
        counts += batch["labels"].numpy().sum(axis=0)[::-1]
    assert set(np.flatnonzero(counts)) == {3, 7}
    assert 2.2 < counts[3] / counts[7] < 4
