"""Wav2Vec2's convolutions as matrix products, for training on a processor.

transformers lays the feature encoder out channels first, so that torch copies for every layer norm
and convolves single rows. The same sums as matrix products over windows of frames (im2col) take
about half the time, forward and back; weights and results are the same (to rounding).

Windows are put together from blocks as long as the stride, and attention is written out: torch's
gradients of `unfold`, and in bfloat16 of its fused attention, take longer than all the rest.
"""

from __future__ import annotations

import types
from typing import Any

import torch
from torch.nn import functional


def quicken(model: Any) -> bool:
    """Speed up a Wav2Vec2 model's feature encoder, if it has layer norm.

    Replaces the forward pass of this instance; returns whether it did.
    """
    encoder = getattr(model, "wav2vec2", model)
    if getattr(encoder.config, "feat_extract_norm", None) != "layer":
        return False
    encoder.set_attn_implementation("eager")
    features = encoder.feature_extractor
    features.forward = types.MethodType(_feature_encoder, features)
    return True


def _feature_encoder(self: Any, input_values: torch.Tensor) -> torch.Tensor:
    """Frames (batch, channels, frames) of samples (batch, samples)."""
    hidden = input_values[..., None]
    for layer in self.conv_layers:
        hidden = layer.activation(layer.layer_norm(_convolve(hidden, layer.conv)))
    return hidden.transpose(1, 2)


def _convolve(hidden: torch.Tensor, conv: torch.nn.Conv1d) -> torch.Tensor:
    """Convolution of (batch, frames, channels), channels last."""
    width, step = conv.kernel_size[0], conv.stride[0]
    batch, frames, channels = hidden.shape
    count = (frames - width) // step + 1
    each = -(-width // step)
    """Blocks that a window reaches into; the last one may be needed in part."""
    needed = (count + each - 1) * step
    if needed > frames:
        hidden = functional.pad(hidden, (0, 0, 0, needed - frames))
    blocks = hidden[:, :needed].reshape(batch, -1, step * channels)
    windows = torch.cat([blocks[:, n : n + count] for n in range(each)], dim=-1)
    weight = functional.pad(conv.weight, (0, each * step - width))
    return functional.linear(windows, weight.transpose(1, 2).flatten(1), conv.bias)
