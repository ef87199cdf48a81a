"""Fits a head and thresholds; measures them on left-out takes.

From own recordings.

The encoder stays as it is. Copies of every take are embedded once; a head is then fitted without
each fold of the takes, which judges that fold, and once more on all of them, which is kept. Talk of
the pack that no head learns from says how often the final head would raise a false alarm. With a
verifier the same is done with its vectors, and both are judged together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from daemon.base.audio import RATE
from daemon.config.settings import WINDOW_SECONDS, GateSettings, RollingSettings
from daemon.decide.verification import Verification
from train.augment import Audio, word_bounds
from train.calibration.temperature import fit_temperature
from train.linear_head import CrossFitted, Head
from train.simulation.offline import SimulationSettings, score_recordings
from train.words.background import (
    PackTalk,
    held_out_noise,
    pack_talk,
    pack_windows,
    surroundings,
    talk_sound,
)
from train.words.embedder import Embedder
from train.words.folder import OwnRecordings, Take
from train.words.gathering import FOLDS, Examples, Say, cross_fit, gather, own_sounds
from train.words.judging import Judge, Recording, Verifier
from train.words.operating_point import OperatingPoint, TakeResult, choose
from train.words.settings import BACKGROUND, UNKNOWN, Settings
from train.words.take_streams import LEVELS, ScoredTake, in_quiet, placed
from train.words.utterances import Bags, cross_fit_bags, gather_bags
from train.words.verifying import ASKS, Vectors, VerifierEmbedder, find_network


@dataclass(frozen=True, slots=True)
class Learned:
    """Heads with all that running and reporting need."""

    settings: SimulationSettings
    """With the thresholds that hold without a verifier."""
    judge: Judge
    point: OperatingPoint
    """Of verified scores if there is a verifier."""
    talk_hours: float
    """Of other people's talk that was judged."""
    own_hours: float
    """Of what else the user recorded."""

    @property
    def labels(self) -> tuple[str, ...]:
        return self.settings.labels

    @property
    def words(self) -> tuple[str, ...]:
        return tuple(label for label in self.labels if label not in (UNKNOWN, BACKGROUND))

    @property
    def head(self) -> Head:
        """The model's."""
        return self.judge.model.whole

    @property
    def temperature(self) -> float:
        """The model's."""
        return self.judge.model.temperature

    @property
    def thresholds(self) -> dict[str, float]:
        """Score of each word at which its event fires.

        The verified one, if there is a verifier.
        """
        return self.point.limits

    @property
    def takes(self) -> tuple[TakeResult, ...]:
        return self.point.results

    def scores(self, recordings: Sequence[Recording]) -> NDArray[np.float32]:
        """The highest thresholds at which events fire, shape (recordings, labels)."""
        return self.judge.scores(recordings)


@dataclass(frozen=True, slots=True)
class VerifierMaterial:
    """What a verifier's head is fitted to and judged by."""

    examples: Examples
    vectors: Vectors


@dataclass(frozen=True, slots=True)
class Material:
    """What heads are fitted to and judged by."""

    takes: tuple[Take, ...]
    labels: tuple[str, ...]
    examples: Examples | Bags
    streams: Mapping[float | None, Sequence[Recording]]
    """The takes at each level."""
    own: Sequence[Recording]
    """What else the user recorded, in the order of `own_sounds`."""
    talk: Sequence[Recording]
    talk_hours: float
    embedding: SimulationSettings
    verifier: VerifierMaterial | None = None


def learn(
    own: OwnRecordings,
    usable: Sequence[int],
    settings: Settings,
    say: Say = lambda what, share: None,
    embedder: Embedder | None = None,
    voices: Sequence[Take] = (),
) -> Learned:
    """Fit heads to `own`.

    `usable`: numbers of the pack's recordings without the words; `say` is called with what is being
    done and the share that is done; `voices`: the words in other voices.
    """
    embedder = embedder or Embedder(settings.base, window_of(own, settings), settings.threads)
    material = material_of(own, usable, embedder, settings, say, voices)
    say("heads", 0.0)
    return fit(material, settings)


