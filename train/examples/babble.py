"""Babble: other people's talk, mixed from the training recordings."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from train.augment import Audio, babble
from train.data.clips import Clip
from train.recipe import AugmentSection

TRACKS, SECONDS, TALKERS = 8, 60.0, 4


def babble_of(clips: Sequence[Clip], settings: AugmentSection, seed: int) -> list[Audio]:
    """Tracks of several people at once, from the running speech of `clips`.

    Of those that are trained on, or from all of them if there is none; no track if the recipe mixes
    none in.
    """
    if not settings.babble_probability:
        return []
    clips = [clip for clip in clips if clip.part == "train"]
    running = [clip for clip in clips if clip.placing == "crop"] or clips
    rng = np.random.default_rng(seed)
    voices = [running[int(n)].audio for n in rng.permutation(len(running))[: TRACKS * 60]]
    return [babble(voices, SECONDS, TALKERS, rng) for _ in range(TRACKS)]
