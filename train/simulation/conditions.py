"""The daemon's settings by a recipe, and the tracks for measuring."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from daemon.base.audio import RATE
from train.augment import Audio
from train.data.clips import Clip, load_plain
from train.data.split import bucket
from train.recipe import Recipe
from train.simulation.offline import SimulationSettings
from train.simulation.tracks import Track, choose, joined, spaced

NOISE = "noise"
"""Name of the track of noises alone."""
TOGETHER = 100
"""Recordings in a track of `calibrate.free`."""


@dataclass(frozen=True, slots=True)
class Tracks:
    """Tracks for detection; any event in those of `free` is a false alarm."""

    words: tuple[Track, ...]
    free: tuple[Track, ...]

    @property
    def all(self) -> tuple[Track, ...]:
        return self.words + self.free

    @property
    def free_hours(self) -> float:
        return sum(track.seconds for track in self.free) / 3600


def settings_of_recipe(recipe: Recipe, labels: tuple[str, ...]) -> SimulationSettings:
    """The daemon's settings for a model of this recipe, before calibration."""
    return SimulationSettings(
        labels=labels,
        non_intents=frozenset(recipe.model.non_intents),
        unit=recipe.model.unit,
        window=recipe.model.window,
        hop=recipe.model.hop,
        gate=recipe.gate,
        rolling=recipe.rolling,
        events=recipe.events,
    )


def intents_of(recipe: Recipe, labels: Sequence[str]) -> list[str]:
    return [label for label in labels if label not in recipe.model.non_intents]


def word_track(
    recipe: Recipe,
    clips: Sequence[Clip],
    labels: Sequence[str],
    per_label: int,
    spacing: float,
    noise: Audio | None,
    snr_db: float,
    seed: int = 0,
) -> Track:
    """`per_label` clips of each intent, one every `spacing` seconds.

    In noise (or without).
    """
    chosen = choose(clips, intents_of(recipe, labels), per_label, seed)
    name = "without noise" if noise is None else f"{snr_db:g} dB"
    return spaced(name, chosen, recipe.model.non_intents, spacing, noise, snr_db, seed)


def free_tracks(
    recipe: Recipe, clips: Sequence[Clip], noises: Sequence[Audio], spacing: float
) -> tuple[Track, ...]:
    """Command-free audio: other words every `spacing` seconds, talk, noise.

    The words are single ones.
    """
    words = (replace(track, truth=()) for track in _other_words(recipe, clips, spacing))
    return (*words, *_talk(recipe, clips, noises))


def _other_words(recipe: Recipe, clips: Sequence[Clip], spacing: float) -> tuple[Track, ...]:
    """Tracks of the single words that are no intents, one a source."""
    tracks = []
    for number, section in enumerate(recipe.data):
        words = [clip for clip in _others(recipe, clips, number) if clip.placing == "word"]
        if words:
            name = f"{section.path}: other words"
            tracks.append(spaced(name, words, recipe.model.non_intents, spacing, None, 0.0))
    return tuple(tracks)


def _talk(recipe: Recipe, clips: Sequence[Clip], noises: Sequence[Audio]) -> tuple[Track, ...]:
    """Tracks of other speech than single words, one a source, and of noise."""
    tracks = []
    for number, section in enumerate(recipe.data):
        crops = [clip for clip in _others(recipe, clips, number) if clip.placing != "word"]
        if crops:
            tracks.append(joined(f"{section.path}: other speech", crops))
    if noises and recipe.model.non_intents:
        tracks.append(Track(NOISE, np.concatenate(list(noises)), ()))
    return tuple(tracks)


def _others(recipe: Recipe, clips: Sequence[Clip], source: int) -> list[Clip]:
    return [c for c in clips if c.source == source and c.label in recipe.model.non_intents]


def calibration_tracks(
    recipe: Recipe, clips: Sequence[Clip], labels: Sequence[str], noises: Sequence[Audio]
) -> Tracks:
    """Streams of validation clips with and without noise; command-free audio.

    Single other words, one every few seconds for an hour, are no hour that anybody lives through.
    Where there is talk to be quiet in, they are streams of words too: an event on one is wrong, and
    costs as much as a miss. Where there is none, they are the command-free audio.
    """
    settings = recipe.calibrate
    noise = np.concatenate(list(noises)) if noises else None
    levels: list[float | None] = [None]
    if noise is not None:
        levels += list(settings.snr_db)
    words = [
        word_track(
            recipe,
            clips,
            labels,
            settings.per_label,
            settings.spacing,
            None if level is None else _turned(noise, number),
            level or 0.0,
            seed=number,
        )
        for number, level in enumerate(levels)
    ]
    talks = bool(settings.free) or bool(_talk(recipe, clips, ()))
    # In two halves of speakers, so that alarms can be counted where no threshold was chosen.
    free: list[Track] = []
    for half in (0, 1):
        mine = [clip for clip in clips if bucket(f"half/{clip.key}", 2) == half]
        noisy = list(noises)[half::2]
        if talks:
            words += _other_words(recipe, mine, settings.spacing)
            free += _talk(recipe, mine, noisy)
        else:
            free += free_tracks(recipe, mine, noisy, settings.spacing)
    return Tracks(tuple(words), tuple(free))


def extra_tracks(recipe: Recipe) -> Iterator[Track]:
    """The recordings of `calibrate.free`, some minutes at a time.

    Raises: UserError if one of the sources can't be used.
    """
    for path in recipe.calibrate.free:
        clips = load_plain(path, recipe.root)
        for first in range(0, len(clips), TOGETHER):
            yield joined(path, clips[first : first + TOGETHER])


def _turned(noise: Audio | None, number: int) -> Audio | None:
    """The noise begun elsewhere for each track."""
    return None if noise is None else np.roll(noise, -number * 37 * RATE)
