"""Embeddings of the recordings in train/world, cached for the user.

They are computed once.
"""

from __future__ import annotations

import functools
import hashlib
import io
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from daemon.model import cache
from daemon.windowing import high_passed
from train import augment
from train.augment import Audio
from train.simulation.offline import (
    STREAMS_AT_ONCE,
    CachedScores,
    SimulationSettings,
    score_recordings,
)
from train.words.embedder import Embeddings, Embeds
from train.words.examples import Surroundings, crops
from train.world import (
    HELD_OUT,
    NOISE,
    RATE,
    SINGLE,
    TALK,
    TRAIN,
    recordings,
    world_file,
)

VERSION = 3
"""To be raised when anything below changes that the cached embeddings depend on."""
CROPS = {TALK: 4, SINGLE: 2}
"""Windows of each recording to learn from."""
NOISE_WINDOWS = 200
BABBLE = 60
"""Sentences of the pack that talk behind copies."""
PAD = 0.3
"""Seconds of quiet before and after a held-out recording."""
QUIET_DBFS = -70.0
AT_ONCE = 64
"""Windows that are embedded together."""
KEPT = 6
"""Files in the cache."""
Progress = Callable[[float], None]
"""Called with the share that is done, 0 to 1."""


@dataclass(frozen=True, slots=True)
class PackWindows:
    """Embeddings of windows of the pack's training part, to learn from."""

    windows: Embeddings
    """Shape (n, size)."""
    sources: NDArray[np.int64]
    """Number in `train.world.recordings()` of each window's recording, -1 for noise, shape (n,)."""

    def of(self, usable: Collection[int]) -> PackWindows:
        """Without the recordings that are not in `usable`; noise stays."""
        kept = np.isin(self.sources, [*usable, -1])
        return PackWindows(self.windows[kept], self.sources[kept])


@dataclass(frozen=True, slots=True)
class PackTalk:
    """Shipped talk of other people, both parts, through the daemon's stream."""

    scores: tuple[CachedScores, ...]
    """Embeddings in place of logits."""
    numbers: NDArray[np.int64]
    """Number in `train.world.recordings()` of each recording."""

    @property
    def held_out(self) -> NDArray[np.bool_]:
        """Which of them no head learns from, shape (recordings,)."""
        pack = recordings()
        return np.array([pack[number].part == HELD_OUT for number in self.numbers], np.bool_)

    def of(self, usable: Collection[int]) -> PackTalk:
        """Without the recordings that are not in `usable`."""
        kept = [n for n, number in enumerate(self.numbers) if number in set(usable)]
        return PackTalk(tuple(self.scores[n] for n in kept), self.numbers[kept])

    @property
    def hours(self) -> float:
        """Hours of all recordings, without the quiet around each."""
        return sum(each.samples / RATE - 2 * PAD for each in self.scores) / 3600


@functools.cache
def surroundings() -> Surroundings:
    """Noise and other people of the training part."""
    pack = [each for each in recordings() if each.part == TRAIN]
    noises = [each.audio for each in pack if each.kind == NOISE]
    return Surroundings(noises, [each.audio for each in pack if each.kind == TALK][:BABBLE])


@functools.cache
def held_out_noise() -> Audio:
    """The noises of the held-out part, one after the other."""
    pack = [each for each in recordings() if each.part == HELD_OUT and each.kind == NOISE]
    return np.concatenate([each.audio for each in pack])


def pack_windows(embedder: Embeds, progress: Progress) -> PackWindows:
    """Embeddings of the training part, from the cache if possible.

    That is, if `embedder` made them before.
    """

    def compute() -> PackWindows:
        return _embed_windows(embedder, progress)

    def write(found: PackWindows) -> Arrays:
        return {"windows": found.windows.astype(np.float16), "sources": found.sources}

    def read(file: Arrays) -> PackWindows:
        return PackWindows(file["windows"].astype(np.float32), file["sources"])

    return _cached(f"windows {embedder.digest} {embedder.window}", compute, write, read)


def pack_talk(embedder: Embeds, settings: SimulationSettings, progress: Progress) -> PackTalk:
    """All talk and words, from the cache if `embedder` embedded them before.

    `settings` gives window, hop and gate.
    """

    def compute() -> PackTalk:
        return _score_talk(embedder, settings, progress)

    key = f"talk {embedder.digest} {settings.hop} {settings.gate}"
    return _cached(key, compute, _write_talk, _read_talk)


