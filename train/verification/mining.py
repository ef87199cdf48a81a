"""Hard negatives: other speech that the model takes for an intent."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from daemon.model.classifier import Classifier
from daemon.model.verifier.network import WordEmbedding
from daemon.windowing import high_passed
from train.data.clips import Clip
from train.simulation.offline import SimulationSettings, replay, score_recordings, softmax
from train.simulation.tracks import Track, joined
from train.simulation.verified import before
from train.verification.learn import Vectors, vectors_of

LEAST = 0.08
"""Posterior of an intent from which on a window is a hard negative."""
CLIPS = 100
"""Clips that are joined to one track, so that not all sound is in memory at once."""


def hard_negatives(
    clips: Sequence[Clip],
    classifier: Classifier,
    settings: SimulationSettings,
    network: WordEmbedding,
    advance: Callable[[int], None] = lambda _: None,
) -> Vectors:
    """The verifier's vectors of hard negatives, shape (n, width).

    `clips` have no intent in them; gate and windows are the daemon's. `advance` is called with how
    many clips are done.
    """
    settings = replace(settings, verification=None)
    intents = [n for n, label in enumerate(settings.labels) if label not in settings.non_intents]
    found = [np.zeros((0, network.width), np.float32)]
    done = 0
    for track, count in _tracks(clips):
        cached = score_recordings([track.samples], settings, classifier.logits)[0]
        posteriors = softmax(cached.logits / classifier.info.temperature)[:, intents]
        predictions = replay(cached, settings).predictions
        classified = np.flatnonzero([not each.gated for each in predictions])
        hard = classified[posteriors.max(axis=1, initial=0) >= LEAST]
        sound = high_passed(track.samples)
        found.append(vectors_of([before(sound, int(n), settings) for n in hard], network))
        done += count
        advance(done)
    return np.concatenate(found)


def _tracks(clips: Sequence[Clip]) -> Iterator[tuple[Track, int]]:
    """Clips of one source in a row, and how many."""
    for source in sorted({clip.source for clip in clips}):
        mine = [clip for clip in clips if clip.source == source]
        for first in range(0, len(mine), CLIPS):
            part = mine[first : first + CLIPS]
            yield joined("other speech", part), len(part)
