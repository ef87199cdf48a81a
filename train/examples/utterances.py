"""Utterances as bags of windows with speech, by the daemon's own gate.

The loss is taken on the pooled evidence of a bag exactly as the daemon pools it
(`daemon.decide.pool`), so that what is optimised is what runs. `pool_logits` is that function in
torch, for the gradient, with the same weights and the same floor.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from daemon.base.audio import RATE
from daemon.decide import evidence_weights
from daemon.decide.rolling import PROBABILITY_FLOOR
from daemon.windowing import high_passed
from train import augment
from train.augment import Audio
from train.codecs import CodedRecordings
from train.data.clips import Clip
from train.examples.babble import babble_of
from train.examples.words import Example, degrade
from train.recipe import AugmentSection
from train.simulation.offline import SimulationSettings, speech_windows

Starts = NDArray[np.int64]


class UtteranceBags(Dataset[Example]):
    """Bags of windows with the label of their utterance.

    `starts` holds for each clip the first samples of its windows with speech (see
    `speech_windows`). With `draw` the grid is shifted at random, sound is augmented, and at most
    `limit` windows (0: all) are kept; without it nothing is left to chance. Draw i of epoch e
    depends on (seed, e, i) alone. `first` keeps the first window alone, speech or not.
    """

    def __init__(
        self,
        clips: Sequence[Clip],
        labels: tuple[str, ...],
        settings: SimulationSettings,
        *,
        draw: AugmentSection | None,
        noises: Sequence[Audio] = (),
        limit: int = 0,
        first: bool = False,
        seed: int = 0,
    ) -> None:
        found = [np.zeros(1, np.int64)] * len(clips) if first else speech_windows(clips, settings)
        kept = [n for n, starts in enumerate(found) if len(starts)]
        self.clips = [clips[n] for n in kept]
        self.starts = [found[n] for n in kept]
        self.silent = [clip for n, clip in enumerate(clips) if not len(found[n])]
        """Utterances in which the gate found no speech at all."""
        self.labels = labels
        self.length = settings.window_samples
        self.hop = settings.hop_samples
        self.overlap = settings.overlap
        self.draw = draw
        self.recordings = CodedRecordings(
            [c.samples for c in self.clips], draw.codec_probability if draw else 0.0, seed
        )
        self.babble = babble_of(self.clips, draw, seed) if draw else []
        self.noises = noises
        self.limit = limit
        self.first = first
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, index: int) -> Example:
        clip, starts = self.clips[index], self.starts[index]
        audio = self.recordings.audio(index)
        whole = len(starts)
        if self.draw is not None:
            rng = np.random.default_rng((self.seed, self.epoch, index))
            audio, starts = self._augmented(audio, starts, self.draw, rng)
        else:
            audio = high_passed(audio)
        padded = np.zeros(max(len(audio), int(starts[-1]) + self.length), np.float32)
        padded[: len(audio)] = audio
        windows = np.stack([padded[start : start + self.length] for start in starts])
        return {
            "windows": windows,
            "labels": self.labels.index(clip.label),
            # Where only some windows of an utterance were drawn, they stand for all of them.
            "scale": (1 + (whole - 1) * self.overlap) / (1 + (len(windows) - 1) * self.overlap),
        }

    def _augmented(
        self, audio: Audio, starts: Starts, draw: AugmentSection, rng: np.random.Generator
    ) -> tuple[Audio, Starts]:
        low, high = draw.speed
        if low < high:
            factor = float(rng.uniform(low, high))
            audio = augment.change_speed(audio, factor)
            # The windows keep their length, so a faster utterance has fewer.
            wanted = max(1, round(len(starts) / factor))
            picked = np.linspace(0, len(starts) - 1, wanted).round().astype(int)
            starts = (starts[picked] / factor).astype(np.int64)
        if not self.first:
            shift = int(rng.integers(self.hop))
            starts = np.clip(starts - shift, 0, None)
            if self.limit and len(starts) > self.limit:
                starts = starts[np.sort(rng.choice(len(starts), self.limit, replace=False))]
        audio = degrade(audio, draw, self.noises, rng, self.babble)
        audio = high_passed(audio) * np.float32(10 ** (rng.uniform(*draw.gain_db) / 20))
        return np.clip(audio, -1, 1).astype(np.float32), starts


class BagCollator:
    """Bags to a batch: features of all windows, and each bag's size.

    The features are one below the other.
    """

    def __init__(self, extractor: Any) -> None:
        self.extractor = extractor
        self.input_name = extractor.model_input_names[0]

    def __call__(self, bags: list[Example]) -> dict[str, torch.Tensor]:
        windows = [window for bag in bags for window in bag["windows"]]
        features = self.extractor(windows, sampling_rate=RATE, return_tensors="pt")
        return {
            self.input_name: features[self.input_name],
            "sizes": torch.tensor([len(bag["windows"]) for bag in bags]),
            "scales": torch.tensor([bag["scale"] for bag in bags], dtype=torch.float32),
            "labels": torch.tensor([bag["labels"] for bag in bags]),
        }


class BagLoss:
    """Cross entropy of the pooled posterior; pooled evidence as logits."""

    def __init__(
        self, input_name: str, overlap: float, forgetting: float, smoothing: float
    ) -> None:
        self.input_name = input_name
        self.overlap = overlap
        self.forgetting = forgetting
        self.smoothing = smoothing

    def __call__(self, model: Any, inputs: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
        logits = model(**{self.input_name: inputs[self.input_name]}).logits
        evidence = pool_logits(logits, inputs["sizes"], self.overlap, self.forgetting)
        evidence = evidence * inputs["scales"][:, None]
        loss = torch.nn.functional.cross_entropy(
            evidence, inputs["labels"], label_smoothing=self.smoothing
        )
        return loss, evidence


def pool_logits(
    logits: torch.Tensor, sizes: torch.Tensor, overlap: float, forgetting: float = 1.0
) -> torch.Tensor:
    """Evidence of bags, (bags, labels), from logits (windows, labels).

    Its softmax is `daemon.decide.pool` of the windows' posteriors. `overlap` is hop / window.
    """
    logs = torch.log_softmax(logits.float(), dim=-1).clamp(min=float(np.log(PROBABILITY_FLOOR)))
    pooled = []
    for part in torch.split(logs, sizes.tolist()):
        weights = torch.as_tensor(evidence_weights(len(part), forgetting, overlap))
        pooled.append(weights.to(part.device, part.dtype) @ part)
    return torch.stack(pooled)
