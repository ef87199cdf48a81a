"""Soft labels for finetuning, by a head on a large encoder.

A small model that is trained on labels alone learns little about the words that it was given no
examples of. A large encoder was trained on far more speech than there is here; a head on its
frames, trained on the same labels, tells commands from other words where the small model guesses.
The small model is trained to agree with it, window by window (knowledge distillation,
Hinton et al. 2015, arXiv 1503.02531); it is given the window with noise, room and gain, the teacher
without.

The head turns frames into weights and votes; its logits for a window are the mean of the votes in
it, weighted by attention. Weights and votes of all frames are computed once, so that the soft
labels of a window cost nothing in training.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from torch import nn
from torch.nn import functional

from train.data.clips import Clip
from train.distillation import whisper as teacher
from train.distillation.features import TeacherFrames, teacher_frames
from train.distillation.soft_targets import SoftTargets
from train.recipe import Recipe, TeachSection

TEACHER = "teacher"
"""Folder for the teacher's frames, of use to a run that goes on; deleted at its end."""
WIDTH = 256
POINTS = 4
"""Attentions side by side, each of which may look at another place in the window."""
BATCH = 64
EACH = 7
"""Of the frames one in so many tells mean and deviation."""


class Head(nn.Module):
    """From standardised teacher frames to weights and votes for each label."""

    def __init__(self, width: int, labels: int) -> None:
        super().__init__()
        self.inner = nn.Linear(width, WIDTH)
        self.near = nn.ModuleList(nn.Conv1d(WIDTH, WIDTH, 5, padding=2) for _ in range(2))
        self.weight = nn.Linear(WIDTH, POINTS)
        self.vote = nn.Linear(WIDTH, POINTS * labels)
        self.labels = labels

    def forward(
        self, frames: torch.Tensor, mask: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Weights (batch, n, POINTS) and votes (batch, n, POINTS, labels) of frames (batch, n,
        width), of which those where `mask` (batch, n) is 0 count as silence."""
        hidden = functional.gelu(self.inner(functional.dropout(frames, 0.1, self.training)))
        hidden = hidden.transpose(1, 2) * mask[:, None]
        for layer in self.near:
            hidden = (hidden + functional.gelu(layer(hidden))) * mask[:, None]
        hidden = hidden.transpose(1, 2)
        votes = self.vote(functional.dropout(hidden, 0.3, self.training))
        return self.weight(hidden), votes.unflatten(-1, (POINTS, self.labels))


def pool_votes(weights: torch.Tensor, votes: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Logits (batch, labels): the votes of the frames in `mask`, weighted."""
    share = weights.masked_fill(mask[..., None] == 0, -1e4).softmax(1)
    return torch.einsum("bnp,bnpl->bl", share, votes)


@dataclass(frozen=True, slots=True)
class DistillationData:
    """The teacher's frames, and which of its recordings each clip is."""

    frames: TeacherFrames
    numbers: dict[int, int]
    """By the clip's id()."""


def distillation_data(
    recipe: Recipe, clips: Sequence[Clip], output: Path, console: Console
) -> DistillationData:
    """The teacher's frames of `clips` for a recipe with [teach], kept in `output` for a run that
    goes on.

    Raises UserError if the teacher is missing.
    """
    assert recipe.teach is not None
    threads = recipe.train.threads or os.cpu_count() or 1
    frames = teacher_frames(clips, recipe.teach.teacher, output / TEACHER, threads, console)
    return DistillationData(frames, {id(clip): number for number, clip in enumerate(clips)})


def train_soft_targets(
    data: DistillationData,
    clips: Sequence[Clip],
    labels: Sequence[str],
    share: NDArray[np.float64],
    settings: TeachSection,
    length: int,
    centres: NDArray[np.float64],
    seed: int,
) -> SoftTargets:
    """Train a head on `clips` and return its targets for each of them.

    `share` (n,): how often each clip is drawn; `length`: samples of a window; `centres`: as in
    SoftTargets. All of the clips must be in `data`.
    """
    known_frames, count = data.frames, length // teacher.FRAME
    known = [data.numbers[id(clip)] for clip in clips]
    references = torch.tensor([labels.index(clip.label) for clip in clips])
    cumulative = np.cumsum(share / share.sum())
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    head = Head(len(known_frames.mean), len(labels))
    optimizer = torch.optim.AdamW(head.parameters(), 1e-3, weight_decay=0.05)
    steps = max(2, round(settings.epochs * len(clips) / BATCH))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-3, steps)
    for _ in range(steps):
        drawn = np.searchsorted(cumulative, rng.random(BATCH))
        frames, mask = _windows(known_frames, [known[n] for n in drawn], count, rng)
        weights, votes = head(frames, mask)
        logits = pool_votes(weights, votes, mask)
        loss = functional.cross_entropy(logits, references[drawn], label_smoothing=0.02)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
    return _targets(head.eval(), known_frames, clips, known, centres)


