"""Fits a head and thresholds; measures them on left-out takes.

From own recordings.

The encoder stays as it is. Copies of every take are embedded once; a head is then fitted without
each fold of the takes, which judges that fold, and once more on all of them, which is kept. Talk of
the pack that no head learns from says how often the final head would raise a false alarm. With a
verifier the same is done with its vectors, and both are judged together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from daemon.base.audio import RATE
from daemon.config.settings import WINDOW_SECONDS, RollingSettings
from daemon.decide.verification import Verification
from train.augment import Audio, word_bounds
from train.calibration.temperature import fit_temperature
from train.linear_head import CrossFitted, Head
from train.simulation.offline import SimulationSettings
from train.threads import Say
from train.words.embedder import Embedder
from train.words.folder import OwnRecordings, Take
from train.words.gathering import Examples, cross_fit
from train.words.judging import Judge, Recording, Verifier, ask
from train.words.material import Material, VerifierMaterial, material_of
from train.words.operating_point import OperatingPoint, TakeResult, choose
from train.words.settings import BACKGROUND, UNKNOWN, Settings
from train.words.stages import HEADS, THRESHOLDS
from train.words.utterances import Bags, cross_fit_bags
from train.words.verifying import ASKS


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
    return fit(material, settings, say)


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


def fit(material: Material, settings: Settings, say: Say = lambda what, share: None) -> Learned:
    """Heads, temperatures, the number of smoothed windows, and thresholds."""
    say(HEADS, 0.0)
    model = _model_heads(material, settings)
    counts = settings.rolling_windows if settings.unit == "word" else (1,)
    judges = [Judge(model, _settings_of(material, windows, settings)) for windows in counts]
    if material.verifier is not None:
        verifier = _verifier(material, material.verifier, settings)
        judges = [replace(each, verifier=verifier) for each in judges]
        streams = [each for level in material.streams.values() for each in level]
        recordings = [*streams, *material.own, *material.talk]
        ask(judges, recordings, settings.threads, partial(say, THRESHOLDS))
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
