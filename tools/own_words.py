"""Measures `intentd-train words` on people who repeat their words.

    python tools/own_words.py --root DATA [--half report] [--takes 3 5 10] [--json FILE]

Tasks from own_words/train.parquet: of each person triples of words, the first k takes of each (by a
hash) to learn from, the others in kitchen noise at 20 and 10 dB to be heard; alarms are counted on
talk/calibration.parquet, its sources apart, and on phrases of other_speech. All of it by the
program's own steps and the daemon's own `Stream`, with the thresholds that the program sets. Half
of the people, by a hash, is for choosing settings ("choose"), the other half for reporting.
"""

from __future__ import annotations

import argparse
import dataclasses
import io
import json
import pickle
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from hashlib import sha1
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import soundfile
from rich.console import Console
from rich.table import Table

from daemon.base.audio import RATE
from daemon.messages import Event
from train.augment import Audio, white
from train.data.clips import Clip
from train.data.phonemes import Spoken, holds, phonemes_of_many, spoken
from train.data.split import bucket
from train.environment import quiet
from train.evaluation.scoring import score
from train.simulation.offline import CachedScores, replay, score_recordings
from train.simulation.tracks import Track, spaced
from train.words.embedder import Embedder
from train.words.folder import OwnRecordings, Take
from train.words.gathering import Examples
from train.words.judging import Recording
from train.words.learn import Learned, fit
from train.words.material import (
    Material,
    VerifierMaterial,
    folds_of,
    model_material,
    stream_settings,
    verifier_material,
)
from train.words.other_voices import TRAINING_VOICES, say_words
from train.words.settings import Settings
from train.words.take_streams import ScoredTake
from train.words.verifying import Vectors, VerifierEmbedder, verifier_network
from train.world import without

LEVELS = (20.0, 10.0)
SPACING = 2.5
PAD = 0.3
MANDARIN = ("beijing", "shanghai", "shuzi", "zhongguo")


def digest(text: str) -> bytes:
    return sha1(text.encode()).digest()


def decode(data: bytes) -> Audio:
    return np.asarray(soundfile.read(io.BytesIO(data), dtype="float32")[0], np.float32)


def people(root: Path, half: str) -> dict[str, list[Take]]:
    """Takes by speaker, in the order of a hash."""
    table = pq.read_table(root / "own_words" / "train.parquet")
    names = json.loads(table.schema.metadata[b"huggingface"])["info"]["features"]["label"]["names"]
    wanted = {"choose": (0,), "report": (1,), "all": (0, 1)}[half]
    found: dict[str, list[Take]] = {}
    for row in table.to_pylist():
        speaker = row["speaker"]
        if bucket(f"own/{speaker}", 2) in wanted:
            word = names[row["label"]]
            path = f"{word}/{speaker}-{row['take']:02d}"
            take = Take(word, path, speaker, decode(row["audio"]["bytes"]))
            found.setdefault(speaker, []).append(take)
    return {
        speaker: sorted(takes, key=lambda take: digest(take.path))
        for speaker, takes in sorted(found.items())
    }


def triples(speaker: str, takes: Sequence[Take], count: int) -> list[tuple[str, ...]]:
    """Words of a person in threes: English ones first, then Mandarin."""
    english = sorted({t.word for t in takes} - set(MANDARIN), key=lambda w: digest(speaker + w))
    chinese = sorted({t.word for t in takes} & set(MANDARIN), key=lambda w: digest(speaker + w))
    threes = [tuple(english[n : n + 3]) for n in range(0, len(english) - 2, 3)]
    return [*threes, tuple(chinese[:3])][:count]


@dataclasses.dataclass(frozen=True)
class Sentence:
    """A recording of other people's talk."""

    source: str
    text: Spoken
    cached: CachedScores
    """Embeddings in place of logits."""
    recording: Recording


def sound_of(data: bytes) -> Audio:
    """A recording with quiet before and after, over a white floor."""
    quiet_ = np.zeros(round(PAD * RATE), np.float32)
    samples = np.concatenate([quiet_, decode(data), quiet_])
    floor = white(-70.0, len(samples), np.random.default_rng(0))
    return np.asarray(np.clip(samples + floor, -1, 1), np.float32)