def material_of(
    own: OwnRecordings,
    usable: Sequence[int],
    embedder: Embedder,
    settings: Settings,
    say: Say = lambda what, share: None,
    voices: Sequence[Take] = (),
) -> Material:
    """Embeddings of all that `fit` needs. See `learn`."""
    embedding = stream_settings(embedder, settings.hop)
    labels = (*own.words, UNKNOWN, BACKGROUND)
    pack = "the pack of other people"
    talk = pack_talk(embedder, embedding, lambda share: say(pack, share / 2)).of(usable)
    around = surroundings()
    examples: Examples | Bags
    if settings.unit == "utterance":
        examples = gather_bags(own, usable, labels, embedder, embedding, settings, around, say)
    else:
        windows = pack_windows(embedder, lambda share: say(pack, 0.5 + share / 2)).of(usable)
        examples = gather(own, labels, embedder, settings, around, say, voices)
        examples = examples.with_pack(windows, labels)
    say("takes in noise", 0.0)
    streams, others = own_streams(own, embedder, embedding)
    material = Material(
        own.takes,
        labels,
        examples,
        streams,
        others,
        talk_recordings(talk, embedding),
        talk.hours,
        embedding,
    )
    network = find_network(settings.verifier)
    if network is None or settings.unit == "utterance":  # a verifier hears 1.5 s
        return material
    verifier = VerifierEmbedder(network, settings.threads)
    return replace(
        material, verifier=verifier_material(own, usable, labels, verifier, settings, say, voices)
    )


def verifier_material(
    own: OwnRecordings,
    usable: Sequence[int],
    labels: tuple[str, ...],
    embedder: VerifierEmbedder,
    settings: Settings,
    say: Say = lambda what, share: None,
    voices: Sequence[Take] = (),
) -> VerifierMaterial:
    """Vectors of all that a verifier's head is fitted to; see `learn`."""
    pack = pack_windows(embedder, lambda share: say("the verifier", share / 2)).of(usable)
    later = partial(_second_half, say)
    examples = gather(own, labels, embedder, settings, surroundings(), later, voices)
    return VerifierMaterial(examples.with_pack(pack, labels), Vectors(embedder))


def _second_half(say: Say, what: str, share: float) -> None:
    say("the verifier", 0.5 + share / 2)


def own_streams(
    own: OwnRecordings, embedder: Embedder, embedding: SimulationSettings
) -> tuple[dict[float | None, list[Recording]], list[Recording]]:
    """Takes at each level, and other recordings, through the daemon's stream."""
    folds = folds_of(own)
    noise = held_out_noise()

    def recordings(names: Sequence[str], sounds: Sequence[Audio], first: int) -> list[Recording]:
        scored = score_recordings(sounds, embedding, embedder.embed)
        return [
            Recording(name, ScoredTake.of(each, embedding), partial(_same, sound), int(fold))
            for name, each, sound, fold in zip(names, scored, sounds, folds[first:], strict=False)
        ]

    takes = {}
    for level in LEVELS:
        sounds = [placed(t.audio, noise, level, number) for number, t in enumerate(own.takes)]
        takes[level] = recordings([f"{t.word} {t.path} {level}" for t in own.takes], sounds, 0)
    others = own_sounds(own)
    names = [f"own {number}" for number in range(len(others))]
    quiet = [in_quiet(each.audio, number) for number, each in enumerate(others)]
    return takes, recordings(names, quiet, len(own.takes))


def _same(sound: Audio) -> Audio:
    return sound


def talk_recordings(talk: PackTalk, embedding: SimulationSettings) -> list[Recording]:
    """The pack's talk, to be judged by a head that did not learn from it.

    By the head of all examples where no head learned from it.
    """
    return [
        Recording(
            f"pack {number}",
            ScoredTake.of(each, embedding),
            partial(talk_sound, int(number)),
            -1 if held_out else int(number) % FOLDS,
        )
        for each, number, held_out in zip(talk.scores, talk.numbers, talk.held_out, strict=True)
    ]


def window_of(own: OwnRecordings, settings: Settings) -> float:
    """Seconds of a window for these recordings."""
    if settings.window is not None:
        return settings.window
    if settings.unit == "utterance":
        return WINDOW_SECONDS
    return fitting_window([take.audio for take in own.takes])


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


def folds_of(own: OwnRecordings) -> NDArray[np.int64]:
    """A fold for each take and each of `own_sounds`, shape (groups,).

    Those of each word are spread evenly.
    """
    seen: dict[str, int] = {}
    found = []
    for sound in (*own.takes, *own_sounds(own)):
        found.append(seen.get(sound.word, 0) % FOLDS)
        seen[sound.word] = seen.get(sound.word, 0) + 1
    return np.array(found, np.int64)


