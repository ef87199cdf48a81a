"""Soft labels for finetuning: what a head on a large encoder makes of each window.

A small model that is trained on labels alone learns little about the words that it was given no
examples of. A large encoder has heard far more speech than there are recordings here; a head on
its frames, trained on the same labels, tells commands from other words where the small model
guesses. The small model is trained to agree with it, window by window (knowledge distillation,
Hinton et al. 2015, arXiv 1503.02531), while it hears the window with noise, room and gain and the
teacher without.

The head turns frames into weights and votes; what it makes of a window is the mean of the votes in
it, weighted by attention. Weights and votes of all frames are computed once, so that an
opinion of a window costs nothing in training.
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
from train.distillation.features import Lesson, listen
from train.distillation.soft_targets import Guide
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
        self, frames: torch.Tensor, heard: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Weights (batch, n, POINTS) and votes (batch, n, POINTS, labels) of frames (batch, n,
        width), of which those where `heard` (batch, n) is 0 count as silence."""
        hidden = functional.gelu(self.inner(functional.dropout(frames, 0.1, self.training)))
        hidden = hidden.transpose(1, 2) * heard[:, None]
        for layer in self.near:
            hidden = (hidden + functional.gelu(layer(hidden))) * heard[:, None]
        hidden = hidden.transpose(1, 2)
        votes = self.vote(functional.dropout(hidden, 0.3, self.training))
        return self.weight(hidden), votes.unflatten(-1, (POINTS, self.labels))


def together(weights: torch.Tensor, votes: torch.Tensor, heard: torch.Tensor) -> torch.Tensor:
    """Logits (batch, labels): the votes of the frames that are heard, weighted."""
    share = weights.masked_fill(heard[..., None] == 0, -1e4).softmax(1)
    return torch.einsum("bnp,bnpl->bl", share, votes)


@dataclass(frozen=True, slots=True)
class Lectures:
    """The teacher's frames for clips, and which recording of the lesson each clip is."""

    lesson: Lesson
    numbers: dict[int, int]
    """By the clip's id()."""


def attend(recipe: Recipe, clips: Sequence[Clip], output: Path, console: Console) -> Lectures:
    """Let the teacher of a recipe with [teach] hear `clips`; its frames are kept in `output` for a
    run that goes on.

    Raises UserError if the teacher is missing.
    """
    assert recipe.teach is not None
    threads = recipe.train.threads or os.cpu_count() or 1
    lesson = listen(clips, recipe.teach.teacher, output / TEACHER, threads, console)
    return Lectures(lesson, {id(clip): number for number, clip in enumerate(clips)})


def train_guide(
    lectures: Lectures,
    clips: Sequence[Clip],
    labels: Sequence[str],
    share: NDArray[np.float64],
    settings: TeachSection,
    length: int,
    centres: NDArray[np.float64],
    seed: int,
) -> Guide:
    """Train a head on `clips`, drawn by `share` (n,), in windows of `length` samples, and let it
    vote on each of them. All of them must be among the lectures. `centres`: see Guide."""
    lesson, count = lectures.lesson, length // teacher.FRAME
    known = [lectures.numbers[id(clip)] for clip in clips]
    references = torch.tensor([labels.index(clip.label) for clip in clips])
    cumulative = np.cumsum(share / share.sum())
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    head = Head(len(lesson.mean), len(labels))
    optimizer = torch.optim.AdamW(head.parameters(), 1e-3, weight_decay=0.05)
    steps = max(2, round(settings.epochs * len(clips) / BATCH))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-3, steps)
    for _ in range(steps):
        drawn = np.searchsorted(cumulative, rng.random(BATCH))
        frames, heard = _windows(lesson, [known[n] for n in drawn], count, rng)
        weights, votes = head(frames, heard)
        logits = together(weights, votes, heard)
        loss = functional.cross_entropy(logits, references[drawn], label_smoothing=0.02)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
    return _votes(head.eval(), lesson, clips, known, centres)


