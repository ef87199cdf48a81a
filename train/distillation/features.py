"""Pretraining without labels: a small encoder learns to give what a large one gives.

The student sees a window with noise, room and gain; its frames, through one linear layer that is
thrown away afterwards, shall match the teacher's for the same recordings without any of it. The
loss is the mean squared error over standardised features, after DistilHuBERT (Chang et al. 2021,
arXiv 2110.01900), where a student's frames are regressed on the teacher's. No label is read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from torch import nn
from torch.utils.data import Dataset
from transformers import Wav2Vec2Model

from train.augment import Audio
from train.data.clips import RATE, Clip
from train.distillation import whisper as teacher
from train.examples.words import soil
from train.recipe import AugmentSection

CLIP = 5.0
"""Standardised features are held within so many deviations: a few outliers must not lead."""
MAXIMAL_GAP = 25
"""Teacher frames of silence between recordings in a window, at most."""


@dataclass(frozen=True, slots=True)
class Lesson:
    """Recordings with the teacher's frames for them."""

    recordings: tuple[NDArray[np.int16], ...]
    frames: NDArray[np.float16]
    """Of all recordings, one behind the other, shape (frames, width)."""
    starts: tuple[int, ...]
    """First frame of each recording in `frames`, and one past the last."""
    mean: NDArray[np.float32]
    deviation: NDArray[np.float32]

    def features(self, number: int, first: int, count: int) -> NDArray[np.float32]:
        """Standardised frames `first` to `first` + `count` of a recording."""
        start = self.starts[number] + first
        raw = self.frames[start : start + count].astype(np.float32)
        features: NDArray[np.float32] = np.clip((raw - self.mean) / self.deviation, -CLIP, CLIP)
        return features

    def length(self, number: int) -> int:
        """Frames of a recording."""
        return self.starts[number + 1] - self.starts[number]


def frame_centres(config: Any, samples: int) -> NDArray[np.float64]:
    """The samples that a Wav2Vec2's frames of a window of `samples` are centred on."""
    stride, field, frames = 1, 1, samples
    for width, step in zip(config.conv_kernel, config.conv_stride, strict=True):
        field += (width - 1) * stride
        stride *= step
        frames = (frames - width) // step + 1
    centres: NDArray[np.float64] = np.arange(frames, dtype=np.float64) * stride + field / 2
    return centres


@dataclass(frozen=True, slots=True)
class Grid:
    """How the student's frames lie on the teacher's."""

    indices: NDArray[np.int64]
    """Teacher frames that each student frame stands for, shape (frames, n)."""

    @classmethod
    def of(cls, config: Any, samples: int) -> Grid:
        """For a window of `samples`; student frames shorter than the teacher's get one each."""
        centres = frame_centres(config, samples) / teacher.FRAME
        stride = int(np.prod(config.conv_stride))
        each = max(1, round(stride / teacher.FRAME))
        first = np.rint(centres - (each - 1) / 2).astype(np.int64)
        return cls(first[:, None] + np.arange(each))


class Student(nn.Module):
    """A Wav2Vec2 encoder and the layer that maps its frames to the teacher's."""

    def __init__(self, encoder: Wav2Vec2Model, width: int) -> None:
        super().__init__()
        self.wav2vec2 = encoder
        self.head = nn.Linear(encoder.config.hidden_size, width)

    def forward(self, input_values: torch.Tensor) -> torch.Tensor:
        """Predicted teacher frames, shape (batch, frames, width)."""
        out: torch.Tensor = self.head(self.wav2vec2(input_values).last_hidden_state)
        return out


