"""Faults of sound: reported once, with figure and fix; none in good sound."""

from __future__ import annotations

import numpy as np
import pytest
import soxr
from numpy.typing import NDArray
from support.real_words import WORDS, clear_words

from daemon.base.audio import RATE
from daemon.stream.sound_monitor import SoundMonitor
from daemon.windowing import Resampler, high_passed

Sound = NDArray[np.float32]


def told(sound: Sound, rate: int = RATE, *, live: bool = False, speech: bool = True) -> list[str]:
    """Reports on `sound`; `speech`: whether each second counts as speech."""
    monitor = SoundMonitor(rate, live=live)
    for start in range(0, len(sound), rate // 25):
        monitor.feed(sound[start : start + rate // 25])
    if speech:
        resampler = Resampler(rate)
        at_16k = high_passed(np.concatenate([resampler.feed(sound), resampler.flush()]))
        for start in range(0, len(at_16k) - RATE + 1, RATE):
            monitor.speech(at_16k[start : start + RATE])
    monitor.finish()
    return monitor.take()


def talk(seconds: int = 12, peak: float = 0.3) -> Sound:
    """A wide band in bursts."""
    rng = np.random.default_rng(0)
    n = seconds * RATE
    sound = rng.standard_normal(n) * np.abs(np.sin(2 * np.pi * 1.3 * np.arange(n) / RATE))
    scaled: Sound = (peak * sound / np.abs(sound).max()).astype(np.float32)
    return scaled


def at_8k_and_back(sound: Sound) -> Sound:
    return np.asarray(soxr.resample(soxr.resample(sound, RATE, 8000), 8000, RATE), np.float32)


@pytest.mark.parametrize(
    ("sound", "words"),
    [
        (talk() * 0.5 + np.float32(0.3), "a constant offset of 0.30 of full scale"),
        (talk() * 0.5 - np.float32(0.05), "a constant offset of -0.05 of full scale"),
        (np.clip(talk() * 20, -1, 1), "clipped in"),
        (np.clip(talk() * 20, -1, 1) * np.float32(0.5), "clipped in"),
        (talk(peak=0.01), "the speech is quiet, its peaks at -4"),
        (at_8k_and_back(talk()), "nothing above"),
    ],
)
def test_a_fault_is_reported_once_with_its_figure(sound: Sound, words: str) -> None:
    (sentence,) = told(sound)
    assert words in sentence
    assert ": " in sentence, "no fix"


def test_a_telephones_rate_is_a_narrow_band() -> None:
    sound = np.asarray(soxr.resample(talk(), RATE, 8000), np.float32)
    (sentence,) = told(sound, 8000)
    assert "nothing above" in sentence


@pytest.mark.parametrize("rate", [16000, 44100, 48000])
def test_good_sound_is_passed_over(rate: int) -> None:
    sound = np.asarray(soxr.resample(talk(), RATE, rate), np.float32)
    assert told(sound, rate) == []
    assert told(sound, rate, live=True) == []


def test_a_peak_at_full_scale_is_not_yet_clipping() -> None:
    assert told(talk(peak=1.0)) == []


def test_a_low_voice_is_not_clipping() -> None:
    """16-bit samples at the peak of a slow wave repeat without being clipped."""
    t = np.arange(12 * 48000) / 48000
    rng = np.random.default_rng(1)
    sound = 0.2 * np.sin(2 * np.pi * 90 * t) + 0.001 * rng.standard_normal(len(t))
    quantised = (np.round(sound * 32768) / 32768).astype(np.float32)
    assert told(quantised, 48000, speech=False) == []


def test_a_recording_so_quiet_that_no_speech_is_found_is_reported_at_its_end() -> None:
    (sentence,) = told(talk(peak=0.001), speech=False)
    assert "no speech was found, and the sound is very quiet, its peak -60 dBFS" in sentence
    assert told(talk(peak=0.1), speech=False) == []


def test_a_low_level_that_has_another_cause_is_not_reported() -> None:
    quiet = talk(peak=0.001)
    for live, speech, sound in [
        (False, False, quiet),
        (False, True, quiet),
        (True, True, 0 * quiet),
    ]:
        monitor = SoundMonitor(RATE, live=live)
        monitor.ignore_level()
        monitor.feed(sound + np.float32(0.1))
        for start in range(0, len(sound) - RATE + 1, RATE) if speech else ():
            monitor.speech(sound[start : start + RATE])
        monitor.finish()
        assert ["offset" in sentence for sentence in monitor.take()] == [True]


def test_a_muted_microphone_is_reported_after_ten_seconds_and_a_quiet_room_is_not() -> None:
    silence = np.zeros(11 * RATE, np.float32)
    (sentence,) = told(silence, live=True, speech=False)
    assert "unmute it" in sentence
    assert told(silence[: 9 * RATE], live=True, speech=False) == []
    room = np.random.default_rng(2).normal(0, 10 ** (-75 / 20), 30 * RATE).astype(np.float32)
    assert told(room, live=True, speech=False) == []


@pytest.mark.skipif(not WORDS.is_file(), reason="recordings of people are not here")
def test_real_words_are_passed_over_and_a_telephone_is_not() -> None:
    """A telephone is ITU-T G.712's band, as training imitates it."""
    from train.augment import telephone

    words = clear_words(96)
    for first in range(0, 96, 12):
        clips = [np.resize(word, RATE) for word in words[first : first + 12]]
        peak = max(float(np.abs(clip).max()) for clip in clips)
        sound = np.concatenate(clips) * np.float32(0.5 / peak)
        assert [s for s in told(sound) if "quiet" not in s and "clipped" not in s] == []
        narrow = at_8k_and_back(telephone(sound))
        assert any("nothing above 3." in sentence for sentence in told(narrow))
