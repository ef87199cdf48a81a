"""Faults between channels: each reported once, with the channel to set."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from daemon.capture.channel_monitor import ChannelMonitor
from daemon.capture.channels import Channel

RATE = 16000
Sound = NDArray[np.float32]


def speech(seconds: float = 4.0, seed: int = 0) -> Sound:
    """Noise in bursts, as loud as speech."""
    rng = np.random.default_rng(seed)
    n = round(seconds * RATE)
    envelope = np.abs(np.sin(2 * np.pi * 1.5 * np.arange(n) / RATE))
    return (0.1 * envelope * rng.standard_normal(n)).astype(np.float32)


def hiss(seconds: float = 4.0, seed: int = 9) -> Sound:
    rng = np.random.default_rng(seed)
    return (1e-4 * rng.standard_normal(round(seconds * RATE))).astype(np.float32)


def told(samples: Sound, channel: Channel = "mix", block: int = 640) -> list[str]:
    monitor = ChannelMonitor(channel, samples.shape[1], RATE)
    found = []
    for start in range(0, len(samples), block):
        found += monitor.feed(samples[start : start + block])
    return found + monitor.finish()


def of(*channels: Sound) -> Sound:
    return np.stack([one + hiss(seed=20 + n) for n, one in enumerate(channels)], axis=1)


X = speech()


@pytest.mark.parametrize(
    ("samples", "words", "channel"),
    [
        (of(X, -X), "cancel each other", 1),
        (of(X, -0.5 * X), "their mean is 12 dB below channel 1", 1),
        (of(X, -X, X, -X), "cancel each other", 1),
        (of(0 * X, X), "channel 1 is silent, which takes 6 dB from the mean", 2),
        (of(X, 0 * X), "channel 2 is silent", 1),
        (of(0 * X, 0 * X, X, 0 * X), "channels 1, 2 and 4 are silent, which takes 12 dB", 3),
        (of(0 * X + 0.4, X), "channel 1 is silent", 2),
        (of(0.1 * X, X), "channel 2 is 20 dB louder than the other", 2),
        (of(0.1 * X, X, 0.1 * X, 0.1 * X), "channel 2 is 20 dB louder than the others", 2),
    ],
)
def test_a_fault_is_reported_once_with_the_channel_to_set(
    samples: Sound, words: str, channel: int
) -> None:
    (sentence,) = told(np.concatenate([samples, samples, samples]))
    assert words in sentence
    assert sentence.endswith(f"set audio.channel to {channel}")


@pytest.mark.parametrize(
    "samples",
    [
        of(X),
        of(X, X),
        of(X, 0.5 * X),
        of(X, speech(seed=3)),
        of(X, 0.3 * X, 0.5 * X, X),
        of(X + 0.3, X - 0.3),
        of(0 * X, 0 * X),
        hiss()[:, None].repeat(2, axis=1) * np.array([1, -1], np.float32),
        np.zeros((4 * RATE, 2), np.float32),
    ],
)
def test_good_channels_and_a_quiet_room_are_passed_over(samples: Sound) -> None:
    assert told(samples) == []


def test_a_chosen_channel_that_is_dead_is_reported_and_one_that_is_not_is_not() -> None:
    samples = of(0 * X, X)
    (sentence,) = told(samples, channel=1)
    assert sentence.startswith("channel 1, which is listened to, is silent while channel 2 is not")
    assert told(samples, channel=2) == []
    assert told(of(X, -X), channel=1) == []


def test_a_fault_is_reported_within_a_few_seconds_of_sound() -> None:
    monitor = ChannelMonitor("mix", 2, RATE)
    assert monitor.feed(of(X, -X)[: 3 * RATE])


def test_a_short_recording_is_judged_at_its_end() -> None:
    monitor = ChannelMonitor("mix", 2, RATE)
    assert monitor.feed(of(X, -X)[:RATE]) == []
    assert len(monitor.finish()) == 1


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 5000))
def test_blocks_of_any_size_give_the_same(block: int) -> None:
    samples = of(0.05 * X, X)[: 2 * RATE]
    assert told(samples, block=block) == told(samples)


def test_samples_that_are_no_numbers_are_passed_over() -> None:
    samples = of(X, -X)
    samples[100] = np.nan
    samples[5000] = np.inf
    assert len(told(samples)) == 1