def distance(model: Any, inputs: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean squared error over the frames that the teacher heard, and what the student said."""
    said = model(inputs["input_values"])
    error = (said - inputs["labels"]).square().mean(-1)
    heard = inputs["heard"]
    return (error * heard).sum() / heard.sum().clamp(min=1), said


class Windows(Dataset[dict[str, Any]]):
    """Windows full of speech: recordings one behind the other with short silences, soiled.

    Draw i of epoch e depends on (seed, e, i) alone, as in WordDraws. `soiled` None: every other
    window as it is and the same in every epoch, for validation.
    """

    def __init__(
        self,
        lesson: Lesson,
        numbers: Sequence[int],
        grid: Grid,
        length: int,
        soiled: AugmentSection,
        noises: Sequence[Audio],
        draws: int,
        seed: int,
        fixed: bool = False,
    ) -> None:
        self.lesson, self.numbers, self.grid, self.length = lesson, list(numbers), grid, length
        self.settings, self.noises = soiled, noises
        self.draws, self.seed, self.fixed, self.epoch = draws, seed, fixed, 0
        # A long recording is drawn as often as its length, a short one as its own.
        weights = np.array([lesson.length(n) for n in self.numbers], np.float64)
        self.cumulative = np.cumsum(weights / weights.sum())

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return self.draws

    def __getitem__(self, index: int) -> dict[str, Any]:
        rng = np.random.default_rng((self.seed, 0 if self.fixed else self.epoch, index))
        window, target, heard = self._fill(rng)
        if not self.fixed or index % 2:
            window = soil(window, self.settings, self.noises, rng)
            gain = rng.uniform(*self.settings.gain_db)
            window = window * np.float32(10 ** (gain / 20))
        rows = self.grid.indices
        return {
            "window": np.clip(window, -1, 1).astype(np.float32),
            "labels": target[rows].mean(axis=1),
            "heard": heard[rows].all(axis=1),
        }

    def _fill(
        self, rng: np.random.Generator
    ) -> tuple[Audio, NDArray[np.float32], NDArray[np.bool_]]:
        frames = -(-self.length // teacher.FRAME)
        window = np.zeros(frames * teacher.FRAME, np.float32)
        target = np.zeros((frames, len(self.lesson.mean)), np.float32)
        heard = np.zeros(frames, np.bool_)
        at = -int(rng.integers(MAXIMAL_GAP))
        while at < frames:
            number = self.numbers[int(np.searchsorted(self.cumulative, rng.random()))]
            whole = self.lesson.length(number)
            skip = int(rng.integers(whole - frames + 1)) if whole > frames else max(0, -at)
            at = max(0, at)
            count = min(whole - skip, frames - at)
            if count > 0:
                samples = self.lesson.recordings[number]
                piece = samples[skip * teacher.FRAME : (skip + count) * teacher.FRAME]
                start = at * teacher.FRAME
                window[start : start + len(piece)] = piece.astype(np.float32) / 32768
                target[at : at + count] = self.lesson.features(number, skip, count)
                heard[at : at + count] = True
                at += count
            at += int(rng.integers(1, MAXIMAL_GAP))
        return window[: self.length], target, heard


class Collator:
    """Windows to a batch of the student's inputs and targets."""

    def __init__(self, extractor: Any) -> None:
        self.extractor = extractor

    def __call__(self, examples: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        features = self.extractor(
            [example["window"] for example in examples], sampling_rate=RATE, return_tensors="pt"
        )
        return {
            "input_values": features["input_values"],
            "labels": torch.from_numpy(np.stack([example["labels"] for example in examples])),
            "heard": torch.from_numpy(np.stack([example["heard"] for example in examples])),
        }


def listen(
    clips: Sequence[Clip], name: str, folder: Path, threads: int, console: Console
) -> Lesson:
    """The teacher's frames for all clips, kept in `folder` for a run that goes on.

    Raises UserError if the teacher is missing.
    """
    places = teacher.lay_out([len(clip.samples) for clip in clips])
    counts = [-(-place.length // teacher.FRAME) for place in places]
    starts = np.concatenate([[0], np.cumsum(counts)])
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "frames.npy"
    # Of several processes that train together one hears, the others wait for what it heard.
    with FileLock(folder / "lock"):
        if not file.is_file() or len(np.load(file, mmap_mode="r")) != starts[-1]:
            _hear(clips, places, starts, teacher.open_teacher(name, folder, threads), file, console)
    frames = np.load(file, mmap_mode="r")
    own = np.flatnonzero([clip.part == "train" for clip in clips])
    some = own[:: max(1, len(own) // 3000)]
    sample = np.concatenate(
        [np.asarray(frames[starts[n] : starts[n + 1]], np.float32) for n in some]
    )
    return Lesson(
        tuple(clip.samples for clip in clips),
        frames,
        tuple(int(s) for s in starts),
        sample.mean(0),
        sample.std(0) + 1e-3,
    )


def _hear(
    clips: Sequence[Clip],
    places: Sequence[teacher.Place],
    starts: NDArray[np.int64],
    whisper: teacher.Whisper,
    file: Path,
    console: Console,
) -> None:
    """Write the frames of all clips to `file`, which appears when it is whole."""
    half = file.with_suffix(".half.npy")
    frames: Any = None
    at = 0
    sound = teacher.pieces([clip.audio for clip in clips], places)
    whole = places[-1].piece + 1
    for number, piece in enumerate(
        track(sound, "the teacher listens", total=whole, console=console)
    ):
        heard = whisper.frames(piece)
        if frames is None:
            shape = (int(starts[-1]), heard.shape[1])
            frames = np.lib.format.open_memmap(half, mode="w+", dtype=np.float16, shape=shape)
        while at < len(places) and places[at].piece == number:
            first = places[at].start // teacher.FRAME
            count = int(starts[at + 1] - starts[at])
            frames[starts[at] : starts[at + 1]] = heard[first : first + count]
            at += 1
    frames.flush()
    half.replace(file)