def _windows(
    lesson: Lesson, known: Sequence[int], count: int, rng: np.random.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """`count` frames of each recording, from anywhere in it, and which of them there are."""
    frames = np.zeros((len(known), count, len(lesson.mean)), np.float32)
    heard = np.zeros((len(known), count), np.float32)
    for row, number in enumerate(known):
        surplus = lesson.length(number) - count
        first = int(rng.integers(surplus + 1)) if surplus > 0 else 0
        at = int(rng.integers(1 - surplus)) if surplus < 0 else 0
        found = lesson.features(number, first, min(count, count + surplus))
        frames[row, at : at + len(found)] = found
        heard[row, at : at + len(found)] = 1
    return torch.from_numpy(frames), torch.from_numpy(heard)


def _votes(
    head: Head,
    lesson: Lesson,
    clips: Sequence[Clip],
    known: Sequence[int],
    centres: NDArray[np.float64],
) -> Guide:
    weights, votes = [], []
    spans: dict[int, tuple[int, int]] = {}
    at = 0
    with torch.inference_mode():
        for clip, number in zip(clips, known, strict=True):
            frames = torch.from_numpy(lesson.features(number, 0, lesson.length(number)))[None]
            weight, vote = head(frames, torch.ones(frames.shape[:2]))
            weights.append(weight[0].numpy())
            votes.append(vote[0].numpy().astype(np.float16))
            spans[id(clip)] = (at, at + len(weights[-1]))
            at += len(weights[-1])
    every = np.concatenate(votes)
    beside = np.concatenate(
        [np.concatenate(weights)[::EACH], every[::EACH].reshape(-1, POINTS * head.labels)], axis=1
    ).astype(np.float32)
    return Guide(
        np.concatenate(weights), every, spans, centres, beside.mean(0), beside.std(0) + 1e-3
    )


def add_echo(model: Any, labels: int) -> None:
    """Give a model for classification the layer that maps its frames to the guide's weights and
    votes, for the time of training: its output has them in place of the last hidden state, where
    hidden states are asked for."""
    model.echo = nn.Linear(model.config.hidden_size, POINTS * (1 + labels))
    # Within the model's own forward: several processes share gradients of nothing else.
    model.register_forward_hook(_echoed)


def _echoed(model: Any, _: Any, out: Any) -> Any:
    if hasattr(model, "echo") and out.hidden_states is not None:
        out["hidden_states"] = (*out.hidden_states[:-1], model.echo(out.hidden_states[-1]))
    return out


def drop_echo(model: Any) -> None:
    """Take away what `add_echo` gave."""
    if hasattr(model, "echo"):
        del model.echo


@dataclass(frozen=True, slots=True)
class TaughtLoss:
    """Cross-entropy with the label, and with the guide's opinion where it has one; and how far
    frames are from the guide's (mean squared error of what has a variance of one)."""

    input_name: str
    weight: float
    temperature: float
    frames: float
    label_smoothing: float

    def __call__(
        self, model: Any, inputs: dict[str, torch.Tensor]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        taught = "opinion" in inputs
        out = model(inputs[self.input_name], output_hidden_states=taught)
        loss = functional.cross_entropy(
            out.logits, inputs["labels"], label_smoothing=self.label_smoothing, reduction="none"
        )
        if not taught:
            return loss.mean(), out.logits
        share = self.weight * inputs["guided"]
        theirs = (inputs["opinion"] / self.temperature).log_softmax(-1)
        own = (out.logits / self.temperature).log_softmax(-1)
        # Gradients of softened logits are smaller by the temperature's square (Hinton et al.).
        apart = (theirs.exp() * (theirs - own)).sum(-1) * self.temperature**2
        loss = ((1 - share) * loss + share * apart).mean()
        error = (out.hidden_states[-1] - inputs["echo"]).square().mean(-1)
        heard = inputs["heard"]
        loss = loss + self.frames * (error * heard).sum() / heard.sum().clamp(min=1)
        return loss, out.logits