def talk(root: Path, share: float) -> Iterator[tuple[str, str, bytes]]:
    """Source, text and file of talk, for the share picked by a hash.

    It is other people's talk.
    """
    for file in ("talk/calibration.parquet", "other_speech/train.parquet"):
        for row in pq.read_table(root / file).to_pylist():
            path = row["audio"]["path"]
            held_out = file.startswith("talk") or bucket(row["speaker"] or path, 10) < 2
            if held_out and int.from_bytes(digest(path)[:4], "big") < share * 2**32:
                yield row["source"], row.get("text") or "", row["audio"]["bytes"]


class Cache:
    """What takes long, kept in a folder from run to run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def get(self, name: str, make: Callable[[], Any]) -> Any:
        """What `make` gives, from the folder if it is there."""
        entry = self._entry(name)
        if entry.is_file():
            return pickle.loads(entry.read_bytes())
        found = make()
        self.put(name, found)
        return found

    def put(self, name: str, found: Any) -> None:
        """Keep it under that name."""
        self._entry(name).write_bytes(pickle.dumps(found))

    def _entry(self, name: str) -> Path:
        return self.folder / f"{sha1(name.encode()).hexdigest()}.pkl"


class Bench:
    """What all tasks have in common."""

    def __init__(self, root: Path, cache: Cache, settings: Settings, share: float) -> None:
        assert settings.window is not None
        self.cache, self.settings = cache, settings
        self.embedder = Embedder(settings.base, settings.window, settings.threads)
        self.embedding = stream_settings(self.embedder, settings.hop)
        self.kitchen = decode((root / "noise" / "kitchen.flac").read_bytes())
        self.key = f"{self.embedder.digest} {settings.hop}"
        network = verifier_network(settings.verifier)
        self.verifier = None if network is None else VerifierEmbedder(network)
        self.verifier_key = "" if self.verifier is None else self.verifier.digest
        self.vectors = None if self.verifier is None else Vectors(self.verifier)
        if self.vectors is not None:
            self.vectors.known |= cache.get(f"vectors {self.key} {self.verifier_key}", dict)
        self.sentences = self._sentences(root, share)

    def keep_vectors(self) -> None:
        """Keep the verifier's vectors that were computed for the next run."""
        if self.vectors is not None:
            self.cache.put(f"vectors {self.key} {self.verifier_key}", self.vectors.known)

    def _sentences(self, root: Path, share: float) -> list[Sentence]:
        sources, texts, files = zip(*talk(root, share), strict=True)

        def make() -> tuple[list[CachedScores], list[Spoken]]:
            sounds = [sound_of(data) for data in files]
            scored = score_recordings(sounds, self.embedding, self.embedder.embed)
            return scored, [*map(Spoken, texts, phonemes_of_many(texts))]

        scored, said = self.cache.get(f"talk {share} {self.key}", make)
        return [
            Sentence(
                source,
                text,
                each,
                Recording(
                    f"talk {sha1(data).hexdigest()}",
                    ScoredTake.of(each, self.embedding),
                    partial(sound_of, data),
                ),
            )
            for source, text, data, each in zip(sources, said, files, scored, strict=True)
        ]

    def track(self, name: str, clips: Sequence[Clip], level: float) -> tuple[Track, CachedScores]:
        """Clips in kitchen noise, and their embeddings."""
        track = spaced(f"{level:g} dB", clips, (), SPACING, self.kitchen, level)

        def make() -> CachedScores:
            return score_recordings([track.samples], self.embedding, self.embedder.embed)[0]

        return track, self.cache.get(f"track {name} {level} {self.key}", make)


@dataclasses.dataclass
class Task:
    """A person's words: takes to learn from, and tracks of the others."""

    name: str
    takes: list[Take]
    """As many of each word, word by word."""
    most: int
    material: Material
    tracks: dict[float, tuple[Track, CachedScores]]
    seconds: float
    """What computing the material took, if it was computed now."""


