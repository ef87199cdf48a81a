"""A verifier trained for a model; the same events offline and live."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal, cast

import numpy as np
import pytest
from support.taught import Command, Taught
from support.train_helpers import RATE, word

from daemon.decide import EventSettings, RollingSettings
from daemon.decide.verification import Verification
from daemon.messages import Scores
from daemon.model.verifier.description import read_verifier
from daemon.model.verifier.filterbank import SOUND
from daemon.vad import GateSettings
from daemon.windowing import high_passed
from train.calibration.thresholds import ScoredTrack
from train.data.clips import Clip
from train.simulation.offline import (
    CachedScores,
    EventReplay,
    SimulationSettings,
    replay,
    score_recordings,
)
from train.simulation.tracks import ReferenceEvent
from train.simulation.verified import before, verified
from train.verification.combination import candidates_of, fit_combination
from train.verification.mining import LEAST, _tracks, hard_negatives

LABELS = ("rise", "fall", "flat")
SETTINGS = SimulationSettings(
    LABELS,
    frozenset({"flat"}),
    gate=GateSettings(kind="energy"),
    events=EventSettings(threshold=0.5),
    verification=Verification(candidate=0.2),
)


def colour(windows: object) -> np.ndarray:
    """A synthetic model: logits from a window's power in the spectrum."""
    power = np.abs(np.fft.rfft(np.asarray(windows), axis=-1)) ** 2
    bands = ((0, 700), (700, 1000), (1000, None))
    low, middle, high = (power[:, a:b].sum(axis=-1) for a, b in bands)
    total = power.sum(axis=-1) + 1e-9
    return np.stack([6 * low / total, 6 * middle / total, 6 * high / total], -1).astype(np.float32)


def second_opinion(sound: np.ndarray) -> Scores:
    """Of all 1.5 s, so that it differs from the model's."""
    assert sound.shape == (SOUND,)
    powers = np.exp(2 * colour(sound[None])[0] - 3)
    return np.asarray(powers / powers.sum(), np.float32)


@pytest.fixture(scope="module")
def sound() -> np.ndarray:
    pause = np.zeros(2 * RATE, np.float32)
    return np.concatenate([p for n in range(6) for p in (word(LABELS[n % 3], n), pause)])


@pytest.fixture(scope="module")
def cached(sound: np.ndarray) -> CachedScores:
    plain = score_recordings([sound], SETTINGS, colour)[0]
    return verified(plain, sound, SETTINGS, 1.0, second_opinion)


def test_replays_give_the_events_of_a_verified_stream(
    sound: np.ndarray, cached: CachedScores
) -> None:
    seen = 0
    for threshold in (0.02, 0.1, 0.3, 0.5):
        settings = replace(SETTINGS, events=EventSettings(threshold=threshold))
        direct = direct_events(sound, settings)
        offline = replay(cached, settings).events
        events = EventReplay(cached, settings, 1.0)
        assert [(e.intent, e.start, e.at_stream) for e in offline] == direct
        assert events.events(settings, events.smoothed(settings)) == [
            replace(e, stream="") for e in offline
        ]
        assert all(e.verified is not None and e.verified >= threshold for e in offline)
        seen += len(direct)
    assert seen >= 3


def test_the_verifier_is_asked_until_a_label_ends() -> None:
    """A label stays active down to its release value; it is asked there too."""
    settings = replace(
        SETTINGS,
        gate=GateSettings(kind="off"),
        rolling=RollingSettings(windows=1),
        events=EventSettings(threshold=0.99, release=0.5),
        verification=Verification(candidate=0.5),
    )
    sound = np.zeros(2 * RATE, np.float32)

    def falling(windows: object) -> np.ndarray:
        rise = np.full(len(np.asarray(windows)), 0.1)
        rise[:2] = 0.6, 0.3
        return np.log(np.stack([rise, 0 * rise, 1 - rise], -1) + 1e-9).astype(np.float32)

    scored = score_recordings([sound], settings, falling)[0]
    found = verified(scored, sound, settings, 1.0, lambda _: np.array([0.2, 0.0, 0.8], np.float32))
    assert set(found.verifier_posteriors) == {0, 1}
    assert replay(found, settings).events == ()


class Sound:
    """A network whose vector of a window is the window."""

    width = SOUND

    def vectors(self, windows: np.ndarray) -> np.ndarray:
        return windows


def always_rise(windows: object) -> np.ndarray:
    return np.tile(np.array([5, 0, 0], np.float32), (len(np.asarray(windows)), 1))


