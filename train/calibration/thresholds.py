"""What a trained model needs before it may raise events: a temperature and thresholds.

The temperature is fitted on validation data at the level of the unit (windows for words, pooled
evidence for utterances). Thresholds are then chosen per label on streams of validation clips and on
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
from scipy.optimize import minimize_scalar

from daemon.decide import RollingSettings, evidence_weights, log_floored
from daemon.model.description.calibration import Calibration
from train import metrics
from train.evaluation.scoring import Score, score
from train.recipe import Recipe
from train.simulation.conditions import Tracks, intents_of
from train.simulation.offline import Hearing, Rehearsal, Scorer, Setup, hear, replay, softmax
from train.simulation.tracks import Said

STEPS = 32
"""Thresholds tried, evenly spaced in log odds."""
PENALTIES = (*(0.01 * 1.25**n for n in range(60)), 1e6)
"""What a false alarm costs in misses, tried until the false alarms are few enough."""


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """What one threshold for all labels would give."""

    threshold: float
    miss_rate: float
    false_alarms_per_hour: float


@dataclass(frozen=True, slots=True)
class Calibrated:
    """The outcome: settings for the daemon, how they were measured, and the whole curve."""

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
class Heard:
    """A track, and what a model made of it that had not been trained on it."""

    name: str
    seconds: float
    truth: tuple[Said, ...]
    free: bool
    """Command-free: any event is a false alarm."""
    hearing: Hearing
    temperature: float
    """Of the model that heard it."""

    def score(self, setup: Setup) -> Score:
        """The daemon's events of the track against what is said in it."""
        events = replay(self.hearing, setup, self.temperature).events
        return score(events, self.truth, self.seconds / 3600)


def fit_temperature(logits: NDArray[np.floating[Any]], references: NDArray[np.int64]) -> float:
    """The temperature that makes the references likeliest (Guo et al. 2017), 0.05 to 20.

    `logits` (n, labels), `references` (n,); 1 for no data.
    """
    if not len(references):
        return 1.0

    def loss(log_temperature: float) -> float:
        scaled = logits / np.exp(log_temperature)
        top = scaled.max(axis=-1, keepdims=True)
        norm = np.log(np.exp(scaled - top).sum(axis=-1)) + top[:, 0]
        return float(np.mean(norm - scaled[np.arange(len(references)), references]))

    found = minimize_scalar(loss, bounds=(np.log(0.05), np.log(20.0)), method="bounded")
    return float(np.exp(found.x))


def fit_pooled_temperature(
    hearings: Sequence[Hearing], references: NDArray[np.int64], setup: Setup
) -> float:
    """The temperature of the windows that makes the pooled posteriors of utterances fit best.

    `references` (n,): label numbers of the `hearings`; those without speech are passed over.
    """
    heard = [
        (hearing.logits, int(label))
        for hearing, label in zip(hearings, references, strict=True)
        if len(hearing.logits)
    ]
    if not heard:
        return 1.0

    def loss(log_temperature: float) -> float:
        total = 0.0
        for logits, label in heard:
            logs = log_floored(softmax(logits / np.exp(log_temperature)))
            weights = evidence_weights(len(logs), setup.rolling.forgetting, setup.overlap)
            evidence = weights @ logs
            total += float(np.logaddexp.reduce(evidence) - evidence[label])
        return total / len(heard)

    found = minimize_scalar(loss, bounds=(np.log(0.05), np.log(20.0)), method="bounded")
    return float(np.exp(found.x))


def hear_tracks(
    tracks: Tracks, setup: Setup, score_windows: Scorer, temperature: float
) -> list[Heard]:
    """What a model with this temperature makes of `tracks`."""
    hearings = hear([track.samples for track in tracks.all], setup, score_windows)
    free = [False] * len(tracks.words) + [True] * len(tracks.free)
    return [
        Heard(track.name, track.seconds, track.truth, is_free, heard, temperature)
        for track, is_free, heard in zip(tracks.all, free, hearings, strict=True)
    ]


def sweep(
    heard: Sequence[Heard],
    rehearsals: Sequence[Rehearsal],
    setup: Setup,
    intents: Sequence[str],
    limits: tuple[float, float],
) -> list[Sweep]:
    """Play every track with each threshold for all labels. Labels of words do not disturb each
    other in the event detector, so that one pass tells of all of them; of utterances, which have
    one event each, it tells what equal thresholds would do."""
    low, high = (np.log(limit / (1 - limit)) for limit in limits)
    thresholds = 1 / (1 + np.exp(-np.linspace(low, high, STEPS)))
    found = []
    for rehearsal, track in zip(rehearsals, heard, strict=True):
        mine = Sweep.empty(thresholds, len(intents))
        opinions = rehearsal.opinions(setup)
        for column, threshold in enumerate(thresholds):
            chosen = setup.with_thresholds(dict.fromkeys(intents, float(threshold)))
            events = rehearsal.events(chosen, opinions)
            of = score(events, track.truth, track.seconds / 3600)
            for row, label in enumerate(intents):
                mine.misses[row, column] = of.said_by_label[label] - of.hits_by_label[label]
                # Twice heard, or between words: as bad as a wrong one, but no time to be quiet in.
                alarms = of.alarms_by_label[label]
                mine.wrong[row, column] = of.wrong_by_label[label] + (0 if track.free else alarms)
                mine.false_alarms[row, column] = alarms if track.free else 0
        found.append(mine)
    return found


