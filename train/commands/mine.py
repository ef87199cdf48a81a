"""Hard negatives: pieces of speech that a model mistakes for an intent.

A model learns nothing more from speech that it already tells from its words. The pieces it is wrong
about are found by running it over many hours of recordings as streams (bootstrapping, Sung and
Poggio 1994), and the next model is trained on them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from daemon.base.audio import RATE
from daemon.base.text import file_name
from daemon.model.classifier import Classifier
from train.augment import Audio
from train.data.audio_files import write_flac
from train.data.clips import Clip
from train.evaluation.evaluate import settings_of
from train.simulation.offline import (
    STREAMS_AT_ONCE,
    CachedScores,
    SimulationSettings,
    replay,
    score_recordings,
)

MARGIN = 0.24
"""Seconds kept on both sides of a window, so that training may place it otherwise."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a recording that the model takes for an intent."""

    samples: Audio
    """(n,), 16 kHz: the window and what lies up to MARGIN about it."""
    intent: str
    """What the model took it for."""
    score: float
    """With what probability, 0 to 1."""
    path: str
    """Of the recording."""
    start: float
    """Seconds into the recording."""


def mine(
    classifier: Classifier,
    clips: Sequence[Clip],
    least: float,
    advance: Callable[[float], None] | None = None,
) -> Iterator[Piece]:
    """The windows of command-free `clips` in which an intent is likely.

    It has a probability of at least `least`; of windows that overlap the one with the highest is
    kept.

    `advance` is called with the seconds of audio that were done since its last call.
    """
    settings = settings_of(classifier)
    intents = [n for n, label in enumerate(settings.labels) if label not in settings.non_intents]
    margin, length = round(MARGIN * RATE), settings.window_samples
    apart = -(-length // settings.hop_samples)
    for clip, cached in _scored(clips, settings, classifier, advance):
        predictions = replay(cached, settings, classifier.info.temperature).predictions
        probabilities = np.array(
            [
                0.0 if prediction.scores is None else prediction.scores[intents].max()
                for prediction in predictions
            ]
        )
        for number in _peaks(probabilities, least, apart):
            scores = predictions[number].scores
            assert scores is not None
            start = max(0, number * settings.hop_samples - margin)
            yield Piece(
                clip.audio[start : number * settings.hop_samples + length + margin],
                settings.labels[intents[int(scores[intents].argmax())]],
                float(probabilities[number]),
                clip.path,
                start / RATE,
            )


def _scored(
    clips: Sequence[Clip],
    settings: SimulationSettings,
    classifier: Classifier,
    advance: Callable[[float], None] | None,
) -> Iterator[tuple[Clip, CachedScores]]:
    """Each clip with its scores, a few clips in memory at a time."""
    for first in range(0, len(clips), STREAMS_AT_ONCE):
        some = clips[first : first + STREAMS_AT_ONCE]
        scored = score_recordings(
            [clip.audio for clip in some], settings, classifier.logits, advance
        )
        yield from zip(some, scored, strict=True)


def write(folder: Path, piece: Piece) -> Path:
    """Write a piece into its mistaken intent's subfolder; return the path."""
    stem = f"{Path(piece.path).stem}-{round(1000 * piece.start)}"
    path = folder / file_name(piece.intent) / file_name(f"{stem}.flac")
    number = 1
    while path.exists():  # recordings of several folders may have one name
        number += 1
        path = path.with_name(file_name(f"{stem}-{number}.flac"))
    path.parent.mkdir(parents=True, exist_ok=True)
    write_flac(path, piece.samples)
    return path


def _peaks(probabilities: np.ndarray, least: float, apart: int) -> list[int]:
    """Indices of peaks of at least `least`, highest first, `apart` apart."""
    found: list[int] = []
    for number in np.argsort(-probabilities, kind="stable").tolist():
        if probabilities[number] < least:
            break
        if all(abs(number - other) >= apart for other in found):
            found.append(number)
    return sorted(found)
