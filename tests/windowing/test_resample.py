"""The resampler's figures, measured on tones, in any blocks."""

from __future__ import annotations

import numpy as np
import pytest
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from daemon.base.audio import RATE
from daemon.windowing import Resampler

RATES = [8000, 11025, 16000, 22050, 32000, 44100, 48000, 96000, 192000]


def tone(frequency: float, rate: int, seconds: float = 1.0) -> NDArray[np.float32]:
    t = np.arange(round(seconds * rate)) / rate
    return (0.5 * np.sin(2 * np.pi * frequency * t)).astype(np.float32)


def through(samples: NDArray[np.float32], rate: int, block: int) -> NDArray[np.float32]:
    resampler = Resampler(rate)
    parts = [resampler.feed(samples[i : i + block]) for i in range(0, len(samples), block)]
    return np.concatenate([*parts, resampler.flush()])


def fit(samples: NDArray[np.float32], frequency: float) -> tuple[float, float]:
    """Amplitude of a tone of unknown phase, and its ratio to the rest, dB."""
    middle = samples[RATE // 4 : -RATE // 4].astype(np.float64)
    t = np.arange(RATE // 4, RATE // 4 + len(middle)) / RATE
    basis = np.stack([np.sin(2 * np.pi * frequency * t), np.cos(2 * np.pi * frequency * t)])
    weights, *_ = np.linalg.lstsq(basis.T, middle, rcond=None)
    rest = middle - weights @ basis
    return float(np.hypot(*weights)), 10 * np.log10(
        np.mean((weights @ basis) ** 2) / np.mean(rest**2)
    )


@pytest.mark.parametrize("rate", RATES)
def test_passband_is_clean_and_flat(rate: int) -> None:
    for frequency in (100.0, 997.0, 3300.0, 5500.0, 7000.0):
        if frequency > 0.42 * rate:
            continue
        amplitude, snr = fit(through(tone(frequency, rate), rate, 997), frequency)
        assert snr >= 100.0, frequency
        assert abs(20 * np.log10(amplitude / 0.5)) < 1.0, frequency


@pytest.mark.parametrize("rate", [r for r in RATES if r > 17200])
def test_what_lies_above_does_not_come_back(rate: int) -> None:
    for frequency in np.linspace(8600, rate / 2 * 0.99, 12):
        found = through(tone(frequency, rate), rate, 1024)[RATE // 4 : -RATE // 4]
        assert 20 * np.log10(np.sqrt(np.mean(found**2)) / (0.5 / np.sqrt(2)) + 1e-12) < -90


@pytest.mark.parametrize("rate", [8000, 11025, 12000])
def test_upsampling_makes_no_images(rate: int) -> None:
    found = through(tone(0.3 * rate, rate), rate, 800)[RATE // 4 : -RATE // 4].astype(np.float64)
    spectrum = np.abs(np.fft.rfft(found * np.blackman(len(found))))
    above = spectrum[int(0.55 * rate / RATE * len(found)) :]
    assert 20 * np.log10(above.max() / spectrum.max()) < -90


@settings(max_examples=25, deadline=None)
@given(
    rate=st.sampled_from(RATES),
    sizes=st.lists(st.integers(1, 5000), min_size=1, max_size=12),
    seed=st.integers(0, 99),
)
def test_blocks_equal_the_whole(rate: int, sizes: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    samples = rng.uniform(-1, 1, sum(sizes)).astype(np.float32)
    resampler = Resampler(rate)
    parts = [resampler.feed(part) for part in np.split(samples, np.cumsum(sizes)[:-1])]
    found = np.concatenate([*parts, resampler.flush()])
    whole = samples if rate == RATE else soxr.resample(samples, rate, RATE, quality="HQ")
    assert len(found) == len(whole)
    np.testing.assert_allclose(found, whole, atol=1e-4)


@pytest.mark.parametrize("rate", RATES)
def test_length_and_time_are_kept(rate: int) -> None:
    samples = np.zeros(3 * rate, dtype=np.float32)
    samples[rate] = 1.0
    found = through(samples, rate, 640)
    assert abs(len(found) - 3 * RATE) <= 1
    assert abs(int(np.argmax(found)) - RATE) <= 1


def test_equal_rates_pass_uncopied() -> None:
    samples = tone(440, RATE)
    assert Resampler(RATE).feed(samples) is samples


def test_memory_of_a_stream_is_bounded() -> None:
    resampler = Resampler(44100)
    got = sum(len(resampler.feed(np.zeros(44100, dtype=np.float32))) for _ in range(200))
    assert 200 * RATE - got < 0.1 * RATE  # nothing piles up inside


def test_rates_must_be_positive() -> None:
    with pytest.raises(ValueError, match="positive"):
        Resampler(0)