def alarm_budget(rate: float, hours: float) -> int:
    """Most false alarms in `hours` whose upper 95 % bound is at most `rate` an hour.

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
    settings: Setup,
    temperature: float,
    heard: Sequence[Heard],
    measured: Mapping[str, Any],
) -> Calibrated:
    """Choose thresholds (and, where the recipe lets, the number of rolling windows) on `heard`.

    `temperature` is the model's own; `measured` is added to what is stored about how the figures
    came about.
    """
    intents = intents_of(recipe, labels)
    hours = _hours(heard)
    rehearsals = [Rehearsal(each.hearing, settings, each.temperature) for each in heard]
    rate = recipe.calibrate.false_alarms_per_hour
    budget = alarm_budget(rate, hours)
    best: tuple[tuple[float, int], Setup, list[Sweep], list[int]] | None = None
    for windows in recipe.calibrate.rolling_windows or (settings.rolling.windows,):
        tried = replace(settings, rolling=_rolling(settings.rolling, windows))
        sweeps = sweep(heard, rehearsals, tried, intents, recipe.calibrate.threshold)
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
    scores = [each.score(settings) for each in heard]
    # A stream of words has intents in it, or single other words alone (`calibration_tracks`).
    words, others, free = Score(), Score(), Score()
    other_words = 0
    for each, mine in zip(heard, scores, strict=True):
        if each.free:
            free += mine
        elif any(said.intent for said in each.truth):
            words += mine
        else:
            others += mine
            other_words += len(each.truth)
    elsewhere = alarms_elsewhere(heard, sweeps, rate)
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
                "false_alarms_by_source": _by_source(heard, settings),
                "words": words.said,
                "hits": words.hits,
                "wrong": words.wrong + words.false_alarms,
                "other_words": other_words,
                "other_words_wrong": others.wrong + others.false_alarms,
            },
        ),
        curve_of(found, words.said, hours),
    )


def alarms_elsewhere(heard: Sequence[Heard], sweeps: Sequence[Sweep], rate: float) -> int:
    """False alarms in each half of the command-free tracks with thresholds chosen on the other."""
    halves = _halves(heard)
    words = [found for each, found in zip(heard, sweeps, strict=True) if not each.free]
    alarms = 0
    for here, there in (halves, halves[::-1]):
        budget = alarm_budget(rate, _hours([heard[n] for n in here]))
        columns, _ = pick(_total([*words, *(sweeps[n] for n in here)]), budget)
        for number in there:
            alarms += sum(
                int(sweeps[number].false_alarms[row, column]) for row, column in enumerate(columns)
            )
    return alarms


def _halves(heard: Sequence[Heard]) -> tuple[list[int], list[int]]:
    """The numbers of the command-free tracks in two halves, with as much of each kind in either as
    can be: thresholds are chosen on all kinds, so no half may lack one."""
    halves: tuple[list[int], list[int]] = ([], [])

    def filled(half: list[int], name: str) -> tuple[float, float]:
        alike = (heard[n].seconds for n in half if heard[n].name == name)
        return sum(alike), sum(heard[n].seconds for n in half)

    free = [number for number, each in enumerate(heard) if each.free]
    for number in sorted(free, key=lambda n: -heard[n].seconds):
        name = heard[number].name
        halves[filled(halves[1], name) < filled(halves[0], name)].append(number)
    return halves


def _by_source(heard: Sequence[Heard], setup: Setup) -> dict[str, dict[str, float]]:
    """False alarms and hours of the command-free tracks of each name."""
    found: dict[str, dict[str, float]] = {}
    for each in heard:
        if each.free:
            row = found.setdefault(each.name, {"alarms": 0, "hours": 0.0})
            row["alarms"] += each.score(setup).false_alarms
            row["hours"] = round(row["hours"] + each.seconds / 3600, 4)
    return found


def _hours(heard: Sequence[Heard]) -> float:
    """Of command-free audio. Alarms in streams of words cost too, but only this is time to be
    quiet in."""
    return sum(each.seconds for each in heard if each.free) / 3600


def _total(sweeps: Sequence[Sweep]) -> Sweep:
    return functools.reduce(operator.add, sweeps)


def curve_of(found: Sweep, said: int, hours: float) -> tuple[CurvePoint, ...]:
    """Misses against false alarms an hour for one threshold for all labels."""
    return tuple(
        CurvePoint(
            float(threshold),
            float(found.misses[:, column].sum() / max(1, said)),
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
