"""The verifier in a stream: the sound it gets, and its answers' effect."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from support.making import speechlike
from support.streaming import LABELS, SETUP, Lossy, plain, play, score

from daemon.base.audio import RATE
from daemon.decide.verification import Verification
from daemon.messages import Event, Prediction, Rejection, Summary
from daemon.vad import GateSettings
from daemon.windowing import high_passed

SOUND = speechlike(12.0, seed=4)
VERIFIED = replace(SETUP, verification=Verification(candidate=0.3))
WINDOW, HOP = 16_000, 3_840
HEARD = 24_000


def second_opinion(sound: NDArray[np.float32], index: int) -> NDArray[np.float32]:
    """Depends on nothing but the sound."""
    return score(sound)


@pytest.mark.parametrize("sizes", [[len(SOUND)], [160], [7_777, 100]])
def test_verified_messages_do_not_depend_on_blocks(sizes: list[int]) -> None:
    gaps = [(60_000, 2_000, "hole")]
    whole = play(Lossy(SOUND, gaps=gaps).chunks([50_000]), VERIFIED, verify=second_opinion)
    parts = play(Lossy(SOUND, gaps=gaps).chunks(sizes), VERIFIED, batch=3, verify=second_opinion)
    assert plain(parts) == plain(whole)
    assert any(isinstance(m, Event) and m.verified is not None for m in whole)


def test_the_verifier_hears_the_sound_before_the_windows_end() -> None:
    heard: dict[int, NDArray[np.float32]] = {}

    def verify(sound: NDArray[np.float32], index: int) -> NDArray[np.float32]:
        heard[index] = sound.copy()
        return score(sound)

    play(Lossy(SOUND).chunks([1_600]), VERIFIED, verify=verify)
    filtered = np.concatenate([np.zeros(HEARD, np.float32), high_passed(SOUND)])
    filtered = np.concatenate([filtered, np.zeros(WINDOW, np.float32)])
    assert len(heard) >= 5
    for index, sound in heard.items():
        end = HEARD + index * HOP + WINDOW
        np.testing.assert_allclose(sound, filtered[end - HEARD : end], atol=1e-5)


def test_what_lies_before_a_gap_is_not_heard() -> None:
    first: list[NDArray[np.float32]] = []

    def verify(sound: NDArray[np.float32], index: int) -> NDArray[np.float32]:
        if index == 0:
            first.append(sound.copy())
        return np.array([0.0, 0.0, 0.0, 1.0], np.float32)

    always = replace(
        SETUP, gate=GateSettings(kind="off"), verification=Verification(candidate=1e-6)
    )
    play(Lossy(SOUND, gaps=[(5 * RATE, 500, "hole")]).chunks([1_600]), always, verify=verify)
    assert len(first) == 2
    assert all(not sound[: HEARD - WINDOW].any() and sound[-HOP:].any() for sound in first)


def test_rejections_are_counted_and_no_events() -> None:
    def never(sound: NDArray[np.float32], index: int) -> NDArray[np.float32]:
        found = np.zeros(len(LABELS), np.float32)
        found[-1] = 1.0
        return found

    messages = play(Lossy(SOUND).chunks([1_600]), VERIFIED, verify=never)
    rejected = [m for m in messages if isinstance(m, Rejection)]
    summary = messages[-1]
    assert isinstance(summary, Summary)
    assert rejected and summary.rejected == len(rejected) and summary.events == 0
    assert all(m.verified < 0.5 and m.start < m.end <= m.at_stream for m in rejected)
    unverified = play(Lossy(SOUND).chunks([1_600]))
    assert isinstance(unverified[-1], Summary) and unverified[-1].rejected is None
    predictions = [m for m in plain(messages) if isinstance(m, tuple)]
    assert predictions == [m for m in plain(unverified) if isinstance(m, tuple)]
    assert any(isinstance(m, Prediction) for m in messages)