def talk_sound(number: int) -> Audio:
    """A recording with quiet around it, some degraded.

    Of each five one by telephone, one in held-out noise.

    `number`: in `train.world.recordings()`.
    """
    recording = recordings()[number]
    rng = np.random.default_rng(number)
    quiet = np.zeros(round(PAD * RATE), np.float32)
    samples = np.concatenate([quiet, recording.audio, quiet])
    if number % 5 == 0:
        samples = augment.telephone(samples)
    if number % 5 == 1:
        beneath = augment.draw_noise([held_out_noise()], len(samples), rng)
        samples = augment.mix(samples, beneath, float(rng.uniform(5, 25)))
    return np.clip(samples + augment.white(QUIET_DBFS, len(samples), rng), -1, 1)


def _embed_windows(embedder: Embeds, progress: Progress) -> PackWindows:
    rng = np.random.default_rng(0)
    around = surroundings()
    length = round(embedder.window * RATE)
    windows: list[Audio] = []
    sources: list[int] = []
    rows: list[Embeddings] = []
    pack = recordings()
    train = [n for n, each in enumerate(pack) if each.part == TRAIN and each.kind != NOISE]
    for done, number in enumerate(train):
        count = CROPS[pack[number].kind]
        windows += crops(pack[number].audio, length, count, around, rng)
        sources += [number] * count
        if len(windows) >= AT_ONCE:
            rows.append(embedder.embed(windows))
            windows = []
            progress(done / len(train))
    for _ in range(NOISE_WINDOWS):
        level = np.float32(rng.uniform(0.05, 1.5))
        windows.append(high_passed(augment.draw_noise(around.noises, length, rng) * level))
    rows.append(embedder.embed(windows))
    sources += [-1] * NOISE_WINDOWS
    return PackWindows(np.concatenate(rows), np.array(sources))


def _score_talk(embedder: Embeds, settings: SimulationSettings, progress: Progress) -> PackTalk:
    talk = [n for n, each in enumerate(recordings()) if each.kind != NOISE]
    scores: list[CachedScores] = []
    for first in range(0, len(talk), STREAMS_AT_ONCE):
        progress(first / len(talk))
        sounds = [talk_sound(number) for number in talk[first : first + STREAMS_AT_ONCE]]
        scores += score_recordings(sounds, settings, embedder.embed)
    return PackTalk(tuple(scores), np.array(talk, np.int64))


T = TypeVar("T")
Arrays = Mapping[str, NDArray[Any]]


def _cached(
    key: str,
    compute: Callable[[], T],
    write: Callable[[T], Arrays],
    read: Callable[[Arrays], T],
) -> T:
    whole = f"{VERSION} {key} {cache.file_digest(world_file())}"
    entry = cache.directory("words") / f"{hashlib.sha256(whole.encode()).hexdigest()[:32]}.npz"
    try:
        with np.load(io.BytesIO(entry.read_bytes()), allow_pickle=False) as file:
            return read(file)
    except (OSError, ValueError, KeyError):
        found = compute()
    content = io.BytesIO()
    np.savez(content, allow_pickle=False, **write(found))
    cache.put(entry, content.getvalue(), keep=KEPT)
    return found


def _write_talk(found: PackTalk) -> Arrays:
    scores = found.scores
    return {
        "numbers": found.numbers,
        "samples": np.array([each.samples for each in scores]),
        "chances": np.concatenate([each.speech_probabilities for each in scores]),
        "chance_counts": np.array([len(each.speech_probabilities) for each in scores]),
        "logits": np.concatenate([each.logits for each in scores]).astype(np.float16),
        "logit_counts": np.array([len(each.logits) for each in scores]),
    }


def _read_talk(file: Arrays) -> PackTalk:
    probabilities = np.split(file["chances"], np.cumsum(file["chance_counts"])[:-1])
    logits = np.split(file["logits"].astype(np.float32), np.cumsum(file["logit_counts"])[:-1])
    scores = tuple(
        CachedScores(int(samples), chances, rows)
        for samples, chances, rows in zip(file["samples"], probabilities, logits, strict=True)
    )
    return PackTalk(scores, file["numbers"])


__all__ = [
    "PackTalk",
    "PackWindows",
    "held_out_noise",
    "pack_talk",
    "pack_windows",
    "surroundings",
]
