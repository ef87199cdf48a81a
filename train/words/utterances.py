"""Sentences: bags of windows, and a head fitted to pooled evidence.

A sentence is longer than a window, so its windows are evidence together, pooled as the daemon does
(`daemon.decide.evidence_weights`). The encoder stays as it is, as for words.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from daemon.base.audio import RATE
from daemon.decide import evidence_weights
from daemon.decide.rolling import PROBABILITY_FLOOR
from train import augment
from train.augment import Audio
from train.codecs import coded
from train.linear_head import CrossFitted, Floats, Head, Standardised
from train.simulation.offline import SimulationSettings, score_recordings
from train.threads import Say
from train.words.embedder import Embedder, Embeddings
from train.words.examples import CODED, Surroundings
from train.words.folder import OwnRecordings
from train.words.gathering import FOLDS, folds_of_groups, own_sounds
from train.words.settings import BACKGROUND, UNKNOWN, Settings
from train.words.stages import SENTENCES
from train.words.take_streams import in_quiet
from train.world import NOISE, TRAIN, recordings

AT_ONCE = 64
"""Recordings that are embedded together."""
SPEED = 0.1


@dataclass(frozen=True, slots=True)
class Bags:
    """Sentences as the embeddings of their windows with speech."""

    rows: Embeddings
    """Windows of all bags, one bag after the other, shape (windows, size)."""
    sizes: NDArray[np.int64]
    """Windows of each bag, at least 1, shape (bags,)."""
    targets: NDArray[np.int64]
    """Label numbers, shape (bags,)."""
    groups: NDArray[np.int64]
    """What a bag is of, as in `Examples`."""

    def where(self, kept: NDArray[np.bool_]) -> Bags:
        """Those bags for which `kept`, shape (bags,), is true."""
        rows = self.rows[np.repeat(kept, self.sizes)]
        return Bags(rows, self.sizes[kept], self.targets[kept], self.groups[kept])


def gather_bags(
    own: OwnRecordings,
    usable: Sequence[int],
    labels: tuple[str, ...],
    embedder: Embedder,
    embedding: SimulationSettings,
    settings: Settings,
    around: Surroundings,
    say: Say = lambda what, share: None,
) -> Bags:
    """Bags of augmented copies of sentences, of the user's talk, of the pack."""
    unknown, quiet = labels.index(UNKNOWN), labels.index(BACKGROUND)
    copies = settings.sentence_copies
    sounds = [(take.audio, labels.index(take.word), n) for n, take in enumerate(own.takes)] * copies
    others = [
        (each.audio, unknown, n) for n, each in enumerate(own_sounds(own), len(own.takes))
    ] * copies
    pack = [
        (recordings()[number].audio, unknown, -2 - number)
        for number in usable
        if recordings()[number].part == TRAIN and recordings()[number].kind != NOISE
    ]
    found: list[tuple[Embeddings, int, int]] = []
    todo = [*sounds, *others, *pack]
    for first in range(0, len(todo), AT_ONCE):
        say(SENTENCES, first / len(todo))
        some = todo[first : first + AT_ONCE]
        heard = []
        for place, (samples, _, _) in enumerate(some, first):
            rng = np.random.default_rng((settings.seed, 2, place))
            heard.append(in_quiet(_copy(samples, around, rng), place))
        for (_, target, group), each in zip(
            some, score_recordings(heard, embedding, embedder.embed), strict=True
        ):
            if len(each.logits):
                found.append((each.logits, target, group))
    rng = np.random.default_rng((settings.seed, 3))
    noises = [
        np.asarray(
            augment.draw_noise(around.noises, round(embedder.window * RATE), rng)
            * rng.uniform(0.05, 1.5),
            np.float32,
        )
        for _ in range(settings.noise_windows)
    ]
    found += [(row[None], quiet, -1) for row in embedder.embed(noises)]
    rows, targets, groups = zip(*found, strict=True)
    sizes = np.array([len(each) for each in rows])
    return Bags(np.concatenate(rows), sizes, np.array(targets), np.array(groups))


def _copy(samples: Audio, around: Surroundings, rng: np.random.Generator) -> Audio:
    if rng.random() < CODED:
        samples = coded(samples, rng)
    samples = augment.change_speed(samples, float(rng.uniform(1 - SPEED, 1 + SPEED)))
    return around.degrade(samples, rng)


def cross_fit_bags(
    bags: Bags, folds: NDArray[np.int64], labels: int, settings: Settings, overlap: float
) -> CrossFitted:
    """Heads on all of `bags` and without each fold; temperature 1.

    See `cross_fit`.
    """

    def head_of(some: Bags) -> Head:
        return fit_pooled_head(some, _weights(some, labels, settings), labels, overlap, settings)

    parts = {
        fold: head_of(bags.where(folds_of_groups(bags.groups, folds) != fold))
        for fold in range(FOLDS)
    }
    return CrossFitted(head_of(bags), parts, 1.0)


def _weights(bags: Bags, labels: int, settings: Settings) -> Floats:
    """Weights: 1 for each intent, `unknown_weight` for all that is unknown.

    Half of it for noise.
    """
    totals = [1.0] * (labels - 2) + [settings.unknown_weight, settings.unknown_weight / 2]
    counts = np.maximum(1, np.bincount(bags.targets, minlength=labels))
    return np.asarray((np.array(totals) / counts)[bags.targets], np.float32)


def fit_pooled_head(
    bags: Bags, weights: Floats, labels: int, overlap: float, settings: Settings
) -> Head:
    """Multinomial logistic regression on pooled evidence, as `fit_head`.

    `weights` (bags,), any scale; `overlap` is hop / window.
    """
    of_windows = np.repeat(weights / bags.sizes, bags.sizes).astype(np.float32)
    scale = Standardised.of(bags.rows, of_windows)
    inputs = torch.from_numpy(scale.apply(bags.rows))
    wanted = torch.from_numpy(bags.targets)
    shares = torch.from_numpy(np.asarray(weights / weights.sum(), np.float32))
    weight = torch.zeros(labels, inputs.shape[1], requires_grad=True)
    bias = torch.zeros(labels, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [weight, bias], max_iter=100, history_size=20, line_search_fn="strong_wolfe"
    )

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        evidence = pooled(inputs @ weight.T + bias, bags.sizes, overlap)
        losses = torch.nn.functional.cross_entropy(evidence, wanted, reduction="none")
        loss = (losses * shares).sum() + 0.5 * settings.penalty * weight.square().sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    return scale.head(weight.detach().numpy(), bias.detach().numpy())


def pooled(logits: torch.Tensor, sizes: NDArray[np.int64], overlap: float) -> torch.Tensor:
    """Evidence of bags, (bags, labels), from logits (windows, labels).

    The same as `train.examples.utterances.pool_logits`, without a loop over the bags.
    """
    logs = torch.log_softmax(logits, dim=-1).clamp(min=math.log(PROBABILITY_FLOOR))
    known = {size: float(evidence_weights(size, 1.0, overlap)[0]) for size in set(sizes.tolist())}
    weights = torch.tensor([known[size] for size in sizes.tolist()], dtype=logs.dtype)
    numbers = torch.from_numpy(np.repeat(np.arange(len(sizes)), sizes))
    found = torch.zeros(len(sizes), logs.shape[1], dtype=logs.dtype)
    return found.index_add(0, numbers, logs * weights[numbers][:, None])
