"""Scores of other tools as events, in tools/own_words_peers.py."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from tools.own_words_peers import Scores, blocks, events_of, lowest, outside
from train.augment import Audio

WORDS = ("up", "down")


class Plain:
    """A tool whose scores are given."""

    step, window = 0.5, 1.0

    def __init__(self, takes: Mapping[str, Sequence[Audio]], folder: Path) -> None:
        self.steps, self.pause, self.pauses_all = 1, 0.0, False
        self.limits = np.full(2, 0.5)

    def scores(self, samples: Audio) -> Scores:
        return np.zeros((0, 2))


@pytest.fixture
def peer() -> Plain:
    return Plain({}, Path())


def fired(peer: Plain, up: Sequence[float], down: Sequence[float]) -> list[tuple[str, float]]:
    found = events_of(peer, np.array([up, down]).T, peer.limits, WORDS)
    return [(event.intent, event.at_stream) for event in found]


def test_scores_above_the_threshold_fire_at_the_end_of_their_step(peer: Plain) -> None:
    assert fired(peer, [0, 0.6, 0.5], [0, 0, 0.6]) == [("up", 1.0), ("down", 1.5)]
    event = events_of(peer, np.array([[0.0, 0.6]]), peer.limits, WORDS)[0]
    assert (event.start, event.end, event.score) == (-0.5, 0.5, 0.6)


def test_a_tool_may_want_consecutive_scores(peer: Plain) -> None:
    peer.steps = 2
    assert fired(peer, [0.6, 0, 0.6, 0.6], [0.6, 0, 0, 0]) == [("up", 2.0)]


def test_a_pause_is_of_one_word_or_of_all(peer: Plain) -> None:
    peer.pause = 1.0
    up, down = [0.6, 0.6, 0.6, 0.6], [0, 0.6, 0, 0]
    assert fired(peer, up, down) == [("up", 0.5), ("down", 1.0), ("up", 2.0)]
    peer.pauses_all = True
    assert fired(peer, up, down) == [("up", 0.5), ("up", 2.0)]


def test_the_lowest_threshold_leaves_no_more_alarms_than_asked_for(peer: Plain) -> None:
    scores = np.array([[0.2, 0.1], [0.9, 0.3], [0.4, 0.7], [0.1, 0.8]])

    def alarms(threshold: float) -> int:
        return len(events_of(peer, scores, np.full(2, threshold), WORDS))

    assert lowest(alarms, scores, 0) == 0.9
    assert lowest(alarms, scores, 2) == 0.7


def test_events_where_a_word_is_said_are_no_alarms(peer: Plain) -> None:
    events = events_of(peer, np.array([[0.6, 0.0]] * 6), peer.limits, WORDS)
    assert outside(events, [(0.9, 1.4)]) == len(events) - 3


def test_blocks_are_whole_steps() -> None:
    assert blocks(np.arange(20_000, dtype=np.float32), 0.5).shape == (2, 8_000)
