"""The head: one linear layer on embeddings, as transformers' comes to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Embeddings = NDArray[np.float32]
"""Shape (windows, width)."""


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


@dataclass(frozen=True, slots=True)
class CrossFitted:
    """A head fitted to all examples, and one without each fold of them."""

    whole: Head
    folds: Mapping[int, Head]
    temperature: float
    """What logits are divided by."""

    def of(self, fold: int) -> Head:
        """The head that did not learn from a fold; -1: from all.

        The head for -1 learned from all.
        """
        return self.whole if fold < 0 else self.folds[fold]


@dataclass(frozen=True, slots=True)
class Standardised:
    """Embeddings with mean 0 and deviation 1."""

    centre: Floats
    scale: Floats

    @classmethod
    def of(cls, embeddings: Embeddings, weights: Floats) -> Standardised:
        """By the mean and deviation of `embeddings`, weighted by `weights` (n,)."""
        centre = np.average(embeddings, axis=0, weights=weights).astype(np.float32)
        spread = np.sqrt(np.average((embeddings - centre) ** 2, axis=0, weights=weights))
        return cls(centre, (1 / np.maximum(spread, 1e-6)).astype(np.float32))

    def apply(self, embeddings: Embeddings) -> Embeddings:
        return np.asarray((embeddings - self.centre) * self.scale, np.float32)

    def head(self, weight: Floats, bias: Floats) -> Head:
        """A head for embeddings as they are, from one for standardised ones."""
        found = np.asarray(weight * self.scale, np.float32)
        return Head(found, np.asarray(bias - found @ self.centre, np.float32))


def fit_head(
    embeddings: Embeddings,
    targets: NDArray[np.int64],
    weights: Floats,
    labels: int,
    penalty: float,
    steps: int = 200,
) -> Head:
    """Multinomial logistic regression with an L2 penalty.

    On standardised embeddings.

    `targets` (n,) label numbers; `weights` (n,) of the examples, any scale; `penalty` times half
    the squared norm of the weights is added to the mean loss. `steps`: of L-BFGS, at most.
    """
    scale = Standardised.of(embeddings, weights)
    inputs = torch.from_numpy(scale.apply(embeddings))
    wanted = torch.from_numpy(targets)
    shares = torch.from_numpy(np.asarray(weights / weights.sum(), np.float32))
    weight = torch.zeros(labels, inputs.shape[1], requires_grad=True)
    bias = torch.zeros(labels, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [weight, bias], max_iter=steps, history_size=20, line_search_fn="strong_wolfe"
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
    return scale.head(weight.detach().numpy(), bias.detach().numpy())
