"""Temperature and thresholds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from daemon.decide import EventSettings, RollingSettings
from daemon.vad import GateSettings
from train import metrics
from train.calibration.temperature import fit_pooled_temperature, fit_temperature
from train.calibration.thresholds import (
    ScoredTrack,
    Sweep,
    alarm_budget,
    calibrate,
    pick,
)
from train.recipe import Recipe
from train.simulation.offline import CachedScores, SimulationSettings
from train.simulation.tracks import ReferenceEvent

LABELS = ("up", "down", "other")


def test_the_temperature_of_an_overconfident_model_is_found() -> None:
    rng = np.random.default_rng(0)
    honest = rng.standard_normal((4000, 5)) * 2
    share = np.exp(honest) / np.exp(honest).sum(-1, keepdims=True)
    truth = np.array([rng.choice(5, p=row) for row in share])
    assert fit_temperature(honest * 3, truth) == pytest.approx(3.0, rel=0.1)
    assert fit_temperature(honest, truth) == pytest.approx(1.0, rel=0.1)
    assert fit_temperature(np.zeros((0, 5)), np.zeros(0, np.int64)) == 1.0


def test_pooled_evidence_of_windows_that_agree_too_much_is_cooled() -> None:
    rng = np.random.default_rng(1)
    settings = SimulationSettings(
        LABELS, frozenset(), unit="utterance", gate=GateSettings(kind="off")
    )
    scored, truth = [], []
    for _ in range(300):
        label = int(rng.integers(3))
        # Each window repeats the same weak and sometimes wrong hint.
        hint = label if rng.random() < 0.7 else int(rng.integers(3))
        logits = np.tile(2.0 * np.eye(3, dtype=np.float32)[hint], (20, 1))
        scored.append(CachedScores(16000, np.zeros(0, np.float32), logits))
        truth.append(label)
    assert fit_pooled_temperature(scored, np.array(truth), settings) > 2.5


def test_thresholds_keep_to_the_budget_and_away_from_both_edges() -> None:
    found = Sweep(
        np.linspace(0.1, 0.9, 5),
        misses=np.array([[0, 0, 0, 2, 9], [0, 0, 1, 3, 9]]),
        wrong=np.zeros((2, 5), np.int64),
        false_alarms=np.array([[0, 0, 0, 0, 0], [9, 4, 2, 0, 0]]),
    )
    assert pick(found, 9) == ([1, 1], 4)
    assert pick(found, 3) == ([1, 2], 2)
    columns, alarms = pick(found, 0)
    assert columns == [1, 3]
    assert alarms == 0


@pytest.mark.parametrize(
    ("rate", "hours", "alarms"),
    [(0.5, 1.0, 0), (0.5, 6.0, 0), (0.5, 9.49, 1), (0.5, 17.0, 3), (2.0, 1000.0, 1926)],
)
def test_the_upper_bound_of_the_rate_is_kept(rate: float, hours: float, alarms: int) -> None:
    found = alarm_budget(rate, hours)
    assert found == alarms
    upper = metrics.poisson_upper(found, hours)
    assert upper is not None
    assert upper <= rate or found == 0
    after = metrics.poisson_upper(found + 1, hours)
    assert after is not None
    assert after > rate


def test_no_hours_allow_no_alarm() -> None:
    assert alarm_budget(0.5, 0.0) == 0


def logits_of(plan: list[int | None], strength: float) -> np.ndarray:
    rows = [np.eye(3, dtype=np.float32)[2 if p is None else p] * strength for p in plan]
    return np.stack(rows)


def recipe_asking(rate: float) -> Recipe:
    return Recipe.model_validate(
        {
            "name": "t",
            "data": [{"path": "x"}],
            "gate": {"kind": "off"},
            "model": {"labels": list(LABELS), "non_intents": ["other"]},
            "calibrate": {"false_alarms_per_hour": rate},
        }
    )


HOP = 0.24
SETTINGS = SimulationSettings(
    LABELS,
    frozenset({"other"}),
    gate=GateSettings(kind="off"),
    rolling=RollingSettings(windows=1),
    events=EventSettings(),
)


def track_of(rows: np.ndarray, truth: tuple[ReferenceEvent, ...], free: bool) -> ScoredTrack:
    samples = round((len(rows) - 1) * HOP * 16000) + 1
    cached = CachedScores(samples, np.zeros(0, np.float32), rows)
    return ScoredTrack("t", samples / 16000, truth, free, cached, 1.0)


def test_a_label_that_cries_wolf_gets_a_higher_threshold() -> None:
    windows = 400
    plan: list[int | None] = [None] * windows
    truth = []
    for n, at in enumerate(range(10, windows - 10, 20)):
        plan[at] = plan[at + 1] = n % 2
        truth.append(ReferenceEvent(LABELS[n % 2], at * HOP, at * HOP + 1, at * HOP + 0.8, True))
    words = track_of(logits_of(plan, 6.0), tuple(truth), free=False)
    # In speech without commands the model says "up", but never as surely as when it is spoken.
    wolf = logits_of([0 if n % 25 == 0 else None for n in range(windows)], 2.5)
    found = calibrate(
        recipe_asking(1.0), LABELS, SETTINGS, 1.0, [words, track_of(wolf, (), True)], {}
    )
    chosen = found.calibration
    assert chosen.measured["false_alarms"] == 0
    assert chosen.measured["hits"] == chosen.measured["words"] == len(truth)
    assert chosen.thresholds["up"] > chosen.thresholds["down"]
    assert chosen.thresholds["up"] > np.exp(2.5) / (np.exp(2.5) + 2)
    bound = chosen.measured["false_alarms_per_hour_upper_95"]
    assert bound == pytest.approx(3.0 / chosen.measured["command_free_hours"], rel=0.03)
    assert found.curve[0].false_alarms_per_hour > 0 == found.curve[-1].false_alarms_per_hour


def test_other_words_that_raise_events_cost_as_much_as_misses() -> None:
    plan: list[int | None] = [None] * 400
    other = [
        ReferenceEvent("other", at * HOP, at * HOP + 1, at * HOP + 0.8, False)
        for at in (50, 150, 250)
    ]
    words = [ReferenceEvent("up", at * HOP, at * HOP + 1, at * HOP + 0.8, True) for at in (50, 150)]
    faint, quiet = logits_of(plan, 3.0), logits_of(plan, 3.0)
    for at in (50, 150, 250):
        faint[at] = logits_of([0], 2.5)[0]  # other words that sound like "up"
    spoken = logits_of(plan, 3.0)
    spoken[50], spoken[150] = logits_of([0], 6.0)[0], logits_of([0], 2.0)[0]
    tracks = [track_of(spoken, tuple(words), False), track_of(quiet, (), True)]
    alone = calibrate(recipe_asking(1.0), LABELS, SETTINGS, 1.0, tracks, {}).calibration
    assert (alone.measured["hits"], alone.measured["other_words"]) == (2, 0)
    tracks.append(track_of(faint, tuple(other), False))
    found = calibrate(recipe_asking(1.0), LABELS, SETTINGS, 1.0, tracks, {}).calibration
    # Three other words taken for "up" are worse than one "up" that is not heard.
    assert found.thresholds["up"] > alone.thresholds["up"]
    measured = found.measured
    assert (measured["words"], measured["hits"], measured["wrong"]) == (2, 1, 0)
    assert (measured["other_words"], measured["other_words_wrong"]) == (3, 0)
    assert measured["command_free_hours"] == alone.measured["command_free_hours"]
    lax = calibrate(
        recipe_asking(1.0), LABELS, SETTINGS, 1.0, [*tracks[:1] * 4, *tracks[1:]], {}
    ).calibration.measured
    assert (lax["hits"], lax["other_words_wrong"]) == (8, 3)


def test_alarms_are_counted_where_no_threshold_was_chosen() -> None:
    plan: list[int | None] = [None] * 100
    plan[50] = 0
    words = track_of(
        logits_of(plan, 6.0), (ReferenceEvent("up", 12.0, 13.0, 12.8, True),), free=False
    )
    # One half cries wolf faintly, the other loudly: thresholds from the first let the second by.
    faint = track_of(
        logits_of([0 if n % 25 == 0 else None for n in range(100)], 2.0), (), free=True
    )
    loud = track_of(logits_of([0 if n % 25 == 0 else None for n in range(100)], 4.0), (), free=True)
    measured = calibrate(
        recipe_asking(1.0), LABELS, SETTINGS, 1.0, [words, faint, loud], {}
    ).calibration.measured
    assert measured["false_alarms"] == 0
    assert measured["hits"] == 1
    assert measured["false_alarms_elsewhere"] == 4
    hours = measured["command_free_hours"]
    upper = measured["false_alarms_elsewhere_per_hour_upper_95"]
    assert upper == pytest.approx(9.15 / hours, rel=0.03)


def test_either_half_has_some_of_each_kind() -> None:
    plan: list[int | None] = [None] * 100
    plan[50] = 0
    words = track_of(
        logits_of(plan, 6.0), (ReferenceEvent("up", 12.0, 13.0, 12.8, True),), free=False
    )

    def track(name: str, windows: int, strength: float) -> ScoredTrack:
        wolf = logits_of([0 if n % 25 == 0 else None for n in range(windows)], strength)
        return replace(track_of(wolf, (), free=True), name=name)

    # By length alone both of the loud ones would lie on the side of the shorter calm one.
    free = [track("calm", 400, 1.0), track("calm", 200, 1.0)]
    free += [track("loud", 100, 4.0), track("loud", 99, 4.0)]
    measured = calibrate(
        recipe_asking(1.0), LABELS, SETTINGS, 1.0, [words, *free], {}
    ).calibration.measured
    assert measured["false_alarms_elsewhere"] == 0


def test_each_track_is_scored_with_the_temperature_of_its_own_model() -> None:
    plan: list[int | None] = [None] * 100
    plan[50] = 0
    truth = (ReferenceEvent("up", 12.0, 13.0, 12.8, True),)
    sure = track_of(logits_of(plan, 4.0), truth, free=False)
    cool = replace(track_of(logits_of(plan, 40.0), truth, free=False), temperature=10.0)
    assert sure.score(SETTINGS.with_thresholds({"up": 0.9})).hits == 1
    strict = SETTINGS.with_thresholds({"up": 0.99})
    assert [each.score(strict).hits for each in (sure, cool)] == [0, 0]
    assert replace(cool, temperature=1.0).score(strict).hits == 1
