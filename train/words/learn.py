"""A head, its thresholds and its results on left-out takes, from own recordings.

The encoder stays as it is. Copies of every take are embedded once; a head is then fitted without
each fold of the takes, which judges that fold, and once more on all of them, which is kept. Talk of
the pack that no head learns from says how often the final head would raise a false alarm.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from daemon.base.audio import RATE
from daemon.config.settings import GateSettings, RollingSettings
from train.augment import Audio, word_bounds
from train.calibration.temperature import fit_temperature
from train.simulation.offline import CachedScores, SimulationSettings, softmax
from train.words.background import Background, background, held_out_noise, surroundings
from train.words.embedder import Embedder, Embeddings
from train.words.examples import Surroundings, crops, part_copies, word_copies
from train.words.folder import OwnRecordings, Take
from train.words.head import Head, fit_head
from train.words.operating_point import TakeResult, choose, shortfall
from train.words.settings import BACKGROUND, UNKNOWN, Settings
from train.words.take_streams import LEVELS, ScoredTake, highest, peaks, score_takes

FOLDS = 5
PLAIN, PART, VOICE = range(3)
"""Kinds of examples: takes, talk and noise; parts of words; words in other voices."""


@dataclass(frozen=True, slots=True)
class Learned:
    """A head with all that running and reporting need."""

    labels: tuple[str, ...]
    settings: SimulationSettings
    head: Head
    temperature: float
    thresholds: dict[str, float]
    takes: tuple[TakeResult, ...]
    alarms_per_hour: dict[str, float]
    """Expected of each word, in other people's talk."""
    talk: tuple[CachedScores, ...]
    """The held-out talk, as the final head scores it."""
    talk_hours: float

    @property
    def words(self) -> tuple[str, ...]:
        return tuple(label for label in self.labels if label not in (UNKNOWN, BACKGROUND))


@dataclass(frozen=True, slots=True)
class Examples:
    """Embeddings to fit heads on."""

    rows: Embeddings
    targets: NDArray[np.int64]
    takes: NDArray[np.int64]
    """Number of the take that a row is of, -1 for none."""
    kinds: NDArray[np.int64]
    """PLAIN, PART or VOICE."""

    def with_pack(self, pack: Background, labels: Sequence[str]) -> Examples:
        """These and the pack's windows, of which noise alone is background."""
        more = len(pack.windows)
        kinds = (labels.index(BACKGROUND), labels.index(UNKNOWN))
        return Examples(
            np.concatenate([self.rows, pack.windows]),
            np.concatenate([self.targets, np.where(pack.sources < 0, *kinds)]),
            np.concatenate([self.takes, np.full(more, -1)]),
            np.concatenate([self.kinds, np.full(more, PLAIN)]),
        )

    def without(self, takes: Sequence[int]) -> Examples:
        """The rows that are not of these takes."""
        kept = ~np.isin(self.takes, takes)
        return Examples(self.rows[kept], self.targets[kept], self.takes[kept], self.kinds[kept])

    def copies_of(self, takes: Sequence[int]) -> Examples:
        """The copies of these takes."""
        kept = np.isin(self.takes, takes) & (self.kinds == PLAIN)
        return Examples(self.rows[kept], self.targets[kept], self.takes[kept], self.kinds[kept])


def learn(
    own: OwnRecordings,
    usable: Sequence[int],
    settings: Settings,
    say: Callable[[str, float], None] = lambda what, share: None,
    embedder: Embedder | None = None,
    voices: Sequence[Take] = (),
) -> Learned:
    """Fit a head to `own`.

    `usable`: numbers of the pack's recordings without the words; `say` is called with what is being
    done and the share that is done; `voices`: the words in other voices.
    """
    window = settings.window or fitting_window([take.audio for take in own.takes])
    embedder = embedder or Embedder(settings.base, window, settings.threads)
    embedding = stream_settings(embedder, settings.hop)
    pack = background(embedder, embedding, lambda share: say("the pack of other people", share))
    pack = pack.of(usable)
    labels = (*own.words, UNKNOWN, BACKGROUND)
    around = surroundings()
    examples = gather(own, labels, embedder, settings, around, say, voices).with_pack(pack, labels)
    say("takes in noise", 0.0)
    scored = score_takes([take.audio for take in own.takes], held_out_noise(), embedder, embedding)
    say("heads", 0.0)
    return fit(own.takes, labels, examples, scored, pack, embedding, settings)


