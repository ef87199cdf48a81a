"""Thresholds of a trained model.

They are chosen per label on streams of validation clips and on
command-free audio, by the daemon's own stream: the fewest misses and wrong events (events on
single words that are no intents among them) with so few false alarms of all labels together that
the upper 95 % bound of their rate is what the recipe asks.
"""

from __future__ import annotations

import bisect
import functools
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daemon.decide import RollingSettings
from daemon.model.description.calibration import Calibration
from train import metrics
from train.evaluation.scoring import Score, score
from train.recipe import Recipe
from train.simulation.conditions import Tracks, intents_of
from train.simulation.offline import (
    CachedScores,
    EventReplay,
    Scorer,
    SimulationSettings,
    replay,
    score_recordings,
)
from train.simulation.tracks import ReferenceEvent

STEPS = 32
"""Thresholds tried, evenly spaced in log odds."""
PENALTIES = (*(0.01 * 1.25**n for n in range(60)), 1e6)
"""What a false alarm costs in misses, tried until the false alarms are few enough."""


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """Misses and false alarms with one threshold for all labels."""

    threshold: float
    miss_rate: float
    false_alarms_per_hour: float


@dataclass(frozen=True, slots=True)
class Calibrated:
    """Outcome: settings for the daemon, how they were measured, the curve.

    The curve is whole.
    """

    calibration: Calibration
    curve: tuple[CurvePoint, ...]


@dataclass(frozen=True, slots=True)
class Sweep:
    """Counts for each label (rows, intents only) at each threshold (columns)."""

    thresholds: NDArray[np.float64]
    misses: NDArray[np.int64]
    wrong: NDArray[np.int64]
    """Events of the label on clips of another intent, between clips, or once more on the same."""
    false_alarms: NDArray[np.int64]
    """Events of the label in command-free audio."""

    @classmethod
    def empty(cls, thresholds: NDArray[np.float64], intents: int) -> Sweep:
        misses, wrong, alarms = (np.zeros((intents, len(thresholds)), np.int64) for _ in range(3))
        return cls(thresholds, misses, wrong, alarms)

    def __add__(self, other: Sweep) -> Sweep:
        return Sweep(
            self.thresholds,
            self.misses + other.misses,
            self.wrong + other.wrong,
            self.false_alarms + other.false_alarms,
        )


@dataclass(frozen=True, slots=True)
class ScoredTrack:
    """A track with the scores of a model that was not trained on it."""

    name: str
    seconds: float
    truth: tuple[ReferenceEvent, ...]
    free: bool
    """Command-free: any event is a false alarm."""
    cached: CachedScores
    temperature: float
    """Of the model that gave the scores."""

    def score(self, settings: SimulationSettings) -> Score:
        """The daemon's events against the track's truth."""
        events = replay(self.cached, settings, self.temperature).events
        return score(events, self.truth, self.seconds / 3600)


def score_tracks(
    tracks: Tracks, settings: SimulationSettings, score_windows: Scorer, temperature: float
) -> list[ScoredTrack]:
    """Scores of a model with this temperature for `tracks`."""
    scored = score_recordings([track.samples for track in tracks.all], settings, score_windows)
    free = [False] * len(tracks.words) + [True] * len(tracks.free)
    return [
        ScoredTrack(track.name, track.seconds, track.truth, is_free, cached, temperature)
        for track, is_free, cached in zip(tracks.all, free, scored, strict=True)
    ]


def sweep(
    tracks: Sequence[ScoredTrack],
    event_replays: Sequence[EventReplay],
    settings: SimulationSettings,
    intents: Sequence[str],
    limits: tuple[float, float],
) -> list[Sweep]:
    """Counts of every track with each threshold for all labels.

    Labels of words do not affect each other in the event detector, so that one pass serves all of
    them; for utterances, which have one event each, it is a pass with equal thresholds.
    """
    low, high = (np.log(limit / (1 - limit)) for limit in limits)
    thresholds = 1 / (1 + np.exp(-np.linspace(low, high, STEPS)))
    found = []
    for event_replay, track in zip(event_replays, tracks, strict=True):
        mine = Sweep.empty(thresholds, len(intents))
        smoothed = event_replay.smoothed(settings)
        for column, threshold in enumerate(thresholds):
            chosen = settings.with_thresholds(dict.fromkeys(intents, float(threshold)))
            events = event_replay.events(chosen, smoothed)
            of = score(events, track.truth, track.seconds / 3600)
            for row, label in enumerate(intents):
                mine.misses[row, column] = of.references_by_label[label] - of.hits_by_label[label]
                # Repeated, or between words: as bad as a wrong one, but not in command-free time.
                alarms = of.alarms_by_label[label]
                mine.wrong[row, column] = of.wrong_by_label[label] + (0 if track.free else alarms)
                mine.false_alarms[row, column] = alarms if track.free else 0
        found.append(mine)
    return found


