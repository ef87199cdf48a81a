#!/usr/bin/env python3
"""Measures how well an embedding tells own words from other talk.

It is an encoder's embedding, of one person's words and everyone's talk.

    python tools/embedding_words.py --root DATA ENCODER...

For each person of DATA/own_words three English words: the first takes of each, in many augmented
copies, against windows of other people's talk (DATA/talk/train.parquet, the part to train on) teach
a linear layer on the embedding; the other takes are heard in kitchen noise; the threshold is the
least that leaves half an alarm an hour on DATA/talk/calibration.parquet. Printed are misses in
percent: median, upper quartile and worst of the people. An ENCODER is a model directory, whose
frames are averaged, "bundled", "words" or "efficientword-net". The people are in two halves: choose
an encoder on "choose", report the figures of "report".
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha1
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
import soundfile
import torch
from numpy.typing import NDArray

from daemon.model.description.resolve import BUNDLED, bundled_model
from daemon.model.verifier.filterbank import SOUND, at_one_level
from train.augment import Audio, draw_noise, mix, place_word, word_bounds
from train.data.noises import load_noise, load_noises
from train.data.split import part_of
from train.distillation import word_embedding
from train.examples.words import degrade
from train.recipe import AugmentSection, SplitSection
from train.training.initial_model import WORDS, words_encoder

RATE = 16_000
ENGLISH = ("speech", "speaker", "signal", "process", "print", "open", "close", "project")
HOP = 3_840
MARGIN = RATE // 2
COPIES = 24
LEARNED = 10
"""Takes of a word that may be learned from, at most; the others are heard."""
ALARMS_PER_HOUR = 0.5
REFRACTORY = 1.0
DRAWN = AugmentSection(
    snr_db=(5.0, 30.0), equalize_db=6.0, room_probability=0.2, gain_db=(-12.0, 6.0)
)

Vectors = NDArray[np.float32]
Embed = Callable[[NDArray[np.float32]], Vectors]


@dataclass(frozen=True, slots=True)
class Embedding:
    """Maps windows of `length` samples, shape (n, length), to (n, width)."""

    name: str
    length: int
    embed: Embed


@dataclass(frozen=True, slots=True)
class Person:
    """Takes of a person's words, in their order."""

    name: str
    takes: dict[str, list[Audio]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("encoders", nargs="+", metavar="ENCODER")
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--half", choices=("choose", "report", "all"), default="choose")
    parser.add_argument("--takes", type=int, nargs="+", default=[10, 3])
    parser.add_argument("--snr", type=float, nargs="+", default=[20.0, 10.0])
    parser.add_argument("--hours", type=float, default=2.0, help="of talk to count alarms in")
    parser.add_argument("--negatives", type=int, default=8_000, help="windows of talk")
    parser.add_argument("--window", type=float, default=1.0, help="seconds, of a model directory")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)

    people = people_of(options.root, options.half)
    negatives = talk(options.root / "talk/train.parquet", options.negatives / 4 / 3600, "train")
    alarming = talk(options.root / "talk/calibration.parquet", options.hours, None)
    noises = load_noises(options.root / "noise", ("kitchen.flac",))
    kitchen = load_noise(options.root / "noise/kitchen.flac")
    hours = sum(len(clip) for clip in alarming) / RATE / 3600
    print(
        f"{len(people)} people, three words each; {hours:.2f} h of talk to count alarms in; "
        "misses in %, median / upper quartile / worst",
        flush=True,
    )
    for name in options.encoders:
        encoder = embedding(name, options.window, options.threads)
        world = embed_world(encoder, negatives, options.negatives, alarming, noises)
        for takes in options.takes:
            misses = [
                task(encoder, person, takes, options.snr, world, noises, kitchen)
                for person in people
            ]
            for snr, row in zip(options.snr, np.array(misses).T, strict=True):
                median, upper, worst = np.percentile(row, (50, 75, 100), method="higher")
                print(
                    f"{encoder.name}: {takes} takes, {snr:g} dB: {median:.0f} / {upper:.0f} / "
                    f"{worst:.0f} (mean {row.mean():.1f})",
                    flush=True,
                )


