"""A small Wav2Vec2 for laptops, about 2.3 million parameters.

It keeps Wav2Vec2's parts and differs from facebook/wav2vec2-base in proportions: wide strides in
the first convolution (5 ms) and 40 ms a frame after the last make a window four times cheaper than
the usual pyramid at the same width. Its feature encoder normalises per frame (layer norm), so
that frames do not depend on the window around them.

The first convolution starts as a bank of Gabor filters, evenly spaced on the mel scale, each in
four phases a quarter turn apart: after the activation their sum follows the envelope of the band,
which is what a mel spectrogram holds. Learned filterbanks that start so converge faster on little
data (Zeghidour et al., LEAF, ICLR 2021, arXiv 2101.08596).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import Wav2Vec2Config, Wav2Vec2FeatureExtractor

from daemon.base.audio import RATE

PHASES = 4


def small_config(**changes: Any) -> Wav2Vec2Config:
    """The small encoder's shape; 640 samples (40 ms) a frame."""
    settings: dict[str, Any] = {
        "hidden_size": 192,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "intermediate_size": 768,
        "conv_dim": (96, 96, 128, 128, 192, 192),
        "conv_kernel": (160, 4, 3, 4, 3, 4),
        "conv_stride": (80, 2, 1, 2, 1, 2),
        "conv_bias": True,
        "feat_extract_norm": "layer",
        "do_stable_layer_norm": True,
        "num_conv_pos_embeddings": 19,
        "num_conv_pos_embedding_groups": 16,
        "hidden_dropout": 0.1,
        "attention_dropout": 0.0,
        "activation_dropout": 0.0,
        "feat_proj_dropout": 0.0,
        "final_dropout": 0.1,
        "layerdrop": 0.0,
        "classifier_proj_size": 256,
        # Wider than Wav2Vec2's 0.02: at a width of 192 that starts too close to zero.
        "initializer_range": 0.05,
    }
    return Wav2Vec2Config(**(settings | changes))


def small_extractor() -> Wav2Vec2FeatureExtractor:
    """An extractor without normalisation.

    Frames must not depend on what surrounds them.
    """
    return Wav2Vec2FeatureExtractor(
        feature_size=1, sampling_rate=RATE, padding_value=0.0, do_normalize=False
    )


def gabor_filters(
    filters: int, width: int, low: float = 80.0, high: float = 7600.0
) -> NDArray[np.float32]:
    """Unit-norm Gabor filters, shape (filters, width).

    `filters`: a multiple of four.

    Centres are evenly spaced on the mel scale from `low` to `high` hertz; bandwidth is the
    distance between neighbours, as far as `width` samples can hold it.
    """
    bands = filters // PHASES
    mel = np.linspace(2595 * np.log10(1 + low / 700), 2595 * np.log10(1 + high / 700), bands)
    centres = 700 * (10 ** (mel / 2595) - 1)
    spread = np.minimum(1 / (2 * np.pi * 0.8 * np.gradient(centres)), width / RATE / 5)
    time = (np.arange(width) - (width - 1) / 2) / RATE
    bank = np.empty((bands, PHASES, width))
    for phase in range(PHASES):
        wave = np.cos(2 * np.pi * centres[:, None] * time + phase * np.pi / 2)
        bank[:, phase] = np.exp(-(time**2) / (2 * spread[:, None] ** 2)) * wave
    bank -= bank.mean(axis=-1, keepdims=True)
    bank /= np.linalg.norm(bank, axis=-1, keepdims=True)
    return bank.reshape(filters, width).astype(np.float32)


def start_as_filterbank(model: Any, gain: float = 3.0) -> None:
    """Set a model's first convolution to mel-spaced Gabor filters, in place."""
    first = model.wav2vec2.feature_extractor.conv_layers[0].conv
    filters, _, width = first.weight.shape
    with torch.no_grad():
        first.weight.copy_(torch.from_numpy(gain * gabor_filters(filters, width))[:, None])
