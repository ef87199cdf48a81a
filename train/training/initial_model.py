"""The model that training begins with."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import try_to_load_from_cache
from safetensors import SafetensorError
from transformers import (
    AutoConfig,
    AutoFeatureExtractor,
    AutoModelForAudioClassification,
    Wav2Vec2ForSequenceClassification,
)

from daemon.base.errors import UserError, first_line
from daemon.base.hub import hub_answers, hub_id
from daemon.base.text import local_path
from daemon.model.description.resolve import BUNDLED, bundled_model
from train.recipe import Recipe
from train.training.small_encoder import small_config, small_extractor, start_as_filterbank

SMALL = "small"
"""As model.base: random weights of a small Wav2Vec2."""
WORDS = "words"
"""As model.base: the encoder of spoken words that ships for training."""
WEIGHTS = ("model.safetensors", "pytorch_model.bin", "model.safetensors.index.json")


def build_model(recipe: Recipe, labels: tuple[str, ...]) -> tuple[Any, Any]:
    """The model to finetune and its feature extractor.

    Raises:
        UserError: the base cannot be loaded.
    """
    names = {
        "num_labels": len(labels),
        "label2id": {label: number for number, label in enumerate(labels)},
        "id2label": dict(enumerate(labels)),
    }
    if recipe.model.base == SMALL:
        model = Wav2Vec2ForSequenceClassification(small_config(**names, **_masking(recipe)))
        start_as_filterbank(model)
        return model, small_extractor()
    base = find_base(recipe.model.base)
    try:
        extractor = AutoFeatureExtractor.from_pretrained(base)
        config = AutoConfig.from_pretrained(base)
        known = tuple(config.id2label[n] for n in sorted(config.id2label))
        for key, value in names.items():
            setattr(config, key, value)
        if hasattr(config, "intentd"):
            # How another model was calibrated must not pass for this one's.
            del config.intentd
        for key, value in _masking(recipe).items():
            if hasattr(config, key):
                setattr(config, key, value)
        model = AutoModelForAudioClassification.from_pretrained(
            base, config=config, ignore_mismatched_sizes=True
        )
    except (OSError, ValueError, SafetensorError) as error:
        raise UserError(
            f"The base model {recipe.model.base!r} could not be loaded "
            f"({first_line(error)}); "
            "check its name and the network, or name a directory."
        ) from error
    if known != labels and isinstance(getattr(model, "classifier", None), torch.nn.Linear):
        # The same number of labels does not make them the same labels.
        torch.nn.init.normal_(model.classifier.weight, std=0.02)
        torch.nn.init.zeros_(model.classifier.bias)
    return model, extractor


def find_base(base: str) -> str:
    """A directory or hub id of `model.base` that transformers can load.

    It can fetch it or has it in its cache.

    Raises:
        UserError: it is neither.
    """
    if base == BUNDLED:
        return str(bundled_model())
    if base == WORDS:
        return str(words_encoder())
    folder = local_path(base).expanduser()
    if folder.is_dir():
        return str(folder)
    name = hub_id(base)
    if name is None:
        raise UserError(
            f"model.base is {base!r}, and there is no such directory; give one that exists, "
            "'words', 'bundled', 'small', or a hub id such as hub:facebook/wav2vec2-base."
        )
    if not _in_cache(name) and not hub_answers():
        raise UserError(
            f"model.base is {base!r}, which is no directory here, and the hub can't be reached to "
            "fetch it; connect to the network, or give a directory."
        )
    return name


def words_encoder() -> Path:
    """The directory of the encoder that `model.base = "words"` names."""
    return Path(str(files("train") / "encoders" / "words"))


def _in_cache(name: str) -> bool:
    """Whether the hub's cache has the weights.

    transformers then asks once and goes on without.
    """
    found = [try_to_load_from_cache(name, file) for file in WEIGHTS]
    return any(isinstance(file, str) for file in found)


def _masking(recipe: Recipe) -> dict[str, Any]:
    a = recipe.augment
    return {
        "mask_time_prob": a.mask_time_prob,
        "mask_time_length": a.mask_time_length,
        "mask_time_min_masks": 0,
        "mask_feature_prob": a.mask_feature_prob,
        "mask_feature_length": a.mask_feature_length,
        "mask_feature_min_masks": 0,
        "apply_spec_augment": a.mask_time_prob > 0 or a.mask_feature_prob > 0,
    }
