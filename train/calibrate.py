"""What a trained model needs before it may raise events: a temperature and thresholds.

The temperature is fitted on validation data at the level of the unit (windows for words, pooled
evidence for utterances). Thresholds are then chosen per label on streams of validation clips and on
command-free audio, by the daemon's own stream: the fewest misses and wrong events that keep the
false alarms of all labels together within what the recipe asks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from daemon.decide import RollingSettings, evidence_weights, log_floored
from daemon.model.calibration import Calibration
from train import metrics
from train.conditions import Tracks, intents_of
from train.listen import Hearing, Rehearsal, Scorer, Setup, hear, replay, softmax
from train.recipe import Recipe
from train.scoring import Score, score
from train.streams import Track

STEPS = 32
"""Thresholds tried, evenly spaced in log odds."""
PENALTIES = (0.01, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 64.0, 1e6)
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
    """Events of the label on clips of another intent."""
    false_alarms: NDArray[np.int64]
    """Events of the label in command-free audio, or where nothing is said."""


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


def sweep(
    rehearsals: Sequence[Rehearsal],
    tracks: Tracks,
    setup: Setup,
    intents: Sequence[str],
    limits: tuple[float, float],
) -> Sweep:
    """Play every track with each threshold for all labels. Labels of words do not disturb each
    other in the event detector, so that one pass tells of all of them; of utterances, which have
    one event each, it tells what equal thresholds would do."""
    low, high = (np.log(limit / (1 - limit)) for limit in limits)
    thresholds = 1 / (1 + np.exp(-np.linspace(low, high, STEPS)))
    shape = (len(intents), len(thresholds))
    misses, wrong, alarms = (np.zeros(shape, np.int64) for _ in range(3))
    for rehearsal, track in zip(rehearsals, tracks.all, strict=True):
        opinions = rehearsal.opinions(setup)
        for column, threshold in enumerate(thresholds):
            chosen = setup.with_thresholds(dict.fromkeys(intents, float(threshold)))
            events = rehearsal.events(chosen, opinions)
            heard = score(events, track.truth, track.seconds / 3600)
            for row, label in enumerate(intents):
                misses[row, column] += heard.said_by_label[label] - heard.hits_by_label[label]
                wrong[row, column] += heard.wrong_by_label[label]
                alarms[row, column] += heard.alarms_by_label[label]
    return Sweep(thresholds, misses, wrong, alarms)


def score_track(
    hearing: Hearing, track: Track, setup: Setup, temperature: float
) -> Score:
    """The daemon's events of one track against what is said in it."""
    return score(replay(hearing, setup, temperature).events, track.truth, track.seconds / 3600)


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
    tracks: Tracks,
    score_windows: Scorer,
    measured: Mapping[str, Any],
    advance: Callable[[float], None] | None = None,
) -> Calibrated:
    """Choose thresholds (and, where the recipe lets, the number of rolling windows).

    `measured` is added to what is stored about how the figures came about.
    """
    intents = intents_of(recipe, labels)
    hearings = hear(
        [track.samples for track in tracks.all], settings, score_windows, advance=advance
    )
    # Alarms in streams of words count too, but only command-free time is time to be quiet in.
    hours = tracks.free_hours
    rehearsals = [Rehearsal(hearing, settings, temperature) for hearing in hearings]
    budget = int(recipe.calibrate.false_alarms_per_hour * hours)
    best: tuple[tuple[float, int], Setup, Sweep, list[int]] | None = None
    for windows in recipe.calibrate.rolling_windows or (settings.rolling.windows,):
        tried = replace(settings, rolling=_rolling(settings.rolling, windows))
        found = sweep(rehearsals, tracks, tried, intents, recipe.calibrate.threshold)
        columns, alarms = pick(found, budget)
        cost = sum(found.misses[r, c] + found.wrong[r, c] for r, c in enumerate(columns))
        rank = (float(max(0, alarms - budget)), int(cost))
        if best is None or rank < best[0]:
            best = rank, tried, found, columns
    assert best is not None
    _, settings, found, columns = best
    thresholds = {
        label: round(float(found.thresholds[column]), 4)
        for label, column in zip(intents, columns, strict=True)
    }
    settings = settings.with_thresholds(thresholds)
    words, free = Score(), Score()
    for hearing, track in zip(hearings, tracks.all, strict=True):
        heard = score_track(hearing, track, settings, temperature)
        if track in tracks.words:
            words += heard
        else:
            free += heard
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
                "chosen_on": "validation streams and command-free audio; the figures here are of "
                "the very audio the thresholds were chosen on",
                "false_alarms_asked_per_hour": recipe.calibrate.false_alarms_per_hour,
                "command_free_hours": round(hours, 3),
                "false_alarms": words.false_alarms + free.false_alarms,
                "false_alarms_per_hour": _rounded(
                    (words + free).false_alarms / hours if hours else None
                ),
                "false_alarms_per_hour_upper_95": _rounded(
                    metrics.poisson_upper((words + free).false_alarms, hours)
                ),
                "words": words.said,
                "hits": words.hits,
                "wrong": words.wrong,
            },
        ),
        curve_of(found, sum(s.said for s in (words,)), hours),
    )


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
    return replace(settings, windows=windows)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
