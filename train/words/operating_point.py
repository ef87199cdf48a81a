"""Thresholds of own words, for few false alarms in other people's talk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from train.words import thresholds as tails
from train.words.folder import Take
from train.words.settings import BACKGROUND, UNKNOWN, Settings
from train.words.take_streams import LEVELS


@dataclass(frozen=True, slots=True)
class TakeResult:
    """Scores of one take by a head that did not learn from it."""

    take: Take
    peaks: dict[float | None, NDArray[np.float32]]
    """By level in decibels: the greatest rolling value of each label while it leads."""

    def detected(
        self, level: float | None, labels: Sequence[str], limits: dict[str, float]
    ) -> bool:
        word = self.take.word
        return bool(self.peaks[level][labels.index(word)] >= limits[word])


def choose(
    results: Sequence[TakeResult],
    talk: NDArray[np.float32],
    hours: float,
    labels: tuple[str, ...],
    settings: Settings,
) -> tuple[dict[str, float], dict[str, float]]:
    """Thresholds of the words and the false alarms an hour that are to be expected of each.

    `talk`: highest values in the held-out recordings, shape (recordings, labels). Each word may
    raise its share of the alarms; one whose takes score far above that is raised, and what it
    leaves goes to the others.
    """
    words = [label for label in labels if label not in (UNKNOWN, BACKGROUND)]
    left = settings.alarms_per_hour
    limits: dict[str, float] = {}
    rates: dict[str, float] = {}
    scores = {}
    for word in words:
        scores[word] = tails.log_odds(talk[:, labels.index(word)])
    room = {word: _room(word, results, labels, scores[word], hours, left, words) for word in words}
    for place, word in enumerate(sorted(words, key=lambda each: -room[each])):
        share = left / (len(words) - place)
        at = tails.exceeded(scores[word], hours, share)
        low = _lowest(word, results, labels)
        if low > at:
            at += settings.raise_by * (low - at)
        limits[word] = round(min(tails.probability(at), 0.999), 4)
        rates[word] = tails.expected(scores[word], hours, at)
        left = max(left - rates[word], 0.1 * share)
    return limits, rates


def _room(
    word: str,
    results: Sequence[TakeResult],
    labels: tuple[str, ...],
    scores: NDArray[np.float64],
    hours: float,
    per_hour: float,
    words: Sequence[str],
) -> float:
    """Distance of a word's lowest takes to its equal share of alarms, in log odds."""
    return _lowest(word, results, labels) - tails.exceeded(scores, hours, per_hour / len(words))


def _lowest(word: str, results: Sequence[TakeResult], labels: tuple[str, ...]) -> float:
    """The log odds that nine of ten takes of a word reach, in quiet and in noise alike."""
    column = labels.index(word)
    mine = [
        result.peaks[level][column]
        for result in results
        if result.take.word == word
        for level in LEVELS
    ]
    return float(np.percentile(tails.log_odds(np.array(mine)), 10))


def shortfall(
    results: Sequence[TakeResult], labels: tuple[str, ...], limits: dict[str, float]
) -> float:
    """Below 1: how near the takes come to their thresholds, to choose between equal counts."""
    margins = []
    for result in results:
        column = labels.index(result.take.word)
        limit = tails.log_odds(np.array([limits[result.take.word]]))[0]
        values = tails.log_odds(np.array([result.peaks[level][column] for level in LEVELS]))
        margins.append(float(np.mean(values - limit)))
    return 0.5 - float(np.tanh(np.mean(margins) / 4)) / 2.01
