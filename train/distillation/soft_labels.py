"""Finetuning with a teacher of words: soft labels, and its vectors.

A small model that is trained on labels alone learns little about the words that it has no examples
of. EfficientWord-Net was trained on millions of words; a linear layer on its vectors, trained on
the same labels, tells commands from other words where the small model guesses. The small model
learns to agree with that layer (knowledge distillation, Hinton et al. 2015, arXiv 1503.02531) and
to give the teacher's vectors, from windows with noise, room and codec where the teacher has them
without.

Each clip's soft labels come from a layer that was trained without its speaker, so that a wrong
label does not teach itself.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import torch
from numpy.typing import NDArray
from rich.console import Console
from torch import nn
from torch.nn import functional

from train.data.clips import Clip
from train.data.split import bucket
from train.distillation.soft_targets import SoftTargets
from train.distillation.windows import TeacherWindows, teacher_windows
from train.distillation.word_student import vector_head
from train.recipe import Recipe, TeachSection

BATCH = 256
RATE = 2e-3
DECAY = 0.05
PARTS = 3
"""Layers, each of which is trained without one part of the speakers."""


def soft_targets(
    recipe: Recipe,
    clips: Sequence[Clip],
    labels: Sequence[str],
    share: NDArray[np.float64],
    console: Console,
) -> SoftTargets:
    """The teacher's vectors of `clips` and soft labels for them.

    For a recipe with [teach].

    `share` (clips,): how often each clip is drawn in training, which is what the layers are
    trained on too. Raises UserError if the teacher is missing.
    """
    assert recipe.teach is not None
    threads = recipe.train.threads or os.cpu_count() or 1
    windows = teacher_windows(clips, recipe.teach, threads, console)
    starts = np.searchsorted(windows.recordings, np.arange(len(clips) + 1))
    spans = {id(clip): (int(starts[n]), int(starts[n + 1])) for n, clip in enumerate(clips)}
    parts = np.array([bucket(f"teach/{clip.key}", PARTS) for clip in clips])
    targets = np.array([labels.index(clip.label) for clip in clips])
    logs = np.empty((len(windows.rows), len(labels)), np.float32)
    for part in range(PARTS):
        weights = np.where(parts == part, 0.0, share)
        if not weights.any():  # a single speaker
            weights = share
        layer = _trained(windows, starts, targets, weights, len(labels), recipe.teach, part)
        mine = np.flatnonzero(parts[windows.recordings] == part)
        for first in range(0, len(mine), 4096):
            some = mine[first : first + 4096]
            logs[some] = _logs(layer, windows, some)
    return SoftTargets(spans, windows.centres, logs, windows.rows, windows.vectors)


def _trained(
    windows: TeacherWindows,
    starts: NDArray[np.int64],
    targets: NDArray[np.int64],
    weights: NDArray[np.float64],
    labels: int,
    settings: TeachSection,
    seed: int,
) -> nn.Linear:
    """A linear layer from scaled vectors to labels."""
    rng = np.random.default_rng(seed)
    width = windows.vectors.shape[1]
    layer = nn.Linear(width, labels)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    cumulative = np.cumsum(weights / weights.sum())
    steps = max(2, round(settings.epochs * int((weights > 0).sum()) / BATCH))
    optimizer = torch.optim.AdamW(layer.parameters(), RATE, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        drawn = np.minimum(np.searchsorted(cumulative, rng.random(BATCH)), len(targets) - 1)
        places = rng.integers(starts[drawn], starts[drawn + 1])
        loss = functional.cross_entropy(
            layer(_scaled(windows, places)), torch.from_numpy(targets[drawn])
        )
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
    return layer


@torch.inference_mode()
def _logs(
    layer: nn.Linear, windows: TeacherWindows, places: NDArray[np.int64]
) -> NDArray[np.float32]:
    logs: NDArray[np.float32] = layer(_scaled(windows, places)).log_softmax(-1).numpy()
    return logs


def _scaled(windows: TeacherWindows, places: NDArray[np.int64]) -> torch.Tensor:
    """Vectors of windows, of about unit variance, shape (n, width)."""
    vectors = windows.vectors[windows.rows[places]].astype(np.float32)
    return torch.from_numpy(vectors * np.float32(np.sqrt(vectors.shape[1])))


def add_vector_head(model: Any, width: int) -> None:
    """Add layers to a model that map its mean frame to the teacher's vectors.

    For the time of training. Where hidden states are asked for, the last one of its output is that
    vector, shape (batch, width).
    """
    model.vector_head = vector_head(model.config.hidden_size, width)
    # Within the model's own forward: several processes share gradients of nothing else.
    model.register_forward_hook(_with_vector)


def _with_vector(model: Any, _: Any, out: Any) -> Any:
    if hasattr(model, "vector_head") and out.hidden_states is not None:
        vector = model.vector_head(out.hidden_states[-1].mean(dim=1))
        out["hidden_states"] = (*out.hidden_states[:-1], vector)
    return out


def remove_vector_head(model: Any) -> None:
    """Take away what `add_vector_head` gave."""
    if hasattr(model, "vector_head"):
        del model.vector_head


def width_in(checkpoint: Path) -> int:
    """The width of the vectors that a checkpoint's model was trained to give."""
    with safetensors.safe_open(checkpoint / "model.safetensors", "pt") as weights:
        return int(weights.get_slice("vector_head.2.bias").get_shape()[0])


@dataclass(frozen=True, slots=True)
class DistillationLoss:
    """Cross-entropy with the label, and distance to teacher outputs.

    Where there are targets: divergence from the soft label, and one minus the cosine to the
    teacher's vector.
    """

    input_name: str
    weight: float
    """Share of the soft label."""
    temperature: float
    cosine: float
    label_smoothing: float

    def __call__(
        self, model: Any, inputs: dict[str, torch.Tensor]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        has_targets = "soft_labels" in inputs
        out = model(inputs[self.input_name], output_hidden_states=has_targets)
        logits = out.logits.float()
        loss = functional.cross_entropy(
            logits, inputs["labels"], label_smoothing=self.label_smoothing, reduction="none"
        )
        if not has_targets:
            return loss.mean(), logits
        mask = inputs["has_targets"]
        share = self.weight * mask
        theirs = (inputs["soft_labels"] / self.temperature).log_softmax(-1)
        own = (logits / self.temperature).log_softmax(-1)
        # Gradients of softened logits are smaller by the temperature's square (Hinton et al.).
        apart = (theirs.exp() * (theirs - own)).sum(-1) * self.temperature**2
        cosine = functional.cosine_similarity(out.hidden_states[-1].float(), inputs["vectors"])
        loss = (1 - share) * loss + share * apart + self.cosine * mask * (1 - cosine)
        return loss.mean(), logits
