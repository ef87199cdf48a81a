"""From own recordings to a head, its thresholds, and how it does on takes it did not learn from.

The encoder stays as it is. Copies of every take are embedded once; a head is then fitted without
each fold of the takes, which judges that fold, and once more on all of them, which is kept. Talk of
the pack that no head learns from says how often the final head would raise a false alarm.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from daemon.config.settings import HOP_SECONDS, GateSettings, RollingSettings
from train.augment import Audio, word_bounds
from train.calibration.thresholds import fit_temperature
from train.data.clips import RATE
from train.simulation.offline import Hearing, Setup, softmax
from train.words import thresholds as tails
from train.words.background import Background, background, held_out_noise, surroundings
from train.words.embedder import Embedder, Embeddings
from train.words.examples import Surroundings, crops, part_copies, word_copies
from train.words.folder import OwnRecordings, Take
from train.words.head import Head, fit_head
from train.words.trials import LEVELS, Listened, peaks, trials

UNKNOWN, BACKGROUND = "unknown", "background"
FOLDS = 5
PLAIN, PART, VOICE = range(3)
"""Kinds of examples: takes, talk and noise; parts of words; words in other voices."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How heads are fitted and thresholds chosen. Defaults are what tools/own_words.py chose."""

    base: str = "words"
    """As model.base in a recipe."""
    window: float | None = None
    """Seconds; None: by the length of the takes."""
    hop: float = HOP_SECONDS
    copies: int = 24
    """Of each take."""
    part_copies: int = 4
    """Windows with less than half of the word, of each take."""
    voice_copies: int = 4
    """Of each word in another voice."""
    near_copies: int = 12
    own_crops: int = 4
    """Windows a second of own talk and of the room."""
    penalty: float = 1e-3
    unknown_weight: float = 2.0
    """Of all that is no word, beside 1 for each word."""
    part_weight: float = 0.3
    """Of the windows with parts of words, beside `unknown_weight` for the rest."""
    voice_weight: float = 0.3
    """Of a word in other voices, beside 1 for the takes: enough to help strangers, too little to
    drown the user."""
    rolling_windows: tuple[int, ...] = (1, 2, 3)
    alarms_per_hour: float = 0.5
    """Of all words together, in other people's talk."""
    caution: float = 0.5
    """Share of `alarms_per_hour` that thresholds are chosen for: the talk that chooses them is
    little, and not the user's."""
    raise_by: float = 0.3
    """Where takes leave room above that threshold, the share of it by which it is raised."""
    threads: int = 0
    seed: int = 0


@dataclass(frozen=True, slots=True)
class TakeResult:
    """How one take is heard by a head that did not learn from it."""

    take: Take
    peaks: dict[float | None, NDArray[np.float32]]
    """By level in decibels: the greatest rolling value of each label while it leads."""

    def heard(self, level: float | None, labels: Sequence[str], limits: dict[str, float]) -> bool:
        word = self.take.word
        return bool(self.peaks[level][labels.index(word)] >= limits[word])


@dataclass(frozen=True, slots=True)
class Learned:
    """A head with all that running and reporting need."""

    labels: tuple[str, ...]
    setup: Setup
    head: Head
    temperature: float
    thresholds: dict[str, float]
    takes: tuple[TakeResult, ...]
    alarms_per_hour: dict[str, float]
    """Expected of each word, in other people's talk."""
    talk: tuple[Hearing, ...]
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

    def without(self, takes: Sequence[int]) -> Examples:
        """What is not of these takes."""
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
    """Fit a head to `own`. `usable`: numbers of the pack's recordings without the words; `say` is
    told what is being done and the share that is done. `voices`: the words as others say them."""
    window = settings.window or fitting_window([take.audio for take in own.takes])
    embedder = embedder or Embedder(settings.base, window, settings.threads)
    listening = listening_of(embedder, settings.hop)
    pack = background(embedder, listening, lambda share: say("the pack of other people", share))
    pack = pack.of(usable)
    labels = (*own.words, UNKNOWN, BACKGROUND)
    around = surroundings()
    examples = gather(own, labels, pack, embedder, settings, around, say, voices)
    say("takes in noise", 0.0)
    heard = trials([take.audio for take in own.takes], held_out_noise(), embedder, listening)
    say("heads", 0.0)
    return fit(own.takes, labels, examples, heard, pack, listening, settings)


def fitting_window(takes: Sequence[Audio]) -> float:
    """Seconds of a window that holds nearly all of `takes` with room to spare."""
    lengths = []
    for samples in takes:
        start, end = word_bounds(samples)
        lengths.append((end - start) / RATE)
    long = float(np.percentile(lengths, 90))
    return next((window for window in (1.0, 1.5, 2.0) if long <= window - 0.15), 2.5)


