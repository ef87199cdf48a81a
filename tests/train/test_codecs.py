"""Codecs: what they leave of a sound, and that they leave it where it was."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile
from scipy.signal import butter, sosfilt
from support.train_helpers import RATE, word

from train import codecs
from train.augment import Audio, rms

BAND = butter(4, (200, 3000), "bandpass", fs=RATE, output="sos")


def hiss(length: int, seed: int = 0) -> Audio:
    """Noise of the telephone's band: one sharp peak of autocorrelation."""
    noise = np.random.default_rng(seed).standard_normal(length)
    return np.asarray(0.2 * sosfilt(BAND, noise), np.float32)


def lag(made: Audio, sound: Audio) -> int:
    """Samples that `made` lies behind `sound`."""
    return int(np.correlate(made, sound, "full").argmax()) - (len(sound) - 1)


@pytest.mark.parametrize("length", [1_600, 7_777, 16_000, 40_000])
@pytest.mark.parametrize("codec", codecs.FORMATS, ids=lambda codec: codec[1])
def test_a_codec_keeps_length_and_place_and_changes_the_sound(
    codec: tuple[str, str], length: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(codecs, "FORMATS", (codec,))
    sound = hiss(length)
    for seed in range(4):
        made = codecs.coded(sound, np.random.default_rng(seed))
        assert made.dtype == np.float32 and made.shape == sound.shape
        assert lag(made, sound) == 0
        assert np.corrcoef(made, sound)[0, 1] > 0.6
        assert not np.allclose(made, sound, atol=1e-4)


def test_a_constant_bit_rate_of_mp3_has_a_delay_that_is_taken_off(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write = soundfile.write

    def constant(*args: object, **rest: object) -> None:
        # The lowest constant rate leaves no room for the header that tells the delay.
        write(*args, **(rest | {"compression_level": 0.97, "bitrate_mode": "CONSTANT"}))

    monkeypatch.setattr(codecs, "FORMATS", (("MP3", "MPEG_LAYER_III"),))
    monkeypatch.setattr(soundfile, "write", constant)
    sound = hiss(16_000)
    assert lag(codecs.coded(sound, np.random.default_rng(0)), sound) == 0


def test_mu_law_has_the_quality_of_a_telephone() -> None:
    sound = hiss(16_000)
    made = codecs.mu_law(sound)
    assert made.shape == sound.shape and lag(made, sound) == 0
    # G.711 has some 38 dB of speech over its noise; the band edges of the resampler cost a little.
    narrow = np.asarray(sosfilt(butter(8, 2500, fs=RATE, output="sos"), made - sound), np.float32)
    assert 25 < 20 * np.log10(rms(sound) / rms(narrow)) < 45


def test_mu_law_has_no_more_than_256_steps() -> None:
    ramp = np.repeat(np.linspace(-1, 1, 4000, dtype=np.float32), 40)
    made = codecs.mu_law(ramp)[200:-200]
    assert np.abs(made - ramp[200:-200]).max() < 0.03
    # Steps are coarse where it is loud and fine where it is quiet.
    flat = np.abs(np.diff(made)) < 1e-5
    assert flat.mean() > 0.5


def test_a_share_of_recordings_is_coded_and_always_the_same_way() -> None:
    sounds = [np.rint(word("rise", n, 0.2) * 32767).astype(np.int16) for n in range(24)]
    recordings = codecs.CodedRecordings(sounds, 0.5, seed=1)
    plain = [s.astype(np.float32) / np.float32(32768) for s in sounds]
    changed = [not np.array_equal(recordings.audio(n), plain[n]) for n in range(24)]
    assert 6 <= sum(changed) <= 18
    again = codecs.CodedRecordings(sounds, 0.5, seed=1)
    # Asked for in another order, as after an interruption.
    for number in reversed(range(24)):
        assert np.array_equal(again.audio(number), recordings.audio(number))
    none = codecs.CodedRecordings(sounds, 0.0, seed=1)
    assert all(np.array_equal(none.audio(n), plain[n]) for n in range(24))
