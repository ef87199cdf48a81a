"""Learning rates that fall from layer to layer, and a frozen start."""

from __future__ import annotations

import re
from typing import Any

import torch
from transformers import TrainerCallback


def depth_of(name: str, layers: int) -> int:
    """Depth of a parameter below the head.

    0 for the head, `layers` + 1 for what comes before the first transformer layer.
    """
    match = re.search(r"encoder\.layers?\.(\d+)\.", name)
    if match:
        return layers - int(match.group(1))
    if name.startswith(("classifier", "vector_head", "projector", "layer_weights")):
        return 0
    return layers + 1


def layerwise_optimizer(trainer: Any, decay: float) -> torch.optim.Optimizer:
    """AdamW whose learning rate decays with every layer below the head.

    Multiplied by `decay` (Howard and Ruder 2018, discriminative finetuning); sets and returns the
    trainer's optimizer.
    """
    if trainer.optimizer is not None:
        return trainer.optimizer  # type: ignore[no-any-return]
    args, model = trainer.args, trainer.model
    layers = int(getattr(model.config, "num_hidden_layers", 12))
    groups: dict[tuple[int, bool], list[torch.nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            plain = parameter.ndim < 2
            groups.setdefault((depth_of(name, layers), plain), []).append(parameter)
    trainer.optimizer = torch.optim.AdamW(
        [
            {
                "params": parameters,
                "lr": args.learning_rate * decay**depth,
                "weight_decay": 0.0 if plain else args.weight_decay,
            }
            for (depth, plain), parameters in groups.items()
        ],
        lr=args.learning_rate,
        betas=(args.adam_beta1, args.adam_beta2),
        eps=args.adam_epsilon,
    )
    return trainer.optimizer  # type: ignore[no-any-return]


class FreezeAtFirst(TrainerCallback):  # type: ignore[misc]
    """Drops gradients of all but the head for the first `steps` steps."""

    def __init__(self, model: torch.nn.Module, steps: int) -> None:
        self.steps = steps
        layers = int(getattr(model.config, "num_hidden_layers", 12))
        self.below = [p for name, p in model.named_parameters() if depth_of(name, layers) > 0]

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step < self.steps:
            for parameter in self.below:
                parameter.grad = None
