"""Augmentations that cut words, splice them and put others beside them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from support.drawing import LABELS, Audio, draws_of
from support.train_helpers import RATE

from train import augment
from train.recipe import AugmentSection


def test_a_splice_is_the_beginning_of_one_word_and_the_end_of_another() -> None:
    """Tones tell which part comes from where, and how long it is."""
    time = np.arange(RATE) / RATE
    low, high = (np.sin(2 * np.pi * f * time).astype(np.float32) for f in (300, 3000))
    bounds = ((4000, 12_000), (2000, 8000))
    starts = set()
    for seed in range(30):
        rng = np.random.default_rng(seed)
        window = augment.splice(0.1 * low, bounds[0], high, bounds[1], RATE, rng)
        assert window.shape == (RATE,)
        sounding = np.flatnonzero(window)
        starts.add(int(sounding[0]) // 800)
        rising = np.abs(np.diff(window[sounding[0] : sounding[-1]])) > 0.04  # steep: the high tone
        lengths = int(np.argmax(rising)), len(rising) - int(np.argmax(rising))
        assert 0.33 < lengths[0] / 8000 < 0.65
        assert 0.33 < lengths[1] / 6000 < 0.68
        assert np.abs(window).max() < 0.13  # both at the level of the first
    assert len(starts) > 5


def test_a_word_is_spliced_with_another_one(monkeypatch: pytest.MonkeyPatch) -> None:
    draws = draws_of(AugmentSection(splice_probability=1.0, cut_label="fall"))
    whose = {c.samples.tobytes(): c.label for c in draws.clips}
    pairs = set()
    splice = augment.splice

    def noted(one: Any, bounds: Any, other: Any, *rest: Any) -> Any:
        sounds = ((32768 * sound).astype(np.int16).tobytes() for sound in (one, other))
        pairs.add(tuple(whose[sound] for sound in sounds))
        return splice(one, bounds, other, *rest)

    monkeypatch.setattr(augment, "splice", noted)
    for number in range(20):
        assert draws[number]["window"].any()
    assert pairs == {("rise", "fall"), ("fall", "rise")}


TONE = np.sin(2 * np.pi * 400 * np.arange(RATE) / RATE).astype(np.float32)


def placed(start: float, seconds: float = 0.4) -> tuple[augment.Excerpt, tuple[int, int]]:
    """A word of a tone's quiet half, `start` seconds into a window of 1 s."""
    samples = np.zeros(RATE, np.float32)
    bounds = (RATE // 10, RATE // 10 + round(seconds * RATE))
    samples[slice(*bounds)] = 0.1 * TONE[: bounds[1] - bounds[0]]
    excerpt = augment._paste(samples, round(start * RATE) - bounds[0], RATE)
    return excerpt, bounds


def test_a_neighbour_before_ends_one_gap_before_the_word() -> None:
    excerpt, bounds = placed(0.5)
    window = augment.add_neighbour(excerpt, bounds, TONE[: RATE // 4], RATE // 20, before=True)
    added = np.flatnonzero(np.abs(window - excerpt.window) > 1e-6)
    assert added[0] == pytest.approx(0.20 * RATE, abs=2)
    assert added[-1] == pytest.approx(0.45 * RATE, abs=2)
    loud = augment.rms(window[round(0.2 * RATE) : round(0.45 * RATE)])
    assert loud == pytest.approx(0.1 / np.sqrt(2), rel=0.01), "at the level of the word"


def test_a_neighbour_is_cut_at_the_edges_of_the_window() -> None:
    excerpt, bounds = placed(0.1)
    window = augment.add_neighbour(excerpt, bounds, TONE[: RATE // 2], RATE // 20, before=True)
    added = np.flatnonzero(np.abs(window - excerpt.window) > 1e-6)
    assert added[-1] == pytest.approx(0.05 * RATE, abs=2)
    excerpt, bounds = placed(0.3)
    window = augment.add_neighbour(excerpt, bounds, TONE[: RATE // 2], RATE // 10, before=False)
    added = np.flatnonzero(np.abs(window - excerpt.window) > 1e-6)
    assert added[0] == pytest.approx(0.8 * RATE, abs=2)
    assert added[-1] == pytest.approx(RATE, abs=25)


def test_a_word_that_would_follow_whole_is_left_out() -> None:
    excerpt, bounds = placed(0.1)
    window = augment.add_neighbour(excerpt, bounds, TONE[: RATE // 4], RATE // 20, before=False)
    np.testing.assert_array_equal(window, excerpt.window)


def test_neighbours_are_other_words_and_leave_the_label(monkeypatch: pytest.MonkeyPatch) -> None:
    draws = draws_of(AugmentSection(neighbour_probability=1.0, neighbour_gap=(0.1, 0.1)))
    plain = draws_of(AugmentSection())
    seen: list[tuple[int, bool]] = []
    add = augment.add_neighbour

    def noted(
        excerpt: augment.Excerpt, bounds: tuple[int, int], other: Audio, gap: int, before: bool
    ) -> Audio:
        seen.append((gap, before))
        assert any(np.array_equal(other, c.audio[slice(*b)]) for c, b in own)
        return add(excerpt, bounds, other, gap, before)

    monkeypatch.setattr(augment, "add_neighbour", noted)
    for index in range(40):
        label = plain[index]["labels"]
        clips = zip(draws.clips, draws.bounds, strict=True)
        own = [(c, b) for c, b in clips if c.label != LABELS[label]]
        assert draws[index]["labels"] == label
    assert {gap for gap, _ in seen} == {RATE // 10}
    assert {before for _, before in seen} == {True, False}
    assert len(seen) == 40


def test_running_speech_is_neither_cut_nor_spliced() -> None:
    """Nobody knows where the intent lies: a piece may hold the whole of it."""
    settings = AugmentSection(splice_probability=0.5, cut_probability=0.5, cut_label="fall")
    draws = draws_of(settings, placing="crop")
    labels = [draws[n]["labels"] for n in range(60)]
    assert 15 < labels.count(LABELS.index("rise")) < 45


def test_spliced_draws_are_no_word() -> None:
    settings = AugmentSection(splice_probability=1.0, noise_probability=0.0, cut_label="fall")
    draws = draws_of(settings)
    assert {draws[n]["labels"] for n in range(30)} == {LABELS.index("fall")}
    plain = draws_of(AugmentSection(noise_probability=0.0))
    assert {plain[n]["labels"] for n in range(60)} == set(range(len(LABELS)))


def test_a_piece_of_speech_stands_alone() -> None:
    """A piece of 0.1 to 0.95 s, and nothing else in the window."""
    rng = np.random.default_rng(3)
    speech = rng.standard_normal(5 * RATE).astype(np.float32)
    speech *= 0.5 + 0.5 * np.sin(np.arange(len(speech)) * 2 * np.pi / (0.25 * RATE)).astype("f4")
    places = set()
    for seed in range(40):
        window = augment.isolate(speech, RATE, np.random.default_rng(seed)).window
        assert window.shape == (RATE,)
        heard = np.flatnonzero(window)
        first, last = int(heard[0]), int(heard[-1])
        assert 0.1 * RATE < last - first < 0.95 * RATE
        middle = window[first + 100 : last - 100]
        assert any(
            np.array_equal(speech[at : at + len(middle)], middle)
            for at in np.flatnonzero(speech == middle[0])
        )
        assert abs(window[first]) < 0.1 and abs(window[last]) < 0.1  # no click
        places.add(first // 1600)
    assert len(places) > 4


@pytest.mark.parametrize("samples", [10, 500, 3000, RATE])
def test_however_short_the_recording(samples: int) -> None:
    rng = np.random.default_rng(0)
    sound = rng.standard_normal(samples).astype(np.float32)
    for seed in range(20):
        excerpt = augment.isolate(sound, RATE, np.random.default_rng(seed))
        assert excerpt.window.shape == (RATE,)
