"""Tiny checkpoints and synthetic recordings for all tests."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

TINY_LABELS = ("up", "down", "go", "background")


def make_tiny_model(
    path: Path, *, intentd: dict[str, object] | None = None, seed: int = 7, spread: float = 4.0
) -> Path:
    """A Wav2Vec2 classifier of a few thousand random weights.

    Written by `save_pretrained`. The head is shifted and scaled so that over `speechlike` sound
    its logits have mean 0 and standard deviation `spread`: its posteriors change with the
    sound, as a trained model's do. `intentd` is the key of that name in config.json; None
    leaves it out.
    """
    import torch
    from transformers import (
        Wav2Vec2Config,
        Wav2Vec2FeatureExtractor,
        Wav2Vec2ForSequenceClassification,
    )

    torch.manual_seed(seed)
    config = Wav2Vec2Config(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        conv_dim=(16, 16, 16),
        conv_kernel=(10, 8, 8),
        conv_stride=(5, 8, 8),
        num_feat_extract_layers=3,
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=4,
        classifier_proj_size=16,
        id2label=dict(enumerate(TINY_LABELS)),
        label2id={label: i for i, label in enumerate(TINY_LABELS)},
    )
    model = Wav2Vec2ForSequenceClassification(config).eval()
    extractor = Wav2Vec2FeatureExtractor(sampling_rate=16000, return_attention_mask=False)
    sound = speechlike(16, seed=seed)
    windows = [sound[start : start + 16000] for start in range(0, len(sound) - 16000, 8000)]
    with torch.no_grad():
        inputs = extractor(windows, sampling_rate=16000, return_tensors="pt")
        logits = model(**inputs).logits
        scale = spread / logits.std(dim=0)
        model.classifier.weight *= scale[:, None]
        model.classifier.bias.copy_((model.classifier.bias - logits.mean(dim=0)) * scale)
    model.save_pretrained(path)
    extractor.save_pretrained(path)
    if intentd is not None:
        file = path / "config.json"
        content = json.loads(file.read_text())
        content["intentd"] = intentd
        file.write_text(json.dumps(content, indent=2))
    return path


def speechlike(seconds: float, rate: int = 16000, seed: int = 0) -> NDArray[np.float32]:
    """Bursts of a gliding buzz between pauses, shape (n,), in [-1, 1].

    Loud enough for an energy gate to open, and different enough from burst to burst for a model
    to change its mind.
    """
    rng = np.random.default_rng(seed)
    n = round(seconds * rate)
    out = 0.002 * rng.standard_normal(n)
    at = 0.4
    while at < seconds - 0.3:
        length = min(float(rng.uniform(0.5, 1.3)), seconds - at)
        m = round(length * rate)
        t = np.arange(m) / rate
        pitch = rng.uniform(90, 240) * (1 + rng.uniform(-0.3, 0.3) * t)
        phase = 2 * np.pi * np.cumsum(pitch) / rate
        buzz = np.sign(np.sin(phase)) * 0.1 + 0.2 * np.sin(phase * rng.uniform(2, 9))
        start = round(at * rate)
        piece = out[start : start + m]
        piece += (buzz * np.hanning(m))[: len(piece)] * rng.uniform(0.5, 1.5)
        at += length + float(rng.uniform(0.6, 1.4))
    return np.clip(out, -1, 1).astype(np.float32)


def write_wav(
    path: Path, samples: NDArray[np.float32], rate: int = 16000, subtype: str = "PCM_16"
) -> Path:
    import soundfile

    soundfile.write(path, samples, rate, subtype=subtype)
    return path
