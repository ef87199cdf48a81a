"""Builds a transformers model from checked files, without code or network."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch.nn.utils import parametrize
from transformers.utils import logging

from daemon.base.errors import UserError, first_line
from daemon.model.description.fields import read_json
from daemon.model.description.files import CONFIG, MAX_CONFIG_BYTES
from daemon.model.description.info import ModelInfo
from daemon.model.weights import damaged

_SPARED = ("masked_spec_embed",)
"""Parameters that only training uses; a checkpoint may lack them."""


def build_network(info: ModelInfo, weights: Path) -> torch.nn.Module:
    """Build the network in float32 and evaluation mode, weight norm folded.

    Raises:
        UserError: config and weights do not make a whole audio classifier, or a weight is not
            finite.
    """
    head = getattr(transformers, info.architecture.head)
    try:
        state = load_file(weights)
    except (SafetensorError, OSError, ValueError) as error:
        raise damaged(weights, _first_line(error)) from None
    for name, tensor in state.items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise UserError(
                f"{weights} holds weights that are not finite numbers ({name:.80}); "
                "its training failed, use another checkpoint"
            )
    with quiet():
        try:
            config = _config(info, head.config_class)
            # Without a path transformers reads no file: what else lies in the directory (adapters,
            # code, other weights) has no say.
            network, report = head.from_pretrained(
                None,
                config=config,
                state_dict=state,
                dtype=torch.float32,
                output_loading_info=True,
                attn_implementation="sdpa" if head._supports_sdpa else "eager",
            )
        except Exception as error:  # a config can be wrong in as many ways as there are
            raise UserError(
                f"{info.directory} can't be made into a {info.architecture.head} "
                f"({_first_line(error)}); fetch or save the model again"
            ) from None
    missing = sorted(k for k in report["missing_keys"] if not k.endswith(_SPARED))
    if missing:
        what = "no trained head" if all(_of_head(key) for key in missing) else "not all weights"
        raise UserError(
            f"{weights} has {what} ({missing[0]:.80} is missing); finetune the model with "
            "intentd-train, or use a checkpoint for audio classification"
        )
    fold_weight_norm(network)
    return network.eval().requires_grad_(False)  # type: ignore[no-any-return]


class Scores(torch.nn.Module):
    """A network with plain tensors for input and output."""

    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        """Prepared inputs, shape (n, …), to logits, shape (n, labels)."""
        logits: torch.Tensor = self.network(batch).logits
        return logits


def split_network(network: torch.nn.Module) -> tuple[torch.nn.Module, Scores]:
    """Split a `per_frame` network into its convolutions and the rest.

    The convolutions map samples (n, m) to frames (n, channels, f), the rest frames to logits. The
    network itself becomes the rest.
    """
    base: Any = network.base_model
    convolutions: torch.nn.Module = base.feature_extractor
    base.feature_extractor = torch.nn.Identity()
    return convolutions, Scores(network).eval()


def fold_weight_norm(network: torch.nn.Module) -> None:
    """Replace weight norm by plain weights, computed once.

    They were recomputed for each window.
    """
    for module in network.modules():
        if parametrize.is_parametrized(module):
            for name in list(module.parametrizations):  # type: ignore[arg-type]
                parametrize.remove_parametrizations(module, name)


def _config(info: ModelInfo, kind: Any) -> Any:
    """The config, with the architecture's own keys only.

    transformers' general keys can ask for kernels and patches to be fetched and run.
    """
    table = read_json(info.directory / CONFIG, MAX_CONFIG_BYTES)
    general = {field.name for field in dataclasses.fields(transformers.PreTrainedConfig)}
    known = {field.name for field in dataclasses.fields(kind)} - general
    known |= set(kind.attribute_map)
    config = kind(**{key: value for key, value in table.items() if key in known})
    config.id2label = dict(enumerate(info.labels))
    config.label2id = {label: n for n, label in enumerate(info.labels)}
    return config


def _of_head(key: str) -> bool:
    return key.split(".", maxsplit=1)[0] in ("classifier", "projector", "layer_weights")


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence transformers' tables and bars while a model loads."""
    before = logging.get_verbosity()
    bars = logging.is_progress_bar_enabled()
    logging.set_verbosity(logging.CRITICAL)
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(before)
        if bars:
            logging.enable_progress_bar()


def _first_line(error: Exception) -> str:
    name, text = type(error).__name__, first_line(error)
    return text if text == name else f"{name}: {text}"
