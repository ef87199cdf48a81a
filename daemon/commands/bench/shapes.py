"""Models of well-known shapes with random weights, to time offline."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from daemon.base.errors import UserError

LABELS = 12
SHAPES: dict[str, dict[str, Any]] = {
    "base": {},
    "large": {
        "hidden_size": 1024,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "intermediate_size": 4096,
        "feat_extract_norm": "layer",
        "conv_bias": True,
        "do_stable_layer_norm": True,
    },
}
"""Changes to Wav2Vec2Config's defaults, which are facebook/wav2vec2-base's shape; "large" is that
of facebook/wav2vec2-large-lv60."""


def make_shape(name: str, directory: Path) -> Path:
    """Save a model of the shape `name` in `directory`, always the same.

    Raises: UserError if there is no such shape.
    """
    if name not in SHAPES:
        raise UserError(f"there is no shape {name!r:.40}; --shape must be {' or '.join(SHAPES)}")
    import torch
    from transformers import (
        Wav2Vec2Config,
        Wav2Vec2FeatureExtractor,
        Wav2Vec2ForSequenceClassification,
    )
    from transformers.utils import logging

    logging.disable_progress_bar()
    torch.manual_seed(0)
    config = Wav2Vec2Config(num_labels=LABELS, **SHAPES[name])
    Wav2Vec2ForSequenceClassification(config).save_pretrained(directory)
    Wav2Vec2FeatureExtractor().save_pretrained(directory)
    return directory
