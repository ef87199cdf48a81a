"""Measures a command model on strangers' words, pairs and talk.

These are words, words without a pause, other words, and talk.

    python tools/open_world.py MODEL... --root data [--part test] [--plot curve.png] [--json FILE]

Measured through the daemon's own classes at each model's own thresholds, on people of one part of
the split: the recipe's intents every 2.5 s in its evaluation noise, pairs of them, single other
words, and the sentences of its sources. A model with a verifier is measured without and with it.
The sentences of `calibrate.free` come beside them, by their column `source`; thresholds were chosen
on those. Clips that hold no whole word are counted apart: nearly silent ones, and words that begin
or end with their clip.

The plot shows misses at 10 dB against false alarms in all talk, for one threshold for all labels.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import pyplot
from rich.console import Console
from rich.table import Table

from daemon.base.audio import RATE
from train.augment import Audio, rms, white, word_bounds
from train.calibration.thresholds import ScoredTrack, score_tracks, sweep
from train.data.clips import Clip, load_clips
from train.data.decoding import decode
from train.environment import quiet
from train.evaluation.evaluate import settings_of
from train.evaluation.scoring import Score
from train.metrics import poisson_upper, wilson
from train.pipeline import evaluation_noise, open_model
from train.recipe import Recipe
from train.recipe_files import load_recipe
from train.simulation.conditions import Tracks, intents_of, word_track
from train.simulation.offline import EventReplay, SimulationSettings
from train.simulation.tracks import ReferenceEvent, Track, joined, spaced
from train.simulation.verified import verified

LEVELS = (None, 20.0, 10.0, 5.0)
PAUSES = (0.05, 0.15, 0.3)
PAIRS = 150
EMPTY_DBFS = -45.0
"""A clip whose loudest 25 ms stay below it holds no word that anybody hears."""
EDGE = 0.02
"""A word that begins or ends within so many seconds of its clip's ends is cut."""
PER_TRACK = 100
PLOTTED = "10 dB"
LIMITS = (0.02, 0.999)
"""Least and greatest threshold of the plot."""


def holds_word(clip: Clip) -> bool:
    """Whether a clip holds a whole word, by energy."""
    samples = clip.audio
    power = np.convolve(samples**2, np.full(400, 1 / 400), "same")
    first, last = word_bounds(samples)
    inside = first > EDGE * RATE and last < len(samples) - EDGE * RATE
    return bool(inside and 10 * np.log10(power.max() + 1e-12) > EMPTY_DBFS)


def pairs_track(clips: Sequence[Clip], labels: Sequence[str], pause: float) -> Track:
    """Pairs of different words at one level, `pause` seconds between the two."""
    rng = np.random.default_rng(5)
    pool = {label: [clip for clip in clips if clip.label == label] for label in labels}
    said = [label for label in labels if pool[label]]
    pieces: list[Audio] = [np.zeros(RATE, np.float32)]
    truth: list[ReferenceEvent] = []
    at = RATE
    for _ in range(PAIRS):
        for label, after in zip(rng.choice(said, 2, replace=False), (pause, 1.6), strict=True):
            clip = pool[label][int(rng.integers(len(pool[label])))]
            first, last = word_bounds(clip.audio)
            word = clip.audio[first:last]
            gap = round(after * RATE)
            end = at + len(word)
            truth.append(ReferenceEvent(str(label), at / RATE, end / RATE, end / RATE, True))
            pieces += [word * np.float32(0.1 / rms(word)), np.zeros(gap, np.float32)]
            at = end + gap
    samples = np.concatenate(pieces)
    samples += white(-74.0, len(samples), rng)
    return Track(f"pairs, {pause:g} s", np.clip(samples, -1, 1), tuple(truth))


def talk(recipe: Recipe, clips: Sequence[Clip]) -> Iterator[Track]:
    """Sentences by source: those of the part, and all of `calibrate.free`."""
    kinds: dict[str, list[Clip]] = defaultdict(list)
    for clip in clips:
        if clip.placing == "crop":
            kinds[recipe.data[clip.source].path].append(clip)
    for path in recipe.calibrate.free:
        for row in _table(recipe.path(path)):
            pcm = np.rint(decode(row["audio"]["bytes"]) * 32767).astype(np.int16)
            name = f"{path}: {row['source']}"
            kinds[name].append(Clip(pcm, "", "", row["audio"]["path"] or "", 0, "test", "crop"))
    for name, mine in sorted(kinds.items()):
        for first in range(0, len(mine), PER_TRACK):
            yield joined(name, mine[first : first + PER_TRACK])


def _table(path: Path) -> list[dict[str, Any]]:
    import pyarrow.parquet as pq

    rows: list[dict[str, Any]] = pq.read_table(path).to_pylist()
    return rows


def tracks_of(recipe: Recipe, part: str) -> Tracks:
    """All that is listened to."""
    clips = [clip for clip in load_clips(recipe).clips if clip.part == part]
    intents = intents_of(recipe, recipe.model.labels)
    words = [clip for clip in clips if clip.placing == "word"]
    commands = [clip for clip in words if clip.label in intents]
    whole = [clip for clip in commands if holds_word(clip)]
    noise = evaluation_noise(recipe)
    told = []
    for number, level in enumerate(LEVELS):
        track = word_track(
            recipe,
            whole,
            recipe.model.labels,
            len(whole),
            2.5,
            None if level is None else noise,
            level or 0.0,
            number,
        )
        told.append(replace(track, name="words, " + track.name))
    held = {id(clip) for clip in whole}
    rest = [clip for clip in commands if id(clip) not in held]
    told.append(spaced("words, empty or cut", rest, recipe.model.non_intents, 2.5, None, 0.0))
    if len({clip.label for clip in whole}) > 1:
        told += [pairs_track(whole, intents, pause) for pause in PAUSES]
    others = [clip for clip in words if clip.label not in intents]
    told.append(spaced("other words", others, recipe.model.non_intents, 2.5, None, 0.0))
    return Tracks(tuple(t for t in told if t.truth), tuple(talk(recipe, clips)))


