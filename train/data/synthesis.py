"""Synthetic speech by espeak-ng and Flite: words, and other sentences.

Real recordings of few words teach a model little about all the other things people say. Sentences
in many synthetic voices are cheap negatives. Both synthesisers are free software (GPL-3 and a
BSD-like licence); neither licence covers what they speak, so recordings may be used and shared.

The output folder has a subfolder a label (`left/…flac`, `_sentences/…flac`), file names
carry voice and number; the same seed writes the same files.
"""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr

from daemon.base.audio import RATE
from daemon.base.errors import UserError
from daemon.base.text import file_name
from daemon.base.text_files import read_text
from train.data.audio_files import write_flac

SENTENCES = "_sentences"

OPENINGS = (
    "please",
    "could you",
    "I think",
    "we never",
    "they always",
    "my sister will",
    "you should",
    "the children",
    "maybe",
    "yesterday he",
    "tomorrow we",
    "nobody can",
    "let me",
    "she might",
)
VERBS = (
    "open",
    "close",
    "bring",
    "paint",
    "carry",
    "forget",
    "remember",
    "finish",
    "answer",
    "borrow",
    "clean",
    "change",
    "measure",
    "follow",
    "imagine",
    "collect",
    "repair",
    "discuss",
    "offer",
)
THINGS = (
    "the kitchen window",
    "a cup of coffee",
    "the morning paper",
    "his winter jacket",
    "the garden fence",
    "seven bottles of water",
    "her favourite picture",
    "the train ticket",
    "a little music",
    "the second chapter",
    "their new neighbour",
    "the broken lamp",
    "some bread and butter",
    "a phone number",
    "the weather report",
    "my older brother",
    "an empty bottle",
    "the happy cat",
    "a warm bed",
    "the yellow house",
    "three small dogs",
    "a long story",
    "the green box",
    "fresh oranges",
    "the piano lesson",
    "that strange idea",
)
ENDINGS = (
    "",
    "before lunch",
    "in the evening",
    "with great care",
    "after the meeting",
    "on Thursday",
    "without asking",
    "near the station",
    "for a friend",
    "because it was raining",
    "every week",
    "at the library",
    "while we talk",
    "as soon as possible",
    "under the table",
    "in September",
)
NEAR = (
    "cup",
    "pup",
    "town",
    "gown",
    "lift",
    "loft",
    "theft",
    "light",
    "night",
    "ride",
    "bright",
    "grow",
    "low",
    "no",
    "snow",
    "hero",
    "row",
    "when",
    "fun",
    "sun",
    "won't",
    "fine",
    "fight",
    "life",
    "late",
    "aid",
    "hate",
    "great",
    "app",
    "duck",
    "dot",
    "lead",
    "let",
    "rate",
    "rye",
    "coat",
    "goat",
    "ego",
    "arrow",
    "wonder",
    "fire",
    "hive",
    "aim",
    "ape",
    "seven",
    "stop",
    "yes",
)
"""Words that sound a little like commands."""


@dataclass(frozen=True, slots=True)
class Voice:
    """One voice of one synthesiser, with its manner of speaking."""

    engine: str
    name: str
    pitch: float
    """Relative to the voice's own: 1.0 is as it is."""
    pace: float
    """Words a minute relative to the voice's own."""

    def __str__(self) -> str:
        return re.sub(r"[^a-z0-9]+", "-", f"{self.name}-{self.pitch:.2f}-{self.pace:.2f}".lower())


@dataclass(frozen=True, slots=True)
class Cast:
    """Who may speak: espeak-ng's accents and variants, Flite's voices."""

    accents: tuple[str, ...]
    variants: tuple[str, ...]
    flite: tuple[str, ...]


CASTS = {
    "training": Cast(
        ("en-us", "en-gb", "en-gb-scotland", "en-gb-x-rp", "en-gb-x-gbclan", "en-029"),
        ("", "+m1", "+m2", "+m3", "+m4", "+m7", "+f1", "+f2", "+f3", "+f4", "+f5", "+croak"),
        ("awb", "rms", "slt", "kal16"),
    ),
    # No variant is shared, so that false alarms can be counted in voices that were never heard.
    "held-out": Cast(
        ("en-us", "en-gb-x-gbcwmd", "en-us-nyc", "en-gb"),
        (
            "+m5",
            "+m6",
            "+m8",
            "+benjamin",
            "+caleb",
            "+Michael",
            "+robert",
            "+steph2",
            "+shelby",
            "+sandro",
            "+john",
            "+grandma",
            "+Jacky",
            "+Denis",
            "+Henrique",
            "+Annie",
            "+Andy",
            "+Lee",
            "+linda",
            "+paul",
            "+quincy",
            "+victor",
        ),
        (),
    ),
}