def people_of(root: Path, half: str) -> list[Person]:
    """Three English words of each person in half of the people.

    The halves are chosen by hash.
    """
    table = pyarrow.parquet.read_table(root / "own_words/train.parquet")
    label = table.schema.field("label")
    names = _class_names(table.schema) if str(label.type).startswith("int") else None
    rows: dict[str, dict[str, list[tuple[int, bytes]]]] = {}
    for row in table.to_pylist():
        word = names[row["label"]] if names else row["label"]
        takes = rows.setdefault(str(row["speaker"]), {}).setdefault(word, [])
        takes.append((int(row["take"]), row["audio"]["bytes"]))
    people = []
    order = sorted(rows, key=lambda speaker: _hash(f"half/{speaker}"))
    middle = len(order) // 2
    for speaker in {"choose": order[:middle], "report": order[middle:], "all": order}[half]:
        words = sorted(ENGLISH, key=lambda word: _hash(f"{speaker}/{word}"))[:3]
        people.append(
            Person(
                speaker,
                {w: [_decode(b) for _, b in sorted(rows[speaker][w])] for w in words},
            )
        )
    return people


def _class_names(schema: Any) -> list[str]:
    import json

    about = json.loads(schema.metadata[b"huggingface"])
    names: list[str] = about["info"]["features"]["label"]["names"]
    return names


def talk(file: Path, hours: float, part: str | None) -> list[Audio]:
    """Hours of sentences of one part of the split, in hash order."""
    table = pyarrow.parquet.read_table(file)
    rows = sorted(table.to_pylist(), key=lambda row: _hash(row["audio"]["path"]))
    found: list[Audio] = []
    left = hours * 3600 * RATE
    for row in rows:
        key = row["speaker"] or row["audio"]["path"]
        if part is not None and part_of(key, SplitSection()) != part:
            continue
        if left <= 0:
            break
        found.append(_decode(row["audio"]["bytes"]))
        left -= len(found[-1])
    return found


def _decode(content: bytes) -> Audio:
    samples: Audio = soundfile.read(io.BytesIO(content), dtype="float32")[0]
    return samples


def _hash(text: str) -> int:
    return int(sha1(text.encode()).hexdigest(), 16)


def embedding(name: str, window: float, threads: int) -> Embedding:
    """The encoder of that name."""
    if name == word_embedding.NAME:
        teacher = word_embedding.open_teacher(name, threads)

        def embed(windows: NDArray[np.float32]) -> Vectors:
            return teacher.vectors(at_one_level(windows))

        return Embedding(name, SOUND, embed)
    from transformers import AutoModel

    known = {BUNDLED: bundled_model, WORDS: words_encoder}
    folder = known[name]() if name in known else Path(name)
    model = AutoModel.from_pretrained(folder).eval()

    @torch.inference_mode()
    def mean_frame(windows: NDArray[np.float32]) -> Vectors:
        batches = [
            model(torch.from_numpy(windows[n : n + 64])).last_hidden_state.mean(1)
            for n in range(0, len(windows), 64)
        ]
        return np.asarray(torch.cat(batches), np.float32)

    return Embedding(name, round(window * RATE), mean_frame)


@dataclass(frozen=True, slots=True)
class World:
    """Embeddings of other people's talk."""

    negatives: Vectors
    alarming: Vectors
    """Of all windows of the talk that alarms are counted in."""
    times: NDArray[np.float64]
    """Seconds at which those windows begin; a recording is a minute after the one before."""
    hours: float


