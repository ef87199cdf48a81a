"""Operating point: thresholds and smoothing with few false alarms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from train.words import thresholds as tails
from train.words.folder import Take
from train.words.judging import Judged
from train.words.settings import BACKGROUND, UNKNOWN, Settings
from train.words.take_streams import LEVELS

ABOVE_OWN = 0.2
"""Log odds by which a threshold lies above the user's own talk."""
MOST = 0.9995
"""Greatest threshold."""


@dataclass(frozen=True, slots=True)
class TakeResult:
    """Scores of one take by heads that did not learn from it."""

    take: Take
    peaks: dict[float | None, NDArray[np.float32]]
    """By level in decibels: the highest threshold of each label at which its event would fire."""

    def detected(
        self, level: float | None, labels: Sequence[str], limits: dict[str, float]
    ) -> bool:
        word = self.take.word
        return bool(self.peaks[level][labels.index(word)] >= limits[word])


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """Thresholds of the words, and what they give."""

    limits: dict[str, float]
    rates: dict[str, float]
    """False alarms an hour that are to be expected of each word, in other people's talk."""
    results: tuple[TakeResult, ...]
    alarms: int
    """False alarms in the pack's talk, at most one of each word in a recording."""
    own_alarms: int
    """The same in what else the user recorded."""
    rank: float
    """Takes that are missed, and a part below 1 by how near the others come to it."""


def choose(
    takes: Sequence[Take],
    judged: Judged,
    hours: float,
    labels: tuple[str, ...],
    settings: Settings,
) -> OperatingPoint:
    """The operating point with few false alarms.

    `hours`: of the talk in `judged`.

    Each word may raise its share of the alarms; one whose takes score far above that is raised, and
    what it leaves goes to the others. It is raised above what the user's own talk and words that
    sound alike score as well, as far as nine takes of ten allow.
    """
    words = [label for label in labels if label not in (UNKNOWN, BACKGROUND)]
    results = tuple(
        TakeResult(take, {level: table[n] for level, table in judged.takes.items()})
        for n, take in enumerate(takes)
    )
    left = settings.alarms_per_hour
    limits: dict[str, float] = {}
    rates: dict[str, float] = {}
    scores = {word: tails.log_odds(judged.talk[:, labels.index(word)]) for word in words}
    own = {word: tails.log_odds(judged.own[:, labels.index(word)]) for word in words}
    room = {word: _room(word, results, labels, scores[word], hours, left, words) for word in words}
    for place, word in enumerate(sorted(words, key=lambda each: -room[each])):
        share = left / (len(words) - place)
        at = tails.exceeded(scores[word], hours, share)
        low = _lowest(word, results, labels)
        if low > at:
            at += settings.raise_by * (low - at)
            at = max(at, min(float(own[word].max(initial=-np.inf)) + ABOVE_OWN, low))
        limits[word] = round(min(tails.probability(at), MOST), 4)
        rates[word] = tails.expected(scores[word], hours, at)
        left = max(left - rates[word], 0.1 * share)
    columns = [labels.index(word) for word in words]
    bounds = np.array([limits[word] for word in words])
    missed = sum(not each.detected(level, labels, limits) for each in results for level in LEVELS)
    return OperatingPoint(
        limits,
        rates,
        results,
        int((judged.fires[:, columns] >= bounds).sum()),
        int((judged.own[:, columns] >= bounds).sum()),
        missed + shortfall(results, labels, limits),
    )


def _room(
    word: str,
    results: Sequence[TakeResult],
    labels: tuple[str, ...],
    scores: NDArray[np.float64],
    hours: float,
    per_hour: float,
    words: Sequence[str],
) -> float:
    """Distance of a word's lowest takes to its share of alarms, in log odds.

    The share is an equal one.
    """
    return _lowest(word, results, labels) - tails.exceeded(scores, hours, per_hour / len(words))


def _lowest(word: str, results: Sequence[TakeResult], labels: tuple[str, ...]) -> float:
    """Log odds that nine of ten takes of a word reach, in quiet and noise.

    In both alike.
    """
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
    """How near takes come to their thresholds, below 1.

    To choose between equal counts.
    """
    margins = []
    for result in results:
        column = labels.index(result.take.word)
        limit = tails.log_odds(np.array([limits[result.take.word]]))[0]
        values = tails.log_odds(np.array([result.peaks[level][column] for level in LEVELS]))
        margins.append(float(np.mean(values - limit)))
    return 0.5 - float(np.tanh(np.mean(margins) / 4)) / 2.01
