"""Batches of windows with a word teacher's vectors, as a torch data set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from daemon.base.audio import RATE
from daemon.windowing import high_passed
from train.augment import Audio
from train.codecs import CodedRecordings
from train.distillation.windows import TeacherWindows
from train.examples.words import degrade
from train.recipe import AugmentSection


class WindowBatches(Dataset[dict[str, torch.Tensor]]):
    """Each item is a whole batch of windows of one length.

    A window has noise, room, codec and what else the recipe asks for; its vector is the teacher's
    of the same place without any. Batch i of epoch e depends on (seed, e, i) alone; `fixed`: the
    same in every epoch, every other window as it is, for validation.
    """

    def __init__(
        self,
        recordings: CodedRecordings,
        windows: TeacherWindows,
        weights: NDArray[np.float64],
        settings: AugmentSection,
        noises: Sequence[Audio],
        babble: Sequence[Audio],
        extractor: Any,
        lengths: Sequence[int],
        batch: int,
        batches: int,
        seed: int,
        fixed: bool = False,
    ) -> None:
        """Windows drawn in proportion to `weights`, shape (windows,).

        `lengths` of windows in samples, drawn evenly.
        """
        self.recordings, self.windows, self.settings = recordings, windows, settings
        self.noises, self.babble, self.extractor = noises, babble, extractor
        self.lengths, self.batch, self.batches = lengths, batch, batches
        self.seed, self.fixed, self.epoch = seed, fixed, 0
        self.cumulative = np.cumsum(weights / weights.sum())

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return self.batches

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        rng = np.random.default_rng((self.seed, 0 if self.fixed else self.epoch, index))
        which = index % len(self.lengths) if self.fixed else int(rng.integers(len(self.lengths)))
        length = self.lengths[which]
        drawn = np.searchsorted(self.cumulative, rng.random(self.batch), side="right")
        drawn = np.minimum(drawn, len(self.cumulative) - 1)
        windows = [
            self._window(int(number), length, rng, plain=self.fixed and place % 2 == 0)
            for place, number in enumerate(drawn)
        ]
        rows = self.windows.rows[drawn]
        features = self.extractor(windows, sampling_rate=RATE, return_tensors="pt")
        return {
            "input_values": features["input_values"],
            "labels": torch.from_numpy(self.windows.vectors[rows].astype(np.float32)),
        }

    def _window(self, number: int, length: int, rng: np.random.Generator, plain: bool) -> Audio:
        samples = self.recordings.audio(int(self.windows.recordings[number]))
        window = np.zeros(length, np.float32)
        start = int(self.windows.centres[number]) - length // 2
        first, last = max(0, start), min(len(samples), start + length)
        if last > first:
            window[first - start : last - start] = samples[first:last]
        if not plain:
            window = degrade(window, self.settings, self.noises, rng, self.babble)
            window = window * np.float32(10 ** (rng.uniform(*self.settings.gain_db) / 20))
        return np.clip(high_passed(window), -1, 1).astype(np.float32)


def first_item(items: list[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """A batch of batches, which has one, to that one."""
    return items[0]
