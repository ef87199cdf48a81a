"""Augmentation: placement of words, noise, gain, speed. Pure and seeded.

Every function takes the random generator it draws from, so that a run repeats.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import soxr
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter1d
from scipy.signal import butter, fftconvolve, sosfilt

from daemon.base.audio import RATE

NEIGHBOUR_SHARE = 0.6
"""Largest share of a following word that may lie in the window."""
Audio = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Excerpt:
    """A window, and which samples of the recording lie in it.

    Those are `first` to before `last`, the first of them at the window's sample `at`.
    """

    window: Audio
    first: int
    last: int
    at: int = 0

    def later(self, samples: int) -> Excerpt:
        """The same of a recording that begins so many samples earlier."""
        return replace(self, first=self.first + samples, last=self.last + samples)


def word_bounds(samples: Audio) -> tuple[int, int]:
    """First and last sample of the word in a short clip, by energy.

    With a margin of 50 ms.

    Smoothed power (25 ms) counts as word where it exceeds both 1/300 of its peak and three times
    the quiet tenth of the clip, but never more than half the peak.
    """
    step = 160
    power = _power(samples)[::step]
    peak = float(power.max(initial=0.0))
    if peak <= 0:
        return 0, len(samples)
    threshold = min(max(peak / 316, 3 * float(np.percentile(power, 10))), peak / 2)
    loud = np.flatnonzero(power > threshold)
    return max(0, int(loud[0]) * step - 800), min(len(samples), int(loud[-1]) * step + 1200)


def _power(samples: Audio) -> NDArray[np.float64]:
    """Mean square of the 400 samples (25 ms) around each sample.

    Those beyond the ends are zero.
    """
    squares = np.square(samples, dtype=np.float64)
    power: NDArray[np.float64] = uniform_filter1d(squares, 400, mode="constant")
    return power


def place_word(
    samples: Audio,
    bounds: tuple[int, int],
    length: int,
    rng: np.random.Generator,
    overhang: float = 0.0,
) -> Excerpt:
    """Window of `length` samples that holds the word somewhere.

    All of it but for at most the share `overhang` beyond one edge; too long ones centred.
    """
    start, end = bounds
    over = int(overhang * (end - start))
    if end - start < length + 2 * over:
        offset = int(rng.integers(-start - over, length - end + over + 1))
    else:
        offset = (length - end - start) // 2
    return _paste(samples, offset, length)


def cut_word(
    samples: Audio, bounds: tuple[int, int], length: int, rng: np.random.Generator
) -> Excerpt:
    """Window that holds a fifth to a half of the word, at one of its edges."""
    start, end = bounds
    kept = float(rng.uniform(0.2, 0.5)) * (end - start)
    offset = int(kept - end) if rng.random() < 0.5 else int(length - kept - start)
    return _paste(samples, offset, length)


def splice(
    one: Audio,
    one_bounds: tuple[int, int],
    other: Audio,
    other_bounds: tuple[int, int],
    length: int,
    rng: np.random.Generator,
) -> Audio:
    """Window with the beginning of one word and the end of another.

    Of each 35 to 65 %, at one level: sound that is neither word, in real voices. The window has
    `length` samples.
    """
    start, end = one_bounds
    head = one[start : start + max(1, round(float(rng.uniform(0.35, 0.65)) * (end - start)))]
    start, end = other_bounds
    tail = other[end - max(1, round(float(rng.uniform(0.35, 0.65)) * (end - start))) : end]
    tail = tail * np.float32(rms(head) / rms(tail))
    fade = min(SPLICE_FADE, len(head), len(tail))
    ramp = np.linspace(0, 1, fade, dtype=np.float32)
    middle = head[len(head) - fade :] * ramp[::-1] + tail[:fade] * ramp
    whole = np.concatenate([head[: len(head) - fade], middle, tail[fade:]])[:length]
    return _paste(whole, int(rng.integers(length - len(whole) + 1)), length).window


SPLICE_FADE = 240
"""Samples over which one word passes into the other, 15 ms."""


def add_neighbour(
    excerpt: Excerpt,
    bounds: tuple[int, int],
    other: Audio,
    gap: int,
    before: bool,
) -> Audio:
    """Window of a word with another word before or after it, shape (length,).

    `bounds`: first and last sample of the word in its recording. `other`: the neighbour without
    the silence around it, brought to the level of the word. `gap`: samples between the two. The
    neighbour is cut at the window's edge. One that comes after never lies whole in the window,
    so the excerpt's word stays the last whole word: where it would, the window is returned as it
    is.
    """
    window = excerpt.window.copy()
    offset = excerpt.at - excerpt.first
    start, end = bounds[0] + offset, bounds[1] + offset
    other = other * np.float32(rms(excerpt.window[max(0, start) : max(1, end)]) / rms(other))
    if before:
        stop = max(0, start - gap)
        piece = other[max(0, len(other) - stop) :]
        window[stop - len(piece) : stop] += piece
        return window
    begin = end + gap
    room_left = len(window) - begin
    if 0 < room_left < NEIGHBOUR_SHARE * len(other):
        window[begin:] += other[:room_left]
    return window


def crop(samples: Audio, length: int, rng: np.random.Generator) -> Excerpt:
    """Any window of a long recording; a short one lies somewhere in it."""
    if len(samples) > length:
        offset = int(rng.integers(len(samples) - length + 1))
        return Excerpt(samples[offset : offset + length].copy(), offset, offset + length)
    return _paste(samples, int(rng.integers(length - len(samples) + 1)), length)


def isolate(samples: Audio, length: int, rng: np.random.Generator) -> Excerpt:
    """A piece of running speech alone in a silent window, like a word.

    It has 0.2 to 0.8 s, lies about one of the louder moments and is cut where it is quiet within 60
    ms.
    """
    step, reach = 160, 6
    power = _power(samples)[::step]
    loud = np.flatnonzero(power >= np.median(power))
    middle = int(rng.choice(loud))
    half = rng.uniform(0.1, 0.4) * RATE / step
    ends = []
    for edge in (round(middle - half), round(middle + half)):
        low = min(max(edge - reach, 0), len(power) - 1)
        ends.append(low + int(power[low : edge + reach + 1].argmin()) if edge > 0 else 0)
    first = ends[0] * step
    piece = samples[first : ends[1] * step][:length].copy()
    fade = min(80, len(piece) // 2)
    ramp = np.linspace(0, 1, fade, dtype=np.float32)
    piece[:fade] *= ramp
    piece[len(piece) - fade :] *= ramp[::-1]
    at = int(rng.integers(length - len(piece) + 1))
    return Excerpt(_paste(piece, at, length).window, first, first + len(piece), at)


def change_speed(samples: Audio, factor: float) -> Audio:
    """Faster (factor > 1) or slower, pitch and all."""
    return np.asarray(soxr.resample(samples, RATE * factor, RATE, quality="LQ"), np.float32)


def mix(window: Audio, noise: Audio, snr_db: float) -> Audio:
    """`window` plus `noise` at a ratio of RMS in decibels.

    Over the whole window.
    """
    return window + noise * np.float32(rms(window) / rms(noise) * 10 ** (-snr_db / 20))


def rms(samples: Audio) -> float:
    return float(np.sqrt(np.mean(np.square(samples, dtype=np.float64)) + 1e-12))


def draw_noise(noises: Sequence[Audio], length: int, rng: np.random.Generator) -> Audio:
    noise = noises[int(rng.integers(len(noises)))]
    if len(noise) <= length:
        noise = np.tile(noise, length // len(noise) + 2)
    offset = int(rng.integers(len(noise) - length))
    return noise[offset : offset + length]


def babble(
    recordings: Sequence[Audio], seconds: float, talkers: int, rng: np.random.Generator
) -> Audio:
    """Several people talking at once, without a break, each at the same level."""
    length = round(seconds * RATE)
    mixed = np.zeros(length, np.float32)
    for _ in range(talkers):
        at = -int(rng.integers(RATE))
        while at < length:
            voice = recordings[int(rng.integers(len(recordings)))]
            first, last = max(0, at), min(length, at + len(voice))
            if last > first:
                mixed[first:last] += voice[first - at : last - at] / np.float32(rms(voice))
            at += len(voice)
    return mixed * np.float32(0.1 / rms(mixed))


def white(level_dbfs: float, length: int, rng: np.random.Generator) -> Audio:
    return (rng.standard_normal(length, np.float32) * np.float32(10 ** (level_dbfs / 20))).astype(
        np.float32
    )


def telephone(samples: Audio) -> Audio:
    """The band of a telephone, 300 to 3,400 Hz (ITU-T G.712), pitch as it is."""
    return np.asarray(sosfilt(TELEPHONE, samples), np.float32)


TELEPHONE = butter(6, (300.0, 3400.0), "bandpass", fs=RATE, output="sos")


def equalize(samples: Audio, decibels: float, rng: np.random.Generator) -> Audio:
    """`samples` as another microphone colours them, at the same level.

    The gain is drawn between -`decibels` and `decibels` at each of BANDS and interpolated over the
    logarithm of frequency; phase stays as it is.
    """
    spectrum = np.fft.rfft(samples)
    frequencies = np.fft.rfftfreq(len(samples), 1 / RATE)
    gains = rng.uniform(-decibels, decibels, len(BANDS))
    curve = np.interp(np.log(np.maximum(frequencies, 1.0)), np.log(BANDS), gains)
    coloured = np.fft.irfft(spectrum * 10 ** (curve / 20), len(samples)).astype(np.float32)
    return coloured * np.float32(rms(samples) / rms(coloured))


BANDS = (80.0, 250.0, 800.0, 2500.0, 7000.0)


def room(samples: Audio, reverberation: float, direct_db: float, rng: np.random.Generator) -> Audio:
    """`samples` with reverberation, at the same level and beginning.

    Polack's model (1988): after the direct sound white Gaussian noise that decays by 60 dB in
    `reverberation` seconds; `direct_db` is the energy of the direct sound over that of the rest.
    """
    length = max(2, round(reverberation * RATE))
    decay = 10.0 ** (-3.0 * np.arange(length) / length)
    response = rng.standard_normal(length) * decay
    # Nothing is reflected in the first 2.5 ms, as if the nearest wall were 40 cm off.
    response[: round(0.0025 * RATE)] = 0.0
    energy = float(np.sum(response**2)) or 1.0
    response *= np.sqrt(10 ** (-direct_db / 10) / energy)
    response[0] = 1.0
    heard = fftconvolve(samples, response)[: len(samples)]
    return np.asarray(heard * (rms(samples) / rms(heard)), np.float32)


def _paste(samples: Audio, offset: int, length: int) -> Excerpt:
    """Window of zeros with `samples` pasted from `offset`, cut at the edges."""
    window = np.zeros(length, np.float32)
    start, end = max(0, offset), min(length, offset + len(samples))
    if end > start:
        window[start:end] = samples[start - offset : end - offset]
    return Excerpt(window, start - offset, max(start, end) - offset, start)
