"""The high-pass of the 16 kHz stream: response, start, block sizes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from daemon.base.audio import RATE
from daemon.windowing import HighPass, high_passed
from daemon.windowing.high_pass import CORNER, ORDER

Samples = NDArray[np.float32]


def noise(samples: int, seed: int = 0) -> Samples:
    return np.random.default_rng(seed).normal(0, 0.1, samples).astype(np.float32)


def tone(hertz: float, seconds: float = 2.0) -> Samples:
    return np.sin(2 * np.pi * hertz * np.arange(round(seconds * RATE)) / RATE).astype(np.float32)


def gain_db(hertz: float) -> float:
    """Of a tone, once the filter has settled."""
    settled = high_passed(tone(hertz))[RATE:]
    return float(20 * np.log10(np.sqrt(2 * np.mean(settled**2))))


def test_it_is_the_butterworth_filter_that_its_docstring_states() -> None:
    signal = pytest.importorskip("scipy.signal")
    sections = signal.butter(ORDER, CORNER, "highpass", fs=RATE, output="sos")
    samples = noise(3 * RATE) + np.float32(0.25)
    expected = signal.sosfilt(sections, samples.astype(np.float64) - samples[0])
    np.testing.assert_allclose(high_passed(samples), expected, atol=1e-7)


@pytest.mark.parametrize(("hertz", "most"), [(12.0, -70.0), (50.0, -24.0), (60.0, -17.0)])
def test_rumble_and_hum_are_taken_out(hertz: float, most: float) -> None:
    assert gain_db(hertz) < most


@pytest.mark.parametrize("hertz", [200.0, 300.0, 1000.0, 7000.0])
def test_speech_passes_unchanged(hertz: float) -> None:
    assert gain_db(hertz) == pytest.approx(0.0, abs=0.05)


@pytest.mark.parametrize("hertz", [300.0, 500.0, 1000.0])
def test_speech_is_delayed_by_less_than_half_a_millisecond(hertz: float) -> None:
    """The envelope of a tone burst, by its centre of gravity."""
    t = np.arange(RATE) / RATE
    burst = (np.exp(-(((t - 0.5) / 0.05) ** 2)) * np.sin(2 * np.pi * hertz * t)).astype(np.float32)
    power = high_passed(burst) ** 2
    delay = float((power * t).sum() / power.sum()) - 0.5
    assert 0 <= delay < 0.5e-3


def test_a_stream_that_begins_off_zero_begins_without_a_step() -> None:
    samples = 0.001 * noise(RATE) + np.float32(0.3)
    assert float(np.abs(high_passed(samples)).max()) < 0.001


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(1, 700), min_size=1, max_size=40))
def test_blocks_of_any_size_give_the_same(sizes: list[int]) -> None:
    samples = noise(sum(sizes), seed=1) + np.float32(0.1)
    whole = high_passed(samples)
    stream, start, parts = HighPass(), 0, []
    for size in sizes:
        parts.append(stream.feed(samples[start : start + size]))
        assert len(parts[-1]) == size
        start += size
    np.testing.assert_allclose(np.concatenate(parts), whole, rtol=0, atol=2e-8)


def test_what_is_no_number_is_silence_and_does_not_last() -> None:
    samples = noise(RATE)
    broken = samples.copy()
    broken[100], broken[200], broken[300] = np.nan, np.inf, -np.inf
    samples[[100, 200, 300]] = 0
    np.testing.assert_array_equal(high_passed(broken), high_passed(samples))


def test_silence_after_sound_becomes_silence() -> None:
    """A state that is never zero would be a denormal number, which is slow."""
    stream = HighPass()
    stream.feed(noise(RATE))
    for _ in range(10):
        stream.feed(np.zeros(RATE, np.float32))
    assert all(state == 0 or abs(state) > 1e-30 for state in stream._state)
    assert np.abs(stream.feed(np.zeros(100, np.float32))).max() < 1e-15  # -300 dB


def test_no_samples_give_none() -> None:
    assert len(HighPass().feed(np.zeros(0, np.float32))) == 0