def parted(
    speaker: str, words: tuple[str, ...], takes: Sequence[Take], most: int
) -> tuple[list[Take], list[Clip]]:
    """The first `most` takes of each word in turn, and the others as clips."""
    order = {word: [t for t in takes if t.word == word] for word in sorted(words)}
    rest = [take for word in words for take in order[word][most:]]
    clips = [
        Clip(np.asarray(t.audio * 32767, np.int16), t.word, speaker, t.path, 0, "test", "word")
        for t in sorted(rest, key=lambda take: digest("order" + take.path))
    ]
    return [take for mine in order.values() for take in mine[:most]], clips


def task_of(
    bench: Bench,
    speaker: str,
    words: tuple[str, ...],
    takes: Sequence[Take],
    most: int,
    voices: bool,
) -> Task:
    """The first `most` takes of each word to learn from, the others to test."""
    learned_from, clips = parted(speaker, words, takes, most)
    own = OwnRecordings(Path(), tuple(learned_from), (), (), (), ())
    settings = bench.settings
    copies = f"{settings.copies} {settings.part_copies} {settings.voice_copies} {settings.seed}"
    name = f"{speaker} {words} {most} {voices}"
    began = time.monotonic()

    usable = without([spoken(word) for word in words])
    cast = say_words(sorted(words), "en-us", TRAINING_VOICES) if voices else ()

    def make() -> Material:
        return model_material(own, usable, bench.embedder, settings, voices=cast)

    material = bench.cache.get(f"material {name} {bench.key} {copies}", make)
    material = dataclasses.replace(material, embedding=bench.embedding)
    if bench.verifier is not None and bench.vectors is not None:
        network = bench.verifier

        def make_verifier() -> Examples:
            return verifier_material(own, usable, network, settings, voices=cast).examples

        examples = bench.cache.get(f"vectors {name} {bench.verifier_key} {copies}", make_verifier)
        verifier = VerifierMaterial(examples, bench.vectors)
        material = dataclasses.replace(material, verifier=verifier)
    seconds = time.monotonic() - began
    tracks = {level: bench.track(name, clips, level) for level in LEVELS}
    return Task(name, learned_from, most, material, tracks, seconds)


def first_takes(task: Task, count: int) -> Material:
    """The material of the first `count` takes of each word."""
    place = {id(take): n % task.most for n, take in enumerate(task.takes)}
    chosen = [n for n, take in enumerate(task.takes) if place[id(take)] < count]
    numbers = np.zeros(len(task.takes), np.int64)
    numbers[chosen] = np.arange(len(chosen))

    def some(examples: Examples) -> Examples:
        kept = examples.where(np.isin(examples.groups, chosen) | (examples.groups < 0))
        groups = np.where(kept.groups < 0, kept.groups, numbers[np.maximum(kept.groups, 0)])
        return dataclasses.replace(kept, groups=groups)

    material, verifier = task.material, task.material.verifier
    assert isinstance(material.examples, Examples)
    takes = tuple(task.takes[n] for n in chosen)
    folds = folds_of(OwnRecordings(Path(), takes, (), (), (), ()))
    return dataclasses.replace(
        material,
        takes=takes,
        examples=some(material.examples),
        streams={
            level: [
                dataclasses.replace(streams[n], fold=int(fold))
                for n, fold in zip(chosen, folds, strict=True)
            ]
            for level, streams in material.streams.items()
        },
        verifier=verifier and dataclasses.replace(verifier, examples=some(verifier.examples)),
    )


def events_of(learned: Learned, recording: Recording, cached: CachedScores) -> Sequence[Event]:
    """The daemon's events."""
    settings = learned.settings.with_thresholds(learned.thresholds)
    logits = learned.head.logits(cached.logits)
    scored = CachedScores(cached.samples, cached.speech_probabilities, logits)
    if learned.judge.verifier is not None:
        settings = dataclasses.replace(settings, verification=learned.judge.verifier.verification)
        posteriors = learned.judge.posteriors(recording)
        scored = dataclasses.replace(scored, verifier_posteriors=posteriors)
    return replay(scored, settings, learned.temperature).events


