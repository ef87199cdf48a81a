"""`intentd-train export`: one ONNX file from samples to scores."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray

from daemon.base.errors import UserError, first_line, os_reason
from daemon.config.settings import HOP_SECONDS, EventSettings, RollingSettings
from daemon.model.backends.conversion import to_onnx
from daemon.model.classifier import Classifier, load_classifier
from daemon.model.network import build_network, quiet
from daemon.model.probe import probe_windows
from daemon.model.weights import find_weights

FORMATS = ("onnx",)
INPUT, OUTPUT = "samples", "scores"
TOLERANCE = 1e-3
"""Largest difference of a probability from the model's on the windows that are compared."""
COMPARED = 16
MODEL, DESCRIPTION = "model.onnx", "model.json"


class Scoring(torch.nn.Module):
    """Windows (n, window) to probabilities (n, labels).

    At the model's temperature.
    """

    def __init__(self, network: torch.nn.Module, normalize: bool, temperature: float) -> None:
        super().__init__()
        self.network, self.normalize, self.temperature = network, normalize, temperature

    def forward(self, samples: torch.Tensor) -> torch.Tensor:
        if self.normalize:
            samples = samples - samples.mean(dim=1, keepdim=True)
            variance = samples.square().mean(dim=1, keepdim=True)
            samples = samples / torch.sqrt(variance + 1e-7)
        scores: torch.Tensor = torch.softmax(
            self.network(samples).logits / self.temperature, dim=-1
        )
        return scores


def export(model: Path, output: Path) -> dict[str, Any]:
    """Write `MODEL` and `DESCRIPTION` to `output`; return the description.

    Raises: UserError if the model can't be exported, or what was exported gives other scores.
    """
    classifier = load_classifier(model, backend="torch", max_batch=COMPARED)
    info = classifier.info
    if info.extractor.kind != "waveform":
        raise UserError(
            f"{model} takes spectrograms; only models that take samples, such as Wav2Vec2, can be "
            "exported."
        )
    network = build_network(info, find_weights(info))
    scoring = Scoring(network, info.extractor.normalize, info.temperature).eval()
    graph = _graph(scoring, classifier.window)
    difference = compare(graph, classifier)
    if not difference <= TOLERANCE:
        raise UserError(
            f"the exported graph differs from {model} by {difference:.1e}, more than {TOLERANCE:g}."
        )
    described = description(classifier)
    try:
        output.mkdir(parents=True, exist_ok=True)
        (output / MODEL).write_bytes(graph)
        (output / DESCRIPTION).write_text(
            json.dumps(described, indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
        )
    except OSError as error:
        raise UserError(f"{output} cannot be written to ({os_reason(error)}).") from error
    return described


def compare(graph: bytes, classifier: Classifier) -> float:
    """Largest difference of a probability between graph and model.

    On windows of speech and noise, one by one and together.
    """
    windows = probe_windows(classifier.window, COMPARED)
    expected = classifier.classify(windows)
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])

    def run(batch: NDArray[np.float32]) -> NDArray[np.float32]:
        found: NDArray[np.float32] = session.run([OUTPUT], {INPUT: batch})[0]
        return found

    alone = np.concatenate([run(windows[n : n + 1]) for n in range(len(windows))])
    together = run(windows)
    return float(max(np.abs(alone - expected).max(), np.abs(together - expected).max()))


def description(classifier: Classifier) -> dict[str, Any]:
    """Description of a model for programs that treat scores as intentd does."""
    info = classifier.info
    table = info.settings()
    hop = table.get("window", {}).get("hop", HOP_SECONDS)
    rolling = RollingSettings(**table.get("rolling", {}))
    events = EventSettings(**table.get("events", {}))
    return {
        "input": INPUT,
        "output": OUTPUT,
        "labels": list(info.labels),
        "non_intents": sorted(info.non_intents),
        "unit": info.unit,
        "rate": info.rate,
        "window_samples": classifier.window,
        "hop_samples": round(hop * info.rate),
        "rolling_windows": rolling.windows,
        "thresholds": {
            label: float(events.of(label)) for label in info.labels if label not in info.non_intents
        },
        "release": events.release,
        "refractory": events.refractory,
    }


def _graph(scoring: torch.nn.Module, window: int) -> bytes:
    example = torch.from_numpy(probe_windows(window, 2))
    try:
        with torch.inference_mode(), quiet(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of tracing, whose result is compared
            return to_onnx(scoring, example, {INPUT: {0: "n"}, OUTPUT: {0: "n"}})
    except ImportError as error:
        raise UserError(
            f"exporting needs the package onnx ({error}); pip install 'intentd[onnx]'."
        ) from error
    except Exception as error:  # torch's converter raises of every kind
        first = first_line(error)
        raise UserError(f"the model can't be converted to ONNX ({first}).") from error
