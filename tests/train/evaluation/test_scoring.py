"""Streams with a known truth, and what counts as heard."""

from __future__ import annotations

import numpy as np
import pytest
from support.train_helpers import RATE, word

from daemon.messages import Event
from train.augment import rms
from train.data.clips import Clip
from train.evaluation.scoring import Score, score
from train.metrics import calibration_error, poisson_upper, wilson
from train.simulation.tracks import ReferenceEvent, choose, spaced, with_noise


def clip(label: str, seed: int, scale: float = 1.0) -> Clip:
    pcm = (word(label, seed) * scale * 32767).astype(np.int16)
    return Clip(pcm, label, f"{label}{seed}", f"{label}{seed}", 0, "test", "word")


def event(intent: str, start: float, end: float) -> Event:
    return Event("s", intent, start, end, 0.9, end)


TRUTH = (
    ReferenceEvent("up", 1.0, 2.0, 1.8, True),
    ReferenceEvent("down", 3.5, 4.5, 4.1, True),
    ReferenceEvent("bed", 6.0, 7.0, 6.8, False),
)


def test_a_hit_overlaps_the_clip_widened_by_half_a_second() -> None:
    assert score([event("up", 2.45, 2.7)], TRUTH, 1).hits == 1
    late = score([event("up", 2.51, 2.7)], TRUTH, 1)
    assert (late.hits, late.misses, late.false_alarms) == (0, 2, 1)


def test_each_word_counts_once_and_the_rest_is_told_apart() -> None:
    heard = score(
        [
            event("up", 1.2, 1.6),
            event("up", 1.7, 2.0),  # again: a false alarm
            event("up", 3.6, 4.0),  # of another word: wrong
            event("down", 6.2, 6.6),  # of what is no intent: wrong
            event("down", 9.0, 9.5),  # of nothing: a false alarm
        ],
        TRUTH,
        0.5,
    )
    assert (heard.references, heard.hits, heard.wrong, heard.false_alarms) == (2, 1, 2, 2)
    assert heard.delays == pytest.approx((-0.2,))
    assert heard.per_hour == 4.0
    both = heard + heard
    assert (both.references, both.hours, both.wrong_by_label["up"]) == (4, 1.0, 2)


def test_the_ratio_of_speech_to_noise_is_the_one_asked_for() -> None:
    noise = np.random.default_rng(0).standard_normal(5 * RATE).astype(np.float32) * 0.3
    clips = [clip("rise", n, 0.2 + 0.1 * n) for n in range(4)]
    track = spaced("t", clips, (), 2.5, noise, 10.0)
    quiet = spaced("t", clips[:0], (), 2.5, noise, 10.0)
    assert len(quiet.truth) == 0
    background = rms(track.samples[: RATE // 2])
    for said, made in zip(track.truth, clips, strict=True):
        piece = track.samples[round(said.start * RATE) : round(said.end * RATE)]
        power = rms(piece) ** 2 - background**2
        assert 10 * np.log10(power / background**2) == pytest.approx(10.0, abs=0.7)
        assert said.end - said.start == len(made.samples) / RATE
    starts = [said.start for said in track.truth]
    assert np.diff(starts) == pytest.approx([2.5] * 3)
    one = word("fall", 1)
    mixed = with_noise(one, noise, 6.0, number=77)
    assert 20 * np.log10(rms(one) / rms(mixed - one)) == pytest.approx(6.0, abs=0.1)


def test_words_longer_than_the_spacing_do_not_overlap() -> None:
    long = Clip(np.full(3 * RATE, 1000, np.int16), "a", "k", "p", 0, "test", "word")
    track = spaced("t", [long, long], (), 1.0, None, 0.0)
    assert track.truth[1].start >= track.truth[0].end + 0.5


def test_choosing_takes_so_many_of_each_and_repeats() -> None:
    clips = [clip(label, n) for label in ("rise", "fall") for n in range(5)]
    chosen = choose(clips, ["rise", "fall"], 3, 1)
    assert sorted(c.label for c in chosen) == ["fall"] * 3 + ["rise"] * 3
    assert [c.path for c in chosen] == [c.path for c in choose(clips, ["rise", "fall"], 3, 1)]


def test_intervals_by_the_book() -> None:
    assert wilson(8, 10) == pytest.approx((0.4902, 0.9433), abs=1e-3)
    assert wilson(0, 0) == (0.0, 1.0)
    assert poisson_upper(0, 2.0) == pytest.approx(3.0 / 2, abs=0.01)
    assert poisson_upper(3, 1.0) == pytest.approx(7.754, abs=0.01)
    assert poisson_upper(1, 0.0) is None
    assert Score().per_hour == 0.0


def test_calibration_error_is_nought_for_the_honest_and_large_for_the_sure() -> None:
    rng = np.random.default_rng(0)
    top = rng.uniform(0.5, 1.0, 20_000)
    probabilities = np.stack([top, 1 - top], axis=1)
    honest = (rng.random(20_000) > top).astype(np.int64)
    assert calibration_error(probabilities, honest) < 0.02
    sure = np.tile([0.99, 0.01], (1000, 1))
    assert calibration_error(sure, np.arange(1000) % 2) == pytest.approx(0.49, abs=0.01)
