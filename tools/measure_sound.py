"""Measures what offset, hum, a low level and short pauses cost in words.

    python tools/measure_sound.py --root data [--model MODEL] [--words 12] [--plain]

Words of speakers that nothing was trained on, each brought to one peak, in white noise: one every
two seconds or so with a fault of the sound added or at lower levels, then pairs of different words
with short pauses. Prints what is detected as tables in Markdown, with 95 % intervals. `--plain`
leaves out the high-pass and the gate's gain. Takes minutes on one core.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import soundfile
from datasets import Features
from numpy.typing import NDArray

import daemon
from daemon.base.audio import RATE
from daemon.stream import segment
from daemon.vad.gain import AutomaticGain
from train.augment import white, word_bounds
from train.data.split import part_of
from train.metrics import wilson
from train.recipe import SplitSection

Sound = NDArray[np.float32]
Recording = tuple[Sound, list[str]]
"""Sound and the words in it."""

PEAK = 0.16
NOISE_DB = -97.0
GAP = 1.5
LEVELS = (-6, -26, -36, -46, -56)
PAUSES = (0.05, 0.15, 0.3, 0.5, 1.0)
CONTRAST_DB = 30.0


class NoHighPass:
    """Gives sound as it came."""

    def feed(self, samples: Sound) -> Sound:
        """The samples."""
        return samples


def leave_plain() -> None:
    """Take the high-pass and the gate's gain out of this process."""
    setattr(segment, "HighPass", NoHighPass)  # noqa: B010 - a class in place of another
    setattr(AutomaticGain, "update", lambda *_: 1.0)  # noqa: B010


def clear_words(root: Path, labels: Iterable[str], count: int) -> dict[str, list[Sound]]:
    """`count` words of each label, cut out, with a peak of 1."""
    table = pq.read_table(root / "speech_commands" / "train.parquet")
    names = Features.from_arrow_schema(table.schema)["label"].names
    contents: dict[str, list[bytes]] = {label: [] for label in labels}
    for row in table.select(["audio", "label", "speaker"]).to_pylist():
        label = names[row["label"]]
        speaker = row["speaker"] or row["audio"]["path"]
        if label in contents and part_of(speaker, SplitSection()) == "test":
            contents[label].append(row["audio"]["bytes"])
    found: dict[str, list[Sound]] = {}
    for label, each in contents.items():
        each.sort(key=lambda content: hashlib.sha1(content).digest())
        words = (cut_out(soundfile.read(io.BytesIO(content))[0]) for content in each)
        found[label] = [word for word in words if word is not None][:count]
    return found


def cut_out(clip: NDArray[np.float64]) -> Sound | None:
    """The word in a clip, with a peak of 1; None unless there is a clear one."""
    samples = clip.astype(np.float32)
    first, last = word_bounds(samples)
    around = np.concatenate([samples[:first], samples[last:]])
    if not 0.3 < (last - first) / RATE < 0.7 or first == 0 or last == len(samples):
        return None
    level, rest = (float(np.sqrt(np.mean(part**2))) for part in (samples[first:last], around))
    if level < 10 ** (CONTRAST_DB / 20) * rest:
        return None
    word: Sound = samples[first:last] / np.abs(samples).max()
    return word


def spaced(words: Iterable[Sound], peak: float, seed: int) -> Sound:
    """Words GAP seconds apart in white noise, each with that peak."""
    quiet = np.zeros(round(GAP * RATE), np.float32)
    parts = [part for word in words for part in (quiet, peak * word)]
    sound = np.concatenate([*parts, quiet])
    noisy: Sound = sound + white(NOISE_DB, len(sound), np.random.default_rng(seed))
    return noisy


def rounds(words: Mapping[str, list[Sound]]) -> list[tuple[list[str], list[Sound]]]:
    """Every word once, in rounds of one word a label."""
    found = []
    for number in range(max(len(each) for each in words.values())):
        labels = [label for label, each in words.items() if number < len(each)]
        found.append((labels, [words[label][number] for label in labels]))
    return found


def tones(*parts: tuple[float, float]) -> Callable[[int], Sound]:
    """Sum of tones of any length, each with frequency in Hz and amplitude."""

    def made(length: int) -> Sound:
        t = np.arange(length) / RATE
        total: Sound = np.zeros(length, np.float32)
        for hertz, level in parts:
            total += (level * np.sin(2 * np.pi * hertz * t)).astype(np.float32)
        return total

    return made


def offset(level: float) -> Callable[[int], Sound]:
    """A constant, of any length."""
    return lambda length: np.full(length, level, np.float32)


