"""The expected accuracy of a model of own words, in plain sentences."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from train.metrics import poisson_upper, wilson
from train.words.learn import Learned
from train.words.operating_point import TakeResult
from train.words.take_streams import LEVELS

NUMBERS = (
    "none", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "all",
)  # fmt: skip
FEW_TAKES = 8


@dataclass(frozen=True, slots=True)
class WordResult:
    """Detected takes of a word, by level in decibels (None: in quiet)."""

    takes: int
    detected: dict[float | None, int]

    @property
    def total(self) -> tuple[int, int]:
        """Detections and takes, of all levels together."""
        return sum(self.detected.values()), self.takes * len(self.detected)


@dataclass(frozen=True, slots=True)
class Expectation:
    """Expected accuracy of a model of own words, by its recordings.

    As far as they show it.
    """

    words: dict[str, WordResult]
    alarms: int
    """False alarms in other people's talk."""
    hours: float
    alarms_per_hour: float
    """Expected, by the tail of the talk's scores."""
    own_alarms: int = 0
    """False alarms in the user's own talk and words that sound alike."""
    own_minutes: float = 0.0
    confused: list[tuple[str, str, int, int]] = field(default_factory=list)
    """Word, what it is taken for, how often, of how many."""
    unlike: list[str] = field(default_factory=list)
    """Takes that were never detected and score far below the others of their word."""
    other_voices: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Detections and takes of each word in synthetic voices that it did not learn from."""
    warnings: list[str] = field(default_factory=list)
    """Sentences of the checks before training."""

    def figures(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "words": {
                word: {
                    "takes": result.takes,
                    "heard": {_name(level): count for level, count in result.detected.items()},
                    "interval": wilson(*result.total),
                }
                for word, result in self.words.items()
            },
            "false_alarms": self.alarms,
            "talk_hours": round(self.hours, 3),
            "false_alarms_per_hour_expected": round(self.alarms_per_hour, 3),
            "false_alarms_per_hour_upper_95": round(poisson_upper(self.alarms, self.hours) or 0, 2),
            "own_false_alarms": self.own_alarms,
            "own_talk_minutes": round(self.own_minutes, 2),
            "confused": self.confused,
            "unlike": self.unlike,
            "strangers": self.other_voices,
            "warnings": self.warnings,
        }


def expectation(
    learned: Learned,
    other_voices: dict[str, tuple[int, int]] | None = None,
    warnings: Sequence[str] = (),
) -> Expectation:
    """Counts over the takes of `learned` and over talk."""
    words = {}
    for word in learned.words:
        mine = [result for result in learned.takes if result.take.word == word]
        words[word] = WordResult(
            len(mine),
            {
                level: sum(r.detected(level, learned.labels, learned.thresholds) for r in mine)
                for level in LEVELS
            },
        )
    return Expectation(
        words,
        learned.point.alarms,
        learned.talk_hours,
        sum(learned.point.rates.values()),
        learned.point.own_alarms,
        60 * learned.own_hours,
        _confused(learned),
        _unlike(learned),
        dict(other_voices or {}),
        list(warnings),
    )


def sentences(found: Expectation) -> list[str]:
    """The report, a sentence or two a line."""
    lines = [_heard(word, result) for word, result in found.words.items()]
    lines.append(_alarms(found))
    if found.own_minutes:
        lines.append(
            f"In {found.own_minutes:.1f} minutes of your own talk and of words that sound alike: "
            f"{found.own_alarms} false alarms."
        )
    if found.other_voices:
        heard = sum(h for h, _ in found.other_voices.values())
        said = sum(n for _, n in found.other_voices.values())
        lines.append(
            f"Somebody else who says the words is heard {of_ten(heard, said)} times of ten "
            f"({heard} of {said}, said by synthetic voices that it did not learn from)."
        )
    else:
        lines.append("How often somebody else is heard is not known: no takes of others are there.")
    for word, other, count, said in found.confused:
        lines.append(
            f'"{word}" is taken for "{other}" {count} of {said} times; one could be renamed.'
        )
    for path in found.unlike:
        lines.append(f"{path} is unlike the other takes of its word: play it, record it again.")
    lines += found.warnings
    lines.append(advice(found))
    return lines


def advice(found: Expectation) -> str:
    """Advice: the one change that would help most."""
    rates = {
        word: heard / said for word, result in found.words.items() for heard, said in [result.total]
    }
    worst = min(rates, key=lambda word: rates[word])
    fewest = min(found.words, key=lambda word: found.words[word].takes)
    if found.words[fewest].takes < FEW_TAKES:
        return (
            f'What would help most: more takes. "{fewest}" has {found.words[fewest].takes}; '
            "ten of each are a good start."
        )
    if found.confused:
        word, other, *_ = found.confused[0]
        return f'What would help most: another word in place of "{word}" or "{other}".'
    if rates[worst] < 0.8:
        return (
            f'What would help most: ten more takes of "{worst}", in the room and at the distance '
            "where it will be said, or a longer word in its place."
        )
    if found.other_voices and sum(h for h, _ in found.other_voices.values()) < 0.6 * sum(
        n for _, n in found.other_voices.values()
    ):
        return "If others are to be heard too, let them record some takes as well."
    return "Nothing stands out; listen to it for an evening."


def of_ten(hits: int, said: int) -> str:
    """Number of ten, as a word."""
    return NUMBERS[round(10 * hits / said)] if said else NUMBERS[0]


def _heard(word: str, result: WordResult) -> str:
    heard, said = result.total
    apart = ", ".join(
        f"{count} of {result.takes} {_name(level)}" for level, count in result.detected.items()
    )
    return f'Of ten times that you say "{word}", {of_ten(heard, said)} are heard ({apart}).'


def _name(level: float | None) -> str:
    return "in quiet" if level is None else f"in noise at {level:g} dB"


def _alarms(found: Expectation) -> str:
    rate = max(found.alarms_per_hour, 1e-3)
    often = f"one in {_hours(1 / rate)}" if rate < 1 else f"{rate:.1f} an hour"
    counted = f"{found.alarms} were counted in {found.hours:.1f} hours"
    return f"False alarms in other people's talk that it did not learn from: {often} ({counted})."


def _hours(hours: float) -> str:
    if hours < 1.5:
        return "an hour"
    return f"{round(hours)} hours" if hours <= 24 else "more than a day"


def _confused(learned: Learned) -> list[tuple[str, str, int, int]]:
    counts: Counter[tuple[str, str]] = Counter()
    for result in learned.takes:
        for level in LEVELS:
            for other in learned.words:
                value = float(result.peaks[level][learned.labels.index(other)])
                if other != result.take.word and value >= learned.thresholds[other]:
                    counts[result.take.word, other] += 1
    said = Counter(result.take.word for result in learned.takes)
    return [
        (word, other, count, said[word] * len(LEVELS))
        for (word, other), count in counts.most_common(3)
        if count > 0.1 * said[word]
    ]


def _unlike(learned: Learned) -> list[str]:
    found = []
    for word in learned.words:
        mine = [result for result in learned.takes if result.take.word == word]
        column = learned.labels.index(word)
        quiet = np.array([result.peaks[None][column] for result in mine])
        for result, value in zip(mine, quiet, strict=True):
            if value < 0.5 * float(np.median(quiet)) and _never(result, learned):
                found.append(result.take.path)
    return found


def _never(result: TakeResult, learned: Learned) -> bool:
    return not any(result.detected(level, learned.labels, learned.thresholds) for level in LEVELS)