def fit(material: Material, settings: Settings) -> Learned:
    """Heads, temperatures, the number of smoothed windows, and thresholds."""
    model = _model_heads(material, settings)
    counts = settings.rolling_windows if settings.unit == "word" else (1,)
    judges = [Judge(model, _settings_of(material, windows, settings)) for windows in counts]
    if material.verifier is not None:
        verifier = _verifier(material, material.verifier, settings)
        judges = [replace(each, verifier=verifier) for each in judges]
    points = [_point(material, judge, settings) for judge in judges]
    point, judge = min(zip(points, judges, strict=True), key=lambda pair: pair[0].rank)
    alone = point
    if judge.verifier is not None:
        alone = _point(material, replace(judge, verifier=None), settings)
    final = judge.settings.with_thresholds(alone.limits)
    own_hours = sum(each.stream.samples for each in material.own) / RATE / 3600
    return Learned(final, judge, point, material.talk_hours, own_hours)


def _settings_of(material: Material, windows: int, settings: Settings) -> SimulationSettings:
    return replace(
        material.embedding,
        unit=settings.unit,
        labels=material.labels,
        non_intents=frozenset((UNKNOWN, BACKGROUND)),
        rolling=RollingSettings(windows=windows),
    )


def _point(material: Material, judge: Judge, settings: Settings) -> OperatingPoint:
    judged = judge.judge(material.streams, material.own, material.talk)
    return choose(material.takes, judged, material.talk_hours, material.labels, settings)


def _folds(material: Material) -> NDArray[np.int64]:
    groups = [*next(iter(material.streams.values())), *material.own]
    return np.array([each.fold for each in groups], np.int64)


def _model_heads(material: Material, settings: Settings) -> CrossFitted:
    """Choose temperature and number of windows.

    The temperature fits left-out copies and as many windows of held-out talk best.
    """
    labels, folds = len(material.labels), _folds(material)
    if isinstance(material.examples, Bags):
        overlap = material.embedding.overlap
        return cross_fit_bags(material.examples, folds, labels, settings, overlap)
    heads = cross_fit(material.examples, folds, labels, settings)
    copies, wanted = _left_out(material, material.examples, heads)
    held_out = [each for each in material.talk if each.fold < 0]
    talk = np.concatenate([each.stream.embeddings for each in held_out])
    others = heads.whole.logits(talk[:: max(1, len(talk) // len(copies))])
    return replace(heads, temperature=_temperature(copies, wanted, others, material.labels))


def _verifier(material: Material, verifier: VerifierMaterial, settings: Settings) -> Verifier:
    """Fitted heads, with the temperature that suits left-out copies.

    And as many windows of the pack.
    """
    examples, labels = verifier.examples, material.labels
    heads = cross_fit(examples, _folds(material), len(labels), settings, settings.verifier_steps)
    copies, wanted = _left_out(material, examples, heads)
    pack = examples.rows[(examples.groups < -1) & (examples.targets == labels.index(UNKNOWN))]
    others = heads.whole.logits(pack[:: max(1, len(pack) // len(copies))])
    heads = replace(heads, temperature=_temperature(copies, wanted, others, labels))
    weights = settings.smoothed_weight, settings.verifier_weight
    return Verifier(heads, Verification(settings.candidate, *weights, 0.0, ASKS), verifier.vectors)


def _left_out(
    material: Material, examples: Examples, heads: CrossFitted
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Logits of copies by heads that did not learn from them, and labels.

    Copies of takes.
    """
    folds = _folds(material)[: len(material.takes)]
    logits, references = [], []
    for fold in sorted(set(folds.tolist())):
        copies = examples.copies_of(np.flatnonzero(folds == fold).tolist())
        logits.append(heads.of(fold).logits(copies.rows))
        references.append(copies.targets)
    return np.concatenate(logits), np.concatenate(references)


def _temperature(
    copies: NDArray[np.float32],
    wanted: NDArray[np.int64],
    others: NDArray[np.float32],
    labels: tuple[str, ...],
) -> float:
    unknown = np.full(len(others), labels.index(UNKNOWN), np.int64)
    return fit_temperature(np.concatenate([copies, others]), np.concatenate([wanted, unknown]))
