"""Sounds of the benchmark: speech, bouts of it, a quiet room, music."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from daemon.base.audio import RATE
from daemon.base.errors import UserError
from daemon.capture.recording.recording import Recording
from daemon.commands.replay import DEMO
from daemon.windowing import Resampler

Mono = NDArray[np.float32]

PERIOD = 30.0
BOUT = 10.0
"""Seconds of speech in each PERIOD."""
PHASES = 15
"""Recordings of bouts that begin at different times; more streams than that share them."""
QUIET_RMS = 0.0005
"""Of a quiet room's noise, -66 dBFS."""
_NOTE = 0.25
_ROOTS = (0, 5, 7, 3)
"""Semitones over A2 of the chords, a second each."""
_FRAME = 400
_PAUSE = round(0.3 * RATE)


def speech_of(recording: Path | None) -> Mono:
    """Speech without long pauses, shape (n,) at 16 kHz.

    Of a recording, or of the demo's.

    Raises: UserError if it can't be read or is silent.
    """
    dense = _without_pauses(read(recording or DEMO))
    if len(dense) < RATE // 2:
        raise UserError(f"{recording} holds less than half a second of sound; name another")
    return dense


def read(recording: Path) -> Mono:
    """A recording's first channel at 16 kHz, shape (n,). Raises `UserError`."""
    source = Recording(str(recording))
    parts = []
    while (part := source.read(1 << 16)) is not None:
        parts.append(part[:, 0])
    source.close()
    if source.error is not None:
        raise UserError(source.error)
    resampler = Resampler(source.info.rate)
    return np.concatenate([*(resampler.feed(part) for part in parts), resampler.flush()])


def _without_pauses(sound: Mono) -> Mono:
    """Sound with pauses cut to 0.3 s; a pause is 25 dB below the peak frame."""
    frames = sound[: len(sound) // _FRAME * _FRAME].reshape(-1, _FRAME)
    power = np.square(frames).mean(axis=1)
    loud = np.flatnonzero(power > 10 ** (-25 / 10) * power.max(initial=1e-12))
    kept = np.zeros(len(frames), bool)
    for frame in loud:
        kept[frame : frame + _PAUSE // _FRAME] = True
    return frames[kept].ravel()


def bouts(speech: Mono, seconds: float, phase: float) -> Mono:
    """Sound of which BOUT of every PERIOD seconds are speech.

    It begins at `phase` seconds; shape (seconds * 16000,).
    """
    sound = quiet(seconds)
    positions = (np.arange(len(sound)) / RATE - phase) % PERIOD < BOUT
    sound[positions] += np.resize(speech, int(positions.sum()))
    return sound


def quiet(seconds: float) -> Mono:
    """A room where nobody speaks, shape (seconds * 16000,)."""
    noise = np.random.default_rng(0).standard_normal(round(seconds * RATE), np.float32)
    return noise * np.float32(QUIET_RMS)


def music(seconds: float) -> Mono:
    """Chords of plucked tones over a beat, shape (seconds * 16000,).

    Synthetic, so that every machine plays the same.
    """
    rng = np.random.default_rng(1)
    step = round(_NOTE * RATE)
    at = np.arange(step, dtype=np.float32) / RATE
    sound = quiet(seconds)
    for number, start in enumerate(range(0, len(sound), step)):
        root = 110.0 * 2 ** (_ROOTS[number // 4 % len(_ROOTS)] / 12)
        note = np.zeros(step, np.float32)
        for interval in (0, 4, 7, 12):
            pitch = root * 2 ** (interval / 12)
            for harmonic in range(1, 9):
                wave = np.sin(2 * np.pi * pitch * harmonic * at)
                note += 0.03 / harmonic * np.exp(-3 * at * harmonic**0.5) * wave
        beat = rng.standard_normal(step, np.float32) * np.exp(-40 * at)
        note += np.float32(0.05 if number % 2 else 0.02) * beat
        sound[start : start + step] += note[: len(sound) - start]
    return sound


def write(path: Path, sound: Mono) -> str:
    """A WAV file of 16 bits at 16 kHz; its path as text."""
    soundfile.write(path, np.clip(sound, -1, 1), RATE, subtype="PCM_16")
    return str(path)