def heard(learned: Learned, bench: Bench, task: Task) -> dict[float, dict[str, int]]:
    """What is detected of the takes that nothing was learned from, by level."""
    found = {}
    for level, (track, cached) in task.tracks.items():
        stream = ScoredTake.of(cached, bench.embedding)
        recording = Recording(f"{task.name} {level}", stream, partial(same, track.samples))
        events = events_of(learned, recording, cached)
        of = score(events, track.truth, track.seconds / 3600)
        found[level] = {"said": of.references, "missed": of.misses, "wrong": of.wrong}
    return found


def same(samples: Audio) -> Audio:
    return samples


def alarms(learned: Learned, bench: Bench) -> dict[str, list[float]]:
    """Events and hours by source, without the sentences that hold a word."""
    words = [spoken(word) for word in learned.words]
    usable = [s for s in bench.sentences if not any(holds(s.text, word) for word in words)]
    scores = learned.scores([each.recording for each in usable])
    limits = [learned.thresholds[word] for word in learned.words]
    fires = np.any(scores[:, : len(limits)] >= limits, axis=1).tolist()
    counts: Counter[str] = Counter()
    hours: dict[str, float] = defaultdict(float)
    for each, fired in zip(usable, fires, strict=True):
        if fired:
            events = events_of(learned, each.recording, each.cached)
            counts[each.source] += len(events)
        hours[each.source] += (each.cached.samples / RATE - 2 * PAD) / 3600
    return {source: [counts[source], round(hours[source], 4)] for source in sorted(hours)}


def row_of(
    bench: Bench, task: Task, speaker: str, words: tuple[str, ...], size: int
) -> dict[str, Any]:
    """One task with `size` takes of each word."""
    began = time.monotonic()
    material = first_takes(task, size)
    learned = fit(material, bench.settings)
    seconds = task.seconds + time.monotonic() - began
    rates = [
        sum(not r.detected(level, learned.labels, learned.thresholds) for r in learned.takes)
        / len(learned.takes)
        for level in LEVELS
    ]
    row = {
        "speaker": speaker,
        "words": words,
        "takes": size,
        "heard": heard(learned, bench, task),
        "alarms": alarms(learned, bench),
        "thresholds": learned.thresholds,
        "rolling": learned.settings.rolling.windows,
        "temperature": learned.temperature,
        "expected_alarms": sum(learned.point.rates.values()),
        "expected_misses": rates,
        "seconds": round(seconds, 1),
    }
    if learned.judge.verifier is not None:
        alone = without_verifier(learned)
        row["alone"] = {"heard": heard(alone, bench, task), "alarms": alarms(alone, bench)}
    return row


def without_verifier(learned: Learned) -> Learned:
    """The model by itself, with the thresholds that hold for it."""
    limits = dict(learned.settings.events.thresholds)
    return dataclasses.replace(
        learned,
        judge=dataclasses.replace(learned.judge, verifier=None),
        point=dataclasses.replace(learned.point, limits=limits),
    )


def say(row: dict[str, Any]) -> None:
    """Print a line of a task."""
    misses = ", ".join(
        f"{v['missed']} of {v['said']} missed at {k:g} dB (expected {e:.0%})"
        for (k, v), e in zip(row["heard"].items(), row["expected_misses"], strict=True)
    )
    raised = sum(count for count, _ in row["alarms"].values())
    hours = sum(hours for _, hours in row["alarms"].values())
    print(
        f"{row['speaker']} {'/'.join(row['words'])} {row['takes']}: {misses}; {raised:g} alarms in "
        f"{hours:.1f} h (expected {row['expected_alarms']:.2f} an hour); {row['seconds']:.0f} s",
        flush=True,
    )


