"""Words that follow each other closely, with the bundled model.

Two windows are averaged, so that of words 0.05 s apart more than half are lost
(docs/training-log.md).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from support.real_words import WORDS, Sound, clear_words

import daemon
from daemon.base.audio import RATE
from train.augment import white, word_bounds

PAIRS = 40


@pytest.fixture(scope="module")
def words() -> dict[str, list[Sound]]:
    """Clear words of real people, without what is around them, at one peak."""
    if not WORDS.is_file():
        pytest.skip(f"{WORDS} is not here")
    labels = [
        label for label in daemon.load_model().labels if label not in ("unknown", "background")
    ]
    found = {}
    for label in labels:
        clips = clear_words(12, [label])
        found[label] = [
            clip[slice(*word_bounds(clip))] * 0.4 / np.abs(clip).max() for clip in clips
        ]
    return found


@pytest.mark.parametrize(("pause", "least"), [(0.05, 25), (0.15, 42), (0.5, 58)])
def test_both_words_of_a_pair_are_heard(
    words: dict[str, list[Sound]], tmp_path: Path, pause: float, least: int
) -> None:
    rng = np.random.default_rng(3)
    truth = {}
    for number in range(PAIRS):
        pair = [str(label) for label in rng.choice(list(words), 2, replace=False)]
        quiet = [np.zeros(round(s * RATE), np.float32) for s in (1.5, pause, 1.5)]
        first, second = (words[label][int(rng.integers(12))] for label in pair)
        sound = np.concatenate([quiet[0], first, quiet[1], second, quiet[2]])
        file = tmp_path / f"{number}.wav"
        soundfile.write(file, sound + white(-74.0, len(sound), rng), RATE)
        truth[str(file)] = pair
    heard: dict[str, list[str]] = {name: [] for name in truth}
    for message in daemon.load_model().replay(*truth):
        if isinstance(message, daemon.Event):
            heard[message.stream].append(message.intent)
    both = sum(label in heard[name] for name, pair in truth.items() for label in pair)
    assert both >= least
