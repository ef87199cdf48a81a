"""The head: one linear layer on embeddings, which is what transformers' own head comes to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from train.words.embedder import Embeddings

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Head:
    """Logits are `embeddings @ weight.T + bias`."""

    weight: Floats
    """Shape (labels, hidden size)."""
    bias: Floats
    """Shape (labels,)."""

    def logits(self, embeddings: Embeddings) -> Floats:
        """Shape (windows, labels)."""
        return np.asarray(embeddings @ self.weight.T + self.bias, np.float32)


def mean_head(heads: Sequence[Head]) -> Head:
    """The head whose logits are the mean of those of `heads`."""
    return Head(
        np.mean([head.weight for head in heads], axis=0),
        np.mean([head.bias for head in heads], axis=0),
    )


def fit_head(
    embeddings: Embeddings,
    targets: NDArray[np.int64],
    weights: Floats,
    labels: int,
    penalty: float,
    scale: Floats | None = None,
) -> Head:
    """Multinomial logistic regression with an L2 penalty, on standardised embeddings.

    `targets` (n,) label numbers; `weights` (n,) of the examples, any scale; `penalty` times half
    the squared norm of the weights is added to the mean loss. `scale` (hidden size, hidden size):
    embeddings are multiplied by it before the penalty applies; None: each dimension by one over its
    standard deviation.
    """
    centre = np.average(embeddings, axis=0, weights=weights).astype(np.float32)
    if scale is None:
        spread = np.sqrt(np.average((embeddings - centre) ** 2, axis=0, weights=weights))
        scale = np.diag(1 / np.maximum(spread, 1e-6)).astype(np.float32)
    inputs = torch.from_numpy((embeddings - centre) @ scale)
    wanted = torch.from_numpy(targets)
    shares = torch.from_numpy(np.asarray(weights / weights.sum(), np.float32))
    weight = torch.zeros(labels, inputs.shape[1], requires_grad=True)
    bias = torch.zeros(labels, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [weight, bias], max_iter=200, history_size=20, line_search_fn="strong_wolfe"
    )

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        losses = torch.nn.functional.cross_entropy(
            inputs @ weight.T + bias, wanted, reduction="none"
        )
        loss = (losses * shares).sum() + 0.5 * penalty * weight.square().sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    found = weight.detach().numpy() @ scale.T
    return Head(
        np.asarray(found, np.float32),
        np.asarray(bias.detach().numpy() - found @ centre, np.float32),
    )