def rows_of(rows: Sequence[dict[str, Any]]) -> Table:
    """Misses in % (median, upper quartile, worst) and alarms, by takes.

    That is by the number of takes.
    """
    table = Table("takes", "tasks", "20 dB: median / upper quartile / worst", "10 dB", "alarms/h")
    for size in sorted({row["takes"] for row in rows}):
        mine = [row for row in rows if row["takes"] == size]
        cells = []
        for level in LEVELS:
            rates = [100 * r["heard"][level]["missed"] / r["heard"][level]["said"] for r in mine]
            cells.append(" / ".join(f"{np.percentile(rates, q):.0f}" for q in (50, 75, 100)))
        count = sum(c for r in mine for c, _ in r["alarms"].values())
        hours = sum(h for r in mine for _, h in r["alarms"].values())
        table.add_row(str(size), str(len(mine)), *cells, f"{count / max(hours, 1e-9):.2f}")
    return table


def by_source(rows: Sequence[dict[str, Any]]) -> str:
    """Alarms an hour of each source, all tasks together."""
    counts: Counter[str] = Counter()
    hours: dict[str, float] = defaultdict(float)
    for row in rows:
        for source, (count, length) in row["alarms"].items():
            counts[source] += count
            hours[source] += length
    return ", ".join(
        f"{source} {counts[source]:g} in {hours[source]:.1f} h" for source in sorted(hours)
    )


def finished(file: Path | None, setting: str) -> list[dict[str, Any]]:
    """Rows of an earlier run with the same settings."""
    if file is None or not file.is_file():
        return []
    rows = json.loads(file.read_text(encoding="utf-8"))
    for row in rows:
        row["heard"] = {float(level): counts for level, counts in row["heard"].items()}
    return [row for row in rows if row.get("setting") == setting]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--half", choices=("choose", "report", "all"), default="choose")
    parser.add_argument("--takes", type=int, nargs="+", default=[3, 5, 10])
    parser.add_argument("--people", type=int, default=100)
    parser.add_argument("--triples", type=int, default=2)
    parser.add_argument("--talk", type=float, default=1.0, help="Share of the talk.")
    parser.add_argument("--voices", action="store_true", help="Synthetic voices too.")
    parser.add_argument("--cache", type=Path, default=Path("runs/own-words-cache"))
    parser.add_argument("--json", type=Path, help="Figures; a run that was interrupted goes on.")
    parser.add_argument("--set", dest="assignments", action="append", default=[])
    options = parser.parse_args()
    quiet()
    settings = Settings(window=1.0, threads=1)
    for assignment in options.assignments:
        key, _, value = assignment.partition("=")
        value = value if key in ("base", "verifier") else json.loads(value)
        settings = dataclasses.replace(
            settings,
            **{key: tuple(value) if isinstance(value, list) else value},  # type: ignore[arg-type]
        )
    bench = Bench(options.root, Cache(options.cache), settings, options.talk)
    setting = f"{settings} {options.talk} {options.voices}"
    rows = finished(options.json, setting)
    done = {(row["speaker"], tuple(row["words"]), row["takes"]): row for row in rows}
    for speaker, takes in list(people(options.root, options.half).items())[: options.people]:
        for words in triples(speaker, takes, options.triples):
            least = min(sum(t.word == word for t in takes) for word in words)
            sizes = [size for size in options.takes if size <= least // 2]
            if any((speaker, words, size) not in done for size in sizes):
                mine = [take for take in takes if take.word in words]
                task = task_of(bench, speaker, words, mine, max(sizes), options.voices)
                for size in sizes:
                    if (speaker, words, size) in done:
                        continue
                    rows.append(row_of(bench, task, speaker, words, size))
                    rows[-1]["setting"] = setting
                    say(rows[-1])
                    if options.json is not None:
                        text = json.dumps(rows, indent=2) + "\n"
                        options.json.write_text(text, encoding="utf-8")
                    bench.keep_vectors()
    console = Console()
    console.print(rows_of(rows))
    for size in sorted({row["takes"] for row in rows}):
        console.print(f"{size} takes: {by_source([r for r in rows if r['takes'] == size])}")


if __name__ == "__main__":
    main()
