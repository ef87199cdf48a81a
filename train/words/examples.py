"""Training windows: copies of takes, and of what is none of the words.

Many copies of few takes.

Both pass the same microphones, rooms, noises, other voices, lines and codecs, so that none of these
gives a label away.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from daemon.windowing import high_passed
from train import augment
from train.augment import Audio
from train.codecs import coded, mu_law

CODED = 0.75
"""Share of copies that pass a codec."""
CODEC_VARIANTS = 2
"""A take passes codecs so many times, since coding takes long, and its copies draw from these."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Noise and talk to mix copies with."""

    noises: Sequence[Audio]
    talk: Sequence[Audio]
    """Other people, behind."""

    def degrade(self, window: Audio, rng: np.random.Generator) -> Audio:
        """Apply microphone, room, voices, noise, line, high-pass and gain.

        Noise or a white floor; high-pass and gain are the daemon's.
        """
        if rng.random() < 0.8:
            window = augment.equalize(window, 10.0, rng)
        if rng.random() < 0.3:
            window = augment.room(window, rng.uniform(0.15, 0.6), rng.uniform(0.0, 12.0), rng)
        if self.talk and rng.random() < 0.25:
            others = augment.draw_noise(self.talk, len(window), rng)
            window = augment.mix(window, others, float(rng.uniform(10, 30)))
        if self.noises and rng.random() < 0.75:
            noise = augment.draw_noise(self.noises, len(window), rng)
            window = augment.mix(window, noise, float(rng.uniform(3, 35)))
        else:
            window = window + augment.white(rng.uniform(-90, -60), len(window), rng)
        if rng.random() < 0.1:
            window = augment.telephone(window)
            if rng.random() < 0.5:
                window = mu_law(window)
        window = high_passed(window) * np.float32(10 ** (rng.uniform(-18, 6) / 20))
        return np.clip(window, -1, 1).astype(np.float32)


def variants(samples: Audio, rng: np.random.Generator) -> list[Audio]:
    """A recording as it is, and as codecs leave it."""
    return [samples, *(coded(samples, rng) for _ in range(CODEC_VARIANTS))]


def word_copies(
    samples: Audio,
    length: int,
    count: int,
    surroundings: Surroundings,
    rng: np.random.Generator,
    speed: float = 0.1,
    overhang: float = 0.1,
) -> list[Audio]:
    """`count` windows of `length` samples that hold the word of a take.

    All of it but for at most the share `overhang`, at a speed of 1 ± `speed`.
    """
    known = variants(samples, rng)
    made = []
    for _ in range(count):
        one = known[0] if rng.random() >= CODED else known[int(rng.integers(1, len(known)))]
        one = augment.change_speed(one, float(rng.uniform(1 - speed, 1 + speed)))
        bounds = augment.word_bounds(one)
        window = augment.place_word(one, bounds, length, rng, overhang).window
        made.append(surroundings.degrade(window, rng))
    return made


def part_copies(
    samples: Audio, length: int, count: int, surroundings: Surroundings, rng: np.random.Generator
) -> list[Audio]:
    """`count` windows that hold less than half of the word: no word.

    The part is at an edge.
    """
    bounds = augment.word_bounds(samples)
    return [
        surroundings.degrade(augment.cut_word(samples, bounds, length, rng).window, rng)
        for _ in range(count)
    ]


def crops(
    samples: Audio,
    length: int,
    count: int,
    surroundings: Surroundings,
    rng: np.random.Generator,
    alone: float = 0.35,
) -> list[Audio]:
    """`count` windows of a recording without the words.

    The share `alone` of them holds a short piece alone in silence.
    """
    pieces = [augment.isolate if rng.random() < alone else augment.crop for _ in range(count)]
    return [surroundings.degrade(piece(samples, length, rng).window, rng) for piece in pieces]
