"""The words in other voices, by synthesisers: to learn from, and to be judged by."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np

from daemon.base.errors import UserError
from train.data.synthesis import CASTS, Cast, Voice, speak, voices
from train.simulation.offline import softmax
from train.words.background import held_out_noise
from train.words.embedder import Embedder
from train.words.folder import Take
from train.words.learn import Learned, listening_of
from train.words.trials import Listened, peaks, trials

TRAINING_VOICES = 16
JUDGING_VOICES = 10
SEED = 19


def say_words(
    words: Sequence[str], language: str, count: int, cast: str = "training"
) -> tuple[Take, ...]:
    """Each word in `count` voices; none where espeak-ng is not installed or fails."""
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


def heard_strangers(
    learned: Learned, embedder: Embedder, language: str
) -> dict[str, tuple[int, int]]:
    """How often each word is heard of how many times when voices say it that no head learned from,
    in quiet and in noise alike; nothing where they cannot be made."""
    cast = say_words(learned.words, language, JUDGING_VOICES, "held-out")
    if not cast:
        return {}
    listening = listening_of(embedder, learned.setup.hop)
    heard = trials([take.audio for take in cast], held_out_noise(), embedder, listening)
    found = dict.fromkeys(learned.words, (0, 0))
    for hearings in heard.values():
        for take, hearing in zip(cast, hearings, strict=True):
            one = Listened.of(hearing, listening)
            scores = softmax(learned.head.logits(one.embeddings) / learned.temperature)
            top = peaks(one.rolling(scores, learned.setup.rolling.windows))
            hit = top[learned.labels.index(take.word)] >= learned.thresholds[take.word]
            hits, said = found[take.word]
            found[take.word] = hits + int(hit), said + 1
    return found


__all__ = ["JUDGING_VOICES", "TRAINING_VOICES", "heard_strangers", "say_words"]