def alarm_budget(rate: float, hours: float) -> int:
    """Most false alarms in `hours` that prove a rate of `rate` an hour.

    That is: whose upper 95 % bound is at most `rate`.

    0 if even none in `hours` proves no such rate: 3 / rate hours are needed for that.
    """
    most = range(int(rate * hours) + 1)  # the bound lies above the mean
    within = bisect.bisect_right(most, rate, key=lambda n: metrics.poisson_upper(n, hours) or 0)
    return max(0, within - 1)


def pick(found: Sweep, budget: int) -> tuple[list[int], int]:
    """The column chosen for each label, and the false alarms that are left.

    Of thresholds that are equally good, the middle one of the longest run: furthest from both
    a miss and a false alarm.
    """
    columns: list[int] = []
    alarms = 0
    for penalty in PENALTIES:
        cost = found.misses + found.wrong + penalty * found.false_alarms
        columns = [_middle_of_best(row) for row in cost]
        alarms = int(sum(found.false_alarms[row, column] for row, column in enumerate(columns)))
        if alarms <= budget:
            break
    return columns, alarms


def calibrate(
    recipe: Recipe,
    labels: tuple[str, ...],
    settings: SimulationSettings,
    temperature: float,
    tracks: Sequence[ScoredTrack],
    measured: Mapping[str, Any],
) -> Calibrated:
    """Choose thresholds on `tracks`.

    And, where the recipe lets, the number of rolling windows.

    `temperature` is the model's own; `measured` is added to what is stored about how the figures
    came about.
    """
    intents = intents_of(recipe, labels)
    hours = _hours(tracks)
    event_replays = [EventReplay(each.cached, settings, each.temperature) for each in tracks]
    rate = recipe.calibrate.false_alarms_per_hour
    budget = alarm_budget(rate, hours)
    best: tuple[tuple[float, int], SimulationSettings, list[Sweep], list[int]] | None = None
    for windows in recipe.calibrate.rolling_windows or (settings.rolling.windows,):
        tried = replace(settings, rolling=_rolling(settings.rolling, windows))
        sweeps = sweep(tracks, event_replays, tried, intents, recipe.calibrate.threshold)
        found = _total(sweeps)
        columns, alarms = pick(found, budget)
        cost = sum(found.misses[r, c] + found.wrong[r, c] for r, c in enumerate(columns))
        rank = (float(max(0, alarms - budget)), int(cost))
        if best is None or rank < best[0]:
            best = rank, tried, sweeps, columns
    assert best is not None
    _, settings, sweeps, columns = best
    found = _total(sweeps)
    thresholds = {
        label: round(float(found.thresholds[column]), 4)
        for label, column in zip(intents, columns, strict=True)
    }
    settings = settings.with_thresholds(thresholds)
    scores = [each.score(settings) for each in tracks]
    # A stream of words has intents in it, or single other words alone (`calibration_tracks`).
    words, others, free = Score(), Score(), Score()
    other_words = 0
    for each, mine in zip(tracks, scores, strict=True):
        if each.free:
            free += mine
        elif any(reference.intent for reference in each.truth):
            words += mine
        else:
            others += mine
            other_words += len(each.truth)
    elsewhere = alarms_elsewhere(tracks, sweeps, rate)
    return Calibrated(
        Calibration(
            window=recipe.model.window,
            hop=recipe.model.hop,
            unit=recipe.model.unit,
            non_intents=frozenset(recipe.model.non_intents),
            temperature=round(temperature, 4),
            thresholds=thresholds,
            gate=recipe.gate.model_dump(),
            rolling=recipe.rolling.model_dump() | {"windows": settings.rolling.windows},
            events=recipe.events.model_dump(exclude={"thresholds"}),
            measured={
                **measured,
                "chosen_on": "streams and command-free audio that the model, or another trained "
                "in the same way, was not trained on; hits, wrong and false alarms are of the "
                "very audio the thresholds were chosen on, false_alarms_elsewhere of each half of "
                "the command-free audio with thresholds chosen on the other; other_words are "
                "single words that are no intents, other_words_wrong the events they raised",
                "false_alarms_asked_per_hour": rate,
                "command_free_hours": round(hours, 3),
                "false_alarms": free.false_alarms,
                "false_alarms_per_hour": _rounded(free.false_alarms / hours if hours else None),
                "false_alarms_per_hour_upper_95": _rounded(
                    metrics.poisson_upper(free.false_alarms, hours)
                ),
                "false_alarms_elsewhere": elsewhere,
                "false_alarms_elsewhere_per_hour_upper_95": _rounded(
                    metrics.poisson_upper(elsewhere, hours)
                ),
                "false_alarms_by_source": _by_source(tracks, settings),
                "words": words.references,
                "hits": words.hits,
                "wrong": words.wrong + words.false_alarms,
                "other_words": other_words,
                "other_words_wrong": others.wrong + others.false_alarms,
            },
        ),
        curve_of(found, words.references, hours),
    )


