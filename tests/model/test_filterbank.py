"""The verifier's filterbank, against python_speech_features."""

from __future__ import annotations

import numpy as np
import pytest

from daemon.base.audio import RATE
from daemon.model.verifier.filterbank import (
    BANDS,
    FFT,
    FLOOR,
    FRAMES,
    LEVEL,
    SOUND,
    at_one_level,
    log_filterbank,
)


def voice(seed: int, length: int = SOUND) -> np.ndarray:
    rng = np.random.default_rng(seed)
    time = np.arange(length) / RATE
    tone = np.sin(2 * np.pi * rng.uniform(100, 3000) * time * (1 + 0.2 * time))
    return (0.1 * tone + 0.01 * rng.standard_normal(length)).astype(np.float32)


def test_the_filterbank_is_that_of_python_speech_features() -> None:
    python_speech_features = pytest.importorskip("python_speech_features")
    windows = np.stack([voice(0), voice(1), np.zeros(SOUND, np.float32)])
    windows[1, :8000] = 0  # digital silence: the reference's logarithm of epsilon
    reference = [
        python_speech_features.logfbank(
            window.astype(np.float64), RATE, nfilt=BANDS, nfft=FFT, preemph=0.0
        )
        for window in windows
    ]
    features = log_filterbank(windows)
    assert features.shape == (3, FRAMES, BANDS) and features.dtype == np.float32
    np.testing.assert_allclose(features, reference, atol=2e-4)
    assert features[2, 0, 0] == pytest.approx(-36.04, abs=0.01)


def test_a_tone_lies_in_the_band_of_its_pitch() -> None:
    for pitch in (300.0, 1000.0, 4000.0):
        tone = np.sin(2 * np.pi * pitch * np.arange(SOUND) / RATE).astype(np.float32)
        band = log_filterbank(tone[None])[0].mean(axis=0).argmax()
        mel = 2595 * np.log10(1 + np.array([pitch, 8000]) / 700)
        # Band n peaks at (n + 1) / 65 of the way to 8 kHz.
        assert abs(mel[0] / mel[1] * 65 - 1 - band) < 1


def test_the_network_is_given_one_level_and_never_digital_silence() -> None:
    sound = np.stack([voice(0), 0.01 * voice(0), np.zeros(SOUND, np.float32)])
    sound[:2, :8000] = 0
    loud, quiet, silent = at_one_level(sound)
    np.testing.assert_allclose(loud, quiet, atol=1e-4)
    assert np.sqrt(np.mean(loud**2)) == pytest.approx(LEVEL, rel=0.01)
    assert np.sqrt(np.mean(silent**2)) == pytest.approx(FLOOR, rel=0.05)
    assert log_filterbank(loud[None])[0, 10].mean() > -20
