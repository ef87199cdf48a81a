"""A learned head as a model directory like any other."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoFeatureExtractor, Wav2Vec2ForSequenceClassification

from daemon.model.description.calibration import Calibration, write_intentd_key
from train.linear_head import Head
from train.verification.folder import write_verifier
from train.words.embedder import Embedder
from train.words.judging import Verifier
from train.words.learn import Learned


def save_model(
    output: Path, embedder: Embedder, learned: Learned, measured: dict[str, Any]
) -> None:
    """Write config.json, model.safetensors and preprocessor_config.json.

    Into `output`.

    The head is transformers' own: the projection is the identity, the classifier `learned.head`.
    """
    network = Wav2Vec2ForSequenceClassification.from_pretrained(
        embedder.directory,
        num_labels=len(learned.labels),
        ignore_mismatched_sizes=True,
        dtype=torch.float32,
    )
    config = network.config
    config.classifier_proj_size = config.hidden_size
    config.id2label = dict(enumerate(learned.labels))
    config.label2id = {label: number for number, label in enumerate(learned.labels)}
    if hasattr(config, "intentd"):
        del config.intentd
    network.projector = torch.nn.Linear(config.hidden_size, config.hidden_size)
    torch.nn.init.eye_(network.projector.weight)
    torch.nn.init.zeros_(network.projector.bias)
    network.classifier = torch.nn.Linear(config.hidden_size, len(learned.labels))
    with torch.no_grad():
        network.classifier.weight.copy_(torch.from_numpy(learned.head.weight))
        network.classifier.bias.copy_(torch.from_numpy(learned.head.bias))
    network.save_pretrained(output)
    AutoFeatureExtractor.from_pretrained(embedder.directory).save_pretrained(output)
    write_intentd_key(output, calibration_of(learned, measured))
    if learned.judge.verifier is not None:
        _save_verifier(output, learned, learned.judge.verifier, measured)


def _save_verifier(
    output: Path, learned: Learned, verifier: Verifier, measured: dict[str, Any]
) -> None:
    # The temperature is in the weights.
    heads, scale = verifier.heads, np.float32(1 / verifier.heads.temperature)
    write_verifier(
        output,
        learned.labels,
        Head(heads.whole.weight * scale, heads.whole.bias * scale),
        verifier.verification,
        learned.thresholds,
        network=verifier.vectors.network,
        measured=_plain(measured),
    )


def _plain(measured: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(json.dumps(measured))
    return found


def calibration_of(learned: Learned, measured: dict[str, Any]) -> Calibration:
    """The `intentd` key."""
    settings = learned.settings
    return Calibration(
        window=settings.window,
        hop=settings.hop,
        unit=settings.unit,
        non_intents=settings.non_intents,
        temperature=round(learned.temperature, 4),
        thresholds=dict(learned.settings.events.thresholds),
        gate=settings.gate.model_dump(),
        rolling=settings.rolling.model_dump(),
        events=settings.events.model_dump(exclude={"thresholds"}),
        measured=_plain(measured),
    )
