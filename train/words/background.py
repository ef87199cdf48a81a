"""Embeddings of the recordings in train/world, computed once and kept in the user's cache."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from daemon.model import cache
from daemon.windowing import high_passed
from train import augment
from train.augment import Audio
from train.simulation.offline import CachedScores, SimulationSettings, score_recordings
from train.words.embedder import Embedder, Embeddings
from train.words.examples import Surroundings, crops
from train.world import (
    HELD_OUT,
    NOISE,
    RATE,
    SINGLE,
    TALK,
    TRAIN,
    Recording,
    recordings,
    world_file,
)

VERSION = 3
"""To be raised when any of what follows changes."""
CROPS = {TALK: 6, SINGLE: 3}
"""Windows of each recording to learn from."""
NOISE_WINDOWS = 200
BABBLE = 60
"""Sentences of the pack that talk behind copies."""
PAD = 0.3
"""Seconds of quiet before and after a held-out recording."""
QUIET_DBFS = -70.0
KEPT = 6
"""Files in the cache."""
Progress = Callable[[float], None]
"""Called with the share that is done, 0 to 1."""


@dataclass(frozen=True, slots=True)
class Background:
    """Embeddings of the pack. Numbers are those of `train.world.recordings()`, -1 for noise."""

    windows: Embeddings
    """To learn from, shape (n, hidden size)."""
    sources: NDArray[np.int64]
    """Which recording each of them is of, shape (n,)."""
    talk: tuple[CachedScores, ...]
    """Of the held-out part, embeddings in place of logits."""
    numbers: NDArray[np.int64]
    """Which recording each of `talk` is of."""

    def of(self, usable: Collection[int]) -> Background:
        """Without the recordings that are not in `usable`; noise stays."""
        mine = np.isin(self.sources, [*usable, -1])
        kept = [n for n, number in enumerate(self.numbers) if number in set(usable)]
        return Background(
            self.windows[mine],
            self.sources[mine],
            tuple(self.talk[n] for n in kept),
            self.numbers[kept],
        )

    @property
    def hours(self) -> float:
        """Hours of the held-out part, without the quiet around each recording."""
        return sum(h.samples / RATE - 2 * PAD for h in self.talk) / 3600


def surroundings() -> Surroundings:
    """Noise and other people of the training part."""
    pack = [each for each in recordings() if each.part == TRAIN]
    noises = [each.audio for each in pack if each.kind == NOISE]
    return Surroundings(noises, [each.audio for each in pack if each.kind == TALK][:BABBLE])


def held_out_noise() -> Audio:
    """The noises of the held-out part, one after the other."""
    pack = [each for each in recordings() if each.part == HELD_OUT and each.kind == NOISE]
    return np.concatenate([each.audio for each in pack])


def background(embedder: Embedder, settings: SimulationSettings, progress: Progress) -> Background:
    """Embeddings of the pack by `embedder`, from the cache if they are there.

    `settings` gives window, hop and gate.
    """
    world = cache.file_digest(world_file())
    key = f"{VERSION} {embedder.digest} {world} {settings.hop} {settings.gate}"
    entry = cache.directory("words") / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.npz"
    try:
        return _read(entry.read_bytes())
    except (OSError, ValueError, KeyError):
        found = _compute(embedder, settings, progress)
    cache.put(entry, _written(found), keep=KEPT)
    return found


def _compute(embedder: Embedder, settings: SimulationSettings, progress: Progress) -> Background:
    rng = np.random.default_rng(0)
    around = surroundings()
    length = settings.window_samples
    windows: list[Audio] = []
    sources: list[int] = []
    rows: list[Embeddings] = []
    pack = recordings()
    train = [n for n, each in enumerate(pack) if each.part == TRAIN and each.kind != NOISE]
    held = [n for n, each in enumerate(pack) if each.part == HELD_OUT and each.kind != NOISE]
    for done, number in enumerate(train):
        count = CROPS[pack[number].kind]
        windows += crops(pack[number].audio, length, count, around, rng)
        sources += [number] * count
        if len(windows) >= 256:
            rows.append(embedder.embed(windows))
            windows = []
            progress(0.4 * done / len(train))
    for _ in range(NOISE_WINDOWS):
        level = np.float32(rng.uniform(0.05, 1.5))
        windows.append(high_passed(augment.draw_noise(around.noises, length, rng) * level))
    rows.append(embedder.embed(windows))
    sources += [-1] * NOISE_WINDOWS
    noise = held_out_noise()
    sounds = [_in_place(pack[number], number, noise) for number in held]
    total = sum(map(len, sounds)) / RATE
    state = [0.0]

    def advance(seconds: float) -> None:
        state[0] += seconds
        progress(0.4 + 0.6 * state[0] / total)

    talk = score_recordings(sounds, settings, embedder.embed, advance)
    return Background(
        np.concatenate(rows), np.array(sources), tuple(talk), np.array(held, np.int64)
    )


def _in_place(recording: Recording, number: int, noise: Audio) -> Audio:
    """A held-out recording with quiet around: of each five one by telephone, one in noise."""
    rng = np.random.default_rng(number)
    quiet = np.zeros(round(PAD * RATE), np.float32)
    samples = np.concatenate([quiet, recording.audio, quiet])
    if number % 5 == 0:
        samples = augment.telephone(samples)
    if number % 5 == 1:
        beneath = augment.draw_noise([noise], len(samples), rng)
        samples = augment.mix(samples, beneath, float(rng.uniform(5, 25)))
    return np.clip(samples + augment.white(QUIET_DBFS, len(samples), rng), -1, 1)


def _written(found: Background) -> bytes:
    file = io.BytesIO()
    talk = found.talk
    np.savez(
        file,
        windows=found.windows.astype(np.float16),
        sources=found.sources,
        numbers=found.numbers,
        samples=np.array([h.samples for h in talk]),
        chances=_joined([h.speech_probabilities for h in talk]),
        chance_counts=np.array([len(h.speech_probabilities) for h in talk]),
        logits=_joined([h.logits for h in talk]).astype(np.float16),
        logit_counts=np.array([len(h.logits) for h in talk]),
    )
    return file.getvalue()


def _read(data: bytes) -> Background:
    """Raises ValueError or KeyError if `data` is not what `_written` makes."""
    with np.load(io.BytesIO(data), allow_pickle=False) as file:
        probabilities = np.split(file["chances"], np.cumsum(file["chance_counts"])[:-1])
        logits = np.split(file["logits"].astype(np.float32), np.cumsum(file["logit_counts"])[:-1])
        talk = tuple(
            CachedScores(int(samples), *both)
            for samples, *both in zip(file["samples"], probabilities, logits, strict=True)
        )
        return Background(
            file["windows"].astype(np.float32), file["sources"], talk, file["numbers"]
        )


def _joined(arrays: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    return np.concatenate(list(arrays))


__all__ = ["Background", "background", "held_out_noise", "surroundings"]
