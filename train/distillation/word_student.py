"""A Wav2Vec2 that learns to give a word teacher's vectors.

The mean of its frames goes through two layers, which are thrown away afterwards; the loss is one
minus the cosine to the teacher's vector of the clean window. The mean alone, since it is all that
transformers' head for classification has: what is learned is there for any finetuning. One layer
would hold the vectors to as many dimensions as a frame has.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional
from transformers import Wav2Vec2Model

HIDDEN = 512


def vector_head(hidden_size: int, width: int) -> nn.Sequential:
    """From the mean of a model's frames to a teacher's vector."""
    return nn.Sequential(nn.Linear(hidden_size, HIDDEN), nn.GELU(), nn.Linear(HIDDEN, width))


class WordStudent(nn.Module):
    """Wav2Vec2 encoder whose pooled frames are mapped to teacher vectors."""

    def __init__(self, encoder: Wav2Vec2Model, width: int) -> None:
        super().__init__()
        self.wav2vec2 = encoder
        self.head = vector_head(encoder.config.hidden_size, width)
        # Every window is drawn with other noise, so that there is nothing to overfit.
        for module in encoder.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0

    def forward(self, input_values: torch.Tensor) -> torch.Tensor:
        """Vectors, shape (batch, width), of any length."""
        frames = self.wav2vec2(input_values).last_hidden_state
        vectors: torch.Tensor = self.head(frames.mean(dim=1))
        return vectors


def cosine_distance(
    model: Any, inputs: dict[str, torch.Tensor]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Cosine distance to the teacher's vectors, and the student's vectors.

    The distance is one minus the cosine, averaged over the batch.
    """
    vectors = model(inputs["input_values"]).float()
    return 1 - functional.cosine_similarity(vectors, inputs["labels"]).mean(), vectors
