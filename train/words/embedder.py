"""Embeddings of windows: the mean frame that the head classifies.

The head is transformers' classification head.

`Wav2Vec2ForSequenceClassification` projects the frames, takes their mean and classifies it. All
three are linear, so its logits are one linear layer on the mean of the encoder's frames. With the
identity in place of projection and classifier the mean itself comes out, through the daemon's own
classifier; any number of heads can then be tried on it in seconds.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoFeatureExtractor, Wav2Vec2ForSequenceClassification

from daemon.base.errors import UserError
from daemon.model.cache import file_digest
from daemon.model.classifier import Classifier, load_classifier
from daemon.model.description.files import WEIGHTS
from train.training.initial_model import find_base

Embeddings = NDArray[np.float32]
"""Shape (windows, hidden size)."""
BATCH = 16
"""Windows that go through the network at once: of 64 each takes 2.3 ms of a core, of 16 1.7."""


class Embeds(Protocol):
    """A network that gives a vector of a window."""

    window: float
    """Seconds."""
    digest: str
    """Of what the vectors depend on besides the sound."""

    @property
    def size(self) -> int:
        """Length of a vector."""
        ...

    def embed(self, windows: Sequence[NDArray[np.float32]]) -> Embeddings:
        """Vectors of windows at 16 kHz, shape (windows, size).

        Each window has `window` seconds.
        """
        ...


class Embedder:
    """An encoder with the identity as its head."""

    def __init__(self, base: str, window: float, threads: int = 0) -> None:
        """`base` as in a recipe's model.base, `window` in seconds.

        Raises UserError if the base is no Wav2Vec2 that can be loaded.
        """
        self.directory = Path(find_base(base))
        self.window = window
        self._classifier = _with_identity(self.directory, window, threads)
        self.digest = hashlib.sha256(
            f"{file_digest(self.directory / WEIGHTS)} {window:g}".encode()
        ).hexdigest()
        """Of what the embeddings depend on besides the sound."""

    @property
    def size(self) -> int:
        """Length of an embedding."""
        return len(self._classifier.labels)

    def embed(self, windows: Sequence[NDArray[np.float32]]) -> Embeddings:
        """Embeddings of windows, each of `window` seconds at 16 kHz."""
        return self._classifier.logits(windows)


def _with_identity(directory: Path, window: float, threads: int) -> Classifier:
    try:
        network = Wav2Vec2ForSequenceClassification.from_pretrained(
            directory, num_labels=2, ignore_mismatched_sizes=True, dtype=torch.float32
        )
    except (OSError, ValueError) as error:
        raise UserError(f"The encoder in {directory} is no Wav2Vec2 ({error}).") from error
    config = network.config
    size = config.hidden_size
    config.classifier_proj_size = size
    names = [f"e{number}" for number in range(size)]
    config.id2label, config.label2id = dict(enumerate(names)), {n: i for i, n in enumerate(names)}
    if hasattr(config, "intentd"):  # another model's windows and thresholds
        del config.intentd
    for name in ("projector", "classifier"):
        layer = torch.nn.Linear(size, size)
        torch.nn.init.eye_(layer.weight)
        torch.nn.init.zeros_(layer.bias)
        setattr(network, name, layer)
    with tempfile.TemporaryDirectory() as folder:
        network.save_pretrained(folder)
        AutoFeatureExtractor.from_pretrained(directory).save_pretrained(folder)
        return load_classifier(
            folder, backend="torch", threads=threads, window_seconds=window, max_batch=BATCH
        )
