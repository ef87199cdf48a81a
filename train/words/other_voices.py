"""The words in synthetic voices: to learn from, and to be tested with."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import chain
from pathlib import Path

import numpy as np

from daemon.base.errors import UserError
from train.data.synthesis import CASTS, Cast, Voice, speak, voices
from train.words.embedder import Embedder
from train.words.folder import OwnRecordings, Take
from train.words.judging import ask
from train.words.learn import Learned
from train.words.material import own_streams, stream_settings

TRAINING_VOICES = 16
TEST_VOICES = 10
SEED = 19


def say_words(
    words: Sequence[str], language: str, count: int, cast: str = "training"
) -> tuple[Take, ...]:
    """Each word in `count` synthetic voices; none without espeak-ng.

    None where it fails, too.
    """
    if shutil.which("espeak-ng") is None:
        return ()
    english = language.split("-", maxsplit=1)[0] == "en"
    flite = english and shutil.which("flite") is not None
    who = [voice for voice in voices(SEED, 2 * count, cast) if flite or voice.engine != "flite"]
    if not english:
        who = [replace(voice, name=_in(language, voice.name, CASTS[cast])) for voice in who]
    jobs = [(word, voice) for word in words for voice in who[:count]]

    def one(job: tuple[str, Voice]) -> Take | None:
        word, voice = job
        try:
            samples = speak(word.replace("_", " "), voice)
        except UserError:
            return None
        peak = float(np.abs(samples).max(initial=0.0))
        if peak <= 0:
            return None
        return Take(word, f"{voice}", str(voice), samples * np.float32(0.3 / peak))

    with ThreadPoolExecutor(2) as pool:
        return tuple(take for take in pool.map(one, jobs) if take is not None)


def _in(language: str, name: str, cast: Cast) -> str:
    """The voice in another language, with the variant that it has in English."""
    accent = max((each for each in cast.accents if name.startswith(each)), key=len, default="")
    return language + name[len(accent) :]


def detected_in_other_voices(
    learned: Learned, embedder: Embedder, language: str, threads: int
) -> dict[str, tuple[int, int]]:
    """Detections and takes of each word in voices that no head learned from.

    In quiet and in noise together; empty where such voices cannot be made. `threads`: 0: all cores.
    """
    cast = say_words(learned.words, language, TEST_VOICES, "held-out")
    if not cast:
        return {}
    own = OwnRecordings(Path(), cast, (), (), (), ())
    streams, _ = own_streams(own, embedder, stream_settings(embedder, learned.settings.hop))
    found = dict.fromkeys(learned.words, (0, 0))
    strangers = [[replace(each, fold=-1) for each in level] for level in streams.values()]
    ask([learned.judge], list(chain.from_iterable(strangers)), threads)
    for recordings in strangers:
        scores = learned.scores(recordings)
        for take, row in zip(cast, scores, strict=True):
            hit = row[learned.labels.index(take.word)] >= learned.thresholds[take.word]
            hits, takes = found[take.word]
            found[take.word] = hits + int(hit), takes + 1
    return found


__all__ = ["TEST_VOICES", "TRAINING_VOICES", "detected_in_other_voices", "say_words"]
