"""Tracks: long recordings with known events, made of clips.

A ratio of speech to noise is the clip's RMS over the RMS of the noise beneath it, both over the
whole clip. The noise keeps one level throughout and the clips are scaled, since a room does not
change its noise with every word; its level is chosen so that the median clip keeps its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from daemon.base.audio import RATE
from train.augment import Audio, rms, white, word_bounds
from train.data.clips import Clip

LEAD = 1.0
"""Seconds before the first and after the last clip of a track."""
FLOOR_DBFS = -70.0
"""White noise beneath tracks that no noise is mixed into: no real input is digital silence."""
NEXT = 9973
"""Samples from where the noise begins for one clip to where it begins for the next."""
BOUND_MARGIN = (0.05, 0.05)
"""What `word_bounds` leaves before and after a word, in seconds."""


@dataclass(frozen=True, slots=True)
class ReferenceEvent:
    """One clip of a track, with its label. Times in seconds of the track."""

    label: str
    start: float
    end: float
    word_end: float
    """Where the clip's speech ends, by energy."""
    intent: bool


@dataclass(frozen=True, slots=True)
class Track:
    """A recording at 16 kHz with the events that are in it."""

    name: str
    samples: Audio
    truth: tuple[ReferenceEvent, ...]

    @property
    def seconds(self) -> float:
        return len(self.samples) / RATE


def choose(clips: Sequence[Clip], labels: Sequence[str], per_label: int, seed: int) -> list[Clip]:
    """Up to `per_label` clips of each of `labels`, shuffled together.

    Drawn without chance from the clips' order: the generator is seeded with `seed` alone.
    """
    rng = np.random.default_rng(seed)
    chosen: list[Clip] = []
    for label in labels:
        having = [clip for clip in clips if clip.label == label]
        order = rng.permutation(len(having))
        chosen += [having[n] for n in order[:per_label]]
    return [chosen[n] for n in rng.permutation(len(chosen))]


def spaced(
    name: str,
    clips: Sequence[Clip],
    non_intents: Sequence[str],
    spacing: float,
    noise: Audio | None,
    snr_db: float,
    seed: int = 0,
) -> Track:
    """One clip every `spacing` seconds in continuous noise.

    Later if the one before is longer.

    `noise` (n,) is repeated as often as it takes; None: a white floor at -70 dBFS.
    """
    starts, at = [], round(LEAD * RATE)
    for clip in clips:
        starts.append(at)
        at += max(round(spacing * RATE), len(clip.samples) + round(0.5 * RATE))
    length = max(at, round(2 * LEAD * RATE))
    rng = np.random.default_rng(seed)
    if noise is None:
        samples = white(FLOOR_DBFS, length, rng)
    else:
        level = float(np.median([rms(clip.audio) for clip in clips])) if clips else 0.05
        gain = level * 10 ** (-snr_db / 20) / rms(noise)
        samples = _repeat(noise, length) * np.float32(gain)
    mixed = samples.copy()
    truth = []
    for clip, start in zip(clips, starts, strict=True):
        audio = clip.audio
        end = start + len(audio)
        if noise is not None:
            audio = audio * np.float32(rms(samples[start:end]) / rms(audio) * 10 ** (snr_db / 20))
        mixed[start:end] += audio
        word_end = word_bounds(clip.audio)[1] / RATE - BOUND_MARGIN[1]
        truth.append(
            ReferenceEvent(
                clip.label,
                start / RATE,
                end / RATE,
                start / RATE + max(0.0, word_end),
                clip.label not in non_intents,
            )
        )
    return Track(name, np.clip(mixed, -1, 1).astype(np.float32), tuple(truth))


def joined(name: str, clips: Sequence[Clip], gap: float = 0.6, seed: int = 0) -> Track:
    """Clips in a row with `gap` seconds between: command-free audio.

    They are left as they are.

    The truth is empty: any event is a false alarm.
    """
    rng = np.random.default_rng(seed)
    pieces: list[Audio] = []
    for clip in clips:
        pieces += [clip.audio, np.zeros(round(gap * RATE), np.float32)]
    samples = np.concatenate(pieces) if pieces else np.zeros(0, np.float32)
    samples = samples + white(FLOOR_DBFS, len(samples), rng)
    return Track(name, np.clip(samples, -1, 1).astype(np.float32), ())


def with_noise(samples: Audio, noise: Audio, snr_db: float, number: int) -> Audio:
    """Clip `number` of several with noise at a ratio of RMS.

    Over the whole clip. The noise begins elsewhere for each, and is repeated where it is too short.
    """
    beneath = _repeat(np.roll(noise, -NEXT * number), len(samples))
    gain = rms(samples) / rms(beneath) * 10 ** (-snr_db / 20)
    return np.clip(samples + beneath * np.float32(gain), -1, 1).astype(np.float32)


def _repeat(noise: Audio, length: int) -> Audio:
    return np.resize(noise, length).astype(np.float32)
