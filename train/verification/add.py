"""Adds a verifier to a trained model and calibrates the two together.

Its linear layer is trained.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.progress import Progress

from daemon.base.errors import UserError
from daemon.decide.rolling import softmax
from daemon.decide.verification import Verification
from daemon.messages import Scores
from daemon.model.classifier import Classifier
from daemon.model.description.calibration import Calibration
from daemon.model.verifier.description import VerifierInfo, bundled_network
from daemon.model.verifier.network import WordEmbedding
from train.augment import Audio
from train.calibration.thresholds import ScoredTrack, calibrate
from train.data.clips import Clip, Loaded
from train.distillation.word_embedding import NAME, weights_of
from train.evaluation.evaluate import settings_of
from train.linear_head import Head
from train.pipeline import Run, load, open_calibrated
from train.recipe import Recipe
from train.simulation.conditions import calibration_tracks, extra_tracks
from train.simulation.offline import SimulationSettings, score_recordings
from train.simulation.tracks import Track
from train.simulation.verified import verified
from train.training.finetune import noises_of
from train.verification.combination import fit_combination
from train.verification.folder import write_verifier
from train.verification.learn import Vectors, draw_vectors, fit_verifier
from train.verification.mining import hard_negatives

DRAWS = 9_600
"""Windows that the linear layer is trained on, beside the hard negatives."""
CANDIDATE = 0.5
"""Smoothed posterior from which on the verifier is asked.

