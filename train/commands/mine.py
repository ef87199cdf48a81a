"""Hard negatives: pieces of command-free recordings that a model takes for one of its intents.

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
from train.simulation.offline import ABREAST, Hearing, Setup, hear, replay

MARGIN = 0.24
"""Seconds kept on both sides of a window, so that training may place it otherwise."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a recording that sounded like an intent."""

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
    """The windows of `clips`, all of them command-free, in which an intent has a probability of at
    least `least`; of windows that overlap the one with the highest.

    `advance` is told of the seconds of audio done.
    """
    setup = settings_of(classifier)
    intents = [n for n, label in enumerate(setup.labels) if label not in setup.non_intents]
    margin, length = round(MARGIN * RATE), setup.window_samples
    apart = -(-length // setup.hop_samples)
    for clip, hearing in _heard(clips, setup, classifier, advance):
        predictions = replay(hearing, setup, classifier.info.temperature).predictions
        chances = np.array(
            [
                0.0 if prediction.scores is None else prediction.scores[intents].max()
                for prediction in predictions
            ]
        )
        for number in _peaks(chances, least, apart):
            scores = predictions[number].scores
            assert scores is not None
            start = max(0, number * setup.hop_samples - margin)
            yield Piece(
                clip.audio[start : number * setup.hop_samples + length + margin],
                setup.labels[intents[int(scores[intents].argmax())]],
                float(chances[number]),
                clip.path,
                start / RATE,
            )


def _heard(
    clips: Sequence[Clip],
    setup: Setup,
    classifier: Classifier,
    advance: Callable[[float], None] | None,
) -> Iterator[tuple[Clip, Hearing]]:
    """Each clip with its hearing, a few clips in memory at a time."""
    for first in range(0, len(clips), ABREAST):
        some = clips[first : first + ABREAST]
        hearings = hear([clip.audio for clip in some], setup, classifier.logits, advance)
        yield from zip(some, hearings, strict=True)


def write(folder: Path, piece: Piece) -> Path:
    """Write a piece into the subfolder of the intent it was taken for; returns its path."""
    stem = f"{Path(piece.path).stem}-{round(1000 * piece.start)}"
    path = folder / file_name(piece.intent) / file_name(f"{stem}.flac")
    number = 1
    while path.exists():  # recordings of several folders may have one name
        number += 1
        path = path.with_name(file_name(f"{stem}-{number}.flac"))
    path.parent.mkdir(parents=True, exist_ok=True)
    write_flac(path, piece.samples)
    return path


def _peaks(chances: np.ndarray, least: float, apart: int) -> list[int]:
    """Indices of values of at least `least`, the highest first and others at least `apart` away."""
    found: list[int] = []
    for number in np.argsort(-chances, kind="stable").tolist():
        if chances[number] < least:
            break
        if all(abs(number - other) >= apart for other in found):
            found.append(number)
    return sorted(found)
