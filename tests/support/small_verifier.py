"""A verifier's folder with a small network."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from daemon.model.verifier.verifier import write_head
from support.word_teacher import WIDTH, small_word_teacher


def small_verifier(
    folder: Path,
    labels: Sequence[str],
    *,
    bias: Sequence[float] | None = None,
    changed: dict[str, Any] | None = None,
) -> Path:
    """A verifier whose linear layer has zero weights and this `bias`.

    It always gives the same answer.
    """
    folder.mkdir(parents=True, exist_ok=True)
    network = small_word_teacher(folder / "network.onnx")
    weight = np.random.default_rng(1).standard_normal((len(labels), WIDTH)).astype(np.float32)
    if bias is not None:
        weight[:] = 0
    said = np.zeros(len(labels)) if bias is None else np.array(bias)
    write_head(folder / "head.safetensors", weight, said.astype(np.float32))
    content = {
        "version": 1,
        "labels": list(labels),
        "network": "network.onnx",
        "sha256": hashlib.sha256(network.read_bytes()).hexdigest(),
        "verification": {"candidate": 0.2, "asks": 2},
        "thresholds": {labels[0]: 0.6},
        **(changed or {}),
    }
    (folder / "verifier.json").write_text(json.dumps(content))
    return folder
