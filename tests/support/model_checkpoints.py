"""Tiny checkpoints with random weights, saved as transformers saves them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from transformers import (
    ASTConfig,
    ASTFeatureExtractor,
    Data2VecAudioConfig,
    HubertConfig,
    SEWConfig,
    SEWDConfig,
    UniSpeechConfig,
    UniSpeechSatConfig,
    Wav2Vec2Config,
    Wav2Vec2ConformerConfig,
    Wav2Vec2FeatureExtractor,
    WavLMConfig,
    WhisperConfig,
    WhisperFeatureExtractor,
)

LABELS = ("up", "down", "left", "unknown", "background")
RATE = 16_000

CONV: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "conv_dim": (16, 16, 24),
    "conv_kernel": (10, 8, 4),
    "conv_stride": (5, 8, 8),
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
    "classifier_proj_size": 16,
    "initializer_range": 0.2,  # so that random scores differ from window to window
}


def _plain(**settings: Any) -> Wav2Vec2FeatureExtractor:
    return Wav2Vec2FeatureExtractor(feature_size=1, sampling_rate=RATE, **settings)


def _wav2vec2() -> tuple[Any, Any]:
    return Wav2Vec2Config(**CONV), _plain()


def _wav2vec2_layer_norm() -> tuple[Any, Any]:
    # Asks for an attention mask, as large models do; raw samples, as our own small one.
    config = Wav2Vec2Config(
        **CONV, feat_extract_norm="layer", do_stable_layer_norm=True, conv_bias=True
    )
    return config, _plain(do_normalize=False, return_attention_mask=True)


def _wav2vec2_weighted() -> tuple[Any, Any]:
    return Wav2Vec2Config(**CONV, use_weighted_layer_sum=True), _plain(return_attention_mask=True)


def _conformer() -> tuple[Any, Any]:
    return Wav2Vec2ConformerConfig(**CONV, max_source_positions=256), _plain()


def _conformer_rotary() -> tuple[Any, Any]:
    return Wav2Vec2ConformerConfig(**CONV, position_embeddings_type="rotary"), _plain()


def _data2vec() -> tuple[Any, Any]:
    changes = CONV | {"num_conv_pos_embeddings": 2}
    return Data2VecAudioConfig(**changes, conv_pos_kernel_size=5), _plain()


def _sew_d() -> tuple[Any, Any]:
    return SEWDConfig(**CONV, max_position_embeddings=64, position_buckets=32), _plain()


def _ast() -> tuple[Any, Any]:
    config = ASTConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_length=128,
        num_mel_bins=64,
        initializer_range=0.2,
    )
    return config, ASTFeatureExtractor(num_mel_bins=64, max_length=128)


def _whisper() -> tuple[Any, Any]:
    config = WhisperConfig(
        d_model=32,
        encoder_layers=2,
        encoder_attention_heads=2,
        encoder_ffn_dim=64,
        decoder_layers=1,
        decoder_attention_heads=2,
        decoder_ffn_dim=64,
        vocab_size=64,
        classifier_proj_size=16,
        init_std=0.2,
        max_source_positions=1500,
        num_mel_bins=80,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=3,
        begin_suppress_tokens=None,
    )
    return config, WhisperFeatureExtractor(feature_size=80)


KINDS: dict[str, Callable[[], tuple[Any, Any]]] = {
    "wav2vec2": _wav2vec2,
    "wav2vec2-layer-norm": _wav2vec2_layer_norm,
    "wav2vec2-weighted-layers": _wav2vec2_weighted,
    "wav2vec2-conformer": _conformer,
    "wav2vec2-conformer-rotary": _conformer_rotary,
    "hubert": lambda: (HubertConfig(**CONV), _plain()),
    "wavlm": lambda: (WavLMConfig(**CONV), _plain()),
    "data2vec-audio": _data2vec,
    "unispeech": lambda: (UniSpeechConfig(**CONV), _plain()),
    "unispeech-sat": lambda: (UniSpeechSatConfig(**CONV), _plain()),
    "sew": lambda: (SEWConfig(**CONV), _plain()),
    "sew-d": _sew_d,
    "audio-spectrogram-transformer": _ast,
    "whisper": _whisper,
}


def save(
    directory: Path, kind: str = "wav2vec2", labels: tuple[str, ...] = LABELS, **changes: Any
) -> Path:
    """A checkpoint of `kind`, `changes` made to its config, in `directory`."""
    torch.manual_seed(0)
    config, extractor = KINDS[kind]()
    config.id2label = dict(enumerate(labels))
    config.label2id = {label: n for n, label in enumerate(labels)}
    for key, value in changes.items():
        setattr(config, key, value)
    model = transformers.AutoModelForAudioClassification.from_config(config)
    for parameter in model.classifier.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    model.save_pretrained(directory)
    extractor.save_pretrained(directory)
    return directory


def windows(count: int, samples: int = RATE) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Tones in noise, of different loudness and offset: (count, samples)."""
    random = np.random.default_rng(7)
    time = np.arange(samples) / RATE
    tone = np.sin(2 * np.pi * random.uniform(80, 3000, (count, 1)) * time)
    noise = random.standard_normal((count, samples))
    level = random.uniform(0.003, 0.3, (count, 1))
    return (level * (tone + 0.3 * noise) + 0.01).astype(np.float32)


def edit(directory: Path, file: str = "config.json", **changes: Any) -> None:
    """Set keys of a JSON file; None takes a key out."""
    path = directory / file
    table = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({k: v for k, v in table.items() if v is not None}))