def voices(seed: int, count: int, cast: str = "training") -> list[Voice]:
    """`count` voices drawn by `seed`, half of each synthesiser in the cast."""
    rng = np.random.default_rng(seed)
    who = CASTS[cast]
    made = []
    for number in range(count):
        pitch, pace = float(rng.uniform(0.8, 1.3)), float(rng.uniform(0.8, 1.25))
        if number % 2 and who.flite:
            name = str(rng.choice(who.flite))
            made.append(Voice("flite", name, pitch, pace))
        else:
            name = str(rng.choice(who.accents)) + str(rng.choice(who.variants))
            made.append(Voice("espeak-ng", name, pitch, pace))
    return made


def speak(text: str, voice: Voice) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    """`text` spoken by `voice`, mono float32 at 16 kHz.

    Raises: UserError without the synthesiser.
    """
    if shutil.which(voice.engine) is None:
        raise UserError(
            f"{voice.engine} is not installed; on Debian or Ubuntu: apt install {voice.engine}."
        )
    if voice.engine == "flite":
        command = [
            "flite",
            "-voice",
            voice.name,
            "--setf",
            f"duration_stretch={1 / voice.pace:.3f}",
            "--setf",
            f"int_f0_target_mean={FLITE_PITCH[voice.name] * voice.pitch:.1f}",
            "-t",
            text,
            "-o",
            "/dev/stdout",
        ]
    else:
        command = [
            "espeak-ng",
            "-v",
            voice.name,
            "-p",
            str(round(min(99, 50 * voice.pitch))),
            "-s",
            str(round(165 * voice.pace)),
            "--stdout",
            text,
        ]
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode:
        raise UserError(f"{voice.engine} failed: {done.stderr.decode(errors='replace').strip()}")
    data = done.stdout
    samples, rate = soundfile.read(io.BytesIO(data), dtype="float32")
    return np.asarray(soxr.resample(samples, rate, RATE), np.float32)


FLITE_PITCH = {"awb": 115.0, "rms": 95.0, "slt": 165.0, "kal16": 105.0}
"""Mean fundamental of each Flite voice in hertz, roughly."""


def read_vocabulary(path: Path) -> list[str]:
    """The plain words of three to twelve letters in a file with a word a line.

    Raises UserError if it cannot be read or has fewer than a hundred.
    """
    try:
        lines = read_text(path).splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"The vocabulary {path} cannot be read ({error}).") from error
    words = [line.strip() for line in lines]
    plain = [word for word in words if re.fullmatch(r"[a-z]{3,12}", word)]
    if len(plain) < 100:
        raise UserError(
            f"The vocabulary {path} has {len(plain)} plain words of three to twelve letters, a "
            "word a line; it needs a hundred."
        )
    return plain


def sentences(
    seed: int, count: int, avoid: Sequence[str], vocabulary: Sequence[str] = (), apart: bool = False
) -> list[str]:
    """Everyday sentences and near-misses without a word of `avoid`.

    With a vocabulary, two thirds are five of its words, which are spoken one by one if they are to
    be `apart`.
    """
    rng = np.random.default_rng(seed)
    made: list[str] = []
    while len(made) < count:
        if vocabulary and rng.random() < 2 / 3:
            drawn = (vocabulary[n] for n in rng.integers(len(vocabulary), size=5))
            text = (". " if apart else " ").join(drawn)
        elif rng.random() < 0.25:
            text = ", ".join(str(word) for word in rng.choice(NEAR, 4, replace=False))
        else:
            text = " ".join(
                str(rng.choice(part)) for part in (OPENINGS, VERBS, THINGS, ENDINGS)
            ).strip()
        if not set(re.findall(r"[a-z']+", text.lower())) & set(avoid):
            made.append(text)
    return made


def synthesize(
    output: Path,
    words: Sequence[str],
    voice_count: int,
    sentence_count: int,
    seed: int,
    cast_name: str = "training",
    vocabulary: Sequence[str] = (),
    sentences_only: bool = False,
    apart: bool = False,
) -> Iterator[Path]:
    """Write words and sentences without them as FLAC; yields each path.

    Every word is spoken in every voice.
    """
    cast = voices(seed, voice_count, cast_name)
    spoken: list[tuple[Path, str, Voice]] = []
    for word in () if sentences_only else words:
        for number, voice in enumerate(cast):
            spoken.append(
                (output / file_name(word) / f"{number:04d}-{voice}.flac", f"{word}.", voice)
            )
    for number, text in enumerate(sentences(seed, sentence_count, words, vocabulary, apart)):
        voice = cast[number % len(cast)]
        spoken.append((output / SENTENCES / f"{number:04d}-{voice}.flac", text, voice))
    # The synthesisers are processes: threads suffice to keep every core busy.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        yield from pool.map(_write, spoken)


def _write(spoken: tuple[Path, str, Voice]) -> Path:
    path, text, voice = spoken
    samples = speak(text, voice)
    path.parent.mkdir(parents=True, exist_ok=True)
    peak = float(np.abs(samples).max()) or 1.0
    write_flac(path, samples * np.float32(0.5 / peak))
    return path
