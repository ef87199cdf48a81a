"""Checks of words before training: which will be hard to detect, and why."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from daemon.base.audio import RATE
from train.augment import word_bounds
from train.data.phonemes import Spoken, holds
from train.words.folder import OwnRecordings
from train.world import TALK, recordings

SHORTEST = 0.25
"""Seconds of sound in a take; less is hardly a word."""
LONGEST = 2.1
FEWEST_PHONEMES = 4
COMMON = 0.004
"""Share of the pack's sentences that hold a word that is too common to be told apart."""
MARGIN = 0.1
"""Seconds that `word_bounds` adds."""


def warnings_of(own: OwnRecordings, words: Sequence[Spoken]) -> list[str]:
    """Sentences about words that will not work well, each with the reason."""
    found: list[str] = []
    for word in words:
        lengths = []
        for take in own.of(word.text):
            start, end = word_bounds(take.audio)
            lengths.append((end - start) / RATE - MARGIN)
        length = float(np.median(lengths)) if lengths else 0.0
        if lengths and length < SHORTEST:
            found.append(
                f'"{word.text}" is very short ({length:.1f} s); a longer word works better.'
            )
        elif length > LONGEST:
            found.append(
                f'"{word.text}" takes {length:.1f} s; for phrases of more than two seconds use '
                "--unit utterance."
            )
        found += sound_warnings(word)
    for number, one in enumerate(words):
        for other in words[number + 1 :]:
            if alike(one, other):
                found.append(f'"{one.text}" and "{other.text}" sound alike; one should be renamed.')
    return found


def sound_warnings(word: Spoken) -> list[str]:
    """Sentences about a word's sound alone."""
    sounds = word.phonemes.replace(" ", "")
    if sounds and len(sounds) < FEWEST_PHONEMES:
        return [
            f'"{word.text}" has {len(sounds)} sounds; much of what people say contains them. Two '
            "syllables or more are better."
        ]
    talk = [each for each in recordings() if each.kind == TALK]
    count = sum(holds(each.spoken, word) for each in talk)
    if count > COMMON * len(talk):
        return [
            f'"{word.text}", or what sounds the same, is in {count} of {len(talk)} sentences of '
            "other people's talk; it will be detected there too."
        ]
    return []


def alike(one: Spoken, other: Spoken) -> bool:
    """Whether two words differ in at most one sound of five."""
    a, b = (word.phonemes.replace(" ", "") for word in (one, other))
    return bool(a and b) and distance(a, b) <= max(1, min(len(a), len(b)) // 5)


def distance(one: Sequence[object], other: Sequence[object]) -> int:
    """Levenshtein's distance: insertions, deletions and replacements."""
    row = list(range(len(other) + 1))
    for i, a in enumerate(one, 1):
        before, row[0] = row[0], i
        for j, b in enumerate(other, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (a != b))
    return row[-1]