def listening_of(embedder: Embedder, hop: float) -> Setup:
    """The daemon's settings with the dimensions of an embedding for labels."""
    names = tuple(f"e{number}" for number in range(embedder.size))
    return Setup(
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
    pack: Background,
    embedder: Embedder,
    settings: Settings,
    around: Surroundings,
    say: Callable[[str, float], None] = lambda what, share: None,
    voices: Sequence[Take] = (),
) -> Examples:
    """Embeddings of copies of the takes, of all that is no word, and of the pack."""
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
    rows.append(pack.windows)
    targets += np.where(pack.sources < 0, quiet, unknown).tolist()
    takes += [-1] * len(pack.windows)
    kinds += [PLAIN] * len(pack.windows)
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
    heard: dict[float | None, list[Hearing]],
    pack: Background,
    listening: Setup,
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
    talk = [Listened.of(hearing, listening) for hearing in pack.hearings]
    tried = {
        level: [Listened.of(hearing, listening) for hearing in hearings]
        for level, hearings in heard.items()
    }
    temperature = _temperature(whole, logits, references, talk, labels)
    best: tuple[float, int, dict[str, float], dict[str, float], list[TakeResult]] | None = None
    for windows in settings.rolling_windows:
        scored = [
            peaks(each.rolling(softmax(whole.logits(each.embeddings) / temperature), windows))
            for each in talk
        ]
        results = []
        for number, take in enumerate(takes):
            head = by_fold[int(folds[number])]
            found = {}
            for level, listened in tried.items():
                one = listened[number]
                found[level] = peaks(
                    one.rolling(softmax(head.logits(one.embeddings) / temperature), windows)
                )
            results.append(TakeResult(take, found))
        limits, rates = choose(results, np.array(scored), pack.hours, labels, settings)
        missed = sum(
            not result.heard(level, labels, limits) for result in results for level in LEVELS
        )
        slack = _shortfall(results, labels, limits)
        rank = missed + slack
        if best is None or rank < best[0]:
            best = rank, windows, limits, rates, results
    assert best is not None
    _, windows, limits, rates, results = best
    setup = replace(
        listening,
        labels=labels,
        non_intents=frozenset((UNKNOWN, BACKGROUND)),
        rolling=RollingSettings(windows=windows),
    ).with_thresholds(limits)
    final = tuple(
        Hearing(hearing.samples, hearing.chances, whole.logits(hearing.logits))
        for hearing in pack.hearings
    )
    return Learned(
        labels, setup, whole, temperature, limits, tuple(results), rates, final, pack.hours
    )


def _temperature(
    whole: Head,
    logits: Sequence[NDArray[np.float32]],
    references: Sequence[NDArray[np.int64]],
    talk: Sequence[Listened],
    labels: tuple[str, ...],
) -> float:
    """What makes left-out copies likeliest, beside as many windows of held-out talk."""
    copies, wanted = np.concatenate(list(logits)), np.concatenate(list(references))
    others = np.concatenate([each.embeddings for each in talk if len(each.embeddings)])
    step = max(1, len(others) // max(1, len(copies)))
    strange = whole.logits(others[::step])
    unknown = np.full(len(strange), labels.index(UNKNOWN), np.int64)
    return fit_temperature(np.concatenate([copies, strange]), np.concatenate([wanted, unknown]))


def choose(
    results: Sequence[TakeResult],
    talk: NDArray[np.float32],
    hours: float,
    labels: tuple[str, ...],
    settings: Settings,
) -> tuple[dict[str, float], dict[str, float]]:
    """Thresholds of the words and the false alarms an hour that are to be expected of each.

    `talk`: peaks of the held-out recordings, shape (recordings, labels). Each word may raise its
    share of the alarms; one whose takes score far above that is raised, and what it leaves goes to
    the others.
    """
    words = [label for label in labels if label not in (UNKNOWN, BACKGROUND)]
    left = settings.alarms_per_hour * settings.caution
    limits: dict[str, float] = {}
    rates: dict[str, float] = {}
    scores = {}
    for word in words:
        column = talk[:, labels.index(word)]
        scores[word] = tails.log_odds(column[column > 0])
    room = {word: _room(word, results, labels, scores[word], hours, left, words) for word in words}
    for place, word in enumerate(sorted(words, key=lambda each: -room[each])):
        share = left / (len(words) - place)
        at = tails.exceeded(scores[word], hours, share)
        low = _lowest(word, results, labels)
        if low > at:
            at += settings.raise_by * (low - at)
        limits[word] = round(min(tails.probability(at), 0.999), 4)
        rates[word] = tails.expected(scores[word], hours, at)
        left = max(left - rates[word], 0.1 * share)
    return limits, rates


def _room(
    word: str,
    results: Sequence[TakeResult],
    labels: tuple[str, ...],
    scores: NDArray[np.float64],
    hours: float,
    per_hour: float,
    words: Sequence[str],
) -> float:
    """How far a word's lowest takes lie above its equal share of the alarms, in log odds."""
    return _lowest(word, results, labels) - tails.exceeded(scores, hours, per_hour / len(words))


def _lowest(word: str, results: Sequence[TakeResult], labels: tuple[str, ...]) -> float:
    """The log odds that nine of ten takes of a word reach, in quiet and in noise alike."""
    column = labels.index(word)
    mine = [
        result.peaks[level][column]
        for result in results
        if result.take.word == word
        for level in LEVELS
    ]
    return float(np.percentile(tails.log_odds(np.array(mine)), 10))


def _shortfall(
    results: Sequence[TakeResult], labels: tuple[str, ...], limits: dict[str, float]
) -> float:
    """Below 1: how near the takes come to their thresholds, to choose between equal counts."""
    margins = []
    for result in results:
        column = labels.index(result.take.word)
        limit = tails.log_odds(np.array([limits[result.take.word]]))[0]
        values = tails.log_odds(np.array([result.peaks[level][column] for level in LEVELS]))
        margins.append(float(np.mean(values - limit)))
    return 0.5 - float(np.tanh(np.mean(margins) / 4)) / 2.01