def fitting_window(takes: Sequence[Audio]) -> float:
    """Seconds of a window that holds nearly all of `takes` with room to spare."""
    lengths = []
    for samples in takes:
        start, end = word_bounds(samples)
        lengths.append((end - start) / RATE)
    long = float(np.percentile(lengths, 90))
    return next((window for window in (1.0, 1.5, 2.0) if long <= window - 0.15), 2.5)


def stream_settings(embedder: Embedder, hop: float) -> SimulationSettings:
    """The daemon's settings, with the dimensions of an embedding as labels."""
    names = tuple(f"e{number}" for number in range(embedder.size))
    return SimulationSettings(
        labels=names,
        non_intents=frozenset(names),
        unit="word",
        window=embedder.window,
        hop=hop,
        gate=GateSettings(),
    )


def gather(
    own: OwnRecordings,
    labels: tuple[str, ...],
    embedder: Embedder,
    settings: Settings,
    around: Surroundings,
    say: Callable[[str, float], None] = lambda what, share: None,
    voices: Sequence[Take] = (),
) -> Examples:
    """Embeddings of copies of the takes and of what else the user recorded."""
    length = round(embedder.window * RATE)
    unknown, quiet = labels.index(UNKNOWN), labels.index(BACKGROUND)
    rows: list[Embeddings] = []
    targets: list[int] = []
    takes: list[int] = []
    kinds: list[int] = []

    def add(windows: list[Audio], target: int, take: int = -1, kind: int = PLAIN) -> None:
        if windows:
            rows.append(embedder.embed(windows))
            targets.extend([target] * len(windows))
            takes.extend([take] * len(windows))
            kinds.extend([kind] * len(windows))

    for number, take in enumerate(own.takes):
        say("copies of the takes", number / len(own.takes))
        rng = np.random.default_rng((settings.seed, number))
        target = labels.index(take.word)
        add(word_copies(take.audio, length, settings.copies, around, rng), target, number)
        add(
            part_copies(take.audio, length, settings.part_copies, around, rng),
            unknown,
            number,
            PART,
        )
    for number, take in enumerate(voices):
        rng = np.random.default_rng((settings.seed, 1, number))
        copies = word_copies(take.audio, length, settings.voice_copies, around, rng)
        add(copies, labels.index(take.word), -1, VOICE)
    rng = np.random.default_rng((settings.seed, 1 << 20))
    for near in own.near:
        add(word_copies(near.audio, length, settings.near_copies, around, rng), unknown)
    for talk in own.talk:
        count = round(settings.own_crops * len(talk.audio) / RATE)
        add(crops(talk.audio, length, count, around, rng), unknown)
    for room in own.room:
        count = round(settings.own_crops * len(room.audio) / RATE)
        add(crops(room.audio, length, count, around, rng, alone=0.0), quiet)
    return Examples(np.concatenate(rows), np.array(targets), np.array(takes), np.array(kinds))


def _weights(
    targets: NDArray[np.int64], kinds: NDArray[np.int64], labels: int, settings: Settings
) -> NDArray[np.float32]:
    """1 for the takes of each word together, `voice_weight` for the same in other voices,
    `unknown_weight` for all that is unknown, half of it for noise."""
    totals = [1.0] * (labels - 2) + [settings.unknown_weight, settings.unknown_weight / 2]
    weights = np.zeros(len(targets), np.float32)
    for label, total in enumerate(totals):
        for kind, share in (
            (PLAIN, 1.0),
            (VOICE, settings.voice_weight),
            (PART, settings.part_weight),
        ):
            mine = (targets == label) & (kinds == kind)
            weights[mine] = total * share / max(1, mine.sum())
    return weights


