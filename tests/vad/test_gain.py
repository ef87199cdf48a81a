"""The gain ahead of Silero: for quiet speech, not for a quiet room."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray
from support.real_words import SHARED, WORDS, clear_words

from daemon.base.audio import RATE
from daemon.vad import CHUNK, Coverage, Gate, GateBank, GateSettings
from daemon.vad.gain import MOST, NOISE, PEAK, AutomaticGain, levels
from daemon.windowing import high_passed

SECONDS = CHUNK / RATE
Sound = NDArray[np.float32]


def decibels(gain: float) -> float:
    return 20 * math.log10(gain)


def gain_after(chunks: Sequence[tuple[float, float]]) -> float:
    """In dB, after chunks of (RMS, peak) in dBFS."""
    gain = AutomaticGain()
    return [decibels(gain.update(level, peak, SECONDS)) for level, peak in chunks][-1]


def white(dbfs: float, seconds: float, seed: int = 0) -> Sound:
    rng = np.random.default_rng(seed)
    return rng.normal(0, 10 ** (dbfs / 20), round(seconds * RATE)).astype(np.float32)


def test_levels_are_rms_and_peak() -> None:
    chunks = np.stack([np.zeros(CHUNK), np.full(CHUNK, -0.1), np.eye(CHUNK)[0]]).astype(np.float32)
    found, peaks = levels(chunks)
    assert found == pytest.approx([-120, -20, 10 * math.log10(1 / CHUNK)], abs=0.01)
    assert peaks == pytest.approx([-120, -20, 0], abs=0.01)


def test_loud_sound_gets_no_gain() -> None:
    assert gain_after([(-75, -65)] * 100 + [(-20, -6)]) == 0


def test_quiet_speech_is_lifted_to_the_same_peak_at_once() -> None:
    assert gain_after([(-100, -90)] * 100 + [(-55, -40)]) == pytest.approx(PEAK + 40)


def test_the_gain_is_bounded() -> None:
    assert gain_after([(-120, -120)] * 100) == pytest.approx(MOST)


def test_noise_is_lifted_no_higher_than_its_limit() -> None:
    for level in range(-110, -20, 5):
        gain = gain_after([(level, level + 12)] * 600)
        assert level + gain <= max(NOISE, level) + 1e-6


def test_a_loud_moment_is_forgotten() -> None:
    quiet = [(-100.0, -90.0)]
    assert gain_after([*quiet, (-20, -6), *quiet]) == 0
    assert gain_after([*quiet, (-20, -6), *quiet * round(10 / SECONDS)]) == pytest.approx(MOST)


def gates_of(sounds: list[Sound]) -> list[Gate]:
    bank = GateBank.load(GateSettings())
    gates = []
    for sound in sounds:
        gate = bank.new_gate()
        gate.feed(high_passed(sound))
        gate.finish()
        gates.append(gate)
    bank.run(gates)
    return gates


@pytest.mark.skipif(not WORDS.is_file(), reason="recordings of people are not here")
@pytest.mark.parametrize("peak", [-6, -36, -46])
def test_quiet_words_open_the_gate(peak: int) -> None:
    """Without a gain Silero lets in one in ten at -46 dBFS."""
    words = [word / np.abs(word).max() * np.float32(10 ** (peak / 20)) for word in clear_words(60)]
    sounds = []
    for number, word in enumerate(words):
        sound = white(peak - 60, 3.0, seed=number)
        sound[RATE : RATE + len(word)] += word
        sounds.append(sound)
    opened = [gate.covers(RATE, 2 * RATE) is Coverage.SPEECH for gate in gates_of(sounds)]
    assert np.mean(opened) >= 0.95


@pytest.mark.parametrize("dbfs", [-100, -80, -70, -60, -45])
def test_a_quiet_room_stays_quiet(dbfs: int) -> None:
    sounds = [white(dbfs, 20.0, seed=1), white(dbfs, 20.0, seed=2).cumsum() * np.float32(0.05)]
    for gate in gates_of([sound.astype(np.float32) for sound in sounds]):
        assert gate.covers(0, 20 * RATE) is Coverage.GATED


@pytest.mark.skipif(not WORDS.is_file(), reason="recordings of noise are not here")
@pytest.mark.parametrize("lowered", [0, 20, 40])
def test_noise_that_is_recorded_low_is_not_let_in(lowered: int) -> None:
    """Of all windows of a second at most one in a hundred; the cat's are hers."""
    names = ["doing_the_dishes", "exercise_bike", "pink_noise", "running_tap", "white_noise"]
    factor = np.float32(10 ** (-lowered / 20))
    noises = [
        soundfile.read(SHARED / "noise" / f"{name}.flac", dtype="float32")[0] * factor
        for name in [*names, "kitchen"]
    ]
    let_in, windows = 0, 0
    for gate, noise in zip(gates_of(noises), noises, strict=True):
        for start in range(0, len(noise) - RATE, 3840):
            windows += 1
            let_in += gate.covers(start, start + RATE) is Coverage.SPEECH
    assert windows > 1800
    assert let_in <= 0.01 * windows
