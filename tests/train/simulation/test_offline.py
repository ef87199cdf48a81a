"""Offline scores, event replays and bags against the daemon's own classes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from support.train_helpers import RATE, word

from daemon.decide import EventSettings, RollingSettings, log_floored, pool
from daemon.vad import GateSettings
from daemon.windowing import all_windows, high_passed
from train.data.clips import Clip
from train.examples.utterances import BagCollator, UtteranceBags, pool_logits
from train.recipe import AugmentSection
from train.simulation.offline import (
    CachedScores,
    EventReplay,
    SimulationSettings,
    replay,
    score_recordings,
    softmax,
)

LABELS = ("rise", "fall", "flat")
ENERGY = GateSettings(kind="energy")


def colour(windows: object) -> NDArray[np.float32]:
    """A synthetic model: logits from a window's power in the spectrum."""
    power = np.abs(np.fft.rfft(np.asarray(windows), axis=-1)) ** 2
    bands = ((0, 700), (700, 1000), (1000, None))
    low, middle, high = (power[:, a:b].sum(axis=-1) for a, b in bands)
    total = power.sum(axis=-1) + 1e-9
    return np.stack([6 * low / total, 6 * middle / total, 6 * high / total], -1).astype(np.float32)


def talk() -> NDArray[np.float32]:
    pause = np.zeros(2 * RATE, np.float32)
    pieces = [piece for n in range(6) for piece in (word(LABELS[n % 3], n), pause)]
    return np.concatenate(pieces)


@pytest.fixture(scope="module")
def simulation() -> SimulationSettings:
    return SimulationSettings(
        LABELS, frozenset({"flat"}), gate=ENERGY, rolling=RollingSettings(windows=2)
    )


@pytest.fixture(scope="module")
def cached(simulation: SimulationSettings) -> CachedScores:
    return score_recordings([talk()], simulation, colour)[0]


def test_an_event_replay_gives_the_events_of_the_daemons_stream(
    simulation: SimulationSettings, cached: CachedScores
) -> None:
    event_replay = EventReplay(cached, simulation, 1.3)
    seen = 0
    for threshold in (0.3, 0.45, 0.6, 0.9):
        for unit in ("word", "utterance"):
            for minimum in (0.0, 0.3):
                chosen = replace(
                    simulation,
                    unit=unit,
                    events=EventSettings(threshold=threshold, min_duration=minimum),
                )
                real = replay(cached, chosen, 1.3).events
                played = event_replay.events(chosen, event_replay.smoothed(chosen))
                assert [replace(e, stream="") for e in real] == played
                seen += len(real)
    assert seen > 5


def test_scoring_together_is_scoring_alone(simulation: SimulationSettings) -> None:
    sounds = [talk(), word("rise", 3), np.zeros(0, np.float32), np.zeros(100, np.float32)]
    for alone, together in zip(
        [score_recordings([sound], simulation, colour)[0] for sound in sounds],
        score_recordings(sounds, simulation, colour),
        strict=True,
    ):
        np.testing.assert_allclose(
            alone.speech_probabilities, together.speech_probabilities, atol=1e-5
        )
        np.testing.assert_allclose(alone.logits, together.logits, atol=1e-5)
        assert alone.samples == together.samples


def test_without_a_gate_every_window_is_scored(simulation: SimulationSettings) -> None:
    open_settings = replace(simulation, gate=GateSettings(kind="off"))
    sound = talk()
    found = score_recordings([sound], open_settings, colour)[0]
    filtered = high_passed(sound)
    windows = np.stack(
        list(all_windows(filtered, simulation.window_samples, simulation.hop_samples))
    )
    np.testing.assert_allclose(found.logits, colour(windows), atol=1e-5)
    assert replay(found, open_settings).summary.gated == 0


def test_the_gate_leaves_silence_out(simulation: SimulationSettings, cached: CachedScores) -> None:
    summary = replay(cached, simulation).summary
    assert summary.gated > 5
    assert summary.windows - summary.gated == len(cached.logits)


logit_tables = st.integers(1, 30).flatmap(
    lambda n: arrays(np.float32, (n, 4), elements=st.floats(-12, 12, width=32))
)


@settings(deadline=None)
@given(st.lists(logit_tables, min_size=1, max_size=4), st.floats(0.5, 1.0), st.floats(0.1, 1.0))
def test_bags_pool_as_the_daemon_does(
    tables: list[NDArray[np.float32]], forgetting: float, overlap: float
) -> None:
    evidence = pool_logits(
        torch.from_numpy(np.concatenate(tables)),
        torch.tensor([len(t) for t in tables]),
        overlap,
        forgetting,
    )
    for row, table in zip(torch.softmax(evidence.double(), -1).numpy(), tables, strict=True):
        expected = pool(log_floored(softmax(table)), forgetting, overlap)
        np.testing.assert_allclose(row, expected, atol=2e-4)


def bag_clip(samples: NDArray[np.float32], label: str) -> Clip:
    pcm = np.round(samples * 32767).astype(np.int16)
    return Clip(pcm, label, "k", "p", 0, "train", "crop")


def test_a_bag_holds_the_windows_that_the_daemon_would_classify(
    simulation: SimulationSettings,
) -> None:
    chosen = replace(simulation, unit="utterance")
    clip = bag_clip(talk(), "fall")
    silent = bag_clip(np.zeros(RATE, np.float32), "rise")
    bags = UtteranceBags([clip, silent], LABELS, chosen, draw=None)
    assert (len(bags), len(bags.silent)) == (1, 1)
    bag = bags[0]
    scored = score_recordings([clip.audio], chosen, colour)[0]
    np.testing.assert_allclose(colour(bag["windows"]), scored.logits, atol=1e-5)
    assert (bag["labels"], bag["scale"]) == (1, 1.0)
    first = UtteranceBags([clip, silent], LABELS, chosen, draw=None, first=True)
    assert [len(first[n]["windows"]) for n in range(2)] == [1, 1]
    np.testing.assert_array_equal(first[0]["windows"][0], high_passed(clip.audio)[:RATE])


def test_bags_are_drawn_afresh_each_epoch_and_alike_in_each_run(
    simulation: SimulationSettings,
) -> None:
    chosen = replace(simulation, unit="utterance")
    draw = AugmentSection(speed=(0.9, 1.1), gain_db=(-6, 6), room_probability=0.5)

    def make() -> UtteranceBags:
        return UtteranceBags([bag_clip(talk(), "fall")], LABELS, chosen, draw=draw, limit=4)

    one, other = make(), make()
    np.testing.assert_array_equal(one[0]["windows"], other[0]["windows"])
    assert len(one[0]["windows"]) == 4
    assert one[0]["scale"] > 1
    other.set_epoch(1)
    assert not np.array_equal(one[0]["windows"], other[0]["windows"])


def test_the_collator_says_which_window_is_whose(simulation: SimulationSettings) -> None:
    from train.training.small_encoder import small_extractor

    bags = [
        {"windows": np.ones((n, 400), np.float32) * n, "labels": n, "scale": 1.0} for n in (2, 3)
    ]
    batch = BagCollator(small_extractor())(bags)
    assert batch["sizes"].tolist() == [2, 3]
    assert batch["input_values"][:, 0].tolist() == [2, 2, 3, 3, 3]
    assert batch["labels"].tolist() == [2, 3]
