"""What `intentd-train words` is worth on people who say their own words again and again.

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
from collections.abc import Iterator, Sequence
from hashlib import sha1
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import soundfile
from rich.console import Console
from rich.table import Table

from daemon.base.audio import RATE
from train.augment import Audio, white
from train.data.clips import Clip
from train.data.phonemes import Spoken, holds, phonemes_of_many, spoken
from train.data.split import bucket
from train.environment import quiet
from train.evaluation.scoring import score
from train.simulation.offline import CachedScores, SimulationSettings, replay, score_recordings
from train.simulation.tracks import spaced
from train.words.background import background, held_out_noise, surroundings
from train.words.embedder import Embedder
from train.words.folder import OwnRecordings, Take
from train.words.learn import Learned, fit, gather, stream_settings
from train.words.other_voices import TRAINING_VOICES, say_words
from train.words.settings import BACKGROUND, UNKNOWN, Settings
from train.words.take_streams import score_takes
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


def talk(root: Path, share: float) -> Iterator[tuple[str, str, Audio]]:
    """Source, text and samples of other people's talk: the share of it that a hash picks."""
    for file in ("talk/calibration.parquet", "other_speech/train.parquet"):
        for row in pq.read_table(root / file).to_pylist():
            path = row["audio"]["path"]
            held_out = file.startswith("talk") or bucket(row["speaker"] or path, 10) < 2
            if held_out and int.from_bytes(digest(path)[:4], "big") < share * 2**32:
                quiet_ = np.zeros(round(PAD * RATE), np.float32)
                samples = np.concatenate([quiet_, decode(row["audio"]["bytes"]), quiet_])
                floor = white(-70.0, len(samples), np.random.default_rng(0))
                yield row["source"], row.get("text") or "", np.clip(samples + floor, -1, 1)


class EmbeddingCache:
    """Embeddings of recordings, kept in a folder from run to run."""

    def __init__(self, folder: Path, embedder: Embedder, simulation: SimulationSettings) -> None:
        self.folder, self.embedder, self.simulation = folder, embedder, simulation
        folder.mkdir(parents=True, exist_ok=True)

    def get(self, name: str, make: Any) -> Any:
        """What `make` gives, from the folder if it has been made before."""
        entry = self.folder / f"{sha1(f'{name} {self.embedder.digest}'.encode()).hexdigest()}.pkl"
        if entry.is_file():
            return pickle.loads(entry.read_bytes())
        found = make()
        entry.write_bytes(pickle.dumps(found))
        return found

    def talk(self, root: Path, share: float) -> list[tuple[str, Spoken, CachedScores]]:
        """Source, text and embeddings of the talk."""

        def make() -> list[tuple[str, Spoken, CachedScores]]:
            sources, texts, sounds = zip(*talk(root, share), strict=True)
            spoken_texts = map(Spoken, texts, phonemes_of_many(texts))
            scored = score_recordings(sounds, self.simulation, self.embedder.embed)
            return list(zip(sources, spoken_texts, scored, strict=True))

        return list(self.get(f"talk {share}", make))


def one_task(
    speaker: str,
    words: tuple[str, ...],
    takes: Sequence[Take],
    sizes: Sequence[int],
    cache: EmbeddingCache,
    kitchen: Audio,
    settings: Settings,
    pack: Any,
    voices: bool,
) -> Iterator[tuple[int, Learned, dict[float, dict[str, Any]], float]]:
    """Learn from the first k takes of each word; counts over the others, by level."""
    mine = [take for take in takes if take.word in words]
    most = max(sizes)
    order = {word: [t for t in mine if t.word == word] for word in words}
    learned_from = [t for word in sorted(words) for t in order[word][:most]]
    rest = [t for word in words for t in order[word][most:]]
    labels = (*sorted(words), UNKNOWN, BACKGROUND)
    embedder, simulation = cache.embedder, cache.simulation
    began = time.monotonic()
    own = OwnRecordings(Path(), tuple(learned_from), (), (), (), ())
    cast = say_words(sorted(words), "en-us", TRAINING_VOICES) if voices else ()
    key = f"{speaker} {labels} {most} {dataclasses.astuple(settings)[3:7]} {voices}"
    examples = cache.get(
        f"examples {key}",
        lambda: gather(own, labels, embedder, settings, surroundings(), voices=cast),
    ).with_pack(pack, labels)
    sounds = [take.audio for take in learned_from]
    tried = cache.get(
        f"trials {key}", lambda: score_takes(sounds, held_out_noise(), embedder, simulation)
    )
    shared = time.monotonic() - began
    clips = [
        Clip(np.asarray(t.audio * 32767, np.int16), t.word, speaker, t.path, 0, "test", "word")
        for t in sorted(rest, key=lambda take: digest("order" + take.path))
    ]
    tracks = {
        level: spaced(f"{level:g} dB", clips, (), SPACING, kitchen, level) for level in LEVELS
    }
    judged = cache.get(
        f"judged {key}",
        lambda: {
            level: score_recordings([track.samples], simulation, embedder.embed)[0]
            for level, track in tracks.items()
        },
    )
    for size in sizes:
        began = time.monotonic()
        chosen = [n for n, t in enumerate(learned_from) if t in order[t.word][:size]]
        left_out = [n for n in range(len(learned_from)) if n not in set(chosen)]
        some = examples.without(left_out)
        numbers = {old: new for new, old in enumerate(chosen)}
        some = dataclasses.replace(
            some, takes=np.array([numbers.get(int(n), -1) for n in some.takes])
        )
        learned = fit(
            [learned_from[n] for n in chosen],
            labels,
            some,
            {level: [scored[n] for n in chosen] for level, scored in tried.items()},
            pack,
            simulation,
            settings,
        )
        found: dict[float, dict[str, Any]] = {}
        for level, track in tracks.items():
            scored = with_head(judged[level], learned)
            events = replay(scored, learned.settings, learned.temperature).events
            of = score(events, track.truth, track.seconds / 3600)
            found[level] = {"said": of.references, "missed": of.misses, "wrong": of.wrong}
        yield size, learned, found, shared + time.monotonic() - began


