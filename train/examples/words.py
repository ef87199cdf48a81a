"""Training draws and fixed evaluation windows, as torch data sets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from daemon.base.audio import RATE
from daemon.windowing import high_passed
from train import augment
from train.augment import Audio, Excerpt
from train.codecs import CodedRecordings, mu_law
from train.data.clips import Clip
from train.distillation.soft_targets import SoftTargets
from train.examples.babble import babble_of
from train.recipe import AugmentSection

Example = dict[str, Any]
STRETCH = 3
"""Windows of a long recording that one draw looks at."""


def shares(
    clips: Sequence[Clip],
    labels: tuple[str, ...],
    non_intents: tuple[str, ...],
    weights: tuple[float, ...],
) -> NDArray[np.float64]:
    """How often each clip is drawn, relative to the others, shape (clips,).

    By the weight of its source, and one intent as often as another.
    """
    share = np.array([weights[c.source] for c in clips], np.float64)
    for label in labels:
        mask = np.array([c.label == label for c in clips])
        if label not in non_intents and mask.any():
            share[mask] *= 1 / share[mask].sum()
    intents = np.array([c.label not in non_intents for c in clips])
    if intents.any():
        # weights are relative to the number of clips: intents as a whole keep theirs
        whole = sum(weights[c.source] for c in clips if c.label not in non_intents)
        share[intents] *= whole / share[intents].sum()
    return share


class WordDraws(Dataset[Example]):
    """Windows drawn at random from clips, one class as often as another.

    Draw i of epoch e depends on (seed, e, i) alone, so a run repeats, and goes on after an
    interruption as if nothing had happened. A draw is noise alone, halves of two words, a cut
    word, or a clip: first a label, evenly among intents (non-intents by the weight of their
    sources), then a clip. A word may get another word beside it.

    With `targets` a draw also has the teacher's soft label ("soft_labels", log-probabilities, shape
    (labels,)) and vector ("vectors") of the window before it is degraded, and whether there are
    any ("has_targets", 1 or 0): there are none for windows that are put together here.
    """

    def __init__(
        self,
        clips: Sequence[Clip],
        labels: tuple[str, ...],
        non_intents: tuple[str, ...],
        weights: tuple[float, ...],
        settings: AugmentSection,
        noises: Sequence[Audio],
        length: int,
        draws: int,
        seed: int,
        targets: SoftTargets | None = None,
    ) -> None:
        self.clips = clips
        self.targets = targets
        self.bounds = [
            augment.word_bounds(c.audio) if c.placing == "word" else (0, len(c.samples))
            for c in clips
        ]
        self.recordings = CodedRecordings(
            [c.samples for c in clips], settings.codec_probability, seed
        )
        self.babble = babble_of(clips, settings, seed)
        self.labels = labels
        self.settings = settings
        self.noises = noises
        self.length = length
        self.draws = draws
        self.seed = seed
        self.epoch = 0
        share = shares(clips, labels, non_intents, weights)
        self.cumulative = np.cumsum(share / share.sum())
        # Clips to cut or splice; where in running speech an intent lies is not known.
        self.words = np.flatnonzero(
            [c.label not in non_intents and c.placing == "word" for c in clips]
        )
        self.names = np.array([clips[int(n)].label for n in self.words])
        # What may come right before or after a word: any other word.
        self.spoken = np.flatnonzero([c.placing == "word" for c in clips])
        self.spoken_labels = np.array([clips[int(n)].label for n in self.spoken])

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return self.draws

    def __getitem__(self, index: int) -> Example:
        rng = np.random.default_rng((self.seed, self.epoch, index))
        s = self.settings
        distilled: Example = {}
        chance = rng.random()
        if chance < s.background_probability:
            window, label = self._background(rng), s.background_label
        elif chance < s.background_probability + s.splice_probability and len(self.words):
            window = degrade(self._spliced(rng), s, self.noises, rng, self.babble)
            label = s.cut_label
        else:
            spent = s.background_probability + s.splice_probability
            cut = bool(chance < spent + s.cut_probability and len(self.words))
            number = (
                int(rng.choice(self.words))
                if cut
                else int(np.searchsorted(self.cumulative, rng.random()))
            )
            excerpt, factor = self._excerpt(number, cut, rng)
            clip = self.clips[number]
            label = s.cut_label if cut else clip.label
            window = excerpt.window
            near = s.neighbour_probability
            if near and not cut and clip.placing == "word" and rng.random() < near:
                window = self._with_neighbour(number, excerpt, factor, rng)
            elif self.targets is not None and not cut:
                distilled = self._distilled(self.targets, number, excerpt, factor)
            window = degrade(window, s, self.noises, rng, self.babble)
        window = high_passed(window) * np.float32(10 ** (rng.uniform(*s.gain_db) / 20))
        if self.targets is not None and not distilled:
            distilled = self._without_targets(self.targets)
        return {
            "window": np.clip(window, -1, 1).astype(np.float32),
            "labels": self.labels.index(label),
            **distilled,
        }

    def _distilled(
        self, targets: SoftTargets, number: int, excerpt: Excerpt, factor: float
    ) -> Example:
        clip = self.clips[number]
        start = excerpt.first - excerpt.at
        end = min(start + self.length, int(len(clip.samples) / factor))
        window = targets.nearest(clip, (start + self.length / 2) * factor)
        # Of a piece that stands alone the teacher heard what is around it too.
        alone = excerpt.first > max(0, start) or excerpt.last < end - 1
        if window is None or alone:
            return self._without_targets(targets)
        return {
            "soft_labels": targets.soft_label(window),
            "vectors": targets.vector(window),
            "has_targets": np.float32(1),
        }

    def _without_targets(self, targets: SoftTargets) -> Example:
        return {
            "soft_labels": np.zeros(len(self.labels), np.float32),
            "vectors": np.zeros(targets.width, np.float32),
            "has_targets": np.float32(0),
        }

    def _background(self, rng: np.random.Generator) -> Audio:
        if rng.random() < 0.15 or not self.noises:
            return augment.white(rng.uniform(*self.settings.floor_db), self.length, rng)
        level = np.float32(rng.uniform(0.1, 1.5))
        return augment.draw_noise(self.noises, self.length, rng) * level

    def _spliced(self, rng: np.random.Generator) -> Audio:
        one = int(rng.choice(self.words))
        samples, bounds = self.recordings.audio(one), self.bounds[one]
        others = self.words[self.names != self.clips[one].label]
        if not len(others):  # a single intent has nothing to be mixed up with
            return augment.cut_word(samples, bounds, self.length, rng).window
        other = int(rng.choice(others))
        return augment.splice(
            samples, bounds, self.recordings.audio(other), self.bounds[other], self.length, rng
        )

    def _with_neighbour(
        self, number: int, excerpt: Excerpt, factor: float, rng: np.random.Generator
    ) -> Audio:
        others = self.spoken[self.spoken_labels != self.clips[number].label]
        if not len(others):
            return excerpt.window
        other = int(rng.choice(others))
        first, last = self.bounds[other]
        start, end = self.bounds[number]
        return augment.add_neighbour(
            excerpt,
            (int(start / factor), int(end / factor)),
            self.recordings.audio(other)[first:last],
            round(rng.uniform(*self.settings.neighbour_gap) * RATE),
            before=bool(rng.random() < 0.5),
        )

    def _excerpt(self, number: int, cut: bool, rng: np.random.Generator) -> tuple[Excerpt, float]:
        """An excerpt of a clip at another speed, and the factor of that speed."""
        clip = self.clips[number]
        samples, bounds, factor = self.recordings.audio(number), self.bounds[number], 1.0
        skipped = 0
        if clip.placing == "crop" and len(samples) > STRETCH * self.length:
            # The whole of a long recording would be resampled for one window.
            skipped = int(rng.integers(len(samples) - STRETCH * self.length + 1))
            samples = samples[skipped : skipped + STRETCH * self.length]
        low, high = self.settings.speed
        if low < high:
            factor = float(rng.uniform(low, high))
            samples = augment.change_speed(samples, factor)
            bounds = (int(bounds[0] / factor), min(len(samples), int(bounds[1] / factor)))
        if clip.placing == "crop":
            alone = self.settings.isolate_probability
            cut_out = augment.isolate if alone and rng.random() < alone else augment.crop
            return cut_out(samples, self.length, rng).later(int(skipped / factor)), factor
        if cut:
            return augment.cut_word(samples, bounds, self.length, rng), factor
        over = self.settings.overhang
        return augment.place_word(samples, bounds, self.length, rng, over), factor


def degrade(
    samples: Audio,
    settings: AugmentSection,
    noises: Sequence[Audio],
    rng: np.random.Generator,
    babble: Sequence[Audio] = (),
) -> Audio:
    """`samples` with a channel's effects.

    Microphone, room, other people, noise or a white floor, line.
    """
    s = settings
    if s.equalize_db:
        samples = augment.equalize(samples, s.equalize_db, rng)
    if s.room_probability and rng.random() < s.room_probability:
        samples = augment.room(
            samples, rng.uniform(*s.room_seconds), rng.uniform(*s.room_direct_db), rng
        )
    if babble and s.babble_probability and rng.random() < s.babble_probability:
        others = augment.draw_noise(babble, len(samples), rng)
        samples = augment.mix(samples, others, float(rng.uniform(*s.babble_db)))
    if noises and rng.random() < s.noise_probability:
        noise = augment.draw_noise(noises, len(samples), rng)
        samples = augment.mix(samples, noise, float(rng.uniform(*s.snr_db)))
    else:
        samples = samples + augment.white(rng.uniform(*s.floor_db), len(samples), rng)
    if s.telephone_probability and rng.random() < s.telephone_probability:
        samples = augment.telephone(samples)
        if s.mu_law_probability and rng.random() < s.mu_law_probability:
            samples = mu_law(samples)
    return samples


class WindowCollator:
    """Windows to one batch of the model's features, by its own extractor."""

    def __init__(self, extractor: Any) -> None:
        self.extractor = extractor
        self.input_name = extractor.model_input_names[0]

    def __call__(self, examples: list[Example]) -> dict[str, torch.Tensor]:
        features = self.extractor(
            [example["window"] for example in examples], sampling_rate=RATE, return_tensors="pt"
        )
        batch = {
            self.input_name: features[self.input_name],
            "labels": torch.tensor([example["labels"] for example in examples]),
        }
        for name in ("soft_labels", "vectors", "has_targets"):
            if name in examples[0]:
                batch[name] = torch.from_numpy(np.stack([example[name] for example in examples]))
        return batch


class FixedWindows(Dataset[Example]):
    """One window a clip, without chance: the middle of the recording."""

    def __init__(self, clips: Sequence[Clip], labels: tuple[str, ...], length: int) -> None:
        self.clips, self.labels, self.length = clips, labels, length

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, index: int) -> Example:
        clip = self.clips[index]
        return {
            "window": high_passed(middle_window(clip.audio, self.length)),
            "labels": self.labels.index(clip.label),
        }


def middle_window(samples: Audio, length: int) -> Audio:
    """The middle `length` samples of a recording, shape (length,).

    A shorter one is centred.
    """
    window = np.zeros(length, np.float32)
    surplus = len(samples) - length
    if surplus >= 0:
        window[:] = samples[surplus // 2 : surplus // 2 + length]
    else:
        start = -surplus // 2
        window[start : start + len(samples)] = samples
    return window