def _windows(
    data: TeacherFrames, known: Sequence[int], count: int, rng: np.random.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """`count` frames of each recording, from anywhere in it, and which of them there are."""
    frames = np.zeros((len(known), count, len(data.mean)), np.float32)
    mask = np.zeros((len(known), count), np.float32)
    for row, number in enumerate(known):
        surplus = data.length(number) - count
        first = int(rng.integers(surplus + 1)) if surplus > 0 else 0
        at = int(rng.integers(1 - surplus)) if surplus < 0 else 0
        found = data.features(number, first, min(count, count + surplus))
        frames[row, at : at + len(found)] = found
        mask[row, at : at + len(found)] = 1
    return torch.from_numpy(frames), torch.from_numpy(mask)


def _targets(
    head: Head,
    data: TeacherFrames,
    clips: Sequence[Clip],
    known: Sequence[int],
    centres: NDArray[np.float64],
) -> SoftTargets:
    weights, votes = [], []
    spans: dict[int, tuple[int, int]] = {}
    at = 0
    with torch.inference_mode():
        for clip, number in zip(clips, known, strict=True):
            frames = torch.from_numpy(data.features(number, 0, data.length(number)))[None]
            weight, vote = head(frames, torch.ones(frames.shape[:2]))
            weights.append(weight[0].numpy())
            votes.append(vote[0].numpy().astype(np.float16))
            spans[id(clip)] = (at, at + len(weights[-1]))
            at += len(weights[-1])
    every = np.concatenate(votes)
    beside = np.concatenate(
        [np.concatenate(weights)[::EACH], every[::EACH].reshape(-1, POINTS * head.labels)], axis=1
    ).astype(np.float32)
    return SoftTargets(
        np.concatenate(weights), every, spans, centres, beside.mean(0), beside.std(0) + 1e-3
    )


def add_frame_head(model: Any, labels: int) -> None:
    """Add the layer that maps a model's frames to frame targets, for the time of training.

    Where hidden states are asked for, the model's output has its result in place of the last one.
    """
    model.frame_head = nn.Linear(model.config.hidden_size, POINTS * (1 + labels))
    # Within the model's own forward: several processes share gradients of nothing else.
    model.register_forward_hook(_with_frame_head)
    model.register_load_state_dict_pre_hook(_rename_frame_head)


def _with_frame_head(model: Any, _: Any, out: Any) -> Any:
    if hasattr(model, "frame_head") and out.hidden_states is not None:
        out["hidden_states"] = (*out.hidden_states[:-1], model.frame_head(out.hidden_states[-1]))
    return out


def _rename_frame_head(model: Any, state: dict[str, Any], *_: Any) -> None:
    """Checkpoints of 0.1 call the layer `echo`."""
    for name in [name for name in state if name.startswith("echo.")]:
        state["frame_head" + name.removeprefix("echo")] = state.pop(name)


def remove_frame_head(model: Any) -> None:
    """Remove the layer of `add_frame_head`."""
    if hasattr(model, "frame_head"):
        del model.frame_head


@dataclass(frozen=True, slots=True)
class DistillationLoss:
    """Cross-entropy with the label, divergence from the soft label where there is one, and mean
    squared error to the frame targets, which have a variance of one."""

    input_name: str
    weight: float
    temperature: float
    frames: float
    label_smoothing: float

    def __call__(
        self, model: Any, inputs: dict[str, torch.Tensor]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        has_targets = "soft_labels" in inputs
        out = model(inputs[self.input_name], output_hidden_states=has_targets)
        loss = functional.cross_entropy(
            out.logits, inputs["labels"], label_smoothing=self.label_smoothing, reduction="none"
        )
        if not has_targets:
            return loss.mean(), out.logits
        share = self.weight * inputs["has_soft_label"]
        theirs = (inputs["soft_labels"] / self.temperature).log_softmax(-1)
        own = (out.logits / self.temperature).log_softmax(-1)
        # Gradients of softened logits are smaller by the temperature's square (Hinton et al.).
        apart = (theirs.exp() * (theirs - own)).sum(-1) * self.temperature**2
        loss = ((1 - share) * loss + share * apart).mean()
        error = (out.hidden_states[-1] - inputs["frame_targets"]).square().mean(-1)
        mask = inputs["frame_mask"]
        loss = loss + self.frames * (error * mask).sum() / mask.sum().clamp(min=1)
        return loss, out.logits