def faulty(words: Mapping[str, list[Sound]]) -> dict[str, list[Recording]]:
    """Recordings by the fault that was added."""
    clean = [
        (spaced(sounds, PEAK, seed), labels) for seed, (labels, sounds) in enumerate(rounds(words))
    ]

    faults = {
        "nothing": tones(),
        "offset of 0.1": offset(0.1),
        "offset of 0.3": offset(0.3),
        "offset of 0.5": offset(0.5),
        "50 Hz hum of 0.1": tones((50, 0.1)),
        "50 Hz hum of 0.2": tones((50, 0.2)),
        "60 Hz hum of 0.2": tones((60, 0.2)),
        "50 Hz hum of 0.2 with harmonics of 0.05 and 0.03": tones(
            (50, 0.2), (100, 0.05), (150, 0.03)
        ),
        "12 Hz rumble of 0.3": tones((12, 0.3)),
    }
    return {
        name: [(sound + fault(len(sound)), labels) for sound, labels in clean]
        for name, fault in faults.items()
    }


def quiet(words: Mapping[str, list[Sound]]) -> dict[str, list[Recording]]:
    """Recordings by the peak of their words."""
    return {
        f"{level} dBFS": [
            (spaced(sounds, 10 ** (level / 20), seed), labels)
            for seed, (labels, sounds) in enumerate(rounds(words))
        ]
        for level in LEVELS
    }


def pairs(words: Mapping[str, list[Sound]], count: int) -> dict[str, list[Recording]]:
    """Recordings of two different words each, by the pause between them."""
    found: dict[str, list[Recording]] = {f"{pause} s": [] for pause in PAUSES}
    rng = np.random.default_rng(11)
    for number in range(count):
        labels = [str(label) for label in rng.choice(list(words), 2, replace=False)]
        first, second = (0.4 * words[w][int(rng.integers(len(words[w])))] for w in labels)
        for pause, recordings in zip(PAUSES, found.values(), strict=True):
            around, between = (np.zeros(round(s * RATE), np.float32) for s in (GAP, pause))
            sound = np.concatenate([around, first, between, second, around])
            noise = white(-74.0, len(sound), np.random.default_rng(number))
            recordings.append((sound + noise, labels))
    return found


def detected(model: daemon.Model, recordings: list[Recording]) -> tuple[int, int, int]:
    """Words detected, words there are, and events that are none of them."""
    right = wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        truth = {}
        for number, (sound, labels) in enumerate(recordings):
            path = str(Path(folder) / f"{number}.wav")
            soundfile.write(path, np.clip(sound, -1, 1), RATE, subtype="PCM_24")
            truth[path] = labels
        events: dict[str, list[str]] = {path: [] for path in truth}
        for message in model.replay(*truth):
            if isinstance(message, daemon.Event):
                events[message.stream].append(message.intent)
    for path, labels in truth.items():
        hits = (Counter(events[path]) & Counter(labels)).total()
        right, wrong = right + hits, wrong + len(events[path]) - hits
    return right, sum(len(labels) for labels in truth.values()), wrong


def table(title: str, model: daemon.Model, rows: Mapping[str, list[Recording]]) -> None:
    """Print a row for each entry, as it is measured."""
    print(f"\n| {title} | detected | 95 % interval | wrong |\n|---|---|---|---|")
    for name, recordings in rows.items():
        hits, count, wrong = detected(model, recordings)
        low, high = wilson(hits, count)
        share = f"{hits} of {count}, {100 * hits / count:.0f} %"
        print(f"| {name} | {share} | {100 * low:.0f} to {100 * high:.0f} % | {wrong} |", flush=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, default=Path("data"))
    parser.add_argument("--model", default="")
    parser.add_argument("--words", type=int, default=12, help="of each label")
    parser.add_argument("--pairs", type=int, default=40)
    parser.add_argument("--plain", action="store_true", help="no high-pass, no gain")
    arguments = parser.parse_args()
    if arguments.plain:
        leave_plain()
    model = daemon.load_model(arguments.model)
    labels = [label for label in model.labels if label not in model.non_intents]
    words = clear_words(arguments.root, labels, arguments.words)
    table("added", model, faulty(words))
    table("peak", model, quiet(words))
    deaf = daemon.load_model(arguments.model, settings={"gate.kind": "off"})
    table("peak, gate off", deaf, quiet(words))
    table("pause between two words", model, pairs(words, arguments.pairs))


if __name__ == "__main__":
    main()
