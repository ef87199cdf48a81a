"""Evaluation of a model: by window, by recording, and as streams.

Everything goes through the daemon's classifier and its `Stream`, so that what is measured is what
runs. Ratios of speech to noise are the clip's RMS over the noise's, over the whole clip.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daemon.assembly.setup import layer_of
from daemon.config.settings import HOP_SECONDS, EventSettings, GateSettings, RollingSettings
from daemon.model.classifier import Classifier
from daemon.windowing import high_passed
from train import metrics
from train.augment import Audio
from train.data.clips import Clip
from train.evaluation.scoring import Score, score
from train.examples.words import middle_window
from train.recipe import Recipe
from train.simulation.conditions import free_tracks, word_track
from train.simulation.offline import SimulationSettings, replay, score_recordings, softmax
from train.simulation.tracks import Track, with_noise
from train.simulation.verified import verified
from train.training.finetune import words_of

Advance = Callable[[float], None] | None


@dataclass(frozen=True, slots=True)
class Options:
    """Conditions to measure. `levels` in decibels, None for no noise."""

    levels: tuple[float | None, ...] = (None, 24.0, 18.0, 12.0, 6.0)
    per_label: int = 40
    spacing: float = 2.5
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Classified:
    """Probabilities against the truth."""

    probabilities: NDArray[np.float32]
    """(n, labels)."""
    references: NDArray[np.int64]
    """(n,), label numbers."""

    def figures(self, intents: Sequence[int]) -> dict[str, Any]:
        """Plain values for JSON."""
        n = len(self.references)
        if not n:
            return {"n": 0}
        predicted = self.probabilities.argmax(axis=-1)
        hits = int((predicted == self.references).sum())
        mine = np.isin(self.references, intents)
        intent_hits = int((predicted == self.references)[mine].sum())
        closed, closed_n = metrics.closed_set_accuracy(
            self.probabilities, self.references, list(intents)
        )
        table = metrics.compute(self.probabilities, self.references)
        return {
            "n": n,
            "accuracy": hits / n,
            "accuracy_interval": metrics.wilson(hits, n),
            "macro_f1": table["macro_f1"],
            "calibration_error": metrics.calibration_error(self.probabilities, self.references),
            "intents_n": int(mine.sum()),
            "intents_accuracy": intent_hits / int(mine.sum()) if mine.any() else None,
            "intents_interval": metrics.wilson(intent_hits, int(mine.sum())),
            "closed_set_accuracy": closed / closed_n if closed_n else None,
            "closed_set_interval": metrics.wilson(closed, closed_n),
        }

    def by_label(self, labels: Sequence[str]) -> dict[str, Any]:
        """Recall of each label that occurs, with N and interval."""
        predicted = self.probabilities.argmax(axis=-1)
        table = {}
        for number, label in enumerate(labels):
            mine = self.references == number
            if mine.any():
                hits, n = int((predicted[mine] == number).sum()), int(mine.sum())
                table[label] = {"n": n, "accuracy": hits / n, "interval": metrics.wilson(hits, n)}
        return table


@dataclass(frozen=True, slots=True)
class Condition:
    """Measurements at one level of noise."""

    level: float | None
    windows: Classified
    utterances: Classified
    stream: Score
    """Words every few seconds."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    labels: tuple[str, ...]
    non_intents: frozenset[str]
    conditions: tuple[Condition, ...]
    free: Score
    """Command-free audio."""
    free_tracks: dict[str, Score]
    silent: int
    """Utterances in which the gate found no speech, counted as wrong."""

    def figures(self) -> dict[str, Any]:
        """Plain values for JSON."""
        intents = [n for n, label in enumerate(self.labels) if label not in self.non_intents]
        return {
            "labels": list(self.labels),
            "non_intents": sorted(self.non_intents),
            "conditions": [
                {
                    "snr_db": condition.level,
                    "windows": condition.windows.figures(intents),
                    "utterances": condition.utterances.figures(intents),
                    "utterances_by_label": condition.utterances.by_label(self.labels),
                    "stream": condition.stream.summary(),
                }
                for condition in self.conditions
            ],
            "confusion": self.confusion().tolist(),
            "command_free": self.free.summary(),
            "command_free_tracks": {
                name: score.summary() for name, score in self.free_tracks.items()
            },
            "utterances_without_speech": self.silent,
        }

    def confusion(self) -> NDArray[np.int64]:
        """Confusion of whole recordings, without added noise if that was measured."""
        found = self.conditions[0].utterances
        return metrics.confusion(
            found.probabilities.argmax(axis=-1), found.references, len(self.labels)
        )


def settings_of(classifier: Classifier) -> SimulationSettings:
    """The daemon's settings for this model.

    Its `intentd` key, and what its verifier changes, over the defaults.
    """
    info = classifier.info
    verifier = None if classifier.verifier is None else classifier.verifier.info
    table = layer_of(info, verifier)
    window = table.get("window", {})
    return SimulationSettings(
        labels=info.labels,
        non_intents=info.non_intents,
        unit=info.unit,
        window=classifier.window / info.rate,
        hop=window.get("hop", HOP_SECONDS),
        gate=GateSettings(**table.get("gate", {})),
        rolling=RollingSettings(**table.get("rolling", {})),
        events=EventSettings(**table.get("events", {})),
        verification=None if verifier is None else verifier.verification,
    )


