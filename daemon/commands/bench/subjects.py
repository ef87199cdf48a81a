"""Subjects that take windows: transformers' pipeline and intentd's backends."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from daemon.model.extractor import RATE
from daemon.model.probe import probe_windows

Figures = dict[str, Any]


def pipeline(what: Figures) -> tuple[Any, Figures]:
    """transformers' own way from one window to scores, on the processor, with as many threads as
    torch gives it. `what`: model, window (samples)."""
    import torch
    from transformers import pipeline as make
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    run = make("audio-classification", model=what["model"], device="cpu", trust_remote_code=False)
    windows = probe_windows(what["window"], 16)

    def classify(order: Figures) -> Figures:
        for number in range(order["windows"]):
            run({"raw": windows[number % len(windows)], "sampling_rate": RATE})
        return {}

    classify({"windows": 2})
    return classify, {"threads": torch.get_num_threads()}


def backend(what: Figures) -> tuple[Any, Figures]:
    """intentd's classifier on one backend. `what`: model, backend, threads, seconds (of a window),
    batch (the largest)."""
    from daemon.model.classifier import load_classifier

    classifier = load_classifier(
        what["model"],
        backend=what["backend"],
        threads=what["threads"],
        window_seconds=what["seconds"],
        max_batch=what["batch"],
    )
    windows: NDArray[np.float32] = probe_windows(classifier.window, classifier.max_batch)

    def classify(order: Figures) -> Figures:
        for _ in range(order["calls"]):
            classifier.classify(windows[: order["size"]])
        return {}

    for size in what["sizes"]:
        classify({"calls": 1, "size": size})  # OpenVINO prepares itself for each size
    choice = None if classifier.choice is None else classifier.choice.text()
    return classify, {"name": classifier.backend, "choice": choice}