@pytest.mark.parametrize(("gate", "logits"), [("off", colour), ("energy", always_rise)])
def test_hard_negatives_are_windows_that_the_model_takes_for_an_intent(
    gate: Literal["off", "energy"], logits: Callable[[object], np.ndarray]
) -> None:
    quiet = np.zeros(RATE, np.int16)
    clips = [
        Clip(
            np.concatenate([quiet, pcm(word(label, n)), quiet]), "flat", "", "", n % 2, "train", ""
        )
        for n, label in enumerate(("rise", "flat", "fall"))
    ]
    settings = replace(SETTINGS, gate=GateSettings(kind=gate))
    model = SimpleNamespace(logits=logits, info=SimpleNamespace(temperature=1.0))
    found = hard_negatives(clips, cast(Any, model), settings, cast(Any, Sound()))
    expected = []
    for track, _ in _tracks(clips):
        sound = high_passed(track.samples)
        for index in range(1 + (len(sound) - RATE) // settings.hop_samples):
            window = before(sound, index, settings)
            powers = np.exp(logits(window[None, -RATE:])[0])
            if powers[:2].max() / powers.sum() >= LEAST:
                expected.append(window)
    if gate == "off":
        assert 0 < len(found) == len(expected)
        np.testing.assert_allclose(found, np.stack(expected), atol=1e-6)
    else:  # windows without speech are not asked about
        assert 0 < len(found) < len(expected)
        assert all(any(np.allclose(row, each, atol=1e-6) for each in expected) for row in found)
        # The gate opens a little before a word.
        assert np.mean(np.abs(found[:, -RATE:]).max(axis=1) > 0.05) >= 0.7


def pcm(sound: np.ndarray) -> np.ndarray:
    return np.asarray(np.clip(sound, -1, 1) * 32767, np.int16)


def direct_events(
    sound: np.ndarray, settings: SimulationSettings
) -> list[tuple[str, float, float]]:
    """Through a stream whose verifier hears the sound itself."""
    from daemon.messages import Event
    from daemon.vad import GateBank
    from train.simulation.offline import _feed, softmax

    bank = GateBank.load(settings.gate)
    stream = settings.stream(0, bank, lambda heard, index: second_opinion(heard))
    found = []
    for start in range(0, len(sound) + 1, 30 * RATE):
        _feed(stream, sound, start)
        bank.run(stream.gates())
        for window in stream.due():
            stream.resolve(window, softmax(colour(window.samples[None]))[0], 0.0)
        found += [m for m in stream.take() if isinstance(m, Event)]
    return [(e.intent, e.start, e.at_stream) for e in found]


def test_the_combination_trusts_the_one_who_knows(cached: CachedScores) -> None:
    """A verifier that is right gets weight, a useless one none."""
    windows = sorted(cached.verifier_posteriors)
    smoothed = EventReplay(cached, SETTINGS, 1.0).smoothed(SETTINGS)
    middle = windows[len(windows) // 2]
    label = LABELS[int(smoothed[windows[0]][3][:2].argmax())]
    end = smoothed[middle][0] / RATE
    truth = (ReferenceEvent(label, 0.0, end, end, True),)

    def fitted(posteriors: dict[int, Scores]) -> Verification:
        track = replace(cached, verifier_posteriors=posteriors)
        scored = ScoredTrack("a", 20.0, truth, False, track, 1.0)
        return fit_combination(Verification(candidate=0.2), [scored], SETTINGS)

    yes, no = (np.array(row, np.float32) for row in ((0.9, 0.9, 0.1), (0.1, 0.1, 0.9)))
    right = dict(zip(windows, candidates_of_one(cached, truth).tolist(), strict=True))
    knows = fitted({index: yes if right[index] else no for index in windows})
    flat = fitted({index: np.full(3, 0.5, np.float32) for index in windows})
    assert 0 < sum(right.values()) < len(windows)
    assert knows.verifier_weight > 0.5
    assert knows.score(0.4, 0.9) > 0.8 and knows.score(0.4, 0.1) < 0.2
    assert knows.candidate == flat.candidate == 0.2
    assert abs(flat.score(0.4, 0.9) - flat.score(0.4, 0.1)) < 0.2


def candidates_of_one(cached: CachedScores, truth: tuple[ReferenceEvent, ...]) -> np.ndarray:
    scored = ScoredTrack("a", 20.0, truth, False, cached, 1.0)
    return candidates_of([scored], SETTINGS)[1]


def test_the_command_adds_a_verifier_that_evaluation_and_daemon_use(
    taught: Taught,
    intentd_train: Command,
    word_teacher: Path,
    tmp_path: Path,
) -> None:
    model = shutil.copytree(taught.model, tmp_path / "model")
    status = intentd_train(
        "verifier", model, taught.recipe, "--network", word_teacher, "--draws", "200"
    )
    assert status == 0
    info = read_verifier(model / "verifier")
    config = json.loads((model / "config.json").read_text())
    intents = set(info.labels) - set(config["intentd"]["non_intents"])
    assert set(info.thresholds) == intents
    assert info.network.parent == info.directory and info.measured["draws"] == 200
    assert info.measured["hard_negatives"] > 0
    results = {}
    for kind in ("auto", "off"):
        file = tmp_path / f"{kind}.json"
        options = ("--verifier", kind, "--json", file)
        assert intentd_train("evaluate", model, taught.recipe, *options) == 0
        results[kind] = json.loads(file.read_text())
    auto, off = (results[kind]["conditions"][0] for kind in ("auto", "off"))
    assert auto["windows"] == off["windows"]
    assert auto["stream"]["said"] == off["stream"]["said"]