@dataclass(frozen=True, slots=True)
class Subject:
    """A model with the scores that it gave, with its verifier or without."""

    name: str
    settings: SimulationSettings
    scored: Sequence[ScoredTrack]


def subjects_of(model: str, recipe: Recipe, tracks: Tracks) -> list[Subject]:
    """The model alone, and with its verifier where it has one."""
    classifier = open_model(model, recipe, verifier="auto")
    settings, temperature = settings_of(classifier), classifier.info.temperature
    verifier, classifier.verifier = classifier.verifier, None
    alone = settings_of(classifier)
    scored = score_tracks(tracks, alone, classifier.logits, temperature)
    found = [Subject(model, alone, scored)]
    if verifier is not None:
        asked = [
            replace(
                each,
                cached=verified(
                    each.cached, track.samples, settings, temperature, verifier.posterior
                ),
            )
            for each, track in zip(scored, tracks.all, strict=True)
        ]
        found.append(Subject(f"{model} with its verifier", settings, asked))
    return found


def rows_of(subject: Subject) -> list[dict[str, Any]]:
    """A row for each kind of track: spoken, detected, and false events."""
    scored, settings, model = subject.scored, subject.settings, subject.name
    sums: dict[str, Score] = defaultdict(Score)
    lengths: dict[str, int] = defaultdict(int)
    free: dict[str, bool] = {}
    for track in scored:
        sums[track.name] += track.score(settings)
        lengths[track.name] += len(track.truth)
        free[track.name] = track.free
    rows = []
    for name, found in sums.items():
        wrong = found.wrong + found.false_alarms
        row: dict[str, Any] = {"model": model, "name": name, "hours": found.hours}
        if free[name]:
            row |= {"alarms": wrong, "per_hour_upper": poisson_upper(wrong, found.hours)}
        elif found.references:
            row |= {"said": found.references, "hits": found.hits, "wrong": wrong}
            row["interval"] = wilson(found.misses, found.references)
        else:
            row |= {"said": lengths[name], "wrong": wrong}
            row["interval"] = wilson(wrong, lengths[name])
        rows.append(row)
    return rows


def show(rows: Sequence[dict[str, Any]], console: Console) -> None:
    table = Table("model", "", "N", "missed or raised", "95 %", "wrong")
    for row in rows:
        if "alarms" in row:
            upper = f"at most {row['per_hour_upper']:.2f} an hour"
            table.add_row(
                row["model"], row["name"], f"{row['hours']:.2f} h", str(row["alarms"]), upper, ""
            )
            continue
        low, high = row["interval"]
        count = row["said"] - row["hits"] if "hits" in row else row["wrong"]
        interval = f"{count / row['said']:.1%} [{low:.1%}, {high:.1%}]"
        wrong = str(row["wrong"]) if "hits" in row else ""
        table.add_row(row["model"], row["name"], str(row["said"]), str(count), interval, wrong)
    console.print(table)


def curve(subject: Subject, recipe: Recipe) -> tuple[Any, Any]:
    """Alarms an hour in all talk and the share of words missed, by threshold."""
    settings = subject.settings
    some = [track for track in subject.scored if track.free or track.name.endswith(PLOTTED)]
    intents = intents_of(recipe, settings.labels)
    replays = [EventReplay(track.cached, settings, track.temperature) for track in some]
    sweeps = sweep(some, replays, settings, intents, LIMITS)
    hours = sum(track.seconds for track in some if track.free) / 3600
    said = sum(len(track.truth) for track in some if not track.free)
    alarms = sum(s.false_alarms.sum(axis=0) for s in sweeps) / hours
    return alarms, sum(s.misses.sum(axis=0) for s in sweeps) / said


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("models", nargs="+")
    parser.add_argument("--recipe", default="commands")
    parser.add_argument("--root", default="data")
    parser.add_argument("--part", default="test", choices=("test", "validation"))
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    quiet()
    recipe = load_recipe(asked.recipe, [f"root={asked.root}"])
    tracks = tracks_of(recipe, asked.part)
    rows, curves = [], {}
    for model in asked.models:
        for subject in subjects_of(model, recipe, tracks):
            rows += rows_of(subject)
            if asked.plot is not None:
                curves[subject.name] = curve(subject, recipe)
    show(rows, Console(width=140))
    if asked.json is not None:
        asked.json.write_text(json.dumps(rows, indent=1) + "\n")
    if asked.plot is not None:
        figure, axes = pyplot.subplots(figsize=(7, 4.5))
        for model, (alarms, misses) in curves.items():
            axes.plot(alarms, 100 * misses, ".-", label=model)
        axes.set_xscale("symlog", linthresh=0.5)
        axes.xaxis.set_major_formatter("{x:g}")
        axes.set_xlim(left=0)
        axes.set_ylim(0, 100)
        axes.set_xlabel("false alarms an hour of talk")
        axes.set_ylabel(f"words missed at {PLOTTED}, %")
        axes.legend()
        figure.tight_layout()
        figure.savefig(asked.plot, dpi=120)


if __name__ == "__main__":
    main()