def alarms_elsewhere(tracks: Sequence[ScoredTrack], sweeps: Sequence[Sweep], rate: float) -> int:
    """False alarms in each half of the tracks, with the other's thresholds.

    The tracks are the command-free ones.
    """
    halves = _halves(tracks)
    words = [found for each, found in zip(tracks, sweeps, strict=True) if not each.free]
    alarms = 0
    for here, there in (halves, halves[::-1]):
        budget = alarm_budget(rate, _hours([tracks[n] for n in here]))
        columns, _ = pick(_total([*words, *(sweeps[n] for n in here)]), budget)
        for number in there:
            alarms += sum(
                int(sweeps[number].false_alarms[row, column]) for row, column in enumerate(columns)
            )
    return alarms


def _halves(tracks: Sequence[ScoredTrack]) -> tuple[list[int], list[int]]:
    """Numbers of the command-free tracks in two balanced halves.

    With as much of each kind in either as can be: thresholds are chosen on all kinds, so no half
    may lack one.
    """
    halves: tuple[list[int], list[int]] = ([], [])

    def filled(half: list[int], name: str) -> tuple[float, float]:
        alike = (tracks[n].seconds for n in half if tracks[n].name == name)
        return sum(alike), sum(tracks[n].seconds for n in half)

    free = [number for number, each in enumerate(tracks) if each.free]
    for number in sorted(free, key=lambda n: -tracks[n].seconds):
        name = tracks[number].name
        halves[filled(halves[1], name) < filled(halves[0], name)].append(number)
    return halves


def _by_source(
    tracks: Sequence[ScoredTrack], settings: SimulationSettings
) -> dict[str, dict[str, float]]:
    """False alarms and hours of the command-free tracks of each name."""
    found: dict[str, dict[str, float]] = {}
    for each in tracks:
        if each.free:
            row = found.setdefault(each.name, {"alarms": 0, "hours": 0.0})
            row["alarms"] += each.score(settings).false_alarms
            row["hours"] = round(row["hours"] + each.seconds / 3600, 4)
    return found


def _hours(tracks: Sequence[ScoredTrack]) -> float:
    """Hours of command-free audio.

    Alarms in streams of words cost too, but only this is time to be quiet in.
    """
    return sum(each.seconds for each in tracks if each.free) / 3600


def _total(sweeps: Sequence[Sweep]) -> Sweep:
    return functools.reduce(operator.add, sweeps)


def curve_of(found: Sweep, words: int, hours: float) -> tuple[CurvePoint, ...]:
    """Misses against false alarms an hour for one threshold for all labels."""
    return tuple(
        CurvePoint(
            float(threshold),
            float(found.misses[:, column].sum() / max(1, words)),
            float(found.false_alarms[:, column].sum() / hours) if hours else 0.0,
        )
        for column, threshold in enumerate(found.thresholds)
    )


def _middle_of_best(cost: NDArray[np.floating[Any]]) -> int:
    best = np.flatnonzero(cost == cost.min())
    runs = np.split(best, np.flatnonzero(np.diff(best) > 1) + 1)
    longest = max(runs, key=len)
    return int(longest[len(longest) // 2])


def _rolling(settings: RollingSettings, windows: int) -> RollingSettings:
    return settings.model_copy(update={"windows": windows})


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
