"""The verifier: a word embedding of 1.5 s and a linear layer on it."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from daemon.base.errors import UserError
from daemon.decide.rolling import softmax
from daemon.messages import Scores
from daemon.model.cache import file_digest
from daemon.model.description.files import read_bytes
from daemon.model.verifier.description import HEAD, VerifierInfo
from daemon.model.verifier.network import WordEmbedding

MAX_HEAD_BYTES = 256 << 20


class Verifier:
    """A loaded verifier. Its methods may be called from any thread."""

    def __init__(self, info: VerifierInfo, labels: Sequence[str], threads: int = 1) -> None:
        """Load it for a model whose scores are in the order of `labels`.

        Raises:
            UserError: its network or its linear layer is missing, damaged or another one.
        """
        self.info = info
        digest = file_digest(info.network)
        if info.sha256 and digest != info.sha256:
            raise UserError(
                f"the verifier {info.directory} was trained on another network than "
                f"{info.network}; copy the model again, or train it again"
            )
        self._embedding = WordEmbedding(info.network, threads)
        weight, bias = read_head(info.directory / HEAD)
        if weight.shape != (len(info.labels), self._embedding.width) or bias.shape != (
            len(info.labels),
        ):
            raise UserError(
                f"{info.directory / HEAD} does not fit its labels and network; copy the model again"
            )
        order = [info.labels.index(label) for label in labels]
        self._weight, self._bias = weight[order], bias[order]
        self._lock = threading.Lock()

    def posterior(self, sound: NDArray[np.float32]) -> Scores:
        """Probability of each label, shape (labels,), of sound of shape (SOUND,).

        1.5 s at 16 kHz.
        """
        with self._lock:
            vector = self._embedding.vectors(sound[None])[0]
        return softmax((self._weight @ vector + self._bias).astype(np.float64))

    def __call__(self, sound: NDArray[np.float32], index: int) -> Scores:
        """Answer to a `Segment`; the window's number `index` does not matter."""
        return self.posterior(sound)


def read_head(path: Path) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Weight (labels, width) and bias (labels,) of a linear layer.

    Raises:
        UserError: the file is damaged or holds something else.
    """
    try:
        tensors = load(read_bytes(path, MAX_HEAD_BYTES))
        weight = np.asarray(tensors["weight"], np.float32)
        bias = np.asarray(tensors["bias"], np.float32)
    except (SafetensorError, KeyError, ValueError, TypeError) as error:
        raise UserError(f"{path} is no linear layer ({error}); copy the model again") from None
    if weight.ndim != 2 or not (np.isfinite(weight).all() and np.isfinite(bias).all()):
        raise UserError(f"{path} is damaged; copy the model again")
    return weight, bias


def write_head(path: Path, weight: NDArray[np.float32], bias: NDArray[np.float32]) -> None:
    """Write a linear layer as `read_head` reads it."""
    tensors = {"weight": np.ascontiguousarray(weight), "bias": np.ascontiguousarray(bias)}
    path.write_bytes(save(tensors))  # save_file makes a file that only its owner can read