With the same thresholds as many words are heard as from 0.1, for a tenth of the questions in talk
(docs/training-log.md).
"""
MARGIN = 0.02
"""Share of the words that one smoothed window more must be worth."""
ASKS = 4
THRESHOLDS = (0.02, 0.999)
"""Least and greatest verified score that may be a threshold."""


def find_network() -> Path:
    """The network that comes with intentd, or efficientword-net's.

    Raises: UserError if there is neither.
    """
    bundled = bundled_network()
    return bundled if bundled.is_file() else weights_of(NAME)


def add_verifier(run: Run, network: Path, draws: int = DRAWS) -> VerifierInfo:
    """Train, calibrate and write the verifier of the run's model.

    That is the model in its output folder.

    `network`: an ONNX file with EfficientWord-Net's interface.

    Raises:
        UserError: there is no model, its labels are not the recipe's, or the network is another.
    """
    recipe = run.recipe
    if recipe.model.unit != "word":
        raise UserError("A verifier hears 1.5 s, and the recipe's model knows whole utterances.")
    embedding = WordEmbedding(network, recipe.train.threads or 1, unpacked=True)
    loaded, labels = load(run)
    noises = noises_of(recipe)
    classifier = open_calibrated(run, labels)
    clips = loaded.part("train")
    with Progress(console=run.console, transient=True) as progress:
        task = progress.add_task("vectors", total=draws)
        vectors, targets = draw_vectors(
            recipe,
            clips,
            labels,
            noises,
            embedding,
            draws,
            lambda done: progress.update(task, completed=done),
        )
        hard = _hard_negatives(recipe, clips, classifier, embedding, progress)
    head = _fit(vectors, targets, hard, labels)
    settings = replace(
        settings_of(classifier), verification=Verification(candidate=CANDIDATE, asks=ASKS)
    )
    counts = recipe.calibrate.rolling_windows or (settings.rolling.windows,)
    with run.console.status("calibrating the verifier"):
        tracks = _scored(run, loaded, noises, classifier, settings, head, embedding, counts)
        found, verification = calibrate_verifier(
            recipe,
            labels,
            settings,
            classifier.info.temperature,
            tracks,
            counts,
            {"draws": draws, "hard_negatives": sum(map(len, hard.values()))},
        )
    run.say(
        f"verifier: {found.measured['hits']} of {found.measured['words']} words, "
        f"{found.measured['false_alarms']} false alarms in "
        f"{found.measured['command_free_hours']:.2f} h"
    )
    return write_verifier(
        run.output,
        labels,
        head,
        verification,
        found.thresholds,
        rolling_windows=int(found.rolling["windows"]),
        network=network,
        measured=found.measured,
    )


def _hard_negatives(
    recipe: Recipe,
    clips: Sequence[Clip],
    classifier: Classifier,
    embedding: WordEmbedding,
    progress: Progress,
) -> dict[str, Vectors]:
    """Vectors of hard negatives by their label."""
    found = {}
    for label in recipe.model.non_intents:
        mine = [clip for clip in clips if clip.label == label]
        task = progress.add_task(f"hard negatives of {label}", total=len(mine))
        found[label] = hard_negatives(
            mine,
            classifier,
            settings_of(classifier),
            embedding,
            lambda done, task=task: progress.update(task, completed=done),  # type: ignore[misc]
        )
    return found


def _fit(
    vectors: Vectors,
    targets: NDArray[np.int64],
    hard: Mapping[str, Vectors],
    labels: tuple[str, ...],
) -> Head:
    numbers = [np.full(len(rows), labels.index(label)) for label, rows in hard.items()]
    return fit_verifier(
        np.concatenate([vectors, *hard.values()]),
        np.concatenate([targets, *numbers]),
        len(labels),
    )


def calibrate_verifier(
    recipe: Recipe,
    labels: tuple[str, ...],
    settings: SimulationSettings,
    temperature: float,
    tracks: Sequence[ScoredTrack],
    counts: Sequence[int],
    learned_from: Mapping[str, int],
) -> tuple[Calibration, Verification]:
    """Thresholds, and how both posteriors are combined.

    Of the `counts` of windows that the model's posteriors are smoothed over the best is taken.
    `settings`: of the daemon, with the verification to be fitted. `tracks` must have the verifier's
    posteriors for each of `counts`. One window less may cost `MARGIN` of the words: events come
    sooner then, and words may follow each other sooner. `learned_from` is kept among what was
    measured.
    """
    assert settings.verification is not None
    only = recipe.calibrate.model_copy(update={"rolling_windows": (), "threshold": THRESHOLDS})
    described = {
        "recipe": recipe.name,
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        **learned_from,
        "candidates": sum(len(each.cached.verifier_posteriors) for each in tracks),
    }
    best: tuple[tuple[int, float], Calibration, Verification] | None = None
    for count in sorted(counts):
        rolling = settings.rolling.model_copy(update={"windows": count})
        tried = replace(settings, rolling=rolling)
        verification = fit_combination(settings.verification, tracks, tried)
        tried = replace(tried, verification=verification)
        found = calibrate(
            recipe.model_copy(update={"calibrate": only}),
            labels,
            tried,
            temperature,
            tracks,
            described,
        ).calibration
        words = found.measured["words"]
        mistakes = words - found.measured["hits"] + found.measured["wrong"]
        rank = (found.measured["false_alarms"], mistakes + count * MARGIN * words)
        if best is None or rank < best[0]:
            best = rank, found, verification
    assert best is not None
    return best[1], best[2]


def _scored(
    run: Run,
    loaded: Loaded,
    noises: Sequence[Audio],
    classifier: Classifier,
    settings: SimulationSettings,
    head: Head,
    embedding: WordEmbedding,
    counts: Sequence[int],
) -> list[ScoredTrack]:
    """Validation part and `calibrate.free` with scores of model and verifier."""
    recipe = run.recipe
    temperature = classifier.info.temperature

    def posterior(sound: NDArray[np.float32]) -> Scores:
        return softmax(head.logits(embedding.vectors(sound[None]))[0].astype(np.float64))

    def scored(track: Track, free: bool) -> ScoredTrack:
        cached = score_recordings([track.samples], settings, classifier.logits)[0]
        cached = verified(cached, track.samples, settings, temperature, posterior, counts)
        return ScoredTrack(track.name, track.seconds, track.truth, free, cached, temperature)

    tracks = calibration_tracks(recipe, loaded.part("validation"), settings.labels, noises)
    found = [scored(track, False) for track in tracks.words]
    found += [scored(track, True) for track in tracks.free]
    return found + [scored(track, True) for track in extra_tracks(recipe)]
