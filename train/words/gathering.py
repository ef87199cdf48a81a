"""Embeddings to fit heads on: copies of takes, other sound, the pack.

The other sound is the user's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from daemon.base.audio import RATE
from train.augment import Audio
from train.linear_head import CrossFitted, Head, fit_head
from train.threads import Say
from train.words.background import PackWindows
from train.words.embedder import Embeddings, Embeds
from train.words.examples import Surroundings, crops, part_copies, word_copies
from train.words.folder import NEAR, OwnRecordings, Take
from train.words.settings import BACKGROUND, UNKNOWN, Settings
from train.words.stages import COPIES

PLAIN, PART, VOICE = range(3)
"""Kinds of examples: takes, talk and noise; parts of words; words in other voices."""
FOLDS = 5
PIECE = 10.0
"""Seconds of the user's talk that are left out together, about."""


@dataclass(frozen=True, slots=True)
class Examples:
    """Embeddings to fit heads on."""

    rows: Embeddings
    targets: NDArray[np.int64]
    groups: NDArray[np.int64]
    """What a row is of, shape (n,): the user's recordings, takes first, then `own_sounds`; -1 for
    noise and other voices, -2 - n for the pack's recording n."""
    kinds: NDArray[np.int64]
    """PLAIN, PART or VOICE."""

    def with_pack(self, pack: PackWindows, labels: Sequence[str]) -> Examples:
        """These and the pack's windows, of which noise alone is background."""
        more = len(pack.windows)
        kinds = (labels.index(BACKGROUND), labels.index(UNKNOWN))
        return Examples(
            np.concatenate([self.rows, pack.windows]),
            np.concatenate([self.targets, np.where(pack.sources < 0, *kinds)]),
            np.concatenate([self.groups, np.where(pack.sources < 0, -1, -2 - pack.sources)]),
            np.concatenate([self.kinds, np.full(more, PLAIN)]),
        )

    def without(self, fold: int, folds: NDArray[np.int64]) -> Examples:
        """Examples of other folds.

        `folds`: of the user's recordings, shape (recordings,).
        """
        return self.where(folds_of_groups(self.groups, folds) != fold)

    def copies_of(self, groups: Sequence[int]) -> Examples:
        """Copies of these takes."""
        return self.where(np.isin(self.groups, groups) & (self.kinds == PLAIN))

    def where(self, kept: NDArray[np.bool_]) -> Examples:
        """Those rows for which `kept`, shape (n,), is true."""
        return Examples(self.rows[kept], self.targets[kept], self.groups[kept], self.kinds[kept])


def gather(
    own: OwnRecordings,
    labels: tuple[str, ...],
    embedder: Embeds,
    settings: Settings,
    around: Surroundings,
    say: Say = lambda what, share: None,
    voices: Sequence[Take] = (),
) -> Examples:
    """Embeddings of copies of the takes and of what else the user recorded."""
    length = round(embedder.window * RATE)
    unknown, quiet = labels.index(UNKNOWN), labels.index(BACKGROUND)
    rows: list[Embeddings] = []
    targets: list[int] = []
    groups: list[int] = []
    kinds: list[int] = []

    def add(windows: list[Audio], target: int, group: int = -1, kind: int = PLAIN) -> None:
        if windows:
            rows.append(embedder.embed(windows))
            targets.extend([target] * len(windows))
            groups.extend([group] * len(windows))
            kinds.extend([kind] * len(windows))

    spoken = [*own.takes, *voices]
    for number, take in enumerate(own.takes):
        say(COPIES, number / len(spoken))
        rng = np.random.default_rng((settings.seed, number))
        target = labels.index(take.word)
        add(word_copies(take.audio, length, settings.copies, around, rng), target, number)
        parts = part_copies(take.audio, length, settings.part_copies, around, rng)
        add(parts, unknown, number, PART)
    for number, take in enumerate(voices):
        say(COPIES, (len(own.takes) + number) / len(spoken))
        rng = np.random.default_rng((settings.seed, 1, number))
        copies = word_copies(take.audio, length, settings.voice_copies, around, rng)
        add(copies, labels.index(take.word), -1, VOICE)
    rng = np.random.default_rng((settings.seed, 1 << 20))
    for number, sound in enumerate(own_sounds(own), len(own.takes)):
        if sound.word == NEAR:
            add(
                word_copies(sound.audio, length, settings.near_copies, around, rng), unknown, number
            )
        else:
            count = round(settings.own_crops * len(sound.audio) / RATE)
            add(crops(sound.audio, length, count, around, rng), unknown, number)
    for room in own.room:
        count = round(settings.own_crops * len(room.audio) / RATE)
        add(crops(room.audio, length, count, around, rng, alone=0.0), quiet)
    return Examples(np.concatenate(rows), np.array(targets), np.array(groups), np.array(kinds))


def folds_of_groups(groups: NDArray[np.int64], folds: NDArray[np.int64]) -> NDArray[np.int64]:
    """The fold of each group in `Examples.groups`, -1 for none.

    `folds`: of the user's own.
    """
    pack = np.where(groups < -1, (-2 - groups) % FOLDS, -1)
    return np.where(groups >= 0, folds[np.maximum(groups, 0)], pack)


def own_sounds(own: OwnRecordings) -> list[Take]:
    """The user's similar words, and pieces of talk without the words."""
    pieces = []
    for talk in own.talk:
        count = max(1, round(len(talk.audio) / RATE / PIECE))
        pieces += [replace(talk, audio=part) for part in np.array_split(talk.audio, count)]
    return [*own.near, *pieces]


def _weights(
    targets: NDArray[np.int64], kinds: NDArray[np.int64], labels: int, settings: Settings
) -> NDArray[np.float32]:
    """Weights of examples by kind.

    1 for the takes of each word together, `voice_weight` for the same in other voices,
    `unknown_weight` for all that is unknown, half of it for noise.
    """
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


def cross_fit(
    examples: Examples, folds: NDArray[np.int64], labels: int, settings: Settings, steps: int = 200
) -> CrossFitted:
    """Heads on all of `examples` and without each fold; temperature 1.

    `folds`: of the user's recordings, shape (recordings,).
    """

    def head_of(some: Examples) -> Head:
        weights = _weights(some.targets, some.kinds, labels, settings)
        return fit_head(some.rows, some.targets, weights, labels, settings.penalty, steps)

    parts = {fold: head_of(examples.without(fold, folds)) for fold in range(FOLDS)}
    return CrossFitted(head_of(examples), parts, 1.0)