def folds_of(takes: Sequence[Take]) -> NDArray[np.int64]:
    """A fold for each take, those of each word spread evenly, shape (takes,)."""
    seen: dict[str, int] = {}
    found = []
    for take in takes:
        found.append(seen.get(take.word, 0) % FOLDS)
        seen[take.word] = seen.get(take.word, 0) + 1
    return np.array(found, np.int64)


def fit(
    takes: Sequence[Take],
    labels: tuple[str, ...],
    examples: Examples,
    scored: dict[float | None, list[CachedScores]],
    pack: Background,
    embedding: SimulationSettings,
    settings: Settings,
) -> Learned:
    """Heads without each fold, the head of all, temperature, rolling windows and thresholds."""
    folds = folds_of(takes)

    def head_of(some: Examples) -> Head:
        weights = _weights(some.targets, some.kinds, len(labels), settings)
        return fit_head(some.rows, some.targets, weights, len(labels), settings.penalty)

    whole = head_of(examples)
    by_fold = {}
    logits, references = [], []
    for fold in sorted(set(folds.tolist())):
        out = np.flatnonzero(folds == fold).tolist()
        by_fold[fold] = head_of(examples.without(out))
        judged = examples.copies_of(out)
        logits.append(by_fold[fold].logits(judged.rows))
        references.append(judged.targets)
    talk = [ScoredTake.of(each, embedding) for each in pack.talk]
    tried = {
        level: [ScoredTake.of(each, embedding) for each in takes_at]
        for level, takes_at in scored.items()
    }
    temperature = _temperature(whole, logits, references, talk, labels)
    best: tuple[float, int, dict[str, float], dict[str, float], list[TakeResult]] | None = None
    for windows in settings.rolling_windows:
        highest_of_talk = [
            highest(each.rolling(softmax(whole.logits(each.embeddings) / temperature), windows))
            for each in talk
        ]
        results = []
        for number, take in enumerate(takes):
            head = by_fold[int(folds[number])]
            found = {}
            for level, takes_at in tried.items():
                one = takes_at[number]
                found[level] = peaks(
                    one.rolling(softmax(head.logits(one.embeddings) / temperature), windows)
                )
            results.append(TakeResult(take, found))
        limits, rates = choose(results, np.array(highest_of_talk), pack.hours, labels, settings)
        missed = sum(
            not result.detected(level, labels, limits) for result in results for level in LEVELS
        )
        slack = shortfall(results, labels, limits)
        rank = missed + slack
        if best is None or rank < best[0]:
            best = rank, windows, limits, rates, results
    assert best is not None
    _, windows, limits, rates, results = best
    final_settings = replace(
        embedding,
        labels=labels,
        non_intents=frozenset((UNKNOWN, BACKGROUND)),
        rolling=RollingSettings(windows=windows),
    ).with_thresholds(limits)
    final = tuple(
        CachedScores(each.samples, each.speech_probabilities, whole.logits(each.logits))
        for each in pack.talk
    )
    return Learned(
        labels, final_settings, whole, temperature, limits, tuple(results), rates, final, pack.hours
    )


def _temperature(
    whole: Head,
    logits: Sequence[NDArray[np.float32]],
    references: Sequence[NDArray[np.int64]],
    talk: Sequence[ScoredTake],
    labels: tuple[str, ...],
) -> float:
    """The temperature that fits left-out copies and as many windows of held-out talk best."""
    copies, wanted = np.concatenate(list(logits)), np.concatenate(list(references))
    others = np.concatenate([each.embeddings for each in talk if len(each.embeddings)])
    step = max(1, len(others) // max(1, len(copies)))
    strange = whole.logits(others[::step])
    unknown = np.full(len(strange), labels.index(UNKNOWN), np.int64)
    return fit_temperature(np.concatenate([copies, strange]), np.concatenate([wanted, unknown]))
