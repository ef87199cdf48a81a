"""Augmentations: off they change nothing, on they do what they say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from support.drawing import LABELS, SILENT_FLOOR, draws_of, generator, noise_like, spectrum
from support.train_helpers import RATE, recipe_tree, tiny_base, word
from transformers import Wav2Vec2FeatureExtractor, Wav2Vec2ForSequenceClassification, set_seed

from train import augment
from train.data.clips import Clip
from train.examples.words import FixedWindows, WordDraws, degrade
from train.recipe import AugmentSection, Recipe
from train.training.initial_model import build_model
from train.training.small_encoder import small_config

ON: dict[str, dict[str, Any]] = {
    "room": {"room_probability": 1.0},
    "telephone": {"telephone_probability": 1.0},
    "microphone": {"equalize_db": 12.0},
    "noise": {"noise_probability": 1.0},
    "floor": {"floor_db": (-40.0, -20.0)},
}


def test_with_everything_off_the_sound_is_left_alone() -> None:
    sound = word("rise", 0)
    settings = AugmentSection(floor_db=SILENT_FLOOR, noise_probability=0.0)
    np.testing.assert_allclose(
        degrade(sound, settings, [noise_like()], generator()), sound, atol=1e-8
    )


@pytest.mark.parametrize("part", ON)
def test_a_part_that_is_on_changes_the_sound_and_repeats(part: str) -> None:
    sound, noises = word("rise", 0), [noise_like()]
    off: dict[str, Any] = {"floor_db": SILENT_FLOOR, "noise_probability": 0.0}
    settings = AugmentSection(**(off | ON[part]))
    made = degrade(sound, settings, noises, generator(5))
    assert augment.rms(made - sound) > 0.05 * augment.rms(sound)
    assert len(made) == len(sound)
    np.testing.assert_array_equal(made, degrade(sound, settings, noises, generator(5)))
    if part != "telephone":
        assert not np.array_equal(made, degrade(sound, settings, noises, generator(6)))


def test_a_probability_is_a_share() -> None:
    settings = AugmentSection(telephone_probability=0.3, floor_db=SILENT_FLOOR)
    rng, sound = generator(), noise_like(0.2)
    changed = [not np.allclose(degrade(sound, settings, [], rng), sound) for _ in range(400)]
    assert np.mean(changed) == pytest.approx(0.3, abs=0.08)


def test_the_telephone_keeps_its_band_and_the_pitch() -> None:
    sound = noise_like(8)
    hertz, before = spectrum(sound)
    _, after = spectrum(augment.telephone(sound))
    loss = before - after
    assert np.abs(loss[(hertz > 400) & (hertz < 3000)]).max() < 1.5
    for edge in (300.0, 3400.0):
        assert loss[np.argmin(np.abs(hertz - edge))] == pytest.approx(3, abs=1)
    assert loss[(hertz > 20) & (hertz < 150)].min() > 25
    assert loss[hertz > 6000].min() > 25
    tone = np.sin(2 * np.pi * 1000 * np.arange(RATE) / RATE).astype(np.float32)
    peaks = [np.argmax(np.abs(np.fft.rfft(s))) for s in (tone, augment.telephone(tone))]
    assert peaks == [1000, 1000]


def test_a_microphone_colours_within_its_decibels_and_keeps_level() -> None:
    sound = noise_like()
    frequencies, before = spectrum(sound)
    bands = [np.abs(frequencies - centre) < 0.05 * centre for centre in augment.BANDS]
    spans = []
    for seed in range(30):
        coloured = augment.equalize(sound, 9.0, generator(seed))
        assert augment.rms(coloured) == pytest.approx(augment.rms(sound), rel=1e-3)
        _, after = spectrum(coloured)
        gains = [float(np.mean((after - before)[band])) for band in bands]
        # Levels are made equal afterwards, so only what lies between two bands is known.
        spans.append(max(gains) - min(gains))
    assert max(spans) < 18.5
    assert np.mean(spans) > 6.0


@pytest.mark.parametrize(("seconds", "direct"), [(0.2, 0.0), (0.6, 12.0)])
def test_a_room_rings_as_long_and_as_loud_as_asked(seconds: float, direct: float) -> None:
    click = np.zeros(RATE, np.float32)
    click[100] = 0.5
    heard = augment.room(click, seconds, direct, generator())
    loudest = np.abs(heard).max()
    assert np.abs(heard[:100]).max() < 1e-6 * loudest
    assert augment.rms(heard) == pytest.approx(augment.rms(click), rel=1e-3)
    rest = heard[101:].astype(np.float64)
    ratio = 10 * np.log10(float(heard[100]) ** 2 / np.sum(rest**2))
    assert ratio == pytest.approx(direct, abs=0.2)
    # Schroeder (1965): what is still to come, in decibels; its slope is the reverberation time.
    still = 10 * np.log10(np.cumsum(rest[::-1] ** 2)[::-1] + 1e-30)
    still -= still[0]
    fall = np.flatnonzero(still < -25)[0] - np.flatnonzero(still < -5)[0]
    assert 3 * fall / RATE == pytest.approx(seconds, rel=0.15)
    assert np.abs(heard[101:140]).max() < 1e-6 * loudest


def test_noise_is_mixed_in_at_the_ratios_asked_for() -> None:
    sound = noise_like(1, seed=2)
    settings = AugmentSection(noise_probability=1.0, snr_db=(5.0, 9.0))
    rng, found = generator(), []
    for _ in range(60):
        added = degrade(sound, settings, [noise_like(3)], rng) - sound
        found.append(20 * np.log10(augment.rms(sound) / augment.rms(added)))
    assert 4.99 < min(found) < 5.6
    assert 8.4 < max(found) < 9.01


def test_the_white_floor_has_its_level() -> None:
    settings = AugmentSection(floor_db=(-50.0, -49.0))
    made = degrade(np.zeros(RATE, np.float32), settings, [], generator())
    assert -50.2 < 20 * np.log10(augment.rms(made)) < -48.8


def test_speed_changes_length_and_pitch_alike() -> None:
    tone = np.sin(2 * np.pi * 1000 * np.arange(RATE) / RATE).astype(np.float32)
    for factor in (0.8, 1.25):
        made = augment.change_speed(tone, factor)
        assert len(made) == pytest.approx(RATE / factor, abs=2)
        hertz = np.fft.rfftfreq(len(made), 1 / RATE)
        assert hertz[np.argmax(np.abs(np.fft.rfft(made)))] == pytest.approx(1000 * factor, rel=0.01)
    np.testing.assert_allclose(augment.change_speed(tone, 1.0), tone, atol=1e-3)


def test_gain_is_drawn_from_its_range_and_nothing_else_changes() -> None:
    plain = draws_of(AugmentSection(floor_db=SILENT_FLOOR))
    louder = draws_of(AugmentSection(floor_db=SILENT_FLOOR, gain_db=(-9.0, -3.0)))
    gains = []
    for index in range(60):
        before, after = plain[index]["window"], louder[index]["window"]
        gain = augment.rms(after) / augment.rms(before)
        np.testing.assert_allclose(after, before * gain, atol=1e-4)
        gains.append(20 * np.log10(gain))
    assert -9.01 < min(gains) < -8
    assert -4 < max(gains) < -2.99


def test_a_word_lies_anywhere_in_its_window_but_whole() -> None:
    """A word of 0.5 s begins anywhere in the first half of its window."""
    sound = word("rise", 0)
    start, end = bounds = augment.word_bounds(sound)
    energy = float(np.sum(sound[start:end] ** 2))
    rng, begins = generator(), []
    for _ in range(200):
        window = augment.place_word(sound, bounds, RATE, rng).window
        assert float(np.sum(window**2)) == pytest.approx(energy, rel=0.02)
        begins.append(augment.word_bounds(window)[0])
    room = RATE - (end - start)
    assert min(begins) < 0.1 * room
    assert max(begins) > 0.9 * room
    assert np.std(begins) == pytest.approx(room / np.sqrt(12), rel=0.2)


def test_a_word_may_hang_over_an_edge_by_the_share_asked_for() -> None:
    sound = np.arange(1, RATE + 1, dtype=np.float32)  # a sample is its place
    shares = []
    for seed in range(300):
        bounds = (5000, 13_000)
        excerpt = augment.place_word(sound, bounds, RATE, np.random.default_rng(seed), 0.25)
        inside = min(excerpt.last, 13_000) - max(excerpt.first, 5000)
        shares.append(inside / 8000)
    assert min(shares) == pytest.approx(0.75, abs=0.01)
    assert 0.5 < np.mean(np.array(shares) == 1) < 0.8  # 8,000 of 12,000 places hold it whole


def test_draws_repeat_with_the_seed_and_the_epoch() -> None:
    settings = AugmentSection(
        gain_db=(-6, 6), speed=(0.9, 1.1), room_probability=0.5, telephone_probability=0.5
    )
    one, same, other = draws_of(settings), draws_of(settings), draws_of(settings, seed=1)
    np.testing.assert_array_equal(one[3]["window"], same[3]["window"])
    assert not np.array_equal(one[3]["window"], other[3]["window"])
    same.set_epoch(1)
    assert not np.array_equal(one[3]["window"], same[3]["window"])


def masked_frames(folder: Path, **augmentation: Any) -> NDArray[np.bool_]:
    """Frames of 200 windows of a second that SpecAugment masks, (200, 49).

    Of the encoder with the guide's frame rate: wav2vec2-base's convolutions, and little else of
    it.
    """
    base = folder / "guide"
    if not base.exists():
        kernels = {"conv_kernel": (10, 3, 3, 3, 3, 2, 2), "conv_stride": (5, 2, 2, 2, 2, 2, 2)}
        small = {"num_hidden_layers": 1, "hidden_size": 16, "intermediate_size": 16}
        shape = kernels | small | {"conv_dim": (8,) * 7, "num_conv_pos_embedding_groups": 4}
        Wav2Vec2ForSequenceClassification(small_config(**shape)).save_pretrained(base)
        Wav2Vec2FeatureExtractor().save_pretrained(base)
    tree = recipe_tree(folder / "none", base)
    tree["augment"] = augmentation
    model, _ = build_model(Recipe.model_validate(tree), ("rise", "fall", "flat"))
    seen: list[torch.Tensor] = []
    model.wav2vec2.encoder.register_forward_pre_hook(lambda _, args: seen.append(args[0].detach()))
    model.train()
    set_seed(0)
    with torch.no_grad():
        if augmentation["mask_time_prob"]:
            model.wav2vec2.masked_spec_embed.fill_(7.0)
        model(torch.randn(200, RATE))
    return np.asarray((seen[0] == 7.0).all(dim=-1))


def test_spec_augment_takes_a_few_of_a_seconds_frames(tmp_path: Path) -> None:
    settings = {"mask_time_prob": 0.08, "mask_time_length": 5}
    masked = masked_frames(tmp_path, **settings)
    assert masked.shape == (200, 49)
    share = masked.mean(axis=1)
    # A share of 0.08 of frames begins a span; spans of five may overlap.
    assert 0.03 < share.mean() < 0.12
    assert share.max() < 0.5
    runs = [len(run) for row in masked for run in "".join("x" if m else " " for m in row).split()]
    assert min(runs) == 5
    np.testing.assert_array_equal(masked, masked_frames(tmp_path, **settings))
    assert not masked_frames(tmp_path, mask_time_prob=0.0).any()


def test_spec_augment_is_for_training_only(tmp_path: Path) -> None:
    tree = recipe_tree(tmp_path / "none", tiny_base(tmp_path / "base"))
    tree["augment"] |= {"mask_time_prob": 0.5, "mask_time_length": 4}
    model, _ = build_model(Recipe.model_validate(tree), ("rise", "fall", "flat"))
    sound = torch.from_numpy(word("rise", 0))[None]
    with torch.no_grad():
        still = [model.eval()(sound).logits for _ in range(2)]
        moving = [model.train()(sound).logits for _ in range(6)]
    assert torch.equal(*still)
    assert not all(torch.equal(moving[0], other) for other in moving[1:])


@pytest.mark.parametrize("kind", ["draws", "fixed"])
def test_models_are_trained_on_filtered_sound_as_the_daemon_runs_them(kind: str) -> None:
    """The daemon's high-pass takes both out, so no window of training has any."""
    hum = np.float32(0.2) * np.sin(2 * np.pi * 50 * np.arange(RATE) / RATE).astype(np.float32)
    clips = [
        Clip(
            ((0.3 * word(label, 0) + 0.3 + hum) * 32767).astype(np.int16),
            label,
            "k",
            "p",
            0,
            "train",
            "word",
        )
        for label in LABELS
    ]
    settings = AugmentSection(floor_db=SILENT_FLOOR, gain_db=(0.0, 0.0), noise_probability=0.0)
    data = (
        WordDraws(clips, LABELS, (), (1.0,), settings, [], RATE, 20, 0)
        if kind == "draws"
        else FixedWindows(clips, LABELS, RATE)
    )
    for n in range(len(data)):
        window = data[n]["window"]
        frequencies, power = spectrum(window)
        assert abs(float(window.mean())) < 0.002
        assert power[frequencies < 55].max() < power.max() - 5
