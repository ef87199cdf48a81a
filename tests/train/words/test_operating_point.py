"""Thresholds of own words."""

from __future__ import annotations

import numpy as np
import pytest

from train.words.folder import Take
from train.words.judging import Judged
from train.words.operating_point import OperatingPoint, choose
from train.words.settings import Settings
from train.words.take_streams import LEVELS
from train.words.thresholds import exceeded, expected, log_odds

LABELS = ("three", "unknown", "background")
HOURS = 0.7


def point(own: list[float], takes: float = 0.99) -> OperatingPoint:
    """A word whose takes have one score, in talk of falling scores.

    `own`: scores of the user's own talk.
    """
    rng = np.random.default_rng(0)
    talk = np.zeros((300, 3), np.float32)
    talk[:, 0] = 1 / (1 + np.exp(-(rng.exponential(0.4, 300) - 4)))
    said = [Take("three", f"three/{n}", "", np.zeros(1, np.float32)) for n in range(5)]
    rows = np.tile(np.array([takes, 0, 0], np.float32), (5, 1))
    mine = np.array([[score, 0, 0] for score in own], np.float32).reshape(-1, 3)
    judged = Judged(dict.fromkeys(LEVELS, rows), mine, talk, talk)
    return choose(said, judged, HOURS, LABELS, Settings())


def test_takes_are_detected_and_few_alarms_are_left() -> None:
    found = point([])
    assert found.rates["three"] <= 0.5
    assert found.alarms <= 1
    assert all(
        each.detected(level, LABELS, found.limits) for each in found.results for level in LEVELS
    )


@pytest.mark.parametrize("own", [0.95, 0.97])
def test_a_threshold_lies_above_the_users_own_talk(own: float) -> None:
    assert point([]).limits["three"] < own
    found = point([0.1, own])
    assert found.limits["three"] > own
    assert found.own_alarms == 0
    assert found.limits["three"] <= 0.99


def test_the_users_own_talk_costs_no_takes() -> None:
    found = point([0.999])
    assert found.own_alarms == 1
    limit = log_odds(np.array([found.limits["three"]]))[0]
    assert limit <= log_odds(np.array([0.99]))[0] + 1e-3


@pytest.mark.parametrize("rate", [0.05, 0.2, 1.0])
def test_the_rate_at_a_threshold_is_the_one_it_was_chosen_for(rate: float) -> None:
    scores = np.random.default_rng(1).exponential(0.8, 500)
    threshold = exceeded(scores, HOURS, rate)
    assert expected(scores, HOURS, threshold) == pytest.approx(rate, rel=1e-6)