def embed_world(
    encoder: Embedding,
    negatives: Sequence[Audio],
    count: int,
    alarming: Sequence[Audio],
    noises: Sequence[Audio],
) -> World:
    """Windows of talk: augmented ones to train against, plain ones in a row.

    Alarms are counted in the plain ones.
    """
    rng = np.random.default_rng(1)
    batches = []
    windows = []
    for _ in range(count):
        clip = negatives[int(rng.integers(len(negatives)))]
        offset = int(rng.integers(-RATE // 4, max(1, len(clip) - encoder.length + RATE // 4)))
        windows.append(_soiled(_cut(clip, offset, encoder.length), noises, rng))
        if len(windows) == 512:
            batches.append(encoder.embed(np.stack(windows)))
            windows = []
    if windows:
        batches.append(encoder.embed(np.stack(windows)))
    rows, times, began = [], [], 0.0
    for clip in alarming:
        starts = list(range(0, max(1, len(clip) - encoder.length + 1), HOP))
        rows.append(encoder.embed(np.stack([_cut(clip, s, encoder.length) for s in starts])))
        times += [began + start / RATE for start in starts]
        began += len(clip) / RATE + 60
    return World(
        np.concatenate(batches),
        np.concatenate(rows),
        np.array(times),
        sum(len(clip) for clip in alarming) / RATE / 3600,
    )


def task(
    encoder: Embedding,
    person: Person,
    takes: int,
    ratios: Sequence[float],
    world: World,
    noises: Sequence[Audio],
    kitchen: Audio,
) -> list[float]:
    """Missed takes in percent, at each signal-to-noise ratio in decibels."""
    rng = np.random.default_rng(_hash(f"{person.name}/{takes}") % 2**32)
    windows, labels = [], []
    for number, clips in enumerate(person.takes.values()):
        for clip in clips[:takes]:
            bounds = word_bounds(clip)
            for _ in range(COPIES):
                placed = place_word(clip, bounds, encoder.length, rng).window
                windows.append(_soiled(placed, noises, rng))
                labels.append(number)
    positives = encoder.embed(np.stack(windows))
    score = linear(positives, np.array(labels), world.negatives)
    threshold = least_threshold(score(world.alarming).max(axis=1), world)
    return [missed(encoder, person, snr_db, score, threshold, kitchen) for snr_db in ratios]


def missed(
    encoder: Embedding,
    person: Person,
    snr_db: float,
    score: Callable[[Vectors], NDArray[np.float32]],
    threshold: float,
    kitchen: Audio,
) -> float:
    """Of the takes that nothing was learned from, in percent."""
    heard = []
    rng = np.random.default_rng(_hash(f"{person.name}/{snr_db}") % 2**32)
    for number, clips in enumerate(person.takes.values()):
        for clip in clips[LEARNED:]:
            wide = np.pad(clip, MARGIN)
            noise = draw_noise([kitchen], len(wide), rng)
            # The ratio is of the take, not of the margins that were put around it.
            share = 10 * np.log10(len(wide) / len(clip))
            wide = np.asarray(mix(wide, noise, snr_db - share), np.float32)
            starts = range(0, len(wide) - encoder.length + 1, HOP)
            vectors = encoder.embed(np.stack([wide[s : s + encoder.length] for s in starts]))
            heard.append(score(vectors)[:, number].max() >= threshold)
    return 100 * (1 - float(np.mean(heard)))


def linear(
    positives: Vectors, labels: NDArray[np.int64], negatives: Vectors
) -> Callable[[Vectors], NDArray[np.float32]]:
    """A linear layer by logistic regression.

    What it returns gives each word's log-odds, shape (n, words), of vectors.
    """
    words = int(labels.max()) + 1
    rows = np.concatenate([positives, negatives])
    mean, deviation = rows.mean(0), rows.std(0) + 1e-6
    inputs = torch.from_numpy((rows - mean) / deviation)
    targets = torch.from_numpy(np.concatenate([labels, np.full(len(negatives), words)]))
    torch.manual_seed(0)
    layer = torch.nn.Linear(inputs.shape[1], words + 1)
    torch.nn.init.zeros_(layer.weight)
    optimizer = torch.optim.LBFGS(layer.parameters(), max_iter=100, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(layer(inputs), targets)
        loss = loss + 1e-3 * layer.weight.square().sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]

    @torch.inference_mode()
    def log_odds(vectors: Vectors) -> NDArray[np.float32]:
        logits = layer(torch.from_numpy((vectors - mean) / deviation))
        logs = logits.log_softmax(-1)[:, :words].double()
        return np.asarray(logs - torch.log1p(-logs.exp()).clamp(min=-60), np.float32)

    return log_odds


def least_threshold(scores: NDArray[np.float32], world: World) -> float:
    """The least threshold that leaves at most ALARMS_PER_HOUR.

    Events within a second are one.
    """
    allowed = int(ALARMS_PER_HOUR * world.hours)
    for alarms, score in enumerate(_peaks(scores, world.times)):
        if alarms == allowed:
            return float(np.nextafter(score, np.float32(np.inf)))
    return -np.inf


def _peaks(scores: NDArray[np.float32], times: NDArray[np.float64]) -> Iterator[float]:
    """Scores of events from the highest down.

    Each silences what is within REFRACTORY of it.
    """
    free = np.ones(len(scores), np.bool_)
    for number in np.argsort(-scores):
        if free[number]:
            yield float(scores[number])
            free[np.abs(times - times[number]) < REFRACTORY] = False


def _cut(clip: Audio, start: int, length: int) -> Audio:
    window = np.zeros(length, np.float32)
    first, last = max(0, start), min(len(clip), start + length)
    if last > first:
        window[first - start : last - start] = clip[first:last]
    return window


def _soiled(window: Audio, noises: Sequence[Audio], rng: np.random.Generator) -> Audio:
    window = degrade(window, DRAWN, noises, rng)
    gain = np.float32(10 ** (rng.uniform(*DRAWN.gain_db) / 20))
    clipped: Audio = np.clip(window * gain, -1, 1).astype(np.float32)
    return clipped


if __name__ == "__main__":
    main()