def evaluate(
    classifier: Classifier,
    recipe: Recipe,
    clips: Sequence[Clip],
    noise: Audio | None,
    options: Options,
    say: Callable[[str], None] = lambda _: None,
) -> Evaluation:
    """Measure `classifier` on `clips`.

    `noise` (n,) is what levels other than None are made with.

    `say` is called with what is being measured.
    """
    settings = settings_of(classifier)
    # No event, but scores and verdicts, which no verifier has a part in.
    unverified = replace(settings, verification=None)
    labels, temperature = classifier.labels, classifier.info.temperature

    def score_track(track: Track) -> Score:
        cached = score_recordings([track.samples], settings, classifier.logits)[0]
        if classifier.verifier is not None:
            ask = classifier.verifier.posterior
            cached = verified(cached, track.samples, settings, temperature, ask)
        events = replay(cached, settings, temperature).events
        return score(events, track.truth, track.seconds / 3600)

    conditions = []
    silent = 0
    for number, level in enumerate(options.levels):
        if level is not None and noise is None:
            continue
        say("without noise" if level is None else f"noise at {level:g} dB")
        sounds = [clip.audio for clip in clips]
        if level is not None and noise is not None:
            sounds = [with_noise(audio, noise, level, n) for n, audio in enumerate(sounds)]
        utterances, windows, missing = _recordings(
            classifier, unverified, clips, sounds, temperature
        )
        if number == 0:
            silent = missing
        if settings.unit == "word":
            windows = _windows(classifier, clips, sounds, temperature)
        elif recipe.model.windows == "first":
            utterances = _first_windows(classifier, clips, sounds, temperature)
        track = word_track(
            recipe,
            clips,
            labels,
            options.per_label,
            options.spacing,
            noise if level is not None else None,
            level or 0.0,
            options.seed,
        )
        conditions.append(Condition(level, windows, utterances, score_track(track)))
    say("command-free audio")
    tracks = free_tracks(recipe, clips, [] if noise is None else [noise], options.spacing)
    by_track = {track.name: score_track(track) for track in tracks}
    free = sum(by_track.values(), Score())
    return Evaluation(
        labels, frozenset(recipe.model.non_intents), tuple(conditions), free, by_track, silent
    )


def _recordings(
    classifier: Classifier,
    settings: SimulationSettings,
    clips: Sequence[Clip],
    sounds: Sequence[Audio],
    temperature: float,
) -> tuple[Classified, Classified, int]:
    """Each clip as a separate recording.

    Gives verdicts, windows with speech, and the number of clips without speech.

    The verdict on a clip in which the gate finds no speech is counted as wrong: it is the first
    label that is not the reference.
    """
    scored = score_recordings(sounds, settings, classifier.logits)
    index = {label: number for number, label in enumerate(classifier.labels)}
    references = np.array([index[clip.label] for clip in clips], np.int64)
    verdicts = np.zeros((len(clips), len(index)), np.float32)
    for row, cached in enumerate(scored):
        for verdict in replay(cached, settings, temperature).summary.top:
            verdicts[row, index[verdict.intent]] = verdict.score
        if not verdicts[row].any():
            verdicts[row, (references[row] + 1) % len(index)] = 1.0
    probabilities = softmax(np.concatenate([cached.logits for cached in scored]) / temperature)
    repeated = np.repeat(references, [len(cached.logits) for cached in scored])
    silent = sum(not len(cached.logits) for cached in scored)
    return Classified(verdicts, references), Classified(probabilities, repeated), silent


def _windows(
    classifier: Classifier, clips: Sequence[Clip], sounds: Sequence[Audio], temperature: float
) -> Classified:
    """One window a word clip: its middle."""
    chosen = {id(clip) for clip in words_of(list(clips))}
    rows = [n for n, clip in enumerate(clips) if id(clip) in chosen]
    windows = [high_passed(middle_window(sounds[n], classifier.window)) for n in rows]
    references = [classifier.labels.index(clips[n].label) for n in rows]
    logits = classifier.logits(windows)
    return Classified(softmax(logits / temperature), np.array(references, np.int64))


def _first_windows(
    classifier: Classifier, clips: Sequence[Clip], sounds: Sequence[Audio], temperature: float
) -> Classified:
    """Each clip by its first window alone, as truncation classifies it.

    Speech or not.
    """
    windows = []
    for sound in sounds:
        window = np.zeros(classifier.window, np.float32)
        piece = high_passed(sound)[: classifier.window]
        window[: len(piece)] = piece
        windows.append(window)
    references = [classifier.labels.index(clip.label) for clip in clips]
    return Classified(
        softmax(classifier.logits(windows) / temperature), np.array(references, np.int64)
    )