def with_head(cached: CachedScores, learned: Learned) -> CachedScores:
    """Logits in place of embeddings."""
    return CachedScores(
        cached.samples, cached.speech_probabilities, learned.head.logits(cached.logits)
    )


def alarms(
    sounds: Sequence[tuple[str, Spoken, CachedScores]], learned: Learned
) -> dict[str, list[float]]:
    """Events and hours by source, without the sentences that hold a word."""
    words = [spoken(word) for word in learned.words]
    counts: Counter[str] = Counter()
    hours: dict[str, float] = defaultdict(float)
    for source, text, cached in sounds:
        if any(holds(text, word) for word in words):
            continue
        outcome = replay(with_head(cached, learned), learned.settings, learned.temperature)
        counts[source] += len(outcome.events)
        hours[source] += (cached.samples / RATE - 2 * PAD) / 3600
    return {source: [counts[source], round(hours[source], 4)] for source in sorted(hours)}


def rows_of(rows: Sequence[dict[str, Any]]) -> Table:
    """Misses in % (median, upper quartile, worst) and alarms, by number of takes."""
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
    parser.add_argument("--json", type=Path)
    parser.add_argument("--set", dest="assignments", action="append", default=[])
    options = parser.parse_args()
    quiet()
    settings = Settings(window=1.0, threads=1)
    for assignment in options.assignments:
        key, _, value = assignment.partition("=")
        value = value if key == "base" else json.loads(value)
        settings = dataclasses.replace(
            settings,
            **{key: tuple(value) if isinstance(value, list) else value},  # type: ignore[arg-type]
        )
    assert settings.window is not None
    embedder = Embedder(settings.base, settings.window, settings.threads)
    simulation = stream_settings(embedder, settings.hop)
    cache = EmbeddingCache(options.cache, embedder, simulation)
    whole = background(embedder, simulation, lambda share: None)
    sounds = cache.talk(options.root, options.talk)
    kitchen = decode((options.root / "noise" / "kitchen.flac").read_bytes())
    rows: list[dict[str, Any]] = []
    for speaker, takes in list(people(options.root, options.half).items())[: options.people]:
        for words in triples(speaker, takes, options.triples):
            least = min(sum(t.word == word for t in takes) for word in words)
            sizes = [size for size in options.takes if size <= least // 2]
            if not sizes:
                continue
            pack = whole.of(without([spoken(word) for word in words]))
            for size, learned, found, seconds in one_task(
                speaker, words, takes, sizes, cache, kitchen, settings, pack, options.voices
            ):
                row: dict[str, Any] = {
                    "speaker": speaker,
                    "words": words,
                    "takes": size,
                    "heard": found,
                    "alarms": alarms(sounds, learned),
                    "thresholds": learned.thresholds,
                    "rolling": learned.settings.rolling.windows,
                    "temperature": learned.temperature,
                    "expected": sum(learned.alarms_per_hour.values()),
                    "seconds": round(seconds, 1),
                }
                rows.append(row)
                misses = ", ".join(
                    f"{v['missed']} of {v['said']} missed at {k:g} dB" for k, v in found.items()
                )
                raised = sum(count for count, _ in row["alarms"].values())
                print(
                    f"{speaker} {'/'.join(words)} {size}: {misses}; {raised:g} alarms "
                    f"(expected {row['expected']:.2f} an hour); {seconds:.0f} s",
                    flush=True,
                )
                if options.json is not None:
                    options.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    console = Console()
    console.print(rows_of(rows))
    for size in sorted({row["takes"] for row in rows}):
        console.print(f"{size} takes: {by_source([r for r in rows if r['takes'] == size])}")


if __name__ == "__main__":
    main()
